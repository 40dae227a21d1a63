//! What to run and within which bounds: the order that a supervisor is given.
//!
//! Plain data, written as `spec.json` before the supervisor is spawned. The *values* of the environment are not in the
//! file: they pass as the supervisor's own environment, which nobody of the same uid can read, and secrets do not lie
//! on the disk for every later run to find.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::cookie::Cookie;

/// One start of one program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The program: a path, or a name that is looked up in the `PATH` of `env`.
    pub program: String,
    /// Its arguments, without the program's name.
    pub args: Vec<String>,
    /// The environment, whole: the child has exactly these variables. Not written to `spec.json`.
    #[serde(skip)]
    pub env: BTreeMap<String, String>,
    /// Working directory; absolute.
    pub cwd: PathBuf,
    /// The mark of every process of this run; committed by the caller before [`super::launch::prepare`].
    pub cookie: Cookie,
    /// Wall time that the program may take, on the monotonic clock; `None`: no bound.
    pub timeout_ms: Option<u64>,
    /// How it is asked to end on time-out or stop, step by step, before the flat kill.
    pub kill_ladder: Vec<KillStep>,
    /// Bytes kept of each of `out` and `err`; what comes beyond is drained and counted.
    pub output_cap_bytes: u64,
    /// Whether the whole tree ends with the program.
    pub tree_kill: TreeKill,
    /// RLIMIT_NPROC of the program: processes and threads of its *user* on this host, not of the run. Root is exempt.
    pub max_user_processes: Option<u64>,
    /// Set NO_NEW_PRIVS: `sudo` and other set-uid programs gain nothing in the run.
    pub no_new_privs: bool,
}

/// Whether a run ends as a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeKill {
    /// Subreaper, signals to the group, sweep by cookie at every end.
    On,
    /// Signals to the program alone, no subreaper, no sweep: what it started lives on.
    Off,
}

/// One rung of the kill ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillStep {
    /// What is sent.
    pub signal: KillSignal,
    /// How long the next rung waits for the program's end.
    pub grace_ms: u64,
}

/// The signals that a ladder can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KillSignal {
    /// SIGINT
    Int,
    /// SIGTERM
    Term,
    /// SIGHUP
    Hup,
    /// SIGQUIT
    Quit,
    /// The flat kill at once; what stands behind it on the ladder is not reached.
    Kill,
}

impl KillSignal {
    /// The kernel's signal.
    #[must_use]
    pub fn signal(self) -> Signal {
        match self {
            Self::Int => Signal::SIGINT,
            Self::Term => Signal::SIGTERM,
            Self::Hup => Signal::SIGHUP,
            Self::Quit => Signal::SIGQUIT,
            Self::Kill => Signal::SIGKILL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_no_value_of_the_environment() {
        let spec = RunSpec {
            program: "sh".into(),
            args: vec!["-c".into(), "true".into()],
            env: BTreeMap::from([("TOKEN".into(), "hunter2".into())]),
            cwd: "/".into(),
            cookie: Cookie::try_from(1 << 40).expect("cookie"),
            timeout_ms: Some(1),
            kill_ladder: vec![KillStep { signal: KillSignal::Int, grace_ms: 2 }],
            output_cap_bytes: 3,
            tree_kill: TreeKill::On,
            max_user_processes: None,
            no_new_privs: true,
        };
        let text = serde_json::to_string(&spec).expect("json");
        assert!(!text.contains("hunter2"), "{text}");
        let read: RunSpec = serde_json::from_str(&text).expect("json");
        assert_eq!(read, RunSpec { env: BTreeMap::new(), ..spec });
    }

    #[test]
    fn a_run_directory_of_an_earlier_version_is_still_read() {
        // as version 0.1.0 wrote it
        let text = r#"{"program":"sh","args":["-c","true"],"cwd":"/","cookie":1099511627776,"timeout_ms":1,
            "kill_ladder":[{"signal":"TERM","grace_ms":5000}],"output_cap_bytes":3,"tree_kill":"on",
            "max_user_processes":null,"no_new_privs":true}"#;
        let read: RunSpec = serde_json::from_str(text).expect("json");
        assert_eq!(read.kill_ladder, [KillStep { signal: KillSignal::Term, grace_ms: 5_000 }]);
        assert_eq!((read.tree_kill, read.no_new_privs), (TreeKill::On, true));
    }
}

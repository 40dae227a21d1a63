//! A run in a directory of its own, with a guard that leaves nothing behind, and waits with a deadline.

#![expect(clippy::disallowed_methods, reason = "real processes are what these tests are about")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use orch_core::process::{
    Cookie, KillSignal, KillStep, Prepared, RunDir, RunEnd, RunSpec, Running, TreeKill, prepare, sweep,
};
use proc_identity::{PROC_ROOT, pids_with_cookie};
use rustix::process::{Pid, Signal, kill_process};

/// Everything that a test waits for comes within this, or the test fails.
const PATIENCE: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_orch-core"))
}

/// The interpreter itself: what `PATH` has may be a shell script in front of it, with processes of its own.
pub(crate) fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let told = output("python3", &["-c", "import sys; print(sys.executable)"]);
        String::from_utf8(told.stdout).expect("a path").trim().to_owned()
    })
}

/// One run's surroundings. Dropped, it ends whatever carries the cookie or the marker.
pub(crate) struct Case {
    temp: tempfile::TempDir,
    pub(crate) cookie: Cookie,
    pub(crate) marker: String,
}

impl Case {
    pub(crate) fn new() -> Self {
        let cookie = Cookie::draw().expect("cookie");
        Self { temp: tempfile::tempdir().expect("temp dir"), cookie, marker: format!("marker-{cookie}") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn run_path(&self) -> PathBuf {
        self.path("run")
    }

    pub(crate) fn run_dir(&self) -> RunDir {
        RunDir::at(&self.run_path()).expect("absolute")
    }

    /// A spec without surprises: generous time, a short ladder, tree kill.
    pub(crate) fn spec(&self, program: &str, args: &[&str]) -> RunSpec {
        RunSpec {
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").expect("PATH"))]),
            cwd: self.temp.path().to_owned(),
            cookie: self.cookie,
            timeout_ms: Some(60_000),
            kill_ladder: vec![
                KillStep { signal: KillSignal::Int, grace_ms: 100 },
                KillStep { signal: KillSignal::Term, grace_ms: 100 },
            ],
            output_cap_bytes: 1 << 20,
            tree_kill: TreeKill::On,
            max_user_processes: None,
            no_new_privs: true,
        }
    }

    /// A Python program that carries the marker as its first argument.
    pub(crate) fn python(&self, script: &str) -> RunSpec {
        self.spec(python(), &["-c", script, &self.marker])
    }

    pub(crate) async fn prepared(&self, spec: &RunSpec) -> Prepared {
        prepare(spec, &self.run_path(), binary()).await.expect("prepared")
    }

    pub(crate) async fn started(&self, spec: &RunSpec) -> Running {
        self.prepared(spec).await.go().await.expect("go")
    }

    /// How many processes have told that they are where they are meant to be: each makes a file `here-…`.
    pub(crate) fn arrived(&self) -> usize {
        let entries = std::fs::read_dir(self.temp.path()).expect("list");
        entries
            .filter(|entry| {
                entry.as_ref().is_ok_and(|entry| entry.file_name().as_encoded_bytes().starts_with(b"here-"))
            })
            .count()
    }

    /// How many processes of the run live, by its cookie.
    pub(crate) fn alive_by_cookie(&self) -> usize {
        let scan = pids_with_cookie(PROC_ROOT.as_ref(), self.cookie.get()).expect("scan");
        scan.marked.iter().filter(|marked| !marked.dead).count()
    }

    /// The pids of processes whose command line carries the marker.
    pub(crate) fn alive_by_marker(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        proc_identity::list_pids(PROC_ROOT.as_ref(), &mut pids).expect("pass");
        pids.into_iter().map(|(pid, _)| pid).filter(|pid| carries(*pid, &self.marker)).collect()
    }

    /// Nothing of the run lives: looked at once, since whoever reports a clean end must have seen to it already.
    pub(crate) fn assert_nothing_lives(&self) {
        assert_eq!(self.alive_by_cookie(), 0, "carriers of the cookie");
        assert_eq!(self.alive_by_marker(), Vec::<i32>::new(), "carriers of the marker");
    }
}

fn carries(pid: i32, marker: &str) -> bool {
    let Ok(line) = proc_identity::read_cmdline(PROC_ROOT.as_ref(), pid, 64 * 1024) else { return false };
    line.words().any(|word| word == marker.as_bytes())
}

impl Drop for Case {
    fn drop(&mut self) {
        let swept = sweep(self.cookie);
        for pid in self.alive_by_marker() {
            kill(pid);
        }
        if !std::thread::panicking() {
            assert!(swept.is_clean(), "{swept:?}");
        }
    }
}

/// SIGKILL for a process that this test started.
pub(crate) fn kill(pid: i32) {
    if let Some(pid) = Some(pid).filter(|pid| *pid > 1).and_then(Pid::from_raw) {
        kill_process(pid, Signal::KILL).ok();
    }
}

/// A process of this test that is ended and reaped with it.
pub(crate) struct Guard(pub(crate) Child);

impl Guard {
    pub(crate) fn start(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Self {
        let child = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Self(child.expect("starts"))
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().expect("wait").is_none()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A process that looks like a member of the zoo and is none of its business.
pub(crate) fn bystander() -> Guard {
    Guard::start(python(), &["-c", "import time\ntime.sleep(300)", "marker-of-somebody-else"])
}

/// Runs a command to its end.
pub(crate) fn output(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> std::process::Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().expect("runs")
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "not in time: {what}");
}

pub(crate) async fn end_of(run: &mut Running) -> RunEnd {
    tokio::time::timeout(PATIENCE, run.wait()).await.expect("the run ends in time").expect("wait")
}

pub(crate) async fn record_of(run: &mut Running) -> orch_core::process::ExitRecord {
    match end_of(run).await {
        RunEnd::Recorded(record) => record,
        RunEnd::SupervisorLost { .. } => panic!("supervisor lost"),
    }
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

//! The watchdog as nobody: uid and gid 65534, no group, no capability; and an orphan of root for it to find.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proc_identity::{Liveness, PROC_ROOT, ProcessId, read_stat, same};
use tempfile::TempDir;

/// A uid and gid that own nothing.
const NOBODY: u32 = 65534;

/// What gives up everything that can be given up, before the program.
pub(crate) const SETPRIV: [&str; 10] = [
    "setpriv",
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--bounding-set",
    "-all",
    "--inh-caps",
    "-all",
    "--no-new-privs",
];

/// A place that nobody can reach: the program, a state directory of its own, room for a log.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests need root, to become somebody else");
        let dir = TempDir::new().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_orch-watchdog"), dir.path().join("orch-watchdog")).unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        chown(dir.path().join("state"), Some(NOBODY), Some(NOBODY)).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.dir.path().join("orch-watchdog")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Settings of a quick watchdog with its state here, which looks for the orphan of this place alone: others may be
    /// left beside it, and what is told together is told shorter.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let orphan = format!("re:^{}/pytest ", self.dir.path().display());
        [
            ("WATCHDOG_PROC_PATTERNS", orphan.as_str()),
            ("WATCHDOG_STATE_DIR", self.state().to_str().unwrap()),
            ("WATCHDOG_BIND", "127.0.0.1:0"),
            ("WATCHDOG_TICK_S", "0.2"),
            ("WATCHDOG_PROC_ENABLED", "true"),
            ("WATCHDOG_PROC_ORPHAN_GRACE_S", "0.2"),
            ("WATCHDOG_PROC_FOREIGN_GRACE_S", "0.2"),
            ("WATCHDOG_COLLECTOR_UNAVAILABLE_TICKS", "2"),
            // the load of this machine is nobody's story
            ("WATCHDOG_CPU_STARVED_ENABLED", "false"),
            ("WATCHDOG_HOST_LABEL", "host-1"),
            ("NO_COLOR", "1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }
}

/// A program that does not outlive the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    #[expect(clippy::disallowed_methods, reason = "the door through which these tests start programs")]
    pub(crate) fn command(program: &str) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Waits for its end, for a while.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        for _ in 0..3000 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} does not end", self.0.id());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended already
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Ends exactly this process, if it is still there.
pub(crate) fn end(id: ProcessId) {
    if matches!(same(Path::new(PROC_ROOT), id), Liveness::Alive) {
        kill(Pid::from_raw(id.pid), Signal::SIGKILL).ok();
    }
}

/// A process of root that is called like a test run and whose starter was killed.
pub(crate) struct Orphan(pub(crate) ProcessId);

impl Orphan {
    pub(crate) fn leave(place: &Place) -> Self {
        Self::of(place, "/bin/sleep", &["600"])
    }

    /// With a child of another name.
    pub(crate) fn leave_with_child(place: &Place) -> (Self, Self) {
        let parent = Self::of(place, "/bin/sh", &["-c", "sleep 601 & wait"]);
        let root = Path::new(PROC_ROOT);
        loop {
            let mut pids = Vec::new();
            proc_identity::list_pids(root, &mut pids).unwrap();
            let stats = pids.iter().filter_map(|(pid, _)| read_stat(root, *pid).ok());
            // by its name: before that it is a second shell
            if let Some(child) = stats.into_iter().find(|it| it.ppid == parent.0.pid && it.comm == b"sleep") {
                return (parent, Self(child.id()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn of(place: &Place, program: &str, arguments: &[&str]) -> Self {
        let script = place.path().join("pytest");
        std::fs::copy(program, &script).unwrap();
        let told = place.path().join("orphan");
        // a session of its own, as a terminal's shell has: the leader of the line is gone with it
        let mut shell = Running::command("setsid");
        let line = r#"told=$1; shift; "$0" "$@" & echo $! > "$told.new"; mv "$told.new" "$told"; wait"#;
        shell.args(["sh", "-c", line]);
        let mut shell = Running::start(shell.arg(&script).arg(&told).args(arguments).stdout(Stdio::null()));
        let pid = loop {
            if let Ok(text) = std::fs::read_to_string(&told) {
                break text.trim().parse().unwrap();
            }
            assert_eq!(shell.0.try_wait().unwrap(), None, "the shell ended");
            std::thread::sleep(Duration::from_millis(10));
        };
        let id = read_stat(Path::new(PROC_ROOT), pid).unwrap().id();
        drop(shell);
        Self(id)
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        end(self.0);
    }
}

/// The pid that a running watchdog wrote into its lock.
pub(crate) fn pid_of(place: &Place) -> Option<ProcessId> {
    let text = std::fs::read_to_string(place.state().join("lock")).ok()?;
    let pid = text.strip_prefix("pid ")?.split(' ').next()?.parse().ok()?;
    Some(read_stat(Path::new(PROC_ROOT), pid).ok()?.id())
}

/// Whether these tests run in the host's own pid namespace; in a container without `pid: host` they do not.
fn on_the_host() -> bool {
    let first =
        std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == "pid:[4026531836]");
    first || read_stat(Path::new(PROC_ROOT), 2).is_ok_and(|stat| stat.ppid == 0 && stat.comm == b"kthreadd")
}

/// What the watchdog says of its namespace when nothing is hidden from it.
pub(crate) fn namespace_words() -> &'static str {
    if on_the_host() { "host namespace: yes" } else { "host namespace: no" }
}

/// What the metrics say where nothing is hidden: a namespace of these tests' own is not the whole host either.
pub(crate) fn unhidden() -> &'static str {
    if on_the_host() { "orch_watchdog_proc_blind 0" } else { "orch_watchdog_proc_blind 1" }
}

/// The whole of a file, empty when there is none.
pub(crate) fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

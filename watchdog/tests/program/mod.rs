//! A watchdog as a child process.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A running watchdog, killed on drop.
pub(crate) struct Watchdog {
    pub(crate) child: Child,
}

/// A program as a child process.
#[expect(clippy::disallowed_methods, reason = "the door through which these tests start programs")]
pub(crate) fn plain(program: &str) -> Command {
    Command::new(program)
}

/// A command of the built binary with an environment of its own.
pub(crate) fn command(settings: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = plain(env!("CARGO_BIN_EXE_orch-watchdog"));
    command.env_clear().envs(settings.iter().copied()).args(arguments);
    command
}

/// Runs a verb to its end.
pub(crate) fn ask(settings: &[(&str, &str)], arguments: &[&str]) -> Output {
    command(settings, arguments).output().unwrap()
}

impl Watchdog {
    pub(crate) fn start(settings: &[(&str, &str)], log: &Path) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        // the load of this machine is nobody's story, unless a test tells it
        let calm = [("WATCHDOG_CPU_STARVED_ENABLED", "false")];
        let mut command = command(&[&calm[..], settings].concat(), &["run"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap() }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // it may have ended already
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The whole of a file, empty when there is none.
pub(crate) fn text_of(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        file.read_to_string(&mut text).unwrap();
    }
    text
}

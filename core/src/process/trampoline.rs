//! `orch-core supervise-child DIR`: the last steps before the program, taken in the program's own process.
//!
//! Between fork and exec only `unsafe` code can run, so the supervisor starts *this binary* again, and it becomes the
//! program by exec: tie the life to the supervisor, set the cookie and the bounds, restore signals. Its standard input is
//! a pipe to the supervisor: a text on it is a failed step, its end without a text is a successful exec.
//!
//! Invariant: the program runs with the cookie of its spec as soft limit on file locks, or it does not run.

#![expect(clippy::disallowed_methods, reason = "this module is the one that becomes the program")]

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use rustix::process::{Resource, Rlimit, getppid, getrlimit, setrlimit};

use super::cookie::Cookie;
use super::run_dir::{RunDir, RunDirError};
use super::signals::{self, Which};
use super::spec::RunSpec;

/// Exit code of a trampoline that did not become the program; the supervisor knows by the pipe, not by this number.
pub const EXIT_NOT_EXECUTED: i32 = 127;

/// Becomes the program of the run directory's spec. Returns only when that failed.
#[must_use]
pub fn supervise_child(dir: &Path) -> i32 {
    // closed by exec: that is how the supervisor learns of it
    let report = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3);
    let message = match become_program(dir) {
        Ok(never) => match never {},
        Err(error) => error.to_string(),
    };
    if let Ok(report) = report {
        // nobody left to tell when this fails, too
        File::from(report).write_all(message.as_bytes()).ok();
    }
    EXIT_NOT_EXECUTED
}

#[derive(Debug, thiserror::Error)]
enum TrampolineError {
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    #[error("the run directory has no spec")]
    NoSpec,
    #[error("set parent death signal: {0}")]
    DeathSignal(nix::Error),
    #[error("the supervisor is gone")]
    Orphaned,
    #[error("set run cookie {cookie}: the hard limit on file locks is {hard}")]
    CookieAboveHardLimit { cookie: Cookie, hard: u64 },
    #[error("set {what}: {errno}")]
    Limit { what: &'static str, errno: rustix::io::Errno },
    #[error("restore signals: {0}")]
    Signals(std::io::Error),
    #[error("enter {dir}: {error}")]
    Directory { dir: String, error: std::io::Error },
    #[error("execute {program}: {error}")]
    Exec { program: String, error: std::io::Error },
}

fn become_program(dir: &Path) -> Result<std::convert::Infallible, TrampolineError> {
    let dir = RunDir::at(dir)?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(TrampolineError::DeathSignal)?;
    // it may have died before the line above; then nothing will kill this process
    let supervisor =
        File::open(dir.path().join("lock")).ok().and_then(|mut lock| dir.identity(&mut lock).ok()?);
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
    if supervisor.map(|id| id.pid) != parent || parent.is_none() {
        return Err(TrampolineError::Orphaned);
    }
    let spec = dir.read_spec()?.ok_or(TrampolineError::NoSpec)?;
    set_cookie(spec.cookie)?;
    if let Some(most) = spec.max_user_processes {
        bound_processes(most)?;
    }
    signals::stop_ignoring(Which::All).map_err(TrampolineError::Signals)?;
    signals::clear_mask().map_err(TrampolineError::Signals)?;
    std::env::set_current_dir(&spec.cwd)
        .map_err(|error| TrampolineError::Directory { dir: spec.cwd.display().to_string(), error })?;
    let error = command(&spec).exec();
    Err(TrampolineError::Exec { program: spec.program, error })
}

/// The environment is this process's own: the allow-list that the supervisor was started with.
fn command(spec: &RunSpec) -> Command {
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).stdin(Stdio::null());
    command
}

/// Soft and hard; soft alone where hard is finite, which is the mark of the run that this one is nested in.
fn set_cookie(cookie: Cookie) -> Result<(), TrampolineError> {
    let maximum = match getrlimit(Resource::Locks).maximum {
        None => cookie.get(),
        Some(hard) if cookie.get() <= hard => hard,
        Some(hard) => return Err(TrampolineError::CookieAboveHardLimit { cookie, hard }),
    };
    setrlimit(Resource::Locks, Rlimit { current: Some(cookie.get()), maximum: Some(maximum) })
        .map_err(|errno| TrampolineError::Limit { what: "run cookie", errno })
}

fn bound_processes(most: u64) -> Result<(), TrampolineError> {
    let most = getrlimit(Resource::Nproc).maximum.map_or(most, |hard| hard.min(most));
    setrlimit(Resource::Nproc, Rlimit { current: Some(most), maximum: Some(most) })
        .map_err(|errno| TrampolineError::Limit { what: "bound on processes", errno })
}

/// Starts the trampoline as a child of this process, in a process group of its own. Its standard input is the report
/// pipe's end.
pub(super) fn spawn(dir: &RunDir, report: OwnedFd) -> std::io::Result<std::process::Child> {
    // the running binary itself, also when the file has been replaced by another version meanwhile
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("orch-core")
        .arg("supervise-child")
        .arg(dir.path())
        .stdin(Stdio::from(report))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command.spawn()
}

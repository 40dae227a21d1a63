//! `orch-core supervise DIR`: the life of one run, from the go byte to the exit record.
//!
//! Single-threaded, before any runtime: a small process that goes on when the core is dead, wedged or replaced.
//! Responsible for: own session, lock, identity, ready line, go byte, start; then `watch` and `ending`. It judges
//! nothing about the run's result and keeps no state outside of the run directory.
//!
//! Invariants: without the go byte nothing is started; a directory is used once, ever; whenever the lock becomes free
//! by our own doing, the exit record is on the disk.
//!
//! # Protocol
//! Standard output: one line, `{"pid":…,"start_ticks":…}`, when it is ready. Standard input: one byte means go, an end
//! without it means that nobody wants the run. SIGTERM or SIGINT: stop.
//!
//! # Exit codes
//! | code | meaning |
//! | --- | --- |
//! | 0 | the run is over (or was never started) and `exit.json` says how |
//! | 64 | the arguments or the spec make no sense; nothing was started |
//! | 65 | the directory has been used by an earlier supervisor; nothing was started |
//! | 70 | a step failed (`supervisor.log` says which): nothing was started, or the record could not be written |
//! | 75 | another supervisor holds the lock; nothing was started |

mod ending;
mod pump;
mod watch;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::Flock;
use nix::sys::prctl;
use proc_identity::host::Clocks;
use proc_identity::{PROC_ROOT, ProcError, ProcessId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::watch::Watch;
use super::hardening;
use super::record::{ExitRecord, NotStarted, Outcome, StreamEnd};
use super::run_dir::{RunDir, RunDirError};
use super::signals::{self, Inbox, Told, Which};
use super::spec::TreeKill;

/// Exit code: the exit record is written.
pub const EXIT_RECORDED: i32 = 0;
/// Exit code: unusable arguments or spec.
pub const EXIT_USAGE: i32 = 64;
/// Exit code: the directory was used before.
pub const EXIT_USED: i32 = 65;
/// Exit code: a step failed.
pub const EXIT_FAILED: i32 = 70;
/// Exit code: another supervisor holds the lock.
pub const EXIT_ALREADY_RUNNING: i32 = 75;

/// The core commits between ready and go; a core that takes longer than this has lost the run.
const GO_LIMIT_MS: i64 = 120_000;

/// Runs the supervisor and gives its exit code. Call it first thing in `main`, before any thread or runtime exists.
#[must_use]
pub fn supervise(dir: &Path) -> i32 {
    match run(dir) {
        Ok(()) => EXIT_RECORDED,
        Err(error) => {
            // standard error is `supervisor.log`; when that fails, too, the exit code still tells
            writeln!(std::io::stderr(), "{error}").ok();
            error.exit_code()
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum SuperviseError {
    #[error("harden the process: {0}")]
    Harden(std::io::Error),
    #[error("set up signals: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    #[error("the run directory has no spec")]
    NoSpec,
    #[error("another supervisor holds the lock")]
    AlreadyRunning,
    #[error("the run directory was used before")]
    Used,
    #[error("identify itself: {0}")]
    Identity(ProcError),
    #[error("wait for events: {0}")]
    Poll(Errno),
}

impl SuperviseError {
    fn exit_code(&self) -> i32 {
        match self {
            Self::NoSpec | Self::RunDir(RunDirError::Relative(_) | RunDirError::Json { .. }) => EXIT_USAGE,
            Self::Used => EXIT_USED,
            Self::AlreadyRunning => EXIT_ALREADY_RUNNING,
            Self::Harden(_)
            | Self::Signals(_)
            | Self::Identity(_)
            | Self::Poll(_)
            | Self::RunDir(RunDirError::Used(_) | RunDirError::Io { .. }) => EXIT_FAILED,
        }
    }
}

fn run(dir: &Path) -> Result<(), SuperviseError> {
    hardening::set_not_dumpable().map_err(SuperviseError::Harden)?;
    signals::stop_ignoring(Which::Children).map_err(SuperviseError::Signals)?;
    let inbox = Inbox::open().map_err(SuperviseError::Signals)?;
    // refused when this is a group leader already (started by hand from a shell): then that group is its own, too
    rustix::process::setsid().ok();
    let dir = RunDir::at(dir)?;
    let spec = dir.read_spec()?.ok_or(SuperviseError::NoSpec)?;
    if spec.tree_kill == TreeKill::On {
        prctl::set_child_subreaper(true).map_err(|errno| SuperviseError::Harden(errno.into()))?;
    }
    if spec.no_new_privs {
        prctl::set_no_new_privs().map_err(|errno| SuperviseError::Harden(errno.into()))?;
    }
    let _lock = take(&dir)?;
    let record = match wait_for_go(&inbox)? {
        Go::Start => match Watch::start(&dir, &spec) {
            Ok(watch) => watch.run(&inbox).map_err(SuperviseError::Poll)?,
            Err(message) => never_started(NotStarted::Failed { message }),
        },
        Go::Never(reason) => never_started(reason),
    };
    ending::keep(&dir, &record)?;
    Ok(())
}

/// Takes the lock of an unused directory, writes this process's identity into it and announces it.
fn take(dir: &RunDir) -> Result<Flock<File>, SuperviseError> {
    let mut lock = dir.lock()?.ok_or(SuperviseError::AlreadyRunning)?;
    let used = lock.metadata().map_or(true, |metadata| metadata.len() > 0);
    if used {
        return Err(SuperviseError::Used);
    }
    let id = identity()?;
    dir.write_identity(&mut lock, id)?;
    let ready = format!("{{\"pid\":{},\"start_ticks\":{}}}\n", id.pid, id.start_ticks);
    let mut out = std::io::stdout().lock();
    // a core that is gone by now shows as an end of standard input
    out.write_all(ready.as_bytes()).and_then(|()| out.flush()).ok();
    Ok(lock)
}

fn identity() -> Result<ProcessId, SuperviseError> {
    let own = i32::try_from(std::process::id()).map_err(|_| SuperviseError::Identity(ProcError::Gone))?;
    proc_identity::read_stat(PROC_ROOT.as_ref(), own).map(|stat| stat.id()).map_err(SuperviseError::Identity)
}

enum Go {
    Start,
    Never(NotStarted),
}

fn wait_for_go(inbox: &Inbox) -> Result<Go, SuperviseError> {
    let give_up_at_ms = Clocks::now().monotonic_ms.saturating_add(GO_LIMIT_MS);
    let stdin = std::io::stdin();
    loop {
        while let Some(told) = inbox.next() {
            match told {
                Told::Stop => return Ok(Go::Never(NotStarted::StoppedBefore)),
                Told::Child | Told::Nothing => {}
            }
        }
        let left_ms = give_up_at_ms.saturating_sub(Clocks::now().monotonic_ms);
        if left_ms <= 0 {
            return Ok(Go::Never(NotStarted::GoTimedOut));
        }
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(inbox, PollFlags::IN)];
        wait(&mut fds, left_ms).map_err(SuperviseError::Poll)?;
        let [from_core, _] = fds;
        if from_core.revents().is_empty() {
            continue;
        }
        let mut byte = [0_u8; 1];
        return match rustix::io::read(stdin.as_fd(), &mut byte) {
            Ok(0) => Ok(Go::Never(NotStarted::NoGo)),
            Ok(_) => Ok(Go::Start),
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(_) => Ok(Go::Never(NotStarted::NoGo)),
        };
    }
}

/// Polls for at most so long; an interruption is an early return.
fn wait(fds: &mut [PollFd<'_>], at_most_ms: i64) -> Result<(), Errno> {
    let at_most_ms = at_most_ms.max(0);
    let timeout = Timespec { tv_sec: at_most_ms / 1000, tv_nsec: (at_most_ms % 1000) * 1_000_000 };
    match poll(fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn never_started(reason: NotStarted) -> ExitRecord {
    let now_ms = Clocks::now().realtime_ms;
    ExitRecord {
        outcome: Outcome::NotStarted { reason },
        child: None,
        started_at_ms: now_ms,
        ended_at_ms: now_ms,
        swept: None,
        out: StreamEnd::default(),
        err: StreamEnd::default(),
    }
}

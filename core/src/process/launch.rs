//! The core's side of a run: prepare, go, wait, stop, and find it again after a restart.
//!
//! Responsible for the spawn of a supervisor and for reading the run directory. Does not drain output (that is the
//! supervisor's), does not commit anything, and does not sweep by itself: a lost supervisor is an answer, and the caller
//! calls [`super::sweep`].
//!
//! Invariants: [`Prepared`] without [`Prepared::go`] never starts a program; dropping any handle leaves the run alone;
//! no signal goes to a pid that was not identified through a pidfd first.

#![expect(clippy::disallowed_methods, reason = "this module is the one that starts supervisors")]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use proc_identity::{Liveness, PROC_ROOT, ProcessId};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::cookie::Cookie;
use super::record::ExitRecord;
use super::run_dir::{LockState, RunDir, RunDirError};
use super::spec::RunSpec;
use super::supervise::{EXIT_ALREADY_RUNNING, EXIT_USED};

/// A supervisor that is not ready by then is taken for failed: it needs a few milliseconds on an idle host.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of the ready line.
const READY_CAP_BYTES: u64 = 256;
/// How often the lock of a run is looked at where its supervisor cannot be watched.
const LOCK_POLL: Duration = Duration::from_millis(250);
/// How many bytes of the supervisor's log an error message carries.
const LOG_CAP_BYTES: usize = 2_000;

/// A failed step of starting, watching or stopping a run.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A file of the run directory.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The supervisor could not be spawned.
    #[error("spawn the supervisor: {0}")]
    Spawn(std::io::Error),
    /// Another supervisor lives in this directory.
    #[error("supervise {0}: another supervisor holds its lock")]
    AlreadyRunning(PathBuf),
    /// The directory was used by an earlier run.
    #[error("supervise {0}: the directory was used before")]
    Used(PathBuf),
    /// The supervisor ended before it was ready, or said something else than its ready line.
    #[error("supervise {dir}: not ready ({said})")]
    NotReady {
        /// The run directory.
        dir: PathBuf,
        /// Exit status and what the supervisor logged.
        said: String,
    },
    /// The go byte did not reach the supervisor. It then records that nothing was started.
    #[error("give the go byte: {0}")]
    Go(std::io::Error),
    /// Waiting for the supervisor failed.
    #[error("wait for the supervisor: {0}")]
    Wait(std::io::Error),
    /// The supervisor could not be signalled.
    #[error("stop the supervisor: {0}")]
    Stop(std::io::Error),
}

/// A supervisor that is ready and waits. Dropped without [`Prepared::go`], it records that nothing was started.
#[derive(Debug)]
pub struct Prepared {
    dir: RunDir,
    cookie: Cookie,
    supervisor: ProcessId,
    child: Child,
    go: ChildStdin,
}

/// A run that goes on. Dropping it leaves the run alone: [`adopt`] finds it again.
#[derive(Debug)]
pub struct Running {
    dir: RunDir,
    cookie: Cookie,
    supervisor: Option<ProcessId>,
    watch: Watch,
}

/// How the end of a supervisor is noticed.
#[derive(Debug)]
enum Watch {
    /// Our own child.
    Child(Box<Child>),
    /// Somebody else's child by now: readable when it has ended.
    Pidfd(AsyncFd<OwnedFd>),
    /// Neither: the lock is looked at.
    Lock,
}

/// How a run ended, as far as the core can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// The supervisor left its record.
    Recorded(ExitRecord),
    /// The lock is free and there is no record: the supervisor was killed. The program died with it; what that had
    /// started may live: sweep by this cookie.
    SupervisorLost {
        /// What to sweep by.
        cookie: Cookie,
    },
}

/// What a restarted core finds in a run directory.
#[derive(Debug)]
pub enum Adopted<R = Running> {
    /// It lives.
    Live(R),
    /// It ended, while nobody looked.
    Ended(ExitRecord),
    /// Its supervisor was killed: sweep by this cookie.
    Lost {
        /// What to sweep by.
        cookie: Cookie,
    },
    /// No supervisor has come so far that it could have started anything, and none will: its go byte died with the core.
    NeverPrepared,
}

/// What came of asking a supervisor to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSent {
    /// It was told; [`Running::wait`] tells the end.
    Sent,
    /// There is nobody to tell: it ended.
    AlreadyEnded,
}

/// Makes the run directory and brings a supervisor to the point where one byte starts the program. `self_exe` is the
/// binary that understands `supervise DIR`, `/proc/self/exe` for the core itself.
///
/// # Errors
/// [`LaunchError`]; then nothing was started and nothing will be.
pub async fn prepare(spec: &RunSpec, dir: &Path, self_exe: &Path) -> Result<Prepared, LaunchError> {
    let dir = RunDir::create(dir)?;
    dir.write_spec(spec)?;
    spawn(&dir, spec, self_exe).await
}

async fn spawn(dir: &RunDir, spec: &RunSpec, self_exe: &Path) -> Result<Prepared, LaunchError> {
    let log = dir.create_log()?;
    let mut child = Command::new(self_exe)
        .arg0("orch-core")
        .arg("supervise")
        .arg(dir.path())
        .env_clear()
        .envs(&spec.env)
        // a worktree may be removed while the supervisor lives
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(false)
        .spawn()
        .map_err(LaunchError::Spawn)?;
    let said = |what: &str| LaunchError::NotReady { dir: dir.path().to_owned(), said: what.to_owned() };
    let (Some(go), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(said("no pipes"));
    };
    // an error below drops `go`: the supervisor sees the end of its standard input and starts nothing
    match timeout(READY_LIMIT, ready_line(stdout)).await {
        Ok(Some(supervisor)) => Ok(Prepared { dir: dir.clone(), cookie: spec.cookie, supervisor, child, go }),
        Ok(None) => {
            drop(go);
            Err(not_ready(dir, &mut child).await)
        }
        Err(_elapsed) => Err(said("no ready line in time")),
    }
}

async fn ready_line(stdout: ChildStdout) -> Option<ProcessId> {
    let mut line = String::new();
    BufReader::new(stdout.take(READY_CAP_BYTES)).read_line(&mut line).await.ok()?;
    serde_json::from_str(&line).ok()
}

async fn not_ready(dir: &RunDir, child: &mut Child) -> LaunchError {
    let status = match timeout(READY_LIMIT, child.wait()).await {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return LaunchError::Wait(error),
        Err(_elapsed) => {
            return LaunchError::NotReady { dir: dir.path().to_owned(), said: "it lingers".to_owned() };
        }
    };
    match status.code() {
        Some(EXIT_ALREADY_RUNNING) => LaunchError::AlreadyRunning(dir.path().to_owned()),
        Some(EXIT_USED) => LaunchError::Used(dir.path().to_owned()),
        Some(_) | None => {
            let log = std::fs::read_to_string(dir.path().join("supervisor.log")).unwrap_or_default();
            let log: String = log.trim().chars().take(LOG_CAP_BYTES).collect();
            LaunchError::NotReady { dir: dir.path().to_owned(), said: format!("{status}: {log}") }
        }
    }
}

impl Prepared {
    /// The supervisor, for the record of the run.
    #[must_use]
    pub fn supervisor(&self) -> ProcessId {
        self.supervisor
    }

    /// The run directory.
    #[must_use]
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// Starts the program. Call it when the supervisor's identity is committed.
    ///
    /// # Errors
    /// [`LaunchError::Go`]
    pub async fn go(mut self) -> Result<Running, LaunchError> {
        self.go.write_all(b"g").await.map_err(LaunchError::Go)?;
        self.go.flush().await.map_err(LaunchError::Go)?;
        drop(self.go);
        Ok(Running {
            dir: self.dir,
            cookie: self.cookie,
            supervisor: Some(self.supervisor),
            watch: Watch::Child(Box::new(self.child)),
        })
    }
}

impl Running {
    /// The supervisor; unknown for a moment when it was adopted while it started.
    #[must_use]
    pub fn supervisor(&self) -> Option<ProcessId> {
        self.supervisor
    }

    /// The run directory.
    #[must_use]
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// The run's mark.
    #[must_use]
    pub fn cookie(&self) -> Cookie {
        self.cookie
    }

    /// Waits for the end of the supervisor and reads what it left. May be dropped and called again.
    ///
    /// # Errors
    /// [`LaunchError`] when it cannot be watched, or its record not be read: "could not look", never "it ended badly".
    pub async fn wait(&mut self) -> Result<RunEnd, LaunchError> {
        match &mut self.watch {
            Watch::Child(child) => {
                child.wait().await.map_err(LaunchError::Wait)?;
            }
            Watch::Pidfd(pidfd) => {
                pidfd.ready(Interest::READABLE).await.map_err(LaunchError::Wait)?.retain_ready();
                reap(pidfd.get_ref());
            }
            Watch::Lock => {}
        }
        // also of a supervisor that was waited for: its trampoline shares the lock between fork and exec
        while let LockState::Held(_) = self.dir.lock_state()? {
            sleep(LOCK_POLL).await;
        }
        Ok(match self.dir.read_exit()? {
            Some(record) => RunEnd::Recorded(record),
            None => RunEnd::SupervisorLost { cookie: self.cookie },
        })
    }

    /// Asks the supervisor to end the run by its ladder. Asking again changes nothing.
    ///
    /// # Errors
    /// [`LaunchError::Stop`] when it lives and cannot be signalled.
    pub fn stop(&self) -> Result<StopSent, LaunchError> {
        let Some(id) = self.supervisor else {
            return match self.dir.lock_state()? {
                LockState::Held(Some(id)) => stop(id),
                LockState::Held(None) => Err(LaunchError::Stop(std::io::ErrorKind::WouldBlock.into())),
                LockState::Free(_) | LockState::Absent => Ok(StopSent::AlreadyEnded),
            };
        };
        stop(id)
    }
}

fn stop(id: ProcessId) -> Result<StopSent, LaunchError> {
    let failed = |errno: Errno| LaunchError::Stop(errno.into());
    match identified(id) {
        Ok(Some(pidfd)) => match pidfd_send_signal(&pidfd, Signal::TERM) {
            Ok(()) => Ok(StopSent::Sent),
            Err(Errno::SRCH) => Ok(StopSent::AlreadyEnded),
            Err(errno) => Err(failed(errno)),
        },
        Ok(None) => Ok(StopSent::AlreadyEnded),
        Err(errno) => Err(failed(errno)),
    }
}

/// A pidfd of exactly this process; `None` when it is gone. The descriptor is opened first: whom the look then confirms
/// is whom it refers to.
fn identified(id: ProcessId) -> Result<Option<OwnedFd>, Errno> {
    let Some(pid) = Some(id.pid).filter(|pid| *pid > 1).and_then(Pid::from_raw) else { return Ok(None) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    match proc_identity::same(PROC_ROOT.as_ref(), id) {
        Liveness::Alive => Ok(Some(pidfd)),
        Liveness::Zombie | Liveness::Gone => Ok(None),
        Liveness::Unknown => Err(Errno::ACCESS),
    }
}

/// Collects the ended supervisor where it is our child after all (the core is a subreaper or pid 1), by its own
/// descriptor: anything wider would take children away from the runtime.
fn reap(pidfd: &OwnedFd) {
    // ECHILD is the ordinary answer: its parent is somebody else
    waitid(WaitId::PidFd(rustix::fd::AsFd::as_fd(pidfd)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).ok();
}

/// Looks at a run directory of an earlier life of the core. Needs a tokio runtime with I/O.
///
/// # Errors
/// [`LaunchError`] when it cannot be looked at, which says nothing about the run.
pub fn adopt(dir: &Path) -> Result<Adopted, LaunchError> {
    let dir = RunDir::at(dir)?;
    let lock = dir.lock_state()?;
    let supervisor = match lock {
        // without an identity no supervisor has passed the point at which it listens for the go byte
        LockState::Absent | LockState::Free(None) => return Ok(Adopted::NeverPrepared),
        LockState::Held(supervisor) => supervisor,
        LockState::Free(Some(_)) => {
            return Ok(match dir.read_exit()? {
                Some(record) => Adopted::Ended(record),
                None => Adopted::Lost { cookie: cookie(&dir)? },
            });
        }
    };
    let cookie = cookie(&dir)?;
    // a supervisor of another pid namespace cannot be watched or signalled, but its lock can be looked at
    let pidfd = supervisor.and_then(|id| identified(id).ok().flatten());
    let watch = pidfd.and_then(|pidfd| readable(pidfd).ok()).map_or(Watch::Lock, Watch::Pidfd);
    Ok(Adopted::Live(Running { dir, cookie, supervisor, watch }))
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, which is forbidden here; what it asks of the caller, that the number stays open and \
              the same, an OwnedFd keeps by itself"
)]
fn readable(pidfd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

fn cookie(dir: &RunDir) -> Result<Cookie, LaunchError> {
    let spec = dir.read_spec()?.ok_or_else(|| LaunchError::NotReady {
        dir: dir.path().to_owned(),
        said: "the spec is gone".to_owned(),
    })?;
    Ok(spec.cookie)
}

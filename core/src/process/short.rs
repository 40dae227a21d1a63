//! Short commands: a program that is started, fed, read and gone within one call.
//!
//! Responsible for git and for small probes. A command lives in a process group of its own, has an exact
//! environment (nothing is inherited), a time-out and an output limit, and its group does not outlive the call:
//! not when it ends, not when it times out, not when the caller drops the future.
//!
//! Deliberately not here: agents, gate commands, anything that may run for minutes or that must survive the core
//! (the supervisor's business). A descendant that moves itself to another session escapes the group kill; it can
//! not hold up the end, because the pipes are given up [`DRAIN_GRACE`] after the leader is gone.
//!
//! Invariant: a group is signalled only while its leader has not been reaped, so the number cannot have been
//! given to somebody else.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// How long a group that ran out of time may clean up (git removes its lock files on SIGTERM) before SIGKILL.
pub const TERM_GRACE: Duration = Duration::from_millis(1_500);
/// How long the pipes are still read after the leader's end; only an escaped descendant makes this matter.
pub const DRAIN_GRACE: Duration = Duration::from_millis(500);
/// How long a killed leader may take to become a zombie (it may sit in an uninterruptible read).
const KILL_GRACE: Duration = Duration::from_secs(5);
const READ_CHUNK_BYTES: usize = 16 * 1024;

/// What to start. Every field counts: there is no inherited state but the user and the limits of the core.
#[derive(Debug, Clone)]
pub struct ShortCommand {
    /// Program name (looked up in `env`'s `PATH`) or path.
    pub program: OsString,
    /// Arguments without the program itself.
    pub args: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// The whole environment of the child.
    pub env: BTreeMap<OsString, OsString>,
    /// Bytes for standard input; `None` is `/dev/null`.
    pub stdin: Option<Vec<u8>>,
    /// Time from start to SIGTERM.
    pub timeout: Duration,
    /// Limit for each of the two outputs, in bytes; what comes after it is read and thrown away.
    pub max_output_bytes: usize,
}

/// How the leader ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndStatus {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
}

/// What a command that came to its own end left.
#[derive(Debug, Clone)]
pub struct ShortOutput {
    /// Code or signal.
    pub status: EndStatus,
    /// The first `max_output_bytes` of standard output.
    pub stdout: Vec<u8>,
    /// The first `max_output_bytes` of standard error.
    pub stderr: Vec<u8>,
    /// Something is missing: an output went over the limit, or a descendant still held a pipe.
    pub truncated: bool,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub enum ShortError {
    /// The program could not be started.
    #[error("start {program}")]
    Spawn {
        /// The program's name.
        program: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It did not end in time and was killed with its group.
    #[error("{program} did not end within {after_ms} ms")]
    TimedOut {
        /// The program's name.
        program: String,
        /// The time-out that was exceeded, in milliseconds.
        after_ms: u128,
    },
    /// The system refused something while it ran.
    #[error("watch {program}")]
    Io {
        /// The program's name.
        program: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// Runs a command to its end.
///
/// # Errors
/// [`ShortError`]; a command that ends with a code other than zero is not an error here.
pub async fn run(command: ShortCommand) -> Result<ShortOutput, ShortError> {
    let ShortCommand { program, args, cwd, env, stdin, timeout: limit, max_output_bytes } = command;
    let name = program.to_string_lossy().into_owned();
    let mut child = builder(&program)
        .args(&args)
        .current_dir(&cwd)
        .env_clear()
        .envs(&env)
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| ShortError::Spawn { program: name.clone(), source })?;
    let io = |source| ShortError::Io { program: name.clone(), source };
    let (stdin_pipe, stdout_pipe, stderr_pipe) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut group = Group { child };
    let ended = group.watch().map_err(io)?;

    let mut stdout = Capped::new(max_output_bytes);
    let mut stderr = Capped::new(max_output_bytes);
    let mut drained = false;
    let timed_out;
    {
        let pumps = async {
            tokio::join!(
                feed(stdin_pipe, stdin.unwrap_or_default()),
                pump(stdout_pipe, &mut stdout),
                pump(stderr_pipe, &mut stderr),
            );
        };
        tokio::pin!(pumps);
        let to_the_end = async {
            loop {
                tokio::select! {
                    end = ended.readable() => return end.map(drop),
                    () = &mut pumps, if !drained => drained = true,
                }
            }
        };
        timed_out = match timeout(limit, to_the_end).await {
            Ok(end) => {
                end.map_err(io)?;
                false
            }
            Err(_elapsed) => true,
        };
        if timed_out {
            group.signal(Signal::TERM);
            // either it cleans up in time or the SIGKILL below settles it: both are the same to us
            timeout(TERM_GRACE, ended.readable()).await.ok();
        }
        // the leader may be a zombie by now, or not; in both cases its number is still its own
        group.signal(Signal::KILL);
        if !timed_out && !drained {
            drained = timeout(DRAIN_GRACE, &mut pumps).await.is_ok();
        }
    }
    let status = match timeout(KILL_GRACE, group.child.wait()).await {
        Ok(status) => status.map_err(io)?,
        Err(_elapsed) => return Err(io(std::io::Error::other("the killed process does not end"))),
    };
    if timed_out {
        return Err(ShortError::TimedOut { program: name, after_ms: limit.as_millis() });
    }
    let status = match (status.code(), status.signal()) {
        (Some(code), _) => EndStatus::Code(code),
        (None, Some(signal)) => EndStatus::Signal(signal),
        (None, None) => return Err(io(std::io::Error::other("ended neither by exit nor by signal"))),
    };
    let truncated = !drained || stdout.overflowed || stderr.overflowed;
    Ok(ShortOutput { status, stdout: stdout.bytes, stderr: stderr.bytes, truncated })
}

#[expect(clippy::disallowed_methods, reason = "the one place for short commands")]
fn builder(program: &OsString) -> Command {
    Command::new(program)
}

/// A started leader with its group; dropping it kills the group.
struct Group {
    child: Child,
}

impl Group {
    /// A descriptor that becomes readable when the leader is a zombie, which is before it is reaped.
    #[expect(
        deprecated,
        reason = "its replacement is unsafe; an owned descriptor that stays inside meets its contract"
    )]
    fn watch(&self) -> std::io::Result<AsyncFd<OwnedFd>> {
        let pid = self.leader().ok_or_else(|| std::io::Error::other("reaped before it was watched"))?;
        let descriptor = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        AsyncFd::with_interest(descriptor, Interest::READABLE)
    }

    /// The leader's pid as long as it has not been reaped.
    fn leader(&self) -> Option<Pid> {
        self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.leader() {
            // fails only when no member is left, which is what the signal is for
            kill_process_group(pid, signal).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // the runtime reaps the leader later; until then the number stays taken
        self.signal(Signal::KILL);
    }
}

struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Capped {
    fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, overflowed: false }
    }

    fn push(&mut self, chunk: &[u8]) {
        let room = self.limit.saturating_sub(self.bytes.len());
        let taken = &chunk[..room.min(chunk.len())];
        self.bytes.extend_from_slice(taken);
        self.overflowed |= taken.len() < chunk.len();
    }
}

async fn pump<R: AsyncRead + Unpin>(pipe: Option<R>, into: &mut Capped) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0_u8; READ_CHUNK_BYTES];
    loop {
        match pipe.read(&mut chunk).await {
            Ok(0) => return,
            Ok(count) => into.push(&chunk[..count]),
            Err(_broken) => {
                into.overflowed = true;
                return;
            }
        }
    }
}

async fn feed(pipe: Option<ChildStdin>, bytes: Vec<u8>) {
    if let Some(mut pipe) = pipe {
        // a program need not read all of its input; that it did not is told by its exit code
        pipe.write_all(&bytes).await.ok();
    }
}

#[cfg(test)]
mod tests;

//! Starting programs and ending exactly those that were started.
//!
//! Responsible for a guard around each child (killed and reaped on drop), for signals by identity
//! (pid *and* start ticks), and for short calls with a deadline. It never signals by name, by group
//! that it does not own, or a pid whose start time is another one.
#![expect(
    clippy::disallowed_methods,
    reason = "this module is the door through which the harness starts programs"
)]

use crate::clock;
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// How often an awaited child is looked at, in milliseconds.
const POLL_MS: u64 = 10;
/// How long a program may take to end after SIGTERM before the guard kills it, in seconds.
const TERM_PATIENCE_S: u64 = 20;

/// A command for a program, with the caller's environment.
pub fn program(path: impl AsRef<OsStr>) -> Command {
    Command::new(path)
}

/// A command whose environment is empty but for what lets programs be found.
pub fn bare_program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.env_clear();
    for name in ["PATH", "HOME", "LANG", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Where a program is, by the caller's `PATH`.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Settings of both programs that the caller's environment holds.
#[must_use]
pub fn settings_given() -> std::collections::BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(key, _)| key.starts_with("ORCH_") || key.starts_with("WATCHDOG_"))
        .collect()
}

/// What a finished program said.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// Both streams, for messages.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}\nstdout: {}\nstderr: {}", self.status, self.out.trim(), self.err.trim())
    }
}

/// Run a program to its end and collect both streams.
///
/// # Errors
/// When it cannot be started, or has not ended within `patience` (it is killed then).
pub fn run(command: &mut Command, patience: Duration) -> Result<Said> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut guard = Guard::start(&name, command)?;
    let mut out = guard.child.stdout.take().context("no pipe for standard output")?;
    let mut err = guard.child.stderr.take().context("no pipe for standard error")?;
    let out = thread::spawn(move || {
        let mut text = Vec::new();
        out.read_to_end(&mut text).map(|_| text)
    });
    let err = thread::spawn(move || {
        let mut text = Vec::new();
        err.read_to_end(&mut text).map(|_| text)
    });
    let status = guard.wait(patience)?;
    let text = |reader: thread::JoinHandle<std::io::Result<Vec<u8>>>| -> Result<String> {
        let bytes = reader.join().map_err(|_| anyhow::anyhow!("the reader of {name} panicked"))??;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Said { status, out: text(out)?, err: text(err)? })
}

/// A started child that does not outlive this value.
#[derive(Debug)]
pub struct Guard {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Guard {
    /// Start a command.
    ///
    /// # Errors
    /// When the program cannot be started; names it.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, ended: None })
    }

    /// The child's pid.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// Its pipes, for whoever reads them.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the kernel refuses to say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
        }
        Ok(self.ended)
    }

    /// Wait for the end.
    ///
    /// # Errors
    /// When `patience` is over: the child is killed and named.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = clock::now() + patience;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if clock::now() >= deadline {
                self.kill();
                bail!("{} did not end within {} s and was killed", self.name, patience.as_secs());
            }
            thread::sleep(Duration::from_millis(POLL_MS));
        }
    }

    /// Send a signal, unless it has ended already.
    ///
    /// # Errors
    /// When the kernel refuses the signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended()?.is_none() {
            kill(Pid::from_raw(self.pid()), signal)
                .with_context(|| format!("cannot send {signal} to {}", self.name))?;
        }
        Ok(())
    }

    /// Ask it to end, wait, and kill it when it does not.
    ///
    /// # Errors
    /// When it had to be killed.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(Duration::from_secs(TERM_PATIENCE_S))
    }

    /// SIGKILL and reap.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            self.child.kill().ok(); // gone already is what we want
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.kill();
    }
}

//! The run directory: names of its files, reading and writing them, and the lock.
//!
//! ```text
//! spec.json       the order, without environment values        written by the core, before the spawn
//! lock            flock held for the supervisor's life; its identity as JSON inside
//! child.json      identity of the program                      once it was spawned
//! out  err        its output, up to the cap
//! exit.json       the exit record: temp, fsync, rename, fsync of the directory
//! supervisor.log  what the supervisor itself had to say
//! ```
//! Does not decide what a combination of files means; `launch::adopt` does. Invariant: a JSON file is either absent or
//! whole, and `exit.json` is written once.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use proc_identity::ProcessId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::record::{ChildIdentity, ExitRecord};
use super::spec::RunSpec;

/// A JSON file of a run directory is refused beyond this; a spec may carry a long prompt as an argument.
const JSON_CAP_BYTES: u64 = 16 * 1024 * 1024;
/// How often a taken lock is tried again: somebody may be *looking* at it for an instant.
const LOCK_TRIES: u32 = 20;
/// Pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// One of the two output streams of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output, file `out`.
    Out,
    /// Standard error, file `err`.
    Err,
}

/// Path of a run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

/// A failed step on a file of the run directory.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// It exists, and a run directory is used once.
    #[error("create run directory {0}: it exists and is not empty")]
    Used(PathBuf),
    /// The path is relative: supervisor and core need not share a working directory.
    #[error("use run directory {0}: the path is not absolute")]
    Relative(PathBuf),
    /// A system call failed.
    #[error("{step} {path}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file's text is not what was written.
    #[error("read {path}: {source}")]
    Json {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// What the lock file says.
#[derive(Debug)]
pub(super) enum LockState {
    /// No lock file: no supervisor has come this far.
    Absent,
    /// A supervisor lives; its identity, if it has written it already.
    Held(Option<ProcessId>),
    /// None lives. The identity of the one that did; without it no program can have been started.
    Free(Option<ProcessId>),
}

impl RunDir {
    /// Names a directory; nothing is looked at.
    ///
    /// # Errors
    /// [`RunDirError::Relative`]
    pub fn at(path: &Path) -> Result<Self, RunDirError> {
        if path.is_absolute() {
            Ok(Self(path.to_owned()))
        } else {
            Err(RunDirError::Relative(path.to_owned()))
        }
    }

    /// Makes the directory (parents included, mode 0700), or takes an empty one.
    ///
    /// # Errors
    /// [`RunDirError`]
    pub fn create(path: &Path) -> Result<Self, RunDirError> {
        let dir = Self::at(path)?;
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(dir.failed("create", ""))?;
        let mut entries = std::fs::read_dir(path).map_err(dir.failed("list", ""))?;
        if entries.next().is_some() { Err(RunDirError::Used(path.to_owned())) } else { Ok(dir) }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Path of an output file.
    #[must_use]
    pub fn stream(&self, stream: Stream) -> PathBuf {
        self.0.join(match stream {
            Stream::Out => "out",
            Stream::Err => "err",
        })
    }

    /// The order.
    ///
    /// # Errors
    /// [`RunDirError`]
    pub fn read_spec(&self) -> Result<Option<RunSpec>, RunDirError> {
        self.read("spec.json")
    }

    /// The program's identity, once it was spawned.
    ///
    /// # Errors
    /// [`RunDirError`]
    pub fn read_child(&self) -> Result<Option<ChildIdentity>, RunDirError> {
        self.read("child.json")
    }

    /// The exit record, once the run ended.
    ///
    /// # Errors
    /// [`RunDirError`]
    pub fn read_exit(&self) -> Result<Option<ExitRecord>, RunDirError> {
        self.read("exit.json")
    }

    pub(super) fn write_spec(&self, spec: &RunSpec) -> Result<(), RunDirError> {
        self.write("spec.json", spec)
    }

    pub(super) fn write_child(&self, child: &ChildIdentity) -> Result<(), RunDirError> {
        self.write("child.json", child)
    }

    pub(super) fn write_exit(&self, record: &ExitRecord) -> Result<(), RunDirError> {
        self.write("exit.json", record)
    }

    /// The file that takes what the supervisor itself says.
    pub(super) fn create_log(&self) -> Result<File, RunDirError> {
        self.create_file("supervisor.log")
    }

    pub(super) fn create_stream(&self, stream: Stream) -> Result<File, RunDirError> {
        self.create_file(match stream {
            Stream::Out => "out",
            Stream::Err => "err",
        })
    }

    /// Takes the lock for life; `None` when another holds it. The file is left as it is.
    pub(super) fn lock(&self) -> Result<Option<Flock<File>>, RunDirError> {
        let path = self.0.join("lock");
        // std opens with O_CLOEXEC: the program does not inherit the lock
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(self.failed("open", "lock"))?;
        for _ in 0..LOCK_TRIES {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Some(lock)),
                Err((back, nix::Error::EWOULDBLOCK)) => file = back,
                Err((_, errno)) => return Err(self.failed("lock", "lock")(errno.into())),
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        Ok(None)
    }

    /// Looks at the lock without keeping it.
    pub(super) fn lock_state(&self) -> Result<LockState, RunDirError> {
        let file = match File::open(self.0.join("lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(LockState::Absent),
            Err(error) => return Err(self.failed("open", "lock")(error)),
        };
        let (held, mut file) = match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(lock) => match lock.unlock() {
                Ok(file) => (false, file),
                Err((_, errno)) => return Err(self.failed("unlock", "lock")(errno.into())),
            },
            Err((file, nix::Error::EWOULDBLOCK)) => (true, file),
            Err((_, errno)) => return Err(self.failed("lock", "lock")(errno.into())),
        };
        let identity = self.identity(&mut file)?;
        Ok(if held { LockState::Held(identity) } else { LockState::Free(identity) })
    }

    /// The identity inside an open lock file; `None` while it is empty or half written.
    pub(super) fn identity(&self, lock: &mut File) -> Result<Option<ProcessId>, RunDirError> {
        let mut text = String::new();
        lock.rewind().map_err(self.failed("read", "lock"))?;
        lock.take(4096).read_to_string(&mut text).map_err(self.failed("read", "lock"))?;
        Ok(serde_json::from_str(&text).ok())
    }

    pub(super) fn write_identity(&self, lock: &mut File, id: ProcessId) -> Result<(), RunDirError> {
        let text = self.json("lock", &id)?;
        lock.write_all(&text).map_err(self.failed("write", "lock"))
    }

    fn create_file(&self, name: &'static str) -> Result<File, RunDirError> {
        OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(self.0.join(name))
            .map_err(self.failed("create", name))
    }

    fn read<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, RunDirError> {
        let path = self.0.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("open", name)(error)),
        };
        let mut text = Vec::new();
        file.take(JSON_CAP_BYTES).read_to_end(&mut text).map_err(self.failed("read", name))?;
        serde_json::from_slice(&text).map(Some).map_err(|source| RunDirError::Json { path, source })
    }

    /// Temp, fsync, rename, fsync of the directory: after a crash the file is absent or whole.
    fn write<T: Serialize>(&self, name: &'static str, value: &T) -> Result<(), RunDirError> {
        let text = self.json(name, value)?;
        let temp = self.0.join(format!("{name}.tmp"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temp)
            .map_err(self.failed("create", name))?;
        file.write_all(&text).map_err(self.failed("write", name))?;
        file.sync_all().map_err(self.failed("sync", name))?;
        std::fs::rename(&temp, self.0.join(name)).map_err(self.failed("rename", name))?;
        File::open(&self.0).and_then(|dir| dir.sync_all()).map_err(self.failed("sync", ""))
    }

    fn json<T: Serialize>(&self, name: &'static str, value: &T) -> Result<Vec<u8>, RunDirError> {
        serde_json::to_vec(value).map_err(|source| RunDirError::Json { path: self.0.join(name), source })
    }

    fn failed(
        &self,
        step: &'static str,
        name: &'static str,
    ) -> impl FnOnce(std::io::Error) -> RunDirError + use<> {
        let path = self.0.join(name);
        move |source| RunDirError::Io { step, path, source }
    }
}

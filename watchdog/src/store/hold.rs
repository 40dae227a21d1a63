//! One watchdog a state directory.
//!
//! Responsible for the lock. It is on the directory itself, which needs no room and no right to
//! write, and which nobody can take away by removing a file. The file `lock` is held beside it: it
//! names the holder, and it is what holds against a watchdog on another host of a shared file
//! system and against an earlier version of this program. Both end with the process. Invariant:
//! whoever holds knows whether the directory at the path is still the one that it holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::file::{careful, open_regular, refuse_strange};
use super::{ADDRESS_FILE, STATE_FILE, StoreError, failed, keep_owner};
use crate::control::SOCKET_FILE;
use crate::notify::text;

const LOCK_FILE: &str = "lock";

/// How much of the lock file is read: one line of ours.
const HOLDER_MAX_BYTES: u64 = 256;

/// A directory that is held while this lives.
#[derive(Debug)]
pub(super) struct Hold {
    directory: File,
    file: Option<File>,
}

/// What a watchdog's own files are called, or begin with.
const OWN_FILES: [&str; 4] = [LOCK_FILE, STATE_FILE, ADDRESS_FILE, SOCKET_FILE];

/// Takes a directory away from others that holds nothing but a watchdog's files: whoever can open it can keep its lock.
/// One that holds other files, too, is left as it is, and that is told.
pub(super) fn keep_others_out(dir: &Path) {
    let Ok(found) = fs::metadata(dir) else { return };
    if found.mode() & 0o007 == 0 || found.uid() != rustix::process::geteuid().as_raw() {
        return;
    }
    let is_own = |entry: io::Result<fs::DirEntry>| {
        let name = entry.map(|entry| entry.file_name());
        name.is_ok_and(|name| OWN_FILES.iter().any(|own| name.as_encoded_bytes().starts_with(own.as_bytes())))
    };
    let alone = fs::read_dir(dir).is_ok_and(|mut entries| entries.all(is_own));
    let mode = fs::Permissions::from_mode(found.mode() & 0o7770);
    if !alone || fs::set_permissions(dir, mode).is_err() {
        let dir = dir.display();
        tracing::warn!(%dir, "others can open the state directory, and whoever opens it can keep its lock");
    }
}

impl Hold {
    /// Takes the directory. Writes nothing.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let directory = File::open(dir).map_err(failed("open", dir))?;
        lock(&directory, dir, dir)?;
        let path = dir.join(LOCK_FILE);
        let file = match open_regular(&path) {
            Ok(file) => {
                lock(&file, dir, &path)?;
                Some(file)
            }
            // it is made with the first save, if it can be
            Err(_) => None,
        };
        Ok(Self { directory, file })
    }

    /// Whether the directory at the path is still the one that is held.
    pub(super) fn check(&self, dir: &Path) -> Result<(), StoreError> {
        let found = fs::metadata(dir).map_err(failed("look at the state directory", dir))?;
        let held = self.directory.metadata().map_err(failed("look at the held directory", dir))?;
        match same(&found, &held) {
            true => Ok(()),
            false => Err(StoreError::Replaced { dir: dir.to_owned() }),
        }
    }

    /// Sees to the lock file: makes it and signs it when it is not the one that is held. The lock on
    /// the directory holds meanwhile.
    pub(super) fn sign(&mut self, dir: &Path, now_ms: i64, first: bool) -> Result<(), StoreError> {
        let path = dir.join(LOCK_FILE);
        let known = match (&self.file, fs::symlink_metadata(&path)) {
            (Some(file), Ok(found)) => same(&found, &file.metadata().map_err(failed("look at", &path))?),
            (Some(_), Err(_)) | (None, _) => false,
        };
        if known && !first {
            return Ok(());
        }
        if self.file.is_some() && !known {
            tracing::warn!(path = %path.display(), "somebody replaced or removed the lock file; it is made anew");
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).custom_flags(careful());
        let file = options.open(&path).and_then(refuse_strange).map_err(failed("open", &path))?;
        keep_owner(&file, dir).map_err(failed("give to its owner", &path))?;
        if !known {
            lock(&file, dir, &path)?;
            self.file = Some(file.try_clone().map_err(failed("keep open", &path))?);
        }
        let mut file = file;
        let holder = format!("pid {} since {}\n", std::process::id(), text::full_time(now_ms));
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
        written.map_err(failed("write", &path))
    }
}

fn same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn lock(file: &File, dir: &Path, path: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Held { dir: dir.to_owned(), holder: holder(&dir.join(LOCK_FILE)) })
        }
        Err(TryLockError::Error(source)) => Err(failed("lock", path)(source)),
    }
}

/// Whether the pid of a signature is somebody's, as far as can be seen from here.
fn is_there(said: &str) -> bool {
    let pid = said.strip_prefix("pid ").and_then(|rest| rest.split(' ').next());
    pid.is_none_or(|pid| Path::new("/proc").join(pid).exists() || !Path::new("/proc/self").exists())
}

/// Who holds, as far as the lock file says; whoever signed it need not be there any more.
fn holder(path: &Path) -> String {
    let mut said = String::new();
    let read = |file: File| -> io::Result<usize> { file.take(HOLDER_MAX_BYTES).read_to_string(&mut said) };
    match open_regular(path).and_then(read) {
        Ok(_) if !said.trim().is_empty() => match is_there(&said) {
            true => format!("another watchdog runs there: {}", said.trim()),
            false => format!(
                "the watchdog that signed it is gone ({}), and `fuser -v {}` says who holds it",
                said.trim(),
                path.display()
            ),
        },
        Ok(_) | Err(_) => format!("nobody has signed it: `fuser -v {}` says who holds it", path.display()),
    }
}

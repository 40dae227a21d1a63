//! One core a database: a lock on a file of its own beside it, held for life.
//!
//! The lock is flock(2) on a descriptor that children do not inherit, so it ends with the process
//! and needs no cleaning up. The content (pid, start ticks, host, boot id) is for whoever is
//! refused; it is never what decides.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;

use super::Identity;

/// A dying core's children may hold the descriptor between fork and exec for a moment.
const RETRIES: u32 = 20;
const RETRY_PAUSE_MS: u64 = 100;

/// File systems on which WAL or flock is not to be trusted: magic numbers of statfs(2).
const REFUSED_FILE_SYSTEMS: [(u32, &str); 8] = [
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x6a65_6a63, "virtiofs"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
];

/// The lock; dropping it gives the database free.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockRefused {
    /// Another core lives.
    #[error("another core uses {path}: {holder}")]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who, as the file says.
        holder: String,
    },
    /// The database has several names in its file system.
    #[error(
        "{path} has {names} names (hard links), and each would have a lock and a log of its own: remove the others, or copy it with `orch-core backup`"
    )]
    Linked {
        /// The database.
        path: PathBuf,
        /// How many.
        names: u64,
    },
    /// The file system cannot keep the promise.
    #[error("{path} lies on {kind}, where SQLite's log is unsafe: set ORCH_DATA_DIR to a local disk")]
    FileSystem {
        /// Where.
        path: PathBuf,
        /// Which file system.
        kind: &'static str,
    },
    /// The lock file cannot be used.
    #[error("use the lock file {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl FileLock {
    /// Takes the lock beside `database`, trying for two seconds.
    ///
    /// # Errors
    /// [`LockRefused`], naming the holder where there is one.
    pub fn take(database: &Path, identity: &Identity, host: &str) -> Result<Self, LockRefused> {
        let database =
            true_path(database).map_err(|source| LockRefused::Io { path: database.to_owned(), source })?;
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let fail = |source| LockRefused::Io { path: path.clone(), source };
        refuse_second_names(&database)?;
        // std opens with O_CLOEXEC
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail)?;
        refuse_unsafe_file_system(&file, &path)?;
        let mut tries = 0;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if tries < RETRIES => {
                    tries += 1;
                    std::thread::sleep(std::time::Duration::from_millis(RETRY_PAUSE_MS));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    file.read_to_string(&mut holder).map_err(fail)?;
                    return Err(LockRefused::Held { path: path.clone(), holder: holder.trim().to_owned() });
                }
                Err(error) => return Err(fail(error.into())),
            }
        }
        file.set_len(0).map_err(fail)?;
        file.rewind().map_err(fail)?;
        writeln!(
            file,
            "pid {} (start ticks {}) on host {host}, boot id {}",
            identity.pid, identity.start_ticks, identity.boot_id
        )
        .map_err(fail)?;
        file.sync_all().map_err(fail)?;
        Ok(Self { _file: file })
    }
}

/// Where a database lies, whatever links lead there: whoever comes by another way must meet the same lock.
///
/// # Errors
/// When its folder is not there, or a link leads nowhere.
pub(super) fn true_path(database: &Path) -> std::io::Result<PathBuf> {
    if database.symlink_metadata().is_ok() {
        return database.canonicalize();
    }
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = database.file_name().ok_or(std::io::ErrorKind::IsADirectory)?;
    Ok(folder.canonicalize()?.join(name))
}

fn refuse_second_names(database: &Path) -> Result<(), LockRefused> {
    match database.metadata() {
        Ok(data) if data.is_file() && data.nlink() > 1 => {
            Err(LockRefused::Linked { path: database.to_owned(), names: data.nlink() })
        }
        // what else may be there is the database's business
        Ok(_) | Err(_) => Ok(()),
    }
}

fn refuse_unsafe_file_system(file: &File, path: &Path) -> Result<(), LockRefused> {
    let stat = rustix::fs::fstatfs(file)
        .map_err(|error| LockRefused::Io { path: path.to_owned(), source: error.into() })?;
    // the kernel's magic numbers are 32 bits wide whatever the type that carries them
    let magic = (stat.f_type as u64 & 0xffff_ffff) as u32;
    match refused(magic) {
        Some(kind) => Err(LockRefused::FileSystem { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

/// The name of a file system that is refused.
fn refused(magic: u32) -> Option<&'static str> {
    REFUSED_FILE_SYSTEMS.iter().find(|(known, _)| *known == magic).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_user_space_file_systems_are_refused_by_name() {
        // as linux/magic.h and the file systems' own sources have them
        for (magic, kind) in [
            (0x6969, "nfs"),
            (0x6573_5546, "fuse"),
            (0x0102_1997, "9p"),
            (0x6a65_6a63, "virtiofs"),
            (0xff53_4d42, "cifs"),
        ] {
            assert_eq!(refused(magic), Some(kind));
            let path = PathBuf::from("/there/orch.db.lock");
            let told = LockRefused::FileSystem { path, kind }.to_string();
            assert!(
                told.contains(kind) && told.contains("/there") && told.contains("ORCH_DATA_DIR"),
                "{told}"
            );
        }
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(refused(local), None, "{local:#x}");
        }
    }
}

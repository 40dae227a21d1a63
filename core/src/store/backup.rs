//! A copy of the database while the core runs, and its way back.
//!
//! A backup is one file, whole or not there: made beside its target, checked, and only then given its
//! name. A restore demands the core's lock, checks the backup before anything is touched, and keeps
//! what it replaces.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, backup::Backup};

use super::{FileLock, Identity, LockRefused, StoreError, migrate, tasks};

/// Why there is no backup, or no way back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target is there already.
    #[error("{0} is there already; name another file")]
    Exists(PathBuf),
    /// What is to be read is not there.
    #[error("there is no {0}")]
    Missing(PathBuf),
    /// A core uses the database.
    #[error("stop the core first")]
    InUse(#[from] LockRefused),
    /// The database or the backup.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// SQLite's own copy failed.
    #[error("copy the database to {path}")]
    Copy {
        /// To where.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A file operation.
    #[error("write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Tasks whose history was folded and compared with their row.
    pub tasks: u64,
}

/// Copies the database as it is at one moment, whoever writes meanwhile.
///
/// # Errors
/// [`BackupError`]; then `target` is not there.
pub fn backup(database: &Path, target: &Path) -> Result<Copied, BackupError> {
    if !database.is_file() {
        return Err(BackupError::Missing(database.to_owned()));
    }
    if target.exists() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    let source = read_only(database)?;
    migrate::recognise(&source, database)?;
    place(&source, target)
}

/// Puts a backup in the database's place and answers where the replaced file is kept, if there was one.
///
/// # Errors
/// [`BackupError`]; then the database is as it was.
pub fn restore(
    database: &Path,
    backup: &Path,
    identity: &Identity,
    host: &str,
) -> Result<(Copied, Option<PathBuf>), BackupError> {
    if !backup.is_file() {
        return Err(BackupError::Missing(backup.to_owned()));
    }
    let _lock = FileLock::take(database, identity, host)?;
    // a link stays one: what it leads to is replaced
    let database = &super::file_lock::true_path(database)
        .map_err(|source| BackupError::Io { path: database.to_owned(), source })?;
    let source = read_only(backup)?;
    migrate::recognise(&source, backup)?;
    let fresh = beside(database, "restoring");
    remove(&fresh)?;
    let copied = place(&source, &fresh)?;
    let kept = set_aside(database)?;
    rename(&fresh, database)?;
    sync_folder(database)?;
    Ok((copied, kept))
}

fn read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

/// Copies, checks, syncs, and gives the copy its name.
fn place(source: &Connection, target: &Path) -> Result<Copied, BackupError> {
    let temporary = beside(target, "part");
    remove(&temporary)?;
    let copied = copy(source, &temporary);
    if copied.is_err() {
        remove(&temporary).ok();
    }
    let copied = copied?;
    std::fs::File::open(&temporary)
        .and_then(|file| file.sync_all())
        .map_err(|source| BackupError::Io { path: temporary.clone(), source })?;
    rename(&temporary, target)?;
    sync_folder(target)?;
    Ok(copied)
}

fn copy(source: &Connection, path: &Path) -> Result<Copied, BackupError> {
    let fail = |error| BackupError::Copy { path: path.to_owned(), source: error };
    let mut target = Connection::open(path).map_err(fail)?;
    {
        let backup = Backup::new(source, &mut target).map_err(fail)?;
        // in one step: a snapshot that writers neither wait for nor make begin anew
        backup.step(-1).map_err(fail)?;
    }
    // one file: no log beside it
    target.pragma_update(None, "journal_mode", "DELETE").map_err(fail)?;
    migrate::recognise(&target, path)?;
    let found: String = target.query_row("PRAGMA quick_check", [], |row| row.get(0)).map_err(fail)?;
    if found != "ok" {
        return Err(StoreError::Corrupt { path: path.to_owned(), why: found }.into());
    }
    let tasks = tasks::check_histories(&target)?;
    target.close().map_err(|(_, error)| fail(error))?;
    Ok(Copied { tasks })
}

/// Moves the database out of the way, with its log, under a name that is free.
fn set_aside(database: &Path) -> Result<Option<PathBuf>, BackupError> {
    if !database.exists() {
        return Ok(None);
    }
    let free =
        (1_u32..).map(|number| beside(database, &format!("replaced-{number}"))).find(|path| !path.exists());
    let Some(kept) = free else { return Ok(None) };
    for end in ["-wal", "-shm", ""] {
        let (from, to) = (with_end(database, end), with_end(&kept, end));
        if from.exists() {
            rename(&from, &to)?;
        }
    }
    Ok(Some(kept))
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn beside(path: &Path, word: &str) -> PathBuf {
    with_end(path, &format!(".{word}"))
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(BackupError::Io { path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), BackupError> {
    std::fs::rename(from, to).map_err(|source| BackupError::Io { path: to.to_owned(), source })
}

/// A name is on the disk once its folder is.
fn sync_folder(path: &Path) -> Result<(), BackupError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| BackupError::Io { path: folder.to_owned(), source })
}

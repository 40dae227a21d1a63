//! Lock files that killed programs left in a repository.
//!
//! Responsible for finding and removing those older than a given moment.
//! Deliberately not here: that moment. The caller knows since when nobody of an earlier life can be working.
//!
//! Invariant: a lock that may have a living owner stays; whoever meets it is told "busy" and comes again.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::git::error::GitError;
use crate::git::files::remove_tree;

/// How deep refs may be nested below `refs`.
const MAX_DEPTH: usize = 10;

/// Removes a lock file that was made before `before_ms` (UTC); says whether it did.
pub(super) fn remove_if_older(lock: &Path, before_ms: i64) -> Result<bool, GitError> {
    let made = match std::fs::symlink_metadata(lock).and_then(|meta| meta.modified()) {
        Ok(made) => made,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(GitError::Io { path: lock.to_owned(), source }),
    };
    if unix_ms(made) >= before_ms {
        return Ok(false);
    }
    remove_tree(lock).map_err(GitError::io(lock))?;
    tracing::info!(lock = %lock.display(), "removed a lock that a killed git left");
    Ok(true)
}

/// Removes the locks of a bare repository itself: its files, its refs; not those of worktrees. Gives how many.
pub(crate) fn remove_repository_locks(bare: &Path, before_ms: i64) -> Result<usize, GitError> {
    let mut removed = in_folder(bare, before_ms)?;
    removed += in_folder(&bare.join("objects").join("info"), before_ms)?;
    removed += in_tree(&bare.join("refs"), before_ms, MAX_DEPTH)?;
    Ok(removed)
}

fn in_folder(folder: &Path, before_ms: i64) -> Result<usize, GitError> {
    let mut removed = 0;
    for entry in entries(folder)? {
        let is_lock = entry.extension().is_some_and(|extension| extension == "lock");
        if is_lock && remove_if_older(&entry, before_ms)? {
            removed += 1;
        }
    }
    Ok(removed)
}

fn in_tree(folder: &Path, before_ms: i64, depth: usize) -> Result<usize, GitError> {
    let mut removed = in_folder(folder, before_ms)?;
    if depth > 0 {
        for entry in entries(folder)?.into_iter().filter(|entry| entry.is_dir()) {
            removed += in_tree(&entry, before_ms, depth - 1)?;
        }
    }
    Ok(removed)
}

fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>, GitError> {
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(GitError::Io { path: folder.to_owned(), source }),
    };
    listed.map(|entry| entry.map(|entry| entry.path()).map_err(GitError::io(folder))).collect()
}

fn unix_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(_before_1970) => 0,
    }
}

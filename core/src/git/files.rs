//! Small file acts that must survive a crash.
//!
//! Responsible for atomic replacement, careful removal and reading what may be missing.
//! Deliberately not here: what the files mean.
//!
//! Invariant: a reader sees the old or the new contents of a file, whole, also after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces a file: written beside it, synced, renamed over it, the directory synced.
///
/// Callers hold a lock of their own: two writers of one path would share the file beside it.
pub(crate) fn write_atomically(path: &Path, contents: &[u8], mode: u32) -> std::io::Result<()> {
    let parent = path.parent().ok_or_else(|| std::io::Error::other("a file without a directory"))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    // a crash may have left one with other permissions
    absent_is_fine(fs::remove_file(beside))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
    file.write_all(contents)?;
    file.sync_all()?;
    drop(file);
    fs::rename(beside, path)?;
    File::open(parent)?.sync_all()
}

/// The contents of a file, or `None` when there is none.
pub(crate) fn read_if_there(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a directory with all in it, a file, or a link (not what it points at); absent is fine.
pub(crate) fn remove_tree(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => absent_is_fine(fs::remove_dir_all(path)),
        Ok(_file) => absent_is_fine(fs::remove_file(path)),
        Err(error) => absent_is_fine(Err(error)),
    }
}

fn absent_is_fine(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

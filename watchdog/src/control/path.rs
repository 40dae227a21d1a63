//! Where the socket is, and how to name it when its path is too long.
//!
//! An address of a Unix socket holds 108 bytes with the final NUL (unix(7)). A longer path is named
//! through a descriptor of its directory, `/proc/self/fd/<n>/<name>`, which is short whatever the
//! directory is called.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Name of the socket in the state directory.
pub(crate) const SOCKET_FILE: &str = "control.sock";

/// Longest path that fits an address, without the final NUL.
const ADDRESS_MAX_BYTES: usize = 107;

/// A name for a socket, good while this lives.
pub(super) struct Address {
    name: PathBuf,
    // what the short name leads through
    _dir: Option<File>,
}

impl Address {
    /// The address of `file` in `dir`.
    pub(super) fn of(dir: &Path, file: &str) -> std::io::Result<Self> {
        let whole = dir.join(file);
        if whole.as_os_str().as_bytes().len() <= ADDRESS_MAX_BYTES {
            return Ok(Self { name: whole, _dir: None });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened: OwnedFd = rustix::fs::open(dir, flags, Mode::empty())?;
        let name = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd())).join(file);
        Ok(Self { name, _dir: Some(File::from(opened)) })
    }

    pub(super) fn name(&self) -> &Path {
        &self.name
    }
}

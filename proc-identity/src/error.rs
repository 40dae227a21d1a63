//! Why a fact about a process could not be had.
//!
//! Four kinds, since they mean four different things: the process ended (normal), we may not look (a setting of the
//! host), the text is not what the kernel documents (a bug, ours or its), anything else. It does not log.

use rustix::io::Errno;

/// A failed look at one process or at the proc tree itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcError {
    /// The process ended, before the open (ENOENT) or between open and read (ESRCH, or an empty file).
    #[error("process is gone")]
    Gone,
    /// The kernel refuses the look (EACCES, EPERM): another uid behind `hidepid`, or a restricted file.
    #[error("look at process is denied")]
    Denied,
    /// The text lacks a field or holds something else in its place.
    #[error("malformed {file}: {field}")]
    Malformed {
        /// The file's name below `/proc/<pid>`.
        file: &'static str,
        /// The first field that did not fit.
        field: &'static str,
    },
    /// Any other failure of the system call, with the kernel's number for it.
    #[error("read failed: {0}")]
    Io(Errno),
}

impl From<Errno> for ProcError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::SRCH => Self::Gone,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            other => Self::Io(other),
        }
    }
}

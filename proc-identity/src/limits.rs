//! `/proc/<pid>/limits`: only the limit on file locks, which carries the run cookie.
//!
//! fs/proc/base.c `proc_pid_limits`. The kernel has ignored RLIMIT_LOCKS since 2.4.25, yet hands it on through fork,
//! exec, setsid, setuid and into namespaces, and shows it to everybody: a mark that a process tree cannot shake off by
//! accident. Own parser and not procfs's: that one underflows on an empty line.

use crate::ProcError;
use crate::number::{unsigned, words};

const LINE: &[u8] = b"Max file locks";

/// The limit on file locks of a process; `None` is "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLocks {
    /// Soft limit: the cookie of the innermost run that the process belongs to.
    pub soft: Option<u64>,
    /// Hard limit: the cookie of the outermost run; a nested run can lower no more than the soft one.
    pub hard: Option<u64>,
}

impl FileLocks {
    /// Reads the text of `limits`.
    ///
    /// # Errors
    /// [`ProcError::Malformed`] when the line on file locks is missing or holds no numbers.
    pub fn parse(text: &[u8]) -> Result<Self, ProcError> {
        let bad = ProcError::Malformed { file: "limits", field: "Max file locks" };
        let line =
            text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(LINE)).ok_or(bad.clone())?;
        let mut values = words(line).map(limit);
        match (values.next().flatten(), values.next().flatten()) {
            (Some(soft), Some(hard)) => Ok(Self { soft, hard }),
            _ => Err(bad),
        }
    }

    /// The cookie of the run that the process belongs to, if it belongs to any.
    #[must_use]
    pub fn cookie(&self) -> Option<u64> {
        self.soft
    }

    /// Whether the process belongs to the run of this cookie, directly or through a run nested in it.
    #[must_use]
    pub fn carries(&self, cookie: u64) -> bool {
        self.soft == Some(cookie) || self.hard == Some(cookie)
    }
}

fn limit(word: &[u8]) -> Option<Option<u64>> {
    if word == b"unlimited" { Some(None) } else { unsigned(word).map(Some) }
}

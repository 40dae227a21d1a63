//! Which processes carry a run cookie: one flat pass over the whole tree.
//!
//! Flat on purpose: a walk down from parent to child is outrun by whoever forks faster, and loses whoever was
//! re-parented. The pass does not signal, and it does not judge what the matches mean.

use std::path::Path;

use crate::{ProcError, ProcRoot, ProcessId, State};

/// A process that carries the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marked {
    /// Who it is.
    pub id: ProcessId,
    /// Scheduler state of its leader.
    pub state: State,
    /// It ended and only waits to be reaped.
    pub dead: bool,
}

/// The result of a pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CookieScan {
    /// Those that carry it, ascending by pid, the caller itself included if it does.
    pub marked: Vec<Marked>,
    /// Processes whose limits could not be read although they exist: any of them may carry it, too.
    pub unreadable: usize,
}

/// Scans all processes for a cookie, see [`ProcRoot::pids_with_cookie`].
///
/// # Errors
/// As opening and listing the tree; single processes that cannot be read are counted instead.
pub fn pids_with_cookie(root: &Path, cookie: u64) -> Result<CookieScan, ProcError> {
    ProcRoot::open(root)?.pids_with_cookie(cookie)
}

impl ProcRoot {
    /// Scans all processes for a cookie, with the buffers of this tree.
    ///
    /// # Errors
    /// As listing the tree.
    pub fn pids_with_cookie(&mut self, cookie: u64) -> Result<CookieScan, ProcError> {
        let mut pids = Vec::new();
        self.list_pids(&mut pids)?;
        let mut scan = CookieScan::default();
        // the newest first: they are the ones that may be gone in a moment
        for (pid, _) in pids.into_iter().rev() {
            match self.marked(pid, cookie) {
                Ok(Some(marked)) => scan.marked.push(marked),
                Ok(None) | Err(ProcError::Gone) => {}
                Err(ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_)) => {
                    scan.unreadable += 1;
                }
            }
        }
        scan.marked.reverse();
        Ok(scan)
    }

    /// Looks at one process: `None` when it does not carry the cookie.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn marked(&mut self, pid: i32, cookie: u64) -> Result<Option<Marked>, ProcError> {
        if !self.limits(pid)?.carries(cookie) {
            return Ok(None);
        }
        let stat = self.stat(pid)?;
        // the pid may have passed to a stranger between the two files: only a mark on both sides of `stat` makes the
        // identity that of a marked process
        if !self.limits(pid)?.carries(cookie) {
            return Ok(None);
        }
        Ok(Some(Marked { id: stat.id(), state: stat.state, dead: stat.is_dead() }))
    }
}

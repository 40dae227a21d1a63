//! Reads of the proc tree, counted.
//!
//! The one place of the watchdog that opens a process's files, and the list of what it may open: `stat`, `status`,
//! `cmdline`, `limits`, `cgroup`; of the host the counts in `stat` and `loadavg`. A pid that vanishes between two reads is
//! normal and counted as such. It judges nothing and remembers nothing but counts.

use std::path::{Path, PathBuf};

use proc_identity::{
    Births, CgroupLine, Cmdline, FileLocks, Inside, Liveness, ProcError, ProcRoot, ProcessId, Stat, Status,
};
use rustix::io::Errno;

/// `f_type` of a proc file system (linux/magic.h).
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Bytes of a command line that are read; a program may write two megabytes there.
pub const CMDLINE_BYTES: usize = 16 * 1024;

/// How many reads there were, by file, and how many failed, by kind. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Passes over the whole directory.
    pub listings: u64,
    /// Looks at a part of it, and at the host's counts.
    pub parts: u64,
    /// Reads of `stat`.
    pub stat: u64,
    /// Reads of `cmdline`.
    pub cmdline: u64,
    /// Reads of `status`.
    pub status: u64,
    /// Reads of `limits`.
    pub limits: u64,
    /// Reads of `cgroup`.
    pub cgroup: u64,
    /// Reads that found the process gone: normal.
    pub gone: u64,
    /// Reads that the kernel refused.
    pub denied: u64,
    /// Texts that were not what the kernel documents.
    pub malformed: u64,
    /// Other failures.
    pub failed: u64,
}

impl Counters {
    /// Reads of any file, and of the directory.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.listings + self.parts + self.stat + self.cmdline + self.status + self.limits + self.cgroup
    }
}

/// What stands at the path of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// What was there before.
    AsBefore,
    /// Another tree: it was opened instead.
    Another,
}

/// An open proc tree.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    root: ProcRoot,
    kernels: bool,
    counters: Counters,
    /// Why nothing more could be opened, since it was asked last: a want of our own, and no word of any process.
    wanting: Option<Errno>,
}

impl Reader {
    /// Opens the tree.
    ///
    /// # Errors
    /// As opening a directory.
    pub fn open(path: &Path) -> Result<Self, ProcError> {
        let root = ProcRoot::open(path)?;
        let kernels = is_kernels(path);
        Ok(Self { path: path.to_owned(), root, kernels, counters: Counters::default(), wanting: None })
    }

    /// Where the tree is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is the kernel's own tree and not a written one.
    #[must_use]
    pub fn is_kernels(&self) -> bool {
        self.kernels
    }

    /// Counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Opens the tree anew when its path leads to another one by now. Counts go on.
    ///
    /// # Errors
    /// As looking at the path, or opening it; the tree that was open stays.
    pub fn follow_path(&mut self) -> Result<Root, ProcError> {
        if self.root.is_at(&self.path)? {
            return Ok(Root::AsBefore);
        }
        self.root = ProcRoot::open(&self.path)?;
        self.kernels = is_kernels(&self.path);
        Ok(Root::Another)
    }

    /// One directory pass.
    ///
    /// # Errors
    /// As [`ProcRoot::list_pids`].
    pub fn list(&mut self, pairs: &mut Vec<(i32, u64)>) -> Result<(), ProcError> {
        self.counters.listings += 1;
        let listed = self.root.list_pids(pairs);
        self.count(listed)
    }

    /// The processes above one pid and up to another: see [`ProcRoot::list_between`].
    ///
    /// # Errors
    /// As [`ProcRoot::list_between`].
    pub fn list_between(
        &mut self,
        after: i32,
        last: i32,
        pairs: &mut Vec<(i32, u64)>,
    ) -> Result<Option<()>, ProcError> {
        self.counters.parts += 1;
        let listed = self.root.list_between(after, last, pairs);
        self.count(listed)
    }

    /// What the kernel counts of births: see [`ProcRoot::births`].
    ///
    /// # Errors
    /// As [`ProcRoot::births`].
    pub fn births(&mut self) -> Result<Births, ProcError> {
        self.counters.parts += 1;
        self.root.births()
    }

    /// The pid that was given out last: see [`ProcRoot::last_pid`].
    ///
    /// # Errors
    /// As [`ProcRoot::last_pid`].
    pub fn last_pid(&mut self) -> Result<i32, ProcError> {
        self.counters.parts += 1;
        self.root.last_pid()
    }

    /// How many processes there are: see [`ProcRoot::processes`].
    ///
    /// # Errors
    /// As [`ProcRoot::processes`].
    pub fn processes(&self) -> Result<Option<u64>, ProcError> {
        self.root.processes()
    }

    /// `stat`.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn stat(&mut self, pid: i32) -> Result<Stat, ProcError> {
        self.counters.stat += 1;
        let read = self.root.stat(pid);
        self.count(read)
    }

    /// What `stat` tells of access to the inside of a process, which is never asked for.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn inside(&mut self, pid: i32) -> Result<Inside, ProcError> {
        self.counters.stat += 1;
        let read = self.root.inside(pid);
        self.count(read)
    }

    /// `status`.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn status(&mut self, pid: i32) -> Result<Status, ProcError> {
        self.counters.status += 1;
        let read = self.root.status(pid);
        self.count(read)
    }

    /// `limits`.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn limits(&mut self, pid: i32) -> Result<FileLocks, ProcError> {
        self.counters.limits += 1;
        let read = self.root.limits(pid);
        self.count(read)
    }

    /// `cgroup`.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn cgroup(&mut self, pid: i32) -> Result<Vec<CgroupLine>, ProcError> {
        self.counters.cgroup += 1;
        let read = self.root.cgroup(pid);
        self.count(read)
    }

    /// `cmdline`, cut at [`CMDLINE_BYTES`].
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn cmdline(&mut self, pid: i32) -> Result<Cmdline, ProcError> {
        self.counters.cmdline += 1;
        let read = self.root.cmdline(pid, CMDLINE_BYTES);
        self.count(read)
    }

    /// What this program lacked to read, since the last call of this.
    pub fn take_wanting(&mut self) -> Option<Errno> {
        self.wanting.take()
    }

    /// Whether a process is still the one that was observed: to be asked before it is named in a message.
    pub fn same(&mut self, id: ProcessId) -> Liveness {
        self.counters.stat += 1;
        self.root.same(id)
    }

    fn count<T>(&mut self, read: Result<T, ProcError>) -> Result<T, ProcError> {
        match &read {
            Ok(_) => {}
            Err(ProcError::Gone) => self.counters.gone += 1,
            Err(ProcError::Denied) => self.counters.denied += 1,
            Err(ProcError::Malformed { .. }) => self.counters.malformed += 1,
            Err(ProcError::Io(errno)) => {
                self.counters.failed += 1;
                if matches!(*errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM) {
                    self.wanting = Some(*errno);
                }
            }
        }
        read
    }
}

#[expect(clippy::useless_conversion, reason = "the width of f_type differs by architecture")]
fn is_kernels(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|fs| i64::from(fs.f_type) == PROC_SUPER_MAGIC)
}

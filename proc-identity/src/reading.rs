//! Reading one process's files below a proc root, and the pass over the directory.
//!
//! Opens `stat`, `status`, `limits`, `cmdline`, `cgroup` of a process and nothing else of it. [`ProcRoot`] keeps the
//! directory's descriptor and its buffers, for whoever reads thousands; the free functions are for a single look.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom, openat, seek};
use rustix::io::Errno;

use crate::census::{Layout, Learnt};
use crate::cgroup::{self, CgroupLine};
use crate::{FileLocks, Inside, Liveness, ProcError, ProcessId, Stat, Status, number};

/// The buffer that the directory pass hands to getdents, in bytes: some 1,300 processes a call.
const DIRECTORY_BUFFER_BYTES: usize = 32 * 1024;
/// First size of the file buffer in bytes; `stat`, `limits` and `status` fit.
const FILE_BUFFER_BYTES: usize = 4096;
/// `stat`, `status`, `limits`, `cgroup` are cut here; a `status` with 65,536 groups has half of it.
const FILE_CAP_BYTES: usize = 1024 * 1024;

/// A process's command line as the process itself left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmdline {
    /// The words, each ended by a NUL; empty for kernel threads and zombies. A program may write anything here.
    pub bytes: Vec<u8>,
    /// There was more than the cap.
    pub truncated: bool,
}

impl Cmdline {
    /// The words. The last one ends with the text where the final NUL is missing.
    pub fn words(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.bytes.strip_suffix(b"\0").unwrap_or(&self.bytes);
        text.split(|byte| *byte == 0).take(if self.bytes.is_empty() { 0 } else { usize::MAX })
    }
}

/// An open proc tree with buffers that are reused from read to read.
#[derive(Debug)]
pub struct ProcRoot {
    pub(crate) directory: OwnedFd,
    pub(crate) names: Vec<u8>,
    pub(crate) text: Vec<u8>,
    /// Of the last whole pass.
    pub(crate) layout: Option<Layout>,
}

impl ProcRoot {
    /// Opens the tree.
    ///
    /// # Errors
    /// As opening a directory.
    pub fn open(root: &Path) -> Result<Self, ProcError> {
        let directory =
            openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { directory, names: Vec::new(), text: Vec::with_capacity(FILE_BUFFER_BYTES), layout: None })
    }

    /// One pass over the directory: replaces the content of `found` by (pid, inode) of every process, in the kernel's
    /// order, which is ascending. The inode is stable for as long as the kernel caches the entry.
    ///
    /// # Errors
    /// As getdents; then `found` is empty, since half a list is not a list.
    pub fn list_pids(&mut self, found: &mut Vec<(i32, u64)>) -> Result<(), ProcError> {
        found.clear();
        self.layout = None;
        self.names.reserve(DIRECTORY_BUFFER_BYTES);
        seek(&self.directory, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&self.directory, self.names.spare_capacity_mut());
        let mut learnt = Learnt::default();
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) => {
                    let pid = directory_pid(entry.file_name().to_bytes());
                    learnt.take(pid, &entry);
                    if let Some(pid) = pid {
                        found.push((pid, entry.ino()));
                    }
                }
                Err(errno) => {
                    found.clear();
                    return Err(errno.into());
                }
            }
        }
        self.layout = Some(learnt.layout());
        Ok(())
    }

    /// Whether this path still leads to the directory that was opened, and not to another mounted or moved there since.
    ///
    /// # Errors
    /// As stat(2): the path leads nowhere, or may not be looked at.
    pub fn is_at(&self, path: &Path) -> Result<bool, ProcError> {
        let (open, there) = (rustix::fs::fstat(&self.directory)?, rustix::fs::stat(path)?);
        Ok((open.st_dev, open.st_ino) == (there.st_dev, there.st_ino))
    }

    /// `/proc/<pid>/stat`.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn stat(&mut self, pid: i32) -> Result<Stat, ProcError> {
        self.read(pid, "stat")?;
        Stat::parse(&self.text)
    }

    /// What `/proc/<pid>/stat` tells of access to the inside of a process.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn inside(&mut self, pid: i32) -> Result<Inside, ProcError> {
        self.read(pid, "stat")?;
        Inside::parse(&self.text)
    }

    /// `/proc/<pid>/status`.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn status(&mut self, pid: i32) -> Result<Status, ProcError> {
        self.read(pid, "status")?;
        Status::parse(&self.text)
    }

    /// `/proc/<pid>/limits`.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn limits(&mut self, pid: i32) -> Result<FileLocks, ProcError> {
        self.read(pid, "limits")?;
        FileLocks::parse(&self.text)
    }

    /// `/proc/<pid>/cgroup`.
    ///
    /// # Errors
    /// [`ProcError`]
    pub fn cgroup(&mut self, pid: i32) -> Result<Vec<CgroupLine>, ProcError> {
        self.read(pid, "cgroup")?;
        cgroup::parse(&self.text)
    }

    /// `/proc/<pid>/cmdline`, at most `cap_bytes` of it.
    ///
    /// # Errors
    /// [`ProcError`]; an empty command line is none.
    pub fn cmdline(&mut self, pid: i32, cap_bytes: usize) -> Result<Cmdline, ProcError> {
        let truncated = self.fill(pid, "cmdline", cap_bytes)?;
        Ok(Cmdline { bytes: self.text.clone(), truncated })
    }

    /// Whether the process is still the one that was identified before.
    pub fn same(&mut self, id: ProcessId) -> Liveness {
        match self.stat(id.pid) {
            Ok(stat) if stat.start_ticks != id.start_ticks => Liveness::Gone,
            Ok(stat) if stat.is_dead() => Liveness::Zombie,
            Ok(_) => Liveness::Alive,
            Err(ProcError::Gone) => Liveness::Gone,
            Err(ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_)) => Liveness::Unknown,
        }
    }

    /// A file that is never empty while its process exists: empty means that it ended in between.
    fn read(&mut self, pid: i32, name: &'static str) -> Result<(), ProcError> {
        self.fill(pid, name, FILE_CAP_BYTES)?;
        if self.text.is_empty() { Err(ProcError::Gone) } else { Ok(()) }
    }

    fn fill(&mut self, pid: i32, name: &'static str, cap_bytes: usize) -> Result<bool, ProcError> {
        let mut path = [0_u8; 32];
        let path = relative_path(&mut path, pid, name).ok_or(ProcError::Gone)?;
        self.fill_at(path, cap_bytes)
    }

    pub(crate) fn fill_at(&mut self, path: &[u8], cap_bytes: usize) -> Result<bool, ProcError> {
        let file = openat(&self.directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        drain(&file, &mut self.text, cap_bytes)
    }
}

/// `<pid>/<name>` in a buffer on the stack. A pid below 1 names no process, least of all a path.
fn relative_path<'buffer>(buffer: &'buffer mut [u8; 32], pid: i32, name: &str) -> Option<&'buffer [u8]> {
    use std::io::Write;
    if pid < 1 {
        return None;
    }
    let mut rest = &mut buffer[..];
    write!(rest, "{pid}/{name}").ok()?;
    let free = rest.len();
    buffer.get(..32 - free)
}

pub(crate) fn directory_pid(name: &[u8]) -> Option<i32> {
    // most other entries begin with a letter, so this is one comparison for them
    if name.first()?.is_ascii_digit() { number::pid(name) } else { None }
}

/// Reads to the end or to the cap; whether there was more.
fn drain(file: &OwnedFd, text: &mut Vec<u8>, cap_bytes: usize) -> Result<bool, ProcError> {
    text.clear();
    loop {
        // one byte beyond the cap tells "exactly full" from "more"; a larger buffer of an earlier read is used whole
        text.reserve((cap_bytes + 1 - text.len()).min(text.len().max(FILE_BUFFER_BYTES)));
        let room = text.capacity() - text.len();
        let read = match rustix::io::read(file, spare_capacity(text)) {
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        // these files are made whole by one read where there is room for them, so that a short read is the last one
        let more = text.len() > cap_bytes;
        if more || read < room {
            text.truncate(cap_bytes);
            return Ok(more);
        }
    }
}

pub(crate) fn read_whole(path: &Path, cap_bytes: usize) -> Result<Vec<u8>, ProcError> {
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    drain(&file, &mut text, cap_bytes)?;
    Ok(text)
}

/// One directory pass, see [`ProcRoot::list_pids`].
///
/// # Errors
/// As [`ProcRoot::list_pids`].
pub fn list_pids(root: &Path, found: &mut Vec<(i32, u64)>) -> Result<(), ProcError> {
    found.clear();
    ProcRoot::open(root)?.list_pids(found)
}

/// One look at `stat`.
///
/// # Errors
/// [`ProcError`]
pub fn read_stat(root: &Path, pid: i32) -> Result<Stat, ProcError> {
    ProcRoot::open(root)?.stat(pid)
}

/// One look at `status`.
///
/// # Errors
/// [`ProcError`]
pub fn read_status(root: &Path, pid: i32) -> Result<Status, ProcError> {
    ProcRoot::open(root)?.status(pid)
}

/// One look at `limits`.
///
/// # Errors
/// [`ProcError`]
pub fn read_limits(root: &Path, pid: i32) -> Result<FileLocks, ProcError> {
    ProcRoot::open(root)?.limits(pid)
}

/// One look at `cmdline`, cut at `cap_bytes`.
///
/// # Errors
/// [`ProcError`]
pub fn read_cmdline(root: &Path, pid: i32, cap_bytes: usize) -> Result<Cmdline, ProcError> {
    ProcRoot::open(root)?.cmdline(pid, cap_bytes)
}

/// One look at `cgroup`.
///
/// # Errors
/// [`ProcError`]
pub fn read_cgroup(root: &Path, pid: i32) -> Result<Vec<CgroupLine>, ProcError> {
    ProcRoot::open(root)?.cgroup(pid)
}

/// Whether the process is still this one; `Unknown` also when the tree itself cannot be opened.
#[must_use]
pub fn same(root: &Path, id: ProcessId) -> Liveness {
    ProcRoot::open(root).map_or(Liveness::Unknown, |mut proc| proc.same(id))
}

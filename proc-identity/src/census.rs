//! Whether there are other processes than before, without a pass over all of them.
//!
//! Three things of the kernel make that possible: the directory's link count is the number of all processes; pids are
//! given out in ascending order; and the directory can be read from any pid on. Each of them is learnt or compared at
//! every whole pass and not taken for granted. What follows from the numbers is the caller's to decide.

use rustix::fs::{FileType, RawDir, RawDirEntry, SeekFrom, seek};

use crate::host::last_pid_of;
use crate::reading::directory_pid;
use crate::{ProcError, ProcRoot, number};

/// The same where only a part of the directory is read: some 150 processes a call.
const PART_BUFFER_BYTES: usize = 4096;
/// `stat` of the host has a line a CPU and a number an interrupt; it is cut here.
const HOST_FILE_CAP_BYTES: usize = 1024 * 1024;

/// How the directory is built, learnt from a whole pass over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Folders that are no process's.
    folders: u64,
    /// Where a process stands in the directory, less its pid: the same for all of them, or unknown.
    shift: Option<u64>,
}

/// What the kernel counts of the processes and threads that were ever made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Births {
    /// Processes and threads made since boot, in every namespace.
    pub made: u64,
    /// The pid that was given out last in the reader's own namespace.
    pub last_pid: i32,
}

impl ProcRoot {
    /// Of the directory only the processes above the pid `after` and up to `last`: replaces the content of `found`.
    /// `None` where the last whole pass did not show how pids and offsets belong together.
    ///
    /// # Errors
    /// As [`ProcRoot::list_pids`].
    pub fn list_between(
        &mut self,
        after: i32,
        last: i32,
        found: &mut Vec<(i32, u64)>,
    ) -> Result<Option<()>, ProcError> {
        found.clear();
        let Some(shift) = self.layout.and_then(|layout| layout.shift) else { return Ok(None) };
        let Some(from) = u64::try_from(after).ok().map(|after| shift + after + 1) else { return Ok(None) };
        self.names.reserve(PART_BUFFER_BYTES);
        seek(&self.directory, SeekFrom::Start(from))?;
        let room = self.names.spare_capacity_mut().get_mut(..PART_BUFFER_BYTES).unwrap_or_default();
        let mut entries = RawDir::new(&self.directory, room);
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) => match directory_pid(entry.file_name().to_bytes()) {
                    Some(pid) if pid > last => break,
                    Some(pid) if pid > after => found.push((pid, entry.ino())),
                    // not where the offsets should have led
                    Some(_) | None => return Ok(None),
                },
                Err(errno) => {
                    found.clear();
                    return Err(errno.into());
                }
            }
        }
        Ok(Some(()))
    }

    /// How many processes there are, zombies and those of all other namespaces included: the directory's links less its
    /// fixed folders. `None` before a whole pass has counted these.
    ///
    /// # Errors
    /// As fstat.
    #[expect(clippy::useless_conversion, reason = "the width of st_nlink differs by architecture")]
    pub fn processes(&self) -> Result<Option<u64>, ProcError> {
        let Some(layout) = self.layout else { return Ok(None) };
        let links = rustix::fs::fstat(&self.directory)?.st_nlink;
        // `.` and the entry in the parent are links, too
        Ok(u64::from(links).checked_sub(layout.folders + 2))
    }

    /// How many processes and threads were made, and the pid of the last one.
    ///
    /// # Errors
    /// As reading `stat` and `loadavg` of the host; [`ProcError::Malformed`] when they are not as documented.
    pub fn births(&mut self) -> Result<Births, ProcError> {
        // the files of the same mount as the directory, wherever its path leads by now
        self.fill_at(b"stat", HOST_FILE_CAP_BYTES)?;
        let made = self.text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"processes "));
        let made = made
            .and_then(number::unsigned)
            .ok_or(ProcError::Malformed { file: "stat", field: "processes" })?;
        Ok(Births { made, last_pid: self.last_pid()? })
    }

    /// The pid that was given out last in the reader's own namespace: a fraction of what [`ProcRoot::births`] costs, and
    /// blind to pids that were chosen by hand.
    ///
    /// # Errors
    /// As reading `loadavg`; [`ProcError::Malformed`] when it is not as documented.
    pub fn last_pid(&mut self) -> Result<i32, ProcError> {
        self.fill_at(b"loadavg", HOST_FILE_CAP_BYTES)?;
        last_pid_of(&self.text)
    }
}

/// What a pass shows of the directory's build.
#[derive(Debug, Default)]
pub(crate) struct Learnt {
    folders: u64,
    /// The offset that the entry before this one ends at, if that was a process's.
    reached: Option<u64>,
    shift: Option<u64>,
    contradicted: bool,
}

impl Learnt {
    pub(crate) fn take(&mut self, pid: Option<i32>, entry: &RawDirEntry<'_>) {
        let Some(pid) = pid.and_then(|pid| u64::try_from(pid).ok()) else {
            self.reached = None;
            let name = entry.file_name().to_bytes();
            if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
                self.folders += 1;
            }
            return;
        };
        if let Some(reached) = self.reached {
            let shift = reached.checked_sub(pid);
            self.contradicted |= shift.is_none() || self.shift.is_some_and(|before| Some(before) != shift);
            self.shift = shift;
        }
        self.reached = Some(entry.next_entry_cookie());
    }

    pub(crate) fn layout(self) -> Layout {
        Layout { folders: self.folders, shift: self.shift.filter(|_| !self.contradicted) }
    }
}

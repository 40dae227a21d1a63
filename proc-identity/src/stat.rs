//! `/proc/<pid>/stat`: the one file that is read for every process.
//!
//! proc_pid_stat(5), fs/proc/array.c `do_task_stat`. The name stands in brackets and may itself hold brackets, blanks
//! and newlines; no later field can hold a `)`, so the last one in the file closes it. The line is scanned once and
//! nothing but the name is allocated.

use crate::number::{pid, signed, unsigned};
use crate::{ProcError, ProcessId};

/// The scheduler state letter of a process's leader thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// `R`
    Running,
    /// `S`
    Sleeping,
    /// `D`: waits inside the kernel and takes no signal.
    DiskSleep,
    /// `T`: stopped by a signal.
    Stopped,
    /// `t`: stopped by a tracer.
    Traced,
    /// `Z`: ended and not reaped; alive none the less while it has further threads.
    Zombie,
    /// `X`: being removed.
    Dead,
    /// `I`: an idle kernel thread.
    Idle,
    /// A letter that this version does not know.
    Other(u8),
}

impl State {
    fn from_letter(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'S' => Self::Sleeping,
            b'D' => Self::DiskSleep,
            b'T' => Self::Stopped,
            b't' => Self::Traced,
            b'Z' => Self::Zombie,
            b'X' | b'x' => Self::Dead,
            b'I' => Self::Idle,
            other => Self::Other(other),
        }
    }

    /// The kernel's letter.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Running => 'R',
            Self::Sleeping => 'S',
            Self::DiskSleep => 'D',
            Self::Stopped => 'T',
            Self::Traced => 't',
            Self::Zombie => 'Z',
            Self::Dead => 'X',
            Self::Idle => 'I',
            Self::Other(letter) => char::from(letter),
        }
    }
}

/// The fields of `stat` that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Pid in the namespace of the proc mount.
    pub pid: i32,
    /// The name as the kernel holds it: any bytes; 15 of them for a program, up to 63 for a kernel worker.
    pub comm: Vec<u8>,
    /// State of the leader thread.
    pub state: State,
    /// Parent; 0 for a namespace's first process and for a parent outside of the namespace.
    pub ppid: i32,
    /// Process group.
    pub pgrp: i32,
    /// Session.
    pub session: i32,
    /// Page faults so far, all threads, dead ones included, without those of children. It only grows, and every `exec`
    /// makes it grow: the new program's first page is not there yet.
    pub faults: u64,
    /// CPU time in user mode, clock ticks, all threads, dead ones included.
    pub utime_ticks: u64,
    /// CPU time in kernel mode, clock ticks.
    pub stime_ticks: u64,
    /// Threads that exist; the leader counts also as a zombie.
    pub num_threads: u64,
    /// Start since boot, clock ticks.
    pub start_ticks: u64,
    /// Resident set in pages; 0 for kernel threads and zombies.
    pub rss_pages: u64,
}

/// How many words behind the name are looked at: `state` is field 3, `rss` field 24.
const WORDS: usize = 22;

impl Stat {
    /// Reads the text of `stat`. Needs the fields up to `rss` (24); anything behind is ignored.
    ///
    /// # Errors
    /// [`ProcError::Malformed`] naming the first field that is missing or no number.
    pub fn parse(text: &[u8]) -> Result<Self, ProcError> {
        let bad = |field| ProcError::Malformed { file: "stat", field };
        // a second line cannot come from the kernel, but a name can hold a newline: cut only behind the bracket
        let close = text.iter().rposition(|byte| *byte == b')').ok_or(bad("comm"))?;
        let open = text.iter().position(|byte| *byte == b'(').filter(|at| *at < close).ok_or(bad("comm"))?;
        let head = text.get(..open).ok_or(bad("pid"))?;
        let comm = text.get(open + 1..close).ok_or(bad("comm"))?;
        let tail = text.get(close + 1..).ok_or(bad("state"))?;

        let mut words: [&[u8]; WORDS] = [&[]; WORDS];
        let found = crate::number::words(tail.split(|byte| *byte == b'\n').next().unwrap_or_default());
        for (slot, word) in words.iter_mut().zip(found) {
            *slot = word;
        }
        let [
            state,
            ppid,
            pgrp,
            session,
            _tty,
            _tpgid,
            _flags,
            minflt,
            _cminflt,
            majflt,
            _cmajflt,
            utime,
            stime,
            ..,
        ] = words;
        let [.., num_threads, _itrealvalue, start, _vsize, rss] = words;
        let [letter] = state else { return Err(bad("state")) };
        Ok(Self {
            pid: pid(head.trim_ascii()).ok_or(bad("pid"))?,
            comm: comm.to_vec(),
            state: State::from_letter(*letter),
            ppid: pid(ppid).ok_or(bad("ppid"))?,
            pgrp: pid(pgrp).ok_or(bad("pgrp"))?,
            session: pid(session).ok_or(bad("session"))?,
            faults: unsigned(minflt)
                .ok_or(bad("minflt"))?
                .wrapping_add(unsigned(majflt).ok_or(bad("majflt"))?),
            utime_ticks: unsigned(utime).ok_or(bad("utime"))?,
            stime_ticks: unsigned(stime).ok_or(bad("stime"))?,
            num_threads: unsigned(num_threads).ok_or(bad("num_threads"))?,
            start_ticks: unsigned(start).ok_or(bad("starttime"))?,
            // the counter is summed per CPU without a lock and has been seen a little below zero
            rss_pages: u64::try_from(signed(rss).ok_or(bad("rss"))?).unwrap_or(0),
        })
    }

    /// The identity.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        ProcessId { pid: self.pid, start_ticks: self.start_ticks }
    }

    /// Ended and only waiting to be reaped. A zombie leader with further threads is alive (it called `pthread_exit`).
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, State::Zombie | State::Dead) && self.num_threads <= 1
    }

    /// Stopped, by a signal or by a tracer: it will fork nothing until somebody continues it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped | State::Traced)
    }
}

//! What is known of the few processes that matter: matched ones, their families, their ancestors, the core's runs.
//!
//! `stat` is read at most once a pass, `status`, `limits` and `cgroup` once an identity: they do not change in ways
//! that matter here. A read that failed is tried again, so that one bad moment is not believed for a lifetime. Whoever
//! was not asked about in a pass is forgotten at its end. It decides nothing.
//!
//! Invariant: a fact belongs to the identity (pid, start ticks) that was asked about, never to its pid's next holder.

use std::collections::BTreeMap;

use proc_identity::{CgroupLine, FileLocks, ProcError, ProcessId, Stat};

use super::container;
use super::reader::Reader;
use super::redact;
use super::rhythm;
use super::shape::{self, Match, Pattern};

/// Longest name shown, in characters; the kernel's own has at most 63 bytes.
const NAME_CHARS: usize = 64;
/// Looks after which a command line is read again whatever was done.
const COMMAND_EVERY: u32 = 16;

/// A process of interest.
#[derive(Debug)]
pub struct Detail {
    /// Its last `stat`.
    pub stat: Stat,
    /// Name, cleaned.
    pub name: String,
    /// Redacted command line; empty until it was read, and for kernel threads.
    pub command: String,
    /// How it matched when its command line was last read.
    pub matched: Option<Match>,
    ns_pids: Option<Vec<i32>>,
    locks: Option<FileLocks>,
    cgroup: Option<Vec<CgroupLine>>,
    container: Option<String>,
    user_manager: Option<bool>,
    supervises: Option<bool>,
    commands_read_at: u32,
    /// Its trace when its command line was last read.
    trace: u64,
    looks: u32,
    pass: u64,
}

/// What stands for the command line of a process that has none.
pub(super) fn bare_name(name: &str) -> String {
    format!("[{name}]")
}

/// Details by pid.
#[derive(Debug, Default)]
pub struct Details {
    by_pid: BTreeMap<i32, Detail>,
    pass: u64,
}

impl Details {
    /// Begins a pass: every `stat` is stale from now on.
    pub fn begin_pass(&mut self) {
        self.pass += 1;
    }

    /// Forgets whoever was not asked about since the pass began.
    pub fn end_pass(&mut self) {
        let pass = self.pass;
        self.by_pid.retain(|_, detail| detail.pass == pass);
    }

    /// What was last known, without a look.
    #[must_use]
    pub fn last(&self, id: ProcessId) -> Option<&Detail> {
        self.by_pid.get(&id.pid).filter(|detail| detail.stat.id() == id)
    }

    /// A fresh look at a pid, whoever has it now.
    ///
    /// # Errors
    /// [`ProcError`] of `stat`; the old detail is dropped then.
    pub fn look(&mut self, reader: &mut Reader, pid: i32) -> Result<&mut Detail, ProcError> {
        let pass = self.pass;
        let fresh = self.by_pid.get(&pid).is_some_and(|detail| detail.pass == pass);
        if !fresh {
            let read = reader.stat(pid);
            if read.is_err() {
                self.by_pid.remove(&pid);
            }
            self.note(read?);
        }
        self.by_pid.get_mut(&pid).ok_or(ProcError::Gone)
    }

    /// Takes over a `stat` that was read in this pass.
    pub fn note(&mut self, stat: Stat) {
        let pass = self.pass;
        let pid = stat.pid;
        match self.by_pid.get_mut(&pid).filter(|detail| detail.stat.id() == stat.id()) {
            Some(detail) => {
                if detail.stat.comm != stat.comm {
                    detail.name = redact::plain(&stat.comm, NAME_CHARS);
                }
                detail.stat = stat;
                detail.looks = detail.looks.saturating_add(1);
                detail.pass = pass;
            }
            None => {
                self.by_pid.insert(pid, Detail::new(stat, pass));
            }
        }
    }
}

impl Detail {
    fn new(stat: Stat, pass: u64) -> Self {
        Self {
            name: redact::plain(&stat.comm, NAME_CHARS),
            stat,
            command: String::new(),
            matched: None,
            ns_pids: None,
            locks: None,
            cgroup: None,
            container: None,
            user_manager: None,
            supervises: None,
            commands_read_at: 0,
            trace: 0,
            looks: 1,
            pass,
        }
    }

    /// User and system time so far, in clock ticks.
    #[must_use]
    pub fn cpu_ticks(&self) -> u64 {
        self.stat.utime_ticks.saturating_add(self.stat.stime_ticks)
    }

    /// The pid in each namespace, outermost first.
    pub fn ns_pids(&mut self, reader: &mut Reader) -> Option<&[i32]> {
        if self.ns_pids.is_none() {
            self.ns_pids = reader.status(self.stat.pid).ok().map(|status| status.ns_pids);
        }
        self.ns_pids.as_deref().filter(|pids| !pids.is_empty())
    }

    /// The limit that carries the run cookie.
    ///
    /// # Errors
    /// [`ProcError`] of the read; the next call tries again.
    pub fn locks(&mut self, reader: &mut Reader) -> Result<FileLocks, ProcError> {
        match self.locks {
            Some(locks) => Ok(locks),
            None => Ok(*self.locks.insert(reader.limits(self.stat.pid)?)),
        }
    }

    /// Control groups; empty where they could not be read.
    pub fn cgroup(&mut self, reader: &mut Reader) -> &[CgroupLine] {
        if self.cgroup.is_none() {
            self.cgroup = reader.cgroup(self.stat.pid).ok();
            self.container = self.cgroup.as_deref().and_then(container::of);
        }
        self.cgroup.as_deref().unwrap_or_default()
    }

    /// Its container; `None` outside of any, and where that could not be read.
    pub fn container(&mut self, reader: &mut Reader) -> Option<String> {
        self.cgroup(reader);
        self.container.clone()
    }

    /// Whether this is the supervisor of some core's run, `orch-core supervise DIR`. It never becomes anything else.
    ///
    /// # Errors
    /// [`ProcError`] of its command line.
    pub fn is_supervisor(&mut self, reader: &mut Reader) -> Result<bool, ProcError> {
        if let Some(known) = self.supervises {
            return Ok(known);
        }
        let line = reader.cmdline(self.stat.pid)?;
        let mut words = line.words();
        let program = words.next().map(shape::basename);
        let known = program == Some(b"orch-core".as_slice()) && words.next() == Some(b"supervise".as_slice());
        Ok(*self.supervises.insert(known))
    }

    /// Whether this is `systemd --user`.
    pub fn is_user_manager(&mut self, reader: &mut Reader) -> bool {
        let (pid, candidate) = (self.stat.pid, self.stat.comm == b"systemd");
        *self.user_manager.get_or_insert_with(|| {
            candidate
                && reader.cmdline(pid).is_ok_and(|line| line.words().skip(1).any(|word| word == b"--user"))
        })
    }

    /// Reads the command line and matches it. An empty one is that of a leader which called `pthread_exit`: what was
    /// known before stays.
    ///
    /// # Errors
    /// [`ProcError`]; what was known before stays.
    pub fn read_command(&mut self, reader: &mut Reader, patterns: &[Pattern]) -> Result<(), ProcError> {
        let line = reader.cmdline(self.stat.pid)?;
        if line.bytes.is_empty() && self.matched.is_some() {
            return Ok(());
        }
        let words: Vec<&[u8]> = line.words().collect();
        self.matched = shape::find(patterns, &words, &self.stat.comm);
        self.command = redact::command(&words, line.truncated);
        if self.command.trim().is_empty() {
            // a kernel thread, or a program that wiped its own line: the name is all there is
            self.command = bare_name(&self.name);
        }
        self.commands_read_at = self.looks;
        self.trace = rhythm::trace(&self.stat);
        Ok(())
    }

    /// Whether the command line that was read last is still the one: nothing was done since then, or it was read just now.
    #[must_use]
    pub fn command_stands(&self) -> bool {
        self.commands_read_at == self.looks
            || (self.commands_read_at != 0
                && !self.looks.is_multiple_of(COMMAND_EVERY)
                && self.trace == rhythm::trace(&self.stat))
    }

    /// Whether a member's command line is due: `exec` changes it without a word.
    #[must_use]
    pub fn command_due(&self) -> bool {
        !self.command_stands()
            && (self.commands_read_at == 0
                || matches!(self.looks, 2 | 4)
                || self.looks.is_multiple_of(COMMAND_EVERY))
    }
}

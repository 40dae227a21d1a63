//! The collector: one pass over `/proc` becomes a [`ProcObservation`].
//!
//! Responsible for what is read when. A listing (`recount`) yields (pid, inode); an unchanged pair is the same process
//! and costs nothing; a new one costs a `stat` and a command line. `exec` changes a command line without a word, so
//! unmatched processes are looked at again at their second and fourth tick, when their age crosses a threshold, and in
//! rotation: by `stat`, and by the command line if anything was done since it was read (`rhythm::trace`). Matched
//! families are looked at in every pass. Which processes belong together, what their lineage is and who owns them is
//! decided elsewhere, without I/O.
//!
//! Invariants: nothing but the files named in `reader` is opened; a pass that could not list, or could not read what it
//! listed, is `Unavailable` and ends nothing; an identity is forgotten in the pass in which it disappears.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_identity::host::{self, Clocks};
use proc_identity::{ProcError, ProcessId, Stat};

use super::assemble;
use super::detail::Details;
use super::family::{self, Cookies, FamilyMemory, Grouping, Matched, ProcMemory};
use super::hint::{CoreHint, Roles, Shift};
use super::lineage::Host;
use super::reader::{Counters, Reader};
use super::recount::{self, Recount};
use super::rhythm::{self, Previous, Samples, Young};
use super::runs::{self, RunMembers};
use super::selfcheck::{Answer, InodeScheme, SelfCheck};
use super::shape::{Pattern, Shape};
use super::table::{Changes, RowState, Table};
use crate::observe::{Collected, ProcObservation};

/// Of so few listed processes most may end between a listing and a look.
const LISTED_AT_LEAST: usize = 8;

/// How the collector works.
#[derive(Debug, Clone)]
pub struct CollectorSettings {
    /// Where the process tree is mounted.
    pub proc_root: PathBuf,
    /// What to look for.
    pub patterns: Vec<Pattern>,
    /// In which time every unmatched command line is read once, milliseconds (`WATCHDOG_PROC_REFRESH_S`).
    pub refresh_ms: i64,
    /// Ages at which a signal could fire, milliseconds: command lines are read again just before.
    pub age_marks_ms: Vec<i64>,
}

/// Why the collector cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Nothing stands at the path.
    #[error("no proc tree at {0}")]
    NoTree(PathBuf),
    /// The tree may not be read, or is no directory.
    #[error("open proc tree {0}: {1}")]
    Open(PathBuf, ProcError),
    /// There is a directory, and it is none of processes.
    #[error("{0} is no proc tree: it has no sys/kernel/random/boot_id")]
    NoProcTree(PathBuf),
    /// Without it no identity holds beyond a reboot.
    #[error("read boot id below {0}: {1}")]
    BootId(PathBuf, ProcError),
}

/// A matched process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    id: ProcessId,
    worker: bool,
}

/// `self` leads to whoever looks, in the namespace of the mount; a written tree has none.
pub(super) fn own_pid(root: &Path) -> Option<i32> {
    std::fs::read_link(root.join("self")).ok()?.to_str()?.parse().ok()
}

/// The collector with what it keeps from pass to pass.
#[derive(Debug)]
pub struct Collector {
    pub(super) settings: CollectorSettings,
    pub(super) reader: Reader,
    pub(super) check: SelfCheck,
    /// A listing that the next one is to be compared with; empty when that was done.
    pub(super) uncompared: Vec<(i32, u64)>,
    pub(super) boot_id: String,
    pub(super) ticks_per_second: u64,
    pub(super) table: Table,
    pub(super) pairs: Vec<(i32, u64)>,
    changes: Changes,
    pub(super) young: Vec<Young>,
    /// The rotation has come up to this pid.
    pub(super) cursor: i32,
    /// Rotation that is owed, in thousandths of a process.
    pub(super) owed: u64,
    /// How often the rotation began anew.
    pub(super) rounds: u32,
    pub(super) hits: BTreeMap<i32, Hit>,
    pub(super) details: Details,
    pub(super) memory: ProcMemory,
    pub(super) runs: RunMembers,
    /// CPU of members in the last pass, clock ticks.
    cpu_before: BTreeMap<ProcessId, u64>,
    cpu_samples: Samples,
    pub(super) previous: Option<Previous>,
    /// How the core's start ticks differ from those seen here.
    pub(super) shift: Shift,
    /// Whether some pass saw a tree that hides nobody from this process: what is hidden later has not ended.
    pub(super) shown: bool,
    /// Another tree was opened, and is not known to be one that can be read.
    pub(super) unsettled: bool,
    /// Our own pid as this tree shows it: what we were asked to look for stands on our own command line.
    pub(super) own_pid: Option<i32>,
    /// Whether that is our pid in our own namespace.
    pub(super) own_namespace: bool,
    pub(super) recount: Recount,
}

/// Reads of changed processes that came to nothing, in one pass.
#[derive(Debug, Default)]
struct Lost {
    /// Listed and not there any more.
    gone: usize,
    /// There, and unreadable for no reason of permission.
    failed: usize,
}

impl Collector {
    /// Opens the tree and finds out what can be seen. A memory of another boot is dropped.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn new(settings: CollectorSettings, memory: Option<ProcMemory>) -> Result<Self, StartError> {
        let root = settings.proc_root.clone();
        let mut reader = Reader::open(&root).map_err(|error| match error {
            ProcError::Gone => StartError::NoTree(root.clone()),
            error @ (ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_)) => {
                StartError::Open(root.clone(), error)
            }
        })?;
        let boot_id = host::boot_id(&root).map_err(|error| match error {
            ProcError::Gone => StartError::NoProcTree(root),
            error @ (ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_)) => {
                StartError::BootId(root, error)
            }
        })?;
        let mut uncompared = Vec::new();
        let check = SelfCheck::run(&mut reader, &mut uncompared);
        let own_pid = own_pid(reader.path());
        let own_namespace = recount::own_namespace(&mut reader, own_pid);
        let memory = memory
            .filter(|memory| memory.host_boot_id == boot_id)
            .unwrap_or_else(|| ProcMemory { host_boot_id: boot_id.clone(), families: Vec::new() });
        Ok(Self {
            settings,
            reader,
            check,
            uncompared,
            boot_id,
            ticks_per_second: host::clock_ticks_per_second(),
            table: Table::default(),
            pairs: Vec::new(),
            changes: Changes::default(),
            young: Vec::new(),
            cursor: 0,
            owed: 0,
            rounds: 0,
            hits: BTreeMap::new(),
            details: Details::default(),
            memory,
            runs: RunMembers::default(),
            cpu_before: BTreeMap::new(),
            cpu_samples: Samples::default(),
            previous: None,
            shift: Shift::default(),
            shown: false,
            unsettled: false,
            own_pid,
            own_namespace,
            recount: Recount::default(),
        })
    }

    /// What can be seen; complete after the first pass.
    #[must_use]
    pub fn self_check(&self) -> &SelfCheck {
        &self.check
    }

    /// Trusts inodes whatever the self-test said: for a written tree, whose folders keep theirs.
    #[doc(hidden)]
    pub fn trust_inodes(&mut self) {
        self.check.scheme = InodeScheme::Trusted;
        self.uncompared = Vec::new();
    }

    /// Reads and failures so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.reader.counters()
    }

    /// What must outlive a restart.
    pub fn memory(&self) -> &ProcMemory {
        &self.memory
    }

    /// Takes back what an earlier life knew: a pass from which processes were hidden knows nothing better.
    pub fn recall(&mut self, earlier: &ProcMemory) {
        if earlier.host_boot_id == self.boot_id {
            self.memory = earlier.clone();
        }
    }

    /// Adds what an earlier life knew and this one could not read until now. What has become a family of its own
    /// meanwhile, for want of that knowledge, goes back to the one it belongs to.
    pub fn join(&mut self, earlier: &ProcMemory) {
        if earlier.host_boot_id != self.boot_id {
            return;
        }
        for old in &earlier.families {
            self.memory.families.retain(|own| own.root == old.root || !old.members.contains(&own.root));
            match self.memory.families.iter_mut().find(|own| own.root == old.root) {
                Some(own) => {
                    let more: Vec<ProcessId> =
                        old.members.iter().filter(|member| !own.members.contains(member)).copied().collect();
                    own.members.extend(more);
                }
                None => self.memory.families.push(old.clone()),
            }
        }
    }

    /// The reader, for a last look before a process is named.
    pub fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// All processes of the last pass.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Where the tree is.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.reader.path()
    }

    /// One pass. `hint` is what the core said last, however long ago.
    pub fn pass(&mut self, clocks: &Clocks, hint: Option<&CoreHint>) -> Collected<ProcObservation> {
        self.reader.take_wanting();
        if let Err(why) = self.settle() {
            return Collected::Unavailable(why);
        }
        if let Err(error) = self.list(clocks) {
            return Collected::Unavailable(format!("list {}: {error}", self.root().display()));
        }
        if self.pairs.is_empty() {
            // not even the watchdog itself: that is no empty host
            return Collected::Unavailable(format!("{} lists no process", self.root().display()));
        }
        if let Some(why) = self.hidden_since() {
            return Collected::Unavailable(why);
        }
        if !self.uncompared.is_empty() {
            self.check.compare(&mut std::mem::take(&mut self.uncompared), &mut self.pairs);
        }
        self.details.begin_pass();
        let every = self.check.scheme != InodeScheme::Trusted;
        self.table.take_pass(&mut self.pairs, every, &mut self.changes);
        self.recount.taken();
        let denied_before = self.reader.counters().denied;
        let lost = self.read_changes(clocks);
        if let Some(why) = self.wanting() {
            return Collected::Unavailable(why);
        }
        let listed = self.pairs.len();
        // single processes end or fail; that most of a host does between a listing and a look is a broken look
        if lost.gone.max(lost.failed) * 2 > listed && listed >= LISTED_AT_LEAST {
            let (gone, failed) = (lost.gone, lost.failed);
            return Collected::Unavailable(format!(
                "of {listed} listed processes {gone} were gone and {failed} unreadable when looked at"
            ));
        }
        self.read_again(clocks);
        self.read_hits();
        if let Some(why) = self.hidden_meanwhile(denied_before) {
            return Collected::Unavailable(why);
        }
        let view = self.view();
        for family in &mut self.memory.families {
            family.look_from(view, &self.table);
        }
        let roles = hint.map_or_else(Roles::default, |hint| {
            let (table, details, reader) = (&self.table, &mut self.details, &mut self.reader);
            self.shift.find(hint, table, clocks, self.ticks_per_second, details, reader);
            Roles::find(hint, &self.shift, table, details, reader)
        });
        let sight = runs::Sight { table: &self.table, clocks, ticks_per_second: self.ticks_per_second };
        self.runs.find(&sight, hint, &roles, &mut self.details, &mut self.reader);
        let grouping = self.group();
        let assembled = assemble::families(
            &mut assemble::Sources {
                table: &self.table,
                details: &mut self.details,
                reader: &mut self.reader,
                runs: &mut self.runs,
                patterns: &self.settings.patterns,
                roles: &roles,
                hint,
                host: Host {
                    host_namespace: self.check.host_namespace != Answer::No,
                    ticks_per_second: self.ticks_per_second,
                },
                boot_id: &self.boot_id,
                view,
                clocks,
                cpu_sample: self.cpu_samples.before(clocks.monotonic_ms),
                cpu_before: &mut self.cpu_before,
            },
            &grouping,
            &mut self.memory.families,
        );
        let runs = self.runs.measure(&mut self.details, &mut self.reader, self.ticks_per_second);
        if let Some(why) = self.wanting() {
            return Collected::Unavailable(why);
        }
        self.details.end_pass();
        let is_unreadable = |row: &&super::table::Row| row.state == RowState::Unreadable;
        let unreadable = self.table.rows().iter().filter(is_unreadable).count() as u64;
        self.check.listed = self.table.rows().len() as u64;
        self.check.readable = self.check.listed - unreadable;
        if self.previous.is_none() {
            self.check.count_threads();
        }
        self.shown |= self.check.hidden().is_none();
        let now = Previous { monotonic_ms: clocks.monotonic_ms, boottime_ms: clocks.boottime_ms };
        self.cpu_samples.keep(now, &self.cpu_before);
        self.previous = Some(now);
        Collected::Fresh(ProcObservation {
            host_boot_id: self.boot_id.clone(),
            families: assembled.families,
            unseen: assembled.unseen,
            runs,
            missing_runs: self.runs.missing().to_vec(),
            view,
            listed: self.check.listed,
            readable: self.check.readable,
        })
    }

    /// Why this pass could not read what it wanted to: whoever cannot open a file has seen nothing.
    fn wanting(&mut self) -> Option<String> {
        let errno = self.reader.take_wanting()?;
        Some(format!("read below {}: {errno}", self.reader.path().display()))
    }

    /// Reads what the directory pass says is new.
    fn read_changes(&mut self, clocks: &Clocks) -> Lost {
        let mut lost = Lost::default();
        let mut changes = std::mem::take(&mut self.changes);
        for pid in &changes.to_read {
            match self.reader.stat(*pid) {
                Ok(stat) => self.take_stat(stat, clocks, &mut changes.gone),
                Err(ProcError::Gone) => {
                    lost.gone += 1;
                    changes.gone.extend(self.table.get(*pid).map(super::table::Row::id));
                    self.table.remove(*pid);
                }
                Err(ProcError::Denied) => {
                    // whoever was read before stays what it was until a look succeeds: an inode of 0 has it tried again
                    if let Some(row) =
                        self.table.get_mut(*pid).filter(|row| row.state != RowState::Unreadable)
                    {
                        row.inode = 0;
                    }
                }
                Err(ProcError::Malformed { .. } | ProcError::Io(_)) => {
                    lost.failed += 1;
                    if let Some(row) = self.table.get_mut(*pid) {
                        row.inode = 0;
                    }
                }
            }
        }
        // the parent of a process changes without a word when the parent ends
        for pid in self.table.children_of_gone(&changes.gone) {
            self.refresh(pid);
        }
        if !changes.gone.is_empty() {
            self.hits.retain(|_, hit| !changes.gone.contains(&hit.id));
            let table = &self.table;
            self.young.retain(|young| table.alive(young.id));
        }
        self.changes = changes;
        lost
    }

    fn take_stat(&mut self, stat: Stat, clocks: &Clocks, gone: &mut Vec<ProcessId>) {
        let (pid, id) = (stat.pid, stat.id());
        let Some(row) = self.table.get_mut(pid) else { return };
        let before = *row;
        if self.previous.is_none() {
            self.check.threads_seen += stat.num_threads;
        }
        if before.state != RowState::Unreadable && before.start_ticks != stat.start_ticks {
            gone.push(before.id());
            row.state = RowState::Alive;
        }
        row.update(&stat);
        if row.ppid == 2 && self.kernel_threads_exist() {
            self.mark_kernel(pid);
            return;
        }
        let new = before.state == RowState::Unreadable || before.id() != id;
        if new && self.table.alive(id) {
            self.young.push(Young::seen(id, clocks.monotonic_ms));
            self.read_command(stat);
        }
    }

    fn kernel_threads_exist(&self) -> bool {
        self.table.get(2).is_some_and(|row| row.state == RowState::Kernel)
    }

    fn mark_kernel(&mut self, pid: i32) {
        if let Some(row) = self.table.get_mut(pid) {
            row.state = RowState::Kernel;
        }
    }

    /// Reads and matches the command line of an unmatched process whose `stat` was just read.
    pub(super) fn read_command(&mut self, stat: Stat) {
        let (pid, id) = (stat.pid, stat.id());
        if self.own_pid == Some(pid) {
            return;
        }
        let Ok(line) = self.reader.cmdline(pid) else { return };
        if let Some(row) = self.table.get_mut(pid) {
            row.trace = rhythm::trace(&stat);
        }
        let words: Vec<&[u8]> = line.words().collect();
        if let Some(found) = super::shape::find(&self.settings.patterns, &words, &stat.comm) {
            self.hits.insert(pid, Hit { id, worker: found.shape == Shape::Worker });
            self.details.note(stat);
        }
    }

    /// Brings a row up to date; `None` when the process ended or is another.
    pub(super) fn refresh(&mut self, pid: i32) -> Option<Stat> {
        let row = self.table.get_mut(pid)?;
        if row.state != RowState::Alive {
            return None;
        }
        let stat = self.reader.stat(pid).ok()?;
        if stat.start_ticks != row.start_ticks {
            // the next pass meets the newcomer by its inode, and must list it for that
            self.recount.distrust();
            return None;
        }
        row.update(&stat);
        if row.state == RowState::Alive { Some(stat) } else { None }
    }

    /// Matched processes and remembered members: `stat` in every pass, and whether they still match.
    fn read_hits(&mut self) {
        let watched: Vec<ProcessId> = self
            .hits
            .values()
            .map(|hit| hit.id)
            .chain(self.memory.families.iter().flat_map(|family| family.members.iter().copied()))
            .collect();
        for id in watched {
            let Some(row) = self.table.get_mut(id.pid).filter(|row| row.start_ticks == id.start_ticks) else {
                self.hits.remove(&id.pid);
                continue;
            };
            match self.details.look(&mut self.reader, id.pid) {
                Ok(detail) if detail.stat.id() == id => {
                    row.update(&detail.stat);
                }
                Ok(_) => {
                    row.state = RowState::Zombie;
                    self.recount.distrust();
                }
                Err(ProcError::Gone) => {
                    self.table.remove(id.pid);
                }
                // could not look is not gone: it stays what it was
                Err(ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_)) => {}
            }
        }
        let mut ended = Vec::new();
        for (pid, hit) in &mut self.hits {
            if !self.table.alive(hit.id) {
                ended.push(*pid);
                continue;
            }
            let Ok(detail) = self.details.look(&mut self.reader, *pid) else { continue };
            if detail.command_stands() {
                continue;
            }
            if detail.read_command(&mut self.reader, &self.settings.patterns).is_err() {
                continue;
            }
            match &detail.matched {
                Some(found) => hit.worker = found.shape == Shape::Worker,
                None => ended.push(*pid),
            }
        }
        for pid in ended {
            self.hits.remove(&pid);
        }
    }

    /// Who belongs together, with the cookies of those few for whom it matters.
    fn group(&mut self) -> Grouping {
        if self.hits.is_empty() && self.memory.families.is_empty() {
            return Grouping::default();
        }
        let matched: Vec<Matched> =
            self.hits.values().map(|hit| Matched { id: hit.id, worker: hit.worker }).collect();
        let families: &[FamilyMemory] = &self.memory.families;
        let grouping = family::group(&self.table, &matched, families, &Cookies::new());
        let candidates = family::cookie_candidates(&self.table, &grouping, families);
        if candidates.is_empty() {
            return grouping;
        }
        let roots = families
            .iter()
            .map(|family| family.root)
            .chain(grouping.new.iter().filter_map(|members| members.first().copied()));
        let mut cookies = Cookies::new();
        for id in candidates.into_iter().chain(roots) {
            let Ok(detail) = self.details.look(&mut self.reader, id.pid) else { continue };
            if detail.stat.id() != id {
                continue;
            }
            if let Ok(Some(cookie)) = detail.locks(&mut self.reader).map(|locks| locks.cookie()) {
                cookies.insert(id.pid, (id, cookie));
            }
        }
        family::group(&self.table, &matched, families, &cookies)
    }
}

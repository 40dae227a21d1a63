//! Which processes belong together: one test run, one entity, one alert.
//!
//! Pure: tables in, groups out. The workers of a parallel test run carry no word of any pattern and burn the CPU while
//! their controller idles, so a family is more than what matches: the topmost matched process, what descends from it,
//! what was once seen to, and what is bound to it by session, group or run cookie.
//!
//! Invariants: a process is in at most one family; a family keeps its key for as long as any member lives; a session
//! or group led by a stranger joins nobody, so a login shell with a dev server beside a test run stays out.

use std::collections::{BTreeMap, BTreeSet};

use proc_identity::ProcessId;
use serde::{Deserialize, Serialize};

use super::marked::MarkedMap;
use super::table::{Row, RowState, Table};
use crate::observe::View;

/// Rounds until session, group and descent add nothing more; each adds at least one process, and real trees need two.
const ROUNDS: usize = 8;
/// Dead leaders of groups or sessions that a family remembers; the kernel reuses none of these pids meanwhile.
const LEADERS_KEPT: usize = 64;

/// What outlives a tick and a restart: which processes were seen to belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcMemory {
    /// Identities below hold on this boot only.
    pub host_boot_id: String,
    /// Families with at least one live member.
    pub families: Vec<FamilyMemory>,
}

/// One family as remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyMemory {
    /// The topmost matched process when the family was first seen.
    pub root: ProcessId,
    /// Its redacted command line.
    pub command: String,
    /// Pattern and shape.
    pub matched_by: String,
    /// Live members.
    pub members: Vec<ProcessId>,
    /// Members that ended while they led a group or a session.
    pub leaders: Vec<ProcessId>,
    /// Parent of the root when the family was first seen; absent in what an earlier version wrote.
    #[serde(default)]
    pub root_ppid: Option<i32>,
    /// Group of the root, for workers that come too late to be seen below it.
    pub root_pgid: i32,
    /// Session of the root.
    pub root_sid: i32,
    /// Suspended time of the host (BOOTTIME − MONOTONIC) when first seen, milliseconds.
    pub suspended_ms_at_first: i64,
    /// CPU time of members that ended, milliseconds.
    pub ended_cpu_ms: u64,
    /// Whether it was ever linked to the core.
    pub core_linked: bool,
    /// From where it was seen last; absent in what an earlier version wrote.
    #[serde(default)]
    pub view: Option<View>,
    /// Whether this pass looks from where its pids mean nothing.
    #[serde(skip)]
    pub elsewhere: bool,
}

/// A matched process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// Who.
    pub id: ProcessId,
    /// Whether by the shape of a worker, which may belong to another's family.
    pub worker: bool,
}

/// The families of one pass: each by its key, with live members, the topmost first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grouping {
    /// Families that were known, by position in the memory.
    pub known: Vec<Vec<ProcessId>>,
    /// New ones; the first member is the root and the key.
    pub new: Vec<Vec<ProcessId>>,
}

/// A process that carries the cookie of a family's root, as far as anybody asked.
pub type Cookies = BTreeMap<i32, (ProcessId, u64)>;

/// Groups the live processes of a pass.
///
/// `cookies` holds the run cookies of those processes that were worth a read: the roots, and what
/// [`cookie_candidates`] named.
#[must_use]
pub fn group(table: &Table, matched: &[Matched], memory: &[FamilyMemory], cookies: &Cookies) -> Grouping {
    let mut work = Work::new(table, memory);
    work.place_matched(matched);
    for _ in 0..ROUNDS {
        let before = work.family_of.len();
        work.descend();
        work.join_by_leader();
        work.join_by_cookie(cookies);
        if work.family_of.len() == before {
            break;
        }
    }
    work.finish()
}

/// Processes whose cookie decides whether they join: in a root's session, re-parented out of it, younger than the root.
#[must_use]
pub fn cookie_candidates(table: &Table, grouping: &Grouping, memory: &[FamilyMemory]) -> Vec<ProcessId> {
    let inside: BTreeSet<i32> =
        grouping.known.iter().chain(&grouping.new).flatten().map(|member| member.pid).collect();
    let mut sessions: BTreeMap<i32, u64> = BTreeMap::new();
    for (family, members) in memory.iter().zip(&grouping.known) {
        if !members.is_empty() {
            sessions.insert(family.root_sid, family.root.start_ticks);
        }
    }
    for root in grouping.new.iter().filter_map(|members| members.first()) {
        if let Some(row) = table.get(root.pid) {
            sessions.insert(row.sid, root.start_ticks);
        }
    }
    if sessions.is_empty() {
        return Vec::new();
    }
    let candidate = |row: &&Row| {
        row.state == RowState::Alive
            && !inside.contains(&row.pid)
            && sessions.get(&row.sid).is_some_and(|start| row.start_ticks >= *start)
            && left_its_session(table, row)
    };
    table.rows().iter().filter(candidate).map(Row::id).collect()
}

/// Its parent is of another session, or not there: whoever started it has ended.
fn left_its_session(table: &Table, row: &Row) -> bool {
    row.sid != row.pid && table.parent(row).is_none_or(|parent| parent.sid != row.sid)
}

/// Families whose pids mean something in this pass, with their position.
fn here(memory: &[FamilyMemory]) -> impl Iterator<Item = (usize, &FamilyMemory)> {
    memory.iter().enumerate().filter(|(_, family)| !family.elsewhere)
}

/// Members that ended by now, or before: while somebody else has their pid, a session or group of that id is not theirs.
fn dead_leaders(table: &Table, memory: &[FamilyMemory]) -> MarkedMap<(u64, usize)> {
    let mut dead = MarkedMap::new();
    for (at, family) in here(memory) {
        for leader in family.leaders.iter().chain(&family.members).chain(std::iter::once(&family.root)) {
            if table.get(leader.pid).is_none_or(|row| row.start_ticks == leader.start_ticks) {
                dead.insert(leader.pid, (leader.start_ticks, at));
            }
        }
    }
    dead
}

struct Work<'pass> {
    table: &'pass Table,
    memory: &'pass [FamilyMemory],
    /// Roots of new families, behind the remembered ones.
    new: Vec<ProcessId>,
    family_of: MarkedMap<usize>,
    /// Members of remembered families that ended, by pid: when they started, and their family. Whoever stands in a session
    /// or a group of theirs was started by the family.
    dead_leaders: MarkedMap<(u64, usize)>,
}

impl<'pass> Work<'pass> {
    fn new(table: &'pass Table, memory: &'pass [FamilyMemory]) -> Self {
        let mut family_of = MarkedMap::new();
        for (at, family) in here(memory) {
            let there = |member: &&ProcessId| table.alive(**member) || table.may_be(**member);
            for member in family.members.iter().filter(there) {
                if !family_of.has(member.pid) {
                    family_of.insert(member.pid, at);
                }
            }
        }
        Self { table, memory, new: Vec::new(), family_of, dead_leaders: dead_leaders(table, memory) }
    }

    /// Gives every matched process a family: that of its highest matched or placed ancestor, or a new one.
    fn place_matched(&mut self, matched: &[Matched]) {
        let by_pid: BTreeMap<i32, &Matched> = matched
            .iter()
            .filter(|candidate| self.table.alive(candidate.id))
            .map(|candidate| (candidate.id.pid, candidate))
            .collect();
        // controllers first, so that their workers find a family to join
        let (workers, others): (Vec<&Matched>, Vec<&Matched>) =
            by_pid.values().partition(|candidate| candidate.worker);
        for candidate in others.into_iter().chain(workers) {
            let Some(row) = self.table.get(candidate.id.pid) else { continue };
            if self.family_of.has(row.pid) {
                continue;
            }
            let mut top = row;
            let mut placed = None;
            for ancestor in self.table.ancestors(row) {
                if let Some(family) = self.family_of.get(ancestor.pid) {
                    placed = Some(*family);
                } else if placed.is_none() && by_pid.contains_key(&ancestor.pid) {
                    top = ancestor;
                }
            }
            let family = placed
                .or_else(|| self.by_leader(top))
                .or_else(|| if top.pid == row.pid { self.late(row, candidate.worker) } else { None })
                .unwrap_or_else(|| {
                    self.new.push(top.id());
                    self.memory.len() + self.new.len() - 1
                });
            self.family_of.insert(top.pid, family);
            self.family_of.insert(row.pid, family);
        }
    }

    /// Who was re-parented before anybody saw it below its controller: it joins where its group is the root's and the
    /// group's leader is dead. A worker cannot be a run of its own; whoever looks like one must also stand in the root's
    /// session without a parent there, as the forked copy of a controller does that died before the next look.
    fn late(&self, row: &Row, worker: bool) -> Option<usize> {
        if self.table.get(row.pgid).is_some_and(|leader| leader.state != RowState::Zombie) {
            return None;
        }
        let left_over = |family: &FamilyMemory| {
            family.root_sid == row.sid
                && family.root.start_ticks <= row.start_ticks
                && left_its_session(self.table, row)
        };
        let remembered = here(self.memory)
            .find(|(_, family)| family.root_pgid == row.pgid && (worker || left_over(family)));
        remembered.map(|(at, _)| at).or_else(|| {
            let same_group =
                |root: &ProcessId| self.table.get(root.pid).is_some_and(|root| root.pgid == row.pgid);
            let found = self.new.iter().position(same_group).filter(|_| worker);
            found.map(|at| self.memory.len() + at)
        })
    }

    /// Children of members are members. One walk over the rows settles all whose parent has the smaller pid, which is
    /// nearly everybody; it repeats while it finds more.
    fn descend(&mut self) {
        loop {
            let before = self.family_of.len();
            for row in self.table.rows() {
                if let Some(family) = self.family_of.get(row.ppid).copied()
                    && row.state == RowState::Alive
                    && !self.family_of.has(row.pid)
                    && self.table.parent(row).is_some()
                {
                    self.family_of.insert(row.pid, family);
                }
            }
            if self.family_of.len() == before {
                return;
            }
        }
    }

    fn join_by_leader(&mut self) {
        let mut joining = Vec::new();
        for row in self.table.rows() {
            if row.state == RowState::Alive
                && !self.family_of.has(row.pid)
                && let Some(family) = self.by_leader(row)
            {
                joining.push((row.pid, family));
            }
        }
        self.family_of.extend(joining);
    }

    /// The family of whoever made the session or the group of a process: their ids are its maker's pid.
    fn by_leader(&self, row: &Row) -> Option<usize> {
        let live = |leader| {
            let family = self.family_of.get(leader)?;
            self.table.get(leader).filter(|leader| leader.start_ticks <= row.start_ticks).map(|_| *family)
        };
        let dead = |leader| {
            let (_, family) = self.dead_leaders.get(leader).filter(|(start, _)| *start <= row.start_ticks)?;
            Some(*family)
        };
        [row.sid, row.pgid]
            .into_iter()
            .filter(|leader| *leader > 1 && *leader != row.pid)
            .find_map(|leader| live(leader).or_else(|| dead(leader)))
    }

    fn join_by_cookie(&mut self, cookies: &Cookies) {
        if cookies.is_empty() {
            return;
        }
        let mut joining = Vec::new();
        for (pid, (id, cookie)) in cookies {
            let Some(row) =
                self.table.get(*pid).filter(|row| row.id() == *id && row.state == RowState::Alive)
            else {
                continue;
            };
            if self.family_of.has(*pid) || !left_its_session(self.table, row) {
                continue;
            }
            let family = self.roots().find(|(_, root, sid)| {
                *sid == row.sid
                    && root.start_ticks <= row.start_ticks
                    && cookies.get(&root.pid).is_some_and(|(same, of_root)| same == root && of_root == cookie)
            });
            joining.extend(family.map(|(at, ..)| (*pid, at)));
        }
        self.family_of.extend(joining);
    }

    /// Families as (position, root, session of the root).
    fn roots(&self) -> impl Iterator<Item = (usize, ProcessId, i32)> {
        let remembered =
            self.memory.iter().enumerate().map(|(at, family)| (at, family.root, family.root_sid));
        let new = self.new.iter().enumerate().map(|(at, root)| {
            (self.memory.len() + at, *root, self.table.get(root.pid).map_or(0, |row| row.sid))
        });
        remembered.chain(new)
    }

    fn finish(self) -> Grouping {
        let mut members: Vec<Vec<ProcessId>> = vec![Vec::new(); self.memory.len() + self.new.len()];
        for (pid, family) in self.family_of.iter() {
            let Some(row) = self.table.get(pid) else { continue };
            let member = match row.state {
                RowState::Alive => Some(row.id()),
                // could not look: whoever was a member stays one
                RowState::Unreadable => self
                    .memory
                    .get(*family)
                    .and_then(|family| family.members.iter().copied().find(|member| member.pid == pid)),
                RowState::Zombie | RowState::Kernel => None,
            };
            if let (Some(member), Some(members)) = (member, members.get_mut(*family)) {
                members.push(member);
            }
        }
        let roots: Vec<ProcessId> = self.roots().map(|(_, root, _)| root).collect();
        for (members, root) in members.iter_mut().zip(&roots) {
            // the root, then whoever is nearest to it, then age: the order in which a tree is read
            members.sort_by_key(|member| {
                (member != root, self.depth_within(*member, root), member.start_ticks, member.pid)
            });
        }
        let new = members.split_off(self.memory.len());
        Grouping { known: members, new }
    }

    fn depth_within(&self, member: ProcessId, root: &ProcessId) -> usize {
        let family = self.family_of.get(member.pid);
        let Some(row) = self.table.get(member.pid) else { return 0 };
        self.table
            .ancestors(row)
            .take_while(|ancestor| ancestor.pid != root.pid || ancestor.start_ticks == root.start_ticks)
            .take_while(|ancestor| self.family_of.get(ancestor.pid) == family)
            .count()
    }
}

impl FamilyMemory {
    /// Finds out whether a pass looks from elsewhere than where this family was seen: then its pids mean nothing.
    pub fn look_from(&mut self, now: View, table: &Table) {
        let there = |member: &ProcessId| table.alive(*member) || table.may_be(*member);
        self.elsewhere = !now.covers(self.view) && !self.members.iter().any(there);
    }

    /// Whether it may live on where `now` cannot look. Who sees the whole host sees who started when, under whichever pid.
    #[must_use]
    pub fn may_live_unseen(&self, now: View, table: &Table) -> bool {
        let started_then = |member: &ProcessId| table.started_at(member.start_ticks).next().is_some();
        self.elsewhere && (!now.host || self.members.iter().any(started_then))
    }

    /// Takes the members of a pass over; who ended while leading a group or a session is remembered as a leader.
    pub fn take_members(&mut self, members: &[ProcessId], led: impl Fn(ProcessId) -> bool) {
        for ended in self.members.iter().filter(|member| !members.contains(member)) {
            if led(*ended) && !self.leaders.contains(ended) && self.leaders.len() < LEADERS_KEPT {
                self.leaders.push(*ended);
            }
        }
        self.members = members.to_vec();
    }
}

//! The table of all processes, one fixed-size row each, and what changed between two directory passes.
//!
//! Pure: it is given the (pid, inode) pairs of a pass and says which rows are new and which went; who reads files is
//! its caller. Nothing here has a name or a command line, so that ten thousand idle processes cost ten thousand rows
//! of 48 bytes.
//!
//! Invariants: rows are ascending by pid; a row that is not in the pass is gone after it; a row whose pair did not
//! change was not read.

use proc_identity::{ProcessId, Stat};

/// How far ancestry is followed. A chain this long is a loop made of reused pids, or hostile.
const ANCESTRY_DEPTH: usize = 4096;

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Pid as the proc mount shows it.
    pub pid: i32,
    /// Inode of its directory; at most 1 is no identity.
    pub inode: u64,
    /// Start ticks; with the pid its identity.
    pub start_ticks: u64,
    /// Parent when last read.
    pub ppid: i32,
    /// Process group when last read.
    pub pgid: i32,
    /// Session when last read.
    pub sid: i32,
    /// What else is known.
    pub state: RowState,
    /// Its trace when its command line was last read; 0 before that.
    pub trace: u64,
}

/// What a look at a process's `stat` brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// Alive when last read.
    Alive,
    /// Ended and not reaped when last read.
    Zombie,
    /// A thread of the kernel: it has no command line and never will.
    Kernel,
    /// `stat` could not be read, so nothing but its pid is known.
    Unreadable,
}

impl Row {
    /// Identity.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        ProcessId { pid: self.pid, start_ticks: self.start_ticks }
    }

    /// Takes over what `stat` says.
    pub fn update(&mut self, stat: &Stat) {
        self.start_ticks = stat.start_ticks;
        self.ppid = stat.ppid;
        self.pgid = stat.pgrp;
        self.sid = stat.session;
        // kthreadd is the second process of the host's own namespace and the parent of all the others
        let kernel =
            (stat.pid == 2 && stat.ppid == 0 && stat.comm == b"kthreadd") || self.state == RowState::Kernel;
        self.state = if kernel {
            RowState::Kernel
        } else if stat.is_dead() {
            RowState::Zombie
        } else {
            RowState::Alive
        };
    }

    fn unread(pid: i32, inode: u64) -> Self {
        Self { pid, inode, start_ticks: 0, ppid: 0, pgid: 0, sid: 0, state: RowState::Unreadable, trace: 0 }
    }
}

/// What one pass changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Pids whose `stat` must be read: new, or of another inode than before.
    pub to_read: Vec<i32>,
    /// Identities that were there and are not any more.
    pub gone: Vec<ProcessId>,
}

/// All processes of the last pass.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    spare: Vec<Row>,
}

impl Table {
    /// Takes a pass in. `pairs` is sorted when it is not. Whether an inode identifies a process is the caller's to
    /// know; with `every` all pids are to be read.
    pub fn take_pass(&mut self, pairs: &mut Vec<(i32, u64)>, every: bool, changes: &mut Changes) {
        changes.to_read.clear();
        changes.gone.clear();
        let unchanged = self.rows.len() == pairs.len()
            && self.rows.iter().zip(pairs.iter()).all(|(row, pair)| (row.pid, row.inode) == *pair);
        if !unchanged {
            if !pairs.is_sorted() {
                pairs.sort_unstable();
            }
            pairs.dedup_by_key(|pair| pair.0);
            self.merge(pairs, changes);
        }
        if every {
            changes.to_read.clear();
            changes.to_read.extend(self.rows.iter().map(|row| row.pid));
        } else if unchanged {
            changes.to_read.extend(self.rows.iter().filter(|row| row.inode <= 1).map(|row| row.pid));
        }
    }

    fn merge(&mut self, pairs: &[(i32, u64)], changes: &mut Changes) {
        self.spare.clear();
        let mut old = self.rows.iter().copied().peekable();
        for (pid, inode) in pairs.iter().copied() {
            while let Some(row) = old.next_if(|row| row.pid < pid) {
                changes.gone.push(row.id());
            }
            let known = old.next_if(|row| row.pid == pid);
            let same = known.is_some_and(|row| row.inode == inode) && inode > 1;
            if !same {
                changes.to_read.push(pid);
            }
            // a new inode may be the same process after the kernel dropped its cache: the read will say
            self.spare.push(known.map_or(Row::unread(pid, inode), |row| Row { inode, ..row }));
        }
        changes.gone.extend(old.map(|row| row.id()));
        std::mem::swap(&mut self.rows, &mut self.spare);
    }

    /// Rows, ascending by pid.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a pid.
    #[must_use]
    pub fn get(&self, pid: i32) -> Option<&Row> {
        self.rows.binary_search_by_key(&pid, |row| row.pid).ok().and_then(|at| self.rows.get(at))
    }

    /// The row of a pid, to be updated; its pid and inode stay.
    pub fn get_mut(&mut self, pid: i32) -> Option<&mut Row> {
        self.rows.binary_search_by_key(&pid, |row| row.pid).ok().and_then(|at| self.rows.get_mut(at))
    }

    /// Drops the row of a process that ended between the listing and the read.
    pub fn remove(&mut self, pid: i32) {
        if let Ok(at) = self.rows.binary_search_by_key(&pid, |row| row.pid) {
            self.rows.remove(at);
        }
    }

    /// Whether this very process is there and has not ended.
    #[must_use]
    pub fn alive(&self, id: ProcessId) -> bool {
        self.get(id.pid).is_some_and(|row| row.start_ticks == id.start_ticks && row.state == RowState::Alive)
    }

    /// Whether somebody has its pid who could not be looked at: it may be this very process.
    #[must_use]
    pub fn may_be(&self, id: ProcessId) -> bool {
        self.get(id.pid).is_some_and(|row| row.state == RowState::Unreadable)
    }

    /// The parent's row. A parent that started after its child is a stranger with a reused pid.
    #[must_use]
    pub fn parent(&self, row: &Row) -> Option<&Row> {
        if row.ppid <= 0 || row.ppid == row.pid {
            return None;
        }
        self.get(row.ppid)
            .filter(|parent| parent.state != RowState::Unreadable && parent.start_ticks <= row.start_ticks)
    }

    /// Ancestors from the parent up, bounded.
    pub fn ancestors<'table>(&'table self, row: &Row) -> impl Iterator<Item = &'table Row> {
        let mut next = self.parent(row);
        std::iter::from_fn(move || {
            let current = next?;
            next = self.parent(current);
            Some(current)
        })
        .take(ANCESTRY_DEPTH)
    }

    /// Pids whose parent is among those that just went: the kernel gave them a new one without a word.
    #[must_use]
    pub fn children_of_gone(&self, gone: &[ProcessId]) -> Vec<i32> {
        if gone.is_empty() {
            return Vec::new();
        }
        let mut pids: Vec<i32> = gone.iter().map(|id| id.pid).collect();
        pids.sort_unstable();
        self.rows.iter().filter(|row| pids.binary_search(&row.ppid).is_ok()).map(|row| row.pid).collect()
    }

    /// Live processes that started at exactly these ticks; seldom more than a few.
    pub fn started_at(&self, start_ticks: u64) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.start_ticks == start_ticks && row.state == RowState::Alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pass(table: &mut Table, pairs: &[(i32, u64)]) -> Changes {
        let mut changes = Changes::default();
        table.take_pass(&mut pairs.to_vec(), false, &mut changes);
        for pid in &changes.to_read {
            // as the rim does: a read row has the start ticks of whoever has the inode
            if let Some(row) = table.get_mut(*pid) {
                row.start_ticks = row.inode * 10;
                row.state = RowState::Alive;
            }
        }
        changes
    }

    #[test]
    fn a_pair_that_did_not_change_is_not_read_again() {
        let mut table = Table::default();
        assert_eq!(pass(&mut table, &[(1, 11), (5, 55)]).to_read, [1, 5]);
        assert_eq!(pass(&mut table, &[(1, 11), (5, 55)]), Changes::default());
        assert_eq!(pass(&mut table, &[(1, 11), (5, 56)]).to_read, [5]);
    }

    #[test]
    fn an_inode_of_at_most_one_is_read_each_time() {
        let mut table = Table::default();
        pass(&mut table, &[(1, 1), (2, 0), (3, 33)]);
        assert_eq!(pass(&mut table, &[(1, 1), (2, 0), (3, 33)]).to_read, [1, 2]);
        assert_eq!(pass(&mut table, &[(1, 1), (2, 0)]).to_read, [1, 2]);
    }

    #[test]
    fn who_is_not_listed_is_gone_in_the_same_pass() {
        let mut table = Table::default();
        pass(&mut table, &[(1, 11), (5, 55), (9, 99)]);
        let changes = pass(&mut table, &[(5, 55)]);
        assert_eq!(changes.gone.iter().map(|id| id.pid).collect::<Vec<_>>(), [1, 9]);
        assert!(table.get(1).is_none() && table.get(5).is_some());
    }

    #[test]
    fn a_parent_younger_than_its_child_is_a_stranger() {
        let mut table = Table::default();
        pass(&mut table, &[(10, 2), (20, 3)]);
        for (pid, start, ppid) in [(10, 500, 1), (20, 400, 10)] {
            let row = table.get_mut(pid).unwrap();
            (row.start_ticks, row.ppid) = (start, ppid);
        }
        assert_eq!(table.parent(table.get(20).unwrap()), None);
    }

    #[test]
    fn a_loop_of_reused_pids_ends() {
        let mut table = Table::default();
        pass(&mut table, &[(10, 2), (20, 3)]);
        for (pid, ppid) in [(10, 20), (20, 10)] {
            let row = table.get_mut(pid).unwrap();
            (row.start_ticks, row.ppid) = (7, ppid);
        }
        assert!(table.ancestors(table.get(10).unwrap()).count() <= ANCESTRY_DEPTH);
    }

    proptest! {
        #[test]
        fn any_sequence_of_passes_leaves_exactly_the_last_one(
            passes in prop::collection::vec(prop::collection::btree_map(1..60_i32, 0..5_u64, 0..40), 1..8)
        ) {
            let mut table = Table::default();
            for listing in &passes {
                let before: Vec<(i32, u64)> = table.rows().iter().map(|row| (row.pid, row.inode)).collect();
                let pairs: Vec<(i32, u64)> = listing.iter().map(|(pid, inode)| (*pid, *inode)).collect();
                let changes = pass(&mut table, &pairs);
                prop_assert_eq!(table.rows().iter().map(|row| (row.pid, row.inode)).collect::<Vec<_>>(), pairs.clone());
                let expected: Vec<i32> =
                    pairs.iter().filter(|pair| pair.1 <= 1 || !before.contains(pair)).map(|pair| pair.0).collect();
                prop_assert_eq!(changes.to_read, expected);
                let gone: Vec<i32> = before.iter().map(|pair| pair.0).filter(|pid| !listing.contains_key(pid)).collect();
                prop_assert_eq!(changes.gone.iter().map(|id| id.pid).collect::<Vec<_>>(), gone);
            }
        }
    }
}

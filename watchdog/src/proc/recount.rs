//! Which processes there are, with as little of the directory read as proves it.
//!
//! A tick needs the exact set of pids, and the set seldom changes by more than its youngest members. So only these are
//! listed, the number of all is asked of the kernel, and where the other rows and the entries together are as many, they
//! are the set: whoever is alive and not young was listed before, so that the rows can be too many and never too few.
//! Where they are too many somebody ended: then more of the young are listed, and after them the whole directory. Where
//! nothing was made at all and the number is that of the rows, nothing is listed.
//!
//! Responsible for when a whole pass can be spared. What becomes of the pairs is `table`'s business.
//!
//! Invariants: births during a look make it worthless; no look rests on a listing that the table did not take over; the
//! whole directory is listed at least once in the time in which each command line is (`refresh_ms`), which bounds what
//! a host with hand-set pids could hide.

use proc_identity::host::Clocks;
use proc_identity::{Births, ProcError};

use super::reader::Reader;
use super::scan::Collector;
use super::selfcheck::InodeScheme;
use super::table::Row;

/// So many rows below the last known birth are listed again, and where that does not suffice, so many. A pid is given
/// out before its process can be listed: these are also those that were on their way at the last look.
const YOUNGEST: [usize; 2] = [64, 512];
/// Pids that may have been passed over between two looks for no reason that is known: threads have them, or a fork
/// failed after taking one. With more of them the numbers may have gone round once.
const PASSED_OVER: i64 = 256;

/// What the next listing can build on.
#[derive(Debug, Default)]
pub(super) struct Recount {
    /// The births before the listing that the table rests on. `None`: only a whole pass will do.
    since: Option<Births>,
    /// As `since`, of a listing that the table has not taken over yet.
    listed: Option<Births>,
    /// When the whole directory was listed last.
    whole_at_ms: i64,
    part: Vec<(i32, u64)>,
}

impl Recount {
    /// A pid was found to be another process than its row says: only a whole pass shows who else is.
    pub(super) fn distrust(&mut self) {
        self.since = None;
    }

    /// The table has taken the listing over.
    pub(super) fn taken(&mut self) {
        self.since = self.listed.take();
    }
}

/// Whether pids were given out in ascending order between two looks, without going round. Pids of the rows were taken.
fn ascending(since: Births, now: Births, rows: &[Row]) -> bool {
    let Some(made) = now.made.checked_sub(since.made).and_then(|made| i64::try_from(made).ok()) else {
        return false;
    };
    let advanced = i64::from(now.last_pid) - i64::from(since.last_pid);
    let (below, above) = around(rows, since.last_pid, now.last_pid);
    let taken = rows.len().saturating_sub(below.len() + above.len());
    (made..=made + PASSED_OVER + i64::try_from(taken).unwrap_or(0)).contains(&advanced)
}

/// Of the rows, which keep their place beside a part of the directory above one pid and up to another.
fn around(rows: &[Row], after: i32, last: i32) -> (&[Row], &[Row]) {
    let (below, rest) = rows.split_at(rows.partition_point(|row| row.pid <= after));
    (below, rest.split_at(rest.partition_point(|row| row.pid <= last)).1)
}

fn pair(row: &Row) -> (i32, u64) {
    (row.pid, row.inode)
}

/// The pid below the `count` youngest rows.
fn below_youngest(rows: &[Row], since: Births, count: usize) -> i32 {
    let known = rows.partition_point(|row| row.pid <= since.last_pid);
    known.checked_sub(count + 1).and_then(|at| rows.get(at)).map_or(0, |row| row.pid)
}

/// Whether the pids of the tree are those of our own namespace, so that its last pid is the tree's last pid, too.
pub(super) fn own_namespace(reader: &mut Reader, own_pid: Option<i32>) -> bool {
    let own = reader.is_kernels().then_some(own_pid).flatten();
    own.and_then(|pid| reader.status(pid).ok()).and_then(|status| status.namespace_depth()) == Some(1)
}

impl Collector {
    /// Fills `pairs` with all processes.
    pub(super) fn list(&mut self, clocks: &Clocks) -> Result<(), ProcError> {
        let since = self.recount.since.take();
        let age_ms = clocks.monotonic_ms - self.recount.whole_at_ms;
        let whole = !self.uncompared.is_empty()
            || self.check.scheme != InodeScheme::Trusted
            || !(0..self.settings.refresh_ms).contains(&age_ms);
        if !whole && let Some(since) = since {
            self.recount.listed = self.list_in_part(since);
            if self.recount.listed.is_some() {
                return Ok(());
            }
        }
        // what is made during the pass may be missing in it, and is looked for by the next one
        self.recount.listed = if self.own_namespace { self.reader.births().ok() } else { None };
        self.recount.whole_at_ms = clocks.monotonic_ms;
        self.reader.list(&mut self.pairs)
    }

    /// Fills `pairs` without a whole pass. `None` where that proves nothing.
    fn list_in_part(&mut self, since: Births) -> Option<Births> {
        // whoever hides processes hides process 1, which is always there
        self.reader.stat(1).ok()?;
        let all = self.reader.processes().ok()??;
        let now = self.reader.births().ok()?;
        if now.made == since.made {
            if all == self.table.rows().len() as u64 {
                self.pairs.clear();
                self.pairs.extend(self.table.rows().iter().map(pair));
                return Some(since);
            }
        } else if !ascending(since, now, self.table.rows()) {
            return None;
        }
        YOUNGEST.into_iter().find_map(|count| self.list_youngest(since, now, count))
    }

    /// The rows with the youngest listed anew, if these are all processes. `None` where that is not proven.
    fn list_youngest(&mut self, since: Births, now: Births, count: usize) -> Option<Births> {
        let after = below_youngest(self.table.rows(), since, count);
        self.reader.list_between(after, now.last_pid, &mut self.recount.part).ok()??;
        let all = self.reader.processes().ok()??;
        // a pid that was chosen by hand meanwhile moves nothing here: the next look finds more births than pids
        if self.reader.last_pid().ok()? != now.last_pid {
            return None;
        }
        let (below, above) = around(self.table.rows(), after, now.last_pid);
        if (below.len() + self.recount.part.len() + above.len()) as u64 != all {
            return None;
        }
        self.pairs.clear();
        self.pairs.extend(below.iter().map(pair));
        self.pairs.extend_from_slice(&self.recount.part);
        self.pairs.extend(above.iter().map(pair));
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::table::{Changes, Table};

    fn births(made: u64, last_pid: i32) -> Births {
        Births { made, last_pid }
    }

    #[test]
    fn pids_that_went_round_or_were_chosen_by_hand_prove_nothing() {
        let since = births(1000, 500);
        for (now, holds) in [
            (births(1000, 500), true),
            (births(1003, 503), true),
            (births(1003, 510), true),
            // fewer pids than births: some were chosen
            (births(1003, 502), false),
            (births(1000, 400), false),
            (births(1003, 40), false),
            // a lap of failed forks
            (births(1003, 900), false),
            // another boot, or a file that tells something else
            (births(900, 510), false),
        ] {
            assert_eq!(ascending(since, now, &[]), holds, "{now:?}");
        }
        // three hundred pids in between are those of processes
        let mut table = Table::default();
        table.take_pass(&mut (520..820).map(|pid| (pid, 7)).collect(), false, &mut Changes::default());
        assert!(ascending(since, births(1003, 900), table.rows()));
        assert!(!ascending(since, births(1003, 1100), table.rows()));
    }

    #[test]
    fn rows_around_a_part_are_those_outside_of_its_bounds() {
        let mut table = Table::default();
        table.take_pass(&mut (1..=9).map(|pid| (pid * 10, 7)).collect(), false, &mut Changes::default());
        let pids = |(below, above): (&[Row], &[Row])| {
            let pids = |rows: &[Row]| rows.iter().map(|row| row.pid).collect::<Vec<_>>();
            (pids(below), pids(above))
        };
        assert_eq!(pids(around(table.rows(), 30, 80)), (vec![10, 20, 30], vec![90]));
        assert_eq!(pids(around(table.rows(), 0, i32::MAX)), (vec![], vec![]));
        assert_eq!(pids(around(table.rows(), 95, 99)).0.len(), 9);

        // of the nine, 90 was given out before a lap of the numbers
        assert_eq!(below_youngest(table.rows(), births(0, 85), 2), 60);
        assert_eq!(below_youngest(table.rows(), births(0, 85), 8), 0);
        assert_eq!(below_youngest(table.rows(), births(0, 85), 64), 0);
    }
}

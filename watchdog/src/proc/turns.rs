//! When a process that did not match is looked at again.
//!
//! `exec` changes a command line and keeps the rest. So a process is looked at in its first minute, just before its age
//! crosses a threshold, and in rotation. A look is a `stat`; the command line is read where that shows that anything was
//! done since it was last read (`rhythm::trace`), before a threshold, and in one round of four.

use proc_identity::host::{Clocks, ticks_at};

use super::rhythm;
use super::scan::Collector;
use super::table::RowState;

/// Of the rounds of the rotation one in so many reads every command line, whatever was done: a program can write over its
/// own without a trace.
const CERTAIN_ROUND: u32 = 4;

impl Collector {
    /// Command lines that may have changed by `exec`.
    pub(super) fn read_again(&mut self, clocks: &Clocks) {
        let (mut due, mut certain): (Vec<i32>, Vec<i32>) = (Vec::new(), Vec::new());
        for young in &mut self.young {
            if young.due(clocks.monotonic_ms) {
                due.push(young.id.pid);
            }
        }
        self.young.retain(|young| !young.grown());
        self.cross_marks(clocks, &mut certain);
        self.rotate(clocks, if self.rounds.is_multiple_of(CERTAIN_ROUND) { &mut certain } else { &mut due });
        due.retain(|pid| !certain.contains(pid));
        for (mut pids, always) in [(due, false), (certain, true)] {
            pids.sort_unstable();
            pids.dedup();
            for pid in pids {
                if !self.hits.contains_key(&pid) {
                    self.look_again(pid, always);
                }
            }
        }
    }

    /// Those whose age crosses a threshold before the next pass, if that comes as late as this one did.
    fn cross_marks(&self, clocks: &Clocks, due: &mut Vec<i32>) {
        let Some(previous) = self.previous else { return };
        let interval_ms = (clocks.boottime_ms - previous.boottime_ms).max(0);
        for mark_ms in &self.settings.age_marks_ms {
            let newest = clocks.boottime_ms + interval_ms - mark_ms;
            // in ticks, so that no row has to be converted
            let at = |ms: i64| ticks_at(ms, self.ticks_per_second);
            let window = at(newest - interval_ms)..at(newest + 1);
            due.extend(self.table.rows().iter().filter_map(|row| {
                (row.state == RowState::Alive && window.contains(&row.start_ticks)).then_some(row.pid)
            }));
        }
    }

    /// The next share of all processes, so that each is read once in the refresh time.
    fn rotate(&mut self, clocks: &Clocks, due: &mut Vec<i32>) {
        let Some(previous) = self.previous else { return };
        let elapsed_ms = u64::try_from(clocks.monotonic_ms - previous.monotonic_ms).unwrap_or(0);
        let refresh_ms = u64::try_from(self.settings.refresh_ms).unwrap_or(0).max(1);
        let rows = self.table.rows();
        let all = rows.len() as u64;
        self.owed =
            self.owed.saturating_add(all.saturating_mul(elapsed_ms).saturating_mul(1000) / refresh_ms);
        let share = usize::try_from((self.owed / 1000).min(all)).unwrap_or(rows.len());
        self.owed %= 1000;
        let from = rows.partition_point(|row| row.pid <= self.cursor);
        let (before, after) = rows.split_at(from);
        self.rounds = self.rounds.wrapping_add(u32::from(share > after.len()));
        for row in after.iter().chain(before).take(share) {
            self.cursor = row.pid;
            if row.state == RowState::Alive {
                due.push(row.pid);
            }
        }
    }

    /// Reads the `stat` of a process again and, if it is still the same and alive, its command line: always, or when
    /// something was done since that was last read.
    fn look_again(&mut self, pid: i32, always: bool) {
        let Some(stat) = self.refresh(pid) else { return };
        if always || self.table.get(pid).is_none_or(|row| row.trace != rhythm::trace(&stat)) {
            self.read_command(stat);
        }
    }
}

//! How long tasks have waited for others, in time that this life of the core has watched.
//!
//! The host's clock takes no part: set forth by a day, it ends no wait for CI or for a deploy early, and
//! set back it prolongs none. A wait begins with the first look at it, so that a new life counts anew.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::Engine;
use crate::{
    domain::{ids::TaskId, task::Standing},
    failpoint::{Plant, planted},
    store::TaskRow,
};

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// It stands as it does.
    Standing,
    /// The revision that was deployed is healthy.
    Deploy,
    /// A deploy command that was begun comes to something.
    Command,
}

/// When each wait began, by a clock that only runs, and which wait of its kind it is.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<BTreeMap<(TaskId, Wait), (i64, i64)>>);

impl Waits {
    /// How long it has lasted, in milliseconds; 0 when it is seen for the first time. Another `mark` is
    /// another wait.
    pub(crate) fn of(&self, task: TaskId, wait: Wait, mark: i64, passed_ms: i64) -> i64 {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waits.entry((task, wait)).or_insert((mark, passed_ms));
        if known.0 != mark {
            *known = (mark, passed_ms);
        }
        passed_ms.saturating_sub(known.1)
    }

    /// Begins a wait anew.
    fn begin(&self, task: TaskId, wait: Wait, passed_ms: i64) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waits.insert((task, wait), (0, passed_ms));
    }

    /// Forgets whatever a task waited for.
    fn forget(&self, task: TaskId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| *of != task);
    }
}

/// A time that is shown is not rewritten for less, in milliseconds.
const SHOWN_OFF_MS: u64 = 60_000;

impl Engine {
    /// The clock that waits for others are measured by.
    pub(crate) fn wait_clock_ms(&self) -> i64 {
        if planted(Plant::WaitsByClock) { self.clock.now_ms() } else { self.clock.passed_ms() }
    }

    /// How long a task has stood as it stands, in milliseconds that were watched.
    pub(super) fn stood_ms(&self, row: &TaskRow) -> i64 {
        self.waits.of(row.id, Wait::Standing, row.task.standing_since_ms, self.wait_clock_ms())
    }

    /// What was committed: a wait begins with it, and a terminal task waits for nothing.
    pub(super) fn watch_wait(&self, row: &TaskRow) {
        if row.task.stage.is_terminal() {
            self.waits.forget(row.id);
            return;
        }
        self.stood_ms(row);
        // whoever enters, and whoever asks for another try, gives a deploy its time anew
        if matches!(row.task.standing, Standing::Moving {}) {
            self.give_deploy_time(row.id);
        }
    }

    /// A deploy has its time from now on.
    pub(crate) fn give_deploy_time(&self, task: TaskId) {
        self.waits.begin(task, Wait::Deploy, self.wait_clock_ms());
    }

    /// The end of a wait that has `left_ms` to go, as people are told it: the time that was told before,
    /// unless the clock was set since.
    pub(crate) fn shown_until(&self, told_ms: Option<i64>, left_ms: i64) -> i64 {
        let until_ms = self.clock.now_ms().saturating_add(left_ms);
        told_ms.filter(|told| told.abs_diff(until_ms) < SHOWN_OFF_MS).unwrap_or(until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_lasts_from_its_first_look_and_another_one_begins_anew() {
        let (waits, task) = (Waits::default(), TaskId(1));
        assert_eq!(waits.of(task, Wait::Standing, 7, 1_000), 0);
        assert_eq!(waits.of(task, Wait::Standing, 7, 5_000), 4_000);
        assert_eq!(waits.of(task, Wait::Deploy, 7, 5_000), 0, "of another kind");
        assert_eq!(waits.of(task, Wait::Standing, 8, 6_000), 0, "another of its kind");
        assert_eq!(waits.of(task, Wait::Standing, 8, 7_000), 1_000);
        waits.begin(task, Wait::Deploy, 9_000);
        assert_eq!(waits.of(task, Wait::Deploy, 0, 9_500), 500);
        waits.forget(task);
        assert_eq!(waits.of(task, Wait::Standing, 8, 9_000), 0);
    }
}

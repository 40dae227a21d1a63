//! How long the reaper has watched what it may end, in time that has passed.
//!
//! The host's clock takes no part: it may be set forth by a day while a healthy owner works, or back
//! while nobody does. What an earlier life saw counts for nothing here: a run has a time-out of its own
//! with its supervisor, and a lease of an earlier life needs no age to be taken.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::domain::ids::{Fencing, RunId, TaskId};

/// What has an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Watched {
    /// The run of a job.
    Run(RunId),
    /// The recorded exit of a run whose job still runs.
    Exit(RunId),
    /// A run that no job waits for.
    LeftOver(RunId),
    /// One grant of a task's lease.
    Grant(TaskId, Fencing),
}

/// When each was first seen, and whether it was seen in the present pass. It outlives a panic of the reaper.
#[derive(Debug, Default)]
pub(crate) struct Ages(Mutex<BTreeMap<Watched, (i64, bool)>>);

impl Ages {
    /// Its age; 0 when it is seen for the first time.
    pub(crate) fn of(&self, watched: Watched, passed_ms: i64) -> i64 {
        let mut ages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since_ms, seen) = ages.entry(watched).or_insert((passed_ms, true));
        *seen = true;
        passed_ms.saturating_sub(*since_ms)
    }

    /// Forgets what was not seen since this was last called.
    pub(crate) fn end_pass(&self) {
        let mut ages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ages.retain(|_, (_, seen)| std::mem::take(seen));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_begins_with_the_first_look_and_ends_with_a_pass_that_does_not_see_it() {
        let ages = Ages::default();
        let first = Watched::Grant(TaskId(1), Fencing(7));
        assert_eq!(ages.of(first, 1_000), 0);
        ages.end_pass();
        assert_eq!(ages.of(first, 5_000), 4_000);
        assert_eq!(ages.of(Watched::Grant(TaskId(1), Fencing(8)), 5_000), 0, "another owner's own");
        ages.end_pass();
        ages.end_pass();
        assert_eq!(ages.of(first, 9_000), 0, "it was gone in between");
    }
}

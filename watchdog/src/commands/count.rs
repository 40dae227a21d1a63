//! Counts of commands, for metrics.

use std::sync::{Arc, Mutex, PoisonError};

use super::Way;

/// How a command ended, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommandOutcome {
    /// Done, or answered.
    Done,
    /// Understood, and there was nothing to change.
    Refused,
    /// Not understood.
    Malformed,
    /// From somebody who may not.
    Forbidden,
    /// Too old to be done.
    Late,
}

impl CommandOutcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Done, Self::Refused, Self::Malformed, Self::Forbidden, Self::Late];

    /// Label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Forbidden => "forbidden",
            Self::Late => "late",
        }
    }
}

/// Counts by way and outcome, in the order of their lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandCounts([[u64; CommandOutcome::ALL.len()]; Way::ALL.len()]);

impl CommandCounts {
    /// Every pair with its count.
    pub fn rows(&self) -> impl Iterator<Item = (Way, CommandOutcome, u64)> {
        let of_way = |(way, counts): (Way, [u64; CommandOutcome::ALL.len()])| {
            CommandOutcome::ALL.into_iter().zip(counts).map(move |(outcome, count)| (way, outcome, count))
        };
        Way::ALL.into_iter().zip(self.0).flat_map(of_way)
    }
}

/// Counts that the ways write and a scrape reads.
#[derive(Debug, Clone, Default)]
pub struct SharedCommandCounts(Arc<Mutex<CommandCounts>>);

impl SharedCommandCounts {
    /// One more.
    pub fn count(&self, way: Way, outcome: CommandOutcome) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (known_way, row) in Way::ALL.iter().zip(&mut counts.0) {
            for (known, count) in CommandOutcome::ALL.iter().zip(row) {
                *count += u64::from(*known_way == way && *known == outcome);
            }
        }
    }

    /// As they stand.
    #[must_use]
    pub fn read(&self) -> CommandCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

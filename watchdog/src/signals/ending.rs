//! What ended a condition, as values.
//!
//! Responsible for the closed list and its stored form; how it reads stands in `notify::text`, in
//! every language. Invariant: no free sentence; [`Ending::Words`] comes only out of a state file that
//! an earlier version wrote.

use serde::{Deserialize, Serialize};

use super::Entity;
use crate::evidence::EarlierWords;

/// What ended it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The last process of a family ended.
    LastProcessEnded,
    /// A family is owned, and within its age limit.
    OwnedAndYoung,
    /// The host restarted.
    HostRestarted,
    /// A job writes or computes again.
    JobMoves,
    /// A job no longer runs.
    JobEnded,
    /// The run of a job has ended and is being settled.
    RunSettles,
    /// A job is within its share of the limit: it was started again, or its limit was raised.
    WithinShare,
    /// A lease was released.
    LeaseReleased,
    /// A lease has a live owner.
    LeaseOwned,
    /// A task is done or was cancelled.
    TaskSettled,
    /// A task is done with its stages.
    TaskFinished,
    /// A task is within the limit of its stage.
    WithinStageLimit {
        /// The stage.
        stage: String,
    },
    /// A task waits for a person now, which is told by another signal.
    WaitsForPerson,
    /// A task no longer waits for a person.
    PersonActed,
    /// A person answered, and is asked again.
    AskedAgain,
    /// No job that could run waits.
    QueueEmpty,
    /// No slot is free, so that jobs rightly wait.
    SlotsTaken,
    /// Jobs start again.
    JobsStart,
    /// More than this share of bytes and inodes is free.
    DiskHasRoom {
        /// Percent.
        percent: u32,
    },
    /// The core's documents and actors are on time, and the clocks agree.
    CoreOnTime,
    /// Work waits for a processor for a smaller share of the time.
    CpuRelieved {
        /// Percent of the last minute.
        percent: u32,
    },
    /// A channel takes notices again.
    ChannelTakes,
    /// The core answers again.
    CoreAnswers,
    /// The core answers again: it is starting; as an earlier version stored it.
    CoreStarts,
    /// The core answers again, in a form that cannot be used; as an earlier version stored it.
    CoreUnreadable,
    /// The core answers again, with a document of another schema version.
    CoreOtherSchema,
    /// The host has room again.
    HostHasRoom,
    /// A channel is no longer configured.
    ChannelUnconfigured,
    /// A collector can look again.
    CanLook,
    /// The state is on the disk again.
    StateSaved,
    /// A setting switched the signal off.
    SwitchedOff,
    /// As an earlier version stored it.
    #[serde(untagged)]
    Words(EarlierWords),
}

impl Ending {
    /// The end of a vanished entity when nobody knows better.
    #[must_use]
    pub fn of_vanished(entity: &Entity) -> Self {
        match entity {
            Entity::Family(_) => Self::LastProcessEnded,
            Entity::Job(_) => Self::JobEnded,
            Entity::WorkItem(_) => Self::LeaseReleased,
            Entity::Task(_) => Self::TaskSettled,
            Entity::Core => Self::CoreAnswers,
            Entity::Host => Self::HostHasRoom,
            Entity::Channel(_) => Self::ChannelUnconfigured,
            Entity::Collector(_) => Self::CanLook,
            Entity::State => Self::StateSaved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_stored_as_a_sentence_still_loads() {
        let stored = r#"["the job moves again","job_moves"]"#;
        let read: Vec<Ending> = serde_json::from_str(stored).unwrap();
        assert!(matches!(read[0], Ending::Words(_)), "{read:?}");
        assert_eq!(read[1], Ending::JobMoves);
        assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    }
}

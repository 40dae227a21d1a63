//! Who must act next on a task: the line between `stage_stuck` and `approval_waiting`.
//!
//! One reading of the core's words for both, so that no task falls between them or into both.

use orch_contract::{OpenTask, Standing, WaitsForKind};

/// Who must act next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextActor {
    /// A person: an answer is asked for, or the task is blocked.
    Person,
    /// An agent, a machine, or the core itself.
    Machine,
    /// Nobody: it is over.
    Nobody,
    /// The core uses a word that this watchdog does not know.
    CannotTell,
}

pub(super) fn next_actor(task: &OpenTask) -> NextActor {
    match (task.standing, task.waits_for.as_ref().map(|who| who.kind)) {
        (Standing::Finished, _) => NextActor::Nobody,
        // a blocked task is a person's by the meaning of the word
        (Standing::Blocked, _) | (_, Some(WaitsForKind::Person)) => NextActor::Person,
        (Standing::Unknown, _) | (_, Some(WaitsForKind::Unknown)) => NextActor::CannotTell,
        (
            Standing::Moving | Standing::Waiting | Standing::Held,
            None
            | Some(
                WaitsForKind::Agent
                | WaitsForKind::Ci
                | WaitsForKind::Slot
                | WaitsForKind::Deploy
                | WaitsForKind::Core,
            ),
        ) => NextActor::Machine,
    }
}

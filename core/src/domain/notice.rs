//! What people are told without having asked. Values; the words stand where they are sent.

use serde::{Deserialize, Serialize};

use super::actor::Actor;

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// A lease was taken from its owner: by force, by the ceiling, or because the owner is gone.
    LeaseReclaimed {
        /// Why (`dead_boot`, `dead_owner`, `forced`, `overdue`).
        why: String,
        /// The edge.
        edge: String,
        /// Whose it was.
        owner: Actor,
        /// Who took it.
        by: Actor,
        /// The person behind an operator.
        who: Option<String>,
        /// Whether the task stands until an effect that had begun is settled.
        parked: bool,
    },
}

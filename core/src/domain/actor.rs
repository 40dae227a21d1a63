//! Who asks for a change of stage. Seven actors, one enum; every write names one of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the seven that may enter the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Learns of the end of runs, of CI results, of times that have come.
    Monitor,
    /// The tracker's webhook.
    PlaneWebhook,
    /// The forge's webhook.
    GiteaWebhook,
    /// Compares our record with the outside.
    Reconciler,
    /// Claims what nobody settles.
    Reaper,
    /// Watches a deploy until it is healthy.
    Finalizer,
    /// A person, by CLI, API or board.
    Operator,
}

impl Actor {
    /// All of them, for maps that must be complete.
    pub const ALL: [Self; 7] = [
        Self::Monitor,
        Self::PlaneWebhook,
        Self::GiteaWebhook,
        Self::Reconciler,
        Self::Reaper,
        Self::Finalizer,
        Self::Operator,
    ];

    /// Name in store, API and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::PlaneWebhook => "plane_webhook",
            Self::GiteaWebhook => "gitea_webhook",
            Self::Reconciler => "reconciler",
            Self::Reaper => "reaper",
            Self::Finalizer => "finalizer",
            Self::Operator => "operator",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|actor| actor.as_str() == text)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

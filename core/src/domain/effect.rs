//! Irreversible acts on the outside, and what a look at the outside can answer.
//!
//! Names and values only: how to look and how to act stands in `effects`, the journal in `store`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One sort of irreversible act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// Rebase the task branch on the target's head and push it.
    PrepareCandidate,
    /// Build the candidate's image once more.
    RebuildImage,
    /// Merge the pull request.
    Merge,
    /// Raise the stored coverage baseline to the merged revision's.
    RatchetCoverage,
    /// Run the deploy command for the merged revision.
    StartDeploy,
    /// Close the work item in the tracker.
    CloseWorkItem,
}

impl EffectKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PrepareCandidate,
        Self::RebuildImage,
        Self::Merge,
        Self::RatchetCoverage,
        Self::StartDeploy,
        Self::CloseWorkItem,
    ];

    /// Name in store, API and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PrepareCandidate => "prepare_candidate",
            Self::RebuildImage => "rebuild_image",
            Self::Merge => "merge",
            Self::RatchetCoverage => "ratchet_coverage",
            Self::StartDeploy => "start_deploy",
            Self::CloseWorkItem => "close_work_item",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for EffectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a look at the outside says of an effect. Our own journal is never asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It happened; the evidence as one line.
    Done(String),
    /// It did not happen and can be asked for.
    Absent,
    /// It can no longer happen for this candidate (head moved, pull request closed); why.
    Impossible(String),
    /// It was begun, and may still come to stand by itself.
    UnderWay {
        /// What was begun, and what is seen of it.
        why: String,
        /// When it is no longer waited for, UTC milliseconds.
        until_ms: i64,
    },
    /// The look itself failed, or its answer tells neither; why.
    CannotTell(String),
}

/// How an effect ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectOutcome {
    /// It stands outside; evidence as one line.
    Done(String),
    /// The outside refused for a reason that lies in the candidate: a roll-back with findings.
    Refused(String),
    /// The ground moved (target or head): start the edge over.
    Moved(String),
    /// It failed for a reason outside the candidate: try again later.
    Failed(String),
    /// It may or may not have happened: park for a person.
    InDoubt(String),
}

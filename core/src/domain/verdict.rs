//! What a gate answers.
//!
//! Five variants, and the distance between them is the point: "could not check" is never "failed",
//! and never "passed".

use std::fmt;

use serde::{Deserialize, Serialize};

/// A check on an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// The role's file with its machine verdict.
    Artifact,
    /// A person approved exactly this brief.
    Approval,
    /// The branch is pushed, its pull request is open, and it changes something.
    Change,
    /// Each required context of exactly this head is green.
    Ci,
    /// The image that staging runs is of this candidate.
    Image,
    /// Staging suite.
    Staging,
    /// The merge gate's local re-test.
    Retest,
    /// Coverage against the baseline.
    Coverage,
    /// Security findings that the target does not have.
    Security,
    /// The tree that landed is the tree that was tested.
    LandedTree,
    /// The deployed revision is the merged one, and healthy.
    Deployed,
}

impl GateKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Artifact,
        Self::Approval,
        Self::Change,
        Self::Ci,
        Self::Image,
        Self::Staging,
        Self::Retest,
        Self::Coverage,
        Self::Security,
        Self::LandedTree,
        Self::Deployed,
    ];

    /// Name in store, API and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Artifact => "artifact",
            Self::Approval => "approval",
            Self::Change => "change",
            Self::Ci => "ci",
            Self::Image => "image",
            Self::Staging => "staging",
            Self::Retest => "retest",
            Self::Coverage => "coverage",
            Self::Security => "security",
            Self::LandedTree => "landed_tree",
            Self::Deployed => "deployed",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gate| gate.as_str() == text)
    }
}

impl fmt::Display for GateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a gate could not judge the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InfraClass {
    /// Ran out of its time.
    Timeout,
    /// A git or database lock was held.
    LockBusy,
    /// Anything else that is not a proven code fault.
    Other,
}

impl InfraClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Timeout, Self::LockBusy, Self::Other];

    /// Name in store, API and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::LockBusy => "lock_busy",
            Self::Other => "other",
        }
    }
}

/// Who must answer before a gate can pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Waitee {
    /// A person, by name or role.
    Person {
        /// Who, in words.
        name: String,
    },
    /// An agent's run.
    Agent {
        /// Its role.
        name: String,
    },
    /// A CI context.
    Ci {
        /// The context.
        name: String,
    },
    /// A slot: merge slot or agent slot.
    Slot {
        /// Which.
        name: String,
    },
    /// A deployed revision.
    Deploy {
        /// The revision.
        name: String,
    },
}

/// A gate's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Checked, and good; the evidence as one line.
    Pass {
        /// Evidence.
        evidence: String,
    },
    /// A fault of the code: roll back with the findings.
    Red {
        /// What to mend, one finding an entry.
        findings: Vec<String>,
    },
    /// Not the code's fault: stay and retry in place.
    Infra {
        /// Class.
        class: InfraClass,
        /// What happened.
        detail: String,
    },
    /// Somebody must answer first.
    Wait {
        /// Why.
        reason: String,
        /// Who.
        who: Waitee,
        /// Until when at most, UTC milliseconds.
        until_ms: Option<i64>,
    },
    /// Proved unnecessary, switched off or out of scope; never proof of anything.
    Skipped {
        /// Why.
        why: String,
    },
}

impl Verdict {
    /// Name in store and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pass { .. } => "pass",
            Self::Red { .. } => "red",
            Self::Infra { .. } => "infra",
            Self::Wait { .. } => "wait",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// Class of an infra verdict, else empty.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Infra { class, .. } => class.as_str(),
            Self::Pass { .. } | Self::Red { .. } | Self::Wait { .. } | Self::Skipped { .. } => "",
        }
    }

    /// Whether the edge may go on past this gate.
    #[must_use]
    pub const fn lets_through(&self) -> bool {
        match self {
            Self::Pass { .. } | Self::Skipped { .. } => true,
            Self::Red { .. } | Self::Infra { .. } | Self::Wait { .. } => false,
        }
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Pass { evidence } => evidence.clone(),
            Self::Red { findings } => findings.join("; "),
            Self::Infra { class, detail } => format!("{}: {detail}", class.as_str()),
            Self::Wait { reason, .. } => reason.clone(),
            Self::Skipped { why } => why.clone(),
        }
    }
}

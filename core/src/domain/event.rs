//! What happened to a task, append-only. Folding a task's events gives its row.
//!
//! An event says what changed and nothing of how it was decided. Every stored event names actor
//! and reason.

use serde::{Deserialize, Serialize};

use super::{actor::Actor, effect::EffectKind, ids::WorkItemKey, job::Role, stage::Stage, task::Standing};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The task came to be.
    Created {
        /// The tracker's key.
        key: WorkItemKey,
        /// Project it belongs to.
        project: String,
        /// Title of the work item.
        title: String,
        /// Text of the work item.
        body: String,
    },
    /// A forward edge, or cancelling.
    Entered {
        /// From.
        from: Stage,
        /// To.
        to: Stage,
    },
    /// A roll-back, or a new round of the same stage, with what must be mended.
    RolledBack {
        /// From.
        from: Stage,
        /// To.
        to: Stage,
        /// Which step asked for it.
        step: String,
        /// What to mend.
        findings: Vec<String>,
    },
    /// With the comparison switched off: a change of stage, decided on what was no longer so, was
    /// written over what stood there. Kept as what it is, so that history explains the damage.
    WrittenOver {
        /// The stage that it was written over.
        found: Stage,
        /// To.
        to: Stage,
        /// Which step asked for it; `None` for a forward edge.
        step: Option<String>,
        /// What to mend.
        findings: Vec<String>,
    },
    /// It stands differently.
    Stood {
        /// How.
        standing: Standing,
    },
    /// A step could not judge the code; it is tried again in place.
    InfraRetry {
        /// Which step.
        step: String,
        /// What happened.
        detail: String,
        /// When it is tried again.
        retry_at_ms: i64,
    },
    /// An operator asked for another try.
    Retried {
        /// Whether the agent works again.
        rerun: bool,
    },
    /// A person asked for the deploy to be started again.
    DeployAsked {
        /// Number of the last run of its command by then, 0 for none: what that came to counts no more.
        after_run: i64,
    },
    /// A person approved an artifact.
    Approved {
        /// Which file.
        artifact: String,
        /// Git blob id of exactly the text that was approved.
        revision: String,
    },
    /// The pull request is there.
    PullRequestOpened {
        /// Its number.
        number: i64,
    },
    /// The candidate of the edge with effects.
    CandidatePrepared {
        /// Its commit.
        head: String,
        /// Target head it stands on.
        base: String,
        /// Its tree.
        tree: String,
    },
    /// An effect stands outside.
    EffectDone {
        /// Which.
        effect: EffectKind,
        /// For which revision.
        revision: String,
        /// Evidence, one line.
        evidence: String,
    },
    /// The candidate is on the target branch.
    Merged {
        /// The commit on the target branch.
        revision: String,
    },
    /// An agent's job was queued.
    JobQueued {
        /// Role.
        role: Role,
    },
    /// An agent's run ended.
    RunEnded {
        /// Role.
        role: Role,
        /// Attempt, from 1.
        attempt: u32,
        /// How, in words.
        outcome: String,
    },
    /// A lease was taken from its owner.
    LeaseReclaimed {
        /// Why (`dead_boot`, `dead_owner`, `forced`, `overdue`).
        why: String,
    },
}

/// An event as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Number within the task, from 1 without a gap.
    pub seq: i64,
    /// When, UTC Unix milliseconds.
    pub at_ms: i64,
    /// Who wrote it.
    pub actor: Actor,
    /// The person behind an operator's action.
    pub who: Option<String>,
    /// Why, one line.
    pub reason: String,
    /// What changed.
    pub event: Event,
}

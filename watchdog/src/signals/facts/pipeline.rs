//! Facts of findings about the core and the work in it.
//!
//! Ages and limits stand on the core's own clock; who acts next is the core's own word.

use orch_contract::WaitsForKind;
use serde::{Deserialize, Serialize};

/// A job that has used up too much of its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentOverrunFacts {
    /// Job number.
    pub job_id: i64,
    /// Run number.
    pub run_id: i64,
    /// Its task.
    pub work_item: String,
    /// Repository.
    pub repo: String,
    /// Stage.
    pub stage: String,
    /// Role.
    pub role: String,
    /// Attempt, from 1.
    pub attempt: u32,
    /// How long it runs, milliseconds.
    pub age_ms: i64,
    /// Its published limit, at which the core ends it, milliseconds.
    pub limit_ms: i64,
    /// Share of the limit above which it is told, percent.
    pub share_percent: u32,
    /// How long its output is silent, milliseconds; absent when it wrote nothing yet.
    pub silent_ms: Option<i64>,
    /// Cost so far, micro-dollars; absent when the agent reports none.
    pub cost_microusd: Option<i64>,
}

/// Who acts next, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorWord {
    /// Sort of actor.
    pub kind: WaitsForWord,
    /// Its name, as far as there is one.
    pub name: String,
}

/// [`WaitsForKind`] as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsForWord {
    /// See [`WaitsForKind::Person`].
    Person,
    /// See [`WaitsForKind::Agent`].
    Agent,
    /// See [`WaitsForKind::Ci`].
    Ci,
    /// See [`WaitsForKind::Slot`].
    Slot,
    /// See [`WaitsForKind::Deploy`].
    Deploy,
    /// See [`WaitsForKind::Core`].
    Core,
    /// See [`WaitsForKind::Unknown`].
    Unknown,
}

impl From<WaitsForKind> for WaitsForWord {
    fn from(kind: WaitsForKind) -> Self {
        match kind {
            WaitsForKind::Person => Self::Person,
            WaitsForKind::Agent => Self::Agent,
            WaitsForKind::Ci => Self::Ci,
            WaitsForKind::Slot => Self::Slot,
            WaitsForKind::Deploy => Self::Deploy,
            WaitsForKind::Core => Self::Core,
            WaitsForKind::Unknown => Self::Unknown,
        }
    }
}

/// A task that stays in one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStuckFacts {
    /// Its task.
    pub work_item: String,
    /// Repository.
    pub repo: String,
    /// Title of the work item, as its author wrote it.
    pub title: String,
    /// Stage.
    pub stage: String,
    /// How long it is in this stage, milliseconds.
    pub age_ms: i64,
    /// The limit of this stage, milliseconds.
    pub limit_ms: i64,
    /// Why it does not move, in the core's words; absent while it moves.
    pub cause: Option<String>,
    /// Who acts next; absent when the core names nobody.
    pub waits_for: Option<ActorWord>,
    /// Until when that is expected, UTC Unix milliseconds.
    pub until_ms: Option<i64>,
}

/// A task that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalFacts {
    /// Its task.
    pub work_item: String,
    /// Repository.
    pub repo: String,
    /// Title of the work item, as its author wrote it.
    pub title: String,
    /// Stage.
    pub stage: String,
    /// Who is waited for; may be empty.
    pub person: String,
    /// What for, in the core's words.
    pub cause: Option<String>,
    /// Whether it stands still until somebody mends it, as opposed to waiting for an answer.
    pub blocked: bool,
    /// How long, milliseconds.
    pub waiting_ms: i64,
    /// The limit, milliseconds.
    pub limit_ms: i64,
}

/// Jobs wait although slots are free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStalledFacts {
    /// The oldest job that could run.
    pub job_id: i64,
    /// Its task.
    pub work_item: String,
    /// Repository.
    pub repo: String,
    /// Stage.
    pub stage: String,
    /// Role.
    pub role: String,
    /// Why it waits, in the core's words.
    pub reason: String,
    /// How long it could have run, milliseconds.
    pub waiting_ms: i64,
    /// The limit, milliseconds.
    pub limit_ms: i64,
    /// Jobs that could run, this one included.
    pub runnable: u32,
    /// Free agent slots.
    pub slots_free: u32,
    /// Agent slots in all.
    pub slots_max: u32,
}

/// The core answers, but not as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreDegradedFacts {
    /// Everything that is wrong; never empty.
    pub causes: Vec<DegradedCause>,
}

impl DegradedCause {
    /// Which cause it is, without its measures: the same for as long as it holds.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::StaleDocument { .. } => "stale_document".to_owned(),
            Self::LateActor { name, .. } => format!("late_actor {name}"),
            Self::OtherSchema { found, .. } => format!("other_schema {found}"),
            Self::ClockSkew { .. } => "clock_skew".to_owned(),
        }
    }
}

/// What is wrong with a core that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DegradedCause {
    /// The same document comes again and again: it is not built anew.
    StaleDocument {
        /// For how long, milliseconds.
        age_ms: i64,
        /// The limit, milliseconds.
        limit_ms: i64,
    },
    /// An actor of the core does not finish its passes.
    LateActor {
        /// Its name.
        name: String,
        /// How often it means to pass, milliseconds.
        period_ms: i64,
        /// Time since its last pass, milliseconds; since the core's start when there was none.
        late_ms: i64,
        /// The limit, milliseconds.
        limit_ms: i64,
        /// Whether it passed at all in this life of the core.
        passed: bool,
    },
    /// The document has a major version that this watchdog does not know.
    OtherSchema {
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The two clocks differ.
    ClockSkew {
        /// The core's clock less ours, milliseconds: negative when it is behind.
        ahead_ms: i64,
        /// The limit, milliseconds.
        limit_ms: i64,
    },
}

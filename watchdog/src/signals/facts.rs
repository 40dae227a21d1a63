//! What was measured for a finding: the raw material of its text.
//!
//! Values only, kept in the state file with the case, so that a recovery can still say what it was
//! about after a restart. What could not be read is absent.

mod host;
mod pipeline;

pub use host::{ChannelFacts, CpuStarvedFacts, DiskFacts, DiskShortage, HungryFamily, MemoryRoom};
pub use pipeline::{
    ActorWord, AgentOverrunFacts, ApprovalFacts, CoreDegradedFacts, DegradedCause, QueueStalledFacts,
    StageStuckFacts, WaitsForWord,
};
use serde::{Deserialize, Serialize};

use super::{CollectorName, Ownership};
use crate::evidence::Evidence;
use crate::observe::Fault;

/// Facts by sort of finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facts {
    /// `proc_blocking`, `proc_orphaned`.
    Process(Box<ProcessFacts>),
    /// `agent_hung`.
    AgentHung(AgentHungFacts),
    /// `agent_overrun`.
    AgentOverrun(AgentOverrunFacts),
    /// `lease_stale`.
    Lease(LeaseFacts),
    /// `stage_stuck`.
    StageStuck(StageStuckFacts),
    /// `approval_waiting`.
    Approval(ApprovalFacts),
    /// `queue_stalled`.
    QueueStalled(QueueStalledFacts),
    /// `core_down`.
    CoreDown(CoreDownFacts),
    /// `core_degraded`.
    CoreDegraded(CoreDegradedFacts),
    /// `cpu_starved`.
    CpuStarved(CpuStarvedFacts),
    /// `disk_low`.
    Disk(DiskFacts),
    /// `delivery_failing`.
    Channel(ChannelFacts),
    /// `collector_unavailable`.
    Collector(CollectorFacts),
    /// `state_unsaved`.
    State(StateFacts),
}

/// A family of processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Redacted command line of its topmost process.
    pub command: String,
    /// Pattern and shape that matched.
    pub matched_by: String,
    /// Pid of the topmost process.
    pub root_pid: i32,
    /// Whether that one still lives.
    pub root_alive: bool,
    /// Live members' pids, topmost first, at most [`ProcessFacts::PIDS_KEPT`].
    pub pids: Vec<i32>,
    /// Live members in all.
    pub members: usize,
    /// The command that stops it, made when it was looked at.
    #[serde(default)]
    pub stop: Option<String>,
    /// Awake age in milliseconds.
    pub age_ms: i64,
    /// CPU over the last two passes as a fraction of one core.
    pub cpu_share: Option<f64>,
    /// CPU so far, milliseconds.
    pub cpu_ms: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Container, if it runs in one.
    pub container: Option<String>,
    /// Work item of the run that it carries the cookie of, as far as the core told.
    pub work_item: Option<String>,
    /// Who owns it.
    pub ownership: OwnershipWord,
    /// The facts that decided ownership.
    pub evidence: Vec<Evidence>,
    /// The age limit that `proc_blocking` compares with, milliseconds.
    pub age_limit_ms: i64,
}

impl ProcessFacts {
    /// Pids kept.
    pub const PIDS_KEPT: usize = 32;
}

/// [`Ownership`] as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnershipWord {
    /// See [`Ownership::Owned`].
    Owned,
    /// See [`Ownership::Orphan`].
    Orphan,
    /// See [`Ownership::OwnerUnknown`].
    OwnerUnknown,
    /// See [`Ownership::Foreign`].
    Foreign,
}

impl From<Ownership> for OwnershipWord {
    fn from(ownership: Ownership) -> Self {
        match ownership {
            Ownership::Owned => Self::Owned,
            Ownership::Orphan => Self::Orphan,
            Ownership::OwnerUnknown => Self::OwnerUnknown,
            Ownership::Foreign => Self::Foreign,
        }
    }
}

/// A job that hangs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentHungFacts {
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
    /// Why it counts as hung.
    pub cause: HangCause,
    /// Matched families of its tree: command and pids.
    pub families: Vec<(String, Vec<i32>)>,
}

/// Why a job counts as hung.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HangCause {
    /// No output and next to no CPU.
    Silent {
        /// For how long there was no output, milliseconds.
        silent_ms: i64,
        /// CPU of its tree over the time looked at, milliseconds.
        cpu_ms: u64,
        /// The time looked at, milliseconds.
        window_ms: i64,
    },
    /// Its run is gone, nobody recorded its exit, and the job still runs.
    RunGone {
        /// For how long, milliseconds.
        gone_ms: i64,
        /// The reaper's grace, milliseconds.
        grace_ms: i64,
    },
}

/// A stale lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseFacts {
    /// Whose edge.
    pub work_item: String,
    /// Repository.
    pub repo: String,
    /// `from -> to`.
    pub edge: String,
    /// Fencing number.
    pub fencing: i64,
    /// Actor that holds it.
    pub actor: String,
    /// Age in milliseconds.
    pub age_ms: i64,
    /// Why it counts as stale.
    pub cause: StaleCause,
}

/// Why a lease counts as stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StaleCause {
    /// Granted by an earlier life of the core.
    EarlierBoot,
    /// The core says that its owner is gone.
    OwnerGone,
    /// Older than this many milliseconds.
    TooOld(i64),
}

/// The core does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreDownFacts {
    /// Why the last poll failed.
    pub reason: Fault,
    /// When it was last heard; absent when never.
    pub last_heard_ms: Option<i64>,
    /// Work items with a running job when it was last heard.
    pub work_items: Vec<String>,
    /// Polls in a row that must fail.
    pub polls: u32,
}

/// A collector that cannot look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorFacts {
    /// Which.
    pub collector: CollectorName,
    /// Why.
    pub reason: Fault,
}

/// A state that does not reach its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFacts {
    /// What failed, in words.
    pub why: String,
    /// How long it may last before it is told, milliseconds.
    pub limit_ms: i64,
}

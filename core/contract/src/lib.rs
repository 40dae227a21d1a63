//! The observation document: what orch-core says about itself at `GET /queue`, and all that
//! orch-watchdog ever learns of it.
//!
//! Wire types only: no behaviour, no I/O, serde as the only dependency. The two programs are
//! deployed apart, so a reader must survive a writer of another version:
//!
//! * `schema_version` is the major version. Within one major version fields are only added.
//! * Readers ignore fields they do not know; closed lists of words end in `Unknown`.
//! * What the core could not read is absent (`null`), never 0.
//!
//! Times are UTC Unix milliseconds (`_ms`, suffix `_at_ms`), durations are milliseconds, money is
//! integer micro-dollars, and pids are those of the core's own pid namespace: join by `cookie`
//! first, then on (innermost NSpid, start ticks).

mod blocks;
mod work;

pub use blocks::{
    ActorTick, BudgetBlock, ChatBlock, DataDirectory, GateBlock, GateCount, GateFailure, GateRunning,
    LeaseBlock, LeaseReclaims, ReaperBlock, ReconcilerBlock, TimeoutEntry, Timeouts, WebhookSource,
    WebhooksBlock,
};
use serde::{Deserialize, Serialize};
pub use work::{
    AgentRun, Lease, LeaseOwner, OpenTask, ProcessKind, ProcessRef, QueuedJob, RepoSlots, RunningJob, Slots,
    StageCount, Standing, SupervisedTree, WaitsFor, WaitsForKind,
};

/// Major version of the document that this crate describes.
pub const SCHEMA_VERSION: u32 = 1;

/// Ended runs are listed for this long (one hour, in milliseconds).
pub const ENDED_RUNS_KEPT_MS: i64 = 3_600_000;

/// At most this many trees are listed, live ones first; `processes_omitted` counts the rest.
pub const PROCESSES_LISTED: usize = 1_000;

/// The whole document. Its cost is O(open work), never O(history).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationDocument {
    /// Major version, see [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When the core built this document, by its wall clock.
    pub generated_at_ms: i64,
    /// Who answers.
    pub core: CoreIdentity,
    /// Tasks by stage and standing, finished ones included.
    pub counts: Vec<StageCount>,
    /// How many agents may run, and how many more could start now.
    pub slots: Slots,
    /// The core's periodic actors and when each last finished a pass.
    pub actors: Vec<ActorTick>,
    /// Tasks that are neither done nor cancelled.
    pub tasks: Vec<OpenTask>,
    /// Jobs that wait for a slot or for a time.
    pub queued_jobs: Vec<QueuedJob>,
    /// Jobs that run, the window between exit and settlement included.
    pub running_jobs: Vec<RunningJob>,
    /// Every supervised process tree, gates included, and those that ended in the last hour.
    pub processes: Vec<SupervisedTree>,
    /// Trees left out by the cap [`PROCESSES_LISTED`].
    pub processes_omitted: u64,
    /// Leases held now.
    pub leases: Vec<Lease>,
    /// Counters of the transition lease.
    pub transition_lease: LeaseBlock,
    /// Merge gate: re-test and what surrounds it.
    pub merge_gate: GateBlock,
    /// Coverage gate.
    pub coverage_gate: GateBlock,
    /// Security gate.
    pub security_gate: GateBlock,
    /// Image freshness gate.
    pub image_gate: GateBlock,
    /// Staging suite.
    pub staging: GateBlock,
    /// Reaper, by tier.
    pub reaper: ReaperBlock,
    /// Reconciler.
    pub reconciler: ReconcilerBlock,
    /// Webhooks in, by source.
    pub webhooks: WebhooksBlock,
    /// Chat out.
    pub chat: ChatBlock,
    /// Effective time-outs and their sum.
    pub timeouts: Timeouts,
    /// Room on the file system of the data directory; `null` when it could not be read.
    pub data_dir: Option<DataDirectory>,
    /// Money; absent from older cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetBlock>,
}

/// One life of one core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreIdentity {
    /// Program version.
    pub version: String,
    /// Random, new at each start of the core (not the host's boot id).
    pub boot_id: String,
    /// Pid in the core's own pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since the host's boot, field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
    /// When this life began.
    pub started_at_ms: i64,
    /// Host name as the core sees it (a container's name inside a container).
    pub host: String,
    /// Where it is in its life.
    pub state: CoreState,
}

/// Where a core is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoreState {
    /// Recovering; not an outage.
    Starting,
    /// Working.
    Ready,
    /// Told to end.
    Stopping,
    /// A word of a newer core.
    #[serde(other)]
    Unknown,
}

//! What is under way: tasks, jobs, process trees, leases.
//!
//! Rows only, no totals: those stand in `blocks`.

use serde::{Deserialize, Serialize};

/// Number of tasks in one stage with one standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCount {
    /// Stage name as in the API (`created`, `deploy-staging`, …).
    pub stage: String,
    /// How those tasks stand.
    pub standing: Standing,
    /// How many.
    pub tasks: u64,
}

/// How a task stands in its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// An agent works, or an actor is about to act.
    Moving,
    /// Somebody or something outside must answer first.
    Waiting,
    /// The core tries again by itself at a known time.
    Held,
    /// A person must act.
    Blocked,
    /// Terminal.
    Finished,
    /// A word of a newer core.
    #[serde(other)]
    Unknown,
}

/// Room for agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// `ORCH_MAX_AGENTS`.
    pub agents_max: u32,
    /// How many more agents could start now.
    pub agents_free: u32,
    /// Use by repository.
    pub repos: Vec<RepoSlots>,
}

/// Agents of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoSlots {
    /// Repository (the project's name in `projects.toml`).
    pub repo: String,
    /// `ORCH_MAX_AGENTS_PER_REPO`.
    pub agents_max: u32,
    /// Running now.
    pub agents_running: u32,
}

/// A task that is neither done nor cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTask {
    /// The tracker's key, `ORCH-114`.
    pub work_item: String,
    /// Repository.
    pub repo: String,
    /// Title of the work item.
    pub title: String,
    /// Stage name.
    pub stage: String,
    /// When the task entered this stage.
    pub stage_since_ms: i64,
    /// How it stands.
    pub standing: Standing,
    /// Why it does not move, in words; absent while it moves.
    pub cause: Option<String>,
    /// Who acts next.
    pub waits_for: Option<WaitsFor>,
    /// Until when that is expected, or when the core tries again.
    pub until_ms: Option<i64>,
}

/// Who acts next on a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsFor {
    /// Sort of actor.
    pub kind: WaitsForKind,
    /// Name, as far as there is one (a CI context, a person, an actor).
    pub name: String,
}

/// Sort of actor that a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsForKind {
    /// A human being; such waiting is never "stuck".
    Person,
    /// An agent's run.
    Agent,
    /// Continuous integration.
    Ci,
    /// The merge slot or a free agent slot.
    Slot,
    /// A deployed revision.
    Deploy,
    /// The core itself, at `until_ms`.
    Core,
    /// A word of a newer core.
    #[serde(other)]
    Unknown,
}

/// A job that has not started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedJob {
    /// Job number.
    pub job_id: i64,
    /// Its task.
    pub work_item: String,
    /// Repository.
    pub repo: String,
    /// Stage it works in.
    pub stage: String,
    /// Role.
    pub role: String,
    /// Attempt it will be, from 1.
    pub attempt: u32,
    /// Why it waits, in words.
    pub reason: String,
    /// When it was enqueued.
    pub queued_at_ms: i64,
    /// Not started before this time.
    pub not_before_ms: Option<i64>,
}

/// A job that runs, or has exited and is being settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningJob {
    /// Job number.
    pub job_id: i64,
    /// The run that works on it; joins `SupervisedTree::run_id`.
    pub run_id: i64,
    /// Its task.
    pub work_item: String,
    /// Repository.
    pub repo: String,
    /// Stage it works in.
    pub stage: String,
    /// Role.
    pub role: String,
    /// Attempt, from 1.
    pub attempt: u32,
    /// When the run started.
    pub started_at_ms: i64,
    /// Last time its output grew; absent while there was none.
    pub last_output_at_ms: Option<i64>,
    /// When its exit was recorded; such a job is in its finalizing window.
    pub exit_recorded_at_ms: Option<i64>,
    /// Cost so far, in micro-dollars; absent when the agent reports none.
    pub cost_microusd: Option<i64>,
    /// Wall-clock limit of the run.
    pub limit_ms: i64,
    /// What is known of an agent whose stream is read; absent for others, and from older cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentRun>,
}

/// An agent whose stream is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRun {
    /// Which one: `claude`.
    pub kind: String,
    /// Its session, once it has begun.
    pub session_id: Option<String>,
    /// The model that answers, or was asked for.
    pub model: Option<String>,
    /// Effort that was asked for.
    pub effort: Option<String>,
    /// What this run may cost at most, in micro-dollars.
    pub reserved_microusd: Option<i64>,
}

/// A process as the core knows it, in the core's own pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessRef {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since the host's boot.
    pub start_ticks: u64,
}

/// What a supervised tree is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessKind {
    /// An agent's run.
    Agent,
    /// The local forge's continuous integration.
    Ci,
    /// The merge gate's re-test.
    Retest,
    /// Coverage measurement.
    Coverage,
    /// A security scanner.
    Security,
    /// An image build.
    ImageBuild,
    /// The staging suite.
    Staging,
    /// A push.
    Push,
    /// A deploy command.
    Deploy,
    /// A deploy health check.
    DeployHealth,
    /// A word of a newer core.
    #[serde(other)]
    Unknown,
}

/// One supervised process tree, alive or ended within the last hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisedTree {
    /// What it is for.
    pub kind: ProcessKind,
    /// Run number.
    pub run_id: i64,
    /// Its task, where it has one.
    pub work_item: Option<String>,
    /// Run cookie: the soft `RLIMIT_LOCKS` of every process of this tree ("Max file locks" in
    /// `/proc/<pid>/limits`). Decimal text, since JSON numbers lose it above 2^53.
    pub cookie: String,
    /// The child that the supervisor started; absent until it did.
    pub child: Option<ProcessRef>,
    /// Process group of the child.
    pub pgid: Option<i32>,
    /// Session of the child.
    pub sid: Option<i32>,
    /// The supervisor; absent until it reported.
    pub supervisor: Option<ProcessRef>,
    /// When it started.
    pub started_at_ms: i64,
    /// Its wall-clock limit.
    pub timeout_ms: i64,
    /// When it ended; absent while it runs.
    pub ended_at_ms: Option<i64>,
    /// How it ended, in words (`exit 0`, `signal 9`, `timed out`, `supervisor lost`).
    pub outcome: Option<String>,
}

/// Exclusive ownership of one task's edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose edge.
    pub work_item: String,
    /// Repository.
    pub repo: String,
    /// Edge as `from -> to`.
    pub edge: String,
    /// Grows with every grant.
    pub fencing: i64,
    /// When it was granted.
    pub acquired_at_ms: i64,
    /// Who holds it.
    pub owner: LeaseOwner,
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseOwner {
    /// Actor name (`monitor`, `reaper`, `operator`, …).
    pub actor: String,
    /// Boot id of the owning core; another one than `core.boot_id` is a dead owner.
    pub core_boot_id: String,
    /// The owning core's process.
    pub process: ProcessRef,
    /// Whether the owner's task is registered in this core; `null` when it could not be told.
    pub alive: Option<bool>,
}

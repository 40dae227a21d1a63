//! Blocks of the document: one a mechanism, each with its switch, scope and counters.
//!
//! Counters count since this core's start unless a field says otherwise.

use serde::{Deserialize, Serialize};

/// A periodic actor of the core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorTick {
    /// Name (`dispatcher`, `reaper`, …).
    pub name: String,
    /// How often it means to pass.
    pub period_ms: i64,
    /// When it last finished a pass; absent before its first.
    pub last_tick_at_ms: Option<i64>,
}

/// Transition lease: switch, scope, counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseBlock {
    /// `ORCH_TRANSITION_LEASE_ENABLED`.
    pub enabled: bool,
    /// `ORCH_TRANSITION_LEASE_REPOS` as configured.
    pub scope: String,
    /// Leases granted.
    pub grants_total: u64,
    /// Entries deferred to a live owner.
    pub deferrals_total: u64,
    /// Leases taken from an owner, by reason.
    pub reclaims_total: LeaseReclaims,
    /// Expected-stage comparisons that lost.
    pub lost_cas_total: u64,
}

/// Reclaimed leases by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReclaims {
    /// The owner belonged to an earlier life of the core.
    pub dead_boot: u64,
    /// The owner's task in this core is gone.
    pub dead_owner: u64,
    /// An operator released it.
    pub forced: u64,
    /// The reaper's ceiling released it.
    pub overdue: u64,
}

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateBlock {
    /// Its switch.
    pub enabled: bool,
    /// Its scope as configured.
    pub scope: String,
    /// Under way now.
    pub running: Vec<GateRunning>,
    /// Verdicts by kind and class.
    pub counts: Vec<GateCount>,
    /// Verdict `skipped`, all reasons.
    pub skipped_total: u64,
    /// The last verdict that was neither a pass nor a wait.
    pub last_failure: Option<GateFailure>,
}

/// A gate at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRunning {
    /// For which task.
    pub work_item: String,
    /// Since when.
    pub since_ms: i64,
    /// Its time-out.
    pub timeout_ms: i64,
}

/// Verdicts of one kind and class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateCount {
    /// `pass`, `red`, `infra`, `wait`, `skipped`.
    pub verdict: String,
    /// Class of an infra verdict (`timeout`, `lock_busy`, `other`), else empty.
    pub class: String,
    /// How many.
    pub total: u64,
}

/// The last failure of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateFailure {
    /// Whose.
    pub work_item: String,
    /// When.
    pub at_ms: i64,
    /// `red` or `infra`.
    pub verdict: String,
    /// Class of an infra verdict, else empty.
    pub class: String,
    /// One line.
    pub summary: String,
}

/// The reaper's claims by tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaperBlock {
    /// Whether it runs.
    pub enabled: bool,
    /// Grace of tier 1: run gone, no exit recorded.
    pub dead_grace_ms: i64,
    /// Grace of tier 2: exit recorded, job still running.
    pub finalize_grace_ms: i64,
    /// Ceiling of tier 3.
    pub max_running_ms: i64,
    /// Jobs claimed because their run was gone.
    pub dead_runs_total: u64,
    /// Jobs claimed because nobody settled their exit.
    pub unsettled_total: u64,
    /// Jobs or leases over the ceiling.
    pub overdue_total: u64,
    /// Passes that failed.
    pub failures_total: u64,
}

/// The reconciler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcilerBlock {
    /// Whether it runs.
    pub enabled: bool,
    /// Tasks woken since nothing else would have.
    pub woken_total: u64,
    /// Differences found between our record and the outside.
    pub drift_total: u64,
    /// Passes that failed.
    pub failures_total: u64,
}

/// Webhooks in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhooksBlock {
    /// By source; a source that is not configured is not listed.
    pub sources: Vec<WebhookSource>,
}

/// One source of webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSource {
    /// `gitea`, `plane`.
    pub name: String,
    /// Deliveries stored.
    pub accepted_total: u64,
    /// Deliveries known already.
    pub duplicate_total: u64,
    /// Deliveries refused.
    pub refused_total: u64,
    /// Stored but not worked yet.
    pub pending: u64,
    /// When the last one was stored.
    pub last_delivery_at_ms: Option<i64>,
}

/// Chat out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatBlock {
    /// Channel (`log`, `telegram`).
    pub channel: String,
    /// Whether the last call went through; `null` before the first.
    pub up: Option<bool>,
    /// Updates that wait.
    pub pending: u64,
    /// Calls made.
    pub attempts_total: u64,
    /// Calls failed.
    pub failures_total: u64,
}

/// Effective time-outs, for whoever must choose a threshold above them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Each by the name of its setting.
    pub entries: Vec<TimeoutEntry>,
    /// The largest single one.
    pub largest_ms: i64,
    /// Their sum along one edge: how long a lease may be held without anything being wrong.
    pub edge_sum_ms: i64,
}

/// One effective time-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutEntry {
    /// Setting (`ORCH_MERGE_RETEST_TIMEOUT_S`), with the project's name behind a colon where a
    /// project sets its own.
    pub key: String,
    /// Its value.
    pub timeout_ms: i64,
}

/// File system of the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataDirectory {
    /// Bytes free for this user.
    pub free_bytes: u64,
    /// Size in bytes.
    pub total_bytes: u64,
    /// Inodes free.
    pub free_inodes: u64,
    /// Inodes in all.
    pub total_inodes: u64,
}

/// Money: the bounds, and what the day has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetBlock {
    /// `ORCH_TASK_BUDGET_USD`, in micro-dollars; absent where there is no bound.
    pub task_limit_microusd: Option<i64>,
    /// `ORCH_DAILY_BUDGET_USD`, in micro-dollars; absent where there is no bound.
    pub day_limit_microusd: Option<i64>,
    /// `ORCH_BUDGET_HARD`.
    pub hard: bool,
    /// Booked since 00:00 UTC, in micro-dollars.
    pub day_spent_microusd: i64,
    /// Reserved by runs at work, in micro-dollars.
    pub day_reserved_microusd: i64,
}

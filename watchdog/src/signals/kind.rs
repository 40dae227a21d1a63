//! The closed lists: signals, severities, entities.
//!
//! A new signal is a new variant here and does not compile until every text, policy, metric label
//! and runbook section has its row.

use serde::{Deserialize, Serialize};

use crate::notify::Channel;
use crate::observe::ProcessKey;

/// What the watchdog can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// A matched family is older than its limit, whoever owns it.
    ProcBlocking,
    /// A matched family that nobody owns.
    ProcOrphaned,
    /// A running job that neither writes nor computes, or whose run is gone.
    AgentHung,
    /// A running job that has used up more of its time limit than it should need.
    AgentOverrun,
    /// A transition lease that nobody alive can release.
    LeaseStale,
    /// A task that stays in one stage for too long, and no person is waited for.
    StageStuck,
    /// A task that waits for a person for too long.
    ApprovalWaiting,
    /// Jobs that could run wait although slots are free.
    QueueStalled,
    /// The core does not answer.
    CoreDown,
    /// The core answers, and what it says is old, foreign or on another clock.
    CoreDegraded,
    /// Work waits for a processor for too much of the time.
    CpuStarved,
    /// The core's data directory runs out of room.
    DiskLow,
    /// A channel has not taken a notice for too long.
    DeliveryFailing,
    /// A collector could not look for some ticks.
    CollectorUnavailable,
    /// The watchdog's own state does not reach its disk.
    StateUnsaved,
}

impl SignalKind {
    /// All of them, in the order of the metrics and the documents.
    pub const ALL: [Self; 15] = [
        Self::ProcBlocking,
        Self::ProcOrphaned,
        Self::AgentHung,
        Self::AgentOverrun,
        Self::LeaseStale,
        Self::StageStuck,
        Self::ApprovalWaiting,
        Self::QueueStalled,
        Self::CoreDown,
        Self::CoreDegraded,
        Self::CpuStarved,
        Self::DiskLow,
        Self::DeliveryFailing,
        Self::CollectorUnavailable,
        Self::StateUnsaved,
    ];

    /// Name in settings, metrics, logs, and the anchor of its section in the runbook.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ProcBlocking => "proc_blocking",
            Self::ProcOrphaned => "proc_orphaned",
            Self::AgentHung => "agent_hung",
            Self::AgentOverrun => "agent_overrun",
            Self::LeaseStale => "lease_stale",
            Self::StageStuck => "stage_stuck",
            Self::ApprovalWaiting => "approval_waiting",
            Self::QueueStalled => "queue_stalled",
            Self::CoreDown => "core_down",
            Self::CoreDegraded => "core_degraded",
            Self::CpuStarved => "cpu_starved",
            Self::DiskLow => "disk_low",
            Self::DeliveryFailing => "delivery_failing",
            Self::CollectorUnavailable => "collector_unavailable",
            Self::StateUnsaved => "state_unsaved",
        }
    }

    /// The signal whose cases it shares: superseding signals of one entity are one case.
    #[must_use]
    pub fn slot(self) -> Self {
        match self {
            Self::ProcBlocking | Self::ProcOrphaned => Self::ProcBlocking,
            Self::AgentHung
            | Self::AgentOverrun
            | Self::LeaseStale
            | Self::StageStuck
            | Self::ApprovalWaiting
            | Self::QueueStalled
            | Self::CoreDown
            | Self::CoreDegraded
            | Self::CpuStarved
            | Self::DiskLow
            | Self::DeliveryFailing
            | Self::CollectorUnavailable
            | Self::StateUnsaved => self,
        }
    }

    /// Order among the signals of one slot: a higher one supersedes.
    #[must_use]
    pub fn precedence(self) -> u8 {
        match self {
            Self::ProcOrphaned => 1,
            Self::ProcBlocking
            | Self::AgentHung
            | Self::AgentOverrun
            | Self::LeaseStale
            | Self::StageStuck
            | Self::ApprovalWaiting
            | Self::QueueStalled
            | Self::CoreDown
            | Self::CoreDegraded
            | Self::CpuStarved
            | Self::DiskLow
            | Self::DeliveryFailing
            | Self::CollectorUnavailable
            | Self::StateUnsaved => 0,
        }
    }
}

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// All of them, mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Collectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectorName {
    /// The pass over `/proc`.
    Proc,
    /// The poll of the core.
    Core,
    /// Pressure and memory of the host.
    Host,
}

impl CollectorName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Proc, Self::Core, Self::Host];

    /// Name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Core => "core",
            Self::Host => "host",
        }
    }
}

/// What a signal is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// A family of processes, by the identity of its topmost matched process.
    Family(ProcessKey),
    /// A job of the core, by its number.
    Job(i64),
    /// A work item's edge, for its lease.
    WorkItem(String),
    /// A task on its way through the stages, by its work item's key.
    Task(String),
    /// The core, its queue and its data directory included.
    Core,
    /// The host that this watchdog runs on.
    Host,
    /// A channel that notices leave by.
    Channel(Channel),
    /// One of our collectors.
    Collector(CollectorName),
    /// What this watchdog keeps on its disk.
    State,
}

/// Identity of a case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CaseKey {
    /// See [`SignalKind::slot`].
    pub slot: SignalKind,
    /// Of what.
    pub entity: Entity,
}

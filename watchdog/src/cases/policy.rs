//! How patient each signal is: ticks before it fires, ticks before it is over, cooldown.

use crate::signals::SignalKind;

/// Reminders grow apart up to this many times the cooldown.
const COOLDOWN_CAP_FACTOR: i64 = 16;

/// Patience of one signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalPolicy {
    /// Ticks in a row before it fires, at least 1.
    pub for_ticks: u32,
    /// Ticks in a row before it is over, where its entity still exists, at least 1.
    pub clear_ticks: u32,
    /// Milliseconds between an alert and the first reminder; doubles with each reminder.
    pub cooldown_ms: i64,
}

impl SignalPolicy {
    /// Milliseconds from an alert to the next one, after `reminders` reminders.
    #[must_use]
    pub fn cooldown_after(&self, reminders: u32) -> i64 {
        let factor = 1_i64.checked_shl(reminders).filter(|factor| *factor > 0).unwrap_or(i64::MAX);
        self.cooldown_ms.saturating_mul(factor.min(COOLDOWN_CAP_FACTOR))
    }
}

/// Patience of all signals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Matched families: one tick, since a process that ended has ended.
    pub process: SignalPolicy,
    /// `agent_hung`.
    pub agent_hung: SignalPolicy,
    /// `agent_overrun`.
    pub agent_overrun: SignalPolicy,
    /// `lease_stale`.
    pub lease_stale: SignalPolicy,
    /// `stage_stuck`.
    pub stage_stuck: SignalPolicy,
    /// `approval_waiting`.
    pub approval_waiting: SignalPolicy,
    /// `queue_stalled`: two ticks, since a slot may have become free just now.
    pub queue_stalled: SignalPolicy,
    /// `core_down`.
    pub core_down: SignalPolicy,
    /// `core_degraded`.
    pub core_degraded: SignalPolicy,
    /// `cpu_starved`.
    pub cpu_starved: SignalPolicy,
    /// `disk_low`.
    pub disk_low: SignalPolicy,
    /// `delivery_failing`.
    pub delivery_failing: SignalPolicy,
    /// `collector_unavailable`.
    pub collector_unavailable: SignalPolicy,
    /// `state_unsaved`.
    pub state_unsaved: SignalPolicy,
}

impl Default for Policy {
    fn default() -> Self {
        let cooldown_ms = 1_800_000;
        let patience = |for_ticks, clear_ticks| SignalPolicy { for_ticks, clear_ticks, cooldown_ms };
        Self {
            process: patience(1, 1),
            agent_hung: patience(1, 2),
            agent_overrun: patience(1, 1),
            lease_stale: patience(2, 1),
            stage_stuck: patience(1, 1),
            approval_waiting: patience(1, 1),
            queue_stalled: patience(2, 1),
            core_down: patience(3, 1),
            core_degraded: patience(2, 2),
            cpu_starved: patience(2, 2),
            disk_low: patience(2, 2),
            delivery_failing: patience(1, 1),
            collector_unavailable: patience(4, 2),
            state_unsaved: patience(1, 1),
        }
    }
}

impl Policy {
    /// The patience of a signal.
    #[must_use]
    pub fn of(&self, signal: SignalKind) -> &SignalPolicy {
        match signal {
            SignalKind::ProcBlocking | SignalKind::ProcOrphaned => &self.process,
            SignalKind::AgentHung => &self.agent_hung,
            SignalKind::AgentOverrun => &self.agent_overrun,
            SignalKind::LeaseStale => &self.lease_stale,
            SignalKind::StageStuck => &self.stage_stuck,
            SignalKind::ApprovalWaiting => &self.approval_waiting,
            SignalKind::QueueStalled => &self.queue_stalled,
            SignalKind::CoreDown => &self.core_down,
            SignalKind::CoreDegraded => &self.core_degraded,
            SignalKind::CpuStarved => &self.cpu_starved,
            SignalKind::DiskLow => &self.disk_low,
            SignalKind::DeliveryFailing => &self.delivery_failing,
            SignalKind::CollectorUnavailable => &self.collector_unavailable,
            SignalKind::StateUnsaved => &self.state_unsaved,
        }
    }
}

//! Signals: what one observation means, as values.
//!
//! Responsible for the vocabulary (`SignalKind`, `Severity`, `Entity`, `Finding`) and for `derive`,
//! which walks the signals, one file each. Pure: no clock, no I/O; memory over ticks comes in and
//! goes out. It does not decide what is announced (`cases`) nor how it reads (`notify::text`).
//! Invariant: what a collector could not see is *held*, never reported as clear.

mod age;
mod agent_hung;
mod agent_overrun;
mod approval_waiting;
mod bound;
mod collector_unavailable;
mod core_degraded;
mod core_down;
mod cpu_starved;
mod delivery_failing;
mod disk_low;
mod ending;
mod facts;
mod kind;
mod lease_stale;
mod memory;
mod next_actor;
mod proc_blocking;
mod proc_orphaned;
mod process;
mod queue_stalled;
mod stage_stuck;
mod state_unsaved;

use std::collections::BTreeSet;

pub use bound::{CASES_A_SIGNAL, bound};
pub use delivery_failing::ChannelBacklog;
pub use ending::Ending;
pub use facts::{
    ActorWord, AgentHungFacts, AgentOverrunFacts, ApprovalFacts, ChannelFacts, CollectorFacts,
    CoreDegradedFacts, CoreDownFacts, CpuStarvedFacts, DegradedCause, DiskFacts, DiskShortage, Facts,
    HangCause, HungryFamily, LeaseFacts, MemoryRoom, OwnershipWord, ProcessFacts, QueueStalledFacts,
    StageStuckFacts, StaleCause, StateFacts, WaitsForWord,
};
pub use kind::{CaseKey, CollectorName, Entity, Severity, SignalKind};
pub use memory::Memory;
pub(crate) use memory::as_list;
use orch_contract::{CoreState, ObservationDocument};
pub use proc_orphaned::SPINNING_SHARE;
use serde::{Deserialize, Serialize};
pub use state_unsaved::{Saving, Unsaved};

use crate::evidence::Evidence;
use crate::observe::{CoreObservation, CoreSight, Family, Observation};

/// A condition that holds now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which signal.
    pub signal: SignalKind,
    /// Of what.
    pub entity: Entity,
    /// How bad.
    pub severity: Severity,
    /// Since when the condition holds, as far as that is known, UTC Unix milliseconds.
    pub since_ms: i64,
    /// The measured facts that the text is made of.
    pub facts: Facts,
}

impl Finding {
    /// Its causes by name, where one signal can have several that a person would act upon in another
    /// way; empty for every other signal.
    #[must_use]
    pub fn causes(&self) -> BTreeSet<String> {
        match &self.facts {
            Facts::CoreDegraded(facts) => facts.causes.iter().map(DegradedCause::id).collect(),
            Facts::Process(_)
            | Facts::AgentHung(_)
            | Facts::AgentOverrun(_)
            | Facts::Lease(_)
            | Facts::StageStuck(_)
            | Facts::Approval(_)
            | Facts::QueueStalled(_)
            | Facts::CoreDown(_)
            | Facts::CpuStarved(_)
            | Facts::Disk(_)
            | Facts::Channel(_)
            | Facts::Collector(_)
            | Facts::State(_) => BTreeSet::new(),
        }
    }

    /// The same with these causes first, so that a headline begins with them.
    #[must_use]
    pub fn led_by(&self, causes: &BTreeSet<String>) -> Self {
        let mut led = self.clone();
        if let Facts::CoreDegraded(facts) = &mut led.facts {
            facts.causes.sort_by_key(|cause| !causes.contains(&cause.id()));
        }
        led
    }

    /// The case it belongs to.
    #[must_use]
    pub fn key(&self) -> CaseKey {
        CaseKey { slot: self.signal.slot(), entity: self.entity.clone() }
    }
}

/// What one tick says about cases. A case that no state mentions, of a signal that was looked at,
/// is gone.
#[derive(Debug, Clone, PartialEq)]
pub enum SignalState {
    /// The condition holds.
    Active(Finding),
    /// The entity is there and the condition does not hold.
    Clear {
        /// Which case.
        key: CaseKey,
        /// What ended it.
        how: Ending,
    },
    /// The entity itself is gone, with better words than "gone".
    Gone {
        /// Which case.
        key: CaseKey,
        /// What ended it.
        how: Ending,
    },
    /// Could not be told: neither raised nor recovered.
    Held {
        /// Whose cases.
        scope: HeldScope,
        /// Why, in words.
        reason: String,
    },
}

/// Which cases cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldScope {
    /// Every case of this slot.
    Slot(SignalKind),
    /// One case.
    Case(CaseKey),
}

/// Who a family belongs to, as judged from cookie, document and structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The class.
    pub ownership: Ownership,
    /// Which facts decided it.
    pub evidence: Vec<Evidence>,
}

/// Classes of ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Somebody alive owns it.
    Owned,
    /// Whoever started it is gone, or its run has ended.
    Orphan,
    /// Cannot be told now.
    OwnerUnknown,
    /// Nobody owns it, and it was never the core's business.
    Foreign,
}

/// What is known from the core when a family is judged.
#[derive(Debug, Clone, Copy)]
pub enum CoreWord<'a> {
    /// Its document.
    Document(&'a ObservationDocument),
    /// A core is configured and was not heard: it may own anything.
    Silent,
    /// No core is configured.
    Off,
}

/// Judges a family by what is known from the core.
pub type Judge<'a> = dyn Fn(&Family, CoreWord<'_>) -> Judged + Send + 'a;

/// Thresholds and switches, as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// `proc_blocking`: awake age of a matched family.
    pub proc_age_ms: i64,
    /// `proc_orphaned`: how long a family must be an orphan.
    pub orphan_grace_ms: i64,
    /// `proc_orphaned`: awake age of a family that was never the core's.
    pub foreign_grace_ms: i64,
    /// `agent_hung`: silence of a running job.
    pub agent_silent_ms: i64,
    /// `lease_stale`: age of a lease; absent means the core's published sum of time-outs.
    pub lease_age_ms: Option<i64>,
    /// `agent_overrun`: share of its published limit above which a job is told, percent.
    pub overrun_percent: u32,
    /// `stage_stuck`: one limit for all stages; absent means each stage's own.
    pub stage_age_ms: Option<i64>,
    /// `approval_waiting`: how long a person may take.
    pub approval_age_ms: i64,
    /// `queue_stalled`: how long a job that could run may wait while slots are free.
    pub queue_age_ms: i64,
    /// `cpu_starved`: share of time in which some task waits for a processor, percent.
    pub cpu_starved_percent: u32,
    /// `disk_low`: free share of bytes or inodes, percent.
    pub disk_low_percent: u32,
    /// `delivery_failing`: how long a notice may wait for its channel.
    pub delivery_age_ms: i64,
    /// `state_unsaved`: how long the state may be kept in memory alone.
    pub unsaved_age_ms: i64,
    /// `core_down`: polls in a row that must fail (the `for` of its policy), for the text.
    pub core_down_polls: u32,
    /// Signals that are switched off.
    pub disabled: Vec<SignalKind>,
}

impl Thresholds {
    /// Whether a signal is on.
    #[must_use]
    pub fn enabled(&self, signal: SignalKind) -> bool {
        !self.disabled.contains(&signal)
    }
}

/// Everything that `derive` reads beside the observation.
pub struct Context<'a> {
    /// The last good document, which may be older than this tick.
    pub last_heard: Option<&'a CoreObservation>,
    /// Cases that are open, so that their end can be put in words.
    pub open: &'a [CaseKey],
    /// What waits for each configured channel.
    pub channels: &'a [ChannelBacklog],
    /// How the state fares on its disk.
    pub saving: &'a Saving,
    /// Thresholds and switches.
    pub thresholds: &'a Thresholds,
    /// The ownership rule.
    pub judge: &'a Judge<'a>,
}

/// The states of all signals for one observation.
pub fn derive(observation: &Observation, context: &Context<'_>, memory: &mut Memory) -> Vec<SignalState> {
    memory.observe(observation, context.thresholds.agent_silent_ms);
    let mut states = Vec::new();
    let hung = agent_hung::derive(observation, context, memory, &mut states);
    process::derive(observation, context, memory, &hung.families, &mut states);
    agent_overrun::derive(observation, context, &hung.jobs, &mut states);
    lease_stale::derive(observation, context, &mut states);
    stage_stuck::derive(observation, context, &mut states);
    approval_waiting::derive(observation, context, memory, &mut states);
    queue_stalled::derive(observation, context, &mut states);
    core_down::derive(observation, context, memory, &mut states);
    core_degraded::derive(observation, context, memory, &mut states);
    cpu_starved::derive(observation, context, memory, &mut states);
    disk_low::derive(observation, context, memory, &mut states);
    delivery_failing::derive(observation, context, &mut states);
    collector_unavailable::derive(observation, context, memory, &mut states);
    state_unsaved::derive(observation, context, memory, &mut states);
    memory.forget(observation, context.last_heard);
    states
}

/// The document of this tick, if it may be judged by, else why not.
fn readable_document(observation: &Observation) -> Result<&ObservationDocument, String> {
    match &observation.core {
        CoreSight::Heard(heard) => match heard.document.core.state {
            CoreState::Starting => Err("the core is starting".to_owned()),
            CoreState::Ready | CoreState::Stopping | CoreState::Unknown => Ok(&heard.document),
        },
        CoreSight::Starting => Err("the core is starting".to_owned()),
        CoreSight::Down(reason) => Err(format!("the core does not answer: {reason}")),
        CoreSight::Unreadable(reason) => Err(format!("the core's answer cannot be used: {reason}")),
        CoreSight::OtherSchema(found) => Err(format!("the core's document has schema version {found}")),
        CoreSight::Awaited => Err("the core's first answer is awaited".to_owned()),
        CoreSight::Off => Err("no core is configured".to_owned()),
    }
}

/// Ends the open cases of a signal that a setting switched off.
fn switched_off(signal: SignalKind, context: &Context<'_>, states: &mut Vec<SignalState>) {
    states.extend(
        context
            .open
            .iter()
            .filter(|key| key.slot == signal.slot())
            .map(|key| SignalState::Gone { key: key.clone(), how: Ending::SwitchedOff }),
    );
}

/// Everything of a slot is held.
fn hold_slot(signal: SignalKind, reason: impl Into<String>, states: &mut Vec<SignalState>) {
    states.push(SignalState::Held { scope: HeldScope::Slot(signal.slot()), reason: reason.into() });
}

#[cfg(test)]
mod tests;

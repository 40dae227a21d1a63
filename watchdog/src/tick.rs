//! One tick: observe, derive, decide, and hand over to delivery.
//!
//! Responsible for the order of these steps and for what each leaves behind (cases, outbox,
//! metrics). It waits for nothing: polling the core, saving and delivering have tasks and threads of
//! their own, and what the core says is the newest answer that has ended. Invariant: a tick speaks
//! only of what was looked at for it ([`TickKind`]), so that no answer counts twice and no extra tick
//! shortens the patience of any signal.

use std::sync::Arc;
use std::time::Duration;

use crate::cases::{Policy, decide};
use crate::clock::{self, Stopwatch};
use crate::core_poll::{Answer, CorePoll};
use crate::failpoint;
use crate::host::HostWatch;
use crate::keeper::{Keeper, Worth};
use crate::metrics::{ReadFailure, View};
use crate::notify::delivery::SharedReport;
use crate::notify::outbox::Outbox;
use crate::notify::{Channel, audience};
use crate::observe::{Collected, CoreObservation, CoreSight, Observation, ProcObservation};
use crate::proc::ProcMemory;
use crate::signals::{
    CaseKey, ChannelBacklog, Context, HeldScope, Judge, Saving, SignalKind, SignalState, Thresholds, Unsaved,
    bound, derive,
};

/// Looks at processes.
pub trait ProcSource {
    /// One pass; `heard` is the last good answer of the core.
    fn look(&mut self, heard: Option<&CoreObservation>) -> Collected<ProcObservation>;

    /// Takes in what an earlier life knew and nobody could read until now.
    fn join(&mut self, earlier: &ProcMemory);

    /// What is worth keeping and showing after a pass.
    fn report(&self) -> ProcReport;
}

/// What a collector of processes tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcReport {
    /// Which processes belong together, for the state file.
    pub memory: Option<ProcMemory>,
    /// Whether not the whole host can be seen; absent when switched off or not known.
    pub blind: Option<bool>,
    /// Families whose end is seen at the next tick only; absent when switched off or not known.
    pub ends_unwatched: Option<u64>,
    /// Reads so far.
    pub reads: u64,
    /// Whole passes over its directory so far.
    pub listings: u64,
    /// Reads that failed, vanished processes excepted, in the order of [`ReadFailure::ALL`].
    pub read_errors: [u64; ReadFailure::ALL.len()],
}

/// Why a tick happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickKind {
    /// Its time has come, and the core's answer with it: everything is looked at.
    Regular,
    /// Its time has come and the poll is still under way: everything but what the core says.
    Unanswered,
    /// The answer came after its tick: what the core says, and processes with it.
    Late,
    /// A watched process ended, or an orphan's grace: processes only.
    Early,
}

/// What a signal needs a fresh look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Processes,
    Answer,
    Turn,
}

impl Needs {
    fn of(slot: SignalKind) -> Self {
        match slot {
            SignalKind::ProcBlocking | SignalKind::ProcOrphaned => Self::Processes,
            SignalKind::AgentHung
            | SignalKind::AgentOverrun
            | SignalKind::LeaseStale
            | SignalKind::StageStuck
            | SignalKind::ApprovalWaiting
            | SignalKind::QueueStalled
            | SignalKind::CoreDown
            | SignalKind::CoreDegraded
            | SignalKind::DiskLow => Self::Answer,
            SignalKind::CpuStarved
            | SignalKind::DeliveryFailing
            | SignalKind::CollectorUnavailable
            | SignalKind::StateUnsaved => Self::Turn,
        }
    }
}

impl TickKind {
    /// Whether it is one of those that come at their time.
    #[must_use]
    pub fn is_due(self) -> bool {
        match self {
            Self::Regular | Self::Unanswered => true,
            Self::Late | Self::Early => false,
        }
    }

    fn speaks_of(self, slot: SignalKind) -> bool {
        match (self, Needs::of(slot)) {
            (_, Needs::Processes)
            | (Self::Regular, Needs::Answer | Needs::Turn)
            | (Self::Unanswered, Needs::Turn)
            | (Self::Late, Needs::Answer) => true,
            (Self::Unanswered | Self::Early, Needs::Answer) | (Self::Late | Self::Early, Needs::Turn) => {
                false
            }
        }
    }
}

/// Everything that ticks need and keep.
pub struct Ticker<P> {
    /// Processes.
    pub proc: P,
    /// The core; absent when none is configured.
    pub core: Option<CorePoll>,
    /// The ownership rule.
    pub judge: Box<Judge<'static>>,
    /// Thresholds and switches.
    pub thresholds: Thresholds,
    /// Patience.
    pub policy: Policy,
    /// The host.
    pub host: HostWatch,
    /// Where notices go.
    pub channels: Vec<Channel>,
    /// What each channel did so far.
    pub reports: Vec<(Channel, SharedReport)>,
    /// State.
    pub keeper: Keeper,
    /// What a scrape shows.
    pub view: View,
    /// The newest answer.
    pub last_sight: CoreSight,
    /// The last good answer.
    pub last_heard: Option<Arc<CoreObservation>>,
}

impl<P: ProcSource> Ticker<P> {
    /// How long until an orphan that is known has been one for its grace; absent when none is within it. Without a look
    /// at that time it would be told a whole tick later whenever the last tick came a moment too early.
    #[must_use]
    pub fn next_grace_end(&self) -> Option<Duration> {
        let now = clock::wall_ms();
        let grace_ms = self.thresholds.orphan_grace_ms;
        let end_ms = self.keeper.read(|state| state.memory.next_grace_end_ms(now, grace_ms))?;
        Some(Duration::from_millis(u64::try_from(end_ms.saturating_sub(now)).unwrap_or_default()))
    }

    /// One tick.
    pub fn tick(&mut self, kind: TickKind) {
        let whole = Stopwatch::start();
        if self.keeper.read(|state| state.returned.is_some())
            && let Some(earlier) = self.keeper.change(|state| (state.returned.take(), Worth::Keeping))
        {
            self.proc.join(&earlier);
        }
        let proc = self.proc.look(self.last_heard.as_deref());
        let host = self.host.look();
        let observation = Observation { at_ms: clock::wall_ms(), proc, core: self.last_sight.clone(), host };
        let report = self.proc.report();
        self.view.proc_blind = report.blind;
        self.view.proc_ends_unwatched = report.ends_unwatched;
        self.view.proc_reads = report.reads;
        self.view.proc_listings = report.listings;
        self.view.proc_read_errors = report.read_errors;
        self.decide(&observation, kind, report.memory);
        self.view.observed(&observation);
        self.view.tick_duration_s = Some(seconds(whole.elapsed()));
        if kind.is_due() {
            self.view.counters.ticks += 1;
            self.view.last_tick_ms = Some(clock::wall_ms());
        }
    }

    /// Takes in what a poll brought; a tick that speaks of it must follow.
    pub fn take(&mut self, answer: Answer) {
        self.last_sight = answer.sight;
        self.view.core_poll_duration_s = Some(seconds(answer.took));
        self.view.counters.count_poll(&self.last_sight);
        if let CoreSight::Heard(heard) = &self.last_sight {
            self.view.core_last_heard_ms = Some(heard.received_at_ms);
            self.last_heard = Some(Arc::clone(heard));
        }
    }

    fn decide(&mut self, observation: &Observation, kind: TickKind, proc_memory: Option<ProcMemory>) {
        let (thresholds, policy, channels) = (&self.thresholds, &self.policy, &self.channels);
        let (judge, last_heard) = (&*self.judge, self.last_heard.as_deref());
        let reports = &self.reports;
        let saving = saving(&self.keeper);
        let (notices, firing, suppressed, left_out) = self.keeper.change(|state| {
            let open: Vec<CaseKey> = state.alerts.open().map(|(key, _)| key.clone()).collect();
            state.outbox.date_no_later_than(observation.at_ms);
            let backlogs = backlogs(channels, reports, &state.outbox);
            let context =
                Context { last_heard, open: &open, channels: &backlogs, saving: &saving, thresholds, judge };
            let mut states = derive(observation, &context, &mut state.memory);
            let left_out = bound(&open, &mut states);
            hold_the_rest(kind, &mut states);
            if state.returned.is_some() {
                // cases came back after the look, and with them families that it did not look for
                hold_slot(SignalKind::ProcBlocking.slot(), "an earlier state was just taken up", &mut states);
            }
            let before = state.alerts.clone();
            let (alerts, notices) = decide(before.clone(), &states, observation.at_ms, policy);
            state.alerts = alerts;
            let newest = notices.last().map_or("", |notice| notice.kind.name());
            failpoint::hit("tick.after_decide", newest);
            for notice in &notices {
                state.outbox.push(&audience(channels, notice), notice);
                state.remember(notice);
            }
            // who belongs to whom is worth a write when a family comes or goes; members follow along
            let family_change = roots(proc_memory.as_ref()) != roots(state.proc.as_ref());
            if proc_memory.is_some() {
                state.proc = proc_memory;
            }
            // what an earlier life said of the disk is over with the first save that goes well: one must be tried
            let unproven = !saving.proven
                && saving.fault.is_none()
                && open.iter().any(|key| key.slot == SignalKind::StateUnsaved);
            let changed = !notices.is_empty() || family_change || state.alerts.differs_from(&before);
            let worth = match changed || unproven {
                true => Worth::Saving,
                false => Worth::Keeping,
            };
            let (mut firing, mut suppressed) = (Vec::new(), Vec::new());
            for case in state.alerts.firing() {
                let (signal, since_ms) = (case.finding.signal, case.finding.since_ms);
                match state.alerts.suppression(case) {
                    None => firing.push((signal, case.finding.severity, since_ms)),
                    Some(why) => suppressed.push((signal, why, since_ms)),
                }
            }
            ((notices, firing, suppressed, left_out), worth)
        });
        if left_out > 0 && self.view.left_out == 0 {
            tracing::error!(
                left_out,
                "the core's document makes more cases than are kept; the rest is not told"
            );
        }
        self.view.left_out = left_out;
        self.view.firing = firing;
        self.view.suppressed = suppressed;
        for notice in &notices {
            self.view.counters.count(notice);
        }
    }
}

/// How the state fares on its disk.
fn saving(keeper: &Keeper) -> Saving {
    let saved = keeper.saved();
    let saved = saved.borrow();
    let fault = saved.fault.as_ref();
    Saving {
        fault: fault.map(|fault| Unsaved { since_ms: fault.since_ms, why: fault.why.clone() }),
        proven: saved.attempts > saved.failures,
    }
}

fn roots(memory: Option<&ProcMemory>) -> Vec<proc_identity::ProcessId> {
    memory.map_or_else(Vec::new, |memory| memory.families.iter().map(|family| family.root).collect())
}

/// What waits for each channel, with what that channel says of itself.
fn backlogs(
    channels: &[Channel],
    reports: &[(Channel, SharedReport)],
    outbox: &Outbox,
) -> Vec<ChannelBacklog> {
    let backlog = |channel: &Channel| {
        let report = reports.iter().find(|(known, _)| known == channel).map(|(_, report)| report.read());
        let report = report.unwrap_or_default();
        ChannelBacklog {
            channel: *channel,
            oldest_at_ms: outbox.oldest_at_ms(*channel),
            notices: outbox.depth(*channel),
            attempts: report.attempts,
            failures: report.failures.iter().sum(),
            parked: report.parked.or(report.parked_notice_why),
            last_failure: report.last_failure,
        }
    };
    channels.iter().map(backlog).collect()
}

/// Holds whatever was said of a slot.
fn hold_slot(slot: SignalKind, reason: &str, states: &mut Vec<SignalState>) {
    states.retain(|state| match state {
        SignalState::Active(finding) => finding.signal.slot() != slot,
        SignalState::Clear { key, .. } | SignalState::Gone { key, .. } => key.slot != slot,
        SignalState::Held { .. } => true,
    });
    states.push(SignalState::Held { scope: HeldScope::Slot(slot), reason: reason.to_owned() });
}

/// Holds everything that a tick of this kind does not speak of.
fn hold_the_rest(kind: TickKind, states: &mut Vec<SignalState>) {
    states.retain(|state| match state {
        SignalState::Active(finding) => kind.speaks_of(finding.signal.slot()),
        SignalState::Clear { key, .. } | SignalState::Gone { key, .. } => kind.speaks_of(key.slot),
        SignalState::Held { scope: HeldScope::Case(key), .. } => kind.speaks_of(key.slot),
        SignalState::Held { scope: HeldScope::Slot(slot), .. } => kind.speaks_of(*slot),
    });
    let others = SignalKind::ALL.into_iter().filter(|signal| !kind.speaks_of(signal.slot()));
    states.extend(others.map(|signal| SignalState::Held {
        scope: HeldScope::Slot(signal.slot()),
        reason: "not looked at in this tick".to_owned(),
    }));
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

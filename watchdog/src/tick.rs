//! One tick: observe, derive, decide, and hand over to delivery.
//!
//! Responsible for the order of these steps and for what each leaves behind (cases, outbox,
//! metrics). It waits for nothing but its collectors: saving and delivering have threads and tasks
//! of their own. Invariant: an early tick (a process ended) speaks of processes only, so that it
//! cannot shorten the patience of any other signal.

use std::time::Duration;

use crate::cases::{Policy, decide};
use crate::clock::{self, Stopwatch};
use crate::core_view::ReadOnlyClient;
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
    CaseKey, ChannelBacklog, Context, HeldScope, Judge, SignalKind, SignalState, Thresholds, derive,
};

/// Looks at processes.
pub trait ProcSource {
    /// One pass; `heard` is the last good answer of the core.
    fn look(&mut self, heard: Option<&CoreObservation>) -> Collected<ProcObservation>;

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
    /// Reads so far.
    pub reads: u64,
    /// Reads that failed, vanished processes excepted, in the order of [`ReadFailure::ALL`].
    pub read_errors: [u64; ReadFailure::ALL.len()],
}

/// Why a tick happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickKind {
    /// Its time has come: everything is looked at.
    Regular,
    /// A watched process ended: processes only.
    Early,
}

/// Everything that ticks need and keep.
pub struct Ticker<P> {
    /// Processes.
    pub proc: P,
    /// The core; absent when none is configured.
    pub core: Option<ReadOnlyClient>,
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
    /// The answer of the last regular tick.
    pub last_sight: CoreSight,
    /// The last good answer.
    pub last_heard: Option<CoreObservation>,
}

impl<P: ProcSource> Ticker<P> {
    /// One tick.
    pub async fn tick(&mut self, kind: TickKind) {
        let whole = Stopwatch::start();
        if kind == TickKind::Regular {
            self.poll_core().await;
        }
        let proc = self.proc.look(self.last_heard.as_ref());
        let host = self.host.look();
        let observation = Observation { at_ms: clock::wall_ms(), proc, core: self.last_sight.clone(), host };
        let report = self.proc.report();
        self.view.proc_blind = report.blind;
        self.view.proc_reads = report.reads;
        self.view.proc_read_errors = report.read_errors;
        self.decide(&observation, kind, report.memory);
        self.view.observed(&observation);
        self.view.tick_duration_s = Some(seconds(whole.elapsed()));
        if kind == TickKind::Regular {
            self.view.counters.ticks += 1;
            self.view.last_tick_ms = Some(clock::wall_ms());
        }
    }

    async fn poll_core(&mut self) {
        let Some(core) = &self.core else {
            self.last_sight = CoreSight::Off;
            return;
        };
        let taken = Stopwatch::start();
        self.last_sight = core.poll(clock::wall_ms).await;
        self.view.core_poll_duration_s = Some(seconds(taken.elapsed()));
        self.view.counters.count_poll(&self.last_sight);
        if let CoreSight::Heard(heard) = &self.last_sight {
            self.view.core_last_heard_ms = Some(heard.received_at_ms);
            self.last_heard = Some((**heard).clone());
        }
    }

    fn decide(&mut self, observation: &Observation, kind: TickKind, proc_memory: Option<ProcMemory>) {
        let (thresholds, policy, channels) = (&self.thresholds, &self.policy, &self.channels);
        let (judge, last_heard) = (&*self.judge, self.last_heard.as_ref());
        let reports = &self.reports;
        let (notices, firing, suppressed) = self.keeper.change(|state| {
            let open: Vec<CaseKey> = state.alerts.open().map(|(key, _)| key.clone()).collect();
            let backlogs = backlogs(channels, reports, &state.outbox);
            let context = Context { last_heard, open: &open, channels: &backlogs, thresholds, judge };
            let mut states = derive(observation, &context, &mut state.memory);
            if kind == TickKind::Early {
                processes_only(&mut states);
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
            let worth = match !notices.is_empty() || family_change || state.alerts.differs_from(&before) {
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
            ((notices, firing, suppressed), worth)
        });
        self.view.firing = firing;
        self.view.suppressed = suppressed;
        for notice in &notices {
            self.view.counters.count(notice);
        }
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

/// Holds everything but the slot of processes.
fn processes_only(states: &mut Vec<SignalState>) {
    let of_processes = |slot: SignalKind| slot == SignalKind::ProcBlocking;
    states.retain(|state| match state {
        SignalState::Active(finding) => of_processes(finding.signal.slot()),
        SignalState::Clear { key, .. } | SignalState::Gone { key, .. } => of_processes(key.slot),
        SignalState::Held { scope: HeldScope::Case(key), .. } => of_processes(key.slot),
        SignalState::Held { scope: HeldScope::Slot(slot), .. } => of_processes(*slot),
    });
    let others = SignalKind::ALL.into_iter().filter(|signal| !of_processes(signal.slot()));
    states.extend(others.map(|signal| SignalState::Held {
        scope: HeldScope::Slot(signal.slot()),
        reason: "not looked at in an early tick".to_owned(),
    }));
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

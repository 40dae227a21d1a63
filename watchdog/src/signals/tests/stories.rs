//! Stories through `derive` and `decide`: raise, remind, recover, freeze.
//!
//! Everything that survives a stop is written and read back at each tick, so each story is also one
//! of a watchdog that is restarted between any two ticks.

use orch_contract::{ActorTick, DataDirectory, OpenTask, QueuedJob, Standing, WaitsFor, WaitsForKind};

use super::*;
use crate::cases::{AlertState, Policy, decide};
use crate::notify::{Channel, audience};
use crate::observe::{HostObservation, PressureShares, PressureSight};

pub(super) const TICK: i64 = 15_000;
pub(super) const HOUR: i64 = 60 * MINUTE;

/// A watchdog without its rims.
#[derive(Clone)]
pub(super) struct World {
    pub(super) now: i64,
    pub(super) thresholds: Thresholds,
    pub(super) channels: Vec<ChannelBacklog>,
    pub(super) saving: Saving,
    pub(super) host: Collected<HostObservation>,
    pub(super) proc: Collected<ProcObservation>,
    state: AlertState,
    memory: Memory,
    last_heard: Option<CoreObservation>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: NOW,
            thresholds: thresholds(),
            channels: Vec::new(),
            saving: SAVED,
            host: Collected::Off,
            proc: Collected::Off,
            state: AlertState::default(),
            memory: Memory::default(),
            last_heard: None,
        }
    }

    /// One tick; what is told of `signal`.
    pub(super) fn tick(&mut self, signal: SignalKind, core: CoreSight) -> Vec<String> {
        let told = self.notices(core);
        told.iter().filter(|notice| notice.finding.signal == signal).map(word).collect()
    }

    /// One tick; everything that is told.
    pub(super) fn notices(&mut self, core: CoreSight) -> Vec<crate::cases::Notice> {
        self.now += TICK;
        if let CoreSight::Heard(heard) = &core {
            self.last_heard = Some((**heard).clone());
        }
        let (host, proc) = (self.host.clone(), self.proc.clone());
        let observation = Observation { at_ms: self.now, proc, core, host };
        let open: Vec<CaseKey> = self.state.open().map(|(key, _)| key.clone()).collect();
        let context = Context {
            last_heard: self.last_heard.as_ref(),
            open: &open,
            channels: &self.channels,
            saving: &self.saving,
            thresholds: &self.thresholds,
            judge: &owned,
        };
        let states = derive(&observation, &context, &mut self.memory);
        let (state, notices) = decide(self.state.clone(), &states, self.now, &Policy::default());
        self.state = reread(&state);
        self.memory = reread(&self.memory);
        notices
    }

    pub(super) fn firing(&self, signal: SignalKind) -> usize {
        self.state.firing().filter(|case| case.finding.signal == signal).count()
    }

    /// Why the core counts as down.
    pub(super) fn reasons(&self) -> Vec<crate::observe::Fault> {
        let reason = |case: &crate::cases::Case| match &case.finding.facts {
            Facts::CoreDown(facts) => Some(facts.reason.clone()),
            _ => None,
        };
        self.state.firing().filter_map(reason).collect()
    }
}

pub(super) fn word(notice: &crate::cases::Notice) -> String {
    match &notice.kind {
        crate::cases::NoticeKind::Recovered { how, .. } => {
            format!("recovered: {}", crate::notify::text::ending(how))
        }
        kind => format!("{} {}", kind.name(), notice.finding.severity.name()),
    }
}

fn reread<T: Serialize + for<'de> Deserialize<'de>>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

/// Everything that a core can answer and that says nothing of its work.
fn unseen(now: i64) -> Vec<CoreSight> {
    let mut starting = documents::idle(now);
    starting.core.state = CoreState::Starting;
    vec![
        CoreSight::Starting,
        heard(&starting, now),
        CoreSight::Down("it answers 500".into()),
        CoreSight::Down("no answer within 5 s".into()),
        CoreSight::Unreadable("its document breaks the contract".into()),
        CoreSight::OtherSchema(2),
    ]
}

/// One signal that is derived from the core's document.
struct Row {
    signal: SignalKind,
    severity: &'static str,
    /// Puts the condition into a document of an idle core.
    spoil: fn(&mut ObservationDocument),
    /// Ends it, the entity staying.
    mend: fn(&mut ObservationDocument),
    how: &'static str,
    /// Words for an entity that is gone, where it can go.
    gone: Option<&'static str>,
}

pub(super) fn task(stage: &str, standing: Standing, waits_for: Option<WaitsForKind>) -> OpenTask {
    OpenTask {
        work_item: "ORCH-1".into(),
        repo: "sample".into(),
        title: "a title".into(),
        stage: stage.into(),
        stage_since_ms: NOW - 25 * HOUR,
        standing,
        cause: None,
        waits_for: waits_for.map(|kind| WaitsFor { kind, name: "somebody".into() }),
        until_ms: None,
    }
}

pub(super) fn queued(job_id: i64, queued_at_ms: i64) -> QueuedJob {
    QueuedJob {
        job_id,
        work_item: "ORCH-1".into(),
        repo: "sample".into(),
        stage: "review".into(),
        role: "reviewer".into(),
        attempt: 1,
        reason: "starts next".into(),
        queued_at_ms,
        not_before_ms: None,
    }
}

pub(super) fn room(free_bytes: u64, free_inodes: u64) -> DataDirectory {
    DataDirectory { free_bytes, total_bytes: 1_000, free_inodes, total_inodes: 1_000 }
}

const ROWS: [Row; 6] = [
    Row {
        signal: SignalKind::AgentOverrun,
        severity: "warning",
        spoil: |document| {
            document.running_jobs = vec![RunningJob { started_at_ms: NOW - 61 * MINUTE, ..job() }];
        },
        mend: |document| document.running_jobs[0].exit_recorded_at_ms = Some(NOW),
        how: "its run has ended and is being settled",
        gone: Some("the job no longer runs"),
    },
    Row {
        signal: SignalKind::StageStuck,
        severity: "warning",
        spoil: |document| document.tasks = vec![task("review", Standing::Moving, Some(WaitsForKind::Agent))],
        mend: |document| {
            document.tasks[0].stage = "testing".into();
            document.tasks[0].stage_since_ms = NOW;
        },
        how: "it is within the limit of testing",
        gone: Some("the task is done or was cancelled"),
    },
    Row {
        signal: SignalKind::ApprovalWaiting,
        severity: "info",
        spoil: |document| {
            document.tasks = vec![task("analysis", Standing::Waiting, Some(WaitsForKind::Person))];
        },
        mend: |document| document.tasks[0] = task("analysis", Standing::Moving, Some(WaitsForKind::Agent)),
        how: "it no longer waits for a person",
        gone: Some("the task is done or was cancelled"),
    },
    Row {
        signal: SignalKind::QueueStalled,
        severity: "warning",
        spoil: |document| document.queued_jobs = vec![queued(3, NOW - 6 * MINUTE)],
        mend: |document| document.queued_jobs.clear(),
        how: "no job that could run waits",
        gone: None,
    },
    Row {
        signal: SignalKind::CoreDegraded,
        severity: "warning",
        spoil: |document| {
            let actor = |name: &str, period_ms, last| ActorTick {
                name: name.into(),
                period_ms,
                last_tick_at_ms: Some(last),
            };
            document.actors = vec![actor("reaper", 30_000, NOW - HOUR), actor("monitor", 10 * HOUR, NOW)];
        },
        mend: |document| document.actors.retain(|actor| actor.name == "monitor"),
        how: "its documents and actors are on time, and the clocks agree",
        gone: None,
    },
    Row {
        signal: SignalKind::DiskLow,
        severity: "warning",
        spoil: |document| document.data_dir = Some(room(49, 900)),
        mend: |document| document.data_dir = Some(room(50, 50)),
        how: "more than 5% of bytes and inodes are free",
        gone: None,
    },
];

#[test]
fn each_is_raised_once_frozen_while_unseen_reminded_of_and_recovered_in_words() {
    for row in ROWS {
        let name = row.signal.name();
        let mut world = World::new();
        let mut spoilt = documents::idle(NOW);
        (row.spoil)(&mut spoilt);
        let mut told = Vec::new();
        let patience = Policy::default().of(row.signal).for_ticks;
        for tick in 1..=patience {
            assert!(told.is_empty(), "{name} before tick {tick}: {told:?}");
            let now = world.now + TICK;
            told.extend(world.tick(row.signal, heard(&spoilt, now)));
        }
        let raised = format!("alert {}", row.severity);
        assert_eq!(told, [raised.as_str()], "{name}");

        for sight in 0..unseen(NOW).len() {
            for look in 0..4 {
                let core = unseen(world.now + TICK).swap_remove(sight);
                // one of them is no blindness of this signal, but one more cause
                let other_cause = row.signal == SignalKind::CoreDegraded
                    && matches!(core, CoreSight::OtherSchema(_))
                    && look == 0;
                let expected = if other_cause { vec!["changed warning"] } else { Vec::new() };
                assert_eq!(world.tick(row.signal, core), expected, "{name}: {:?}", unseen(NOW)[sight]);
                assert_eq!(world.firing(row.signal), 1, "{name}");
            }
        }
        // another life of the core with the same store: the same jobs and tasks
        spoilt.core.boot_id = "another".into();
        spoilt.core.pid = 99;
        told.clear();
        while world.now < NOW + 32 * MINUTE {
            let now = world.now + TICK;
            told.extend(world.tick(row.signal, heard(&spoilt, now)));
        }
        assert_eq!(told, [format!("reminder {}", row.severity)], "{name}");

        let mut mended = spoilt.clone();
        (row.mend)(&mut mended);
        mended.tasks.iter_mut().for_each(|task| task.stage_since_ms = task.stage_since_ms.max(NOW - HOUR));
        told.clear();
        for _ in 0..4 {
            let now = world.now + TICK;
            told.extend(world.tick(row.signal, heard(&mended, now)));
        }
        assert_eq!(told, [format!("recovered: {}", row.how)], "{name}");
    }
}

#[test]
fn what_vanished_from_a_fresh_document_recovers_in_words_of_its_own() {
    for row in ROWS {
        let Some(words) = row.gone else { continue };
        let mut world = World::new();
        let mut spoilt = documents::idle(NOW);
        (row.spoil)(&mut spoilt);
        let now = world.now + TICK;
        assert_eq!(world.tick(row.signal, heard(&spoilt, now)).len(), 1, "{}", row.signal.name());
        let now = world.now + TICK;
        let told = world.tick(row.signal, heard(&documents::idle(now), now));
        assert_eq!(told, [format!("recovered: {words}")], "{}", row.signal.name());
    }
}

#[test]
fn a_signal_that_is_switched_off_is_silent_and_ends_its_case() {
    for row in ROWS {
        let mut world = World::new();
        let mut spoilt = documents::idle(NOW);
        (row.spoil)(&mut spoilt);
        for _ in 0..3 {
            let now = world.now + TICK;
            world.tick(row.signal, heard(&spoilt, now));
        }
        world.thresholds.disabled = vec![row.signal];
        let now = world.now + TICK;
        let told = world.tick(row.signal, heard(&spoilt, now));
        let expected = "recovered: the signal was switched off by a setting";
        assert_eq!(told, [expected], "{}", row.signal.name());
        let now = world.now + TICK;
        assert_eq!(world.tick(row.signal, heard(&spoilt, now)), [""; 0], "{}", row.signal.name());
    }
}

pub(super) fn pressed(some_avg60_percent: f64) -> Collected<HostObservation> {
    let shares = |some_avg60_percent| {
        PressureSight::Measured(PressureShares {
            some_avg10_percent: 0.0,
            some_avg60_percent,
            some_avg300_percent: 0.0,
            full_avg60_percent: 0.0,
        })
    };
    Collected::Fresh(HostObservation {
        cpu: shares(some_avg60_percent),
        memory_pressure: shares(0.0),
        io: shares(0.0),
        memory: None,
    })
}

#[test]
fn a_starved_host_is_told_whatever_the_core_does_and_frozen_only_by_its_own_collector() {
    let signal = SignalKind::CpuStarved;
    let mut world = World::new();
    let down = || CoreSight::Down("refused".into());
    world.host = pressed(60.0);
    assert_eq!(world.tick(signal, down()), [""; 0], "at the threshold is within it");
    world.host = pressed(60.5);
    assert_eq!(world.tick(signal, down()), [""; 0], "one tick is none");
    assert_eq!(world.tick(signal, down()), ["alert warning"]);
    for blind in [Collected::Unavailable("EIO".into()), Collected::Off] {
        world.host = blind;
        for _ in 0..8 {
            assert_eq!(world.tick(signal, CoreSight::Off), [""; 0]);
        }
    }
    world.host = pressed(99.0);
    let told: Vec<String> = (0..120).flat_map(|_| world.tick(signal, down())).collect();
    assert_eq!(told, ["reminder warning"]);
    world.host = pressed(12.0);
    assert_eq!(world.tick(signal, down()), [""; 0]);
    assert_eq!(world.tick(signal, down()), ["recovered: work waits 12% of the time"]);
}

pub(super) fn backlog(channel: Channel, oldest_at_ms: Option<i64>) -> ChannelBacklog {
    ChannelBacklog {
        channel,
        oldest_at_ms,
        notices: 1,
        parked: None,
        last_failure: None,
        attempts: 4,
        failures: 4,
    }
}

#[test]
fn a_channel_that_takes_nothing_is_told_and_recovers_when_it_does() {
    let signal = SignalKind::DeliveryFailing;
    let mut world = World::new();
    let channels = |oldest| vec![backlog(Channel::Log, None), backlog(Channel::Telegram, oldest)];
    world.channels = channels(Some(NOW));
    let told: Vec<(i64, String)> = (0..141)
        .flat_map(|_| {
            let told = world.tick(signal, CoreSight::Down("refused".into()));
            let now = world.now;
            told.into_iter().map(move |told| ((now - NOW) / MINUTE, told))
        })
        .collect();
    assert_eq!(told, [(5, "alert critical".to_owned()), (35, "reminder critical".to_owned())]);
    world.channels = channels(None);
    assert_eq!(world.tick(signal, CoreSight::Off), ["recovered: it takes notices again"]);
}

#[test]
fn a_state_that_is_not_saved_is_told_after_its_time_reminded_of_and_taken_back() {
    let signal = SignalKind::StateUnsaved;
    let mut world = World::new();
    assert_eq!(world.tick(signal, CoreSight::Off), Vec::<String>::new());
    world.saving.fault = Some(Unsaved { since_ms: world.now, why: "no room".into() });
    let told: Vec<(i64, String)> = (0..130)
        .flat_map(|_| {
            let told = world.tick(signal, CoreSight::Down("refused".into()));
            let now = world.now;
            told.into_iter().map(move |told| ((now - NOW) / TICK, told))
        })
        .collect();
    // a minute is four ticks, and half an hour 120 more
    assert_eq!(told, [(6, "alert warning".to_owned()), (126, "reminder warning".to_owned())]);
    // saved for a moment and then not again: over, and not told before its time
    world.saving.fault = Some(Unsaved { since_ms: world.now, why: "no room".into() });
    assert_eq!(world.tick(signal, CoreSight::Off), ["recovered: it is saved again"]);
    assert_eq!(world.tick(signal, CoreSight::Off), Vec::<String>::new());
    world.saving.fault = None;
    assert_eq!(world.tick(signal, CoreSight::Off), Vec::<String>::new());
    assert_eq!(world.firing(signal), 0);
}

#[test]
fn a_new_life_takes_no_state_for_saved_before_it_has_saved_one() {
    let signal = SignalKind::StateUnsaved;
    let mut world = World::new();
    world.saving.fault = Some(Unsaved { since_ms: NOW - HOUR, why: "no room".into() });
    assert_eq!(world.tick(signal, CoreSight::Off), ["alert warning"]);
    // killed and started again: nothing was tried yet, then the first save fails, for less than its time
    world.saving = Saving::default();
    assert_eq!(world.tick(signal, CoreSight::Off), Vec::<String>::new());
    world.saving.fault = Some(Unsaved { since_ms: world.now, why: "no room".into() });
    for _ in 0..10 {
        assert_eq!(world.tick(signal, CoreSight::Off), Vec::<String>::new());
        assert_eq!(world.firing(signal), 1, "it was never over");
    }
    world.saving = SAVED;
    assert_eq!(world.tick(signal, CoreSight::Off), ["recovered: it is saved again"]);
}

#[test]
fn a_clock_that_is_set_back_does_not_silence_what_is_counted_in_time() {
    let mut world = World::new();
    let told = |world: &mut World| -> Vec<SignalKind> {
        let all = (0..30).flat_map(|_| world.notices(CoreSight::Off)).collect::<Vec<_>>();
        all.into_iter().filter(|notice| notice.kind.is_alert()).map(|notice| notice.finding.signal).collect()
    };
    world.saving.fault = Some(Unsaved { since_ms: world.now, why: "no room".into() });
    world.now -= HOUR;
    assert_eq!(told(&mut world), [SignalKind::StateUnsaved]);

    let mut memory = Memory::default();
    let key = family(5).key;
    assert_eq!(memory.orphan_since(&key, NOW), NOW);
    assert_eq!(memory.orphan_since(&key, NOW - HOUR), NOW - HOUR);
    assert_eq!(memory.orphan_since(&key, NOW), NOW - HOUR, "its grace began no later than that");
}

#[test]
fn a_state_that_is_not_saved_is_not_told_where_that_is_switched_off_and_an_open_case_ends() {
    let signal = SignalKind::StateUnsaved;
    let mut world = World::new();
    world.saving.fault = Some(Unsaved { since_ms: NOW - HOUR, why: "no room".into() });
    assert_eq!(world.tick(signal, CoreSight::Off), ["alert warning"]);
    world.thresholds.disabled = vec![signal];
    assert_eq!(world.tick(signal, CoreSight::Off), ["recovered: the signal was switched off by a setting"]);
    assert_eq!(world.tick(signal, CoreSight::Off), Vec::<String>::new());
}

#[test]
fn a_channel_that_is_given_up_recovers_in_words_of_its_own() {
    let signal = SignalKind::DeliveryFailing;
    let mut world = World::new();
    world.channels = vec![backlog(Channel::Telegram, Some(NOW - HOUR))];
    assert_eq!(world.tick(signal, CoreSight::Off), ["alert critical"]);
    world.channels = vec![backlog(Channel::Log, None)];
    assert_eq!(world.tick(signal, CoreSight::Off), ["recovered: the channel is no longer configured"]);
}

#[test]
fn a_channel_is_never_told_of_its_own_failure_nor_of_its_end() {
    let mut memory = Memory::default();
    let observation =
        Observation { at_ms: NOW, proc: Collected::Off, core: CoreSight::Off, host: pressed(99.0) };
    let channels = [backlog(Channel::Telegram, Some(NOW - HOUR))];
    let thresholds = thresholds();
    let context = Context { channels: &channels, ..context(&thresholds) };
    let states = derive(&observation, &context, &mut memory);
    for state in states {
        let SignalState::Active(finding) = state else { continue };
        let kinds = [
            crate::cases::NoticeKind::Alert,
            crate::cases::NoticeKind::Recovered { lasted_ms: 1, how: Ending::ChannelTakes },
        ];
        for kind in kinds {
            let notice = crate::cases::Notice { kind, at_ms: NOW, finding: finding.clone() };
            let expected = match finding.signal {
                SignalKind::DeliveryFailing => vec![Channel::Log],
                _ => vec![Channel::Log, Channel::Telegram],
            };
            assert_eq!(audience(&[Channel::Log, Channel::Telegram], &notice), expected);
        }
    }
}

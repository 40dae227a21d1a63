//! Documents with impossible numbers: no panic, no wrapped age, no false recovery.

use std::sync::Arc;

use orch_contract::{
    ActorTick, GateFailure, GateRunning, OpenTask, QueuedJob, Standing, TimeoutEntry, WaitsForKind,
    WebhookSource,
};
use proptest::prelude::*;
use serde_json::Value;

use super::stories::{HOUR, TICK, World, queued, room, task};
use super::*;
use crate::core_view::read_document;
use crate::notify::text::{self, Locale, Voice};

/// A document in which each number of the contract occurs, and every core-derived condition holds.
fn full() -> ObservationDocument {
    let mut document = documents::idle(NOW);
    let silent = NOW - 40 * MINUTE;
    document.running_jobs = vec![
        RunningJob { last_output_at_ms: Some(silent), started_at_ms: NOW - 61 * MINUTE, ..job() },
        RunningJob { job_id: 4, run_id: 2, exit_recorded_at_ms: Some(NOW), cost_microusd: Some(1), ..job() },
    ];
    document.processes = vec![tree(1, 77, None), tree(2, 78, Some(NOW - MINUTE))];
    document.tasks = vec![
        OpenTask { until_ms: Some(NOW + HOUR), ..task("review", Standing::Moving, None) },
        OpenTask {
            work_item: "ORCH-2".into(),
            ..task("analysis", Standing::Waiting, Some(WaitsForKind::Person))
        },
    ];
    document.queued_jobs =
        vec![QueuedJob { not_before_ms: Some(NOW - 30 * MINUTE), ..queued(9, NOW - 60 * MINUTE) }];
    document.leases = vec![Lease {
        work_item: "ORCH-1".into(),
        repo: "sample".into(),
        edge: "review -> merge".into(),
        fencing: 4,
        acquired_at_ms: NOW - 5 * HOUR,
        owner: LeaseOwner {
            actor: "monitor".into(),
            core_boot_id: documents::BOOT_ID.into(),
            process: ProcessRef { pid: 1, start_ticks: 1 },
            alive: Some(true),
        },
    }];
    document.actors =
        vec![ActorTick { name: "reaper".into(), period_ms: 30_000, last_tick_at_ms: Some(NOW - HOUR) }];
    document.data_dir = Some(room(1, 1));
    document.timeouts.entries = vec![TimeoutEntry { key: "ORCH_CI_TIMEOUT_S".into(), timeout_ms: 1 }];
    document.webhooks.sources = vec![WebhookSource {
        name: "gitea".into(),
        accepted_total: 1,
        duplicate_total: 1,
        refused_total: 1,
        pending: 1,
        last_delivery_at_ms: Some(NOW),
    }];
    document.merge_gate.running =
        vec![GateRunning { work_item: "ORCH-1".into(), since_ms: NOW, timeout_ms: 1 }];
    document.merge_gate.last_failure = Some(GateFailure {
        work_item: "ORCH-1".into(),
        at_ms: NOW,
        verdict: "red".into(),
        class: String::new(),
        summary: "x".into(),
    });
    document
}

/// Numbers of a document by their names, in place.
fn numbers<'a>(name: &str, value: &'a mut Value, into: &mut Vec<(String, &'a mut Value)>) {
    match value {
        Value::Number(_) => into.push((name.to_owned(), value)),
        Value::Array(values) => values.iter_mut().for_each(|value| numbers(name, value, into)),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| numbers(name, value, into)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The document with some numbers changed, as long as it stays one: a count takes no negative one.
fn changed(
    document: &ObservationDocument,
    change: impl Fn(usize, &str) -> Option<i64>,
) -> ObservationDocument {
    let mut value = serde_json::to_value(document).unwrap();
    let mut found = Vec::new();
    numbers("", &mut value, &mut found);
    for (index, (name, place)) in found.into_iter().enumerate() {
        let keep = ["schema_version", "job_id", "run_id", "pid", "start_ticks"].contains(&name.as_str());
        let Some(number) = change(index, &name).filter(|_| !keep) else { continue };
        let signed = name.ends_with("_ms") || ["fencing", "cost_microusd"].contains(&name.as_str());
        *place = match (signed, name.starts_with("agents_") || ["attempt"].contains(&name.as_str())) {
            (true, _) => number.into(),
            (false, true) => (number.unsigned_abs() as u32).into(),
            (false, false) => number.unsigned_abs().into(),
        };
    }
    serde_json::from_value(value).unwrap()
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX]),
        NOW - 48 * HOUR..NOW + 48 * HOUR,
        (0..48 * HOUR),
    ]
}

fn watched(cpu_ms: u64) -> Collected<ProcObservation> {
    let family = Family { cookie: Cookie::Run(77), ..family(5) };
    proc(vec![family], vec![RunUse { cookie: 77, processes: 1, cpu_ms }])
}

/// As it comes over the wire.
fn sent(document: &ObservationDocument, now: i64) -> CoreSight {
    read_document(&serde_json::to_vec(document).unwrap(), now)
}

/// A world in which every condition of [`full`] was told.
fn troubled() -> World {
    let mut world = World::new();
    world.proc = watched(500);
    while world.now < NOW + 20 * MINUTE {
        let now = world.now + TICK;
        world.notices(heard(&full(), now));
    }
    world
}

static TROUBLED: std::sync::LazyLock<World> = std::sync::LazyLock::new(troubled);

const OF_THE_CORE: [SignalKind; 8] = [
    SignalKind::AgentHung,
    SignalKind::AgentOverrun,
    SignalKind::LeaseStale,
    SignalKind::StageStuck,
    SignalKind::ApprovalWaiting,
    SignalKind::QueueStalled,
    SignalKind::CoreDegraded,
    SignalKind::DiskLow,
];

fn recoveries(notices: &[crate::cases::Notice]) -> Vec<SignalKind> {
    let over = notices.iter().filter(|notice| !notice.kind.is_alert());
    over.map(|notice| notice.finding.signal).collect()
}

#[test]
fn the_full_document_raises_everything_that_is_derived_from_it() {
    let world = TROUBLED.clone();
    for signal in OF_THE_CORE {
        assert_eq!(world.firing(signal), 1, "{}", signal.name());
    }
}

#[test]
fn each_time_outside_of_the_calendar_makes_the_document_unusable() {
    let mut value = serde_json::to_value(full()).unwrap();
    let mut found = Vec::new();
    numbers("", &mut value, &mut found);
    let names: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
    let times = names.iter().filter(|name| name.ends_with("_ms")).count();
    assert!(times > 25, "{names:?}");
    for (place, name) in names.iter().enumerate().filter(|(_, name)| name.ends_with("_ms")) {
        for absurd in [i64::MIN, -1, i64::MAX] {
            let document = changed(&full(), |index, _| (index == place).then_some(absurd));
            let sight = sent(&document, NOW);
            let CoreSight::Unreadable(fault) = &sight else { panic!("{name} {absurd}: {sight:?}") };
            assert!(fault.to_string().contains(name.as_str()), "{name}: {fault}");
        }
    }
}

#[test]
fn what_began_after_now_has_no_age_and_ends_nothing() {
    for name in [
        "started_at_ms",
        "last_output_at_ms",
        "acquired_at_ms",
        "stage_since_ms",
        "queued_at_ms",
        "last_tick_at_ms",
    ] {
        for later in [2 * HOUR, 100_000 * HOUR] {
            let mut world = TROUBLED.clone();
            for _ in 0..4 {
                let now = world.now + TICK;
                let spoilt = changed(&full(), |_, found| (found == name).then_some(now + later));
                let spoilt = ObservationDocument { generated_at_ms: now, ..spoilt };
                let sight = sent(&spoilt, now);
                assert!(matches!(sight, CoreSight::Heard(_)), "{sight:?}");
                assert_eq!(recoveries(&world.notices(sight)), [], "{name} {later}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// One document with `i64::MIN` for a time ended the watchdog, or gave an age of the wrong sign.
    #[test]
    fn no_number_ends_the_watchdog_and_every_text_can_be_told(
        written in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.7, number()), 60), 1..4),
    ) {
        let mut world = World::new();
        world.proc = watched(500);
        for (tick, written) in written.iter().enumerate() {
            let document = changed(&full(), |index, _| written.get(index).copied().flatten());
            world.proc = watched(500 + tick as u64);
            let received_at_ms = world.now + TICK;
            let core = CoreSight::Heard(Arc::new(CoreObservation { document, received_at_ms }));
            for notice in world.notices(core) {
                for locale in Locale::ALL {
                    let voice = Voice { host: "h".into(), runbook_url: None, locale };
                    prop_assert!(text::notice(&notice, &voice).headline.characters() > 0);
                }
            }
        }
    }

    #[test]
    fn an_impossible_time_ends_no_alert(
        written in prop::collection::vec(prop::option::weighted(0.1, number()), 60),
        certain in 0_usize..25,
        absurd in prop_oneof![i64::MIN..0, 253_402_300_800_000..=i64::MAX],
    ) {
        let mut world = TROUBLED.clone();
        let document = changed(&full(), |index, name| match name.ends_with("_ms") && index % 25 == certain {
            true => Some(absurd),
            false => written.get(index).copied().flatten(),
        });
        let sight = sent(&document, world.now);
        prop_assume!(document != changed(&full(), |index, _| written.get(index).copied().flatten()));
        for _ in 0..4 {
            prop_assert_eq!(recoveries(&world.notices(sight.clone())), []);
        }
    }
}

/// A document within its limit that makes more cases than there is memory for.
#[test]
fn a_document_makes_no_more_cases_than_are_kept_and_open_ones_stay() {
    let mut document = orch_tests::documents::idle(NOW);
    let task = |at: usize| orch_contract::OpenTask {
        work_item: format!("ORCH-{at}"),
        repo: "r".into(),
        title: "t".into(),
        stage: "review".into(),
        stage_since_ms: NOW - 30 * HOUR,
        standing: orch_contract::Standing::Waiting,
        cause: None,
        waits_for: Some(orch_contract::WaitsFor { kind: orch_contract::WaitsForKind::Ci, name: "ci".into() }),
        until_ms: None,
    };
    document.tasks = (0..CASES_A_SIGNAL + 500).map(task).collect();
    let core = heard(&document, NOW);
    let observation = Observation { at_ms: NOW, proc: Collected::Off, core, host: Collected::Off };
    let thresholds = thresholds();
    let open = [CaseKey { slot: SignalKind::StageStuck, entity: Entity::Task("ORCH-1400".into()) }];
    let context = Context { open: &open, ..context(&thresholds) };
    let mut states = derive(&observation, &context, &mut Memory::default());
    let active = |states: &[SignalState]| {
        states.iter().filter(|state| matches!(state, SignalState::Active(_))).count()
    };
    assert_eq!(active(&states), CASES_A_SIGNAL + 500, "{:?}", states.first());
    assert_eq!(bound(&open, &mut states), 500);
    assert_eq!(active(&states), CASES_A_SIGNAL);
    let kept = |key: &CaseKey| {
        states.iter().any(|state| matches!(state, SignalState::Active(finding) if finding.key() == *key))
    };
    assert!(kept(&open[0]), "an open case is not taken for ended");
    assert_eq!(bound(&open, &mut states), 0);
}

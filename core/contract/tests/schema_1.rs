//! Schema 1 is frozen: what was once written can always be read, and what is read is always
//! written.
//!
//! One document with every field filled is the measure. Its exact text is a snapshot; its fields
//! are listed in `schema_1.fields`, to which lines may be added and from which none is removed or
//! changed while the major version is 1.

use std::collections::BTreeSet;

use orch_contract::*;
use serde_json::{Value, json};

/// Fields of schema 1 with the kind of their value, one a line.
const FROZEN: &str = include_str!("schema_1.fields");

fn full() -> ObservationDocument {
    let at = 1_790_000_000_000;
    let process = |pid| ProcessRef { pid, start_ticks: 123_456 };
    let gate = |name: &str| GateBlock {
        enabled: true,
        scope: "*".into(),
        running: vec![GateRunning { work_item: "SHOP-1".into(), since_ms: at, timeout_ms: 900_000 }],
        counts: vec![GateCount { verdict: "infra".into(), class: "timeout".into(), total: 2 }],
        skipped_total: 1,
        last_failure: Some(GateFailure {
            work_item: "SHOP-2".into(),
            at_ms: at,
            verdict: "red".into(),
            class: "none".into(),
            summary: format!("{name} failed"),
        }),
    };
    let open = |standing, kind| OpenTask {
        work_item: "SHOP-1".into(),
        repo: "shop".into(),
        title: "Add a basket".into(),
        stage: "review".into(),
        stage_since_ms: at,
        standing,
        cause: Some("the brief needs an approval".into()),
        waits_for: Some(WaitsFor { kind, name: "operator".into() }),
        until_ms: Some(at + 1),
    };
    let tree = |kind| SupervisedTree {
        kind,
        run_id: 7,
        work_item: Some("SHOP-1".into()),
        cookie: "9007199254740993".into(),
        child: Some(process(41)),
        pgid: Some(41),
        sid: Some(40),
        supervisor: Some(process(40)),
        started_at_ms: at,
        timeout_ms: 3_600_000,
        ended_at_ms: Some(at + 2),
        outcome: Some("exit 0".into()),
    };
    ObservationDocument {
        schema_version: SCHEMA_VERSION,
        generated_at_ms: at,
        core: CoreIdentity {
            version: "0.1.0".into(),
            boot_id: "0f0e0d0c".into(),
            pid: 17,
            start_ticks: 4_711,
            started_at_ms: at - 1_000,
            host: "builder".into(),
            state: CoreState::Ready,
        },
        counts: STANDINGS
            .iter()
            .map(|(standing, _)| StageCount { stage: "review".into(), standing: *standing, tasks: 3 })
            .collect(),
        slots: Slots {
            agents_max: 4,
            agents_free: 3,
            repos: vec![RepoSlots { repo: "shop".into(), agents_max: 2, agents_running: 1 }],
        },
        actors: vec![ActorTick { name: "reaper".into(), period_ms: 30_000, last_tick_at_ms: Some(at) }],
        tasks: WAITS
            .iter()
            .zip(STANDINGS.iter().cycle())
            .map(|((kind, _), (standing, _))| open(*standing, *kind))
            .collect(),
        queued_jobs: vec![QueuedJob {
            job_id: 5,
            work_item: "SHOP-3".into(),
            repo: "shop".into(),
            stage: "analysis".into(),
            role: "analyst".into(),
            attempt: 1,
            reason: "all slots are in use".into(),
            queued_at_ms: at,
            not_before_ms: Some(at + 5),
        }],
        running_jobs: vec![RunningJob {
            job_id: 4,
            run_id: 7,
            work_item: "SHOP-1".into(),
            repo: "shop".into(),
            stage: "review".into(),
            role: "reviewer".into(),
            attempt: 2,
            started_at_ms: at,
            last_output_at_ms: Some(at + 1),
            exit_recorded_at_ms: Some(at + 2),
            cost_microusd: Some(1_250_000),
            limit_ms: 3_600_000,
            agent: Some(AgentRun {
                kind: "claude".into(),
                session_id: Some("7372caf1-1d15-40b6-88db-41ab23209fc9".into()),
                model: Some("opus".into()),
                effort: Some("high".into()),
                reserved_microusd: Some(5_000_000),
            }),
        }],
        processes: KINDS.iter().map(|(kind, _)| tree(*kind)).collect(),
        processes_omitted: 1,
        leases: vec![Lease {
            work_item: "SHOP-1".into(),
            repo: "shop".into(),
            edge: "deploy-staging -> deploy".into(),
            fencing: 3,
            acquired_at_ms: at,
            owner: LeaseOwner {
                actor: "monitor".into(),
                core_boot_id: "0f0e0d0c".into(),
                process: process(17),
                alive: Some(true),
            },
        }],
        transition_lease: LeaseBlock {
            enabled: true,
            scope: "*".into(),
            grants_total: 9,
            deferrals_total: 2,
            reclaims_total: LeaseReclaims { dead_boot: 1, dead_owner: 2, forced: 3, overdue: 4 },
            lost_cas_total: 5,
        },
        merge_gate: gate("merge"),
        coverage_gate: gate("coverage"),
        security_gate: gate("security"),
        image_gate: gate("image"),
        staging: gate("staging"),
        reaper: ReaperBlock {
            enabled: true,
            dead_grace_ms: 60_000,
            finalize_grace_ms: 300_000,
            max_running_ms: 14_400_000,
            dead_runs_total: 1,
            unsettled_total: 2,
            overdue_total: 3,
            failures_total: 4,
        },
        reconciler: ReconcilerBlock { enabled: true, woken_total: 1, drift_total: 2, failures_total: 3 },
        webhooks: WebhooksBlock {
            sources: vec![WebhookSource {
                name: "gitea".into(),
                accepted_total: 8,
                duplicate_total: 1,
                refused_total: 2,
                pending: 3,
                last_delivery_at_ms: Some(at),
            }],
        },
        chat: ChatBlock {
            channel: "log".into(),
            up: Some(true),
            pending: 1,
            attempts_total: 2,
            failures_total: 3,
        },
        timeouts: Timeouts {
            entries: vec![TimeoutEntry { key: "ORCH_MERGE_RETEST_TIMEOUT_S".into(), timeout_ms: 900_000 }],
            largest_ms: 3_600_000,
            edge_sum_ms: 5_100_000,
        },
        data_dir: Some(DataDirectory { free_bytes: 1, total_bytes: 2, free_inodes: 3, total_inodes: 4 }),
        budget: Some(BudgetBlock {
            task_limit_microusd: Some(1),
            day_limit_microusd: Some(2),
            hard: true,
            day_spent_microusd: 3,
            day_reserved_microusd: 4,
        }),
    }
}

const STANDINGS: &[(Standing, &str)] = &[
    (Standing::Moving, "moving"),
    (Standing::Waiting, "waiting"),
    (Standing::Held, "held"),
    (Standing::Blocked, "blocked"),
    (Standing::Finished, "finished"),
];

const WAITS: &[(WaitsForKind, &str)] = &[
    (WaitsForKind::Person, "person"),
    (WaitsForKind::Agent, "agent"),
    (WaitsForKind::Ci, "ci"),
    (WaitsForKind::Slot, "slot"),
    (WaitsForKind::Deploy, "deploy"),
    (WaitsForKind::Core, "core"),
];

const KINDS: &[(ProcessKind, &str)] = &[
    (ProcessKind::Agent, "agent"),
    (ProcessKind::Ci, "ci"),
    (ProcessKind::Retest, "retest"),
    (ProcessKind::Coverage, "coverage"),
    (ProcessKind::Security, "security"),
    (ProcessKind::ImageBuild, "image_build"),
    (ProcessKind::Staging, "staging"),
    (ProcessKind::Push, "push"),
    (ProcessKind::Deploy, "deploy"),
    (ProcessKind::DeployHealth, "deploy_health"),
];

const STATES: &[(CoreState, &str)] =
    &[(CoreState::Starting, "starting"), (CoreState::Ready, "ready"), (CoreState::Stopping, "stopping")];

/// Every path of a document with the kind of its value; the places of arrays are one (`[]`).
fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                paths(inner, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            assert!(!items.is_empty(), "{at} is empty: the measure must fill every field");
            for item in items {
                paths(item, &format!("{at}/[]"), found);
            }
        }
        Value::Null => panic!("{at} is null: the measure must fill every field"),
        Value::Bool(_) => drop(found.insert(format!("{at} bool"))),
        Value::Number(_) => drop(found.insert(format!("{at} integer"))),
        Value::String(_) => drop(found.insert(format!("{at} string"))),
    }
}

/// Puts a field that nobody knows into every object.
fn strew(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(strew);
            fields.insert("added_by_a_newer_core".into(), json!({ "x": [1, null] }));
        }
        Value::Array(items) => items.iter_mut().for_each(strew),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Pointers of every place in a document that holds one of our closed lists' words.
fn word_places(value: &Value) -> Vec<String> {
    let arrays = [
        ("/tasks", "/standing"),
        ("/tasks", "/waits_for/kind"),
        ("/processes", "/kind"),
        ("/counts", "/standing"),
    ];
    let mut places = vec!["/core/state".to_owned()];
    for (array, field) in arrays {
        let items = value.pointer(array).and_then(Value::as_array).map_or(0, Vec::len);
        assert!(items > 0, "{array} is empty");
        places.extend((0..items).map(|index| format!("{array}/{index}{field}")));
    }
    places
}

#[test]
fn the_text_of_a_full_document_is_frozen() {
    insta::assert_json_snapshot!(full());
}

#[test]
fn a_document_survives_writing_and_reading() {
    let text = serde_json::to_string(&full()).expect("writes");
    assert_eq!(serde_json::from_str::<ObservationDocument>(&text).expect("reads"), full());
}

#[test]
fn every_field_of_schema_1_is_written() {
    let mut found = BTreeSet::new();
    paths(&serde_json::to_value(full()).expect("writes"), "", &mut found);
    for line in FROZEN.lines().filter(|line| !line.starts_with('#')) {
        assert!(found.contains(line), "schema 1 promises `{line}`");
    }
    let frozen: BTreeSet<String> = FROZEN.lines().map(str::to_owned).collect();
    let added: Vec<&String> = found.difference(&frozen).collect();
    assert!(added.is_empty(), "add these to schema_1.fields, they are promised from now on: {added:#?}");
}

#[test]
fn what_a_newer_core_adds_is_ignored() {
    let mut value = serde_json::to_value(full()).expect("writes");
    strew(&mut value);
    let read: ObservationDocument = serde_json::from_value(value).expect("reads");
    assert_eq!(read, full());
}

#[test]
fn words_of_a_newer_core_are_unknown_and_everything_else_is_still_read() {
    let value = serde_json::to_value(full()).expect("writes");
    for place in word_places(&value) {
        let mut value = value.clone();
        *value.pointer_mut(&place).expect("is there") = json!("a_word_of_tomorrow");
        let read: ObservationDocument = serde_json::from_value(value.clone()).expect("reads");
        let again = serde_json::to_value(&read).expect("writes");
        assert_eq!(again.pointer(&place), Some(&json!("unknown")), "{place}");
        *value.pointer_mut(&place).expect("is there") = json!("unknown");
        assert_eq!(again, value, "{place}: nothing else changed");
    }
}

#[test]
fn what_could_not_be_read_is_absent_and_reads_as_absent() {
    for place in [
        "/data_dir",
        "/chat/up",
        "/tasks/0/cause",
        "/tasks/0/waits_for",
        "/tasks/0/until_ms",
        "/processes/0/child",
        "/processes/0/pgid",
        "/processes/0/supervisor",
        "/processes/0/ended_at_ms",
        "/running_jobs/0/last_output_at_ms",
        "/running_jobs/0/exit_recorded_at_ms",
        "/running_jobs/0/cost_microusd",
        "/leases/0/owner/alive",
        "/actors/0/last_tick_at_ms",
        "/merge_gate/last_failure",
        "/webhooks/sources/0/last_delivery_at_ms",
    ] {
        let mut value = serde_json::to_value(full()).expect("writes");
        *value.pointer_mut(place).expect("is there") = Value::Null;
        let read: ObservationDocument = serde_json::from_value(value.clone()).expect("reads");
        assert_eq!(serde_json::to_value(read).expect("writes"), value, "{place}");
    }
}

#[test]
fn each_word_has_one_text() {
    fn check<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Copy + std::fmt::Debug>(
        words: &[(T, &str)],
    ) {
        for (word, text) in words {
            assert_eq!(serde_json::to_value(word).expect("writes"), *text);
            assert_eq!(serde_json::from_value::<T>(json!(text)).expect("reads"), *word);
        }
    }
    check(STANDINGS);
    check(WAITS);
    check(KINDS);
    check(STATES);
}

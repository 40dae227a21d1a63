//! Thresholds of the signals that are derived from the core's document.

use std::sync::Arc;

use orch_contract::{ActorTick, DataDirectory, OpenTask, QueuedJob, RepoSlots, Standing, WaitsForKind};

use super::stories::{HOUR, queued, room, task};
use super::*;

/// What one fresh document says of a signal.
fn says(signal: SignalKind, document: &ObservationDocument) -> Vec<String> {
    with(signal, document, &thresholds(), &mut Memory::default())
}

fn with(
    signal: SignalKind,
    document: &ObservationDocument,
    thresholds: &Thresholds,
    memory: &mut Memory,
) -> Vec<String> {
    let at_ms = document.generated_at_ms;
    let core = heard(document, at_ms);
    let observation = Observation { at_ms, proc: Collected::Off, core, host: Collected::Off };
    let context = context(thresholds);
    words(&derive(&observation, &context, memory), signal)
}

fn idle() -> ObservationDocument {
    documents::idle(NOW)
}

#[test]
fn a_job_overruns_above_its_share_of_its_own_limit() {
    for (age_ms, limit_ms, percent, expected) in [
        (30 * MINUTE, HOUR, 50, "clear"),
        (30 * MINUTE + 1, HOUR, 50, "agent_overrun warning"),
        (45 * MINUTE, HOUR, 80, "clear"),
        (49 * MINUTE, HOUR, 80, "agent_overrun warning"),
        (99 * HOUR, 0, 50, "clear"),
    ] {
        let mut document = idle();
        document.running_jobs = vec![RunningJob { started_at_ms: NOW - age_ms, limit_ms, ..job() }];
        let thresholds = Thresholds { overrun_percent: percent, ..thresholds() };
        let told = with(SignalKind::AgentOverrun, &document, &thresholds, &mut Memory::default());
        assert_eq!(told, [expected], "{age_ms} of {limit_ms}");
    }
}

#[test]
fn each_stage_has_its_limit_and_the_cores_own_time_outs_raise_it() {
    let told = |stage: &str, age_ms: i64, largest_ms: i64, setting: Option<i64>| {
        let mut document = idle();
        document.timeouts.largest_ms = largest_ms;
        document.tasks =
            vec![OpenTask { stage_since_ms: NOW - age_ms, ..task(stage, Standing::Moving, None) }];
        let thresholds = Thresholds { stage_age_ms: setting, ..thresholds() };
        with(SignalKind::StageStuck, &document, &thresholds, &mut Memory::default()).remove(0)
    };
    let stuck = "stage_stuck warning";
    for (stage, hours) in [
        ("created", 2),
        ("analysis", 2),
        ("architecture", 2),
        ("development", 4),
        ("review", 2),
        ("testing", 2),
        ("deploy-staging", 4),
        ("deploy", 1),
        ("a stage of a newer core", 4),
    ] {
        assert_eq!(told(stage, hours * HOUR, MINUTE, None), "clear", "{stage}");
        assert_eq!(told(stage, hours * HOUR + 1, MINUTE, None), stuck, "{stage}");
        assert_eq!(told(stage, 6 * HOUR, 6 * HOUR, None), "clear", "{stage}");
        assert_eq!(told(stage, 61_000, 6 * HOUR, Some(MINUTE)), stuck, "{stage}: the setting decides");
    }
    // idle() publishes half an hour along the edge
    assert_eq!(told("deploy-staging", 6 * HOUR + 30 * MINUTE, 6 * HOUR, None), "clear");
    assert_eq!(told("deploy-staging", 6 * HOUR + 31 * MINUTE, 6 * HOUR, None), stuck);
}

#[test]
fn a_task_that_waits_for_a_person_is_never_stuck_and_each_other_one_never_waits_for_approval() {
    use Standing::{Blocked, Finished, Held, Moving, Unknown, Waiting};
    let (stuck, approval) = ("stage_stuck warning", "approval_waiting info");
    for (standing, who, told) in [
        (Moving, None, [stuck, "clear"]),
        (Moving, Some(WaitsForKind::Agent), [stuck, "clear"]),
        (Waiting, Some(WaitsForKind::Ci), [stuck, "clear"]),
        (Waiting, Some(WaitsForKind::Slot), [stuck, "clear"]),
        (Waiting, Some(WaitsForKind::Deploy), [stuck, "clear"]),
        (Held, Some(WaitsForKind::Core), [stuck, "clear"]),
        (Waiting, Some(WaitsForKind::Person), ["clear", approval]),
        (Blocked, Some(WaitsForKind::Person), ["clear", approval]),
        (Blocked, None, ["clear", approval]),
        (Waiting, Some(WaitsForKind::Unknown), ["held", "held"]),
        (Unknown, None, ["held", "held"]),
        (Finished, None, ["clear", "clear"]),
    ] {
        let mut document = idle();
        document.tasks = vec![task("review", standing, who)];
        let found = [SignalKind::StageStuck, SignalKind::ApprovalWaiting]
            .map(|signal| says(signal, &document).remove(0));
        assert_eq!(found, told, "{standing:?} {who:?}");
    }
}

#[test]
fn a_persons_time_begins_when_the_task_was_last_seen_to_wait_for_somebody_else() {
    let at = |now: i64, who| {
        let mut document = documents::idle(now);
        document.tasks = vec![task("review", Standing::Waiting, Some(who))];
        document
    };
    let mut memory = Memory::default();
    let mut told =
        |now, who| with(SignalKind::ApprovalWaiting, &at(now, who), &thresholds(), &mut memory).remove(0);
    assert_eq!(told(NOW, WaitsForKind::Ci), "clear");
    assert_eq!(told(NOW + MINUTE, WaitsForKind::Person), "clear", "25 h in the stage, a minute of waiting");
    assert_eq!(told(NOW + 24 * HOUR, WaitsForKind::Person), "clear");
    assert_eq!(told(NOW + 24 * HOUR + 1, WaitsForKind::Person), "approval_waiting info");
    assert_eq!(told(NOW + 25 * HOUR, WaitsForKind::Agent), "clear");
    assert_eq!(told(NOW + 26 * HOUR, WaitsForKind::Person), "clear", "it begins anew");
}

#[test]
fn a_queue_stalls_only_by_jobs_that_could_run_and_only_while_slots_are_free() {
    let old = NOW - 6 * MINUTE;
    let stalled = "queue_stalled warning";
    let full = RepoSlots { repo: "sample".into(), agents_max: 2, agents_running: 2 };
    let roomy = RepoSlots { agents_running: 1, ..full.clone() };
    let later = |at| QueuedJob { not_before_ms: Some(at), ..queued(3, old) };
    for (jobs, free, repos, expected) in [
        (vec![queued(3, old)], 1, vec![roomy.clone()], stalled),
        (vec![queued(3, old)], 1, vec![], stalled),
        (vec![queued(3, old)], 0, vec![roomy.clone()], "clear"),
        (vec![queued(3, old)], 1, vec![full], "clear"),
        (vec![queued(3, NOW - 5 * MINUTE)], 1, vec![roomy.clone()], "clear"),
        (vec![later(NOW + 1)], 1, vec![roomy.clone()], "clear"),
        (vec![later(NOW - MINUTE)], 1, vec![roomy.clone()], "clear"),
        (vec![later(NOW - MINUTE), queued(4, old)], 1, vec![roomy], stalled),
        (vec![], 4, vec![], "clear"),
    ] {
        let mut document = idle();
        document.queued_jobs = jobs;
        document.slots.agents_free = free;
        document.slots.repos = repos;
        let told = says(SignalKind::QueueStalled, &document);
        assert_eq!(told, [expected], "{:?} {:?}", document.queued_jobs, document.slots);
        document.core.state = CoreState::Stopping;
        assert_eq!(says(SignalKind::QueueStalled, &document), ["all held"]);
    }
}

#[test]
fn a_disk_is_low_by_bytes_or_inodes_and_never_by_what_is_not_counted() {
    let low = "disk_low warning";
    let uncounted = DataDirectory { total_inodes: 0, ..room(50, 0) };
    for (found, expected) in [
        (Some(room(50, 50)), "clear"),
        (Some(room(49, 50)), low),
        (Some(room(50, 49)), low),
        (Some(room(0, 0)), low),
        (Some(uncounted), "clear"),
        (None, "all held"),
    ] {
        let mut document = idle();
        document.data_dir = found;
        assert_eq!(says(SignalKind::DiskLow, &document), [expected], "{found:?}");
    }
}

fn actor(period_ms: i64, last_tick_at_ms: Option<i64>) -> ActorTick {
    ActorTick { name: "reaper".into(), period_ms, last_tick_at_ms }
}

#[test]
fn an_actor_is_late_after_two_of_its_periods_and_never_within_half_a_minute() {
    let late = "core_degraded warning";
    // idle() is up for a minute
    for (actor, expected) in [
        (actor(30_000, Some(NOW - 60_000)), "clear"),
        (actor(30_000, Some(NOW - 60_001)), late),
        (actor(1_000, Some(NOW - 30_000)), "clear"),
        (actor(1_000, Some(NOW - 30_001)), late),
        (actor(30_000, None), "clear"),
        (actor(1_000, None), late),
    ] {
        let mut document = idle();
        document.actors = vec![actor];
        let told = says(SignalKind::CoreDegraded, &document);
        assert_eq!(told, [expected], "{:?}", document.actors);
        for state in [CoreState::Starting, CoreState::Stopping] {
            document.core.state = state;
            assert_eq!(says(SignalKind::CoreDegraded, &document), ["all held"], "{state:?}");
        }
    }
}

/// Polls of one core: (our time, its time) in seconds from now; what is wrong by the last.
fn polls(times: &[(i64, i64)], periods_ms: &[i64]) -> Vec<DegradedCause> {
    let mut memory = Memory::default();
    let mut causes = Vec::new();
    for (ours, its) in times {
        let mut document = documents::idle(NOW + its * 1_000);
        document.actors =
            periods_ms.iter().map(|period| actor(*period, Some(document.generated_at_ms))).collect();
        let received_at_ms = NOW + ours * 1_000;
        let core = CoreSight::Heard(Arc::new(CoreObservation { document, received_at_ms }));
        let observation =
            Observation { at_ms: received_at_ms, proc: Collected::Off, core, host: Collected::Off };
        let states = tick(&observation, &mut memory, None, &[], &owned);
        causes = states.iter().find_map(causes_of).unwrap_or_default();
    }
    causes
}

fn causes_of(state: &SignalState) -> Option<Vec<DegradedCause>> {
    match state {
        SignalState::Active(Finding { facts: Facts::CoreDegraded(facts), .. }) => Some(facts.causes.clone()),
        _ => None,
    }
}

#[test]
fn a_skewed_clock_and_an_old_document_are_told_apart() {
    let skew = |ahead_s: i64| DegradedCause::ClockSkew { ahead_ms: ahead_s * 1_000, limit_ms: 30_000 };
    let stale = |age_s: i64, limit_s: i64| DegradedCause::StaleDocument {
        age_ms: age_s * 1_000,
        limit_ms: limit_s * 1_000,
    };
    assert_eq!(polls(&[(0, 30), (15, 45)], &[]), []);
    assert_eq!(polls(&[(0, 31), (15, 46)], &[]), [skew(31)]);
    assert_eq!(polls(&[(0, -31), (15, -16)], &[]), [skew(-31)]);
    assert_eq!(polls(&[(0, 0), (15, 0), (30, 0)], &[]), []);
    assert_eq!(polls(&[(0, 0), (15, 0), (31, 0)], &[]), [stale(31, 30)], "and no skew");
    assert_eq!(polls(&[(0, 0), (31, 0)], &[20_000, 60_000]), [], "two periods of the fastest actor");
    assert_eq!(polls(&[(0, 0), (41, 0)], &[20_000, 60_000]), [stale(41, 40)]);
    assert_eq!(polls(&[(0, 0), (60, 0), (75, 75)], &[]), [], "a new document ends it");
    assert_eq!(polls(&[(0, 99), (40, 99)], &[]), [stale(40, 30), skew(99)], "both at once");
}

#[test]
fn another_schema_is_a_degraded_core_and_neither_down_nor_a_shut_eye() {
    let core = CoreSight::OtherSchema(2);
    let observation = Observation { at_ms: NOW, proc: Collected::Off, core, host: Collected::Off };
    let states = tick(&observation, &mut Memory::default(), None, &[], &owned);
    assert_eq!(words(&states, SignalKind::CoreDegraded), ["core_degraded warning"]);
    assert_eq!(words(&states, SignalKind::CoreDown), ["clear"]);
    assert_eq!(words(&states, SignalKind::CollectorUnavailable), ["clear", "held", "clear"]);
    let causes = states.iter().find_map(causes_of).unwrap();
    assert_eq!(causes, [DegradedCause::OtherSchema { found: 2, known: orch_contract::SCHEMA_VERSION }]);
}

#[test]
fn a_core_that_publishes_no_sum_of_time_outs_has_no_lease_too_old() {
    let mut document = idle();
    document.timeouts.edge_sum_ms = 0;
    document.leases = vec![Lease {
        work_item: "ORCH-1".into(),
        repo: "sample".into(),
        edge: "review -> merge".into(),
        fencing: 4,
        acquired_at_ms: NOW - HOUR,
        owner: LeaseOwner {
            actor: "monitor".into(),
            core_boot_id: documents::BOOT_ID.into(),
            process: ProcessRef { pid: 1, start_ticks: 1 },
            alive: Some(true),
        },
    }];
    assert_eq!(says(SignalKind::LeaseStale, &document), ["clear"]);
}

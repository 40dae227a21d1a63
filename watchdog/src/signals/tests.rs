//! `derive` over small worlds: one story a rule.

use std::sync::Arc;

use orch_contract::{
    CoreState, Lease, LeaseOwner, ObservationDocument, ProcessKind, ProcessRef, RunningJob, SupervisedTree,
};
use orch_tests::documents;

use super::*;
use crate::observe::{Collected, Cookie, Lineage, ProcObservation, ProcessKey, RunUse, View};

const NOW: i64 = 1_700_000_000_000;
const MINUTE: i64 = 60_000;

fn thresholds() -> Thresholds {
    Thresholds {
        proc_age_ms: 60 * MINUTE,
        orphan_grace_ms: 30_000,
        foreign_grace_ms: 30 * MINUTE,
        agent_silent_ms: 15 * MINUTE,
        lease_age_ms: None,
        overrun_percent: 50,
        stage_age_ms: None,
        approval_age_ms: 24 * 60 * MINUTE,
        queue_age_ms: 5 * MINUTE,
        cpu_starved_percent: 60,
        disk_low_percent: 5,
        delivery_age_ms: 5 * MINUTE,
        unsaved_age_ms: MINUTE,
        core_down_polls: 3,
        disabled: Vec::new(),
    }
}

fn family(pid: i32) -> Family {
    Family {
        key: ProcessKey { host_boot_id: "boot".into(), pid, start_ticks: 1 },
        command: "pytest -q".into(),
        matched_by: "pytest".into(),
        members: Vec::new(),
        root_alive: true,
        started_at_ms: NOW - MINUTE,
        awake_age_ms: MINUTE,
        cpu_ms: 0,
        cpu_share: Some(0.0),
        rss_bytes: 0,
        container: None,
        lineage: Lineage::Main,
        cookie: Cookie::None,
        supervisor: crate::observe::Supervisor::Absent,
        core_linked: true,
        stop: None,
    }
}

fn proc(families: Vec<Family>, runs: Vec<RunUse>) -> Collected<ProcObservation> {
    Collected::Fresh(ProcObservation {
        host_boot_id: "boot".into(),
        families,
        unseen: Vec::new(),
        runs,
        missing_runs: Vec::new(),
        view: crate::observe::View { host: true, first_start_ticks: Some(1) },
        listed: 9,
        readable: 9,
    })
}

fn heard(document: &ObservationDocument, at_ms: i64) -> CoreSight {
    let document = ObservationDocument { generated_at_ms: at_ms, ..document.clone() };
    CoreSight::Heard(Arc::new(CoreObservation { document, received_at_ms: at_ms }))
}

/// The state is on its disk.
const SAVED: Saving = Saving { fault: None, proven: true };

/// Nothing was heard, nothing is open, nothing waits, and every family is owned.
fn context(thresholds: &Thresholds) -> Context<'_> {
    Context { last_heard: None, open: &[], channels: &[], saving: &SAVED, thresholds, judge: &owned }
}

/// One tick; ownership is whatever `judge` says.
fn tick(
    observation: &Observation,
    memory: &mut Memory,
    last_heard: Option<&CoreObservation>,
    open: &[CaseKey],
    judge: &Judge<'_>,
) -> Vec<SignalState> {
    let thresholds = thresholds();
    derive(observation, &Context { last_heard, open, judge, ..context(&thresholds) }, memory)
}

fn owned(_: &Family, _: CoreWord<'_>) -> Judged {
    Judged { ownership: Ownership::Owned, evidence: Vec::new() }
}

fn as_is(ownership: Ownership) -> impl Fn(&Family, CoreWord<'_>) -> Judged {
    move |_, _| Judged { ownership, evidence: vec![Evidence::NoCookie] }
}

/// The judge of the real world in small: the document ends runs, and silence means nobody knows.
fn by_document(family: &Family, core: CoreWord<'_>) -> Judged {
    let ownership = match (core, family.cookie) {
        (CoreWord::Document(document), Cookie::Run(cookie)) => {
            let tree = document.processes.iter().find(|tree| tree.cookie == cookie.to_string());
            match tree.map(|tree| tree.ended_at_ms) {
                Some(None) => Ownership::Owned,
                Some(Some(_)) | None => Ownership::Orphan,
            }
        }
        (CoreWord::Document(_), Cookie::None | Cookie::Unreadable) => Ownership::Foreign,
        (CoreWord::Silent | CoreWord::Off, _) => Ownership::OwnerUnknown,
    };
    Judged { ownership, evidence: Vec::new() }
}

fn words(states: &[SignalState], slot: SignalKind) -> Vec<String> {
    let word = |state: &SignalState| match state {
        SignalState::Active(finding) if finding.signal.slot() == slot => {
            Some(format!("{} {}", finding.signal.name(), finding.severity.name()))
        }
        SignalState::Clear { key, .. } if key.slot == slot => Some("clear".to_owned()),
        SignalState::Gone { key, how } if key.slot == slot => Some(format!("gone: {how:?}")),
        SignalState::Held { scope: HeldScope::Slot(held), .. } if *held == slot => {
            Some("all held".to_owned())
        }
        SignalState::Held { scope: HeldScope::Case(key), .. } if key.slot == slot => Some("held".to_owned()),
        SignalState::Active(_)
        | SignalState::Clear { .. }
        | SignalState::Gone { .. }
        | SignalState::Held { .. } => None,
    };
    states.iter().filter_map(word).collect()
}

fn of_processes(families: Vec<Family>, at_ms: i64, memory: &mut Memory, judge: &Judge<'_>) -> Vec<String> {
    let core = heard(&documents::idle(at_ms), at_ms);
    let observation = Observation { at_ms, proc: proc(families, Vec::new()), core, host: Collected::Off };
    words(&tick(&observation, memory, None, &[], judge), SignalKind::ProcBlocking)
}

#[test]
fn an_owned_young_family_is_clear_and_an_old_one_blocks() {
    let mut memory = Memory::default();
    assert_eq!(of_processes(vec![family(5)], NOW, &mut memory, &owned), ["clear"]);
    let old = Family { awake_age_ms: 61 * MINUTE, ..family(5) };
    assert_eq!(of_processes(vec![old], NOW, &mut memory, &owned), ["proc_blocking warning"]);
}

#[test]
fn an_orphan_is_held_for_its_grace_then_told_and_spinning_is_critical() {
    let mut memory = Memory::default();
    let judge = as_is(Ownership::Orphan);
    let spinning = || Family { cpu_share: Some(1.0), ..family(5) };
    assert_eq!(of_processes(vec![family(5)], NOW, &mut memory, &judge), ["held"]);
    assert_eq!(of_processes(vec![family(5)], NOW + 29_999, &mut memory, &judge), ["held"]);
    assert_eq!(of_processes(vec![family(5)], NOW + 30_000, &mut memory, &judge), ["proc_orphaned warning"]);
    assert_eq!(of_processes(vec![spinning()], NOW + 45_000, &mut memory, &judge), ["proc_orphaned critical"]);
}

#[test]
fn an_orphan_that_turns_out_to_be_owned_begins_its_grace_anew() {
    let mut memory = Memory::default();
    let orphan = as_is(Ownership::Orphan);
    of_processes(vec![family(5)], NOW, &mut memory, &orphan);
    assert_eq!(of_processes(vec![family(5)], NOW + 20_000, &mut memory, &owned), ["clear"]);
    assert_eq!(of_processes(vec![family(5)], NOW + 40_000, &mut memory, &orphan), ["held"]);
}

#[test]
fn a_foreign_orphan_must_also_be_old() {
    let mut memory = Memory::default();
    let judge = as_is(Ownership::Foreign);
    of_processes(vec![family(5)], NOW, &mut memory, &judge);
    assert_eq!(of_processes(vec![family(5)], NOW + MINUTE, &mut memory, &judge), ["held"]);
    let old = Family { awake_age_ms: 30 * MINUTE, ..family(5) };
    assert_eq!(of_processes(vec![old], NOW + 2 * MINUTE, &mut memory, &judge), ["proc_orphaned warning"]);
}

#[test]
fn an_unknown_cpu_use_is_waited_for_but_not_for_ever() {
    let mut memory = Memory::default();
    let judge = as_is(Ownership::Orphan);
    let unknown = || Family { cpu_share: None, ..family(5) };
    of_processes(vec![unknown()], NOW, &mut memory, &judge);
    assert_eq!(of_processes(vec![unknown()], NOW + 30_000, &mut memory, &judge), ["held"]);
    assert_eq!(of_processes(vec![unknown()], NOW + MINUTE, &mut memory, &judge), ["proc_orphaned warning"]);
}

#[test]
fn an_unknown_owner_recovers_nothing_and_blocks_by_age_alone() {
    let mut memory = Memory::default();
    let judge = as_is(Ownership::OwnerUnknown);
    assert_eq!(of_processes(vec![family(5)], NOW, &mut memory, &judge), ["held"]);
    let old = Family { awake_age_ms: 61 * MINUTE, ..family(5) };
    assert_eq!(of_processes(vec![old], NOW, &mut memory, &judge), ["proc_blocking warning"]);
}

#[test]
fn processes_that_could_not_be_looked_at_are_held() {
    for unseen in [Collected::Unavailable("hidepid".to_owned()), Collected::Off] {
        let core = heard(&documents::idle(NOW), NOW);
        let observation = Observation { at_ms: NOW, proc: unseen, core, host: Collected::Off };
        let states = tick(&observation, &mut Memory::default(), None, &[], &owned);
        assert_eq!(words(&states, SignalKind::ProcBlocking), ["all held"]);
    }
}

#[test]
fn families_of_an_earlier_boot_ended_with_it() {
    let key = CaseKey {
        slot: SignalKind::ProcBlocking,
        entity: Entity::Family(ProcessKey { host_boot_id: "earlier".into(), pid: 5, start_ticks: 1 }),
    };
    let core = heard(&documents::idle(NOW), NOW);
    let observation =
        Observation { at_ms: NOW, proc: proc(Vec::new(), Vec::new()), core, host: Collected::Off };
    let states = tick(&observation, &mut Memory::default(), None, &[key], &owned);
    assert_eq!(words(&states, SignalKind::ProcBlocking), ["gone: HostRestarted"]);
}

#[test]
fn a_silent_core_owns_nothing_for_sure_but_a_run_that_had_ended_stays_ended() {
    let mut document = documents::idle(NOW);
    document.processes = vec![tree(1, 77, None), tree(2, 78, Some(NOW - MINUTE))];
    let CoreSight::Heard(last) = heard(&document, NOW) else { panic!() };
    let of_run = |pid, cookie| Family { cookie: Cookie::Run(cookie), ..family(pid) };
    let mut memory = Memory::default();
    let mut at = |at_ms| {
        let families = vec![of_run(5, 77), of_run(6, 78), family(7)];
        let core = CoreSight::Down("refused".into());
        let observation = Observation { at_ms, proc: proc(families, Vec::new()), core, host: Collected::Off };
        tick(&observation, &mut memory, Some(&last), &[], &by_document)
    };
    at(NOW);
    let states = at(NOW + MINUTE);
    assert_eq!(words(&states, SignalKind::ProcBlocking), ["held", "proc_orphaned warning", "held"]);
    let SignalState::Active(finding) =
        states.iter().find(|state| matches!(state, SignalState::Active(_))).unwrap()
    else {
        panic!()
    };
    let Facts::Process(facts) = &finding.facts else { panic!() };
    assert!(facts.evidence.contains(&Evidence::EndedByLastWord { age_s: 60 }), "{facts:?}");
}

fn tree(run_id: i64, cookie: u64, ended_at_ms: Option<i64>) -> SupervisedTree {
    SupervisedTree {
        kind: ProcessKind::Agent,
        run_id,
        work_item: Some("ORCH-1".into()),
        cookie: cookie.to_string(),
        child: None,
        pgid: None,
        sid: None,
        supervisor: None,
        started_at_ms: NOW - 60 * MINUTE,
        timeout_ms: 120 * MINUTE,
        ended_at_ms,
        outcome: None,
    }
}

fn job() -> RunningJob {
    RunningJob {
        job_id: 3,
        run_id: 1,
        work_item: "ORCH-1".into(),
        repo: "sample".into(),
        stage: "development".into(),
        role: "developer".into(),
        attempt: 1,
        started_at_ms: NOW - 30 * MINUTE,
        last_output_at_ms: Some(NOW - 5 * MINUTE),
        exit_recorded_at_ms: None,
        cost_microusd: None,
        limit_ms: 120 * MINUTE,
        agent: None,
    }
}

/// Ticks a minute apart; each gives the CPU that the run's processes have used so far, or `None`
/// when there are none.
fn job_story(job: &RunningJob, cpu_ms: &[Option<u64>]) -> Vec<Vec<String>> {
    let mut document = documents::idle(NOW);
    document.running_jobs = vec![job.clone()];
    document.processes = vec![tree(1, 77, None)];
    let mut memory = Memory::default();
    let mut told = Vec::new();
    for (minute, cpu_ms) in (0..).zip(cpu_ms) {
        let at_ms = NOW + minute * MINUTE;
        let runs = cpu_ms.map(|cpu_ms| RunUse { cookie: 77, processes: 2, cpu_ms });
        let core = heard(&document, at_ms);
        let CoreSight::Heard(last) = core.clone() else { panic!() };
        let observation = Observation {
            at_ms,
            proc: proc(Vec::new(), runs.into_iter().collect()),
            core,
            host: Collected::Off,
        };
        let states = tick(&observation, &mut memory, Some(&last), &[], &owned);
        told.push(words(&states, SignalKind::AgentHung));
    }
    told
}

#[test]
fn a_job_hangs_when_it_is_silent_and_idle_over_the_whole_time() {
    let idle: Vec<_> = (0..25).map(|_| Some(500)).collect();
    let told = job_story(&job(), &idle);
    assert_eq!(told[9], ["clear"], "silent for 14 minutes");
    assert_eq!(told[10], ["held"], "silent, but its CPU was watched for 10 minutes only");
    assert_eq!(told[15], ["agent_hung critical"]);
}

/// A run that died while no watchdog ran was told by nobody: only what was seen could be gone.
#[test]
fn a_run_that_was_never_seen_is_gone_when_its_core_is_here_and_nothing_of_it_is() {
    let mut document = documents::idle(NOW);
    document.running_jobs = vec![job()];
    document.processes = vec![tree(1, 77, None)];
    document.reaper.dead_grace_ms = 2 * MINUTE;
    let mut memory = Memory::default();
    let mut at = |minute: i64, missing: bool| {
        let at_ms = NOW + minute * MINUTE;
        let core = heard(&document, at_ms);
        let CoreSight::Heard(last) = core.clone() else { panic!() };
        let Collected::Fresh(seen) = proc(Vec::new(), Vec::new()) else { panic!() };
        let missing_runs = missing.then_some(77).into_iter().collect();
        let proc = Collected::Fresh(ProcObservation { missing_runs, ..seen });
        let observation = Observation { at_ms, proc, core, host: Collected::Off };
        words(&tick(&observation, &mut memory, Some(&last), &[], &owned), SignalKind::AgentHung)
    };
    assert_eq!(at(0, false), ["clear"], "it may live where nobody can look");
    assert_eq!(at(1, true), ["held"], "the reaper's time");
    assert_eq!(at(3, true), ["held"]);
    assert_eq!(at(4, true), ["agent_hung critical"]);
}

#[test]
fn a_silent_job_that_computes_does_not_hang() {
    let busy: Vec<_> = (0..40).map(|minute| Some(minute * 30_000)).collect();
    assert_eq!(job_story(&job(), &busy)[39], ["clear"]);
}

#[test]
fn a_restart_of_the_watchdog_keeps_the_watched_time() {
    let mut memory = Memory::default();
    let observation = |at_ms| {
        let runs = vec![RunUse { cookie: 77, processes: 2, cpu_ms: 500 }];
        Observation { at_ms, proc: proc(Vec::new(), runs), core: CoreSight::Off, host: Collected::Off }
    };
    memory.observe(&observation(NOW), 15 * MINUTE);
    let text = serde_json::to_string(&memory).unwrap();
    let mut memory: Memory = serde_json::from_str(&text).unwrap();
    memory.observe(&observation(NOW + 20 * MINUTE), 15 * MINUTE);
    assert_eq!(memory.cpu_over(77, NOW + 20 * MINUTE, 15 * MINUTE), Some((0, 20 * MINUTE)));
}

#[test]
fn a_run_that_another_view_saw_is_neither_gone_nor_idle_in_this_one() {
    let mut memory = Memory::default();
    let mut seen = |minute: i64, processes: u32, view: View| {
        let runs = (processes > 0).then_some(RunUse { cookie: 77, processes, cpu_ms: 500 });
        let Collected::Fresh(whole) = proc(Vec::new(), runs.into_iter().collect()) else { panic!() };
        let at_ms = NOW + minute * MINUTE;
        let proc = Collected::Fresh(ProcObservation { view, ..whole });
        memory.observe(&Observation { at_ms, proc, core: CoreSight::Off, host: Collected::Off }, 15 * MINUTE);
        (memory.gone_since(77), memory.cpu_over(77, at_ms, 15 * MINUTE))
    };
    let host = View { host: true, first_start_ticks: Some(1) };
    let inside = View { host: false, first_start_ticks: Some(500) };
    seen(0, 2, host);
    assert_eq!(seen(20, 0, inside), (None, None), "it may live where this view does not reach");
    assert_eq!(seen(21, 0, host).0, Some(NOW + 21 * MINUTE));
    seen(22, 2, inside);
    assert_eq!(seen(23, 0, inside).0, Some(NOW + 23 * MINUTE), "seen here, it is gone from here");
}

#[test]
fn a_job_whose_run_is_gone_is_told_beyond_the_reapers_grace_only() {
    let told = job_story(&job(), &[Some(10), None, None, None]);
    assert_eq!(told, [vec!["clear"], vec!["held"], vec!["agent_hung critical"], vec!["agent_hung critical"]]);
    let settled = RunningJob { exit_recorded_at_ms: Some(NOW), ..job() };
    assert_eq!(job_story(&settled, &[Some(10), None, None])[2], ["clear"], "it is being settled");
}

#[test]
fn a_run_never_seen_is_not_gone() {
    let told = job_story(&RunningJob { last_output_at_ms: Some(NOW), ..job() }, &[None; 5]);
    assert_eq!(told[4], ["clear"]);
}

fn starting() -> ObservationDocument {
    let mut document = documents::idle(NOW);
    document.core.state = CoreState::Starting;
    document
}

fn lease(owner_boot: &str, alive: Option<bool>, age_ms: i64) -> Vec<String> {
    let mut document = documents::idle(NOW);
    document.leases = vec![Lease {
        work_item: "ORCH-1".into(),
        repo: "sample".into(),
        edge: "review -> merge".into(),
        fencing: 4,
        acquired_at_ms: NOW - age_ms,
        owner: LeaseOwner {
            actor: "monitor".into(),
            core_boot_id: owner_boot.into(),
            process: ProcessRef { pid: 1, start_ticks: 1 },
            alive,
        },
    }];
    let observation =
        Observation { at_ms: NOW, proc: Collected::Off, core: heard(&document, NOW), host: Collected::Off };
    words(&tick(&observation, &mut Memory::default(), None, &[], &owned), SignalKind::LeaseStale)
}

#[test]
fn a_lease_is_stale_by_its_owners_death_or_beyond_the_sum_of_timeouts() {
    let own = documents::BOOT_ID;
    assert_eq!(lease(own, Some(true), MINUTE), ["clear"]);
    assert_eq!(lease(own, None, MINUTE), ["clear"], "not told is not dead");
    assert_eq!(lease("another", Some(true), MINUTE), ["lease_stale critical"]);
    assert_eq!(lease(own, Some(false), MINUTE), ["lease_stale critical"]);
    assert_eq!(lease(own, Some(true), 31 * MINUTE), ["lease_stale critical"]);
}

#[test]
fn what_the_core_cannot_tell_now_is_held() {
    for core in [
        heard(&starting(), NOW),
        CoreSight::Starting,
        CoreSight::Down("x".into()),
        CoreSight::Unreadable("x".into()),
    ] {
        let observation = Observation { at_ms: NOW, proc: Collected::Off, core, host: Collected::Off };
        let states = tick(&observation, &mut Memory::default(), None, &[], &owned);
        assert_eq!(words(&states, SignalKind::LeaseStale), ["all held"]);
        assert_eq!(words(&states, SignalKind::AgentHung), ["all held"]);
    }
}

#[test]
fn a_core_is_down_without_a_usable_answer_and_only_a_usable_one_ends_it() {
    for (core, down, unavailable) in [
        (heard(&documents::idle(NOW), NOW), "clear", "clear"),
        (heard(&starting(), NOW), "all held", "held"),
        (CoreSight::Starting, "all held", "held"),
        (CoreSight::OtherSchema(2), "clear", "held"),
        (CoreSight::Down("x".into()), "core_down critical", "held"),
        (CoreSight::Unreadable("x".into()), "core_down critical", "held"),
        (CoreSight::Off, "all held", "clear"),
    ] {
        let observation = Observation { at_ms: NOW, proc: Collected::Off, core, host: Collected::Off };
        let states = tick(&observation, &mut Memory::default(), None, &[], &owned);
        assert_eq!(words(&states, SignalKind::CoreDown), [down], "{:?}", observation.core);
        assert_eq!(words(&states, SignalKind::CollectorUnavailable), ["clear", unavailable, "clear"]);
    }
}

#[test]
fn a_signal_that_was_switched_off_ends_its_cases() {
    let key = CaseKey { slot: SignalKind::CoreDown, entity: Entity::Core };
    let thresholds = Thresholds { disabled: vec![SignalKind::CoreDown], ..thresholds() };
    let observation = Observation {
        at_ms: NOW,
        proc: Collected::Off,
        core: CoreSight::Down("x".into()),
        host: Collected::Off,
    };
    let open = [key];
    let context = Context { open: &open, ..context(&thresholds) };
    let states = derive(&observation, &context, &mut Memory::default());
    assert_eq!(words(&states, SignalKind::CoreDown), ["gone: SwitchedOff"]);
}

mod answers;
mod changes;
mod extremes;
mod host;
mod outage;
mod pipeline;
mod stories;

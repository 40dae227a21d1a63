//! The journal: intent, done, void; grants grow only when the last one is settled.

use super::*;
use crate::domain::{
    coverage::LineCounts,
    effect::EffectKind,
    verdict::{GateKind, InfraClass, Verdict},
};

async fn intent(store: &Store, proof: &LeaseProof, revision: &str, proven_absent: bool) -> IntentWrite {
    store.write_intent(proof, EffectKind::Merge, revision.into(), proven_absent, 10).await.unwrap()
}

fn opened(intent: &IntentWrite, expected_fresh: bool) -> i64 {
    match intent {
        IntentWrite::Open { id, fresh } => {
            assert_eq!(*fresh, expected_fresh);
            *id
        }
        IntentWrite::Done(_) | IntentWrite::Fenced => panic!("{intent:?}"),
    }
}

#[tokio::test]
async fn an_effect_is_granted_once_and_again_only_when_proven_absent() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let store = &fixture.store;
    let proof = granted(store, row.id).await;
    let first = opened(&intent(store, &proof, "r", false).await, true);
    assert_eq!(opened(&intent(store, &proof, "r", false).await, false), first, "the same try goes on");
    let merged = Event::Merged { revision: "m".into() };
    assert!(
        store
            .effect_done(&proof, first, Actor::Monitor, "merged as m".into(), vec![merged], 20)
            .await
            .unwrap()
    );
    assert_eq!(intent(store, &proof, "r", false).await, IntentWrite::Done("merged as m".into()));
    // done twice changes nothing: no second event
    let again = Event::Merged { revision: "other".into() };
    assert!(store.effect_done(&proof, first, Actor::Monitor, "x".into(), vec![again], 21).await.unwrap());
    assert_eq!(store.task_by_id(row.id).await.unwrap().unwrap().task.merged.as_deref(), Some("m"));
    let second = opened(&intent(store, &proof, "r", true).await, true);
    assert!(store.effect_void(&proof, second, "proven not done".into(), 30).await.unwrap());
    let third = opened(&intent(store, &proof, "r", false).await, true);
    let rows = store.effects_of(row.id).await.unwrap();
    let grants: Vec<(i64, &str)> = rows.iter().map(|row| (row.grant_number, row.state.as_str())).collect();
    assert_eq!(grants, [(1, "done"), (2, "void"), (3, "intent")]);
    assert_eq!(store.open_intents().await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>(), [third]);
    opened(&intent(store, &proof, "another revision", false).await, true);
    // what is settled stays settled
    assert!(store.effect_void(&proof, first, "w".into(), 40).await.unwrap());
    assert_eq!(store.effects_of(row.id).await.unwrap()[0].state, "done");
}

#[tokio::test]
async fn an_open_intent_of_the_last_life_is_found_and_taken_over() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let proof = granted(&fixture.store, row.id).await;
    let id = opened(&intent(&fixture.store, &proof, "r", false).await, true);
    let next = fixture.next_life("second");
    assert_eq!(next.open_intents().await.unwrap()[0].id, id);
    let proof = granted(&next, row.id).await;
    assert_eq!(opened(&intent(&next, &proof, "r", false).await, false), id, "nothing is believed undone");
    let boot: String =
        fixture.raw().query_row("SELECT boot_id FROM effect WHERE id = ?1", [id], |row| row.get(0)).unwrap();
    assert_eq!(boot, "second");
}

#[tokio::test]
async fn only_a_pass_of_exactly_this_candidate_and_configuration_is_reused() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let other = fixture.task(2).await;
    let gate = |verdict: Verdict| GateWrite {
        task: row.id,
        gate: GateKind::Retest,
        verdict,
        head: "h".into(),
        base: "b".into(),
        configuration: "pytest".into(),
        started_at_ms: 1,
        ended_at_ms: 2,
        run: None,
    };
    let stored = |task, gate, head: &str, base: &str, configuration: &str| {
        fixture.store.stored_pass(task, gate, head.into(), base.into(), configuration.into())
    };
    for verdict in [
        Verdict::Red { findings: vec!["f".into()] },
        Verdict::Infra { class: InfraClass::Timeout, detail: "d".into() },
        Verdict::Skipped { why: "w".into() },
    ] {
        fixture.store.record_gate(gate(verdict)).await.unwrap();
        assert_eq!(stored(row.id, GateKind::Retest, "h", "b", "pytest").await.unwrap(), None);
    }
    fixture.store.record_gate(gate(Verdict::Pass { evidence: "12 passed".into() })).await.unwrap();
    let found = stored(row.id, GateKind::Retest, "h", "b", "pytest").await.unwrap();
    assert_eq!(found.as_deref(), Some("12 passed"));
    for (task, gate, head, base, configuration) in [
        (other.id, GateKind::Retest, "h", "b", "pytest"),
        (row.id, GateKind::Staging, "h", "b", "pytest"),
        (row.id, GateKind::Retest, "h2", "b", "pytest"),
        (row.id, GateKind::Retest, "h", "b2", "pytest"),
        (row.id, GateKind::Retest, "h", "b", "pytest -x"),
    ] {
        assert_eq!(stored(task, gate, head, base, configuration).await.unwrap(), None, "{head} {base}");
    }
    let told: Vec<&str> =
        fixture.store.gates_of(row.id, 2).await.unwrap().iter().map(|row| row.verdict.as_str()).collect();
    assert_eq!(told, ["pass", "skipped"], "newest first, bounded");
}

#[tokio::test]
async fn a_red_after_a_pass_of_the_same_candidate_is_not_hidden_by_the_pass() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let gate = |verdict: Verdict| GateWrite {
        task: row.id,
        gate: GateKind::Staging,
        verdict,
        head: "h".into(),
        base: "b".into(),
        configuration: "c".into(),
        started_at_ms: 1,
        ended_at_ms: 2,
        run: None,
    };
    fixture.store.record_gate(gate(Verdict::Pass { evidence: "e".into() })).await.unwrap();
    fixture.store.record_gate(gate(Verdict::Red { findings: vec!["f".into()] })).await.unwrap();
    let found =
        fixture.store.stored_pass(row.id, GateKind::Staging, "h".into(), "b".into(), "c".into()).await;
    assert_eq!(found.unwrap(), None);
}

#[tokio::test]
async fn the_coverage_baseline_only_rises() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let proof = granted(&fixture.store, row.id).await;
    let ratchet = |covered, measured, revision: &str| {
        let counts = LineCounts { covered, measured };
        fixture.store.ratchet_coverage(&proof, "sample".into(), "main".into(), revision.into(), counts, 1)
    };
    let baseline = || fixture.store.coverage_baseline("sample".into(), "main".into());
    assert_eq!(baseline().await.unwrap(), None);
    assert_eq!(ratchet(80, 100, "one").await.unwrap(), RatchetWrite::Raised);
    assert_eq!(ratchet(8, 10, "equal").await.unwrap(), RatchetWrite::Kept);
    assert_eq!(ratchet(799, 1000, "lower").await.unwrap(), RatchetWrite::Kept);
    assert_eq!(baseline().await.unwrap().unwrap().0, "one");
    assert_eq!(ratchet(801, 1000, "higher").await.unwrap(), RatchetWrite::Raised);
    let (revision, counts) = baseline().await.unwrap().unwrap();
    assert_eq!((revision.as_str(), counts), ("higher", LineCounts { covered: 801, measured: 1000 }));
    assert_eq!(
        fixture.store.coverage_baseline("sample".into(), "next".into()).await.unwrap(),
        None,
        "each branch has its own"
    );
    let measured = LineCounts { covered: 1, measured: 2 };
    fixture.store.record_coverage("sample".into(), "r".into(), measured, 1).await.unwrap();
    fixture.store.record_coverage("sample".into(), "r".into(), measured, 2).await.unwrap();
    assert_eq!(fixture.store.measured_coverage("sample".into(), "r".into()).await.unwrap(), Some(measured));
}

#[tokio::test]
async fn an_approval_is_of_one_revision_and_told_once() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let approve = |revision: &str, who: &str| {
        fixture.store.approve(row.id, "01-brief.md".into(), revision.into(), who.into(), "fine".into(), 5)
    };
    assert!(approve("one", "ada").await.unwrap());
    assert!(!approve("one", "grace").await.unwrap());
    let who = |revision: &str| fixture.store.approval(row.id, "01-brief.md".into(), revision.into());
    assert_eq!(who("one").await.unwrap().as_deref(), Some("ada"));
    assert_eq!(who("two").await.unwrap(), None);
    assert_eq!(fixture.store.events(row.id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_tracker_item_ends_once() {
    let fixture = Fixture::new();
    fixture.task(1).await;
    let end = |state| fixture.store.end_tracker_item("ORCH-1".into(), state, Some("m".into()), 5);
    assert!(end("closed").await.unwrap());
    assert!(!end("cancelled").await.unwrap());
    let item = fixture.store.tracker_item("ORCH-1".into()).await.unwrap().unwrap();
    assert_eq!((item.state.as_str(), item.closed_by.as_deref()), ("closed", Some("m")));
    assert_eq!(fixture.store.tracker_item("ORCH-9".into()).await.unwrap(), None);
}

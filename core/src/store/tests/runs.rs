//! Runs: recorded before they start, ended once.

use orch_contract::ProcessKind;

use super::*;
use crate::domain::{budget::CostKind, ids::RunId};

fn new_run(kind: ProcessKind, task: Option<TaskId>) -> NewRun {
    NewRun {
        job: None,
        task,
        kind,
        attempt: 1,
        cookie: u64::MAX >> 1,
        command: "pytest".into(),
        timeout_ms: 900_000,
        created_at_ms: 3,
        agent: None,
        reserved_microusd: None,
    }
}

fn ending(outcome: &str) -> RunEnding {
    RunEnding {
        outcome: outcome.into(),
        exit_code: Some(-9),
        swept: Some(3),
        surviving: Some(0),
        cost_microusd: Some(1_250_000),
        cost_kind: Some(CostKind::Reported),
        agent: None,
        ended_at_ms: 40,
    }
}

#[tokio::test]
async fn a_run_reads_back_as_it_was_written_for_every_kind() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    for kind in super::super::runs::RUN_KINDS {
        let id = fixture.store.create_run(new_run(kind, Some(row.id))).await.unwrap();
        let run = fixture.store.run(id).await.unwrap().unwrap();
        assert_eq!((run.kind, run.task, run.cookie), (kind, Some(row.id), u64::MAX >> 1));
        assert_eq!((run.boot_id.0.as_str(), run.started_at_ms, run.ending), ("first", None, None));
    }
    assert_eq!(fixture.store.runs_of(row.id).await.unwrap().len(), super::super::runs::RUN_KINDS.len());
    assert_eq!(fixture.store.run(RunId(999)).await.unwrap(), None);
    let unknown = fixture.store.create_run(new_run(ProcessKind::Unknown, None)).await;
    assert!(unknown.is_err(), "no run of our own is of an unknown kind");
}

#[tokio::test]
async fn the_end_of_a_run_is_recorded_once() {
    let fixture = Fixture::new();
    let id = fixture.store.create_run(new_run(ProcessKind::Retest, None)).await.unwrap();
    fixture.store.record_run_started(id, 4712, u64::MAX >> 1, 10).await.unwrap();
    assert_eq!(fixture.store.open_runs().await.unwrap()[0].supervisor, Some((4712, u64::MAX >> 1)));
    fixture.store.record_run_ended(id, ending("signal 9"), 41).await.unwrap();
    fixture.store.record_run_ended(id, RunEnding { ended_at_ms: 99, ..ending("exit 0") }, 99).await.unwrap();
    let run = fixture.store.run(id).await.unwrap().unwrap();
    assert_eq!((run.ending, run.exit_recorded_at_ms), (Some(ending("signal 9")), Some(41)));
    assert!(fixture.store.open_runs().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_snapshot_shows_open_work_and_counts_the_rest() {
    let fixture = Fixture::new();
    let row = with_job(&fixture, 1, "sample").await;
    with_job(&fixture, 2, "sample").await;
    claim(&fixture.store, (9, 9), 500).await.unwrap();
    for at in 0..5_i64 {
        let id = fixture.store.create_run(new_run(ProcessKind::Ci, Some(row.id))).await.unwrap();
        let ending = RunEnding { ended_at_ms: 100 + at, ..ending("exit 0") };
        fixture.store.record_run_ended(id, ending, 100 + at).await.unwrap();
    }
    let proof = granted(&fixture.store, row.id).await;
    let picture = fixture.store.snapshot(102, 3).await.unwrap();
    assert_eq!(picture.open_tasks.len(), 2);
    assert_eq!((picture.queued.len(), picture.running.len(), picture.leases.len()), (1, 1, 1));
    let ended: Vec<i64> =
        picture.runs.iter().filter_map(|run| run.ending.as_ref().map(|end| end.ended_at_ms)).collect();
    assert_eq!((picture.runs.len(), ended), (3, vec![104, 103]), "the live one first, then the newest");
    assert_eq!(picture.runs_omitted, 1, "102 has no room");
    assert_eq!(picture.keys.get(&row.id.0).map(String::as_str), Some("ORCH-1"));
    assert_eq!(picture.counts, [("analysis".to_owned(), "moving".to_owned(), 2)]);
    drop(proof);
}

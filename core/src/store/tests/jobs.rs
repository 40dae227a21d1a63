//! Jobs: unique while open, claimed once, settled by the run that works on them.

use super::*;
use crate::domain::{
    ids::{JobId, RunId},
    job::JobStatus,
    transition::Work,
};

const WIDE: (u32, u32) = (100, 100);

fn settlement(claimed: &ClaimedJob, status: JobStatus) -> JobSettlement {
    JobSettlement {
        job: claimed.job.id,
        run: claimed.run,
        status,
        not_before_ms: None,
        counts: true,
        awaits_service: false,
        outcome: "exit 1".into(),
        actor: Actor::Monitor,
        at_ms: 200,
    }
}

async fn work(fixture: &Fixture, row: &TaskRow) -> Work {
    fixture.store.work(row.id, row.task.stage, row.task.round).await.unwrap()
}

#[tokio::test]
async fn a_job_is_unique_while_it_is_open() {
    let fixture = Fixture::new();
    let row = with_job(&fixture, 1, "sample").await;
    let again = |row: &TaskRow| CommitWrite {
        enqueue: Some((Role::Analyst, 3)),
        ..write(row, vec![Event::JobQueued { role: Role::Analyst }])
    };
    let row = fixture.store.commit(None, again(&row)).await.unwrap().unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM job"), 1, "queued");
    let claimed = claim(&fixture.store, WIDE, 500).await.unwrap();
    let row = fixture.store.commit(None, again(&row)).await.unwrap().unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM job"), 1, "running");
    assert!(fixture.store.settle_job(settlement(&claimed, JobStatus::Failed)).await.unwrap());
    let row = fixture.store.task_by_id(row.id).await.unwrap().unwrap();
    fixture.store.commit(None, again(&row)).await.unwrap().unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM job"), 2, "free once it is settled");
}

#[tokio::test]
async fn a_clock_that_is_set_back_prolongs_no_wait_also_over_a_restart() {
    const DAY_MS: i64 = 86_400_000;
    const FAILED_MS: i64 = 2 * DAY_MS;
    let fixture = Fixture::new();
    with_job(&fixture, 1, "sample").await;
    let claimed = claim(&fixture.store, WIDE, FAILED_MS - 1_000).await.unwrap();
    let again = JobSettlement {
        not_before_ms: Some(FAILED_MS + 10_000),
        at_ms: FAILED_MS,
        ..settlement(&claimed, JobStatus::Queued)
    };
    assert!(fixture.store.settle_job(again).await.unwrap());
    for early in [FAILED_MS, FAILED_MS + 9_999] {
        assert!(claim(&fixture.store, WIDE, early).await.is_none(), "it waits at {early}");
    }
    let next = fixture.next_life("second");
    let claimed = claim(&next, WIDE, FAILED_MS - DAY_MS).await.expect("not a day longer");
    // what the set clock measures is a wait like any other
    let again = JobSettlement {
        not_before_ms: Some(FAILED_MS - DAY_MS + 20_000),
        at_ms: FAILED_MS - DAY_MS,
        ..settlement(&claimed, JobStatus::Queued)
    };
    assert!(next.settle_job(again).await.unwrap());
    assert!(claim(&next, WIDE, FAILED_MS - DAY_MS + 19_999).await.is_none());
    assert!(claim(&next, WIDE, FAILED_MS - DAY_MS + 20_000).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_claimers_each_job_has_one() {
    let fixture = Fixture::new();
    for number in 1..=10 {
        with_job(&fixture, number, "sample").await;
    }
    let mut claimers = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let store = fixture.store.clone();
        claimers.spawn(async move { claim(&store, WIDE, 500).await.map(|claimed| claimed.job.id) });
    }
    let mut claimed: Vec<JobId> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 10);
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), 10);
    assert_eq!(fixture.number("SELECT count(*) FROM run"), 10, "losers make no run");
}

#[tokio::test]
async fn caps_hold_in_total_and_for_each_project() {
    let fixture = Fixture::new();
    for (number, project) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c")] {
        with_job(&fixture, number, project).await;
    }
    let mut order = Vec::new();
    while let Some(claimed) = claim(&fixture.store, (3, 1), 500).await {
        order.push(claimed.job.project);
    }
    assert_eq!(order, ["a", "b", "c"], "a full project does not stop the others");
    assert!(claim(&fixture.store, (3, 9), 500).await.is_none(), "full in total");
    assert!(claim(&fixture.store, (9, 1), 500).await.is_none(), "every project is full");
    assert!(claim(&fixture.store, (0, 0), 500).await.is_none());
    assert_eq!(claim(&fixture.store, (4, 2), 500).await.unwrap().job.project, "a");
}

#[tokio::test]
async fn many_jobs_of_a_full_project_do_not_hide_the_next_project() {
    let fixture = Fixture::new();
    for number in 1..=230 {
        with_job(&fixture, number, "busy").await;
    }
    with_job(&fixture, 231, "quiet").await;
    assert_eq!(claim(&fixture.store, (9, 1), 500).await.unwrap().job.project, "busy");
    assert_eq!(claim(&fixture.store, (9, 1), 500).await.unwrap().job.project, "quiet");
}

#[tokio::test]
async fn an_attempt_is_not_started_before_its_time_and_counts_only_when_it_should() {
    let fixture = Fixture::new();
    let row = with_job(&fixture, 1, "sample").await;
    let first = claim(&fixture.store, WIDE, 500).await.unwrap();
    assert_eq!((first.job.attempt, first.job.status, first.cookie), (1, JobStatus::Running, 77));
    let later = JobSettlement { not_before_ms: Some(900), ..settlement(&first, JobStatus::Queued) };
    assert!(fixture.store.settle_job(later).await.unwrap());
    assert_eq!(work(&fixture, &row).await, Work::Open);
    assert!(claim(&fixture.store, WIDE, 899).await.is_none());
    let second = claim(&fixture.store, WIDE, 900).await.unwrap();
    assert_eq!((second.job.id, second.job.attempt), (first.job.id, 2));
    assert!(second.run > first.run, "each attempt is a run of its own");
    let given_back = JobSettlement { counts: false, ..settlement(&second, JobStatus::Queued) };
    assert!(fixture.store.settle_job(given_back).await.unwrap());
    assert_eq!(claim(&fixture.store, WIDE, 900).await.unwrap().job.attempt, 2, "it never ran");
    let runs = fixture.store.runs_of(row.id).await.unwrap();
    let attempts: Vec<u32> = runs.iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [1, 2, 2]);
}

#[tokio::test]
async fn only_the_run_at_work_settles_its_job_and_only_once() {
    let fixture = Fixture::new();
    let row = with_job(&fixture, 1, "sample").await;
    let old = claim(&fixture.store, WIDE, 500).await.unwrap();
    assert!(fixture.store.settle_job(settlement(&old, JobStatus::Queued)).await.unwrap());
    assert!(!fixture.store.settle_job(settlement(&old, JobStatus::Done)).await.unwrap(), "it waits");
    let new = claim(&fixture.store, WIDE, 500).await.unwrap();
    assert!(!fixture.store.settle_job(settlement(&old, JobStatus::Failed)).await.unwrap(), "an old run");
    assert_eq!(fixture.store.job(new.job.id).await.unwrap().unwrap().status, JobStatus::Running);
    assert!(fixture.store.settle_job(settlement(&new, JobStatus::Done)).await.unwrap());
    assert!(!fixture.store.settle_job(settlement(&new, JobStatus::Failed)).await.unwrap(), "twice");
    assert_eq!(work(&fixture, &row).await, Work::Done);
    let ends = fixture.store.events(row.id).await.unwrap();
    let attempt_of =
        |event: &Event| if let Event::RunEnded { attempt, .. } = event { Some(*attempt) } else { None };
    let ends: Vec<u32> = ends.iter().filter_map(|stored| attempt_of(&stored.event)).collect();
    assert_eq!(ends, [1, 2], "history has the settled ends, each of its own attempt, and no other");
    let nobody = JobSettlement { job: JobId(99), run: RunId(99), ..settlement(&new, JobStatus::Done) };
    assert!(!fixture.store.settle_job(nobody).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_settle_one_run_one_wins() {
    let fixture = Fixture::new();
    with_job(&fixture, 1, "sample").await;
    let claimed = claim(&fixture.store, WIDE, 500).await.unwrap();
    let mut settling = tokio::task::JoinSet::new();
    for n in 0..16 {
        let status = if n % 2 == 0 { JobStatus::Done } else { JobStatus::Failed };
        let (store, settlement) = (fixture.store.clone(), settlement(&claimed, status));
        settling.spawn(async move { store.settle_job(settlement).await.unwrap() });
    }
    assert_eq!(settling.join_all().await.into_iter().filter(|won| *won).count(), 1);
}

#[tokio::test]
async fn a_cancelled_job_is_neither_claimed_nor_settled() {
    let fixture = Fixture::new();
    let (one, two) = (with_job(&fixture, 1, "sample").await, with_job(&fixture, 2, "sample").await);
    let running = claim(&fixture.store, WIDE, 500).await.unwrap();
    for row in [&one, &two] {
        let mut cancel = write(row, vec![Event::Entered { from: Stage::Analysis, to: Stage::Cancelled }]);
        cancel.cancel_jobs = true;
        fixture.store.commit(None, cancel).await.unwrap().unwrap();
    }
    assert!(claim(&fixture.store, WIDE, 500).await.is_none());
    assert!(!fixture.store.settle_job(settlement(&running, JobStatus::Done)).await.unwrap());
    assert!(fixture.store.running_jobs().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_work_of_an_earlier_round_does_not_count_for_this_one() {
    let fixture = Fixture::new();
    let row = with_job(&fixture, 1, "sample").await;
    let claimed = claim(&fixture.store, WIDE, 500).await.unwrap();
    assert!(fixture.store.settle_job(settlement(&claimed, JobStatus::Done)).await.unwrap());
    assert_eq!(work(&fixture, &row).await, Work::Done);
    let row = fixture.store.task_by_id(row.id).await.unwrap().unwrap();
    let again = Event::RolledBack {
        from: Stage::Analysis,
        to: Stage::Analysis,
        step: "artifact".into(),
        findings: Vec::new(),
    };
    let row = fixture.store.commit(None, write(&row, vec![again])).await.unwrap().unwrap();
    assert_eq!(work(&fixture, &row).await, Work::Missing);
    let created = fixture.store.work(row.id, Stage::Created, 1).await.unwrap();
    assert_eq!(created, Work::NotNeeded);
}

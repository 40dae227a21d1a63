//! Agents whose stream is read, and what they may cost.

use super::*;
use crate::domain::{
    budget::{Budgets, Cap, CostKind, Spending},
    job::JobStatus,
    transition::Work,
};

const DAY_MS: i64 = 86_400_000;

fn terms(cap: i64, task: Option<i64>, day: Option<i64>) -> RunTerms {
    RunTerms {
        timeout_ms: 60_000,
        agent: Some(AgentTerms {
            kind: AgentKind::Claude,
            model: Some("opus".into()),
            effort: Some("high".into()),
        }),
        cap_microusd: Some(cap),
        budgets: Budgets { task_microusd: task, day_microusd: day, cap: Cap::Hard },
    }
}

async fn claim_on(store: &Store, terms: RunTerms, now_ms: i64) -> Option<ClaimedJob> {
    store.claim_job((9, 9), 77, move |_, _: Role| terms.clone(), now_ms).await.unwrap()
}

fn ending(cost: i64, kind: CostKind, ended_at_ms: i64, told: StreamTold) -> RunEnding {
    RunEnding {
        outcome: "exit 0".into(),
        exit_code: Some(0),
        swept: None,
        surviving: None,
        cost_microusd: Some(cost),
        cost_kind: Some(kind),
        ended_at_ms,
        agent: Some(AgentUse {
            told,
            input_tokens: Some(10),
            cached_tokens: Some(6),
            output_tokens: Some(2),
            session_total: Some(format!("{{\"microusd\":{cost}}}")),
        }),
    }
}

fn told(offset: u64) -> StreamTold {
    StreamTold {
        offset,
        state: format!("state at {offset}"),
        session: Some("s-1".into()),
        model: Some("opus-4".into()),
    }
}

async fn settle(store: &Store, claimed: &ClaimedJob, awaits_service: bool) {
    let settlement = JobSettlement {
        job: claimed.job.id,
        run: claimed.run,
        status: JobStatus::Queued,
        not_before_ms: None,
        counts: false,
        awaits_service,
        outcome: "overloaded".into(),
        actor: Actor::Monitor,
        at_ms: 200,
    };
    assert!(store.settle_job(settlement).await.unwrap());
}

#[tokio::test]
async fn what_a_stream_told_is_kept_until_the_end_is_recorded_and_no_longer_changed() {
    let fixture = Fixture::new();
    with_job(&fixture, 1, "sample").await;
    let store = &fixture.store;
    let claimed = claim_on(store, terms(50_000, None, None), 100).await.unwrap();
    assert_eq!((claimed.reserved_microusd, claimed.agent), (Some(50_000), Some(AgentKind::Claude)));
    let fresh = store.run(claimed.run).await.unwrap().unwrap().agent.unwrap();
    assert_eq!((fresh.told.offset, fresh.told.model.as_deref()), (0, Some("opus")));
    store.record_stream(claimed.run, told(40)).await.unwrap();
    let read = fixture.next_life("second").run(claimed.run).await.unwrap().unwrap().agent.unwrap();
    assert_eq!(read.told, told(40));
    store
        .record_run_ended(claimed.run, ending(30_000, CostKind::Reported, 300, told(90)), 300)
        .await
        .unwrap();
    // a follower that is late, and a second record
    store.record_stream(claimed.run, told(50)).await.unwrap();
    store.record_run_ended(claimed.run, ending(99, CostKind::Estimated, 400, told(91)), 400).await.unwrap();
    let row = store.run(claimed.run).await.unwrap().unwrap();
    let (ended, agent) = (row.ending.unwrap(), row.agent.unwrap());
    assert_eq!((ended.cost_microusd, ended.cost_kind), (Some(30_000), Some(CostKind::Reported)));
    assert_eq!(agent.told, told(90));
    assert_eq!((agent.input_tokens, agent.cached_tokens, agent.output_tokens), (Some(10), Some(6), Some(2)));
    let total = |before| store.session_total("s-1".into(), RunId(before));
    assert_eq!(total(claimed.run.0 + 1).await.unwrap().as_deref(), Some("{\"microusd\":30000}"));
    assert_eq!(total(claimed.run.0).await.unwrap(), None, "its own total is none from before");
}

#[tokio::test]
async fn runs_side_by_side_cannot_reserve_the_same_rest() {
    let fixture = Fixture::new();
    for number in 1..=3 {
        with_job(&fixture, number, "sample").await;
    }
    let store = &fixture.store;
    let now = 5 * DAY_MS + 100;
    let of_day = || terms(50_000, None, Some(80_000));
    let first = claim_on(store, of_day(), now).await.unwrap();
    let second = claim_on(store, of_day(), now).await.unwrap();
    assert_eq!((first.reserved_microusd, second.reserved_microusd), (Some(50_000), Some(30_000)));
    assert!(claim_on(store, of_day(), now).await.is_none(), "all is reserved");
    assert_eq!(
        store.day_spending(now).await.unwrap(),
        Spending { spent_microusd: 0, reserved_microusd: 80_000 }
    );
    store
        .record_run_ended(first.run, ending(20_000, CostKind::Reported, now + 1, told(1)), now + 1)
        .await
        .unwrap();
    let spending = Spending { spent_microusd: 20_000, reserved_microusd: 30_000 };
    assert_eq!(store.day_spending(now + 2).await.unwrap(), spending);
    let third = claim_on(store, of_day(), now + 2).await.unwrap();
    assert_eq!(third.reserved_microusd, Some(30_000), "what was not used is free again");
    // the next day what was spent is of yesterday; what is reserved is not
    assert_eq!(store.day_spending(now + DAY_MS).await.unwrap().spent_microusd, 0);
    assert_eq!(store.day_spending(now + DAY_MS).await.unwrap().reserved_microusd, 60_000);
}

#[tokio::test]
async fn a_job_whose_task_has_no_money_left_ends_and_says_why() {
    let fixture = Fixture::new();
    let (poor, rich) = (with_job(&fixture, 1, "sample").await, with_job(&fixture, 2, "sample").await);
    let store = &fixture.store;
    let of_task = || terms(50_000, Some(60_000), None);
    let claimed = claim_on(store, of_task(), 100).await.unwrap();
    store
        .record_run_ended(claimed.run, ending(55_000, CostKind::Estimated, 150, told(1)), 150)
        .await
        .unwrap();
    settle(store, &claimed, false).await;
    let ended = store.end_unpaid_jobs(of_task().budgets, |_, _| Some(50_000), 300).await.unwrap();
    assert_eq!(ended, [poor.id]);
    let work = store.work(poor.id, poor.task.stage, poor.task.round).await.unwrap();
    let Work::Failed(why) = work else { panic!("{work:?}") };
    assert!(why.contains("0.055 $ spent") && why.contains("ORCH_TASK_BUDGET_USD=0.06"), "{why}");
    assert_eq!(store.end_unpaid_jobs(of_task().budgets, |_, _| Some(50_000), 301).await.unwrap(), []);
    let work = store.work(rich.id, rich.task.stage, rich.task.round).await.unwrap();
    assert_eq!(work, Work::Open);
}

#[tokio::test]
async fn waits_for_the_service_are_counted_in_a_row() {
    let fixture = Fixture::new();
    with_job(&fixture, 1, "sample").await;
    let store = &fixture.store;
    let waits = async |awaits| {
        let claimed = claim_on(store, terms(50_000, None, None), 1_000).await.unwrap();
        settle(store, &claimed, awaits).await;
        store.job(claimed.job.id).await.unwrap().unwrap().waits
    };
    assert_eq!((waits(true).await, waits(true).await, waits(false).await, waits(true).await), (1, 2, 0, 1));
}

#[test]
fn costs_of_schema_4_were_reported_and_its_jobs_have_not_waited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    for statements in [
        include_str!("../schema_1.sql"),
        include_str!("../schema_2.sql"),
        include_str!("../schema_3.sql"),
        include_str!("../schema_4.sql"),
    ] {
        old.execute_batch(statements).unwrap();
    }
    old.execute_batch(
        "PRAGMA application_id = 0x6f726368; PRAGMA user_version = 4;
         INSERT INTO task VALUES (7, 'ORCH-7', 'sample', 'review', 'moving', NULL, 1, 1, 1, 1, '{}');
         INSERT INTO job (id, task_id, project, stage, round, role, status, attempt, attempts_max, queued_at_ms, reason)
         VALUES (3, 7, 'sample', 'review', 1, 'reviewer', 'queued', 1, 3, 1, 'r');
         INSERT INTO run (id, job_id, task_id, kind, attempt, cookie, command, boot_id, created_at_ms, timeout_ms, ended_at_ms, outcome, cost_microusd)
         VALUES (1, 3, 7, 'agent', 1, 5, 'c', 'first', 1, 1, 9, 'exit 0', 1250000),
                (2, 3, 7, 'agent', 1, 6, 'c', 'first', 1, 1, 9, 'exit 1', NULL);",
    )
    .unwrap();
    drop(old);
    let store = open(&path, "second");
    let raw = rusqlite::Connection::open(&path).unwrap();
    let rows: Vec<String> = raw
        .prepare("SELECT concat_ws(' ', id, cost_microusd, cost_kind, stream_offset, agent, reserved_microusd) FROM run ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(rows, ["1 1250000 reported 0", "2 0"]);
    let waits: i64 = raw.query_row("SELECT waits FROM job", [], |row| row.get(0)).unwrap();
    assert_eq!(waits, 0);
    raw.execute("UPDATE run SET cost_kind = 'guessed'", []).unwrap_err();
    raw.execute("UPDATE run SET agent = 'anything'", []).unwrap_err();
    drop(store);
}

//! Queries that are asked all the time never read history: their plans use the partial indexes.

use super::*;
use crate::store::{jobs, leases, observe, runs, spending, tasks};

fn plan(fixture: &Fixture, sql: &str) -> Vec<String> {
    let raw = fixture.raw();
    let mut statement = raw.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let bound = statement.parameter_count();
    let values = vec![1_i64; bound];
    let rows =
        statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Fills the file with history, so that a plan is chosen as it would be in life.
fn with_history() -> Fixture {
    let fixture = Fixture::new();
    let raw = fixture.raw();
    raw.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO task (work_item, project, stage, standing, round, version, created_at_ms, updated_at_ms, row_json)
         SELECT 'A-' || i, 'p', 'done', 'finished', 1, 1, 1, 1, '{}' FROM n;
         INSERT INTO job (task_id, project, stage, round, role, status, attempt, attempts_max, queued_at_ms, reason)
         SELECT id, 'p', 'review', 1, 'reviewer', 'done', 1, 1, 1, '' FROM task;
         INSERT INTO run (job_id, task_id, kind, attempt, cookie, command, boot_id, created_at_ms, timeout_ms, ended_at_ms)
         SELECT id, task_id, 'agent', 1, 1, '', 'b', 1, 1, id FROM job;
         INSERT INTO effect (task_id, kind, revision, grant_number, fencing, boot_id, intent_at_ms, state)
         SELECT id, 'merge', 'r', 1, 1, 'b', 1, 'done' FROM task;
         INSERT INTO transition_lease (task_id, fencing, held, edge, actor, boot_id, owner, pid, start_ticks, acquired_at_ms)
         SELECT id, 1, 0, 'e', 'monitor', 'b', 1, 1, 1, 1 FROM task;",
    )
    .unwrap();
    fixture
}

#[test]
fn hot_queries_use_an_index_that_holds_open_work_only() {
    let fixture = with_history();
    for analysed in [false, true] {
        if analysed {
            fixture.raw().execute_batch("ANALYZE").unwrap();
        }
        for (sql, index) in [
            (tasks::SELECT_OPEN, "task_open"),
            (tasks::SELECT_DUE, "task_due"),
            (jobs::SELECT_CLAIMABLE, "job_claimable"),
            (jobs::SELECT_QUEUED, "job_claimable"),
            (jobs::SELECT_RUNNING, "job_running"),
            (jobs::COUNT_RUNNING, "job_running"),
            (jobs::SELECT_DYING, "run_open"),
            (runs::SELECT_OPEN, "run_open"),
            (runs::SELECT_ENDED_SINCE, "run_ended"),
            (spending::RESERVED, "run_open"),
            (spending::SPENT_SINCE, "run_spent"),
            (observe::COUNT_ENDED_SINCE, "run_ended"),
            (leases::SELECT_HELD, "lease_held"),
            (super::super::effects::SELECT_OPEN_INTENTS, "effect_open"),
        ] {
            let plan = plan(&fixture, sql);
            let uses = plan.iter().any(|line| line.contains(&format!("INDEX {index}")));
            assert!(uses, "{index} (analysed: {analysed}): {plan:?}\n{sql}");
            let scans_table = plan.iter().any(|line| line.starts_with("SCAN") && !line.contains("INDEX"));
            assert!(!scans_table, "{plan:?}\n{sql}");
        }
    }
}

#[test]
fn lookups_of_one_task_search_and_never_scan() {
    let fixture = with_history();
    for sql in [
        tasks::SELECT_TASK,
        tasks::SELECT_TASK_BY_ID,
        tasks::SELECT_EVENTS,
        tasks::SELECT_PAGE_OF_STAGE,
        jobs::SELECT_WORK,
        runs::SELECT_OF_TASK,
        runs::SELECT_OPEN_OF_TASK,
        runs::SELECT_LAST_OF_JOB,
        runs::SELECT_SESSION_TOTAL,
        spending::OF_TASK,
        observe::SELECT_COUNTS,
    ] {
        let plan = plan(&fixture, sql);
        let is_counts = sql == observe::SELECT_COUNTS;
        let scans = plan.iter().any(|line| line.starts_with("SCAN"));
        // the counts are one row a stage and standing, however long history is
        assert_eq!(scans, is_counts, "{plan:?}\n{sql}");
        assert!(!plan.iter().any(|line| line.contains("task") && line.starts_with("SCAN task")), "{plan:?}");
    }
}

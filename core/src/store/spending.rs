//! What was spent: sums over runs, and jobs that can no longer be paid.

use rusqlite::{Connection, params};

use super::{JobRow, Store, StoreError, jobs, tasks, writer::Cached};
use crate::domain::{
    budget::{Budgets, NoRoom, Spending, day_start_ms},
    event::Event,
    ids::TaskId,
    job::Role,
};

/// Queued jobs that one pass looks at.
const JOBS_MAX: u32 = 1_000;

pub(super) const OF_TASK: &str = "SELECT coalesce(sum(cost_microusd), 0),
     coalesce(sum(CASE WHEN ended_at_ms IS NULL THEN reserved_microusd END), 0) FROM run WHERE task_id = ?1";
pub(super) const SPENT_SINCE: &str =
    "SELECT coalesce(sum(cost_microusd), 0) FROM run WHERE ended_at_ms >= ?1 AND cost_microusd > 0";
pub(super) const RESERVED: &str =
    "SELECT coalesce(sum(reserved_microusd), 0) FROM run WHERE ended_at_ms IS NULL";
const FAIL_QUEUED: &str = "UPDATE job SET status = 'failed', settled_at_ms = ?2, outcome = ?3
     WHERE id = ?1 AND status = 'queued'";

impl Store {
    /// What the day has cost, and what its runs at work have reserved.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn day_spending(&self, now_ms: i64) -> Result<Spending, StoreError> {
        self.readers.read("day_spending", move |connection| of_day(connection, now_ms)).await
    }

    /// What a task has cost, and what its runs at work have reserved.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn task_spending(&self, task: TaskId) -> Result<Spending, StoreError> {
        self.readers.read("task_spending", move |connection| of_task(connection, task)).await
    }

    /// Ends the queued jobs whose task has used up its budget: no run is started for them. Answers their tasks. A used-up
    /// day ends nothing: it begins anew.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_unpaid_jobs(
        &self,
        budgets: Budgets,
        cap_microusd: impl Fn(&str, Role) -> Option<i64> + Send + 'static,
        at_ms: i64,
    ) -> Result<Vec<TaskId>, StoreError> {
        self.writer
            .write("end_unpaid_jobs", move |tx| {
                let mut ended = Vec::new();
                for job in jobs::queued(tx, JOBS_MAX)? {
                    let JobRow { id, task, .. } = job;
                    let cap = cap_microusd(&job.project, job.role);
                    let spending = of_task(tx, task)?;
                    let words = match budgets.reserve(cap, spending, Spending::default()) {
                        Err(NoRoom::Task { words }) => words,
                        Ok(_) | Err(NoRoom::Day { .. }) => continue,
                    };
                    let failed = tasks::failed("end_unpaid_jobs");
                    if tx.execute_cached(FAIL_QUEUED, params![id.0, at_ms, words]).map_err(failed)? == 1 {
                        let event = Event::RunEnded {
                            role: job.role,
                            attempt: job.attempt,
                            outcome: format!("not started: {words}"),
                        };
                        let actor = crate::domain::actor::Actor::Monitor;
                        tasks::note(tx, task, actor, "no money is left for the agent", event, at_ms)?;
                        ended.push(task);
                    }
                }
                Ok(ended)
            })
            .await
    }
}

/// Of a task and of the day; what no bound asks for is not looked up.
pub(super) fn of_both(
    connection: &Connection,
    budgets: &Budgets,
    task: TaskId,
    now_ms: i64,
) -> Result<(Spending, Spending), StoreError> {
    let task = match budgets.task_microusd {
        Some(_) => of_task(connection, task)?,
        None => Spending::default(),
    };
    let day = match budgets.day_microusd {
        Some(_) => of_day(connection, now_ms)?,
        None => Spending::default(),
    };
    Ok((task, day))
}

fn of_task(connection: &Connection, task: TaskId) -> Result<Spending, StoreError> {
    connection
        .prepare_cached(OF_TASK)
        .and_then(|mut statement| {
            statement.query_row([task.0], |row| {
                Ok(Spending { spent_microusd: row.get(0)?, reserved_microusd: row.get(1)? })
            })
        })
        .map_err(|source| StoreError::Read { query: "task_spending", source })
}

fn of_day(connection: &Connection, now_ms: i64) -> Result<Spending, StoreError> {
    let read = |source| StoreError::Read { query: "day_spending", source };
    let spent = connection
        .prepare_cached(SPENT_SINCE)
        .and_then(|mut statement| statement.query_row([day_start_ms(now_ms)], |row| row.get(0)))
        .map_err(read)?;
    let reserved = connection
        .prepare_cached(RESERVED)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(read)?;
    Ok(Spending { spent_microusd: spent, reserved_microusd: reserved })
}

//! The job queue: unique while open, claimed by one guarded UPDATE, settled by another.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::writer::Cached;
use super::{AgentKind, AgentTerms, Store, StoreError, runs, spending, tasks};
use crate::domain::{
    actor::Actor,
    budget::Budgets,
    event::Event,
    ids::{JobId, RunId, TaskId},
    job::{JobStatus, Role},
    stage::Stage,
    transition::Work,
};

/// A job as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Number.
    pub id: JobId,
    /// Its task.
    pub task: TaskId,
    /// Project.
    pub project: String,
    /// Stage it works in.
    pub stage: Stage,
    /// Round of the task that it belongs to.
    pub round: u32,
    /// Role.
    pub role: Role,
    /// Status.
    pub status: JobStatus,
    /// Attempt, from 1.
    pub attempt: u32,
    /// Bound on attempts.
    pub attempts_max: u32,
    /// When it was queued.
    pub queued_at_ms: i64,
    /// Not started before.
    pub not_before_ms: Option<i64>,
    /// Why it was queued, or why it waits again.
    pub reason: String,
    /// The run at work, or the last one.
    pub run: Option<RunId>,
    /// Waits in a row for the agent's service, which count as no attempt.
    pub waits: u32,
}

/// On which terms a job's run is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunTerms {
    /// Wall-clock limit.
    pub timeout_ms: i64,
    /// The agent, where it is one whose stream is read.
    pub agent: Option<AgentTerms>,
    /// What it may cost by its own bound, in millionths of a US dollar.
    pub cap_microusd: Option<i64>,
    /// The bounds of all.
    pub budgets: Budgets,
}

impl From<i64> for RunTerms {
    fn from(timeout_ms: i64) -> Self {
        Self { timeout_ms, ..Self::default() }
    }
}

/// A job with the run that now works on it.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    /// The job, running.
    pub job: JobRow,
    /// Its run, not started yet.
    pub run: RunId,
    /// The run's cookie.
    pub cookie: u64,
    /// What it may cost, in millionths of a US dollar.
    pub reserved_microusd: Option<i64>,
    /// The agent, where it is one whose stream is read.
    pub agent: Option<AgentKind>,
}

/// How a job's run is settled. Whoever wins the claim acts on it; a loser does nothing.
#[derive(Debug, Clone)]
pub struct JobSettlement {
    /// Which job.
    pub job: JobId,
    /// Which run of it: an older run cannot settle a newer attempt.
    pub run: RunId,
    /// What becomes of the job.
    pub status: JobStatus,
    /// Earliest start of the next attempt, for [`JobStatus::Queued`].
    pub not_before_ms: Option<i64>,
    /// Whether the attempt counts: a run that never started its agent does not.
    pub counts: bool,
    /// Whether it waits for the agent's service, for [`JobStatus::Queued`].
    pub awaits_service: bool,
    /// How the run ended, in words.
    pub outcome: String,
    /// Who settles.
    pub actor: Actor,
    /// When.
    pub at_ms: i64,
}

macro_rules! select_job {
    ($rest:literal) => {
        concat!(
            "SELECT id, task_id, project, stage, round, role, status, attempt, attempts_max, queued_at_ms, \
             not_before_ms, reason, run_id, waits FROM job WHERE ",
            $rest
        )
    };
}

const SELECT_JOB: &str = select_job!("id = ?1");
pub(super) const SELECT_RUNNING: &str = select_job!("status = 'running' ORDER BY id");
const SELECT_OPEN_OF: &str =
    select_job!("task_id = ?1 AND status IN ('queued','running') ORDER BY id DESC LIMIT 1");
pub(super) const SELECT_QUEUED: &str =
    select_job!("status = 'queued' ORDER BY priority DESC, queued_at_ms, id LIMIT ?1");
// the first job whose time has come, of a project with room; a clock that shows less than the beginning
// of the wait was set back, and nobody knows how much of the wait is left
pub(super) const SELECT_CLAIMABLE: &str = select_job!(
    "status = 'queued' AND (coalesce(not_before_ms, 0) <= ?1 OR coalesce(waits_since_ms, queued_at_ms) > ?1)
       AND project NOT IN (SELECT project FROM job WHERE status = 'running' GROUP BY project HAVING count(*) >= ?2)
     ORDER BY priority DESC, queued_at_ms, id LIMIT 1"
);
pub(super) const COUNT_RUNNING: &str = "SELECT count(*) FROM job WHERE status = 'running'";
// an agent of a cancelled job takes its room until it has ended
pub(super) const SELECT_DYING: &str = "SELECT job.project FROM run JOIN job ON job.id = run.job_id
     WHERE run.ended_at_ms IS NULL AND job.status = 'cancelled'";
// the attempt that ended is told, not the one that follows
const SETTLE_JOB: &str = "UPDATE job SET status = ?3, attempt = attempt + ?4, not_before_ms = ?5, settled_at_ms = ?6, outcome = ?7,
        waits_since_ms = ?8,
        waits = CASE WHEN ?9 THEN waits + 1 ELSE 0 END, reason = CASE WHEN ?3 = 'queued' THEN 'attempt after: ' || ?7 ELSE reason END
     WHERE id = ?1 AND run_id = ?2 AND status = 'running' RETURNING task_id, role, attempt - ?4";
pub(super) const SELECT_WORK: &str =
    "SELECT status, coalesce(outcome, '') FROM job WHERE task_id = ?1 AND stage = ?2 AND round = ?3
     ORDER BY id DESC LIMIT 1";

impl Store {
    /// Claims the next job that may start, and makes its run. `None` when there is none, no room, or no money left for it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_job<T: Into<RunTerms>>(
        &self,
        caps: (u32, u32),
        cookie: u64,
        terms: impl Fn(&str, Role) -> T + Send + 'static,
        now_ms: i64,
    ) -> Result<Option<ClaimedJob>, StoreError> {
        let boot_id = self.identity().boot_id.clone();
        self.writer
            .write("claim_job", move |tx| {
                let (at_once, of_one_project) = caps;
                let dying = dying(tx)?;
                let taken = count_running(tx)?.saturating_add(u32::try_from(dying.len()).unwrap_or(u32::MAX));
                if taken >= at_once || of_one_project == 0 {
                    return Ok(None);
                }
                let claimable = select(tx, SELECT_CLAIMABLE, params![now_ms, of_one_project])?;
                let Some(mut job) = claimable.into_iter().next() else { return Ok(None) };
                // a grace's wait at most: the next pass finds them gone
                let of_its_project = dying.iter().filter(|project| **project == job.project).count();
                if of_its_project >= usize::try_from(of_one_project).unwrap_or(usize::MAX) {
                    return Ok(None);
                }
                let terms: RunTerms = terms(&job.project, job.role).into();
                let (of_task, of_day) = spending::of_both(tx, &terms.budgets, job.task, now_ms)?;
                let Ok(reserved_microusd) = terms.budgets.reserve(terms.cap_microusd, of_task, of_day) else {
                    return Ok(None);
                };
                let agent = terms.agent.as_ref().map(|agent| agent.kind);
                let run = runs::insert(
                    tx,
                    &runs::NewRun {
                        job: Some(job.id),
                        task: Some(job.task),
                        kind: orch_contract::ProcessKind::Agent,
                        attempt: job.attempt,
                        cookie,
                        command: job.role.to_string(),
                        timeout_ms: terms.timeout_ms,
                        created_at_ms: now_ms,
                        agent: terms.agent,
                        reserved_microusd,
                    },
                    &boot_id,
                )?;
                let won = tx
                    .execute_cached(
                        "UPDATE job SET status = 'running', run_id = ?2 WHERE id = ?1 AND status = 'queued' AND attempt = ?3",
                        params![job.id.0, run.0, job.attempt],
                    )
                    .map_err(tasks::failed("claim_job"))?;
                if won != 1 {
                    return Err(StoreError::damaged("job", "a claim inside one transaction was lost"));
                }
                job.status = JobStatus::Running;
                job.run = Some(run);
                Ok(Some(ClaimedJob { job, run, cookie, reserved_microusd, agent }))
            })
            .await
    }

    /// Settles a job's run by one guarded UPDATE; answers whether this call won.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle_job(&self, settlement: JobSettlement) -> Result<bool, StoreError> {
        self.writer
            .write("settle_job", move |tx| {
                let s = &settlement;
                let attempts = i64::from(s.status == JobStatus::Queued && s.counts);
                let settled = (s.status != JobStatus::Queued).then_some(s.at_ms);
                let waits_since = s.not_before_ms.map(|_| s.at_ms);
                let values = params![
                    s.job.0,
                    s.run.0,
                    s.status.as_str(),
                    attempts,
                    s.not_before_ms,
                    settled,
                    s.outcome,
                    waits_since,
                    s.awaits_service
                ];
                let won = tx
                    .prepare_cached(SETTLE_JOB)
                    .and_then(|mut statement| {
                        let told =
                            |row: &Row<'_>| Ok((TaskId(row.get(0)?), row.get::<_, String>(1)?, row.get(2)?));
                        statement.query_row(values, told).optional()
                    })
                    .map_err(tasks::failed("settle_job"))?;
                let Some((task, role, attempt)) = won else { return Ok(false) };
                let role =
                    Role::parse(&role).ok_or_else(|| StoreError::damaged("job", format!("role `{role}`")))?;
                let event = Event::RunEnded { role, attempt, outcome: s.outcome.clone() };
                tasks::note(tx, task, s.actor, "the agent's run ended", event, s.at_ms)?;
                Ok(true)
            })
            .await
    }

    /// Where the role's work of the task's present round stands.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn work(&self, task: TaskId, stage: Stage, round: u32) -> Result<Work, StoreError> {
        if stage.row().role.is_none() {
            return Ok(Work::NotNeeded);
        }
        self.readers
            .read("work", move |connection| {
                let found = connection
                    .prepare_cached(SELECT_WORK)
                    .and_then(|mut statement| {
                        statement
                            .query_row(params![task.0, stage.as_str(), round], |row| {
                                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
                            })
                            .optional()
                    })
                    .map_err(|source| StoreError::Read { query: "work", source })?;
                let Some((status, outcome)) = found else { return Ok(Work::Missing) };
                match JobStatus::parse(&status) {
                    Some(JobStatus::Queued | JobStatus::Running) => Ok(Work::Open),
                    Some(JobStatus::Done) => Ok(Work::Done),
                    Some(JobStatus::Failed) => Ok(Work::Failed(outcome)),
                    Some(JobStatus::Cancelled) => Ok(Work::Missing),
                    None => Err(StoreError::damaged("job", format!("status `{status}`"))),
                }
            })
            .await
    }

    /// Jobs that run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn running_jobs(&self) -> Result<Vec<JobRow>, StoreError> {
        self.readers.read("running_jobs", running).await
    }

    /// The open job of a task: at most one of its present stage.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_job_of(&self, task: TaskId) -> Result<Option<JobRow>, StoreError> {
        self.readers
            .read("open_job_of", move |connection| {
                Ok(select(connection, SELECT_OPEN_OF, params![task.0])?.into_iter().next())
            })
            .await
    }

    /// One job.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn job(&self, id: JobId) -> Result<Option<JobRow>, StoreError> {
        self.readers.read("job", move |connection| select_one(connection, id)).await
    }
}

/// Queues a job; a no-op while one of this task and stage is open.
pub(super) fn enqueue(
    tx: &Transaction<'_>,
    row: &tasks::TaskRow,
    role: Role,
    attempts_max: u32,
    at_ms: i64,
    reason: &str,
) -> Result<(), StoreError> {
    tx.execute_cached(
        "INSERT INTO job (task_id, project, stage, round, role, status, attempt, attempts_max, queued_at_ms, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, 'queued', 1, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        params![
            row.id.0,
            row.task.project,
            row.task.stage.as_str(),
            row.task.round,
            role.as_str(),
            attempts_max.max(1),
            at_ms,
            reason
        ],
    )
    .map(drop)
    .map_err(tasks::failed("enqueue"))
}

pub(super) fn cancel_open(
    tx: &Transaction<'_>,
    task: TaskId,
    at_ms: i64,
    why: &str,
) -> Result<(), StoreError> {
    tx.execute_cached(
        "UPDATE job SET status = 'cancelled', settled_at_ms = ?2, outcome = ?3
         WHERE task_id = ?1 AND status IN ('queued','running')",
        params![task.0, at_ms, why],
    )
    .map(drop)
    .map_err(tasks::failed("cancel_jobs"))
}

/// Projects of the agents whose job was cancelled and that have not ended yet, one entry an agent.
fn dying(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let read = |source| StoreError::Read { query: "dying", source };
    let mut statement = connection.prepare_cached(SELECT_DYING).map_err(read)?;
    let rows = statement.query_map([], |row| row.get(0)).map_err(read)?;
    rows.collect::<Result<_, _>>().map_err(read)
}

fn count_running(connection: &Connection) -> Result<u32, StoreError> {
    connection
        .prepare_cached(COUNT_RUNNING)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(|source| StoreError::Read { query: "count_running", source })
}

pub(super) fn running(connection: &Connection) -> Result<Vec<JobRow>, StoreError> {
    select(connection, SELECT_RUNNING, [])
}

pub(super) fn queued(connection: &Connection, limit: u32) -> Result<Vec<JobRow>, StoreError> {
    select(connection, SELECT_QUEUED, params![limit])
}

fn select_one(connection: &Connection, id: JobId) -> Result<Option<JobRow>, StoreError> {
    Ok(select(connection, SELECT_JOB, params![id.0])?.into_iter().next())
}

fn select(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<JobRow>, StoreError> {
    let read = |source| StoreError::Read { query: "jobs", source };
    let mut statement = connection.prepare_cached(sql).map_err(read)?;
    let raw = statement.query_map(parameters, |row| Ok(parse(row))).map_err(read)?;
    raw.map(|row| row.map_err(read)?).collect()
}

fn parse(row: &Row<'_>) -> Result<JobRow, StoreError> {
    let read = |source| StoreError::Read { query: "jobs", source };
    let word = |column: &str| row.get::<_, String>(column).map_err(read);
    let bad = |column: &str, value: &str| StoreError::damaged("job", format!("{column} `{value}`"));
    let (stage, role, status) = (word("stage")?, word("role")?, word("status")?);
    Ok(JobRow {
        id: JobId(row.get("id").map_err(read)?),
        task: TaskId(row.get("task_id").map_err(read)?),
        project: word("project")?,
        stage: Stage::parse(&stage).ok_or_else(|| bad("stage", &stage))?,
        round: row.get("round").map_err(read)?,
        role: Role::parse(&role).ok_or_else(|| bad("role", &role))?,
        status: JobStatus::parse(&status).ok_or_else(|| bad("status", &status))?,
        attempt: row.get("attempt").map_err(read)?,
        attempts_max: row.get("attempts_max").map_err(read)?,
        queued_at_ms: row.get("queued_at_ms").map_err(read)?,
        not_before_ms: row.get("not_before_ms").map_err(read)?,
        reason: word("reason")?,
        run: row.get::<_, Option<i64>>("run_id").map_err(read)?.map(RunId),
        waits: row.get("waits").map_err(read)?,
    })
}

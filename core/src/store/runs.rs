//! Runs: one row a supervised process start, committed before the spawn.

use orch_contract::ProcessKind;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::writer::Cached;
use super::{Store, StoreError, tasks};
use crate::domain::{
    budget::CostKind,
    ids::{BootId, JobId, RunId, TaskId},
};

/// What a run is before it starts.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Job it works on; none for gates and effects.
    pub job: Option<JobId>,
    /// Task it works for.
    pub task: Option<TaskId>,
    /// What for.
    pub kind: ProcessKind,
    /// Attempt, from 1.
    pub attempt: u32,
    /// Run cookie, a positive 63-bit number.
    pub cookie: u64,
    /// Command, for people; no secrets.
    pub command: String,
    /// Wall-clock limit.
    pub timeout_ms: i64,
    /// When the row is made.
    pub created_at_ms: i64,
    /// The agent, where it is one whose stream is read.
    pub agent: Option<AgentTerms>,
    /// What it may cost at most, in millionths of a US dollar.
    pub reserved_microusd: Option<i64>,
}

/// An agent whose stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentKind {
    /// Claude Code.
    Claude,
}

impl AgentKind {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Claude];

    /// Its word in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
        }
    }
}

/// As what an agent is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentTerms {
    /// Which one.
    pub kind: AgentKind,
    /// Model asked for.
    pub model: Option<String>,
    /// Effort asked for.
    pub effort: Option<String>,
}

/// How far an agent's stream was read, and what it has told up to there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamTold {
    /// Bytes.
    pub offset: u64,
    /// The reader's state, in its own words.
    pub state: String,
    /// The session, once it has begun.
    pub session: Option<String>,
    /// The model that answers.
    pub model: Option<String>,
}

/// What an agent is booked with beside its cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentUse {
    /// All that its stream told.
    pub told: StreamTold,
    /// Tokens read, cached ones included; absent where it did not say.
    pub input_tokens: Option<u64>,
    /// Those of them that were read from the cache or written to it.
    pub cached_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Its session's total by now, JSON; absent where it did not say.
    pub session_total: Option<String>,
}

/// What is known of an agent whose stream is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// Which one.
    pub kind: AgentKind,
    /// Effort asked for.
    pub effort: Option<String>,
    /// What its stream told.
    pub told: StreamTold,
    /// Tokens read, cached ones included.
    pub input_tokens: Option<u64>,
    /// Those of them that were read from the cache or written to it.
    pub cached_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnding {
    /// In words: `exit 0`, `signal 9`, `timed out`, `supervisor lost`.
    pub outcome: String,
    /// Exit code, or the negative signal number; absent where there is neither.
    pub exit_code: Option<i32>,
    /// Processes of the tree that were killed after the child's end.
    pub swept: Option<u64>,
    /// Processes of the tree that could not be killed.
    pub surviving: Option<u64>,
    /// What the run cost, in millionths of a US dollar; absent where nobody knows.
    pub cost_microusd: Option<i64>,
    /// How that is known.
    pub cost_kind: Option<CostKind>,
    /// When the process tree ended.
    pub ended_at_ms: i64,
    /// What an agent told whose stream is read; not read back, see [`RunRow::agent`].
    pub agent: Option<AgentUse>,
}

/// A run as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Number, also the name of its directory.
    pub id: RunId,
    /// Job.
    pub job: Option<JobId>,
    /// Task.
    pub task: Option<TaskId>,
    /// What for.
    pub kind: ProcessKind,
    /// Attempt.
    pub attempt: u32,
    /// Cookie.
    pub cookie: u64,
    /// Command, for people.
    pub command: String,
    /// Life of the core that made it.
    pub boot_id: BootId,
    /// When the row was made.
    pub created_at_ms: i64,
    /// When the go byte was about to be sent.
    pub started_at_ms: Option<i64>,
    /// Limit.
    pub timeout_ms: i64,
    /// Supervisor's pid and start ticks.
    pub supervisor: Option<(i32, u64)>,
    /// When its exit was recorded.
    pub exit_recorded_at_ms: Option<i64>,
    /// How it ended.
    pub ending: Option<RunEnding>,
    /// What it may cost at most, in millionths of a US dollar.
    pub reserved_microusd: Option<i64>,
    /// The agent, where it is one whose stream is read.
    pub agent: Option<AgentRow>,
}

macro_rules! select_run {
    ($rest:literal) => {
        concat!(
            "SELECT id, job_id, task_id, kind, attempt, cookie, command, boot_id, created_at_ms, started_at_ms, \
             timeout_ms, supervisor_pid, supervisor_start_ticks, exit_recorded_at_ms, ended_at_ms, outcome, \
             exit_code, swept_processes, surviving_processes, cost_microusd, cost_kind, reserved_microusd, agent, \
             session_id, model, effort, input_tokens, cached_tokens, output_tokens, stream_offset, stream_state \
             FROM run WHERE ",
            $rest
        )
    };
}

const SELECT_RUN: &str = select_run!("id = ?1");
pub(super) const SELECT_OF_TASK: &str = select_run!("task_id = ?1 ORDER BY id");
pub(super) const SELECT_OPEN_OF_TASK: &str = select_run!("task_id = ?1 AND ended_at_ms IS NULL ORDER BY id");
pub(super) const SELECT_OPEN: &str = select_run!("ended_at_ms IS NULL ORDER BY id");
pub(super) const SELECT_LAST_OF_JOB: &str = select_run!(
    "task_id = (SELECT task_id FROM job WHERE id = ?1) AND job_id = ?1 AND id < ?2 AND started_at_ms IS NOT NULL
     ORDER BY id DESC LIMIT 1"
);
pub(super) const SELECT_SESSION_TOTAL: &str = "SELECT session_total FROM run
     WHERE session_id = ?1 AND id < ?2 AND session_total IS NOT NULL ORDER BY id DESC LIMIT 1";
pub(super) const SELECT_ENDED_SINCE: &str =
    select_run!("ended_at_ms >= ?1 ORDER BY ended_at_ms DESC LIMIT ?2");

impl Store {
    /// Makes a run that belongs to no job: a gate's or an effect's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_run(&self, new: NewRun) -> Result<RunId, StoreError> {
        let boot_id = self.identity().boot_id.clone();
        self.writer.write("create_run", move |tx| insert(tx, &new, &boot_id)).await
    }

    /// Records the supervisor, before its go byte is sent. `false` when the run is no longer wanted:
    /// its job was cancelled or settled meanwhile, and no go byte may be sent.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_run_started(
        &self,
        run: RunId,
        pid: i32,
        start_ticks: u64,
        at_ms: i64,
    ) -> Result<bool, StoreError> {
        self.writer
            .write("record_run_started", move |tx| {
                tx.execute_cached(
                    "UPDATE run SET supervisor_pid = ?2, supervisor_start_ticks = ?3, started_at_ms = ?4
                     WHERE id = ?1 AND ended_at_ms IS NULL AND (job_id IS NULL OR EXISTS
                       (SELECT 1 FROM job WHERE job.id = run.job_id AND job.run_id = run.id AND job.status = 'running'))",
                    params![run.0, pid, start_ticks.cast_signed(), at_ms],
                )
                .map(|n| n == 1)
                .map_err(tasks::failed("record_run_started"))
            })
            .await
    }

    /// Records the end of a run, once: a second record of the same run changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_run_ended(
        &self,
        run: RunId,
        ending: RunEnding,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        self.record_runs_ended(vec![(run, ending)], at_ms).await
    }

    /// The same for several runs, in one transaction: all of them, or none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_runs_ended(
        &self,
        endings: Vec<(RunId, RunEnding)>,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        self.writer
            .write("record_run_ended", move |tx| {
                for (run, ending) in endings {
                    let agent = ending.agent.as_ref();
                    let tokens = |of: fn(&AgentUse) -> Option<u64>| agent.and_then(of).map(u64::cast_signed);
                    tx.execute_cached(
                        "UPDATE run SET ended_at_ms = ?2, outcome = ?3, exit_code = ?4, swept_processes = ?5,
                                surviving_processes = ?6, cost_microusd = ?7, exit_recorded_at_ms = ?8, cost_kind = ?9,
                                input_tokens = ?10, cached_tokens = ?11, output_tokens = ?12, session_total = ?13,
                                session_id = coalesce(?14, session_id), model = coalesce(?15, model),
                                stream_offset = coalesce(?16, stream_offset), stream_state = coalesce(?17, stream_state)
                         WHERE id = ?1 AND ended_at_ms IS NULL",
                        params![
                            run.0,
                            ending.ended_at_ms,
                            ending.outcome,
                            ending.exit_code,
                            ending.swept.map(u64::cast_signed),
                            ending.surviving.map(u64::cast_signed),
                            ending.cost_microusd,
                            at_ms,
                            ending.cost_kind.map(CostKind::as_str),
                            tokens(|agent| agent.input_tokens),
                            tokens(|agent| agent.cached_tokens),
                            tokens(|agent| agent.output_tokens),
                            agent.and_then(|agent| agent.session_total.as_deref()),
                            agent.and_then(|agent| agent.told.session.as_deref()),
                            agent.and_then(|agent| agent.told.model.as_deref()),
                            agent.map(|agent| agent.told.offset.cast_signed()),
                            agent.map(|agent| agent.told.state.as_str())
                        ],
                    )
                    .map_err(tasks::failed("record_run_ended"))?;
                }
                Ok(())
            })
            .await
    }

    /// Notes how far the stream of a run at work was read. Nothing is changed once its end is recorded.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_stream(&self, run: RunId, told: StreamTold) -> Result<(), StoreError> {
        self.writer
            .write("record_stream", move |tx| {
                tx.execute_cached(
                    "UPDATE run SET stream_offset = ?2, stream_state = ?3, session_id = coalesce(?4, session_id),
                            model = coalesce(?5, model)
                     WHERE id = ?1 AND ended_at_ms IS NULL",
                    params![run.0, told.offset.cast_signed(), told.state, told.session, told.model],
                )
                .map(drop)
                .map_err(tasks::failed("record_stream"))
            })
            .await
    }

    /// The last total, JSON, that a session told at the end of a run before this one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn session_total(&self, session: String, before: RunId) -> Result<Option<String>, StoreError> {
        self.readers
            .read("session_total", move |connection| {
                connection
                    .prepare_cached(SELECT_SESSION_TOTAL)
                    .and_then(|mut statement| {
                        statement.query_row(params![session, before.0], |row| row.get(0)).optional()
                    })
                    .map_err(|source| StoreError::Read { query: "session_total", source })
            })
            .await
    }

    /// The last run of a job before this one that was started.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_run_of(&self, job: JobId, before: RunId) -> Result<Option<RunRow>, StoreError> {
        self.readers
            .read("last_run_of", move |connection| {
                Ok(select(connection, SELECT_LAST_OF_JOB, params![job.0, before.0])?.into_iter().next())
            })
            .await
    }

    /// Runs without a recorded end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_runs(&self) -> Result<Vec<RunRow>, StoreError> {
        self.readers.read("open_runs", open).await
    }

    /// Runs of one task without a recorded end, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_runs_of_task(&self, task: TaskId) -> Result<Vec<RunRow>, StoreError> {
        self.readers
            .read("open_runs_of_task", move |connection| {
                select(connection, SELECT_OPEN_OF_TASK, params![task.0])
            })
            .await
    }

    /// Runs of one task, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs_of(&self, task: TaskId) -> Result<Vec<RunRow>, StoreError> {
        self.readers
            .read("runs_of", move |connection| select(connection, SELECT_OF_TASK, params![task.0]))
            .await
    }

    /// One run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn run(&self, id: RunId) -> Result<Option<RunRow>, StoreError> {
        self.readers
            .read("run", move |connection| {
                Ok(select(connection, SELECT_RUN, params![id.0])?.into_iter().next())
            })
            .await
    }
}

pub(super) fn insert(tx: &Transaction<'_>, new: &NewRun, boot_id: &BootId) -> Result<RunId, StoreError> {
    tx.execute_cached(
        "INSERT INTO run (job_id, task_id, kind, attempt, cookie, command, boot_id, created_at_ms, timeout_ms,
                          agent, model, effort, reserved_microusd)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            new.job.map(|id| id.0),
            new.task.map(|id| id.0),
            kind_name(new.kind),
            new.attempt,
            new.cookie.cast_signed(),
            new.command,
            boot_id.0,
            new.created_at_ms,
            new.timeout_ms,
            new.agent.as_ref().map(|agent| agent.kind.as_str()),
            new.agent.as_ref().and_then(|agent| agent.model.as_deref()),
            new.agent.as_ref().and_then(|agent| agent.effort.as_deref()),
            new.reserved_microusd
        ],
    )
    .map_err(tasks::failed("create_run"))?;
    Ok(RunId(tx.last_insert_rowid()))
}

pub(super) fn open(connection: &Connection) -> Result<Vec<RunRow>, StoreError> {
    select(connection, SELECT_OPEN, [])
}

pub(super) fn ended_since(
    connection: &Connection,
    since_ms: i64,
    limit: u32,
) -> Result<Vec<RunRow>, StoreError> {
    select(connection, SELECT_ENDED_SINCE, params![since_ms, limit])
}

/// Name of a kind in the store, the same as on the wire.
pub(crate) const fn kind_name(kind: ProcessKind) -> &'static str {
    match kind {
        ProcessKind::Agent => "agent",
        ProcessKind::Ci => "ci",
        ProcessKind::Retest => "retest",
        ProcessKind::Coverage => "coverage",
        ProcessKind::Security => "security",
        ProcessKind::ImageBuild => "image_build",
        ProcessKind::Staging => "staging",
        ProcessKind::Push => "push",
        ProcessKind::Deploy => "deploy",
        ProcessKind::DeployHealth => "deploy_health",
        ProcessKind::Unknown => "unknown",
    }
}

/// Every kind of run that is stored.
pub(crate) const RUN_KINDS: [ProcessKind; 10] = [
    ProcessKind::Agent,
    ProcessKind::Ci,
    ProcessKind::Retest,
    ProcessKind::Coverage,
    ProcessKind::Security,
    ProcessKind::ImageBuild,
    ProcessKind::Staging,
    ProcessKind::Push,
    ProcessKind::Deploy,
    ProcessKind::DeployHealth,
];

fn select(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<RunRow>, StoreError> {
    let read = |source| StoreError::Read { query: "runs", source };
    let mut statement = connection.prepare_cached(sql).map_err(read)?;
    let raw = statement.query_map(parameters, |row| Ok(parse(row))).map_err(read)?;
    raw.map(|row| row.map_err(read)?).collect()
}

fn parse(row: &Row<'_>) -> Result<RunRow, StoreError> {
    let read = |source| StoreError::Read { query: "runs", source };
    let kind: String = row.get("kind").map_err(read)?;
    let kind = RUN_KINDS
        .into_iter()
        .find(|known| kind_name(*known) == kind)
        .ok_or_else(|| StoreError::damaged("run", format!("kind `{kind}`")))?;
    let number = |column: &str| row.get::<_, Option<i64>>(column).map_err(read);
    let word = |column: &str| row.get::<_, Option<String>>(column).map_err(read);
    let supervisor_pid: Option<i32> = row.get("supervisor_pid").map_err(read)?;
    let supervisor_ticks = number("supervisor_start_ticks")?.map(i64::cast_unsigned);
    let ending = match number("ended_at_ms")? {
        None => None,
        Some(ended_at_ms) => Some(RunEnding {
            outcome: row.get("outcome").map_err(read)?,
            exit_code: row.get("exit_code").map_err(read)?,
            swept: number("swept_processes")?.map(i64::cast_unsigned),
            surviving: number("surviving_processes")?.map(i64::cast_unsigned),
            cost_microusd: number("cost_microusd")?,
            cost_kind: word("cost_kind")?.map(|kind| cost_kind(&kind)).transpose()?,
            ended_at_ms,
            agent: None,
        }),
    };
    let count = |column: &str| number(column).map(|found| found.map(i64::cast_unsigned));
    let agent = match word("agent")? {
        None => None,
        Some(kind) => Some(AgentRow {
            kind: AgentKind::ALL
                .into_iter()
                .find(|known| known.as_str() == kind)
                .ok_or_else(|| StoreError::damaged("run", format!("agent `{kind}`")))?,
            effort: word("effort")?,
            told: StreamTold {
                offset: count("stream_offset")?.unwrap_or_default(),
                state: word("stream_state")?.unwrap_or_default(),
                session: word("session_id")?,
                model: word("model")?,
            },
            input_tokens: count("input_tokens")?,
            cached_tokens: count("cached_tokens")?,
            output_tokens: count("output_tokens")?,
        }),
    };
    Ok(RunRow {
        id: RunId(row.get("id").map_err(read)?),
        job: number("job_id")?.map(JobId),
        task: number("task_id")?.map(TaskId),
        kind,
        attempt: row.get("attempt").map_err(read)?,
        cookie: row.get::<_, i64>("cookie").map_err(read)?.cast_unsigned(),
        command: row.get("command").map_err(read)?,
        boot_id: BootId(row.get("boot_id").map_err(read)?),
        created_at_ms: row.get("created_at_ms").map_err(read)?,
        started_at_ms: number("started_at_ms")?,
        timeout_ms: row.get("timeout_ms").map_err(read)?,
        supervisor: supervisor_pid.zip(supervisor_ticks),
        exit_recorded_at_ms: number("exit_recorded_at_ms")?,
        ending,
        reserved_microusd: number("reserved_microusd")?,
        agent,
    })
}

fn cost_kind(word: &str) -> Result<CostKind, StoreError> {
    CostKind::ALL
        .into_iter()
        .find(|known| known.as_str() == word)
        .ok_or_else(|| StoreError::damaged("run", format!("cost kind `{word}`")))
}

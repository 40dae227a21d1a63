//! Gate runs and approvals: every verdict with the exact candidate it was given to.

use rusqlite::{OptionalExtension, params};

use super::writer::Cached;
use super::{Store, StoreError, tasks};
use crate::domain::{
    actor::Actor,
    event::Event,
    ids::{RunId, TaskId},
    verdict::{GateKind, Verdict},
};
use crate::failpoint::{Plant, planted};

/// A verdict on its way into the store.
#[derive(Debug, Clone)]
pub struct GateWrite {
    /// Whose.
    pub task: TaskId,
    /// Which gate.
    pub gate: GateKind,
    /// What it said.
    pub verdict: Verdict,
    /// Candidate's head.
    pub head: String,
    /// Target head that the candidate stands on; empty where the gate does not look at it.
    pub base: String,
    /// What the gate was configured to do, as one line: a changed command is another check.
    pub configuration: String,
    /// When it began.
    pub started_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: i64,
    /// Its supervised run, where it had one.
    pub run: Option<RunId>,
}

/// A stored verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateRow {
    /// Which gate.
    pub gate: GateKind,
    /// What it said.
    pub verdict: Verdict,
    /// Candidate's head.
    pub head: String,
    /// When it began.
    pub started_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: i64,
    /// Its supervised run.
    pub run: Option<RunId>,
}

impl Store {
    /// Stores a verdict. A look that only says what the last one said of the same candidate is not
    /// history.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_gate(&self, write: GateWrite) -> Result<(), StoreError> {
        self.writer
            .write("record_gate", move |tx| {
                tx.execute_cached(
                    "INSERT INTO gate_run (task_id, gate, verdict, class, head, base, configuration, started_at_ms, ended_at_ms, run_id, verdict_json)
                     SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
                     WHERE ?10 IS NOT NULL OR NOT EXISTS (SELECT 1 FROM (SELECT head, base, configuration, verdict_json
                       FROM gate_run WHERE task_id = ?1 AND gate = ?2 ORDER BY id DESC LIMIT 1) AS last
                       WHERE last.head = ?5 AND last.base = ?6 AND last.configuration = ?7 AND last.verdict_json = ?11)",
                    params![
                        write.task.0, write.gate.as_str(), write.verdict.as_str(), write.verdict.class(), write.head,
                        write.base, write.configuration, write.started_at_ms, write.ended_at_ms,
                        write.run.map(|run| run.0), tasks::json(&write.verdict)?
                    ],
                )
                .map(drop)
                .map_err(tasks::failed("record_gate"))
            })
            .await
    }

    /// Evidence of a stored pass of exactly this head, base and configuration, unless a later look
    /// at the same found it red.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stored_pass(
        &self,
        task: TaskId,
        gate: GateKind,
        head: String,
        base: String,
        configuration: String,
    ) -> Result<Option<String>, StoreError> {
        let any = planted(Plant::PassOfAnotherHead);
        self.readers
            .read("stored_pass", move |connection| {
                let found: Option<String> = connection
                    .prepare_cached(
                        "SELECT verdict_json FROM gate_run WHERE task_id = ?1 AND gate = ?2 AND (?6 OR head = ?3 AND base = ?4)
                         AND configuration = ?5 AND verdict IN ('pass','red') ORDER BY id DESC LIMIT 1",
                    )
                    .and_then(|mut statement| {
                        statement
                            .query_row(params![task.0, gate.as_str(), head, base, configuration, any], |row| row.get(0))
                            .optional()
                    })
                    .map_err(|source| StoreError::Read { query: "stored_pass", source })?;
                match found.map(|text| serde_json::from_str::<Verdict>(&text)).transpose() {
                    Ok(Some(Verdict::Pass { evidence })) => Ok(Some(evidence)),
                    Ok(_) => Ok(None),
                    Err(error) => Err(StoreError::damaged("gate_run", error)),
                }
            })
            .await
    }

    /// The last verdicts of a task, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn gates_of(&self, task: TaskId, limit: u32) -> Result<Vec<GateRow>, StoreError> {
        self.readers
            .read("gates_of", move |connection| {
                let read = |source| StoreError::Read { query: "gates_of", source };
                let mut statement = connection
                    .prepare_cached(
                        "SELECT gate, verdict_json, head, started_at_ms, ended_at_ms, run_id FROM gate_run
                         WHERE task_id = ?1 ORDER BY id DESC LIMIT ?2",
                    )
                    .map_err(read)?;
                let raw = statement
                    .query_map(params![task.0, limit], |row| {
                        Ok((
                            row.get::<_, String>(0)?,
                            row.get::<_, String>(1)?,
                            row.get(2)?,
                            row.get(3)?,
                            row.get(4)?,
                            row.get::<_, Option<i64>>(5)?,
                        ))
                    })
                    .map_err(read)?;
                raw.map(|row| {
                    let (gate, verdict, head, started_at_ms, ended_at_ms, run) = row.map_err(read)?;
                    let gate = GateKind::parse(&gate)
                        .ok_or_else(|| StoreError::damaged("gate_run", format!("gate `{gate}`")))?;
                    let verdict = serde_json::from_str(&verdict)
                        .map_err(|error| StoreError::damaged("gate_run", error))?;
                    Ok(GateRow { gate, verdict, head, started_at_ms, ended_at_ms, run: run.map(RunId) })
                })
                .collect()
            })
            .await
    }

    /// Stores a person's approval of exactly one revision of an artifact. `false` when it was
    /// given already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn approve(
        &self,
        task: TaskId,
        artifact: String,
        revision: String,
        who: String,
        why: String,
        at_ms: i64,
    ) -> Result<bool, StoreError> {
        self.writer
            .write("approve", move |tx| {
                let new = tx
                    .execute_cached(
                        "INSERT INTO approval (task_id, artifact, revision, who, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                         ON CONFLICT DO NOTHING",
                        params![task.0, artifact, revision, who, at_ms],
                    )
                    .map_err(tasks::failed("approve"))?;
                if new == 1 {
                    let write = tasks::CommitWrite {
                        task,
                        expected: tasks::Expected::Any,
                        actor: Actor::Operator,
                        who: Some(who),
                        reason: why,
                        events: vec![Event::Approved { artifact, revision }],
                        enqueue: None,
                        cancel_jobs: false,
                        at_ms,
                    };
                    tasks::append(tx, &write)?;
                }
                Ok(new == 1)
            })
            .await
    }

    /// Who approved exactly this revision.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn approval(
        &self,
        task: TaskId,
        artifact: String,
        revision: String,
    ) -> Result<Option<String>, StoreError> {
        self.readers
            .read("approval", move |connection| {
                connection
                    .prepare_cached(
                        "SELECT who FROM approval WHERE task_id = ?1 AND artifact = ?2 AND revision = ?3",
                    )
                    .and_then(|mut statement| {
                        statement.query_row(params![task.0, artifact, revision], |row| row.get(0)).optional()
                    })
                    .map_err(|source| StoreError::Read { query: "approval", source })
            })
            .await
    }
}

//! Tasks and their events: the row is the fold, written in the same transaction.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::writer::Cached;
use super::{LeaseProof, Store, StoreError, jobs, leases};
use crate::{
    domain::{
        actor::Actor,
        event::{Event, StoredEvent},
        ids::{TaskId, WorkItemKey},
        job::Role,
        stage::Stage,
        task::{self, Standing, Task},
        verdict::Waitee,
    },
    failpoint::{self, Point},
    guards::Guard,
};

/// A task with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// Number.
    pub id: TaskId,
    /// Folded history.
    pub task: Task,
}

/// What a new task is made of.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The tracker's key.
    pub key: WorkItemKey,
    /// Project.
    pub project: String,
    /// Title.
    pub title: String,
    /// Text.
    pub body: String,
    /// Who asks.
    pub actor: Actor,
    /// The person behind it.
    pub who: Option<String>,
}

/// What the row must still be for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Exactly what the decision was made on.
    At {
        /// Stage.
        stage: Stage,
        /// Number of the last event.
        version: i64,
    },
    /// Whatever stands there: the plain write of a system whose lease is switched off.
    Any,
}

/// A decision on its way into the store.
#[derive(Debug, Clone)]
pub struct CommitWrite {
    /// Whose.
    pub task: TaskId,
    /// On what it was decided.
    pub expected: Expected,
    /// Who asks.
    pub actor: Actor,
    /// The person behind it.
    pub who: Option<String>,
    /// Why.
    pub reason: String,
    /// What changes.
    pub events: Vec<Event>,
    /// Role whose job is queued, with its bound on attempts.
    pub enqueue: Option<(Role, u32)>,
    /// Whether open jobs are cancelled first.
    pub cancel_jobs: bool,
    /// When.
    pub at_ms: i64,
}

/// A task that moves, or waits for a slot, is asked again after this time.
const ASKED_AGAIN_MS: i64 = 2_000;

/// Tasks whose history is checked in one page.
const CHECKED_AT_ONCE: u32 = 200;

pub(super) const SELECT_TASK: &str = "SELECT id, row_json FROM task WHERE work_item = ?1";
pub(super) const SELECT_TASK_BY_ID: &str = "SELECT id, row_json FROM task WHERE id = ?1";
pub(super) const SELECT_EVENTS: &str =
    "SELECT seq, at_ms, actor, who, reason, event FROM event WHERE task_id = ?1 AND seq > ?2 ORDER BY seq";
/// A task whose edge is owned is not asked for: its owner acts, and the reaper frees a dead owner's. One
/// that was written later than the clock shows is due: the clock was set back.
pub(super) const SELECT_DUE: &str = "SELECT id, row_json FROM task WHERE due_at_ms IS NOT NULL \
     AND (due_at_ms <= ?1 OR updated_at_ms > ?1 \
          OR (standing = 'held' AND json_extract(row_json, '$.standing_since_ms') > ?1)) AND NOT EXISTS \
     (SELECT 1 FROM transition_lease WHERE task_id = task.id AND held = 1) ORDER BY due_at_ms LIMIT ?2";
pub(super) const SELECT_OPEN: &str =
    "SELECT id, row_json FROM task WHERE stage NOT IN ('done','cancelled') ORDER BY id LIMIT ?1";
const SELECT_PAGE: &str = "SELECT id, row_json FROM task WHERE id > ?1 ORDER BY id LIMIT ?2";
// a query of its own: one that serves both would read all of history for a stage
pub(super) const SELECT_PAGE_OF_STAGE: &str =
    "SELECT id, row_json FROM task WHERE stage = ?3 AND id > ?1 ORDER BY id LIMIT ?2";

const UPDATE_ROW: &str = "UPDATE task SET standing = ?2, due_at_ms = ?3, round = ?4, version = ?5, updated_at_ms = ?6, row_json = ?7 WHERE id = ?1";
const UPDATE_ROW_AND_STAGE: &str =
    "UPDATE task SET stage = ?8, standing = ?2, due_at_ms = ?3, round = ?4, version = ?5, updated_at_ms = ?6, row_json = ?7
     WHERE id = ?1";
const COUNT_NEW: &str = "INSERT INTO stage_count (stage, standing, tasks) VALUES (?1, ?2, 1)
     ON CONFLICT (stage, standing) DO UPDATE SET tasks = tasks + 1";
const MOVE_COUNT: &str = "INSERT INTO stage_count (stage, standing, tasks) VALUES (?1, ?2, -1), (?3, ?4, 1)
     ON CONFLICT (stage, standing) DO UPDATE SET tasks = tasks + excluded.tasks";

impl Store {
    /// Makes a task, or answers the one that has this key already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_task(&self, new: NewTask, at_ms: i64) -> Result<(TaskRow, bool), StoreError> {
        self.writer.write("create_task", move |tx| {
            if let Some(row) = select_task(tx, &new.key)? {
                return Ok((row, false));
            }
            let key = new.key.as_str().to_owned();
            let stored = StoredEvent {
                seq: 1,
                at_ms,
                actor: new.actor,
                who: new.who,
                reason: "work item taken in".to_owned(),
                event: Event::Created { key: new.key, project: new.project, title: new.title.clone(), body: new.body },
            };
            let task = task::apply(None, &stored)?;
            tx.execute_cached(
                "INSERT INTO task (work_item, project, stage, standing, round, version, created_at_ms, updated_at_ms, row_json, due_at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9)",
                params![
                    key, task.project, task.stage.as_str(), task.standing.as_str(), task.round, task.version, at_ms,
                    json(&task)?, at_ms.saturating_add(ASKED_AGAIN_MS)
                ],
            )
            .map_err(failed("create_task"))?;
            let id = TaskId(tx.last_insert_rowid());
            insert_event(tx, id, &stored)?;
            tx.execute_cached(COUNT_NEW, params![task.stage.as_str(), task.standing.as_str()])
                .map_err(failed("count_stage"))?;
            tx.execute_cached(
                "INSERT INTO tracker_item (work_item, title, state, changed_at_ms) VALUES (?1, ?2, 'open', ?3)
                 ON CONFLICT (work_item) DO NOTHING",
                params![key, new.title, at_ms],
            )
            .map_err(failed("create_task"))?;
            Ok((TaskRow { id, task }, true))
        })
        .await
    }

    /// Writes a decision: events, row, next job, lease release, in one transaction. `None` when
    /// the row is no longer what was expected, or the proof is fenced off: nothing was written.
    ///
    /// With a proof the lease ends with this write.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn commit(
        &self,
        proof: Option<&LeaseProof>,
        write: CommitWrite,
    ) -> Result<Option<TaskRow>, StoreError> {
        let (fencing, guards) = (proof.and_then(LeaseProof::fencing), self.guards.clone());
        self.writer
            .write("commit", move |tx| {
                if let Some(fencing) = fencing
                    && !leases::release_if_current(tx, write.task, fencing)?
                    && guards.stands(Guard::CommitFencing)
                {
                    return Ok(None);
                }
                let write = if guards.stands(Guard::Comparison) {
                    write
                } else {
                    CommitWrite { expected: Expected::Any, ..write }
                };
                let Some(row) = append(tx, &write)? else {
                    // the lease goes back all the same: whoever lost has no use for it
                    return Ok(None);
                };
                if write.cancel_jobs {
                    jobs::cancel_open(tx, write.task, write.at_ms, &write.reason)?;
                }
                if let Some((role, attempts_max)) = write.enqueue {
                    jobs::enqueue(tx, &row, role, attempts_max, write.at_ms, &write.reason)?;
                }
                let left = left_stage(&write.events);
                left.into_iter().for_each(|stage| failpoint::hit(Point::StageBeforeCommit, stage.as_str()));
                Ok(Some((row, left)))
            })
            .await
            .map(|written| {
                let (row, left) = written?;
                left.into_iter().for_each(|stage| failpoint::hit(Point::StageAfterCommit, stage.as_str()));
                Some(row)
            })
    }

    /// One task by key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn task(&self, key: &WorkItemKey) -> Result<Option<TaskRow>, StoreError> {
        let key = key.clone();
        self.readers.read("task", move |connection| select_task(connection, &key)).await
    }

    /// One task by number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn task_by_id(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        self.readers.read("task_by_id", move |connection| select_task_by_id(connection, id)).await
    }

    /// A page of tasks after number `after`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tasks_page(
        &self,
        after: i64,
        stage: Option<Stage>,
        limit: u32,
    ) -> Result<Vec<TaskRow>, StoreError> {
        let stage = stage.map(Stage::as_str);
        self.readers
            .read("tasks_page", move |connection| match stage {
                Some(stage) => rows(connection, SELECT_PAGE_OF_STAGE, params![after, limit, stage]),
                None => rows(connection, SELECT_PAGE, params![after, limit]),
            })
            .await
    }

    /// Tasks that are not terminal, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_tasks(&self, limit: u32) -> Result<Vec<TaskRow>, StoreError> {
        self.readers.read("open_tasks", move |connection| rows(connection, SELECT_OPEN, params![limit])).await
    }

    /// Held tasks whose time has come, or whose rest a clock that was set back would prolong.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn due_tasks(&self, now_ms: i64, limit: u32) -> Result<Vec<TaskRow>, StoreError> {
        self.readers
            .read("due_tasks", move |connection| rows(connection, SELECT_DUE, params![now_ms, limit]))
            .await
    }

    /// A task's history after event `seq`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events_after(&self, id: TaskId, seq: i64) -> Result<Vec<StoredEvent>, StoreError> {
        self.readers.read("events_after", move |connection| select_events(connection, id, seq)).await
    }

    /// A task's history, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events(&self, id: TaskId) -> Result<Vec<StoredEvent>, StoreError> {
        self.readers.read("events", move |connection| select_events(connection, id, 0)).await
    }
}

/// Appends events if the row is as expected; the only writer of `task.stage`.
pub(super) fn append(tx: &Transaction<'_>, write: &CommitWrite) -> Result<Option<TaskRow>, StoreError> {
    let Some(row) = select_task_by_id(tx, write.task)? else { return Ok(None) };
    match write.expected {
        Expected::At { stage, version } if row.task.stage != stage || row.task.version != version => {
            return Ok(None);
        }
        Expected::At { .. } | Expected::Any => {}
    }
    if write.events.is_empty() {
        return Ok(Some(row));
    }
    let before = (row.task.stage, row.task.standing.as_str());
    let mut task = row.task;
    for event in &write.events {
        let stored = StoredEvent {
            seq: task.version + 1,
            at_ms: write.at_ms,
            actor: write.actor,
            who: write.who.clone(),
            reason: write.reason.clone(),
            event: if write.expected == Expected::Any { from_here(event, &task) } else { event.clone() },
        };
        task = task::apply(Some(task), &stored)?;
        insert_event(tx, row.id, &stored)?;
    }
    update_row(tx, row.id, before, &task)?;
    Ok(Some(TaskRow { id: row.id, task }))
}

/// The stage that a decision leaves, if it leaves one.
fn left_stage(events: &[Event]) -> Option<Stage> {
    events.iter().find_map(|event| {
        let (Event::Entered { from, .. } | Event::RolledBack { from, .. }) = event else { return None };
        Some(*from)
    })
}

/// A note in history that changes no stage: appended to whatever stands there.
pub(super) fn note(
    tx: &Transaction<'_>,
    task: TaskId,
    actor: Actor,
    reason: &str,
    event: Event,
    at_ms: i64,
) -> Result<(), StoreError> {
    write_down(tx, task, actor, None, reason, vec![event], at_ms)
}

/// Several such notes, with the person behind them. What changes a stage is refused.
pub(super) fn write_down(
    tx: &Transaction<'_>,
    task: TaskId,
    actor: Actor,
    who: Option<String>,
    reason: &str,
    events: Vec<Event>,
    at_ms: i64,
) -> Result<(), StoreError> {
    let moves = |event: &Event| {
        matches!(event, Event::Entered { .. } | Event::RolledBack { .. } | Event::WrittenOver { .. })
    };
    if events.iter().any(moves) {
        return Err(StoreError::damaged("event", "a note cannot change a stage"));
    }
    let write = CommitWrite {
        task,
        expected: Expected::Any,
        actor,
        who,
        reason: reason.to_owned(),
        events,
        enqueue: None,
        cancel_jobs: false,
        at_ms,
    };
    append(tx, &write).map(drop)
}

/// Without the comparison a change of stage lands wherever the task happens to stand, as a plain
/// UPDATE would. Where that is not what it was decided on, history says so.
fn from_here(event: &Event, task: &Task) -> Event {
    let fits = |from: Stage| from == task.stage && !task.stage.is_terminal();
    match event.clone() {
        Event::Entered { from, to } if !fits(from) => {
            Event::WrittenOver { found: task.stage, to, step: None, findings: Vec::new() }
        }
        Event::RolledBack { from, to, step, findings } if !fits(from) || task.merged.is_some() => {
            Event::WrittenOver { found: task.stage, to, step: Some(step), findings }
        }
        other => other,
    }
}

/// Folds every task's history and compares it with its row, byte for byte; answers how many there are.
pub(super) fn check_histories(connection: &Connection) -> Result<u64, StoreError> {
    let (mut after, mut checked) = (0, 0);
    loop {
        let page = rows(connection, SELECT_PAGE, params![after, CHECKED_AT_ONCE])?;
        let Some(last) = page.last() else { return Ok(checked) };
        after = last.id.0;
        for row in page {
            let folded = task::fold(&select_events(connection, row.id, 0)?)?;
            if folded.as_ref().map(json).transpose()? != Some(json(&row.task)?) {
                return Err(StoreError::damaged(
                    "task",
                    format!("history does not explain {}", row.task.key),
                ));
            }
            checked += 1;
        }
    }
}

fn update_row(
    tx: &Transaction<'_>,
    id: TaskId,
    before: (Stage, &str),
    task: &Task,
) -> Result<(), StoreError> {
    let due = match &task.standing {
        Standing::Held { retry_at_ms, .. } => Some(*retry_at_ms),
        // asked again soon by the monitor: a slot is given free without telling anybody, and what
        // moves has an actor that may have died before it acted
        Standing::Waiting { who: Waitee::Slot { .. }, .. } | Standing::Moving {} => {
            Some(task.updated_at_ms.saturating_add(ASKED_AGAIN_MS))
        }
        Standing::Waiting { .. } | Standing::Blocked { .. } | Standing::Finished {} => None,
    };
    let (standing, row) = (task.standing.as_str(), json(task)?);
    // a stage that is written, though it is the same, costs a page of each index that has it
    let written = if before.0 == task.stage {
        let values = params![id.0, standing, due, task.round, task.version, task.updated_at_ms, row];
        tx.execute_cached(UPDATE_ROW, values)
    } else {
        let stage = task.stage.as_str();
        let values = params![id.0, standing, due, task.round, task.version, task.updated_at_ms, row, stage];
        tx.execute_cached(UPDATE_ROW_AND_STAGE, values)
    };
    written.map_err(failed("update_task"))?;
    if before == (task.stage, standing) {
        return Ok(());
    }
    tx.execute_cached(MOVE_COUNT, params![before.0.as_str(), before.1, task.stage.as_str(), standing])
        .map(drop)
        .map_err(failed("count_stage"))
}

fn insert_event(tx: &Transaction<'_>, id: TaskId, stored: &StoredEvent) -> Result<(), StoreError> {
    tx.execute_cached(
        "INSERT INTO event (task_id, seq, at_ms, actor, who, reason, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![id.0, stored.seq, stored.at_ms, stored.actor.as_str(), stored.who, stored.reason, json(&stored.event)?],
    )
    .map(drop)
    .map_err(failed("insert_event"))
}

pub(super) fn select_task(connection: &Connection, key: &WorkItemKey) -> Result<Option<TaskRow>, StoreError> {
    first(connection, SELECT_TASK, params![key.as_str()])
}

pub(super) fn select_task_by_id(connection: &Connection, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
    first(connection, SELECT_TASK_BY_ID, params![id.0])
}

pub(super) fn select_events(
    connection: &Connection,
    id: TaskId,
    after: i64,
) -> Result<Vec<StoredEvent>, StoreError> {
    let read = |source| StoreError::Read { query: "events", source };
    let mut statement = connection.prepare_cached(SELECT_EVENTS).map_err(read)?;
    let raw = statement
        .query_map([id.0, after], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get::<_, String>(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get::<_, String>(5)?,
            ))
        })
        .map_err(read)?;
    raw.map(|row| {
        let (seq, at_ms, actor, who, reason, event) = row.map_err(read)?;
        let actor =
            Actor::parse(&actor).ok_or_else(|| StoreError::damaged("event", format!("actor `{actor}`")))?;
        let event = serde_json::from_str(&event).map_err(|error| StoreError::damaged("event", error))?;
        Ok(StoredEvent { seq, at_ms, actor, who, reason, event })
    })
    .collect()
}

fn first(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Option<TaskRow>, StoreError> {
    let read = |source| StoreError::Read { query: "task", source };
    let found = connection
        .prepare_cached(sql)
        .map_err(read)?
        .query_row(parameters, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .optional()
        .map_err(read)?;
    found.map(|(id, text)| parse(id, &text)).transpose()
}

pub(super) fn rows(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<TaskRow>, StoreError> {
    let read = |source| StoreError::Read { query: "tasks", source };
    let mut statement = connection.prepare_cached(sql).map_err(read)?;
    let raw =
        statement.query_map(parameters, |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).map_err(read)?;
    raw.map(|row| row.map_err(read).and_then(|(id, text)| parse(id, &text))).collect()
}

fn parse(id: i64, text: &str) -> Result<TaskRow, StoreError> {
    let task = serde_json::from_str(text).map_err(|error| StoreError::damaged("task", error))?;
    Ok(TaskRow { id: TaskId(id), task })
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::damaged("value", error))
}

pub(super) fn failed(command: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| StoreError::Write { command, source }
}

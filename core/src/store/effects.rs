//! The effect journal: intent, then done with evidence, or void once proven not to have happened.
//!
//! An intent is refused unless its writer's fencing token is the current one. The journal records;
//! whether an effect happened is asked of the outside, never of these rows.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Cached;
use super::{LeaseProof, Store, StoreError, leases, tasks};
use crate::{
    domain::{
        actor::Actor,
        effect::EffectKind,
        event::Event,
        ids::{Fencing, TaskId},
    },
    failpoint::{self, Point},
    guards::{Guard, Guards},
};

/// Answer to an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntentWrite {
    /// Written, or open already from an earlier try: probe, then act.
    Open {
        /// Number of the journal row.
        id: i64,
        /// Whether this call wrote it: then nothing can have been done under it yet.
        fresh: bool,
    },
    /// Journalled as done before; the evidence.
    Done(String),
    /// The lease is somebody else's by now: stop without a side effect.
    Fenced,
}

/// A journalled effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectRow {
    /// Number.
    pub id: i64,
    /// Whose.
    pub task: TaskId,
    /// Which.
    pub kind: EffectKind,
    /// For which revision.
    pub revision: String,
    /// Grant, from 1.
    pub grant_number: i64,
    /// When the intent was written.
    pub intent_at_ms: i64,
    /// `intent`, `done`, `void`.
    pub state: String,
    /// When it was settled.
    pub settled_at_ms: Option<i64>,
    /// Evidence, once settled.
    pub evidence: Option<String>,
}

macro_rules! select_effect {
    ($rest:literal) => {
        concat!(
            "SELECT id, task_id, kind, revision, grant_number, intent_at_ms, state, settled_at_ms, evidence \
             FROM effect WHERE ",
            $rest
        )
    };
}

pub(super) const SELECT_OPEN_INTENTS: &str = select_effect!("state = 'intent' ORDER BY id");
const SELECT_OPEN_OF: &str = select_effect!("task_id = ?1 AND state = 'intent' ORDER BY id LIMIT 1");
const SELECT_OF_TASK: &str = select_effect!("task_id = ?1 ORDER BY id");
const SELECT_LATEST: &str =
    select_effect!("task_id = ?1 AND kind = ?2 AND revision = ?3 ORDER BY grant_number DESC LIMIT 1");

/// The first intent of an effect, if its writer's token is the current one. Most are the first.
const INSERT_FIRST_INTENT: &str =
    "INSERT INTO effect (task_id, kind, revision, grant_number, fencing, boot_id, intent_at_ms, state)
     SELECT ?1, ?2, ?3, 1, ?4, ?5, ?6, 'intent'
     WHERE (?7 IS NULL OR EXISTS (SELECT 1 FROM transition_lease WHERE task_id = ?1 AND fencing = ?7 AND held = 1))
       AND NOT EXISTS (SELECT 1 FROM effect WHERE task_id = ?1 AND kind = ?2 AND revision = ?3)";
const UPDATE_DONE: &str = "UPDATE effect SET state = 'done', settled_at_ms = ?2, evidence = ?3
     WHERE id = ?1 AND state = 'intent'
       AND (?5 IS NULL OR EXISTS (SELECT 1 FROM transition_lease WHERE task_id = ?4 AND fencing = ?5 AND held = 1))";

impl Store {
    /// Journals the intent of an effect. `proven_absent`: the caller has looked, and what an
    /// earlier grant did no longer stands; only then a journalled *done* gives way to a new grant.
    ///
    /// # Errors
    /// [`StoreError`]; then the effect must not begin.
    pub async fn write_intent(
        &self,
        proof: &LeaseProof,
        kind: EffectKind,
        revision: String,
        proven_absent: bool,
        at_ms: i64,
    ) -> Result<IntentWrite, StoreError> {
        let (task, fencing) = (proof.task(), proof.fencing());
        let (boot, guards) = (self.identity.boot_id.clone(), self.guards.clone());
        self.writer
            .write("write_intent", move |tx| {
                let token = fencing.map_or(0, |fencing| fencing.0);
                let first = tx
                    .execute_cached(
                        INSERT_FIRST_INTENT,
                        params![task.0, kind.as_str(), revision, token, boot.0, at_ms, asked_token(&guards, fencing)],
                    )
                    .map_err(tasks::failed("write_intent"))?;
                if first == 1 {
                    let id = tx.last_insert_rowid();
                    failpoint::hit(Point::IntentBeforeCommit, kind.as_str());
                    return Ok(IntentWrite::Open { id, fresh: true });
                }
                if is_fenced_off(tx, &guards, task, fencing)? {
                    return Ok(IntentWrite::Fenced);
                }
                let last = latest(tx, task, kind, &revision)?;
                let grant = match last {
                    Some(row) if row.state == "done" && !proven_absent && guards.stands(Guard::JournalledDone) => return Ok(IntentWrite::Done(row.evidence.unwrap_or_default())),
                    Some(row) if row.state == "intent" => {
                        tx.execute_cached("UPDATE effect SET fencing = ?2, boot_id = ?3 WHERE id = ?1", params![row.id, token, boot.0])
                            .map_err(tasks::failed("write_intent"))?;
                        return Ok(IntentWrite::Open { id: row.id, fresh: false });
                    }
                    Some(row) => row.grant_number + 1,
                    None => 1,
                };
                tx.execute_cached(
                    "INSERT INTO effect (task_id, kind, revision, grant_number, fencing, boot_id, intent_at_ms, state)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'intent')",
                    params![task.0, kind.as_str(), revision, grant, token, boot.0, at_ms],
                )
                .map_err(tasks::failed("write_intent"))?;
                let id = tx.last_insert_rowid();
                failpoint::hit(Point::IntentBeforeCommit, kind.as_str());
                Ok(IntentWrite::Open { id, fresh: true })
            })
            .await
    }

    /// Journals that an effect stands, with its evidence and what it changes in the task. `false`
    /// when the proof is fenced off: then nothing was written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn effect_done(
        &self,
        proof: &LeaseProof,
        id: i64,
        actor: Actor,
        evidence: String,
        events: Vec<Event>,
        at_ms: i64,
    ) -> Result<bool, StoreError> {
        let (task, fencing, guards) = (proof.task(), proof.fencing(), self.guards.clone());
        self.writer
            .write("effect_done", move |tx| {
                let done = tx
                    .execute_cached(
                        UPDATE_DONE,
                        params![id, at_ms, evidence, task.0, asked_token(&guards, fencing)],
                    )
                    .map_err(tasks::failed("effect_done"))?;
                if done == 0 && is_fenced_off(tx, &guards, task, fencing)? {
                    return Ok(false);
                }
                // said twice changes nothing; an intent that was voided meanwhile cannot be done
                if done == 0 {
                    let state: String = tx
                        .query_row("SELECT state FROM effect WHERE id = ?1", [id], |row| row.get(0))
                        .map_err(tasks::failed("effect_done"))?;
                    return Ok(state == "done");
                }
                for event in events {
                    let done =
                        if let Event::EffectDone { effect, .. } = &event { Some(*effect) } else { None };
                    tasks::note(tx, task, actor, &evidence, event, at_ms)?;
                    done.into_iter().for_each(|kind| failpoint::hit(Point::DoneBeforeCommit, kind.as_str()));
                }
                Ok(true)
            })
            .await
    }

    /// Journals that an intended effect is proven not to have happened and is no longer wanted.
    /// `false` when the proof is fenced off: the new owner may be at work under this very intent.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn effect_void(
        &self,
        proof: &LeaseProof,
        id: i64,
        why: String,
        at_ms: i64,
    ) -> Result<bool, StoreError> {
        let (task, fencing, guards) = (proof.task(), proof.fencing(), self.guards.clone());
        self.writer
            .write("effect_void", move |tx| {
                if is_fenced_off(tx, &guards, task, fencing)? {
                    return Ok(false);
                }
                tx.execute_cached(
                    "UPDATE effect SET state = 'void', settled_at_ms = ?2, evidence = ?3 WHERE id = ?1 AND state = 'intent'",
                    params![id, at_ms, why],
                )
                .map(|_| true)
                .map_err(tasks::failed("effect_void"))
            })
            .await
    }

    /// Intents that were never settled, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_intents(&self) -> Result<Vec<EffectRow>, StoreError> {
        self.readers.read("open_intents", |connection| select(connection, SELECT_OPEN_INTENTS, [])).await
    }

    /// Journal of one task, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn effects_of(&self, task: TaskId) -> Result<Vec<EffectRow>, StoreError> {
        self.readers
            .read("effects_of", move |connection| select(connection, SELECT_OF_TASK, params![task.0]))
            .await
    }
}

/// The token that must be the current one, if any must: none where the lease is switched off.
fn asked_token(guards: &Guards, fencing: Option<Fencing>) -> Option<i64> {
    fencing.filter(|_| guards.stands(Guard::JournalFencing)).map(|fencing| fencing.0)
}

/// Whether the proof's token is no longer the current one. A proof without a token passes: the lease is
/// switched off.
fn is_fenced_off(
    connection: &Connection,
    guards: &Guards,
    task: TaskId,
    fencing: Option<Fencing>,
) -> Result<bool, StoreError> {
    match asked_token(guards, fencing) {
        Some(token) => Ok(!leases::is_current(connection, task, Fencing(token))?),
        None => Ok(false),
    }
}

/// The effect of a task that has begun and is not settled, if there is one.
pub(super) fn open_kind(connection: &Connection, task: TaskId) -> Result<Option<EffectKind>, StoreError> {
    let found = select(connection, SELECT_OPEN_OF, params![task.0])?;
    Ok(found.into_iter().next().map(|effect| effect.kind))
}

/// Whether an effect of a task has begun and is not settled.
pub(super) fn is_open(connection: &Connection, task: TaskId) -> Result<bool, StoreError> {
    open_kind(connection, task).map(|kind| kind.is_some())
}

fn latest(
    connection: &Connection,
    task: TaskId,
    kind: EffectKind,
    revision: &str,
) -> Result<Option<EffectRow>, StoreError> {
    let read = |source| StoreError::Read { query: "effect", source };
    connection
        .prepare_cached(SELECT_LATEST)
        .map_err(read)?
        .query_row(params![task.0, kind.as_str(), revision], |row| Ok(parse(row)))
        .optional()
        .map_err(read)?
        .transpose()
}

fn select(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<EffectRow>, StoreError> {
    let read = |source| StoreError::Read { query: "effects", source };
    let mut statement = connection.prepare_cached(sql).map_err(read)?;
    let raw = statement.query_map(parameters, |row| Ok(parse(row))).map_err(read)?;
    raw.map(|row| row.map_err(read)?).collect()
}

fn parse(row: &Row<'_>) -> Result<EffectRow, StoreError> {
    let read = |source| StoreError::Read { query: "effect", source };
    let kind: String = row.get("kind").map_err(read)?;
    Ok(EffectRow {
        id: row.get("id").map_err(read)?,
        task: TaskId(row.get("task_id").map_err(read)?),
        kind: EffectKind::parse(&kind)
            .ok_or_else(|| StoreError::damaged("effect", format!("kind `{kind}`")))?,
        revision: row.get("revision").map_err(read)?,
        grant_number: row.get("grant_number").map_err(read)?,
        intent_at_ms: row.get("intent_at_ms").map_err(read)?,
        state: row.get("state").map_err(read)?,
        settled_at_ms: row.get("settled_at_ms").map_err(read)?,
        evidence: row.get("evidence").map_err(read)?,
    })
}

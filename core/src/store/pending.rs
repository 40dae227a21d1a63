//! What waits for an owner to end: triggers that were deferred, and commands of people.
//!
//! Both outlive the core. A trigger says that an actor wanted to look; a command says what a person
//! asked for.

use rusqlite::{Transaction, params};

use super::writer::Cached;
use super::{Store, StoreError, leases, tasks};
use crate::{
    domain::{
        actor::Actor,
        ids::{TaskId, WorkItemKey},
        transition::Command,
    },
    guards::Guard,
};

pub(super) const SELECT_PENDING: &str =
    "SELECT pending_trigger.task_id, pending_trigger.actor, task.work_item
     FROM pending_trigger JOIN task ON task.id = pending_trigger.task_id ORDER BY stored_at_ms, 1, 2";

/// A trigger whose task has no live owner any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingTrigger {
    /// Whose.
    pub key: WorkItemKey,
    /// Which actor asked.
    pub actor: Actor,
}

/// A person's command that waits for the owner of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCommand {
    /// Whose.
    pub task: TaskId,
    /// Cancel, or roll back.
    pub command: Command,
    /// The person.
    pub who: String,
    /// Why.
    pub why: String,
}

/// Keeps an actor's trigger, in the transaction that deferred it: whoever ends the lease after it
/// finds it.
pub(super) fn keep(tx: &Transaction<'_>, task: TaskId, actor: Actor, at_ms: i64) -> Result<(), StoreError> {
    tx.execute_cached(
        "INSERT INTO pending_trigger (task_id, actor, stored_at_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![task.0, actor.as_str(), at_ms],
    )
    .map(drop)
    .map_err(tasks::failed("keep_trigger"))
}

impl Store {
    /// Keeps the trigger of an actor that made way for a person: it asks again when that one has left.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_trigger(&self, task: TaskId, actor: Actor, at_ms: i64) -> Result<(), StoreError> {
        self.writer.write("keep_trigger", move |tx| keep(tx, task, actor, at_ms)).await
    }

    /// Takes the triggers whose tasks have no live owner any more, each once.
    ///
    /// # Errors
    /// [`StoreError`]; then all of them are still pending.
    pub async fn take_pending(&self) -> Result<Vec<PendingTrigger>, StoreError> {
        let (boot, owners) = (self.identity.boot_id.clone(), self.owners.clone());
        if !self.guards.stands(Guard::PendingTrigger) {
            return Ok(Vec::new());
        }
        // most passes find nothing, and cost no write
        let none = self
            .readers
            .read("pending", |connection| {
                connection
                    .query_row("SELECT NOT EXISTS (SELECT 1 FROM pending_trigger)", [], |row| {
                        row.get::<_, bool>(0)
                    })
                    .map_err(|source| StoreError::Read { query: "pending", source })
            })
            .await?;
        if none {
            return Ok(Vec::new());
        }
        self.writer
            .write("take_pending", move |tx| {
                let fail = tasks::failed("take_pending");
                let mut statement = tx.prepare_cached(SELECT_PENDING).map_err(&fail)?;
                let found = statement
                    .query_map([], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
                    })
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(&fail)?;
                let mut taken = Vec::new();
                for (task, actor, key) in found {
                    let task = TaskId(task);
                    if leases::has_live_owner(tx, task, &boot, &owners)? {
                        continue;
                    }
                    tx.execute_cached(
                        "DELETE FROM pending_trigger WHERE task_id = ?1 AND actor = ?2",
                        params![task.0, actor],
                    )
                    .map_err(&fail)?;
                    let actor = Actor::parse(&actor)
                        .ok_or_else(|| StoreError::damaged("pending_trigger", format!("actor `{actor}`")))?;
                    let key = WorkItemKey::parse(&key).map_err(|error| StoreError::damaged("task", error))?;
                    taken.push(PendingTrigger { key, actor });
                }
                Ok(taken)
            })
            .await
    }

    /// Keeps a person's command until it is carried out or refused. A later one of the same task takes
    /// its place. Only what makes way is kept: cancel and roll-back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_command(&self, kept: KeptCommand, at_ms: i64) -> Result<(), StoreError> {
        let (word, detail) = match kept.command {
            Command::Cancel => ("cancel", String::new()),
            Command::RollBack { why } => ("roll_back", why),
            Command::Advance | Command::Retry | Command::Redeploy => return Ok(()),
        };
        self.writer
            .write("keep_command", move |tx| {
                tx.execute_cached(
                    "INSERT INTO kept_command (task_id, command, detail, who, why, stored_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (task_id) DO UPDATE SET command = ?2, detail = ?3, who = ?4, why = ?5, stored_at_ms = ?6",
                    params![kept.task.0, word, detail, kept.who, kept.why, at_ms],
                )
                .map(drop)
                .map_err(tasks::failed("keep_command"))
            })
            .await
    }

    /// Forgets a task's kept command.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_command(&self, task: TaskId) -> Result<(), StoreError> {
        self.writer
            .write("forget_command", move |tx| {
                tx.execute_cached("DELETE FROM kept_command WHERE task_id = ?1", [task.0])
                    .map(drop)
                    .map_err(tasks::failed("forget_command"))
            })
            .await
    }

    /// Commands that an earlier life kept and did not carry out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn kept_commands(&self) -> Result<Vec<KeptCommand>, StoreError> {
        self.readers
            .read("kept_commands", |connection| {
                let read = |source| StoreError::Read { query: "kept_commands", source };
                let mut statement = connection
                    .prepare_cached(
                        "SELECT task_id, command, detail, who, why FROM kept_command ORDER BY stored_at_ms",
                    )
                    .map_err(read)?;
                let rows = statement
                    .query_map([], |row| {
                        let command: String = row.get(1)?;
                        let command = match command.as_str() {
                            "roll_back" => Command::RollBack { why: row.get(2)? },
                            // the only other word that the column admits
                            _ => Command::Cancel,
                        };
                        Ok(KeptCommand {
                            task: TaskId(row.get(0)?),
                            command,
                            who: row.get(3)?,
                            why: row.get(4)?,
                        })
                    })
                    .map_err(read)?;
                rows.collect::<Result<_, _>>().map_err(read)
            })
            .await
    }
}

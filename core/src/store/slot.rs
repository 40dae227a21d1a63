//! The merge slot: one candidate at a time merges into a branch, in the order of arrival.

use rusqlite::{Connection, OptionalExtension, params};

use super::writer::Cached;
use super::{LeaseProof, OwnerRegistry, Store, StoreError, leases, tasks};
use crate::{
    domain::{
        ids::{BootId, TaskId},
        lease::OwnerLiveness,
    },
    guards::Guard,
};

impl Store {
    /// Takes the merge slot of a project's branch, or answers who has it. A holder of an earlier
    /// life, one that is no longer in the edge, or one that died in it loses the slot at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_merge_slot(
        &self,
        proof: &LeaseProof,
        project: String,
        branch: String,
        at_ms: i64,
    ) -> Result<Result<(), TaskId>, StoreError> {
        let task = proof.task();
        let boot = self.identity.boot_id.clone();
        let owners = self.owners.clone();
        let guarded = self.guards.stands(Guard::MergeSlot);
        self.writer
            .write("take_merge_slot", move |tx| {
                let holder: Option<(i64, String, String)> = tx
                    .query_row(
                        "SELECT merge_slot.task_id, merge_slot.boot_id, task.stage FROM merge_slot
                         JOIN task ON task.id = merge_slot.task_id WHERE merge_slot.project = ?1 AND branch = ?2",
                        params![project, branch],
                        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                    )
                    .optional()
                    .map_err(tasks::failed("take_merge_slot"))?;
                // whoever holds it goes on, whoever has come meanwhile
                if holder.as_ref().is_some_and(|(holder, holder_boot, _)| *holder == task.0 && *holder_boot == boot.0) {
                    return Ok(Ok(()));
                }
                if !guarded {
                    return Ok(Ok(()));
                }
                // who came first goes first: whoever asks is put in the row, and only its head is granted
                tx.execute_cached(
                    "INSERT INTO merge_waiter (project, branch, task_id, since_ms) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO NOTHING",
                    params![project, branch, task.0, at_ms],
                )
                .map_err(tasks::failed("take_merge_slot"))?;
                if let Some((holder, holder_boot, stage)) = holder
                    && holder != task.0
                    && holder_boot == boot.0
                    && stage == "deploy-staging"
                    && !died(tx, TaskId(holder), &boot, &owners)?
                {
                    return Ok(Err(TaskId(holder)));
                }
                let first: i64 = tx
                    .query_row(
                        "SELECT waiter.task_id FROM merge_waiter AS waiter JOIN task ON task.id = waiter.task_id
                         WHERE waiter.project = ?1 AND waiter.branch = ?2
                           AND (waiter.task_id = ?3 OR (task.stage = 'deploy-staging' AND task.standing = 'waiting'))
                         ORDER BY waiter.since_ms, waiter.task_id LIMIT 1",
                        params![project, branch, task.0],
                        |row| row.get(0),
                    )
                    .map_err(tasks::failed("take_merge_slot"))?;
                if first != task.0 {
                    return Ok(Err(TaskId(first)));
                }
                tx.execute_cached("DELETE FROM merge_waiter WHERE task_id = ?1", [task.0])
                    .map_err(tasks::failed("take_merge_slot"))?;
                tx.execute_cached(
                    "INSERT INTO merge_slot (project, branch, task_id, boot_id, taken_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (project, branch) DO UPDATE SET task_id = ?3, boot_id = ?4, taken_at_ms = ?5",
                    params![project, branch, task.0, boot.0, at_ms],
                )
                .map_err(tasks::failed("take_merge_slot"))?;
                Ok(Ok(()))
            })
            .await
    }

    /// Gives the merge slot free if this task holds it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn free_merge_slot(&self, task: TaskId) -> Result<(), StoreError> {
        self.writer
            .write("free_merge_slot", move |tx| {
                // a new owner of the same task keeps what it holds
                tx.execute_cached(
                    "DELETE FROM merge_slot WHERE task_id = ?1 AND NOT EXISTS
                     (SELECT 1 FROM transition_lease WHERE task_id = ?1 AND held = 1)",
                    [task.0],
                )
                .map(drop)
                .map_err(tasks::failed("free_merge_slot"))
            })
            .await
    }
}

/// Whether the task's lease is held by an owner that is gone. Without a lease it rests, and that is
/// no death: a candidate keeps the slot while its CI runs.
fn died(
    connection: &Connection,
    task: TaskId,
    boot: &BootId,
    owners: &OwnerRegistry,
) -> Result<bool, StoreError> {
    let lease = leases::select(connection, task)?;
    Ok(lease
        .is_some_and(|lease| lease.held && leases::judge(&lease.row, boot, owners) != OwnerLiveness::Live))
}

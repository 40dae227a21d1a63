//! Transition leases: one row a task, granted by one guarded write, carried as a proof value.
//!
//! [`LeaseProof`] has private fields and no constructor outside this module, so that "called
//! without the lease" does not compile. An owner is live while its [`OwnerRegistration`] exists in
//! this process: dropping it (return, abort, panic) makes the lease stale at once.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Store, StoreError, tasks};
use crate::domain::{
    actor::Actor,
    event::Event,
    ids::{BootId, Fencing, TaskId},
    lease::{LeaseRow, OwnerLiveness, judge_owner},
    stage::Edge,
};
use crate::failpoint::{Plant, planted};

pub(super) const SELECT_HELD: &str =
    "SELECT task_id, edge, fencing, actor, boot_id, owner, acquired_at_ms, pid, start_ticks
     FROM transition_lease WHERE held = 1 ORDER BY task_id";

/// Owners alive in this process.
#[derive(Debug, Clone, Default)]
pub struct OwnerRegistry {
    next: Arc<AtomicI64>,
    live: Arc<Mutex<HashSet<i64>>>,
}

/// One owner's life; the lease is stale once this is dropped.
#[derive(Debug)]
pub struct OwnerRegistration {
    number: i64,
    live: Arc<Mutex<HashSet<i64>>>,
}

impl OwnerRegistry {
    fn register(&self) -> OwnerRegistration {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        OwnerRegistration { number, live: Arc::clone(&self.live) }
    }

    /// Whether an owner's handle is registered.
    #[must_use]
    pub fn is_live(&self, number: i64) -> bool {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }
}

impl Drop for OwnerRegistration {
    fn drop(&mut self) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Proof that its holder owns one task's edge, or that the mechanism is switched off for it.
#[derive(Debug)]
pub struct LeaseProof {
    task: TaskId,
    fencing: Option<Fencing>,
    _owner: Option<OwnerRegistration>,
}

impl LeaseProof {
    /// Whose edge.
    #[must_use]
    pub const fn task(&self) -> TaskId {
        self.task
    }

    /// The token; `None` where the lease is switched off.
    #[must_use]
    pub const fn fencing(&self) -> Option<Fencing> {
        self.fencing
    }
}

/// Why a lease was taken from its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReclaimReason {
    /// The owner belonged to an earlier life.
    DeadBoot,
    /// The owner's handle is gone.
    DeadOwner,
    /// An operator released it.
    Forced,
    /// It was held beyond the ceiling.
    Overdue,
}

impl ReclaimReason {
    /// Name in history and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadBoot => "dead_boot",
            Self::DeadOwner => "dead_owner",
            Self::Forced => "forced",
            Self::Overdue => "overdue",
        }
    }
}

/// Answer to a request for the lease.
#[derive(Debug)]
pub enum Acquired {
    /// Granted; from a dead owner where a reason is given.
    Granted(LeaseProof, Option<ReclaimReason>),
    /// A live owner is at work.
    Deferred {
        /// Which actor.
        owner: Actor,
    },
}

/// A held lease, for display and for the ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// Whose.
    pub task: TaskId,
    /// Edge as text.
    pub edge: String,
    /// The row.
    pub row: LeaseRow,
    /// Owner's process.
    pub process: (i32, u64),
    /// Whether the owner lives.
    pub liveness: OwnerLiveness,
}

impl Store {
    /// Asks for the lease of a task's edge.
    ///
    /// # Errors
    /// [`StoreError`]; then nobody was granted anything.
    pub async fn acquire_lease(
        &self,
        task: TaskId,
        edge: Edge,
        actor: Actor,
        at_ms: i64,
    ) -> Result<Acquired, StoreError> {
        let owners = self.owners.clone();
        let identity = Arc::clone(&self.identity);
        self.writer
            .write("acquire_lease", move |tx| {
                let present = select(tx, task)?;
                let mut reclaimed = None;
                if let Some((row, true)) = &present {
                    match judge(row, &identity.boot_id, &owners) {
                        OwnerLiveness::Live if planted(Plant::LeaseForEverybody) => {}
                        OwnerLiveness::Live => return Ok(Acquired::Deferred { owner: row.actor }),
                        OwnerLiveness::DeadBoot => reclaimed = Some(ReclaimReason::DeadBoot),
                        OwnerLiveness::DeadOwner => reclaimed = Some(ReclaimReason::DeadOwner),
                    }
                }
                let fencing = Fencing(present.map_or(0, |(row, _)| row.fencing.0) + 1);
                let owner = owners.register();
                tx.execute(
                    "INSERT INTO transition_lease (task_id, fencing, held, edge, actor, boot_id, owner, pid, start_ticks, acquired_at_ms)
                     VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT (task_id) DO UPDATE SET fencing = ?2, held = 1, edge = ?3, actor = ?4, boot_id = ?5,
                            owner = ?6, pid = ?7, start_ticks = ?8, acquired_at_ms = ?9",
                    params![
                        task.0, fencing.0, edge.to_string(), actor.as_str(), identity.boot_id.0, owner.number,
                        identity.pid, identity.start_ticks.cast_signed(), at_ms
                    ],
                )
                .map_err(tasks::failed("acquire_lease"))?;
                if let Some(why) = reclaimed {
                    let event = Event::LeaseReclaimed { why: why.as_str().to_owned() };
                    tasks::note(tx, task, actor, "the lease's owner is gone", event, at_ms)?;
                }
                let proof = LeaseProof { task, fencing: Some(fencing), _owner: Some(owner) };
                Ok(Acquired::Granted(proof, reclaimed))
            })
            .await
    }

    /// A proof for a task whose lease is switched off or out of scope.
    #[must_use]
    pub const fn unleased(&self, task: TaskId) -> LeaseProof {
        LeaseProof { task, fencing: None, _owner: None }
    }

    /// Gives a lease back without a change of stage. A lease that has been taken away meanwhile
    /// stays with its new owner.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release_lease(&self, proof: LeaseProof) -> Result<(), StoreError> {
        let Some(fencing) = proof.fencing else { return Ok(()) };
        let task = proof.task;
        self.writer.write("release_lease", move |tx| release_if_current(tx, task, fencing).map(drop)).await
    }

    /// Takes a lease away, whoever holds it. Answers whether one was held.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn force_release(
        &self,
        task: TaskId,
        actor: Actor,
        why: ReclaimReason,
        at_ms: i64,
    ) -> Result<bool, StoreError> {
        self.writer
            .write("force_release", move |tx| {
                // the token grows, so that whoever held it can neither journal nor commit
                let freed = tx
                    .execute(
                        "UPDATE transition_lease SET held = 0, fencing = fencing + 1 WHERE task_id = ?1 AND held = 1",
                        [task.0],
                    )
                    .map_err(tasks::failed("force_release"))?;
                if freed > 0 {
                    let event = Event::LeaseReclaimed { why: why.as_str().to_owned() };
                    tasks::note(tx, task, actor, "the lease was released by force", event, at_ms)?;
                }
                Ok(freed > 0)
            })
            .await
    }

    /// Leases held now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn held_leases(&self) -> Result<Vec<HeldLease>, StoreError> {
        let owners = self.owners.clone();
        let boot = self.identity.boot_id.clone();
        self.readers.read("held_leases", move |connection| held(connection, &owners, &boot)).await
    }

    /// Stores that an actor was deferred, so that its trigger is asked again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn store_pending(&self, task: TaskId, actor: Actor, at_ms: i64) -> Result<(), StoreError> {
        if planted(Plant::DeferralDropped) {
            return Ok(());
        }
        self.writer
            .write("store_pending", move |tx| {
                tx.execute(
                    "INSERT INTO pending_trigger (task_id, actor, stored_at_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    params![task.0, actor.as_str(), at_ms],
                )
                .map(drop)
                .map_err(tasks::failed("store_pending"))
            })
            .await
    }

    /// Takes the pending triggers of a task; answers whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_pending(&self, task: TaskId) -> Result<bool, StoreError> {
        self.writer
            .write("take_pending", move |tx| {
                tx.execute("DELETE FROM pending_trigger WHERE task_id = ?1", [task.0])
                    .map(|n| n > 0)
                    .map_err(tasks::failed("take_pending"))
            })
            .await
    }

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
        let task = proof.task;
        let boot = self.identity.boot_id.clone();
        let owners = self.owners.clone();
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
                // who came first goes first: whoever asks is put in the row, and only its head is granted
                tx.execute(
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
                tx.execute("DELETE FROM merge_waiter WHERE task_id = ?1", [task.0])
                    .map_err(tasks::failed("take_merge_slot"))?;
                tx.execute(
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
                tx.execute(
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

fn judge(row: &LeaseRow, boot: &BootId, owners: &OwnerRegistry) -> OwnerLiveness {
    if planted(Plant::LivenessByPid) {
        return OwnerLiveness::Live;
    }
    judge_owner(row, boot, owners.is_live(row.owner))
}

/// Whether the task's lease is held by an owner that is gone. Without a lease it rests, and that is
/// no death: a candidate keeps the slot while its CI runs.
fn died(
    connection: &Connection,
    task: TaskId,
    boot: &BootId,
    owners: &OwnerRegistry,
) -> Result<bool, StoreError> {
    let lease = select(connection, task)?;
    Ok(lease.is_some_and(|(row, held)| held && judge(&row, boot, owners) != OwnerLiveness::Live))
}

/// Whether `fencing` is the task's current, held token.
pub(super) fn is_current(
    connection: &Connection,
    task: TaskId,
    fencing: Fencing,
) -> Result<bool, StoreError> {
    Ok(select(connection, task)?.is_some_and(|(row, held)| held && row.fencing == fencing))
}

/// Ends the lease if the token is current; answers whether it was.
pub(super) fn release_if_current(
    tx: &Transaction<'_>,
    task: TaskId,
    fencing: Fencing,
) -> Result<bool, StoreError> {
    tx.execute(
        "UPDATE transition_lease SET held = 0 WHERE task_id = ?1 AND fencing = ?2 AND held = 1",
        params![task.0, fencing.0],
    )
    .map(|n| n == 1)
    .map_err(tasks::failed("release_lease"))
}

pub(super) fn held(
    connection: &Connection,
    owners: &OwnerRegistry,
    boot: &BootId,
) -> Result<Vec<HeldLease>, StoreError> {
    let read = |source| StoreError::Read { query: "held_leases", source };
    let mut statement = connection.prepare_cached(SELECT_HELD).map_err(read)?;
    let raw = statement
        .query_map([], |row| {
            Ok((
                (row.get::<_, i64>(0)?, row.get::<_, String>(1)?),
                lease_columns((row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)),
                (row.get::<_, i32>(7)?, row.get::<_, i64>(8)?),
            ))
        })
        .map_err(read)?;
    raw.map(|row| {
        let ((task, edge), lease, (pid, ticks)) = row.map_err(read)?;
        let row = lease?;
        let liveness = judge(&row, boot, owners);
        Ok(HeldLease { task: TaskId(task), edge, row, process: (pid, ticks.cast_unsigned()), liveness })
    })
    .collect()
}

fn select(connection: &Connection, task: TaskId) -> Result<Option<(LeaseRow, bool)>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT fencing, actor, boot_id, owner, acquired_at_ms, held FROM transition_lease WHERE task_id = ?1",
        )
        .and_then(|mut statement| {
            statement
                .query_row([task.0], |row| {
                    let lease = lease_columns((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
                    Ok((lease, row.get::<_, bool>(5)?))
                })
                .optional()
        })
        .map_err(|source| StoreError::Read { query: "lease", source })?;
    found.map(|(row, held)| Ok((row?, held))).transpose()
}

fn lease_columns(
    (fencing, actor, boot_id, owner, acquired_at_ms): (i64, String, String, i64, i64),
) -> Result<LeaseRow, StoreError> {
    let actor = Actor::parse(&actor)
        .ok_or_else(|| StoreError::damaged("transition_lease", format!("actor `{actor}`")))?;
    Ok(LeaseRow { fencing: Fencing(fencing), actor, boot_id: BootId(boot_id), owner, acquired_at_ms })
}

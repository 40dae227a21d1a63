//! Transition leases: one row a task, granted by one guarded write, carried as a proof value.
//!
//! [`LeaseProof`] has private fields and no constructor outside this module, so that "called
//! without the lease" does not compile. An owner is live while its [`OwnerRegistration`] exists in
//! this process: dropping it (return, abort, panic) makes the lease stale at once.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::sync::Notify;

use super::writer::Cached;
use super::{Identity, Store, StoreError, effects, notices, pending, tasks};
use crate::{
    domain::{
        actor::Actor,
        event::Event,
        ids::{BootId, Fencing, TaskId},
        lease::{LeaseRow, OwnerLiveness, judge_owner},
        notice::Notice,
        stage::Edge,
        transition::parked_by_force,
    },
    failpoint::{self, Plant, Point, planted},
    guards::Guard,
};

pub(super) const SELECT_HELD: &str =
    "SELECT task_id, edge, fencing, actor, boot_id, owner, acquired_at_ms, pid, start_ticks
     FROM transition_lease WHERE held = 1 ORDER BY task_id";

/// Owners alive in this process, and word of each that ends.
#[derive(Debug, Clone, Default)]
pub struct OwnerRegistry {
    next: Arc<AtomicI64>,
    live: Arc<Mutex<HashSet<i64>>>,
    ended: Arc<Ends>,
}

/// How many owners have ended or were robbed, and who waits for the next. Whoever waits is woken in the
/// order of waiting: the same history goes the same way.
#[derive(Debug, Default)]
struct Ends {
    count: AtomicU64,
    more: Notify,
}

/// Hears of owners that end.
#[derive(Debug)]
pub struct Ended {
    ends: Arc<Ends>,
    heard: u64,
}

impl Ended {
    /// Takes all that has ended by now for heard.
    pub fn mark_unchanged(&mut self) {
        self.heard = self.ends.count.load(Ordering::Acquire);
    }

    /// Resolves when an owner has ended that was not heard of yet.
    pub async fn changed(&mut self) {
        loop {
            let more = self.ends.more.notified();
            tokio::pin!(more);
            // on the list before the look: an end between the two is not missed
            more.as_mut().enable();
            let count = self.ends.count.load(Ordering::Acquire);
            if count != self.heard {
                self.heard = count;
                return;
            }
            more.await;
        }
    }
}

/// One owner's life; the lease is stale once this is dropped.
#[derive(Debug)]
pub struct OwnerRegistration {
    number: i64,
    registry: OwnerRegistry,
}

impl OwnerRegistry {
    /// A number that no owner has; nobody lives under it yet.
    fn draw(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn register(&self, number: i64) -> OwnerRegistration {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        OwnerRegistration { number, registry: self.clone() }
    }

    /// Tells whenever an owner has ended or was robbed of its lease: who was deferred asks again.
    #[must_use]
    pub fn ended(&self) -> Ended {
        Ended { ends: Arc::clone(&self.ended), heard: self.ended.count.load(Ordering::Acquire) }
    }

    fn tell(&self) {
        self.ended.count.fetch_add(1, Ordering::AcqRel);
        self.ended.more.notify_waiters();
    }

    /// Whether an owner's handle is registered.
    #[must_use]
    pub fn is_live(&self, number: i64) -> bool {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }
}

impl Drop for OwnerRegistration {
    fn drop(&mut self) {
        self.registry.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        self.registry.tell();
    }
}

/// Proof that its holder owns one task's edge, or that the mechanism is switched off for it.
///
/// Whatever writes under a lease demands one, and only the store makes it:
///
/// ```compile_fail
/// use orch_core::{domain::ids::TaskId, store::LeaseProof};
/// let forged = LeaseProof { task: TaskId(1), fencing: None, _owner: None };
/// ```
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
    /// A live owner is at work, or one that was robbed has an effect open; the trigger is kept.
    Deferred {
        /// Which actor.
        owner: Actor,
    },
}

/// Which grant of a lease is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichGrant {
    /// Whichever stands when it is taken: a person's word.
    Present,
    /// This one only: what was judged of its owner holds for nobody who came after.
    Seen(Fencing),
}

/// A lease that is to be taken from its owner.
#[derive(Debug, Clone)]
pub struct ForcedRelease {
    /// Whose.
    pub task: TaskId,
    /// Which grant.
    pub grant: WhichGrant,
    /// Who takes it.
    pub actor: Actor,
    /// The person behind an operator.
    pub who: Option<String>,
    /// Why, one line.
    pub reason: String,
    /// Why, as a word.
    pub why: ReclaimReason,
    /// When.
    pub at_ms: i64,
}

/// A lease that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Robbed {
    /// Whether its owner still runs in this process.
    pub owner_lives: bool,
    /// Whether an effect was open: then the task stands until that is settled.
    pub parked: bool,
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
        let (owners, guards) = (self.owners.clone(), self.guards.clone());
        let identity = Arc::clone(&self.identity);
        self.writer
            .write("acquire_lease", move |tx| {
                let number = owners.draw();
                let granted = |fencing| {
                    let owner = owners.register(number);
                    failpoint::hit(Point::LeaseBeforeCommit, edge.from.as_str());
                    LeaseProof { task, fencing: Some(fencing), _owner: Some(owner) }
                };
                let own = Own { task, edge, actor, number, at_ms, identity: &identity };
                if let Some(fencing) = take_free(tx, &own)? {
                    return Ok(Acquired::Granted(granted(fencing), None));
                }
                let present = select(tx, task)?;
                let mut reclaimed = None;
                if let Some(lease) = &present {
                    let row = &lease.row;
                    let liveness = judge(row, &identity.boot_id, &owners);
                    let defers = match (lease.held, liveness) {
                        (true, OwnerLiveness::Live) => guards.stands(Guard::LiveOwner),
                        (false, OwnerLiveness::Live) => {
                            lease.forced && guards.stands(Guard::ForcedOwner) && effects::is_open(tx, task)?
                        }
                        (_, OwnerLiveness::DeadBoot | OwnerLiveness::DeadOwner) => false,
                    };
                    if defers {
                        pending::keep(tx, task, actor, at_ms)?;
                        return Ok(Acquired::Deferred { owner: row.actor });
                    }
                    reclaimed = match liveness {
                        _ if !lease.held => None,
                        OwnerLiveness::Live => None,
                        OwnerLiveness::DeadBoot => Some(ReclaimReason::DeadBoot),
                        OwnerLiveness::DeadOwner => Some(ReclaimReason::DeadOwner),
                    };
                    if let Some(why) = reclaimed {
                        let event = Event::LeaseReclaimed { why: why.as_str().to_owned() };
                        tasks::note(tx, task, actor, "the lease's owner is gone", event, at_ms)?;
                        notices::insert(tx, task, &reclaim_notice(lease, why, actor, None, false), at_ms)?;
                    }
                }
                let fencing = Fencing(present.map_or(0, |lease| lease.row.fencing.0) + 1);
                take(tx, &own, fencing)?;
                Ok(Acquired::Granted(granted(fencing), reclaimed))
            })
            .await
            .inspect(|answer| {
                if matches!(answer, Acquired::Granted(..)) {
                    failpoint::hit(Point::LeaseAfterCommit, edge.from.as_str());
                }
            })
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

    /// Takes a lease away; `None` when nobody holds it, or another grant than the one that is meant. With an effect open the task is
    /// parked: its robbed owner may be in the middle of the act, and nobody is granted the edge while
    /// that owner lives.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn force_release(&self, release: ForcedRelease) -> Result<Option<Robbed>, StoreError> {
        let (owners, boot) = (self.owners.clone(), self.identity.boot_id.clone());
        let robbed = self
            .writer
            .write("force_release", move |tx| {
                let (task, at_ms) = (release.task, release.at_ms);
                let meant = |lease: &Stored| match release.grant {
                    WhichGrant::Present => lease.held,
                    WhichGrant::Seen(fencing) => lease.held && lease.row.fencing == fencing,
                };
                let Some(lease) = select(tx, task)?.filter(meant) else { return Ok(None) };
                // the token grows, so that whoever held it can neither journal nor commit
                tx.execute_cached(
                    "UPDATE transition_lease SET held = 0, forced = 1, fencing = fencing + 1 WHERE task_id = ?1 AND fencing = ?2 AND held = 1",
                    params![task.0, lease.row.fencing.0],
                )
                .map_err(tasks::failed("force_release"))?;
                let liveness = judge(&lease.row, &boot, &owners);
                let by_force = match release.why {
                    ReclaimReason::Forced | ReclaimReason::Overdue => true,
                    ReclaimReason::DeadBoot | ReclaimReason::DeadOwner => false,
                };
                let open = if by_force { effects::open_kind(tx, task)? } else { None };
                let mut events = vec![Event::LeaseReclaimed { why: release.why.as_str().to_owned() }];
                events.extend(open.map(|kind| Event::Stood { standing: parked_by_force(kind) }));
                tasks::write_down(tx, task, release.actor, release.who.clone(), &release.reason, events, at_ms)?;
                let notice = reclaim_notice(&lease, release.why, release.actor, release.who, open.is_some());
                notices::insert(tx, task, &notice, at_ms)?;
                // whoever took it wants the task to go on
                pending::keep(tx, task, release.actor, at_ms)?;
                Ok(Some(Robbed { owner_lives: liveness == OwnerLiveness::Live, parked: open.is_some() }))
            })
            .await?;
        self.owners.tell();
        Ok(robbed)
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
}

/// Whether an owner lives.
pub(super) fn judge(row: &LeaseRow, boot: &BootId, owners: &OwnerRegistry) -> OwnerLiveness {
    if planted(Plant::LivenessByPid) {
        return OwnerLiveness::Live;
    }
    judge_owner(row, boot, owners.is_live(row.owner))
}

/// Who is to be written into a lease.
struct Own<'a> {
    task: TaskId,
    edge: Edge,
    actor: Actor,
    number: i64,
    at_ms: i64,
    identity: &'a Identity,
}

/// Grants a lease that was given back by its last owner; `None` when it was not, or there is none yet.
fn take_free(tx: &Transaction<'_>, own: &Own<'_>) -> Result<Option<Fencing>, StoreError> {
    let identity = own.identity;
    tx.prepare_cached(
        "UPDATE transition_lease SET fencing = fencing + 1, held = 1, edge = ?2, actor = ?3, boot_id = ?4, owner = ?5,
                pid = ?6, start_ticks = ?7, acquired_at_ms = ?8
         WHERE task_id = ?1 AND held = 0 AND forced = 0 RETURNING fencing",
    )
    .and_then(|mut statement| {
        let values = params![
            own.task.0,
            own.edge.to_string(),
            own.actor.as_str(),
            identity.boot_id.0,
            own.number,
            identity.pid,
            identity.start_ticks.cast_signed(),
            own.at_ms
        ];
        statement.query_row(values, |row| row.get(0).map(Fencing)).optional()
    })
    .map_err(tasks::failed("acquire_lease"))
}

/// Grants a lease whatever stands in its row: the first one, or one whose owner is gone.
fn take(tx: &Transaction<'_>, own: &Own<'_>, fencing: Fencing) -> Result<(), StoreError> {
    let identity = own.identity;
    tx.execute_cached(
        "INSERT INTO transition_lease (task_id, fencing, held, edge, actor, boot_id, owner, pid, start_ticks, acquired_at_ms)
         VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (task_id) DO UPDATE SET fencing = ?2, held = 1, forced = 0, edge = ?3, actor = ?4, boot_id = ?5,
                owner = ?6, pid = ?7, start_ticks = ?8, acquired_at_ms = ?9",
        params![
            own.task.0,
            fencing.0,
            own.edge.to_string(),
            own.actor.as_str(),
            identity.boot_id.0,
            own.number,
            identity.pid,
            identity.start_ticks.cast_signed(),
            own.at_ms
        ],
    )
    .map(drop)
    .map_err(tasks::failed("acquire_lease"))
}

/// Whether `fencing` is the task's current, held token.
pub(super) fn is_current(
    connection: &Connection,
    task: TaskId,
    fencing: Fencing,
) -> Result<bool, StoreError> {
    connection
        .prepare_cached("SELECT 1 FROM transition_lease WHERE task_id = ?1 AND fencing = ?2 AND held = 1")
        .and_then(|mut statement| statement.exists(params![task.0, fencing.0]))
        .map_err(|source| StoreError::Read { query: "lease", source })
}

/// Ends the lease if the token is current; answers whether it was.
pub(super) fn release_if_current(
    tx: &Transaction<'_>,
    task: TaskId,
    fencing: Fencing,
) -> Result<bool, StoreError> {
    tx.execute_cached(
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

/// A task's lease as stored, held or not.
pub(super) struct Stored {
    pub(super) row: LeaseRow,
    pub(super) held: bool,
    edge: String,
    forced: bool,
}

pub(super) fn select(connection: &Connection, task: TaskId) -> Result<Option<Stored>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT fencing, actor, boot_id, owner, acquired_at_ms, held, edge, forced FROM transition_lease WHERE task_id = ?1",
        )
        .and_then(|mut statement| {
            statement
                .query_row([task.0], |row| {
                    let lease = lease_columns((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
                    Ok((lease, row.get(5)?, row.get(6)?, row.get(7)?))
                })
                .optional()
        })
        .map_err(|source| StoreError::Read { query: "lease", source })?;
    found.map(|(row, held, edge, forced)| Ok(Stored { row: row?, held, edge, forced })).transpose()
}

/// Whether somebody in this process may still act for the task: an owner, or one that was robbed in
/// the middle of an effect.
pub(super) fn has_live_owner(
    connection: &Connection,
    task: TaskId,
    boot: &BootId,
    owners: &OwnerRegistry,
) -> Result<bool, StoreError> {
    let Some(lease) = select(connection, task)? else { return Ok(false) };
    let lives = judge(&lease.row, boot, owners) == OwnerLiveness::Live;
    Ok(lives && (lease.held || (lease.forced && effects::is_open(connection, task)?)))
}

fn reclaim_notice(
    lease: &Stored,
    why: ReclaimReason,
    by: Actor,
    who: Option<String>,
    parked: bool,
) -> Notice {
    let (why, edge) = (why.as_str().to_owned(), lease.edge.clone());
    Notice::LeaseReclaimed { why, edge, owner: lease.row.actor, by, who, parked }
}

fn lease_columns(
    (fencing, actor, boot_id, owner, acquired_at_ms): (i64, String, String, i64, i64),
) -> Result<LeaseRow, StoreError> {
    let actor = Actor::parse(&actor)
        .ok_or_else(|| StoreError::damaged("transition_lease", format!("actor `{actor}`")))?;
    Ok(LeaseRow { fencing: Fencing(fencing), actor, boot_id: BootId(boot_id), owner, acquired_at_ms })
}

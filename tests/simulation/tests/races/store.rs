//! The store's transactions, each one atomic step: what `core/src/store` does in SQL, done on values.
//! The fold, the decision and the judgement of an owner are the program's own functions.

use std::sync::Arc;

use orch_core::{
    domain::{
        actor::Actor,
        event::{Event, StoredEvent},
        ids::{BootId, Fencing},
        lease::{LeaseRow, OwnerLiveness, judge_owner},
        stage::Stage,
        task::{self, Task},
        transition::{Decision, parked_by_force},
    },
    guards::Guard,
};

use crate::{
    removed::Removed,
    world::{At, By, EFFECTS, Kind, Lease, Met, Moment, Note, Place, Row, World, bit},
};

/// Answer to a request for the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Granted(i64),
    Deferred,
}

/// Answer to an intent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Fenced,
    Done,
    Open { grant: u8, fresh: bool },
}

fn judge(world: &World, lease: &Lease, removed: Removed) -> OwnerLiveness {
    if removed == Removed::BootId {
        return OwnerLiveness::Live;
    }
    let row = LeaseRow {
        fencing: Fencing(lease.fencing),
        actor: lease.actor,
        boot_id: BootId(lease.life.to_string()),
        owner: lease.owner,
        acquired_at_ms: 0,
    };
    judge_owner(&row, &BootId(world.life.to_string()), world.is_registered(lease.owner))
}

fn has_open_intent(world: &World) -> bool {
    world.journal.iter().any(|(note, _)| *note == Note::Intent)
}

/// Whether somebody defers to the present owner, and whether the lease is a dead one's.
fn state_of(world: &World, removed: Removed) -> (bool, bool) {
    let Some(lease) = &world.lease else { return (false, false) };
    let liveness = judge(world, lease, removed);
    let defers = match (lease.held, liveness) {
        (true, OwnerLiveness::Live) => removed.stands(Guard::LiveOwner),
        (false, OwnerLiveness::Live) => {
            lease.forced && removed.stands(Guard::ForcedOwner) && has_open_intent(world)
        }
        (_, OwnerLiveness::DeadBoot | OwnerLiveness::DeadOwner) => false,
    };
    (defers, lease.held && liveness != OwnerLiveness::Live)
}

/// Whether a request for the lease would be deferred now.
pub(crate) fn would_defer(world: &World, removed: Removed) -> bool {
    state_of(world, removed).0
}

/// Whether the lease is held, and by somebody who is gone.
pub(crate) fn is_dead(world: &World, removed: Removed) -> bool {
    state_of(world, removed).1
}

/// Whether somebody of this life may still act for the task.
fn has_live_owner(world: &World, removed: Removed) -> bool {
    let Some(lease) = &world.lease else { return false };
    judge(world, lease, removed) == OwnerLiveness::Live
        && (lease.held || (lease.forced && has_open_intent(world)))
}

/// Whom somebody who comes now finds at the door.
pub(crate) fn met(world: &World, seat: usize, removed: Removed) -> Met {
    let inside = world.seats.iter().enumerate().filter(|(other, _)| *other != seat);
    let found = inside.filter_map(|(_, other)| match &other.place {
        Place::Inside { at, robbed, .. } => Some((other.kind, moment(at), robbed.is_some())),
        Place::Unleased(..) => Some((other.kind, Moment::DecidesUnleased, false)),
        Place::Idle | Place::Again(_) | Place::Read(..) | Place::WaitsForOwner(_) | Place::Reaping { .. } => {
            None
        }
    });
    match found.max_by_key(|(_, _, robbed)| !robbed) {
        Some((kind, moment, false)) => Met::Owner(kind, moment),
        Some((kind, moment, true)) => Met::Robbed(kind, moment),
        None if is_dead(world, removed) => Met::Dead,
        None => Met::Nobody,
    }
}

/// Where an owner is.
pub(crate) fn moment(at: &At) -> Moment {
    match at {
        At::Settle | At::Settled { .. } => Moment::Settles,
        At::Step { .. } | At::Intent { .. } => Moment::Looks,
        At::Probe { .. } | At::Act { .. } => Moment::Intended,
        At::Record { .. } => Moment::Acted,
        At::Commit { .. } => Moment::Decides,
        At::Release { .. } => Moment::Leaves,
    }
}

/// `acquire_lease`.
pub(crate) fn acquire(world: &mut World, kind: Kind, removed: Removed) -> Acquired {
    let (defers, dead) = state_of(world, removed);
    if defers {
        world.pending |= bit(kind.actor());
        world.witness.deferred |= bit(kind.actor());
        return Acquired::Deferred;
    }
    if dead {
        note(world, kind.actor(), vec![Event::LeaseReclaimed { why: "dead".to_owned() }]);
    }
    let before = world.lease.as_ref().map_or(0, |lease| lease.fencing);
    let fencing = before + 1;
    world.witness.token_shrank |= fencing <= before;
    world.witness.two_owners |=
        world.seats.iter().any(|seat| matches!(&seat.place, Place::Inside { robbed: None, .. }));
    world.lease = Some(Lease {
        fencing,
        held: true,
        forced: false,
        actor: kind.actor(),
        life: world.life,
        owner: fencing,
    });
    Acquired::Granted(fencing)
}

/// `force_release`; answers whether anybody was robbed.
pub(crate) fn force(world: &mut World, kind: Kind, seen: i64, overdue: bool, removed: Removed) -> bool {
    let Some(lease) = world.lease.clone().filter(|lease| lease.held) else { return false };
    if lease.fencing != seen && removed != Removed::SeenToken {
        return false;
    }
    let lives = judge(world, &lease, removed) == OwnerLiveness::Live;
    world.witness.robbed_in_time |= lives && !(overdue && lease.fencing == seen);
    let mut events = vec![Event::LeaseReclaimed { why: "taken".to_owned() }];
    if overdue && let Some(open) = world.journal.iter().position(|(note, _)| *note == Note::Intent) {
        events.push(Event::Stood { standing: parked_by_force(EFFECTS[open]) });
    }
    note(world, kind.actor(), events);
    for seat in &mut world.seats {
        if let Place::Inside { fencing, robbed, at, .. } = &mut seat.place
            && *fencing == lease.owner
            && lives
        {
            *robbed = Some(moment(at));
        }
    }
    world.lease = Some(Lease { held: false, forced: true, fencing: lease.fencing + 1, ..lease });
    world.pending |= bit(kind.actor());
    true
}

/// Whether the token is the current, held one.
fn is_current(world: &World, fencing: i64) -> bool {
    world.lease.as_ref().is_some_and(|lease| lease.held && lease.fencing == fencing)
}

/// `release_if_current`.
pub(crate) fn release(world: &mut World, fencing: i64) -> bool {
    let current = is_current(world, fencing);
    if current && let Some(lease) = &mut world.lease {
        lease.held = false;
    }
    current
}

fn is_fenced_off(world: &mut World, fencing: i64, removed: Removed) -> bool {
    let stale = !is_current(world, fencing);
    if stale && !removed.stands(Guard::JournalFencing) {
        world.witness.stale_wrote = true;
        return false;
    }
    stale
}

/// `write_intent`.
pub(crate) fn intent(world: &mut World, fencing: i64, effect: usize, removed: Removed) -> Intent {
    if is_fenced_off(world, fencing, removed) {
        return Intent::Fenced;
    }
    let (note, grant) = world.journal[effect];
    match note {
        Note::Done if removed.stands(Guard::JournalledDone) => Intent::Done,
        Note::Intent => Intent::Open { grant, fresh: false },
        Note::Done | Note::Void | Note::None => {
            world.journal[effect] = (Note::Intent, grant + 1);
            Intent::Open { grant: grant + 1, fresh: true }
        }
    }
}

/// `effect_done`; what it changes in the task is written with it. `false` when nothing was written.
pub(crate) fn done(
    world: &mut World,
    fencing: i64,
    kind: Kind,
    (effect, grant): (usize, u8),
    removed: Removed,
) -> bool {
    if is_fenced_off(world, fencing, removed) {
        return false;
    }
    let (present, latest) = world.journal[effect];
    if latest != grant || present != Note::Intent {
        return latest == grant && present == Note::Done;
    }
    world.journal[effect].0 = Note::Done;
    let revision = crate::world::MERGED.to_owned();
    let mut events = vec![Event::EffectDone { effect: EFFECTS[effect], revision, evidence: String::new() }];
    if effect == 0 && world.task.0.merged.is_none() {
        events.push(Event::Merged { revision: crate::world::MERGED.to_owned() });
    }
    note(world, kind.actor(), events);
    true
}

/// `effect_void`.
pub(crate) fn void(world: &mut World, fencing: i64, (effect, grant): (usize, u8), removed: Removed) -> bool {
    if is_fenced_off(world, fencing, removed) {
        return false;
    }
    if world.journal[effect] == (Note::Intent, grant) {
        world.journal[effect].0 = Note::Void;
    }
    true
}

/// `take_pending`, for one actor.
pub(crate) fn take_pending(world: &mut World, actor: Actor, removed: Removed) -> bool {
    let takes = can_take_pending(world, actor, removed);
    if takes {
        world.pending &= !bit(actor);
    }
    takes
}

/// Whether a kept trigger of this actor would be taken now.
pub(crate) fn can_take_pending(world: &World, actor: Actor, removed: Removed) -> bool {
    removed.stands(Guard::PendingTrigger)
        && world.pending & bit(actor) != 0
        && !has_live_owner(world, removed)
}

/// `commit`; `false` when the race is lost: then nothing but the lease's end was written.
pub(crate) fn commit(
    world: &mut World,
    kind: Kind,
    fencing: Option<i64>,
    decided_on: &Row,
    decision: &Decision,
    removed: Removed,
) -> bool {
    if let Some(fencing) = fencing
        && !release(world, fencing)
    {
        if removed.stands(Guard::CommitFencing) {
            return false;
        }
        world.witness.stale_wrote = true;
    }
    let same = (world.task.0.stage, world.task.0.version) == (decided_on.0.stage, decided_on.0.version);
    let compares = removed.stands(Guard::Comparison);
    if compares && !same {
        return false;
    }
    world.witness.written_over |= !same;
    let mut task = Task::clone(&world.task.0);
    for event in &decision.events {
        let event = if compares { event.clone() } else { from_here(event, &task) };
        match append(task, kind.actor(), event) {
            Some(after) => task = after,
            // the store refuses what does not fit; whoever asked is told that nothing was written
            None => {
                world.witness.bad_history = true;
                return false;
            }
        }
    }
    let back = decision.events.iter().any(|event| matches!(event, Event::RolledBack { .. }));
    world.witness.rolled_back |= back;
    world.witness.rolled_back_merged |= back && world.outside.merged == By::Us;
    world.task = Row(Arc::new(task));
    true
}

/// `tasks::from_here`: the plain write of a system without the comparison.
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

fn append(task: Task, actor: Actor, event: Event) -> Option<Task> {
    let stored =
        StoredEvent { seq: task.version + 1, at_ms: 0, actor, who: None, reason: String::new(), event };
    task::apply(Some(task), &stored).ok()
}

fn note(world: &mut World, actor: Actor, events: Vec<Event>) {
    let mut task = Task::clone(&world.task.0);
    for event in events {
        match append(task, actor, event) {
            Some(after) => task = after,
            None => {
                world.witness.bad_history = true;
                return;
            }
        }
    }
    world.task = Row(Arc::new(task));
}

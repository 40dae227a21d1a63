//! The invariants, checked after every step that wrote or changed anything.
//!
//! Numbers are those of the design (I1 to I10). What the outside alone can see (a deploy begun twice,
//! two agents in one worktree, a merge of an untested head) is told by the world as a wrong; this
//! module reads the store beside it. I11 is looked at in `history`: only what was asked to end a life ends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use orch_core::{
    domain::{
        actor::Actor,
        effect::EffectKind,
        event::{Event, StoredEvent},
        ids::TaskId,
        lease::OwnerLiveness,
        stage::{Edge, Stage, is_edge},
        task::{self, Standing, Task},
        transition::is_parked_by_force,
        verdict::Waitee,
    },
    store::Store,
};

use crate::{
    acts::Weather,
    world::{Outside, PullState},
};

/// What the store says, step by step.
#[derive(Debug, Default)]
pub struct Judge {
    tasks: BTreeMap<i64, Task>,
    fencing: BTreeMap<i64, i64>,
    /// Life that was last looked at.
    life: String,
    /// Tasks that wait for the CI of their candidate since this life, and so keep the merge slot.
    keep_slot: BTreeSet<i64>,
}

/// The answer of a call that has nothing to wait for.
pub fn now<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a call of the judge waits"),
    }
}

impl Judge {
    /// Tasks as last seen, by number.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.tasks.iter().map(|(id, task)| (TaskId(*id), task))
    }

    /// Looks at everything that has changed.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn look(&mut self, store: &Store, outside: &Outside) -> Result<(), String> {
        if let Some(wrong) = outside.wrongs.first() {
            return Err(wrong.clone());
        }
        let failed = |error: orch_core::store::StoreError| format!("the store cannot be read: {error}");
        // what is read first in a life may have been written in the one before
        let same_life = self.life == store.identity().boot_id.0;
        if !same_life {
            self.life.clone_from(&store.identity().boot_id.0);
            self.keep_slot.clear();
        }
        for row in now(store.tasks_page(0, None, 100)).map_err(failed)? {
            let known = self.tasks.get(&row.id.0).map_or(0, |task| task.version);
            if known == row.task.version {
                continue;
            }
            for event in now(store.events_after(row.id, known)).map_err(failed)? {
                let before = self.tasks.remove(&row.id.0);
                allowed(before.as_ref(), &event, outside)?;
                self.one_at_a_time(row.id.0, &event.event, same_life && outside.slots_last)?;
                let after = task::apply(before, &event).map_err(|error| format!("I8: {error}"))?;
                self.tasks.insert(row.id.0, after);
            }
            let folded =
                serde_json::to_string(&self.tasks.get(&row.id.0)).map_err(|error| error.to_string())?;
            let stored = serde_json::to_string(&Some(&row.task)).map_err(|error| error.to_string())?;
            if folded != stored {
                return Err(format!("I8: history of {} gives {folded}, its row is {stored}", row.task.key));
            }
        }
        for lease in now(store.held_leases()).map_err(failed)? {
            let last = self.fencing.entry(lease.task.0).or_default();
            if lease.row.fencing.0 < *last {
                return Err(format!("I3: fencing of task {} fell from {last}", lease.task));
            }
            *last = lease.row.fencing.0;
        }
        Ok(())
    }

    /// A candidate is not prepared while another waits for its CI on the same branch.
    fn one_at_a_time(&mut self, task: i64, event: &Event, counts: bool) -> Result<(), String> {
        match event {
            Event::CandidatePrepared { .. } => {
                let others = self.keep_slot.iter().filter(|other| **other != task);
                let mut waiting = others.filter_map(|other| self.tasks.get(other));
                if let Some(other) = waiting.find(|other| waits_for_its_ci(other)) {
                    return Err(format!(
                        "slot: a candidate was prepared while {} waits for its CI",
                        other.key
                    ));
                }
            }
            // whoever was robbed may have given the slot back
            Event::LeaseReclaimed { .. } => drop(self.keep_slot.remove(&task)),
            Event::Stood { standing: Standing::Waiting { who: Waitee::Ci { .. }, .. } } if counts => {
                self.keep_slot.insert(task);
            }
            _ => {}
        }
        Ok(())
    }

    /// A life that has just become ready left nothing of the last one open.
    ///
    /// # Errors
    /// What is open.
    pub fn look_at_start(&self, store: &Store) -> Result<(), String> {
        let failed = |error: orch_core::store::StoreError| format!("the store cannot be read: {error}");
        for intent in now(store.open_intents()).map_err(failed)? {
            // in doubt it stands for a person; a deploy that goes on is waited for
            let stands = self.tasks.get(&intent.task.0).is_some_and(|task| match &task.standing {
                Standing::Blocked { .. } => true,
                Standing::Waiting { who, .. } => matches!(who, Waitee::Deploy { .. }),
                Standing::Moving {} | Standing::Held { .. } | Standing::Finished {} => false,
            });
            if !stands {
                return Err(format!("I6: ready with an open intent of {}", intent.kind));
            }
        }
        for lease in now(store.held_leases()).map_err(failed)? {
            if lease.liveness == OwnerLiveness::DeadBoot || lease.row.boot_id != store.identity().boot_id {
                return Err(format!("I3: ready with a lease of an earlier life, task {}", lease.task));
            }
        }
        Ok(())
    }

    /// Whether nobody but a person can go on with any task.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.tasks.values().all(|task| {
            task.stage.is_terminal()
                || matches!(task.standing, Standing::Blocked { .. }) && !is_parked_by_force(task)
        })
    }

    /// Whether a task stands only until a robbed owner has ended.
    #[must_use]
    pub fn is_any_parked(&self) -> bool {
        self.tasks.values().any(is_parked_by_force)
    }

    /// How the tasks stand, one line.
    #[must_use]
    pub fn told(&self) -> String {
        let one = |task: &Task| match &task.standing {
            Standing::Blocked { cause, .. } => format!("{} {} blocked: {cause}", task.key, task.stage),
            Standing::Waiting { who, reason, .. } => {
                format!("{} {} waits for {who:?}: {reason}", task.key, task.stage)
            }
            Standing::Held { reason, .. } => format!("{} {} held: {reason}", task.key, task.stage),
            Standing::Moving {} | Standing::Finished {} => {
                format!("{} {} {}", task.key, task.stage, task.standing.as_str())
            }
        };
        self.tasks.values().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Tasks that stand for a person.
    pub fn blocked(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| matches!(task.standing, Standing::Blocked { .. }))
    }

    /// The end of a history. What the weather may bring excuses only what it can cause: who cannot be asked
    /// leaves a doubt. A clock that jumps excuses nothing. Calls that failed and people who
    /// commanded excuse nothing here but a cancel: what they cost is made good by a person's retry before this
    /// is asked.
    ///
    /// # Errors
    /// I6: which task did not reach `done`.
    pub fn all_done(&self, outside: &Outside, weather: Weather) -> Result<(), String> {
        let may_end = |cause: &str| {
            let late = cause.contains("is not deployed in time") || cause.contains(": no answer within ");
            let in_doubt = cause.starts_with("effect ") && cause.contains(" is in doubt: ");
            let unasked = (cause.contains("could not judge the code") || cause.contains("did not succeed"))
                && cause.contains("could not be asked");
            // somebody else's revision runs, and nobody deploys ours again
            let replaced = weather.hands && cause.contains("is not deployed in time");
            replaced || (weather.deaf && (late || in_doubt || unasked))
        };
        for task in self.tasks.values() {
            let excuse = outside.excuses.get(task.key.as_str());
            // only an effect that cannot be told parks, and only the one that was cut off
            let parks = outside.cut_off.contains(task.key.as_str())
                && matches!(&task.standing, Standing::Blocked { cause, .. } if cause.starts_with("effect start_deploy is in doubt"));
            let caused = matches!(&task.standing, Standing::Blocked { cause, .. } if may_end(cause));
            let cancelled = task.stage == Stage::Cancelled && outside.cancels.contains(task.key.as_str());
            if task.stage != Stage::Done && !cancelled && excuse.is_none() && !parks && !caused {
                return Err(format!("I6: without a cause outside it ended so: {}", self.told()));
            }
        }
        Ok(())
    }
}

/// Whether it stands in its edge for the answer of CI alone, and so keeps the merge slot.
fn waits_for_its_ci(task: &Task) -> bool {
    task.stage == Stage::DeployStaging
        && task.merged.is_none()
        && matches!(task.standing, Standing::Waiting { who: Waitee::Ci { .. }, .. })
}

/// Whether an event may follow.
fn allowed(before: Option<&Task>, stored: &StoredEvent, outside: &Outside) -> Result<(), String> {
    if stored.reason.trim().is_empty() {
        return Err(format!("I8: event {} names no reason", stored.seq));
    }
    let Some(task) = before else { return Ok(()) };
    let key = &task.key;
    match &stored.event {
        Event::Entered { from, to } | Event::RolledBack { from, to, .. }
            if !is_edge(Edge { from: *from, to: *to }) =>
        {
            Err(format!("I4: {key} went from {from} to {to}, which is no edge"))
        }
        Event::RolledBack { .. } if task.merged.is_some() => {
            Err(format!("I2: {key} was rolled back after its merge"))
        }
        Event::Entered { to: Stage::Done, .. } => done(task, outside),
        Event::EffectDone { effect: EffectKind::StartDeploy | EffectKind::RatchetCoverage, .. } => {
            landed(task, outside)
        }
        Event::Stood { standing } => stands(task, standing),
        Event::DeployAsked { .. } if stored.actor != Actor::Operator => {
            Err(format!("I1: {} asks for another deploy of {key}", stored.actor))
        }
        Event::DeployAsked { .. } => Ok(()),
        Event::Created { .. }
        | Event::Entered { .. }
        | Event::RolledBack { .. }
        | Event::InfraRetry { .. }
        | Event::Retried { .. }
        | Event::Approved { .. }
        | Event::PullRequestOpened { .. }
        | Event::CandidatePrepared { .. }
        | Event::EffectDone { .. }
        | Event::Merged { .. }
        | Event::JobQueued { .. }
        | Event::RunEnded { .. }
        | Event::LeaseReclaimed { .. } => Ok(()),
        Event::WrittenOver { found, to, .. } => {
            Err(format!("I4: {key} was written over in {found}, to {to}"))
        }
    }
}

fn done(task: &Task, outside: &Outside) -> Result<(), String> {
    let key = &task.key;
    let Some(merged) = &task.merged else { return Err(format!("I2: {key} is done without a merge")) };
    let is_merged =
        |state: &PullState| matches!(state, PullState::Merged(as_revision) if as_revision == merged);
    if !outside.pulls.iter().any(|pull| pull.key == key.as_str() && is_merged(&pull.state)) {
        return Err(format!("I2: {key} is done, and no pull request of it was merged as {merged}"));
    }
    if !outside.ran.iter().any(|ran| outside.is_ancestor(merged, ran)) {
        return Err(format!("I6: {key} is done, and {merged} never ran"));
    }
    Ok(())
}

fn landed(task: &Task, outside: &Outside) -> Result<(), String> {
    let key = &task.key;
    let (Some(merged), Some(candidate)) = (&task.merged, &task.candidate) else {
        return Err(format!("I9: {key} was deployed without a merged candidate"));
    };
    let first = outside.commits.get(merged).and_then(|commit| commit.parents.first());
    if outside.tree_name(merged) != candidate.tree || first != Some(&candidate.base) {
        return Err(format!("I9: what landed of {key} as {merged} is not what was tested"));
    }
    Ok(())
}

fn stands(task: &Task, standing: &Standing) -> Result<(), String> {
    let named = match standing {
        Standing::Moving {} | Standing::Finished {} => true,
        Standing::Waiting { reason, .. } | Standing::Held { reason, .. } => !reason.trim().is_empty(),
        Standing::Blocked { cause, way_out } => !cause.trim().is_empty() && !way_out.trim().is_empty(),
    };
    if named { Ok(()) } else { Err(format!("I10: {} stands without a cause or a way out", task.key)) }
}

//! What is written under leases, looked at right behind each commit and before anybody else goes on.
//!
//! It keeps what the store itself does not say: which task of the core was granted which lease. So it sees
//! a stale owner that journals or commits (I3), and by comparing the journal with what really happened an
//! effect that is granted anew though it was done, called done though it was not, or given up though
//! nobody can tell (I1). What it finds is told as a wrong of the world; it never changes anything else.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use orch_core::{
    domain::{effect::EffectKind, ids::TaskId},
    store::{EffectRow, Store, StoreError},
};
use tokio::task::Id;

use crate::{
    judge::now,
    schedule::{Schedule, Witness},
    world::{Outside, PullState, World},
};

/// A grant of one task's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grant {
    task: i64,
    fencing: i64,
}

#[derive(Debug, Default)]
struct Seen {
    /// Who was granted what and has not given it back by itself.
    owners: HashMap<Id, Grant>,
    /// Grants that hold, by task.
    held: BTreeMap<i64, i64>,
    /// The journal's rows, by number.
    journal: BTreeMap<i64, EffectRow>,
    /// Who began an effect, or took it up last, by the number of its row.
    authors: HashMap<i64, Id>,
    /// The version of a task that a stale owner is about to write.
    stale: HashMap<Id, i64>,
}

/// The ledger of one life.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    schedule: Schedule,
    world: World,
    seen: Mutex<Seen>,
}

impl Ledger {
    /// What stands at the beginning of a life.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn new(store: Store, schedule: Schedule, world: World) -> Result<Self, StoreError> {
        let ledger = Self { store, schedule, world, seen: Mutex::default() };
        let mut seen = Seen::default();
        ledger.quietly(|| {
            for row in now(ledger.store.tasks_page(0, None, 100))? {
                let rows = now(ledger.store.effects_of(row.id))?;
                seen.journal.extend(rows.into_iter().map(|row| (row.id, row)));
            }
            seen.held = ledger.held()?;
            Ok(())
        })?;
        *ledger.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(ledger)
    }

    fn quietly<T>(&self, look: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.schedule.let_all_through(true);
        let answer = look();
        self.schedule.let_all_through(false);
        answer
    }

    fn held(&self) -> Result<BTreeMap<i64, i64>, StoreError> {
        let held = now(self.store.held_leases())?;
        Ok(held.into_iter().map(|lease| (lease.task.0, lease.row.fencing.0)).collect())
    }

    fn look(&self, command: &'static str) -> Result<Vec<String>, StoreError> {
        let writer = tokio::task::try_id();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let own = writer.and_then(|writer| seen.owners.get(&writer).copied());
        match command {
            "acquire_lease" | "release_lease" | "force_release" => {
                let held = self.held()?;
                let granted = held.iter().find(|(task, fencing)| seen.held.get(task) != Some(fencing));
                let mut wrongs = Vec::new();
                if let (Some((task, fencing)), Some(writer)) = (granted, writer) {
                    wrongs.extend(self.alone(&seen, writer, *task)?);
                    seen.owners.insert(writer, Grant { task: *task, fencing: *fencing });
                }
                seen.held = held;
                Ok(wrongs)
            }
            "commit" => {
                self.hear_people()?;
                let held = self.held()?;
                // a decision gives its lease back with the same write
                if let (Some(own), Some(writer)) = (own, writer)
                    && seen.held.get(&own.task) == Some(&own.fencing)
                    && held.get(&own.task) != Some(&own.fencing)
                {
                    seen.owners.remove(&writer);
                }
                seen.held = held;
                let before = writer.and_then(|writer| seen.stale.remove(&writer));
                let (Some(before), Some(own)) = (before, own) else { return Ok(Vec::new()) };
                let row = now(self.store.task_by_id(TaskId(own.task)))?;
                Ok(row
                    .filter(|row| row.task.version != before)
                    .map(|row| {
                        format!("I3: a stale owner of {} (grant {}) commits", row.task.key, own.fencing)
                    })
                    .into_iter()
                    .collect())
            }
            "write_intent" | "effect_done" | "effect_void" => self.journal(&mut seen, own),
            _ => Ok(Vec::new()),
        }
    }

    /// A person's word that a deploy is to be started again: what was begun before counts no more.
    fn hear_people(&self) -> Result<(), StoreError> {
        for row in now(self.store.tasks_page(0, None, 100))? {
            if let (Some(after), Some(merged)) = (row.task.deploy_after, &row.task.merged) {
                self.world.outside().deploy_asked(row.task.key.as_str(), merged, after);
            }
        }
        Ok(())
    }

    /// Whether somebody who was granted a task's edge finds another in the middle of an effect there.
    fn alone(&self, seen: &Seen, writer: Id, task: i64) -> Result<Option<String>, StoreError> {
        // an owner that died gives nothing back
        if !self.world.outside().owners_end {
            return Ok(None);
        }
        let at_it = |row: &EffectRow| {
            let author = seen.authors.get(&row.id).filter(|author| **author != writer);
            author.is_some_and(|author| seen.owners.get(author).is_some_and(|grant| grant.task == task))
        };
        let mut open =
            now(self.store.effects_of(TaskId(task)))?.into_iter().filter(|row| row.state == "intent");
        let open = open.find(at_it);
        Ok(open.map(|row| format!("I3: task {task} is granted in the middle of its {}", row.kind)))
    }

    fn journal(&self, seen: &mut Seen, own: Option<Grant>) -> Result<Vec<String>, StoreError> {
        let Some(own) = own else { return Ok(vec!["I3: somebody without a lease journals".to_owned()]) };
        let Some(task) = now(self.store.task_by_id(TaskId(own.task)))? else { return Ok(Vec::new()) };
        let key = task.task.key.as_str();
        let rows = now(self.store.effects_of(task.id))?;
        let mut outside = self.world.outside();
        let mut wrongs = Vec::new();
        for row in &rows {
            let known = seen.journal.get(&row.id);
            if known != Some(row) {
                if seen.held.get(&own.task) != Some(&own.fencing) {
                    wrongs.push(format!(
                        "I3: a stale owner of {key} (grant {}) journals {}",
                        own.fencing, row.kind
                    ));
                }
                let asked = task.task.deploy_after.is_some() && row.kind == EffectKind::StartDeploy;
                wrongs.extend(fits(row, key, &rows, &outside).filter(|_| !(asked && row.state == "intent")));
            }
            if row.state == "intent" && seen.held.get(&own.task) == Some(&own.fencing) {
                seen.authors.extend(tokio::task::try_id().map(|writer| (row.id, writer)));
            }
            // whoever begins or takes up an intent looks from now on
            if row.state == "intent" && row.kind == EffectKind::StartDeploy {
                outside.deploy_intended(&row.revision);
            }
        }
        drop(outside);
        seen.journal.extend(rows.into_iter().map(|row| (row.id, row)));
        Ok(wrongs)
    }
}

/// Whether a row of the journal fits what happened.
fn fits(row: &EffectRow, key: &str, rows: &[EffectRow], outside: &Outside) -> Option<String> {
    let (kind, revision) = (row.kind, &row.revision);
    match row.state.as_str() {
        "intent" => {
            // these two are named after a look that finds them not done
            let looked = matches!(kind, EffectKind::PrepareCandidate | EffectKind::RebuildImage);
            let same = |other: &&EffectRow| {
                other.kind == kind && other.revision == *revision && other.state == "done"
            };
            let done = rows.iter().find(same).filter(|_| !looked)?;
            Some(format!(
                "I1: {kind} of {key} ({revision}) is granted again, though grant {} of it was done",
                done.grant_number
            ))
        }
        "done" if !outside.happened(kind, key, revision) => {
            Some(format!("I1: {kind} of {key} ({revision}) is called done, and did not happen"))
        }
        "void" if outside.may_have_happened(kind, key, revision) => Some(format!(
            "I1: {kind} of {key} ({revision}) is given up, though it was begun and may have happened"
        )),
        _ => None,
    }
}

impl Outside {
    /// Whether an effect stands, or once stood. Of what leaves no trace here, yes.
    fn happened(&self, kind: EffectKind, key: &str, revision: &str) -> bool {
        match kind {
            EffectKind::Merge => {
                self.pulls.iter().any(|pull| pull.key == key && matches!(pull.state, PullState::Merged(_)))
            }
            EffectKind::RebuildImage => self.images.contains(revision),
            EffectKind::StartDeploy => {
                self.ran.contains(revision)
                    || self.deploys.iter().any(|(of, end)| of == revision && *end == Some(true))
            }
            EffectKind::PrepareCandidate | EffectKind::RatchetCoverage | EffectKind::CloseWorkItem => true,
        }
    }

    /// Whether the core began an effect and nobody can say that it did not happen.
    fn may_have_happened(&self, kind: EffectKind, key: &str, revision: &str) -> bool {
        match kind {
            EffectKind::Merge => self.merges.iter().any(|(index, head)| {
                head == revision && self.pulls.get(*index).is_some_and(|pull| pull.key == key)
            }),
            EffectKind::StartDeploy => {
                self.deploys.iter().any(|(of, end)| of == revision && *end != Some(false))
            }
            EffectKind::RebuildImage
            | EffectKind::PrepareCandidate
            | EffectKind::RatchetCoverage
            | EffectKind::CloseWorkItem => false,
        }
    }
}

impl Witness for Ledger {
    fn before(&self, command: &'static str) {
        let Some(writer) = tokio::task::try_id() else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match command {
            // from here on it acts for nobody
            "release_lease" => drop(seen.owners.remove(&writer)),
            "commit" => {
                let own = seen.owners.get(&writer).copied();
                let Some(own) = own.filter(|own| seen.held.get(&own.task) != Some(&own.fencing)) else {
                    return;
                };
                if let Ok(Some(row)) = self.quietly(|| now(self.store.task_by_id(TaskId(own.task)))) {
                    seen.stale.insert(writer, row.task.version);
                }
            }
            _ => {}
        }
    }

    fn wrote(&self, command: &'static str) {
        let wrongs = match self.quietly(|| self.look(command)) {
            Ok(wrongs) => wrongs,
            Err(error) => vec![format!("the store cannot be read: {error}")],
        };
        self.world.outside().wrongs.extend(wrongs);
    }

    fn unheard(&self, command: &'static str) {
        // an owner that never heard of its grant is none
        if command == "acquire_lease"
            && let Some(writer) = tokio::task::try_id()
        {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).owners.remove(&writer);
        }
    }
}

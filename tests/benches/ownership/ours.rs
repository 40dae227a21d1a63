//! The core's store as the engine uses it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use orch_core::domain::actor::Actor;
use orch_core::domain::effect::EffectKind;
use orch_core::domain::event::Event;
use orch_core::domain::ids::{BootId, TaskId, WorkItemKey};
use orch_core::domain::stage::{Edge, Stage};
use orch_core::domain::task::Standing;
use orch_core::store::{Acquired, CommitWrite, Expected, Identity, IntentWrite, NewTask, Store, TaskRow};

const EDGE: Edge = Edge { from: Stage::DeployStaging, to: Stage::Deploy };

/// A store with tasks that stand before the edge with effects.
pub(crate) struct Ours {
    store: Store,
    tasks: Vec<TaskId>,
}

/// A change of a task.
pub(crate) fn write(row: &TaskRow, events: Vec<Event>) -> CommitWrite {
    CommitWrite {
        task: row.id,
        expected: Expected::At { stage: row.task.stage, version: row.task.version },
        actor: Actor::Monitor,
        who: None,
        reason: "bench".to_owned(),
        events,
        enqueue: None,
        cancel_jobs: false,
        at_ms: 1,
    }
}

/// How a task stands, by turns.
pub(crate) fn standing(turn: u32) -> Standing {
    if turn.is_multiple_of(2) {
        Standing::Held { reason: "bench: by turns".to_owned(), retry_at_ms: 2 }
    } else {
        Standing::Moving {}
    }
}

impl Ours {
    pub(crate) async fn open(path: &Path, tasks: u32) -> Self {
        let identity = Identity { boot_id: BootId("bench".to_owned()), pid: 1, start_ticks: 1 };
        let store = Store::open(path, identity).expect("a store");
        let mut made = Vec::new();
        for number in 0..tasks {
            let new = NewTask {
                key: WorkItemKey::parse(&format!("BENCH-{number}")).expect("a key"),
                project: "bench".to_owned(),
                title: "A bench".to_owned(),
                body: String::new(),
                actor: Actor::Operator,
                who: None,
            };
            let (mut row, _) = store.create_task(new, 1).await.expect("made");
            while let Some(to) = row.task.stage.row().next.filter(|_| row.task.stage != Stage::DeployStaging)
            {
                let entered = write(&row, vec![Event::Entered { from: row.task.stage, to }]);
                row = store.commit(None, entered).await.expect("written").expect("not lost");
            }
            made.push(row.id);
        }
        Self { store, tasks: made }
    }

    /// Lease, intent, done, commit; over and over, on one task.
    pub(crate) async fn rounds(&self, task: u32, rounds: u32) {
        let id = self.tasks[task as usize];
        // read once: bare rusqlite reads nothing either
        let mut row = self.store.task_by_id(id).await.expect("read").expect("there");
        for turn in 0..rounds {
            let Acquired::Granted(proof, _) =
                self.store.acquire_lease(id, EDGE, Actor::Monitor, 1).await.expect("asked")
            else {
                panic!("nobody else is there")
            };
            let revision = format!("{:040x}", row.task.version);
            let kind = EffectKind::StartDeploy;
            let intent =
                self.store.write_intent(&proof, kind, revision.clone(), false, 1).await.expect("written");
            let IntentWrite::Open { id: number, .. } = intent else { panic!("a new one") };
            let evidence = "deployed revision is there".to_owned();
            let done = Event::EffectDone { effect: kind, revision, evidence: evidence.clone() };
            let journal =
                self.store.effect_done(&proof, number, Actor::Monitor, evidence, vec![done], 1).await;
            assert!(journal.expect("written"));
            // the journal's event
            row.task.version += 1;
            let stood = write(&row, vec![Event::Stood { standing: standing(turn) }]);
            row = self.store.commit(Some(&proof), stood).await.expect("written").expect("not lost");
        }
    }

    /// As many actors at once, each on a task of its own.
    pub(crate) async fn all(self: &Arc<Self>, actors: u32, rounds: u32) {
        let own = |task| {
            let ours = Arc::clone(self);
            tokio::spawn(async move { ours.rounds(task, rounds).await })
        };
        let running: Vec<_> = (0..actors).map(own).collect();
        for one in running {
            one.await.expect("ends");
        }
    }

    /// As many actors at one door at once; how many won, over all times, and how many were deferred.
    pub(crate) async fn one_door(self: &Arc<Self>, actors: u32, times: u32) -> (Vec<usize>, usize) {
        let (mut winners, mut deferred) = (BTreeSet::new(), 0);
        for _ in 0..times {
            let ask = |_| {
                let ours = Arc::clone(self);
                tokio::spawn(async move {
                    ours.store.acquire_lease(ours.tasks[0], EDGE, Actor::Reconciler, 1).await.expect("asked")
                })
            };
            let asked: Vec<_> = (0..actors).map(ask).collect();
            let mut proofs = Vec::new();
            for one in asked {
                match one.await.expect("ends") {
                    Acquired::Granted(proof, _) => proofs.push(proof),
                    Acquired::Deferred { .. } => deferred += 1,
                }
            }
            winners.insert(proofs.len());
            for proof in proofs {
                self.store.release_lease(proof).await.expect("released");
            }
        }
        (winners.into_iter().collect(), deferred)
    }
}

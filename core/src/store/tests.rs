//! What the store promises, asked of a real file.

mod backups;
mod effects;
mod files;
mod jobs;
mod leases;
mod plans;
mod runs;
mod schema;
mod spending;
mod tasks;
mod trouble;

use std::path::{Path, PathBuf};

use super::*;
use crate::domain::{
    actor::Actor,
    event::Event,
    ids::{RunId, TaskId, WorkItemKey},
    job::Role,
    stage::{Edge, Stage},
};

/// A store on a file of its own.
struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

fn identity(boot: &str) -> Identity {
    Identity { boot_id: BootId(boot.to_owned()), pid: 4711, start_ticks: 99 }
}

fn open(path: &Path, boot: &str) -> Store {
    Store::open(path, identity(boot)).unwrap()
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir.path().join("orch.db"), "first");
        Self { dir, store }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("orch.db")
    }

    /// The same file in another life, while the handle of the first one still exists.
    fn next_life(&self, boot: &str) -> Store {
        open(&self.path(), boot)
    }

    /// A connection beside the store, to look at what is really there.
    fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    fn number(&self, sql: &str) -> i64 {
        self.raw().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    async fn task(&self, number: u32) -> TaskRow {
        task(&self.store, number).await
    }
}

fn new_task(number: u32) -> NewTask {
    NewTask {
        key: WorkItemKey::parse(&format!("ORCH-{number}")).unwrap(),
        project: "sample".into(),
        title: "Sort the list".into(),
        body: String::new(),
        actor: Actor::Operator,
        who: Some("ada".into()),
    }
}

async fn task(store: &Store, number: u32) -> TaskRow {
    store.create_task(new_task(number), 1).await.unwrap().0
}

fn write(row: &TaskRow, events: Vec<Event>) -> CommitWrite {
    CommitWrite {
        task: row.id,
        expected: Expected::At { stage: row.task.stage, version: row.task.version },
        actor: Actor::Monitor,
        who: None,
        reason: "test".into(),
        events,
        enqueue: None,
        cancel_jobs: false,
        at_ms: 100,
    }
}

fn forward(row: &TaskRow) -> CommitWrite {
    let to = row.task.stage.row().next.unwrap();
    let mut write = write(row, vec![Event::Entered { from: row.task.stage, to }]);
    write.enqueue = to.row().role.map(|role| (role, 3));
    write
}

/// Walks a task forward to a stage.
async fn walk(store: &Store, row: TaskRow, to: Stage) -> TaskRow {
    let mut row = row;
    while row.task.stage != to {
        let mut next = forward(&row);
        // jobs of the stages in between are nobody's here
        next.enqueue = None;
        row = store.commit(None, next).await.unwrap().unwrap();
    }
    row
}

const EDGE: Edge = Edge { from: Stage::DeployStaging, to: Stage::Deploy };

async fn granted(store: &Store, task: TaskId) -> LeaseProof {
    match store.acquire_lease(task, EDGE, Actor::Monitor, 50).await.unwrap() {
        Acquired::Granted(proof, _) => proof,
        Acquired::Deferred { owner } => panic!("deferred to {owner}"),
    }
}

/// Queues a job in the task's next stage and gives the task there.
async fn with_job(fixture: &Fixture, number: u32, project: &str) -> TaskRow {
    let new = NewTask { project: project.into(), ..new_task(number) };
    let row = fixture.store.create_task(new, i64::from(number)).await.unwrap().0;
    let mut next = forward(&row);
    next.at_ms = i64::from(number);
    fixture.store.commit(None, next).await.unwrap().unwrap()
}

async fn claim(store: &Store, caps: (u32, u32), now_ms: i64) -> Option<ClaimedJob> {
    store.claim_job(caps, 77, |_, _: Role| 60_000, now_ms).await.unwrap()
}

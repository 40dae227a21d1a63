//! A file as a life left it that had very many jobs.

use std::path::Path;

use orch_core::domain::actor::Actor;
use orch_core::domain::event::Event;
use orch_core::domain::ids::{BootId, WorkItemKey};
use orch_core::domain::job::Role;
use orch_core::domain::stage::Stage;
use orch_core::store::{CommitWrite, Expected, Identity, NewTask, Store};

/// The most agents that `ORCH_MAX_AGENTS` admits.
const RUNNING_MAX: u32 = 1_000;

/// Where the jobs stood when the life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Waiting for room.
    Queued,
    /// As many as may be claimed, their agents about to be started; the others wait.
    Running,
    /// All of them claimed: more than any setting admits.
    AllRunning,
}

/// As many tasks in `analysis`, each with its job.
pub(crate) async fn fill(path: &Path, jobs: u32, then: Then) {
    let identity = Identity { boot_id: BootId("the last life".to_owned()), pid: 1, start_ticks: 1 };
    let store = Store::open(path, identity).expect("a store");
    for number in 1..=jobs {
        let new = NewTask {
            key: WorkItemKey::parse(&format!("SAMPLE-{number}")).expect("a key"),
            project: "sample".to_owned(),
            title: "One of many".to_owned(),
            body: String::new(),
            actor: Actor::Operator,
            who: None,
        };
        let (row, _) = store.create_task(new, 1).await.expect("made");
        let queued = CommitWrite {
            task: row.id,
            expected: Expected::At { stage: row.task.stage, version: row.task.version },
            actor: Actor::Monitor,
            who: None,
            reason: "bench".to_owned(),
            events: vec![
                Event::Entered { from: Stage::Created, to: Stage::Analysis },
                Event::JobQueued { role: Role::Analyst },
            ],
            enqueue: Some((Role::Analyst, 3)),
            cancel_jobs: false,
            at_ms: 1,
        };
        store.commit(None, queued).await.expect("written").expect("not lost");
        let claims = match then {
            Then::Queued => false,
            Then::Running => number <= RUNNING_MAX,
            Then::AllRunning => true,
        };
        if claims {
            store
                .claim_job((u32::MAX, u32::MAX), u64::from(number), |_, _| 60_000, 1)
                .await
                .expect("claimed");
        }
    }
    store.close().await;
}

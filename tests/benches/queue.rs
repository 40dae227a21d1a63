//! Jobs in and out of the core's queue, durable: each is queued by a compared commit with its event, claimed with the row
//! of its run, and settled with its event. Prints the seconds of both halves, in and out; `tests/benches/rivals-queue/run`
//! sets other queues beside it, in one run.
//!
//! `cargo bench -p orch-tests --bench queue -- FILE JOBS`

#![expect(clippy::expect_used, reason = "a bench that cannot start has nothing to say")]

use std::io::{Write as _, stdout};
use std::path::Path;
use std::time::Duration;

use orch_core::domain::actor::Actor;
use orch_core::domain::event::Event;
use orch_core::domain::ids::{BootId, WorkItemKey};
use orch_core::domain::job::{JobStatus, Role};
use orch_core::domain::stage::Stage;
use orch_core::store::{CommitWrite, Expected, Identity, JobSettlement, NewTask, RunEnding, Store, TaskRow};
use orch_tests::clock;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [file, jobs] = words.as_slice() else {
        // `cargo bench` runs every bench: this one only stands beside its rivals
        writeln!(stdout(), "queue: run tests/benches/rivals-queue/run").expect("told");
        return;
    };
    let jobs = jobs.parse().expect("a number of jobs");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (in_s, out_s) = runtime.block_on(work(Path::new(file), jobs));
    writeln!(stdout(), "{in_s:.6} {out_s:.6}").expect("told");
}

async fn work(file: &Path, jobs: u32) -> (f64, f64) {
    let identity = Identity { boot_id: BootId("bench".to_owned()), pid: 1, start_ticks: 1 };
    let store = Store::open(file, identity).expect("a store");
    let mut tasks = Vec::new();
    for number in 0..jobs {
        tasks.push(task(&store, number).await);
    }
    let begun = clock::now();
    for row in &tasks {
        store.commit(None, queued(row)).await.expect("written").expect("not lost");
    }
    let in_s = begun.elapsed().as_secs_f64();
    let mut out = Duration::ZERO;
    let mut cookie = 1;
    let mut begun = clock::now();
    while let Some(claimed) =
        store.claim_job((1, 1), cookie, |_, _| 60_000, 2).await.expect("claimed or none")
    {
        cookie += 1;
        let settlement = JobSettlement {
            job: claimed.job.id,
            run: claimed.run,
            status: JobStatus::Done,
            not_before_ms: None,
            counts: true,
            awaits_service: false,
            outcome: "exit 0".to_owned(),
            actor: Actor::Monitor,
            at_ms: 3,
        };
        assert!(store.settle_job(settlement).await.expect("settled"), "nobody else claims");
        out += begun.elapsed();
        // the run of a process is not the queue's business; one without an end would stay in the way
        store.record_run_ended(claimed.run, ending(), 3).await.expect("recorded");
        begun = clock::now();
    }
    assert_eq!(cookie, u64::from(jobs) + 1, "every job, once");
    (in_s, out.as_secs_f64())
}

fn ending() -> RunEnding {
    RunEnding {
        outcome: "exit 0".to_owned(),
        exit_code: Some(0),
        swept: None,
        surviving: None,
        cost_microusd: None,
        cost_kind: None,
        agent: None,
        ended_at_ms: 3,
    }
}

async fn task(store: &Store, number: u32) -> TaskRow {
    let new = NewTask {
        key: WorkItemKey::parse(&format!("BENCH-{number}")).expect("a key"),
        project: "bench".to_owned(),
        title: "A bench".to_owned(),
        body: String::new(),
        actor: Actor::Operator,
        who: None,
    };
    store.create_task(new, 1).await.expect("made").0
}

fn queued(row: &TaskRow) -> CommitWrite {
    CommitWrite {
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
    }
}

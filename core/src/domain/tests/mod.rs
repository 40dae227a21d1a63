//! Rules of the pure middle, over every combination and over random histories.

mod histories;
mod pipeline;
mod task;
mod text_forms;
mod transition;

use super::{
    actor::Actor,
    event::{Event, StoredEvent},
    ids::WorkItemKey,
    stage::Stage,
    task::{Standing, Task, apply},
    transition::Limits,
    verdict::{InfraClass, Verdict, Waitee},
};

/// Limits small enough to be reached in a table.
const LIMITS: Limits =
    Limits { rollbacks_max: 2, infra_retries_max: 2, infra_backoff_ms: 1_000, ci_wait_ms: 60_000 };

/// Time of every decision in the tables.
const NOW_MS: i64 = 10_000_000;

fn created() -> Event {
    Event::Created {
        key: WorkItemKey::parse("ORCH-1").unwrap(),
        project: "sample".into(),
        title: "Sort the list".into(),
        body: String::new(),
    }
}

fn stored(seq: i64, event: Event) -> StoredEvent {
    StoredEvent { seq, at_ms: seq, actor: Actor::Monitor, who: None, reason: "test".into(), event }
}

fn fresh() -> Task {
    apply(None, &stored(1, created())).unwrap()
}

/// A task that went forward to `stage`, or was cancelled at once.
fn task_in(stage: Stage) -> Task {
    let mut task = fresh();
    while task.stage != stage {
        let to = match task.stage.row().next {
            Some(next) if stage != Stage::Cancelled => next,
            Some(_) | None => Stage::Cancelled,
        };
        let event = stored(task.version + 1, Event::Entered { from: task.stage, to });
        task = apply(Some(task), &event).unwrap();
    }
    task
}

/// What comes of events on a task.
fn after(task: &Task, events: &[Event]) -> Task {
    events.iter().fold(task.clone(), |task, event| {
        let event = StoredEvent { at_ms: NOW_MS, ..stored(task.version + 1, event.clone()) };
        apply(Some(task), &event).unwrap()
    })
}

fn ci() -> Waitee {
    Waitee::Ci { name: "ci".into() }
}

fn agent() -> Waitee {
    Waitee::Agent { name: "developer".into() }
}

fn person() -> Waitee {
    Waitee::Person { name: "ada".into() }
}

fn slot() -> Waitee {
    Waitee::Slot { name: "merge slot".into() }
}

fn waiting(who: Waitee) -> Standing {
    Standing::Waiting { who, reason: "asked".into(), until_ms: None }
}

/// One verdict of each sort, waits by whom they wait for.
fn verdicts() -> Vec<Verdict> {
    let wait = |who| Verdict::Wait { reason: "asked".into(), who, until_ms: None };
    let mut all = vec![
        Verdict::Pass { evidence: "e".into() },
        Verdict::Red { findings: vec!["first".into(), "second".into()] },
        Verdict::Skipped { why: "off".into() },
        wait(ci()),
        wait(person()),
        wait(slot()),
        wait(Waitee::Deploy { name: "abc".into() }),
    ];
    all.extend(InfraClass::ALL.map(|class| Verdict::Infra { class, detail: "disk".into() }));
    all
}

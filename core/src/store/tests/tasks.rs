//! Tasks: idempotent making, comparison before every write, row equals fold.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    task::{Standing, fold},
    transition::{Checked, Command, Facts, Limits, Work, decide},
    verdict::{InfraClass, Verdict, Waitee},
};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The row in the file is the fold of the events in the file, byte for byte.
async fn assert_folds(fixture: &Fixture, id: TaskId) {
    let events = fixture.store.events(id).await.unwrap();
    let numbers: Vec<i64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    let folded = serde_json::to_string(&fold(&events).unwrap().unwrap()).unwrap();
    let (row, stage, standing, version): (String, String, String, i64) = fixture
        .raw()
        .query_row("SELECT row_json, stage, standing, version FROM task WHERE id = ?1", [id.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap();
    assert_eq!(row, folded);
    let task = fold(&events).unwrap().unwrap();
    assert_eq!((stage.as_str(), standing.as_str()), (task.stage.as_str(), task.standing.as_str()));
    assert_eq!(version, task.version);
}

/// The kept counts are what counting gives.
fn assert_counts(fixture: &Fixture) {
    let counts = |sql: &str| -> BTreeMap<(String, String), i64> {
        let raw = fixture.raw();
        let mut statement = raw.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(
        counts("SELECT stage, standing, tasks FROM stage_count WHERE tasks <> 0"),
        counts("SELECT stage, standing, count(*) FROM task GROUP BY stage, standing")
    );
}

#[tokio::test]
async fn a_task_is_made_once_by_its_key() {
    let fixture = Fixture::new();
    let (first, is_new) = fixture.store.create_task(new_task(1), 5).await.unwrap();
    assert!(is_new);
    let other = NewTask { title: "another".into(), ..new_task(1) };
    let (again, is_new) = fixture.store.create_task(other, 9).await.unwrap();
    assert!(!is_new);
    assert_eq!(again, first, "nothing changed");
    assert_eq!(fixture.number("SELECT count(*) FROM event"), 1);
    assert_eq!(fixture.number("SELECT count(*) FROM tracker_item"), 1);
    assert_counts(&fixture);
}

#[tokio::test]
async fn a_decision_on_what_no_longer_stands_writes_nothing() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let winner = forward(&row);
    let mut loser = forward(&row);
    loser.cancel_jobs = true;
    loser.events.push(Event::PullRequestOpened { number: 3 });
    let won = fixture.store.commit(None, winner).await.unwrap().unwrap();
    let before = fixture.number("SELECT sum(version) + (SELECT count(*) FROM event) FROM task");
    assert_eq!(fixture.store.commit(None, loser.clone()).await.unwrap(), None);
    // the right stage with an old version is as lost
    loser.expected = Expected::At { stage: won.task.stage, version: row.task.version };
    assert_eq!(fixture.store.commit(None, loser.clone()).await.unwrap(), None);
    loser.task = TaskId(999);
    assert_eq!(fixture.store.commit(None, loser).await.unwrap(), None, "and so is an unknown task");
    assert_eq!(fixture.number("SELECT sum(version) + (SELECT count(*) FROM event) FROM task"), before);
    assert_eq!(fixture.number("SELECT count(*) FROM job WHERE status = 'queued'"), 1, "no job was cancelled");
    assert_folds(&fixture, row.id).await;
}

#[tokio::test]
async fn a_decision_that_does_not_fit_is_an_error_and_leaves_no_part_of_it() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let mut bad = write(
        &row,
        vec![
            Event::PullRequestOpened { number: 3 },
            Event::Entered { from: Stage::Testing, to: Stage::DeployStaging },
        ],
    );
    bad.enqueue = Some((Role::Deployer, 1));
    assert!(matches!(fixture.store.commit(None, bad).await, Err(StoreError::History(_))));
    assert_eq!(fixture.store.task_by_id(row.id).await.unwrap().unwrap(), row);
    assert_eq!(fixture.number("SELECT count(*) FROM job"), 0);
}

#[tokio::test]
async fn without_the_comparison_a_plain_write_starts_from_where_the_task_is() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let first = forward(&row);
    let late = CommitWrite { expected: Expected::Any, ..first.clone() };
    fixture.store.commit(None, first).await.unwrap().unwrap();
    let doubled = fixture.store.commit(None, late).await.unwrap().unwrap();
    assert_eq!(
        (doubled.task.stage, doubled.task.round),
        (Stage::Analysis, 3),
        "the race that the lease prevents"
    );
    assert_folds(&fixture, row.id).await;
}

/// A roll-back that was decided in deploy-staging and comes when the task is done, merged.
async fn late_roll_back(fixture: &Fixture, number: u32, step: &str) -> (TaskRow, CommitWrite) {
    let row = fixture.task(number).await;
    let staged = walk(&fixture.store, row, Stage::DeployStaging).await;
    let back = Event::RolledBack {
        from: Stage::DeployStaging,
        to: Stage::Development,
        step: step.into(),
        findings: vec!["f".into()],
    };
    let mut late = write(&staged, vec![back]);
    late.cancel_jobs = true;
    late.enqueue = Some((Role::Developer, 3));
    let merge = write(&staged, vec![Event::Merged { revision: "m".into() }]);
    let merged = fixture.store.commit(None, merge).await.unwrap().unwrap();
    (walk(&fixture.store, merged, Stage::Done).await, late)
}

/// The gates that can roll a task back from the edge that merges.
const GATES_OF_THE_EDGE: [&str; 5] = ["retest", "security", "coverage", "image", "staging"];

#[tokio::test]
async fn a_late_roll_back_of_any_gate_loses_the_comparison_and_does_not_touch_done() {
    let fixture = Fixture::new();
    for (number, step) in (1..).zip(GATES_OF_THE_EDGE) {
        let (done, late) = late_roll_back(&fixture, number, step).await;
        assert_eq!(fixture.store.commit(None, late).await.unwrap(), None, "{step}");
        assert_eq!(fixture.store.task_by_id(done.id).await.unwrap().unwrap(), done, "{step}");
        assert_eq!(fixture.number("SELECT count(*) FROM job"), 0, "{step}: a lost race writes nothing");
    }
}

#[tokio::test]
async fn a_roll_back_of_any_gate_wins_at_the_expected_stage() {
    let fixture = Fixture::new();
    for (number, step) in (1..).zip(GATES_OF_THE_EDGE) {
        let row = fixture.task(number).await;
        let staged = walk(&fixture.store, row, Stage::DeployStaging).await;
        let back = Event::RolledBack {
            from: Stage::DeployStaging,
            to: Stage::Development,
            step: step.into(),
            findings: Vec::new(),
        };
        let after = fixture.store.commit(None, write(&staged, vec![back])).await.unwrap().unwrap();
        assert_eq!((after.task.stage, after.task.rollbacks), (Stage::Development, 1), "{step}");
    }
}

#[tokio::test]
async fn switched_off_a_late_roll_back_of_any_gate_is_written_over_done_as_in_the_incident() {
    let fixture = Fixture::new();
    for (number, step) in (1..).zip(GATES_OF_THE_EDGE) {
        let (done, late) = late_roll_back(&fixture, number, step).await;
        let plain = CommitWrite { expected: Expected::Any, ..late };
        let after = fixture.store.commit(None, plain).await.unwrap().unwrap();
        assert_eq!(after.task.stage, Stage::Development, "{step}");
        assert_eq!(after.task.merged, done.task.merged, "{step}: rolled back and merged");
        assert_folds(&fixture, done.id).await;
        let events = fixture.store.events(done.id).await.unwrap();
        let over = events.iter().any(|stored| {
            matches!(&stored.event, Event::WrittenOver { found: Stage::Done, step: Some(by), .. } if by == step)
        });
        assert!(over, "{step}: history says what happened");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_race_for_one_decision_exactly_one_wins() {
    let fixture = Fixture::new();
    for number in 1..=5 {
        let row = fixture.task(number).await;
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (store, write) = (fixture.store.clone(), forward(&row));
            racers.spawn(async move { store.commit(None, write).await.unwrap().is_some() });
        }
        let won = racers.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1);
        assert_folds(&fixture, row.id).await;
    }
    assert_eq!(fixture.number("SELECT count(*) FROM job"), 5, "one job each");
    assert_counts(&fixture);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_writers_at_once_are_all_served_and_leave_no_gap() {
    const WRITES_EACH: i64 = 20;
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..64_i64 {
        let (store, row) = (fixture.store.clone(), row.clone());
        writers.spawn(async move {
            for n in 0..WRITES_EACH {
                let note = Event::PullRequestOpened { number: writer * 100 + n };
                let write = CommitWrite { expected: Expected::Any, ..write(&row, vec![note]) };
                store.commit(None, write).await.unwrap().unwrap();
            }
        });
    }
    writers.join_all().await;
    let after = fixture.store.task_by_id(row.id).await.unwrap().unwrap();
    assert_eq!(after.task.version, 1 + 64 * WRITES_EACH);
    assert_folds(&fixture, row.id).await;
}

#[tokio::test]
async fn held_tasks_come_due_and_leave_the_list_when_they_move() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let held = Event::InfraRetry { step: "ci".into(), detail: "d".into(), retry_at_ms: 500 };
    let row = fixture.store.commit(None, write(&row, vec![held])).await.unwrap().unwrap();
    let due = |now| {
        let store = fixture.store.clone();
        async move {
            let rows = store.due_tasks(now, 10).await.unwrap();
            rows.into_iter().filter(|row| matches!(row.task.standing, Standing::Held { .. })).count()
        }
    };
    assert_eq!(due(499).await, 0);
    assert_eq!(due(500).await, 1);
    assert_eq!(due(row.task.updated_at_ms).await, 0);
    assert_eq!(due(row.task.updated_at_ms - 1).await, 1, "a clock that is set back prolongs no rest");
    // nor does it when a note is written into the history by that clock
    let reclaimed = Event::LeaseReclaimed { why: "dead_boot".into() };
    let set_back = row.task.updated_at_ms - 100;
    let note = CommitWrite { at_ms: set_back, ..write(&row, vec![reclaimed]) };
    let row = fixture.store.commit(None, note).await.unwrap().unwrap();
    assert_eq!(due(set_back + 1).await, 1, "the rest began when the task was held, not with its last event");
    fixture.store.commit(None, forward(&row)).await.unwrap().unwrap();
    assert_eq!(due(500).await, 0);
}

#[tokio::test]
async fn pages_follow_one_another_and_open_tasks_leave_out_what_ended() {
    let fixture = Fixture::new();
    for number in 1..=5 {
        fixture.task(number).await;
    }
    let first = fixture.store.tasks_page(0, None, 2).await.unwrap();
    let second = fixture.store.tasks_page(first[1].id.0, None, 10).await.unwrap();
    let keys: Vec<String> = first.iter().chain(&second).map(|row| row.task.key.to_string()).collect();
    assert_eq!(keys, ["ORCH-1", "ORCH-2", "ORCH-3", "ORCH-4", "ORCH-5"]);
    let cancel = write(&second[0], vec![Event::Entered { from: Stage::Created, to: Stage::Cancelled }]);
    fixture.store.commit(None, cancel).await.unwrap().unwrap();
    assert_eq!(fixture.store.open_tasks(10).await.unwrap().len(), 4);
    assert_eq!(fixture.store.tasks_page(0, Some(Stage::Cancelled), 10).await.unwrap().len(), 1);
}

fn facts() -> impl Strategy<Value = Facts> {
    let wait = |who| Verdict::Wait { reason: "r".into(), who, until_ms: None };
    let checked = prop_oneof![
        4 => Just(Checked::Through),
        1 => Just(Checked::InDoubt { step: "merge".into(), cause: "c".into() }),
        4 => prop::sample::select(vec![
            Verdict::Red { findings: vec!["f".into()] },
            Verdict::Infra { class: InfraClass::Other, detail: "d".into() },
            wait(Waitee::Ci { name: "ci".into() }),
            wait(Waitee::Person { name: "p".into() }),
        ])
        .prop_map(|verdict| Checked::Stopped { step: "g".into(), verdict }),
    ];
    let work =
        prop_oneof![4 => Just(Work::Done), 1 => Just(Work::Missing), 1 => Just(Work::Failed("e".into()))];
    let limits = Limits { rollbacks_max: 2, infra_retries_max: 2, infra_backoff_ms: 10, ci_wait_ms: 100 };
    (checked, work).prop_map(move |(checked, work)| Facts {
        work,
        checked,
        limits,
        stood_ms: 0,
        last_deploy: 0,
    })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        20 => Just(Command::Advance),
        2 => Just(Command::Retry),
        2 => Just(Command::RollBack { why: "w".into() }),
        1 => Just(Command::Cancel),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn after_any_writes_rows_are_folds_and_counts_are_counts(
        steps in prop::collection::vec((1_u32..4, command(), facts(), prop::bool::weighted(0.15)), 1..60)
    ) {
        runtime().block_on(async {
            let fixture = Fixture::new();
            for (at, (number, command, facts, late)) in (10_i64..).zip(steps) {
                let row = fixture.task(number).await;
                if facts.work == Work::Done {
                    let settled = "UPDATE job SET status = 'done' WHERE task_id = ?1 AND status = 'queued'";
                    fixture.raw().execute(settled, [row.id.0]).unwrap();
                }
                let Ok(decision) = decide(&row.task, &command, &facts, at) else { continue };
                let mut write = write(&row, decision.events);
                write.at_ms = at;
                write.enqueue = decision.enqueue.map(|role| (role, 2));
                write.cancel_jobs = decision.cancel_jobs;
                if late {
                    write.expected = Expected::At { stage: row.task.stage, version: row.task.version - 1 };
                }
                let written = fixture.store.commit(None, write).await.unwrap();
                assert_eq!(written.is_none(), late);
            }
            for id in 1..4 {
                if fixture.store.task_by_id(TaskId(id)).await.unwrap().is_some() {
                    assert_folds(&fixture, TaskId(id)).await;
                }
            }
            assert_counts(&fixture);
            let doubled = "SELECT count(*) FROM (SELECT 1 FROM job WHERE status IN ('queued','running') GROUP BY task_id HAVING count(*) > 1)";
            assert_eq!(fixture.number(doubled), 0, "one open job a task");
            let orphaned = "SELECT count(*) FROM job JOIN task ON task.id = task_id WHERE status IN ('queued','running') AND task.stage IN ('done','cancelled')";
            assert_eq!(fixture.number(orphaned), 0, "no job of an ended task");
        });
    }
}

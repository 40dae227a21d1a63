//! The fold refuses what does not fit, and keeps what a change of stage must not lose.

use super::*;
use crate::domain::task::fold;

fn refused(task: Option<Task>, event: &StoredEvent, expected: &str) {
    let error = apply(task, event).unwrap_err();
    assert_eq!(error.seq, event.seq);
    assert!(error.what.contains(expected), "{error}");
}

#[test]
fn an_event_that_does_not_fit_is_refused_by_its_number() {
    let entered = |from, to| Event::Entered { from, to };
    refused(None, &stored(1, entered(Stage::Created, Stage::Analysis)), "first event must be");
    refused(None, &stored(2, created()), "number 1");
    refused(Some(fresh()), &stored(2, created()), "created twice");
    for seq in [1, 3, 0, -1] {
        refused(Some(fresh()), &stored(seq, entered(Stage::Created, Stage::Analysis)), "does not follow");
    }
    refused(Some(fresh()), &stored(2, entered(Stage::Testing, Stage::DeployStaging)), "not");
    let back = Event::RolledBack {
        from: Stage::Review,
        to: Stage::Development,
        step: "s".into(),
        findings: Vec::new(),
    };
    refused(Some(fresh()), &stored(2, back), "not");
}

#[test]
fn a_terminal_stage_is_never_left() {
    for from in [Stage::Done, Stage::Cancelled] {
        for to in Stage::ALL {
            let task = task_in(from);
            let forward = Event::Entered { from, to };
            let back = Event::RolledBack { from, to, step: "s".into(), findings: Vec::new() };
            for event in [forward, back] {
                refused(Some(task.clone()), &stored(task.version + 1, event), "terminal");
            }
        }
    }
}

#[test]
fn a_merged_task_cannot_be_folded_back() {
    let mut task = task_in(Stage::DeployStaging);
    task = after(&task, &[Event::Merged { revision: "m".into() }]);
    let event = Event::RolledBack {
        from: Stage::DeployStaging,
        to: Stage::Development,
        step: "s".into(),
        findings: Vec::new(),
    };
    refused(Some(task.clone()), &stored(task.version + 1, event), "merged");
}

#[test]
fn an_empty_history_is_no_task_and_a_gap_is_no_history() {
    assert_eq!(fold(&[]), Ok(None));
    let history = [stored(1, created()), stored(3, Event::Merged { revision: "m".into() })];
    assert_eq!(fold(&history).unwrap_err().seq, 3);
}

#[test]
fn a_roll_back_forgets_the_candidate_and_keeps_the_pull_request() {
    let task = after(
        &task_in(Stage::DeployStaging),
        &[
            Event::PullRequestOpened { number: 7 },
            Event::CandidatePrepared { head: "h".into(), base: "b".into(), tree: "t".into() },
            Event::InfraRetry { step: "ci".into(), detail: "d".into(), retry_at_ms: 5 },
        ],
    );
    assert_eq!(task.infra_attempts, 1);
    let back = after(
        &task,
        &[Event::RolledBack {
            from: Stage::DeployStaging,
            to: Stage::Development,
            step: "retest".into(),
            findings: vec!["red".into()],
        }],
    );
    assert_eq!((back.candidate, back.pull_request, back.infra_attempts), (None, Some(7), 0));
    assert_eq!((back.standing, back.findings), (Standing::Moving {}, vec!["red".to_owned()]));
}

#[test]
fn findings_reach_the_agent_that_mends_and_end_with_its_stage() {
    let mut task = task_in(Stage::Review);
    task = after(
        &task,
        &[Event::RolledBack {
            from: Stage::Review,
            to: Stage::Development,
            step: "artifact".into(),
            findings: vec!["no test".into()],
        }],
    );
    assert_eq!(task.findings, ["no test"]);
    let mended = after(&task, &[Event::Entered { from: Stage::Development, to: Stage::Review }]);
    assert!(mended.findings.is_empty());
}

#[test]
fn standing_the_same_does_not_restart_its_time() {
    let wait = Event::Stood { standing: waiting(ci()) };
    let mut task = task_in(Stage::Development);
    let first = StoredEvent { at_ms: 500, ..stored(task.version + 1, wait.clone()) };
    task = apply(Some(task), &first).unwrap();
    let second = StoredEvent { at_ms: 900, ..stored(task.version + 1, wait) };
    task = apply(Some(task), &second).unwrap();
    assert_eq!((task.standing_since_ms, task.updated_at_ms), (500, 900));
}

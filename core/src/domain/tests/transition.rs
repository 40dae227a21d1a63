//! The decision over every stage × standing × counters × work × checked × command.

use super::*;
use crate::domain::{
    effect::EffectKind,
    stage::{Edge, is_edge},
    transition::{Checked, Command, Decision, Facts, Outcome, Refusal, Work, decide},
};

fn commands() -> [Command; 5] {
    let back = Command::RollBack { why: "not this".into() };
    [Command::Advance, back, Command::Retry, Command::Redeploy, Command::Cancel]
}

fn works() -> [Work; 5] {
    [Work::NotNeeded, Work::Missing, Work::Open, Work::Done, Work::Failed("exit 3".into())]
}

fn checks() -> Vec<Checked> {
    let mut all = vec![
        Checked::No,
        Checked::Through,
        Checked::InDoubt { step: "merge".into(), cause: "no answer".into() },
    ];
    all.extend(verdicts().into_iter().map(|verdict| Checked::Stopped { step: "gate".into(), verdict }));
    all
}

/// Tasks of every stage, standing and side of each limit.
fn tasks() -> Vec<Task> {
    let mut all = Vec::new();
    for stage in Stage::ALL {
        let standings = if stage.is_terminal() {
            vec![Standing::Finished {}]
        } else {
            vec![
                Standing::Moving {},
                waiting(ci()),
                waiting(agent()),
                waiting(person()),
                Standing::Held { reason: "gate: disk".into(), retry_at_ms: 5 },
                Standing::Blocked { cause: "c".into(), way_out: "w".into() },
            ]
        };
        for standing in standings {
            for (rollbacks, infra_attempts, merged) in
                [(0, 0, false), (1, 1, false), (2, 2, false), (9, 9, false), (0, 0, true), (0, 9, true)]
            {
                let mut task = task_in(stage);
                task.standing = standing.clone();
                task.standing_since_ms = 1;
                task.rollbacks = rollbacks;
                task.infra_attempts = infra_attempts;
                task.merged = merged.then(|| "m".to_owned());
                all.push(task);
            }
        }
    }
    all
}

fn facts(work: Work, checked: Checked) -> Facts {
    Facts { work, checked, limits: LIMITS, stood_ms: 0, last_deploy: 7 }
}

/// Calls `rule` with every combination.
fn everywhere(mut rule: impl FnMut(&Task, &Command, &Facts, &Result<Decision, Refusal>)) {
    let mut seen = 0;
    for task in tasks() {
        for work in works() {
            for checked in checks() {
                let facts = facts(work.clone(), checked);
                for command in commands() {
                    rule(&task, &command, &facts, &decide(&task, &command, &facts, NOW_MS));
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 10_000, "the table is not empty");
}

fn of(stage: Stage, checked: Checked) -> (Task, Decision) {
    let task = task_in(stage);
    let work = if stage.row().role.is_some() { Work::Done } else { Work::NotNeeded };
    let decision = decide(&task, &Command::Advance, &facts(work, checked), NOW_MS).unwrap();
    (task, decision)
}

fn stopped(verdict: Verdict) -> Checked {
    Checked::Stopped { step: "gate".into(), verdict }
}

fn red() -> Checked {
    stopped(Verdict::Red { findings: vec!["first".into(), "second".into()] })
}

fn infra() -> Checked {
    stopped(Verdict::Infra { class: InfraClass::Timeout, detail: "slow".into() })
}

fn wait_for(who: Waitee) -> Checked {
    stopped(Verdict::Wait { reason: "asked".into(), who, until_ms: None })
}

fn edges(decision: &Decision) -> Vec<Edge> {
    decision
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Entered { from, to } | Event::RolledBack { from, to, .. } => {
                Some(Edge { from: *from, to: *to })
            }
            Event::Created { .. }
            | Event::Stood { .. }
            | Event::InfraRetry { .. }
            | Event::Retried { .. }
            | Event::DeployAsked { .. }
            | Event::Approved { .. }
            | Event::PullRequestOpened { .. }
            | Event::CandidatePrepared { .. }
            | Event::EffectDone { .. }
            | Event::Merged { .. }
            | Event::JobQueued { .. }
            | Event::RunEnded { .. }
            | Event::LeaseReclaimed { .. }
            | Event::WrittenOver { .. } => None,
        })
        .collect()
}

#[test]
fn a_terminal_stage_does_nothing_and_refuses_every_order() {
    everywhere(|task, command, _, decided| {
        if !task.stage.is_terminal() {
            return;
        }
        match (command, decided) {
            (Command::Advance, Ok(decision)) => {
                assert!(decision.events.is_empty() && decision.enqueue.is_none() && !decision.cancel_jobs);
                assert_eq!(decision.outcome, Outcome::NoChange);
            }
            (_, Err(refusal)) => assert_eq!(*refusal, Refusal::Terminal(task.stage)),
            (command, decided) => panic!("{} {command:?}: {decided:?}", task.stage),
        }
    });
}

#[test]
fn the_only_way_forward_is_work_that_stands_and_every_step_let_through() {
    everywhere(|task, command, facts, decided| {
        let Ok(decision) = decided else { return };
        let forward = matches!(decision.outcome, Outcome::Advanced { to } if to != Stage::Cancelled);
        let allowed = *command == Command::Advance
            && matches!(facts.work, Work::Done | Work::NotNeeded)
            && facts.checked == Checked::Through
            && !task.stage.is_terminal();
        assert_eq!(forward, allowed, "{} {:?} {facts:?}", task.stage, task.standing);
        if let (true, Some(to)) = (forward, task.stage.row().next) {
            assert_eq!(edges(decision), [Edge { from: task.stage, to }]);
            assert_eq!(decision.enqueue, to.row().role, "whoever works there is called");
            let there = after(task, &decision.events);
            assert_eq!(there.stage, to);
            assert_eq!(there.round, task.round + 1, "work of the old stage never counts for the new one");
        }
    });
}

#[test]
fn at_most_one_change_of_stage_and_only_along_a_permitted_edge() {
    everywhere(|task, command, _, decided| {
        let Ok(decision) = decided else { return };
        let edges = edges(decision);
        assert!(edges.len() <= 1, "{edges:?}");
        for edge in edges {
            assert_eq!(edge.from, task.stage);
            assert!(is_edge(edge), "{edge} by {command:?}");
        }
    });
}

#[test]
fn red_rolls_back_with_its_findings_and_calls_the_role_again() {
    for (stage, to) in [
        (Stage::Analysis, Stage::Analysis),
        (Stage::Architecture, Stage::Architecture),
        (Stage::Development, Stage::Development),
        (Stage::Review, Stage::Development),
        (Stage::Testing, Stage::Development),
        (Stage::DeployStaging, Stage::Development),
    ] {
        let (task, decision) = of(stage, red());
        assert_eq!(decision.outcome, Outcome::RolledBack { to });
        assert_eq!(decision.enqueue, to.row().role);
        assert!(decision.cancel_jobs);
        let back = after(&task, &decision.events);
        assert_eq!((back.stage, back.rollbacks, back.round), (to, 1, task.round + 1));
        assert_eq!(back.findings, ["first", "second"]);
        assert_eq!(back.candidate, None, "a candidate never outlives its roll-back");
    }
}

#[test]
fn roll_backs_by_gates_are_bounded_and_then_a_person_is_asked() {
    everywhere(|task, command, facts, decided| {
        let Ok(decision) = decided else { return };
        if *command != Command::Advance {
            return;
        }
        let rolls = matches!(decision.outcome, Outcome::RolledBack { .. });
        let is_red = matches!(facts.checked, Checked::Stopped { verdict: Verdict::Red { .. }, .. });
        let judged = matches!(facts.work, Work::Done | Work::NotNeeded) && !task.stage.is_terminal();
        let may = task.rollbacks < LIMITS.rollbacks_max
            && task.merged.is_none()
            && task.stage.row().rollback.is_some();
        assert_eq!(rolls, judged && is_red && may, "{} {facts:?}", task.stage);
        if judged && is_red && !may {
            let Outcome::Blocked { cause, .. } = &decision.outcome else { panic!("{:?}", decision.outcome) };
            assert!(cause.contains("first") && cause.contains("second"), "the findings are told: {cause}");
        }
    });
}

#[test]
fn nothing_is_rolled_back_after_the_merge_by_gate_or_person() {
    everywhere(|task, command, facts, decided| {
        if task.merged.is_none() {
            return;
        }
        if let Ok(decision) = decided {
            let back = decision.events.iter().any(|event| matches!(event, Event::RolledBack { .. }));
            assert!(!back, "{} {command:?} {facts:?}", task.stage);
        }
        if matches!(command, Command::RollBack { .. }) && !task.stage.is_terminal() {
            assert!(matches!(decided, Err(Refusal::NoRollBack(stage, _)) if *stage == task.stage));
        }
    });
}

#[test]
fn a_person_rolls_back_beyond_the_bound_but_only_where_an_agent_has_worked() {
    everywhere(|task, command, _, decided| {
        let Command::RollBack { why } = command else { return };
        if task.stage.is_terminal() || task.merged.is_some() {
            return;
        }
        match (task.stage.row().rollback, decided) {
            (Some(to), Ok(decision)) => {
                assert_eq!(decision.outcome, Outcome::RolledBack { to });
                assert_eq!(after(task, &decision.events).findings, std::slice::from_ref(why));
                assert!(decision.cancel_jobs && decision.enqueue == to.row().role);
            }
            (None, Err(Refusal::NoRollBack(..))) => {}
            (_, decided) => panic!("{}: {decided:?}", task.stage),
        }
    });
}

#[test]
fn a_sick_machine_is_waited_out_a_bounded_number_of_times_and_costs_no_roll_back() {
    everywhere(|task, command, facts, decided| {
        let Checked::Stopped { verdict: Verdict::Infra { .. }, .. } = facts.checked else { return };
        let judged = matches!(facts.work, Work::Done | Work::NotNeeded) && !task.stage.is_terminal();
        let (Command::Advance, true, Ok(decision)) = (command, judged, decided) else { return };
        let then = after(task, &decision.events);
        assert_eq!((then.stage, then.rollbacks, then.round), (task.stage, task.rollbacks, task.round));
        assert_eq!((decision.enqueue, decision.cancel_jobs), (None, false), "no agent is paid for it");
        if task.infra_attempts < LIMITS.infra_retries_max {
            let Outcome::Held { retry_at_ms } = decision.outcome else { panic!("{:?}", decision.outcome) };
            assert!(retry_at_ms > NOW_MS, "with a pause");
            assert_eq!(then.infra_attempts, task.infra_attempts + 1);
            assert!(matches!(then.standing, Standing::Held { retry_at_ms: at, .. } if at == retry_at_ms));
        } else {
            assert!(matches!(decision.outcome, Outcome::Blocked { .. }));
            assert_eq!(then.infra_attempts, task.infra_attempts);
        }
    });
}

#[test]
fn pauses_between_infra_tries_double_and_never_overflow() {
    let mut task = task_in(Stage::Development);
    let mut pauses = Vec::new();
    for attempts in [0, 1, 2, 6, 7, 1_000] {
        task.infra_attempts = attempts;
        let limits = Limits { infra_retries_max: u32::MAX, ..LIMITS };
        let facts = Facts { limits, ..self::facts(Work::Done, infra()) };
        let decision = decide(&task, &Command::Advance, &facts, NOW_MS).unwrap();
        let Outcome::Held { retry_at_ms } = decision.outcome else { panic!("held") };
        pauses.push(retry_at_ms - NOW_MS);
    }
    assert_eq!(pauses, [1_000, 2_000, 4_000, 64_000, 64_000, 64_000]);
    let limits = Limits { infra_backoff_ms: i64::MAX, ..LIMITS };
    let facts = Facts { limits, ..self::facts(Work::Done, infra()) };
    let decision = decide(&task_in(Stage::Testing), &Command::Advance, &facts, NOW_MS).unwrap();
    assert_eq!(decision.outcome, Outcome::Held { retry_at_ms: i64::MAX });
}

#[test]
fn whoever_stands_is_told_cause_and_way_out_and_stands_so_in_history() {
    everywhere(|task, command, facts, decided| {
        let Ok(decision) = decided else { return };
        let then = after(task, &decision.events);
        let shown = || format!("{} {:?} {command:?} {facts:?}", task.stage, task.standing);
        match &decision.outcome {
            Outcome::Blocked { cause, way_out } => {
                assert!(!cause.is_empty() && !way_out.is_empty(), "{}", shown());
                let wanted = Standing::Blocked { cause: cause.clone(), way_out: way_out.clone() };
                assert_eq!(then.standing, wanted, "{}", shown());
            }
            Outcome::Waiting { who, until_ms } => match &then.standing {
                Standing::Waiting { who: stored, until_ms: until, reason } => {
                    assert_eq!((stored, until), (who, until_ms), "{}", shown());
                    assert!(!reason.is_empty());
                }
                other => panic!("{}: {other:?}", shown()),
            },
            Outcome::Held { retry_at_ms } => {
                assert!(
                    matches!(&then.standing, Standing::Held { retry_at_ms: at, reason } if at == retry_at_ms && !reason.is_empty())
                );
            }
            Outcome::Advanced { to } | Outcome::RolledBack { to } => assert_eq!(then.stage, *to),
            Outcome::NoChange => {}
            Outcome::Deferred { .. } | Outcome::LostRace => panic!("not a decision's to say: {}", shown()),
        }
    });
}

#[test]
fn the_same_answer_again_writes_nothing_again() {
    everywhere(|task, command, facts, decided| {
        let (Command::Advance, Ok(decision)) = (command, decided) else { return };
        match decision.outcome {
            Outcome::Waiting { .. } | Outcome::Blocked { .. } | Outcome::NoChange => {}
            Outcome::Advanced { .. }
            | Outcome::RolledBack { .. }
            | Outcome::Held { .. }
            | Outcome::Deferred { .. }
            | Outcome::LostRace => return,
        }
        let then = after(task, &decision.events);
        // the job that was missing is open now
        let work = if facts.work == Work::Missing { Work::Open } else { facts.work.clone() };
        let again = decide(&then, &Command::Advance, &Facts { work, ..facts.clone() }, NOW_MS + 1).unwrap();
        assert_eq!(again.events, [], "{} {:?} {facts:?}", task.stage, task.standing);
        assert_eq!(again.outcome, decision.outcome);
    });
}

#[test]
fn a_job_is_queued_exactly_where_history_says_so() {
    everywhere(|_, command, facts, decided| {
        let Ok(decision) = decided else { return };
        let told: Vec<_> = decision
            .events
            .iter()
            .filter_map(|event| if let Event::JobQueued { role } = event { Some(*role) } else { None })
            .collect();
        assert_eq!(told, decision.enqueue.into_iter().collect::<Vec<_>>(), "{command:?} {facts:?}");
    });
}

#[test]
fn missing_work_is_ordered_open_work_is_waited_for_and_failed_work_blocks() {
    for stage in Stage::ALL {
        let Some(role) = stage.row().role else { continue };
        let task = task_in(stage);
        let on = |work| decide(&task, &Command::Advance, &facts(work, Checked::No), NOW_MS).unwrap();
        assert_eq!(on(Work::Missing).enqueue, Some(role));
        let open = on(Work::Open);
        assert_eq!((open.enqueue, open.cancel_jobs), (None, false));
        let who = Waitee::Agent { name: role.as_str().to_owned() };
        assert_eq!(open.outcome, Outcome::Waiting { who, until_ms: None });
        let Outcome::Blocked { cause, .. } = on(Work::Failed("exit 3".into())).outcome else {
            panic!("blocked")
        };
        assert!(cause.contains(role.as_str()) && cause.contains("exit 3"), "{cause}");
    }
}

#[test]
fn waiting_for_ci_is_bounded_and_counted_from_the_first_ask_for_it() {
    let task = task_in(Stage::Development);
    let ask = |task: &Task, stood_ms| {
        let facts = Facts { stood_ms, ..facts(Work::Done, wait_for(ci())) };
        decide(task, &Command::Advance, &facts, NOW_MS).unwrap()
    };
    let waits = after(&task, &ask(&task, 0).events);
    assert!(matches!(ask(&waits, LIMITS.ci_wait_ms).outcome, Outcome::Waiting { .. }));
    let late = LIMITS.ci_wait_ms + 1;
    let Outcome::Blocked { cause, .. } = ask(&waits, late).outcome else { panic!("bounded") };
    assert!(cause.contains("60 s"), "{cause}");

    // a task blocked for this very wait stays so, whoever asks
    let blocked = after(&waits, &ask(&waits, late).events);
    let again = ask(&blocked, 0);
    assert_eq!(again.events, []);
    assert!(matches!(again.outcome, Outcome::Blocked { .. }));
    // and the answer, once there, frees it
    let through = decide(&blocked, &Command::Advance, &facts(Work::Done, Checked::Through), NOW_MS).unwrap();
    assert_eq!(through.outcome, Outcome::Advanced { to: Stage::Review });
}

#[test]
fn the_time_that_an_agent_or_a_slot_took_is_not_the_ci_s() {
    for who in [agent(), slot(), person()] {
        let mut task = task_in(Stage::Development);
        task.standing = waiting(who);
        let long = Facts { stood_ms: i64::MAX, ..facts(Work::Done, wait_for(ci())) };
        let decided = decide(&task, &Command::Advance, &long, NOW_MS).unwrap();
        assert!(matches!(decided.outcome, Outcome::Waiting { .. }), "{:?}", task.standing);
    }
}

#[test]
fn waiting_for_people_slots_and_deploys_has_no_bound_here() {
    for who in [person(), slot(), Waitee::Deploy { name: "r".into() }, agent()] {
        let mut task = task_in(Stage::DeployStaging);
        task.standing = waiting(who.clone());
        let long = Facts { stood_ms: i64::MAX, ..facts(Work::Done, wait_for(who)) };
        let decided = decide(&task, &Command::Advance, &long, i64::MAX).unwrap();
        assert!(matches!(decided.outcome, Outcome::Waiting { .. }));
    }
}

#[test]
fn retry_serves_what_stands_and_runs_the_agent_again_only_when_its_work_failed() {
    everywhere(|task, command, facts, decided| {
        if *command != Command::Retry || task.stage.is_terminal() {
            return;
        }
        match (&task.standing, decided) {
            (Standing::Blocked { .. } | Standing::Held { .. }, Ok(decision)) => {
                let rerun = matches!(facts.work, Work::Failed(_));
                assert_eq!(decision.events, [Event::Retried { rerun }]);
                let then = after(task, &decision.events);
                assert_eq!(then.standing, Standing::Moving {});
                assert_eq!((then.infra_attempts, then.rollbacks), (0, 0), "the bounds start anew");
                assert_eq!(then.round, task.round + u32::from(rerun));
                assert_eq!(then.merged, task.merged);
            }
            (_, Err(Refusal::NothingToRetry(_))) => {}
            (standing, decided) => panic!("{standing:?}: {decided:?}"),
        }
    });
}

#[test]
fn cancel_leads_from_everywhere_to_cancelled_and_takes_the_jobs_along() {
    everywhere(|task, command, _, decided| {
        if *command != Command::Cancel || task.stage.is_terminal() {
            return;
        }
        let decision = decided.as_ref().unwrap();
        assert_eq!(edges(decision), [Edge { from: task.stage, to: Stage::Cancelled }]);
        assert!(decision.cancel_jobs && decision.enqueue.is_none());
        assert_eq!(after(task, &decision.events).standing, Standing::Finished {});
    });
}

#[test]
fn an_effect_in_doubt_stops_for_a_person_and_is_neither_through_nor_rolled_back() {
    let (task, decision) =
        of(Stage::DeployStaging, Checked::InDoubt { step: "merge".into(), cause: "no answer".into() });
    let Outcome::Blocked { cause, way_out } = &decision.outcome else { panic!("blocked") };
    assert!(cause.contains("merge") && cause.contains("no answer") && way_out.contains("retry"));
    assert_eq!(after(&task, &decision.events).stage, Stage::DeployStaging);
}

#[test]
fn a_held_task_rests_until_its_time_and_no_other_rests() {
    use crate::domain::transition::rests_until;
    for mut task in tasks() {
        match task.standing {
            Standing::Held { retry_at_ms, .. } => {
                task.standing_since_ms = retry_at_ms - 10;
                // a note in its history is no new beginning
                task.updated_at_ms = retry_at_ms - 1_000;
                assert_eq!(rests_until(&task, retry_at_ms - 1), Some(retry_at_ms));
                assert_eq!(rests_until(&task, retry_at_ms), None);
                let set_back = task.standing_since_ms - 1;
                assert_eq!(rests_until(&task, set_back), None, "a clock that is set back prolongs no rest");
            }
            Standing::Moving {}
            | Standing::Waiting { .. }
            | Standing::Blocked { .. }
            | Standing::Finished {} => assert_eq!(rests_until(&task, 0), None),
        }
    }
}

#[test]
fn a_deploy_is_started_again_where_one_failed_or_is_in_doubt_and_nowhere_else() {
    let in_doubt =
        |effect: EffectKind| Checked::InDoubt { step: effect.to_string(), cause: "cut off".into() };
    for stage in Stage::ALL {
        for standing in [
            Standing::Moving {},
            waiting(Waitee::Deploy { name: "m".into() }),
            Standing::Held { reason: "r".into(), retry_at_ms: 5 },
            Standing::Blocked { cause: "c".into(), way_out: "w".into() },
        ] {
            for merged in [None, Some("m".to_owned())] {
                for checked in [Checked::No, in_doubt(EffectKind::StartDeploy), in_doubt(EffectKind::Merge)] {
                    let mut task = task_in(stage);
                    (task.standing, task.merged) = (standing.clone(), merged.clone());
                    let of_the_deploy = checked == in_doubt(EffectKind::StartDeploy);
                    let failed = merged.is_some()
                        && stage == Stage::DeployStaging
                        && checked == Checked::No
                        && matches!(standing, Standing::Held { .. } | Standing::Blocked { .. });
                    if failed {
                        // what its command came to is known, and the step begins it again
                        let decided =
                            decide(&task, &Command::Redeploy, &facts(Work::Done, checked.clone()), NOW_MS);
                        assert_eq!(decided.unwrap().events, [Event::Retried { rerun: false }]);
                        let none = Facts { last_deploy: 0, ..facts(Work::Done, checked) };
                        assert!(decide(&task, &Command::Redeploy, &none, NOW_MS).is_err(), "none was begun");
                        continue;
                    }
                    let may = merged.is_some()
                        && matches!(standing, Standing::Blocked { .. })
                        && (stage == Stage::Deploy || of_the_deploy)
                        && !stage.is_terminal();
                    let decided = decide(&task, &Command::Redeploy, &facts(Work::Done, checked), NOW_MS);
                    assert_eq!(decided.is_ok(), may, "{stage} {standing:?} {merged:?}: {decided:?}");
                    let Ok(decision) = decided else { continue };
                    assert_eq!(decision.events, [Event::DeployAsked { after_run: 7 }]);
                    let then = after(&task, &decision.events);
                    assert_eq!((then.standing, then.deploy_after), (Standing::Moving {}, Some(7)));
                }
            }
        }
    }
}

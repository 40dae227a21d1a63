//! Random histories: whatever is asked in whatever order, history stays whole.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    effect::EffectKind,
    job::Role,
    stage::{Edge, is_edge},
    task::fold,
    transition::{Checked, Command, Facts, Work, decide},
};

/// One thing that happens to a task.
#[derive(Debug, Clone)]
enum Happening {
    /// Somebody enters the door.
    Asked(Command, Facts),
    /// A note that changes no stage.
    Noted(Event),
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        12 => Just(Command::Advance),
        1 => Just(Command::RollBack { why: "by hand".into() }),
        1 => Just(Command::Retry),
        1 => prop::bool::weighted(0.1).prop_map(|cancel| if cancel { Command::Cancel } else { Command::Retry }),
    ]
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        Just(Work::NotNeeded),
        Just(Work::Missing),
        Just(Work::Open),
        Just(Work::Done),
        "[a-z]{0,6}".prop_map(Work::Failed),
    ]
}

fn checked() -> impl Strategy<Value = Checked> {
    prop_oneof![
        3 => Just(Checked::Through),
        1 => Just(Checked::No),
        1 => Just(Checked::InDoubt { step: "merge".into(), cause: "?".into() }),
        4 => prop::sample::select(verdicts())
            .prop_map(|verdict| Checked::Stopped { step: "gate".into(), verdict }),
    ]
}

fn note() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Approved { artifact: "01-brief.md".into(), revision: "b".into() }),
        (1_i64..9).prop_map(|number| Event::PullRequestOpened { number }),
        Just(Event::CandidatePrepared { head: "h".into(), base: "b".into(), tree: "t".into() }),
        prop::sample::select(&EffectKind::ALL[..]).prop_map(|effect| Event::EffectDone {
            effect,
            revision: "r".into(),
            evidence: "\u{e9} \"quoted\"".into()
        }),
        prop::bool::weighted(0.2).prop_map(|merged| if merged {
            Event::Merged { revision: "m".into() }
        } else {
            Event::LeaseReclaimed { why: "dead_owner".into() }
        }),
        prop::sample::select(&Role::ALL[..]).prop_map(|role| Event::RunEnded {
            role,
            attempt: 2,
            outcome: "exit 1".into()
        }),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (command(), work(), checked())
            .prop_map(|(command, work, checked)| Happening::Asked(command, Facts { work, checked, limits: LIMITS, stood_ms: 0, last_deploy: 0 })),
        1 => note().prop_map(Happening::Noted),
    ]
}

fn byte_equal<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    let read: T = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

proptest! {
    #[test]
    fn no_sequence_of_commands_and_verdicts_breaks_history(
        happenings in prop::collection::vec((happening(), 0_i64..100_000), 1..120)
    ) {
        let mut history = vec![stored(1, created())];
        let mut task = fresh();
        let mut now = 1;
        let mut merged_at: Option<i64> = None;
        for (happening, passes) in happenings {
            now += passes;
            let events = match happening {
                Happening::Asked(command, facts) => match decide(&task, &command, &facts, now) {
                    Ok(decision) => decision.events,
                    Err(_) => Vec::new(),
                },
                Happening::Noted(event) => vec![event],
            };
            let round = task.round;
            for event in events {
                match &event {
                    Event::Entered { from, to } => {
                        let edge = Edge { from: *from, to: *to };
                        prop_assert!(is_edge(edge));
                    }
                    Event::RolledBack { from, to, .. } => {
                        let edge = Edge { from: *from, to: *to };
                        prop_assert!(is_edge(edge));
                        prop_assert!(to <= from, "a roll-back never leads forward");
                        prop_assert!(merged_at.is_none(), "rolled back after the merge");
                    }
                    Event::Merged { .. } => merged_at = Some(now),
                    _ => {}
                }
                let next = StoredEvent { at_ms: now, ..stored(task.version + 1, event) };
                byte_equal(&next);
                task = apply(Some(task), &next).unwrap();
                history.push(next);
            }
            prop_assert!(task.round >= round);
            prop_assert!(task.rollbacks <= LIMITS.rollbacks_max + 200, "by hand only");
            prop_assert_eq!(task.stage.is_terminal(), task.standing == Standing::Finished {});
            prop_assert!(task.standing_since_ms <= now && task.stage_since_ms <= now);
        }
        let numbers: Vec<i64> = history.iter().map(|event| event.seq).collect();
        prop_assert_eq!(&numbers, &(1..=task.version).collect::<Vec<_>>(), "without a gap");
        let folded = fold(&history).unwrap().unwrap();
        prop_assert_eq!(serde_json::to_string(&folded).unwrap(), serde_json::to_string(&task).unwrap());
        byte_equal(&task);
    }

    #[test]
    fn without_a_person_roll_backs_end(verdict_seed in prop::collection::vec(0_u8..3, 1..60)) {
        let mut task = task_in(Stage::Review);
        for seed in verdict_seed {
            let verdict = match seed {
                0 => Verdict::Red { findings: vec!["f".into()] },
                1 => Verdict::Infra { class: InfraClass::Other, detail: "d".into() },
                _ => Verdict::Skipped { why: "w".into() },
            };
            let checked = if seed == 2 { Checked::Through } else { Checked::Stopped { step: "g".into(), verdict } };
            let facts = Facts { work: Work::Done, checked, limits: LIMITS, stood_ms: 0, last_deploy: 0 };
            let decision = decide(&task, &Command::Advance, &facts, NOW_MS).unwrap();
            task = after(&task, &decision.events);
            prop_assert!(task.rollbacks <= LIMITS.rollbacks_max);
            prop_assert!(task.infra_attempts <= LIMITS.infra_retries_max);
        }
    }
}

//! The grammar, and what each command does to a state.

use super::*;
use crate::cases::{Policy, decide};
use crate::signals::{CoreDownFacts, Entity, Facts, Finding, Severity, SignalState};
use crate::store::{COMMANDS_KEPT, Durable};

const MINUTE: i64 = 60_000;
const NOW: i64 = 1_700_000_000_000;

fn parse(line: &str) -> Result<Command, Malformed> {
    Command::parse(&line.split_whitespace().collect::<Vec<_>>())
}

fn id(number: u32) -> CaseId {
    CaseId::parse(&format!("c{number}")).unwrap()
}

#[test]
fn words_become_commands_however_a_phone_spells_them() {
    let core_down = Target::Signal(SignalKind::CoreDown);
    let of = |signal| Target::Case { id: id(3), signal };
    for (line, expected) in [
        ("mute core_down 1h", Command::Mute { target: core_down, for_ms: 60 * MINUTE }),
        ("Mute Core-Down 1.5H", Command::Mute { target: core_down, for_ms: 90 * MINUTE }),
        ("mute core_down 90s", Command::Mute { target: core_down, for_ms: 90_000 }),
        ("mute c3 30m", Command::Mute { target: of(None), for_ms: 30 * MINUTE }),
        (
            "mute core_down 2d c3",
            Command::Mute { target: of(Some(SignalKind::CoreDown)), for_ms: 2_880 * MINUTE },
        ),
        ("unmute core_down", Command::Unmute { target: Some(core_down) }),
        ("unmute core_down c3", Command::Unmute { target: Some(of(Some(SignalKind::CoreDown))) }),
        ("unmute ALL", Command::Unmute { target: None }),
        ("ack #C3", Command::Ack { id: id(3) }),
        ("status", Command::Status),
    ] {
        assert_eq!(parse(line), Ok(expected), "{line}");
    }
}

#[test]
fn what_is_no_command_is_told_in_words_that_help() {
    for (line, words) in [
        ("", "no such command"),
        ("shout", "no such command: \"shout\"; there are: mute SIGNAL|ID DURATION"),
        ("mute", "what to mute is missing"),
        ("mute core_down", "how long is missing"),
        (
            "mute cor_down 1h",
            "no such signal: \"cor_down\" (did you mean core_down?); there are: proc_blocking,",
        ),
        ("mute core_down 1h job7", "\"job7\" is no id of a case"),
        ("mute c3 1h c4", "one word too many: \"c4\""),
        ("mute core_down 60", "it needs a unit, one of s, m, h, d"),
        ("mute core_down h", "not a number such as 30 or 0.5"),
        ("mute core_down -1h", "not a number"),
        ("mute core_down 1e3h", "not a number"),
        ("mute core_down 59s", "the shortest is 1m"),
        ("mute core_down 30.1d", "the longest is 30d"),
        ("mute core_down 999999999999d", "too many digits"),
        ("mute core_down 1ч", "it needs a unit"),
        ("unmute all c3", "one word too many"),
        ("ack", "what to acknowledge is missing"),
        ("ack 17", "\"17\" is no id of a case: those look like c17"),
        ("ack c1 c2", "one word too many"),
        ("status now", "one word too many"),
    ] {
        let told = parse(line).unwrap_err().to_string();
        assert!(told.contains(words), "{line}: {told}");
    }
}

fn finding(signal: SignalKind, entity: Entity, severity: Severity) -> Finding {
    let facts =
        CoreDownFacts { reason: "refused".into(), last_heard_ms: None, work_items: Vec::new(), polls: 3 };
    Finding { signal, entity, severity, since_ms: NOW, facts: Facts::CoreDown(facts) }
}

/// A state in which these jobs hang; the ids follow their order.
fn hanging(jobs: &[i64]) -> Durable {
    let active = jobs.iter().map(|job| {
        SignalState::Active(finding(SignalKind::AgentHung, Entity::Job(*job), Severity::Critical))
    });
    let mut state = Durable::default();
    let (alerts, told) = decide(state.alerts, &active.collect::<Vec<_>>(), NOW, &Policy::default());
    assert_eq!(told.len(), jobs.len());
    state.alerts = alerts;
    state
}

fn say(state: &mut Durable, line: &str) -> String {
    let person = Person::new(Way::CommandLine, "uid 7");
    in_english(&apply(state, &parse(line).unwrap(), NOW, &person))
}

#[test]
fn each_change_is_answered_and_leaves_a_row_of_history() {
    let mut state = hanging(&[1, 2]);
    assert_eq!(
        say(&mut state, "mute agent_hung 1h"),
        "muted agent_hung until 2023-11-14 23:13:20 UTC, or until it is over; silenced now: 2"
    );
    assert_eq!(
        say(&mut state, "mute agent_hung 30m c2"),
        "muted c2 (agent_hung, job 2) until 2023-11-14 22:43:20 UTC, or until it is over; silenced now: 1"
    );
    assert!(
        say(&mut state, "ack c1").starts_with("acknowledged until it is over or gets worse: c1  critical")
    );
    assert_eq!(say(&mut state, "unmute c2"), "ended: c2 (agent_hung, job 2)");
    assert_eq!(say(&mut state, "unmute c1"), "ended: acknowledgement of c1 (agent_hung, job 1)");
    assert_eq!(say(&mut state, "unmute all"), "ended: agent_hung");
    let rows: Vec<_> = state.commands.iter().map(|row| (row.by.as_str(), row.what.as_str())).collect();
    assert_eq!(
        rows,
        [
            ("uid 7", "mute agent_hung for 1 h"),
            ("uid 7", "mute c2 (agent_hung, job 2) for 30 min"),
            ("uid 7", "ack c1 (agent_hung, job 1)"),
            ("uid 7", "unmute c2 (agent_hung, job 2)"),
            ("uid 7", "unmute acknowledgement of c1 (agent_hung, job 1)"),
            ("uid 7", "unmute agent_hung"),
        ]
    );
}

#[test]
fn what_changes_nothing_says_so_and_leaves_no_row() {
    let mut state = hanging(&[1]);
    say(&mut state, "ack c1");
    let rows = state.commands.len();
    let before = state.clone();
    for (line, words) in [
        ("ack c9", "no case c9"),
        ("ack c1", "c1 was acknowledged by uid 7 at 2023-11-14 22:13:20 UTC"),
        ("mute c9 1h", "no case c9"),
        ("mute core_down 1h c1", "c1 is of agent_hung, not of core_down"),
        ("unmute core_down", "that is not muted"),
        ("unmute all", "that is not muted"),
        ("status", "c1  critical  agent_hung  job 1  the core does not answer: refused  since"),
    ] {
        let told = say(&mut state, line);
        assert!(told.contains(words), "{line}: {told}");
    }
    assert_eq!(state, before);
    let (alerts, _) = decide(state.alerts, &[], NOW + MINUTE, &Policy::default());
    state.alerts = alerts;
    for line in ["ack c1", "mute c1 1h"] {
        assert_eq!(say(&mut state, line), "c1 does not fire any more; there is nothing to silence");
    }
    assert_eq!(state.commands.len(), rows);
}

#[test]
fn a_status_shows_the_worst_first_and_why_it_is_quiet() {
    let mut state = hanging(&[1, 2]);
    say(&mut state, "ack c2");
    say(&mut state, "mute lease_stale 1h");
    let told = say(&mut state, "status");
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("c1  critical") && !lines[0].ends_with(']'), "{told}");
    assert!(lines[1].starts_with("c2  critical") && lines[1].ends_with("[acknowledged by uid 7]"), "{told}");
    assert_eq!(lines[2], "muted: lease_stale until 2023-11-14 23:13:20 UTC by uid 7");
    assert_eq!(say(&mut Durable::default(), "status"), "nothing fires");
}

#[test]
fn a_person_cannot_name_themselves_into_other_lines() {
    let person = Person::new(Way::Chat, &format!("a\n\u{1b}[31m{}", "b".repeat(500)));
    assert_eq!(person.name().chars().count(), PERSON_MAX_CHARACTERS);
    assert!(person.name().starts_with("a[31mbb"), "{}", person.name());
}

#[test]
fn the_history_of_commands_is_bounded() {
    let mut state = Durable::default();
    for _ in 0..300 {
        say(&mut state, "mute core_down 1h");
    }
    assert_eq!(state.commands.len(), COMMANDS_KEPT);
}

//! Tables: one story a rule.

use super::*;
use crate::signals::{CollectorFacts, CollectorName, Ending, Entity, Facts};

pub(super) const MINUTE: i64 = 60_000;
pub(super) const COOLDOWN: i64 = 30 * MINUTE;

pub(super) fn finding(severity: Severity) -> Finding {
    Finding {
        signal: SignalKind::AgentHung,
        entity: Entity::Job(7),
        severity,
        since_ms: 0,
        facts: Facts::Collector(CollectorFacts { collector: CollectorName::Proc, reason: "r".into() }),
    }
}

pub(super) fn key() -> CaseKey {
    finding(Severity::Warning).key()
}

pub(super) fn policy(for_ticks: u32, clear_ticks: u32) -> Policy {
    let agent_hung = SignalPolicy { for_ticks, clear_ticks, cooldown_ms: COOLDOWN };
    Policy { agent_hung, ..Policy::default() }
}

#[derive(Clone, Copy)]
pub(super) enum Sight {
    Warning,
    Critical,
    Clear,
    Gone,
    Blind,
}

impl Sight {
    pub(super) fn states(self) -> Vec<SignalState> {
        match self {
            Self::Warning => vec![SignalState::Active(finding(Severity::Warning))],
            Self::Critical => vec![SignalState::Active(finding(Severity::Critical))],
            Self::Clear => vec![SignalState::Clear { key: key(), how: Ending::JobMoves }],
            Self::Gone => Vec::new(),
            Self::Blind => {
                let scope = HeldScope::Slot(SignalKind::AgentHung);
                vec![SignalState::Held { scope, reason: "blind".into() }]
            }
        }
    }
}

/// Runs a story of (minute, sight) and returns what was told, as `minute:kind`.
fn story(policy: &Policy, steps: &[(i64, Sight)]) -> Vec<String> {
    let mut state = AlertState::default();
    let mut told = Vec::new();
    for (minute, sight) in steps {
        let (next, notices) = decide(state, &sight.states(), minute * MINUTE, policy);
        state = next;
        told.extend(notices.iter().map(|notice| format!("{minute}:{}", notice.kind.name())));
    }
    told
}

#[test]
fn a_condition_is_told_once_then_reminded_of_at_doubling_distances() {
    let steps: Vec<_> = (0..400).map(|minute| (minute, Sight::Warning)).collect();
    assert_eq!(story(&policy(1, 1), &steps), ["0:alert", "30:reminder", "90:reminder", "210:reminder"]);
}

#[test]
fn it_fires_only_after_its_ticks_in_a_row() {
    use Sight::{Clear, Warning};
    let steps = [(0, Warning), (1, Warning), (2, Clear), (3, Warning), (4, Warning), (5, Warning)];
    assert_eq!(story(&policy(3, 1), &steps), ["5:alert"]);
}

#[test]
fn it_recovers_only_after_its_clear_ticks_while_the_entity_exists() {
    use Sight::{Clear, Warning};
    let steps = [(0, Warning), (1, Clear), (2, Warning), (3, Clear), (4, Clear), (5, Clear)];
    assert_eq!(story(&policy(1, 2), &steps), ["0:alert", "4:recovered"]);
}

#[test]
fn a_vanished_entity_recovers_at_once_and_once() {
    use Sight::{Gone, Warning};
    assert_eq!(story(&policy(1, 5), &[(0, Warning), (1, Gone), (2, Gone)]), ["0:alert", "1:recovered"]);
}

#[test]
fn what_cannot_be_seen_is_neither_raised_nor_recovered() {
    use Sight::{Blind, Gone, Warning};
    let steps = [(0, Blind), (1, Warning), (2, Blind), (3, Blind), (4, Warning), (5, Blind), (6, Gone)];
    assert_eq!(story(&policy(1, 1), &steps), ["1:alert", "6:recovered"]);
}

#[test]
fn a_higher_severity_is_told_at_once_and_only_once() {
    use Sight::{Critical, Warning};
    let steps = [(0, Warning), (1, Critical), (2, Warning), (3, Critical), (4, Warning)];
    assert_eq!(story(&policy(1, 1), &steps), ["0:alert", "1:worse"]);
}

#[test]
fn a_superseding_signal_of_the_same_entity_is_told_at_once() {
    let of = |signal| {
        let mut finding = finding(Severity::Warning);
        finding.signal = signal;
        vec![SignalState::Active(finding)]
    };
    let policy = Policy::default();
    let (state, first) = decide(AlertState::default(), &of(SignalKind::ProcBlocking), 0, &policy);
    let (state, second) = decide(state, &of(SignalKind::ProcOrphaned), MINUTE, &policy);
    let (_, third) = decide(state, &of(SignalKind::ProcBlocking), 2 * MINUTE, &policy);
    assert_eq!(first[0].kind, NoticeKind::Alert);
    assert_eq!(second[0].kind, NoticeKind::Worse);
    assert!(third.is_empty());
}

#[test]
fn a_return_inside_the_cooldown_is_quiet_and_so_is_its_end() {
    use Sight::{Gone, Warning};
    let steps = [(0, Warning), (1, Gone), (5, Warning), (6, Gone), (7, Gone)];
    assert_eq!(story(&policy(1, 1), &steps), ["0:alert", "1:recovered"]);
}

#[test]
fn a_return_that_outlasts_the_cooldown_is_an_alert_of_its_own() {
    use Sight::{Gone, Warning};
    let steps = [(0, Warning), (1, Gone), (5, Warning), (29, Warning), (30, Warning), (31, Gone)];
    assert_eq!(story(&policy(1, 1), &steps), ["0:alert", "1:recovered", "30:alert", "31:recovered"]);
}

#[test]
fn flapping_is_told_once_then_held_until_it_is_stable() {
    use Sight::{Gone, Warning};
    let mut steps = Vec::new();
    for minute in 0..40 {
        steps.push((minute, if minute % 2 == 0 { Warning } else { Gone }));
    }
    steps.extend((40..120).map(|minute| (minute, Gone)));
    let told = story(&policy(1, 1), &steps);
    assert_eq!(told[..3], ["0:alert", "1:recovered", "4:flapping"]);
    // the last change is at minute 39, and half an hour without one is stable
    assert_eq!(told[3..], ["69:recovered"]);
}

/// What is told by the first tick after a stop: what was seen before it, what is seen after it.
fn over_a_restart(before: Sight, after: Sight) -> Vec<&'static str> {
    let policy = policy(1, 1);
    let (state, _) = decide(AlertState::default(), &before.states(), 0, &policy);
    let text = serde_json::to_string(&state).unwrap();
    let state: AlertState = serde_json::from_str(&text).unwrap();
    let (_, notices) = decide(state, &after.states(), MINUTE, &policy);
    notices.iter().map(|notice| notice.kind.name()).collect()
}

#[test]
fn restart_contract_an_unchanged_condition_is_silent() {
    assert!(over_a_restart(Sight::Warning, Sight::Warning).is_empty());
}

#[test]
fn restart_contract_what_began_while_down_alerts_at_once() {
    assert_eq!(over_a_restart(Sight::Gone, Sight::Warning), ["alert"]);
}

#[test]
fn restart_contract_what_ended_while_down_recovers_at_once() {
    assert_eq!(over_a_restart(Sight::Warning, Sight::Gone), ["recovered"]);
}

#[test]
fn restart_contract_what_was_never_seen_is_nothing() {
    assert!(over_a_restart(Sight::Gone, Sight::Gone).is_empty());
    assert!(over_a_restart(Sight::Gone, Sight::Clear).is_empty());
    assert!(over_a_restart(Sight::Gone, Sight::Blind).is_empty());
}

#[test]
fn a_clock_set_back_delays_a_reminder_by_one_cooldown_at_most() {
    let policy = policy(1, 1);
    let (state, _) = decide(AlertState::default(), &Sight::Warning.states(), 1_000 * MINUTE, &policy);
    let (state, notices) = decide(state, &Sight::Warning.states(), 0, &policy);
    assert!(notices.is_empty());
    let (_, notices) = decide(state, &Sight::Warning.states(), COOLDOWN, &policy);
    assert_eq!(notices[0].kind.name(), "reminder");
}

#[test]
fn measured_facts_alone_are_no_reason_to_write() {
    let policy = policy(1, 1);
    let (state, _) = decide(AlertState::default(), &Sight::Warning.states(), 0, &policy);
    let mut later = finding(Severity::Warning);
    later.since_ms = 5;
    let (next, _) = decide(state.clone(), &[SignalState::Active(later)], MINUTE, &policy);
    assert!(!next.differs_from(&state));
    let (next, _) = decide(state.clone(), &[], MINUTE, &policy);
    assert!(next.differs_from(&state));
}

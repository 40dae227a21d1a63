//! Properties of `decide` over random histories of a few entities.

use proptest::prelude::*;

use super::*;
use crate::observe::Fault;
use crate::signals::{CollectorFacts, CollectorName, Ending, Entity, Facts};

const COOLDOWN: i64 = 600_000;

/// What one tick shows of one entity.
#[derive(Debug, Clone, Copy)]
enum Sight {
    Active(Severity, SignalKind),
    Clear,
    Absent,
    Held,
}

#[derive(Debug, Clone)]
struct Tick {
    after_ms: i64,
    sights: [Sight; 3],
    blind: bool,
    restart: bool,
}

fn sight() -> impl Strategy<Value = Sight> {
    let signal = prop_oneof![Just(SignalKind::ProcBlocking), Just(SignalKind::ProcOrphaned)];
    let severity = prop_oneof![Just(Severity::Warning), Just(Severity::Critical)];
    prop_oneof![
        4 => (severity, signal).prop_map(|(severity, signal)| Sight::Active(severity, signal)),
        1 => Just(Sight::Clear),
        3 => Just(Sight::Absent),
        1 => Just(Sight::Held),
    ]
}

fn history() -> impl Strategy<Value = Vec<Tick>> {
    let tick = (1_000_i64..400_000, [sight(), sight(), sight()], prop::bool::weighted(0.1), any::<bool>())
        .prop_map(|(after_ms, sights, blind, restart)| Tick { after_ms, sights, blind, restart });
    prop::collection::vec(tick, 1..80)
}

fn entity(index: usize) -> Entity {
    Entity::Job(i64::try_from(index).unwrap())
}

fn states(tick: &Tick) -> Vec<SignalState> {
    if tick.blind {
        let scope = HeldScope::Slot(SignalKind::ProcBlocking);
        return vec![SignalState::Held { scope, reason: "blind".into() }];
    }
    let mut states = Vec::new();
    for (index, sight) in tick.sights.iter().enumerate() {
        let key = CaseKey { slot: SignalKind::ProcBlocking, entity: entity(index) };
        match sight {
            Sight::Active(severity, signal) => states.push(SignalState::Active(Finding {
                signal: *signal,
                entity: key.entity,
                severity: *severity,
                since_ms: 0,
                facts: Facts::Collector(CollectorFacts {
                    collector: CollectorName::Proc,
                    reason: Fault::NoDocument,
                }),
            })),
            Sight::Clear => states.push(SignalState::Clear { key, how: Ending::JobMoves }),
            Sight::Absent => {}
            Sight::Held => {
                states.push(SignalState::Held { scope: HeldScope::Case(key), reason: "held".into() });
            }
        }
    }
    states
}

fn policy(for_ticks: u32, clear_ticks: u32) -> Policy {
    let process = SignalPolicy { for_ticks, clear_ticks, cooldown_ms: COOLDOWN };
    Policy { process, ..Policy::default() }
}

/// Plays a history; with `restarts`, the state goes through its text where a tick says so.
fn play(history: &[Tick], policy: &Policy, restarts: bool) -> (AlertState, Vec<Vec<Notice>>) {
    let mut state = AlertState::default();
    let mut now = 1_700_000_000_000;
    let mut told = Vec::new();
    for tick in history {
        now += tick.after_ms;
        if restarts && tick.restart {
            let text = serde_json::to_vec(&state).unwrap();
            state = serde_json::from_slice(&text).unwrap();
        }
        let (next, notices) = decide(state, &states(tick), now, policy);
        state = next;
        told.push(notices);
    }
    (state, told)
}

fn of_entity(told: &[Vec<Notice>], index: usize) -> Vec<&Notice> {
    told.iter().flatten().filter(|notice| notice.finding.entity == entity(index)).collect()
}

fn rank(notice: &Notice) -> (Severity, u8) {
    (notice.finding.severity, notice.finding.signal.precedence())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_alerts_of_an_entity_inside_its_cooldown_unless_it_got_worse(
        history in history(), for_ticks in 1_u32..3, clear_ticks in 1_u32..3,
    ) {
        let (_, told) = play(&history, &policy(for_ticks, clear_ticks), false);
        for index in 0..3 {
            let alerts: Vec<_> =
                of_entity(&told, index).into_iter().filter(|notice| notice.kind.is_alert()).collect();
            for pair in alerts.windows(2) {
                let close = pair[1].at_ms - pair[0].at_ms < COOLDOWN;
                // the one word that a case is flapping may follow the alert it explains
                let flapping = matches!(pair[1].kind, NoticeKind::Flapping { .. });
                prop_assert!(!close || flapping || rank(pair[1]) > rank(pair[0]), "{pair:?}");
            }
        }
    }

    #[test]
    fn flapping_is_told_at_most_once_in_an_hour(history in history()) {
        let (_, told) = play(&history, &policy(1, 1), false);
        for index in 0..3 {
            let flapping: Vec<_> = of_entity(&told, index)
                .into_iter()
                .filter(|notice| matches!(notice.kind, NoticeKind::Flapping { .. }))
                .collect();
            for pair in flapping.windows(2) {
                prop_assert!(pair[1].at_ms - pair[0].at_ms >= FLAPPING_WINDOW_MS / 2, "{pair:?}");
            }
        }
    }

    #[test]
    fn each_recovery_has_an_alert_before_it_that_no_other_recovery_took(history in history()) {
        let (_, told) = play(&history, &policy(1, 1), false);
        for index in 0..3 {
            let mut owed = false;
            for notice in of_entity(&told, index) {
                if notice.kind.is_alert() {
                    owed = true;
                } else {
                    prop_assert!(owed, "a recovery without an alert: {notice:?}");
                    owed = false;
                }
            }
        }
    }

    #[test]
    fn nothing_is_told_of_what_could_not_be_seen(history in history()) {
        let (_, told) = play(&history, &policy(1, 1), false);
        for (tick, notices) in history.iter().zip(&told) {
            prop_assert!(!tick.blind || notices.is_empty());
            for (index, sight) in tick.sights.iter().enumerate() {
                let mentioned = notices.iter().any(|notice| notice.finding.entity == entity(index));
                prop_assert!(!(matches!(sight, Sight::Held) && mentioned));
            }
        }
    }

    #[test]
    fn a_stop_at_any_point_changes_nothing(history in history()) {
        let policy = policy(2, 2);
        prop_assert_eq!(play(&history, &policy, true), play(&history, &policy, false));
    }

    #[test]
    fn the_same_input_gives_the_same_bytes(history in history()) {
        let policy = policy(1, 1);
        let text = |told: &(AlertState, Vec<Vec<Notice>>)| serde_json::to_vec(told).unwrap();
        prop_assert_eq!(text(&play(&history, &policy, false)), text(&play(&history, &policy, false)));
    }

    #[test]
    fn a_told_condition_that_ends_for_good_is_recovered_from(history in history()) {
        let policy = policy(1, 1);
        let quiet = Tick { after_ms: 400_000, sights: [Sight::Absent; 3], blind: false, restart: false };
        let mut history = history;
        history.extend(std::iter::repeat_n(quiet, 24));
        let (state, told) = play(&history, &policy, false);
        for index in 0..3 {
            let last = of_entity(&told, index).pop();
            prop_assert!(last.is_none_or(|notice| !notice.kind.is_alert()), "{last:?}");
        }
        prop_assert!(state.cases.is_empty(), "and forgotten in the end");
    }
}

//! Stories of mutes and acknowledgements, and of files from before there were any.

use super::tests::{COOLDOWN, MINUTE, Sight, key, policy};
use super::*;

/// A case played by hand; it says what was told, as `minute:kind`.
struct Play {
    state: AlertState,
    policy: Policy,
    told: Vec<String>,
}

impl Play {
    fn new() -> Self {
        Self { state: AlertState::default(), policy: policy(1, 1), told: Vec::new() }
    }

    fn see(&mut self, minutes: impl IntoIterator<Item = i64>, sight: Sight) -> &mut Self {
        for minute in minutes {
            let state = std::mem::take(&mut self.state);
            // every tick is a restart: nothing of this lives in memory alone
            let state = serde_json::from_slice(&serde_json::to_vec(&state).unwrap()).unwrap();
            let (next, notices) = decide(state, &sight.states(), minute * MINUTE, &self.policy);
            self.state = next;
            self.told.extend(notices.iter().map(|notice| format!("{minute}:{}", notice.kind.name())));
        }
        self
    }

    fn mute(&mut self, scope: MuteScope, minute: i64, minutes: i64) -> &mut Self {
        let mute = Mute { since_ms: minute * MINUTE, until_ms: (minute + minutes) * MINUTE, by: "me".into() };
        self.state.mute(scope, mute);
        self
    }

    fn ack(&mut self, minute: i64) -> Result<(), NotAcknowledged> {
        let id = self.id().ok_or(NotAcknowledged::Unknown)?;
        self.state.acknowledge(id, minute * MINUTE, "me")
    }

    fn id(&self) -> Option<CaseId> {
        self.state.id_of(&key())
    }

    fn suppression(&self) -> Option<Suppression> {
        self.state.suppression(&self.state.cases[&key()])
    }
}

const SIGNAL: MuteScope = MuteScope::Signal(SignalKind::AgentHung);

fn one() -> MuteScope {
    MuteScope::Case(key())
}

#[test]
fn an_acknowledged_case_is_counted_not_reminded_of_and_its_recovery_is_told() {
    let mut play = Play::new();
    play.see([0], Sight::Warning).ack(1).unwrap();
    play.see(1..300, Sight::Warning);
    assert_eq!(play.suppression(), Some(Suppression::Acknowledged));
    assert_eq!(play.state.firing().count(), 1);
    play.see([300], Sight::Gone);
    assert_eq!(play.told, ["0:alert", "300:recovered"]);
}

#[test]
fn an_acknowledgement_is_of_what_was_seen_and_no_more() {
    let mut play = Play::new();
    play.see([0], Sight::Warning).ack(1).unwrap();
    play.see([2], Sight::Critical);
    assert_eq!(play.suppression(), None, "worse is announced and must be seen anew");
    play.see(3..40, Sight::Warning);
    assert_eq!(play.told, ["0:alert", "2:worse", "32:reminder"]);
    // who has seen the critical alert has seen its milder rest
    let mut play = Play::new();
    play.see([0], Sight::Critical).see([1], Sight::Warning).ack(2).unwrap();
    play.see(3..200, Sight::Warning).see([200], Sight::Critical);
    assert_eq!(play.told, ["0:alert"]);
}

#[test]
fn an_acknowledgement_ends_with_its_case() {
    let mut play = Play::new();
    play.see([0], Sight::Warning).ack(1).unwrap();
    play.see([2], Sight::Gone).see(3..31, Sight::Warning);
    assert_eq!(play.told, ["0:alert", "2:recovered", "30:alert"]);
}

#[test]
fn only_what_fires_can_be_acknowledged_and_once_for_one_rank() {
    let mut play = Play { policy: policy(2, 1), ..Play::new() };
    assert_eq!(play.see([0], Sight::Warning).id(), None, "what may be nothing has no name yet");
    play.see([1], Sight::Warning).ack(1).unwrap();
    assert!(matches!(play.ack(2), Err(NotAcknowledged::Already(_))));
    assert_eq!(play.see([3], Sight::Gone).ack(4), Err(NotAcknowledged::Over));
}

#[test]
fn a_mute_ends_by_itself_and_what_still_holds_is_told_by_the_usual_rules() {
    for scope in [SIGNAL, one()] {
        let mut play = Play::new();
        play.mute(scope.clone(), 0, 60).see(0..61, Sight::Warning);
        assert_eq!(play.told, ["60:alert"], "never told before: {scope:?}");
        let mut play = Play::new();
        play.see([0], Sight::Warning).mute(scope.clone(), 1, 60).see(1..63, Sight::Warning);
        assert_eq!(play.told, ["0:alert", "61:reminder"], "its cooldown is over: {scope:?}");
        let mut play = Play::new();
        play.see([0], Sight::Warning).mute(scope.clone(), 1, 10).see(1..31, Sight::Warning);
        assert_eq!(play.told, ["0:alert", "30:reminder"], "its cooldown is not over: {scope:?}");
        assert_eq!(play.state.mutes().count(), 0);
    }
}

#[test]
fn a_muted_case_that_got_worse_is_told_when_the_mute_ends() {
    let mut play = Play::new();
    play.see([0], Sight::Warning).mute(SIGNAL, 1, 10).see(1..12, Sight::Critical);
    assert_eq!(play.told, ["0:alert", "11:worse"]);
}

#[test]
fn the_recovery_of_a_told_alert_is_told_through_a_mute_and_that_of_an_untold_one_is_not() {
    let mut play = Play::new();
    play.see([0], Sight::Warning).mute(one(), 1, 600).see([5], Sight::Gone);
    assert_eq!(play.told, ["0:alert", "5:recovered"]);
    let mut play = Play::new();
    play.mute(SIGNAL, 0, 600).see([0], Sight::Warning);
    assert_eq!(play.suppression(), Some(Suppression::Muted));
    play.see([5], Sight::Gone);
    assert!(play.told.is_empty());
}

#[test]
fn a_mute_ends_with_recovery() {
    for scope in [SIGNAL, one()] {
        let mut play = Play::new();
        play.mute(scope.clone(), 0, 600).see([0], Sight::Warning).see([1], Sight::Blind);
        assert_eq!(play.state.mutes().count(), 1, "what cannot be seen has not ended: {scope:?}");
        play.see([2], Sight::Gone);
        assert_eq!(play.state.mutes().count(), 0, "{scope:?}");
        play.see([3], Sight::Warning);
        assert_eq!(play.told, ["3:alert"], "{scope:?}");
    }
}

#[test]
fn a_mute_of_a_signal_lasts_until_its_last_case_is_over() {
    let of = |job| {
        let mut finding = super::tests::finding(Severity::Warning);
        finding.entity = crate::signals::Entity::Job(job);
        SignalState::Active(finding)
    };
    let policy = policy(1, 1);
    let mut state = AlertState::default();
    state.mute(SIGNAL, Mute { since_ms: 0, until_ms: 600 * MINUTE, by: "me".into() });
    for (states, left) in [(vec![of(1), of(2)], 1), (vec![of(2)], 1), (vec![], 0)] {
        let (next, told) = decide(state, &states, MINUTE, &policy);
        assert!(told.is_empty());
        state = next;
        assert_eq!(state.mutes().count(), left);
    }
}

#[test]
fn a_mute_of_a_signal_does_not_cover_the_signal_that_supersedes_it() {
    let of = |signal| {
        let mut finding = super::tests::finding(Severity::Warning);
        finding.signal = signal;
        vec![SignalState::Active(finding)]
    };
    let policy = Policy::default();
    let mut state = AlertState::default();
    let mute = Mute { since_ms: 0, until_ms: 600 * MINUTE, by: "me".into() };
    state.mute(MuteScope::Signal(SignalKind::ProcBlocking), mute);
    let (state, told) = decide(state, &of(SignalKind::ProcBlocking), 0, &policy);
    assert!(told.is_empty());
    let (_, told) = decide(state, &of(SignalKind::ProcOrphaned), MINUTE, &policy);
    assert_eq!(told.len(), 1);
}

#[test]
fn a_clock_set_back_makes_a_mute_no_longer_than_it_was_asked_for() {
    let mut play = Play::new();
    play.mute(SIGNAL, 1_000, 60).see(0..61, Sight::Warning);
    assert_eq!(play.told, ["60:alert"]);
}

#[test]
fn an_id_lasts_as_long_as_its_case_and_is_not_given_again() {
    let mut play = Play::new();
    let first = play.see([0], Sight::Warning).id();
    assert_eq!(play.see([1], Sight::Gone).see([2], Sight::Warning).id(), first);
    play.see([3], Sight::Gone).see([200], Sight::Gone);
    assert_eq!(play.id(), None, "forgotten");
    let second = play.see([201], Sight::Warning).id();
    assert!(second > first, "{first:?} {second:?}");
}

#[test]
fn what_people_asked_for_is_worth_a_write() {
    let mut play = Play::new();
    play.see([0], Sight::Warning);
    let before = play.state.clone();
    play.ack(1).unwrap();
    assert!(play.state.differs_from(&before));
    let before = play.state.clone();
    play.mute(SIGNAL, 1, 5);
    assert!(play.state.differs_from(&before));
    let before = play.state.clone();
    play.see([20], Sight::Warning);
    assert!(play.state.differs_from(&before), "and its end, too");
}

#[test]
fn a_state_from_before_there_were_mutes_and_ids_is_read_and_named() {
    let earlier = r#"{"cases":[[{"slot":"agent_hung","entity":{"job":7}},{"finding":{"signal":"agent_hung",
        "entity":{"job":7},"severity":"warning","since_ms":0,"facts":{"collector":{"collector":"proc",
        "reason":"r"}}},"phase":{"firing":{"since_ms":0,"clear_ticks":0}},"told":{"last_alert":{"at_ms":0,
        "severity":"warning","signal":"agent_hung"},"reminders":0,"recovery_owed":true,"flapping":false},
        "changes_ms":[0]}]]}"#;
    let mut play = Play { state: serde_json::from_str(earlier).unwrap(), ..Play::new() };
    play.see([1], Sight::Blind).ack(2).unwrap();
    play.see(3..COOLDOWN / MINUTE + 5, Sight::Warning).see([90], Sight::Gone);
    assert_eq!(play.told, ["90:recovered"]);
}

//! The rows of a message, and what answers mean.

use super::*;
use crate::cases::{AlertState, Notice, NoticeKind, Policy, decide};
use crate::notify::outbox::Outbox;
use crate::notify::text::{Locale, Voice};
use crate::signals::{
    CollectorFacts, CollectorName, Ending, Entity, Facts, Finding, Severity, SignalKind, SignalState,
};

const T0: i64 = 1_700_000_000_000;

/// Cases, what waits, and what Alertmanager was told.
struct World {
    alerts: AlertState,
    outbox: Outbox,
    ledger: Ledger,
    voice: Voice,
}

impl World {
    fn new() -> Self {
        let voice = Voice { host: "host-1".into(), runbook_url: Some("r".into()), locale: Locale::English };
        Self { alerts: AlertState::default(), outbox: Outbox::default(), ledger: Ledger::default(), voice }
    }

    /// A tick in which these jobs' cases hold and every other is gone.
    fn tick(&mut self, jobs: &[(i64, Severity)], now_ms: i64) {
        let states: Vec<SignalState> =
            jobs.iter().map(|(job, severity)| SignalState::Active(finding(*job, *severity))).collect();
        let mut policy = Policy::default();
        policy.collector_unavailable.for_ticks = 1;
        let (alerts, notices) = decide(std::mem::take(&mut self.alerts), &states, now_ms, &policy);
        self.alerts = alerts;
        for notice in &notices {
            self.outbox.push(&[Channel::Alertmanager], notice);
        }
    }

    /// What a message of now tells: (entity, severity, ends). It is taken unless `lost`.
    fn told(&mut self, now_ms: i64, lost: bool) -> Vec<(String, String, String)> {
        let waiting = self.outbox.waiting(Channel::Alertmanager, u64::MAX);
        let mut ledger = self.ledger.clone();
        ledger.update(&waiting, &self.alerts, &self.voice, now_ms);
        let alerts = ledger.alerts(&self.alerts, &self.voice, now_ms, now_ms + 600_000);
        if !lost {
            ledger.taken(now_ms);
            self.ledger = ledger;
            let seqs: Vec<u64> =
                waiting.iter().flat_map(|entry| &entry.notices).map(|queued| queued.seq).collect();
            self.outbox.taken(Channel::Alertmanager, &seqs, None);
        }
        let row = |alert: PostableAlert| {
            let label = |name: &str| alert.labels[name].clone();
            let end = alert.ends_at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
            let end = if end > now_ms { "fires".to_owned() } else { format!("ended {}", end - T0) };
            (label("entity"), label("severity"), end)
        };
        let mut rows: Vec<_> = alerts.into_iter().map(row).collect();
        rows.sort();
        rows
    }
}

fn finding(job: i64, severity: Severity) -> Finding {
    let facts = CollectorFacts { collector: CollectorName::Proc, reason: format!("at {job}").into() };
    Finding {
        signal: SignalKind::CollectorUnavailable,
        entity: Entity::Job(job),
        severity,
        since_ms: T0,
        facts: Facts::Collector(facts),
    }
}

fn rows(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    expected.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

const WARNING: Severity = Severity::Warning;

#[test]
fn what_fires_is_told_again_and_again_without_a_notice() {
    let mut world = World::new();
    world.tick(&[(1, WARNING), (2, WARNING)], T0);
    for now_ms in [T0, T0 + 60_000, T0 + 120_000] {
        let told = world.told(now_ms, false);
        assert_eq!(told, rows(&[("job-1", "warning", "fires"), ("job-2", "warning", "fires")]));
    }
}

#[test]
fn an_end_is_told_until_it_was_taken_and_once_more_for_clocks_that_differ() {
    let mut world = World::new();
    world.tick(&[(1, WARNING)], T0);
    world.told(T0, false);
    world.tick(&[], T0 + 10_000);
    let ended = rows(&[("job-1", "warning", "ended 10000")]);
    assert_eq!(world.told(T0 + 10_000, true), ended, "lost");
    assert_eq!(world.told(T0 + 500_000, true), ended, "lost again, an hour is the same");
    world.tick(&[], T0 + 20_000);
    assert_eq!(world.told(T0 + 20_000, false), ended, "taken while the other clock may be behind");
    assert_eq!(world.told(T0 + 10_000 + ledger::CLOCKS_DIFFER_MS, false), ended, "taken for sure");
    assert_eq!(world.told(T0 + 900_000, false), rows(&[]));
    assert!(world.ledger.is_empty() && world.outbox.depth(Channel::Alertmanager) == 0);
}

#[test]
fn an_end_of_a_state_that_was_taken_up_late_is_told() {
    let mut earlier = World::new();
    earlier.tick(&[(1, WARNING), (2, WARNING)], T0);
    earlier.told(T0, false);
    earlier.tick(&[(2, WARNING)], T0 + 10_000);
    let told = earlier.told(T0 + 10_000, false);
    assert_eq!(told, rows(&[("job-1", "warning", "ended 10000"), ("job-2", "warning", "fires")]));
    let mut world = World::new();
    world.tick(&[(2, WARNING)], T0 + 20_000);
    world.told(T0 + 20_000, false);
    world.ledger.take_up(earlier.ledger);
    assert_eq!(world.told(T0 + 20_000, false), told, "each once");
}

#[test]
fn an_alert_and_its_end_that_were_both_unsent_are_told_as_over() {
    let mut world = World::new();
    world.tick(&[(1, WARNING)], T0);
    world.tick(&[], T0 + 5_000);
    assert_eq!(world.told(T0 + 6_000, false), rows(&[("job-1", "warning", "ended 5000")]));
}

#[test]
fn a_case_that_got_worse_ends_its_milder_alert() {
    let mut world = World::new();
    world.tick(&[(1, WARNING)], T0);
    world.told(T0, false);
    world.tick(&[(1, Severity::Critical)], T0 + 5_000);
    let told = world.told(T0 + 5_000, false);
    assert_eq!(told, rows(&[("job-1", "critical", "fires"), ("job-1", "warning", "ended 5000")]));
}

#[test]
fn a_case_that_comes_back_is_one_alert_that_fires() {
    let mut world = World::new();
    world.tick(&[(1, WARNING)], T0);
    world.told(T0, false);
    world.tick(&[], T0 + 5_000);
    world.told(T0 + 5_000, false);
    // beyond the cooldown it is told anew
    world.tick(&[(1, WARNING)], T0 + 4_000_000);
    assert_eq!(world.told(T0 + 4_000_000, false), rows(&[("job-1", "warning", "fires")]));
}

#[test]
fn a_channel_that_is_new_learns_what_already_fires() {
    let mut world = World::new();
    world.tick(&[(1, WARNING)], T0);
    world.outbox = Outbox::default();
    assert_eq!(world.told(T0 + 1, false), rows(&[("job-1", "warning", "fires")]));
}

#[test]
fn its_own_failure_is_not_told_to_it() {
    let mut world = World::new();
    let failing = |channel| {
        let mut finding = finding(1, WARNING);
        finding.entity = Entity::Channel(channel);
        SignalState::Active(finding)
    };
    let states = [failing(Channel::Alertmanager), failing(Channel::Telegram)];
    let mut policy = Policy::default();
    policy.collector_unavailable.for_ticks = 1;
    world.alerts = decide(std::mem::take(&mut world.alerts), &states, T0, &policy).0;
    assert_eq!(world.told(T0, false), rows(&[("channel-telegram", "warning", "fires")]));
}

#[test]
fn a_row_whose_case_is_forgotten_ends() {
    let mut world = World::new();
    world.tick(&[(1, WARNING)], T0);
    world.told(T0, false);
    world.alerts = AlertState::default();
    assert_eq!(world.told(T0 + 7_000, false), rows(&[("job-1", "warning", "ended 7000")]));
}

#[test]
fn a_clock_that_was_set_back_ends_no_alert_before_its_start() {
    let mut world = World::new();
    world.tick(&[(1, WARNING)], T0);
    world.told(T0, false);
    let over = NoticeKind::Recovered { lasted_ms: 0, how: Ending::CanLook };
    let recovery = Notice { kind: over, at_ms: T0 - 50_000, finding: finding(1, WARNING) };
    world.outbox.push(&[Channel::Alertmanager], &recovery);
    world.alerts = AlertState::default();
    assert_eq!(world.told(T0, false), rows(&[("job-1", "warning", "ended 0")]));
}

#[test]
fn answers_are_told_apart_by_status() {
    for (status, retry_after_s, expected) in [
        (400, None, "refused"),
        (401, None, "refused"),
        (404, None, "refused"),
        (408, None, "network"),
        (429, None, "rate_limited"),
        (500, None, "server"),
        (503, None, "server"),
        (503, Some(2), "wait"),
        (429, Some(2), "wait"),
        (301, None, "answer"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let reason = match refusal(status, retry_after_s, "\"why\u{7}\nnot\"") {
            Outcome::Failed(reason, why) | Outcome::Refused(reason, why) => {
                assert!(why.ends_with("\"why  not\""), "{why}");
                reason.name()
            }
            Outcome::Wait(wait) if wait == Duration::from_secs(2) => "wait",
            Outcome::Wait(_) | Outcome::Taken(_) | Outcome::Unsendable(..) | Outcome::Moved(_) => "none",
        };
        assert_eq!(reason, expected, "{status}");
    }
}

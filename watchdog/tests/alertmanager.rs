//! The Alertmanager channel: the real watchdog against the real Alertmanager, and against a stand-in
//! for what the real one cannot be made to do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod program;
mod real_alertmanager;
mod support;

use orch_tests::documents;
use orch_tests::fake_alertmanager::{FakeAlertmanager, PostFault, Told};
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use program::{Watchdog, ask, text_of};
use real_alertmanager::RealAlertmanager;
use support::until;

/// A watchdog's surroundings; the core's outage is its one alert.
struct World {
    dir: tempfile::TempDir,
    core: FakeCore,
    core_url: String,
    alertmanager_url: String,
}

impl World {
    async fn new(alertmanager_url: String) -> Self {
        let core = FakeCore::start(alive(), None).await.unwrap();
        let core_url = core.url();
        Self { dir: tempfile::tempdir().unwrap(), core, core_url, alertmanager_url }
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("WATCHDOG_STATE_DIR", self.dir.path().to_str().unwrap()),
            ("WATCHDOG_BIND", "127.0.0.1:0"),
            ("WATCHDOG_TICK_S", "0.1"),
            // the stand-in's documents are of a fixed time
            ("WATCHDOG_CORE_DEGRADED_ENABLED", "false"),
            ("WATCHDOG_CORE_URL", &self.core_url),
            ("WATCHDOG_ALERTMANAGER_URL", &self.alertmanager_url),
            ("WATCHDOG_ALERTMANAGER_RESEND_S", "0.5"),
            ("WATCHDOG_HOST_LABEL", "host-1"),
        ]
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("log")
    }

    fn start(&self) -> Watchdog {
        Watchdog::start(&self.settings(), &self.log())
    }

    async fn page(&self, path: &str) -> (u16, String) {
        // after a kill the address is the old one's until the new one has written its own
        until("a page", async || {
            let address = text_of(&self.dir.path().join("bound-address"));
            let answer = reqwest::get(format!("http://{}{path}", address.trim())).await.ok()?;
            Some((answer.status().as_u16(), answer.text().await.ok()?))
        })
        .await
    }

    async fn metric(&self, line: &str) -> String {
        until(line, async || {
            let (_, text) = self.page("/metrics").await;
            text.contains(line).then_some(text)
        })
        .await
    }
}

fn alive() -> CoreBehaviour {
    CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)))
}

fn down() -> CoreBehaviour {
    CoreBehaviour::Refuses(500, "broken".to_owned())
}

fn millis(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// The one alert that the stand-in knows, once `holds`.
async fn told(fake: &FakeAlertmanager, what: &str, holds: impl Fn(&Told) -> bool) -> Told {
    until(what, async || fake.alerts().into_iter().find(|alert| holds(alert))).await
}

/// An end that was promised for later, as opposed to one that has come.
fn fires(alert: &Told) -> bool {
    millis(&alert.ends_at) > jiff::Timestamp::now().as_millisecond()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_alertmanager_shows_the_alert_and_tells_its_end() {
    let alertmanager = RealAlertmanager::start().await;
    let world = World::new(alertmanager.url()).await;
    world.core.behave(down());
    let watchdog = world.start();
    let alert = until("the alert", async || alertmanager.active().await.into_iter().next()).await;
    let labels = serde_json::json!({"alertname": "OrchCoreDown", "signal": "core_down",
        "severity": "critical", "host": "host-1", "entity": "core"});
    assert_eq!(alert["labels"], labels);
    let annotations = &alert["annotations"];
    let summary = annotations["summary"].as_str().unwrap();
    assert!(summary.starts_with("the core does not answer: it answers 500"), "{summary}");
    assert_eq!(annotations["runbook"], "orch-watchdog runbook core_down");
    assert!(annotations.get("runbook_url").is_none(), "there is no address of it");
    assert!(annotations["description"].as_str().unwrap().contains("\nevidence"), "{annotations}");
    assert_eq!(alert["status"]["state"], "active");
    let started = alert["startsAt"].clone();

    // re-sent, so it stays and remains the same alert
    let later = until("a later promise", async || {
        let known = alertmanager.active().await.into_iter().next()?;
        (known["endsAt"] != alert["endsAt"]).then_some(known)
    })
    .await;
    assert_eq!(
        (later["startsAt"].clone(), later["fingerprint"].clone()),
        (started, alert["fingerprint"].clone())
    );

    world.core.behave(alive());
    until("its end", async || alertmanager.active().await.is_empty().then_some(())).await;
    let heard = until("the receiver to hear of it", async || {
        let heard = alertmanager.notified();
        heard.iter().any(|(status, _)| status == "resolved").then_some(heard)
    })
    .await;
    let statuses: Vec<&str> = heard.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses, ["firing", "resolved"], "told once each");
    assert!(heard.iter().all(|(_, name)| name == "OrchCoreDown"), "{heard:?}");
    assert_eq!(watchdog.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alertmanager_that_lost_its_memory_is_told_again() {
    let alertmanager = RealAlertmanager::start().await;
    let world = World::new(alertmanager.url()).await;
    world.core.behave(down());
    let _watchdog = world.start();
    until("the alert", async || alertmanager.active().await.into_iter().next()).await;
    let alertmanager = alertmanager.restart_empty().await;
    until("the alert again", async || alertmanager.active().await.into_iter().next()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_alert_reaches_a_real_alertmanager_and_says_that_it_is_one() {
    let alertmanager = RealAlertmanager::start().await;
    let world = World::new(alertmanager.url()).await;
    let asked = ask(&world.settings(), &["test-alert"]);
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "alertmanager: taken\n", "{asked:?}");
    let alert = alertmanager.active().await.into_iter().next().unwrap();
    assert_eq!(alert["labels"]["alertname"], "OrchTestAlert");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_and_its_end_survive_kills_and_an_outage_in_between() {
    let fake = FakeAlertmanager::start().await.unwrap();
    let world = World::new(fake.url()).await;
    world.core.behave(down());
    let watchdog = world.start();
    let alert = told(&fake, "the alert", fires).await;
    watchdog.kill();
    fake.set_outage(Some(PostFault::Status(500)));
    world.core.behave(alive());
    let watchdog = world.start();
    let failed = "delivery_failures_total{channel=\"alertmanager\",reason=\"server\"} ";
    until("a failure in the metrics", async || {
        let (_, text) = world.page("/metrics").await;
        let count = text.split(failed).nth(1)?.lines().next()?.parse::<u64>().ok()?;
        (count > 0).then_some(())
    })
    .await;
    until("the recovery in the history", async || {
        let history = ask(&world.settings(), &["history"]);
        String::from_utf8_lossy(&history.stdout).contains("recovered").then_some(())
    })
    .await;
    watchdog.kill();
    assert!(fake.alerts().iter().all(fires), "nothing was taken meanwhile");
    fake.set_outage(None);
    let _watchdog = world.start();
    let over = told(&fake, "the end", |alert| !fires(alert)).await;
    assert_eq!((over.labels, over.starts_at), (alert.labels, alert.starts_at));
    assert!(over.annotations["summary"].starts_with("over after "), "{:?}", over.annotations);
    world.metric("orch_watchdog_outbox_notices{channel=\"alertmanager\"} 0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_on_the_way_are_counted_by_reason_and_lose_nothing() {
    for (fault, reason) in [
        (PostFault::Reset, "network"),
        (PostFault::LostAnswer, "network"),
        (PostFault::RetryAfter(1), "rate_limited"),
        (PostFault::Status(503), "server"),
        (PostFault::Status(302), "answer"),
    ] {
        let fake = FakeAlertmanager::start().await.unwrap();
        let world = World::new(fake.url()).await;
        fake.fault(fault);
        world.core.behave(down());
        let _watchdog = world.start();
        told(&fake, "the alert", fires).await;
        let line = format!(
            "orch_watchdog_delivery_failures_total{{channel=\"alertmanager\",reason=\"{reason}\"}} 1"
        );
        world.metric(&line).await;
        world.metric("orch_watchdog_outbox_notices{channel=\"alertmanager\"} 0").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_shown_by_health_and_metric_and_passes_when_it_is_over() {
    let fake = FakeAlertmanager::start().await.unwrap();
    let world = World::new(fake.url()).await;
    fake.set_outage(Some(PostFault::Status(401)));
    world.core.behave(down());
    let _watchdog = world.start();
    world.metric("orch_watchdog_channel_parked{channel=\"alertmanager\"} 1").await;
    assert_eq!(
        world.page("/healthz").await,
        (503, "alertmanager refuses: status 401 \"not now\"\n".to_owned())
    );
    fake.set_outage(None);
    told(&fake, "the alert", fires).await;
    world.metric("orch_watchdog_channel_parked{channel=\"alertmanager\"} 0").await;
    assert_eq!(world.page("/healthz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_alert_is_told_again_after_a_restart_and_to_one_that_forgot() {
    let fake = FakeAlertmanager::start().await.unwrap();
    let world = World::new(fake.url()).await;
    world.core.behave(down());
    let watchdog = world.start();
    let alert = told(&fake, "the alert", fires).await;
    watchdog.kill();
    fake.forget();
    let _watchdog = world.start();
    let again = told(&fake, "the alert again", fires).await;
    assert_eq!((again.labels, again.starts_at), (alert.labels, alert.starts_at));
}

const TOKEN: &str = "token-that-nobody-may-read";
const PASSWORD: &str = "hunter2-word";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bearer_token_is_shown_to_the_alertmanager_and_to_nobody_else() {
    let fake = FakeAlertmanager::start().await.unwrap();
    fake.ask_for(&format!("Bearer {TOKEN}"));
    let world = World::new(fake.url()).await;
    let file = world.dir.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let mut settings = world.settings();
    settings.push(("WATCHDOG_LOG", "trace"));
    // without it: refused, and the channel says so
    let asked = ask(&settings, &["test-alert"]);
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
    assert!(String::from_utf8_lossy(&asked.stderr).contains("status 401"), "{asked:?}");
    settings.push(("WATCHDOG_ALERTMANAGER_TOKEN_FILE", file.to_str().unwrap()));
    world.core.behave(down());
    let watchdog = Watchdog::start(&settings, &world.log());
    told(&fake, "the alert", fires).await;
    world.metric("orch_watchdog_outbox_notices{channel=\"alertmanager\"} 0").await;
    let shown = ask(&settings, &["check-config", "--print-env"]);
    let (_, metrics) = world.page("/metrics").await;
    assert_eq!(watchdog.stop(), Some(0));
    let log = text_of(&world.log());
    assert!(log.contains("watching"), "{log}");
    let state = text_of(&world.dir.path().join("state.json"));
    for text in [log, state, metrics, String::from_utf8(shown.stdout).unwrap()] {
        assert!(!text.is_empty() && !text.contains(TOKEN), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_alertmanager_behind_a_password_takes_alerts_of_whoever_has_it() {
    // bcrypt of PASSWORD
    const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuJLRiZHfHf1ONVmEmugoD52gwuycYTvy";
    let alertmanager = RealAlertmanager::start_with_login("watchdog", PASSWORD, HASH).await;
    let world = World::new(alertmanager.url()).await;
    let mut settings = world.settings();
    settings.push(("WATCHDOG_ALERTMANAGER_USER", "watchdog"));
    let with = |password| {
        let mut settings = settings.clone();
        settings.push(("WATCHDOG_ALERTMANAGER_PASSWORD", password));
        settings
    };
    let refused = ask(&with("another"), &["test-alert"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("status 401"), "{refused:?}");
    assert!(alertmanager.active().await.is_empty());
    world.core.behave(down());
    let _watchdog = Watchdog::start(&with(PASSWORD), &world.log());
    let alert = until("the alert", async || alertmanager.active().await.into_iter().next()).await;
    assert_eq!(alert["labels"]["alertname"], "OrchCoreDown");
    assert!(!text_of(&world.log()).contains(PASSWORD));
}

/// What a person silences here is silenced in the messages of this watchdog. An alert that an
/// Alertmanager knows goes on there, with a word on it: its end would be told to everybody as a
/// recovery that never was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_muted_or_acknowledged_stays_in_a_real_alertmanager_and_says_so_until_it_is_over() {
    let alertmanager = RealAlertmanager::start().await;
    let world = World::new(alertmanager.url()).await;
    world.core.behave(down());
    let _watchdog = world.start();
    let alert = until("the alert", async || alertmanager.active().await.into_iter().next()).await;
    assert!(alert["annotations"].get("silenced").is_none(), "{alert}");
    for (verb, words) in [
        (vec!["mute", "core_down", "1h"], "muted until "),
        (vec!["unmute", "core_down"], ""),
        (vec!["ack", "c1"], "acknowledged by "),
    ] {
        let asked = ask(&world.settings(), &verb);
        assert_eq!(asked.status.code(), Some(0), "{asked:?}");
        let known = until("its word in Alertmanager", async || {
            let known = alertmanager.active().await.into_iter().next()?;
            let said = known["annotations"]["silenced"].as_str().unwrap_or_default().to_owned();
            (said.starts_with(words) && said.is_empty() == words.is_empty()).then_some(known)
        })
        .await;
        assert_eq!(
            (&known["fingerprint"], &known["startsAt"], &known["status"]["state"]),
            (&alert["fingerprint"], &alert["startsAt"], &alert["status"]["state"]),
            "the same alert"
        );
    }
    world.core.behave(alive());
    let heard = until("the receiver to hear of its end", async || {
        let heard = alertmanager.notified();
        heard.iter().any(|(status, _)| status == "resolved").then_some(heard)
    })
    .await;
    let statuses: Vec<&str> = heard.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses, ["firing", "resolved"], "no end before the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_muted_before_it_began_reaches_no_alertmanager() {
    let alertmanager = RealAlertmanager::start().await;
    let world = World::new(alertmanager.url()).await;
    let _watchdog = world.start();
    until("a tick", async || (world.page("/healthz").await.0 == 200).then_some(())).await;
    let asked = ask(&world.settings(), &["mute", "core_down", "1h"]);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    world.core.behave(down());
    world.metric("orch_watchdog_signals_suppressed{reason=\"muted\",signal=\"core_down\"} 1").await;
    let asked = ask(&world.settings(), &["test-alert"]);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    let names: Vec<_> =
        alertmanager.active().await.into_iter().map(|alert| alert["labels"]["alertname"].clone()).collect();
    assert_eq!(names, ["OrchTestAlert"]);
    // the mute over, it is told
    let asked = ask(&world.settings(), &["unmute", "core_down"]);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    until("the alert", async || {
        let known = alertmanager.active().await;
        known.iter().any(|alert| alert["labels"]["alertname"] == "OrchCoreDown").then_some(())
    })
    .await;
}

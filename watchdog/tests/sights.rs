//! The real program beside a core that answers badly, in every way that a core can.
//!
//! Each story has an open case that stands on the core's word and one that stands on the host's: the
//! first is frozen, the second goes on, and neither is ever declared over by an answer that says nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[expect(dead_code, reason = "nobody is killed here")]
mod program;
mod support;

use std::process::{Child, Stdio};
use std::time::Duration;

use orch_contract::{ObservationDocument, OpenTask, Standing};
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::{clock, documents};
use program::{Watchdog, ask, text_of};
use support::until;

/// Longer than any story.
const FOR_EVER: Duration = Duration::from_secs(600);

const STUCK: &str = r#"signals_active{severity="warning",signal="stage_stuck"}"#;
const DOWN: &str = r#"signals_active{severity="critical",signal="core_down"}"#;
const DEGRADED: &str = r#"signals_active{severity="warning",signal="core_degraded"}"#;

/// What a core that works says: one task is stuck, and its actors are on time.
fn stuck() -> Box<ObservationDocument> {
    let now = clock::now_ms();
    let mut document = documents::idle(now);
    document.tasks = vec![OpenTask {
        work_item: "ORCH-114".to_owned(),
        repo: "sample".to_owned(),
        title: "a title".to_owned(),
        stage: "review".to_owned(),
        stage_since_ms: now - 86_400_000,
        standing: Standing::Moving,
        cause: None,
        waits_for: None,
        until_ms: None,
    }];
    Box::new(document)
}

/// A process that looks like a test run.
struct Run(Child);

impl Run {
    fn start() -> Self {
        let mut command = program::plain("bash");
        command.args(["-c", "exec -a pytest sleep 600"]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn end(&mut self) {
        // it may have ended already
        self.0.kill().ok();
        self.0.wait().unwrap();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.end();
    }
}

struct Story {
    dir: tempfile::TempDir,
    core: FakeCore,
    run: Run,
    tick_s: &'static str,
}

impl Story {
    async fn new(tick_s: &'static str) -> Self {
        let core = FakeCore::start(CoreBehaviour::Live(stuck()), Some("read-token")).await.unwrap();
        Self { dir: tempfile::tempdir().unwrap(), core, run: Run::start(), tick_s }
    }

    fn start(&self) -> Watchdog {
        let url = self.core.url();
        Watchdog::start(&self.settings(&url), &self.dir.path().join("log"))
    }

    fn settings<'a>(&'a self, url: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("WATCHDOG_STATE_DIR", self.dir.path().to_str().unwrap()),
            ("WATCHDOG_BIND", "127.0.0.1:0"),
            ("WATCHDOG_TICK_S", self.tick_s),
            ("WATCHDOG_CORE_URL", url),
            ("WATCHDOG_CORE_TOKEN", "read-token"),
            ("WATCHDOG_PROC_ENABLED", "true"),
            // everything that runs is too old
            ("WATCHDOG_PROC_AGE_MIN", "0.01"),
            ("WATCHDOG_HOST_LABEL", "host-1"),
        ]
    }

    async fn metrics(&self) -> String {
        let address = until("the bound address", async || {
            let text = text_of(&self.dir.path().join("bound-address"));
            (!text.is_empty()).then(|| text.trim().to_owned())
        })
        .await;
        let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
        answer.text().await.unwrap()
    }

    /// The value of a row; absent when there is none.
    async fn metric(&self, row: &str) -> Option<f64> {
        let wanted = format!("orch_watchdog_{row} ");
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(&wanted))?;
        Some(value.parse().unwrap())
    }

    async fn shows(&self, row: &str, value: f64) {
        until(&format!("{row} {value}"), async || (self.metric(row).await == Some(value)).then_some(()))
            .await;
    }

    async fn counts(&self, row: &str, more: f64) {
        let goal = self.metric(row).await.unwrap_or(0.0) + more;
        until(&format!("{row} {goal}"), async || {
            self.metric(row).await.filter(|value| *value >= goal).map(drop)
        })
        .await;
    }

    /// Lines of the history of this kind that hold these words.
    fn told(&self, kind: &str, words: &str) -> usize {
        let url = self.core.url();
        let history = ask(&self.settings(&url), &["history", "--limit", "500"]);
        let text = String::from_utf8_lossy(&history.stdout).into_owned();
        assert!(history.status.success(), "{history:?}");
        text.lines().filter(|line| line.contains(&format!("  {kind} ")) && line.contains(words)).count()
    }

    fn entity(&self) -> String {
        format!("family of pid {} ", self.run.0.id())
    }

    /// Both conditions were told.
    async fn both_open(&self) {
        self.shows(STUCK, 1.0).await;
        until("the alert of the run", async || (self.told("alert", &self.entity()) == 1).then_some(())).await;
    }
}

/// One way of answering badly.
struct Bad {
    behaviour: CoreBehaviour,
    reason: &'static str,
    raises: &'static str,
    words: &'static str,
}

fn bad(behaviour: CoreBehaviour, reason: &'static str, raises: &'static str, words: &'static str) -> Bad {
    Bad { behaviour, reason, raises, words }
}

async fn story(bad: Bad) {
    let what = format!("{:.60}", format!("{:?}", bad.behaviour));
    let failures = format!(r#"core_poll_failures_total{{reason="{}"}}"#, bad.reason);
    let mut story = Story::new("0.3").await;
    let mut watchdog = story.start();
    story.both_open().await;
    story.core.behave(bad.behaviour);
    story.shows(bad.raises, 1.0).await;
    story.counts(&failures, 3.0).await;
    assert_eq!(story.metric("core_up").await, Some(0.0), "{what}");
    assert_eq!(story.metric(r#"collector_up{collector="core"}"#).await, Some(0.0), "{what}");
    let other = if bad.raises == DOWN { DEGRADED } else { DOWN };
    assert_eq!(story.metric(other).await.unwrap_or(0.0), 0.0, "{what}: one cause, one alert");
    assert_eq!(story.metric(STUCK).await, Some(1.0), "{what}: what the core said last stays open");
    let log = text_of(&story.dir.path().join("log"));
    assert!(log.contains(bad.words), "{what}: {log}");

    // processes need no core: an end is told meanwhile
    assert_eq!(story.told("recovered", &story.entity()), 0, "{what}");
    let entity = story.entity();
    story.run.end();
    until("the end of the run", async || (story.told("recovered", &entity) == 1).then_some(())).await;
    assert_eq!(story.told("recovered", "stage_stuck"), 0, "{what}");
    assert_eq!(story.told("recovered", "core_"), 0, "{what}");

    // a usable answer ends the trouble and nothing else; the next one ends the rest
    story.core.behave(CoreBehaviour::Live(stuck()));
    until("the end of the trouble", async || (story.told("recovered", "core_") == 1).then_some(())).await;
    assert_eq!(
        (story.told("alert", "stage_stuck"), story.told("recovered", "stage_stuck")),
        (1, 0),
        "{what}"
    );
    story.core.behave(CoreBehaviour::Live(Box::new(documents::idle(clock::now_ms()))));
    until("the end of the case", async || (story.told("recovered", "stage_stuck") == 1).then_some(())).await;
    assert_eq!(watchdog.child.try_wait().unwrap(), None, "{what}: it lives");
    assert_eq!(watchdog.stop(), Some(0), "{what}");
    assert_eq!(story.core.other_requests(), Vec::<String>::new(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_document_is_an_outage_and_ends_nothing() {
    story(bad(CoreBehaviour::Half(stuck()), "down", DOWN, "the core does not answer: the answer broke off"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_something_else_is_an_outage_and_ends_nothing() {
    let page = CoreBehaviour::Garbage("<html>welcome</html>".to_owned());
    let words = "the core's answer cannot be used: it is no observation document";
    story(bad(page, "unreadable", DOWN, words)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_a_degraded_core_and_ends_nothing() {
    let words = "the core answers, but it speaks schema version 2";
    story(bad(CoreBehaviour::Newer(2), "unreadable", DEGRADED, words)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_drips_is_an_outage_and_ends_nothing() {
    let slow = CoreBehaviour::Slow(stuck(), Duration::from_millis(20));
    story(bad(slow, "down", DOWN, "the core does not answer: no answer within ")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_at_all_is_an_outage_and_ends_nothing() {
    let words = "the core does not answer: no answer within ";
    story(bad(CoreBehaviour::Hangs(FOR_EVER), "down", DOWN, words)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_status_is_an_outage_and_ends_nothing() {
    story(bad(CoreBehaviour::Status(500), "down", DOWN, "the core does not answer: it answers 500")).await;
    let words = "the core's answer cannot be used: it answers 404 instead of a document";
    story(bad(CoreBehaviour::Status(404), "unreadable", DOWN, words)).await;
    let words = "the core's answer cannot be used: it refuses the read token (401)";
    story(bad(CoreBehaviour::Status(401), "unreadable", DOWN, words)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_an_outage_and_is_not_followed() {
    let elsewhere = FakeCore::start(CoreBehaviour::Live(stuck()), None).await.unwrap();
    let redirect = CoreBehaviour::Redirect(format!("{}/queue", elsewhere.url()));
    let words = "the core's answer cannot be used: it answers 302 instead of a document";
    story(bad(redirect, "unreadable", DOWN, words)).await;
    assert_eq!((elsewhere.polls(), elsewhere.other_requests()), (0, Vec::new()), "the token stays here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_cannot_be_are_an_outage_and_end_nothing() {
    let mut document = stuck();
    document.core.started_at_ms = i64::MIN;
    document.tasks[0].stage_since_ms = i64::MIN;
    let words = "the core's answer cannot be used: its document breaks the contract";
    story(bad(CoreBehaviour::Document(document), "unreadable", DOWN, words)).await;
}

/// The end of a watched process was told three seconds late while the tick waited for the core.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_told_while_the_core_still_owes_its_answer() {
    let mut story = Story::new("6").await;
    let watchdog = story.start();
    story.both_open().await;
    let polls = story.core.polls();
    story.core.behave(CoreBehaviour::Hangs(FOR_EVER));
    until("a poll that hangs", async || (story.core.hanging() == 1).then_some(())).await;
    let asked = story.core.polls();
    assert!(asked > polls);
    let entity = story.entity();
    story.run.end();
    until("the end of the run", async || (story.told("recovered", &entity) == 1).then_some(())).await;
    assert_eq!((story.core.hanging(), story.core.polls()), (1, asked), "the same poll is still under way");
    assert_eq!(watchdog.stop(), Some(0));
}

//! The real program against a stand-in core and a stand-in Telegram: what people rely on over
//! outages, restarts and kills.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod kills;
mod orders;
mod program;
mod support;
mod unsaved;

use std::time::Duration;

use orch_tests::documents;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::fake_telegram::{FakeTelegram, Fault, Shown};
use program::{Watchdog, ask, text_of};
use support::until;

const TOKEN: &str = "123456:stand-in-secret";
const CHAT: i64 = 4242;

struct World {
    dir: tempfile::TempDir,
    core: FakeCore,
    telegram: FakeTelegram,
    core_url: String,
    telegram_url: String,
}

impl World {
    async fn new() -> Self {
        let core = FakeCore::start(alive(), Some("read-token")).await.unwrap();
        let telegram = FakeTelegram::strict(TOKEN).await.unwrap();
        telegram.add_chat(CHAT);
        let (core_url, telegram_url) = (core.url(), telegram.url());
        Self { dir: tempfile::tempdir().unwrap(), core, telegram, core_url, telegram_url }
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("WATCHDOG_STATE_DIR", self.dir.path().to_str().unwrap()),
            ("WATCHDOG_BIND", "127.0.0.1:0"),
            ("WATCHDOG_TICK_S", "0.1"),
            ("WATCHDOG_CORE_URL", &self.core_url),
            ("WATCHDOG_CORE_TOKEN", "read-token"),
            ("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN),
            ("WATCHDOG_TELEGRAM_CHAT_ID", "4242"),
            ("WATCHDOG_TELEGRAM_API_URL", &self.telegram_url),
            ("WATCHDOG_HOST_LABEL", "host-1"),
            // the stand-in's document stands still
            ("WATCHDOG_CORE_DEGRADED_ENABLED", "false"),
        ]
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("log")
    }

    fn start(&self) -> Watchdog {
        self.start_with(&[])
    }

    /// The last of two values of one setting counts.
    fn start_with(&self, more: &[(&str, &str)]) -> Watchdog {
        Watchdog::start(&[&self.settings(), more].concat(), &self.log())
    }

    async fn logged(&self, words: &str) {
        until(words, async || text_of(&self.log()).contains(words).then_some(())).await;
    }

    async fn polled(&self, times: u64) {
        let goal = self.core.polls() + times;
        until("polls of the core", async || (self.core.polls() >= goal).then_some(())).await;
    }

    async fn messages(&self, count: usize) -> Vec<Shown> {
        until(&format!("{count} messages"), async || {
            let messages = self.telegram.chat(CHAT);
            (messages.len() >= count).then_some(messages)
        })
        .await
    }

    async fn page(&self, path: &str) -> (u16, String) {
        let address = until("the bound address", async || {
            let text = text_of(&self.dir.path().join("bound-address"));
            (!text.is_empty()).then(|| text.trim().to_owned())
        })
        .await;
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

fn alive() -> CoreBehaviour {
    CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)))
}

fn down() -> CoreBehaviour {
    CoreBehaviour::Refuses(500, "broken".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_core_is_told_once_and_its_end_replies_to_it() {
    let world = World::new().await;
    let watchdog = world.start();
    world.polled(2).await;
    world.core.behave(down());
    let alert = world.messages(1).await[0].clone();
    assert!(
        alert.text.starts_with("🔴 the core does not answer: it answers 500 · host-1\n"),
        "{}",
        alert.text
    );
    assert!(alert.text.ends_with("\nrunbook: orch-watchdog runbook core_down"), "{}", alert.text);
    world.polled(10).await;
    world.core.behave(CoreBehaviour::Starting);
    world.polled(10).await;
    assert_eq!(world.telegram.chat(CHAT).len(), 1, "a core that is starting is not back");
    world.core.behave(alive());
    let told = world.messages(2).await;
    assert!(told[1].text.starts_with("🟢 over after "), "{}", told[1].text);
    assert_eq!(told[1].reply_to, Some(alert.message_id));
    world.polled(5).await;
    assert_eq!(world.telegram.chat(CHAT).len(), 2, "nothing else was told");
    assert_eq!(watchdog.stop(), Some(0));
    assert_eq!(world.core.other_requests(), Vec::<String>::new());
    let log = text_of(&world.log());
    assert!(log.contains("the core does not answer: it answers 500"), "the log is a channel too: {log}");
    assert!(!log.contains("stand-in-secret") && !log.contains("read-token"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_outage_is_silent_over_a_kill_and_recovers_after_it() {
    let world = World::new().await;
    world.core.behave(down());
    let watchdog = world.start();
    world.messages(1).await;
    watchdog.kill();
    let watchdog = world.start();
    world.polled(10).await;
    let told = world.telegram.chat(CHAT);
    // a kill between the answer and its record may tell twice, never lose
    assert!((1..=2).contains(&told.len()), "{told:?}");
    let already = told.len();
    drop(watchdog);
    world.core.behave(alive());
    let _watchdog = world.start();
    let told = world.messages(already + 1).await;
    assert!(told[already].text.starts_with("🟢 over after "), "{told:?}");
    assert!(told[already].reply_to.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_telegram_did_not_take_survives_a_kill_and_leaves_as_one_line() {
    let world = World::new().await;
    world.telegram.set_blocked(CHAT, true);
    world.core.behave(down());
    let watchdog = world.start();
    until("a refusal", async || (world.telegram.calls() > 0).then_some(())).await;
    world.core.behave(alive());
    until("the recovery in the history", async || {
        let history = ask(&world.settings(), &["history"]);
        String::from_utf8_lossy(&history.stdout).contains("recovered").then_some(())
    })
    .await;
    watchdog.kill();
    world.telegram.set_blocked(CHAT, false);
    let _watchdog = world.start();
    let told = world.messages(1).await;
    assert!(told[0].text.contains("was on from ") && told[0].text.contains("is over"), "{told:?}");
    assert_eq!(told[0].text.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_telegram_asked_for_is_kept_over_a_kill() {
    let world = World::new().await;
    world.telegram.fault(Fault::Flood(Duration::from_secs(10)));
    world.core.behave(down());
    let watchdog = world.start();
    until("the wait in the state file", async || {
        text_of(&world.dir.path().join("state.json")).contains("\"waits\":{\"telegram\"").then_some(())
    })
    .await;
    watchdog.kill();
    let _watchdog = world.start();
    world.logged("the channel asked to wait, before this start").await;
    world.messages(1).await;
    assert_eq!((world.telegram.calls(), world.telegram.refused_by_flood()), (2, 0), "no call in between");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runbook_is_in_the_program_for_whoever_has_no_address_of_it() {
    let world = World::new().await;
    world.core.behave(down());
    let _watchdog = world.start();
    let told = world.messages(1).await;
    let line = told[0].text.lines().find_map(|line| line.strip_prefix("runbook: ")).unwrap().to_owned();
    let words: Vec<&str> = line.trim_matches('`').split(' ').collect();
    assert_eq!(words[0], "orch-watchdog");
    let printed = ask(&world.settings(), &words[1..]);
    let section = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.status.success() && section.starts_with("## core_down\n"), "{section}");
    assert_eq!(ask(&world.settings(), &["runbook", "core_dwn"]).status.code(), Some(64));
    let linked = [("WATCHDOG_RUNBOOK_URL", "https://wiki.example/orch/runbook.md")];
    let other = World::new().await;
    other.core.behave(down());
    let _other_watchdog = other.start_with(&linked);
    let told = other.messages(1).await;
    let link = "runbook: https://wiki.example/orch/runbook.md#core_down";
    assert!(told[0].text.lines().any(|line| line == link), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_fails_is_told_by_the_others_and_never_by_itself() {
    let world = World::new().await;
    let impatient = [("WATCHDOG_DELIVERY_FAILING_AGE_S", "0.3")];
    world.telegram.set_blocked(CHAT, true);
    world.core.behave(down());
    let watchdog = world.start_with(&impatient);
    world.logged("telegram takes no notices for").await;
    watchdog.kill();
    world.telegram.set_blocked(CHAT, false);
    let _watchdog = world.start_with(&impatient);
    world.logged("it takes notices again").await;
    world.polled(5).await;
    let told = world.telegram.chat(CHAT);
    assert!(told.iter().any(|shown| shown.text.contains("the core does not answer")), "{told:?}");
    assert!(!told.iter().any(|shown| shown.text.contains("takes no")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_starved_host_is_told_from_the_configured_tree_and_a_kernel_without_figures_says_so_once() {
    let world = World::new().await;
    let tree = tempfile::tempdir().unwrap();
    let cpu = tree.path().join("pressure/cpu");
    let pressed = |avg60: &str| {
        std::fs::write(&cpu, format!("some avg10=0.00 avg60={avg60} avg300=0.00 total=0\n")).unwrap();
    };
    std::fs::create_dir(tree.path().join("pressure")).unwrap();
    std::fs::copy("/proc/meminfo", tree.path().join("meminfo")).unwrap();
    let settings =
        [("WATCHDOG_CPU_STARVED_ENABLED", "true"), ("WATCHDOG_PROC_ROOT", tree.path().to_str().unwrap())];
    let checked = ask(&[&world.settings(), &settings[..]].concat(), &["check-config"]);
    assert_eq!(checked.status.code(), Some(0));
    let remark = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(remark.contains("note: cpu_starved cannot be told on this host"), "{remark}");

    let watchdog = world.start_with(&settings);
    world.polled(8).await;
    let log = text_of(&world.log());
    assert_eq!(log.matches("cpu_starved cannot be told on this host").count(), 1, "{log}");
    let (_, metrics) = world.page("/metrics").await;
    assert!(metrics.contains("orch_watchdog_host_pressure_offered 0"), "{metrics}");
    assert_eq!(world.telegram.chat(CHAT).len(), 0, "nothing is broken");

    pressed("75.00");
    let alert = world.messages(1).await[0].clone();
    assert!(
        alert.text.starts_with("🟠 the host lacks CPU: work waits 75% of the time, limit 60% · host-1\n"),
        "{alert:?}"
    );
    let (_, metrics) = world.page("/metrics").await;
    assert!(metrics.contains("host_pressure_ratio{kind=\"some\",resource=\"cpu\"} 0.75"), "{metrics}");
    pressed("5.00");
    let told = world.messages(2).await;
    assert!(told[1].text.contains("work waits 5% of the time"), "{told:?}");
    assert_eq!(told[1].reply_to, Some(alert.message_id));
    assert_eq!(watchdog.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_telegram_delays_no_tick() {
    let world = World::new().await;
    world.telegram.fault(Fault::Slow(Duration::from_secs(10)));
    world.core.behave(down());
    let _watchdog = world.start();
    until("a call", async || text_of(&world.log()).contains("the core does not answer").then_some(())).await;
    world.polled(20).await;
    assert_eq!(world.telegram.chat(CHAT).len(), 0, "the ticks went on while the first message was under way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_health_show_the_last_pass() {
    let world = World::new().await;
    world.core.behave(down());
    let _watchdog = world.start();
    world.messages(1).await;
    let text = until("the alert in the metrics", async || {
        let (status, text) = world.page("/metrics").await;
        assert_eq!(status, 200);
        let delivered = text.contains("orch_watchdog_outbox_notices{channel=\"telegram\"} 0");
        delivered.then_some(text)
    })
    .await;
    for line in [
        "orch_watchdog_signals_active{severity=\"critical\",signal=\"core_down\"} 1",
        "orch_watchdog_alerts_total{signal=\"core_down\"} 1",
        "orch_watchdog_core_up 0",
        "orch_watchdog_delivery_attempts_total{channel=\"telegram\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(world.page("/healthz").await, (200, "ok\n".to_owned()));
    let health = ask(&world.settings(), &["healthcheck"]);
    assert_eq!(health.status.code(), Some(0), "{health:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_watchdog_on_the_same_state_is_refused_by_name() {
    let world = World::new().await;
    let _first = world.start();
    world.page("/healthz").await;
    let second = ask(&world.settings(), &["run"]);
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("another watchdog runs there: pid "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_file_that_cannot_be_read_is_set_aside_and_watching_goes_on() {
    let world = World::new().await;
    std::fs::write(world.dir.path().join("state.json"), "no state").unwrap();
    world.core.behave(down());
    let _watchdog = world.start();
    world.messages(1).await;
    let log = text_of(&world.log());
    assert!(log.contains("it was set aside") && log.contains("state.json.unreadable-"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbs_answer_with_their_exit_codes() {
    let world = World::new().await;
    let settings = world.settings();
    let code = |settings: &[(&str, &str)], arguments: &[&str]| ask(settings, arguments).status.code();
    assert_eq!(code(&settings, &["version"]), Some(0));
    assert_eq!(code(&settings, &["check-config", "--print-env"]), Some(0));
    assert_eq!(code(&settings, &["history"]), Some(0));
    assert_eq!(code(&settings, &["healthcheck"]), Some(1), "none runs");
    assert_eq!(code(&settings, &["no-such-verb"]), Some(64));
    assert_eq!(code(&[("WATCHDOG_TICK_S", "often")], &["check-config"]), Some(64));
    assert_eq!(code(&settings, &["test-alert"]), Some(0));
    assert_eq!(world.telegram.chat(CHAT).len(), 1);
    world.telegram.set_blocked(CHAT, true);
    let refused = ask(&settings, &["test-alert"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("bot was blocked by the user") && !text.contains("stand-in-secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_refused_is_told_after_a_test_alert_that_it_took() {
    let world = World::new().await;
    world.telegram.set_blocked(CHAT, true);
    world.core.behave(down());
    let _watchdog = world.start();
    until("a refusal in the health", async || {
        let (status, text) = world.page("/healthz").await;
        (status == 503 && text.contains("bot was blocked by the user")).then_some(())
    })
    .await;
    world.telegram.set_blocked(CHAT, false);
    let asked = ask(&world.settings(), &["test-alert"]);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    let told = world.messages(2).await;
    assert!(told[0].text.starts_with("test alert of host-1"), "{told:?}");
    assert!(told[1].text.starts_with("🔴 the core does not answer"), "{told:?}");
}

//! The heartbeat of the real program: who is asked, when, and what stays secret.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod program;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use orch_tests::fake_telegram::FakeTelegram;
use program::{Watchdog, ask, text_of};
use support::until;

const TOKEN: &str = "123456:stand-in-secret";
const CHAT: i64 = 4242;
const PATH: &str = "/ping/secret-0f3a";

/// Counts signs of life.
#[derive(Default)]
struct Listener {
    beats: AtomicU64,
    /// What it answers, 200 when 0.
    status: AtomicU64,
}

async fn listen() -> (Arc<Listener>, String) {
    let listener = Arc::new(Listener::default());
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{PATH}", socket.local_addr().unwrap());
    let router = axum::Router::new().fallback(hear).with_state(Arc::clone(&listener));
    tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
    (listener, url)
}

async fn hear(State(listener): State<Arc<Listener>>, method: Method, uri: Uri) -> StatusCode {
    if method != Method::GET || uri.path() != PATH {
        return StatusCode::NOT_FOUND;
    }
    listener.beats.fetch_add(1, Ordering::SeqCst);
    match listener.status.load(Ordering::SeqCst) {
        0 => StatusCode::OK,
        code => StatusCode::from_u16(u16::try_from(code).unwrap()).unwrap(),
    }
}

async fn beats(listener: &Listener, more: u64) {
    let goal = listener.beats.load(Ordering::SeqCst) + more;
    let beaten = async || (listener.beats.load(Ordering::SeqCst) >= goal).then_some(());
    until("heartbeats", beaten).await;
}

struct World {
    dir: tempfile::TempDir,
    telegram: FakeTelegram,
    telegram_url: String,
    url: String,
}

impl World {
    async fn new(url: String) -> Self {
        let telegram = FakeTelegram::strict(TOKEN).await.unwrap();
        telegram.add_chat(CHAT);
        let telegram_url = telegram.url();
        Self { dir: tempfile::tempdir().unwrap(), telegram, telegram_url, url }
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("WATCHDOG_STATE_DIR", self.dir.path().to_str().unwrap()),
            ("WATCHDOG_BIND", "127.0.0.1:0"),
            ("WATCHDOG_TICK_S", "0.1"),
            // nobody listens there: its outage is an alert
            ("WATCHDOG_CORE_URL", "http://127.0.0.1:1"),
            ("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN),
            ("WATCHDOG_TELEGRAM_CHAT_ID", "4242"),
            ("WATCHDOG_TELEGRAM_API_URL", &self.telegram_url),
            ("WATCHDOG_HEARTBEAT_URL", &self.url),
            ("WATCHDOG_LOG", "debug"),
        ]
    }

    fn start(&self) -> Watchdog {
        Watchdog::start(&self.settings(), &self.dir.path().join("log"))
    }

    fn log(&self) -> String {
        text_of(&self.dir.path().join("log"))
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

    async fn count(&self, series: &str) -> u64 {
        let (_, text) = self.page("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("{series} in {text}")).trim().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_good_tick_is_a_sign_of_life_and_failures_are_counted_and_told_without_the_secret() {
    let (listener, url) = listen().await;
    let world = World::new(url).await;
    let watchdog = world.start();
    beats(&listener, 3).await;
    listener.status.store(503, Ordering::SeqCst);
    beats(&listener, 3).await;
    until("a failure in the metrics", async || {
        let failed = world.count("orch_watchdog_heartbeat_failures_total{reason=\"status\"}").await;
        (failed >= 2).then_some(())
    })
    .await;
    assert!(world.count("orch_watchdog_heartbeat_attempts_total").await >= 5);
    assert_eq!(world.count("orch_watchdog_heartbeat_failures_total{reason=\"network\"}").await, 0);
    listener.status.store(0, Ordering::SeqCst);
    until("the way back in the log", async || {
        world.log().contains("the heartbeat is taken again").then_some(())
    })
    .await;
    assert_eq!(watchdog.stop(), Some(0));
    let log = world.log();
    assert_eq!(log.matches("the heartbeat is not taken").count(), 1, "told when it changes: {log}");
    assert!(log.contains("it answers 503") && !log.contains("secret-0f3a"), "{log}");
    let printed = ask(&world.settings(), &["check-config", "--print-env"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("WATCHDOG_HEARTBEAT_URL=") && !printed.contains("secret-0f3a"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watchdog_that_cannot_tell_anybody_lets_its_heartbeat_stop() {
    let (listener, url) = listen().await;
    let world = World::new(url).await;
    world.telegram.set_blocked(CHAT, true);
    let watchdog = world.start();
    let ill = until("an ailing watchdog", async || {
        let (status, text) = world.page("/healthz").await;
        (status == 503).then_some(text)
    })
    .await;
    assert_eq!(ill, "telegram refuses: Forbidden: bot was blocked by the user\n");
    // one may be under way and one waiting
    let ticks = || world.count("orch_watchdog_ticks_total");
    let quiet_from = listener.beats.load(Ordering::SeqCst) + 2;
    let goal = ticks().await + 10;
    until("ticks", async || (ticks().await >= goal).then_some(())).await;
    assert!(listener.beats.load(Ordering::SeqCst) <= quiet_from, "ticks go on, the heartbeat does not");
    watchdog.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_that_nobody_answers_delays_no_tick() {
    // takes connections and never answers
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let world = World::new(format!("http://{}{PATH}", socket.local_addr().unwrap())).await;
    let _watchdog = world.start();
    let ticks = || world.count("orch_watchdog_ticks_total");
    until("twenty ticks", async || (ticks().await >= 20).then_some(())).await;
    assert_eq!(
        world.count("orch_watchdog_heartbeat_attempts_total").await,
        0,
        "the first is still under way"
    );
}

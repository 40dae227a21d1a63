//! The real program as uid 65534 without a capability, under strace, over a whole story: what it reads, writes and sends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[expect(dead_code, reason = "one orphan is enough here")]
mod nobody;
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;

use nobody::{Orphan, Place, Running, SETPRIV, namespace_words, pid_of, text_of, unhidden};
use orch_tests::authority::Authority;
use orch_tests::documents;
use orch_tests::fake_alertmanager::FakeAlertmanager;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::fake_telegram::{FakeTelegram, Shown};
use orch_tests::tls_front::{Door, TlsFront};
use orch_tests::trace::{self, Processes, Rules, Trace};
use support::until;

const TOKEN: &str = "123456:stand-in-secret";
const CHAT: i64 = 4242;

/// A watchdog under strace with a core and a chat of its own; the chat speaks TLS, by a private authority.
struct Story {
    place: Place,
    core: FakeCore,
    telegram: FakeTelegram,
    _front: TlsFront,
    /// Who else may be spoken to.
    peers: Vec<SocketAddr>,
    watchdog: Running,
}

impl Story {
    async fn begin(more: &[(&str, &str)]) -> Self {
        let place = Place::new();
        let document = CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)));
        let core = FakeCore::start(document, Some("read-token")).await.unwrap();
        let telegram = FakeTelegram::strict(TOKEN).await.unwrap();
        telegram.add_chat(CHAT);
        let authority = Authority::new().unwrap();
        std::fs::copy(authority.file(), authorities(&place)).unwrap();
        let door = Door::before(telegram.address(), authority.server("DNS:localhost").unwrap());
        let front = TlsFront::open(door).await.unwrap();
        let traces = place.path().join("traces");
        std::fs::create_dir(&traces).unwrap();
        let mut command = trace::command(&traces).unwrap();
        command.args(SETPRIV).arg("--clear-groups").arg(place.program()).arg("run");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(place.settings());
        // a name, so that the resolver is part of the story
        command.env("WATCHDOG_CORE_URL", format!("http://localhost:{}", core.address().port()));
        command.envs([
            ("WATCHDOG_CORE_TOKEN", "read-token"),
            ("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN),
            ("WATCHDOG_TELEGRAM_CHAT_ID", "4242"),
            ("WATCHDOG_TELEGRAM_API_URL", &front.url()),
        ]);
        command.env("WATCHDOG_CA_FILE", authorities(&place));
        command.envs(more.iter().copied());
        let log = std::fs::File::create(place.log()).unwrap();
        command.stdout(std::process::Stdio::null()).stderr(log);
        let watchdog = Running::start(&mut command);
        let peers = vec![front.address()];
        Self { place, core, telegram, _front: front, peers, watchdog }
    }

    async fn told(&self, wanted: &str) {
        until(&format!("{wanted:?} in the chat, log: {}", text_of(&self.place.log())), async || {
            let said = self.telegram.chat(CHAT);
            said.iter().any(|message| message.text.contains(wanted)).then_some(())
        })
        .await;
    }

    /// Somebody listed says something in the chat: the answer.
    async fn answered(&self, command: &str) -> String {
        let number = self.telegram.say(CHAT, LISTED, command, now_s());
        let of = |shown: &Shown| shown.reply_to == Some(number);
        let answer = async || self.telegram.chat(CHAT).into_iter().find(of);
        until(&format!("an answer to {command}, log: {}", text_of(&self.place.log())), answer).await.text
    }

    fn listens(&self) -> SocketAddr {
        text_of(&self.place.state().join("bound-address")).trim().parse().unwrap()
    }

    /// SIGTERM, and what strace saw, with the rules for it.
    fn end(mut self, processes: Processes) -> (Trace, Rules, Self) {
        let id = pid_of(&self.place).unwrap();
        let pid = nix::unistd::Pid::from_raw(id.pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(self.watchdog.ended(), Some(0), "{}", text_of(&self.place.log()));
        let trace = Trace::read(&self.place.path().join("traces"), &self.place.program()).unwrap();
        let rules = Rules {
            own_pid: trace.pid,
            program: self.place.program(),
            state_dir: self.place.state(),
            named_files: vec![authorities(&self.place)],
            processes,
            core: self.core.address(),
            peers: self.peers.clone(),
            listens: self.listens(),
        };
        assert_eq!(trace.signals, ["SIGTERM"]);
        assert_eq!(trace.end.as_deref(), Some("exited with 0"));
        (trace, rules, self)
    }
}

fn authorities(place: &Place) -> std::path::PathBuf {
    place.path().join("authorities.pem")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_an_alert_and_a_recovery_it_reads_writes_and_sends_nothing_but_what_is_listed() {
    let story = Story::begin(&[]).await;
    let orphan = Orphan::leave(&story.place);
    let pid = orphan.0.pid;
    story.told(&format!("kill {pid}")).await;
    let scrape = reqwest::get(format!("http://{}/metrics", story.listens())).await.unwrap();
    let metrics = scrape.text().await.unwrap();
    drop(orphan);
    story.told("over after").await;
    let (trace, rules, story) = story.end(Processes::Listed);

    assert_eq!(trace.violations(&rules), [], "{} calls", trace.calls.len());
    assert_eq!(story.core.other_requests(), Vec::<String>::new());

    // the story did happen under these eyes
    let of_orphan = |file: &str| trace.opened(Path::new(&format!("/proc/{pid}/{file}")));
    assert!(of_orphan("stat") > 2 && of_orphan("cmdline") > 0 && of_orphan("status") > 0);
    assert!(of_orphan("limits") > 0 && of_orphan("cgroup") > 0);
    assert!(trace.count("writev", "GET /queue") + trace.count("sendto", "GET /queue") > 2);
    assert!(trace.count("rename", "state.json.new") > 1);
    assert!(trace.count("pidfd_open", &pid.to_string()) > 0);
    assert!(trace.opened(Path::new("/etc/hosts")) > 0, "the core's name was resolved");
    assert_eq!(trace.opened(&authorities(&story.place)), 1, "read at start and never again");

    let log = text_of(&story.place.log());
    let state = story.place.state().display().to_string();
    for words in [
        format!("confined: writes below {state} only, no signals to other processes (Landlock "),
        "; no new privileges; no capabilities".to_owned(),
        format!("environ denied: yes; {}", namespace_words()),
    ] {
        assert!(log.contains(&words), "{words} in {log}");
    }
    assert!(sees_all(&log), "{log}");
    assert!(metrics.contains(r#",scope="writes_and_signals"} 1"#), "{metrics}");
    assert!(metrics.contains(unhidden()), "{metrics}");
}

/// "I see 71 of 71 processes": but for those that end between the listing and the look.
fn sees_all(log: &str) -> bool {
    let words: Vec<&str> = log.split("I see ").nth(1).unwrap_or_default().split(' ').take(3).collect();
    let [seen, "of", all] = words.as_slice() else { return false };
    let (seen, all): (u64, u64) = (seen.parse().unwrap(), all.parse().unwrap());
    // as root lists them by now; processes come and go meanwhile
    let mut listed = Vec::new();
    proc_identity::list_pids(Path::new(proc_identity::PROC_ROOT), &mut listed).unwrap();
    seen + 3 >= all && seen * 2 >= listed.len() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_processes_switched_off_not_one_is_opened() {
    let story = Story::begin(&[("WATCHDOG_PROC_ENABLED", "false")]).await;
    let _orphan = Orphan::leave(&story.place);
    until("polls", async || (story.core.polls() > 3).then_some(())).await;
    story.core.behave(CoreBehaviour::Refuses(500, "broken".to_owned()));
    story.told("the core does not answer").await;
    let (trace, rules, story) = story.end(Processes::Untouched);
    assert_eq!(trace.violations(&rules), [], "{} calls", trace.calls.len());
    assert_eq!(story.core.other_requests(), Vec::<String>::new());
    assert!(trace.count("rename", "state.json.new") > 0);
}

/// Somebody whom the allow-list names.
const LISTED: i64 = 7;
const STRANGER: i64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_everything_switched_on_it_listens_to_people_and_still_does_nothing_but_what_is_listed() {
    let alertmanager = FakeAlertmanager::start().await.unwrap();
    let beats = Arc::new(AtomicU64::new(0));
    let heartbeat = listen_for_beats(&beats).await;
    let (alertmanager_url, heartbeat_url) = (alertmanager.url(), format!("http://{heartbeat}/beat"));
    let mut story = Story::begin(&[
        ("WATCHDOG_TELEGRAM_COMMANDS_ENABLED", "true"),
        ("WATCHDOG_TELEGRAM_COMMANDS_USER_IDS", "7"),
        ("WATCHDOG_ALERTMANAGER_URL", &alertmanager_url),
        ("WATCHDOG_HEARTBEAT_URL", &heartbeat_url),
    ])
    .await;
    story.peers.extend([alertmanager.address(), heartbeat]);
    let orphan = Orphan::leave(&story.place);
    let pid = orphan.0.pid;
    story.told(&format!("kill {pid}")).await;
    let alert = story.telegram.chat(CHAT).into_iter().find(|shown| !shown.buttons.is_empty()).unwrap();
    // each way in: words, a button, a stranger, the socket
    let scanned = story.answered("/scan").await;
    assert!(scanned.contains(&format!("kill {pid}")), "{scanned}");
    story.answered("/status").await;
    story.answered("/mute agent_hung 1h").await;
    story.telegram.say(CHAT, STRANGER, "/mute proc_orphaned 1h", now_s());
    assert!(story.telegram.press(CHAT, LISTED, alert.message_id, &alert.buttons[0].data));
    until("an answer to the press", async || (!story.telegram.press_answers().is_empty()).then_some(()))
        .await;
    until("no update waits", async || (story.telegram.unconfirmed() == 0).then_some(())).await;
    let mut muting = Running::command(story.place.program().to_str().unwrap());
    muting.args(["mute", "queue_stalled", "1h"]).env_clear().envs(story.place.settings());
    assert_eq!(Running::start(muting.stdout(std::process::Stdio::null())).ended(), Some(0));
    drop(orphan);
    story.told("over after").await;
    until("its end at Alertmanager", async || {
        let ended = |text: &str| text.parse::<jiff::Timestamp>().unwrap() <= jiff::Timestamp::now();
        let alerts = alertmanager.alerts();
        let one = alerts.iter().find(|alert| alert.labels["signal"] == "proc_orphaned")?;
        ended(&one.ends_at).then_some(())
    })
    .await;
    until("heartbeats", async || (beats.load(Ordering::SeqCst) > 2).then_some(())).await;
    let (trace, rules, story) = story.end(Processes::Listed);

    assert_eq!(trace.violations(&rules), [], "{} calls", trace.calls.len());
    assert_eq!(story.core.other_requests(), Vec::<String>::new());
    let state = text_of(&story.place.state().join("state.json"));
    assert!(
        state.contains("agent_hung") && state.contains("queue_stalled"),
        "what people asked for: {state}"
    );
    // it did happen under these eyes
    let sent = |words: &str| {
        ["write", "writev", "sendto", "sendmsg"]
            .into_iter()
            .map(|call| trace.count(call, words))
            .sum::<usize>()
    };
    assert!(sent("POST /am/api/v2/alerts") > 1, "Alertmanager was told");
    assert!(sent("GET /beat") > 2, "it beat");
    assert!(trace.count("accept4", "UNIX") > 0, "the socket was used");
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Takes every request for a sign of life.
async fn listen_for_beats(beats: &Arc<AtomicU64>) -> SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let count = |State(beats): State<Arc<AtomicU64>>| async move {
        beats.fetch_add(1, Ordering::SeqCst);
    };
    let router = axum::Router::new().route("/beat", axum::routing::get(count)).with_state(Arc::clone(beats));
    tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
    address
}

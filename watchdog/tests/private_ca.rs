//! Servers behind a private authority: believed by every connection when its certificate is given, by none otherwise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod program;
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orch_tests::authority::Authority;
use orch_tests::documents;
use orch_tests::fake_alertmanager::FakeAlertmanager;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::fake_telegram::FakeTelegram;
use orch_tests::tls_front::{Caller, Door, TlsFront};
use program::{Watchdog, ask, text_of};
use support::until;

const TOKEN: &str = "123456:stand-in-secret";
const CHAT: i64 = 4242;

/// Everybody a watchdog talks to, each behind TLS by one private authority.
struct World {
    dir: tempfile::TempDir,
    authority: Authority,
    core: FakeCore,
    telegram: FakeTelegram,
    alertmanager: FakeAlertmanager,
    beats: Arc<AtomicU64>,
    /// Core, Telegram, Alertmanager, heartbeat.
    fronts: [TlsFront; 4],
}

impl World {
    async fn new() -> Self {
        let authority = Authority::new().unwrap();
        let document = CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)));
        let core = FakeCore::start(document, None).await.unwrap();
        let telegram = FakeTelegram::strict(TOKEN).await.unwrap();
        telegram.add_chat(CHAT);
        let alertmanager = FakeAlertmanager::start().await.unwrap();
        let (beats, listener) = listen().await;
        let before = async |behind: SocketAddr| {
            let config = authority.server("DNS:localhost").unwrap();
            TlsFront::open(Door::before(behind, config)).await.unwrap()
        };
        let fronts = [
            before(core.address()).await,
            before(telegram.address()).await,
            before(alertmanager.address()).await,
            before(listener).await,
        ];
        Self { dir: tempfile::tempdir().unwrap(), authority, core, telegram, alertmanager, beats, fronts }
    }

    fn ask(&self, ca_file: Option<&Path>, arguments: &[&str]) -> std::process::Output {
        let settings = self.settings(ca_file);
        ask(&borrowed(&settings), arguments)
    }

    fn start(&self, ca_file: Option<&Path>) -> Watchdog {
        Watchdog::start(&borrowed(&self.settings(ca_file)), &self.log())
    }

    fn settings(&self, ca_file: Option<&Path>) -> Vec<(&'static str, String)> {
        let [core, telegram, alertmanager, heartbeat] = self.fronts.each_ref().map(TlsFront::url);
        let given = ca_file.map(|file| ("WATCHDOG_CA_FILE", file.to_str().unwrap().to_owned()));
        let settings = [
            ("WATCHDOG_STATE_DIR", self.dir.path().join("state").to_str().unwrap().to_owned()),
            ("WATCHDOG_BIND", "127.0.0.1:0".to_owned()),
            ("WATCHDOG_TICK_S", "0.1".to_owned()),
            ("WATCHDOG_CORE_URL", core),
            ("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN.to_owned()),
            ("WATCHDOG_TELEGRAM_CHAT_ID", "4242".to_owned()),
            ("WATCHDOG_TELEGRAM_API_URL", telegram),
            ("WATCHDOG_TELEGRAM_COMMANDS_ENABLED", "true".to_owned()),
            ("WATCHDOG_TELEGRAM_COMMANDS_USER_IDS", "7".to_owned()),
            ("WATCHDOG_ALERTMANAGER_URL", format!("{alertmanager}/am")),
            ("WATCHDOG_HEARTBEAT_URL", format!("{heartbeat}/beat")),
            ("WATCHDOG_LOG", "debug".to_owned()),
        ];
        settings.into_iter().chain(given).collect()
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("log")
    }

    fn callers(&self) -> [Vec<Caller>; 4] {
        self.fronts.each_ref().map(|front| front.door.callers())
    }

    /// What arrived inside: polls of the core and of the chat, calls, posts, beats.
    fn arrived(&self) -> [u64; 5] {
        let telegram = &self.telegram;
        let beats = self.beats.load(Ordering::SeqCst);
        [self.core.polls(), telegram.polls(), telegram.calls(), self.alertmanager.posts(), beats]
    }
}

/// Counts signs of life.
async fn listen() -> (Arc<AtomicU64>, SocketAddr) {
    let beats = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&beats);
    let count = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async {}
    };
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let router = axum::Router::new().route("/beat", axum::routing::get(count));
    tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
    (beats, address)
}

fn borrowed<'text>(settings: &'text [(&'static str, String)]) -> Vec<(&'static str, &'text str)> {
    settings.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

fn said(output: &std::process::Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_private_authority_every_connection_is_made_and_without_it_none() {
    let world = World::new().await;

    let stranger = world.start(None);
    until("each server to be refused", async || {
        let refused = |callers: &Vec<Caller>| callers.len() > 2;
        world.callers().iter().all(refused).then_some(())
    })
    .await;
    assert_eq!(stranger.stop(), Some(0));
    assert_eq!(world.arrived(), [0; 5], "somebody was believed");
    for callers in world.callers() {
        let refused =
            |caller: &Caller| caller.refusal.as_deref().is_some_and(|why| why.contains("UnknownCA"));
        assert!(callers.iter().any(refused), "no caller says why it goes away");
        for caller in callers {
            assert_eq!(caller.asked_for.as_deref(), Some("localhost"));
            // the last ones may have been cut off by the end of the program
            let refusal = caller.refusal.unwrap();
            let cut_off = refusal.contains("eof") || refusal.contains("reset by peer");
            assert!(refusal.contains("UnknownCA") || cut_off, "{refusal}");
        }
    }
    let log = text_of(&world.log());
    assert!(log.contains("invalid peer certificate: UnknownIssuer"), "the core's: {log}");
    assert!(log.matches("its certificate is not trusted").count() > 2, "the channels': {log}");
    let refused = world.ask(None, &["test-alert"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(said(&refused).matches("its certificate is not trusted").count(), 2, "{}", said(&refused));

    let ca_file = world.authority.file();
    let friend = world.start(Some(&ca_file));
    for (at, what) in
        ["the core", "updates of the chat", "the chat", "Alertmanager", "a heartbeat"].iter().enumerate()
    {
        until(&format!("a request for {what}"), async || (world.arrived()[at] > 0).then_some(())).await;
    }
    // the outage that the first one saw is over, and both are told in one line
    until("its message in the chat", async || {
        world.telegram.chat(CHAT).iter().any(|shown| shown.text.contains("the core")).then_some(())
    })
    .await;
    friend.kill();
    let taken = world.ask(Some(&ca_file), &["test-alert"]);
    assert_eq!(said(&taken), "telegram: taken\nalertmanager: taken\n");
    let polls = world.core.polls();
    let looked = world.ask(Some(&ca_file), &["scan"]);
    assert!(world.core.polls() > polls, "scan asks the core: {}", said(&looked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_adds_no_authority_is_named_at_start_and_by_check_config() {
    let world = World::new().await;
    let place = world.dir.path();
    let write = |name: &str, content: &[u8]| {
        std::fs::write(place.join(name), content).unwrap();
        place.join(name)
    };
    let whole = std::fs::read_to_string(world.authority.file()).unwrap();
    let damaged = whole.replacen("MII", "MIJ", 1);
    assert_ne!(damaged, whole);
    for (file, wrong) in [
        (place.join("nowhere.pem"), "cannot be read: No such file or directory"),
        (place.to_owned(), "cannot be read: Is a directory"),
        (world.authority.key_file(), "holds no certificate in PEM form"),
        (write("empty.pem", b""), "holds no certificate in PEM form"),
        (write("binary.der", &[0x30, 0x82, 0xff, 0x00]), "holds no certificate in PEM form"),
        (write("cut.pem", &whole.as_bytes()[..whole.len() / 2]), "has a certificate that is cut or damaged"),
        (write("damaged.pem", damaged.as_bytes()), "its certificate number 1 cannot be used"),
        (
            write("second.pem", (whole.clone() + &damaged).as_bytes()),
            "its certificate number 2 cannot be used",
        ),
        (write("large.pem", &vec![b'\n'; (1 << 20) + 1]), "cannot be read: larger than 1048576 bytes"),
    ] {
        for verb in ["check-config", "run"] {
            let refused = world.ask(Some(&file), &[verb]);
            let told = said(&refused);
            assert_eq!(refused.status.code(), Some(64), "{verb} {}: {told}", file.display());
            let key = "orch-watchdog: 1 setting is wrong:\n  WATCHDOG_CA_FILE=";
            assert!(told.starts_with(key) && told.contains(wrong), "{verb}: {told}");
        }
    }
    let twice = write("twice.pem", (whole.clone() + "a remark\n" + &whole).as_bytes());
    let sound = world.ask(Some(&twice), &["check-config"]);
    assert_eq!(sound.status.code(), Some(0));
    assert!(
        said(&sound).contains("trusted besides the built-in certificate authorities: 2"),
        "{}",
        said(&sound)
    );
    assert!(!said(&world.ask(None, &["check-config"])).contains("certificate"));
}

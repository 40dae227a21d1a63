//! Hostile names from two sides, a process tree and the core's document, through every output of the running program:
//! log in both forms, metrics, messages, labels, and what its commands write to a terminal.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

#[expect(dead_code, reason = "of the written trees this needs one")]
mod proc_support;
#[expect(dead_code, reason = "it needs no other way to start one")]
mod program;
mod support;

use std::path::PathBuf;

use orch_contract::{
    ActorTick, Lease, LeaseOwner, ObservationDocument, OpenTask, ProcessKind, ProcessRef, QueuedJob,
    RunningJob, Standing, SupervisedTree, WaitsFor, WaitsForKind,
};
use orch_tests::fake_alertmanager::FakeAlertmanager;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::fake_telegram::FakeTelegram;
use orch_tests::tame::is_tame;
use orch_tests::{documents, tools};
use proc_support::{Fake, Tree};
use program::{Watchdog, plain, text_of};
use support::until;

const TOKEN: &str = "123456:stand-in-secret";
const CHAT: i64 = 4242;
const RUN: i32 = 600;
const COOKIE: u64 = 77;
/// Signals that the document below raises, and the process tree.
const RAISED: [&str; 8] = [
    "agent_hung",
    "agent_overrun",
    "approval_waiting",
    "core_degraded",
    "lease_stale",
    "proc_orphaned",
    "queue_stalled",
    "stage_stuck",
];
const HOUR_MS: i64 = 3_600_000;

/// Everything at once that could leave its place: escape sequences, markup, a turned line, a forged line of the log.
fn hostile(name: &str) -> String {
    let forged = "2026-01-01T00:00:00.000000Z  WARN orch_watchdog::notice: forged";
    format!(
        "{name}\u{1b}[2J\u{1b}]0;owned\u{7}</b><a href=\"x\">&lt;\u{202e}live\u{2066}\r\n{forged}\n\u{9b}31m\"}},{{\\\u{2028}`id`$(id)'\0"
    )
}

fn document(now_ms: i64) -> ObservationDocument {
    let mut document = documents::idle(now_ms);
    let long_ago = now_ms - 30 * HOUR_MS;
    let task = |name: &str, kind| OpenTask {
        work_item: hostile(name),
        repo: hostile("repo"),
        title: hostile("title"),
        stage: hostile("stage"),
        stage_since_ms: long_ago,
        standing: Standing::Waiting,
        cause: Some(hostile("cause")),
        waits_for: Some(WaitsFor { kind, name: hostile("who") }),
        until_ms: None,
    };
    let job = |job_id: i64, run_id: i64| RunningJob {
        job_id,
        run_id,
        work_item: hostile("JOB"),
        repo: hostile("repo"),
        stage: hostile("stage"),
        role: hostile("role"),
        attempt: 1,
        started_at_ms: long_ago,
        last_output_at_ms: None,
        exit_recorded_at_ms: None,
        cost_microusd: None,
        limit_ms: HOUR_MS,
        agent: None,
    };
    let run = |run_id: i64, cookie: u64| SupervisedTree {
        kind: ProcessKind::Agent,
        run_id,
        work_item: Some(hostile("RUN")),
        cookie: cookie.to_string(),
        child: None,
        pgid: None,
        sid: None,
        supervisor: None,
        started_at_ms: long_ago,
        timeout_ms: HOUR_MS,
        // ended beyond the reaper's grace while its job still runs
        ended_at_ms: Some(now_ms - HOUR_MS / 2),
        outcome: Some(hostile("outcome")),
    };
    document.core.host = hostile("host");
    document.core.version = hostile("version");
    document.actors =
        vec![ActorTick { name: hostile("actor"), period_ms: 1_000, last_tick_at_ms: Some(long_ago) }];
    document.tasks = vec![task("STUCK", WaitsForKind::Core), task("WAITS", WaitsForKind::Person)];
    // one hangs; the other speaks and takes too long
    let overrun = RunningJob { last_output_at_ms: Some(now_ms), ..job(8, 2) };
    let alive = SupervisedTree { ended_at_ms: None, outcome: None, ..run(2, COOKIE + 1) };
    document.running_jobs = vec![job(7, 1), overrun];
    document.processes = vec![run(1, COOKIE), alive];
    document.queued_jobs = vec![QueuedJob {
        job_id: 9,
        work_item: hostile("QUEUED"),
        repo: hostile("repo"),
        stage: hostile("stage"),
        role: hostile("role"),
        attempt: 1,
        reason: hostile("reason"),
        queued_at_ms: long_ago,
        not_before_ms: None,
    }];
    document.leases = vec![Lease {
        work_item: hostile("LEASED"),
        repo: hostile("repo"),
        edge: hostile("edge"),
        fencing: 3,
        acquired_at_ms: long_ago,
        owner: LeaseOwner {
            actor: hostile("owner"),
            core_boot_id: hostile("boot"),
            process: ProcessRef { pid: 1, start_ticks: 1 },
            alive: None,
        },
    }];
    document
}

/// An orphan of the ended run, with a child that calls itself all sorts of things.
fn tree() -> Tree {
    let tree = Tree::new();
    let named = |pid: i32, ppid: i32, argv: Vec<Vec<u8>>| {
        Fake::new(pid, ppid, &[]).with(|it| {
            (it.pgid, it.sid, it.start, it.cookie) = (90, 90, 100, Some(COOKIE));
            it.comm = b"\x1b[2J)\n\xff\xe2\x80\xae".to_vec();
            it.argv = argv;
            it.cgroup = "0::/machine.slice/machine-\u{1b}[31m\u{202e}</b>.scope\n".to_owned();
        })
    };
    let words: Vec<Vec<u8>> =
        vec![hostile("word").into_bytes(), b"\xff\xfe\x1b[1m".to_vec(), vec![b'\x1b'; 2 << 20]];
    tree.put(&named(RUN, 1, std::iter::once(b"pytest".to_vec()).chain(words.clone()).collect()));
    tree.put(&named(RUN + 1, RUN, words));
    tree
}

struct World {
    dir: tempfile::TempDir,
    tree: Tree,
    core: FakeCore,
    telegram: FakeTelegram,
    alertmanager: FakeAlertmanager,
}

impl World {
    async fn new() -> Self {
        let core =
            FakeCore::start(CoreBehaviour::Document(Box::new(document(now_ms()))), None).await.unwrap();
        let telegram = FakeTelegram::strict(TOKEN).await.unwrap();
        telegram.add_chat(CHAT);
        let alertmanager = FakeAlertmanager::start().await.unwrap();
        Self { dir: tempfile::tempdir().unwrap(), tree: tree(), core, telegram, alertmanager }
    }

    fn settings(&self, format: &str) -> Vec<(String, String)> {
        [
            ("WATCHDOG_STATE_DIR", self.dir.path().to_str().unwrap().to_owned()),
            ("WATCHDOG_BIND", "127.0.0.1:0".to_owned()),
            ("WATCHDOG_TICK_S", "0.2".to_owned()),
            ("WATCHDOG_LOG_FORMAT", format.to_owned()),
            ("WATCHDOG_PROC_ENABLED", "true".to_owned()),
            ("WATCHDOG_PROC_ROOT", self.tree.path().to_str().unwrap().to_owned()),
            ("WATCHDOG_PROC_ORPHAN_GRACE_S", "0.2".to_owned()),
            ("WATCHDOG_COLLECTOR_UNAVAILABLE_TICKS", "2".to_owned()),
            ("WATCHDOG_CORE_URL", self.core.url()),
            ("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN.to_owned()),
            ("WATCHDOG_TELEGRAM_CHAT_ID", CHAT.to_string()),
            ("WATCHDOG_TELEGRAM_API_URL", self.telegram.url()),
            ("WATCHDOG_ALERTMANAGER_URL", self.alertmanager.url()),
            ("WATCHDOG_HOST_LABEL", "host-1".to_owned()),
            ("TERM", "xterm".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }

    fn log(&self, format: &str) -> PathBuf {
        self.dir.path().join(format!("log-{format}"))
    }

    async fn page(&self, path: &str) -> String {
        let file = self.dir.path().join("bound-address");
        until("a page", async || {
            let answer = reqwest::get(format!("http://{}{path}", text_of(&file).trim())).await.ok()?;
            answer.text().await.ok()
        })
        .await
    }

    /// What a verb writes to a terminal; our own colours are taken off.
    fn on_terminal(&self, verb: &[&str]) -> String {
        let mut told = plain("python3");
        told.args(["-c", "import pty, sys; pty.spawn(sys.argv[1:])", env!("CARGO_BIN_EXE_orch-watchdog")]);
        told.args(verb).env_clear().env("PATH", "/usr/bin:/bin").envs(self.settings("text"));
        let output = told.stdin(std::process::Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n");
        ["0", "1", "2", "32", "33", "1;31"]
            .iter()
            .fold(text, |text, code| text.replace(&format!("\u{1b}[{code}m"), ""))
    }
}

fn now_ms() -> i64 {
    proc_identity::host::Clocks::now().realtime_ms
}

fn all_tame(what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} says nothing");
    for line in text.lines() {
        assert!(is_tame(line), "{what}: {line:?}");
        assert!(!line.starts_with("2026-01-01T"), "{what}: a forged line: {line:?}");
    }
}

async fn all_told(world: &World, log: &std::path::Path) {
    until("every signal at the Alertmanager", async || {
        let told: Vec<String> = world
            .alertmanager
            .alerts()
            .iter()
            .filter_map(|alert| alert.labels.get("signal").cloned())
            .collect();
        RAISED.iter().all(|signal| told.iter().any(|known| known == signal)).then_some(())
    })
    .await;
    // alerts of one tick share a message, with a headline each
    let headlines = |text: &str| text.matches(" · host-1").count();
    until("a headline of each in the chat and in the log", async || {
        let chat: usize = world.telegram.chat(CHAT).iter().map(|shown| headlines(&shown.text)).sum();
        (chat.min(headlines(&text_of(log))) >= RAISED.len()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_of_a_process_or_of_the_core_breaks_out_of_any_output() {
    let world = World::new().await;
    let log = world.log("text");
    let owned = world.settings("text");
    let settings: Vec<(&str, &str)> =
        owned.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let watchdog = Watchdog::start(&settings, &log);
    all_told(&world, &log).await;

    let metrics = world.page("/metrics").await;
    all_tame("the metrics", &metrics);
    let checked = tools::check_metrics(&metrics).unwrap();
    assert!(checked.status.success(), "{}", checked.all());

    for shown in world.telegram.chat(CHAT) {
        assert!(shown.marked_up, "its markup was refused: {shown:?}");
        all_tame("a message", &shown.text);
    }
    for alert in world.alertmanager.alerts() {
        for (name, value) in &alert.labels {
            assert!(is_tame(value), "label {name}: {value:?}");
        }
        for (name, value) in &alert.annotations {
            all_tame(&format!("annotation {name}"), value);
        }
    }
    let pid = RUN.to_string();
    for verb in [
        &["scan", "--tree", "--all"][..],
        &["scan", "--without-core"],
        &["scan", "--json"],
        &["explain", &pid],
        &["history"],
        &["status"],
        &["healthcheck"],
    ] {
        let text = world.on_terminal(verb);
        all_tame(&verb.join(" "), &text);
        assert!(
            verb[0] == "healthcheck" || text.contains("pytest") || text.contains("stage"),
            "{verb:?}: {text}"
        );
    }

    // an answer of the core that cannot be used is quoted, too
    let broken = serde_json::json!({ "schema_version": 1, "generated_at_ms": hostile("when") }).to_string();
    world.core.behave(CoreBehaviour::Refuses(200, broken));
    until("a core without a usable answer", async || {
        let shown = world.telegram.chat(CHAT);
        shown.iter().any(|shown| shown.text.contains("answer cannot be used")).then_some(())
    })
    .await;
    for shown in world.telegram.chat(CHAT) {
        all_tame("a message", &shown.text);
    }
    all_tame("healthz", &world.page("/healthz").await);
    assert_eq!(watchdog.stop(), Some(0));
    let text = text_of(&log);
    all_tame("the log", &text);
    assert!(!text.contains("the text was refused"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_as_objects_has_one_a_line_and_its_messages_are_tame() {
    let world = World::new().await;
    let log = world.log("json");
    let owned = world.settings("json");
    let settings: Vec<(&str, &str)> =
        owned.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let watchdog = Watchdog::start(&settings, &log);
    all_told(&world, &log).await;
    assert_eq!(watchdog.stop(), Some(0));
    let text = text_of(&log);
    for line in text.lines() {
        assert!(is_tame(line), "{line:?}");
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = object.as_object().unwrap();
        for value in fields.values().filter_map(serde_json::Value::as_str) {
            value.lines().for_each(|line| assert!(is_tame(line), "{line:?}"));
        }
    }
}

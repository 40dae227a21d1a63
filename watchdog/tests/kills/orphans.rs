//! The same kills around an orphaned process, told to a chat and to an Alertmanager at once: what is seen in `/proc`, what is
//! remembered of it and what its end decides come through a kill as the core's outage does.

#![cfg(debug_assertions)]

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_contract::{ProcessKind, SupervisedTree};
use orch_tests::documents;
use orch_tests::fake_alertmanager::{FakeAlertmanager, Told};
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::fake_telegram::FakeTelegram;
use proc_identity::{Liveness, PROC_ROOT, ProcessId, read_stat, same};

use super::{CHAT, POINTS, TOKEN, told_in};
use crate::program::{Watchdog, plain, text_of};
use crate::support::until;

/// What the other channel adds to the points of the first.
const OF_ALERTMANAGER: [&str; 3] =
    ["alertmanager.before_send", "alertmanager.after_send", "alertmanager.after_record"];

fn points() -> impl Iterator<Item = &'static str> {
    POINTS.into_iter().chain(OF_ALERTMANAGER)
}

/// As a core draws them: far beyond what a JSON number holds elsewhere.
const COOKIE: u64 = 7_422_847_562_621_305_060;

/// A core whose one run, that of the orphan, has ended.
fn after_its_run() -> CoreBehaviour {
    let mut document = documents::idle(1_700_000_000_000);
    document.processes = vec![SupervisedTree {
        kind: ProcessKind::Agent,
        run_id: 1,
        work_item: Some("ORCH-1".to_owned()),
        cookie: COOKIE.to_string(),
        child: None,
        pgid: None,
        sid: None,
        supervisor: None,
        started_at_ms: 1_600_000_000_000,
        timeout_ms: 60_000,
        ended_at_ms: Some(1_600_000_001_000),
        outcome: Some("signal 9".to_owned()),
    }];
    CoreBehaviour::Document(Box::new(document))
}

/// A process that is called like a test run and whose shell was killed; it does not outlive the test.
struct Orphan(ProcessId);

impl Orphan {
    async fn leave(folder: &Path) -> Self {
        let script = folder.join("pytest");
        std::fs::copy("/bin/sleep", &script).unwrap();
        let written = folder.join("pid");
        // a session of its own, whose leader is gone with the shell
        let mut shell = plain("setsid");
        shell.args([
            "prlimit",
            &format!("--locks={COOKIE}"),
            "sh",
            "-c",
            r#""$0" 600 & echo $! > "$1.new"; mv "$1.new" "$1"; wait"#,
        ]);
        let mut shell = shell.arg(&script).arg(&written).spawn().unwrap();
        let pid = until("the run", async || text_of(&written).trim().parse::<i32>().ok()).await;
        let id = read_stat(Path::new(PROC_ROOT), pid).unwrap().id();
        shell.kill().unwrap();
        shell.wait().unwrap();
        std::fs::remove_file(&written).unwrap();
        Self(id)
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if same(Path::new(PROC_ROOT), self.0) == Liveness::Alive {
            kill(Pid::from_raw(self.0.pid), Signal::SIGKILL).ok();
        }
    }
}

struct World {
    dir: tempfile::TempDir,
    core: FakeCore,
    telegram: FakeTelegram,
    alertmanager: FakeAlertmanager,
}

impl World {
    async fn new() -> Self {
        let telegram = FakeTelegram::strict(TOKEN).await.unwrap();
        telegram.add_chat(CHAT);
        let alertmanager = FakeAlertmanager::start().await.unwrap();
        let core = FakeCore::start(after_its_run(), None).await.unwrap();
        Self { dir: tempfile::tempdir().unwrap(), core, telegram, alertmanager }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn start(&self, failpoint: &str) -> Watchdog {
        self.start_with(&[("WATCHDOG_FAILPOINT", failpoint)])
    }

    /// The last of two values of one setting counts.
    fn start_with(&self, more: &[(&str, &str)]) -> Watchdog {
        let (telegram_url, alertmanager_url) = (self.telegram.url(), self.alertmanager.url());
        let core_url = self.core.url();
        // only this world's own orphan: others of the host are not looked for
        let pattern = format!("re:^{}/pytest ", self.dir.path().display());
        let settings = [
            ("WATCHDOG_STATE_DIR", self.dir.path().to_str().unwrap()),
            ("WATCHDOG_BIND", "127.0.0.1:0"),
            ("WATCHDOG_TICK_S", "0.2"),
            // the stand-in's documents are of a fixed time
            ("WATCHDOG_CORE_DEGRADED_ENABLED", "false"),
            ("WATCHDOG_CORE_URL", &core_url),
            ("WATCHDOG_PROC_ENABLED", "true"),
            ("WATCHDOG_PROC_PATTERNS", &pattern),
            ("WATCHDOG_PROC_ORPHAN_GRACE_S", "0.1"),
            ("WATCHDOG_PROC_FOREIGN_GRACE_S", "0.1"),
            ("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN),
            ("WATCHDOG_TELEGRAM_CHAT_ID", "4242"),
            ("WATCHDOG_TELEGRAM_API_URL", &telegram_url),
            ("WATCHDOG_ALERTMANAGER_URL", &alertmanager_url),
        ];
        Watchdog::start(&[&settings[..], more].concat(), &self.log())
    }

    async fn met(&self, mut watchdog: Watchdog, point: &str) {
        until(point, async || watchdog.child.try_wait().unwrap().map(drop)).await;
        assert!(text_of(&self.log()).contains("fail point"), "{point}: {}", text_of(&self.log()));
    }

    fn told(&self) -> (usize, usize) {
        told_in(&self.telegram.chat(CHAT))
    }

    /// The one alert that the Alertmanager knows, once it holds that.
    async fn held(&self, what: &str, holds: impl Fn(&Told) -> bool) {
        until(&format!("{what}; it holds {:?}", self.alertmanager.alerts()), async || {
            let alerts = self.alertmanager.alerts();
            let [one] = alerts.as_slice() else { return None };
            (one.labels["signal"] == "proc_orphaned" && holds(one)).then_some(())
        })
        .await;
    }

    async fn alert(&self) {
        until("the alert", async || (self.told().0 > 0).then_some(())).await;
        self.held("the alert fires", fires).await;
    }

    async fn recovery(&self) {
        until("the recovery", async || (self.told().1 > 0).then_some(())).await;
        self.held("the alert is over", |one| !fires(one)).await;
    }

    /// Nothing waits any more, in memory or on the disk.
    async fn settled(&self) {
        until("an empty outbox", async || {
            let state: serde_json::Value =
                serde_json::from_str(&text_of(&self.dir.path().join("state.json"))).ok()?;
            let waiting = state.pointer("/state/outbox/entries").or(state.pointer("/outbox/entries"))?;
            waiting.as_array()?.is_empty().then_some(())
        })
        .await;
    }
}

fn fires(alert: &Told) -> bool {
    alert.ends_at.parse::<jiff::Timestamp>().unwrap() > jiff::Timestamp::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_around_the_alert_of_an_orphan_it_is_told_once_or_twice_and_its_end_once() {
    for point in points() {
        let world = World::new().await;
        let orphan = Orphan::leave(world.dir.path()).await;
        let killed = world.start(&format!("{point}:alert"));
        world.met(killed, point).await;
        let _watchdog = world.start("");
        world.alert().await;
        world.settled().await;
        drop(orphan);
        world.recovery().await;
        world.settled().await;
        let (alerts, ends) = world.told();
        assert!((1..=2).contains(&alerts) && ends == 1, "{point}: {:?}", world.telegram.chat(CHAT));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_around_the_end_of_an_orphan_it_is_told_once_or_twice_and_its_alert_once() {
    for point in points() {
        let world = World::new().await;
        let orphan = Orphan::leave(world.dir.path()).await;
        let killed = world.start(&format!("{point}:recovered"));
        world.alert().await;
        world.settled().await;
        drop(orphan);
        world.met(killed, point).await;
        let _watchdog = world.start("");
        world.recovery().await;
        world.settled().await;
        let (alerts, ends) = world.told();
        assert!((1..=2).contains(&ends) && alerts == 1, "{point}: {:?}", world.telegram.chat(CHAT));
    }
}

/// With a tick of 5 s one alert in twelve came a tick late: the tick at the end of the grace was a millisecond too early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphan_is_told_when_its_grace_is_over_and_not_with_the_next_tick() {
    let world = World::new().await;
    let orphan = Orphan::leave(world.dir.path()).await;
    // no second tick comes within the patience of this test
    let _watchdog = world.start_with(&[("WATCHDOG_TICK_S", "600"), ("WATCHDOG_PROC_ORPHAN_GRACE_S", "1")]);
    world.alert().await;
    drop(orphan);
    world.recovery().await;
}

//! SIGKILL of the real program at labelled points and at any moment, around decide, save, send and
//! record: no alert lost, no recovery lost, at most one duplicate a kill.

mod orphans;

use std::time::Duration;

use orch_tests::documents;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::fake_telegram::{FakeTelegram, Shown};

use crate::program::{Watchdog, text_of};
use crate::support::until;

const TOKEN: &str = "123456:stand-in-secret";
const CHAT: i64 = 4242;

struct World {
    dir: tempfile::TempDir,
    core: FakeCore,
    telegram: FakeTelegram,
}

impl World {
    async fn new() -> Self {
        let core = FakeCore::start(alive(), None).await.unwrap();
        let telegram = FakeTelegram::strict(TOKEN).await.unwrap();
        telegram.add_chat(CHAT);
        Self { dir: tempfile::tempdir().unwrap(), core, telegram }
    }

    fn start(&self, failpoint: &str) -> Watchdog {
        let (core_url, telegram_url) = (self.core.url(), self.telegram.url());
        let settings = [
            ("WATCHDOG_STATE_DIR", self.dir.path().to_str().unwrap()),
            ("WATCHDOG_BIND", "127.0.0.1:0"),
            // a poll may take as long as a tick: on a busy machine a shorter one looks like an outage that flaps
            ("WATCHDOG_TICK_S", "0.25"),
            ("WATCHDOG_CORE_DOWN_POLLS", "1"),
            // the stand-in's documents are of a fixed time
            ("WATCHDOG_CORE_DEGRADED_ENABLED", "false"),
            ("WATCHDOG_CORE_URL", &core_url),
            ("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN),
            ("WATCHDOG_TELEGRAM_CHAT_ID", "4242"),
            ("WATCHDOG_TELEGRAM_API_URL", &telegram_url),
            ("WATCHDOG_FAILPOINT", failpoint),
        ];
        Watchdog::start(&settings, &self.log())
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("log")
    }

    fn told(&self) -> (usize, usize) {
        told_in(&self.telegram.chat(CHAT))
    }

    async fn alert(&self) {
        until("the alert", async || (self.told().0 > 0).then_some(())).await;
    }

    async fn recovery(&self) {
        until("the recovery", async || (self.told().1 > 0).then_some(())).await;
    }

    /// Long enough for a second message, were there one.
    async fn settled(&self) {
        let goal = self.core.polls() + 4;
        until("some ticks", async || (self.core.polls() >= goal).then_some(())).await;
    }
}

/// How many messages tell an alert, and how many its end; one that tells both is an end.
fn told_in(messages: &[Shown]) -> (usize, usize) {
    let ends = messages.iter().filter(|message| message.text.starts_with("🟢")).count();
    (messages.len() - ends, ends)
}

fn alive() -> CoreBehaviour {
    CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)))
}

fn down() -> CoreBehaviour {
    CoreBehaviour::Refuses(500, "broken".to_owned())
}

#[cfg(debug_assertions)]
const POINTS: [&str; 7] = [
    "tick.after_decide",
    "state.before_write",
    "state.before_rename",
    "state.after_rename",
    "telegram.before_send",
    "telegram.after_send",
    "telegram.after_record",
];

#[cfg(debug_assertions)]
async fn met(world: &World, watchdog: Watchdog, point: &str) {
    let mut watchdog = watchdog;
    until(point, async || watchdog.child.try_wait().unwrap().map(drop)).await;
    assert!(text_of(&world.log()).contains("fail point"), "{point}: {}", text_of(&world.log()));
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_around_an_alert_it_is_told_once_or_twice_and_its_end_once() {
    for point in POINTS {
        let world = World::new().await;
        world.core.behave(down());
        let killed = world.start(&format!("{point}:alert"));
        met(&world, killed, point).await;
        let _watchdog = world.start("");
        world.alert().await;
        world.settled().await;
        world.core.behave(alive());
        world.recovery().await;
        world.settled().await;
        let (alerts, ends) = world.told();
        assert!((1..=2).contains(&alerts) && ends == 1, "{point}: {:?}", world.telegram.chat(CHAT));
    }
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_around_a_recovery_it_is_told_once_or_twice_and_its_alert_once() {
    for point in POINTS {
        let world = World::new().await;
        world.core.behave(down());
        let killed = world.start(&format!("{point}:recovered"));
        world.alert().await;
        world.settled().await;
        world.core.behave(alive());
        met(&world, killed, point).await;
        let _watchdog = world.start("");
        world.recovery().await;
        world.settled().await;
        let (alerts, ends) = world.told();
        assert!((1..=2).contains(&ends) && alerts == 1, "{point}: {:?}", world.telegram.chat(CHAT));
    }
}

/// Moments spread over the first ticks, the same in each run of the test.
fn moments() -> impl Iterator<Item = Duration> {
    let mut seed: u64 = 0x5eed;
    std::iter::repeat_with(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((seed >> 33) % 250)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_nothing_is_lost_and_each_kill_doubles_one_message_at_most() {
    let mut moments = moments();
    for _ in 0..8 {
        let world = World::new().await;
        world.core.behave(down());
        let first = world.start("");
        // the moment itself is what is tried: there is no condition to wait for
        tokio::time::sleep(moments.next().unwrap()).await;
        first.kill();
        let second = world.start("");
        world.alert().await;
        world.core.behave(alive());
        tokio::time::sleep(moments.next().unwrap() / 2).await;
        second.kill();
        let _third = world.start("");
        world.recovery().await;
        world.settled().await;
        let (alerts, ends) = world.told();
        let shown = world.telegram.chat(CHAT);
        assert!(alerts >= 1 && ends >= 1 && alerts + ends <= 4, "{shown:?}");
        assert!(shown.last().is_some_and(|last| last.text.starts_with("🟢")), "{shown:?}");
    }
}

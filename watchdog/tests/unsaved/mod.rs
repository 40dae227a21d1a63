//! The real program on a state directory that takes nothing, does not answer, or holds what cannot be
//! read: people are told all the same, and nothing is lost once the disk is well again.

use std::fs;
use std::path::PathBuf;

use orch_tests::documents;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::fake_telegram::FakeTelegram;

use crate::program::{Watchdog, ask, text_of};
use crate::support::until;

const TOKEN: &str = "123456:stand-in-secret";
const CHAT: i64 = 4242;

struct World {
    /// Log, and what the program must not find in its state directory.
    place: tempfile::TempDir,
    core: FakeCore,
    telegram: FakeTelegram,
    core_url: String,
    telegram_url: String,
    state: PathBuf,
}

impl World {
    async fn new() -> Self {
        let core = FakeCore::start(alive(), None).await.unwrap();
        let telegram = FakeTelegram::strict(TOKEN).await.unwrap();
        telegram.add_chat(CHAT);
        let (core_url, telegram_url) = (core.url(), telegram.url());
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        fs::create_dir(&state).unwrap();
        Self { place, core, telegram, core_url, telegram_url, state }
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("WATCHDOG_STATE_DIR", self.state.to_str().unwrap()),
            ("WATCHDOG_BIND", "127.0.0.1:0"),
            ("WATCHDOG_TICK_S", "0.1"),
            ("WATCHDOG_CORE_DOWN_POLLS", "1"),
            ("WATCHDOG_CORE_DEGRADED_ENABLED", "false"),
            ("WATCHDOG_CORE_URL", &self.core_url),
            ("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN),
            ("WATCHDOG_TELEGRAM_CHAT_ID", "4242"),
            ("WATCHDOG_TELEGRAM_API_URL", &self.telegram_url),
            ("NO_COLOR", "1"),
        ]
    }

    fn log(&self) -> PathBuf {
        self.place.path().join("log")
    }

    /// A new life with a log of its own.
    fn start(&self, more: &[(&str, &str)]) -> Watchdog {
        fs::remove_file(self.log()).ok();
        Watchdog::start(&[&self.settings(), more].concat(), &self.log())
    }

    /// Takes the place of every file that the program would write.
    fn block(&self) {
        for name in ["lock", "state.json.new", "bound-address.new"] {
            let path = self.state.join(name);
            fs::remove_file(&path).ok();
            fs::create_dir(path).unwrap();
        }
    }

    fn unblock(&self) {
        for name in ["lock", "state.json.new", "bound-address.new"] {
            fs::remove_dir(self.state.join(name)).unwrap();
        }
    }

    /// How many messages tell an alert, and how many its end.
    fn told(&self) -> (usize, usize) {
        let messages = self.telegram.chat(CHAT);
        let ends = messages.iter().filter(|message| message.text.starts_with("🟢")).count();
        (messages.len() - ends, ends)
    }

    async fn told_at_least(&self, alerts: usize, ends: usize) {
        until("messages", async || {
            let told = self.told();
            (told.0 >= alerts && told.1 >= ends).then_some(())
        })
        .await;
    }

    /// A page of the watchdog; its log says where, since its directory may not.
    async fn page(&self, path: &str) -> (u16, String) {
        let address = until("an address in the log", async || {
            let log = text_of(&self.log());
            let line = log.lines().rfind(|line| line.contains("watching") && line.contains("127.0.0.1:"))?;
            let from = &line[line.find("127.0.0.1:")?..];
            let of_address = |letter: char| letter.is_ascii_digit() || letter == '.' || letter == ':';
            Some(from.split(|letter| !of_address(letter)).next()?.to_owned())
        })
        .await;
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn healthz(&self, words: &str) {
        until(words, async || self.page("/healthz").await.1.contains(words).then_some(())).await;
    }

    async fn saved(&self) {
        until("a state on disk", async || {
            self.page("/metrics").await.1.contains("state_saved 1").then_some(())
        })
        .await;
    }
}

fn alive() -> CoreBehaviour {
    CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)))
}

fn down() -> CoreBehaviour {
    CoreBehaviour::Refuses(500, "broken".to_owned())
}

/// The core is well: nothing but the disk is told, by the chat that people read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_nothing_is_told_in_the_chat_and_so_is_its_return() {
    let world = World::new().await;
    world.block();
    let watchdog = world.start(&[("WATCHDOG_STATE_UNSAVED_AGE_S", "0.3")]);
    world.told_at_least(1, 0).await;
    let alert = world.telegram.chat(CHAT).first().unwrap().text.clone();
    assert!(alert.contains("cannot save its state") && alert.contains("state.json.new"), "{alert}");
    assert!(alert.contains("orch-watchdog check-config"), "{alert}");
    world.unblock();
    world.told_at_least(1, 1).await;
    let end = world.telegram.chat(CHAT).last().unwrap().text.clone();
    assert!(end.contains("unsaved state of the watchdog") && end.contains("it is saved again"), "{end}");
    assert_eq!(world.told(), (1, 1));
    // and the next life, which finds its state, has nothing to add
    world.saved().await;
    watchdog.kill();
    let _watchdog = world.start(&[("WATCHDOG_STATE_UNSAVED_AGE_S", "0.3")]);
    world.healthz("ok").await;
    assert_eq!(world.told(), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_can_be_written_it_watches_says_so_and_saves_once_it_can() {
    let world = World::new().await;
    world.block();
    world.core.behave(down());
    let watchdog = world.start(&[]);
    world.told_at_least(1, 0).await;
    world.healthz("the state is not saved for ").await;
    assert_eq!(world.page("/healthz").await.0, 503);
    assert!(world.page("/metrics").await.1.contains("orch_watchdog_state_saved 0"));
    let second = ask(&world.settings(), &["run"]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("its lock is held; nobody has signed it"),
        "{second:?}"
    );
    world.unblock();
    // nothing changes any more: it tries by itself
    world.saved().await;
    until("health", async || (world.page("/healthz").await.0 == 200).then_some(())).await;
    watchdog.kill();
    world.core.behave(alive());
    let _watchdog = world.start(&[]);
    world.told_at_least(1, 1).await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_does_not_answer_silences_nobody_and_a_stop_does_not_wait_for_it() {
    let world = World::new().await;
    let hang = world.place.path().join("hang");
    let point = format!("state.before_write={}", hang.display());
    let watchdog = world.start(&[("WATCHDOG_HANGPOINT", &point)]);
    world.saved().await;
    fs::write(&hang, "").unwrap();
    world.core.behave(down());
    world.told_at_least(1, 0).await;
    world.healthz("a save takes longer than 5 s").await;
    assert!(world.page("/metrics").await.1.contains("orch_watchdog_state_writes_late_total 1"));
    world.core.behave(alive());
    world.told_at_least(1, 1).await;
    fs::remove_file(&hang).unwrap();
    world.saved().await;
    assert_eq!(world.told(), (1, 1));
    // and once more, without an end
    fs::write(&hang, "").unwrap();
    world.core.behave(down());
    world.healthz("a save takes longer than 5 s").await;
    let mut watchdog = watchdog;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(watchdog.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ended = until("its end", async || watchdog.child.try_wait().unwrap()).await;
    assert_eq!(ended.code(), Some(0));
    assert!(text_of(&world.log()).contains("the state could not be saved at the end"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_cannot_be_looked_at_is_kept_and_its_cases_recover_once_it_can() {
    let world = World::new().await;
    world.core.behave(down());
    let watchdog = world.start(&[]);
    world.told_at_least(1, 0).await;
    assert_eq!(watchdog.stop(), Some(0));
    let (path, hidden) = (world.state.join("state.json"), world.state.join("hidden"));
    fs::rename(&path, &hidden).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(ask(&world.settings(), &["history"]).status.code(), Some(1));
    let refused = ask(&world.settings(), &["mute", "core_down", "1h"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");

    world.core.behave(alive());
    let _watchdog = world.start(&[]);
    world.healthz("it is no regular file").await;
    assert_eq!(world.told(), (1, 0), "what it could not look at has no end");
    fs::rename(&hidden, &path).unwrap();
    world.told_at_least(1, 1).await;
    world.saved().await;
    assert_eq!(world.told(), (1, 1));
    let strangers = fs::read_dir(&world.state).unwrap().map(|entry| entry.unwrap().file_name());
    let aside = strangers.filter(|name| name.to_string_lossy().contains("unreadable")).count();
    assert_eq!(aside, 0, "nothing was set aside");
}

//! Commands by chat: the real program against a Telegram that keeps updates until they are
//! confirmed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod program;
mod support;

use orch_tests::documents;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::fake_telegram::{FakeTelegram, Shown};
use program::{Watchdog, ask, plain, text_of};
use support::until;

const TOKEN: &str = "123456:stand-in-secret";
const CHAT: i64 = -4242;
const OTHER_CHAT: i64 = 77;
const LISTED: i64 = 7;
const STRANGER: i64 = 8;

struct World {
    dir: tempfile::TempDir,
    core: FakeCore,
    telegram: FakeTelegram,
    core_url: String,
    telegram_url: String,
}

impl World {
    async fn new() -> Self {
        let alive = CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)));
        let core = FakeCore::start(alive, None).await.unwrap();
        let telegram = FakeTelegram::strict(TOKEN).await.unwrap();
        telegram.add_chat(CHAT);
        telegram.add_chat(OTHER_CHAT);
        let (core_url, telegram_url) = (core.url(), telegram.url());
        Self { dir: tempfile::tempdir().unwrap(), core, telegram, core_url, telegram_url }
    }

    /// Without commands.
    fn plain_settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("WATCHDOG_STATE_DIR", self.dir.path().to_str().unwrap()),
            ("WATCHDOG_BIND", "127.0.0.1:0"),
            ("WATCHDOG_TICK_S", "0.1"),
            // the stand-in's documents are of a fixed time
            ("WATCHDOG_CORE_DEGRADED_ENABLED", "false"),
            ("WATCHDOG_CORE_URL", &self.core_url),
            ("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN),
            ("WATCHDOG_TELEGRAM_CHAT_ID", "-4242"),
            ("WATCHDOG_TELEGRAM_API_URL", &self.telegram_url),
            ("WATCHDOG_HOST_LABEL", "host-1"),
        ]
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        let mut settings = self.plain_settings();
        settings.push(("WATCHDOG_TELEGRAM_COMMANDS_ENABLED", "true"));
        settings.push(("WATCHDOG_TELEGRAM_COMMANDS_USER_IDS", "5, 7"));
        settings
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("log")
    }

    /// A watchdog that listens, and has fetched what waited.
    async fn start(&self) -> Watchdog {
        let watchdog = Watchdog::start(&self.settings(), &self.log());
        let polls = self.telegram.polls();
        until("a second poll", async || (self.telegram.polls() >= polls + 2).then_some(())).await;
        watchdog
    }

    /// The core is down, and its alert with buttons in the chat.
    async fn alert(&self) -> Shown {
        self.core.behave(CoreBehaviour::Refuses(500, "broken".to_owned()));
        self.message("the alert", |shown| shown.text.starts_with("🔴 the core does not answer")).await
    }

    async fn message(&self, what: &str, is: impl Fn(&Shown) -> bool) -> Shown {
        until(what, async || self.telegram.chat(CHAT).into_iter().find(&is)).await
    }

    /// What is answered to a message.
    async fn answer(&self, to: i32) -> String {
        self.message("an answer", |shown| shown.reply_to == Some(to)).await.text
    }

    /// Somebody listed says something now; what is answered.
    async fn command(&self, text: &str) -> String {
        let number = self.say(LISTED, CHAT, text);
        self.answer(number).await
    }

    /// A message that the chat keeps, so that it can be replied to.
    fn say(&self, user: i64, chat: i64, text: &str) -> i32 {
        self.telegram.say(chat, user, text, jiff::Timestamp::now().as_second())
    }

    async fn dealt_with(&self) {
        until("no update waits", async || (self.telegram.unconfirmed() == 0).then_some(())).await;
    }

    fn status(&self) -> String {
        String::from_utf8(ask(&self.settings(), &["status"]).stdout).unwrap()
    }

    async fn metric(&self, line: &str) {
        until(line, async || {
            let address = text_of(&self.dir.path().join("bound-address"));
            let answer = reqwest::get(format!("http://{}/metrics", address.trim())).await.ok()?;
            answer.text().await.ok()?.contains(line).then_some(())
        })
        .await;
    }
}

fn data(shown: &Shown) -> Vec<&str> {
    shown.buttons.iter().map(|button| button.data.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_person_commands_by_typing_and_is_answered() {
    let world = World::new().await;
    let watchdog = world.start().await;
    assert_eq!(world.command("/status").await, "nothing fires");
    assert!(world.command("/mute@StandIn_bot core_down 1h").await.starts_with("muted core_down until "));
    assert!(world.status().contains("muted: core_down until "), "{}", world.status());
    assert!(world.command("/mute core_dwn 1h").await.contains("did you mean core_down?"));
    assert_eq!(world.command("/unmute core_down").await, "ended: core_down");
    assert!(world.command("/help").await.contains("mute SIGNAL|ID DURATION"));
    assert!(world.command("/scan").await.contains("WATCHDOG_PROC_ENABLED=false"));
    let history = ask(&world.settings(), &["history"]);
    assert!(String::from_utf8_lossy(&history.stdout).contains("somebody (7)"), "{history:?}");
    world.metric("orch_watchdog_commands_total{outcome=\"done\",way=\"chat\"} 3").await;
    world.metric("orch_watchdog_commands_total{outcome=\"malformed\",way=\"chat\"} 1").await;
    // what is not for us is left alone
    world.say(LISTED, CHAT, "/mute@other_bot core_down 1h");
    world.say(LISTED, CHAT, "mute core_down 1h");
    world.telegram.strange_update();
    let shown = world.telegram.chat(CHAT).len();
    assert_eq!(world.command("/status").await, "nothing fires");
    assert_eq!(world.telegram.chat(CHAT).len(), shown + 1);
    assert_eq!(watchdog.stop(), Some(0));
    assert!(!text_of(&world.log()).contains("stand-in-secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_words_and_presses_change_nothing_and_are_counted() {
    let world = World::new().await;
    let _watchdog = world.start().await;
    let alert = world.alert().await;
    let before = world.status();
    let shown = world.telegram.messages().len();
    world.say(STRANGER, CHAT, "/mute core_down 1h");
    world.say(LISTED, OTHER_CHAT, "/mute core_down 1h");
    assert!(world.telegram.press(CHAT, STRANGER, alert.message_id, "ack c1"));
    world.telegram.forge_press(OTHER_CHAT, LISTED, alert.message_id, "ack c1");
    world.metric("orch_watchdog_commands_total{outcome=\"forbidden\",way=\"chat\"} 4").await;
    world.dealt_with().await;
    assert_eq!(world.status(), before);
    assert_eq!(world.telegram.messages().len(), shown, "a stranger is not answered");
    assert_eq!(world.telegram.press_answers(), ["you are not on the list of those who may"]);
    assert_eq!(world.telegram.chat(CHAT)[0].buttons, alert.buttons);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buttons_mute_and_acknowledge_the_case_that_they_name_and_go_when_they_are_used() {
    let world = World::new().await;
    let _watchdog = world.start().await;
    let alert = world.alert().await;
    assert!(alert.text.lines().next().unwrap().ends_with(" · host-1 · c1"), "{}", alert.text);
    assert_eq!(data(&alert), ["ack c1", "mute c1"]);
    let press = |data: &'static str| assert!(world.telegram.press(CHAT, LISTED, alert.message_id, data));
    let left = async |expected: &[&str]| {
        let same = |shown: &Shown| shown.message_id == alert.message_id && data(shown) == expected;
        world.message("the buttons to change", same).await;
    };
    press("mute c1");
    left(&["ack c1"]).await;
    press("ack c1");
    left(&[]).await;
    let answers = world.telegram.press_answers();
    assert!(answers[0].starts_with("muted c1 (core_down, core) until "), "{answers:?}");
    assert!(answers[1].starts_with("acknowledged until it is over or gets worse: c1 "), "{answers:?}");
    let status = world.status();
    assert!(status.contains("[muted; acknowledged by somebody (7)]"), "{status}");
    // a forged press of a case that never was
    world.telegram.forge_press(CHAT, LISTED, alert.message_id, "ack c99");
    world.telegram.forge_press(CHAT, LISTED, alert.message_id, "format c:");
    let answers = until("four answers", async || {
        Some(world.telegram.press_answers()).filter(|answers| answers.len() == 4)
    })
    .await;
    assert!(answers[2].starts_with("no case c99") && answers[3] == "no such button", "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_while_nobody_listened_is_answered_and_not_done() {
    let world = World::new().await;
    let watchdog = world.start().await;
    let alert = world.alert().await;
    watchdog.kill();
    let long_ago = jiff::Timestamp::now().as_second() - 3_600;
    let said = world.telegram.say(CHAT, LISTED, "/mute core_down 1h", long_ago);
    let just_now = world.say(LISTED, CHAT, "/status");
    assert!(world.telegram.press(CHAT, LISTED, alert.message_id, "ack c1"));
    let _watchdog = world.start().await;
    let answer = world.answer(said).await;
    assert!(answer.starts_with("not done: this arrived 1 h "), "{answer}");
    assert!(world.answer(just_now).await.contains("core_down"), "what was said just now is done");
    world.dealt_with().await;
    assert!(world.telegram.press_answers()[0].contains("press again"));
    let status = world.status();
    assert!(!status.contains("muted") && !status.contains("acknowledged"), "{status}");
    world.metric("orch_watchdog_commands_total{outcome=\"late\",way=\"chat\"} 2").await;
    // and pressed again it is done
    assert!(world.telegram.press(CHAT, LISTED, alert.message_id, "ack c1"));
    until("the acknowledgement", async || world.status().contains("acknowledged").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_was_dealt_with_is_not_done_again_after_a_kill() {
    let world = World::new().await;
    let watchdog = world.start().await;
    assert!(world.command("/mute core_down 1h").await.starts_with("muted "));
    until("the number of the next update on disk", async || {
        text_of(&world.dir.path().join("state.json")).contains("\"next_update\":870002").then_some(())
    })
    .await;
    watchdog.kill();
    let shown = world.telegram.chat(CHAT).len();
    let _watchdog = world.start().await;
    world.dealt_with().await;
    assert_eq!(world.command("/unmute core_down").await, "ended: core_down");
    assert_eq!(world.telegram.chat(CHAT).len(), shown + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_poller_is_told_in_words_and_counted_and_given_way_to() {
    let world = World::new().await;
    let _watchdog = world.start().await;
    world.telegram.set_webhook(true);
    world.metric("orch_watchdog_chat_poll_failures_total{reason=\"conflict\"} 1").await;
    let log = text_of(&world.log());
    assert!(log.contains("another program fetches the updates of this bot"), "{log}");
    world.telegram.set_webhook(false);
    assert_eq!(world.command("/status").await, "nothing fires");
    // the poll that confirms the command is under way; one of another program ends it in the same way
    world.dealt_with().await;
    world.telegram.other_poller();
    world.metric("orch_watchdog_chat_poll_failures_total{reason=\"conflict\"} 2").await;
    assert_eq!(world.command("/status").await, "nothing fires");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_switch_nobody_polls_and_no_message_has_buttons() {
    let world = World::new().await;
    let _watchdog = Watchdog::start(&world.plain_settings(), &world.log());
    let alert = world.alert().await;
    assert!(alert.buttons.is_empty() && alert.text.lines().next().unwrap().ends_with(" · host-1"));
    assert_eq!(world.telegram.polls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_looks_at_the_host_at_once() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.push(("WATCHDOG_PROC_ENABLED", "true"));
    settings.push(("WATCHDOG_PROC_PATTERNS", "no-such-program-anywhere"));
    let _watchdog = Watchdog::start(&settings, &world.log());
    let answer = world.command("/scan").await;
    let said = String::from_utf8(ask(&settings, &["scan"]).stdout).unwrap();
    let (first, said_first) = (answer.lines().next().unwrap(), said.lines().next().unwrap());
    // processes come and go in between
    let words = |line: &str| line.replace(|sign: char| sign.is_ascii_digit(), "");
    assert_eq!(words(first), words(said_first), "{answer}\n{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_and_a_mistake_are_answered_in_the_language_of_the_chat() {
    let world = World::new().await;
    world.core.behave(CoreBehaviour::Refuses(500, "broken".to_owned()));
    let mut settings = world.settings();
    settings.push(("WATCHDOG_LOCALE", "ru"));
    settings.push(("WATCHDOG_PROC_ENABLED", "true"));
    // a process of our own, which is old enough after 60 ms
    settings.push(("WATCHDOG_PROC_PATTERNS", "re:^sleep 98761$"));
    settings.push(("WATCHDOG_PROC_AGE_MIN", "0.001"));
    let mut sleeper = plain("sleep").arg("98761").spawn().unwrap();
    let _watchdog = Watchdog::start(&settings, &world.log());
    let answer = world.command("/scan").await;
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let has = |words: &str| assert!(answer.contains(words), "{words:?} in {answer}");
    has("требуют внимания: ");
    has(" (прочитано процессов: ");
    has("orch-core не слышно: код 500; владельцы неизвестны");
    has(" · sleep 98761 · ");
    has(&format!("\n  {} ", sleeper.id()));
    has("  признак: ");
    for english in ["need a look", "readable", "the core", "owner", "evidence", "process", "unknown"] {
        assert!(!answer.contains(english), "{english:?} in {answer}");
    }
    let answer = world.command("/mute core_down").await;
    assert!(answer.starts_with("не сказано, надолго ли: mute SIGNAL|ID DURATION"), "{answer}");
    let answer = world.command("/mute core_down 59s").await;
    assert!(answer.starts_with("«59s» не годится как длительность: самая короткая — 1m"), "{answer}");
}

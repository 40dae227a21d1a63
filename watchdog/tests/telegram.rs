//! The Telegram channel against a stand-in that keeps messages and limits.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use orch_tests::fake_telegram::{FakeTelegram, Fault, Outage, Rate};
use orch_watchdog::cases::{Notice, NoticeKind, Policy, decide};
use orch_watchdog::config::{Chat, TelegramConfig};
use orch_watchdog::keeper::{Keeper, Worth};
use orch_watchdog::notify::Channel;
use orch_watchdog::notify::buttons::Button;
use orch_watchdog::notify::compose::Message;
use orch_watchdog::notify::delivery::{
    self, Buttons, ChannelReport, Delivery, Outcome, Sender as _, SharedReport,
};
use orch_watchdog::notify::outbox::MessageRef;
use orch_watchdog::notify::telegram::TelegramSender;
use orch_watchdog::notify::text::{Locale, Voice};
use orch_watchdog::notify::wait::Wait;
use orch_watchdog::signals::{
    AgentHungFacts, CoreDownFacts, Ending, Entity, Facts, Finding, HangCause, Severity, SignalKind,
    SignalState,
};
use orch_watchdog::store::{self, MovedChat, Store};
use orch_watchdog::trust::Trust;
use support::until;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "123456:stand-in-secret";
const CHAT: i64 = -5;

/// A delivery at work.
struct Line {
    telegram: FakeTelegram,
    keeper: Keeper,
    report: SharedReport,
    unpark: Arc<Notify>,
    stop: CancellationToken,
    dir: tempfile::TempDir,
}

impl Line {
    async fn new() -> Self {
        let line = Self::idle().await;
        line.deliver();
        line
    }

    /// Without a loop that delivers.
    async fn idle() -> Self {
        let telegram = FakeTelegram::strict(TOKEN).await.unwrap();
        telegram.add_chat(CHAT);
        let dir = tempfile::tempdir().unwrap();
        let opened = Store::open(dir.path(), 0).unwrap();
        let (keeper, _writer) = Keeper::start(Arc::new(opened.store), opened.state).unwrap();
        Self {
            telegram,
            keeper,
            report: SharedReport::default(),
            unpark: Arc::default(),
            stop: CancellationToken::new(),
            dir,
        }
    }

    fn deliver(&self) {
        let settings = TelegramConfig {
            bot_token: TOKEN.into(),
            chat: Chat::Id(CHAT),
            api_url: self.telegram.url(),
            commands: None,
        };
        let moved = self.keeper.read(|state| state.moved_chat);
        let sender = TelegramSender::new(&settings, moved, &Trust::default()).unwrap();
        let voice = Voice { host: "h".into(), runbook_url: None, locale: Locale::English };
        let delivery = Delivery {
            keeper: self.keeper.clone(),
            voice,
            buttons: Buttons::None,
            report: self.report.clone(),
            unpark: Arc::clone(&self.unpark),
            stop: self.stop.clone(),
        };
        tokio::spawn(delivery::run(delivery, sender));
    }

    fn tell(&self, jobs: &[i64], kind: &NoticeKind) {
        self.keeper.change(|state| {
            for job in jobs {
                state.outbox.push(&[Channel::Telegram], &notice(*job, kind.clone()));
            }
            ((), Worth::Saving)
        });
    }

    async fn told(&self, chat: i64, count: usize) -> Vec<orch_tests::fake_telegram::Shown> {
        until("messages", async || {
            let messages = self.telegram.chat(chat);
            (messages.len() >= count && self.waiting() == 0).then_some(messages)
        })
        .await
    }

    fn waiting(&self) -> usize {
        self.keeper.read(|state| state.outbox.depth(Channel::Telegram))
    }

    async fn report(&self, what: &str, holds: impl Fn(&ChannelReport) -> bool) -> ChannelReport {
        until(what, async || Some(self.report.read()).filter(&holds)).await
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn notice(job: i64, kind: NoticeKind) -> Notice {
    let facts = CoreDownFacts {
        reason: format!("<{job}>").into(),
        last_heard_ms: None,
        work_items: Vec::new(),
        polls: 3,
    };
    let finding = Finding {
        signal: SignalKind::CoreDown,
        entity: Entity::Job(job),
        severity: Severity::Critical,
        since_ms: 0,
        facts: Facts::CoreDown(facts),
    };
    Notice { kind, at_ms: 0, finding }
}

/// A condition whose every text names it.
fn hung(job: i64) -> Finding {
    let facts = AgentHungFacts {
        job_id: job,
        run_id: 1,
        work_item: format!("<{job}>"),
        repo: "sample".to_owned(),
        stage: "development".to_owned(),
        role: "developer".to_owned(),
        cause: HangCause::RunGone { gone_ms: 90_000, grace_ms: 30_000 },
        families: Vec::new(),
    };
    let finding = notice(job, NoticeKind::Alert).finding;
    Finding { signal: SignalKind::AgentHung, facts: Facts::AgentHung(facts), ..finding }
}

fn over() -> NoticeKind {
    NoticeKind::Recovered { lasted_ms: 1_000, how: Ending::CoreAnswers }
}

#[tokio::test]
async fn alerts_of_one_tick_are_one_message_and_their_recovery_replies_to_it() {
    let line = Line::new().await;
    line.tell(&[1, 2, 3], &NoticeKind::Alert);
    let alert = line.told(CHAT, 1).await[0].clone();
    assert!(alert.marked_up && alert.text.contains("<3>"), "{alert:?}");
    line.tell(&[2], &over());
    let told = line.told(CHAT, 2).await;
    assert_eq!((told.len(), told[1].reply_to), (2, Some(alert.message_id)));
}

#[tokio::test]
async fn a_recovery_goes_alone_when_its_alert_was_deleted() {
    let line = Line::new().await;
    line.tell(&[1], &NoticeKind::Alert);
    line.told(CHAT, 1).await;
    line.telegram.clear_chat(CHAT);
    line.tell(&[1], &over());
    assert_eq!(line.told(CHAT, 1).await[0].reply_to, None);
}

#[tokio::test]
async fn a_flood_is_waited_out_without_a_call_and_what_came_meanwhile_leaves_together() {
    let line = Line::new().await;
    line.telegram.fault(Fault::Flood(Duration::from_secs(2)));
    line.tell(&[1], &NoticeKind::Alert);
    line.report("the flood", |report| report.failures.iter().sum::<u64>() == 1).await;
    line.tell(&[2], &NoticeKind::Alert);
    line.tell(&[1], &over());
    let told = line.told(CHAT, 1).await;
    assert_eq!(told.len(), 1, "one message: {told:?}");
    assert!(told[0].text.contains("is over") && told[0].text.contains("<2>"), "{told:?}");
    assert_eq!((line.telegram.calls(), line.telegram.refused_by_flood()), (2, 0));
}

#[tokio::test]
async fn refused_markup_is_sent_again_as_plain_text() {
    let line = Line::new().await;
    line.telegram.fault(Fault::Markup);
    line.tell(&[1], &NoticeKind::Alert);
    let told = line.told(CHAT, 1).await;
    assert!(!told[0].marked_up && told[0].text.contains("<1>"), "{told:?}");
}

#[tokio::test]
async fn a_chat_that_moved_is_followed_and_remembered() {
    let line = Line::new().await;
    line.telegram.move_chat(CHAT, -100_777);
    line.tell(&[1], &NoticeKind::Alert);
    line.told(-100_777, 1).await;
    let moved = line.keeper.read(|state| state.moved_chat);
    assert_eq!(moved, Some(MovedChat { configured: CHAT, now: -100_777 }));
    let calls = line.telegram.calls();
    line.deliver();
    line.tell(&[2], &NoticeKind::Alert);
    line.told(-100_777, 2).await;
    assert!(line.telegram.calls() > calls);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_sent_again_rather_than_lost() {
    let line = Line::new().await;
    line.telegram.fault(Fault::LostAnswer);
    line.tell(&[1], &NoticeKind::Alert);
    let told = line.told(CHAT, 2).await;
    assert_eq!(told[0].text, told[1].text);
}

#[tokio::test]
async fn an_answer_that_broke_off_is_sent_again_rather_than_lost() {
    let line = Line::new().await;
    line.telegram.fault(Fault::HalfAnswer);
    line.tell(&[1], &NoticeKind::Alert);
    let told = line.told(CHAT, 2).await;
    assert_eq!(told[0].text, told[1].text);
}

#[tokio::test]
async fn a_server_or_a_connection_that_fails_is_tried_again() {
    for fault in [Fault::Server(502), Fault::Server(500), Fault::Reset] {
        let line = Line::new().await;
        line.telegram.fault(fault);
        line.tell(&[1], &NoticeKind::Alert);
        assert_eq!(line.told(CHAT, 1).await.len(), 1);
        assert_eq!(line.telegram.calls(), 2);
    }
}

#[tokio::test]
async fn a_chat_that_limits_its_rate_gets_fewer_messages_and_everything_in_them() {
    let line = Line::new().await;
    line.telegram.set_rate(Some(Rate { messages: 1, within: Duration::from_secs(3) }));
    for job in 1..=6 {
        line.tell(&[job], &NoticeKind::Alert);
        until("the job in a message or in the outbox", async || {
            let told = line.telegram.chat(CHAT).iter().any(|shown| shown.text.contains("<1>"));
            told.then_some(())
        })
        .await;
    }
    let told = line.told(CHAT, 2).await;
    assert_eq!(told.len(), 2, "{told:?}");
    for job in 1..=6 {
        let named = told.iter().filter(|shown| shown.text.contains(&format!("<{job}>"))).count();
        assert_eq!(named, 1, "{job}");
    }
    assert!(line.telegram.refused_by_flood() <= 1);
}

#[tokio::test]
async fn a_refusal_parks_the_channel_and_keeps_the_notice_for_the_next_start() {
    let line = Line::new().await;
    line.telegram.set_blocked(CHAT, true);
    line.tell(&[1], &NoticeKind::Alert);
    let parked = line.report("a parked channel", |report| report.parked.is_some()).await;
    assert_eq!(parked.attempts, 1);
    assert_eq!(line.waiting(), 1);
    line.telegram.set_blocked(CHAT, false);
    // a new loop is what a restart makes
    line.deliver();
    line.told(CHAT, 1).await;
}

#[tokio::test]
async fn a_parked_channel_that_took_a_test_alert_tells_what_waits() {
    let line = Line::new().await;
    line.telegram.set_blocked(CHAT, true);
    line.tell(&[1], &NoticeKind::Alert);
    line.report("a parked channel", |report| report.parked.is_some()).await;
    line.telegram.set_blocked(CHAT, false);
    line.unpark.notify_one();
    line.told(CHAT, 1).await;
    line.report("no refusal any more", |report| report.parked.is_none()).await;
}

/// One refused alert silenced the channel for an hour, and every later message with it.
#[tokio::test]
async fn a_notice_that_is_refused_for_what_it_says_is_parked_alone() {
    let line = Line::new().await;
    line.telegram.set_rate(None);
    line.telegram.set_refused_text(Some("job-2-"));
    for job in [1, 2, 3] {
        tell_named(&line, job);
    }
    let shown = |line: &Line, name: &str| line.telegram.chat(CHAT).iter().any(|one| one.text.contains(name));
    until("the others", async || (shown(&line, "job-1-") && shown(&line, "job-3-")).then_some(())).await;
    let report = line.report("the culprit", |report| report.parked_notices == 1).await;
    assert_eq!(report.parked, None, "the channel works");
    assert_eq!(report.parked_notice_why.as_deref(), Some("Bad Request: MESSAGE_TEXT_REFUSED"));
    tell_named(&line, 4);
    until("a later one", async || shown(&line, "job-4-").then_some(())).await;
    assert_eq!(line.waiting(), 1);
    line.telegram.set_refused_text(None);
    line.unpark.notify_one();
    until("the culprit", async || shown(&line, "job-2-").then_some(())).await;
    line.report("nothing parked", |report| report.parked_notices == 0).await;
    assert_eq!(line.waiting(), 0);
}

fn tell_named(line: &Line, job: i64) {
    let mut finding = hung(job);
    if let Facts::AgentHung(facts) = &mut finding.facts {
        facts.work_item = format!("job-{job}-");
    }
    line.keeper.change(|state| {
        state.outbox.push(&[Channel::Telegram], &Notice { kind: NoticeKind::Alert, at_ms: 0, finding });
        ((), Worth::Saving)
    });
}

/// The chat says so with the same code as a text that it does not like.
#[tokio::test]
async fn a_chat_that_is_gone_parks_the_channel_and_no_single_notice() {
    let line = Line::new().await;
    line.telegram.forget_chat(CHAT);
    line.tell(&[1, 2], &NoticeKind::Alert);
    let parked = line.report("a parked channel", |report| report.parked.is_some()).await;
    assert_eq!(parked.parked.as_deref(), Some("Bad Request: chat not found"));
    assert_eq!((parked.attempts, parked.parked_notices, line.waiting()), (1, 0, 2));
    line.telegram.add_chat(CHAT);
    line.unpark.notify_one();
    line.told(CHAT, 1).await;
}

#[tokio::test]
async fn a_message_with_a_button_that_is_refused_is_told_without_it() {
    let line = Line::new().await;
    let settings = TelegramConfig {
        bot_token: TOKEN.into(),
        chat: Chat::Id(CHAT),
        api_url: line.telegram.url(),
        commands: None,
    };
    let mut sender = TelegramSender::new(&settings, None, &Trust::default()).unwrap();
    let button = Button { text: "press".to_owned(), data: "z".repeat(65) };
    let message = Message {
        html: "<b>x</b>".to_owned(),
        plain: "x".to_owned(),
        reply_to: None,
        buttons: vec![vec![button]],
        seqs: vec![1],
    };
    let outcome = sender.send(&message).await;
    assert!(matches!(outcome, Outcome::Taken(Some(_))), "{outcome:?}");
    let told = line.told(CHAT, 1).await;
    assert!(told[0].text == "x" && told[0].buttons.is_empty(), "{told:?}");
}

/// Fifty conditions in an hour of ticks: some end for good, the others come and go by a fixed rule
/// without pattern.
fn holds(job: i64, tick: i64) -> bool {
    if job < 15 {
        return tick < 100 + job;
    }
    let since_turn = tick / (20 + job % 37);
    (since_turn + job) % 2 == 0
}

#[tokio::test]
async fn after_an_hour_of_outage_a_handful_of_messages_is_true_now() {
    const JOBS: i64 = 50;
    const TICK_MS: i64 = 15_000;
    const TICKS: i64 = 240;
    let line = Line::new().await;
    line.telegram.set_rate(None);
    let tick = |tick: i64| {
        let states: Vec<SignalState> =
            (0..JOBS).filter(|job| holds(*job, tick)).map(|job| SignalState::Active(hung(job))).collect();
        let policy = Policy::default();
        line.keeper.change(|state| {
            let before = std::mem::take(&mut state.alerts);
            let (alerts, notices) = decide(before, &states, tick * TICK_MS, &policy);
            state.alerts = alerts;
            notices.iter().for_each(|notice| state.outbox.push(&[Channel::Telegram], notice));
            ((), Worth::Saving)
        });
    };
    line.telegram.set_outage(Some(Outage::Resets));
    for early in 0..8 {
        tick(early);
    }
    // these were told before it, each in a message of its own
    line.keeper.change(|state| {
        for (number, entry) in (100..).zip(state.outbox.waiting(Channel::Telegram, u64::MAX)) {
            let seqs: Vec<u64> = entry.notices.iter().map(|queued| queued.seq).collect();
            let message = MessageRef { chat_id: CHAT, message_id: number };
            state.outbox.taken(Channel::Telegram, &seqs, Some(message));
        }
        ((), Worth::Saving)
    });
    for later in 8..TICKS {
        tick(later);
    }
    line.report("the outage", |report| report.failures.iter().sum::<u64>() > 0).await;
    assert!(line.waiting() > 50, "much changed: {}", line.waiting());
    line.telegram.set_outage(None);
    let news = line.told(CHAT, 1).await;
    assert!(news.len() <= 4, "{} messages", news.len());
    // the last word on an entity is its state
    let mut named = 0;
    for job in 0..JOBS {
        let name = format!("<{job}>");
        let is_headline = |line: &&str| line.contains(&name) && !line.starts_with("orch-core ");
        let mut words = news.iter().flat_map(|shown| shown.text.lines()).filter(is_headline);
        let Some(last) = words.next_back() else { continue };
        named += 1;
        let over = last.contains("over after ") || last.contains("is over");
        let fires = line
            .keeper
            .read(|state| state.alerts.firing().any(|case| case.finding.entity == Entity::Job(job)));
        let held = last.contains("comes and goes");
        assert!(held || over != fires, "{job}: fires {fires}, told: {last}");
    }
    assert!(named > 10, "{named}: {news:?}");
}

/// A wait as an earlier life of the watchdog left it in the state.
fn remember_wait(line: &Line, asked_ago_ms: i64, wait: Duration) {
    let asked_at_ms = jiff::Timestamp::now().as_millisecond() - asked_ago_ms;
    line.keeper.change(|state| {
        state.waits.insert(Channel::Telegram, Wait::asked(asked_at_ms, wait));
        ((), Worth::Saving)
    });
}

#[tokio::test]
async fn a_wait_that_was_asked_for_is_on_disk_until_another_word() {
    let line = Line::new().await;
    line.telegram.fault(Fault::Flood(Duration::from_secs(2)));
    line.tell(&[1], &NoticeKind::Alert);
    let kept = until("the wait on disk", async || {
        let state = store::peek(line.dir.path()).unwrap()?;
        state.waits.get(&Channel::Telegram).copied()
    })
    .await;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    assert!(kept.left(now_ms) <= Duration::from_secs(2), "{kept:?}");
    let reason =
        line.report("its reason", |report| report.last_failure.is_some()).await.last_failure.unwrap();
    assert_eq!((reason.reason.name(), reason.wait_ms), ("rate_limited", Some(2_000)));
    line.told(CHAT, 1).await;
    until("no wait on disk", async || {
        let state = store::peek(line.dir.path()).unwrap()?;
        state.waits.is_empty().then_some(())
    })
    .await;
    assert_eq!(line.report.read().last_failure, None);
}

#[tokio::test]
async fn a_wait_of_an_earlier_life_is_waited_out_without_a_call() {
    let line = Line::idle().await;
    remember_wait(&line, 1_000, Duration::from_secs(3));
    line.tell(&[1], &NoticeKind::Alert);
    line.deliver();
    let waits = line.report("the wait", |report| report.last_failure.is_some()).await;
    assert_eq!((waits.attempts, line.telegram.calls(), line.waiting()), (0, 0, 1));
    line.told(CHAT, 1).await;
    assert_eq!(line.telegram.calls(), 1);
}

#[tokio::test]
async fn a_wait_that_is_over_or_of_a_clock_gone_wild_holds_nothing_up() {
    for (asked_ago_ms, wait) in [
        (10_000, Duration::from_secs(5)),
        // the clock was a century ahead when it was asked for
        (-3_155_760_000_000, Duration::from_secs(1)),
    ] {
        let line = Line::idle().await;
        remember_wait(&line, asked_ago_ms, wait);
        line.tell(&[1], &NoticeKind::Alert);
        line.deliver();
        assert_eq!(line.told(CHAT, 1).await.len(), 1);
    }
}

#[tokio::test]
async fn a_test_alert_that_was_taken_ends_a_wait_of_an_earlier_life() {
    let line = Line::idle().await;
    remember_wait(&line, 0, Duration::from_secs(86_400));
    line.tell(&[1], &NoticeKind::Alert);
    line.deliver();
    line.report("the wait", |report| report.last_failure.is_some()).await;
    line.unpark.notify_one();
    line.told(CHAT, 1).await;
}

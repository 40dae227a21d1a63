//! Commands by chat: a long poll for updates, and what people on the lists may ask for.
//!
//! Responsible for who may command (a listed user in a listed chat), for age (what is older than
//! [`OLD_AFTER`] is answered and not done), for answers, and for the buttons of a message after a
//! press. What a command does is the desk's matter (`commands`). No port is opened. Invariants: an
//! update is confirmed after it was dealt with and the number of the next was saved, so a stop in
//! between repeats it and loses none, and a command repeated leaves the same state; a stranger's
//! words change nothing, are answered nothing and are counted; one update is under way at a time.

mod report;
mod updates;
mod words;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use teloxide_core::payloads::{
    AnswerCallbackQuery, AnswerCallbackQuerySetters, EditMessageReplyMarkup, EditMessageReplyMarkupSetters,
    GetMe, GetUpdates, GetUpdatesSetters, SendMessage, SendMessageSetters,
};
use teloxide_core::types::{
    AllowedUpdate, CallbackQueryId, ChatId, InlineKeyboardButton, InlineKeyboardMarkup, MessageId, ParseMode,
    Recipient, ReplyParameters,
};
use tokio_util::sync::CancellationToken;

use self::report::PollFailure as Failure;
pub use self::report::{PollFailure, PollReport, SharedPollReport};
use self::updates::{By, Event, Pressed, Said, Update, command_words};
use crate::clock::{self, Stopwatch};
use crate::commands::desk::{Answer, Desk};
use crate::commands::{Command, Person, Refusal, Reply, Target, Way};
use crate::config::CommandsConfig;
use crate::keeper::{Keeper, Worth};
use crate::notify::bot_api::{BotApi, CallFailure};
use crate::notify::buttons::{self, Wish};
use crate::notify::text::{self, ChatWord, Locale};
use crate::notify::wait::Wait;
use crate::survey::Survey;

/// A command older than this is not done: whoever said it has seen since that nothing happened. A
/// press carries no time: it counts as old when nobody has listened for this long before it came.
pub const OLD_AFTER: Duration = Duration::from_secs(300);

/// How long a poll waits for something to happen, in seconds.
const POLL_S: u32 = 25;

/// Updates in one answer.
const UPDATES_A_POLL: u8 = 50;

/// After so long a silence (six days, in milliseconds) the service may number updates anew, and a
/// number kept from before would confirm what nobody has read.
const NUMBERS_HOLD_MS: i64 = 6 * 86_400_000;

/// First wait after a failure; doubles.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// First wait when another program polls: whoever polls more often wins nothing.
const CONFLICT_FIRST: Duration = Duration::from_secs(5);

/// Longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// What must survive a stop: the number of the next update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMemory {
    next_update: Option<i64>,
    at_ms: i64,
    /// How long the service asked to be left alone.
    #[serde(default)]
    wait: Option<Wait>,
}

impl ChatMemory {
    /// Takes up what an earlier life knew, as far as this one knows nothing.
    pub fn take_up(&mut self, old: Self) {
        if self.next_update.is_none() {
            *self = Self { wait: self.wait.or(old.wait), ..old };
        }
    }
}

/// Looks at the host now; may block.
pub type ScanNow = Arc<dyn Fn() -> Result<Survey, String> + Send + Sync>;

/// Everything that chat commands work with.
pub struct ChatCommands {
    /// The Bot API.
    pub api: BotApi,
    /// Who may.
    pub lists: CommandsConfig,
    /// Where commands are done.
    pub desk: Desk,
    /// Where the number of the next update is kept, and where a chat moved to.
    pub keeper: Keeper,
    /// `/scan`; absent when processes are not looked at.
    pub scan: Option<ScanNow>,
    /// Language of answers.
    pub locale: Locale,
    /// Counters.
    pub report: SharedPollReport,
    /// Ends it.
    pub stop: CancellationToken,
}

#[derive(Deserialize)]
struct Me {
    username: String,
}

/// Whether somebody has listened all the time until an update came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listened {
    AllTheTime,
    NotBefore,
}

impl ChatCommands {
    /// Listens until it is told to stop.
    pub async fn run(self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.listen() => {}
        }
    }

    async fn listen(&self) {
        let mut failures = Failures::default();
        if let Some(wait) = self.keeper.read(|state| state.chat.wait) {
            tokio::time::sleep(wait.left(clock::wall_ms())).await;
        }
        let own_name = loop {
            match self.api.call::<_, Me>(&GetMe::new()).await {
                Ok(me) => break me.username,
                Err(failure) => self.failed(&failure, &mut failures).await,
            }
        };
        tracing::info!(bot = own_name, "listening to commands by chat");
        let mut heard: Option<Stopwatch> = None;
        loop {
            let listened = match heard {
                Some(heard) if heard.elapsed() < OLD_AFTER => Listened::AllTheTime,
                Some(_) | None => Listened::NotBefore,
            };
            match self.api.call::<_, Vec<Value>>(&self.poll(listened)).await {
                Ok(updates) => {
                    failures.over();
                    self.report.ended(None);
                    heard = Some(Stopwatch::start());
                    for update in updates.iter().filter_map(Update::read) {
                        self.take(&update, &own_name, listened).await;
                        self.confirm(update.id);
                    }
                }
                Err(failure) => self.failed(&failure, &mut failures).await,
            }
        }
    }

    /// The first poll after a pause fetches what waits, so that the next knows that it is new.
    fn poll(&self, listened: Listened) -> GetUpdates {
        let memory = self.keeper.read(|state| state.chat);
        let wait_s = match listened {
            Listened::AllTheTime => POLL_S,
            Listened::NotBefore => 0,
        };
        let poll = GetUpdates::new()
            .timeout(wait_s)
            .limit(UPDATES_A_POLL)
            .allowed_updates([AllowedUpdate::Message, AllowedUpdate::CallbackQuery]);
        let holds = clock::wall_ms() - memory.at_ms < NUMBERS_HOLD_MS;
        match memory.next_update.filter(|_| holds).and_then(|next| i32::try_from(next).ok()) {
            Some(next) => poll.offset(next),
            None => poll,
        }
    }

    fn confirm(&self, update: i64) {
        self.keeper.change(|state| {
            state.chat = ChatMemory { next_update: Some(update + 1), at_ms: clock::wall_ms(), wait: None };
            ((), Worth::Saving)
        });
    }

    async fn failed(&self, failure: &CallFailure, failures: &mut Failures) {
        let (reason, why) = Failure::of(failure);
        self.report.ended(Some(reason));
        let wait = failures.one_more(failure, reason);
        if let CallFailure::RetryAfter(asked) = failure {
            self.keeper.change(|state| {
                state.chat.wait = Some(Wait::asked(clock::wall_ms(), *asked));
                ((), Worth::Saving)
            });
        }
        let wait_s = wait.as_secs();
        // told when it changes: a line each try would drown the others
        if failures.is_new(reason) {
            tracing::error!(reason = reason.name(), why, wait_s, "commands by chat do not arrive");
        }
        tokio::time::sleep(wait).await;
    }

    async fn take(&self, update: &Update, own_name: &str, listened: Listened) {
        match &update.event {
            Event::Said(said) => {
                if let Some(words) = command_words(said, own_name) {
                    self.command(said, &words).await;
                }
            }
            Event::Pressed(pressed) => self.press(pressed, listened).await,
            Event::Other => {}
        }
    }

    async fn command(&self, said: &Said, words: &[&str]) {
        let Some(person) = self.person(&said.by) else {
            self.forbidden(&said.by);
            return;
        };
        let now_ms = clock::wall_ms();
        let age_ms = now_ms.saturating_sub(said.date_s.saturating_mul(1_000));
        if u128::from(age_ms.max(0).unsigned_abs()) > OLD_AFTER.as_millis() {
            self.desk.late(Way::Chat);
            self.say(said, &self.word(ChatWord::TooLate(age_ms)), None).await;
            return;
        }
        match words.first().map(|verb| verb.to_ascii_lowercase()).as_deref() {
            Some("scan") => self.scan(said).await,
            Some("help" | "start") => self.say(said, &self.word(ChatWord::Usage), None).await,
            Some(_) | None => {
                let answer = self.desk.take(words, now_ms, &person).await;
                let text = match answer {
                    Answer::Replied(reply) => words::reply(&reply, self.locale),
                    Answer::Unsaved(reply) => words::unsaved(&words::reply(&reply, self.locale), self.locale),
                    Answer::Malformed(malformed) => text::malformed(&malformed, self.locale),
                };
                self.say(said, &text, None).await;
            }
        }
    }

    async fn scan(&self, said: &Said) {
        let Some(scan) = self.scan.clone() else {
            self.say(said, &self.word(ChatWord::ScanIsOff), None).await;
            return;
        };
        // it reads the whole process tree: on a thread of its own, so that no tick waits
        match tokio::task::spawn_blocking(move || scan()).await {
            Ok(seen) => {
                let seen = words::by_lines(&text::scan(&seen, self.locale), self.locale);
                let escaped = seen.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                self.say(said, &format!("<pre>{escaped}</pre>"), Some(ParseMode::Html)).await;
            }
            Err(_) => self.say(said, &self.word(ChatWord::ScanFailed), None).await,
        }
    }

    async fn press(&self, pressed: &Pressed, listened: Listened) {
        let Some(person) = self.person(&pressed.by) else {
            self.forbidden(&pressed.by);
            // in a listed chat somebody looks at a spinning button
            if self.is_listed_chat(pressed.by.chat) {
                self.answer_press(pressed, &self.word(ChatWord::MayNot)).await;
            }
            return;
        };
        let Some((wish, id)) = buttons::read(&pressed.data) else {
            self.answer_press(pressed, &self.word(ChatWord::UnknownButton)).await;
            return;
        };
        if listened == Listened::NotBefore {
            self.desk.late(Way::Chat);
            self.answer_press(pressed, &self.word(ChatWord::PressAgain)).await;
            return;
        }
        let command = match wish {
            Wish::Acknowledge => Command::Ack { id },
            Wish::Mute => {
                Command::Mute { target: Target::Case { id, signal: None }, for_ms: buttons::MUTE_MS }
            }
        };
        let (reply, text) = match self.desk.execute(&command, clock::wall_ms(), &person).await {
            Answer::Replied(reply) => {
                let text = words::reply(&reply, self.locale);
                (reply, text)
            }
            Answer::Unsaved(reply) => {
                let text = words::unsaved(&words::reply(&reply, self.locale), self.locale);
                (reply, text)
            }
            Answer::Malformed(malformed) => {
                self.answer_press(pressed, &text::malformed(&malformed, self.locale)).await;
                return;
            }
        };
        self.answer_press(pressed, &text).await;
        if let Some(left) = left_after(pressed, &reply) {
            self.edit_buttons(pressed, left).await;
        }
    }

    /// Who commands, if they may.
    fn person(&self, by: &By) -> Option<Person> {
        let user = by.user.filter(|user| self.lists.users.contains(user))?;
        self.is_listed_chat(by.chat).then(|| Person::new(Way::Chat, &format!("{} ({user})", by.name)))
    }

    /// A listed chat that moved is still listed.
    fn is_listed_chat(&self, chat: i64) -> bool {
        let listed = |chat: i64| self.lists.chats.contains(&chat);
        let moved = self.keeper.read(|state| state.moved_chat);
        listed(chat) || moved.is_some_and(|moved| moved.now == chat && listed(moved.configured))
    }

    fn forbidden(&self, by: &By) {
        self.desk.forbidden(Way::Chat);
        tracing::debug!(chat = by.chat, user = by.user, "a command of somebody who may not");
    }

    async fn say(&self, to: &Said, text: &str, markup: Option<ParseMode>) {
        let reply = ReplyParameters::new(MessageId(to.message_id)).allow_sending_without_reply();
        let chat = Recipient::Id(ChatId(to.by.chat));
        let mut message = SendMessage::new(chat, text).reply_parameters(reply);
        message.parse_mode = markup;
        self.tried("answer a command", self.api.call::<_, Value>(&message).await);
    }

    async fn answer_press(&self, pressed: &Pressed, text: &str) {
        let id = CallbackQueryId(pressed.press_id.clone());
        let answer = AnswerCallbackQuery::new(id).text(words::press(text));
        self.tried("answer a press", self.api.call::<_, Value>(&answer).await);
    }

    fn word(&self, word: ChatWord) -> String {
        text::chat(word, self.locale)
    }

    async fn edit_buttons(&self, pressed: &Pressed, rows: Vec<Vec<(String, String)>>) {
        let button = |(text, data): (String, String)| InlineKeyboardButton::callback(text, data);
        let rows = rows.into_iter().map(|row| row.into_iter().map(button).collect::<Vec<_>>());
        let chat = Recipient::Id(ChatId(pressed.by.chat));
        let edit = EditMessageReplyMarkup::new(chat, MessageId(pressed.message_id))
            .reply_markup(InlineKeyboardMarkup::new(rows));
        self.tried("edit the buttons", self.api.call::<_, Value>(&edit).await);
    }

    /// An answer is for whoever waits for it now: it is not kept and not sent again.
    fn tried(&self, what: &str, answer: Result<Value, CallFailure>) {
        match answer {
            Ok(_) | Err(CallFailure::DoneUnread) => {}
            Err(CallFailure::Refused { description, .. }) if description.contains("is not modified") => {}
            Err(failure) => tracing::warn!(?failure, "could not {what}"),
        }
    }
}

/// The buttons that still make sense after a press; absent when nobody knows what there was.
fn left_after(pressed: &Pressed, reply: &Reply) -> Option<Vec<Vec<(String, String)>>> {
    let (_, id) = buttons::read(&pressed.data)?;
    let goes = |data: &str| match (buttons::read(data), reply) {
        (Some((_, of)), _) if of != id => false,
        // muted, it can still be acknowledged
        (Some((wish, _)), Reply::Muted { .. }) => wish == Wish::Mute,
        (Some((wish, _)), Reply::Refused(Refusal::AlreadyAcknowledged { .. })) => wish == Wish::Acknowledge,
        (Some(_), Reply::Acknowledged(_) | Reply::Unmuted { .. } | Reply::Status(_) | Reply::Refused(_)) => {
            true
        }
        (None, _) => false,
    };
    let rows = pressed
        .rows
        .clone()?
        .into_iter()
        .map(|row| row.into_iter().filter(|(_, data)| !goes(data)).collect::<Vec<_>>());
    Some(rows.filter(|row| !row.is_empty()).collect())
}

/// Failures in a row.
#[derive(Debug, Default)]
struct Failures {
    in_a_row: u32,
    told: Option<Failure>,
}

impl Failures {
    fn over(&mut self) {
        if self.told.is_some() {
            tracing::info!("commands by chat arrive again");
        }
        *self = Self::default();
    }

    fn is_new(&mut self, reason: Failure) -> bool {
        self.told.replace(reason) != Some(reason)
    }

    /// Counts one and says how long to wait.
    fn one_more(&mut self, failure: &CallFailure, reason: Failure) -> Duration {
        let first = match reason {
            Failure::Conflict => CONFLICT_FIRST,
            Failure::Refused => BACKOFF_MAX,
            Failure::RateLimited | Failure::Server | Failure::Network | Failure::Answer => BACKOFF_FIRST,
        };
        let factor = 1_u32.checked_shl(self.in_a_row).unwrap_or(u32::MAX);
        self.in_a_row = (self.in_a_row + 1).min(16);
        match failure {
            CallFailure::RetryAfter(wait) => *wait,
            CallFailure::MovedTo(_)
            | CallFailure::Refused { .. }
            | CallFailure::Network(_)
            | CallFailure::DoneUnread
            | CallFailure::Answer(_) => first.saturating_mul(factor).min(BACKOFF_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_poller_is_given_way_to_for_growing_times() {
        let mut failures = Failures::default();
        let conflict = CallFailure::Refused { code: 409, description: "Conflict: …".to_owned() };
        let (reason, why) = Failure::of(&conflict);
        assert_eq!(reason, PollFailure::Conflict);
        assert!(why.starts_with("another program fetches the updates of this bot"), "{why}");
        let mut next = || failures.one_more(&conflict, reason).as_secs();
        assert_eq!([next(), next(), next(), next()], [5, 10, 20, 40]);
        let wait = CallFailure::RetryAfter(Duration::from_secs(77));
        assert_eq!(failures.one_more(&wait, PollFailure::RateLimited).as_secs(), 77);
    }

    #[test]
    fn the_number_of_a_state_that_was_taken_up_late_counts_until_there_is_a_newer_one() {
        let old = ChatMemory { next_update: Some(7), at_ms: 1, wait: None };
        let mut fresh = ChatMemory::default();
        fresh.take_up(old);
        assert_eq!(fresh, old);
        let mut newer = ChatMemory { next_update: Some(9), at_ms: 2, wait: None };
        newer.take_up(old);
        assert_eq!((newer.next_update, newer.at_ms), (Some(9), 2));
    }

    #[test]
    fn buttons_that_were_used_go_and_those_of_other_cases_stay() {
        let id = crate::cases::CaseId::parse("c1").unwrap();
        let other = crate::cases::CaseId::parse("c2").unwrap();
        let row = |id| {
            buttons::row(id, Locale::English).into_iter().map(|button| (button.text, button.data)).collect()
        };
        let rows: Vec<Vec<(String, String)>> = vec![row(id), row(other)];
        let by = By { chat: 1, user: Some(1), name: String::new() };
        let pressed =
            Pressed { by, press_id: "1".into(), message_id: 1, data: "mute c1".into(), rows: Some(rows) };
        let left = |reply: Reply| -> Vec<Vec<String>> {
            let rows = left_after(&pressed, &reply).unwrap();
            rows.into_iter().map(|row| row.into_iter().map(|(_, data)| data).collect()).collect()
        };
        let muted = Reply::Muted {
            what: crate::commands::About::Signal(crate::signals::SignalKind::CoreDown),
            until_ms: 0,
            silenced: 1,
        };
        assert_eq!(left(muted), [vec!["ack c1"], vec!["ack c2", "mute c2"]]);
        assert_eq!(left(Reply::Refused(Refusal::Over(id))), [vec!["ack c2", "mute c2"]]);
        let known = Pressed { rows: None, ..pressed.clone() };
        assert_eq!(left_after(&known, &Reply::Refused(Refusal::Over(id))), None);
    }
}

//! Updates of the Bot API, as much of them as commands need.
//!
//! Responsible for reading one update and for telling a command from talk. Pure. Invariant: an update
//! of an unknown sort still gives its number, so that it is confirmed and never comes again.

use serde::Deserialize;
use serde_json::Value;

/// Commands that are answered wherever they are said; others only when they are meant for us alone.
const KNOWN: [&str; 7] = ["status", "scan", "mute", "unmute", "ack", "help", "start"];

/// One update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Update {
    /// Its number.
    pub id: i64,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Somebody wrote.
    Said(Said),
    /// Somebody pressed a button.
    Pressed(Pressed),
    /// Nothing for us.
    Other,
}

/// Somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// Who and where.
    pub by: By,
    /// Number of the message.
    pub message_id: i32,
    /// When, UTC Unix seconds.
    pub date_s: i64,
    /// What.
    pub text: String,
}

/// Somebody pressed a button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pressed {
    /// Who and where.
    pub by: By,
    /// Number of the press.
    pub press_id: String,
    /// Message with the button.
    pub message_id: i32,
    /// What it carries.
    pub data: String,
    /// Buttons of the message, row by row: text and what it carries; absent when they were not told.
    pub rows: Option<Vec<Vec<(String, String)>>>,
}

/// Who did something, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct By {
    /// Chat.
    pub chat: i64,
    /// User; absent for what speaks in the name of a chat.
    pub user: Option<i64>,
    /// How they call themselves.
    pub name: String,
}

#[derive(Deserialize)]
struct Numbered {
    update_id: i64,
}

#[derive(Deserialize)]
struct Wire {
    message: Option<WireMessage>,
    callback_query: Option<WirePress>,
}

#[derive(Deserialize)]
struct WireMessage {
    message_id: i32,
    #[serde(default)]
    date: i64,
    chat: WireChat,
    from: Option<WireUser>,
    text: Option<String>,
    reply_markup: Option<WireKeyboard>,
}

#[derive(Deserialize)]
struct WireChat {
    id: i64,
}

#[derive(Deserialize)]
struct WireUser {
    id: i64,
    #[serde(default)]
    first_name: String,
    username: Option<String>,
}

#[derive(Deserialize)]
struct WirePress {
    id: String,
    from: WireUser,
    message: Option<WireMessage>,
    data: Option<String>,
}

#[derive(Deserialize)]
struct WireKeyboard {
    inline_keyboard: Vec<Vec<WireButton>>,
}

#[derive(Deserialize)]
struct WireButton {
    text: String,
    #[serde(default)]
    callback_data: String,
}

impl WireUser {
    fn name(&self) -> String {
        match &self.username {
            Some(username) => format!("@{username}"),
            None => self.first_name.clone(),
        }
    }
}

impl Update {
    /// Reads one; absent when it has no number.
    #[must_use]
    pub(super) fn read(value: &Value) -> Option<Self> {
        let id = Numbered::deserialize(value).ok()?.update_id;
        let event = Wire::deserialize(value).map_or(Event::Other, Wire::event);
        Some(Self { id, event })
    }
}

impl Wire {
    fn event(self) -> Event {
        if let Some(press) = self.callback_query {
            let (Some(message), Some(data)) = (press.message, press.data) else { return Event::Other };
            let by = By { chat: message.chat.id, user: Some(press.from.id), name: press.from.name() };
            let rows = message.reply_markup.map(|keyboard| {
                let button = |button: WireButton| (button.text, button.callback_data);
                let row = |row: Vec<WireButton>| row.into_iter().map(button).collect();
                keyboard.inline_keyboard.into_iter().map(row).collect()
            });
            let message_id = message.message_id;
            return Event::Pressed(Pressed { by, press_id: press.id, message_id, data, rows });
        }
        let Some(WireMessage { message_id, date, chat, from, text: Some(text), .. }) = self.message else {
            return Event::Other;
        };
        let name = from.as_ref().map(WireUser::name).unwrap_or_default();
        let by = By { chat: chat.id, user: from.map(|user| user.id), name };
        Event::Said(Said { by, message_id, date_s: date, text })
    }
}

/// The words of a command that is meant for the bot called `own_name`; absent for talk, and for
/// commands of other bots.
#[must_use]
pub(super) fn command_words<'a>(said: &'a Said, own_name: &str) -> Option<Vec<&'a str>> {
    let mut words = said.text.strip_prefix('/')?.split_whitespace();
    let first = words.next()?;
    let (verb, addressed) = match first.split_once('@') {
        Some((verb, name)) if name.eq_ignore_ascii_case(own_name) => (verb, true),
        Some(_) => return None,
        // chats between two have positive numbers
        None => (first, said.by.chat > 0),
    };
    if !addressed && !KNOWN.iter().any(|known| verb.eq_ignore_ascii_case(known)) {
        return None;
    }
    Some(std::iter::once(verb).chain(words).take(WORDS_MAX).collect())
}

/// Words looked at: one more than any command has.
const WORDS_MAX: usize = crate::commands::WORDS_MAX + 1;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(chat: i64, text: &str) -> Said {
        let by = By { chat, user: Some(7), name: String::new() };
        Said { by, message_id: 1, date_s: 0, text: text.to_owned() }
    }

    #[test]
    fn a_command_is_told_from_talk_and_from_other_bots_commands() {
        for (chat, text, expected) in [
            (-5, "/status", Some(vec!["status"])),
            (-5, "/Mute@Our_Bot  agent_hung 1h", Some(vec!["Mute", "agent_hung", "1h"])),
            (-5, "/mute@other_bot agent_hung 1h", None),
            (-5, "/roll", None),
            (-5, "/roll@our_bot", Some(vec!["roll"])),
            (5, "/roll", Some(vec!["roll"])),
            (5, "status", None),
            (5, "", None),
            (5, "/", None),
            (5, "see /status", None),
            (5, "/a b c d e f g h", Some(vec!["a", "b", "c", "d", "e"])),
        ] {
            assert_eq!(command_words(&said(chat, text), "our_bot"), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_still_has_its_number() {
        for strange in [
            json!({"update_id": 9, "something_new": {}}),
            json!({"update_id": 9, "message": {"some": "form"}}),
            json!({"update_id": 9, "message": {"message_id": 1, "chat": {"id": 1}, "photo": []}}),
            json!({"update_id": 9, "callback_query": {"id": "1", "from": {"id": 2}}}),
        ] {
            assert_eq!(Update::read(&strange), Some(Update { id: 9, event: Event::Other }), "{strange}");
        }
        assert_eq!(Update::read(&json!({"message": {}})), None);
    }
}

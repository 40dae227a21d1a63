//! The Telegram channel: sends one message and puts the answer into an outcome.
//!
//! Responsible for one chat and for what the Bot API's refusals mean for a message. It keeps no queue
//! and no clock (`delivery`). Invariants: a text that is refused for what it is (markup, length) is
//! sent in a plainer form before anybody gives up, and an answer that was lost counts as not taken.

use serde::Deserialize;
use std::time::Duration;

use teloxide_core::payloads::{SendMessage, SendMessageSetters};
use teloxide_core::types::{
    ChatId, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, MessageId, ParseMode, Recipient,
    ReplyParameters,
};

use super::Channel;
use super::bot_api::{BotApi, BotApiError, CallFailure};
use super::buttons::Button;
use super::compose::Message;
use super::delivery::{FailureReason, Outcome, Sender};
use super::outbox::MessageRef;
use crate::config::{Chat, TelegramConfig};
use crate::store::MovedChat;
use crate::trust::Trust;

/// Distance of two messages to the chat: the service allows about one a second, and what is decided
/// meanwhile leaves together.
const PACE: Duration = Duration::from_secs(1);

/// Characters of the last, plainest form.
const PLAINEST_MAX_CHARACTERS: usize = 1_000;

/// Sends to one chat.
#[derive(Debug)]
pub struct TelegramSender {
    api: BotApi,
    configured: Chat,
    chat: Chat,
}

/// Forms of one message, each plainer than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    MarkedUp,
    Plain,
    /// Without markup and cut short.
    Plainest,
}

/// As much of the record of a message as is needed.
#[derive(Debug, Deserialize)]
struct Sent {
    message_id: i32,
    chat: SentTo,
}

#[derive(Debug, Deserialize)]
struct SentTo {
    id: i64,
}

impl TelegramSender {
    /// A sender; `moved` is what Telegram told earlier about this chat.
    ///
    /// # Errors
    /// When the address is none or no client can be built.
    pub fn new(
        settings: &TelegramConfig,
        moved: Option<MovedChat>,
        trust: &Trust,
    ) -> Result<Self, BotApiError> {
        let api = BotApi::new(&settings.api_url, &settings.bot_token, trust)?;
        let configured = settings.chat.clone();
        let moved = moved.filter(|moved| configured == Chat::Id(moved.configured));
        let chat = moved.map_or_else(|| configured.clone(), |moved| Chat::Id(moved.now));
        Ok(Self { api, configured, chat })
    }

    async fn try_send(&self, message: &Message, form: Form) -> Result<MessageRef, CallFailure> {
        let text = match form {
            Form::MarkedUp => message.html.clone(),
            Form::Plain => message.plain.clone(),
            Form::Plainest => message.plain.chars().take(PLAINEST_MAX_CHARACTERS).collect(),
        };
        let mut request = SendMessage::new(self.recipient(), text).link_preview_options(NO_PREVIEW);
        if form == Form::MarkedUp {
            request = request.parse_mode(ParseMode::Html);
        }
        // a reply to a message of the chat's earlier number would be refused
        let same_chat = |to: &MessageRef| match self.chat {
            Chat::Id(id) => to.chat_id == id,
            Chat::Channel(_) => true,
        };
        if !message.buttons.is_empty() {
            let button = |button: &Button| InlineKeyboardButton::callback(&button.text, &button.data);
            let rows = message.buttons.iter().map(|row| row.iter().map(button).collect::<Vec<_>>());
            request = request.reply_markup(InlineKeyboardMarkup::new(rows));
        }
        if let Some(to) = message.reply_to.filter(same_chat) {
            let reply = ReplyParameters::new(MessageId(to.message_id)).allow_sending_without_reply();
            request = request.reply_parameters(reply);
        }
        let sent: Sent = self.api.call(&request).await?;
        Ok(MessageRef { chat_id: sent.chat.id, message_id: sent.message_id })
    }

    fn moved(&mut self, to: i64) -> Outcome {
        self.chat = Chat::Id(to);
        match self.configured {
            Chat::Id(configured) => Outcome::Moved(MovedChat { configured, now: to }),
            Chat::Channel(_) => Outcome::Failed(FailureReason::Moved, "the channel moved".to_owned()),
        }
    }

    fn recipient(&self) -> Recipient {
        match &self.chat {
            Chat::Id(id) => Recipient::Id(ChatId(*id)),
            Chat::Channel(name) => Recipient::ChannelUsername(name.clone()),
        }
    }
}

const NO_PREVIEW: LinkPreviewOptions = LinkPreviewOptions {
    is_disabled: true,
    url: None,
    prefer_small_media: false,
    prefer_large_media: false,
    show_above_text: false,
};

impl Sender for TelegramSender {
    const CHANNEL: Channel = Channel::Telegram;
    const PACE: Duration = PACE;

    async fn send(&mut self, message: &Message) -> Outcome {
        let mut answer = self.try_send(message, Form::MarkedUp).await;
        for plainer in [Form::Plain, Form::Plainest] {
            match &answer {
                Err(CallFailure::Refused { code: 400, description }) if is_about_the_text(description) => {
                    tracing::warn!(why = description, "the text was refused; sending it plainer");
                    answer = self.try_send(message, plainer).await;
                }
                Ok(_) | Err(_) => break,
            }
        }
        match answer {
            Ok(sent) => Outcome::Taken(Some(sent)),
            Err(CallFailure::MovedTo(to)) => self.moved(to),
            Err(failure) => outcome_of(failure),
        }
    }
}

/// Whether a refusal is about this text and not about the chat: another form may be taken.
fn is_about_the_text(description: &str) -> bool {
    let description = description.to_lowercase();
    ["can't parse", "too long", "message text is empty", "text must be", "encoded in utf-8", "entit"]
        .iter()
        .any(|words| description.contains(words))
}

fn outcome_of(failure: CallFailure) -> Outcome {
    match failure {
        CallFailure::RetryAfter(wait) => Outcome::Wait(wait),
        CallFailure::MovedTo(_) => Outcome::Failed(FailureReason::Moved, "the chat moved".to_owned()),
        CallFailure::Refused { code, description } => match code {
            // token, chat or rights: nothing changes before somebody changes it
            400 | 401 | 403 | 404 | 413 => Outcome::Refused(FailureReason::Refused, description),
            429 => Outcome::Failed(FailureReason::RateLimited, description),
            _ => Outcome::Failed(FailureReason::Server, description),
        },
        CallFailure::Network(why) => Outcome::Failed(FailureReason::Network, why.to_owned()),
        CallFailure::DoneUnread => Outcome::Taken(None),
        CallFailure::Answer(why) => Outcome::Failed(FailureReason::Answer, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_bot_api_are_told_apart() {
        for (code, expected) in [
            (400, "refused"),
            (401, "refused"),
            (403, "refused"),
            (404, "refused"),
            (413, "refused"),
            (409, "server"),
            (420, "server"),
            (429, "rate_limited"),
            (500, "server"),
            (502, "server"),
        ] {
            let description = "Bad Request: whatever the words are".to_owned();
            let reason = match outcome_of(CallFailure::Refused { code, description }) {
                Outcome::Refused(reason, _) | Outcome::Failed(reason, _) => reason.name(),
                Outcome::Taken(_) | Outcome::Wait(_) | Outcome::Moved(_) => "none",
            };
            assert_eq!(reason, expected, "{code}");
        }
    }

    #[test]
    fn a_refusal_of_the_chat_is_none_of_the_text() {
        for (description, expected) in [
            ("Bad Request: can't parse entities: Unsupported start tag", true),
            ("Bad Request: message is too long", true),
            ("Bad Request: chat not found", false),
            ("Bad Request: not enough rights to send text messages to the chat", false),
            ("Bad Request: TOPIC_CLOSED", false),
        ] {
            assert_eq!(is_about_the_text(description), expected, "{description}");
        }
    }

    #[tokio::test]
    async fn no_text_of_a_failure_holds_the_token() {
        let token = "123456:very-secret-token";
        let settings = TelegramConfig {
            bot_token: token.into(),
            chat: Chat::Id(1),
            // a port that was just given back
            api_url: format!("http://{}", free_address()),
            commands: None,
        };
        let mut sender = TelegramSender::new(&settings, None, &Trust::default()).unwrap();
        let message = Message {
            html: "x".into(),
            plain: "x".into(),
            reply_to: None,
            buttons: Vec::new(),
            seqs: vec![1],
        };
        let outcome = sender.send(&message).await;
        assert_eq!(outcome, Outcome::Failed(FailureReason::Network, "cannot connect".into()));
        assert!(!format!("{outcome:?} {settings:?} {sender:?}").contains("secret-token"));
    }

    fn free_address() -> std::net::SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }
}

//! A Telegram stand-in that keeps messages per chat and knows the Bot API's ways of saying no.
//!
//! Responsible for the Bot API as a bot sees it: chats, message numbers, replies, HTML markup,
//! lengths, buttons, flood limits, moved and blocked chats, failing servers, lost answers, and the
//! queue of updates with its confirmation by offset and its one poller a token. It models the
//! service, not a script of replies: a flooded chat stays flooded until its time is over, a moved
//! chat stays moved, an update comes again until it is confirmed. Methods that no bot of ours calls
//! are missing.

mod markup;
mod methods;
mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;

pub use world::Rate;
use world::World;

/// Every message that says no other time is of this one, UTC Unix seconds.
pub const DATE_S: i64 = 1_700_000_000;

/// A running stand-in; ends when dropped.
#[derive(Debug)]
pub struct FakeTelegram {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    server: tokio::task::JoinHandle<()>,
}

/// A message as the chat shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Number in its chat.
    pub message_id: i32,
    /// Text without markup.
    pub text: String,
    /// Whether it was sent with markup.
    pub marked_up: bool,
    /// Message it replies to.
    pub reply_to: Option<i32>,
    /// Buttons below it, row by row.
    pub buttons: Vec<Button>,
}

/// A button below a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Button {
    /// What it says.
    pub text: String,
    /// What a press of it carries.
    pub data: String,
}

/// What goes wrong with the next message that would have been taken.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The chat is flooded for this long: every call until then is a 429.
    Flood(Duration),
    /// The server fails with this status, and takes nothing.
    Server(u16),
    /// The markup is refused, whatever it is.
    Markup,
    /// The connection ends before the message is taken.
    Reset,
    /// The message is taken, and the answer never arrives.
    LostAnswer,
    /// The message is taken, and half of the answer arrives.
    HalfAnswer,
    /// The answer takes this long.
    Slow(Duration),
}

/// What is wrong with every call until it is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Every call fails with this status, in a load balancer's words.
    Status(u16),
    /// Every connection ends without an answer.
    Resets,
}

impl FakeTelegram {
    /// Starts one on loopback that takes every token, knows every chat and limits no rate.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> std::io::Result<Self> {
        Self::serve(None).await
    }

    /// Starts one on loopback that knows one bot and the chats it is given, and limits a group to
    /// twenty messages a minute.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn strict(token: &str) -> std::io::Result<Self> {
        Self::serve(Some(token.to_owned())).await
    }

    async fn serve(token: Option<String>) -> std::io::Result<Self> {
        let world = Arc::new(Mutex::new(World::new(token)));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let router =
            Router::new().route("/{bot}/{method}", any(methods::call)).with_state(Arc::clone(&world));
        let server = tokio::spawn(async move {
            // ends with the test that started it
            axum::serve(listener, router).await.ok();
        });
        Ok(Self { address, world, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `set_api_url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A chat that the bot may write to.
    pub fn add_chat(&self, chat: i64) {
        self.world().chats.entry(chat).or_default();
    }

    /// The chat becomes a supergroup of this number.
    pub fn move_chat(&self, from: i64, to: i64) {
        let mut world = self.world();
        let messages = world.chats.remove(&from).unwrap_or_default();
        world.chats.insert(to, messages);
        world.moved.insert(from, to);
    }

    /// Somebody blocks the bot, or takes it back.
    pub fn set_blocked(&self, chat: i64, blocked: bool) {
        let mut world = self.world();
        if blocked {
            world.blocked.insert(chat);
        } else {
            world.blocked.remove(&chat);
        }
    }

    /// Somebody deletes every message of a chat.
    pub fn clear_chat(&self, chat: i64) {
        if let Some(messages) = self.world().chats.get_mut(&chat) {
            messages.clear();
        }
    }

    /// Somebody deletes one message.
    pub fn delete_message(&self, chat: i64, message_id: i32) {
        if let Some(messages) = self.world().chats.get_mut(&chat) {
            messages.retain(|message| message.message_id != message_id);
        }
    }

    /// The next message goes wrong.
    pub fn fault(&self, fault: Fault) {
        self.world().faults.push_back(fault);
    }

    /// Every call goes wrong, until this is set to none.
    pub fn set_outage(&self, outage: Option<Outage>) {
        self.world().outage = outage;
    }

    /// How many messages each chat takes, absent for any number.
    pub fn set_rate(&self, rate: Option<Rate>) {
        self.world().rate = rate;
    }

    /// Somebody sends a message at this time (UTC Unix seconds); returns its number.
    pub fn say(&self, chat: i64, user: i64, text: &str, date_s: i64) -> i32 {
        let mut world = self.world();
        let message_id = world.number_message();
        let from = json!({"id": user, "is_bot": false, "first_name": "somebody"});
        let message = json!({"message_id": message_id, "date": date_s, "text": text, "from": from,
            "chat": world::chat_json(chat)});
        if world.token.is_some() && !world.chats.contains_key(&chat) {
            return message_id;
        }
        world.said.insert((chat, message_id));
        world.update("message", &message);
        message_id
    }

    /// Somebody presses a button; false when the message shows none of that data.
    pub fn press(&self, chat: i64, user: i64, message_id: i32, data: &str) -> bool {
        let mut world = self.world();
        let known = world
            .chats
            .get(&chat)
            .and_then(|messages| messages.iter().find(|known| known.message_id == message_id).cloned());
        let Some(message) = known.filter(|known| known.buttons.iter().any(|button| button.data == data))
        else {
            return false;
        };
        world.press(chat, user, &message, data);
        true
    }

    /// Somebody forges a press of a button that no message shows.
    pub fn forge_press(&self, chat: i64, user: i64, message_id: i32, data: &str) {
        let message =
            Shown { message_id, text: String::new(), marked_up: false, reply_to: None, buttons: Vec::new() };
        self.world().press(chat, user, &message, data);
    }

    /// An update of a sort that the bot does not know.
    pub fn strange_update(&self) {
        self.world().update("something_new", &json!({"a": [1, 2]}));
    }

    /// Another program sets a webhook for this bot, or takes it away.
    pub fn set_webhook(&self, active: bool) {
        let mut world = self.world();
        world.webhook = active;
        world.polls_changed();
    }

    /// Another program polls for this bot: a poll under way ends in a conflict.
    pub fn other_poller(&self) {
        self.world().polls_changed();
    }

    /// Answers to presses, oldest first: the words that were shown, if any.
    #[must_use]
    pub fn press_answers(&self) -> Vec<String> {
        self.world().press_answers.clone()
    }

    /// Updates that the bot has not confirmed.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.world().updates.len()
    }

    /// Calls of `getUpdates` so far.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.world().polls
    }

    /// What all chats show, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Shown> {
        let mut messages: Vec<Shown> = self.world().chats.values().flatten().cloned().collect();
        messages.sort_by_key(|message| message.message_id);
        messages
    }

    /// What one chat shows.
    #[must_use]
    pub fn chat(&self, chat: i64) -> Vec<Shown> {
        self.world().chats.get(&chat).cloned().unwrap_or_default()
    }

    /// Calls so far, those of `getUpdates` excepted.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.world().calls
    }

    /// Calls that came while their chat was flooded.
    #[must_use]
    pub fn refused_by_flood(&self) -> u64 {
        self.world().refused_by_flood
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

impl Drop for FakeTelegram {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

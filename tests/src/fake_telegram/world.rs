//! What the stand-in keeps: chats, limits, faults, updates.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{DATE_S, Fault, Outage, Shown};

/// How many messages a chat takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many messages …
    pub messages: usize,
    /// … within so long a time.
    pub within: Duration,
}

/// A group's limit as documented.
const GROUP_RATE: Rate = Rate { messages: 20, within: Duration::from_secs(60) };

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) token: Option<String>,
    pub(super) chats: BTreeMap<i64, Vec<Shown>>,
    /// What people wrote: it can be replied to.
    pub(super) said: BTreeSet<(i64, i32)>,
    pub(super) moved: BTreeMap<i64, i64>,
    pub(super) blocked: BTreeSet<i64>,
    pub(super) flooded: BTreeMap<i64, Instant>,
    pub(super) taken_at: BTreeMap<i64, VecDeque<Instant>>,
    pub(super) rate: Option<Rate>,
    pub(super) faults: VecDeque<Fault>,
    pub(super) outage: Option<Outage>,
    pub(super) refused_text: Option<String>,
    pub(super) calls: u64,
    pub(super) refused_by_flood: u64,
    /// Not confirmed yet, with their numbers.
    pub(super) updates: VecDeque<(i64, Value)>,
    /// Presses that wait for an answer.
    pub(super) presses: BTreeSet<String>,
    pub(super) press_answers: Vec<String>,
    pub(super) polls: u64,
    /// Grows when another poll, or a webhook, ends the one under way.
    pub(super) poll_generation: u64,
    pub(super) webhook: bool,
    pub(super) changed: Arc<Notify>,
    last_message_id: i32,
    last_update_id: i64,
}

impl World {
    pub(super) fn new(token: Option<String>) -> Self {
        let rate = token.as_ref().map(|_| GROUP_RATE);
        // numbers begin anywhere: a bot must not rely on the first
        Self { token, rate, last_update_id: 870_000, ..Self::default() }
    }

    pub(super) fn number_message(&mut self) -> i32 {
        self.last_message_id += 1;
        self.last_message_id
    }

    pub(super) fn update(&mut self, kind: &str, content: &Value) {
        self.last_update_id += 1;
        let id = self.last_update_id;
        self.updates.push_back((id, json!({"update_id": id, kind: content})));
        self.changed.notify_waiters();
    }

    pub(super) fn press(&mut self, chat: i64, user: i64, message: &Shown, data: &str) {
        let id = format!("press-{}", self.last_update_id + 1);
        self.presses.insert(id.clone());
        let from = json!({"id": user, "is_bot": false, "first_name": "somebody"});
        let mut record = json!({"message_id": message.message_id, "date": DATE_S, "text": message.text,
            "chat": chat_json(chat)});
        let row = |button: &super::Button| json!([{"text": button.text, "callback_data": button.data}]);
        let rows: Vec<Value> = message.buttons.iter().map(row).collect();
        if !rows.is_empty() {
            record["reply_markup"] = json!({ "inline_keyboard": rows });
        }
        let press = json!({"id": id, "from": from, "message": record, "chat_instance": "1", "data": data});
        self.update("callback_query", &press);
    }

    pub(super) fn polls_changed(&mut self) {
        self.poll_generation += 1;
        self.changed.notify_waiters();
    }

    /// How long a chat must still be left alone.
    pub(super) fn flood_left(&mut self, chat: i64) -> Option<Duration> {
        let now = Instant::now();
        if let Some(until) = self.flooded.get(&chat) {
            let left = until.saturating_duration_since(now);
            if !left.is_zero() {
                return Some(left);
            }
            self.flooded.remove(&chat);
        }
        let rate = self.rate?;
        let taken_at = self.taken_at.entry(chat).or_default();
        while taken_at.front().is_some_and(|at| now.duration_since(*at) >= rate.within) {
            taken_at.pop_front();
        }
        if taken_at.len() < rate.messages {
            return None;
        }
        let left = taken_at.front().map(|at| rate.within.saturating_sub(now.duration_since(*at)))?;
        self.flooded.insert(chat, now + left);
        Some(left)
    }

    pub(super) fn took(&mut self, chat: i64) {
        self.taken_at.entry(chat).or_default().push_back(Instant::now());
    }
}

pub(super) fn chat_json(chat: i64) -> Value {
    let kind = if chat < 0 { "supergroup" } else { "private" };
    json!({"id": chat, "type": kind, "title": "alerts", "first_name": "on call"})
}

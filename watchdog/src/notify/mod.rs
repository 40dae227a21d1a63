//! Notices on their way to people.
//!
//! `outbox` keeps them until a channel took them, `text` puts them in words, `compose` makes
//! messages of them, `delivery` drives one channel of messages, `telegram` (by `bot_api`) and `log`
//! are such channels; `alertmanager` is told states instead and has a loop of its own. `retry` wakes
//! a parked channel, `wait` is the patience that outlives a restart. Nothing here decides what is worth telling (`cases`).

pub mod alertmanager;
pub mod bot_api;
pub mod buttons;
pub mod compose;
pub mod delivery;
pub mod log;
pub mod outbox;
pub mod parking;
pub mod retry;
pub mod telegram;
pub mod text;
pub mod wait;

use serde::{Deserialize, Serialize};

use crate::cases::Notice;
use crate::signals::Entity;

/// Where notices go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Our own log, always on.
    Log,
    /// One Telegram chat.
    Telegram,
    /// One Alertmanager.
    Alertmanager,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Log, Self::Telegram, Self::Alertmanager];

    /// Name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Telegram => "telegram",
            Self::Alertmanager => "alertmanager",
        }
    }
}

/// Who is told of a notice: every channel, but none of its own failure. It could not take that
/// either, and once it can, the failure is over.
#[must_use]
pub fn audience(channels: &[Channel], notice: &Notice) -> Vec<Channel> {
    let failing = match &notice.finding.entity {
        Entity::Channel(channel) => Some(*channel),
        Entity::Family(_)
        | Entity::Job(_)
        | Entity::WorkItem(_)
        | Entity::Task(_)
        | Entity::Core
        | Entity::Host
        | Entity::Collector(_)
        | Entity::State => None,
    };
    channels.iter().copied().filter(|channel| Some(*channel) != failing).collect()
}

//! Commands of people: mute, unmute, acknowledge, status.
//!
//! Responsible for what a command is (`parse`), what it does to the durable state and what is answered
//! (`apply`, pure), how the answer reads (`words`), and for doing one in a running watchdog
//! (`desk`). The command line and the chat are two ways to the same desk. Invariants: a command
//! changes the watchdog's own state and nothing else, every change leaves a row of history, and an
//! answer "done" is given after it was saved.

mod apply;
mod count;
pub mod desk;
mod parse;
mod words;

pub use apply::{About, CaseLine, Ended, MuteLine, Refusal, Reply, Status, apply};
pub use count::{CommandCounts, CommandOutcome, SharedCommandCounts};
pub use parse::{DurationFault, MUTE_MAX_MS, MUTE_MIN_MS, Malformed, MissingWord, USAGE, WORDS_MAX};
use serde::{Deserialize, Serialize};
pub use words::in_english;

use crate::cases::CaseId;
use crate::signals::SignalKind;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Do not announce for a while.
    Mute {
        /// What.
        target: Target,
        /// For how long, within [`MUTE_MIN_MS`] and [`MUTE_MAX_MS`].
        for_ms: i64,
    },
    /// End mutes, and take an acknowledgement back.
    Unmute {
        /// Whose; all mutes when absent.
        target: Option<Target>,
    },
    /// I have seen it.
    Ack {
        /// Which case.
        id: CaseId,
    },
    /// What fires, and what is muted.
    Status,
}

/// Whom a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// All cases of a signal.
    Signal(SignalKind),
    /// One case.
    Case {
        /// Its short name.
        id: CaseId,
        /// The signal that the person believes it is of, if they said so.
        signal: Option<SignalKind>,
    },
}

/// The ways by which commands come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// `orch-watchdog mute …` on this host.
    CommandLine,
    /// A chat.
    Chat,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::CommandLine, Self::Chat];

    /// Name in metrics and history.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "command_line",
            Self::Chat => "chat",
        }
    }
}

/// Longest name of a person, in characters.
pub const PERSON_MAX_CHARACTERS: usize = 48;

/// Who commands, for history and answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    way: Way,
    name: String,
}

impl Person {
    /// Somebody; control characters are dropped from the name and it is cut, since a chat lets
    /// people name themselves.
    #[must_use]
    pub fn new(way: Way, name: &str) -> Self {
        let shown = name.chars().filter(|sign| !sign.is_control()).take(PERSON_MAX_CHARACTERS);
        Self { way, name: shown.collect() }
    }

    /// By which way.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    /// In texts.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests;

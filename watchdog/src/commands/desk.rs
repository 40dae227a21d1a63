//! The desk of a running watchdog: takes words from a person, does the command, saves, answers.
//!
//! Responsible for the order: parse, apply, save, answer, count. Who may command is decided by the
//! way that they come by (socket, chat) before the desk is asked; those who may not are counted here.

use std::time::Duration;

use super::{Command, CommandOutcome, Malformed, Person, Reply, SharedCommandCounts, Way, apply};
use crate::keeper::{Keeper, Worth};

/// Longest wait for the state to be saved before an answer says that it was not.
const SAVE_PATIENCE: Duration = Duration::from_secs(5);

/// Where commands are done.
#[derive(Debug, Clone)]
pub struct Desk {
    keeper: Keeper,
    counts: SharedCommandCounts,
}

/// What came of words.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A command, done or refused.
    Replied(Reply),
    /// Done in memory, and the state could not be saved: a restart forgets it.
    Unsaved(Reply),
    /// No command.
    Malformed(Malformed),
}

impl Desk {
    /// A desk on this state.
    #[must_use]
    pub fn new(keeper: Keeper, counts: SharedCommandCounts) -> Self {
        Self { keeper, counts }
    }

    /// Does what a person says.
    pub async fn take(&self, words: &[&str], now_ms: i64, person: &Person) -> Answer {
        match Command::parse(words) {
            Ok(command) => self.execute(&command, now_ms, person).await,
            Err(malformed) => {
                self.counts.count(person.way(), CommandOutcome::Malformed);
                Answer::Malformed(malformed)
            }
        }
    }

    /// Does a command that a button stands for.
    pub async fn execute(&self, command: &Command, now_ms: i64, person: &Person) -> Answer {
        let reply = self.keeper.change(|state| {
            let reply = apply(state, command, now_ms, person);
            let worth = if reply.changed() { Worth::Saving } else { Worth::Keeping };
            (reply, worth)
        });
        let outcome = match &reply {
            Reply::Refused(_) => CommandOutcome::Refused,
            Reply::Muted { .. } | Reply::Unmuted { .. } | Reply::Acknowledged(_) | Reply::Status(_) => {
                CommandOutcome::Done
            }
        };
        self.counts.count(person.way(), outcome);
        if !reply.changed() {
            return Answer::Replied(reply);
        }
        tracing::info!(by = person.name(), way = person.way().name(), ?command, "a command was done");
        match self.keeper.flush(SAVE_PATIENCE).await {
            true => Answer::Replied(reply),
            false => Answer::Unsaved(reply),
        }
    }

    /// Something came that is not even words.
    pub fn malformed(&self, way: Way) {
        self.counts.count(way, CommandOutcome::Malformed);
    }

    /// A command came too late to be done.
    pub fn late(&self, way: Way) {
        self.counts.count(way, CommandOutcome::Late);
    }

    /// Somebody who may not tried to command.
    pub fn forbidden(&self, way: Way) {
        self.counts.count(way, CommandOutcome::Forbidden);
    }
}

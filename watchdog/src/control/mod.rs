//! The way into a running watchdog: a Unix socket in its state directory.
//!
//! Responsible for who may speak (the same user or root, by the kernel's word), for how much and how
//! long (one bounded line each way, with patience), and for the socket's file. What the words do is
//! the desk's business (`commands`). Invariant: nothing but commands on the watchdog's own state comes
//! in here, and word that a channel works again; there is no request that reads a file, starts a program or opens an address.

pub mod client;
mod path;
pub mod server;

use serde::{Deserialize, Serialize};

pub(crate) use self::path::SOCKET_FILE;
use crate::notify::Channel;

/// Longest request in bytes, its line break included.
pub const REQUEST_MAX_BYTES: usize = 4_096;

/// Longest answer in bytes (4 MiB): a status of some thousand cases.
pub const RESPONSE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// What is asked, as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The words of a command.
    Command(Vec<String>),
    /// This channel just took a message of `test-alert`.
    TookTestAlert(Channel),
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Done, and saved.
    Done,
    /// Nothing to change.
    Refused,
    /// Not understood.
    Malformed,
    /// Not for this user.
    Forbidden,
    /// Done in memory and not saved.
    Unsaved,
}

/// What is answered, as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// How it ended.
    pub ending: Ending,
    /// In words.
    pub text: String,
}

#[cfg(test)]
mod tests;

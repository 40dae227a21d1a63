//! Answers in words, for a terminal and for the log: English.
//!
//! How they read, here and in chats, stands in `notify::text`, in every language.

use super::Reply;
use crate::notify::text::{self, Locale};

/// An answer as a person reads it; several lines for a status, no line break at the end.
#[must_use]
pub fn in_english(reply: &Reply) -> String {
    text::reply(reply, Locale::English)
}

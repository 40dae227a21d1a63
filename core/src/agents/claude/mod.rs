//! Claude Code, called with `-p --output-format stream-json --verbose`.
//!
//! `stream` reads its lines, `summary` keeps what matters of them, `end` says what its end was, `cost` what is booked for
//! it, `command` how it is called. Facts are those of 2.1.330; lines that nobody knows are kept count of and passed over.

pub mod command;
pub mod cost;
pub mod end;
pub mod progress;
pub mod stream;
pub mod summary;

#[cfg(test)]
mod tests;

//! The log channel: one structured line a message, always on.

use std::future::{Future, ready};
use std::time::Duration;

use super::Channel;
use super::compose::Message;
use super::delivery::{Outcome, Sender};

/// Writes messages to our own log.
#[derive(Debug, Clone, Copy)]
pub struct LogSender;

impl Sender for LogSender {
    const CHANNEL: Channel = Channel::Log;
    const PACE: Duration = Duration::ZERO;

    fn send(&mut self, message: &Message) -> impl Future<Output = Outcome> + Send {
        tracing::warn!(target: "orch_watchdog::notice", notices = message.seqs.len(), "{}", message.plain);
        ready(Outcome::Taken(None))
    }
}

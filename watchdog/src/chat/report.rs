//! Counters of the poll for updates.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::notify::bot_api::CallFailure;

/// Why a poll brought nothing, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollFailure {
    /// Another program fetches this bot's updates.
    Conflict,
    /// The token or the method is refused.
    Refused,
    /// Too many calls.
    RateLimited,
    /// The server failed.
    Server,
    /// No connection, or no answer in time.
    Network,
    /// An answer that cannot be understood.
    Answer,
}

impl PollFailure {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Conflict, Self::Refused, Self::RateLimited, Self::Server, Self::Network, Self::Answer];

    /// Label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Network => "network",
            Self::Answer => "answer",
        }
    }

    /// Of a call that failed, with the words for the log.
    pub(super) fn of(failure: &CallFailure) -> (Self, String) {
        match failure {
            CallFailure::RetryAfter(wait) => {
                (Self::RateLimited, format!("it asks to wait for {} s", wait.as_secs()))
            }
            CallFailure::Refused { code: 409, description } => (
                Self::Conflict,
                format!(
                    "another program fetches the updates of this bot, or has set a webhook for it; only one \
                     may: give each program a bot of its own ({description})"
                ),
            ),
            CallFailure::Refused { code: 400..=499, description } => (Self::Refused, description.clone()),
            CallFailure::Refused { description, .. } => (Self::Server, description.clone()),
            CallFailure::Network(why) => (Self::Network, (*why).to_owned()),
            CallFailure::MovedTo(_) | CallFailure::DoneUnread => {
                (Self::Answer, "the answer is none of this method".to_owned())
            }
            CallFailure::Answer(why) => (Self::Answer, why.clone()),
        }
    }
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PollReport {
    /// Polls that ended.
    pub polls: u64,
    /// Failures, in the order of [`PollFailure::ALL`].
    pub failures: [u64; PollFailure::ALL.len()],
}

/// A report that the poll writes and a scrape reads.
#[derive(Debug, Clone, Default)]
pub struct SharedPollReport(Arc<Mutex<PollReport>>);

impl SharedPollReport {
    /// As it stands.
    #[must_use]
    pub fn read(&self) -> PollReport {
        *self.lock()
    }

    pub(super) fn ended(&self, failure: Option<PollFailure>) {
        let mut report = self.lock();
        report.polls += 1;
        for (known, count) in PollFailure::ALL.iter().zip(&mut report.failures) {
            *count += u64::from(Some(*known) == failure);
        }
    }

    fn lock(&self) -> MutexGuard<'_, PollReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

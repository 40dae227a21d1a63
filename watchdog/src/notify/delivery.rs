//! One channel at work: takes what waits, sends it, and waits as long as the channel asks.
//!
//! Responsible for the loop of a channel, for its patience (rate limits, back-off, parking) and for
//! its counters. A task of its own, so that a slow channel never delays a tick. Invariants: a notice
//! leaves the outbox only when the channel took it (at least once: a lost answer is sent again), and
//! nothing is sent before it was saved.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Channel;
use super::compose::{self, Message};
use super::outbox::MessageRef;
use super::parking::Parking;
use super::text::Voice;
use super::wait::Wait;
use crate::clock;
use crate::failpoint;
use crate::keeper::{Keeper, Worth};
use crate::store::MovedChat;

/// First wait after a failure that may pass by itself; doubles.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// Longest such wait.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// A channel that refused for good is tried again after this long (one hour).
pub const PARKED_FOR: Duration = Duration::from_secs(3_600);

/// What a channel made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It took it, as this message if it has such.
    Taken(Option<MessageRef>),
    /// It asks for patience of exactly this long.
    Wait(Duration),
    /// It failed in a way that may pass.
    Failed(FailureReason, String),
    /// It refuses until somebody changes something, whatever is sent.
    Refused(FailureReason, String),
    /// It refuses this message for what it says; another one it may take.
    Unsendable(FailureReason, String),
    /// The chat has another number from now on; try again at once.
    Moved(MovedChat),
}

/// Why a delivery failed, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Too many messages.
    RateLimited,
    /// The server failed.
    Server,
    /// No answer, or no connection.
    Network,
    /// Token, chat or rights are wrong.
    Refused,
    /// The chat moved.
    Moved,
    /// An answer that cannot be understood.
    Answer,
}

impl FailureReason {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::RateLimited, Self::Server, Self::Network, Self::Refused, Self::Moved, Self::Answer];

    /// Label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Network => "network",
            Self::Refused => "refused",
            Self::Moved => "moved",
            Self::Answer => "answer",
        }
    }
}

/// A channel's rim.
pub trait Sender {
    /// Which channel.
    const CHANNEL: Channel;

    /// Shortest distance of two messages.
    const PACE: Duration;

    /// Sends one message.
    fn send(&mut self, message: &Message) -> impl Future<Output = Outcome> + Send;
}

/// What a channel has done so far, for metrics and health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelReport {
    /// Messages tried.
    pub attempts: u64,
    /// Failures, in the order of [`FailureReason::ALL`].
    pub failures: [u64; FailureReason::ALL.len()],
    /// Why it is parked, while it is.
    pub parked: Option<String>,
    /// Why the last message failed; absent when it did not.
    pub last_failure: Option<LastFailure>,
    /// Notices that are parked one by one, since they were refused for what they say.
    pub parked_notices: usize,
    /// Why the latest of them was.
    pub parked_notice_why: Option<String>,
}

/// Why a message failed, for whoever is told that a channel takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// Sort of failure.
    pub reason: FailureReason,
    /// In the words of the channel or of the system; may be empty.
    pub why: String,
    /// For how long the channel asked to be left alone, milliseconds.
    pub wait_ms: Option<i64>,
}

/// A report that the loop writes and others read.
#[derive(Debug, Clone, Default)]
pub struct SharedReport(Arc<Mutex<ChannelReport>>);

impl SharedReport {
    /// As it stands.
    #[must_use]
    pub fn read(&self) -> ChannelReport {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, ChannelReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a try and tells the log what came of it.
    pub(crate) fn note(&self, channel: Channel, outcome: &Outcome) {
        let channel = channel.name();
        let mut report = self.lock();
        report.attempts += 1;
        match outcome {
            Outcome::Taken(_) => {
                report.parked = None;
                report.last_failure = None;
            }
            Outcome::Wait(wait) => {
                report.failed(FailureReason::RateLimited, "");
                report.asked_to_wait(*wait);
                tracing::info!(channel, wait_s = wait.as_secs(), "the channel asks to wait");
            }
            Outcome::Failed(reason, why) => {
                report.failed(*reason, why);
                tracing::warn!(channel, reason = reason.name(), why, "could not deliver; trying again");
            }
            Outcome::Refused(reason, why) => {
                report.failed(*reason, why);
                report.parked = Some(why.clone());
                tracing::error!(channel, why, "the channel refuses until somebody changes something");
            }
            Outcome::Unsendable(reason, why) => {
                report.failed(*reason, why);
                tracing::error!(channel, why, "the channel refuses what this message says");
            }
            Outcome::Moved(moved) => {
                report.failed(FailureReason::Moved, "");
                tracing::warn!(channel, "the chat has a new number; change the setting to {}", moved.now);
            }
        }
    }
}

impl SharedReport {
    /// So many notices are parked one by one, the latest for this.
    pub(crate) fn set_parked(&self, count: usize, why: Option<String>) {
        let mut report = self.lock();
        report.parked_notices = count;
        report.parked_notice_why = why;
    }
}

impl ChannelReport {
    fn failed(&mut self, reason: FailureReason, why: &str) {
        self.last_failure = Some(LastFailure { reason, why: why.to_owned(), wait_ms: None });
        for (known, count) in FailureReason::ALL.iter().zip(&mut self.failures) {
            *count += u64::from(*known == reason);
        }
    }

    /// Not counted: a wait of an earlier life is no failure of this one.
    fn asked_to_wait(&mut self, wait: Duration) {
        let wait_ms = i64::try_from(wait.as_millis()).ok();
        let (reason, why) = (FailureReason::RateLimited, String::new());
        self.last_failure = Some(LastFailure { reason, why, wait_ms });
    }
}

/// How long a channel must be left alone. Pure: the loop asks it, outcomes change it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    failures_in_a_row: u32,
    moves_in_a_row: u32,
}

impl Patience {
    /// The wait before the next try, after an outcome.
    pub fn after(&mut self, outcome: &Outcome) -> Duration {
        match outcome {
            Outcome::Taken(_) => {
                *self = Self::default();
                Duration::ZERO
            }
            Outcome::Wait(wait) => *wait,
            // parked by itself
            Outcome::Unsendable(..) => Duration::ZERO,
            Outcome::Failed(..) => self.backoff(),
            Outcome::Refused(..) => PARKED_FOR,
            // followed at once; a chat that moves on without taking anything is a fault
            Outcome::Moved(_) if self.moves_in_a_row == 0 => {
                self.moves_in_a_row = 1;
                Duration::ZERO
            }
            Outcome::Moved(_) => self.backoff(),
        }
    }

    fn backoff(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures_in_a_row).unwrap_or(u32::MAX);
        self.failures_in_a_row = (self.failures_in_a_row + 1).min(16);
        BACKOFF_FIRST.saturating_mul(factor).min(BACKOFF_MAX)
    }
}

/// Whether a channel's alerts carry buttons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buttons {
    /// Somebody listens to them.
    Shown,
    /// Nobody does.
    None,
}

/// Everything a loop works with.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// State with the outbox.
    pub keeper: Keeper,
    /// How texts are told.
    pub voice: Voice,
    /// Whether alerts carry buttons.
    pub buttons: Buttons,
    /// Where to report.
    pub report: SharedReport,
    /// Ends the wait of a parked channel: somebody saw it take a message.
    pub unpark: Arc<Notify>,
    /// Ends the loop.
    pub stop: CancellationToken,
}

/// Delivers until it is told to stop.
pub async fn run<S: Sender>(delivery: Delivery, mut sender: S) {
    let mut saved = delivery.keeper.saved();
    let mut patience = Patience::default();
    let mut parking = Parking::default();
    if delivery.wait_on(S::CHANNEL).await == Rest::Stopped {
        return;
    }
    loop {
        let outbox_seq = saved.borrow_and_update().outbox_seq;
        let (message, waiting, newest) = delivery.keeper.read(|state| {
            let waiting = parking.choose(state.outbox.waiting(S::CHANNEL, outbox_seq), Instant::now());
            let newest = state.outbox.newest_kind().unwrap_or_default();
            let cases = match delivery.buttons {
                Buttons::Shown => Some(&state.alerts),
                Buttons::None => None,
            };
            let waiting = compose::as_of_now(waiting, &state.alerts, clock::wall_ms());
            (compose::next(&state.outbox, &waiting, &delivery.voice, cases), waiting, newest)
        });
        delivery.report.set_parked(parking.count(), parking.why());
        let Some(message) = message else {
            tokio::select! {
                () = delivery.stop.cancelled() => return,
                () = delivery.parked_ones_are_due(&parking) => {
                    parking.release();
                    continue;
                }
                changed = saved.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
        };
        crash_point(S::CHANNEL, "before_send", newest);
        let outcome = tokio::select! {
            () = delivery.stop.cancelled() => return,
            outcome = sender.send(&message) => outcome,
        };
        crash_point(S::CHANNEL, "after_send", newest);
        settle::<S>(&delivery, &message, &outcome);
        match &outcome {
            Outcome::Taken(_) => parking.taken(&message.seqs),
            Outcome::Unsendable(_, why) => parking.refused(&waiting, &message.seqs, why, Instant::now()),
            Outcome::Wait(_) | Outcome::Failed(..) | Outcome::Refused(..) | Outcome::Moved(_) => {}
        }
        delivery.report.set_parked(parking.count(), parking.why());
        crash_point(S::CHANNEL, "after_record", newest);
        let wait = patience.after(&outcome).max(S::PACE);
        if delivery.rest(&outcome, wait).await == Rest::Stopped {
            return;
        }
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Go on.
    Over,
    /// The program ends.
    Stopped,
}

impl Delivery {
    /// Waits out what the channel asked for in an earlier life of this program. A test alert that it
    /// took meanwhile ends the wait: it is another bot now, or has changed its mind.
    pub(super) async fn wait_on(&self, channel: Channel) -> Rest {
        let asked = self.keeper.read(|state| state.waits.get(&channel).copied());
        let left = asked.map_or(Duration::ZERO, |wait| wait.left(clock::wall_ms()));
        if left.is_zero() {
            return Rest::Over;
        }
        tracing::info!(
            channel = channel.name(),
            wait_s = left.as_secs(),
            "the channel asked to wait, before this start"
        );
        self.report.lock().asked_to_wait(left);
        tokio::select! {
            () = self.stop.cancelled() => Rest::Stopped,
            () = tokio::time::sleep(left) => Rest::Over,
            () = self.unpark.notified() => Rest::Over,
        }
    }

    /// Keeps a wait that a channel asks for, and forgets it when there is another word.
    pub(super) fn keep_wait(&self, channel: Channel, outcome: &Outcome) {
        self.keeper.change(|state| {
            let before = state.waits.get(&channel).copied();
            match outcome {
                Outcome::Wait(wait) => {
                    state.waits.insert(channel, Wait::asked(clock::wall_ms(), *wait));
                }
                Outcome::Taken(_)
                | Outcome::Failed(..)
                | Outcome::Refused(..)
                | Outcome::Unsendable(..)
                | Outcome::Moved(_) => {
                    state.waits.remove(&channel);
                }
            }
            let same = state.waits.get(&channel).copied() == before;
            ((), if same { Worth::Keeping } else { Worth::Saving })
        });
    }

    /// Ends when a parked notice is to be tried again, or when the channel took a test alert; never while none is parked.
    async fn parked_ones_are_due(&self, parking: &Parking) {
        let Some(due) = parking.next_due() else { return std::future::pending().await };
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = self.unpark.notified() => {}
        }
    }

    /// Waits after an outcome; a parked channel may be woken earlier.
    pub(super) async fn rest(&self, outcome: &Outcome, wait: Duration) -> Rest {
        let unparked = async {
            match outcome {
                Outcome::Refused(..) => self.unpark.notified().await,
                Outcome::Taken(_)
                | Outcome::Wait(_)
                | Outcome::Failed(..)
                | Outcome::Unsendable(..)
                | Outcome::Moved(_) => {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => Rest::Stopped,
            () = tokio::time::sleep_until(Instant::now() + wait) => Rest::Over,
            () = unparked => Rest::Over,
        }
    }
}

/// Where a test may end the program: around a message of a channel, by the kind of its newest notice.
pub(super) fn crash_point(channel: Channel, at: &str, newest: &str) {
    failpoint::hit(&format!("{}.{at}", channel.name()), newest);
}

/// Writes an outcome down.
fn settle<S: Sender>(delivery: &Delivery, message: &Message, outcome: &Outcome) {
    delivery.report.note(S::CHANNEL, outcome);
    delivery.keep_wait(S::CHANNEL, outcome);
    match outcome {
        Outcome::Taken(sent) => delivery.keeper.change(|state| {
            state.outbox.taken(S::CHANNEL, &message.seqs, *sent);
            ((), Worth::Saving)
        }),
        Outcome::Moved(moved) => delivery.keeper.change(|state| {
            state.moved_chat = Some(*moved);
            ((), Worth::Saving)
        }),
        Outcome::Wait(_) | Outcome::Failed(..) | Outcome::Refused(..) | Outcome::Unsendable(..) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_is_waited_out_exactly_and_failures_back_off_to_a_bound() {
        let mut patience = Patience::default();
        let failed = Outcome::Failed(FailureReason::Network, String::new());
        let waits: Vec<u64> = (0..12).map(|_| patience.after(&failed).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(patience.after(&Outcome::Wait(Duration::from_secs(7))).as_secs(), 7);
        assert_eq!(patience.after(&Outcome::Taken(None)), Duration::ZERO);
        assert_eq!(patience.after(&failed).as_secs(), 1);
        assert_eq!(patience.after(&Outcome::Refused(FailureReason::Refused, String::new())), PARKED_FOR);
    }

    /// Two chats that named each other as their successors got twenty messages in twenty seconds.
    #[test]
    fn a_move_is_followed_at_once_and_moves_in_a_circle_back_off_to_the_bound() {
        let mut patience = Patience::default();
        let moved = |now| Outcome::Moved(MovedChat { configured: 1, now });
        let waits: Vec<u64> = (0..12).map(|at| patience.after(&moved(at % 2)).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        patience.after(&Outcome::Taken(None));
        assert_eq!(patience.after(&moved(2)).as_secs(), 0, "a later move is followed again");
        let failed = Outcome::Failed(FailureReason::Network, String::new());
        patience.after(&Outcome::Taken(None));
        patience.after(&failed);
        assert_eq!(patience.after(&moved(3)).as_secs(), 0, "an earlier fault is none of the move");
    }
}

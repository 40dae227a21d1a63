//! The loop over ticks, on a thread of its own.
//!
//! Responsible for when a tick happens, and for the poll of the core that belongs to it: both run on one thread, so that
//! a cycle wakes nobody else. Health, commands and deliveries stand on another one: a read of `/proc` that does not
//! return (a process whose memory lock is stuck) keeps none of them from going on. Invariant: whoever is told to stop
//! hears within a patience whether the ticks have ended ([`TicksError`]).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::core_poll::{self, Answer};
use crate::http::Published;
use crate::tick::{ProcSource, TickKind, Ticker};

/// A tick waits this long for the answer that belongs to it, at most a quarter of its period: a core
/// that answers at once is judged at once, and one that does not delays nobody.
const ANSWER_WAIT: Duration = Duration::from_millis(250);

/// Early ticks keep this distance, so that a storm of ending processes is one tick.
const EARLY_TICK_DISTANCE: Duration = Duration::from_millis(250);

/// Looks at processes and can tell when a watched one ended.
pub trait WatchedProcSource: ProcSource {
    /// Waits for the end of a watched process; never returns when none is watched. Dropping the
    /// future loses nothing.
    fn ended(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

/// Why ticks ended without being told to, or did not when they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TicksError {
    /// One is in the middle of something that does not come back.
    #[error("a tick does not come back; ended without it")]
    Stuck,
    /// A defect of ours ended them.
    #[error("a tick broke down")]
    Panicked,
}

/// The thread that ticks.
#[derive(Debug)]
pub struct Ticking {
    /// Its last word; it goes without one when it breaks down.
    last_word: oneshot::Receiver<()>,
    ended: Option<Result<(), TicksError>>,
}

impl Ticking {
    /// Ticks until `stop`.
    ///
    /// # Errors
    /// When the system gives no thread, or no event queue for it.
    pub fn start<P: WatchedProcSource + Send + 'static>(
        mut ticker: Ticker<P>,
        period: Duration,
        published: Arc<Published>,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let (tell, last_word) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("ticks".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tick_on(&mut ticker, period, &published) => {}
                }
            });
            // a name that is being resolved must not hold the end
            runtime.shutdown_background();
            drop((ticker, published));
            // nobody listens any more when the patience was over
            let _unheard: Result<(), ()> = tell.send(());
        })?;
        Ok(Self { last_word, ended: None })
    }

    /// Waits for the end of the ticks. Cancel-safe.
    ///
    /// # Errors
    /// When a defect ended them.
    pub async fn ended(&mut self) -> Result<(), TicksError> {
        match self.ended {
            Some(ended) => ended,
            None => {
                let word = (&mut self.last_word).await;
                *self.ended.insert(word.map_err(|_| TicksError::Panicked))
            }
        }
    }

    /// How they ended, once they were told to.
    ///
    /// # Errors
    /// When they did not within `patience`, or by a defect.
    pub async fn end_within(mut self, patience: Duration) -> Result<(), TicksError> {
        tokio::time::timeout(patience, self.ended()).await.unwrap_or(Err(TicksError::Stuck))
    }
}

/// What the loop over ticks goes on with.
enum Event {
    /// A tick is due.
    Due(Instant),
    /// A poll of the core has ended.
    Answered(Answer),
    /// A tick has waited long enough for the answer.
    Waited,
    /// A watched process ended.
    Ended,
    /// An orphan's grace is over.
    GraceOver,
}

/// Ticks for ever: on time, skipping what was missed, and early when a watched process or an orphan's grace ends. A tick
/// begins with a poll of the core and waits [`ANSWER_WAIT`] for it, meanwhile serving ends; an answer
/// that comes later has a tick of its own.
async fn tick_on(ticker: &mut Ticker<impl WatchedProcSource>, period: Duration, published: &Published) {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last_due: Option<Instant> = None;
    let mut waits_until: Option<Instant> = None;
    let mut grace_over: Option<Instant> = None;
    loop {
        let event = tokio::select! {
            biased;
            due = interval.tick(), if waits_until.is_none() => Event::Due(due),
            answer = core_poll::answer_of(ticker.core.as_mut()) => Event::Answered(answer),
            () = until(waits_until) => Event::Waited,
            () = ticker.proc.ended() => Event::Ended,
            () = until(grace_over) => Event::GraceOver,
        };
        let kind = match event {
            Event::Due(due) => {
                ticker.view.counters.ticks_skipped += skipped(last_due, due, period);
                last_due = Some(due);
                match &mut ticker.core {
                    Some(core) => {
                        core.ask();
                        waits_until = Some(Instant::now() + ANSWER_WAIT.min(period / 4));
                        continue;
                    }
                    None => TickKind::Regular,
                }
            }
            Event::Answered(answer) => {
                ticker.take(answer);
                match waits_until.take() {
                    Some(_) => TickKind::Regular,
                    None => TickKind::Late,
                }
            }
            Event::Waited => {
                waits_until = None;
                TickKind::Unanswered
            }
            Event::Ended => {
                tokio::time::sleep(EARLY_TICK_DISTANCE.min(period)).await;
                TickKind::Early
            }
            Event::GraceOver => TickKind::Early,
        };
        ticker.tick(kind);
        grace_over = ticker.next_grace_end().map(|left| Instant::now() + left);
        match kind.is_due() {
            true => published.ticked(ticker.view.clone()),
            false => published.refreshed(ticker.view.clone()),
        }
    }
}

/// Waits until then, or for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// Whole periods between two ticks that saw none.
fn skipped(last: Option<Instant>, due: Instant, period: Duration) -> u64 {
    let Some(last) = last else { return 0 };
    let periods = (due - last).as_millis() / period.as_millis().max(1);
    u64::try_from(periods.saturating_sub(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_periods_are_counted_and_not_made_up_for() {
        let period = Duration::from_secs(15);
        let start = Instant::now();
        for (seconds, expected) in [(15, 0), (16, 0), (30, 1), (61, 3)] {
            assert_eq!(skipped(Some(start), start + Duration::from_secs(seconds), period), expected);
        }
        assert_eq!(skipped(None, start, period), 0);
    }
}

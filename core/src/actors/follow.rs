//! Follows an agent's stream while its run lives: what it told is stored as it comes, and a program that has told its
//! result is not waited for.
//!
//! Responsible for reading, storing and asking for the run's stop. What an end means is judged in `settle`, from the row.
//! Losing a follower loses nothing: the next one, and whoever records the end, go on from what is stored.

use std::convert::Infallible;

use crate::{
    agents::claude::{
        cost::{Spent, session_total},
        progress::{Heard, Progress},
    },
    chain::chain,
    domain::{budget::Cap, ids::RunId},
    engine::Engine,
    runs::booking::told,
    store::StreamTold,
};

/// How often the stream is looked at.
const LOOK_MS: i64 = 500;

/// How often at most it is stored what brought neither a session nor a result.
const STORE_MS: i64 = 5_000;

/// How long a program may stay that has told its result: what it left in the background can keep it for ever.
const LINGER_MS: i64 = 10_000;

/// A run whose stream is followed.
pub(super) struct Followed {
    pub(super) run: RunId,
    pub(super) told: StreamTold,
    pub(super) reserved_microusd: Option<i64>,
}

/// Follows until it is dropped.
pub(super) async fn follow(engine: &Engine, followed: Option<Followed>) -> Infallible {
    let Some(Followed { run, told, reserved_microusd }) = followed else {
        return std::future::pending().await;
    };
    let mut follower = Follower {
        engine,
        run,
        reserved_microusd,
        progress: Progress::from_stored(told.offset, Some(&told.state)),
        before: None,
        result_at_ms: None,
        stored_at_ms: i64::MIN,
        is_stored: true,
    };
    if follower.progress.summary().result.is_some() {
        follower.result_at_ms = Some(engine.clock.passed_ms());
    }
    follower.learn_before().await;
    loop {
        while follower.look().await {}
        follower.store().await;
        follower.stop_if_due();
        engine.clock.sleep_ms(LOOK_MS).await;
    }
}

struct Follower<'a> {
    engine: &'a Engine,
    run: RunId,
    reserved_microusd: Option<i64>,
    progress: Progress,
    /// The session's total before this run, once it is known.
    before: Option<Spent>,
    /// Since when a result stands with no work behind it.
    result_at_ms: Option<i64>,
    stored_at_ms: i64,
    is_stored: bool,
}

impl Follower<'_> {
    /// Takes what is there; whether there may be more at once.
    async fn look(&mut self) -> bool {
        let bytes = match self.engine.runs.read(self.run, self.progress.read_to()).await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(run = self.run.0, %error, "an agent's stream cannot be read now");
                return false;
            }
        };
        if bytes.is_empty() {
            return false;
        }
        let had_session = self.progress.summary().session.is_some();
        let Heard { lines, result, work } = self.progress.take(&bytes);
        if result {
            self.result_at_ms = Some(self.engine.clock.passed_ms());
        }
        if work {
            self.result_at_ms = None;
        }
        self.is_stored &= !lines;
        // both are worth a write at once: a session can be gone on with, a result is what the run was for
        if result || had_session != self.progress.summary().session.is_some() {
            self.stored_at_ms = i64::MIN;
            self.learn_before().await;
        }
        true
    }

    async fn learn_before(&mut self) {
        let session = self.progress.summary().session.as_deref();
        match self.engine.runs.session_before(self.run, session).await {
            Ok(before) => self.before = before,
            Err(error) => tracing::warn!(error = %chain(&error), "what a session had cost is not known now"),
        }
    }

    async fn store(&mut self) {
        let now = self.engine.clock.passed_ms();
        if self.is_stored || now < self.stored_at_ms.saturating_add(STORE_MS) {
            return;
        }
        match self.engine.store.record_stream(self.run, told(&self.progress)).await {
            Ok(()) => (self.is_stored, self.stored_at_ms) = (true, now),
            Err(error) => {
                tracing::warn!(run = self.run.0, error = %chain(&error), "how far a stream was read is not stored");
            }
        }
    }

    fn stop_if_due(&mut self) {
        let lingers =
            self.result_at_ms.is_some_and(|at| self.engine.clock.passed_ms().saturating_sub(at) >= LINGER_MS);
        if lingers {
            tracing::info!(run = self.run.0, "an agent has told its result and stays: it is ended");
        } else if self.works_beyond_its_budget() {
            tracing::warn!(run = self.run.0, "an agent works on though its budget is used up: it is ended");
        } else {
            return;
        }
        self.engine.runs.stop(self.run);
    }

    /// The program stops at its own cap; this is for one that does not.
    fn works_beyond_its_budget(&self) -> bool {
        let total = self.progress.summary().result.as_ref().and_then(session_total);
        let spent = total.map(|total| total.microusd - self.before.unwrap_or_default().microusd);
        self.engine.config.jobs.budgets.cap == Cap::Hard
            && self.result_at_ms.is_none()
            && spent.zip(self.reserved_microusd).is_some_and(|(spent, reserved)| spent >= reserved)
    }
}

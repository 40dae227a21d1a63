//! The only place that asks for the time.
//!
//! Responsible for the wall clock (stamps that people and files see) and the monotonic clock
//! (intervals). Pure code takes time as an argument; everything here is called by the rim.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall clock, UTC Unix milliseconds; a clock before 1970 reads as 0.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module is the clock")]
pub fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A stopwatch on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this module is the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

//! The wall and the monotonic clock of the harness.
//!
//! Responsible for being the only place here that reads a clock. Real binaries run in real time, so
//! there is no manual clock at this level; deadlines are patience, never an assertion.
#![expect(clippy::disallowed_methods, reason = "this module is the door to the clock")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, by the monotonic clock.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Now, UTC Unix milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

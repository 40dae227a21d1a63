//! The one place that reads clocks.
//!
//! Everything that waits or stamps asks a [`Clock`]; the pure middle gets the time as an argument.
//! A manual clock for simulations is another variant, not a mock of this one.

use std::{
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Time that somebody else moves on.
pub trait ManualTime: Debug + Send + Sync {
    /// UTC Unix milliseconds; may jump either way, as a host's clock may.
    fn now_ms(&self) -> i64;

    /// Milliseconds that have passed since some moment, jumps not counted.
    fn passed_ms(&self) -> i64;

    /// Resolves when this much time has passed, jumps not counted.
    fn sleep_ms(&self, wait_ms: i64) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Source of time; cheap to clone.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The host's.
    #[default]
    System,
    /// A simulation's.
    Manual(Arc<dyn ManualTime>),
}

impl Clock {
    /// UTC Unix milliseconds.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the module that the ban points to")]
    pub fn now_ms(&self) -> i64 {
        if let Self::Manual(time) = self {
            return time.now_ms();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// Monotonic time of the host, for durations only.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the module that the ban points to")]
    pub fn instant(&self) -> std::time::Instant {
        std::time::Instant::now()
    }

    /// Milliseconds that have passed since some moment of this life, whatever the clock was set to.
    #[must_use]
    pub fn passed_ms(&self) -> i64 {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        if let Self::Manual(time) = self {
            return time.passed_ms();
        }
        let now = self.instant();
        let passed = now.saturating_duration_since(*BEGAN.get_or_init(|| now));
        i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)
    }

    /// Waits.
    pub async fn sleep_ms(&self, wait_ms: i64) {
        if let Self::Manual(time) = self {
            return time.sleep_ms(wait_ms).await;
        }
        let wait = u64::try_from(wait_ms).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

/// UTC milliseconds as RFC 3339 text with milliseconds, for people and logs.
#[must_use]
pub fn rfc3339(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| format!("{at_ms} ms"), |time| format!("{time:.3}"))
}

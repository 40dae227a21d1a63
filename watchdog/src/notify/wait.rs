//! A wait that a service asked for, kept so that a restart does not forget it.
//!
//! Responsible for how much of it is left when a program begins. Pure: a value that is saved with the
//! outbox. Invariant: never longer than what was asked for, whatever the clock did meanwhile, and
//! never longer than [`WAIT_MAX`], whatever stands in the file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest wait that is kept (a day): whoever asks for more is asked again then.
pub const WAIT_MAX: Duration = Duration::from_secs(86_400);

/// Until when a service wants to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    asked_at_ms: i64,
    until_ms: i64,
}

impl Wait {
    /// Asked for just now.
    #[must_use]
    pub fn asked(now_ms: i64, wait: Duration) -> Self {
        let for_ms = i64::try_from(wait.min(WAIT_MAX).as_millis()).unwrap_or(i64::MAX);
        Self { asked_at_ms: now_ms, until_ms: now_ms.saturating_add(for_ms) }
    }

    /// What is left of it. A clock that was set back makes it begin anew and not last until the clock
    /// has caught up; one that was set forward ends it early, and the service asks once more.
    #[must_use]
    pub fn left(self, now_ms: i64) -> Duration {
        let asked_ms = self.until_ms.saturating_sub(self.asked_at_ms);
        let left_ms = self.until_ms.saturating_sub(now_ms).min(asked_ms);
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_700_000_000_000;

    #[test]
    fn what_is_left_is_never_more_than_was_asked_for() {
        let hour = Wait::asked(T0, Duration::from_secs(3_600));
        for (now_ms, left_s) in [
            (T0, 3_600),
            (T0 + 1_000, 3_599),
            (T0 + 3_600_000, 0),
            (T0 + 3_600_001, 0),
            (i64::MAX, 0),
            // set back by a day, by all there is
            (T0 - 86_400_000, 3_600),
            (i64::MIN, 3_600),
        ] {
            assert_eq!(hour.left(now_ms).as_secs(), left_s, "{now_ms}");
        }
    }

    #[test]
    fn an_absurd_wait_is_a_day_at_most() {
        assert_eq!(Wait::asked(T0, Duration::MAX).left(T0), WAIT_MAX);
        for stored in [
            r#"{"asked_at_ms":0,"until_ms":9223372036854775807}"#,
            r#"{"asked_at_ms":-9223372036854775808,"until_ms":9223372036854775807}"#,
        ] {
            let stored: Wait = serde_json::from_str(stored).unwrap();
            assert!(stored.left(T0) <= WAIT_MAX, "{stored:?}");
        }
        let ended: Wait = serde_json::from_str(r#"{"asked_at_ms":5,"until_ms":-5}"#).unwrap();
        assert_eq!(ended.left(T0), Duration::ZERO);
    }
}

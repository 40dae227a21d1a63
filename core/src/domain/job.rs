//! Roles and jobs: queued units of agent work.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who works in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Writes the brief.
    Analyst,
    /// Writes the decision record.
    Architect,
    /// Changes code and tests.
    Developer,
    /// Reads the change.
    Reviewer,
    /// Tries the change.
    Tester,
    /// Prepares staging.
    Deployer,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Analyst, Self::Architect, Self::Developer, Self::Reviewer, Self::Tester, Self::Deployer];

    /// Name in store, settings, API and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Analyst => "analyst",
            Self::Architect => "architect",
            Self::Developer => "developer",
            Self::Reviewer => "reviewer",
            Self::Tester => "tester",
            Self::Deployer => "deployer",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Life of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Waits for a slot or a time.
    Queued,
    /// A run works on it, or its end is being settled.
    Running,
    /// The agent ended well.
    Done,
    /// Its attempts are used up.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
}

impl JobStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// Name in store and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// When attempt `next_attempt` (from 2) may start: exponential from `base_ms`, capped at 32 times,
/// spread over ±20 % by `spread` in `0..=1000` so that jobs that failed together do not return
/// together.
#[must_use]
pub fn backoff_ms(base_ms: i64, next_attempt: u32, spread: u32) -> i64 {
    let doublings = next_attempt.saturating_sub(2).min(5);
    let full = base_ms.max(0).saturating_mul(1 << doublings);
    let permille = 800 + i64::from(spread.min(1000)) * 400 / 1000;
    full.saturating_mul(permille) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_is_capped_and_spreads_by_a_fifth() {
        assert_eq!(backoff_ms(10_000, 2, 500), 10_000);
        assert_eq!(backoff_ms(10_000, 3, 500), 20_000);
        assert_eq!(backoff_ms(10_000, 40, 500), 320_000);
        assert_eq!(backoff_ms(10_000, 2, 0), 8_000);
        assert_eq!(backoff_ms(10_000, 2, 1000), 12_000);
        assert_eq!(backoff_ms(-5, 2, 1000), 0);
    }

    #[test]
    fn names_round_trip() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        for status in JobStatus::ALL {
            assert_eq!(JobStatus::parse(status.as_str()), Some(status));
        }
    }
}

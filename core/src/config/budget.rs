//! How long one edge may take, and the rule that the reaper's ceiling exceeds it.
//!
//! Pure sums over time-outs. Keeps the invariant that no healthy holder of a lease, and no healthy
//! agent, is ever over the ceiling.

use orch_settings::{Problem, decimal};

/// Key of the reaper's ceiling.
pub const CEILING_KEY: &str = "ORCH_REAPER_MAX_RUNNING_S";

/// One limit that counts, by the name of its setting (`KEY`, or `KEY:project` where a project
/// sets its own).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Name of the setting.
    pub key: String,
    /// Value, in milliseconds.
    pub ms: i64,
}

/// The limits of the steps along one edge, and the graces around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeBudget {
    /// Each of them.
    pub limits: Vec<Limit>,
}

impl EdgeBudget {
    /// How long a lease may be held without anything being wrong, in milliseconds.
    #[must_use]
    pub fn sum_ms(&self) -> i64 {
        self.limits.iter().map(|limit| limit.ms).sum()
    }

    /// The largest single limit, in milliseconds.
    #[must_use]
    pub fn largest_ms(&self) -> i64 {
        self.limits.iter().map(|limit| limit.ms).max().unwrap_or(0)
    }

    /// The rule: the ceiling is at least the sum.
    #[must_use]
    pub fn problem(&self, ceiling_ms: i64) -> Option<Problem> {
        if ceiling_ms >= self.sum_ms() {
            return None;
        }
        let terms: Vec<String> =
            self.limits.iter().map(|limit| format!("{}={}", limit.key, seconds(limit.ms))).collect();
        let reason = format!(
            "too small for one edge: {} = {} in sum; raise it, or lower one of them",
            terms.join(" + "),
            seconds(self.sum_ms())
        );
        Some(Problem::with_value(CEILING_KEY, seconds(ceiling_ms), reason))
    }
}

/// The rule for an agent: the ceiling is at least its limit.
#[must_use]
pub fn agent_problem(limit: &Limit, ceiling_ms: i64) -> Option<Problem> {
    (limit.ms > ceiling_ms).then(|| {
        let reason = format!(
            "smaller than the limit {}={}: such an agent would be reaped while it works",
            limit.key,
            seconds(limit.ms)
        );
        Problem::with_value(CEILING_KEY, seconds(ceiling_ms), reason)
    })
}

/// Milliseconds as seconds, the way settings are written.
pub(crate) fn seconds(ms: i64) -> String {
    decimal::show(ms, 1_000)
}

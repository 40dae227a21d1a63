//! What the end of a run of Claude Code was.
//!
//! The exit code alone tells nothing: an interrupted run ends with 0, a refused one calls itself `success`. Only both
//! together with the flag `is_error` do. Whether to try again, and when, is for whoever settles the job.

use super::stream::ResultLine;
use super::summary::Summary;
use crate::process::Outcome;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEnd {
    /// It did what it was asked to, by its own word. What that is worth is the gate's to say.
    Done,
    /// It used up the model calls that it was given.
    TurnsUsedUp,
    /// It used up the money that it was given.
    BudgetUsedUp,
    /// The account's share is used up.
    UsageLimit {
        /// Until when, where that was told, UTC Unix milliseconds.
        until_ms: Option<i64>,
    },
    /// The service is overloaded or down.
    Overloaded,
    /// The service refused the request for what it is.
    Refused {
        /// HTTP status.
        status: Option<u16>,
        /// In words.
        why: String,
    },
    /// The session that was to go on is not there: its files are gone, or were made in another directory.
    SessionUnknown,
    /// Another process uses the session.
    SessionInUse,
    /// It did not understand how it was called.
    Misused {
        /// In its words.
        why: String,
    },
    /// Somebody interrupted it, and it could say what it had cost.
    Interrupted,
    /// Its time was up.
    TimedOut,
    /// Somebody stopped it before it could say anything.
    Stopped,
    /// It ended without a word of what it came to.
    NoResult {
        /// How, in words.
        how: String,
    },
    /// It says that it failed.
    Failed {
        /// In its words.
        why: String,
    },
}

impl AgentEnd {
    /// In words, for whoever reads why an attempt failed.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Done => "done".to_owned(),
            Self::TurnsUsedUp => "its turns are used up (max_turns of the role)".to_owned(),
            Self::BudgetUsedUp => "its budget is used up".to_owned(),
            Self::UsageLimit { .. } => "the account's usage limit is reached".to_owned(),
            Self::Overloaded => "the model's service is overloaded".to_owned(),
            Self::Refused { status: Some(status), why } => {
                format!("the model's service refused ({status}): {why}")
            }
            Self::Refused { status: None, why } => format!("the model's service refused: {why}"),
            Self::SessionUnknown => "its session is not there any more".to_owned(),
            Self::SessionInUse => "another process uses its session".to_owned(),
            Self::Misused { why } => format!("it did not begin: {why}"),
            Self::Interrupted => "it was interrupted".to_owned(),
            Self::TimedOut => "timed out".to_owned(),
            Self::Stopped => "stopped".to_owned(),
            Self::NoResult { how } => format!("it ended without a result ({how})"),
            Self::Failed { why } => format!("it says that it failed: {why}"),
        }
    }
}

/// Judges an end. `stderr` is the last of what it complained of.
#[must_use]
pub fn judge(outcome: &Outcome, summary: &Summary, stderr: &str) -> AgentEnd {
    match &summary.result {
        Some(result) => with_result(outcome, result),
        None => without_result(outcome, summary, stderr),
    }
}

fn with_result(outcome: &Outcome, result: &ResultLine) -> AgentEnd {
    let words = || {
        let last = result.errors.last().cloned().or_else(|| result.result.clone());
        last.unwrap_or_else(|| result.subtype.clone())
    };
    if result.subtype == "success" && !result.is_error {
        return match outcome {
            // what it left behind may keep it from ending: it is ended then, and has done its work
            Outcome::Exited { code: 0 } | Outcome::Stopped | Outcome::TimedOut => AgentEnd::Done,
            Outcome::Exited { code } => {
                AgentEnd::Failed { why: format!("success, it says, and exits with {code}") }
            }
            Outcome::Signaled { signal } => {
                AgentEnd::Failed { why: format!("success, it says, and is ended by signal {signal}") }
            }
            Outcome::NotStarted { .. } => AgentEnd::NoResult { how: "it was never started".to_owned() },
        };
    }
    match result.subtype.as_str() {
        "error_max_turns" => AgentEnd::TurnsUsedUp,
        "error_max_budget_usd" => AgentEnd::BudgetUsedUp,
        "error_during_execution" if result.errors.iter().any(|error| is_unknown_session(error)) => {
            AgentEnd::SessionUnknown
        }
        "error_during_execution" if aborted(result) => match outcome {
            Outcome::TimedOut => AgentEnd::TimedOut,
            Outcome::Exited { .. }
            | Outcome::Signaled { .. }
            | Outcome::Stopped
            | Outcome::NotStarted { .. } => AgentEnd::Interrupted,
        },
        _ => match result.api_error_status {
            Some(429) => AgentEnd::UsageLimit { until_ms: limit_until_ms(&words()) },
            Some(status) if is_overload(status) => AgentEnd::Overloaded,
            _ if words().contains("usage limit reached") => {
                AgentEnd::UsageLimit { until_ms: limit_until_ms(&words()) }
            }
            status if result.terminal_reason.as_deref() == Some("api_error") => {
                AgentEnd::Refused { status, why: words() }
            }
            _ => AgentEnd::Failed { why: words() },
        },
    }
}

fn without_result(outcome: &Outcome, summary: &Summary, stderr: &str) -> AgentEnd {
    let complaint = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    match outcome {
        Outcome::NotStarted { .. } => AgentEnd::NoResult { how: "it was never started".to_owned() },
        Outcome::Exited { code } if *code != 0 && summary.session.is_none() => {
            if is_unknown_session(complaint) {
                AgentEnd::SessionUnknown
            } else if complaint.contains("is already in use") {
                AgentEnd::SessionInUse
            } else {
                AgentEnd::Misused { why: complaint.to_owned() }
            }
        }
        // its silence had a cause that is nobody's here
        Outcome::TimedOut | Outcome::Stopped if let Some(retry) = &summary.retry => match retry.status {
            Some(429) => AgentEnd::UsageLimit { until_ms: None },
            _ => AgentEnd::Overloaded,
        },
        Outcome::TimedOut => AgentEnd::TimedOut,
        Outcome::Stopped => AgentEnd::Stopped,
        Outcome::Exited { code } => AgentEnd::NoResult { how: format!("exit {code}: {complaint}") },
        Outcome::Signaled { signal } => AgentEnd::NoResult { how: format!("signal {signal}") },
    }
}

fn aborted(result: &ResultLine) -> bool {
    result.terminal_reason.as_deref().is_some_and(|reason| reason.starts_with("aborted"))
}

fn is_unknown_session(words: &str) -> bool {
    words.contains("No conversation found")
}

/// Statuses of a service that is there and cannot serve now.
fn is_overload(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504 | 529)
}

/// `… usage limit reached|1760000000`: the second from which it is served again.
fn limit_until_ms(words: &str) -> Option<i64> {
    let seconds: i64 = words.rsplit_once('|')?.1.trim().parse().ok()?;
    seconds.checked_mul(1000).filter(|ms| *ms > 0)
}

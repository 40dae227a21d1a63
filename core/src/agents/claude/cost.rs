//! What a run is booked with.
//!
//! The program counts money and tokens over all runs of a session, so that a run is the difference to what the session
//! had before. Who is killed says nothing of its cost: the bound that was reserved is booked then, and marked.

use serde::{Deserialize, Serialize};

use super::stream::ResultLine;
use super::summary::Summary;

/// Money and tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Millionths of a US dollar, by list price.
    pub microusd: i64,
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Those of them that were read from the cache or written to it.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// What is booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booked {
    /// By the program's own word.
    Reported(Spent),
    /// It did not say: at most so much, in millionths of a US dollar.
    Estimated {
        /// The reserved bound.
        microusd: i64,
    },
}

/// All that a session has cost by now, as its last result tells it.
#[must_use]
pub fn session_total(result: &ResultLine) -> Option<Spent> {
    let usd = result.total_cost_usd.filter(|usd| usd.is_finite() && (0.0..1e9).contains(usd))?;
    let usage = result.model_usage.values();
    let sum = |tokens: fn(&super::stream::ModelUsage) -> u64| {
        usage.clone().fold(0_u64, |sum, of_model| sum.saturating_add(tokens(of_model)))
    };
    Some(Spent {
        // less than a billion dollars in millionths fit exactly
        microusd: (usd * 1e6).round() as i64,
        input_tokens: sum(|of| {
            of.input_tokens
                .saturating_add(of.cache_read_input_tokens)
                .saturating_add(of.cache_creation_input_tokens)
        }),
        cached_tokens: sum(|of| of.cache_read_input_tokens.saturating_add(of.cache_creation_input_tokens)),
        output_tokens: sum(|of| of.output_tokens),
    })
}

/// What a run that ended is booked with; `before` is the session's total before it, where it went on with one.
#[must_use]
pub fn booked(summary: &Summary, before: Option<Spent>, reserved_microusd: i64) -> Booked {
    match summary.result.as_ref().and_then(session_total) {
        Some(total) => Booked::Reported(since(total, before.unwrap_or_default())),
        // no model was asked anything
        None if !summary.answered && summary.session.is_none() => Booked::Reported(Spent::default()),
        None => Booked::Estimated { microusd: reserved_microusd },
    }
}

/// A total below the one before is that of a session which began anew.
fn since(total: Spent, before: Spent) -> Spent {
    if total.microusd < before.microusd {
        return total;
    }
    Spent {
        microusd: total.microusd - before.microusd,
        input_tokens: total.input_tokens.saturating_sub(before.input_tokens),
        cached_tokens: total.cached_tokens.saturating_sub(before.cached_tokens),
        output_tokens: total.output_tokens.saturating_sub(before.output_tokens),
    }
}

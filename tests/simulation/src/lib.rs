//! Simulation: the real domain, store, engine and actors of the core in a model world, by seed.
//!
//! One thread, a manual clock, a database in memory. Every call of the core stops at a gate; a seed
//! decides who goes on, what fails, and where a life ends. After every step the invariants are
//! checked; at the end all goes well, and every task must come to rest. The same seed gives the same
//! history, to the byte; a failing one is replayed and shrunk.
//!
//! Deliberately not here: real processes, real git, a real disk. Those have suites of their own.

pub mod acts;
pub mod choices;
pub mod history;
pub mod judge;
pub mod ledger;
pub mod schedule;
pub mod shrink;
pub mod world;

use choices::Choices;
use history::{Ground, Report};

/// Runs seeds from `first` until one fails or `count` are through; answers the failing seed.
///
/// # Errors
/// What keeps a history from being run at all.
pub fn search(ground: &Ground, first: u64, count: u64, step: u64) -> anyhow::Result<Option<(u64, Report)>> {
    let mut seed = first;
    while seed < count {
        let report = history::run(ground, Choices::seeded(seed), false)?;
        if report.violation.is_some() {
            return Ok(Some((seed, report)));
        }
        seed += step;
    }
    Ok(None)
}

/// What a person reads of a failing seed: how to see it again, and its shortest form.
///
/// # Errors
/// What keeps a history from being run at all.
pub fn explain(ground: &Ground, seed: u64, found: Report) -> anyhow::Result<String> {
    let whole = found.count;
    let short = shrink::shrink(ground, found)?;
    Ok(format!(
        "seed {seed}: {}\nthe whole history ({whole} steps): make simulate SEED={seed}\nshrunk to {} steps:\n{}\n",
        short.violation.as_deref().unwrap_or("it does not fail any more"),
        short.count,
        short.steps.join("\n")
    ))
}

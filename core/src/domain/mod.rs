//! The pure middle: types and decisions.
//!
//! Nothing here does I/O, reads a clock, draws a random number or awaits. Time comes in as an
//! argument (UTC Unix milliseconds), what is known of the outside comes in as facts, and what is to
//! happen leaves as values. Everything else in this crate imports from here; this imports nothing
//! of the crate.

pub mod actor;
pub mod artifact;
pub mod budget;
pub mod coverage;
pub mod effect;
pub mod event;
pub mod ids;
pub mod job;
pub mod lease;
pub mod notice;
pub mod stage;
pub mod task;
pub mod transition;
pub mod verdict;

#[cfg(test)]
mod tests;

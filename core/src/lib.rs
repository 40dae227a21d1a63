//! orch-core: stages, leases, gates.
//!
//! Takes a work item from `created` to `done`: starts an agent for each stage, checks each exit
//! with a gate, and performs the irreversible steps once. The pure middle is `domain`; everything
//! else is rim.

pub mod actors;
pub mod agents;
pub mod chain;
mod chat;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counters;
pub mod domain;
mod effects;
pub mod engine;
pub mod failpoint;
pub mod forge;
mod gates;
pub mod git;
pub mod guards;
pub mod http;
pub mod metrics;
pub mod observe;
pub mod process;
pub mod projects;
pub mod recovery;
pub mod runs;
pub mod serve;
pub mod store;

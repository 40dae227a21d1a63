//! The collector, the signals and the commands against real processes of the live kernel.
//!
//! Each test looks at what hangs from its own zoo alone, since others run beside it.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

mod bystanders;
#[path = "../defaults/mod.rs"]
mod defaults;
mod first;
mod namespaces;
mod recounts;
mod trees;
mod xdist;
mod zoo;

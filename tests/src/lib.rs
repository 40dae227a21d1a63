//! Harness of the whole system: the real binaries, the sample, and stand-ins for the outside.
//!
//! Responsible for starting both programs as a user would (settings in the environment, loopback
//! ports of the kernel's choice) and for ending all they started. It looks at them from outside only:
//! HTTP, command line, files of the data directory, git, `/proc`. It links none of their code but the
//! observation document's types.

pub mod alerts;
pub mod api;
pub mod authority;
pub mod binaries;
pub mod chat;
pub mod clock;
pub mod crowd;
pub mod demo;
pub mod documents;
pub mod fake_alertmanager;
pub mod fake_core;
pub mod fake_telegram;
pub mod memory;
pub mod orphans;
pub mod pipeline;
pub mod process;
pub mod prometheus;
pub mod promql;
pub mod relay;
pub mod sample;
pub mod shipped;
pub mod stack;
pub mod sweep;
pub mod tame;
pub mod tls_front;
pub mod tools;
pub mod trace;
pub mod wait;

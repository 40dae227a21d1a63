//! orch-watchdog: sees what is stuck on a host and says so.
//!
//! A tick is `observe → derive → decide → deliver`; only the first and the last touch the world.

#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
pub mod cases;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod core_poll;
pub mod core_view;
pub mod evidence;
pub mod failpoint;
pub mod heartbeat;
pub mod host;
pub mod http;
pub mod keeper;
pub mod metrics;
pub mod notify;
pub mod observe;
pub mod proc;
pub mod proc_watch;
pub mod sandbox;
pub mod service;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
pub mod signals;
pub mod store;
pub mod survey;
pub mod tick;
pub mod ticking;
pub mod trust;

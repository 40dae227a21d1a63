//! Every process that the core starts, and the certainty that it ends.
//!
//! Responsible for: the run (one start of a program that can run long or write outside) under a supervisor process of
//! its own; the run directory; re-adoption after a restart of the core; the kill by cookie. What needs no supervisor
//! (short, read-only commands) goes through this room, too, so that nothing else builds a `Command`.
//!
//! Not responsible for: what a run means (jobs, gates, agents), the database, deciding when to stop something.
//!
//! Invariants: a run's program starts at most once, and only after the go byte; a run ends as a whole (tree kill on);
//! whoever is signalled was identified first, through a pidfd; the lock of the run directory alone says whether a run
//! lives; an exit record, once written, never changes.
//!
//! # Who does what
//! ```text
//! core ── launch ──> orch-core supervise DIR ── supervise-child DIR ── exec ──> program
//!                    holds DIR/lock             sets cookie, PDEATHSIG,           carries the cookie,
//!                    drains, times, kills       limits, signals                   as do all it starts
//! ```
//! Later: `cgroup.kill` as a rung above the flat passes, where a delegated cgroup v2 is there.

pub mod cookie;
pub mod hardening;
pub mod launch;
pub mod machine;
pub mod record;
pub mod run_dir;
pub mod short;
mod signals;
pub mod spec;
pub mod supervise;
pub mod tail;
pub mod trampoline;
pub mod tree;

pub use cookie::{Cookie, CookieError};
pub use launch::{Adopted, LaunchError, Prepared, RunEnd, Running, StopSent, adopt, prepare};
pub use machine::{Host, LiveRun, Machine, MachineFuture, ReadyRun};
pub use record::{ChildEnd, ChildIdentity, ExitRecord, NotStarted, Outcome, StreamEnd, SweepRecord};
pub use run_dir::{RunDir, RunDirError, Stream};
pub use spec::{KillSignal, KillStep, RunSpec, TreeKill};
pub use tree::{SweepReport, sweep};

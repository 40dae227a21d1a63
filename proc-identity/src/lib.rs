//! Who a process is, and what the kernel says about it.
//!
//! Responsible for: the identity (pid, start ticks); parsing `stat`, `status`, `limits`, `cgroup`; reading them below
//! any proc root; the directory pass over all processes, or over the newest of them; the scan by run cookie; the host
//! facts that give these numbers a meaning (boot id, clock ticks, clocks, memory, pressure).
//!
//! Not responsible for: judging (what is an orphan, what is stuck), signalling, remembering between two passes.
//!
//! Invariants: what could not be read is an error or a count, never an absent process; no parser panics on any bytes;
//! nothing but the files named in [`reading`] is opened, and those are readable without any capability.

mod census;
pub mod cgroup;
mod error;
pub mod host;
mod identity;
mod inside;
mod limits;
mod number;
pub mod reading;
pub mod scan;
mod stat;
mod status;

pub use census::Births;
pub use cgroup::CgroupLine;
pub use error::ProcError;
pub use identity::{Liveness, ProcessId};
pub use inside::Inside;
pub use limits::FileLocks;
pub use reading::{
    Cmdline, ProcRoot, list_pids, read_cgroup, read_cmdline, read_limits, read_stat, read_status, same,
};
pub use scan::{CookieScan, Marked, pids_with_cookie};
pub use stat::{Stat, State};
pub use status::Status;

/// Where the kernel's process tree is mounted on every ordinary host.
pub const PROC_ROOT: &str = "/proc";

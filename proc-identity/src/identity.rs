//! The identity of a process on one boot, and the answer to "is it still this one?".
//!
//! Not the host boot id: who persists identities beyond a boot stores [`crate::host::boot_id`] beside them.

use serde::{Deserialize, Serialize};

/// A process on this boot. The pid alone is reused; together with the start time it is not, as long as a full turn of
/// the pid space takes longer than one clock tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid as seen in the pid namespace of the proc mount that was read.
    pub pid: i32,
    /// Field 22 of `stat`: start since boot in clock ticks, on CLOCK_BOOTTIME. Survives `exec`; shifted inside a time
    /// namespace.
    pub start_ticks: u64,
}

/// What has become of a process that was identified before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It runs, sleeps or is stopped. A zombie *leader* whose other threads run counts: it called `pthread_exit`.
    Alive,
    /// It ended and nobody has reaped it.
    Zombie,
    /// Nothing has this pid, or something younger has.
    Gone,
    /// We could not look. Never to be taken for `Gone`.
    Unknown,
}

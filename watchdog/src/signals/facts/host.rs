//! Facts of findings about what surrounds the pipeline: processors, disk, channels.
//!
//! Shares are percent as the kernel or the core gives them; nothing is rounded here.

use serde::{Deserialize, Serialize};

use crate::notify::Channel;
use crate::notify::delivery::LastFailure;
use crate::observe::ProcessKey;

/// Work waits for a processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CpuStarvedFacts {
    /// Share of the last 10 s in which some task waited for a processor, percent.
    pub avg10_percent: f64,
    /// The same of the last 60 s: what the threshold is compared with.
    pub avg60_percent: f64,
    /// The same of the last 300 s.
    pub avg300_percent: f64,
    /// The threshold, percent.
    pub limit_percent: u32,
    /// Memory of the host, as far as it could be read.
    pub memory: Option<MemoryRoom>,
    /// Matched families that use most of the CPU, hungriest first, at most
    /// [`CpuStarvedFacts::FAMILIES_KEPT`]; empty also when processes are not looked at.
    pub families: Vec<HungryFamily>,
}

impl CpuStarvedFacts {
    /// Families named at most.
    pub const FAMILIES_KEPT: usize = 5;
}

/// Memory of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRoom {
    /// What can be given to new work without swapping.
    pub available_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
}

/// A matched family that takes part in a shortage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HungryFamily {
    /// Identity of the family: its own alert is told under this one.
    pub key: ProcessKey,
    /// Redacted command line of its topmost process.
    pub command: String,
    /// CPU over the last two passes, as a fraction of one core.
    pub cpu_share: f64,
    /// Live members.
    pub members: usize,
    /// Container, if it runs in one.
    pub container: Option<String>,
}

/// The data directory of the core runs out of room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// Where the core lives: its host name as it says.
    pub core_host: String,
    /// Bytes free for the core.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Inodes free.
    pub free_inodes: u64,
    /// Inodes in all; 0 where the file system does not count them.
    pub total_inodes: u64,
    /// The threshold, percent.
    pub limit_percent: u32,
    /// What is short.
    pub short_of: DiskShortage,
}

/// What a file system is short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskShortage {
    /// Bytes.
    Bytes,
    /// Inodes: many small files.
    Inodes,
    /// Both.
    Both,
}

/// A channel does not take notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelFacts {
    /// Which; it is never told by itself.
    pub channel: Channel,
    /// How long the oldest notice waits, milliseconds.
    pub waiting_ms: i64,
    /// The limit, milliseconds.
    pub limit_ms: i64,
    /// Notices that wait.
    pub notices: usize,
    /// Why the channel refuses until somebody changes something; absent when it may pass by itself.
    pub parked: Option<String>,
    /// Why the last message failed; absent when none did, or when nobody has tried yet.
    #[serde(default)]
    pub last_failure: Option<LastFailure>,
    /// Messages tried since this watchdog started.
    pub attempts: u64,
    /// Of those, how many failed.
    pub failures: u64,
}

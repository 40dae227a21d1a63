//! What one tick saw: the values that collectors hand to the pure middle.
//!
//! Types only; collectors fill them (`proc`, `core_view`, `host`), `signals` reads them. The
//! invariant they carry: "could not look" is a value of its own and never an empty list, so that
//! only fresh emptiness can end an alert.

mod fault;
mod lineage;
mod view;

pub use fault::Fault;
pub use lineage::{Lineage, Reaper, Unclear};
use std::sync::Arc;

use orch_contract::ObservationDocument;
use serde::{Deserialize, Serialize};
pub use view::View;

/// What a collector brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Collected<T> {
    /// Looked, and this is all there is.
    Fresh(T),
    /// Could not look: signals that need it are frozen.
    Unavailable(String),
    /// Switched off by a setting: signals that need it say "not looked".
    Off,
}

/// Everything one tick saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Wall clock at the end of observing, UTC Unix milliseconds.
    pub at_ms: i64,
    /// Matched processes of the host.
    pub proc: Collected<ProcObservation>,
    /// The core's answer.
    pub core: CoreSight,
    /// Pressure and memory of the host.
    pub host: Collected<HostObservation>,
}

/// Pressure and memory of the host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostObservation {
    /// Pressure on the processors.
    pub cpu: PressureSight,
    /// Pressure on memory.
    pub memory_pressure: PressureSight,
    /// Pressure on input and output.
    pub io: PressureSight,
    /// Memory; absent when it could not be read.
    pub memory: Option<HostMemory>,
}

/// What the kernel says about the pressure on one resource.
#[derive(Debug, Clone, PartialEq)]
pub enum PressureSight {
    /// Measured.
    Measured(PressureShares),
    /// This kernel measures none, in words why: normal there, and no failure of ours.
    NotOffered(String),
}

/// Shares of time in which tasks waited for one resource, percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PressureShares {
    /// Some task, over 10 s.
    pub some_avg10_percent: f64,
    /// Some task, over 60 s.
    pub some_avg60_percent: f64,
    /// Some task, over 300 s.
    pub some_avg300_percent: f64,
    /// All tasks, over 60 s.
    pub full_avg60_percent: f64,
}

/// Memory of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostMemory {
    /// All of it.
    pub total_bytes: u64,
    /// What can be given to new work without swapping.
    pub available_bytes: u64,
}

/// What one poll of the core brought.
#[derive(Debug, Clone, PartialEq)]
pub enum CoreSight {
    /// A document that can be used.
    Heard(Arc<CoreObservation>),
    /// A core that says it is not able yet: not an outage, and no facts either.
    Starting,
    /// No answer, or a failing one.
    Down(Fault),
    /// An answer that cannot be used: half a document, a refused token.
    Unreadable(Fault),
    /// A document of this major version, which is not ours: alive, and no facts.
    OtherSchema(u32),
    /// The first poll is still under way.
    Awaited,
    /// No core is configured.
    Off,
}

/// The core's answer to one poll.
#[derive(Debug, Clone, PartialEq)]
pub struct CoreObservation {
    /// The document as read.
    pub document: ObservationDocument,
    /// When it arrived, UTC Unix milliseconds by our clock.
    pub received_at_ms: i64,
}

/// What a pass over `/proc` found.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcObservation {
    /// `/proc/sys/kernel/random/boot_id`; part of every identity.
    pub host_boot_id: String,
    /// Families of matched processes, by key.
    pub families: Vec<Family>,
    /// Families that an earlier view saw and this one cannot look for: neither there nor gone.
    pub unseen: Vec<ProcessKey>,
    /// CPU of run cookies' trees over the last passes, for jobs whose silence must be judged:
    /// one entry for each cookie that has live processes.
    pub runs: Vec<RunUse>,
    /// Cookies of runs that the core lists as live and of which nothing is here, though the core itself is.
    pub missing_runs: Vec<u64>,
    /// From where it looked.
    pub view: View,
    /// Processes that the directory listed.
    pub listed: u64,
    /// Of those, how many could be read when they had to be.
    pub readable: u64,
}

/// Identity of a process across pid reuse and reboots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    /// The host's boot id.
    pub host_boot_id: String,
    /// Pid as this watchdog sees it (the host's, under `pid: host`).
    pub pid: i32,
    /// Start time in clock ticks since boot, `/proc/<pid>/stat` field 22.
    pub start_ticks: u64,
}

/// A matched process with its descendants: one entity, one case, one alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Identity of the topmost matched process; kept when that process dies before its members.
    pub key: ProcessKey,
    /// Redacted command line of the topmost matched process, at most 200 characters.
    pub command: String,
    /// Which pattern and shape matched, in words.
    pub matched_by: String,
    /// Live members, the topmost first.
    pub members: Vec<Member>,
    /// Whether the topmost matched process itself is still alive.
    pub root_alive: bool,
    /// When the topmost process started, UTC Unix milliseconds (derived from boot time).
    pub started_at_ms: i64,
    /// Time it has been awake: suspended time does not count.
    pub awake_age_ms: i64,
    /// CPU time of all members so far (user + system), those seen and since ended included: never
    /// falls.
    pub cpu_ms: u64,
    /// CPU use over the last two passes, as a fraction of one core; absent on the first pass.
    pub cpu_share: Option<f64>,
    /// Resident memory of all members.
    pub rss_bytes: u64,
    /// Container by cgroup path; absent when it runs in none.
    pub container: Option<String>,
    /// Where the structure of the process tree puts its root.
    pub lineage: Lineage,
    /// Run cookie (`RLIMIT_LOCKS`), when it carries one.
    pub cookie: Cookie,
    /// Whether the supervisor of the run whose cookie it carries lives; asked only where it carries one.
    pub supervisor: Supervisor,
    /// Whether it was ever linked to the core: a cookie, the core's container, a registered tree.
    pub core_linked: bool,
    /// The command that stops it, for a person to run; absent when nobody is left to stop.
    pub stop: Option<String>,
}

/// One process of a family.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Identity.
    pub key: ProcessKey,
    /// Parent's pid as seen here.
    pub ppid: i32,
    /// Process group.
    pub pgid: i32,
    /// Session.
    pub sid: i32,
    /// Pid in its innermost namespace, when `NSpid` could be read.
    pub inner_pid: Option<i32>,
    /// Process name (`comm`), cleaned.
    pub name: String,
    /// Redacted command line.
    pub command: String,
    /// State letter of `stat`.
    pub state: char,
}

/// A run cookie as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// The limit is unlimited: no run of a core started it.
    None,
    /// The run's number.
    Run(u64),
    /// `limits` could not be read.
    Unreadable,
}

/// The process that some core's run hangs from, found by going up while the cookie stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervisor {
    /// It lives, with this pid as seen here: so does the run, whichever core's it is.
    Alive(i32),
    /// Nobody above the tree is one.
    Absent,
    /// Somebody on the way up could not be looked at.
    Unknown,
}

/// CPU use of one run's tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunUse {
    /// Run cookie.
    pub cookie: u64,
    /// Live processes that carry it.
    pub processes: u32,
    /// CPU time so far of those that live and of those seen that have ended (user + system),
    /// milliseconds.
    pub cpu_ms: u64,
}

//! What a scrape shows: plain values of the last finished pass.
//!
//! Filled by the run loop once a tick and by the scrape itself for what lives elsewhere (outbox,
//! channels). Absent means not measured.

use std::collections::BTreeMap;

use orch_telemetry::OwnProcess;

use crate::cases::{Notice, NoticeKind, Suppression};
use crate::chat::PollReport;
use crate::commands::CommandCounts;
use crate::heartbeat::BeatReport;
use crate::notify::Channel;
use crate::notify::delivery::ChannelReport;
use crate::observe::{Collected, CoreSight, Family, HostObservation, Observation, PressureSight, ProcessKey};
use crate::signals::{Severity, SignalKind};

/// Why a poll of the core brought no document, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollFailure {
    /// No answer, or a failing one.
    Down,
    /// An answer that cannot be used.
    Unreadable,
}

impl PollFailure {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Down, Self::Unreadable];

    /// Label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Unreadable => "unreadable",
        }
    }

    /// Why this sight is a failure, if it is one.
    #[must_use]
    pub fn of(sight: &CoreSight) -> Option<Self> {
        match sight {
            CoreSight::Down(_) => Some(Self::Down),
            CoreSight::Unreadable(_) | CoreSight::OtherSchema(_) => Some(Self::Unreadable),
            CoreSight::Heard(_) | CoreSight::Starting | CoreSight::Awaited | CoreSight::Off => None,
        }
    }
}

/// Why a read of the process tree failed, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFailure {
    /// The kernel refused.
    Denied,
    /// The text was not what the kernel documents.
    Malformed,
    /// Another failure.
    Failed,
}

impl ReadFailure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Denied, Self::Malformed, Self::Failed];

    /// Label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Malformed => "malformed",
            Self::Failed => "failed",
        }
    }
}

/// Counters since the start of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Alerts decided, in the order of [`SignalKind::ALL`].
    pub alerts: [u64; SignalKind::ALL.len()],
    /// Reminders decided.
    pub reminders: [u64; SignalKind::ALL.len()],
    /// Recoveries decided.
    pub recoveries: [u64; SignalKind::ALL.len()],
    /// Ticks finished.
    pub ticks: u64,
    /// Ticks skipped.
    pub ticks_skipped: u64,
    /// Polls of the core.
    pub core_polls: u64,
    /// Polls without a document, in the order of [`PollFailure::ALL`].
    pub core_poll_failures: [u64; PollFailure::ALL.len()],
}

impl Counters {
    /// Counts a poll of the core by what it brought.
    pub fn count_poll(&mut self, sight: &CoreSight) {
        self.core_polls += 1;
        for (reason, count) in PollFailure::ALL.iter().zip(&mut self.core_poll_failures) {
            *count += u64::from(PollFailure::of(sight) == Some(*reason));
        }
    }

    /// Counts a decided notice.
    pub fn count(&mut self, notice: &Notice) {
        let counts = match notice.kind {
            NoticeKind::Alert | NoticeKind::Worse | NoticeKind::Changed | NoticeKind::Flapping { .. } => {
                &mut self.alerts
            }
            NoticeKind::Reminder { .. } => &mut self.reminders,
            NoticeKind::Recovered { .. } => &mut self.recoveries,
        };
        for (signal, count) in SignalKind::ALL.iter().zip(counts) {
            *count += u64::from(*signal == notice.finding.signal);
        }
    }
}

/// CPU of matched families as a counter: it grows by what each used since the pass before, so that
/// a family that ends takes nothing out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuMeter {
    total_ms: u64,
    /// CPU of each family at the last pass; absent before the first.
    last_ms: Option<BTreeMap<ProcessKey, u64>>,
}

impl CpuMeter {
    /// Takes in a fresh pass. What families used before the first pass was nobody's to count; one
    /// that comes later is counted whole, since it began within a tick.
    fn take(&mut self, families: &[Family]) {
        for family in families {
            let before_ms = match &self.last_ms {
                None => family.cpu_ms,
                Some(last) => last.get(&family.key).copied().unwrap_or(0),
            };
            self.total_ms += family.cpu_ms.saturating_sub(before_ms);
        }
        self.last_ms = Some(families.iter().map(|family| (family.key.clone(), family.cpu_ms)).collect());
    }

    /// Seconds so far; absent before the first pass.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        self.last_ms.as_ref().map(|_| std::time::Duration::from_millis(self.total_ms).as_secs_f64())
    }
}

/// Ratios by resource and kind. All tasks of a host never wait for processors at once, so that row
/// is left out.
fn pressure_rows(host: &HostObservation) -> Vec<(&'static str, &'static str, f64)> {
    let mut rows = Vec::new();
    for (resource, sight, has_full) in
        [("cpu", &host.cpu, false), ("memory", &host.memory_pressure, true), ("io", &host.io, true)]
    {
        let PressureSight::Measured(shares) = sight else { continue };
        rows.push((resource, "some", shares.some_avg60_percent / 100.0));
        if has_full {
            rows.push((resource, "full", shares.full_avg60_percent / 100.0));
        }
    }
    rows
}

/// A channel in a view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelView {
    /// What it did.
    pub report: ChannelReport,
    /// Notices that wait.
    pub waiting: usize,
    /// When the oldest of them was decided.
    pub oldest_at_ms: Option<i64>,
}

/// Everything a scrape shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// When the program started.
    pub started_at_ms: i64,
    /// Version of Landlock and what it holds against; absent when nobody tried.
    pub sandbox: Option<[&'static str; 2]>,
    /// Counters.
    pub counters: Counters,
    /// Firing cases that are announced: signal, severity, since when.
    pub firing: Vec<(SignalKind, Severity, i64)>,
    /// Firing cases that are only counted: signal, why, since when.
    pub suppressed: Vec<(SignalKind, Suppression, i64)>,
    /// Mutes in effect.
    pub mutes: usize,
    /// Commands of people.
    pub commands: CommandCounts,
    /// How often ticks are meant to happen.
    pub tick_period_s: Option<f64>,
    /// When the last tick finished.
    pub last_tick_ms: Option<i64>,
    /// How long it took.
    pub tick_duration_s: Option<f64>,
    /// Whether processes could be looked at; absent when switched off.
    pub proc_up: Option<bool>,
    /// Whether the core gave a document; absent when none is configured.
    pub core_up: Option<bool>,
    /// Whether pressure and memory of the host could be looked at; absent when they are not.
    pub host_up: Option<bool>,
    /// How long the poll took.
    pub core_poll_duration_s: Option<f64>,
    /// When the core was last heard.
    pub core_last_heard_ms: Option<i64>,
    /// Findings of the last tick that no case was made of.
    pub left_out: usize,
    /// Processes listed.
    pub proc_listed: Option<u64>,
    /// Processes readable.
    pub proc_readable: Option<u64>,
    /// Whether not the whole host can be seen.
    pub proc_blind: Option<bool>,
    /// Families whose end is seen at the next tick only; absent when processes are not looked at.
    pub proc_ends_unwatched: Option<u64>,
    /// Reads of the process tree.
    pub proc_reads: u64,
    /// Whole passes over its directory.
    pub proc_listings: u64,
    /// Failed ones, in the order of [`ReadFailure::ALL`].
    pub proc_read_errors: [u64; ReadFailure::ALL.len()],
    /// Matched families.
    pub matched_families: Option<u64>,
    /// Their processes.
    pub matched_processes: Option<u64>,
    /// Their CPU now, in cores; absent when no family's is known.
    pub matched_cpu_ratio: Option<f64>,
    /// Their memory.
    pub matched_resident_bytes: Option<u64>,
    /// Their CPU so far.
    pub matched_cpu: CpuMeter,
    /// Pressure of the host: resource, kind, ratio.
    pub host_pressure: Vec<(&'static str, &'static str, f64)>,
    /// Whether the kernel measures processor pressure.
    pub host_pressure_offered: Option<bool>,
    /// Configured channels.
    pub channels: Vec<(Channel, ChannelView)>,
    /// Notices dropped by bounds.
    pub outbox_dropped: u64,
    /// Heartbeats; absent when none is configured.
    pub heartbeat: Option<BeatReport>,
    /// Polls for commands by chat; absent while they are off.
    pub chat_polls: Option<PollReport>,
    /// Writes of the state.
    pub state_writes: u64,
    /// Failed ones.
    pub state_write_failures: u64,
    /// Writes that took longer than they may.
    pub state_writes_late: u64,
    /// Since when the disk does not hold the state; absent while it does.
    pub state_unsaved_since_ms: Option<i64>,
    /// This process's own use, taken by the scrape.
    pub own: Option<OwnProcess>,
}

impl View {
    /// Takes in what a tick saw.
    pub fn observed(&mut self, observation: &Observation) {
        self.core_up = match &observation.core {
            CoreSight::Heard(_) => Some(true),
            CoreSight::Starting
            | CoreSight::Down(_)
            | CoreSight::Unreadable(_)
            | CoreSight::OtherSchema(_) => Some(false),
            CoreSight::Awaited | CoreSight::Off => None,
        };
        let proc = match &observation.proc {
            Collected::Fresh(proc) => Some(proc),
            Collected::Unavailable(_) | Collected::Off => None,
        };
        self.proc_up = match &observation.proc {
            Collected::Fresh(_) => Some(true),
            Collected::Unavailable(_) => Some(false),
            Collected::Off => None,
        };
        self.host_up = match &observation.host {
            Collected::Fresh(_) => Some(true),
            Collected::Unavailable(_) => Some(false),
            Collected::Off => None,
        };
        let host = match &observation.host {
            Collected::Fresh(host) => Some(host),
            Collected::Unavailable(_) | Collected::Off => None,
        };
        self.host_pressure = host.map_or_else(Vec::new, pressure_rows);
        self.host_pressure_offered = host.map(|host| matches!(host.cpu, PressureSight::Measured(_)));
        if let Some(proc) = proc {
            self.matched_cpu.take(&proc.families);
        }
        self.proc_listed = proc.map(|proc| proc.listed);
        self.proc_readable = proc.map(|proc| proc.readable);
        self.matched_families = proc.map(|proc| proc.families.len() as u64);
        self.matched_processes =
            proc.map(|proc| proc.families.iter().map(|family| family.members.len() as u64).sum());
        // an empty sum of floats is -0, which reads like a mistake
        self.matched_cpu_ratio = proc.map(|proc| {
            proc.families.iter().filter_map(|family| family.cpu_share).fold(0.0, |sum, share| sum + share)
        });
        self.matched_resident_bytes =
            proc.map(|proc| proc.families.iter().map(|family| family.rss_bytes).sum());
    }
}

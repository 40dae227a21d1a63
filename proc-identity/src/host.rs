//! Facts of the host that give process numbers a meaning: boot id, tick length, clocks, memory, pressure.
//!
//! Memory and pressure go through `procfs`; its parsers take the whole of a well-formed file, so the text is checked to
//! be ASCII first. Clocks are read from the kernel here so that callers' pure code can take them as arguments.

use std::path::Path;

use procfs::prelude::FromRead;
use rustix::time::{ClockId, clock_gettime};

use crate::reading::read_whole;
use crate::{ProcError, number};

/// Text read from a host-wide file is cut here; the longest, meminfo, has some 2 KiB.
const HOST_FILE_CAP_BYTES: usize = 64 * 1024;

/// The random id that the kernel draws at each boot: identities of processes hold only as long as it is the same.
///
/// # Errors
/// As reading `sys/kernel/random/boot_id` below the root.
pub fn boot_id(root: &Path) -> Result<String, ProcError> {
    let text = host_file(root, "sys/kernel/random/boot_id")?;
    let id = text.trim();
    if id.is_empty() { Err(ProcError::Malformed { file: "boot_id", field: "id" }) } else { Ok(id.to_owned()) }
}

/// Clock ticks in one second (USER_HZ): the unit of `start_ticks`, `utime_ticks`, `stime_ticks`.
#[must_use]
pub fn clock_ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// Bytes in a page: the unit of `rss_pages`.
#[must_use]
pub fn page_size_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// The three clocks of the host at (nearly) one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// UTC milliseconds since 1970; jumps when somebody sets it.
    pub realtime_ms: i64,
    /// Milliseconds since boot, suspended time included: the clock that start ticks count on.
    pub boottime_ms: i64,
    /// Milliseconds since boot without suspended time.
    pub monotonic_ms: i64,
}

impl Clocks {
    /// Reads them. Cannot fail: the kernel has all three since 2.6.39.
    #[must_use]
    pub fn now() -> Self {
        Self {
            realtime_ms: clock_ms(ClockId::Realtime),
            boottime_ms: clock_ms(ClockId::Boottime),
            monotonic_ms: clock_ms(ClockId::Monotonic),
        }
    }

    /// When the host booted, by its present wall clock, in UTC milliseconds.
    #[must_use]
    pub fn boot_time_ms(&self) -> i64 {
        self.realtime_ms - self.boottime_ms
    }

    /// When a process started, by the present wall clock, in UTC milliseconds.
    #[must_use]
    pub fn started_at_ms(&self, start_ticks: u64, ticks_per_second: u64) -> i64 {
        self.boot_time_ms().saturating_add(ticks_ms(start_ticks, ticks_per_second))
    }

    /// How long ago a process started, suspended time included, in milliseconds; never negative.
    #[must_use]
    pub fn age_ms(&self, start_ticks: u64, ticks_per_second: u64) -> i64 {
        self.boottime_ms.saturating_sub(ticks_ms(start_ticks, ticks_per_second)).max(0)
    }
}

/// Clock ticks as milliseconds.
#[must_use]
pub fn ticks_ms(ticks: u64, ticks_per_second: u64) -> i64 {
    let ms = u128::from(ticks) * 1000 / u128::from(ticks_per_second.max(1));
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// The first clock tick that is not before this time since boot; the other way of [`ticks_ms`].
#[must_use]
pub fn ticks_at(ms: i64, ticks_per_second: u64) -> u64 {
    let ms = u128::try_from(ms).unwrap_or(0);
    u64::try_from((ms * u128::from(ticks_per_second)).div_ceil(1000)).unwrap_or(u64::MAX)
}

fn clock_ms(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000)
}

/// What one pressure file says about the share of time in which somebody waited, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// Some task waited, over 10 s.
    pub some_avg10_percent: f32,
    /// Some task waited, over 60 s.
    pub some_avg60_percent: f32,
    /// Some task waited, over 300 s.
    pub some_avg300_percent: f32,
    /// Some task waited, microseconds since boot.
    pub some_total_us: u64,
    /// All tasks waited, over 60 s. 0 for the CPU at system level.
    pub full_avg60_percent: f32,
}

/// Which resource's pressure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PressureKind {
    /// `pressure/cpu`
    Cpu,
    /// `pressure/memory`
    Memory,
    /// `pressure/io`
    Io,
}

impl PressureKind {
    fn file(self) -> &'static str {
        match self {
            Self::Cpu => "pressure/cpu",
            Self::Memory => "pressure/memory",
            Self::Io => "pressure/io",
        }
    }
}

/// Reads a pressure file (kernel documentation, accounting/psi).
///
/// # Errors
/// [`ProcError::Gone`] where the kernel has no PSI; `Io` with EOPNOTSUPP where it is switched off; `Malformed`.
pub fn read_pressure(root: &Path, kind: PressureKind) -> Result<Pressure, ProcError> {
    parse_pressure(&host_file(root, kind.file())?)
}

/// Reads the text of a pressure file. Before Linux 5.13 the CPU's has no `full` line: it counts as zero.
///
/// # Errors
/// [`ProcError::Malformed`]
pub fn parse_pressure(text: &str) -> Result<Pressure, ProcError> {
    let bad = ProcError::Malformed { file: "pressure", field: "some" };
    let some = text.lines().find(|line| line.starts_with("some ")).ok_or(bad.clone())?;
    let full = text
        .lines()
        .find(|line| line.starts_with("full "))
        .unwrap_or("full avg10=0.00 avg60=0.00 avg300=0.00 total=0");
    let both = format!("{some}\n{full}\n");
    let record = procfs::CpuPressure::from_read(both.as_bytes()).map_err(|_| bad)?;
    Ok(Pressure {
        some_avg10_percent: record.some.avg10,
        some_avg60_percent: record.some.avg60,
        some_avg300_percent: record.some.avg300,
        some_total_us: record.some.total,
        full_avg60_percent: record.full.avg60,
    })
}

/// Memory of the host, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All usable memory.
    pub total_bytes: u64,
    /// What can be given to new work without swapping; absent before Linux 3.14.
    pub available_bytes: Option<u64>,
    /// All swap.
    pub swap_total_bytes: u64,
    /// Unused swap.
    pub swap_free_bytes: u64,
}

/// Reads `meminfo` (proc_meminfo(5)).
///
/// # Errors
/// As reading the file; [`ProcError::Malformed`] when a line that every kernel has is missing.
pub fn read_memory(root: &Path) -> Result<Memory, ProcError> {
    let text = host_file(root, "meminfo")?;
    let info = procfs::Meminfo::from_read(text.as_bytes())
        .map_err(|_| ProcError::Malformed { file: "meminfo", field: "any" })?;
    Ok(Memory {
        total_bytes: info.mem_total,
        available_bytes: info.mem_available,
        swap_total_bytes: info.swap_total,
        swap_free_bytes: info.swap_free,
    })
}

/// The pid that was given out last in the reader's pid namespace (last field of `loadavg`): where the newest processes
/// are to be looked for.
///
/// # Errors
/// As reading the file; [`ProcError::Malformed`] when the field is no pid.
pub fn last_pid(root: &Path) -> Result<i32, ProcError> {
    last_pid_of(host_file(root, "loadavg")?.as_bytes())
}

pub(crate) fn last_pid_of(loadavg: &[u8]) -> Result<i32, ProcError> {
    let last = number::words(loadavg).last().and_then(number::pid);
    last.ok_or(ProcError::Malformed { file: "loadavg", field: "last pid" })
}

fn host_file(root: &Path, name: &'static str) -> Result<String, ProcError> {
    let bytes = read_whole(&root.join(name), HOST_FILE_CAP_BYTES)?;
    let ascii = bytes.is_ascii();
    String::from_utf8(bytes).ok().filter(|_| ascii).ok_or(ProcError::Malformed { file: name, field: "text" })
}

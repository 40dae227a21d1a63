//! What the watchdog keeps after very many ticks on a large host with churn, by an accelerated clock: the middle of the
//! watchdog over a written host, as in the soak test, at the size that the budget names. Prints numbers, asserts nothing.
//!
//! `cargo bench -p orch-tests --bench soak [-- TICKS [PROCESSES]]` (100,000 ticks, 10,000 processes).

#![expect(clippy::expect_used, reason = "a bench that cannot start has nothing to say")]

#[path = "../../watchdog/tests/defaults/mod.rs"]
mod defaults;
#[expect(dead_code, reason = "its processes change in one way only")]
#[path = "../../watchdog/tests/proc_support/mod.rs"]
mod proc_support;
#[path = "../../watchdog/tests/soaked/mod.rs"]
mod soaked;

use std::fs;
use std::io::{Write as _, stdout};
use std::path::Path;

use orch_tests::memory::Memory;
use orch_watchdog::signals::Thresholds;
use proc_support::Tree;
use rustix::time::{ClockId, clock_gettime};
use soaked::Soak;

/// Ticks, unless the command line says otherwise.
const TICKS: u64 = 100_000;
/// Processes on the host, unless the command line says otherwise.
const PROCESSES: u64 = 10_000;
/// Processes that go, and as many that come, between two ticks.
const CHURN: usize = 20;
/// The tick that the watchdog is told of, milliseconds.
const TICK_MS: i64 = 15_000;
/// Where files stay in memory.
const MEMORY: &str = "/dev/shm";
/// `f_type` of such a file system (linux/magic.h).
const TMPFS_MAGIC: i64 = 0x0102_1994;
/// Rows of the table.
const ROWS: u64 = 10;

fn main() {
    let mut asked = std::env::args().filter_map(|word| word.parse().ok());
    let ticks: u64 = asked.next().unwrap_or(TICKS);
    let size = usize::try_from(asked.next().unwrap_or(PROCESSES)).expect("a number of processes");
    // a family lives for three minutes, and is told of for most of it
    let thresholds =
        Thresholds { orphan_grace_ms: 10_000, foreign_grace_ms: 10_000, ..defaults::thresholds() };
    let place = Path::new(MEMORY);
    // a file system in memory numbers its inodes upwards and gives none twice (shmem_get_inode)
    let in_memory = fs::metadata(place).is_ok_and(|it| it.is_dir()) && is_tmpfs(place);
    let mut soak = match in_memory {
        true => {
            let folder = tempfile::tempdir_in(place).expect("a folder");
            Soak::over_trusted(Tree::within(folder), size, CHURN, TICK_MS, thresholds)
        }
        false => Soak::new(size, CHURN, TICK_MS, thresholds),
    };
    let mut out = stdout().lock();
    let read = if in_memory { "new processes are read" } else { "every process is read at each tick" };
    writeln!(out, "{size} processes, {CHURN} of them others at each tick, one more family a tick; {read}")
        .expect("written");
    writeln!(
        out,
        "{:>9} {:>9} {:>9} {:>12} {:>9} {:>11} {:>12}",
        "ticks", "anon MiB", "RSS MiB", "state bytes", "alerts", "recoveries", "µs CPU a tick"
    )
    .expect("written");
    let step = (ticks / ROWS).max(1);
    let mut spent = 0.0;
    for tick in 1..=ticks {
        let before = cpu_us();
        soak.tick();
        spent += cpu_us() - before;
        if tick % step == 0 {
            let (alerts, recoveries) = soak.told;
            let memory = Memory::own().expect("own status");
            writeln!(
                out,
                "{tick:>9} {:>9.2} {:>9.2} {:>12} {alerts:>9} {recoveries:>11} {:>12.0}",
                memory.anonymous_kib as f64 / 1024.0,
                memory.resident_kib as f64 / 1024.0,
                soak.state_bytes(),
                spent / step as f64
            )
            .expect("written");
            spent = 0.0;
        }
    }
}

#[expect(clippy::useless_conversion, reason = "the width of f_type differs by architecture")]
fn is_tmpfs(place: &Path) -> bool {
    rustix::fs::statfs(place).is_ok_and(|fs| i64::from(fs.f_type) == TMPFS_MAGIC)
}

/// CPU of this thread so far, microseconds; what the written host costs is in it.
fn cpu_us() -> f64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec as f64 * 1e6 + used.tv_nsec as f64 / 1e3
}

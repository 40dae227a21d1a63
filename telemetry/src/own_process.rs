//! What this process itself uses.
//!
//! Read from `/proc/self` and from the kernel's calls about the caller, never by pid: a watchdog
//! that may open no process's files still tells its own numbers. What cannot be read is absent. The
//! `prometheus` crate's own collector would bring a second copy of `procfs` for eight numbers.

use std::path::Path;

use proc_identity::{Stat, host};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The kernel's view of whoever reads it.
const SELF: &str = "/proc/self";

/// Nanoseconds in a second.
const NANOSECONDS: f64 = 1e9;

/// One look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnProcess {
    /// CPU time so far, user and system, in seconds.
    pub cpu_s: f64,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Address space.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// File descriptors that may be open; absent when there is no limit.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// When it started, UTC Unix milliseconds.
    pub started_at_ms: Option<i64>,
}

impl OwnProcess {
    /// Looks: three short reads of the proc tree, no waiting.
    #[must_use]
    pub fn look() -> Self {
        let own = Path::new(SELF);
        let stat = std::fs::read(own.join("stat")).ok().and_then(|text| Stat::parse(&text).ok());
        let statm = std::fs::read_to_string(own.join("statm")).ok();
        // the descriptor of this very listing is among them
        let open_fds =
            std::fs::read_dir(own.join("fd")).ok().map(|entries| entries.count().saturating_sub(1));
        Self {
            cpu_s: cpu_s(),
            resident_bytes: statm.as_deref().and_then(|text| pages_bytes(text, 1)),
            virtual_bytes: statm.as_deref().and_then(|text| pages_bytes(text, 0)),
            open_fds: open_fds.map(|count| count as u64),
            max_fds: getrlimit(Resource::Nofile).current,
            threads: stat.as_ref().map(|stat| stat.num_threads),
            started_at_ms: stat.as_ref().map(|stat| {
                host::Clocks::now().started_at_ms(stat.start_ticks, host::clock_ticks_per_second())
            }),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats")]
fn cpu_s() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / NANOSECONDS
}

/// A column of `statm` (proc_pid_statm(5)), which counts pages.
fn pages_bytes(statm: &str, column: usize) -> Option<u64> {
    let pages: u64 = statm.split_ascii_whitespace().nth(column)?.parse().ok()?;
    pages.checked_mul(host::page_size_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_own_process_is_there_and_makes_sense() {
        let own = OwnProcess::look();
        let resident = own.resident_bytes.unwrap();
        assert!(resident > 100_000 && own.virtual_bytes.unwrap() > resident, "{own:?}");
        assert!(own.cpu_s > 0.0 && own.cpu_s < 3_600.0, "{own:?}");
        let open = own.open_fds.unwrap();
        assert!(open >= 3 && own.max_fds.is_none_or(|max| max >= open), "{own:?}");
        let now = host::Clocks::now().realtime_ms;
        let started = own.started_at_ms.unwrap();
        assert!(started <= now && now - started < 3_600_000, "{started} {now}");
        assert!(own.threads.unwrap() >= 1);
    }

    #[test]
    fn an_open_file_is_counted_and_this_look_is_not() {
        let before = OwnProcess::look().open_fds.unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(OwnProcess::look().open_fds, Some(before + 1));
        drop(file);
        assert_eq!(OwnProcess::look().open_fds, Some(before));
    }

    #[test]
    fn memory_is_counted_in_pages_and_nonsense_is_absent() {
        let page = host::page_size_bytes();
        assert_eq!(pages_bytes("12 3 1 0 0 0 0\n", 0), Some(12 * page));
        assert_eq!(pages_bytes("12 3 1 0 0 0 0\n", 1), Some(3 * page));
        for nonsense in ["", "x y", "-1 -1", "18446744073709551615 1"] {
            assert_eq!(pages_bytes(nonsense, 0), None, "{nonsense}");
        }
    }
}

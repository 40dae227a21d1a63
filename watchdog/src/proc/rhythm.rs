//! What depends on the time between passes, and not on their number: a tick may follow another after a moment.
//!
//! Responsible for the past pass that CPU is compared with, for when a young process's command line is read again, and for
//! whether anything happened to a process that could have changed it. Pure.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use proc_identity::{ProcessId, Stat};

/// CPU is compared over no less than this, in milliseconds: the kernel counts it in steps of ten.
const SHARE_MS: i64 = 500;
/// A command line is read again until its process was seen for this long, in milliseconds: by the fourth tick of the
/// usual 15 s.
const YOUNG_MS: i64 = 40_000;
/// Passes until then, where they come more seldom.
const YOUNG_PASSES: u8 = 4;

/// What a process did so far, as one number: page faults, CPU and its name. An `exec` changes it, since the new program's
/// pages have to be faulted in. The text of a command line stands in the process's own memory, which may be on disk or
/// at least in nobody's cache: it is not read as long as this is what it was.
pub(super) fn trace(stat: &Stat) -> u64 {
    let mut hasher = DefaultHasher::new();
    (stat.faults, stat.utime_ticks, stat.stime_ticks, &stat.comm).hash(&mut hasher);
    // 0 stands for never read
    hasher.finish().max(1)
}

/// When the previous pass was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Previous {
    pub(super) monotonic_ms: i64,
    pub(super) boottime_ms: i64,
}

/// CPU of all members at a past pass, clock ticks.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) at: Previous,
    pub(super) ticks: BTreeMap<ProcessId, u64>,
}

/// The last two passes that are far enough apart, the newer one last.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    /// The latest that is long enough ago for a share.
    pub(super) fn before(&self, monotonic_ms: i64) -> Option<&Sample> {
        self.0.iter().rev().find(|sample| monotonic_ms - sample.at.monotonic_ms >= SHARE_MS)
    }

    /// Keeps a pass, if the last kept one is long enough ago.
    pub(super) fn keep(&mut self, at: Previous, ticks: &BTreeMap<ProcessId, u64>) {
        if self.0.last().is_some_and(|last| at.monotonic_ms - last.at.monotonic_ms < SHARE_MS) {
            return;
        }
        if self.0.len() > 1 {
            self.0.remove(0);
        }
        self.0.push(Sample { at, ticks: ticks.clone() });
    }
}

/// A process whose command line may still become another by `exec`.
#[derive(Debug)]
pub(super) struct Young {
    pub(super) id: ProcessId,
    since_ms: i64,
    /// When it was read last, as time since then.
    read_ms: i64,
    passes: u8,
}

impl Young {
    /// First seen, and read, in a pass at this time.
    pub(super) fn seen(id: ProcessId, monotonic_ms: i64) -> Self {
        Self { id, since_ms: monotonic_ms, read_ms: 0, passes: 0 }
    }

    /// One pass more, the first one included: whether its command line is due. The times between two reads grow, so that
    /// neither few passes nor very many within a moment leave the first minute unread.
    pub(super) fn due(&mut self, monotonic_ms: i64) -> bool {
        self.passes = self.passes.saturating_add(1);
        if self.passes == 1 {
            return false;
        }
        let seen_ms = monotonic_ms - self.since_ms;
        let due = seen_ms >= self.read_ms.saturating_mul(5) / 2;
        if due {
            self.read_ms = seen_ms.max(1);
        }
        due
    }

    /// Whether it was read long after it was first seen, and often enough: from here on it takes its turn like all others.
    pub(super) fn grown(&self) -> bool {
        self.passes >= YOUNG_PASSES && self.read_ms >= YOUNG_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_ms: i64) -> Previous {
        Previous { monotonic_ms, boottime_ms: monotonic_ms }
    }

    #[test]
    fn a_pass_that_follows_at_once_is_compared_with_the_one_before() {
        let mut samples = Samples::default();
        let found = |samples: &Samples, now| samples.before(now).map(|sample| sample.at.monotonic_ms);
        assert_eq!(found(&samples, 0), None);
        for (now, compared_with) in [
            (0, None),
            (15_000, Some(0)),
            (15_004, Some(0)),
            (15_499, Some(0)),
            (15_500, Some(15_000)),
            (30_000, Some(15_500)),
        ] {
            assert_eq!(found(&samples, now), compared_with, "{now}");
            samples.keep(at(now), &BTreeMap::new());
        }
        assert_eq!(samples.0.len(), 2);
    }

    fn reads(passes: impl IntoIterator<Item = i64>) -> (Vec<i64>, bool) {
        let mut young = Young::seen(ProcessId { pid: 5, start_ticks: 1 }, 0);
        let mut reads = Vec::new();
        assert!(!young.due(0), "it was just read");
        for now in passes {
            if young.grown() {
                return (reads, true);
            }
            if young.due(now) {
                reads.push(now);
            }
        }
        (reads, young.grown())
    }

    #[test]
    fn a_young_process_is_read_at_its_second_and_fourth_tick() {
        for tick_ms in [14_990, 15_000, 15_010, 20_000] {
            let (read, grown) = reads((1..9).map(|tick| tick * tick_ms));
            assert_eq!((read, grown), (vec![tick_ms, 3 * tick_ms], true), "{tick_ms}");
        }
        let (read, grown) = reads((1..9).map(|tick| tick * 60_000));
        assert_eq!((read, grown), (vec![60_000, 180_000], true));
    }

    #[test]
    fn passes_within_a_moment_use_up_no_read_of_the_first_minute() {
        // eight ends within three seconds, and then a tick every five
        let storm = (1..9).map(|end| end * 350).chain((1..20).map(|tick| tick * 5_000));
        let (read, grown) = reads(storm);
        assert!(grown && read.iter().any(|read| (3_001..=10_000).contains(read)), "{read:?}");
        assert!(read.last().is_some_and(|last| *last >= YOUNG_MS), "{read:?}");
        assert!(read.len() < 10, "{read:?}");
    }
}

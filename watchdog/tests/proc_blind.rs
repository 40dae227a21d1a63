//! A process tree that cannot be read for a while, or is swapped for another: what was known stays, nothing recovers.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

mod defaults;
mod proc_support;

use std::fs;
use std::path::{Path, PathBuf};

use orch_watchdog::cases::{AlertState, Notice, NoticeKind, Policy, decide};
use orch_watchdog::observe::{Collected, CoreSight, Observation};
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings};
use orch_watchdog::proc_watch::judge_family;
use orch_watchdog::signals::{CaseKey, Context, Ending, Memory, SignalKind, Thresholds, derive};
use proc_identity::host::Clocks;
use proc_support::{Fake, TICKS, Tree};

/// Boot time of the written host.
const NOW_MS: i64 = 100_000_000;
const TICK_MS: i64 = 15_000;

/// A watchdog's middle over a path.
struct Watch {
    collector: Collector,
    memory: Memory,
    alerts: AlertState,
    ticks: i64,
}

impl Watch {
    fn over(root: &Path) -> Self {
        let settings = CollectorSettings {
            proc_root: root.to_owned(),
            patterns: Pattern::parse_list("pytest").expect("patterns"),
            refresh_ms: 900_000,
            age_marks_ms: Vec::new(),
        };
        Self {
            collector: Collector::new(settings, None).expect("a collector"),
            memory: Memory::default(),
            alerts: AlertState::default(),
            ticks: 0,
        }
    }

    fn tick(&mut self) -> (Collected<usize>, Vec<Notice>) {
        self.ticks += 1;
        let after_ms = self.ticks * TICK_MS;
        let clocks = Clocks {
            realtime_ms: 1_700_000_000_000 + after_ms,
            boottime_ms: NOW_MS + after_ms,
            monotonic_ms: NOW_MS + after_ms,
        };
        let proc = self.collector.pass(&clocks, None);
        let seen = match &proc {
            Collected::Fresh(seen) => Collected::Fresh(seen.families.len()),
            Collected::Unavailable(why) => Collected::Unavailable(why.clone()),
            Collected::Off => Collected::Off,
        };
        let observation =
            Observation { at_ms: clocks.realtime_ms, proc, core: CoreSight::Off, host: Collected::Off };
        let open: Vec<CaseKey> = self.alerts.open().map(|(key, _)| key.clone()).collect();
        let thresholds = Thresholds {
            // written processes are as old as their host
            proc_age_ms: i64::MAX / 4,
            orphan_grace_ms: 0,
            foreign_grace_ms: 0,
            ..defaults::thresholds()
        };
        let context = Context {
            last_heard: None,
            open: &open,
            channels: &[],
            thresholds: &thresholds,
            judge: &judge_family,
        };
        let states = derive(&observation, &context, &mut self.memory);
        let (alerts, notices) = decide(self.alerts.clone(), &states, observation.at_ms, &Policy::default());
        self.alerts = alerts;
        (seen, notices)
    }

    /// Ticks until the orphan is told.
    fn alert(&mut self) {
        for _ in 0..5 {
            let (_, notices) = self.tick();
            if notices.iter().any(|it| it.finding.signal == SignalKind::ProcOrphaned) {
                return;
            }
        }
        panic!("no alert");
    }

    fn recoveries(&mut self) -> usize {
        let recovered = |notice: &&Notice| {
            matches!(notice.kind, NoticeKind::Recovered { .. })
                && notice.finding.signal == SignalKind::ProcOrphaned
        };
        self.tick().1.iter().filter(recovered).count()
    }
}

/// A host of some processes and one orphan.
fn host() -> Tree {
    let tree = Tree::new();
    for pid in 1000..1010 {
        tree.put(&Fake::new(pid, 1, &["sleep", "60"]).leader());
    }
    tree.put(&Fake::new(600, 1, &["pytest", "-q"]).with(|it| (it.pgid, it.sid, it.cpu) = (90, 90, 500)));
    tree
}

/// A path that leads to whichever tree is meant.
struct Swap(tempfile::TempDir);

impl Swap {
    fn to(tree: &Tree) -> Self {
        let swap = Self(tempfile::tempdir().expect("a folder"));
        std::os::unix::fs::symlink(tree.path(), swap.path()).expect("a link");
        swap
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("proc")
    }

    fn away(&self) {
        fs::remove_file(self.path()).expect("a link to remove");
    }

    fn again(&self, tree: &Tree) {
        std::os::unix::fs::symlink(tree.path(), self.path()).expect("a link");
    }
}

#[test]
fn a_tree_that_went_away_freezes_and_is_found_again_when_it_is_back() {
    let tree = host();
    let swap = Swap::to(&tree);
    let mut watch = Watch::over(&swap.path());
    watch.alert();
    swap.away();
    for _ in 0..3 {
        let (seen, notices) = watch.tick();
        assert!(matches!(&seen, Collected::Unavailable(why) if why.contains("no proc tree at")), "{seen:?}");
        assert_eq!(notices, []);
    }
    swap.again(&tree);
    assert_eq!(watch.tick(), (Collected::Fresh(1), Vec::new()), "as before");
    tree.remove(600);
    assert_eq!(watch.recoveries(), 1);
}

#[test]
fn a_tree_that_was_mounted_over_is_read_in_the_place_of_the_old_one() {
    let (before, empty, after) = (host(), tempfile::tempdir().expect("a folder"), host());
    let swap = Swap::to(&before);
    let mut watch = Watch::over(&swap.path());
    watch.alert();
    let reads = watch.collector.counters().reads();
    // a mount point before anything is mounted on it lists nobody
    swap.away();
    std::os::unix::fs::symlink(empty.path(), swap.path()).expect("a link");
    assert!(matches!(watch.tick(), (Collected::Unavailable(_), notices) if notices.is_empty()));
    swap.away();
    swap.again(&after);
    assert_eq!(watch.tick(), (Collected::Fresh(1), Vec::new()), "the same processes on the same boot");
    assert!(watch.collector.counters().reads() > reads, "a counter goes on");
    after.remove(600);
    assert_eq!(watch.recoveries(), 1);
}

#[test]
fn a_tree_of_another_boot_is_another_host() {
    let (before, after) = (host(), host());
    fs::write(after.path().join("sys/kernel/random/boot_id"), "another\n").expect("a boot id");
    let swap = Swap::to(&before);
    let mut watch = Watch::over(&swap.path());
    watch.alert();
    swap.away();
    swap.again(&after);
    let (seen, notices) = watch.tick();
    assert_eq!(seen, Collected::Fresh(1));
    let how: Vec<&Ending> = notices
        .iter()
        .filter_map(|notice| match &notice.kind {
            NoticeKind::Recovered { how, .. } => Some(how),
            NoticeKind::Alert
            | NoticeKind::Reminder { .. }
            | NoticeKind::Worse
            | NoticeKind::Changed
            | NoticeKind::Flapping { .. } => None,
        })
        .collect();
    assert_eq!(how, [&Ending::HostRestarted]);
    assert_eq!(watch.collector.memory().host_boot_id, "another");
}

#[test]
fn a_process_that_could_not_be_read_for_some_ticks_has_not_ended() {
    let tree = host();
    let mut watch = Watch::over(tree.path());
    watch.alert();
    let stat = fs::read(tree.path().join("600/stat")).expect("stat");
    for broken in [b"600 (pytest".as_slice(), b"\xff\xfe", b"600 (pytest) S 1 90"] {
        tree.write(600, "stat", broken);
        let (seen, notices) = watch.tick();
        assert_eq!((seen, notices.len()), (Collected::Fresh(1), 0), "{broken:?}");
    }
    // EISDIR: an error that is neither an end nor a refusal
    fs::remove_file(tree.path().join("600/stat")).expect("removed");
    fs::create_dir(tree.path().join("600/stat")).expect("a folder");
    let (seen, notices) = watch.tick();
    assert_eq!((seen, notices.len()), (Collected::Fresh(1), 0));
    fs::remove_dir(tree.path().join("600/stat")).expect("removed");
    tree.write(600, "stat", &stat);
    assert_eq!(watch.tick(), (Collected::Fresh(1), Vec::new()));
    tree.remove(600);
    assert_eq!(watch.recoveries(), 1);
}

#[test]
fn a_remembered_process_that_a_new_watchdog_cannot_read_has_not_ended() {
    let tree = host();
    let mut watch = Watch::over(tree.path());
    watch.alert();
    let stat = fs::read(tree.path().join("600/stat")).expect("stat");
    tree.write(600, "stat", b"600 (pytest");
    let settings = CollectorSettings {
        proc_root: tree.path().to_owned(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        refresh_ms: 900_000,
        age_marks_ms: Vec::new(),
    };
    let memory = watch.collector.memory().clone();
    watch.collector = Collector::new(settings, Some(memory)).expect("a collector");
    let (seen, notices) = watch.tick();
    assert_eq!((seen, notices.len()), (Collected::Fresh(1), 0));
    tree.write(600, "stat", &stat);
    assert_eq!(watch.tick(), (Collected::Fresh(1), Vec::new()));
    tree.remove(600);
    assert_eq!(watch.recoveries(), 1);
}

#[test]
fn a_tree_most_of_which_is_gone_or_broken_at_a_look_is_unavailable_and_ends_nothing() {
    for broken in [None, Some(b"".as_slice()), Some(b"nonsense")] {
        let tree = host();
        let mut watch = Watch::over(tree.path());
        watch.alert();
        let pids: Vec<i32> = (1000..1010).chain([1, 2, 600]).collect();
        let stats: Vec<Vec<u8>> =
            pids.iter().map(|pid| fs::read(tree.path().join(format!("{pid}/stat"))).expect("stat")).collect();
        for pid in &pids {
            match broken {
                Some(text) => tree.write(*pid, "stat", text),
                None => fs::remove_file(tree.path().join(format!("{pid}/stat"))).expect("removed"),
            }
        }
        for _ in 0..2 {
            let (seen, notices) = watch.tick();
            assert!(matches!(seen, Collected::Unavailable(_)), "{broken:?}: {seen:?}");
            assert_eq!(notices, []);
        }
        for (pid, stat) in pids.iter().zip(&stats) {
            tree.write(*pid, "stat", stat);
        }
        assert_eq!(watch.tick(), (Collected::Fresh(1), Vec::new()), "{broken:?}");
        tree.remove(600);
        assert_eq!(watch.recoveries(), 1, "{broken:?}");
    }
}

#[test]
fn facts_that_could_not_be_read_once_are_read_again() {
    let tree = host();
    let whole = Fake::new(600, 1, &["pytest", "-q"]).with(|it| {
        (it.pgid, it.sid, it.cookie) = (90, 90, Some(77));
    });
    tree.put(&whole);
    tree.write(600, "limits", b"Limit\n");
    tree.write(600, "status", b"nonsense");
    let mut watch = Watch::over(tree.path());
    for _ in 0..4 {
        assert_eq!(watch.tick().1, [], "neither its owner nor its place is known");
    }
    tree.put(&whole.with(|it| it.cookie = None));
    watch.alert();
}

#[test]
fn cpu_does_not_fall_while_a_member_cannot_be_read() {
    let tree = host();
    let settings = CollectorSettings {
        proc_root: tree.path().to_owned(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        refresh_ms: 900_000,
        age_marks_ms: Vec::new(),
    };
    let mut collector = Collector::new(settings, None).expect("a collector");
    let mut cpu_ms = |after_ms: i64| {
        let clocks = Clocks {
            realtime_ms: 1_700_000_000_000 + after_ms,
            boottime_ms: NOW_MS + after_ms,
            monotonic_ms: NOW_MS + after_ms,
        };
        match collector.pass(&clocks, None) {
            Collected::Fresh(seen) => seen.families.first().map(|family| family.cpu_ms),
            Collected::Unavailable(_) | Collected::Off => None,
        }
    };
    let used_ms = Some(500 * 1000 / TICKS);
    assert_eq!(cpu_ms(0), used_ms);
    tree.write(600, "stat", b"600 (pytest");
    assert_eq!(cpu_ms(TICK_MS), used_ms);
    assert_eq!(cpu_ms(2 * TICK_MS), used_ms);
}

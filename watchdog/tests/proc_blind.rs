//! A process tree that cannot be read for a while, or is swapped for another: what was known stays, nothing recovers.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

mod defaults;
#[expect(dead_code, reason = "its processes change in one way only")]
mod proc_support;

use std::fs;
use std::path::{Path, PathBuf};

use orch_watchdog::cases::{AlertState, Notice, NoticeKind, Policy, decide};
use orch_watchdog::observe::{Collected, CoreSight, Observation};
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings};
use orch_watchdog::proc_watch::judge_family;
use orch_watchdog::signals::{CaseKey, Context, Ending, Memory, Saving, SignalKind, Thresholds, derive};
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

fn settings(root: &Path) -> CollectorSettings {
    CollectorSettings {
        proc_root: root.to_owned(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        refresh_ms: 900_000,
        age_marks_ms: Vec::new(),
    }
}

fn recovers_orphan(notice: &Notice) -> bool {
    matches!(notice.kind, NoticeKind::Recovered { .. }) && notice.finding.signal == SignalKind::ProcOrphaned
}

impl Watch {
    fn over(root: &Path) -> Self {
        Self {
            collector: Collector::new(settings(root), None).expect("a collector"),
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
            saving: &Saving { fault: None, proven: true },
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
        self.tick().1.iter().filter(|notice| recovers_orphan(notice)).count()
    }

    /// As after a restart: what is known comes from the state file.
    fn restart(&mut self, root: &Path) {
        let kept = serde_json::to_string(self.collector.memory()).expect("text");
        let memory = serde_json::from_str(&kept).expect("the same");
        self.collector = Collector::new(settings(root), Some(memory)).expect("a collector");
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
    watch.restart(tree.path());
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
    let mut collector = Collector::new(settings(tree.path()), None).expect("a collector");
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

/// What a container's own proc mount shows: no thread daemon, and a first process that started late.
fn container(first_start: u64) -> Tree {
    let tree = Tree::new();
    tree.remove(2);
    tree.put(&Fake::new(1, 0, &["tini"]).leader().with(|it| it.start = first_start));
    tree
}

/// Ticks in which no orphan recovers and none is told; whether they said that they could not look.
fn frozen(watch: &mut Watch) -> bool {
    let mut said = false;
    for _ in 0..6 {
        let (seen, notices) = watch.tick();
        assert!(matches!(seen, Collected::Fresh(_)), "{seen:?}");
        for notice in &notices {
            assert_eq!(notice.finding.signal, SignalKind::CollectorUnavailable, "{notice:?}");
            said |= notice.kind.is_alert();
        }
    }
    said
}

#[test]
fn what_one_namespace_showed_is_not_over_in_another_by_a_restart_or_by_a_mount() {
    for restarted in [true, false] {
        let (host, inside) = (host(), container(500_000));
        // there, too, a process of a group with the number of the orphan's, and nobody of that pid
        inside.put(&Fake::new(700, 1, &["sleep"]).with(|it| (it.pgid, it.sid) = (600, 600)));
        let swap = Swap::to(&host);
        let mut watch = Watch::over(&swap.path());
        watch.alert();
        swap.away();
        swap.again(&inside);
        if restarted {
            watch.restart(&swap.path());
        }
        assert!(frozen(&mut watch), "could not look, and said so");
        assert_eq!(watch.collector.memory().families.len(), 1, "remembered as it was");
        swap.away();
        swap.again(&host);
        if restarted {
            watch.restart(&swap.path());
        }
        let (seen, notices) = watch.tick();
        assert_eq!(seen, Collected::Fresh(1));
        assert!(!notices.iter().any(recovers_orphan), "{notices:?}");
        host.remove(600);
        let recovered = (0..3).map(|_| watch.recoveries()).sum::<usize>();
        assert_eq!(recovered, 1, "seen from where it was seen: it is over");
    }
}

#[test]
fn a_family_of_a_container_is_over_on_the_host_only_when_nobody_of_its_start_is_left() {
    let (inside, outside) = (container(500_000), host());
    inside.put(
        &Fake::new(12, 1, &["pytest", "-q"])
            .with(|it| (it.pgid, it.sid, it.start, it.cpu) = (9, 9, 600_123, 500)),
    );
    outside.remove(600);
    // the same process, as the host numbers it; its command line is another by now
    outside.put(&Fake::new(4012, 1, &["renamed"]).leader().with(|it| it.start = 600_123));
    let swap = Swap::to(&inside);
    let mut watch = Watch::over(&swap.path());
    watch.alert();
    swap.away();
    swap.again(&outside);
    watch.restart(&swap.path());
    frozen(&mut watch);
    outside.remove(4012);
    assert_eq!((0..3).map(|_| watch.recoveries()).sum::<usize>(), 1);
}

#[test]
fn a_restarted_container_is_another_namespace_of_the_same_host() {
    let (before, after) = (container(500_000), container(900_000));
    for tree in [&before, &after] {
        // the young pids of containers are the same again and again
        tree.put(&Fake::new(30, 1, &["sleep"]).leader().with(|it| it.start = 950_000));
    }
    before.put(
        &Fake::new(12, 1, &["pytest"]).with(|it| (it.pgid, it.sid, it.start, it.cpu) = (9, 9, 600_000, 500)),
    );
    let swap = Swap::to(&before);
    let mut watch = Watch::over(&swap.path());
    watch.alert();
    swap.away();
    swap.again(&after);
    watch.restart(&swap.path());
    assert!(frozen(&mut watch));
}

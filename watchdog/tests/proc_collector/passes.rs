//! What a pass reads, measures and survives: rotation, `exec`, reused pids, hostile entries.

use orch_watchdog::observe::{Collected, Cookie};
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings};
use proc_identity::host::Clocks;

use crate::proc_support::{Fake, Tree};
use crate::{NOW_MS, WORKER, clocks, collector_of, fresh, host, only, pass};

#[test]
fn cpu_is_told_over_two_passes_and_never_falls() {
    let tree = host();
    let mut collector = collector_of(&tree, None);
    assert_eq!(only(&pass(&mut collector, 0)).cpu_share, None);
    let worker = |pid: i32, cpu: u64| {
        tree.put(
            &Fake::new(pid, 200, &["python3", "-u", "-c", WORKER]).with(|it| (it.sid, it.cpu) = (100, cpu)),
        );
    };
    worker(201, 500);
    worker(202, 1000);
    let observation = pass(&mut collector, 10_000);
    let family = only(&observation);
    assert_eq!((family.cpu_ms, family.cpu_share), (15_000, Some(1.5)));
    tree.remove(202);
    let observation = pass(&mut collector, 20_000);
    assert_eq!((only(&observation).cpu_ms, only(&observation).cpu_share), (15_000, Some(0.0)));
    assert_eq!(only(&observation).rss_bytes, 2 * 25 * 4096);
}

#[test]
fn suspended_time_does_not_age_a_family() {
    let tree = host();
    let mut collector = collector_of(&tree, None);
    let before = only(&pass(&mut collector, 0)).awake_age_ms;
    let slept =
        Clocks { boottime_ms: NOW_MS + 3_610_000, monotonic_ms: NOW_MS + 10_000, ..clocks(3_610_000) };
    assert_eq!(only(&fresh(collector.pass(&slept, None))).awake_age_ms, before + 10_000);
}

#[test]
fn a_steady_pass_reads_nothing_but_families_and_the_rotation() {
    let tree = host();
    for pid in 1000..1090 {
        tree.put(&Fake::new(pid, 50, &["sleep", "60"]));
    }
    let mut collector = collector_of(&tree, None);
    collector.trust_inodes();
    for tick in 0..6 {
        pass(&mut collector, tick * 15_000);
    }
    let before = collector.counters();
    pass(&mut collector, 90_000);
    let after = collector.counters();
    // family of three, its ancestors bash, sshd and init, and of 98 processes a sixtieth for the rotation
    assert!(after.stat - before.stat <= 6 + 2, "{before:?} {after:?}");
    assert!(after.cmdline - before.cmdline <= 1 + 2 + 1, "{before:?} {after:?}");
    assert_eq!((after.status, after.limits, after.cgroup), (before.status, before.limits, before.cgroup));
}

#[test]
fn who_did_nothing_is_looked_at_in_each_round_and_not_read() {
    let tree = host();
    for pid in 1000..1090 {
        tree.put(&Fake::new(pid, 50, &["sleep", "60"]));
    }
    let mut collector = collector_of(&tree, None);
    collector.trust_inodes();
    let mut reads = Vec::new();
    let mut last = collector.counters();
    for round in 0..9_i64 {
        for tick in 0..60_i64 {
            pass(&mut collector, (round * 60 + tick) * 15_000);
        }
        let now = collector.counters();
        // besides the rotation: three members, their three ancestors
        reads.push((now.stat - last.stat - 6 * 60, now.cmdline - last.cmdline));
        last = now;
    }
    assert!(reads.iter().all(|(stats, _)| *stats >= 90), "{reads:?}");
    let whole: Vec<bool> = reads[1..].iter().map(|(_, lines)| *lines >= 90).collect();
    let few = reads[1..].iter().filter(|(_, lines)| *lines < 40).count();
    assert_eq!((whole.iter().filter(|whole| **whole).count(), few), (2, 6), "{reads:?}");
}

#[test]
fn a_line_that_its_program_wrote_over_without_a_trace_is_read_within_four_rounds() {
    let tree = host();
    tree.put(&Fake::new(900, 50, &["server"]));
    let mut collector = collector_of(&tree, None);
    collector.trust_inodes();
    for tick in 0..70 {
        pass(&mut collector, tick * 15_000);
    }
    tree.write(900, "cmdline", b"pytest\0-q\0");
    let seen = |tick: &i64| {
        let observation = pass(&mut collector, tick * 15_000);
        observation.families.iter().any(|family| family.key.pid == 900)
    };
    let seen = (70..400).find(seen);
    assert!(seen.is_some_and(|tick| tick <= 70 + 4 * 60), "{seen:?}");
}

#[test]
fn exec_is_noticed_at_the_second_and_fourth_pass_and_in_rotation() {
    for (exec_after, seen_by) in [(1, 2), (2, 4), (4, 70)] {
        let tree = host();
        tree.put(&Fake::new(900, 50, &["sh", "-c", "a && b"]));
        let mut collector = collector_of(&tree, None);
        collector.trust_inodes();
        let mut seen = None;
        for tick in 1..=70 {
            let observation = pass(&mut collector, tick * 15_000);
            if seen.is_none() && observation.families.iter().any(|family| family.key.pid == 900) {
                seen = Some(tick);
            }
            if tick == exec_after {
                tree.exec(900, b"pytest\0-q\0");
            }
        }
        assert!(seen.is_some_and(|tick| tick <= seen_by), "exec after pass {exec_after}: seen at {seen:?}");
    }
}

#[test]
fn a_command_line_is_read_again_just_before_an_age_limit() {
    let tree = host();
    let started = u64::try_from(NOW_MS / 10).expect("ticks");
    tree.put(&Fake::new(900, 50, &["sh"]).with(|it| it.start = started));
    let settings = CollectorSettings {
        proc_root: tree.path().to_owned(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        refresh_ms: i64::MAX,
        age_marks_ms: vec![600_000],
    };
    let mut collector = Collector::new(settings, None).expect("a collector");
    collector.trust_inodes();
    let mut seen = None;
    for tick in 0..60 {
        let observation = pass(&mut collector, tick * 15_000);
        if seen.is_none() && observation.families.iter().any(|family| family.key.pid == 900) {
            seen = Some(tick * 15_000);
        }
        if tick == 10 {
            tree.exec(900, b"pytest\0");
        }
    }
    assert!(seen.is_some_and(|at_ms| (570_000..=600_000).contains(&at_ms)), "{seen:?}");
}

#[test]
fn a_matched_process_that_becomes_something_else_is_no_family_of_its_own_any_more() {
    let tree = Tree::new();
    tree.put(&Fake::new(600, 1, &["pytest"]).leader());
    let mut collector = collector_of(&tree, None);
    pass(&mut collector, 0);
    // a leader that called pthread_exit has no command line and lives on
    tree.put(
        &Fake::new(600, 1, &[])
            .leader()
            .with(|it| (it.comm, it.state, it.threads) = (b"pytest".to_vec(), 'Z', 3)),
    );
    assert_eq!(only(&pass(&mut collector, 15_000)).command, "pytest");
    tree.put(&Fake::new(600, 1, &[]).leader().with(|it| (it.state, it.threads) = ('Z', 1)));
    assert_eq!(pass(&mut collector, 30_000).families, []);
}

#[test]
fn a_reused_pid_is_another_process() {
    let tree = host();
    let mut collector = collector_of(&tree, None);
    pass(&mut collector, 0);
    tree.put(&Fake::new(200, 100, &["sleep", "60"]).with(|it| it.start = 9_000_000));
    for pid in [201, 202] {
        tree.remove(pid);
    }
    assert_eq!(pass(&mut collector, 15_000).families, []);
}

#[test]
fn hostile_entries_cost_themselves_and_nobody_else() {
    let tree = host();
    tree.put(&Fake::new(700, 1, &["pytest"]).leader().with(|it| it.comm = b") R 1 (a\n) b\xff".to_vec()));
    tree.put(&Fake::new(701, 1, &["x"]));
    tree.write(701, "stat", b"701 (x");
    tree.put(&Fake::new(702, 1, &["y"]));
    tree.write(702, "cmdline", &vec![b'a'; 2 * 1024 * 1024]);
    tree.put(
        &Fake::new(703, 1, &["pytest"])
            .leader()
            .with(|it| it.argv = vec![b"pytest".to_vec(), b"\xff\x1b[2J\n--token=abc".to_vec()]),
    );
    std::fs::remove_file(tree.path().join("703/limits")).expect("limits");
    std::fs::create_dir(tree.path().join("704")).expect("an entry without a stat");
    let mut collector = collector_of(&tree, None);
    let observation = pass(&mut collector, 0);
    let pids: Vec<i32> = observation.families.iter().map(|family| family.key.pid).collect();
    assert_eq!(pids, [200, 700, 703]);
    let hostile = observation.families.iter().find(|family| family.key.pid == 703).expect("703");
    assert_eq!(hostile.command, "pytest \u{fffd} [2J --token=***");
    assert_eq!(hostile.cookie, Cookie::Unreadable);
    let named = observation.families.iter().find(|family| family.key.pid == 700).expect("700");
    assert_eq!(named.members.first().map(|member| member.name.as_str()), Some(") R 1 (a ) b\u{fffd}"));
    assert_eq!((observation.listed - observation.readable, collector.counters().malformed), (1, 1));
}

#[test]
fn a_tree_that_lists_nobody_is_unavailable_and_not_empty() {
    let tree = host();
    let mut collector = collector_of(&tree, None);
    pass(&mut collector, 0);
    let gone = tempfile::tempdir().expect("a folder");
    std::fs::rename(tree.path(), gone.path().join("elsewhere")).expect("moved");
    // the open directory moved with it; emptied, it lists nobody
    for entry in std::fs::read_dir(gone.path().join("elsewhere")).expect("a folder").flatten() {
        std::fs::remove_dir_all(entry.path()).expect("removed");
    }
    let collected = collector.pass(&clocks(15_000), None);
    assert!(matches!(collected, Collected::Unavailable(_)), "{collected:?}");
    assert_eq!(collector.memory().families.len(), 1, "and nothing was forgotten");
}

#[test]
fn a_folder_that_holds_no_processes_is_called_that_and_not_one_that_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = CollectorSettings {
        proc_root: folder.path().to_owned(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        refresh_ms: 900_000,
        age_marks_ms: Vec::new(),
    };
    let why = Collector::new(settings, None).expect_err("no tree").to_string();
    assert!(why.contains("is no proc tree") && !why.contains("process is gone"), "{why}");
}

/// A tick of its own may follow another within a moment, and the kernel counts CPU in steps of ten milliseconds.
#[test]
fn a_pass_that_follows_at_once_makes_nobody_spin() {
    let tree = host();
    let mut collector = collector_of(&tree, None);
    let root_used =
        |cpu: u64| tree.put(&Fake::new(100, 1, &["pytest", "-q"]).with(|it| (it.sid, it.cpu) = (100, cpu)));
    root_used(1000);
    pass(&mut collector, 0);
    root_used(1015);
    let before = only(&pass(&mut collector, 15_000)).cpu_share;
    root_used(1016);
    let after = only(&pass(&mut collector, 15_004)).cpu_share;
    for share in [before, after] {
        assert!(share.is_some_and(|share| share < 0.02), "{before:?} {after:?}");
    }
    // and the next one at its time is measured from the last that was at its own
    root_used(1031);
    let share = only(&pass(&mut collector, 30_000)).cpu_share;
    assert!(share.is_some_and(|share| (0.009..0.012).contains(&share)), "{share:?}");
}

#[test]
fn many_passes_within_a_moment_do_not_use_up_the_looks_at_a_young_process() {
    let tree = host();
    let mut collector = collector_of(&tree, None);
    pass(&mut collector, 0);
    tree.put(&Fake::new(777, 1, &["sh", "-c", "sleep 4; exec pytest"]).with(|it| it.sid = 777));
    for early in 0..9 {
        pass(&mut collector, 15_000 + early * 350);
    }
    tree.put(&Fake::new(777, 1, &["pytest", "-q"]).with(|it| it.sid = 777));
    let seen = (1..=4).find(|tick| {
        let observation = pass(&mut collector, 18_000 + tick * 5_000);
        observation.families.iter().any(|family| family.key.pid == 777)
    });
    assert!(seen.is_some_and(|tick| tick <= 2), "{seen:?}");
}

/// What is not read for a want of our own says nothing of anybody.
#[test]
fn a_program_without_descriptors_says_that_it_could_not_look() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let tree = host();
    let mut collector = collector_of(&tree, None);
    // only what is new is read
    collector.trust_inodes();
    pass(&mut collector, 0);
    tree.put(&Fake::new(777, 1, &["pytest", "-q"]).with(|it| it.sid = 777));
    let before = getrlimit(Resource::Nofile);
    // descriptors that are open stay so
    setrlimit(Resource::Nofile, Rlimit { current: Some(1), ..before }).expect("a lower limit");
    let collected = collector.pass(&clocks(15_000), None);
    setrlimit(Resource::Nofile, before).expect("the limit as it was");
    let Collected::Unavailable(why) = collected else { panic!("{collected:?}") };
    assert!(why.contains("Too many open files"), "{why}");
    let observation = pass(&mut collector, 30_000);
    let mut keys: Vec<i32> = observation.families.iter().map(|family| family.key.pid).collect();
    keys.sort_unstable();
    assert_eq!(keys, [200, 777]);
}

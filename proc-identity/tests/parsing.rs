//! The parsers against recorded entries, hostile text, and procfs's own reading of the same files.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

use std::path::{Path, PathBuf};

use proc_identity::host::{Memory, Pressure, PressureKind, parse_pressure, read_memory, read_pressure};
use proc_identity::{
    FileLocks, ProcError, Stat, State, Status, cgroup, read_cmdline, read_limits, read_stat, read_status,
};
use procfs::prelude::FromRead;
use proptest::prelude::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc")
}

/// What a recent kernel wrote.
fn recent() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/linux-6.18")
}

fn stat_of(file: &str) -> Stat {
    Stat::parse(&std::fs::read(fixtures().join(file)).expect("recorded")).expect("parses")
}

#[test]
fn recorded_stat_lines_give_the_recorded_values() {
    let sleeping = State::Sleeping;
    let load = |pid: i32, state, faults, utime_ticks, stime_ticks, start_ticks| Stat {
        pid,
        comm: b"pthread_load".to_vec(),
        state,
        ppid: 1,
        pgrp: 27079,
        session: 1,
        faults,
        utime_ticks,
        stime_ticks,
        num_threads: 5,
        start_ticks,
        rss_pages: 138,
    };
    let cases = [
        (
            "584/stat",
            Stat {
                pid: 1020,
                comm: b"(a b ) ( c d) ".to_vec(),
                state: State::Running,
                ppid: 28378,
                pgrp: 1020,
                session: 28378,
                faults: 286,
                utime_ticks: 0,
                stime_ticks: 0,
                num_threads: 1,
                start_ticks: 10_839_175,
                rss_pages: 155,
            },
        ),
        (
            "26231/stat",
            Stat {
                pid: 26231,
                comm: b"vim".to_vec(),
                state: State::Running,
                ppid: 5392,
                pgrp: 7446,
                session: 5392,
                faults: 32559,
                utime_ticks: 1677,
                stime_ticks: 44,
                num_threads: 1,
                start_ticks: 82_375,
                rss_pages: 1981,
            },
        ),
        (
            "26232/stat",
            Stat {
                pid: 33,
                comm: b"ata_sff".to_vec(),
                state: sleeping,
                ppid: 2,
                pgrp: 0,
                session: 0,
                faults: 0,
                utime_ticks: 0,
                stime_ticks: 0,
                num_threads: 1,
                start_ticks: 5,
                rss_pages: 0,
            },
        ),
        ("27079/stat", load(27079, sleeping, 114, 58_125, 15, 4_289_574)),
        ("27079/task/27079/stat", load(27079, sleeping, 98, 0, 0, 4_289_574)),
        ("27079/task/27080/stat", load(27080, State::Running, 7, 34_136, 3, 4_289_575)),
        ("27079/task/27081/stat", load(27081, sleeping, 3, 13_680, 4, 4_289_575)),
        ("27079/task/27082/stat", load(27082, sleeping, 3, 6_859, 3, 4_289_575)),
        ("27079/task/27083/stat", load(27083, sleeping, 3, 3_452, 4, 4_289_575)),
    ];
    for (file, expected) in cases {
        assert_eq!(stat_of(file), expected, "{file}");
        assert!(!expected.is_dead(), "{file}");
    }
}

#[test]
fn stat_agrees_with_procfs_on_recorded_and_live_processes() {
    // without 26232: procfs refuses the kernel's -9223372036854775808 in a field that we skip
    let mut texts: Vec<Vec<u8>> = [584, 26231, 27079]
        .iter()
        .map(|pid| std::fs::read(fixtures().join(format!("{pid}/stat"))).expect("recorded"))
        .collect();
    texts.push(std::fs::read("/proc/self/stat").expect("own stat"));
    for text in texts {
        let ours = Stat::parse(&text).expect("ours");
        // procfs takes the second line of a recorded entry for more fields
        let first = text.split(|byte| *byte == b'\n').next().expect("one line");
        let theirs = procfs::process::Stat::from_read(first).expect("theirs");
        assert_eq!(ours.comm, theirs.comm.as_bytes());
        assert_eq!(ours.state.letter(), theirs.state);
        assert_eq!(
            (ours.pid, ours.ppid, ours.pgrp, ours.session),
            (theirs.pid, theirs.ppid, theirs.pgrp, theirs.session)
        );
        assert_eq!(ours.faults, theirs.minflt + theirs.majflt);
        assert_eq!((ours.utime_ticks, ours.stime_ticks), (theirs.utime, theirs.stime));
        assert_eq!((ours.start_ticks, ours.rss_pages), (theirs.starttime, theirs.rss));
        assert_eq!(Ok(ours.num_threads), u64::try_from(theirs.num_threads));
    }
}

#[test]
fn a_name_cannot_forge_the_fields_behind_it() {
    let tail = "S 1 2 3 0 -1 0 0 0 0 0 7 8 0 0 20 0 1 0 99 0 12 0";
    for name in ["", ")", ") R 666 666", "a\nb", "\u{fffd}", "(((", ") Z 0 0 0\n1 (x"] {
        let stat = Stat::parse(format!("42 ({name}) {tail}\n").as_bytes()).expect("parses");
        assert_eq!(stat.comm, name.as_bytes());
        assert_eq!((stat.pid, stat.ppid, stat.start_ticks, stat.state), (42, 1, 99, State::Sleeping));
    }
}

#[test]
fn a_short_or_broken_stat_names_the_field() {
    let malformed = |field| Err(ProcError::Malformed { file: "stat", field });
    for (text, field) in [
        (&b""[..], "comm"),
        (b"1 (x", "comm"),
        (b") (", "comm"),
        (b"x (y) S 1", "pid"),
        (b"1 (y) ", "state"),
        (b"1 (y) SS 1", "state"),
        (b"1 (y) S x", "ppid"),
        (b"1 (y) S 1 2 3 0 -1 0 0 0 0 0 7 8 0 0 20 0 1 0", "starttime"),
        (b"1 (y) S 1 2 3 0 -1 0 0 0 0 0 7 8 0 0 20 0 1 0 99 0", "rss"),
    ] {
        assert_eq!(Stat::parse(text), malformed(field), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_zombie_leader_with_threads_is_alive() {
    let zombie = |threads: u32| {
        Stat::parse(format!("5 (x) Z 1 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 9 0 0").as_bytes())
            .expect("parses")
    };
    assert!(zombie(1).is_dead());
    assert!(!zombie(2).is_dead());
}

#[test]
fn recorded_status_gives_namespaces_users_and_ignored_signals() {
    let proxy = Status {
        pid: 26235,
        ppid: 1234,
        uid: 0,
        effective_uid: 0,
        threads: 51,
        ns_pids: vec![26235, 1],
        ns_pgids: vec![26235, 1],
        ns_sids: vec![26235, 1],
        ignored_signals: Some(0),
    };
    let server = Status {
        pid: 26231,
        ppid: 1,
        uid: 1000,
        effective_uid: 1000,
        threads: 1,
        ns_pids: vec![1],
        ns_pgids: vec![1],
        ns_sids: vec![1],
        ignored_signals: Some(0x1000),
    };
    for (pid, expected, depth) in [(26235, proxy, 2), (26231, server, 1)] {
        let found = read_status(&fixtures(), pid).expect("recorded status");
        assert_eq!(found, expected);
        assert_eq!((found.namespace_depth(), found.innermost_pid()), (Some(depth), Some(1)));
    }
}

#[test]
fn a_status_with_a_name_that_is_no_text_is_still_read() {
    let status = Status::parse(b"Name:\t\xff\xfe:\\n\nPid:\t7\nPPid:\t1\nUid:\t1\t2\t2\t2\nThreads:\t3\n")
        .expect("parses");
    assert_eq!((status.pid, status.uid, status.effective_uid, status.threads), (7, 1, 2, 3));
    assert_eq!(status.namespace_depth(), None);
}

#[test]
fn limits_give_the_cookie_exactly() {
    let table = |soft: &str, hard: &str| {
        format!(
            "Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time              unlimited            unlimited            seconds   \nMax file locks            {soft:<20} {hard:<20} locks     \n"
        )
    };
    let locks = FileLocks::parse(table("unlimited", "unlimited").as_bytes()).expect("parses");
    assert_eq!((locks.cookie(), locks.hard), (None, None));
    let nested = FileLocks::parse(table("123", "9223372036854775806").as_bytes()).expect("parses");
    assert_eq!(nested.cookie(), Some(123));
    assert!(nested.carries(123) && nested.carries(9_223_372_036_854_775_806) && !nested.carries(9));
    for bad in ["", "Max file locks", "Max file locks  x y", "Max file locks 1"] {
        assert!(FileLocks::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn cgroup_lines_keep_colons_and_dots_of_the_path() {
    let lines =
        cgroup::parse(b"12:cpu,cpuacct:/docker/ab:cd\n0::/../../system.slice/x.scope\n").expect("parses");
    assert_eq!(lines[0].path, "/docker/ab:cd");
    assert_eq!(cgroup::unified(&lines), Some("/../../system.slice/x.scope"));
    assert!(cgroup::parse(b"0:\n").is_err());
}

#[test]
fn recorded_pressure_gives_the_recorded_shares() {
    let of = |some: [f32; 3], some_total_us, full_avg60_percent| Pressure {
        some_avg10_percent: some[0],
        some_avg60_percent: some[1],
        some_avg300_percent: some[2],
        some_total_us,
        full_avg60_percent,
    };
    let old = [0.1, 2.0, 3.85];
    for (root, kind, expected) in [
        (fixtures(), PressureKind::Cpu, of(old, 15, 0.0)),
        (fixtures(), PressureKind::Io, of(old, 15, 3.0)),
        (fixtures(), PressureKind::Memory, of(old, 15, 3.0)),
        (recent(), PressureKind::Cpu, of([51.08, 44.75, 60.95], 1_220_384_658, 0.0)),
        (recent(), PressureKind::Io, of([0.33, 0.45, 0.46], 33_602_329, 0.04)),
        (recent(), PressureKind::Memory, of([0.0, 0.0, 0.0], 575_677, 0.0)),
    ] {
        assert_eq!(read_pressure(&root, kind), Ok(expected), "{} {kind:?}", root.display());
    }
    let mixed = parse_pressure("some avg10=1.50 avg60=2.50 avg300=3.50 total=4\n").expect("parses");
    assert_eq!((mixed.some_avg60_percent, mixed.full_avg60_percent, mixed.some_total_us), (2.5, 0.0, 4));
    assert!(parse_pressure("").is_err());
}

#[test]
fn recorded_limits_and_memory_give_the_recorded_values() {
    let locks = read_limits(&recent(), 7).expect("recorded limits");
    let (inner, outer) = (4_611_686_018_427_387_017, 9_223_372_036_854_775_806);
    assert_eq!((locks.soft, locks.hard, locks.cookie()), (Some(inner), Some(outer), Some(inner)));
    assert!(locks.carries(inner) && locks.carries(outer));
    let memory = read_memory(&recent()).expect("recorded memory");
    let expected = Memory {
        total_bytes: 24_684_112 * 1024,
        available_bytes: Some(22_919_560 * 1024),
        swap_total_bytes: 0,
        swap_free_bytes: 0,
    };
    assert_eq!(memory, expected);
}

#[test]
fn recorded_command_lines_give_the_recorded_words() {
    for (pid, expected) in [
        (26231, &[&b"vim"[..], b"test.go", b"+10"][..]),
        (26232, &[]),
        // overwritten by its program: a name, and the room that was left
        (26233, &[b"com.github.uiautomator"]),
    ] {
        let line = read_cmdline(&fixtures(), pid, 4096).expect("recorded cmdline");
        assert!(!line.truncated, "{pid}");
        let words: Vec<&[u8]> = line.words().filter(|word| !word.is_empty()).collect();
        assert_eq!(words, expected, "{pid}");
    }
}

#[test]
fn a_command_line_is_cut_at_the_cap_and_says_so() {
    let whole = read_cmdline(&fixtures(), 26231, 4096).expect("recorded cmdline");
    assert!(!whole.truncated);
    assert_eq!(whole.words().next(), Some(&b"vim"[..]));
    let exact = read_cmdline(&fixtures(), 26231, whole.bytes.len()).expect("recorded cmdline");
    assert_eq!(exact, whole, "exactly full is not cut");
    let cut = read_cmdline(&fixtures(), 26231, 5).expect("recorded cmdline");
    assert_eq!((cut.bytes.as_slice(), cut.truncated), (&whole.bytes[..5], true));
    assert_eq!(read_cmdline(&fixtures(), 26232, 64).expect("kernel thread").words().count(), 0);
}

#[test]
fn an_entry_that_is_not_there_is_gone() {
    assert_eq!(read_stat(&fixtures(), 1), Err(ProcError::Gone));
    assert_eq!(read_stat(&fixtures(), 0), Err(ProcError::Gone), "no pid, no look");
    assert_eq!(read_stat(&fixtures(), -26231), Err(ProcError::Gone));
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        Stat::parse(&text).ok();
        Status::parse(&text).ok();
        FileLocks::parse(&text).ok();
        cgroup::parse(&text).ok();
        parse_pressure(&String::from_utf8_lossy(&text)).ok();
    }

    #[test]
    fn no_damaged_file_makes_a_parser_panic(cut in 0_usize..1500, at in 0_usize..1500, byte in any::<u8>()) {
        for name in ["26231/status", "584/stat", "26232/stat", "pressure/io"] {
            let mut text = std::fs::read(fixtures().join(name)).expect("recorded");
            if let Some(slot) = text.get_mut(at) { *slot = byte; }
            text.truncate(cut);
            Stat::parse(&text).ok();
            Status::parse(&text).ok();
            parse_pressure(&String::from_utf8_lossy(&text)).ok();
        }
    }

    #[test]
    fn any_name_survives_the_round_trip(name in proptest::collection::vec(1_u8.., 0..63)) {
        let mut text = b"42 (".to_vec();
        text.extend_from_slice(&name);
        text.extend_from_slice(b") T 1 2 3 0 -1 0 0 0 0 0 7 8 0 0 20 0 1 0 99 0 12 0\n");
        let stat = Stat::parse(&text).expect("parses");
        prop_assert!(stat.is_stopped());
        prop_assert_eq!(stat.comm, name);
        prop_assert_eq!(stat.start_ticks, 99);
    }
}

proptest! {
    #[test]
    fn a_time_in_ticks_is_the_first_that_is_not_before_it(
        ticks in 0..1_000_000_000_000_u64, beside in -20..20_i64, rate in 1..2000_u64,
    ) {
        use proc_identity::host::{ticks_at, ticks_ms};
        let ms = ticks_ms(ticks, rate) + beside;
        prop_assert_eq!(ticks >= ticks_at(ms, rate), ticks_ms(ticks, rate) >= ms);
    }
}

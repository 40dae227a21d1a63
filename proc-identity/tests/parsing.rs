//! The parsers against recorded entries, hostile text, and procfs's own reading of the same files.

use std::path::{Path, PathBuf};

use proc_identity::host::{PressureKind, parse_pressure, read_pressure};
use proc_identity::{
    FileLocks, ProcError, Stat, State, Status, cgroup, read_cmdline, read_stat, read_status,
};
use procfs::prelude::FromRead;
use proptest::prelude::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc")
}

#[test]
fn recorded_stat_lines_give_the_recorded_values() {
    let cases = [
        (584, 1020, &b"(a b ) ( c d) "[..], State::Running, 28378, 1, 10_839_175, 0, 155),
        (26231, 26231, b"vim", State::Running, 5392, 1, 82_375_u64, 1677, 1981),
        (26232, 33, b"ata_sff", State::Sleeping, 2, 1, 5, 0, 0),
        (27079, 27079, b"pthread_load", State::Sleeping, 1, 5, 4_289_574, 58_125, 138),
    ];
    for (entry, pid, comm, state, ppid, threads, start, utime, rss) in cases {
        let stat = read_stat(&fixtures(), entry).expect("recorded stat");
        assert_eq!(stat.pid, pid);
        assert_eq!(stat.comm, comm, "name of {entry}");
        assert_eq!(
            (stat.state, stat.ppid, stat.num_threads, stat.start_ticks, stat.utime_ticks, stat.rss_pages),
            (state, ppid, threads, start, utime, rss),
            "fields of {entry}"
        );
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
fn recorded_status_gives_namespaces_and_users() {
    let inner = read_status(&fixtures(), 26235).expect("recorded status");
    assert_eq!((inner.pid, inner.ppid, inner.uid), (26235, 1234, 0));
    assert_eq!(
        (inner.ns_pids.as_slice(), inner.namespace_depth(), inner.innermost_pid()),
        (&[26235, 1][..], Some(2), Some(1))
    );
    let editor = read_status(&fixtures(), 26231).expect("recorded status");
    assert_eq!((editor.uid, editor.threads), (1000, 1));
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
fn pressure_is_read_with_and_without_its_full_line() {
    let recorded = read_pressure(&fixtures(), PressureKind::Io).expect("recorded pressure");
    assert!(recorded.some_total_us > 0);
    let old = parse_pressure("some avg10=1.50 avg60=2.50 avg300=3.50 total=4\n").expect("parses");
    assert_eq!((old.some_avg60_percent, old.full_avg60_percent, old.some_total_us), (2.5, 0.0, 4));
    assert!(parse_pressure("").is_err());
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

//! The collector over entries that real kernels wrote (their origin stands beside them), whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};

use orch_watchdog::observe::{Collected, Cookie, ProcObservation};
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::{clocks, fresh, only};

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proc-identity/tests/fixtures/proc")
}

/// A tree that holds the recorded processes and what makes it one of a running host.
fn tree() -> TempDir {
    let tree = TempDir::new().expect("a folder");
    let kernel = tree.path().join("sys/kernel/random");
    fs::create_dir_all(&kernel).expect("a folder");
    fs::write(kernel.join("boot_id"), "11111111-2222-3333-4444-555555555555\n").expect("boot id");
    for entry in fs::read_dir(recorded()).expect("recorded entries").map(|entry| entry.expect("an entry")) {
        let copy = tree.path().join(entry.file_name());
        fs::create_dir(&copy).expect("a folder");
        for file in fs::read_dir(entry.path()).expect("files").map(|file| file.expect("a file")) {
            if file.path().is_file() {
                fs::copy(file.path(), copy.join(file.file_name())).expect("a copy");
            }
        }
    }
    tree
}

fn look(tree: &TempDir) -> Collected<ProcObservation> {
    let settings = CollectorSettings {
        proc_root: tree.path().to_owned(),
        patterns: Pattern::parse_list("comm:vim").expect("patterns"),
        refresh_ms: 900_000,
        age_marks_ms: Vec::new(),
    };
    Collector::new(settings, None).expect("a collector").pass(&clocks(0), None)
}

#[test]
fn a_recorded_editor_is_told_as_it_was_recorded_and_what_is_no_whole_entry_is_not_told_at_all() {
    let observation = fresh(look(&tree()));
    let family = only(&observation);
    assert_eq!((family.key.pid, family.key.start_ticks), (26231, 82_375));
    assert_eq!((family.command.as_str(), family.cpu_ms), ("vim test.go +10", (1_677 + 44) * 10));
    assert_eq!(family.rss_bytes, 1_981 * 4096);
    assert_eq!(family.started_at_ms, clocks(0).boot_time_ms() + 823_750);
    // neither was recorded: not read is not none
    assert_eq!((family.cookie, family.container.as_deref()), (Cookie::Unreadable, None));
    let member = family.members.first().expect("itself");
    assert_eq!((member.ppid, member.pgid, member.sid, member.state), (5392, 7446, 5392, 'R'));
    assert_eq!((member.name.as_str(), member.command.as_str()), ("vim", "vim test.go +10"));
    // two entries hold another process's `stat`, two hold none
    assert_eq!((observation.listed, observation.readable), (4, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn damage_to_any_recorded_file_breaks_no_pass(
        file in prop::sample::select(["26231/stat", "26231/status", "26231/cmdline", "27079/stat", "584/stat"].as_slice()),
        at in 0_usize..1500,
        byte in any::<u8>(),
        cut in 0_usize..1500,
    ) {
        let tree = tree();
        let path = tree.path().join(file);
        let mut text = fs::read(&path).expect("recorded");
        if let Some(slot) = text.get_mut(at) {
            *slot = byte;
        }
        text.truncate(cut);
        fs::write(&path, &text).expect("written");
        let observation = fresh(look(&tree));
        for family in &observation.families {
            prop_assert_eq!(family.key.pid, 26231);
            prop_assert!(family.command.chars().all(|letter| !letter.is_control()), "{}", family.command);
        }
        // what is damaged costs itself and nobody else
        if !file.starts_with("26231") {
            only(&observation);
        }
    }
}

//! What the verbs of the real program say and how they end when something is wrong around them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[expect(dead_code, reason = "no verb here is a watchdog that runs on")]
mod program;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

use program::{ask, command};

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const QUIET: [(&str, &str); 1] = [("WATCHDOG_STATE_DIR", "/nonexistent/state")];

/// They ended as "found something".
#[test]
fn a_look_that_failed_itself_says_that_it_could_not_look() {
    for arguments in [&["scan", "--without-core"][..], &["explain", "1", "--without-core"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(&QUIET, arguments).stdout(full).output().unwrap();
        assert_eq!(code(&output), Some(2), "{arguments:?}: {}", words(&output.stderr));
        assert!(words(&output.stderr).contains("No space left"), "{}", words(&output.stderr));

        let gone = tempfile::tempdir().unwrap();
        let script = "rmdir \"$0\" && exec \"$@\"";
        let output = program::plain("sh")
            .current_dir(gone.path())
            .args(["-c", script])
            .arg(gone.path())
            .arg(env!("CARGO_BIN_EXE_orch-watchdog"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(code(&output), Some(2), "{arguments:?}: {}", words(&output.stderr));
        assert!(words(&output.stderr).contains("working directory"), "{}", words(&output.stderr));
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command(&QUIET, &["version"]).stdout(full).output().unwrap();
    assert_eq!(code(&output), Some(1), "other verbs fail as ever");
}

#[test]
fn a_reader_that_leaves_early_changes_no_result() {
    let scan = ["scan", "--without-core", "--all", "--pattern", "comm:no-such-name"];
    let undisturbed = ask(&QUIET, &scan);
    let mut child = command(&QUIET, &scan).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // gone before the first line
    drop(child.stdout.take());
    let cut = child.wait_with_output().unwrap();
    assert_eq!((code(&cut), words(&cut.stderr)), (code(&undisturbed), words(&undisturbed.stderr)));

    let mut child = command(&QUIET, &["check-config", "--print-env"])
        .env("WATCHDOG_STATE_DIR", "./state")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", words(&output.stderr));
}

/// They were called sound, and the watchdog did not start or saw nothing.
#[test]
fn settings_that_cannot_work_here_are_refused_with_their_cure() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let missing = dir.path().join("missing/state");
    let (file, missing) = (file.to_str().unwrap(), missing.to_str().unwrap());
    let sound = ask(&[("WATCHDOG_STATE_DIR", missing), ("WATCHDOG_PROC_ENABLED", "true")], &["check-config"]);
    assert_eq!(code(&sound), Some(0), "{}", words(&sound.stderr));
    assert!(!fs::exists(missing).unwrap(), "it only looked");

    for (key, value, cure) in [
        ("WATCHDOG_STATE_DIR", "/proc/nope", "name a directory"),
        ("WATCHDOG_STATE_DIR", "/sys/x", "name a directory"),
        ("WATCHDOG_STATE_DIR", file, "name a directory"),
        ("WATCHDOG_PROC_ROOT", "/nonexistent", "WATCHDOG_PROC_ENABLED=false"),
        ("WATCHDOG_PROC_ROOT", file, "WATCHDOG_PROC_ENABLED=false"),
        ("WATCHDOG_PROC_ROOT", dir.path().to_str().unwrap(), "WATCHDOG_PROC_ENABLED=false"),
    ] {
        let settings = [("WATCHDOG_STATE_DIR", missing), ("WATCHDOG_PROC_ENABLED", "true"), (key, value)];
        for arguments in [&["check-config"][..], &["check-config", "--print-env"]] {
            let checked = ask(&settings, arguments);
            let said = words(&checked.stderr);
            assert_eq!(code(&checked), Some(64), "{key}={value}: {said}");
            assert!(said.contains(&format!("{key}={value}: ")) && said.contains(cure), "{said}");
            assert!(!words(&checked.stdout).contains("sound"), "{said}");
        }
    }
    let off = [("WATCHDOG_STATE_DIR", missing), ("WATCHDOG_PROC_ROOT", "/nonexistent")];
    let checked = ask(&off, &["check-config"]);
    assert_eq!(code(&checked), Some(0), "nobody looks there: {}", words(&checked.stderr));
}

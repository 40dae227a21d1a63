//! `mute`, `unmute`, `ack`, `status` as a person types them, with a watchdog running and without.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Output;

use crate::program::{ask, plain};
use crate::support::until;
use crate::{World, down};

/// A user that owns nothing here.
const STRANGER: u32 = 65_533;

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl World {
    /// Exit code, and everything that was said.
    fn say(&self, arguments: &[&str]) -> (i32, String) {
        let output = ask(&self.settings(), arguments);
        (output.status.code().unwrap(), both(&output))
    }

    async fn until_status_has(&self, words: &str) -> String {
        until(words, async || Some(self.say(&["status"]).1).filter(|told| told.contains(words))).await
    }

    async fn until_page_has(&self, line: &str) {
        until(line, async || self.page("/metrics").await.1.contains(line).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_outage_is_counted_shown_and_its_end_is_told() {
    let world = World::new().await;
    world.core.behave(down());
    let watchdog = world.start();
    world.messages(1).await;
    let told = world.until_status_has("c1  critical  core_down").await;
    assert!(!told.contains("acknowledged") && !told.contains("no watchdog runs"), "{told}");
    let (code, told) = world.say(&["ack", "c1"]);
    assert_eq!(code, 0, "{told}");
    world.until_status_has("[acknowledged by uid ").await;
    world.until_page_has("signals_suppressed{reason=\"acknowledged\",signal=\"core_down\"} 1").await;
    world.until_page_has("signals_active{severity=\"critical\",signal=\"core_down\"} 0").await;
    world.until_page_has("commands_total{outcome=\"done\",way=\"command_line\"}").await;
    // known through a kill, too
    watchdog.kill();
    let _watchdog = world.start();
    world.until_status_has("[acknowledged by uid ").await;
    world.core.behave(crate::alive());
    until("the recovery", async || {
        world.telegram.chat(crate::CHAT).last().is_some_and(|last| last.text.starts_with("🟢")).then_some(())
    })
    .await;
    let (_, history) = world.say(&["history"]);
    let words = ["alert ", "command    ack c1 (core_down, core)  by uid ", "recovered "];
    let places: Vec<_> = words.iter().map(|word| history.find(word)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_silences_outlives_a_stop_and_what_holds_is_told_when_it_is_ended() {
    let world = World::new().await;
    let watchdog = world.start();
    world.polled(1).await;
    let (code, told) = world.say(&["mute", "core_down", "1h"]);
    assert_eq!((code, told.starts_with("muted core_down until ")), (0, true), "{told}");
    world.core.behave(down());
    world.until_page_has("signals_suppressed{reason=\"muted\",signal=\"core_down\"} 1").await;
    world.until_page_has("mutes_active 1").await;
    assert_eq!(world.telegram.chat(crate::CHAT).len(), 0);
    assert_eq!(watchdog.stop(), Some(0));
    let told = world.until_status_has("no watchdog runs").await;
    assert!(told.contains("[muted]") && told.contains("muted: core_down until "), "{told}");
    let (code, told) = world.say(&["unmute", "core_down"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("the next one will know") && told.contains("ended: core_down"), "{told}");
    let _watchdog = world.start();
    assert!(world.messages(1).await[0].text.contains("the core does not answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_said_in_words_with_its_exit_code() {
    let world = World::new().await;
    let _watchdog = world.start();
    world.polled(1).await;
    for (arguments, code, words) in [
        (&["mute", "cor_down", "1h"][..], 64, "no such signal: \"cor_down\" (did you mean core_down?)"),
        (&["mute", "core_down", "soon"], 64, "\"soon\" is no duration"),
        (&["mute", "core_down"], 64, "<DURATION>"),
        (&["mute", "core_down", "1h", "--entity", "7"], 64, "\"7\" is no id of a case"),
        (&["mute", "core_down", "1h", "--entity", "c7"], 1, "no case c7"),
        (&["ack", "c7"], 1, "no case c7"),
        (&["unmute", "core_down"], 1, "that is not muted"),
    ] {
        let (ended, told) = world.say(arguments);
        assert_eq!(ended, code, "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
    let nowhere = world.dir.path().join("nowhere");
    let told = ask(&[("WATCHDOG_STATE_DIR", nowhere.to_str().unwrap())], &["ack", "c1"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(both(&told).contains("there is no state directory"), "{}", both(&told));
    assert!(!nowhere.exists(), "and none was made");
}

/// Runs a verb as another user, which needs root; the binary may lie where that user cannot look.
fn as_stranger(program: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = plain("setpriv");
    let id = STRANGER.to_string();
    command.env_clear().envs(settings.iter().copied()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program).args(arguments);
    let ran = command.current_dir("/").output();
    ran.unwrap_or_else(|error| panic!("setpriv: {error}; apt-get install util-linux, and run as root"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_is_turned_away_in_words() {
    let world = World::new().await;
    let _watchdog = world.start();
    world.polled(1).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let program = elsewhere.path().join("orch-watchdog");
    std::fs::copy(env!("CARGO_BIN_EXE_orch-watchdog"), &program).unwrap();
    for dir in [elsewhere.path(), world.dir.path()] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let settings = [("WATCHDOG_STATE_DIR", world.dir.path().to_str().unwrap())];
    let told = as_stranger(&program, &settings, &["mute", "core_down", "1h"]);
    assert_eq!(told.status.code(), Some(1), "{}", both(&told));
    let words = format!("belongs to uid {}: only that user and root may", nix::unistd::geteuid());
    assert!(both(&told).contains(&words), "{}", both(&told));
    // with the file's mode out of the way, the kernel's word on who asks still stands
    let socket = world.dir.path().join("control.sock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let told = as_stranger(&program, &settings, &["mute", "core_down", "1h"]);
    assert_eq!(told.status.code(), Some(1), "{}", both(&told));
    assert!(both(&told).contains("uid 65533 may not command this watchdog"), "{}", both(&told));
    world.until_page_has("commands_total{outcome=\"forbidden\",way=\"command_line\"} 1").await;
    assert!(!world.say(&["status"]).1.contains("muted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_root_changes_in_a_stopped_watchdogs_directory_stays_its_users() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(STRANGER), Some(STRANGER))
        .unwrap_or_else(|error| panic!("{error}: run this test as root"));
    let settings = [("WATCHDOG_STATE_DIR", dir.path().to_str().unwrap())];
    let told = ask(&settings, &["mute", "core_down", "1h"]);
    assert_eq!(told.status.code(), Some(0), "{}", both(&told));
    for name in ["lock", "state.json"] {
        let owner = std::fs::metadata(dir.path().join(name)).unwrap().uid();
        assert_eq!(owner, STRANGER, "{name}");
    }
}

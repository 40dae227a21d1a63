//! The real program where the kernel hides processes from it: a private proc mount with `hidepid`, a pid namespace of
//! its own. What it could not see it must not take for gone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod nobody;
mod support;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use orch_tests::documents;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};

use nobody::{Orphan, Place, Running, SETPRIV, namespace_words, pid_of, text_of, unhidden};
use support::until;

/// The group that the mount's `gid=` option names.
const GROUP: &str = "4321";

/// So often the metrics are looked at, every 20 ms.
const LOOKS: usize = 1_500;

/// Whether nobody is in that group.
#[derive(Clone, Copy, PartialEq)]
enum Member {
    Yes,
    No,
}

/// The watchdog as nobody, behind a proc mount with this option.
fn hidden(place: &Place, option: &str, member: Member, verb: &[&str]) -> Command {
    let groups: &[&str] = match member {
        Member::Yes => &["--groups", GROUP],
        Member::No => &["--clear-groups"],
    };
    let mut command = Running::command("unshare");
    command.args(["--mount", "sh", "-c", r#"mount -t proc -o "$0" proc /proc && exec "$@""#]);
    command.arg(format!("{option},gid={GROUP}")).args(SETPRIV).args(groups).arg(place.program()).args(verb);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(place.settings());
    command
}

/// The watchdog as nobody in a pid namespace of its own, with a proc mount that shows it.
fn confined(place: &Place, verb: &[&str]) -> Command {
    let mut command = Running::command("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).args(SETPRIV).arg("--clear-groups");
    // unshare's own --kill-child is undone by the change of the user
    command.args(["--pdeathsig", "KILL"]).arg(place.program()).args(verb).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(place.settings());
    command
}

/// The watchdog as nobody, with the host's proc mount.
fn open(place: &Place, verb: &[&str]) -> Command {
    let mut command = Running::command("setpriv");
    command.args(SETPRIV.iter().skip(1)).arg("--clear-groups").arg(place.program());
    command.args(verb).env_clear().envs(place.settings());
    command
}

fn scan(place: &Place, option: &str, member: Member) -> (Option<i32>, String) {
    said(&hidden(place, option, member, &["scan", "--without-core"]).output().unwrap())
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn start(command: &mut Command, place: &Place, core_url: &str) -> Running {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(place.log()).unwrap();
    Running::start(command.env("WATCHDOG_CORE_URL", core_url).stdout(Stdio::null()).stderr(log))
}

async fn logged(place: &Place, wanted: &str) {
    until(&format!("{wanted:?} in the log"), async || text_of(&place.log()).contains(wanted).then_some(()))
        .await;
}

/// The metrics, once they hold the line.
async fn metric(place: &Place, line: &str) {
    let address = place.state().join("bound-address");
    let mut page = String::new();
    for _ in 0..LOOKS {
        let told = text_of(&address);
        if let Ok(answer) = reqwest::get(format!("http://{}/metrics", told.trim())).await {
            page = answer.text().await.unwrap_or_default();
        }
        if page.lines().any(|found| found == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let name = line.split(['{', ' ']).next().unwrap();
    let found: Vec<&str> = page.lines().filter(|found| found.starts_with(name)).collect();
    panic!("waited in vain for {line}; there was {found:?}\n{}", text_of(&place.log()));
}

/// Some ticks more, whatever they bring.
async fn ticks(place: &Place, more: u64) {
    let count = async || {
        let address = text_of(&place.state().join("bound-address"));
        let answer = reqwest::get(format!("http://{}/metrics", address.trim())).await.ok()?;
        let text = answer.text().await.ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("orch_watchdog_ticks_total "))?;
        line.parse::<u64>().ok()
    };
    let before = until("a count of ticks", count).await;
    until("more ticks", async || (count().await? >= before + more).then_some(())).await;
}

/// As the kernel ends a process: without a word. For one whose pid is of another namespace than this test's.
fn cut(watchdog: Running, place: &Place) {
    drop(watchdog);
    std::fs::remove_file(place.state().join("bound-address")).unwrap();
}

fn stop(mut watchdog: Running, place: &Place) {
    let id = pid_of(place).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id.pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(watchdog.ended(), Some(0), "{}", text_of(&place.log()));
    std::fs::remove_file(place.state().join("bound-address")).unwrap();
}

#[test]
fn nobody_sees_an_orphan_of_root_and_behind_hidepid_only_as_a_member_of_the_group() {
    let place = Place::new();
    let orphan = Orphan::leave(&place);
    let pid = format!("kill {}", orphan.0.pid);
    let (code, text) = said(&open(&place, &["scan", "--without-core"]).output().unwrap());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&pid), "{text}");

    for option in ["hidepid=invisible", "hidepid=noaccess", "hidepid=2", "hidepid=1"] {
        let (code, text) = scan(&place, option, Member::No);
        assert_eq!(code, Some(2), "{option}: {text}");
        assert!(
            text.contains(&format!("run this in group {GROUP}")) && !text.contains(&pid),
            "{option}: {text}"
        );
        assert!(!text.contains("no test run is under way"), "{option}: {text}");

        let (code, text) = scan(&place, option, Member::Yes);
        assert_eq!(code, Some(1), "{option}: {text}");
        assert!(text.contains(&pid), "{option}: {text}");
    }
    let number = orphan.0.pid.to_string();
    let explain = ["explain", &number, "--without-core"];
    let (code, text) = said(&hidden(&place, "hidepid=invisible", Member::No, &explain).output().unwrap());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("is not shown, and may be there") && !text.contains("has ended"), "{text}");
    let (code, text) = scan(&place, "hidepid=ptraceable", Member::Yes);
    assert_eq!(code, Some(2), "that mode knows no group: {text}");
    assert!(text.contains("mount it with hidepid=invisible,gid="), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_from_one_life_to_the_next_neither_recovers_nor_alerts_again() {
    let place = Place::new();
    let orphan = Orphan::leave(&place);
    let document = CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)));
    let core = FakeCore::start(document, None).await.unwrap();
    let alert = format!("kill {}", orphan.0.pid);
    let option = "hidepid=invisible";

    let watchdog = start(&mut hidden(&place, option, Member::Yes, &["run"]), &place, &core.url());
    logged(&place, &alert).await;
    metric(&place, unhidden()).await;
    stop(watchdog, &place);
    let log = text_of(&place.log());
    let sees = format!("environ denied: yes; {}", namespace_words());
    assert!(log.contains(&sees), "the group shows no environment: {log}");

    std::fs::remove_file(place.log()).unwrap();
    let watchdog = start(&mut hidden(&place, option, Member::No, &["run"]), &place, &core.url());
    metric(&place, "orch_watchdog_proc_blind 1").await;
    metric(&place, r#"orch_watchdog_collector_up{collector="proc"} 0"#).await;
    metric(&place, r#"orch_watchdog_alerts_total{signal="collector_unavailable"} 1"#).await;
    stop(watchdog, &place);
    let log = text_of(&place.log());
    assert!(log.contains("I see 1 of an unknown number of processes"), "{log}");
    let loud = "not the whole host can be seen";
    assert_eq!(log.matches(loud).count(), 1, "said once: {log}");
    assert!(!log.contains("over after"), "a recovery of what is hidden: {log}");

    std::fs::remove_file(place.log()).unwrap();
    let watchdog = start(&mut hidden(&place, option, Member::Yes, &["run"]), &place, &core.url());
    // what could not be looked at recovers, and what is still there says nothing
    logged(&place, "over after").await;
    let log = text_of(&place.log());
    assert!(!log.contains(&alert) && !log.contains(&orphan.0.pid.to_string()), "{log}");
    std::fs::remove_file(place.log()).unwrap();
    drop(orphan);
    metric(&place, r#"orch_watchdog_recoveries_total{signal="proc_orphaned"} 1"#).await;
    stop(watchdog, &place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_hidepid_root_too_gives_up_what_would_show_it_everything() {
    let place = Place::new();
    let mut root = Running::command("unshare");
    root.args(["--mount", "sh", "-c", r#"mount -t proc -o "$0" proc /proc && exec "$@""#]);
    root.arg(format!("hidepid=invisible,gid={GROUP}")).arg(place.program()).args(["scan", "--without-core"]);
    let (code, text) = said(&root.env_clear().envs(place.settings()).output().unwrap());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains(&format!("run this in group {GROUP}")), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_of_its_own_pid_namespace_is_told_once_aloud_and_as_a_metric() {
    let place = Place::new();
    let watchdog = start(&mut confined(&place, &["run"]), &place, "http://127.0.0.1:9");
    metric(&place, "orch_watchdog_proc_blind 1").await;
    ticks(&place, 5).await;
    drop(watchdog);
    let log = text_of(&place.log());
    assert!(log.contains("host namespace: no"), "{log}");
    assert_eq!(log.matches("sees only its own pid namespace").count(), 1, "{log}");
}

const ORPHAN_RECOVERED: &str = r#"orch_watchdog_recoveries_total{signal="proc_orphaned"} 1"#;
const ORPHAN_NOT_RECOVERED: &str = r#"orch_watchdog_recoveries_total{signal="proc_orphaned"} 0"#;
const CANNOT_LOOK: &str = r#"orch_watchdog_alerts_total{signal="collector_unavailable"} 1"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_whole_host_showed_is_not_over_in_a_namespace_where_it_cannot_be_seen() {
    let place = Place::new();
    let orphan = Orphan::leave(&place);
    let document = CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)));
    let core = FakeCore::start(document, None).await.unwrap();
    let alert = format!("kill {}", orphan.0.pid);
    let watchdog = start(&mut open(&place, &["run"]), &place, &core.url());
    logged(&place, &alert).await;
    stop(watchdog, &place);

    std::fs::remove_file(place.log()).unwrap();
    let watchdog = start(&mut confined(&place, &["run"]), &place, &core.url());
    metric(&place, CANNOT_LOOK).await;
    // it ends where nobody looks: that is not known before somebody does
    drop(orphan);
    ticks(&place, 5).await;
    metric(&place, ORPHAN_NOT_RECOVERED).await;
    cut(watchdog, &place);
    let log = text_of(&place.log());
    assert!(log.contains("could not look for 1 family of processes seen before"), "{log}");
    assert!(!log.contains("over after"), "a recovery of what could not be looked at: {log}");

    std::fs::remove_file(place.log()).unwrap();
    let watchdog = start(&mut open(&place, &["run"]), &place, &core.url());
    metric(&place, ORPHAN_RECOVERED).await;
    stop(watchdog, &place);
}

/// Changes the option of the proc mount that a running watchdog looks through.
fn remount(place: &Place, option: &str) {
    let pid = pid_of(place).unwrap().pid.to_string();
    let mut command = Running::command("nsenter");
    command.args(["--target", &pid, "--mount", "mount", "-o"]);
    command.arg(format!("remount,{option},gid={GROUP}")).arg("/proc");
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mount_begins_to_hide_while_it_is_watched_is_not_over_before_it_is_shown_again() {
    for option in ["hidepid=invisible", "hidepid=noaccess", "hidepid=ptraceable"] {
        let place = Place::new();
        let orphan = Orphan::leave(&place);
        let document = CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)));
        let core = FakeCore::start(document, None).await.unwrap();
        let alert = format!("kill {}", orphan.0.pid);
        let watchdog = start(&mut hidden(&place, "hidepid=off", Member::No, &["run"]), &place, &core.url());
        logged(&place, &alert).await;
        metric(&place, unhidden()).await;

        remount(&place, option);
        // somebody new, whom it cannot look at
        let newcomer = Running::start(Running::command("sleep").arg("600"));
        metric(&place, CANNOT_LOOK).await;
        metric(&place, "orch_watchdog_proc_blind 1").await;
        drop(orphan);
        drop(newcomer);
        ticks(&place, 5).await;
        metric(&place, ORPHAN_NOT_RECOVERED).await;
        let log = text_of(&place.log());
        assert!(
            log.contains(&format!("run this in group {GROUP}")) || option.contains("ptraceable"),
            "{log}"
        );
        assert!(!log.contains("over after"), "{option}: a recovery of what is hidden: {log}");

        remount(&place, "hidepid=off");
        metric(&place, ORPHAN_RECOVERED).await;
        metric(&place, unhidden()).await;
        stop(watchdog, &place);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_that_lost_its_root_keeps_its_case_over_a_life_behind_a_hiding_mount() {
    let place = Place::new();
    let (orphan, child) = Orphan::leave_with_child(&place);
    let document = CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)));
    let core = FakeCore::start(document, None).await.unwrap();
    let watchdog = start(&mut open(&place, &["run"]), &place, &core.url());
    logged(&place, "orphan `pytest -c").await;
    // what is left of it carries no word of the pattern: only memory knows whose it is
    drop(orphan);
    ticks(&place, 5).await;
    metric(&place, ORPHAN_NOT_RECOVERED).await;
    stop(watchdog, &place);

    std::fs::remove_file(place.log()).unwrap();
    let watchdog = start(&mut hidden(&place, "hidepid=invisible", Member::No, &["run"]), &place, &core.url());
    metric(&place, CANNOT_LOOK).await;
    remount(&place, "hidepid=off");
    // what could not be looked at is over, the family is the one that was told before
    logged(&place, "over after").await;
    ticks(&place, 5).await;
    metric(&place, ORPHAN_NOT_RECOVERED).await;
    let log = text_of(&place.log());
    assert!(!log.contains("orphan `"), "told twice: {log}");
    drop(child);
    metric(&place, ORPHAN_RECOVERED).await;
    stop(watchdog, &place);
}

#[test]
fn a_scan_that_sees_its_own_namespace_alone_does_not_say_that_nothing_blocks_the_host() {
    let place = Place::new();
    let orphan = Orphan::leave(&place);
    let (code, text) = said(&confined(&place, &["scan", "--without-core"]).output().unwrap());
    assert_eq!(code, Some(2), "{text}");
    for words in ["limited view: sees only its own pid namespace", "could not look at the host"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains(&orphan.0.pid.to_string()), "{text}");
    let json = confined(&place, &["scan", "--without-core", "--json"]).output().unwrap();
    assert_eq!(json.status.code(), Some(2));
    let object: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(object["blind"].as_str().is_some_and(|why| why.contains("pid: host")), "{object}");
}

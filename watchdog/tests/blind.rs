//! The real program where the kernel hides processes from it: a private proc mount with `hidepid`, a pid namespace of
//! its own. What it could not see it must not take for gone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod nobody;
mod support;

use std::process::{Command, Output, Stdio};

use orch_tests::documents;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};

use nobody::{Orphan, Place, Running, SETPRIV, pid_of, text_of};
use support::until;

/// The group that the mount's `gid=` option names.
const GROUP: &str = "4321";

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
    until(line, async || {
        let address = text_of(&address);
        let answer = reqwest::get(format!("http://{}/metrics", address.trim())).await.ok()?;
        answer.text().await.ok()?.lines().any(|found| found == line).then_some(())
    })
    .await;
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
    let mut open = Running::command("setpriv");
    open.args(SETPRIV.iter().skip(1)).arg("--clear-groups").arg(place.program());
    open.args(["scan", "--without-core"]).env_clear().envs(place.settings());
    let (code, text) = said(&open.output().unwrap());
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
    metric(&place, "orch_watchdog_proc_blind 0").await;
    stop(watchdog, &place);
    let log = text_of(&place.log());
    assert!(
        log.contains("environ denied: yes; host namespace: yes"),
        "the group shows no environment: {log}"
    );

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
    let mut inside = Running::command("unshare");
    inside.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(place.program()).arg("run");
    inside.env_clear().envs(place.settings());
    let watchdog = start(&mut inside, &place, "http://127.0.0.1:9");
    metric(&place, "orch_watchdog_proc_blind 1").await;
    let ticks = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("orch_watchdog_ticks_total ")).unwrap();
        line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    until("more ticks", async || {
        let address = text_of(&place.state().join("bound-address"));
        let answer = reqwest::get(format!("http://{}/metrics", address.trim())).await.ok()?;
        (ticks(&answer.text().await.ok()?) > 5).then_some(())
    })
    .await;
    drop(watchdog);
    let log = text_of(&place.log());
    assert!(log.contains("host namespace: no"), "{log}");
    assert_eq!(log.matches("sees only its own pid namespace").count(), 1, "{log}");
}

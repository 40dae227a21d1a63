//! Orphans of killed shells, ends told at once, and the commands `scan` and `explain`.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_watchdog::cli::scan::{Color, ScanEnd, ScanInputs, ScanOptions};
use orch_watchdog::cli::{explain, scan};
use orch_watchdog::observe::{Collected, Cookie, Family, Lineage, ProcObservation};
use orch_watchdog::proc::ownership::{CoreKnowledge, Verdict, judge};
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings, EndWatch, InodeScheme};
use proc_identity::host::Clocks;
use proc_identity::{ProcessId, read_stat};

use crate::zoo::{Watch, Zoo, end, id_of, root, unshare_pid, wait_for};

fn collector() -> Collector {
    let settings = CollectorSettings {
        proc_root: root().to_owned(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        refresh_ms: 900_000,
        age_marks_ms: Vec::new(),
    };
    Collector::new(settings, None).expect("a collector")
}

fn pass(collector: &mut Collector) -> ProcObservation {
    match collector.pass(&Clocks::now(), None) {
        Collected::Fresh(observation) => observation,
        Collected::Unavailable(why) => panic!("unavailable: {why}"),
        Collected::Off => panic!("off"),
    }
}

fn family_of(observation: &ProcObservation, run: ProcessId) -> Option<Family> {
    observation.families.iter().find(|family| family.members.iter().any(|it| it.key.pid == run.pid)).cloned()
}

#[test]
fn a_killed_shell_leaves_an_orphan_under_the_reaper_and_a_live_one_does_not() {
    let mut zoo = Zoo::of_tini(&[]);
    let (shell, run) = zoo.shell_with_run("-n1", "");
    let mut collector = collector();
    let family = wait_for("its worker", || {
        family_of(&pass(&mut collector), run).filter(|family| family.members.len() == 2)
    });
    assert_eq!((family.key.pid, family.cookie), (run.pid, Cookie::None));
    assert!(family.matched_by.ends_with("→ python FILE"), "{}", family.matched_by);
    assert_eq!(family.lineage, Lineage::Child { parent_pid: shell.pid, root_name: "sh".to_owned() });

    end(shell);
    let reaper = zoo.top();
    let family = family_of(&pass(&mut collector), run).expect("still there");
    assert!(
        matches!(&family.lineage, Lineage::Reparented { parent_pid, leader_alive: false, reaper: words }
            if *parent_pid == reaper && words.to_string().contains("tini")),
        "{:?}",
        family.lineage
    );
    assert!(matches!(judge(&family, CoreKnowledge::Off).verdict, Verdict::Foreign { .. }));
    assert!(matches!(judge(&family, CoreKnowledge::Silent).verdict, Verdict::OwnerUnknown { .. }));

    // the controller ends first: its worker keeps the family, and its key
    end(run);
    let family = wait_for("the worker alone", || {
        let observation = pass(&mut collector);
        observation.families.iter().find(|family| family.key.pid == run.pid).cloned()
    });
    assert!(!family.root_alive && family.members.len() == 1, "{family:?}");
    for member in &family.members {
        kill(Pid::from_raw(member.key.pid), Signal::SIGKILL).ok();
    }
    wait_for("its end", || {
        pass(&mut collector).families.iter().all(|family| family.key.pid != run.pid).then_some(())
    });
}

#[test]
fn a_run_that_made_its_own_session_is_still_an_orphan() {
    let mut zoo = Zoo::of_tini(&[]);
    let script = zoo.script();
    zoo.order(&format!("run('sh', '-c', 'setsid python3 {script} & wait')"));
    let run = wait_for("the test run", || zoo.runs().first().copied());
    let shell = wait_for("its shell", || {
        let stat = read_stat(root(), run.pid).ok()?;
        (stat.session == run.pid).then(|| id_of(stat.ppid))
    });
    end(shell);
    let family = family_of(&pass(&mut collector()), run).expect("found");
    assert!(
        matches!(family.lineage, Lineage::Reparented { leader_alive: false, .. }),
        "{:?}",
        family.lineage
    );
}

#[test]
fn an_orphan_in_a_pid_namespace_is_found_though_its_parent_is_not_pid_one() {
    let mut wrapper = unshare_pid();
    wrapper.push("--kill-child");
    let mut zoo = Zoo::of_tini(&wrapper);
    let (shell, run) = zoo.shell_with_run("", ", preexec_fn=cookie(4611686018427387001)");
    end(shell);
    let mut collector = collector();
    let family = family_of(&pass(&mut collector), run).expect("found");
    assert_eq!(family.cookie, Cookie::Run(4_611_686_018_427_387_001));
    let Lineage::Reparented { parent_pid, reaper, leader_alive: false } = &family.lineage else {
        panic!("{:?}", family.lineage)
    };
    assert!(*parent_pid != 1 && reaper.to_string().starts_with("init of its pid namespace"), "{reaper}");
    let member = family.members.first().expect("itself");
    assert!(member.inner_pid.is_some_and(|inner| inner != run.pid && inner > 1), "{member:?}");
    // a cookie is the core's mark: without the core's word nothing is said about it
    assert!(matches!(judge(&family, CoreKnowledge::Off).verdict, Verdict::OwnerUnknown { .. }));
}

#[tokio::test]
async fn the_end_of_a_root_is_told_at_once_and_once() {
    let mut zoo = Zoo::of_tini(&[]);
    let (_, run) = zoo.shell_with_run("", "");
    let mut collector = collector();
    let families: Vec<Family> = family_of(&pass(&mut collector), run).into_iter().collect();
    let mut full = EndWatch::with_room(0);
    full.follow(&families, collector.reader());
    assert_eq!(
        (full.watched(), full.unwatched(), full.refusal()),
        (0, 1, None),
        "beyond its room the tick is left"
    );
    let mut watch = EndWatch::default();
    watch.follow(&families, collector.reader());
    assert_eq!((watch.watched(), watch.unwatched(), watch.refusal()), (1, 0, None));
    let early = tokio::time::timeout(Duration::from_millis(50), watch.ended()).await;
    assert!(early.is_err(), "it lives");
    kill(Pid::from_raw(run.pid), Signal::SIGKILL).expect("a kill");
    let ended = tokio::time::timeout(Duration::from_secs(10), watch.ended()).await.expect("told");
    assert_eq!(ended, run);
    // still in the last observation, and not told again
    watch.follow(&families, collector.reader());
    assert_eq!(watch.watched(), 0);
}

#[test]
fn scan_draws_the_orphan_with_its_stop_command_and_explain_says_why() {
    let mut zoo = Zoo::of_tini(&[]);
    let (shell, run) = zoo.shell_with_run("-n1", "");
    end(shell);
    let inputs = ScanInputs {
        proc_root: root().to_owned(),
        // this zoo's own run, whatever else runs on the host
        patterns: Pattern::parse_list(&format!("re:^\\S*python3 {}", zoo.script().replace('.', "\\.")))
            .expect("patterns"),
        core: CoreKnowledge::Off,
        memory: None,
        age_ms: 3_600_000,
        foreign_grace_ms: 0,
    };
    let options = ScanOptions { json: false, tree: false, all: false, color: Color::Off };
    let text = wait_for("the worker in the tree", || {
        let mut out = Vec::new();
        assert_eq!(scan::run(&inputs, options, &mut out).expect("written"), ScanEnd::Found);
        let text = String::from_utf8(out).expect("text");
        text.contains("└─ ").then_some(text)
    });
    assert!(text.contains("1 of 1 matched families need a look"), "{text}");
    assert!(text.contains("orphan, not the core's"), "{text}");
    let stop = text.lines().find(|line| line.trim_start().starts_with("stop")).expect("a command");
    assert!(stop.contains("kill -- -"), "all of its group are members: {stop}");

    let mut out = Vec::new();
    scan::run(&inputs, ScanOptions { json: true, ..options }, &mut out).expect("written");
    let json: serde_json::Value = serde_json::from_slice(&out).expect("one object");
    let family = json.pointer("/families/0").expect("a family");
    assert_eq!(family.pointer("/pid").and_then(serde_json::Value::as_i64), Some(i64::from(run.pid)));
    assert_eq!(family.pointer("/verdict").and_then(serde_json::Value::as_str), Some("foreign"));

    let mut out = Vec::new();
    assert_eq!(explain::run(run.pid, &inputs, Color::Off, &mut out).expect("written"), ScanEnd::Found);
    let text = String::from_utf8(out).expect("text");
    for part in
        ["re-parented", "whose leader is gone", "no run cookie", "never linked to the core", "verdict"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let quiet = ScanInputs { foreign_grace_ms: 3_600_000, ..inputs };
    let mut out = Vec::new();
    // where these tests run in a pid namespace of their own, nothing found is no answer about the host
    let mut collector = collector();
    pass(&mut collector);
    let nothing = collector.self_check().confined().map_or(ScanEnd::Nothing, |_| ScanEnd::CouldNotLook);
    assert_eq!(scan::run(&quiet, options, &mut out).expect("written"), nothing);
    let nobody = Path::new("/nonexistent");
    let blind = ScanInputs { proc_root: nobody.to_owned(), ..quiet };
    assert_eq!(scan::run(&blind, options, &mut Vec::new()).expect("written"), ScanEnd::CouldNotLook);
    assert_eq!(
        explain::run(run.pid, &blind, Color::Off, &mut Vec::new()).expect("written"),
        ScanEnd::CouldNotLook
    );
}

#[test]
fn the_self_check_of_a_real_host_trusts_inodes_and_says_what_it_sees() {
    let mut collector = collector();
    pass(&mut collector);
    let check = collector.self_check();
    assert_eq!(check.scheme, InodeScheme::Trusted);
    assert!(check.listed > 1 && check.readable <= check.listed);
    assert!(check.words().starts_with(&format!("I see {} of {} processes", check.readable, check.listed)));
}

#[test]
fn who_looks_is_never_what_is_looked_for() {
    // this test's own command line holds this test's own name
    let own = i32::try_from(std::process::id()).expect("pid");
    let own = read_stat(root(), own).expect("stat");
    let name = String::from_utf8_lossy(&own.comm).into_owned();
    let mut watch = Watch::with(own.pid, root(), &format!("comm:{name}"));
    assert_eq!(watch.family_of(own.id()), None);
}

#[test]
fn explain_has_words_for_every_sort_of_pid() {
    let zoo = Zoo::nameless();
    let inputs = ScanInputs {
        proc_root: root().to_owned(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        core: CoreKnowledge::Off,
        memory: None,
        age_ms: 3_600_000,
        foreign_grace_ms: 0,
    };
    let explained = |pid: i32| {
        let mut out = Vec::new();
        let end = explain::run(pid, &inputs, Color::Off, &mut out).expect("written");
        (end, String::from_utf8(out).expect("text"))
    };
    let (end, text) = explained(zoo.top());
    assert_eq!(end, ScanEnd::Nothing);
    assert!(text.contains("matches none of pytest") && text.contains("not watched"), "{text}");
    let (end, text) = explained(i32::MAX);
    assert_eq!(end, ScanEnd::CouldNotLook);
    assert_eq!(text, format!("could not look: no process {}: it has ended, or never was\n", i32::MAX));
    let thread = std::fs::read_dir("/proc/self/task")
        .expect("tasks")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .find(|tid| *tid != i32::try_from(std::process::id()).expect("pid"))
        .expect("tests run in threads");
    assert!(explained(thread).1.contains("a thread of some process"), "{}", explained(thread).1);
    // only where the host's own namespace is seen
    if read_stat(root(), 2).is_ok_and(|stat| stat.comm == b"kthreadd") {
        let (end, text) = explained(2);
        assert_eq!(end, ScanEnd::Nothing);
        assert!(text.contains("a thread of the kernel"), "{text}");
    }
}

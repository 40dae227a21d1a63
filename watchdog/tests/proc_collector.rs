//! The collector over written trees: families, lineage, ownership, errors, and what a pass reads.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

mod proc_support;

use orch_contract::ProcessRef;
use orch_watchdog::observe::{Collected, Cookie, Family, Lineage, ProcObservation, Reaper};
use orch_watchdog::proc::hint::HintedRun;
use orch_watchdog::proc::ownership::{CoreKnowledge, Verdict, judge};
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings, CoreHint, ProcMemory};
use proc_identity::host::Clocks;
use proc_support::{Fake, TICKS, Tree};

/// Boot time of the written host.
const NOW_MS: i64 = 100_000_000;

fn clocks(after_ms: i64) -> Clocks {
    Clocks {
        realtime_ms: 1_700_000_000_000 + after_ms,
        boottime_ms: NOW_MS + after_ms,
        monotonic_ms: NOW_MS + after_ms,
    }
}

fn collector_of(tree: &Tree, memory: Option<ProcMemory>) -> Collector {
    let settings = CollectorSettings {
        proc_root: tree.path().to_owned(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        refresh_ms: 900_000,
        age_marks_ms: Vec::new(),
    };
    Collector::new(settings, memory).expect("a collector")
}

fn fresh(collected: Collected<ProcObservation>) -> ProcObservation {
    match collected {
        Collected::Fresh(observation) => observation,
        Collected::Unavailable(why) => panic!("unavailable: {why}"),
        Collected::Off => panic!("off"),
    }
}

fn pass(collector: &mut Collector, after_ms: i64) -> ProcObservation {
    fresh(collector.pass(&clocks(after_ms), None))
}

fn members(family: &Family) -> Vec<i32> {
    family.members.iter().map(|member| member.key.pid).collect()
}

fn only(observation: &ProcObservation) -> &Family {
    assert_eq!(observation.families.len(), 1, "{:#?}", observation.families);
    observation.families.first().expect("one")
}

const WORKER: &str = "import sys;exec(eval(sys.stdin.readline()))";

/// A login shell (100) with a dev server (150) and a parallel test run (200 with workers 201, 202).
fn host() -> Tree {
    let tree = Tree::new();
    tree.put(
        &Fake::new(50, 1, &["sshd"]).leader().with(|it| it.cgroup = "0::/system.slice/ssh.service\n".into()),
    );
    tree.put(&Fake::new(100, 50, &["-bash"]).leader());
    tree.put(&Fake::new(150, 100, &["node", "server.js"]).with(|it| it.pgid = 150));
    tree.put(
        &Fake::new(200, 100, &["python3", "-m", "pytest", "-n2"]).with(|it| (it.pgid, it.sid) = (200, 100)),
    );
    for pid in [201, 202] {
        tree.put(&Fake::new(pid, 200, &["python3", "-u", "-c", WORKER]).with(|it| it.sid = 100));
    }
    tree
}

#[test]
fn workers_without_the_word_belong_to_their_controller_and_a_dev_server_to_nobody() {
    let tree = host();
    let mut collector = collector_of(&tree, None);
    let observation = pass(&mut collector, 0);
    let family = only(&observation);
    assert_eq!((family.key.pid, members(family)), (200, vec![200, 201, 202]));
    assert_eq!(family.command, "python3 -m pytest -n2");
    assert_eq!(family.lineage, Lineage::Child { parent_pid: 100, root_name: "sshd".to_owned() });
    assert_eq!(family.stop.as_deref(), Some("kill -- -200"));
    let verdict = judge(family, CoreKnowledge::Off).verdict;
    assert!(matches!(verdict, Verdict::Owned { .. }), "{verdict:?}");
}

#[test]
fn a_family_keeps_its_key_until_its_last_member_ends() {
    let tree = host();
    let mut collector = collector_of(&tree, None);
    pass(&mut collector, 0);
    tree.remove(200);
    for pid in [201, 202] {
        tree.put(
            &Fake::new(pid, 1, &["python3", "-u", "-c", WORKER]).with(|it| (it.pgid, it.sid) = (200, 100)),
        );
    }
    let observation = pass(&mut collector, 15_000);
    let family = only(&observation);
    assert_eq!((family.key.pid, family.root_alive, members(family)), (200, false, vec![201, 202]));
    // its own shell still lives, so somebody may be at the other end
    let reparented = matches!(family.lineage, Lineage::Reparented { parent_pid: 1, leader_alive: true, .. });
    assert!(reparented, "{:?}", family.lineage);
    tree.remove(201);
    assert_eq!(members(only(&pass(&mut collector, 30_000))), [202]);
    tree.remove(202);
    assert_eq!(pass(&mut collector, 45_000).families, []);
    assert_eq!(collector.memory().families, []);
}

#[test]
fn a_family_survives_a_restart_of_the_watchdog_and_not_one_of_the_host() {
    let tree = host();
    let mut first = collector_of(&tree, None);
    pass(&mut first, 0);
    let memory = first.memory().clone();
    tree.remove(200);
    for pid in [201, 202] {
        tree.put(&Fake::new(pid, 1, &["renamed"]).with(|it| (it.pgid, it.sid) = (100, 100)));
    }
    let mut second = collector_of(&tree, Some(memory.clone()));
    assert_eq!(members(only(&pass(&mut second, 60_000))), [201, 202]);
    let other_boot = ProcMemory { host_boot_id: "another".to_owned(), ..memory };
    assert_eq!(pass(&mut collector_of(&tree, Some(other_boot)), 60_000).families, []);
}

#[test]
fn a_process_in_a_session_made_by_a_member_joins_and_one_beside_it_does_not() {
    let tree = host();
    tree.put(&Fake::new(202, 200, &["python3", "-u", "-c", WORKER]).leader());
    // double-forked: its parent is init, its session was made by member 202
    tree.put(&Fake::new(300, 1, &["chrome"]).with(|it| (it.pgid, it.sid) = (202, 202)));
    tree.put(&Fake::new(301, 300, &["renderer"]).leader());
    // in the login shell's session, which no member leads
    tree.put(&Fake::new(302, 1, &["other"]).with(|it| (it.pgid, it.sid) = (100, 100)));
    let mut collector = collector_of(&tree, None);
    let observation = pass(&mut collector, 0);
    let mut found = members(only(&observation));
    found.sort_unstable();
    assert_eq!(found, [200, 201, 202, 300, 301]);
    // the leader ends: whoever it led stays, a late-comer of the same session joins
    tree.remove(202);
    tree.put(&Fake::new(303, 1, &["late"]).with(|it| (it.pgid, it.sid) = (303, 202)));
    let mut found = members(only(&pass(&mut collector, 15_000)));
    found.sort_unstable();
    assert_eq!(found, [200, 201, 300, 301, 303]);
    // not all of group 200: the pids are named one by one
    let observation = pass(&mut collector, 30_000);
    assert_eq!(only(&observation).stop.as_deref(), Some("kill -- -200 300 301 303"));
}

#[test]
fn a_group_with_a_stranger_in_it_is_never_named_to_be_killed() {
    let tree = Tree::new();
    tree.put(&Fake::new(100, 1, &["sh"]).leader());
    tree.put(&Fake::new(200, 100, &["pytest"]));
    tree.put(&Fake::new(201, 200, &["worker"]).with(|it| (it.pgid, it.sid) = (100, 100)));
    let mut collector = collector_of(&tree, None);
    assert_eq!(only(&pass(&mut collector, 0)).stop.as_deref(), Some("kill 200 201"));
    // the shell ends: all of its group are members now
    tree.remove(100);
    tree.put(&Fake::new(200, 1, &["pytest"]).with(|it| (it.pgid, it.sid) = (100, 100)));
    assert_eq!(only(&pass(&mut collector, 1)).stop.as_deref(), Some("kill -- -100"));
    // somebody who could not be looked at may be in any group
    tree.put(&Fake::new(300, 1, &["x"]));
    tree.write(300, "stat", b"300 (x");
    assert_eq!(only(&pass(&mut collector, 2)).stop.as_deref(), Some("kill 200 201"));
}

#[test]
fn a_worker_that_lost_its_controller_before_anybody_looked_joins_its_group_only_when_the_leader_is_dead() {
    let tree = Tree::new();
    tree.put(&Fake::new(200, 1, &["pytest"]).with(|it| (it.pgid, it.sid) = (90, 90)));
    tree.put(&Fake::new(210, 1, &["python3", "-c", WORKER]).with(|it| (it.pgid, it.sid) = (90, 90)));
    assert_eq!(members(only(&pass(&mut collector_of(&tree, None), 0))), [200, 210]);
    tree.put(&Fake::new(90, 1, &["bash"]).leader());
    assert_eq!(pass(&mut collector_of(&tree, None), 0).families.len(), 2);
}

#[test]
fn a_descendant_with_the_run_cookie_joins_through_the_roots_session() {
    let tree = Tree::new();
    let cookie = |it: &mut Fake| it.cookie = Some(77);
    tree.put(&Fake::new(90, 1, &["orch-core", "supervise"]).leader());
    tree.put(&Fake::new(100, 90, &["agent"]).leader().with(cookie));
    tree.put(&Fake::new(200, 100, &["pytest"]).with(|it| it.sid = 100).with(cookie));
    // double-forked by the test run, adopted by the supervisor
    tree.put(&Fake::new(300, 90, &["helper"]).with(|it| (it.pgid, it.sid) = (250, 100)).with(cookie));
    // same place, another run's cookie
    tree.put(
        &Fake::new(301, 90, &["helper"])
            .with(|it| (it.pgid, it.sid) = (251, 100))
            .with(|it| it.cookie = Some(78)),
    );
    let observation = pass(&mut collector_of(&tree, None), 0);
    let family = only(&observation);
    assert_eq!((members(family), family.cookie), (vec![200, 300], Cookie::Run(77)));
    let runs: Vec<(u64, u32)> = observation.runs.iter().map(|run| (run.cookie, run.processes)).collect();
    assert_eq!(runs, [(77, 2)]);
}

/// A container: shim 80, init 500 (1 inside), and what the test adds.
fn container() -> Tree {
    let tree = Tree::new();
    tree.put(&Fake::new(80, 1, &["containerd-shim"]).leader());
    tree.put(&Fake::new(500, 80, &["tini", "--", "serve"]).leader().with(|it| inside(it, 1)));
    tree
}

fn inside(fake: &mut Fake, inner: i32) {
    fake.ns_pids = Some(vec![fake.pid, inner]);
    fake.cgroup = format!("0::/../docker-{}.scope\n", "0123456789abcdef".repeat(4));
}

/// What is placed into the container, and what it must be taken for.
type Placed = (&'static str, Fake, fn(&Lineage) -> bool);

#[test]
fn the_parents_place_in_its_own_namespace_decides_and_not_pid_one() {
    let cases: [Placed; 7] = [
        (
            "init's child long after, in a session of its own: re-parented",
            Fake::new(600, 500, &["pytest"]).leader().with(|it| inside(it, 30)),
            |lineage| matches!(lineage, Lineage::Reparented { parent_pid: 500, leader_alive: false, .. }),
        ),
        (
            "init's child at once: the container's main command",
            Fake::new(501, 500, &["pytest"]).leader().with(|it| {
                inside(it, 7);
                it.start = 500_000 + TICKS;
            }),
            |lineage| *lineage == Lineage::Main,
        ),
        (
            "init's child in init's session: main",
            Fake::new(600, 500, &["pytest"]).with(|it| inside(it, 30)),
            |lineage| *lineage == Lineage::Main,
        ),
        (
            "the container's init itself",
            Fake::new(510, 80, &["pytest"]).leader().with(|it| inside(it, 1)),
            |lineage| *lineage == Lineage::Main,
        ),
        (
            "below the shim, one namespace further in: entered by exec",
            Fake::new(600, 80, &["pytest"]).leader().with(|it| inside(it, 30)),
            |lineage| matches!(lineage, Lineage::ExecRoot { parent_pid: 80 }),
        ),
        (
            "host pid 1",
            Fake::new(600, 1, &["pytest"]).leader(),
            |lineage| matches!(lineage, Lineage::Reparented { parent_pid: 1, reaper, .. } if *reaper == Reaper::HostInit),
        ),
        (
            "status unreadable: unknown, and no class",
            Fake::new(600, 1, &["pytest"]).leader().with(|it| it.ns_pids = None),
            |lineage| matches!(lineage, Lineage::Unknown(_)),
        ),
    ];
    for (name, fake, expected) in cases {
        let tree = container();
        tree.put(&fake);
        let observation = pass(&mut collector_of(&tree, None), 0);
        let family = observation.families.iter().find(|family| family.key.pid == fake.pid).expect(name);
        assert!(expected(&family.lineage), "{name}: {:?}", family.lineage);
        let boxed = family.container.as_deref() == Some("docker 0123456789ab");
        assert_eq!(boxed, fake.cgroup.contains("docker"), "{name}");
    }
}

#[test]
fn a_reparented_process_with_a_live_session_leader_is_still_owned() {
    let tree = host();
    tree.put(&Fake::new(600, 1, &["pytest"]).with(|it| (it.pgid, it.sid) = (600, 100)));
    let owned = |tree: &Tree| {
        let observation = pass(&mut collector_of(tree, None), 0);
        let family = observation.families.iter().find(|family| family.key.pid == 600).expect("600").clone();
        judge(&family, CoreKnowledge::Off).verdict
    };
    assert!(matches!(owned(&tree), Verdict::Owned { .. }));
    // a zombie leads nobody
    tree.put(&Fake::new(100, 50, &["-bash"]).leader().with(|it| it.state = 'Z'));
    assert!(matches!(owned(&tree), Verdict::Foreign { .. }));
}

#[test]
fn a_run_below_an_abandoned_shell_is_abandoned_and_one_below_a_daemon_is_not() {
    let class = |shell: Fake| {
        let tree = Tree::new();
        tree.put(&shell);
        let (pgid, sid) = (shell.pgid, shell.sid);
        tree.put(&Fake::new(600, shell.pid, &["pytest"]).with(|it| (it.pgid, it.sid) = (pgid, sid)));
        only(&pass(&mut collector_of(&tree, None), 0)).lineage.clone()
    };
    let left_over = class(Fake::new(300, 1, &["sh"]).with(|it| (it.pgid, it.sid) = (90, 90)));
    assert!(
        matches!(&left_over, Lineage::Reparented { leader_alive: false, reaper, .. } if reaper.to_string().contains("sh (300)")),
        "{left_over:?}"
    );
    let below_tmux = class(Fake::new(300, 1, &["tmux"]).leader());
    assert_eq!(below_tmux, Lineage::Child { parent_pid: 300, root_name: "tmux".to_owned() });
}

#[test]
fn services_and_user_managers_are_told_apart_from_orphans() {
    let tree = Tree::new();
    let unit = "0::/system.slice/nightly.service\n";
    tree.put(&Fake::new(600, 1, &["pytest"]).leader().with(|it| it.cgroup = unit.into()));
    tree.put(&Fake::new(700, 1, &["pytest"]).leader().with(|it| it.cgroup = unit.into()));
    tree.put(&Fake::new(90, 1, &["systemd", "--user"]).leader());
    tree.put(&Fake::new(800, 90, &["pytest"]).leader());
    let observation = pass(&mut collector_of(&tree, None), 0);
    let lineage = |pid: i32| {
        &observation.families.iter().find(|family| family.key.pid == pid).expect("a family").lineage
    };
    assert_eq!(*lineage(600), Lineage::Main);
    assert!(matches!(lineage(700), Lineage::Reparented { parent_pid: 1, .. }), "not the first of its unit");
    assert!(
        matches!(lineage(800), Lineage::Reparented { parent_pid: 90, reaper, .. } if *reaper == Reaper::UserManager { pid: 90 })
    );
}

fn hint(live: bool) -> CoreHint {
    CoreHint {
        core: Some(ProcessRef { pid: 12, start_ticks: 510_000 }),
        core_started_at_ms: 0,
        runs: vec![HintedRun {
            cookie: 77,
            live,
            started_at_ms: 0,
            supervisor: Some(ProcessRef { pid: 13, start_ticks: 520_000 }),
            child: Some(ProcessRef { pid: 14, start_ticks: 530_000 }),
        }],
    }
}

#[test]
fn the_cores_runs_are_found_through_namespaces_and_their_cpu_is_summed() {
    let tree = container();
    let own = |it: &mut Fake, inner: i32| inside(it, inner);
    tree.put(&Fake::new(510, 500, &["orch-core"]).with(|it| own(it, 12)));
    tree.put(&Fake::new(520, 510, &["orch-core", "supervise"]).leader().with(|it| own(it, 13)));
    tree.put(&Fake::new(530, 520, &["agent"]).leader().with(|it| {
        own(it, 14);
        it.cookie = Some(77);
        it.cpu = 200;
    }));
    tree.put(&Fake::new(540, 530, &["tool"]).leader().with(|it| {
        own(it, 15);
        it.cookie = Some(77);
        it.cpu = 300;
    }));
    let mut collector = collector_of(&tree, None);
    let run = |collector: &mut Collector, after_ms| {
        let observation = fresh(collector.pass(&clocks(after_ms), Some(&hint(true))));
        observation.runs.iter().map(|run| (run.cookie, run.processes, run.cpu_ms)).collect::<Vec<_>>()
    };
    assert_eq!(run(&mut collector, 0), [(77, 2, 5000)]);
    // no `limits` was needed for it: who is below a supervisor is of its run
    assert_eq!(collector.counters().limits, 0);
    // what ended still counts, so silence is not mistaken for idleness; the supervisor's loss changes nothing
    tree.remove(540);
    tree.remove(520);
    tree.put(&Fake::new(530, 500, &["agent"]).leader().with(|it| {
        own(it, 14);
        it.cookie = Some(77);
        it.cpu = 250;
    }));
    assert_eq!(run(&mut collector, 15_000), [(77, 1, 5500)]);
    // an orphan of the core itself: nobody registered it
    tree.put(&Fake::new(900, 510, &["pytest"]).leader().with(|it| own(it, 40)));
    let observation = fresh(collector.pass(&clocks(30_000), Some(&hint(true))));
    let family = only(&observation);
    assert!(
        matches!(&family.lineage, Lineage::Reparented { reaper, .. } if *reaper == Reaper::Core),
        "{:?}",
        family.lineage
    );
    assert!(family.core_linked, "it runs in the core's container");
}

#[test]
fn a_core_in_a_time_namespace_is_found_by_its_own_shift() {
    // its clock since boot is 5,000 s ahead of ours; what it tells of itself and of its runs is shifted alike
    let shift = 500_000;
    let started_at_ms = clocks(0).started_at_ms(510_000, TICKS) + 900;
    let shifted = |run: HintedRun| {
        let late = |it: ProcessRef| ProcessRef { start_ticks: it.start_ticks + shift, ..it };
        HintedRun { supervisor: run.supervisor.map(late), child: run.child.map(late), ..run }
    };
    let hint = CoreHint {
        core: Some(ProcessRef { pid: 12, start_ticks: 510_000 + shift }),
        core_started_at_ms: started_at_ms,
        runs: hint(true).runs.into_iter().map(shifted).collect(),
    };
    let seen = |core: &str, twin: bool| {
        let tree = container();
        tree.put(&Fake::new(510, 500, &[core]).with(|it| inside(it, 12)));
        if twin {
            let elsewhere = Fake::new(511, 1, &[core]).leader().with(|it| {
                (it.start, it.ns_pids) = (510_100, Some(vec![511, 12]));
            });
            tree.put(&elsewhere);
        }
        tree.put(&Fake::new(520, 510, &["exe", "supervise"]).leader().with(|it| inside(it, 13)));
        tree.put(&Fake::new(530, 520, &["pytest"]).leader().with(|it| inside(it, 14)));
        let observation = fresh(collector_of(&tree, None).pass(&clocks(0), Some(&hint)));
        only(&observation).core_linked
    };
    assert!(seen("orch-core", false));
    assert!(!seen("other", false), "the same place and time, and another program");
    assert!(!seen("orch-core", true), "two that could be it");
}

#[test]
fn what_a_dead_controller_left_below_a_stranger_of_another_session_was_adopted_by_it() {
    let tree = Tree::new();
    tree.put(&Fake::new(90, 1, &["agent"]).leader());
    tree.put(&Fake::new(100, 90, &["sh"]).leader());
    tree.put(&Fake::new(200, 100, &["pytest"]));
    tree.put(&Fake::new(201, 200, &["worker"]).leader());
    let mut collector = collector_of(&tree, None);
    assert!(matches!(only(&pass(&mut collector, 0)).lineage, Lineage::Child { .. }));
    for pid in [100, 200] {
        tree.remove(pid);
    }
    // the agent is a subreaper, and nothing gives it away
    tree.put(&Fake::new(201, 90, &["worker"]).leader());
    let observation = pass(&mut collector, 1);
    let family = only(&observation);
    assert!(
        matches!(&family.lineage, Lineage::Reparented { parent_pid: 90, leader_alive: false, .. }),
        "{:?}",
        family.lineage
    );
}

#[test]
fn a_run_in_a_session_of_its_own_below_a_daemon_without_one_is_owned() {
    let tree = Tree::new();
    // started by hand with nohup; the login it came from is over
    tree.put(&Fake::new(300, 1, &["ci-runner"]).with(|it| (it.pgid, it.sid) = (90, 90)));
    tree.put(&Fake::new(600, 300, &["pytest"]).leader());
    let lineage = only(&pass(&mut collector_of(&tree, None), 0)).lineage.clone();
    assert_eq!(lineage, Lineage::Child { parent_pid: 300, root_name: "ci-runner".to_owned() });
}

#[test]
fn on_a_host_whose_init_makes_no_sessions_a_command_of_init_is_run_on_purpose_and_what_one_left_is_not() {
    let seen = |group: i32| {
        let tree = Tree::new();
        tree.put(&Fake::new(1, 0, &["agent"]).with(|it| (it.pgid, it.sid) = (0, 0)));
        tree.put(&Fake::new(300, 1, &["sh"]).with(|it| (it.pgid, it.sid) = (group, 0)));
        tree.put(&Fake::new(600, 300, &["pytest"]).with(|it| (it.pgid, it.sid) = (group, 0)));
        only(&pass(&mut collector_of(&tree, None), 0)).lineage.clone()
    };
    let owned = Lineage::Child { parent_pid: 300, root_name: "sh".to_owned() };
    assert_eq!((seen(0), seen(300)), (owned.clone(), owned));
    // a group of neither's: that of a command that ended
    assert!(matches!(seen(250), Lineage::Reparented { leader_alive: false, .. }), "{:?}", seen(250));
}

#[test]
fn who_hangs_from_a_stranger_was_adopted_though_the_strangers_session_is_nobodys() {
    let seen = |run_sid: i32, adopter_sid: i32| {
        let tree = Tree::new();
        tree.put(&Fake::new(1, 0, &["agent"]).with(|it| (it.pgid, it.sid) = (0, 0)));
        tree.put(&Fake::new(90, 1, &["agent"]).with(|it| (it.pgid, it.sid) = (90, adopter_sid)));
        tree.put(&Fake::new(600, 90, &["pytest"]).with(|it| (it.pgid, it.sid) = (500, run_sid)));
        only(&pass(&mut collector_of(&tree, None), 0)).lineage.clone()
    };
    for (run, adopter) in [(500, 0), (0, 80), (500, 80)] {
        let lineage = seen(run, adopter);
        assert!(
            matches!(&lineage, Lineage::Reparented { parent_pid: 90, .. }),
            "{run} {adopter}: {lineage:?}"
        );
    }
    assert!(matches!(seen(0, 0), Lineage::Child { .. }), "one session, as far as anybody can see");
}

#[test]
fn a_run_whose_supervisor_cannot_be_found_is_found_by_its_cookie() {
    let tree = Tree::new();
    tree.put(&Fake::new(530, 1, &["agent"]).leader().with(|it| it.cookie = Some(77)));
    let mut collector = collector_of(&tree, None);
    let observation = fresh(collector.pass(&clocks(0), Some(&hint(true))));
    assert_eq!(observation.runs.iter().map(|run| run.cookie).collect::<Vec<_>>(), [77]);
    let reads = collector.counters().limits;
    fresh(collector.pass(&clocks(15_000), Some(&hint(true))));
    assert_eq!(collector.counters().limits, reads, "a process is asked once");
}

#[test]
fn a_run_within_a_run_belongs_to_the_one_that_the_core_lists() {
    let tree = Tree::new();
    tree.put(&Fake::new(600, 1, &["pytest"]).leader().with(|it| (it.cookie, it.hard) = (Some(5), Some(77))));
    let mut collector = collector_of(&tree, None);
    assert_eq!(only(&pass(&mut collector, 0)).cookie, Cookie::Run(5));
    assert_eq!(only(&fresh(collector.pass(&clocks(1), Some(&hint(true))))).cookie, Cookie::Run(77));
}

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
                tree.write(900, "cmdline", b"pytest\0-q\0");
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
            tree.write(900, "cmdline", b"pytest\0");
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

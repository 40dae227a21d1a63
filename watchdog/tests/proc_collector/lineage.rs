//! Where a family comes from and whose it is: namespaces, services, reapers, runs of the core.

use orch_contract::ProcessRef;
use orch_watchdog::observe::{Cookie, Lineage, Reaper};
use orch_watchdog::proc::hint::HintedRun;
use orch_watchdog::proc::ownership::{CoreKnowledge, Verdict, judge};
use orch_watchdog::proc::{Collector, CoreHint};

use crate::proc_support::{Fake, TICKS, Tree};
use crate::{clocks, collector_of, container, fresh, hint, host, inside, only, pass};

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
fn a_live_run_of_a_core_that_is_here_is_missing_when_everybody_was_asked_and_nobody_is_of_it() {
    let missing = |prepare: &dyn Fn(&Tree)| {
        let tree = container();
        tree.put(&Fake::new(510, 500, &["orch-core"]).with(|it| inside(it, 12)));
        prepare(&tree);
        fresh(collector_of(&tree, None).pass(&clocks(0), Some(&hint(true)))).missing_runs
    };
    let agent = |it: Fake| it.leader().with(|it| it.cookie = Some(77));
    assert_eq!(missing(&|_| ()), [77]);
    assert_eq!(
        missing(&|tree| tree.put(&agent(Fake::new(530, 1, &["agent"])))),
        [0; 0],
        "adopted, and there"
    );
    assert_eq!(missing(&|tree| tree.remove(510)), [0; 0], "its core is elsewhere");
    // somebody who could not be asked may be of it
    assert_eq!(missing(&|tree| tree.write(500, "limits", b"?")), [0; 0]);
    let ended = container();
    ended.put(&Fake::new(510, 500, &["orch-core"]).with(|it| inside(it, 12)));
    let observation = fresh(collector_of(&ended, None).pass(&clocks(0), Some(&hint(false))));
    assert_eq!(observation.missing_runs, [0; 0], "it has ended, and the core knows");
}

/// An agent whose pytest got a pid namespace by `unshare` works in a container; only that one's control group says so.
#[test]
fn an_abandoned_namespace_is_abandoned_in_the_control_group_of_a_container_too() {
    let seen = |leads: bool| {
        let tree = Tree::new();
        let group = "0::/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
        let unshared = Fake::new(500, 1, &["sh"]).with(|it| {
            it.cgroup = group.to_owned();
            it.ns_pids = Some(vec![500, 1]);
            (it.pgid, it.sid) = if leads { (500, 500) } else { (490, 490) };
        });
        let run = Fake::new(600, 500, &["pytest"]).with(|it| {
            it.cgroup = group.to_owned();
            it.ns_pids = Some(vec![600, 2]);
            (it.start, it.pgid, it.sid) = (unshared.start + 10, unshared.pgid, unshared.sid);
        });
        tree.put(&unshared);
        tree.put(&run);
        only(&pass(&mut collector_of(&tree, None), 0)).lineage.clone()
    };
    let left = seen(false);
    assert!(matches!(left, Lineage::Reparented { leader_alive: false, .. }), "{left:?}");
    assert_eq!(seen(true), Lineage::Main, "a runtime's own, which leads a session");
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
fn who_had_another_parent_before_was_adopted_though_it_stands_in_inits_session() {
    let tree = Tree::new();
    // one session, as without job control: a container's shell, what it started, and what that one left
    let placed = |pid: i32, ppid: i32, words: &[&str], inner: i32| {
        Fake::new(pid, ppid, words).with(|it| {
            (it.pgid, it.sid) = (499, 499);
            inside(it, inner);
        })
    };
    tree.put(&Fake::new(499, 1, &["unshare"]).leader());
    tree.put(&placed(500, 499, &["sh"], 1));
    tree.put(&placed(510, 500, &["sh"], 8).with(|it| it.start = 510_000_000));
    tree.put(&placed(600, 510, &["pytest"], 9).with(|it| it.start = 600_000_000));
    let mut collector = collector_of(&tree, None);
    let lineage = only(&pass(&mut collector, 0)).lineage.clone();
    assert!(!matches!(lineage, Lineage::Reparented { .. }), "its shell lives: {lineage:?}");
    tree.remove(510);
    tree.put(&placed(600, 500, &["pytest"], 9).with(|it| it.start = 600_000_000));
    let adopted = |lineage: &Lineage| {
        matches!(
            lineage,
            Lineage::Reparented {
                parent_pid: 500,
                leader_alive: false,
                reaper: Reaper::Heir { before: 510, .. }
            }
        )
    };
    let lineage = only(&pass(&mut collector, 1)).lineage.clone();
    assert!(adopted(&lineage), "{lineage:?}");
    // remembered over a restart; whoever never saw it under its shell cannot tell it from init's own command
    let again = only(&pass(&mut collector_of(&tree, Some(collector.memory().clone())), 2)).lineage.clone();
    assert!(adopted(&again), "{again:?}");
    let fresh = only(&pass(&mut collector_of(&tree, None), 2)).lineage.clone();
    assert_eq!(fresh, Lineage::Main);
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

//! Who belongs together: workers, sessions, groups, cookies, and who stays out.

use orch_watchdog::observe::{Cookie, Lineage};
use orch_watchdog::proc::ProcMemory;
use orch_watchdog::proc::ownership::{CoreKnowledge, Verdict, judge};

use crate::proc_support::{Fake, Tree};
use crate::{WORKER, collector_of, host, members, only, pass};

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

/// A controller that forks (multiprocessing) and is killed before anybody saw its child: the child's command line is its
/// own, so that it looks like a run.
#[test]
fn a_forked_copy_of_a_controller_that_died_before_the_next_look_goes_on_with_its_family() {
    // a controller that leads its session, and one in the session and group of a shell that ends with it
    for (pgid, sid) in [(200, 200), (100, 100)] {
        let tree = Tree::new();
        tree.put(&Fake::new(100, 1, &["sh", "run.sh"]).leader());
        let within = |it: &mut Fake| (it.pgid, it.sid) = (pgid, sid);
        tree.put(&Fake::new(200, 100, &["pytest", "-q"]).with(within));
        let mut collector = collector_of(&tree, None);
        let key = only(&pass(&mut collector, 0)).key.clone();
        tree.remove(100);
        tree.remove(200);
        tree.put(&Fake::new(300, 1, &["pytest", "-q"]).with(within));
        let observation = pass(&mut collector, 15_000);
        let family = only(&observation);
        assert_eq!((&family.key, members(family), family.root_alive), (&key, vec![300], false));
        // and that one's copy, and so on
        tree.remove(300);
        tree.put(&Fake::new(301, 1, &["pytest", "-q"]).with(within));
        let observation = pass(&mut collector, 30_000);
        assert_eq!((&only(&observation).key, members(only(&observation))), (&key, vec![301]));
        // another run by the same hand is another one: its shell lives
        tree.remove(301);
        tree.put(&Fake::new(400, 1, &["sh", "run.sh"]).leader());
        tree.put(&Fake::new(500, 400, &["pytest", "-q"]).with(|it| (it.pgid, it.sid) = (400, 400)));
        let observation = pass(&mut collector, 45_000);
        assert_eq!(only(&observation).key.pid, 500);
    }
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

/// A state file that could not be read at the start and can be later.
#[test]
fn a_family_whose_controller_died_comes_back_with_the_memory_of_it_and_not_as_two_others() {
    let tree = host();
    let mut before = collector_of(&tree, None);
    assert_eq!(only(&pass(&mut before, 0)).members.len(), 3);
    tree.remove(200);
    for pid in [201, 202] {
        tree.put(
            &Fake::new(pid, 1, &["python3", "-u", "-c", WORKER]).with(|it| (it.pgid, it.sid) = (200, 100)),
        );
    }
    let mut after = collector_of(&tree, None);
    assert!(pass(&mut after, 15_000).families.iter().all(|family| family.key.pid != 200));
    after.join(before.memory());
    let observation = pass(&mut after, 30_000);
    let family = only(&observation);
    assert_eq!((family.key.pid, family.root_alive, family.members.len()), (200, false, 2));
    // of another boot nothing is taken
    let stranger = ProcMemory { host_boot_id: "another".into(), ..before.memory().clone() };
    let mut fresh = collector_of(&tree, None);
    fresh.join(&stranger);
    assert!(pass(&mut fresh, 30_000).families.iter().all(|family| family.key.pid != 200));
}

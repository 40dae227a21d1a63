//! Who must never be told: processes that only speak of tests, runs that somebody owns, and whatever works beside them.

use nix::sys::signal::Signal;
use orch_contract::{ProcessKind, SupervisedTree};
use orch_tests::documents;
use orch_watchdog::observe::Cookie;
use orch_watchdog::proc::table::Row;
use proc_identity::ProcessId;

use crate::zoo::{Watch, Zoo, end, send, wait_for};

const COOKIE: u64 = 4_611_686_018_427_387_017;
const BUILD_STEPS: usize = 200;

#[test]
fn processes_that_only_speak_of_tests_raise_nothing_even_as_orphans() {
    let mut zoo = Zoo::nameless();
    for name in ["pytest.ini", "pytest.log", "test_pytest.py"] {
        std::fs::write(zoo.folder().join(name), "import time; time.sleep(600)\n").expect("a file");
    }
    let log = zoo.folder().join("pytest.log").display().to_string();
    let grep = "run('sh', '-c', 'tail -f /dev/null | grep pytest & tail -f /dev/null | grep -r py.test - &')";
    let started = [
        zoo.start("as_name('vim', 'pytest.ini')"),
        zoo.start("as_name('less', 'pytest.log')"),
        zoo.start("as_name('emacs', 'test_pytest.py')"),
        zoo.start(&format!("run('tail', '-f', '{log}')")),
        zoo.start(&format!("run('sh', '-c', 'sleep 600; echo pytest {log}')")),
        zoo.start("run('sleep', '601')"),
    ];
    zoo.order(grep);
    let shell = zoo.start(&format!("run('sh', '-c', 'tail -f {log} & sleep 600')"));
    let mut watch = Watch::over(&zoo);
    // an age limit of nothing: whoever matched would be told at once
    watch.age_limit_ms = 0;
    watch.silence("nobody of them is a test run");
    end(shell);
    watch.silence("nor when its shell is gone");
    for id in started {
        assert!(watch.collector.table().alive(id), "it was there to be seen: {id:?}");
    }
}

#[test]
fn a_build_of_two_hundred_processes_beside_a_run_is_none_of_it() {
    let mut zoo = Zoo::nameless();
    let script = zoo.script();
    // one group for all, as a shell without job control makes it
    let line = format!(
        "i=0; while [ $i -lt {BUILD_STEPS} ]; do sleep 600 & i=$((i+1)); done; python3 {script} & wait"
    );
    let shell = zoo.start(&format!("run('sh', '-c', '{line}')"));
    let run = wait_for("the run", || zoo.runs().first().copied());
    let mut watch = Watch::over(&zoo);
    let family = wait_for("its family", || watch.family_of(run));
    assert_eq!(
        (family.members.len(), family.stop.as_deref()),
        (1, Some(format!("kill {}", run.pid).as_str()))
    );
    watch.silence("its shell lives");
    end(shell);
    let alert = watch.alert("the run that the shell left");
    assert!(format!("{:?}", alert.finding.facts).contains("members: 1"), "{alert:?}");
    end(run);
    watch.recovery("the run alone, while the build goes on");
    let is_step = |row: &&Row| row.pgid == shell.pid && ![shell.pid, run.pid].contains(&row.pid);
    let steps = watch.collector.table().rows().iter().filter(is_step).count();
    assert_eq!(steps, BUILD_STEPS);
    watch.silence("a build is nobody's test");
}

#[test]
fn a_login_shell_that_ran_a_test_and_still_has_a_server_raises_nothing() {
    let mut zoo = Zoo::nameless();
    let script = zoo.script();
    let line = format!("sleep 600 & python3 {script}; sleep 600; true");
    let shell = zoo.start(&format!("run('bash', '-c', 'exec -a -bash bash -c \"$0\"', '{line}')"));
    let run = wait_for("the run", || zoo.runs().first().copied());
    let mut watch = Watch::over(&zoo);
    let family = wait_for("its family", || watch.family_of(run));
    assert_eq!(family.members.len(), 1, "the server beside it is not of it: {family:?}");
    watch.silence("its shell waits for it");
    end(run);
    watch.silence("nothing was told, so nothing is taken back");
    assert_eq!(watch.look(), []);
    let server: Vec<ProcessId> = watch
        .collector
        .table()
        .rows()
        .iter()
        .filter(|row| row.sid == shell.pid && row.pid != shell.pid)
        .map(Row::id)
        .collect();
    assert!(!server.is_empty(), "the server was there to be seen");
    end(shell);
    watch.silence("a server that lost its shell is no test run");
}

#[test]
fn a_run_that_the_core_lists_as_live_raises_nothing_whatever_its_parent_is() {
    let mut zoo = Zoo::nameless();
    let (shell, run) = zoo.shell_with_run("-n1", &format!(", preexec_fn=cookie({COOKIE})"));
    let mut watch = Watch::over(&zoo);
    let mut document = documents::idle(0);
    document.processes = vec![SupervisedTree {
        kind: ProcessKind::Agent,
        run_id: 7,
        work_item: Some("ORCH-114".to_owned()),
        cookie: COOKIE.to_string(),
        child: None,
        pgid: None,
        sid: None,
        supervisor: None,
        started_at_ms: 0,
        timeout_ms: 60_000,
        ended_at_ms: None,
        outcome: None,
    }];
    watch.document = Some(document.clone());
    let family = wait_for("its family", || watch.family_of(run));
    assert_eq!(family.cookie, Cookie::Run(COOKIE));
    watch.silence("its run is alive");
    end(shell);
    watch.silence("its run is alive, re-parented or not");
    send(run, Signal::SIGSTOP);
    watch.silence("nor is a stopped one an orphan");
    // the same tree once the run has ended
    if let Some(tree) = document.processes.first_mut() {
        (tree.ended_at_ms, tree.outcome) = (Some(1), Some("timed out".to_owned()));
    }
    watch.document = Some(document);
    let alert = watch.alert("what the ended run left");
    assert!(format!("{:?}", alert.finding.facts).contains("ORCH-114"), "{alert:?}");
}

//! A real run of pytest-xdist whose controller is killed while its workers burn on.
//!
//! The workers are execnet's own. Orderly ones end some seconds after their controller, by a thread that sees the end of
//! their orders; these never let it run, since a regular expression that backtracks for ever keeps the interpreter's lock.
//! That is how such workers are met in life.

use orch_tests::sample::{Sample, shared_venv};
use orch_watchdog::signals::{Facts, SPINNING_SHARE, Severity, SignalKind};
use proc_identity::{ProcessId, read_cmdline, read_stat};
use tempfile::TempDir;

use crate::trees::member_ids;
use crate::zoo::{Watch, Zoo, end, id_of, root, wait_for};

/// Each keeps a worker busy for longer than anybody waits, and leaves a file that says that it began to.
const SUITE: &str = "import pathlib, re\n\n\n\
    def burn(name):\n    pathlib.Path(name).touch()\n    assert re.match('(a+)+$', 'a' * 64 + 'b')\n\n\n\
    def test_one():\n    burn('one')\n\n\n\
    def test_two():\n    burn('two')\n";

/// A run of two workers below a shell of its own session.
struct Run {
    shell: ProcessId,
    controller: ProcessId,
    folder: TempDir,
}

fn start(zoo: &mut Zoo) -> Run {
    let folder = TempDir::new().expect("a folder");
    // the environment is made where it is missing, as for the sample's own tests
    let sample =
        Sample::set_up_with(folder.path(), &shared_venv().expect("a place"), None).expect("the sample");
    let suite = folder.path().join("suite");
    std::fs::create_dir(&suite).expect("a folder");
    std::fs::write(suite.join("test_burn.py"), SUITE).expect("a suite");
    let (python, place) = (sample.python().display().to_string(), suite.display().to_string());
    let line = format!("cd {place} && {python} -m pytest -q -p no:cacheprovider -n 2 test_burn.py & wait");
    let shell = zoo.start(&format!("run('sh', '-c', '{line}')"));
    let controller = wait_for("the controller", || controller_below(shell.pid));
    Run { shell, controller, folder }
}

/// The process with pytest's command line that hangs from this one, at any depth: a shell may put one more in between.
fn controller_below(top: i32) -> Option<ProcessId> {
    let mut pids = Vec::new();
    proc_identity::list_pids(root(), &mut pids).expect("a listing");
    let children = |parent: i32| {
        let below = |pid: &i32| read_stat(root(), *pid).is_ok_and(|stat| stat.ppid == parent);
        pids.iter().map(|(pid, _)| *pid).filter(below).collect::<Vec<_>>()
    };
    let is_run = |pid: &i32| {
        read_cmdline(root(), *pid, 4096).is_ok_and(|line| {
            let words: Vec<&[u8]> = line.words().collect();
            words.windows(2).any(|pair| pair == [&b"-m"[..], b"pytest"])
        })
    };
    children(top).into_iter().find(is_run).map(id_of)
}

/// The workers, once both are there and burn.
fn burning(watch: &mut Watch, run: &Run) -> Vec<ProcessId> {
    let begun = |name: &str| run.folder.path().join("suite").join(name).exists();
    wait_for("two workers at work", || (begun("one") && begun("two")).then_some(()));
    watch.tick_ms = 0;
    let family = wait_for("their burning", || {
        watch.family_of(run.controller).filter(|it| it.cpu_share.is_some_and(|share| share >= SPINNING_SHARE))
    });
    assert_eq!(family.members.len(), 3, "{family:?}");
    assert_eq!(family.key.pid, run.controller.pid);
    let is_python =
        |id: &ProcessId| read_stat(root(), id.pid).is_ok_and(|stat| stat.comm.starts_with(b"python"));
    let workers: Vec<ProcessId> =
        member_ids(&family).into_iter().filter(|id| *id != run.controller).collect();
    assert!(workers.iter().all(is_python), "{family:?}");
    workers
}

#[test]
fn real_workers_that_burn_on_without_their_controller_are_told_and_over_with_the_last() {
    let mut zoo = Zoo::nameless();
    let run = start(&mut zoo);
    let mut watch = Watch::over(&zoo);
    let workers = burning(&mut watch, &run);
    watch.silence("its shell waits for it");
    end(run.shell);
    let alert = watch.alert("the orphan");
    assert_eq!(alert.finding.signal, SignalKind::ProcOrphaned);
    if alert.finding.severity != Severity::Critical {
        // CPU is counted in whole ticks of the kernel, of which hardly one lies between two looks
        assert_eq!(watch.alert("their burning").finding.severity, Severity::Critical);
    }
    end(run.controller);
    for _ in 0..20 {
        let told = watch.tick();
        assert!(told.iter().all(|notice| notice.kind.is_alert()), "the workers burn: {told:#?}");
    }
    let left = wait_for("their burning", || {
        watch.family_of(workers[0]).filter(|left| left.cpu_share.is_some_and(|share| share >= SPINNING_SHARE))
    });
    assert_eq!(
        (left.key.pid, left.root_alive, left.members.len()),
        (run.controller.pid, false, 2),
        "{left:?}"
    );
    end(workers[0]);
    watch.silence("one worker burns on");
    end(workers[1]);
    watch.recovery("the end of the last worker");
    watch.silence("it is over");
}

#[test]
fn real_workers_whose_controller_died_before_anybody_looked_are_one_family() {
    let mut zoo = Zoo::nameless();
    let run = start(&mut zoo);
    let workers = burning(&mut Watch::over(&zoo), &run);
    end(run.shell);
    end(run.controller);
    // one that was not there before
    let mut watch = Watch::over(&zoo);
    let alert = watch.alert("the workers");
    let Facts::Process(facts) = &alert.finding.facts else { panic!("{alert:?}") };
    assert_eq!((alert.finding.signal, facts.members), (SignalKind::ProcOrphaned, 2));
    let group = read_stat(root(), workers[0].pid).expect("stat").pgrp;
    assert_eq!(facts.stop.as_deref(), Some(format!("kill -- -{group}").as_str()));
    workers.into_iter().for_each(end);
    watch.recovery("the end of both");
}

//! Runs in pid namespaces and in service units: whose main process is the run, who entered from outside, whose maker
//! is gone.

use std::path::PathBuf;

use orch_watchdog::observe::{Family, Lineage};
use orch_watchdog::proc::ownership::{CoreKnowledge, Verdict, judge};
use orch_watchdog::signals::SignalKind;
use proc_identity::{ProcessId, read_stat, read_status};

use crate::zoo::{Watch, Zoo, end, id_of, root, unshare_pid, wait_for};

fn python_words(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    quoted.join(", ")
}

fn only_run(zoo: &Zoo) -> ProcessId {
    wait_for("the run", || zoo.runs().first().copied())
}

fn inner_pid(id: ProcessId) -> Option<i32> {
    read_status(root(), id.pid).expect("status").innermost_pid()
}

fn look(watch: &mut Watch, run: ProcessId) -> Family {
    wait_for("the family", || watch.family_of(run))
}

#[test]
fn a_run_that_is_a_namespaces_own_init_is_run_on_purpose_until_its_maker_is_gone() {
    let mut zoo = Zoo::nameless();
    let (maker, script) = (unshare_pid(), zoo.script());
    // a shell that is more than a wrapper: the maker itself is no test run then
    let line = format!("true; exec python3 {script}");
    let maker = zoo.start(&format!("run({}, 'sh', '-c', '{line}')", python_words(&maker)));
    let run = only_run(&zoo);
    assert_eq!(inner_pid(run), Some(1));
    let mut watch = Watch::over(&zoo);
    assert_eq!(look(&mut watch, run).lineage, Lineage::Main);
    watch.silence("somebody runs it on purpose");
    end(maker);
    let family = look(&mut watch, run);
    assert!(
        matches!(&family.lineage, Lineage::Reparented { parent_pid, leader_alive: false, .. } if *parent_pid == zoo.top()),
        "{:?}",
        family.lineage
    );
    assert_eq!(watch.alert("the abandoned namespace").finding.signal, SignalKind::ProcOrphaned);
    end(run);
    watch.recovery("its end");
}

#[test]
fn a_run_below_a_namespaces_init_is_run_on_purpose_until_the_namespaces_maker_is_gone() {
    let mut zoo = Zoo::nameless();
    let (maker, script) = (unshare_pid(), zoo.script());
    let line = format!("python3 {script} & wait");
    let maker = zoo.start(&format!("run({}, 'sh', '-c', '{line}')", python_words(&maker)));
    let run = only_run(&zoo);
    let init = id_of(read_stat(root(), run.pid).expect("stat").ppid);
    assert_eq!((inner_pid(init), inner_pid(run).is_some_and(|inner| inner > 1)), (Some(1), true));
    let mut watch = Watch::over(&zoo);
    assert_eq!(look(&mut watch, run).lineage, Lineage::Main);
    watch.silence("its init's main command");
    end(maker);
    watch.alert("the abandoned namespace");
    // its init takes everybody with it
    end(init);
    watch.recovery("the end of the namespace");
}

#[test]
fn what_a_shell_left_to_a_namespaces_init_in_inits_own_session_is_an_orphan() {
    let mut zoo = Zoo::nameless();
    let (maker, script) = (unshare_pid(), zoo.script());
    // without job control nobody makes a session: init, the shell and what it starts share the maker's
    std::fs::write(zoo.folder().join("inner"), format!("python3 {script} & wait\n")).expect("a script");
    let inner = zoo.folder().join("inner").display().to_string();
    let line = format!("sh {inner} & while :; do wait; sleep 0.1; done");
    zoo.start(&format!("run({}, 'sh', '-c', '{line}')", python_words(&maker)));
    let run = only_run(&zoo);
    let shell = id_of(read_stat(root(), run.pid).expect("stat").ppid);
    let mut watch = Watch::over(&zoo);
    look(&mut watch, run);
    watch.silence("its shell waits for it");
    end(shell);
    let alert = watch.alert("what the shell left");
    assert_eq!(alert.finding.signal, SignalKind::ProcOrphaned);
    end(run);
    watch.recovery("its end");
}

#[test]
fn a_run_that_entered_a_namespace_from_outside_is_told_by_age_alone_before_and_after_its_starters_end() {
    let mut zoo = Zoo::nameless();
    let maker = unshare_pid();
    let maker = zoo.start(&format!("run({}, 'sleep', '600')", python_words(&maker)));
    let init = wait_for("the init of the namespace", || {
        let mut pids = Vec::new();
        proc_identity::list_pids(root(), &mut pids).expect("a listing");
        let below = |pid: &i32| read_stat(root(), *pid).is_ok_and(|stat| stat.ppid == maker.pid);
        pids.into_iter().map(|(pid, _)| pid).find(below)
    });
    let user = if nix::unistd::geteuid().is_root() { "" } else { "'--user', '--preserve-credentials', " };
    let script = zoo.script();
    let enter =
        zoo.start(&format!("run('nsenter', '--target', '{init}', {user}'--pid', 'python3', '{script}')"));
    let run = only_run(&zoo);
    assert!(inner_pid(run).is_some_and(|inner| inner > 1), "it is inside");
    let mut watch = Watch::over(&zoo);
    assert_eq!(look(&mut watch, run).lineage, Lineage::ExecRoot { parent_pid: enter.pid });
    watch.silence("live and abandoned look alike");
    end(enter);
    let family = look(&mut watch, run);
    assert!(matches!(family.lineage, Lineage::ExecRoot { .. }), "{:?}", family.lineage);
    assert!(matches!(judge(&family, CoreKnowledge::Off).verdict, Verdict::OwnerUnknown { .. }));
    watch.silence("live and abandoned look alike");
    watch.age_limit_ms = 0;
    assert_eq!(watch.alert("its age").finding.signal, SignalKind::ProcBlocking);
}

/// A control group of this test's own, in whichever hierarchy may be written; removed when it is empty again.
struct Unit(PathBuf);

impl Unit {
    fn new(name: &str) -> Self {
        let hierarchies = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"];
        let made = hierarchies.iter().map(|hierarchy| PathBuf::from(hierarchy).join(name)).find(|path| {
            // a directory of a plain file system holds no processes
            std::fs::create_dir(path).is_ok()
                && (path.join("cgroup.procs").exists() || std::fs::remove_dir(path).is_err())
        });
        Self(made.expect(
            "no control group may be made here: run as root, with a hierarchy below /sys/fs/cgroup writable",
        ))
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // its processes are gone with the zoo; the kernel may need a moment
        for _ in 0..200 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

#[test]
fn the_main_process_of_a_service_unit_is_run_on_purpose_and_what_it_left_behind_is_not() {
    // without the right to make one this fails: the same rule over written trees needs none (`proc_collector`)
    let unit = Unit::new(&format!("orch-nightly-{}.service", std::process::id()));
    // its parent is a reaper as systemd is, and it is no main command of a container, for which it comes too late
    let mut zoo = Zoo::of_tini(&[]);
    let (script, procs) = (zoo.script(), unit.0.join("cgroup.procs"));
    let start = |zoo: &mut Zoo, then: &str| {
        let line = format!("echo $$ > {} && {then}", procs.display());
        zoo.start(&format!("run('sh', '-c', '{line}')"))
    };
    let main = start(&mut zoo, &format!("exec python3 {script}"));
    let mut watch = Watch::over(&zoo);
    assert_eq!(look(&mut watch, main).lineage, Lineage::Main);
    watch.silence("a unit runs it");
    let shell = start(&mut zoo, &format!("python3 {script} & wait"));
    let second = wait_for("a second run", || zoo.runs().into_iter().find(|run| *run != main));
    wait_for("its family", || watch.family_of(second));
    end(shell);
    let alert = watch.alert("what the unit's shell left behind");
    assert!(matches!(look(&mut watch, second).lineage, Lineage::Reparented { leader_alive: false, .. }));
    assert!(format!("{:?}", alert.finding.entity).contains(&format!("pid: {}", second.pid)));
    assert_eq!(look(&mut watch, main).lineage, Lineage::Main);
    drop(zoo);
    drop(unit);
}

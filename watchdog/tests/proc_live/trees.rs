//! How test runs get lost and how they look meanwhile: reapers without a name, dead controllers, escapes, stops,
//! leaders that leave, late execs, reused pids. Each is told once, and taken back once, when its last process ends.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use orch_tests::documents;
use orch_watchdog::cases::NoticeKind;
use orch_watchdog::observe::{Cookie, Family, Lineage, Supervisor};
use orch_watchdog::proc::ownership::{CoreKnowledge, Verdict, judge};
use orch_watchdog::signals::{Ending, Facts, ProcessFacts, SPINNING_SHARE, Severity, SignalKind};
use proc_identity::{Liveness, ProcessId, read_stat, same};

use crate::zoo::{Watch, Zoo, end, id_of, root, send, unshare_pid, wait_for};

fn facts(notice: &orch_watchdog::cases::Notice) -> &ProcessFacts {
    match &notice.finding.facts {
        Facts::Process(facts) => facts,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn member_ids(family: &Family) -> Vec<ProcessId> {
    let id = |member: &orch_watchdog::observe::Member| ProcessId {
        pid: member.key.pid,
        start_ticks: member.key.start_ticks,
    };
    family.members.iter().map(id).collect()
}

#[test]
fn what_a_nameless_subreaper_adopted_is_an_orphan_and_told_once_and_taken_back_once() {
    let mut zoo = Zoo::nameless();
    let (shell, run) = zoo.shell_with_run("", "");
    let mut watch = Watch::over(&zoo);
    watch.silence("its shell waits for it");
    end(shell);
    let alert = watch.alert("the orphan");
    assert_eq!(alert.finding.signal, SignalKind::ProcOrphaned);
    let facts = facts(&alert);
    assert_eq!(
        (facts.root_pid, facts.stop.as_deref()),
        (run.pid, Some(format!("kill {}", run.pid).as_str()))
    );
    let adopted = format!("({}) of another session, which adopted it", zoo.top());
    assert!(facts.evidence.iter().any(|line| line.to_string().contains(&adopted)), "{:?}", facts.evidence);
    watch.silence("nothing changed");
    end(run);
    let recovery = watch.recovery("its end");
    assert!(matches!(recovery.kind, NoticeKind::Recovered { how: Ending::LastProcessEnded, .. }));
    watch.silence("it is over");
}

/// A host whose first process never made a session leaves session 0 to all that it starts, and so does a new pid
/// namespace to whoever enters it with the session it had.
#[test]
#[expect(clippy::disallowed_methods, reason = "the same test once more, as a process of another session")]
fn a_subreaper_in_the_session_of_nobody_is_one_too() {
    let unshare = unshare_pid();
    let (program, arguments) = unshare.split_first().expect("a command");
    let again = std::env::current_exe().expect("this program");
    let test = "trees::what_a_nameless_subreaper_adopted_is_an_orphan_and_told_once_and_taken_back_once";
    let output = Command::new(program)
        .args(arguments)
        .arg("sh")
        .args([
            "-c",
            "read -r _ _ _ _ _ session _ < /proc/self/stat; echo \"session $session\"; exec \"$0\" \"$@\"",
        ])
        .arg(again)
        .args(["--exact", test])
        .output()
        .expect("unshare runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("session 0\n"), "{told}");
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_family_whose_controller_died_is_not_over_while_its_workers_burn() {
    let mut zoo = Zoo::nameless();
    let (shell, run) = zoo.shell_with_run("-n2 --burn", "");
    let mut watch = Watch::over(&zoo);
    watch.tick_ms = 0;
    let family = wait_for("both workers", || watch.family_of(run).filter(|family| family.members.len() == 3));
    let workers: Vec<ProcessId> = member_ids(&family).into_iter().filter(|id| *id != run).collect();
    let burns = |family: &Family| family.cpu_share.is_some_and(|share| share >= SPINNING_SHARE);
    wait_for("their burning", || watch.family_of(run).filter(burns));
    end(shell);
    let alert = watch.alert("the orphan");
    assert_eq!((facts(&alert).members, alert.finding.severity), (3, Severity::Critical));
    end(run);
    for _ in 0..5 {
        let told = watch.tick();
        assert!(told.iter().all(|notice| notice.kind.is_alert()), "the workers burn: {told:#?}");
    }
    wait_for("their burning", || {
        let left = watch.look();
        let left = left.iter().find(|family| family.key.pid == run.pid).expect("still the same family");
        assert!(!left.root_alive && left.members.len() == 2, "{left:?}");
        left.cpu_share.filter(|share| *share >= SPINNING_SHARE)
    });
    let (last, first) = workers.split_last().expect("workers");
    first.iter().for_each(|worker| end(*worker));
    assert!(watch.tick().iter().all(|notice| notice.kind.is_alert()), "one worker burns on");
    end(*last);
    watch.recovery("the end of the last worker");
    watch.silence("it is over");
}

#[test]
fn workers_whose_controller_died_before_anybody_looked_are_one_family() {
    let mut zoo = Zoo::nameless();
    let (shell, run) = zoo.shell_with_run("-n3 --burn", "");
    let workers = || {
        let mut pids = Vec::new();
        proc_identity::list_pids(root(), &mut pids).expect("a listing");
        let below = |pid: &i32| read_stat(root(), *pid).is_ok_and(|stat| stat.ppid == run.pid);
        pids.into_iter().map(|(pid, _)| pid).filter(below).collect::<Vec<_>>()
    };
    // as python and no more as the copy that a fork is
    wait_for("three workers", || (workers().len() == 3).then_some(()));
    let mut watch = Watch::over(&zoo);
    wait_for("their command lines", || {
        watch.family_of(run).filter(|family| {
            family.members.iter().filter(|member| member.command.contains("exec(eval(")).count() == 3
        })
    });
    end(shell);
    end(run);
    // one that was not there before
    let mut watch = Watch::over(&zoo);
    let alert = watch.alert("the workers");
    assert_eq!((alert.finding.signal, facts(&alert).members), (SignalKind::ProcOrphaned, 3));
    assert!(facts(&alert).stop.as_deref().is_some_and(|stop| stop.starts_with("kill -- -")), "{alert:?}");
}

#[test]
fn a_worker_that_escaped_into_its_own_session_stays_in_the_family_that_started_it() {
    let mut zoo = Zoo::nameless();
    let (shell, run) = zoo.shell_with_run("-n1 --setsid", "");
    let mut watch = Watch::over(&zoo);
    let family = wait_for("its worker", || watch.family_of(run).filter(|family| family.members.len() == 2));
    let worker = *member_ids(&family).last().expect("a worker");
    wait_for("its own session", || (read_stat(root(), worker.pid).ok()?.session == worker.pid).then_some(()));
    end(shell);
    watch.alert("the orphan");
    end(run);
    watch.silence("the worker lives, idle as before");
    assert_eq!(watch.family_of(worker).expect("a family").key.pid, run.pid);
    end(worker);
    watch.recovery("the end of the worker");
}

#[test]
fn a_stopped_run_is_alive_and_a_zombie_is_over() {
    let mut zoo = Zoo::nameless();
    let (shell, run) = zoo.shell_with_run("", "");
    let mut watch = Watch::over(&zoo);
    send(run, Signal::SIGSTOP);
    wait_for("its stop", || read_stat(root(), run.pid).ok()?.is_stopped().then_some(()));
    end(shell);
    let alert = watch.alert("the stopped orphan");
    assert_eq!(alert.finding.severity, Severity::Warning, "it does not spin");
    assert_eq!(watch.family_of(run).expect("a family").members.first().map(|it| it.state), Some('T'));
    // the keeper reaps at its next order only
    end(run);
    assert_eq!(same(root(), run), Liveness::Zombie);
    watch.recovery("the end of what is a zombie now");
    zoo.order("None");
}

#[test]
fn a_run_whose_first_thread_left_is_alive() {
    let mut zoo = Zoo::nameless();
    let mut watch = Watch::over(&zoo);
    let script = zoo.script();
    let run = zoo.start(&format!("run('python3', '{script}')"));
    wait_for("the run", || watch.family_of(run));
    let leaver = zoo.start(&format!("run('python3', '{script}', '--leader-leaves')"));
    let before = wait_for("the leaver", || {
        watch.family_of(leaver).filter(|family| family.command.ends_with("--leader-leaves"))
    });
    std::fs::write(zoo.folder().join("leave"), "").expect("a file");
    wait_for("its leader's leave", || {
        let stat = read_stat(root(), leaver.pid).ok()?;
        (stat.state.letter() == 'Z' && !stat.is_dead()).then_some(())
    });
    let after = watch.family_of(leaver).expect("alive");
    assert_eq!((after.key.pid, &after.command), (leaver.pid, &before.command));
    // a new life, which never saw its command line, knows it by what the earlier one wrote down
    watch.restart();
    let known = watch.family_of(leaver).expect("alive");
    assert_eq!((known.key.pid, &known.command), (leaver.pid, &before.command));
    watch.silence("it is nobody's orphan");
    end(leaver);
    assert_eq!(watch.family_of(leaver), None);
}

#[test]
fn an_old_process_that_becomes_a_test_run_is_found() {
    let mut zoo = Zoo::nameless();
    let (script, go) = (zoo.script(), zoo.folder().join("go"));
    let line = format!("while [ ! -e {} ]; do sleep 0.05; done; exec python3 {script}", go.display());
    let shell = zoo.start(&format!("run('sh', '-c', '{line}')"));
    let mut watch = Watch::over(&zoo);
    for _ in 0..8 {
        assert_eq!(watch.family_of(shell), None, "it is a shell, and past the looks at young processes");
    }
    std::fs::write(&go, "").expect("a file");
    let family = wait_for("the rotation", || watch.family_of(shell));
    assert_eq!((family.key.pid, family.key.start_ticks), (shell.pid, shell.start_ticks));
}

#[test]
fn a_process_with_the_pid_of_an_ended_run_is_not_that_run() {
    // the last pid can be set inside of a pid namespace of one's own, and is that namespace's own
    let mut wrapper = unshare_pid();
    wrapper.push("--kill-child");
    let mut zoo = Zoo::of_tini(&wrapper);
    let script = zoo.script();
    let inner = |zoo: &mut Zoo, program: &str| -> i32 {
        zoo.order(&format!("run({program})")).parse().expect("a pid")
    };
    let init = wait_for("the init of the namespace", || {
        let mut pids = Vec::new();
        proc_identity::list_pids(root(), &mut pids).expect("a listing");
        pids.into_iter()
            .map(|(pid, _)| pid)
            .find(|pid| read_stat(root(), *pid).is_ok_and(|stat| stat.ppid == zoo.top()))
    });
    let first = inner(&mut zoo, &format!("'python3', '{script}'"));
    // the namespace's own proc mount, from outside
    let inside = PathBuf::from(format!("/proc/{init}/root/proc"));
    let mut watch = Watch::with(1, &inside, "pytest");
    let seen = wait_for("the run", || watch.look().into_iter().find(|family| family.key.pid == first));
    // start ticks tell two holders of a pid apart when they are not of the same tick
    let ticks_per_second = proc_identity::host::clock_ticks_per_second();
    wait_for("the next tick", || {
        let boottime_ms = proc_identity::host::Clocks::now().boottime_ms;
        (boottime_ms > proc_identity::host::ticks_ms(seen.key.start_ticks + 1, ticks_per_second))
            .then_some(())
    });
    zoo.order(&format!("os.kill({first}, 9) or os.waitpid({first}, 0)"));
    let set = format!("open('/proc/sys/kernel/ns_last_pid', 'w').write(str({first} - 1))");
    let reuse = |zoo: &mut Zoo, program: &str| {
        wait_for("the same pid again", || {
            zoo.order(&set);
            let pid = inner(zoo, program);
            (pid == first).then_some(()).or_else(|| {
                zoo.order(&format!("os.kill({pid}, 9)"));
                None
            })
        });
    };
    // nobody looked in between
    reuse(&mut zoo, "'sleep', '600'");
    let left = watch.look();
    assert!(left.iter().all(|family| family.key.pid != first), "it is a sleep: {left:#?}");
    zoo.order(&format!("os.kill({first}, 9) or os.waitpid({first}, 0)"));
    reuse(&mut zoo, &format!("'python3', '{script}'"));
    let again = wait_for("the other run", || watch.look().into_iter().find(|family| family.key.pid == first));
    assert!(again.key.start_ticks > seen.key.start_ticks, "{again:?} {seen:?}");
}

#[test]
fn a_run_of_another_core_is_owned_while_its_supervisor_lives_and_nobodys_after() {
    let mut zoo = Zoo::nameless();
    let folder = zoo.folder().to_owned();
    // what matters of a supervisor: its command line, no cookie, and that it adopts
    let supervisor = "import ctypes,subprocess,sys,time,resource\n\
         ctypes.CDLL(None).prctl(36,1,0,0,0)\n\
         subprocess.Popen(['sh','-c','python3 '+sys.argv[1]+' & wait'],start_new_session=True,\
         preexec_fn=lambda:resource.setrlimit(10,(4611686018427387009,)*2))\n\
         time.sleep(600)\n";
    std::fs::write(folder.join("supervise"), supervisor).expect("a script");
    let script = zoo.script();
    let supervisor = zoo.start(&format!("as_name('orch-core', 'supervise', '{script}')"));
    let run = wait_for("the run", || zoo.runs().first().copied());
    let mut watch = Watch::over(&zoo);
    watch.document = Some(documents::idle(0));
    let family = wait_for("its cookie", || {
        watch.family_of(run).filter(|family| family.cookie == Cookie::Run(4_611_686_018_427_387_009))
    });
    assert_eq!(family.supervisor, Supervisor::Alive(supervisor.pid));
    // an hour after its start a run of this core would long be listed, ended or not
    let mut document = documents::idle(family.started_at_ms + 2 * 3_600_000);
    let verdict = judge(&family, CoreKnowledge::Document(&document)).verdict;
    assert!(matches!(&verdict, Verdict::Owned { by } if by.contains("supervisor")), "{verdict:?}");
    assert!(matches!(judge(&family, CoreKnowledge::Off).verdict, Verdict::Owned { .. }));
    // the shell dies: the supervisor adopts the run, which is as much its own as before
    end(id_of(read_stat(root(), run.pid).expect("stat").ppid));
    let adopted = watch.family_of(run).expect("a family");
    assert!(matches!(adopted.lineage, Lineage::Reparented { leader_alive: false, .. }), "{adopted:?}");
    assert!(matches!(judge(&adopted, CoreKnowledge::Document(&document)).verdict, Verdict::Owned { .. }));
    watch.silence("it is another core's");
    end(supervisor);
    let left = watch.family_of(run).expect("a family");
    assert_eq!(left.supervisor, Supervisor::Absent);
    assert!(matches!(judge(&left, CoreKnowledge::Document(&document)).verdict, Verdict::Orphan { .. }));
    document.processes_omitted = 1;
    assert!(matches!(judge(&left, CoreKnowledge::Document(&document)).verdict, Verdict::OwnerUnknown { .. }));
    watch.alert("nobody's any more");
}

#[test]
fn a_name_and_a_line_are_patterns_too() {
    let mut zoo = Zoo::nameless();
    let marker = format!("marker-{}", zoo.top());
    let sleeper = zoo.start(&format!("run('sh', '-c', 'sleep 600; : {marker}')"));
    let mut by_line = Watch::with(zoo.top(), root(), &format!("re:: {marker}$"));
    let family = wait_for("the line and its child", || {
        by_line.family_of(sleeper).filter(|family| family.members.len() == 2)
    });
    assert_eq!(family.key.pid, sleeper.pid);
    let named = zoo.start("run('python3', '-c', 'import ctypes,time; ctypes.CDLL(None).prctl(15,b\"a )(\\\\n b\",0,0,0); time.sleep(600)')");
    let mut by_name = Watch::with(zoo.top(), root(), "comm:a )(\n b");
    let family = wait_for("the name", || by_name.family_of(named));
    assert_eq!(family.members.first().map(|member| member.name.as_str()), Some("a )(  b"));
}

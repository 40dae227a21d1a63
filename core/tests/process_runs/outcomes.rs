//! What the exit record says about ends of every kind, and what the program finds around it.

use std::collections::BTreeMap;

use orch_core::process::{
    ChildEnd, KillSignal, KillStep, NotStarted, Outcome, RunSpec, StopSent, Stream, StreamEnd, TreeKill,
};

use crate::support::{Case, kill, read, record_of, until};

#[tokio::test]
async fn an_exit_code_is_itself_and_a_signal_is_negative() {
    for (script, outcome, code) in [
        ("exit 0", Outcome::Exited { code: 0 }, 0),
        ("exit 7", Outcome::Exited { code: 7 }, 7),
        ("exit 255", Outcome::Exited { code: 255 }, 255),
        ("kill -9 $$", Outcome::Signaled { signal: 9 }, -9),
        ("kill -SEGV $$", Outcome::Signaled { signal: 11 }, -11),
        // a real-time signal has no name of its own
        ("kill -40 $$", Outcome::Signaled { signal: 40 }, -40),
    ] {
        let case = Case::new();
        let mut run = case.started(&case.spec("sh", &["-c", script])).await;
        let record = record_of(&mut run).await;
        assert_eq!((&record.outcome, record.exit_code()), (&outcome, Some(code)), "{script}");
        assert_eq!(record.succeeded(), code == 0);
        assert_eq!(record.swept.clone().map(|swept| (swept.killed, swept.is_clean())), Some((0, true)));
        assert!(record.started_at_ms > 1_600_000_000_000 && record.ended_at_ms >= record.started_at_ms);
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_says_so() {
    let case = Case::new();
    let missing = case.spec("/no/such/program", &[]);
    let elsewhere = RunSpec { cwd: "/no/such/directory".into(), ..case.spec("true", &[]) };
    for (spec, named) in [(missing, "/no/such/program"), (elsewhere, "/no/such/directory")] {
        let case = Case::new();
        let mut run = case.started(&RunSpec { cookie: case.cookie, ..spec }).await;
        let record = record_of(&mut run).await;
        let Outcome::NotStarted { reason: NotStarted::Failed { message } } = &record.outcome else {
            panic!("{record:?}")
        };
        assert!(message.contains(named) && message.contains("No such file"), "{message}");
        assert_eq!(record.exit_code(), None);
    }
}

#[tokio::test]
async fn the_ladder_is_climbed_rung_by_rung_and_an_end_on_the_way_counts_as_stopped() {
    let script = "
import signal, time, os
def heard(number, frame):
    os.write(1, b'%d ' % number)
    if number == signal.SIGTERM: os._exit(5)
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM): signal.signal(number, heard)
os.write(1, b'ready ')
while True: time.sleep(300)";
    let case = Case::new();
    let step = |signal| KillStep { signal, grace_ms: 50 };
    let ladder = vec![
        step(KillSignal::Int),
        step(KillSignal::Hup),
        KillStep { signal: KillSignal::Term, grace_ms: 60_000 },
    ];
    let mut run = case.started(&RunSpec { kill_ladder: ladder, ..case.python(script) }).await;
    let out = case.run_dir().stream(Stream::Out);
    until("ready", || read(&out).contains("ready")).await;
    assert_eq!(run.stop().expect("stop"), StopSent::Sent);
    let record = record_of(&mut run).await;
    assert_eq!((record.outcome, record.child), (Outcome::Stopped, Some(ChildEnd::Exited { code: 5 })));
    assert_eq!(read(&out), "ready 2 1 15 ");
    assert_eq!(run.stop().expect("stop after the end"), StopSent::AlreadyEnded);
}

#[tokio::test]
async fn a_stopped_program_hears_the_ladder() {
    let script = "
import signal, os, time
signal.signal(signal.SIGINT, lambda *_: os._exit(9))
os.kill(os.getpid(), signal.SIGSTOP)
while True: time.sleep(300)";
    let case = Case::new();
    let ladder = vec![KillStep { signal: KillSignal::Int, grace_ms: 60_000 }];
    let mut run = case.started(&RunSpec { kill_ladder: ladder, ..case.python(script) }).await;
    until("stopped", || {
        let child = case.run_dir().read_child().expect("read");
        child.is_some_and(|child| {
            proc_identity::read_stat("/proc".as_ref(), child.id.pid).is_ok_and(|stat| stat.is_stopped())
        })
    })
    .await;
    run.stop().expect("stop");
    assert_eq!(record_of(&mut run).await.child, Some(ChildEnd::Exited { code: 9 }));
}

#[tokio::test]
async fn output_is_cut_at_the_cap_counted_and_drained() {
    let case = Case::new();
    let script = "head -c 3000000 /dev/zero; echo short >&2; exit 4";
    let mut run =
        case.started(&RunSpec { output_cap_bytes: 1_000, ..case.spec("sh", &["-c", script]) }).await;
    let record = record_of(&mut run).await;
    assert_eq!(record.outcome, Outcome::Exited { code: 4 }, "a full file does not block the program");
    assert_eq!(record.out, StreamEnd { kept_bytes: 1_000, truncated_bytes: 2_999_000, write_error: None });
    assert_eq!(record.err, StreamEnd { kept_bytes: 6, truncated_bytes: 0, write_error: None });
    assert_eq!(read(&case.run_dir().stream(Stream::Out)).len(), 1_000);
    assert_eq!(read(&case.run_dir().stream(Stream::Err)), "short\n");
}

#[tokio::test]
async fn the_environment_is_exactly_the_allow_list_and_no_value_is_on_the_disk() {
    let case = Case::new();
    let env = BTreeMap::from([
        ("ONLY".to_owned(), "hunter2".to_owned()),
        ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
    ]);
    let mut run = case.started(&RunSpec { env, ..case.spec("env", &[]) }).await;
    record_of(&mut run).await;
    let out = read(&case.run_dir().stream(Stream::Out));
    let mut seen: Vec<_> = out.lines().collect();
    seen.sort_unstable();
    assert_eq!(seen, ["ONLY=hunter2", "PATH=/usr/bin:/bin"]);
    for entry in std::fs::read_dir(case.run_path()).expect("list") {
        let path = entry.expect("entry").path();
        if !path.ends_with("out") {
            assert!(!read(&path).contains("hunter2"), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn the_program_finds_cookie_limits_session_and_directory_as_ordered() {
    let script = "
import os, resource
status = dict(line.rstrip('\\n').split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)
print(resource.getrlimit(10), resource.getrlimit(resource.RLIMIT_NPROC))
print(os.getcwd(), os.getpgrp() == os.getpid(), os.getsid(0) == os.getppid())
print(status['NoNewPrivs'], status['SigBlk'], os.readlink('/proc/self/fd/0'))";
    for no_new_privs in [true, false] {
        let case = Case::new();
        let spec = RunSpec { no_new_privs, max_user_processes: Some(4_321), ..case.python(script) };
        let mut run = case.started(&spec).await;
        let record = record_of(&mut run).await;
        assert!(record.succeeded(), "{}", read(&case.run_dir().stream(Stream::Err)));
        let cookie = case.cookie;
        let cwd = spec.cwd.canonicalize().expect("cwd");
        assert_eq!(
            read(&case.run_dir().stream(Stream::Out)),
            format!(
                "({cookie}, {cookie}) (4321, 4321)\n{} True True\n{} 0000000000000000 /dev/null\n",
                cwd.display(),
                u8::from(no_new_privs)
            )
        );
    }
}

#[tokio::test]
async fn without_tree_kill_the_program_dies_alone() {
    let script = "
import os, time
if os.fork() == 0:
    os.setsid()
    open('here-grandchild', 'w')
    while True: time.sleep(300)
while True: time.sleep(300)";
    let case = Case::new();
    let mut run = case.started(&RunSpec { tree_kill: TreeKill::Off, ..case.python(script) }).await;
    until("the grandchild", || case.arrived() == 1).await;
    run.stop().expect("stop");
    let record = record_of(&mut run).await;
    assert_eq!((record.outcome, record.swept), (Outcome::Stopped, None));
    let left = case.alive_by_marker();
    assert_eq!(left.len(), 1, "the grandchild, which also still holds the pipe");
    let stat = proc_identity::read_stat("/proc".as_ref(), left[0]).expect("stat");
    assert_ne!(stat.ppid, run.supervisor().expect("identity").pid, "no subreaper has it");
    kill(left[0]);
}

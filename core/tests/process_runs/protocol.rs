//! The supervisor's side of the bargain: go byte, lock, one use of a directory, signals and limits that it inherits.

use std::io::Write;
use std::process::Stdio;

use orch_core::process::{Cookie, LaunchError, NotStarted, Outcome, RunSpec, Stream, prepare, sweep};

use crate::support::{Case, Guard, binary, output, python, read, record_of, until};

#[tokio::test]
async fn without_a_go_byte_nothing_is_started() {
    let case = Case::new();
    let proof = case.path("proof");
    let spec = case.spec("touch", &[proof.to_str().expect("text")]);
    let prepared = case.prepared(&spec).await;
    let supervisor = prepared.supervisor();
    assert_eq!(
        proc_identity::read_stat("/proc".as_ref(), supervisor.pid).expect("stat").id(),
        supervisor,
        "the ready line names the supervisor"
    );
    drop(prepared);
    let dir = case.run_dir();
    until("a record", || dir.read_exit().expect("read").is_some()).await;
    let record = dir.read_exit().expect("read").expect("record");
    assert_eq!(record.outcome, Outcome::NotStarted { reason: NotStarted::NoGo });
    assert_eq!((dir.read_child().expect("read"), proof.exists()), (None, false));
}

#[tokio::test]
async fn a_stop_before_the_go_byte_starts_nothing() {
    let case = Case::new();
    let prepared = case.prepared(&case.spec("touch", &["proof"])).await;
    let pid = rustix::process::Pid::from_raw(prepared.supervisor().pid).expect("pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
    let dir = case.run_dir();
    until("a record", || dir.read_exit().expect("read").is_some()).await;
    // too late, and told so or not: either way nothing starts
    prepared.go().await.ok();
    let record = dir.read_exit().expect("read").expect("record");
    assert_eq!(record.outcome, Outcome::NotStarted { reason: NotStarted::StoppedBefore });
    assert!(!case.path("proof").exists());
}

#[tokio::test]
async fn a_second_supervisor_refuses_a_directory_in_use_and_after_use() {
    let case = Case::new();
    let mut run = case.started(&case.spec("sleep", &["300"])).await;
    let path = case.run_path();
    let args = ["supervise", path.to_str().expect("text")];
    assert_eq!(output(binary(), &args).status.code(), Some(75), "in use");
    until("the program", || case.alive_by_cookie() == 1).await;
    run.stop().expect("stop");
    let record = record_of(&mut run).await;
    assert_eq!(output(binary(), &args).status.code(), Some(65), "after use");
    assert_eq!(case.run_dir().read_exit().expect("read"), Some(record), "the record stands");
    let again = prepare(&case.spec("true", &[]), &path, binary()).await;
    assert!(matches!(again, Err(LaunchError::RunDir(_))), "{again:?}");
}

#[test]
fn unusable_arguments_are_refused_without_a_trace() {
    let case = Case::new();
    let empty = case.path("empty");
    std::fs::create_dir(&empty).expect("mkdir");
    for dir in ["relative/run", "/no/such/run", empty.to_str().expect("text")] {
        let refused = output(binary(), &["supervise", dir]);
        assert_eq!(refused.status.code(), Some(64), "{dir}");
        assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{dir}");
    }
    assert_eq!(std::fs::read_dir(&empty).expect("list").count(), 0);
}

#[tokio::test]
async fn a_binary_that_is_no_supervisor_is_told_apart() {
    for program in ["/bin/true", "/bin/false", "/no/such/binary"] {
        let case = Case::new();
        let failed = prepare(&case.spec("true", &[]), &case.run_path(), program.as_ref()).await;
        assert!(matches!(failed, Err(LaunchError::NotReady { .. } | LaunchError::Spawn(_))), "{failed:?}");
    }
}

/// Starts a supervisor below a Python program that first changes what is inherited, and gives the go byte.
fn supervise_below(case: &Case, spec: &RunSpec, changes: &str) -> Guard {
    let dir = case.run_path();
    std::fs::create_dir(&dir).expect("mkdir");
    std::fs::write(dir.join("spec.json"), serde_json::to_vec(spec).expect("json")).expect("spec");
    let script = format!("import os, resource, signal, sys\n{changes}\nos.execv(sys.argv[1], sys.argv[1:])");
    #[expect(clippy::disallowed_methods, reason = "real processes are what these tests are about")]
    let mut child = std::process::Command::new(python())
        .args(["-c", &script])
        .arg(binary())
        .arg("supervise")
        .arg(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("pipe").write_all(b"g").expect("go");
    Guard(child)
}

#[tokio::test]
async fn ignored_and_blocked_signals_of_the_core_do_not_reach_the_program() {
    let case = Case::new();
    let spec = case.spec("sh", &["-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status; exit 3"]);
    let _below = supervise_below(
        &case,
        &spec,
        "for n in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
    signal.signal(n, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])",
    );
    let dir = case.run_dir();
    until("a record", || dir.read_exit().expect("read").is_some()).await;
    let record = dir.read_exit().expect("read").expect("record");
    assert_eq!(record.outcome, Outcome::Exited { code: 3 }, "an ignored SIGCHLD would have lost it");
    let out = read(&dir.stream(Stream::Out));
    let mask = |name: &str| {
        let line = out.lines().find_map(|line| line.strip_prefix(name)).expect("line");
        u64::from_str_radix(line.trim(), 16).expect("mask")
    };
    assert_eq!(mask("SigBlk:"), 0);
    // signals 32 and 33 are the C library's own
    assert_eq!(mask("SigIgn:") & 0x7fff_ffff, 0, "{out}");
}

#[tokio::test]
async fn a_nested_run_keeps_the_outer_mark_and_is_found_by_both() {
    let (outer, mut inner) = (Case::new(), Case::new());
    inner.cookie =
        Cookie::below(Some(outer.cookie.get()), inner.cookie.get()).expect("room below the outer cookie");
    let spec = inner.spec("sleep", &["300"]);
    let hard = outer.cookie;
    let _below = supervise_below(&inner, &spec, &format!("resource.setrlimit(10, ({hard}, {hard}))"));
    // the supervisor itself belongs to the outer run only
    until("the nested program", || inner.alive_by_cookie() == 1 && outer.alive_by_cookie() == 2).await;
    let swept = sweep(outer.cookie);
    assert!(swept.is_clean() && swept.killed == 2, "{swept:?}");
    inner.assert_nothing_lives();
}

#[tokio::test]
async fn a_cookie_above_the_hard_limit_is_refused_and_not_bent() {
    let case = Case::new();
    let spec = case.spec("touch", &["proof"]);
    let hard = case.cookie.get() - 1;
    let _below = supervise_below(&case, &spec, &format!("resource.setrlimit(10, ({hard}, {hard}))"));
    let dir = case.run_dir();
    until("a record", || dir.read_exit().expect("read").is_some()).await;
    let record = dir.read_exit().expect("read").expect("record");
    let Outcome::NotStarted { reason: NotStarted::Failed { message } } = record.outcome else {
        panic!("{record:?}")
    };
    assert!(message.contains("run cookie") && message.contains(&hard.to_string()), "{message}");
    assert!(!case.path("proof").exists());
}

#[tokio::test]
async fn a_process_of_the_same_user_cannot_read_the_supervisors_environment() {
    // as root everything is readable, so the whole scene is played by nobody
    let case = Case::new();
    let copy = case.path("orch-core");
    std::fs::copy(binary(), &copy).expect("copy");
    let run = case.run_path();
    std::fs::create_dir(&run).expect("mkdir");
    let spec = RunSpec { cwd: "/".into(), ..case.spec("sleep", &["300"]) };
    std::fs::write(run.join("spec.json"), serde_json::to_vec(&spec).expect("json")).expect("spec");
    let script = "
import os, subprocess, sys
binary, case, run = sys.argv[1:]
if os.getuid() == 0:
    for path in (case, binary, run, run + '/spec.json'): os.chown(path, 65534, 65534)
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
def readable(pid):
    try: return b'hunter2' in open('/proc/%d/environ' % pid, 'rb').read()
    except PermissionError: return False
env = {'TOKEN': 'hunter2', 'PATH': os.environ['PATH']}
control = subprocess.Popen(['sleep', '300'], env=env)
supervisor = subprocess.Popen([binary, 'supervise', run], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
ready = supervisor.stdout.readline()
print(readable(control.pid), readable(supervisor.pid))
control.kill()
supervisor.stdin.close()
supervisor.wait()";
    let told = output(
        "python3",
        &[
            "-c",
            script,
            copy.to_str().expect("text"),
            case.path("").to_str().expect("text"),
            run.to_str().expect("text"),
        ],
    );
    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        "True False\n",
        "an ordinary process is open, the supervisor is not: {}",
        String::from_utf8_lossy(&told.stderr)
    );
}

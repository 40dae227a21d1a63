//! A run outlives the core that started it, and the next core finds it whatever has happened to it meanwhile.

use std::process::Stdio;

use orch_core::process::tail::{last_output_at_ms, read_from};
use orch_core::process::{Adopted, Outcome, RunEnd, RunSpec, Running, Stream, adopt, sweep};
use proc_identity::ProcessId;

use crate::support::{Case, Guard, binary, end_of, kill, python, record_of, until};

/// A core that prepares a run, gives the go byte, and is killed with SIGKILL by itself.
fn core_that_dies(case: &Case, spec: &RunSpec) -> ProcessId {
    let dir = case.run_path();
    std::fs::create_dir(&dir).expect("mkdir");
    std::fs::write(dir.join("spec.json"), serde_json::to_vec(spec).expect("json")).expect("spec");
    let script = "
import os, signal, subprocess, sys
supervisor = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
sys.stdout.buffer.write(supervisor.stdout.readline())
sys.stdout.flush()
supervisor.stdin.write(b'g')
supervisor.stdin.flush()
os.kill(os.getpid(), signal.SIGKILL)";
    #[expect(clippy::disallowed_methods, reason = "real processes are what these tests are about")]
    let core = std::process::Command::new(python())
        .args(["-c", script])
        .arg(binary())
        .arg("supervise")
        .arg(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut core = Guard(core);
    let mut ready = String::new();
    std::io::Read::read_to_string(&mut core.0.stdout.take().expect("pipe"), &mut ready).expect("ready line");
    core.0.wait().expect("reap");
    serde_json::from_str(ready.trim()).expect("identity")
}

fn live(case: &Case) -> Running {
    match adopt(&case.run_path()).expect("adopt") {
        Adopted::Live(running) => running,
        other @ (Adopted::Ended(_) | Adopted::Lost { .. } | Adopted::NeverPrepared) => panic!("{other:?}"),
    }
}

/// Says one line, waits for a file, says another, exits with 6.
const TALKER: &str = "
import os, time
print('before', flush=True)
while not os.path.exists('leave'): time.sleep(0.01)
print('after', flush=True)
os._exit(6)";

#[tokio::test]
async fn a_run_outlives_its_core_and_no_output_is_lost() {
    let case = Case::new();
    let supervisor = core_that_dies(&case, &case.python(TALKER));
    let dir = case.run_dir();
    let mut offset = 0;
    until("the first line", || {
        let bytes = read_from(&dir, Stream::Out, 0, 100).expect("read");
        let next = bytes.len() as u64;
        offset = next;
        bytes == b"before\n"
    })
    .await;
    let mut run = live(&case);
    assert_eq!((run.supervisor(), run.cookie()), (Some(supervisor), case.cookie));
    assert!(last_output_at_ms(&dir).expect("look").is_some());
    std::fs::write(case.path("leave"), "").expect("leave");
    let record = record_of(&mut run).await;
    assert_eq!(record.outcome, Outcome::Exited { code: 6 });
    assert_eq!(read_from(&dir, Stream::Out, offset, 100).expect("read"), b"after\n");
    let Adopted::Ended(found) = adopt(&case.run_path()).expect("adopt") else { panic!("ended") };
    assert_eq!(found, record);
}

#[tokio::test]
async fn an_adopted_run_can_be_stopped() {
    let case = Case::new();
    core_that_dies(&case, &case.python(TALKER));
    until("the program", || case.alive_by_cookie() == 1).await;
    let mut run = live(&case);
    run.stop().expect("stop");
    assert_eq!(record_of(&mut run).await.outcome, Outcome::Stopped);
    case.assert_nothing_lives();
}

#[tokio::test]
async fn a_time_out_is_enforced_while_no_core_lives() {
    let case = Case::new();
    core_that_dies(&case, &RunSpec { timeout_ms: Some(300), ..case.python(TALKER) });
    let dir = case.run_dir();
    until("a record", || dir.read_exit().expect("read").is_some()).await;
    case.assert_nothing_lives();
    // between its record and its end the supervisor holds its lock for another instant
    until("the supervisor's end", || matches!(adopt(&case.run_path()), Ok(Adopted::Ended(_)))).await;
    let Adopted::Ended(record) = adopt(&case.run_path()).expect("adopt") else { panic!("ended") };
    assert_eq!(record.outcome, Outcome::TimedOut);
}

#[tokio::test]
async fn an_adopted_run_whose_supervisor_is_killed_is_lost_and_swept() {
    let script = "
import os, time
if os.fork() == 0:
    os.setsid()
    open('here-grandchild', 'w')
    while True: time.sleep(300)
while True: time.sleep(300)";
    let case = Case::new();
    let supervisor = core_that_dies(&case, &case.python(script));
    until("the grandchild", || case.arrived() == 1).await;
    let mut run = live(&case);
    kill(supervisor.pid);
    assert_eq!(end_of(&mut run).await, RunEnd::SupervisorLost { cookie: case.cookie });
    let Adopted::Lost { cookie } = adopt(&case.run_path()).expect("adopt") else { panic!("lost") };
    let swept = sweep(cookie);
    assert!(swept.is_clean() && swept.killed >= 1, "{swept:?}");
    case.assert_nothing_lives();
}

#[tokio::test]
async fn a_directory_without_a_supervisor_was_never_prepared() {
    let case = Case::new();
    assert!(matches!(adopt(&case.run_path()), Ok(Adopted::NeverPrepared)), "no directory");
    std::fs::create_dir(case.run_path()).expect("mkdir");
    assert!(matches!(adopt(&case.run_path()), Ok(Adopted::NeverPrepared)), "no lock");
    std::fs::write(case.run_path().join("lock"), "").expect("lock");
    assert!(matches!(adopt(&case.run_path()), Ok(Adopted::NeverPrepared)), "a lock without an identity");
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_an_error_and_not_an_end() {
    let case = Case::new();
    let mut run = case.started(&case.spec("true", &[])).await;
    record_of(&mut run).await;
    std::fs::write(case.run_path().join("exit.json"), "{\"outcome\":").expect("damage");
    assert!(adopt(&case.run_path()).is_err(), "a damaged record is neither an end nor a loss");
    assert!(adopt("relative/run".as_ref()).is_err());
}

#[tokio::test]
async fn a_dropped_handle_leaves_the_run_alone() {
    let case = Case::new();
    drop(case.started(&case.python(TALKER)).await);
    until("the program", || case.alive_by_cookie() == 1).await;
    let mut run = live(&case);
    std::fs::write(case.path("leave"), "").expect("leave");
    assert_eq!(record_of(&mut run).await.outcome, Outcome::Exited { code: 6 });
}

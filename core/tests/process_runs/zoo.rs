//! Programs that leave processes behind in every way there is, each ended in every way there is: no survivor, and no
//! bystander hurt.

use orch_core::process::{Outcome, RunEnd, sweep};

use crate::support::{Case, bystander, end_of, kill, record_of, until};

/// A way to misbehave. Each program stays until a file `leave` appears in its working directory, then exits with 0.
struct Member {
    script: &'static str,
    /// Processes that tell of themselves once they are where they are meant to be.
    arrive: usize,
}

/// What each program begins with.
const PROLOGUE: &str = "
import ctypes, os, signal, sys, threading, time
# whatever a test fails to end, ends by itself
END = time.monotonic() + 100
def here(): open('here-%d' % os.getpid(), 'w').close()
def stay():
    here()
    time.sleep(100)
    os._exit(0)
def main():
    here()
    while not os.path.exists('leave') and time.monotonic() < END: time.sleep(0.01)
    os._exit(0)
";

const DOUBLE_FORK: Member = Member {
    script: "
if os.fork() == 0:
    if os.fork() == 0: stay()
    os._exit(0)
main()",
    arrive: 2,
};

const SETSID: Member = Member {
    script: "
if os.fork() == 0:
    os.setsid()
    stay()
main()",
    arrive: 2,
};

const NOHUP: Member = Member {
    script: "
if os.fork() == 0:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.setpgid(0, 0)
    stay()
main()",
    arrive: 2,
};

const DEAF: Member = Member {
    script: "
for deaf in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT): signal.signal(deaf, signal.SIG_IGN)
if os.fork() == 0: stay()
main()",
    arrive: 2,
};

const PIPE_HOLDER: Member = Member {
    script: "
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    here()
    while time.monotonic() < END:
        try: os.write(1, b'still here\\n')
        except OSError: pass
        time.sleep(0.01)
    os._exit(0)
main()",
    arrive: 2,
};

/// 150 processes that fork on as long as there are tokens, and then wait for more.
const BOMB: Member = Member {
    script: "
tokens, fill = os.pipe()
os.write(fill, b'.' * 149)
if os.fork() == 0:
    os.setsid()
    here()
    while os.read(tokens, 1):
        if os.fork() == 0: here()
main()",
    arrive: 151,
};

/// Twenty lines of processes that are never where they were last seen: each forks a successor and ends.
const MOVERS: Member = Member {
    script: "
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        here()
        while time.monotonic() < END:
            time.sleep(0.001)
            if os.fork(): os._exit(0)
        os._exit(0)
main()",
    arrive: 21,
};

const HUNDRED_GRANDCHILDREN: Member = Member {
    script: "
if os.fork() == 0:
    for _ in range(100):
        if os.fork() == 0:
            os.setsid()
            stay()
    stay()
main()",
    arrive: 102,
};

const STOPPED: Member = Member {
    script: "
if os.fork() == 0:
    os.setsid()
    here()
    os.kill(os.getpid(), signal.SIGSTOP)
    stay()
main()",
    arrive: 2,
};

/// Its leader thread has ended: a zombie by its state, alive by its thread.
const HEADLESS: Member = Member {
    script: "
def body():
    while open('/proc/self/stat').read().rsplit(')', 1)[1].split()[0] != 'Z': time.sleep(0.01)
    stay()
if os.fork() == 0:
    os.setsid()
    threading.Thread(target=body).start()
    ctypes.CDLL(None).pthread_exit(None)
main()",
    arrive: 2,
};

fn spec_of(case: &Case, member: &Member) -> orch_core::process::RunSpec {
    case.python(&format!("{PROLOGUE}{}", member.script))
}

async fn settled(case: &Case, member: &Member) {
    until("the zoo to settle", || case.arrived() >= member.arrive).await;
}

async fn ends_by_stop(member: &Member) {
    let (case, mut other) = (Case::new(), bystander());
    let mut run = case.started(&spec_of(&case, member)).await;
    settled(&case, member).await;
    run.stop().expect("stop");
    let record = record_of(&mut run).await;
    case.assert_nothing_lives();
    assert_eq!(record.outcome, Outcome::Stopped);
    assert!(record.swept.expect("swept").is_clean());
    assert!(other.is_alive(), "the bystander");
}

async fn ends_by_time_out(member: &Member) {
    let (case, mut other) = (Case::new(), bystander());
    let mut run = case
        .started(&orch_core::process::RunSpec { timeout_ms: Some(1_500), ..spec_of(&case, member) })
        .await;
    let record = record_of(&mut run).await;
    case.assert_nothing_lives();
    assert_eq!(record.outcome, Outcome::TimedOut);
    assert!(record.swept.expect("swept").is_clean());
    assert!(other.is_alive(), "the bystander");
}

async fn ends_by_itself(member: &Member) {
    let (case, mut other) = (Case::new(), bystander());
    let mut run = case.started(&spec_of(&case, member)).await;
    settled(&case, member).await;
    std::fs::write(case.path("leave"), "").expect("leave");
    let record = record_of(&mut run).await;
    case.assert_nothing_lives();
    assert_eq!(record.outcome, Outcome::Exited { code: 0 });
    let swept = record.swept.expect("swept");
    assert!(swept.is_clean() && swept.killed >= 1, "{swept:?}");
    assert!(other.is_alive(), "the bystander");
}

async fn ends_with_its_supervisor(member: &Member) {
    let (case, mut other) = (Case::new(), bystander());
    let mut run = case.started(&spec_of(&case, member)).await;
    settled(&case, member).await;
    let program = case.run_dir().read_child().expect("read").expect("child").id;
    kill(run.supervisor().expect("identity").pid);
    assert_eq!(end_of(&mut run).await, RunEnd::SupervisorLost { cookie: case.cookie });
    until("the program to follow its supervisor", || {
        matches!(
            proc_identity::same(proc_identity::PROC_ROOT.as_ref(), program),
            proc_identity::Liveness::Gone | proc_identity::Liveness::Zombie
        )
    })
    .await;
    // else the sweep proves nothing; movers may have to be looked for more than once
    until("a survivor", || case.alive_by_cookie() >= 1).await;
    let swept = sweep(case.cookie);
    case.assert_nothing_lives();
    assert!(swept.is_clean() && swept.killed >= 1, "{swept:?}");
    assert!(other.is_alive(), "the bystander");
}

macro_rules! zoo {
    ($($name:ident: $member:ident,)*) => {$(
        mod $name {
            #[tokio::test]
            async fn leaves_nothing_when_stopped() { super::ends_by_stop(&super::$member).await; }
            #[tokio::test]
            async fn leaves_nothing_at_its_time_out() { super::ends_by_time_out(&super::$member).await; }
            #[tokio::test]
            async fn leaves_nothing_when_it_exits() { super::ends_by_itself(&super::$member).await; }
            #[tokio::test]
            async fn leaves_nothing_when_its_supervisor_is_killed_and_swept() {
                super::ends_with_its_supervisor(&super::$member).await;
            }
        }
    )*};
}

zoo! {
    a_double_fork: DOUBLE_FORK,
    a_session_of_its_own: SETSID,
    a_nohup_child: NOHUP,
    a_deaf_program: DEAF,
    a_pipe_holder: PIPE_HOLDER,
    a_bounded_fork_bomb: BOMB,
    a_line_of_movers: MOVERS,
    a_hundred_grandchildren: HUNDRED_GRANDCHILDREN,
    a_stopped_child: STOPPED,
    a_headless_process: HEADLESS,
}

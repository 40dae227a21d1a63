//! The reads against real processes of this host.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proc_identity::host::{Clocks, boot_id, clock_ticks_per_second, read_memory};
use proc_identity::{
    Liveness, PROC_ROOT, ProcRoot, ProcessId, State, list_pids, pids_with_cookie, read_cgroup, read_cmdline,
    read_limits, read_stat, read_status, same,
};

/// Ends and reaps its process whatever the test does.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "real processes are what these tests are about")]
fn sleeper() -> Guard {
    Guard(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep starts"))
}

#[expect(clippy::disallowed_methods, reason = "real processes are what these tests are about")]
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn root() -> &'static Path {
    Path::new(PROC_ROOT)
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("pid fits")
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("not within 5 s: {what}");
}

#[test]
fn an_exec_never_leaves_the_page_faults_as_they_were() {
    // the program it becomes is itself, so that nothing is new about its name, its size or its command line
    let script = "read go; exec sh -c \"$0\" \"$0\"";
    let mut command = shell(script);
    command.arg(script).stdin(Stdio::piped());
    let mut guard = Guard(command.spawn().expect("sh starts"));
    let pid = pid_of(&guard.0);
    let mut go = guard.0.stdin.take().expect("a pipe");
    for _ in 0..20 {
        let waits = || read_stat(root(), pid).is_ok_and(|stat| stat.state == State::Sleeping);
        until("the shell waits for a line", waits);
        let before = read_stat(root(), pid).expect("its stat");
        go.write_all(b"go\n").expect("it reads");
        until("its page faults grew", || read_stat(root(), pid).is_ok_and(|now| now.faults > before.faults));
        let again =
            || read_cmdline(root(), pid, 4096).is_ok_and(|line| line.words().any(|word| word == b"-c"));
        until("it is what it was", again);
    }
}

#[test]
fn this_process_reads_itself() {
    let own = i32::try_from(std::process::id()).expect("pid fits");
    let stat = read_stat(root(), own).expect("own stat");
    assert_eq!(stat.pid, own);
    let status = read_status(root(), own).expect("own status");
    assert_eq!((status.ppid, status.innermost_pid()), (stat.ppid, Some(own)));
    assert!(!read_cgroup(root(), own).expect("own cgroup").is_empty());
    let line = read_cmdline(root(), own, 4096).expect("own cmdline");
    assert!(line.words().next().is_some_and(|word| word.windows(4).any(|part| part == b"live")));
    let clocks = Clocks::now();
    let age_ms = clocks.age_ms(stat.start_ticks, clock_ticks_per_second());
    assert!((0..3_600_000).contains(&age_ms), "age {age_ms} ms");
    assert_eq!(boot_id(root()).expect("boot id").len(), 36);
    assert!(read_memory(root()).expect("meminfo").total_bytes > 1 << 20);
}

#[test]
fn a_pass_lists_a_new_process_with_a_stable_inode_and_forgets_a_reaped_one() {
    let mut child = sleeper();
    let pid = pid_of(&child.0);
    let mut proc = ProcRoot::open(root()).expect("proc");
    let (mut first, mut second) = (Vec::new(), Vec::new());
    proc.list_pids(&mut first).expect("first pass");
    proc.list_pids(&mut second).expect("second pass");
    assert!(first.is_sorted(), "the kernel lists in ascending order");
    let entry = first.iter().find(|(listed, _)| *listed == pid).expect("listed");
    assert!(second.contains(entry), "same inode in the next pass");
    child.0.kill().expect("kill");
    child.0.wait().expect("reap");
    list_pids(root(), &mut first).expect("third pass");
    assert!(!first.iter().any(|(listed, _)| *listed == pid));
}

#[test]
fn liveness_tells_alive_zombie_gone_and_reused() {
    let mut child = sleeper();
    let id = read_stat(root(), pid_of(&child.0)).expect("stat").id();
    assert_eq!(same(root(), id), Liveness::Alive);
    assert_eq!(
        same(root(), ProcessId { start_ticks: id.start_ticks + 1, ..id }),
        Liveness::Gone,
        "a younger namesake"
    );
    child.0.kill().expect("kill");
    until("zombie", || same(root(), id) == Liveness::Zombie);
    child.0.wait().expect("reap");
    assert_eq!(same(root(), id), Liveness::Gone);
    assert_eq!(same(Path::new("/nonexistent-proc"), id), Liveness::Unknown, "could not look is not gone");
}

#[test]
fn identity_survives_exec_and_stop_is_seen() {
    #[expect(clippy::disallowed_methods, reason = "real processes are what these tests are about")]
    let child = Guard(
        Command::new("sh")
            .args(["-c", "read go; exec sleep 60"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh starts"),
    );
    let mut child = child;
    let pid = pid_of(&child.0);
    let before = read_stat(root(), pid).expect("stat");
    drop(child.0.stdin.take());
    until("exec", || read_stat(root(), pid).expect("stat").comm == b"sleep");
    assert_eq!(read_stat(root(), pid).expect("stat").id(), before.id());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGSTOP).expect("stop");
    until("stopped", || read_stat(root(), pid).expect("stat").state == State::Stopped);
}

#[test]
fn a_cookie_is_inherited_and_found_by_the_scan() {
    // the soft limit is this process's own: nextest runs each test in a process of its own, and under plain
    // `cargo test` the neighbours do not look at it
    let (_, hard) = getrlimit(Resource::RLIMIT_LOCKS).expect("limit");
    let cookie = 4_000_000_000_000_000_000_u64 + u64::from(std::process::id());
    if hard <= cookie {
        panic!("this host limits file locks to {hard}: the cookie needs a hard limit above {cookie}");
    }
    setrlimit(Resource::RLIMIT_LOCKS, cookie, hard).expect("lower the soft limit");
    let child = sleeper();
    setrlimit(Resource::RLIMIT_LOCKS, hard, hard).expect("restore");
    let pid = pid_of(&child.0);
    assert_eq!(read_limits(root(), pid).expect("limits").cookie(), Some(cookie));
    let scan = pids_with_cookie(root(), cookie).expect("scan");
    assert_eq!(scan.marked.iter().map(|marked| marked.id.pid).collect::<Vec<_>>(), [pid]);
    drop(child);
    assert!(pids_with_cookie(root(), cookie).expect("scan").marked.is_empty());
}

#[test]
fn the_link_count_and_a_part_of_the_directory_say_what_a_whole_pass_says() {
    let mut proc = ProcRoot::open(root()).expect("proc");
    assert_eq!(proc.processes().expect("links"), None, "nothing is known before a pass");
    let before = proc.births().expect("births");
    assert_eq!(proc.list_between(before.last_pid, i32::MAX, &mut Vec::new()).expect("part"), None);

    let children: Vec<Guard> = (0..300).map(|_| sleeper()).collect();
    let pids: Vec<i32> = children.iter().map(|child| pid_of(&child.0)).collect();
    let (mut whole, mut part, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    let mut bounds = (0, 0);
    // others come and go: a look during which nobody did is wanted
    until("a quiet moment", || {
        let start = proc.births().expect("births");
        proc.list_pids(&mut whole).expect("listing");
        // the numbers go round once in a while: then the youngest are those above the first pid and those up to the last
        let round = start.last_pid < before.last_pid;
        bounds = (before.last_pid, if round { i32::MAX } else { start.last_pid });
        assert_eq!(proc.list_between(bounds.0, bounds.1, &mut part).expect("part"), Some(()));
        rest.clear();
        if round {
            assert_eq!(proc.list_between(0, start.last_pid, &mut rest).expect("part"), Some(()));
        }
        let all = proc.processes().expect("links").expect("known after a pass");
        proc.births().expect("births") == start && all == whole.len() as u64
    });
    let in_whole: Vec<(i32, u64)> =
        whole.iter().copied().filter(|(pid, _)| (bounds.0 + 1..=bounds.1).contains(pid)).collect();
    assert_eq!(part, in_whole);
    for pid in &pids {
        assert!(part.iter().chain(&rest).any(|(there, _)| there == pid), "{pid} is in no part");
    }
    let middle = pids.get(150).copied().expect("300 children");
    proc.list_between(middle, middle, &mut part).expect("part");
    assert!(part.is_empty(), "nobody stands above a pid and up to it");
}

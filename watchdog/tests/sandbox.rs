//! What the kernel denies to whoever confined itself, tried act by act; and that the real program is confined so.
//!
//! A confined process cannot be un-confined, so each test starts this very program again and lets that one try.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use orch_watchdog::sandbox::{Landlock, Writable, confine};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use support::until;

/// What the second process is told: the folder of the test, and whom to try its acts on.
const ORDERS: &str = "ORCH_TEST_CONFINED_ACTS";

/// Denied by Landlock to whoever writes.
const DENIED: &str = "EACCES";
/// Denied by Landlock to whoever signals.
const NOT_PERMITTED: &str = "EPERM";

/// A process that does not outlive the test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "the door through which these tests start programs")]
fn start(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// Runs `test` of this program again, with these orders, and returns what each act brought.
fn acts(test: &str, folder: &Path, port: u16) -> BTreeMap<String, String> {
    let victim = Guard(start("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap());
    let orders = format!("{} {port} {}", victim.0.id(), folder.display());
    let mut again = start(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ORDERS, orders);
    let said = again.output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}\n{}", String::from_utf8_lossy(&said.stderr));
    text.lines()
        .filter_map(|line| line.strip_prefix("act ")?.split_once(": "))
        .map(|(act, brought)| (act.to_owned(), brought.to_owned()))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "how the second process learns that it is the second")]
fn orders() -> Option<(i32, u16, PathBuf)> {
    let text = std::env::var(ORDERS).ok()?;
    let mut words = text.splitn(3, ' ');
    let mut next = || words.next().unwrap();
    Some((next().parse().unwrap(), next().parse().unwrap(), PathBuf::from(next())))
}

#[expect(clippy::print_stdout, reason = "how the second process answers the first")]
fn tell(act: impl Display, brought: Result<(), String>) {
    // the harness has begun a line of its own
    println!("\nact {act}: {}", brought.err().unwrap_or_else(|| "done".to_owned()));
}

/// By the kernel's name for the error.
fn named<T>(brought: io::Result<T>) -> Result<(), String> {
    brought.map(drop).map_err(|error| match error.raw_os_error() {
        Some(number) => format!("{:?}", nix::errno::Errno::from_raw(number)),
        None => error.to_string(),
    })
}

fn nixed<T>(brought: nix::Result<T>) -> Result<(), String> {
    brought.map(drop).map_err(|errno| format!("{errno:?}"))
}

fn rustixed<T>(brought: rustix::io::Result<T>) -> Result<(), String> {
    named(brought.map_err(io::Error::from))
}

/// Every way to change files below `place`, which holds the files `old`, `other` and the folder `folder`.
fn write_everywhere(named_as: &str, place: &Path, inside: &Path) {
    let at = |name: &str| place.join(name);
    let act = |act: &str, brought| tell(format_args!("{named_as} {act}"), brought);
    act("create", named(File::create(at("new"))));
    act("overwrite", named(OpenOptions::new().write(true).open(at("old"))));
    act("append", named(OpenOptions::new().append(true).open(at("old"))));
    act("cut", nixed(nix::unistd::truncate(&at("old"), 0)));
    act("make folder", named(fs::create_dir(at("made"))));
    act("remove folder", named(fs::remove_dir(at("folder"))));
    act("make pipe", nixed(nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU)));
    act("link by symbol", named(std::os::unix::fs::symlink("/etc", at("symbol"))));
    act("listen at a path", named(UnixListener::bind(at("socket"))));
    act("rename", named(fs::rename(at("other"), at("renamed"))));
    act("move out of the state", named(fs::rename(inside.join("movable"), at("moved"))));
    act("remove", named(fs::remove_file(at("old"))));
}

/// Owner of the files of somebody else.
const STRANGER: u32 = 4321;

/// What no version of Landlock covers: the kernel's own rule is all that stands.
fn restyle(named_as: &str, file: &Path) {
    let act = |act: &str, brought| tell(format_args!("{named_as} {act}"), brought);
    act("change mode", named(fs::set_permissions(file, fs::Permissions::from_mode(0o640))));
    act("give away", named(std::os::unix::fs::chown(file, Some(STRANGER + 1), None)));
    act(
        "set back its time",
        named(File::open(file).and_then(|file| file.set_modified(std::time::UNIX_EPOCH))),
    );
}

fn populate(place: &Path) {
    fs::create_dir_all(place.join("folder")).unwrap();
    for name in ["old", "other", "movable"] {
        fs::write(place.join(name), "as before").unwrap();
    }
}

fn signal(named_as: &str, victim: i32) {
    let act = |act: &str, brought| tell(format_args!("{named_as} {act}"), brought);
    act("kill", nixed(kill(Pid::from_raw(victim), Signal::SIGTERM)));
    act("ask whether it lives by signal 0", nixed(kill(Pid::from_raw(victim), None)));
    let victim = rustix::process::Pid::from_raw(victim).unwrap();
    let watched = pidfd_open(victim, PidfdFlags::empty());
    act("watch for its end", rustixed(watched.as_ref().map(|_| ()).map_err(|errno| *errno)));
    act("kill by descriptor", rustixed(pidfd_send_signal(watched.unwrap(), rustix::process::Signal::TERM)));
}

fn look(victim: i32) {
    let of = |file: &str| format!("/proc/{victim}/{file}");
    for file in ["environ", "maps", "mem", "io"] {
        // some are refused at open and some at read
        let read = File::open(of(file)).and_then(|file| file.take(1).read_to_end(&mut Vec::new()));
        tell(format_args!("inside {file}"), named(read));
    }
    for link in ["fd/0", "exe", "cwd", "root"] {
        tell(format_args!("inside {link}"), named(fs::read_link(of(link))));
    }
    for file in ["stat", "status", "cmdline", "comm", "statm", "cgroup", "schedstat", "limits"] {
        tell(format_args!("outside {file}"), named(fs::read(of(file))));
    }
    tell("own environ", named(fs::read("/proc/self/environ")));
    tell("own descriptors", named(fs::read_dir("/proc/self/fd")));
}

fn talk(port: u16) {
    let tcp = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.write_all(b"?")?;
        stream.read_exact(&mut [0])
    });
    tell("speak tcp", named(tcp));
    tell("resolve a name", named(("localhost", port).to_socket_addrs()));
    let udp = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"?", socket.local_addr()?));
    tell("speak udp", named(udp));
    tell("listen on a port", named(TcpListener::bind("127.0.0.1:0")));
    tell("read a file", named(fs::read("/etc/hosts")));
}

/// The second process: confines itself, tries, tells.
fn try_all(victim: i32, port: u16, folder: &Path) {
    let (state, elsewhere) = (folder.join("state"), folder.join("elsewhere"));
    let outside = UnixDatagram::bind(folder.join("notify")).unwrap();
    let before = File::create(folder.join("open-already")).unwrap();
    // a directory that does not exist yet is made first
    let confinement = confine(Writable::Below(&state)).unwrap();
    let granted = match confinement.landlock {
        Landlock::Enforced(abi) if abi >= 6 => Ok(()),
        Landlock::Enforced(_) | Landlock::Missing(_) | Landlock::Refused(_) => {
            Err(format!("{confinement:?}"))
        }
    };
    tell("confine", granted);
    populate(&state);
    // moved in before this started, so that there is something to move out
    write_everywhere("elsewhere", &elsewhere, &state);
    write_everywhere("state", &state, &state);
    tell("write to what was open", named((&before).write_all(b"x")));
    tell("open a device to write", named(OpenOptions::new().write(true).open("/dev/null")));
    let notified =
        UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", folder.join("notify")));
    tell("tell a service manager", named(notified));
    drop(outside);
    restyle("own file", &folder.join("own"));
    restyle("another's file", &folder.join("another's"));
    signal("thread itself", victim);
    tell("signal itself", nixed(kill(Pid::this(), None)));
    look(victim);
    talk(port);
    let later = std::thread::spawn(move || {
        tell("later thread create", named(File::create(elsewhere.join("late"))));
        signal("later thread", victim);
        tell("later thread environ", named(File::open(format!("/proc/{victim}/environ"))));
    });
    later.join().unwrap();
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    for line in ["NoNewPrivs:\t1", "CapInh:\t0000000000000000"] {
        tell(
            line.replace('\t', " ").replace(':', ""),
            if status.contains(line) { Ok(()) } else { Err(status.clone()) },
        );
    }
}

#[test]
fn a_confined_process_changes_nothing_elsewhere_signals_nobody_and_reads_on() {
    if let Some((victim, port, folder)) = orders() {
        return try_all(victim, port, &folder);
    }
    let folder = tempfile::tempdir().unwrap();
    populate(&folder.path().join("elsewhere"));
    for file in ["own", "another's"] {
        fs::write(folder.path().join(file), "as before").unwrap();
    }
    let another = folder.path().join("another's");
    assert!(nix::unistd::geteuid().is_root(), "this test needs root, to make a file of somebody else");
    std::os::unix::fs::chown(&another, Some(STRANGER), None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"!").unwrap();
    });
    let test = "a_confined_process_changes_nothing_elsewhere_signals_nobody_and_reads_on";
    let found = acts(test, folder.path(), port);
    peer.join().unwrap();

    let mut wanted = BTreeMap::new();
    let mut want = |place: &str, acts: &[&str], brought: &str| {
        for act in acts {
            wanted.insert(format!("{place}{act}"), brought.to_owned());
        }
    };
    let files = [
        "create",
        "overwrite",
        "append",
        "cut",
        "make folder",
        "remove folder",
        "listen at a path",
        "rename",
        "remove",
    ];
    want("elsewhere ", &files, DENIED);
    want("elsewhere ", &["make pipe", "link by symbol", "move out of the state"], DENIED);
    want("state ", &files, "done");
    want("state ", &["move out of the state"], "done");
    want("state ", &["make pipe", "link by symbol"], DENIED);
    want("", &["confine", "write to what was open", "tell a service manager", "signal itself"], "done");
    want("", &["open a device to write", "later thread create", "later thread environ"], DENIED);
    for thread in ["thread itself ", "later thread "] {
        want(thread, &["kill", "ask whether it lives by signal 0", "kill by descriptor"], NOT_PERMITTED);
        want(thread, &["watch for its end"], "done");
    }
    want("inside ", &["environ", "maps", "mem", "io", "fd/0", "exe", "cwd", "root"], DENIED);
    want(
        "outside ",
        &["stat", "status", "cmdline", "comm", "statm", "cgroup", "schedstat", "limits"],
        "done",
    );
    want("", &["own environ", "own descriptors", "read a file"], "done");
    want("", &["speak tcp", "speak udp", "resolve a name", "listen on a port"], "done");
    // the bound of this confinement, which the ADR states: what its user owns it may restyle, and nothing else
    want("own file ", &["change mode", "set back its time"], "done");
    want("own file ", &["give away"], NOT_PERMITTED);
    want("another's file ", &["change mode", "give away", "set back its time"], NOT_PERMITTED);
    want("", &["NoNewPrivs 1", "CapInh 0000000000000000"], "done");
    assert_eq!(found, wanted);
    for file in ["old", "other", "movable"] {
        assert_eq!(text_of(&folder.path().join("elsewhere").join(file)), "as before", "{file}");
    }
}

#[test]
fn a_verb_that_keeps_no_state_may_write_nowhere() {
    if let Some((_, _, folder)) = orders() {
        confine(Writable::Nowhere).unwrap();
        return write_everywhere("anywhere", &folder, &folder);
    }
    let folder = tempfile::tempdir().unwrap();
    populate(folder.path());
    let found = acts("a_verb_that_keeps_no_state_may_write_nowhere", folder.path(), 1);
    assert_eq!(found.len(), 12);
    assert!(found.values().all(|brought| brought == DENIED), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_program_writes_through_no_symbolic_link_and_every_thread_of_it_is_stripped() {
    let folder = tempfile::tempdir().unwrap();
    let (state, precious) = (folder.path().join("state"), folder.path().join("precious"));
    fs::create_dir(&state).unwrap();
    fs::write(&precious, "as before").unwrap();
    // permissions would let root write there
    std::os::unix::fs::symlink(&precious, state.join("state.json.new")).unwrap();
    let log = folder.path().join("log");
    let settings = [
        ("WATCHDOG_STATE_DIR", state.to_str().unwrap()),
        ("WATCHDOG_BIND", "127.0.0.1:0"),
        ("WATCHDOG_TICK_S", "0.1"),
        ("WATCHDOG_CORE_URL", "http://127.0.0.1:9"),
        ("NO_COLOR", "1"),
    ];
    let mut watchdog = start(env!("CARGO_BIN_EXE_orch-watchdog"));
    watchdog.arg("run").env_clear().envs(settings).stderr(File::create(&log).unwrap());
    let watchdog = Guard(watchdog.spawn().unwrap());
    until("a save that fails", async || text_of(&log).contains("could not save the state").then_some(()))
        .await;
    assert!(text_of(&log).contains("Too many levels of symbolic links"), "{}", text_of(&log));
    assert_eq!(text_of(&precious), "as before");

    let lock = text_of(&state.join("lock"));
    let pid = lock.strip_prefix("pid ").unwrap().split(' ').next().unwrap();
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = text_of(&thread.unwrap().path().join("status"));
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        // what is left of root's: files of others, and ports below 1024
        let left = u64::from_str_radix(&value("CapPrm:"), 16).unwrap() & !0b100_0000_0110;
        assert_eq!((value("NoNewPrivs:").as_str(), left), ("1", 0), "{status}");
        assert_eq!(value("CapInh:"), "0000000000000000");
        threads += 1;
    }
    assert!(threads > 1, "the state writer is a thread");
    drop(watchdog);
}

#[test]
fn check_config_says_what_a_run_would_be_held_to() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut check = start(env!("CARGO_BIN_EXE_orch-watchdog"));
    let said = check.arg("check-config").env_clear().env("WATCHDOG_STATE_DIR", &state).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let words = format!("run here it would be confined: writes below {} only, no signals", state.display());
    assert!(said.status.success() && text.contains(&words), "{text}");
    assert!(!state.exists(), "to check is to change nothing");
}

/// The whole of a file, empty when there is none.
fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

//! Real process trees on demand, and a watchdog's middle that looks at them.
//!
//! A keeper adopts whatever its descendants leave behind and obeys one Python expression a line, so that a tree can be
//! built and broken step by step. When the zoo is dropped the keeper ends everything that hangs from it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_contract::ObservationDocument;
use orch_watchdog::cases::{AlertState, Notice, NoticeKind, Policy, decide};
use orch_watchdog::observe::{Collected, CoreObservation, CoreSight, Family, Observation, ProcObservation};
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings, CoreHint};
use orch_watchdog::proc_watch::judge_family;
use orch_watchdog::signals::{CaseKey, Context, Memory, Saving, SignalKind, Thresholds, derive};
use proc_identity::host::Clocks;
use proc_identity::{Liveness, PROC_ROOT, ProcessId, read_stat, same};
use tempfile::TempDir;

use crate::defaults;

/// The keeper. `tini` is called like a reaper that everybody knows, and has lived for longer than a main command may
/// take to start before it obeys; `nameless` is a subreaper that nothing gives away.
const KEEPER: &str = r#"
import ctypes, os, resource, signal, subprocess, sys, time
libc = ctypes.CDLL(None)
libc.prctl(36, 1, 0, 0, 0)
if sys.argv[1] == "tini":
    libc.prctl(15, b"tini", 0, 0, 0)
    begun = time.monotonic()
    while time.monotonic() - begun < 2.5:
        time.sleep(0.05)
here = os.path.dirname(os.path.abspath(__file__))
def cookie(number):
    return lambda: resource.setrlimit(10, (number, number))
def run(*argv, **more):
    return subprocess.Popen(argv, start_new_session=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, **more).pid
def as_name(name, *argv):
    # what an interpreter is called when it runs a file is its caller's business: `vim pytest.ini` is that, to the letter
    return subprocess.Popen((name,) + argv, executable=sys.executable, start_new_session=True, cwd=here,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid
def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]
for line in sys.stdin:
    print(eval(line), flush=True)
    reap()
while children():
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    reap()
    time.sleep(0.01)
"#;

/// What the tests call a test run: a script of that name. Its workers have the command line of pytest-xdist's, to the
/// letter, and compute for ever.
const PYTEST: &str = r#"
import ctypes, os, platform, subprocess, sys, threading, time
for _ in range(sum(int(word[2:]) for word in sys.argv if word.startswith("-n"))):
    worker = subprocess.Popen([sys.executable, "-u", "-c", "import sys;exec(eval(sys.stdin.readline()))"],
                              stdin=subprocess.PIPE, start_new_session="--setsid" in sys.argv)
    worker.stdin.write(b"'while True: pass'\n" if "--burn" in sys.argv else b"'import time; time.sleep(600)'\n")
    worker.stdin.flush()
if "--leader-leaves" in sys.argv:
    threading.Thread(target=time.sleep, args=(600,)).start()
    while not os.path.exists(os.path.join(os.path.dirname(sys.argv[0]), "leave")):
        time.sleep(0.02)
    # exit(2) of this thread alone
    ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
time.sleep(600)
"#;

/// Trees below a keeper.
pub(crate) struct Zoo {
    folder: TempDir,
    keeper: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Zoo {
    /// A keeper called like a reaper, below `wrapper` if there is one.
    pub(crate) fn of_tini(wrapper: &[&str]) -> Self {
        Self::new("tini", wrapper)
    }

    /// A keeper that nothing gives away.
    pub(crate) fn nameless() -> Self {
        Self::new("nameless", &[])
    }

    #[expect(clippy::disallowed_methods, reason = "real processes are what these tests are about")]
    fn new(name: &str, wrapper: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("pytest"), PYTEST).expect("a script");
        std::fs::write(folder.path().join("keeper.py"), KEEPER).expect("a script");
        let mut words: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
        let keeper = folder.path().join("keeper.py").display().to_string();
        words.extend(["python3".to_owned(), keeper, name.to_owned()]);
        let mut keeper = Command::new(words.first().expect("a word"))
            .args(words.iter().skip(1))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the keeper starts");
        let (orders, answers) = (keeper.stdin.take(), keeper.stdout.take().expect("a pipe"));
        Self { folder, keeper, orders, answers: BufReader::new(answers) }
    }

    /// Has the keeper evaluate an expression.
    pub(crate) fn order(&mut self, expression: &str) -> String {
        let orders = self.orders.as_mut().expect("open");
        writeln!(orders, "{expression}").expect("the keeper listens");
        orders.flush().expect("the keeper listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("an answer");
        answer.trim().to_owned()
    }

    /// An order that starts a process: who that is.
    pub(crate) fn start(&mut self, expression: &str) -> ProcessId {
        id_of(self.order(expression).parse().expect("a pid"))
    }

    /// The keeper, or what it is wrapped in: an ancestor of everything here.
    pub(crate) fn top(&self) -> i32 {
        i32::try_from(self.keeper.id()).expect("pid")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Path of the stand-in for pytest.
    pub(crate) fn script(&self) -> String {
        self.folder.path().join("pytest").display().to_string()
    }

    /// A shell in a session of its own that starts a test run and waits for it: (shell, test run).
    pub(crate) fn shell_with_run(&mut self, arguments: &str, more: &str) -> (ProcessId, ProcessId) {
        let script = self.script();
        self.order(&format!("run('sh', '-c', 'python3 {script} {arguments} & wait'{more})"));
        let run = wait_for("the test run", || self.runs().first().copied());
        (id_of(read_stat(root(), run.pid).expect("stat").ppid), run)
    }

    /// The test runs of this zoo, by its own script's path.
    pub(crate) fn runs(&self) -> Vec<ProcessId> {
        let script = self.script();
        let mut pids = Vec::new();
        proc_identity::list_pids(root(), &mut pids).expect("a listing");
        let is_mine = |pid: i32| {
            proc_identity::read_cmdline(root(), pid, 4096).is_ok_and(|line| {
                let words: Vec<&[u8]> = line.words().collect();
                words.get(1).is_some_and(|word| *word == script.as_bytes())
                    && words.first().is_some_and(|word| word.ends_with(b"python3"))
            })
        };
        pids.iter()
            .map(|(pid, _)| *pid)
            .filter(|pid| is_mine(*pid))
            .filter_map(|pid| read_stat(root(), pid).ok().map(|stat| stat.id()))
            .collect()
    }
}

impl Drop for Zoo {
    fn drop(&mut self) {
        // told by the end of its orders, the keeper ends everybody and then itself
        self.orders.take();
        for _ in 0..1000 {
            if !matches!(self.keeper.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.keeper.kill().ok();
        self.keeper.wait().ok();
    }
}

/// The middle of a watchdog without graces, over what hangs from a zoo. Its wall clock runs a minute a tick.
pub(crate) struct Watch {
    pub(crate) collector: Collector,
    settings: CollectorSettings,
    memory: Memory,
    alerts: AlertState,
    now_ms: i64,
    top: i32,
    /// The core's word; without one no core is configured.
    pub(crate) document: Option<ObservationDocument>,
    /// From which awake age on a family blocks.
    pub(crate) age_limit_ms: i64,
    /// How much longer than in truth a tick is taken to last, so that the CPU of a program's start does not count as
    /// spinning.
    pub(crate) tick_ms: i64,
    stretched_ms: i64,
}

impl Watch {
    /// Another life with what the state file of this one would hold of families.
    pub(crate) fn restart(&mut self) {
        let kept = self.collector.memory().clone();
        self.collector = Collector::new(self.settings.clone(), Some(kept)).expect("a collector");
    }

    pub(crate) fn over(zoo: &Zoo) -> Self {
        Self::with(zoo.top(), root(), "pytest")
    }

    /// Looks below another root, or for something else.
    pub(crate) fn with(top: i32, proc_root: &Path, patterns: &str) -> Self {
        let settings = CollectorSettings {
            proc_root: proc_root.to_owned(),
            patterns: Pattern::parse_list(patterns).expect("patterns"),
            refresh_ms: 600_000,
            age_marks_ms: Vec::new(),
        };
        Self {
            collector: Collector::new(settings.clone(), None).expect("a collector"),
            settings,
            memory: Memory::default(),
            alerts: AlertState::default(),
            now_ms: Clocks::now().realtime_ms,
            top,
            document: None,
            age_limit_ms: 3_600_000,
            tick_ms: 15_000,
            stretched_ms: 0,
        }
    }

    /// One pass: the families that hang from the zoo.
    pub(crate) fn look(&mut self) -> Vec<Family> {
        self.pass().families
    }

    /// The family of one process.
    pub(crate) fn family_of(&mut self, id: ProcessId) -> Option<Family> {
        let is_in = |family: &Family| family.members.iter().any(|member| member.key.pid == id.pid);
        self.look().into_iter().find(is_in)
    }

    fn pass(&mut self) -> ProcObservation {
        let hint = self.document.as_ref().map(CoreHint::from_document);
        self.stretched_ms += self.tick_ms;
        let now = Clocks::now();
        let clocks = Clocks { monotonic_ms: now.monotonic_ms + self.stretched_ms, ..now };
        let mut observation = match self.collector.pass(&clocks, hint.as_ref()) {
            Collected::Fresh(observation) => observation,
            Collected::Unavailable(why) => panic!("unavailable: {why}"),
            Collected::Off => panic!("off"),
        };
        let table = self.collector.table();
        let hangs_here = |pid: i32| {
            table.get(pid).is_some_and(|row| {
                row.pid == self.top || table.ancestors(row).any(|ancestor| ancestor.pid == self.top)
            })
        };
        observation.families.retain(|family| family.members.iter().any(|it| hangs_here(it.key.pid)));
        observation
    }

    /// One tick: what is told of processes.
    pub(crate) fn tick(&mut self) -> Vec<Notice> {
        let proc = self.pass();
        self.now_ms += 60_000;
        let heard = self.document.as_ref().map(|document| CoreObservation {
            document: ObservationDocument { generated_at_ms: self.now_ms, ..document.clone() },
            received_at_ms: self.now_ms,
        });
        let core = heard.clone().map_or(CoreSight::Off, |heard| CoreSight::Heard(Arc::new(heard)));
        let observation =
            Observation { at_ms: self.now_ms, proc: Collected::Fresh(proc), core, host: Collected::Off };
        let open: Vec<CaseKey> = self.alerts.open().map(|(key, _)| key.clone()).collect();
        let thresholds =
            Thresholds { proc_age_ms: self.age_limit_ms, foreign_grace_ms: 0, ..defaults::thresholds() };
        let context = Context {
            saving: &Saving { fault: None, proven: true },
            last_heard: heard.as_ref(),
            open: &open,
            channels: &[],
            thresholds: &thresholds,
            judge: &judge_family,
        };
        let states = derive(&observation, &context, &mut self.memory);
        let (alerts, notices) = decide(self.alerts.clone(), &states, self.now_ms, &Policy::default());
        self.alerts = alerts;
        notices.into_iter().filter(|it| it.finding.signal.slot() == SignalKind::ProcBlocking).collect()
    }

    /// Ticks until something is told.
    pub(crate) fn told(&mut self, what: &str) -> Vec<Notice> {
        wait_for(what, || {
            let notices = self.tick();
            (!notices.is_empty()).then_some(notices)
        })
    }

    /// Ticks until one alert is told: of what.
    pub(crate) fn alert(&mut self, what: &str) -> Notice {
        let notices = self.told(what);
        assert!(matches!(notices.as_slice(), [one] if one.kind.is_alert()), "{what}: {notices:#?}");
        notices.into_iter().next().expect("one")
    }

    /// Ticks until one recovery is told.
    pub(crate) fn recovery(&mut self, what: &str) -> Notice {
        let notices = self.told(what);
        let one = matches!(notices.as_slice(), [Notice { kind: NoticeKind::Recovered { .. }, .. }]);
        assert!(one, "{what}: {notices:#?}");
        notices.into_iter().next().expect("one")
    }

    /// Some ticks in which nothing may be told.
    pub(crate) fn silence(&mut self, what: &str) {
        for _ in 0..5 {
            let notices = self.tick();
            assert!(notices.is_empty(), "{what}: {notices:#?}");
        }
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(PROC_ROOT)
}

pub(crate) fn id_of(pid: i32) -> ProcessId {
    read_stat(root(), pid).expect("stat").id()
}

pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 20 s: {what}");
}

/// Kills one process and waits until it has ended.
pub(crate) fn end(id: ProcessId) {
    send(id, Signal::SIGKILL);
    wait_for("its end", || (same(root(), id) != Liveness::Alive).then_some(()));
}

/// Sends a signal to a process that is known to be this one.
pub(crate) fn send(id: ProcessId, signal: Signal) {
    assert_eq!(same(root(), id), Liveness::Alive);
    kill(Pid::from_raw(id.pid), signal).expect("a signal");
}

/// What `unshare` needs to make a pid namespace here.
pub(crate) fn unshare_pid() -> Vec<&'static str> {
    let mut words = vec!["unshare", "--pid", "--fork", "--mount-proc"];
    if !nix::unistd::geteuid().is_root() {
        words.extend(["--user", "--map-root-user"]);
    }
    words
}

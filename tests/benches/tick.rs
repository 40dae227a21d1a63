//! What a tick of the watchdog costs, against the bare directory pass and a Python scan of the same host.
//!
//! `cargo bench -p orch-tests --bench tick [-- N…]` starts N idle processes (1,000, then 5,000) and prints CPU time a pass,
//! medians of one run with pauses in between as in life, once in peace and once while 50 processes a second come and
//! go; the rotation, the poll of the core and the write of the state have lines of their own. It asserts nothing: ratios are for
//! people to read.

#![expect(clippy::expect_used, reason = "a bench that cannot start has nothing to say")]

use std::io::{Write, stdout};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use orch_tests::crowd::{Churn, Crowd};
use orch_tests::documents;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_watchdog::clock;
use orch_watchdog::core_view::ReadOnlyClient;
use orch_watchdog::host;
use orch_watchdog::observe::{Collected, CoreSight};
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings};
use orch_watchdog::store::{Durable, Store};
use orch_watchdog::trust::Trust;
use proc_identity::ProcRoot;
use proc_identity::host::Clocks;
use rustix::time::{ClockId, clock_gettime};

/// Idle processes, one table each, unless the command line says otherwise.
const PROCESSES: [usize; 2] = [1_000, 5_000];
/// Passes of each kind.
const PASSES: usize = 21;
/// Pause between two passes.
const PAUSE: Duration = Duration::from_millis(100);
/// The tick that the collector is told of, milliseconds.
const TICK_MS: i64 = 15_000;
const REFRESH_MS: i64 = 900_000;

const PYTHON: &str = r#"
import os, resource, sys, time
def scan():
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        for file in ("stat", "cmdline"):
            try:
                with open(f"/proc/{name}/{file}", "rb") as opened:
                    opened.read()
            except OSError:
                pass
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
scan()
costs = []
for _ in range(int(sys.argv[1])):
    time.sleep(0.1)
    before = cpu()
    scan()
    costs.append(cpu() - before)
print(sorted(costs)[len(costs) // 2] * 1e6)
"#;

/// The cold pass as C would do it: the directory, and `stat` and `cmdline` of every process, each opened below the
/// directory and read whole into one buffer.
const C: &str = r#"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
static char buffer[1 << 16];
static void take(int proc, const char *pid, const char *file) {
    char path[64];
    snprintf(path, sizeof path, "%s/%s", pid, file);
    int opened = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (opened < 0) return;
    while (read(opened, buffer, sizeof buffer) > 0) {}
    close(opened);
}
static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
}
static int compare(const void *left, const void *right) {
    double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}
int main(int count, char **words) {
    int passes = atoi(words[1]);
    double *costs = calloc(passes, sizeof *costs);
    for (int at = 0; at < passes; at++) {
        usleep(100000);
        double before = cpu();
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(proc));) {
            if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
            take(dirfd(proc), entry->d_name, "stat");
            take(dirfd(proc), entry->d_name, "cmdline");
        }
        closedir(proc);
        costs[at] = cpu() - before;
    }
    qsort(costs, passes, sizeof *costs, compare);
    printf("%f\n", costs[passes / 2]);
}
"#;

#[expect(clippy::disallowed_methods, reason = "Python is what is compared with")]
fn python_us() -> f64 {
    let output = Command::new("python3")
        .args(["-c", PYTHON, &PASSES.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("python3 runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

#[expect(clippy::disallowed_methods, reason = "C is what is compared with")]
fn c_us() -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, program) = (folder.path().join("cold.c"), folder.path().join("cold"));
    std::fs::write(&source, C).expect("written");
    let built = Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(&source).status().expect("cc runs");
    assert!(built.success(), "cc refused the program");
    let output = Command::new(&program).arg(PASSES.to_string()).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// CPU of this thread so far, microseconds.
fn cpu_us() -> f64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec as f64 * 1e6 + used.tv_nsec as f64 / 1e3
}

fn median(mut pass: impl FnMut(usize)) -> f64 {
    let mut costs: Vec<f64> = (0..PASSES)
        .map(|at| {
            std::thread::sleep(PAUSE);
            let before = cpu_us();
            pass(at);
            cpu_us() - before
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    costs.get(PASSES / 2).copied().unwrap_or(f64::NAN)
}

fn collector(refresh_ms: i64) -> Collector {
    let settings = CollectorSettings {
        proc_root: "/proc".into(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        refresh_ms,
        age_marks_ms: vec![30_000, 1_800_000, 3_600_000],
    };
    Collector::new(settings, None).expect("a collector")
}

/// The clocks as they will be so many ticks from now.
fn later(start: Clocks, tick: usize) -> Clocks {
    let after_ms = TICK_MS * i64::try_from(tick).unwrap_or(0);
    Clocks {
        realtime_ms: start.realtime_ms + after_ms,
        boottime_ms: start.boottime_ms + after_ms,
        monotonic_ms: start.monotonic_ms + after_ms,
    }
}

/// Passes until nothing is young any more, then the median of steady ones.
fn steady(refresh_ms: i64) -> f64 {
    let mut collector = collector(refresh_ms);
    let start = Clocks::now();
    for tick in 0..6 {
        assert!(
            matches!(collector.pass(&later(start, tick), None), Collected::Fresh(_)),
            "the host can be read"
        );
    }
    median(|at| drop(collector.pass(&later(start, 6 + at), None)))
}

/// A poll of a core that has nothing to do, over a connection that is kept: the client's half.
fn core_poll() -> f64 {
    let serving = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let serving = serving.expect("a runtime for the core");
    let document = CoreBehaviour::Document(Box::new(documents::idle(clock::wall_ms())));
    let core = serving.block_on(FakeCore::start(document, None)).expect("a core");
    let client = ReadOnlyClient::new(&core.url(), None, Duration::from_secs(5), &Trust::default());
    let client = client.expect("a client");
    let polling = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let poll = |_| {
        let sight = polling.block_on(client.poll(clock::wall_ms));
        assert!(matches!(sight, CoreSight::Heard(_)), "{sight:?}");
    };
    poll(0);
    median(poll)
}

/// A write of the state, `fsync` included, as it is with ten families. It happens when something is told or a family comes
/// or goes, on a thread of its own.
fn state_write() -> f64 {
    let _matched = Crowd::start(10, 10).expect("a crowd");
    let mut collector = collector(REFRESH_MS);
    drop(collector.pass(&Clocks::now(), None));
    assert!(collector.memory().families.len() >= 10, "the families were seen");
    let state = Durable { proc: Some(collector.memory().clone()), ..Durable::default() };
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), 0).expect("a state directory").store;
    median(|_| store.save(&state, 0).expect("saved"))
}

fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let sizes = if asked.is_empty() { PROCESSES.to_vec() } else { asked };
    for size in sizes {
        table(size);
    }
}

/// One size, one table.
fn table(size: usize) {
    let crowd = Crowd::start(size, 0).expect("a crowd");
    let mut root = ProcRoot::open(Path::new("/proc")).expect("a proc tree");
    let mut pairs = Vec::new();
    root.list_pids(&mut pairs).expect("a listing");
    let listed = pairs.len();

    let bare = median(|_| root.list_pids(&mut pairs).expect("a listing"));
    let without_rotation = steady(i64::MAX);
    let with_rotation = steady(REFRESH_MS);
    let cold = median(|_| drop(collector(REFRESH_MS).pass(&Clocks::now(), None)));
    let c = c_us();
    let python = python_us();
    let churn = Churn::start();
    let bare_churned = median(|_| root.list_pids(&mut pairs).expect("a listing"));
    let churned = steady(REFRESH_MS);
    drop((churn, crowd));
    let (polled, looked) = (core_poll(), median(|_| drop(host::look(Path::new("/proc")))));
    let written = state_write();

    let mut out = stdout().lock();
    writeln!(
        out,
        "\n{listed} processes, medians of {PASSES} passes\n{:<52} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "µs CPU", "a process", "× bare", "× C", "Python ×"
    )
    .expect("written");
    let mut row = |name: &str, cost: f64| {
        writeln!(
            out,
            "{name:<52} {cost:>9.0} {:>9.3} {:>9.2} {:>9.2} {:>9.1}",
            cost / listed as f64,
            cost / bare,
            cost / c,
            python / cost
        )
        .expect("written");
    };
    row("bare directory pass", bare);
    row("steady tick, families and diff", without_rotation);
    row("steady tick with the rotation", with_rotation);
    row("bare directory pass, 50 processes a second", bare_churned);
    row("steady tick with the rotation, 50 processes a second", churned);
    row("poll of the core", polled);
    row("look at pressure and memory of the host", looked);
    row("write of the state, when something is told", written);
    row("cold pass: self-test, stat and cmdline of all", cold);
    row("C, stat and cmdline of all", c);
    row("Python stdlib, stat and cmdline of all", python);
}

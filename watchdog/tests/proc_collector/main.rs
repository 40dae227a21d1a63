//! The collector over written trees: a written host and container, and the rooms that look at them.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

mod families;
mod lineage;
mod passes;
#[path = "../proc_support/mod.rs"]
mod proc_support;
mod recorded;

use orch_contract::ProcessRef;
use orch_watchdog::observe::{Collected, Family, ProcObservation};
use orch_watchdog::proc::hint::HintedRun;
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings, CoreHint, ProcMemory};
use proc_identity::host::Clocks;

use proc_support::{Fake, Tree};

/// Boot time of the written host.
pub(crate) const NOW_MS: i64 = 100_000_000;

pub(crate) fn clocks(after_ms: i64) -> Clocks {
    Clocks {
        realtime_ms: 1_700_000_000_000 + after_ms,
        boottime_ms: NOW_MS + after_ms,
        monotonic_ms: NOW_MS + after_ms,
    }
}

pub(crate) fn collector_of(tree: &Tree, memory: Option<ProcMemory>) -> Collector {
    let settings = CollectorSettings {
        proc_root: tree.path().to_owned(),
        patterns: Pattern::parse_list("pytest").expect("patterns"),
        refresh_ms: 900_000,
        age_marks_ms: Vec::new(),
    };
    Collector::new(settings, memory).expect("a collector")
}

pub(crate) fn fresh(collected: Collected<ProcObservation>) -> ProcObservation {
    match collected {
        Collected::Fresh(observation) => observation,
        Collected::Unavailable(why) => panic!("unavailable: {why}"),
        Collected::Off => panic!("off"),
    }
}

pub(crate) fn pass(collector: &mut Collector, after_ms: i64) -> ProcObservation {
    fresh(collector.pass(&clocks(after_ms), None))
}

pub(crate) fn members(family: &Family) -> Vec<i32> {
    family.members.iter().map(|member| member.key.pid).collect()
}

pub(crate) fn only(observation: &ProcObservation) -> &Family {
    assert_eq!(observation.families.len(), 1, "{:#?}", observation.families);
    observation.families.first().expect("one")
}

pub(crate) const WORKER: &str = "import sys;exec(eval(sys.stdin.readline()))";

/// A login shell (100) with a dev server (150) and a parallel test run (200 with workers 201, 202).
pub(crate) fn host() -> Tree {
    let tree = Tree::new();
    tree.put(
        &Fake::new(50, 1, &["sshd"]).leader().with(|it| it.cgroup = "0::/system.slice/ssh.service\n".into()),
    );
    tree.put(&Fake::new(100, 50, &["-bash"]).leader());
    tree.put(&Fake::new(150, 100, &["node", "server.js"]).with(|it| it.pgid = 150));
    tree.put(
        &Fake::new(200, 100, &["python3", "-m", "pytest", "-n2"]).with(|it| (it.pgid, it.sid) = (200, 100)),
    );
    for pid in [201, 202] {
        tree.put(&Fake::new(pid, 200, &["python3", "-u", "-c", WORKER]).with(|it| it.sid = 100));
    }
    tree
}

/// A container: shim 80, init 500 (1 inside), and what the test adds.
pub(crate) fn container() -> Tree {
    let tree = Tree::new();
    tree.put(&Fake::new(80, 1, &["containerd-shim"]).leader());
    tree.put(&Fake::new(500, 80, &["tini", "--", "serve"]).leader().with(|it| inside(it, 1)));
    tree
}

pub(crate) fn inside(fake: &mut Fake, inner: i32) {
    fake.ns_pids = Some(vec![fake.pid, inner]);
    fake.cgroup = format!("0::/../docker-{}.scope\n", "0123456789abcdef".repeat(4));
}

pub(crate) fn hint(live: bool) -> CoreHint {
    CoreHint {
        core: Some(ProcessRef { pid: 12, start_ticks: 510_000 }),
        core_started_at_ms: 0,
        runs: vec![HintedRun {
            cookie: 77,
            live,
            started_at_ms: 0,
            supervisor: Some(ProcessRef { pid: 13, start_ticks: 520_000 }),
            child: Some(ProcessRef { pid: 14, start_ticks: 530_000 }),
        }],
    }
}

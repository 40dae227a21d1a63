//! Who owns a family: the rules as a table, over the core's document.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

use orch_contract::ObservationDocument;
use orch_watchdog::observe::{Cookie, Family, Lineage, ProcessKey, Reaper, Supervisor, Unclear};
use orch_watchdog::proc::container;
use orch_watchdog::proc::ownership::{CoreKnowledge, Verdict, judge};
use serde_json::{Value, json};

const NOW_MS: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn gate() -> Value {
    json!({"enabled": true, "scope": "all", "running": [], "counts": [], "skipped_total": 0, "last_failure": null})
}

fn tree(cookie: &str, ended: bool) -> Value {
    json!({
        "kind": "agent", "run_id": 12, "work_item": "ORCH-114", "cookie": cookie,
        "child": {"pid": 30, "start_ticks": 5}, "pgid": 30, "sid": 30, "supervisor": {"pid": 29, "start_ticks": 4},
        "started_at_ms": NOW_MS - HOUR_MS, "timeout_ms": 1000,
        "ended_at_ms": if ended { json!(NOW_MS - 60_000) } else { Value::Null },
        "outcome": if ended { json!("timed out") } else { Value::Null },
    })
}

fn document(trees: &[Value], omitted: u64) -> ObservationDocument {
    serde_json::from_value(json!({
        "schema_version": 1, "generated_at_ms": NOW_MS,
        "core": {"version": "0", "boot_id": "b", "pid": 1, "start_ticks": 1, "started_at_ms": 0, "host": "h", "state": "ready"},
        "counts": [], "slots": {"agents_max": 1, "agents_free": 1, "repos": []}, "actors": [], "tasks": [],
        "queued_jobs": [], "running_jobs": [], "processes": trees, "processes_omitted": omitted, "leases": [],
        "transition_lease": {"enabled": true, "scope": "all", "grants_total": 0, "deferrals_total": 0,
            "reclaims_total": {"dead_boot": 0, "dead_owner": 0, "forced": 0, "overdue": 0}, "lost_cas_total": 0},
        "merge_gate": gate(), "coverage_gate": gate(), "security_gate": gate(), "image_gate": gate(), "staging": gate(),
        "reaper": {"enabled": true, "dead_grace_ms": 0, "finalize_grace_ms": 0, "max_running_ms": 0,
            "dead_runs_total": 0, "unsettled_total": 0, "overdue_total": 0, "failures_total": 0},
        "reconciler": {"enabled": true, "woken_total": 0, "drift_total": 0, "failures_total": 0},
        "webhooks": {"sources": []},
        "chat": {"channel": "log", "up": null, "pending": 0, "attempts_total": 0, "failures_total": 0},
        "timeouts": {"entries": [], "largest_ms": 0, "edge_sum_ms": 0}, "data_dir": null,
    }))
    .expect("a document")
}

fn reparented(leader_alive: bool) -> Lineage {
    Lineage::Reparented { parent_pid: 1, reaper: Reaper::HostInit, leader_alive }
}

fn child() -> Lineage {
    Lineage::Child { parent_pid: 5, root_name: "sshd".to_owned() }
}

fn family(cookie: Cookie, lineage: Lineage, age_ms: i64, core_linked: bool) -> Family {
    Family {
        key: ProcessKey { host_boot_id: "boot".to_owned(), pid: 600, start_ticks: 7 },
        command: "pytest".to_owned(),
        matched_by: "pytest: argv[0]".to_owned(),
        members: Vec::new(),
        root_alive: true,
        started_at_ms: NOW_MS - age_ms,
        awake_age_ms: age_ms,
        cpu_ms: 0,
        cpu_share: None,
        rss_bytes: 0,
        container: None,
        lineage,
        cookie,
        supervisor: Supervisor::Absent,
        core_linked,
        stop: None,
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Owned { .. } => "owned",
        Verdict::Orphan { .. } => "orphan",
        Verdict::Foreign { .. } => "foreign",
        Verdict::OwnerUnknown { .. } => "unknown",
    }
}

#[test]
fn the_cookie_decides_first_and_the_structure_after_it() {
    let live = document(&[tree("0077", false)], 0);
    let ended = document(&[tree("77", true)], 0);
    let empty = document(&[], 0);
    let cut = document(&[], 3);
    let doc = CoreKnowledge::Document;
    let run = Cookie::Run(77);
    let min = 60_000;
    for (name, cookie, lineage, age_ms, linked, core, expected) in [
        ("live run, even re-parented", run, reparented(false), 9 * min, true, doc(&live), "owned"),
        ("ended run, even below a live parent", run, child(), 9 * min, true, doc(&ended), "orphan"),
        (
            "ended run, entered by exec",
            run,
            Lineage::ExecRoot { parent_pid: 80 },
            9 * min,
            true,
            doc(&ended),
            "orphan",
        ),
        ("a run older than the kept hour", run, child(), 2 * HOUR_MS, true, doc(&empty), "orphan"),
        ("a run that the document may have left out", run, child(), 2 * HOUR_MS, true, doc(&cut), "unknown"),
        ("younger than the document", run, reparented(false), 5_000, true, doc(&empty), "unknown"),
        ("another core's run, by structure", run, child(), 9 * min, true, doc(&empty), "owned"),
        ("another core's run, re-parented", run, reparented(false), 9 * min, true, doc(&empty), "orphan"),
        (
            "a cookie while the core is silent",
            run,
            reparented(false),
            9 * min,
            true,
            CoreKnowledge::Silent,
            "unknown",
        ),
        ("a cookie and no core", run, reparented(false), 9 * min, true, CoreKnowledge::Off, "unknown"),
        ("no cookie, a live parent", Cookie::None, child(), 9 * HOUR_MS, false, doc(&live), "owned"),
        ("no cookie, main command", Cookie::None, Lineage::Main, 9 * HOUR_MS, false, doc(&live), "owned"),
        ("no cookie, live leader", Cookie::None, reparented(true), 9 * min, false, doc(&live), "owned"),
        (
            "no cookie, re-parented, never the core's",
            Cookie::None,
            reparented(false),
            9 * min,
            false,
            doc(&live),
            "foreign",
        ),
        (
            "no cookie, re-parented, once the core's",
            Cookie::None,
            reparented(false),
            9 * min,
            true,
            doc(&live),
            "orphan",
        ),
        (
            "re-parented while the core is silent",
            Cookie::None,
            reparented(false),
            9 * min,
            false,
            CoreKnowledge::Silent,
            "unknown",
        ),
        (
            "re-parented and no core configured",
            Cookie::None,
            reparented(false),
            9 * min,
            false,
            CoreKnowledge::Off,
            "foreign",
        ),
        (
            "exec root",
            Cookie::None,
            Lineage::ExecRoot { parent_pid: 80 },
            9 * min,
            true,
            doc(&live),
            "unknown",
        ),
        (
            "unreadable cookie, re-parented",
            Cookie::Unreadable,
            reparented(false),
            9 * min,
            true,
            doc(&live),
            "unknown",
        ),
        ("unreadable cookie, a live parent", Cookie::Unreadable, child(), 9 * min, true, doc(&live), "owned"),
        (
            "unknown structure",
            Cookie::None,
            Lineage::Unknown(Unclear::Parent(5)),
            9 * min,
            false,
            doc(&live),
            "unknown",
        ),
    ] {
        let judgement = judge(&family(cookie, lineage, age_ms, linked), core);
        assert_eq!(word(&judgement.verdict), expected, "{name}: {judgement:?}");
        assert!(!judgement.evidence.is_empty(), "{name}");
    }
}

#[test]
fn a_live_supervisor_owns_a_run_that_no_document_lists_and_an_unknown_one_condemns_nobody() {
    let empty = document(&[], 0);
    let cut = document(&[], 3);
    let ended = document(&[tree("77", true)], 0);
    let old = 2 * HOUR_MS;
    for (name, supervisor, core, expected) in [
        ("another core's run", Supervisor::Alive(9), CoreKnowledge::Document(&empty), "owned"),
        ("a run beyond the cut", Supervisor::Alive(9), CoreKnowledge::Document(&cut), "owned"),
        ("no core asked", Supervisor::Alive(9), CoreKnowledge::Off, "owned"),
        ("the core is silent", Supervisor::Alive(9), CoreKnowledge::Silent, "unknown"),
        ("ended by the core's word", Supervisor::Alive(9), CoreKnowledge::Document(&ended), "orphan"),
        ("not looked for", Supervisor::Unknown, CoreKnowledge::Document(&empty), "unknown"),
        ("gone", Supervisor::Absent, CoreKnowledge::Document(&empty), "orphan"),
    ] {
        let family = Family { supervisor, ..family(Cookie::Run(77), reparented(false), old, true) };
        let judgement = judge(&family, core);
        assert_eq!(word(&judgement.verdict), expected, "{name}: {judgement:?}");
    }
}

#[test]
fn the_evidence_names_the_run_and_how_it_ended() {
    let ended = document(&[tree("77", true)], 0);
    let judgement =
        judge(&family(Cookie::Run(77), reparented(false), 60_000, true), CoreKnowledge::Document(&ended));
    assert_eq!(
        judgement.evidence.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "run cookie 77: run 12 of ORCH-114, which ended (timed out)",
            "re-parented: its parent is host init; the leader of its session and group is gone",
        ]
    );
}

#[test]
fn a_container_is_named_by_its_control_group() {
    let id = "0123456789abcdef".repeat(4);
    for (path, expected) in [
        (format!("/system.slice/docker-{id}.scope"), Some("docker 0123456789ab")),
        (format!("/../docker-{id}.scope/inner"), Some("docker 0123456789ab")),
        (format!("/docker/{id}"), Some("docker 0123456789ab")),
        (
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
            Some("containerd 0123456789ab"),
        ),
        (format!("/kubepods/besteffort/pod1/{id}"), Some("kubernetes 0123456789ab")),
        (
            format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope/container"),
            Some("podman 0123456789ab"),
        ),
        (format!("/machine.slice/libpod-conmon-{id}.scope"), None),
        (format!("/kubepods.slice/crio-{id}.scope"), Some("cri-o 0123456789ab")),
        (
            format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{id}"),
            Some("containerd 0123456789ab"),
        ),
        (format!("/docker/{id}/docker/{}", "fedcba9876543210".repeat(4)), Some("docker fedcba987654")),
        (format!("/default/{id}"), Some("container 0123456789ab")),
        (format!("/libpod_parent/libpod-{id}"), Some("podman 0123456789ab")),
        (format!("/machine.slice/libpod-{id}.scope/container"), Some("podman 0123456789ab")),
        (format!("/kubepods/pod1/crio-{id}"), Some("cri-o 0123456789ab")),
        (format!("/kubepods.slice/crio-conmon-{id}.scope"), None),
        ("/machine.slice/machine-ci\\x2dbox.scope".to_owned(), Some("machine ci-box")),
        ("/machine.slice/machine-a\\x1b\\xzz.scope".to_owned(), Some("machine a \\xzz")),
        ("/machine.slice/systemd-nspawn@web.service/payload".to_owned(), Some("machine web")),
        ("/user.slice/runc-mine.scope".to_owned(), Some("runc mine")),
        ("/lxc.payload.web/init.scope".to_owned(), Some("lxc web")),
        ("/lxc/web".to_owned(), Some("lxc web")),
        ("/user.slice/user-1000.slice/session-4.scope".to_owned(), None),
        ("/system.slice/ssh.service".to_owned(), None),
        ("/".to_owned(), None),
    ] {
        let lines = proc_identity::cgroup::parse(format!("0::{path}\n").as_bytes()).expect("a line");
        assert_eq!(container::of(&lines).as_deref(), expected, "{path}");
    }
    let legacy = format!("12:pids:/docker/{id}\n1:name=systemd:/docker/{id}\n0::/\n");
    let lines = proc_identity::cgroup::parse(legacy.as_bytes()).expect("lines");
    assert_eq!(container::of(&lines).as_deref(), Some("docker 0123456789ab"));
}

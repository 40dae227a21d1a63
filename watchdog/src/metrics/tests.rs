//! Names, labels, and the page that lists them.

use std::collections::BTreeSet;
use std::path::Path;

use orch_settings::{Strings, generated};

use super::*;
use crate::observe::{
    Collected, Cookie, CoreSight, Family, HostObservation, Lineage, Observation, PressureShares,
    PressureSight, ProcObservation, ProcessKey, Supervisor,
};

#[test]
fn names_follow_the_customs_of_prometheus() {
    let mut seen = BTreeSet::new();
    for metric in Metric::ALL {
        let name = metric.exposed_name();
        assert!(seen.insert(name.clone()), "{name} twice");
        assert_eq!(name.ends_with("_total"), metric.sort() == Sort::Counter, "{name}");
        assert!(metric.help().ends_with('.'), "{name}");
        for label in metric.labels() {
            assert!(!["pid", "task", "stage", "job", "instance"].contains(label), "{name} {label}");
        }
    }
}

#[test]
fn every_series_of_a_closed_list_exists_before_anything_happened() {
    let view = View { channels: vec![(Channel::Telegram, ChannelView::default())], ..View::default() };
    let text = render(&view).unwrap();
    for signal in SignalKind::ALL {
        let line = format!("orch_watchdog_alerts_total{{signal=\"{}\"}} 0", signal.name());
        assert!(text.contains(&line), "{line}");
    }
    for reason in FailureReason::ALL {
        let labels = format!("{{channel=\"telegram\",reason=\"{}\"}} 0", reason.name());
        assert!(text.contains(&labels), "{labels}");
    }
}

#[test]
fn each_pair_of_attempts_and_failures_has_every_reason_at_zero() {
    let text = render(&View::default()).unwrap();
    for reason in PollFailure::ALL {
        let line = format!("orch_watchdog_core_poll_failures_total{{reason=\"{}\"}} 0\n", reason.name());
        assert!(text.contains(&line), "{line}");
    }
    for reason in ReadFailure::ALL {
        let line = format!("orch_watchdog_proc_read_errors_total{{reason=\"{}\"}} 0\n", reason.name());
        assert!(text.contains(&line), "{line}");
    }
}

#[test]
fn a_poll_fails_for_the_reason_of_what_it_brought() {
    use crate::observe::CoreSight;
    let mut counters = Counters::default();
    for sight in [
        CoreSight::Starting,
        CoreSight::Down("refused".into()),
        CoreSight::Down("late".into()),
        CoreSight::Unreadable("schema".into()),
    ] {
        counters.count_poll(&sight);
    }
    assert_eq!((counters.core_polls, counters.core_poll_failures), (4, [2, 1]));
}

#[test]
fn only_the_own_process_has_names_without_our_prefix() {
    let own = Some(orch_telemetry::OwnProcess::look());
    let text = render(&View { own, ..View::default() }).unwrap();
    let foreign = |line: &&str| !line.starts_with('#') && !line.starts_with(PREFIX);
    let names: Vec<&str> = text.lines().filter(foreign).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(
        names,
        [
            "process_cpu_seconds_total",
            "process_max_fds",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_threads",
            "process_virtual_memory_bytes",
        ]
    );
}

#[test]
fn what_was_not_measured_has_no_sample() {
    let text = render(&View::default()).unwrap();
    for absent in ["core_up", "last_tick_timestamp_seconds", "matched_families", "collector_up"] {
        assert!(!text.contains(&format!("\norch_watchdog_{absent} ")), "{absent}");
    }
}

#[test]
fn a_firing_case_is_counted_under_its_signal_and_severity() {
    let view = View { firing: vec![(SignalKind::CoreDown, Severity::Critical, 5_000)], ..View::default() };
    let text = render(&view).unwrap();
    assert!(text.contains("signals_active{severity=\"critical\",signal=\"core_down\"} 1"), "{text}");
    assert!(text.contains("signal_oldest_start_timestamp_seconds{signal=\"core_down\"} 5"), "{text}");
}

fn seen(families: &[(i32, u64)], host: Collected<HostObservation>) -> Observation {
    let family = |(pid, cpu_ms): &(i32, u64)| Family {
        key: ProcessKey { host_boot_id: "boot".into(), pid: *pid, start_ticks: 1 },
        command: "pytest".into(),
        matched_by: "pytest".into(),
        members: Vec::new(),
        root_alive: true,
        started_at_ms: 0,
        awake_age_ms: 0,
        cpu_ms: *cpu_ms,
        cpu_share: None,
        rss_bytes: 4_096,
        container: None,
        lineage: Lineage::Main,
        cookie: Cookie::None,
        supervisor: Supervisor::Absent,
        core_linked: false,
        stop: None,
    };
    let proc = Collected::Fresh(ProcObservation {
        host_boot_id: "boot".into(),
        families: families.iter().map(family).collect(),
        unseen: Vec::new(),
        runs: Vec::new(),
        missing_runs: Vec::new(),
        view: crate::observe::View::default(),
        listed: 9,
        readable: 9,
    });
    Observation { at_ms: 0, proc, core: CoreSight::Off, host }
}

#[test]
fn the_cpu_counter_grows_by_what_was_seen_and_never_falls() {
    let mut view = View::default();
    let mut totals = Vec::new();
    for families in [&[(5, 60_000)][..], &[(5, 61_000), (6, 2_000)], &[(6, 2_500)], &[], &[(6, 2_600)]] {
        view.observed(&seen(families, Collected::Off));
        totals.push(view.matched_cpu.seconds());
    }
    assert_eq!(totals[..4], [Some(0.0), Some(3.0), Some(3.5), Some(3.5)]);
    assert!(totals[4] >= totals[3]);
    let text = render(&view).unwrap();
    assert!(text.contains("\norch_watchdog_matched_families 1\n"), "{text}");
    assert!(text.contains("\norch_watchdog_matched_resident_bytes 4096\n"), "{text}");
}

#[test]
fn pressure_is_a_ratio_by_resource_and_absent_where_nothing_measures_it() {
    let measured = |some: f64| {
        PressureSight::Measured(PressureShares {
            some_avg10_percent: 0.0,
            some_avg60_percent: some,
            some_avg300_percent: 0.0,
            full_avg60_percent: some / 2.0,
        })
    };
    let host = HostObservation {
        cpu: measured(61.0),
        memory_pressure: measured(2.0),
        io: PressureSight::NotOffered("no".into()),
        memory: None,
    };
    let mut view = View::default();
    view.observed(&seen(&[], Collected::Fresh(host.clone())));
    let text = render(&view).unwrap();
    for line in [
        "host_pressure_ratio{kind=\"some\",resource=\"cpu\"} 0.61",
        "host_pressure_ratio{kind=\"full\",resource=\"memory\"} 0.01",
        "host_pressure_offered 1",
        "collector_up{collector=\"host\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("resource=\"io\"") && !text.contains("kind=\"full\",resource=\"cpu\""), "{text}");
    let without = HostObservation { cpu: PressureSight::NotOffered("no".into()), ..host };
    view.observed(&seen(&[], Collected::Fresh(without)));
    assert!(render(&view).unwrap().contains("host_pressure_offered 0"));
    view.observed(&seen(&[], Collected::Unavailable("no".into())));
    let text = render(&view).unwrap();
    assert!(!text.contains("host_pressure_ratio{") && !text.contains("host_pressure_offered "), "{text}");
}

#[test]
fn a_silenced_case_is_counted_apart_from_the_announced_ones() {
    let view = View {
        firing: vec![(SignalKind::CoreDown, Severity::Critical, 5_000)],
        suppressed: vec![(SignalKind::CoreDown, Suppression::Muted, 4_000)],
        ..View::default()
    };
    let text = render(&view).unwrap();
    for line in [
        "signals_active{severity=\"critical\",signal=\"core_down\"} 1",
        "signals_suppressed{reason=\"muted\",signal=\"core_down\"} 1",
        "signals_suppressed{reason=\"acknowledged\",signal=\"core_down\"} 0",
        "signal_oldest_start_timestamp_seconds{signal=\"core_down\"} 4",
        "commands_total{outcome=\"forbidden\",way=\"chat\"} 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn the_page_of_metrics_lists_exactly_these() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let differing = generated::differing(&Strings::from_process());
    generated::agree_block(&path, "watchdog metrics", &reference(), differing).unwrap();
}

#[test]
fn every_signal_has_its_section_in_the_runbook() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runbook.md");
    let page = std::fs::read_to_string(path).unwrap();
    for signal in SignalKind::ALL {
        assert!(page.contains(&format!("\n## {}\n", signal.name())), "{}", signal.name());
    }
}

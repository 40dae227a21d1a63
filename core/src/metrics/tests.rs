//! Rules of the metrics: names, labels, and what is exposed when.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::http::testing::Bench;

/// Words that Prometheus' own check refuses in names: types, and units that are not base units.
const REFUSED_WORDS: [&str; 16] = [
    "gauge",
    "counter",
    "histogram",
    "summary",
    "ms",
    "milliseconds",
    "minutes",
    "hours",
    "days",
    "kb",
    "mb",
    "kilobytes",
    "megabytes",
    "percent",
    "sec",
    "s",
];

#[test]
fn names_are_what_prometheus_wants() {
    let mut seen = BTreeSet::new();
    for name in Name::ALL {
        let text = name.as_str();
        assert!(seen.insert(text), "{text} twice");
        assert!(text.starts_with("orch_core_") || text.starts_with("process_"), "{text}");
        assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{text}");
        assert_eq!(text.ends_with("_total"), name.kind() == Kind::Counter, "{text}");
        for word in text.split('_') {
            assert!(!REFUSED_WORDS.contains(&word), "{text}: {word}");
        }
        assert!(name.help().ends_with('.') && !name.help().contains('\n'), "{text}");
        for label in name.labels() {
            assert!(
                !["stage", "task", "work_item", "pid", "le", "quantile", "job", "instance"].contains(label),
                "{label}"
            );
        }
    }
}

#[test]
fn the_reference_has_a_line_a_metric() {
    let reference = reference();
    for name in Name::ALL {
        assert!(reference.contains(&format!("| `{}` |", name.as_str())));
    }
    assert_eq!(reference.lines().count(), Name::ALL.len() + 2);
}

/// Samples by their text up to the value; checks the order HELP, TYPE, samples on the way.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap().to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest.split(' ').next().unwrap(), family);
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(series.split('{').next().unwrap(), family, "{line}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{line} twice");
        }
    }
    samples
}

#[tokio::test]
async fn an_idle_core_shows_every_counter_at_zero_and_no_time_that_has_not_been() {
    let bench = Bench::ready().await;
    let text = scrape(&bench.engine).await;
    let samples = samples(&text);
    assert_eq!(samples["orch_core_ready"], 1.0);
    assert_eq!(samples["orch_core_store_readable"], 1.0);
    assert_eq!(samples[r#"orch_core_build_info{version="0.1.0"}"#], 1.0);
    assert_eq!(samples[r#"orch_core_lease_reclaims_total{reason="forced"}"#], 0.0);
    assert_eq!(samples[r#"orch_core_runs_total{kind="agent",outcome="timed_out"}"#], 0.0);
    assert_eq!(
        samples[r#"orch_core_gate_verdicts_total{gate="retest",verdict="infra",class="lock_busy"}"#],
        0.0
    );
    assert_eq!(samples[r#"orch_core_tasks{pipeline_stage="deploy-staging",standing="blocked"}"#], 0.0);
    assert!(samples["process_resident_memory_bytes"] > 1_000_000.0);
    assert!(samples["process_virtual_memory_bytes"] > samples["process_resident_memory_bytes"]);
    assert!(samples["process_open_fds"] > 2.0 && samples["process_max_fds"] >= samples["process_open_fds"]);
    assert!(samples["orch_core_data_directory_size_bytes"] > 0.0);
    for absent in [
        "orch_core_job_oldest_queued",
        "orch_core_lease_oldest",
        "orch_core_actor_last_pass",
        "orch_core_gate_last_failure",
    ] {
        assert!(!text.contains(absent), "{absent}");
    }
    assert!(samples.len() < 300, "{} series", samples.len());
}

#[test]
fn every_word_for_the_end_of_a_run_is_one_that_stands_at_zero_before() {
    let counters = Counters::default();
    for end in ["exit 0", "timed out", "stopped", "supervisor lost", "never started", "signal 9", "exit 1"] {
        counters.run_ended("agent", end);
    }
    let counted: BTreeSet<&str> = counters.tally().runs.keys().map(|(_, word)| *word).collect();
    assert_eq!(counted, Counters::RUN_OUTCOMES.into_iter().collect());
}

#[tokio::test]
async fn work_is_counted_and_named_by_closed_lists_only() {
    let bench = Bench::ready().await;
    bench.task("SHOP-1").await;
    bench.claim().await;
    bench.task("SHOP-2").await;
    {
        let mut tally = bench.engine.counters.tally();
        tally.runs.insert(("agent", "success"), 4);
        tally.reaped = [1, 2, 3];
        tally.last_pass_ms.insert("monitor", 1_790_000_000_500);
    }
    let text = scrape(&bench.engine).await;
    let samples = samples(&text);
    assert_eq!(samples[r#"orch_core_tasks{pipeline_stage="analysis",standing="moving"}"#], 2.0);
    assert_eq!((samples["orch_core_jobs_running"], samples["orch_core_jobs_queued"]), (1.0, 1.0));
    assert_eq!(samples[r#"orch_core_process_trees{kind="agent"}"#], 1.0);
    assert_eq!(samples[r#"orch_core_runs_total{kind="agent",outcome="success"}"#], 4.0);
    assert_eq!(samples[r#"orch_core_reaper_claims_total{reason="unsettled"}"#], 2.0);
    assert_eq!(samples[r#"orch_core_actor_last_pass_timestamp_seconds{actor="monitor"}"#], 1_790_000_000.5);
    assert!(samples["orch_core_advance_outcomes_total{outcome=\"advanced\"}"] >= 2.0);
    assert!(!text.contains("SHOP"), "no label names a task");
}

#[tokio::test]
async fn without_the_store_a_scrape_says_so_and_leaves_out_what_it_would_have_told() {
    let bench = Bench::ready().await;
    bench.engine.store.close().await;
    std::fs::write(&bench.engine.config.db_path, "not a database, and long enough to be looked at as one")
        .unwrap();
    for leftover in ["orch.db-wal", "orch.db-shm"] {
        std::fs::remove_file(bench.dir.path().join(leftover)).ok();
    }
    let samples = samples(&scrape(&bench.engine).await);
    assert_eq!(samples["orch_core_store_readable"], 0.0);
    assert!(!samples.keys().any(|series| series.starts_with("orch_core_tasks")));
    assert_eq!(samples["orch_core_lease_grants_total"], 0.0);
}

#[test]
fn the_page_of_metrics_lists_exactly_these() {
    use orch_settings::{Strings, generated};
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let differing = generated::differing(&Strings::from_process());
    generated::agree_block(&path, "core metrics", &reference(), differing).unwrap();
}

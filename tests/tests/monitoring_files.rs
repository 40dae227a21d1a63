//! The shipped files for Prometheus, Alertmanager and Grafana: valid, tested, and about metrics that
//! exist. What a running Prometheus makes of them stands in `system_prometheus`.

use anyhow::{Context as _, Result};
use orch_tests::tools::{AMTOOL, PROMTOOL, Tool};
use orch_tests::{promql, sample, shipped};
use orch_watchdog::signals::SignalKind;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Labels that Prometheus puts on every series by the shipped settings.
const TARGET_LABELS: [&str; 3] = ["job", "instance", "host"];

fn passes(tool: Tool, arguments: &[&str], file: &str) -> Result<()> {
    let path = shipped::path(file);
    let mut arguments = arguments.to_vec();
    let path = path.to_string_lossy();
    arguments.push(&path);
    let said = tool.run(&arguments)?;
    assert!(said.status.success(), "{}", said.all());
    Ok(())
}

#[test]
fn prometheus_takes_its_settings_and_its_rules_and_the_rules_pass_their_tests() -> Result<()> {
    passes(PROMTOOL, &["check", "config", "--syntax-only"], "prometheus/prometheus.yml")?;
    passes(PROMTOOL, &["check", "rules"], "prometheus/rules.yml")?;
    passes(PROMTOOL, &["test", "rules"], "prometheus/rules_test.yml")
}

#[test]
fn alertmanager_takes_its_settings() -> Result<()> {
    passes(AMTOOL, &["check-config"], "alertmanager/alertmanager.yml")
}

/// For each alert what its tests expect in order, test by test: whether it fires.
fn expectations() -> Result<BTreeMap<String, Vec<Vec<bool>>>> {
    let mut found: BTreeMap<String, Vec<Vec<bool>>> = BTreeMap::new();
    let mut of_test: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    let mut alert = String::new();
    let text = shipped::text("prometheus/rules_test.yml")?;
    for line in text.lines().map(str::trim).chain(["- name: the end"]) {
        if line.starts_with("- name: ") {
            for (alert, fires) in std::mem::take(&mut of_test) {
                found.entry(alert).or_default().push(fires);
            }
        } else if let Some(name) = line.strip_prefix("- alertname: ") {
            name.clone_into(&mut alert);
        } else if let Some(rest) = line.strip_prefix("exp_alerts:") {
            of_test.entry(alert.clone()).or_default().push(rest.trim() != "[]");
        }
    }
    Ok(found)
}

#[test]
fn each_alert_has_a_test_that_it_fires_one_that_it_does_not_and_one_that_it_ends() -> Result<()> {
    let expectations = expectations()?;
    let rules = shipped::rules()?;
    assert!(rules.len() >= 16, "{} rules were read", rules.len());
    for rule in rules {
        let name = &rule.alert;
        let tests = expectations.get(name).with_context(|| format!("{name} has no test"))?;
        assert!(tests.iter().flatten().any(|fires| *fires), "{name}: no test that it fires");
        let quiet_first = tests.iter().any(|test| test.first() == Some(&false));
        assert!(quiet_first, "{name}: no test that it does not fire");
        let ends = tests.iter().any(|test| test.windows(2).any(|pair| pair == [true, false]));
        assert!(ends, "{name}: no test that it ends");
    }
    Ok(())
}

#[test]
fn each_alert_tells_what_and_leads_to_a_section_of_the_runbook() -> Result<()> {
    let runbook = fs::read_to_string(sample::source_tree().join("docs/runbook.md"))?;
    let has = |section: &str| runbook.lines().any(|line| line.strip_prefix("## ") == Some(section));
    for rule in shipped::rules()? {
        let name = &rule.alert;
        assert!(!rule.summary.is_empty() && rule.summary.ends_with(['.', '}']), "{name}: {}", rule.summary);
        assert!(rule.description.ends_with('.'), "{name}: {}", rule.description);
        assert!(["critical", "warning", "info"].contains(&rule.severity.as_str()), "{name}");
        let link = rule.runbook_url.strip_prefix("docs/runbook.md#").with_context(|| name.clone())?;
        match link {
            "{{ $labels.signal }}" => {
                assert!(SignalKind::ALL.iter().all(|signal| has(signal.name())), "{name}");
            }
            section => assert!(has(section), "{name}: the runbook has no section {section}"),
        }
    }
    Ok(())
}

/// Labels of every metric that either program exports, from the reference that their own tests hold.
fn exported() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let page = fs::read_to_string(sample::source_tree().join("docs/metrics.md"))?;
    let mut found = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let (name, labels) = (columns[1].trim_matches('`'), columns[4]);
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
        found.insert(name.to_owned(), labels.filter(|label| !label.is_empty()).collect());
    }
    Ok(found)
}

#[test]
fn each_query_names_metrics_and_labels_and_signals_that_exist() -> Result<()> {
    let exported = exported()?;
    assert!(exported.len() > 60, "{} metrics were read", exported.len());
    let of_rules = shipped::rules()?.into_iter().map(|rule| (rule.alert, vec![rule.expr]));
    let mut named = 0;
    for (place, queries) in of_rules.chain(shipped::dashboard_queries()?) {
        for selector in queries.iter().flat_map(|query| promql::selectors(query)) {
            named += 1;
            let metric = &selector.metric;
            let labels = exported.get(metric).with_context(|| format!("{place}: nobody exports {metric}"))?;
            for (label, text) in &selector.labels {
                let known = labels.contains(label) || TARGET_LABELS.contains(&label.as_str());
                assert!(known, "{place}: {metric} has no label {label}");
                if label == "signal" {
                    let is_signal = |word: &str| SignalKind::ALL.iter().any(|signal| signal.name() == word);
                    assert!(text.split('|').all(is_signal), "{place}: {text} is no signal");
                }
            }
        }
    }
    assert!(named > 40, "{named} selectors were read");
    Ok(())
}

#[test]
fn each_panel_of_the_dashboard_is_of_its_own_and_asks_something() -> Result<()> {
    let panels = shipped::dashboard_queries()?;
    let titles: BTreeSet<&String> = panels.iter().map(|(title, _)| title).collect();
    assert_eq!(titles.len(), panels.len(), "a title stands twice");
    for (title, queries) in &panels {
        assert!(!queries.is_empty() && queries.iter().all(|query| !query.trim().is_empty()), "{title}");
    }
    let dashboard: serde_json::Value = serde_json::from_str(&shipped::text("grafana/dashboard.json")?)?;
    let all = dashboard["panels"].as_array().context("panels")?;
    let ids: BTreeSet<String> = all.iter().map(|panel| panel["id"].to_string()).collect();
    assert_eq!(ids.len(), all.len(), "an id stands twice");
    Ok(())
}

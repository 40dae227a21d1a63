//! The monitoring files that stand in `deploy/`, as tests read them.
//!
//! Rules are read by their layout, one key a line, which the files keep; nothing here knows YAML.

use crate::sample;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Place of a shipped file.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    sample::source_tree().join("deploy").join(name)
}

/// Text of a shipped file.
///
/// # Errors
/// When it cannot be read.
pub fn text(name: &str) -> Result<String> {
    fs::read_to_string(path(name)).with_context(|| format!("cannot read deploy/{name}"))
}

/// A shipped file with some of its texts replaced.
///
/// # Errors
/// When one of them does not stand there exactly once: the file is not what the caller thinks.
pub fn adapted(name: &str, changes: &[(&str, &str)]) -> Result<String> {
    let mut text = text(name)?;
    for (from, to) in changes {
        let count = text.matches(from).count();
        if count != 1 {
            bail!("deploy/{name} holds {from:?} {count} times");
        }
        text = text.replace(from, to);
    }
    Ok(text)
}

/// One alert of the rules.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Its name.
    pub alert: String,
    /// Its query, on one line.
    pub expr: String,
    /// Severity.
    pub severity: String,
    /// Annotations: what, in short.
    pub summary: String,
    /// What, in full.
    pub description: String,
    /// Where the runbook tells what to do.
    pub runbook_url: String,
}

/// The shipped alerts.
///
/// # Errors
/// When the file cannot be read.
pub fn rules() -> Result<Vec<Rule>> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut in_expr = false;
    for line in text("prometheus/rules.yml")?.lines() {
        let line = line.trim();
        if let Some(alert) = line.strip_prefix("- alert: ") {
            rules.push(Rule { alert: alert.to_owned(), ..Rule::default() });
        }
        let Some(rule) = rules.last_mut() else { continue };
        // a query over several lines ends with the next key
        in_expr = in_expr && !line.starts_with("for:") && !line.ends_with(':');
        let unquoted = |value: &str| value.trim_matches('"').to_owned();
        match line.split_once(": ") {
            Some(("expr", ">-")) => in_expr = true,
            Some(("expr", query)) => rule.expr = query.to_owned(),
            Some(("severity", word)) => rule.severity = word.to_owned(),
            Some(("summary", words)) => rule.summary = unquoted(words),
            Some(("description", words)) => rule.description = unquoted(words),
            Some(("runbook_url", link)) => rule.runbook_url = unquoted(link),
            _ if in_expr => rule.expr = format!("{} {line}", rule.expr).trim().to_owned(),
            _ => {}
        }
    }
    Ok(rules)
}

/// Title and queries of each panel of the dashboard; rows have none.
///
/// # Errors
/// When the file is no such document.
pub fn dashboard_queries() -> Result<Vec<(String, Vec<String>)>> {
    let dashboard: Value = serde_json::from_str(&text("grafana/dashboard.json")?)?;
    let panels = dashboard["panels"].as_array().context("the dashboard has no panels")?;
    let mut found = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().context("a panel has no title")?.to_owned();
        let targets = panel["targets"].as_array().with_context(|| format!("{title} has no targets"))?;
        let queries: Option<Vec<String>> =
            targets.iter().map(|target| Some(target["expr"].as_str()?.to_owned())).collect();
        found.push((title.clone(), queries.with_context(|| format!("{title} has a target without query"))?));
    }
    Ok(found)
}

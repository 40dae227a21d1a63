//! Answers of the core as tables and lines for people.
//!
//! Reads documents field by field: what a core of another version leaves out is left blank.

use std::io::{Result, Write};

use serde_json::Value;

use crate::domain::budget::usd;

use super::table::{clean, one_line, print, span, time};

type Out<'a> = &'a mut (dyn Write + Send);

fn text(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

fn at(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_i64).map(time).unwrap_or_default()
}

fn rows<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A revision as people quote it.
fn short(revision: &str) -> &str {
    if revision.len() > 20 { revision.get(..10).unwrap_or(revision) } else { revision }
}

pub(super) fn list(answer: &Value, out: Out<'_>) -> Result<()> {
    let tasks = rows(answer, "/tasks");
    if tasks.is_empty() {
        return writeln!(out, "no work items");
    }
    let lines: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| {
            vec![
                text(task, "/work_item"),
                text(task, "/stage"),
                text(task, "/standing"),
                at(task, "/stage_since_ms"),
                text(task, "/waits_for/name"),
                text(task, "/title"),
            ]
        })
        .collect();
    print(out, &["KEY", "STAGE", "STANDING", "SINCE", "WAITS FOR", "TITLE"], &lines)
}

pub(super) fn added(answer: &Value, out: Out<'_>) -> Result<()> {
    let key = text(answer, "/task/work_item");
    let word =
        if answer.pointer("/created") == Some(&Value::Bool(true)) { "taken in" } else { "there already" };
    writeln!(out, "{key} is {word}; it is in {}", text(answer, "/task/stage"))
}

pub(super) fn outcome(answer: &Value, out: Out<'_>) -> Result<()> {
    let key = [text(answer, "/task/work_item"), text(answer, "/work_item")].concat();
    let stage = text(answer, "/task/stage");
    match text(answer, "/outcome").as_str() {
        "under_way" => writeln!(out, "{}", one_line(&text(answer, "/detail"))),
        "advanced" => writeln!(out, "{key} went on to {}", text(answer, "/to")),
        "rolled_back" => writeln!(out, "{key} went back to {}", text(answer, "/to")),
        "released" => writeln!(out, "the lease of {key} is released; it is in {stage}"),
        "blocked" => writeln!(
            out,
            "{key} is blocked in {stage}: {}\n  way out: {}",
            clean(&text(answer, "/cause")),
            clean(&text(answer, "/way_out"))
        ),
        _ => {
            let cause = text(answer, "/task/cause");
            let cause = if cause.is_empty() { String::new() } else { format!(": {}", one_line(&cause)) };
            writeln!(out, "{key} is in {stage}, {}{cause}", text(answer, "/task/standing"))
        }
    }
}

pub(super) fn why(answer: &Value, out: Out<'_>) -> Result<()> {
    writeln!(out, "{}", clean(&text(answer, "/sentence")))?;
    let owner = text(answer, "/lease/actor");
    if owner.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "The {owner} holds the lease of {} since {}.",
        text(answer, "/lease/edge"),
        at(answer, "/lease/acquired_at_ms")
    )
}

pub(super) fn leases(answer: &Value, out: Out<'_>) -> Result<()> {
    let leases = rows(answer, "/leases");
    if leases.is_empty() {
        return writeln!(out, "no lease is held");
    }
    let now = answer.pointer("/generated_at_ms").and_then(Value::as_i64).unwrap_or_default();
    let lines: Vec<Vec<String>> = leases
        .iter()
        .map(|lease| {
            let since = lease.pointer("/acquired_at_ms").and_then(Value::as_i64);
            let alive = match lease.pointer("/owner/alive").and_then(Value::as_bool) {
                Some(true) => "yes",
                Some(false) => "no",
                None => "unknown",
            };
            vec![
                text(lease, "/work_item"),
                text(lease, "/edge"),
                text(lease, "/owner/actor"),
                alive.to_owned(),
                since.map(|at_ms| span(now - at_ms)).unwrap_or_default(),
                text(lease, "/fencing"),
            ]
        })
        .collect();
    print(out, &["KEY", "EDGE", "OWNER", "LIVES", "HELD FOR", "FENCING"], &lines)
}

pub(super) fn run(answer: &Value, out: Out<'_>) -> Result<()> {
    let mut facts = vec![
        ("run", text(answer, "/run/run_id")),
        ("work item", text(answer, "/work_item")),
        ("kind", text(answer, "/run/kind")),
        ("attempt", text(answer, "/run/attempt")),
        ("command", text(answer, "/run/command")),
        ("cookie", text(answer, "/run/cookie")),
        ("supervisor", text(answer, "/run/supervisor/pid")),
        ("started", at(answer, "/run/started_at_ms")),
        ("ended", at(answer, "/run/ended_at_ms")),
        ("outcome", text(answer, "/run/outcome")),
        ("swept", text(answer, "/run/swept_processes")),
        ("surviving", text(answer, "/run/surviving_processes")),
        ("output", bytes(answer, "/out_bytes")),
        ("errors", bytes(answer, "/err_bytes")),
    ];
    if let Some(cost) = answer.pointer("/run/cost_microusd").and_then(Value::as_i64) {
        let kind = match text(answer, "/run/cost_kind").as_str() {
            "estimated" => " (at most: it could not say)",
            _ => "",
        };
        facts.push(("cost", format!("{}.{:06} ${kind}", cost / 1_000_000, cost % 1_000_000)));
    }
    if let Some(reserved) = answer.pointer("/run/reserved_microusd").and_then(Value::as_i64) {
        facts.push(("reserved", format!("{} $", usd(reserved))));
    }
    for (name, path) in [
        ("agent", "/run/agent"),
        ("model", "/run/model"),
        ("effort", "/run/effort"),
        ("session", "/run/session_id"),
        ("tokens in", "/run/input_tokens"),
        ("of cache", "/run/cached_tokens"),
        ("tokens out", "/run/output_tokens"),
    ] {
        facts.push((name, text(answer, path)));
    }
    print_facts(&facts, out)
}

fn bytes(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_u64).map(|count| format!("{count} bytes")).unwrap_or_default()
}

fn print_facts(facts: &[(&str, String)], out: Out<'_>) -> Result<()> {
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:<12}{}", one_line(value))?;
    }
    Ok(())
}

/// What all runs of a task have cost, and of how much.
fn spent(answer: &Value) -> String {
    let amount = |path| answer.pointer(path).and_then(Value::as_i64);
    let Some(spent) = amount("/budget/spent_microusd") else { return String::new() };
    let reserved = match amount("/budget/reserved_microusd") {
        Some(reserved) if reserved > 0 => format!(", {} $ reserved", usd(reserved)),
        Some(_) | None => String::new(),
    };
    let bound =
        amount("/budget/limit_microusd").map(|limit| format!(" of {} $", usd(limit))).unwrap_or_default();
    format!("{} ${reserved}{bound}", usd(spent))
}

/// What a run cost in dollars; an upper bound is marked as one.
fn cost(run: &Value) -> String {
    let Some(cost) = run.pointer("/cost_microusd").and_then(Value::as_i64) else { return String::new() };
    let sign = if text(run, "/cost_kind") == "estimated" { "≤ " } else { "" };
    format!("{sign}{} $", usd(cost))
}

fn head(answer: &Value, out: Out<'_>) -> Result<()> {
    let task = answer.pointer("/task").unwrap_or(&Value::Null);
    writeln!(out, "{}  {}", text(task, "/work_item"), one_line(&text(task, "/title")))?;
    let stage = format!("{} since {}", text(task, "/stage"), at(task, "/stage_since_ms"));
    let pull_request = text(task, "/pull_request");
    let pull_request = if pull_request.is_empty() { pull_request } else { format!("#{pull_request}") };
    print_facts(
        &[
            ("project", text(task, "/project")),
            ("stage", stage),
            ("standing", text(task, "/standing")),
            ("waits for", text(task, "/waits_for/name")),
            ("until", at(task, "/until_ms")),
            ("cause", text(task, "/cause")),
            ("way out", text(task, "/way_out")),
            ("PR", pull_request),
            ("candidate", text(task, "/candidate/head")),
            ("merged", text(task, "/merged_revision")),
            ("cost", spent(answer)),
        ],
        out,
    )?;
    for finding in rows(task, "/findings") {
        writeln!(out, "{:<12}{}", "to mend", one_line(finding.as_str().unwrap_or_default()))?;
    }
    Ok(())
}

pub(super) fn task(answer: &Value, out: Out<'_>) -> Result<()> {
    head(answer, out)?;
    let runs: Vec<Vec<String>> = rows(answer, "/runs")
        .iter()
        .map(|run| {
            let (from, to) = (run.pointer("/started_at_ms"), run.pointer("/ended_at_ms"));
            let took = from.and_then(Value::as_i64).zip(to.and_then(Value::as_i64));
            vec![
                text(run, "/run_id"),
                text(run, "/kind"),
                text(run, "/command"),
                at(run, "/started_at_ms"),
                took.map(|(from, to)| span(to - from)).unwrap_or_default(),
                cost(run),
                text(run, "/outcome"),
            ]
        })
        .collect();
    section(out, "runs", &["RUN", "KIND", "COMMAND", "STARTED", "TOOK", "COST", "OUTCOME"], &runs)?;
    let gates: Vec<Vec<String>> = rows(answer, "/gates")
        .iter()
        .rev()
        .map(|gate| {
            vec![
                text(gate, "/gate"),
                text(gate, "/verdict"),
                short(&text(gate, "/head")).to_owned(),
                at(gate, "/ended_at_ms"),
                text(gate, "/summary"),
            ]
        })
        .collect();
    section(out, "gates", &["GATE", "VERDICT", "HEAD", "AT", "WHAT"], &gates)?;
    let effects: Vec<Vec<String>> = rows(answer, "/effects")
        .iter()
        .map(|effect| {
            vec![
                text(effect, "/effect"),
                text(effect, "/state"),
                short(&text(effect, "/revision")).to_owned(),
                at(effect, "/settled_at_ms"),
                text(effect, "/evidence"),
            ]
        })
        .collect();
    section(out, "effects", &["EFFECT", "STATE", "REVISION", "AT", "EVIDENCE"], &effects)
}

fn section(out: Out<'_>, name: &str, heading: &[&str], lines: &[Vec<String>]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{name}")?;
    print(out, heading, lines)
}

/// The history as a story: time, who, what, and why where it says more.
pub(super) fn history(answer: &Value, out: Out<'_>) -> Result<()> {
    head(answer, out)?;
    writeln!(out)?;
    for event in rows(answer, "/events") {
        let (actor, who) = (text(event, "/actor"), text(event, "/who"));
        let who = if who.is_empty() { actor } else { format!("{actor} ({who})") };
        let (what, why) = (one_line(&text(event, "/what")), one_line(&text(event, "/why")));
        let why = if why.is_empty() || what.contains(&why) { String::new() } else { format!(" [{why}]") };
        writeln!(out, "{}  {}: {what}{why}", at(event, "/at_ms"), one_line(&who))?;
    }
    Ok(())
}

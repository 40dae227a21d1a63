//! Running a project's command against the candidate, in a clean checkout of exactly that commit
//! and in a supervised process tree of its own; and the re-test, which is nothing more.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use orch_contract::ProcessKind;

use super::{
    Looked,
    classify::{Meaning, Runner, TestEnd, classify, runner_of},
    junit::{self, Tests},
    report::{clear_below, read_below},
};
use crate::{
    chain::chain,
    domain::{
        ids::RunId,
        verdict::{InfraClass, Verdict},
    },
    engine::{Checkout, Engine, Site},
    git::Sha,
    process::{Outcome, Stream},
    projects::Argv,
    runs::{Ended, Order, PLAIN_LADDER},
    store::TaskRow,
};

/// Lines of output that a finding carries.
const FINDING_LINES: usize = 40;
/// Largest report of tests that is read.
const JUNIT_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A command that came to its end, with the checkout it ran in.
pub(crate) struct CommandEnd {
    pub(crate) ended: Ended,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) checkout: Checkout,
}

/// A project's command as a gate or an effect wants it run.
pub(crate) struct Told<'a> {
    pub(crate) kind: ProcessKind,
    pub(crate) command: &'a Argv,
    pub(crate) timeout_ms: i64,
    /// File in the checkout that it is to write: one that was committed is not taken for it.
    pub(crate) report: Option<&'a Path>,
}

/// Runs a command for a gate or an effect; `Err` is the answer when it could not be run at all.
pub(crate) async fn run(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
    head: &str,
    told: &Told<'_>,
) -> Result<CommandEnd, Verdict> {
    let Told { kind, command, timeout_ms, report } = *told;
    let infra = |detail: String| Verdict::Infra { class: InfraClass::Other, detail };
    let commit = Sha::parse(head).map_err(|error| infra(chain(&error)))?;
    let name = format!("{}-{kind:?}", row.task.key).to_lowercase();
    let checkout = Checkout::make(site, &name, &commit).await.map_err(|error| infra(chain(&error)))?;
    if let Some(report) = report {
        clear_below(Path::new(checkout.path()), report).map_err(infra)?;
    }
    let order = Order {
        kind,
        argv: command.words(),
        env: BTreeMap::from([
            ("ORCH_WORK_ITEM".to_owned(), row.task.key.to_string()),
            ("ORCH_REVISION".to_owned(), head.to_owned()),
        ]),
        cwd: PathBuf::from(checkout.path()),
        timeout_ms,
        ladder: PLAIN_LADDER.to_vec(),
    };
    let ended = engine.runs.run(order, Some(row.id)).await.map_err(|error| infra(chain(&error)))?;
    engine.counters.run_ended(crate::store::kind_name(kind), &ended.outcome_text());
    let out = engine.runs.tail_text(ended.run, Stream::Out).await;
    let err = engine.runs.tail_text(ended.run, Stream::Err).await;
    Ok(CommandEnd { ended, out, err, checkout })
}

/// The merge gate's re-test of the rebased candidate.
pub(super) async fn retest(engine: &Engine, site: &Site, row: &TaskRow, head: &str) -> Looked {
    let Some(command) = &site.project.merge_retest_cmd else {
        return Verdict::Skipped { why: "merge_retest_cmd is not set".to_owned() }.into();
    };
    let timeout_ms = site.project.limits(&engine.config).merge_retest_ms;
    let report = site.project.merge_retest_junit.as_deref();
    let end =
        match run(engine, site, row, head, &Told { kind: ProcessKind::Retest, command, timeout_ms, report })
            .await
        {
            Ok(end) => end,
            Err(verdict) => return verdict.into(),
        };
    let classifies = engine.config.gates.merge_retest_classify_enabled;
    let tests = report.map(|report| tests_of(Path::new(end.checkout.path()), report));
    let verdict = judge(command, &end, tests.as_ref(), classifies);
    Looked { verdict, run: Some(end.ended.run) }
}

/// What the runner wrote of its tests.
fn tests_of(checkout: &Path, report: &Path) -> Result<Tests, String> {
    let text = read_below(checkout, report, JUNIT_MAX_BYTES)?;
    junit::parse(&text).map_err(|what| format!("{}: {what}", report.display()))
}

/// The verdict of a test command's end, with the report of its tests if one was asked for. With `classifies` off
/// every failure is red, as before the incident.
pub(super) fn judge(
    command: &Argv,
    end: &CommandEnd,
    tests: Option<&Result<Tests, String>>,
    classifies: bool,
) -> Verdict {
    let runner = runner_of(&command.words());
    let said = format!("{}\n{}", end.out, end.err);
    let run = end.ended.run;
    let found = tests.and_then(|tests| tests.as_ref().ok());
    let report = match tests {
        Some(Err(why)) => format!("; no report of its tests: {why}"),
        Some(Ok(tests)) => format!("; {tests}"),
        None => String::new(),
    };
    match classify(runner, test_end(&end.ended), &said, found) {
        Meaning::Passed => Verdict::Pass { evidence: format!("the re-test passed (run {run}){report}") },
        Meaning::Red(what) => Verdict::Red { findings: findings(&what, run, &end.out, found) },
        Meaning::Infra(class, detail) if classifies => {
            Verdict::Infra { class, detail: format!("{detail} (run {run}){report}{}", last_words(end)) }
        }
        Meaning::Infra(_, detail) => Verdict::Red { findings: findings(&detail, run, &end.out, found) },
    }
}

/// The same for a run of the local forge's CI, which has no task of its own.
pub(crate) fn judge_ci(argv: &[String], ended: &Ended, out: &str) -> Meaning {
    // a CI command is the project's own judge: for an unknown runner its exit 1 means failure
    match (runner_of(argv), test_end(ended)) {
        (Runner::Generic, TestEnd::Exit(1)) => Meaning::Red("exit 1".to_owned()),
        (runner, end) => classify(runner, end, out, None),
    }
}

pub(crate) fn test_end(ended: &Ended) -> TestEnd {
    match ended.record.as_ref().map(|record| &record.outcome) {
        Some(Outcome::Exited { code }) => TestEnd::Exit(*code),
        Some(Outcome::Signaled { signal }) => TestEnd::Signal(*signal),
        Some(Outcome::TimedOut) => TestEnd::TimedOut,
        Some(Outcome::Stopped | Outcome::NotStarted { .. }) | None => TestEnd::Lost,
    }
}

fn findings(what: &str, run: RunId, out: &str, tests: Option<&Tests>) -> Vec<String> {
    let lines: Vec<&str> = out.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(FINDING_LINES)..).unwrap_or_default();
    let failed: Vec<String> = tail
        .iter()
        .filter(|line| line.starts_with("FAILED ") || line.starts_with("ERROR "))
        .map(|line| (*line).to_owned())
        .collect();
    let mut findings = vec![format!("{what} (run {run})")];
    if let Some(tests) = tests.filter(|tests| !tests.failed.is_empty()) {
        findings.extend(tests.failed.iter().map(|name| format!("FAILED {name}")));
        return findings;
    }
    if failed.is_empty() {
        findings.push(tail.join("\n"));
    } else {
        findings.extend(failed);
    }
    findings
}

fn last_words(end: &CommandEnd) -> String {
    let last = end.err.lines().rev().chain(end.out.lines().rev()).find(|line| !line.trim().is_empty());
    last.map(|line| format!(": {}", line.trim())).unwrap_or_default()
}

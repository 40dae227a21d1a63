//! Running a project's command against the candidate, in a clean checkout of exactly that commit
//! and in a supervised process tree of its own; and the re-test, which is nothing more.

use std::{collections::BTreeMap, path::PathBuf};

use orch_contract::ProcessKind;

use super::{
    Looked,
    classify::{Meaning, Runner, TestEnd, classify, runner_of},
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

/// A command that came to its end, with the checkout it ran in.
pub(crate) struct CommandEnd {
    pub(crate) ended: Ended,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) checkout: Checkout,
}

/// Runs a command for a gate or an effect; `Err` is the answer when it could not be run at all.
pub(crate) async fn run(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
    head: &str,
    kind: ProcessKind,
    command: &Argv,
    timeout_ms: i64,
) -> Result<CommandEnd, Verdict> {
    let infra = |detail: String| Verdict::Infra { class: InfraClass::Other, detail };
    let commit = Sha::parse(head).map_err(|error| infra(chain(&error)))?;
    let name = format!("{}-{kind:?}", row.task.key).to_lowercase();
    let checkout = Checkout::make(site, &name, &commit).await.map_err(|error| infra(chain(&error)))?;
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
    let end = match run(engine, site, row, head, ProcessKind::Retest, command, timeout_ms).await {
        Ok(end) => end,
        Err(verdict) => return verdict.into(),
    };
    let classifies = engine.config.gates.merge_retest_classify_enabled;
    let verdict = judge(command, &end, classifies, "the re-test passed");
    Looked { verdict, run: Some(end.ended.run) }
}

/// The verdict of a test command's end. With `classifies` off every failure is red, as before the
/// incident.
pub(super) fn judge(command: &Argv, end: &CommandEnd, classifies: bool, passed: &str) -> Verdict {
    let runner = runner_of(&command.words());
    let said = format!("{}\n{}", end.out, end.err);
    match classify(runner, test_end(&end.ended), &said) {
        Meaning::Passed => Verdict::Pass { evidence: format!("{passed} (run {})", end.ended.run) },
        Meaning::Red(what) => Verdict::Red { findings: findings(&what, end.ended.run, &end.out) },
        Meaning::Infra(class, detail) if classifies => {
            Verdict::Infra { class, detail: format!("{detail} (run {}){}", end.ended.run, last_words(end)) }
        }
        Meaning::Infra(_, detail) => Verdict::Red { findings: findings(&detail, end.ended.run, &end.out) },
    }
}

/// The same for a run of the local forge's CI, which has no task of its own.
pub(crate) fn judge_ci(argv: &[String], ended: &Ended, out: &str) -> Meaning {
    // a CI command is the project's own judge: for an unknown runner its exit 1 means failure
    match (runner_of(argv), test_end(ended)) {
        (Runner::Generic, TestEnd::Exit(1)) => Meaning::Red("exit 1".to_owned()),
        (runner, end) => classify(runner, end, out),
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

fn findings(what: &str, run: RunId, out: &str) -> Vec<String> {
    let lines: Vec<&str> = out.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(FINDING_LINES)..).unwrap_or_default();
    let failed: Vec<String> = tail
        .iter()
        .filter(|line| line.starts_with("FAILED ") || line.starts_with("ERROR "))
        .map(|line| (*line).to_owned())
        .collect();
    let mut findings = vec![format!("{what} (run {run})")];
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

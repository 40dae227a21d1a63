//! The staging suite: the project's command prints its checks as JSON, and the core, not the
//! agent, says what they come to.
//!
//! Waivers are read by a later gate of the same shape; without one a failed `infra` check is a
//! sick machine and a failed `real` check is red.

use orch_contract::ProcessKind;
use serde::Deserialize;

use super::{Looked, commands};
use crate::{
    domain::verdict::{InfraClass, Verdict},
    engine::{Engine, Site},
    process::Stream,
    store::TaskRow,
};

/// Largest answer of a suite that is read.
const SUITE_MAX_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Deserialize)]
struct Suite {
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    id: String,
    title: String,
    status: CheckStatus,
    kind: CheckKind,
    #[serde(default)]
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CheckStatus {
    Pass,
    Fail,
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CheckKind {
    Real,
    Infra,
}

pub(super) async fn staging(engine: &Engine, site: &Site, row: &TaskRow, head: &str) -> Looked {
    let Some(command) = &site.project.staging_cmd else {
        return Verdict::Skipped { why: "staging_cmd is not set".to_owned() }.into();
    };
    let timeout_ms = site.project.limits(&engine.config).staging_ms;
    let told = commands::Told { kind: ProcessKind::Staging, command, timeout_ms, report: None };
    let end = match commands::run(engine, site, row, head, &told).await {
        Ok(end) => end,
        Err(verdict) => return verdict.into(),
    };
    let run = end.ended.run;
    let path = engine.runs.stream_path(run, Stream::Out);
    let answer = match std::fs::metadata(&path) {
        Ok(data) if data.len() > SUITE_MAX_BYTES => Err(format!("more than {SUITE_MAX_BYTES} bytes")),
        Ok(_) => std::fs::read(&path).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    // the answer carries the verdict; the exit code only says whether there can be one
    let verdict = match answer.and_then(|text| judge(&text)) {
        Ok(verdict) => verdict,
        Err(what) => Verdict::Infra {
            class: InfraClass::Other,
            detail: format!(
                "the staging suite ended with {} and no answer: {what} (run {run})",
                end.ended.outcome_text()
            ),
        },
    };
    Looked { verdict, run: Some(run) }
}

fn judge(text: &[u8]) -> Result<Verdict, String> {
    let suite: Suite = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let failed = |kind: CheckKind| -> Vec<&Check> {
        suite.checks.iter().filter(|check| check.status == CheckStatus::Fail && check.kind == kind).collect()
    };
    let (real, infra) = (failed(CheckKind::Real), failed(CheckKind::Infra));
    let ran = suite.checks.iter().filter(|check| check.status != CheckStatus::Skip).count();
    let passed = suite.checks.iter().filter(|check| check.status == CheckStatus::Pass).count();
    let ids = |checks: &[&Check]| {
        if checks.is_empty() {
            "none".to_owned()
        } else {
            checks.iter().map(|check| check.id.as_str()).collect::<Vec<_>>().join(" ")
        }
    };
    let summary =
        format!("{passed}/{ran} passed, real failures: {}, infra failures: {}", ids(&real), ids(&infra));
    if !real.is_empty() {
        let told = |check: &&Check| format!("staging {}: {}: {}", check.id, check.title, check.detail);
        return Ok(Verdict::Red { findings: real.iter().map(told).collect() });
    }
    if ran == 0 || !infra.is_empty() {
        return Ok(Verdict::Infra { class: InfraClass::Other, detail: summary });
    }
    Ok(Verdict::Pass { evidence: summary })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(checks: &[(&str, &str)]) -> Vec<u8> {
        let checks: Vec<String> = checks
            .iter()
            .enumerate()
            .map(|(n, (status, kind))| {
                format!(r#"{{"id":"C{n}","title":"t","status":"{status}","kind":"{kind}","detail":"d"}}"#)
            })
            .collect();
        format!(r#"{{"checks":[{}]}}"#, checks.join(",")).into_bytes()
    }

    #[test]
    fn real_failures_are_red_infra_failures_are_the_machine_and_nothing_run_is_no_pass() {
        assert!(matches!(judge(&suite(&[("pass", "real"), ("skip", "infra")])), Ok(Verdict::Pass { .. })));
        assert!(matches!(judge(&suite(&[("fail", "real"), ("fail", "infra")])), Ok(Verdict::Red { .. })));
        assert!(matches!(judge(&suite(&[("pass", "real"), ("fail", "infra")])), Ok(Verdict::Infra { .. })));
        assert!(matches!(judge(&suite(&[("skip", "real")])), Ok(Verdict::Infra { .. })));
        assert!(matches!(judge(&suite(&[])), Ok(Verdict::Infra { .. })));
        assert!(judge(b"8 passed").is_err());
        assert!(judge(&suite(&[("passed", "real")])).is_err(), "an unknown word is not a status");
    }
}

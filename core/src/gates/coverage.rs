//! Coverage of the candidate against the stored baseline of the target branch.
//!
//! Counts of lines, never rounded percents. A report without measured lines is "could not check",
//! not 100 %.

use std::path::Path;

use orch_contract::ProcessKind;
use serde::Deserialize;

use super::report::read_below;
use super::{Looked, commands};
use crate::{
    chain::chain,
    domain::{
        coverage::{Comparison, LineCounts, compare},
        verdict::{InfraClass, Verdict},
    },
    engine::{Engine, EngineError, Site},
    projects::CoverageFormat,
    store::TaskRow,
};

/// Largest report that is read.
const REPORT_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The fields of coverage.py's `coverage json` that are used (format 2 and 3).
#[derive(Debug, Deserialize)]
struct CoveragePyReport {
    totals: CoveragePyTotals,
}

#[derive(Debug, Deserialize)]
struct CoveragePyTotals {
    covered_lines: u64,
    num_statements: u64,
}

pub(super) async fn coverage(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
    head: &str,
) -> Result<Looked, EngineError> {
    let project = &site.project;
    let Some(configured) = &project.coverage else {
        return Ok(Verdict::Skipped { why: "coverage_cmd is not set".to_owned() }.into());
    };
    let timeout_ms = project.limits(&engine.config).coverage_ms;
    let ran =
        commands::run(engine, site, row, head, ProcessKind::Coverage, &configured.cmd, timeout_ms).await;
    let end = match ran {
        Ok(end) => end,
        Err(verdict) => return Ok(verdict.into()),
    };
    let run = Some(end.ended.run);
    if !end.ended.succeeded() {
        let detail = format!("the coverage command ended with {}", end.ended.outcome_text());
        let verdict = match commands::judge(&configured.cmd, &end, true, "") {
            Verdict::Infra { class, detail } => Verdict::Infra { class, detail },
            Verdict::Pass { .. } | Verdict::Red { .. } | Verdict::Wait { .. } | Verdict::Skipped { .. } => {
                Verdict::Infra { class: InfraClass::Other, detail }
            }
        };
        return Ok(Looked { verdict, run });
    }
    let counts = match read_report(end.checkout.path(), &configured.report, configured.format) {
        Ok(counts) => counts,
        Err(detail) => {
            return Ok(Looked { verdict: Verdict::Infra { class: InfraClass::Other, detail }, run });
        }
    };
    let now = engine.clock.now_ms();
    engine.store.record_coverage(project.name.clone(), head.to_owned(), counts, now).await?;
    let baseline =
        engine.store.coverage_baseline(project.name.clone(), project.target_branch.clone()).await?;
    let tolerance = u32::try_from(engine.config.gates.coverage_tolerance_ppm / 10).unwrap_or(0);
    Ok(Looked { verdict: judge(counts, baseline, tolerance), run })
}

/// Verdict of counts against a baseline with its revision.
fn judge(counts: LineCounts, baseline: Option<(String, LineCounts)>, tolerance_millipp: u32) -> Verdict {
    let shown = format!("{} ({} of {} lines)", counts.percent_text(), counts.covered, counts.measured);
    let Some((revision, base)) = baseline else {
        return Verdict::Pass { evidence: format!("{shown}; no baseline yet, the merge sets it") };
    };
    let against =
        format!("baseline {} ({} of {} lines, {revision})", base.percent_text(), base.covered, base.measured);
    match compare(counts, base, tolerance_millipp) {
        Comparison::Higher | Comparison::Within => Verdict::Pass { evidence: format!("{shown}; {against}") },
        Comparison::Lower => Verdict::Red { findings: vec![format!("coverage fell to {shown}; {against}")] },
    }
}

fn read_report(root: &Path, path: &Path, format: CoverageFormat) -> Result<LineCounts, String> {
    let text = read_below(root, path, REPORT_MAX_BYTES)?;
    let counts = match format {
        CoverageFormat::CoveragePyJson => parse_coverage_py(&text),
    };
    counts.map_err(|what| format!("{}: {what}", path.display()))
}

/// Reads totals of a coverage.py report.
pub(crate) fn parse_coverage_py(text: &[u8]) -> Result<LineCounts, String> {
    let report: CoveragePyReport = serde_json::from_slice(text).map_err(|error| chain(&error))?;
    let counts = LineCounts { covered: report.totals.covered_lines, measured: report.totals.num_statements };
    if counts.measured == 0 {
        return Err("no line was measured".to_owned());
    }
    if counts.covered > counts.measured {
        return Err(format!("{} covered of {} measured lines", counts.covered, counts.measured));
    }
    if counts.measured > u64::from(u32::MAX) {
        return Err(format!("{} measured lines are not believed", counts.measured));
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_measured_lines_is_no_report() {
        let report = |covered: u64, measured: u64| {
            format!(
                r#"{{"meta":{{"format":3}},"totals":{{"covered_lines":{covered},"num_statements":{measured}}}}}"#
            )
        };
        assert_eq!(parse_coverage_py(report(8, 10).as_bytes()), Ok(LineCounts { covered: 8, measured: 10 }));
        assert!(parse_coverage_py(report(0, 0).as_bytes()).is_err());
        assert!(parse_coverage_py(report(11, 10).as_bytes()).is_err());
        assert!(parse_coverage_py(b"{").is_err());
        assert!(parse_coverage_py(b"{\"totals\":{}}").is_err());
    }

    #[test]
    fn the_first_merge_sets_the_baseline_and_a_fall_is_red() {
        let now = LineCounts { covered: 80, measured: 100 };
        assert!(matches!(judge(now, None, 0), Verdict::Pass { .. }));
        let base = |covered| Some(("r".to_owned(), LineCounts { covered, measured: 100 }));
        assert!(matches!(judge(now, base(80), 0), Verdict::Pass { .. }));
        assert!(matches!(judge(now, base(81), 100), Verdict::Red { .. }));
    }
}

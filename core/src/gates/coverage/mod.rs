//! Coverage of the candidate against the stored baseline of the target branch.
//!
//! Counts of lines, never rounded percents. A report without measured lines is "could not check",
//! not 100 %.

mod formats;

use std::path::Path;

use super::report::read_below;
use super::{Looked, commands};
use crate::{
    domain::{
        coverage::{Comparison, LineCounts, compare},
        verdict::{InfraClass, Verdict},
    },
    engine::{Engine, EngineError, Site},
    projects::CoverageFormat,
    store::TaskRow,
};
use orch_contract::ProcessKind;

/// Largest report that is read.
const REPORT_MAX_BYTES: u64 = 64 * 1024 * 1024;

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
    let told = commands::Told {
        kind: ProcessKind::Coverage,
        command: &configured.cmd,
        timeout_ms,
        report: Some(&configured.report),
    };
    let end = match commands::run(engine, site, row, head, &told).await {
        Ok(end) => end,
        Err(verdict) => return Ok(verdict.into()),
    };
    let run = Some(end.ended.run);
    if !end.ended.succeeded() {
        let detail = format!("the coverage command ended with {}", end.ended.outcome_text());
        let verdict = match commands::judge(&configured.cmd, &end, None, true) {
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
    formats::parse(format, &text).map_err(|what| format!("{}: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_merge_sets_the_baseline_and_a_fall_is_red() {
        let now = LineCounts { covered: 80, measured: 100 };
        assert!(matches!(judge(now, None, 0), Verdict::Pass { .. }));
        let base = |covered| Some(("r".to_owned(), LineCounts { covered, measured: 100 }));
        assert!(matches!(judge(now, base(80), 0), Verdict::Pass { .. }));
        assert!(matches!(judge(now, base(81), 100), Verdict::Red { .. }));
    }
}

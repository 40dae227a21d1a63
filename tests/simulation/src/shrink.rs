//! A shorter history with the same fault: choices are cut away and calmed while it still fails.

use crate::{
    choices::Choices,
    history::{Ground, Report, run},
};

/// Tries of one shrinking.
const TRIES_MAX: u32 = 250;

/// The number of the invariant that a violation names, or its first words.
#[must_use]
pub fn sort_of(violation: &str) -> &str {
    violation.split_once(':').map_or(violation, |(sort, _)| sort)
}

/// Shrinks a failing report.
///
/// # Errors
/// What keeps a history from being run at all.
pub fn shrink(ground: &Ground, found: Report) -> anyhow::Result<Report> {
    let Some(violation) = found.violation.clone() else { return Ok(found) };
    let wanted = sort_of(&violation).to_owned();
    let mut best = found;
    let mut tries = 0;
    let mut size = best.choices.len();
    while size > 0 && tries < TRIES_MAX {
        let mut at = 0;
        while at < best.choices.len() && tries < TRIES_MAX {
            let until = (at + size).min(best.choices.len());
            let mut cut = best.choices.clone();
            cut.drain(at..until);
            let mut calmed = best.choices.clone();
            calmed[at..until].fill(0);
            let mut better = None;
            for script in [cut, calmed] {
                if script == best.choices {
                    continue;
                }
                tries += 1;
                let report = run(ground, Choices::scripted(script), false)?;
                let same = report.violation.as_deref().is_some_and(|other| sort_of(other) == wanted);
                if same && weight(&report) < weight(&best) {
                    better = Some(report);
                    break;
                }
            }
            match better {
                Some(report) => best = report,
                None => at = until,
            }
        }
        size /= 2;
    }
    run(ground, Choices::scripted(best.choices), true)
}

/// Fewer steps first, then fewer choices that are not calm.
fn weight(report: &Report) -> (u32, usize, usize) {
    let stirred = report.choices.iter().filter(|choice| **choice != 0).count();
    (report.count, stirred, report.choices.len())
}

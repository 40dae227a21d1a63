//! Build the candidate's image once more, where the one that is there is of something else.
//!
//! The probe is the label of the image itself. A build command of an earlier life was swept at the start
//! of this one, so that its act is over before anyone looks. What staging makes of the image is the
//! gates' to say; one that is still another's after a build is red there, and not built again.

use std::time::Duration;

use orch_contract::ProcessKind;

use crate::{
    chain::chain,
    domain::{
        effect::{EffectOutcome, Probe},
        verdict::Verdict,
    },
    engine::{Engine, Site, need_candidate},
    gates,
    process::short::{EndStatus, ShortCommand},
    store::TaskRow,
};

/// Longest wait for one answer of the revision command.
const REVISION_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of its answer that are read.
const REVISION_OUTPUT_BYTES: usize = 64 * 1024;

/// What the image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageOf {
    /// It carries this revision, whatever it looks like.
    Revision(String),
    /// There is no image, or it carries none.
    Nothing,
    /// It could not be asked.
    CannotTell(String),
}

impl ImageOf {
    /// In words, for evidence and findings.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Revision(revision) => format!("the image is of {revision}"),
            Self::Nothing => "no image carries a revision".to_owned(),
            Self::CannotTell(why) => format!("the image could not be asked: {why}"),
        }
    }
}

fn is_on(engine: &Engine, site: &Site) -> bool {
    site.project.image.is_some() && engine.config.gates.image.is_on_for(&site.project.name)
}

/// Asks the project's revision command. Nothing printed is no image; any end but 0 is no answer.
pub(crate) async fn image_of(engine: &Engine, site: &Site, row: &TaskRow, head: &str) -> ImageOf {
    let Some(image) = &site.project.image else {
        return ImageOf::CannotTell("no image commands are configured".to_owned());
    };
    let told = [("ORCH_WORK_ITEM", row.task.key.as_str()), ("ORCH_REVISION", head)];
    let base = engine.runs.base_env().iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let command = ShortCommand {
        program: image.revision_cmd.program().into(),
        args: image.revision_cmd.arguments().iter().map(Into::into).collect(),
        cwd: site.checkouts.clone(),
        env: base.chain(told).map(|(key, value)| (key.into(), value.into())).collect(),
        stdin: None,
        timeout: REVISION_LIMIT,
        max_output_bytes: REVISION_OUTPUT_BYTES,
    };
    match engine.runs.ask(command).await {
        Err(error) => ImageOf::CannotTell(chain(&error)),
        Ok(output) => match output.status {
            EndStatus::Code(0) => match String::from_utf8_lossy(&output.stdout).trim() {
                "" => ImageOf::Nothing,
                revision => ImageOf::Revision(revision.to_owned()),
            },
            EndStatus::Code(code) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                ImageOf::CannotTell(format!("exit {code}: {said}"))
            }
            EndStatus::Signal(signal) => ImageOf::CannotTell(format!("signal {signal}")),
        },
    }
}

/// `None` when the image is the candidate's already, or nobody wants one.
pub(super) async fn revision(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
) -> Result<Option<String>, EffectOutcome> {
    if !is_on(engine, site) {
        return Ok(None);
    }
    let head = need_candidate(row).map_err(EffectOutcome::Failed)?.head.clone();
    match image_of(engine, site, row, &head).await {
        ImageOf::Revision(revision) if revision == head => Ok(None),
        ImageOf::Revision(_) | ImageOf::Nothing => Ok(Some(head)),
        unknown @ ImageOf::CannotTell(_) => Err(EffectOutcome::Failed(unknown.told())),
    }
}

pub(super) async fn probe(engine: &Engine, site: &Site, row: &TaskRow) -> Probe {
    let Some(candidate) = &row.task.candidate else { return Probe::Absent };
    let looked = image_of(engine, site, row, &candidate.head).await;
    match &looked {
        ImageOf::Revision(revision) if *revision == candidate.head => Probe::Done(looked.told()),
        ImageOf::Revision(_) | ImageOf::Nothing => Probe::Absent,
        ImageOf::CannotTell(_) => Probe::CannotTell(looked.told()),
    }
}

pub(super) async fn act(engine: &Engine, site: &Site, row: &TaskRow) -> EffectOutcome {
    let head = match need_candidate(row) {
        Ok(candidate) => candidate.head.clone(),
        Err(why) => return EffectOutcome::Failed(why),
    };
    let Some(image) = &site.project.image else {
        return EffectOutcome::Failed("no image commands are configured".to_owned());
    };
    let timeout_ms = site.project.limits(&engine.config).image_build_ms;
    let told =
        gates::Told { kind: ProcessKind::ImageBuild, command: &image.build_cmd, timeout_ms, report: None };
    match gates::run_in_checkout(engine, site, row, &head, &told).await {
        Ok(end) if end.ended.succeeded() => {
            EffectOutcome::Done(format!("image of {head} built (run {})", end.ended.run))
        }
        Ok(end) => {
            let last = end.err.lines().last().unwrap_or("").trim();
            EffectOutcome::Failed(format!(
                "the build command ended with {} (run {}): {last}",
                end.ended.outcome_text(),
                end.ended.run
            ))
        }
        Err(verdict @ (Verdict::Infra { .. } | Verdict::Red { .. })) => {
            EffectOutcome::Failed(verdict.summary())
        }
        Err(verdict @ (Verdict::Pass { .. } | Verdict::Wait { .. } | Verdict::Skipped { .. })) => {
            EffectOutcome::Failed(format!("the build was not run: {}", verdict.summary()))
        }
    }
}

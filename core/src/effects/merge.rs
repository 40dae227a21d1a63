//! Merge the pull request, through the forge, guarded by the tested head and the tested base.
//!
//! The probe is the pull request itself. Main is never pushed to from here.

use crate::{
    chain::chain,
    domain::effect::{EffectOutcome, Probe},
    engine::{Engine, Site, need_candidate},
    forge::{ForgeError, MergeOutcome, MergeRequest, PrNumber, PullRequestState},
    git::Sha,
    store::TaskRow,
};

/// What is written as evidence: `merged as <sha>`.
const EVIDENCE: &str = "merged as ";

pub(super) fn merged_revision(evidence: &str) -> Option<String> {
    evidence.strip_prefix(EVIDENCE).map(str::to_owned)
}

pub(super) async fn landed_revision(site: &Site, row: &TaskRow) -> Result<String, EffectOutcome> {
    match probe(site, row).await {
        Probe::Done(evidence) => Ok(merged_revision(&evidence).unwrap_or(evidence)),
        Probe::Absent => Err(EffectOutcome::Failed("no candidate was prepared".to_owned())),
        Probe::Impossible(why) | Probe::CannotTell(why) | Probe::UnderWay { why, .. } => {
            Err(EffectOutcome::Failed(why))
        }
    }
}

pub(super) async fn probe(site: &Site, row: &TaskRow) -> Probe {
    let Some(number) = row.task.pull_request.and_then(pr_number) else { return Probe::Absent };
    match site.forge.get_pr(number).await {
        Ok(pull) => match pull.state {
            PullRequestState::Merged { merge_sha } => Probe::Done(format!("{EVIDENCE}{merge_sha}")),
            PullRequestState::Open => Probe::Absent,
            PullRequestState::Closed => Probe::Impossible(format!("pull request {number} was closed")),
        },
        Err(ForgeError::NotFound { what }) => Probe::Impossible(format!("the forge has no {what}")),
        Err(error) => Probe::CannotTell(chain(&error)),
    }
}

pub(super) async fn act(engine: &Engine, site: &Site, row: &TaskRow) -> EffectOutcome {
    match merge(engine, site, row).await {
        Ok(outcome) => outcome,
        Err(error) => EffectOutcome::Failed(error),
    }
}

async fn merge(engine: &Engine, site: &Site, row: &TaskRow) -> Result<EffectOutcome, String> {
    let candidate = need_candidate(row)?;
    let number = row.task.pull_request.and_then(pr_number).ok_or("there is no pull request")?;
    let sha = |text: &str| Sha::parse(text).map_err(|error| chain(&error));
    let request = MergeRequest {
        number,
        expected_head: sha(&candidate.head)?,
        expected_base: sha(&candidate.base)?,
        method: site.project.merge_method.into(),
        message: format!(
            "{}: {}\n\nPull-Request: {number}\nWork-Item: {}\n",
            row.task.key, row.task.title, row.task.key
        ),
        author: crate::engine::identity(),
        at_ms: engine.clock.now_ms(),
    };
    let outcome = site.forge.merge(&request).await.map_err(|error: ForgeError| chain(&error))?;
    Ok(match outcome {
        MergeOutcome::Merged { merge_sha } | MergeOutcome::AlreadyMerged { merge_sha } => {
            EffectOutcome::Done(format!("{EVIDENCE}{merge_sha}"))
        }
        MergeOutcome::HeadMoved { .. } => EffectOutcome::Moved("the branch moved on the forge".to_owned()),
        MergeOutcome::BaseMoved { .. } => EffectOutcome::Moved("the target branch moved".to_owned()),
        MergeOutcome::Conflict => EffectOutcome::Moved("the forge reports a conflict".to_owned()),
        MergeOutcome::NotMergeable { reason } => EffectOutcome::Failed(reason),
        MergeOutcome::Closed => EffectOutcome::Failed(format!("pull request {number} was closed")),
    })
}

pub(crate) fn pr_number(number: i64) -> Option<PrNumber> {
    u64::try_from(number).ok().map(PrNumber)
}

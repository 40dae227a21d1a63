//! Raise the coverage baseline to what the merged candidate measured. Up only, tied to the merged
//! revision; the probe is the stored baseline.

use crate::{
    chain::chain,
    domain::effect::{EffectOutcome, Probe},
    engine::{Engine, LANDED_TREE, Site},
    store::{LeaseProof, RatchetWrite, TaskRow},
};

pub(super) fn is_on(engine: &Engine, site: &Site) -> bool {
    site.project.coverage.is_some() && engine.config.gates.coverage.is_on_for(&site.project.name)
}

pub(super) async fn probe(engine: &Engine, site: &Site, row: &TaskRow) -> Probe {
    let Some(merged) = &row.task.merged else { return Probe::Absent };
    let project = &site.project;
    let looked = engine.store.coverage_baseline(project.name.clone(), project.target_branch.clone()).await;
    match looked {
        Ok(Some((revision, counts))) if revision == *merged => {
            Probe::Done(format!("baseline is {} of {revision}", counts.percent_text()))
        }
        Ok(_) => Probe::Absent,
        Err(error) => Probe::CannotTell(chain(&error)),
    }
}

pub(super) async fn act(engine: &Engine, site: &Site, row: &TaskRow, proof: &LeaseProof) -> EffectOutcome {
    let Some(merged) = row.task.merged.clone() else {
        return EffectOutcome::Failed("nothing is merged yet".to_owned());
    };
    let Some(candidate) = &row.task.candidate else {
        return EffectOutcome::Done("the merged revision was not measured; the baseline stays".to_owned());
    };
    let accepted = engine.store.approval(row.id, LANDED_TREE.to_owned(), merged.clone()).await;
    if let Ok(Some(who)) = accepted {
        return EffectOutcome::Done(format!(
            "what landed was accepted by {who}, not measured; the baseline stays"
        ));
    }
    let project = site.project.name.clone();
    let counts = match engine.store.measured_coverage(project.clone(), candidate.head.clone()).await {
        Ok(Some(counts)) => counts,
        Ok(None) => {
            return EffectOutcome::Done("the candidate was not measured; the baseline stays".to_owned());
        }
        Err(error) => return EffectOutcome::Failed(chain(&error)),
    };
    let branch = site.project.target_branch.clone();
    let now = engine.clock.now_ms();
    match engine.store.ratchet_coverage(proof, project, branch, merged.clone(), counts, now).await {
        Ok(RatchetWrite::Raised) => {
            EffectOutcome::Done(format!("baseline is {} of {merged}", counts.percent_text()))
        }
        Ok(RatchetWrite::Kept) => {
            EffectOutcome::Done(format!("baseline stays at or above {}", counts.percent_text()))
        }
        Ok(RatchetWrite::Fenced) => EffectOutcome::Failed("the lease was lost".to_owned()),
        Err(error) => EffectOutcome::Failed(chain(&error)),
    }
}

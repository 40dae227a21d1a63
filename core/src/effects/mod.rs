//! Effects: how to look whether one happened, and how to make it happen. One file an effect.
//!
//! [`perform`] keeps the order that makes an effect happen at most once: journal the intent (refused
//! unless the fencing token is current), ask the outside, act with the guard that the outside
//! offers, journal the end with evidence. Nothing here decides what follows.

mod candidate;
mod close;
mod deploy;
mod image;
mod merge;
mod ratchet;

pub(crate) use deploy::{Health, by_hand, health, is_of_this_program};
pub(crate) use image::{ImageOf, image_of};
pub(crate) use merge::pr_number;

use crate::{
    domain::{
        actor::Actor,
        effect::{EffectKind, EffectOutcome, Probe},
        event::Event,
        stage::Stage,
    },
    engine::{Engine, EngineError, Site},
    failpoint::{self, Plant, Point, planted},
    guards::Guard,
    store::{EffectRow, IntentWrite, LeaseProof, TaskRow},
};

/// Carries an effect out, or finds that it stands. `None` when the lease was lost.
pub(crate) async fn perform(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
    proof: &LeaseProof,
    kind: EffectKind,
    actor: Actor,
) -> Result<Option<EffectOutcome>, EngineError> {
    let revision = match revision_of(engine, site, row, kind).await {
        Ok(Some(revision)) => revision,
        // switched off or nothing to do: no intent, no act
        Ok(None) => return Ok(Some(EffectOutcome::Done("nothing to do".to_owned()))),
        Err(why) => return Ok(Some(why)),
    };
    // naming these takes a look: the pair of a candidate does not stand as it is, the image is another's
    let proven_absent = match kind {
        EffectKind::PrepareCandidate | EffectKind::RebuildImage => true,
        // or a person said so
        EffectKind::StartDeploy => row.task.deploy_after.is_some(),
        EffectKind::Merge | EffectKind::RatchetCoverage | EffectKind::CloseWorkItem => false,
    };
    let now = engine.clock.now_ms();
    let intent = engine.store.write_intent(proof, kind, revision.clone(), proven_absent, now).await?;
    let (id, fresh) = match intent {
        IntentWrite::Fenced => return Ok(None),
        IntentWrite::Done(evidence) => return Ok(Some(EffectOutcome::Done(evidence))),
        IntentWrite::Open { id, fresh } => (id, fresh),
    };
    failpoint::hit(Point::IntentAfterCommit, kind.as_str());
    let looked = if engine.store.guards().stands(Guard::ProbeFirst) {
        probe(engine, site, row, kind).await
    } else {
        Probe::Absent
    };
    let outcome = match looked {
        Probe::Done(evidence) => EffectOutcome::Done(evidence),
        Probe::Absent => {
            failpoint::hit(Point::EffectBeforeAct, kind.as_str());
            let outcome = act(engine, site, row, proof, kind).await;
            failpoint::hit(Point::EffectAfterAct, kind.as_str());
            outcome
        }
        Probe::Impossible(why) => EffectOutcome::Moved(why),
        // the next try waits for it, and then looks again
        Probe::UnderWay { why, .. } => EffectOutcome::Failed(why),
        // nothing was begun under a fresh intent, so nothing can be in doubt
        Probe::CannotTell(why) if fresh => EffectOutcome::Failed(why),
        Probe::CannotTell(why) => EffectOutcome::InDoubt(why),
    };
    let now = engine.clock.now_ms();
    match &outcome {
        EffectOutcome::Done(evidence) => {
            let events = events_of(row, kind, &revision, evidence);
            if !engine.store.effect_done(proof, id, actor, evidence.clone(), events, now).await? {
                return Ok(None);
            }
            if kind == EffectKind::StartDeploy {
                engine.give_deploy_time(row.id);
            }
            failpoint::hit(Point::DoneAfterCommit, kind.as_str());
            tracing::info!(work_item = %row.task.key, effect = %kind, evidence, "effect stands");
        }
        EffectOutcome::Refused(why) | EffectOutcome::Moved(why) => {
            if !engine.store.effect_void(proof, id, why.clone(), now).await? {
                return Ok(None);
            }
        }
        // the intent stays open: the next try asks the outside before anything else
        EffectOutcome::Failed(_) | EffectOutcome::InDoubt(_) => {}
    }
    let word = match &outcome {
        EffectOutcome::Done(_) => "done",
        EffectOutcome::Refused(_) => "refused",
        EffectOutcome::Moved(_) => "moved",
        EffectOutcome::Failed(_) => "failed",
        EffectOutcome::InDoubt(_) => "in_doubt",
    };
    *engine.counters.tally().effects.entry((kind.as_str(), word)).or_default() += 1;
    Ok(Some(outcome))
}

/// Asks the outside whether the task's present effect of this kind stands.
pub(crate) async fn probe(engine: &Engine, site: &Site, row: &TaskRow, kind: EffectKind) -> Probe {
    match kind {
        EffectKind::PrepareCandidate => candidate::probe(site, row).await,
        EffectKind::RebuildImage => image::probe(engine, site, row).await,
        EffectKind::Merge => merge::probe(site, row).await,
        EffectKind::RatchetCoverage => ratchet::probe(engine, site, row).await,
        EffectKind::StartDeploy => deploy::probe(engine, site, row).await,
        EffectKind::CloseWorkItem => close::probe(engine, row).await,
    }
}

/// Asks the outside about an intent of an earlier try.
pub(crate) async fn probe_intent(engine: &Engine, site: &Site, row: &TaskRow, intent: &EffectRow) -> Probe {
    match intent.kind {
        // rebase and push are guarded and idempotent: whatever stands is taken as the new start
        EffectKind::PrepareCandidate => Probe::Absent,
        EffectKind::StartDeploy if planted(Plant::IntentIsDone) => Probe::Done("taken for done".to_owned()),
        EffectKind::RebuildImage
        | EffectKind::Merge
        | EffectKind::RatchetCoverage
        | EffectKind::StartDeploy
        | EffectKind::CloseWorkItem => probe(engine, site, row, intent.kind).await,
    }
}

async fn act(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
    proof: &LeaseProof,
    kind: EffectKind,
) -> EffectOutcome {
    match kind {
        EffectKind::PrepareCandidate => candidate::act(engine, site, row).await,
        EffectKind::RebuildImage => image::act(engine, site, row).await,
        EffectKind::Merge => merge::act(engine, site, row).await,
        EffectKind::RatchetCoverage => ratchet::act(engine, site, row, proof).await,
        EffectKind::StartDeploy => deploy::act(engine, site, row).await,
        EffectKind::CloseWorkItem => close::act(engine, row).await,
    }
}

/// The revision that an effect is journalled under; `None` when there is nothing to do.
async fn revision_of(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
    kind: EffectKind,
) -> Result<Option<String>, EffectOutcome> {
    let merged = || {
        row.task
            .merged
            .clone()
            .map(Some)
            .ok_or_else(|| EffectOutcome::Failed("nothing is merged yet".to_owned()))
    };
    match kind {
        EffectKind::PrepareCandidate => candidate::revision(site, row).await,
        EffectKind::RebuildImage => image::revision(engine, site, row).await,
        EffectKind::Merge => match &row.task.candidate {
            Some(candidate) => Ok(Some(candidate.head.clone())),
            // merged by a person before we prepared anything: journalled under what landed
            None => Ok(Some(merge::landed_revision(site, row).await?)),
        },
        EffectKind::RatchetCoverage if !ratchet::is_on(engine, site) => Ok(None),
        EffectKind::StartDeploy if site.project.deploy.is_none() => Ok(None),
        // it was started on the way here: again by a person's word only
        EffectKind::StartDeploy if row.task.stage == Stage::Deploy && row.task.deploy_after.is_none() => {
            Ok(None)
        }
        EffectKind::RatchetCoverage | EffectKind::StartDeploy | EffectKind::CloseWorkItem => merged(),
    }
}

/// What an effect changes in the task.
pub(crate) fn events_of(row: &TaskRow, kind: EffectKind, revision: &str, evidence: &str) -> Vec<Event> {
    let done =
        Event::EffectDone { effect: kind, revision: revision.to_owned(), evidence: evidence.to_owned() };
    let mut events = vec![done];
    match kind {
        EffectKind::PrepareCandidate => events.extend(candidate::event(evidence)),
        EffectKind::Merge if row.task.merged.is_none() => {
            events.extend(merge::merged_revision(evidence).map(|revision| Event::Merged { revision }));
        }
        EffectKind::RebuildImage
        | EffectKind::Merge
        | EffectKind::RatchetCoverage
        | EffectKind::StartDeploy
        | EffectKind::CloseWorkItem => {}
    }
    events
}

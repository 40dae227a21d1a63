//! The edge with effects: its steps in the order of the table, under the lease.
//!
//! Every entry walks from the start. A gate's pass of exactly this candidate is reused, an effect
//! that stands outside is found by its probe, so a walk after a crash ends where the crashed one
//! would have. Ground that moves (target or head) starts the walk over, a bounded number of times.

use super::{Engine, EngineError, Site};
use crate::{
    domain::{
        actor::Actor,
        effect::{EffectKind, EffectOutcome, Probe},
        stage::{Stage, Step},
        task::Candidate,
        transition::Checked,
        verdict::{InfraClass, Verdict, Waitee},
    },
    effects,
    failpoint::{self, Point},
    gates,
    guards::Guard,
    store::{LeaseProof, TaskRow},
};

/// Walks over moved ground within one entry.
const WALKS_MAX: u32 = 3;

/// What became of the intents of an earlier try.
#[derive(Debug)]
pub(super) enum Settled {
    /// None is open any more.
    Clear,
    /// One cannot be told: nothing may begin.
    InDoubt {
        /// Which effect.
        step: String,
        /// What is in doubt.
        cause: String,
    },
    /// One was begun and may still come to stand: nothing may begin before that is known.
    UnderWay(Checked),
    /// The lease is somebody else's by now.
    Fenced,
}

enum Walk {
    /// A person waits to enter: nothing is concluded.
    Yielded,
    Ended(Checked),
    Moved(String),
    Fenced,
}

impl Engine {
    /// Walks the edge. `None` when the lease was lost on the way.
    pub(super) async fn act(
        &self,
        site: &Site,
        row: &TaskRow,
        proof: &LeaseProof,
        actor: Actor,
    ) -> Result<Option<Checked>, EngineError> {
        let mut moved = String::new();
        for _ in 0..WALKS_MAX {
            match self.walk(site, row, proof, actor).await? {
                Walk::Ended(checked) => return Ok(Some(checked)),
                Walk::Fenced | Walk::Yielded => return Ok(None),
                Walk::Moved(why) => {
                    tracing::info!(work_item = %row.task.key, why, "the ground moved; the edge starts over");
                    moved = why;
                }
            }
        }
        let detail = format!("the ground moved {WALKS_MAX} times: {moved}");
        Ok(Some(stopped("edge", Verdict::Infra { class: InfraClass::Other, detail })))
    }

    async fn walk(
        &self,
        site: &Site,
        row: &TaskRow,
        proof: &LeaseProof,
        actor: Actor,
    ) -> Result<Walk, EngineError> {
        let steps = row.task.stage.row().steps;
        let merge_at = steps.iter().position(|step| *step == Step::Effect(EffectKind::Merge));
        let landed = row.task.merged.is_some() || self.has_landed(site, row).await;
        if merge_at.is_some()
            && !landed
            && let Some(wait) = self.take_slot(site, proof).await?
        {
            return Ok(Walk::Ended(stopped("merge_slot", wait)));
        }
        for (at, step) in steps.iter().enumerate() {
            if landed && merge_at.is_some_and(|merge_at| at < merge_at) {
                continue;
            }
            if self.yields.asked(row.id) {
                return Ok(Walk::Yielded);
            }
            // effects write into the task's history: candidate and merged revision are read anew
            let Some(row) = self.store.task_by_id(row.id).await? else { return Ok(Walk::Fenced) };
            match *step {
                Step::Gate(gate) => {
                    let verdict =
                        gates::evaluate(self, site, &row, gate, row.task.candidate.as_ref()).await?;
                    // a person may have merged while the gate looked: that is written down first, so
                    // that the red verdict blocks and nothing is rolled back
                    if matches!(verdict, Verdict::Red { .. })
                        && !landed
                        && self.has_landed(site, &row).await
                        && effects::perform(self, site, &row, proof, EffectKind::Merge, actor)
                            .await?
                            .is_none()
                    {
                        return Ok(Walk::Fenced);
                    }
                    if self.yields.asked(row.id) {
                        return Ok(Walk::Yielded);
                    }
                    if !verdict.lets_through() {
                        return Ok(Walk::Ended(stopped(gate.as_str(), verdict)));
                    }
                }
                Step::Effect(kind) => match effects::perform(self, site, &row, proof, kind, actor).await? {
                    None => return Ok(Walk::Fenced),
                    Some(EffectOutcome::Done(_)) => {}
                    Some(EffectOutcome::Moved(why)) => return Ok(Walk::Moved(why)),
                    Some(EffectOutcome::Refused(finding)) => {
                        return Ok(Walk::Ended(stopped(
                            kind.as_str(),
                            Verdict::Red { findings: vec![finding] },
                        )));
                    }
                    Some(EffectOutcome::Failed(detail)) => {
                        let verdict = Verdict::Infra { class: InfraClass::Other, detail };
                        return Ok(Walk::Ended(stopped(kind.as_str(), verdict)));
                    }
                    Some(EffectOutcome::InDoubt(cause)) => {
                        return Ok(Walk::Ended(Checked::InDoubt { step: kind.to_string(), cause }));
                    }
                },
            }
        }
        Ok(Walk::Ended(Checked::Through))
    }

    /// Whether the candidate is on the target already. A look that fails is "not known to be":
    /// the merge step looks again and does not believe easily.
    pub(super) async fn has_landed(&self, site: &Site, row: &TaskRow) -> bool {
        row.task.stage == Stage::DeployStaging
            && matches!(effects::probe(self, site, row, EffectKind::Merge).await, Probe::Done(_))
    }

    async fn take_slot(&self, site: &Site, proof: &LeaseProof) -> Result<Option<Verdict>, EngineError> {
        let (project, branch) = (site.project.name.clone(), site.project.target_branch.clone());
        let taken = self.store.take_merge_slot(proof, project, branch.clone(), self.clock.now_ms()).await?;
        let Err(holder) = taken else { return Ok(None) };
        let holder = self
            .store
            .task_by_id(holder)
            .await?
            .map_or_else(|| "another task".to_owned(), |row| row.task.key.to_string());
        Ok(Some(Verdict::Wait {
            reason: format!("{holder} merges into {branch}"),
            who: Waitee::Slot { name: "merge slot".to_owned() },
            until_ms: None,
        }))
    }

    /// Settles intents that an earlier try left open, by asking the outside.
    pub(super) async fn settle_open(
        &self,
        site: &Site,
        row: &TaskRow,
        proof: &LeaseProof,
        actor: Actor,
    ) -> Result<Settled, EngineError> {
        if !self.store.guards().stands(Guard::SettledFirst) {
            return Ok(Settled::Clear);
        }
        let open = self.store.effects_of(row.id).await?;
        for intent in open.into_iter().filter(|effect| effect.state == "intent") {
            let now = self.clock.now_ms();
            let kind = intent.kind;
            let Some(row) = self.store.task_by_id(row.id).await? else { return Ok(Settled::Fenced) };
            match effects::probe_intent(self, site, &row, &intent).await {
                Probe::Done(evidence) => {
                    let events = effects::events_of(&row, kind, &intent.revision, &evidence);
                    let text = format!("found done after a restart: {evidence}");
                    if !self.store.effect_done(proof, intent.id, actor, text, events, now).await? {
                        return Ok(Settled::Fenced);
                    }
                    failpoint::hit(Point::SettledDone, kind.as_str());
                    tracing::info!(work_item = %row.task.key, effect = %kind, evidence, "an earlier try had done it");
                }
                // every act here is guarded by the outside, so asking again cannot double it
                Probe::Absent => {
                    let why = "proven not done".to_owned();
                    if !self.store.effect_void(proof, intent.id, why, now).await? {
                        return Ok(Settled::Fenced);
                    }
                    failpoint::hit(Point::SettledVoid, kind.as_str());
                }
                Probe::Impossible(why) => {
                    if !self.store.effect_void(proof, intent.id, why, now).await? {
                        return Ok(Settled::Fenced);
                    }
                }
                Probe::UnderWay { why, until_ms } => {
                    let who = Waitee::Deploy { name: intent.revision };
                    let wait = Verdict::Wait { reason: why, who, until_ms: Some(until_ms) };
                    return Ok(Settled::UnderWay(stopped(kind.as_str(), wait)));
                }
                Probe::CannotTell(_) if !self.store.guards().stands(Guard::DoubtParks) => {
                    if !self.store.effect_void(proof, intent.id, "not known".to_owned(), now).await? {
                        return Ok(Settled::Fenced);
                    }
                }
                Probe::CannotTell(cause) => return Ok(Settled::InDoubt { step: kind.to_string(), cause }),
            }
        }
        Ok(Settled::Clear)
    }
}

fn stopped(step: &str, verdict: Verdict) -> Checked {
    Checked::Stopped { step: step.to_owned(), verdict }
}

/// The candidate, or the answer of a step that needs one and finds none.
pub(crate) fn need_candidate(row: &TaskRow) -> Result<&Candidate, String> {
    row.task.candidate.as_ref().ok_or_else(|| "no candidate was prepared".to_owned())
}

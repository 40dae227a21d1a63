//! `stage_stuck`: a task that stays in one stage for too long while no person is waited for.
//!
//! Each stage has a limit of its own, raised to what the core itself allows one run or one edge: a
//! pipeline with slow agents is not stuck. Waiting for a person is `approval_waiting`'s business,
//! at any age. Ages stand on the core's clock.

use orch_contract::{ObservationDocument, OpenTask};

use super::age::{NO_AGE, age_ms, began_ms};
use super::next_actor::{NextActor, next_actor};
use super::{
    ActorWord, CaseKey, Context, Ending, Entity, Facts, Finding, HeldScope, Severity, SignalKind,
    SignalState, StageStuckFacts, hold_slot, readable_document, switched_off,
};
use crate::observe::Observation;

const HOUR_MS: i64 = 3_600_000;

/// Limits by stage, in milliseconds: two runs of an agent for most, more where many rounds are
/// normal (`development`) or gates follow the agent (`deploy-staging`).
const STAGE_LIMITS_MS: [(&str, i64); 8] = [
    ("created", 2 * HOUR_MS),
    ("analysis", 2 * HOUR_MS),
    ("architecture", 2 * HOUR_MS),
    ("development", 4 * HOUR_MS),
    ("review", 2 * HOUR_MS),
    ("testing", 2 * HOUR_MS),
    ("deploy-staging", 4 * HOUR_MS),
    ("deploy", HOUR_MS),
];

/// The limit of a stage that only a newer core knows, in milliseconds.
const OTHER_STAGE_LIMIT_MS: i64 = 4 * HOUR_MS;

/// The stage whose edge merges and deploys: beside an agent's run all gates happen in it.
const EDGE_STAGE: &str = "deploy-staging";

pub(super) fn derive(observation: &Observation, context: &Context<'_>, states: &mut Vec<SignalState>) {
    if !context.thresholds.enabled(SignalKind::StageStuck) {
        return switched_off(SignalKind::StageStuck, context, states);
    }
    let document = match readable_document(observation) {
        Ok(document) => document,
        Err(reason) => return hold_slot(SignalKind::StageStuck, reason, states),
    };
    for task in &document.tasks {
        let key = CaseKey { slot: SignalKind::StageStuck, entity: Entity::Task(task.work_item.clone()) };
        let limit_ms = context.thresholds.stage_age_ms.unwrap_or_else(|| limit_ms(document, &task.stage));
        let age_ms = age_ms(document.generated_at_ms, task.stage_since_ms);
        states.push(match (next_actor(task), age_ms) {
            (NextActor::Person, _) => SignalState::Clear { key, how: Ending::WaitsForPerson },
            (NextActor::Nobody, _) => SignalState::Clear { key, how: Ending::TaskFinished },
            (NextActor::CannotTell, _) => SignalState::Held {
                scope: HeldScope::Case(key),
                reason: "the core uses a word that this watchdog does not know".to_owned(),
            },
            (NextActor::Machine, Some(age_ms)) if age_ms > limit_ms => SignalState::Active(Finding {
                signal: SignalKind::StageStuck,
                entity: key.entity,
                severity: Severity::Warning,
                since_ms: began_ms(observation.at_ms, age_ms.saturating_sub(limit_ms)),
                facts: Facts::StageStuck(facts(task, age_ms, limit_ms)),
            }),
            (NextActor::Machine, None) => {
                SignalState::Held { scope: HeldScope::Case(key), reason: NO_AGE.to_owned() }
            }
            (NextActor::Machine, Some(_)) => {
                SignalState::Clear { key, how: Ending::WithinStageLimit { stage: task.stage.clone() } }
            }
        });
    }
}

fn limit_ms(document: &ObservationDocument, stage: &str) -> i64 {
    let of_stage = STAGE_LIMITS_MS.iter().find(|(name, _)| *name == stage);
    let usual_ms = of_stage.map_or(OTHER_STAGE_LIMIT_MS, |(_, limit_ms)| *limit_ms);
    let timeouts = &document.timeouts;
    let lawful_ms = match stage == EDGE_STAGE {
        true => timeouts.largest_ms.saturating_add(timeouts.edge_sum_ms),
        false => timeouts.largest_ms,
    };
    usual_ms.max(lawful_ms)
}

fn facts(task: &OpenTask, age_ms: i64, limit_ms: i64) -> StageStuckFacts {
    StageStuckFacts {
        work_item: task.work_item.clone(),
        repo: task.repo.clone(),
        title: task.title.clone(),
        stage: task.stage.clone(),
        age_ms,
        limit_ms,
        cause: task.cause.clone(),
        waits_for: task
            .waits_for
            .as_ref()
            .map(|who| ActorWord { kind: who.kind.into(), name: who.name.clone() }),
        until_ms: task.until_ms,
    }
}

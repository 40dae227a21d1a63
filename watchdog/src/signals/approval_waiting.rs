//! `approval_waiting`: a task that waits for a person for too long.
//!
//! The core publishes since when a task is in its stage, not since when it waits; so the wait is
//! counted from when it was last seen not waiting (memory over ticks), and from the beginning of
//! the stage where that was never seen: a wait that began while nobody looked is told rather too
//! early than never. Both stand on the core's clock.

use orch_contract::{OpenTask, Standing, WaitsForKind};

use super::age::{NO_AGE, age_ms, began_ms};
use super::next_actor::{NextActor, next_actor};
use super::{
    ApprovalFacts, CaseKey, Context, Ending, Entity, Facts, Finding, HeldScope, Memory, Severity, SignalKind,
    SignalState, hold_slot, readable_document, switched_off,
};
use crate::observe::Observation;

pub(super) fn derive(
    observation: &Observation,
    context: &Context<'_>,
    memory: &mut Memory,
    states: &mut Vec<SignalState>,
) {
    if !context.thresholds.enabled(SignalKind::ApprovalWaiting) {
        return switched_off(SignalKind::ApprovalWaiting, context, states);
    }
    let document = match readable_document(observation) {
        Ok(document) => document,
        Err(reason) => return hold_slot(SignalKind::ApprovalWaiting, reason, states),
    };
    let now = document.generated_at_ms;
    let limit_ms = context.thresholds.approval_age_ms;
    memory.keep_tasks(&document.tasks);
    for task in &document.tasks {
        let entity = Entity::Task(task.work_item.clone());
        let key = CaseKey { slot: SignalKind::ApprovalWaiting, entity };
        let state = match next_actor(task) {
            NextActor::CannotTell => {
                let reason = "the core uses a word that this watchdog does not know".to_owned();
                SignalState::Held { scope: HeldScope::Case(key), reason }
            }
            NextActor::Machine | NextActor::Nobody => {
                memory.not_waiting(&task.work_item, now);
                SignalState::Clear { key, how: Ending::PersonActed }
            }
            NextActor::Person => {
                let waits_ms = age_ms(now, task.stage_since_ms).map(|_| {
                    now.saturating_sub(memory.waits_since(&task.work_item, task.stage_since_ms, now))
                });
                match waits_ms {
                    None => SignalState::Held { scope: HeldScope::Case(key), reason: NO_AGE.to_owned() },
                    Some(waiting_ms) if waiting_ms > limit_ms => SignalState::Active(Finding {
                        signal: SignalKind::ApprovalWaiting,
                        entity: key.entity,
                        severity: Severity::Info,
                        since_ms: began_ms(observation.at_ms, waiting_ms),
                        facts: Facts::Approval(facts(task, waiting_ms, limit_ms)),
                    }),
                    Some(_) => SignalState::Clear { key, how: Ending::AskedAgain },
                }
            }
        };
        states.push(state);
    }
}

fn facts(task: &OpenTask, waiting_ms: i64, limit_ms: i64) -> ApprovalFacts {
    let person = task.waits_for.as_ref().filter(|who| who.kind == WaitsForKind::Person);
    ApprovalFacts {
        work_item: task.work_item.clone(),
        repo: task.repo.clone(),
        title: task.title.clone(),
        stage: task.stage.clone(),
        person: person.map(|who| who.name.clone()).unwrap_or_default(),
        cause: task.cause.clone(),
        blocked: task.standing == Standing::Blocked,
        waiting_ms,
        limit_ms,
    }
}

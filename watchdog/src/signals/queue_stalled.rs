//! `queue_stalled`: jobs that could run wait although slots are free.
//!
//! A job can run when its time has come, an agent slot is free, and its repository has room. Full
//! slots are what a queue is for, so nothing is told then. A core that is stopping starts nothing
//! and is not judged.

use orch_contract::{CoreState, ObservationDocument, QueuedJob};

use super::age::{NO_AGE, age_ms, began_ms};
use super::{
    CaseKey, Context, Ending, Entity, Facts, Finding, QueueStalledFacts, Severity, SignalKind, SignalState,
    hold_slot, readable_document, switched_off,
};
use crate::observe::Observation;

pub(super) fn derive(observation: &Observation, context: &Context<'_>, states: &mut Vec<SignalState>) {
    if !context.thresholds.enabled(SignalKind::QueueStalled) {
        return switched_off(SignalKind::QueueStalled, context, states);
    }
    let document = match readable_document(observation) {
        Ok(document) => document,
        Err(reason) => return hold_slot(SignalKind::QueueStalled, reason, states),
    };
    if document.core.state == CoreState::Stopping {
        return hold_slot(SignalKind::QueueStalled, "the core is stopping", states);
    }
    let limit_ms = context.thresholds.queue_age_ms;
    let runnable: Vec<&QueuedJob> =
        document.queued_jobs.iter().filter(|job| is_runnable(document, job)).collect();
    let has_age = |job: &&&QueuedJob| age_ms(document.generated_at_ms, runnable_since_ms(job)).is_some();
    let some_without_age = !runnable.iter().all(|job| has_age(&job));
    let oldest = runnable.iter().min_by_key(|job| (!has_age(job), runnable_since_ms(job), job.job_id));
    let clear = |how: Ending| SignalState::Clear {
        key: CaseKey { slot: SignalKind::QueueStalled, entity: Entity::Core },
        how,
    };
    states.push(match oldest {
        _ if document.slots.agents_free == 0 => clear(Ending::SlotsTaken),
        None => clear(Ending::QueueEmpty),
        Some(job) => {
            let waits_ms = age_ms(document.generated_at_ms, runnable_since_ms(job));
            match waits_ms {
                // the oldest of those that have an age is asked: it has none when none has
                None => return hold_slot(SignalKind::QueueStalled, NO_AGE, states),
                Some(waiting_ms) if waiting_ms <= limit_ms && some_without_age => {
                    return hold_slot(SignalKind::QueueStalled, NO_AGE, states);
                }
                Some(waiting_ms) if waiting_ms <= limit_ms => clear(Ending::JobsStart),
                Some(waiting_ms) => SignalState::Active(Finding {
                    signal: SignalKind::QueueStalled,
                    entity: Entity::Core,
                    severity: Severity::Warning,
                    since_ms: began_ms(observation.at_ms, waiting_ms),
                    facts: Facts::QueueStalled(QueueStalledFacts {
                        job_id: job.job_id,
                        work_item: job.work_item.clone(),
                        repo: job.repo.clone(),
                        stage: job.stage.clone(),
                        role: job.role.clone(),
                        reason: job.reason.clone(),
                        waiting_ms,
                        limit_ms,
                        runnable: u32::try_from(runnable.len()).unwrap_or(u32::MAX),
                        slots_free: document.slots.agents_free,
                        slots_max: document.slots.agents_max,
                    }),
                }),
            }
        }
    });
}

fn is_runnable(document: &ObservationDocument, job: &QueuedJob) -> bool {
    let repo = document.slots.repos.iter().find(|repo| repo.repo == job.repo);
    let room = repo.is_none_or(|repo| repo.agents_running < repo.agents_max);
    let due = job.not_before_ms.is_none_or(|at| at <= document.generated_at_ms);
    room && due
}

/// Waiting out a time of its own is no stall.
fn runnable_since_ms(job: &QueuedJob) -> i64 {
    job.not_before_ms.map_or(job.queued_at_ms, |at| at.max(job.queued_at_ms))
}

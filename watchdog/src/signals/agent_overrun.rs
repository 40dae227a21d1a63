//! `agent_overrun`: a running job that has used up more of its limit than it should need.
//!
//! Judged on the core's clock against the limit that the core publishes for that very run. A job
//! whose exit is recorded runs no more, however long its settlement takes. One that hangs is told as
//! `agent_hung` and nothing else: until that is over, nothing is told of its overrun.

use orch_contract::{ObservationDocument, RunningJob};

use super::age::{NO_AGE, age_ms, began_ms};
use super::{
    AgentOverrunFacts, CaseKey, Context, Ending, Entity, Facts, Finding, HeldScope, Severity, SignalKind,
    SignalState, hold_slot, readable_document, switched_off,
};
use crate::observe::Observation;

pub(super) fn derive(
    observation: &Observation,
    context: &Context<'_>,
    hung_jobs: &[i64],
    states: &mut Vec<SignalState>,
) {
    if !context.thresholds.enabled(SignalKind::AgentOverrun) {
        return switched_off(SignalKind::AgentOverrun, context, states);
    }
    let document = match readable_document(observation) {
        Ok(document) => document,
        Err(reason) => return hold_slot(SignalKind::AgentOverrun, reason, states),
    };
    let share_percent = context.thresholds.overrun_percent;
    for job in &document.running_jobs {
        let entity = Entity::Job(job.job_id);
        let Some(age_ms) = age_ms(document.generated_at_ms, job.started_at_ms) else {
            let key = CaseKey { slot: SignalKind::AgentOverrun, entity };
            states.push(SignalState::Held { scope: HeldScope::Case(key), reason: NO_AGE.to_owned() });
            continue;
        };
        // a core that publishes no limit has none to overrun
        let limited = job.limit_ms > 0;
        let over = limited && percents(age_ms, 100) > percents(job.limit_ms, share_percent);
        let hung = CaseKey { slot: SignalKind::AgentHung, entity: entity.clone() };
        // a case that is open hangs until it was clear for long enough, or could not be looked at
        let told_as_hung = hung_jobs.contains(&job.job_id) || context.open.contains(&hung);
        if over && job.exit_recorded_at_ms.is_none() && told_as_hung {
            let key = CaseKey { slot: SignalKind::AgentOverrun, entity };
            let reason = "told as a job that hangs".to_owned();
            states.push(SignalState::Held { scope: HeldScope::Case(key), reason });
        } else if over && job.exit_recorded_at_ms.is_none() {
            states.push(SignalState::Active(Finding {
                signal: SignalKind::AgentOverrun,
                entity,
                severity: Severity::Warning,
                since_ms: began_ms(observation.at_ms, overrun_for_ms(job, age_ms, share_percent)),
                facts: Facts::AgentOverrun(facts(document, job, age_ms, share_percent)),
            }));
        } else {
            let how = match job.exit_recorded_at_ms {
                Some(_) => Ending::RunSettles,
                None => Ending::WithinShare,
            };
            let key = CaseKey { slot: SignalKind::AgentOverrun, entity };
            states.push(SignalState::Clear { key, how });
        }
    }
}

/// For how long the share is exceeded.
fn overrun_for_ms(job: &RunningJob, age_ms: i64, share_percent: u32) -> i64 {
    let share_ms = percents(job.limit_ms, share_percent) / 100;
    age_ms.saturating_sub(i64::try_from(share_ms).unwrap_or(age_ms))
}

/// This share of a time, in hundredths of a millisecond: wide enough for any two numbers.
fn percents(ms: i64, percent: u32) -> i128 {
    i128::from(ms).saturating_mul(i128::from(percent))
}

fn facts(
    document: &ObservationDocument,
    job: &RunningJob,
    age_ms: i64,
    share_percent: u32,
) -> AgentOverrunFacts {
    AgentOverrunFacts {
        job_id: job.job_id,
        run_id: job.run_id,
        work_item: job.work_item.clone(),
        repo: job.repo.clone(),
        stage: job.stage.clone(),
        role: job.role.clone(),
        attempt: job.attempt,
        age_ms,
        limit_ms: job.limit_ms,
        share_percent,
        silent_ms: job.last_output_at_ms.and_then(|at| super::age::age_ms(document.generated_at_ms, at)),
        cost_microusd: job.cost_microusd,
    }
}

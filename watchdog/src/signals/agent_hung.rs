//! `agent_hung`: a running job that neither writes nor computes, or whose run is gone.
//!
//! Silence alone proves nothing (a model may think, a test may compute), CPU alone neither, so both
//! must agree over the whole time. A run that is gone is the reaper's business first: only beyond
//! its grace, with no exit recorded, is it told here. Returns what it names: the families, which then
//! need no alert of their own, and the jobs, whose overrun needs none.

use orch_contract::{ObservationDocument, RunningJob, SupervisedTree};

use super::age::{NO_AGE, age_ms, began_ms};
use super::{
    AgentHungFacts, CaseKey, Context, Ending, Entity, Facts, Finding, HangCause, HeldScope, Memory, Severity,
    SignalKind, SignalState, hold_slot, readable_document, switched_off,
};
use crate::observe::{Collected, Cookie, Family, Observation, ProcessKey};

/// Below this share of one core a tree counts as idle (1 %).
const IDLE_PERCENT: u64 = 1;

/// What is told here and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) families: Vec<ProcessKey>,
    pub(super) jobs: Vec<i64>,
}

/// What can be said of one job.
enum Assessment {
    Hung(HangCause),
    Moving,
    CannotTell(&'static str),
}

pub(super) fn derive(
    observation: &Observation,
    context: &Context<'_>,
    memory: &Memory,
    states: &mut Vec<SignalState>,
) -> Named {
    if !context.thresholds.enabled(SignalKind::AgentHung) {
        switched_off(SignalKind::AgentHung, context, states);
        return Named::default();
    }
    let document = match readable_document(observation) {
        Ok(document) => document,
        Err(reason) => {
            hold_slot(SignalKind::AgentHung, reason, states);
            return Named::default();
        }
    };
    let mut named = Named::default();
    for job in &document.running_jobs {
        let key = CaseKey { slot: SignalKind::AgentHung, entity: Entity::Job(job.job_id) };
        let tree = document.processes.iter().find(|tree| tree.run_id == job.run_id);
        match assess(observation, document, job, tree, context.thresholds.agent_silent_ms, memory) {
            Assessment::Moving => {
                states.push(SignalState::Clear { key, how: Ending::JobMoves });
            }
            Assessment::CannotTell(reason) => {
                let reason = reason.to_owned();
                states.push(SignalState::Held { scope: HeldScope::Case(key), reason });
            }
            Assessment::Hung(cause) => {
                let families = families_of(observation, tree);
                named.families.extend(families.iter().map(|family| family.key.clone()));
                named.jobs.push(job.job_id);
                states.push(SignalState::Active(finding(observation, job, cause, &families)));
            }
        }
    }
    named
}

fn assess(
    observation: &Observation,
    document: &ObservationDocument,
    job: &RunningJob,
    tree: Option<&SupervisedTree>,
    silent_limit_ms: i64,
    memory: &Memory,
) -> Assessment {
    if job.exit_recorded_at_ms.is_some() {
        return Assessment::Moving;
    }
    let grace_ms = document.reaper.dead_grace_ms;
    if let Some(ended_at_ms) = tree.and_then(|tree| tree.ended_at_ms) {
        let Some(gone_ms) = age_ms(document.generated_at_ms, ended_at_ms) else {
            return Assessment::CannotTell(NO_AGE);
        };
        return match gone_ms > grace_ms {
            true => Assessment::Hung(HangCause::RunGone { gone_ms, grace_ms }),
            false => Assessment::CannotTell("its run ended within the reaper's grace"),
        };
    }
    // both times are the core's own: a skew between clocks cannot make a job silent
    let heard_at_ms = job.last_output_at_ms.unwrap_or(job.started_at_ms);
    let Some(silent_ms) = age_ms(document.generated_at_ms, heard_at_ms) else {
        return Assessment::CannotTell(NO_AGE);
    };
    let cookie = tree.and_then(|tree| tree.cookie.parse::<u64>().ok());
    match &observation.proc {
        Collected::Fresh(_) => {}
        Collected::Unavailable(_) => return Assessment::CannotTell("processes could not be looked at"),
        Collected::Off if silent_ms < silent_limit_ms => return Assessment::Moving,
        Collected::Off => return Assessment::CannotTell("processes are not looked at"),
    }
    if let Some(gone_since) = cookie.and_then(|cookie| memory.gone_since(cookie)) {
        let gone_ms = observation.at_ms.saturating_sub(gone_since);
        return match gone_ms > grace_ms {
            true => Assessment::Hung(HangCause::RunGone { gone_ms, grace_ms }),
            false => Assessment::CannotTell("its processes are gone within the reaper's grace"),
        };
    }
    if silent_ms < silent_limit_ms {
        return Assessment::Moving;
    }
    let used = cookie.and_then(|cookie| memory.cpu_over(cookie, observation.at_ms, silent_limit_ms));
    match used {
        None => Assessment::CannotTell("its CPU use was not watched long enough"),
        Some((cpu_ms, window_ms)) => {
            let idle_below = u64::try_from(window_ms).unwrap_or(0).saturating_mul(IDLE_PERCENT) / 100;
            match cpu_ms < idle_below {
                true => Assessment::Hung(HangCause::Silent { silent_ms, cpu_ms, window_ms }),
                false => Assessment::Moving,
            }
        }
    }
}

fn families_of<'a>(observation: &'a Observation, tree: Option<&SupervisedTree>) -> Vec<&'a Family> {
    let Collected::Fresh(proc) = &observation.proc else { return Vec::new() };
    let Some(cookie) = tree.and_then(|tree| tree.cookie.parse::<u64>().ok()) else { return Vec::new() };
    proc.families.iter().filter(|family| family.cookie == Cookie::Run(cookie)).collect()
}

fn finding(observation: &Observation, job: &RunningJob, cause: HangCause, families: &[&Family]) -> Finding {
    let since_ms = match &cause {
        HangCause::Silent { silent_ms, .. } => began_ms(observation.at_ms, *silent_ms),
        HangCause::RunGone { gone_ms, .. } => began_ms(observation.at_ms, *gone_ms),
    };
    let families = families.iter().map(|family| {
        let pids = family.members.iter().map(|member| member.key.pid);
        (family.command.clone(), pids.take(super::ProcessFacts::PIDS_KEPT).collect())
    });
    Finding {
        signal: SignalKind::AgentHung,
        entity: Entity::Job(job.job_id),
        severity: Severity::Critical,
        since_ms,
        facts: Facts::AgentHung(AgentHungFacts {
            job_id: job.job_id,
            run_id: job.run_id,
            work_item: job.work_item.clone(),
            repo: job.repo.clone(),
            stage: job.stage.clone(),
            role: job.role.clone(),
            cause,
            families: families.collect(),
        }),
    }
}

//! What the end of an agent's run means for its job, and the claim that makes it so.
//!
//! Used by the monitor, the reaper and recovery alike: publish, claim the terminal status by one
//! guarded write, and only the winner asks to advance.

use std::sync::Arc;

use crate::{
    agents::claude::{self, end::AgentEnd, summary::Summary},
    chain::chain,
    domain::{
        actor::Actor,
        budget::{CostKind, usd},
        ids::RunId,
        job::{JobStatus, backoff_ms},
    },
    engine::{Engine, EngineError, Request},
    process::{Adopted, ExitRecord, NotStarted, Outcome, Stream},
    runs::Ended,
    store::{JobRow, JobSettlement, RunRow},
};

/// What is known of a run's end.
#[derive(Debug, Clone)]
pub(crate) struct RunFacts {
    pub(crate) run: RunId,
    pub(crate) record: Option<ExitRecord>,
    /// Whether the program can have been started at all.
    pub(crate) started: bool,
    pub(crate) text: String,
}

impl From<&Ended> for RunFacts {
    fn from(ended: &Ended) -> Self {
        Self {
            run: ended.run,
            record: ended.record.clone(),
            started: ended.started,
            text: ended.outcome_text(),
        }
    }
}

/// Waits in a row for the service of one job's agent; beyond them a refusal is a failed attempt.
const SERVICE_WAITS_MAX: u32 = 500;

/// Wait for an account's share where nobody said until when: it comes back by the hour.
const USAGE_WAIT_MS: i64 = 15 * 60_000;

/// Longest such wait that is believed: the longest window of a share is a week.
const USAGE_WAIT_MAX_MS: i64 = 8 * 86_400_000;

/// What becomes of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settlement {
    status: JobStatus,
    counts: bool,
    wait: Wait,
}

/// What a job that is queued again waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Nothing.
    No,
    /// The pause after a failure.
    Backoff,
    /// The agent's service: until a time, UTC milliseconds, where that is known.
    Service { until_ms: Option<i64> },
}

const DONE: Settlement = Settlement { status: JobStatus::Done, counts: true, wait: Wait::No };
const FAILED: Settlement = Settlement { status: JobStatus::Failed, counts: true, wait: Wait::No };
const AGAIN_FREE: Settlement = Settlement { status: JobStatus::Queued, counts: false, wait: Wait::No };

fn failed_once(attempt: u32, attempts_max: u32) -> Settlement {
    if attempt < attempts_max {
        Settlement { status: JobStatus::Queued, counts: true, wait: Wait::Backoff }
    } else {
        FAILED
    }
}

/// Decides on an agent that tells how it ended; pure.
fn judge_agent(end: &AgentEnd, job: &JobRow) -> Settlement {
    let failed_once = failed_once(job.attempt, job.attempts_max);
    let service = |until_ms| match job.waits < SERVICE_WAITS_MAX {
        true => Settlement { status: JobStatus::Queued, counts: false, wait: Wait::Service { until_ms } },
        false => failed_once,
    };
    match end {
        AgentEnd::Done => DONE,
        // more of the same money is a person's to give
        AgentEnd::BudgetUsedUp => FAILED,
        AgentEnd::UsageLimit { until_ms } => service(Some(until_ms.unwrap_or(0))),
        AgentEnd::Overloaded => service(None),
        // the core asked, for a shutdown; and a session that is gone is not asked for again
        AgentEnd::Stopped | AgentEnd::SessionUnknown => AGAIN_FREE,
        AgentEnd::TurnsUsedUp
        | AgentEnd::Refused { .. }
        | AgentEnd::SessionInUse
        | AgentEnd::Misused { .. }
        | AgentEnd::Interrupted
        | AgentEnd::TimedOut
        | AgentEnd::NoResult { .. }
        | AgentEnd::Failed { .. } => failed_once,
    }
}

/// How an agent ended whose stream is read; `None` for others, and for one whose program never began.
pub(super) async fn agent_end(engine: &Engine, row: &RunRow) -> Option<AgentEnd> {
    let agent = row.agent.as_ref()?;
    let ending = row.ending.as_ref()?;
    let outcome = match engine.runs.adopt(row.id) {
        Ok(Adopted::Ended(record)) => record.outcome,
        Ok(Adopted::Lost { .. }) => Outcome::Signaled { signal: 9 },
        Ok(Adopted::Live(_) | Adopted::NeverPrepared) | Err(_) => return None,
    };
    if matches!(outcome, Outcome::NotStarted { .. }) {
        return None;
    }
    let summary: Summary = serde_json::from_str(&agent.told.state).unwrap_or_default();
    let complaint = engine.runs.tail_text(row.id, Stream::Err).await;
    let end = claude::end::judge(&outcome, &summary, &complaint);
    let spent_up = ending.cost_kind == Some(CostKind::Reported)
        && ending.cost_microusd.zip(row.reserved_microusd).is_some_and(|(cost, reserved)| cost >= reserved);
    let was_asked = outcome == Outcome::Stopped && matches!(end, AgentEnd::Interrupted | AgentEnd::Stopped);
    Some(match (was_asked, spent_up) {
        // it was stopped where its money ended
        (true, true) => AgentEnd::BudgetUsedUp,
        // also one that could still say what it had cost: the core asked
        (true, false) => AgentEnd::Stopped,
        (false, _) => end,
    })
}

/// Decides; pure.
fn judge(record: Option<&ExitRecord>, started: bool, attempt: u32, attempts_max: u32) -> Settlement {
    let failed_once = failed_once(attempt, attempts_max);
    match record.map(|record| &record.outcome) {
        None if !started => AGAIN_FREE,
        Some(Outcome::Exited { code: 0 }) => DONE,
        // the agent never began: nothing was spent, nothing counts
        Some(Outcome::NotStarted {
            reason: NotStarted::NoGo | NotStarted::GoTimedOut | NotStarted::StoppedBefore,
        }) => AGAIN_FREE,
        // the core asked, for a shutdown; a cancelled job loses its claim below
        Some(Outcome::Stopped) => AGAIN_FREE,
        Some(
            Outcome::NotStarted { reason: NotStarted::Failed { .. } }
            | Outcome::Exited { .. }
            | Outcome::Signaled { .. }
            | Outcome::TimedOut,
        )
        | None => failed_once,
    }
}

/// Settles a run whose end is recorded. Answers whether this call won the claim.
pub(crate) async fn settle_run(
    engine: &Arc<Engine>,
    job: &JobRow,
    facts: &RunFacts,
    actor: Actor,
) -> Result<bool, EngineError> {
    let run = engine.store.run(facts.run).await?;
    let agent = match &run {
        Some(run) => agent_end(engine, run).await,
        None => None,
    };
    let settlement = match &agent {
        Some(end) => judge_agent(end, job),
        None => judge(facts.record.as_ref(), facts.started, job.attempt, job.attempts_max),
    };
    let Some(row) = engine.store.task_by_id(job.task).await? else { return Ok(false) };
    // an agent whose job was cancelled meanwhile publishes nothing
    let present = engine.store.job(job.id).await?;
    let wanted = present.is_some_and(|now| now.status == JobStatus::Running && now.run == Some(facts.run));
    if wanted
        && settlement.status == JobStatus::Done
        && let Some(site) = engine.site(&row.task.project)
        // a failure is found again, and judged, by the gate
        && let Err(error) = engine.publish(site, &row).await
    {
        tracing::warn!(work_item = %row.task.key, error = %chain(&error), "the agent's work is not on the forge yet");
    }
    let outcome = match (&agent, &run) {
        (Some(end), Some(run)) => agent_words(end, run, job),
        _ => words(engine, facts).await,
    };
    let now = engine.clock.now_ms();
    let pause = |tries| backoff_ms(engine.config.jobs.backoff_ms, tries + 1, spread(facts.run));
    let not_before_ms = match settlement.wait {
        Wait::No => None,
        Wait::Backoff => Some(now.saturating_add(pause(job.attempt))),
        Wait::Service { until_ms: None } => Some(now.saturating_add(pause(job.waits + 1))),
        Wait::Service { until_ms: Some(until_ms) } if until_ms > now => {
            Some(until_ms.min(now.saturating_add(USAGE_WAIT_MAX_MS)))
        }
        Wait::Service { until_ms: Some(_) } => Some(now.saturating_add(USAGE_WAIT_MS)),
    };
    let won = engine
        .store
        .settle_job(JobSettlement {
            job: job.id,
            run: facts.run,
            status: settlement.status,
            not_before_ms,
            counts: settlement.counts,
            awaits_service: matches!(settlement.wait, Wait::Service { .. }),
            outcome: outcome.clone(),
            actor,
            at_ms: now,
        })
        .await?;
    if !won {
        // a cancelled task keeps its worktree until its agent is gone
        if row.task.stage.is_terminal()
            && let Some(site) = engine.site(&row.task.project)
        {
            engine.tidy_terminal(site, &row).await;
        }
        return Ok(false);
    }
    tracing::info!(
        work_item = %row.task.key, role = %job.role, run = facts.run.0, attempt = job.attempt, outcome,
        job = settlement.status.as_str(), "the agent's run ended"
    );
    match settlement.status {
        JobStatus::Done | JobStatus::Failed => {
            engine.advance(&row.task.key, Request::advance(actor, "the agent's run ended")).await?;
        }
        JobStatus::Queued | JobStatus::Running | JobStatus::Cancelled => {}
    }
    engine.wakes.jobs.notify_one();
    Ok(true)
}

/// An agent's end in its own words; a budget's with its amounts and the way out.
fn agent_words(end: &AgentEnd, run: &RunRow, job: &JobRow) -> String {
    let words = if *end == AgentEnd::BudgetUsedUp {
        let cost = run.ending.as_ref().and_then(|ending| ending.cost_microusd).unwrap_or_default();
        format!(
            "the run's budget is used up: {} $ of {} $ (the least of budget_usd of the {} and of what was left of \
             ORCH_TASK_BUDGET_USD and ORCH_DAILY_BUDGET_USD); raise it and restart the core, then `orch-core task retry`",
            usd(cost),
            usd(run.reserved_microusd.unwrap_or_default()),
            job.role
        )
    } else {
        end.words()
    };
    let words: String = words.chars().take(500).collect();
    if *end == AgentEnd::Done { words } else { format!("{words} (run {})", run.id) }
}

/// The end in words, with the agent's last word where it failed.
async fn words(engine: &Engine, facts: &RunFacts) -> String {
    let fine = facts.record.as_ref().is_some_and(ExitRecord::succeeded);
    if fine {
        return facts.text.clone();
    }
    let said = engine.runs.tail_text(facts.run, Stream::Err).await;
    match said.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => {
            let line: String = line.trim().chars().take(300).collect();
            format!("{} (run {}): {line}", facts.text, facts.run)
        }
        None => format!("{} (run {})", facts.text, facts.run),
    }
}

/// A value in 0..=1000 that differs from run to run; spreading needs no secrecy.
fn spread(run: RunId) -> u32 {
    u32::try_from(run.0.unsigned_abs().wrapping_mul(2_654_435_761) % 1001).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::StreamEnd;

    fn record(outcome: Outcome) -> ExitRecord {
        ExitRecord {
            outcome,
            child: None,
            started_at_ms: 0,
            ended_at_ms: 1,
            swept: None,
            out: StreamEnd::default(),
            err: StreamEnd::default(),
        }
    }

    #[test]
    fn attempts_are_bounded_and_only_real_ones_count() {
        let of = |outcome, attempt| judge(Some(&record(outcome)), true, attempt, 3).status;
        assert_eq!(of(Outcome::Exited { code: 0 }, 3), JobStatus::Done);
        for bad in [
            Outcome::Exited { code: 1 },
            Outcome::Signaled { signal: 9 },
            Outcome::TimedOut,
            Outcome::NotStarted { reason: NotStarted::Failed { message: "no such program".into() } },
        ] {
            assert_eq!(of(bad.clone(), 1), JobStatus::Queued, "{bad:?}");
            assert_eq!(of(bad.clone(), 3), JobStatus::Failed, "{bad:?}");
        }
        assert_eq!(judge(None, true, 3, 3).status, JobStatus::Failed, "a lost supervisor is an attempt");
        assert_eq!(judge(None, false, 3, 3).status, JobStatus::Queued, "what never began is none");
        for free in [Outcome::Stopped, Outcome::NotStarted { reason: NotStarted::NoGo }] {
            let settled = judge(Some(&record(free.clone())), true, 3, 3);
            assert_eq!(settled, AGAIN_FREE, "{free:?}");
        }
    }

    fn job(attempt: u32, waits: u32) -> JobRow {
        JobRow {
            id: crate::domain::ids::JobId(1),
            task: crate::domain::ids::TaskId(1),
            project: "shop".into(),
            stage: crate::domain::stage::Stage::Development,
            round: 1,
            role: crate::domain::job::Role::Developer,
            status: JobStatus::Running,
            attempt,
            attempts_max: 3,
            queued_at_ms: 0,
            not_before_ms: None,
            reason: String::new(),
            run: Some(RunId(1)),
            waits,
        }
    }

    #[test]
    fn waiting_where_it_helps_is_no_attempt_and_has_an_end() {
        for end in [AgentEnd::Overloaded, AgentEnd::UsageLimit { until_ms: Some(9) }] {
            let settled = judge_agent(&end, &job(3, 4));
            assert_eq!((settled.status, settled.counts), (JobStatus::Queued, false), "{end:?}");
            assert!(matches!(settled.wait, Wait::Service { .. }), "{end:?}");
            assert_eq!(judge_agent(&end, &job(1, SERVICE_WAITS_MAX)).wait, Wait::Backoff, "{end:?}");
            assert_eq!(judge_agent(&end, &job(3, SERVICE_WAITS_MAX)).status, JobStatus::Failed, "{end:?}");
        }
    }

    #[test]
    fn money_that_is_used_up_is_not_spent_again_and_failures_are_bounded() {
        assert_eq!(judge_agent(&AgentEnd::BudgetUsedUp, &job(1, 0)), FAILED);
        assert_eq!(judge_agent(&AgentEnd::Done, &job(3, 0)), DONE);
        for end in [AgentEnd::Stopped, AgentEnd::SessionUnknown] {
            assert_eq!(judge_agent(&end, &job(3, 0)), AGAIN_FREE, "{end:?}");
        }
        for end in [
            AgentEnd::TurnsUsedUp,
            AgentEnd::TimedOut,
            AgentEnd::Interrupted,
            AgentEnd::SessionInUse,
            AgentEnd::Refused { status: Some(400), why: "x".into() },
            AgentEnd::Misused { why: "x".into() },
            AgentEnd::NoResult { how: "x".into() },
            AgentEnd::Failed { why: "x".into() },
        ] {
            assert_eq!(judge_agent(&end, &job(1, 0)).wait, Wait::Backoff, "{end:?}");
            assert_eq!(judge_agent(&end, &job(3, 0)).status, JobStatus::Failed, "{end:?}");
        }
    }
}

//! What the end of an agent's run means for its job, and the claim that makes it so.
//!
//! Used by the monitor, the reaper and recovery alike: publish, claim the terminal status by one
//! guarded write, and only the winner asks to advance.

use std::sync::Arc;

use crate::{
    chain::chain,
    domain::{
        actor::Actor,
        ids::RunId,
        job::{JobStatus, backoff_ms},
    },
    engine::{Engine, EngineError, Request},
    process::{ExitRecord, NotStarted, Outcome, Stream},
    runs::Ended,
    store::{JobRow, JobSettlement},
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

/// What becomes of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settlement {
    status: JobStatus,
    counts: bool,
    waits: bool,
}

/// Decides; pure.
fn judge(record: Option<&ExitRecord>, started: bool, attempt: u32, attempts_max: u32) -> Settlement {
    let again = |counts| Settlement { status: JobStatus::Queued, counts, waits: counts };
    let failed_once = if attempt < attempts_max {
        again(true)
    } else {
        Settlement { status: JobStatus::Failed, counts: true, waits: false }
    };
    match record.map(|record| &record.outcome) {
        None if !started => again(false),
        Some(Outcome::Exited { code: 0 }) => {
            Settlement { status: JobStatus::Done, counts: true, waits: false }
        }
        // the agent never began: nothing was spent, nothing counts
        Some(Outcome::NotStarted {
            reason: NotStarted::NoGo | NotStarted::GoTimedOut | NotStarted::StoppedBefore,
        }) => again(false),
        // the core asked, for a shutdown; a cancelled job loses its claim below
        Some(Outcome::Stopped) => again(false),
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
    let settlement = judge(facts.record.as_ref(), facts.started, job.attempt, job.attempts_max);
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
    let outcome = words(engine, facts).await;
    let now = engine.clock.now_ms();
    let pause = backoff_ms(engine.config.jobs.backoff_ms, job.attempt + 1, spread(facts.run));
    let won = engine
        .store
        .settle_job(JobSettlement {
            job: job.id,
            run: facts.run,
            status: settlement.status,
            not_before_ms: settlement.waits.then(|| now.saturating_add(pause)),
            counts: settlement.counts,
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
            assert_eq!(
                (settled.status, settled.counts, settled.waits),
                (JobStatus::Queued, false, false),
                "{free:?}"
            );
        }
    }
}

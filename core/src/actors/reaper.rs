//! The reaper, in three tiers: runs that are gone without a word, exits that nobody settled, and
//! whatever is older than any limit. It claims before it acts; whoever loses a claim has done
//! nothing. Every age is time that it has watched itself, never a difference of two clock times.

use super::{
    Stage,
    ages::Watched,
    failed, passed,
    settle::{RunFacts, settle_run},
};
use crate::{
    domain::{actor::Actor, ids::RunId, job::JobStatus, lease::OwnerLiveness},
    engine::{EngineError, Life},
    failpoint::{Plant, planted},
    process::{Adopted, Cookie},
    runs::Ended,
    store::{JobRow, ReclaimReason, RunRow, WhichGrant},
};

pub(super) async fn run(stage: Stage) {
    loop {
        tokio::select! {
            biased;
            () = stage.engine.clock.sleep_ms(stage.engine.config.reaper.tick_ms) => {}
            () = stage.stop.cancelled() => return,
        }
        if stage.engine.life() != Life::Ready {
            continue;
        }
        let looks = [jobs(&stage).await, left_over(&stage).await, leases(&stage).await];
        // what could not be looked at keeps its age
        if looks.iter().all(Result::is_ok) {
            stage.engine.ages.end_pass();
        }
        for error in looks.into_iter().filter_map(Result::err) {
            failed(&stage.engine, "reaper", &error);
        }
        passed(&stage.engine, "reaper");
    }
}

async fn jobs(stage: &Stage) -> Result<(), EngineError> {
    let engine = &stage.engine;
    if planted(Plant::NobodyReaps) {
        return Ok(());
    }
    let now = engine.clock.passed_ms();
    let limits = &engine.config.reaper;
    for job in engine.store.running_jobs().await? {
        let Some(run) = job.run else { continue };
        let Some(row) = engine.store.run(run).await? else { continue };
        let age = engine.ages.of(Watched::Run(run), now);
        if age > limits.max_running_ms {
            overdue(stage, &job, &row).await?;
        } else if row.exit_recorded_at_ms.is_some() {
            if engine.ages.of(Watched::Exit(run), now) >= limits.finalize_grace_ms {
                unsettled(stage, &job, run).await?;
            }
        } else if !engine.runs.is_watched(run) && age >= limits.dead_grace_ms {
            gone(stage, &job, run).await?;
        }
    }
    Ok(())
}

/// Tier 1: nobody watches it, and its lock is free.
async fn gone(stage: &Stage, job: &JobRow, run: RunId) -> Result<(), EngineError> {
    let engine = &stage.engine;
    let ended = match engine.runs.adopt(run) {
        Ok(Adopted::Live(running)) => {
            // alive and unwatched: its watcher was lost, not the run
            let row = engine.store.run(run).await?;
            if let Some(row) = row {
                super::watch_adopted(stage, job.clone(), &row, running);
            }
            return Ok(());
        }
        Ok(Adopted::Ended(record)) => {
            Ended { run, started: true, swept: record.swept.clone(), record: Some(record) }
        }
        Ok(Adopted::Lost { cookie }) => {
            Ended { run, started: true, record: None, swept: engine.runs.sweep_lost(cookie).await }
        }
        Ok(Adopted::NeverPrepared) => Ended { run, started: false, record: None, swept: None },
        // could not look: that is not a death
        Err(error) => {
            failed(engine, "reaper", &error);
            return Ok(());
        }
    };
    engine.runs.record_end(&ended).await?;
    if settle_run(engine, job, &RunFacts::from(&ended), Actor::Reaper).await? {
        engine.counters.tally().reaped[0] += 1;
    }
    Ok(())
}

/// Tier 2: the exit is recorded, and nobody settled it.
async fn unsettled(stage: &Stage, job: &JobRow, run: RunId) -> Result<(), EngineError> {
    let engine = &stage.engine;
    let facts = match engine.runs.adopt(run) {
        Ok(Adopted::Ended(record)) => {
            RunFacts::from(&Ended { run, started: true, swept: record.swept.clone(), record: Some(record) })
        }
        Ok(Adopted::Lost { .. }) => {
            RunFacts { run, record: None, started: true, text: "supervisor lost".to_owned() }
        }
        Ok(Adopted::NeverPrepared) => {
            RunFacts { run, record: None, started: false, text: "never started".to_owned() }
        }
        Ok(Adopted::Live(_)) => return Ok(()),
        Err(error) => {
            failed(engine, "reaper", &error);
            return Ok(());
        }
    };
    if settle_run(engine, job, &facts, Actor::Reaper).await? {
        engine.counters.tally().reaped[1] += 1;
    }
    Ok(())
}

/// Tier 3: older than any limit; ignores every marker.
async fn overdue(stage: &Stage, job: &JobRow, row: &RunRow) -> Result<(), EngineError> {
    let engine = &stage.engine;
    tracing::error!(
        job = job.id.0,
        run = row.id.0,
        "a run is older than ORCH_REAPER_MAX_RUNNING_S: it is ended"
    );
    engine.runs.stop(row.id);
    let swept = match Cookie::try_from(row.cookie) {
        Ok(cookie) => engine.runs.sweep_lost(cookie).await,
        Err(_) => None,
    };
    let ended = Ended { run: row.id, started: true, record: None, swept };
    engine.runs.record_end(&ended).await?;
    if settle_run(
        engine,
        job,
        &RunFacts { text: "older than any limit".to_owned(), ..RunFacts::from(&ended) },
        Actor::Reaper,
    )
    .await?
    {
        engine.counters.tally().reaped[2] += 1;
    }
    Ok(())
}

/// Runs of agents that nobody watches and no job waits for: their job was cancelled, and their watcher
/// was lost. Until their end is recorded they take an agent's room.
async fn left_over(stage: &Stage) -> Result<(), EngineError> {
    let engine = &stage.engine;
    for run in engine.store.open_runs().await? {
        let Some(job) = run.job else { continue };
        let age = engine.ages.of(Watched::LeftOver(run.id), engine.clock.passed_ms());
        if engine.runs.is_watched(run.id) || age < engine.config.reaper.dead_grace_ms {
            continue;
        }
        let job = engine.store.job(job).await?;
        if job.is_some_and(|job| job.status == JobStatus::Running && job.run == Some(run.id)) {
            continue;
        }
        match engine.runs.adopt(run.id) {
            Ok(found) => {
                let ended = crate::recovery::finish(engine, &run, found).await;
                engine.runs.record_end(&ended).await?;
            }
            // could not look: that is not a death
            Err(error) => failed(engine, "reaper", &error),
        }
    }
    Ok(())
}

async fn leases(stage: &Stage) -> Result<(), EngineError> {
    let engine = &stage.engine;
    let now = engine.clock.passed_ms();
    for lease in engine.store.held_leases().await? {
        let age = engine.ages.of(Watched::Grant(lease.task, lease.row.fencing), now);
        let too_old = age > engine.config.reaper.max_running_ms;
        let why = match (lease.liveness, too_old) {
            (_, true) => ReclaimReason::Overdue,
            (OwnerLiveness::Live, false) => continue,
            (OwnerLiveness::DeadBoot, false) => ReclaimReason::DeadBoot,
            (OwnerLiveness::DeadOwner, false) => ReclaimReason::DeadOwner,
        };
        let Some(row) = engine.store.task_by_id(lease.task).await? else { continue };
        let reason = match why {
            ReclaimReason::Overdue => "the lease is older than ORCH_REAPER_MAX_RUNNING_S",
            ReclaimReason::DeadBoot | ReclaimReason::DeadOwner | ReclaimReason::Forced => {
                "the lease's owner is gone"
            }
        };
        // by now it may be another owner's, of whom nothing was judged
        let grant = WhichGrant::Seen(lease.row.fencing);
        if engine.force_release(&row.task.key, Actor::Reaper, None, reason, why, grant).await?.is_some() {
            engine.counters.tally().reaped[2] += u64::from(too_old);
        }
    }
    Ok(())
}

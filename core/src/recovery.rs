//! Start-up after whatever ended the last life: runs, jobs, intents, leases, in that order, before
//! any actor enters.
//!
//! It believes what the outside says (run locks, exit records, probes) and nothing that this
//! program remembers. A second recovery after a crash in the first ends in the same state.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use orch_contract::ProcessKind;

use crate::{
    actors::{self, RunFacts, settle_run},
    chain::chain,
    domain::{actor::Actor, ids::RunId},
    engine::{Engine, EngineError, Request},
    failpoint::{Plant, planted},
    process::{Adopted, Cookie, LaunchError, LiveRun},
    runs::{Ended, RunError},
    store::{JobRow, RunRow},
};

/// Longest wait for a swept gate's supervisor to write its record.
const SWEPT_END_MS: i64 = 5_000;

/// Ends of runs that are recorded in one transaction: a crash between two leaves the rest as it found them.
const RECORDED_AT_ONCE: usize = 256;

/// Why the core cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Engine or store.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A run directory cannot be read: whether its run lives is not known.
    #[error("look at run {run}")]
    Run {
        /// Which run.
        run: RunId,
        /// Why.
        source: LaunchError,
    },
}

impl From<crate::store::StoreError> for RecoveryError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Engine(error.into())
    }
}

/// A run of the last life that lives on: an agent's, or a deploy.
#[derive(Debug)]
pub struct Survivor {
    /// The agent's; a deploy has none.
    job: Option<JobRow>,
    run: RunRow,
    running: Box<dyn LiveRun>,
}

/// Brings the last life to an end. Answers the agents and deploys that live on.
///
/// # Errors
/// [`RecoveryError`]: then nothing may be started.
pub async fn recover(engine: &Arc<Engine>) -> Result<Vec<Survivor>, RecoveryError> {
    clear_checkouts(engine);
    for site in &engine.sites {
        // the lock on the database says that no git process of this core started before this life
        let cleared = async {
            site.repo.clear_stale_locks(engine.started_at_ms()).await?;
            site.forge.clear_stale_locks(engine.started_at_ms()).await
        };
        if let Err(error) = cleared.await {
            tracing::warn!(project = site.project.name, error = %chain(&error), "could not look for left-over locks");
        }
    }
    let mut survivors = Vec::new();
    let mut ends = Vec::new();
    let mut unrecorded = Vec::new();
    let jobs = engine.store.running_jobs().await?;
    let job_of: HashMap<RunId, &JobRow> =
        jobs.iter().filter_map(|job| job.run.map(|run| (run, job))).collect();
    for run in engine.store.open_runs().await? {
        let job = job_of.get(&run.id).map(|job| (*job).clone());
        let found = engine.runs.adopt(run.id).map_err(|source| RecoveryError::Run { run: run.id, source })?;
        match (run.kind, job, found) {
            (ProcessKind::Agent, Some(job), Adopted::Live(_)) if planted(Plant::SurvivorsForgotten) => {
                let ended = Ended { run: run.id, started: false, swept: None, record: None };
                ends.push((job, RunFacts::from(&ended)));
                unrecorded.push(ended);
            }
            (ProcessKind::Agent, Some(job), Adopted::Live(running)) => {
                survivors.push(Survivor { job: Some(job), run, running });
            }
            // begun once: cut off, nobody could say how far it came
            (ProcessKind::Deploy, _, Adopted::Live(running)) => {
                survivors.push(Survivor { job: None, run, running });
            }
            (_, job, found) => {
                let ended = finish(engine, &run, found).await;
                ends.extend(job.map(|job| (job, RunFacts::from(&ended))));
                unrecorded.push(ended);
            }
        }
        if unrecorded.len() >= RECORDED_AT_ONCE {
            engine.runs.record_ends(&unrecorded).await?;
            unrecorded.clear();
        }
    }
    engine.runs.record_ends(&unrecorded).await?;
    // a crash between the record of an exit and its settlement
    let ended = ends.iter().map(|(_, facts): &(JobRow, RunFacts)| facts.run);
    let known: HashSet<RunId> = ended.chain(survivors.iter().map(|one: &Survivor| one.run.id)).collect();
    for job in jobs {
        let Some(run) = job.run.filter(|run| !known.contains(run)) else { continue };
        let facts = match engine.runs.adopt(run) {
            Ok(Adopted::Ended(record)) => {
                RunFacts::from(&Ended { run, started: true, swept: None, record: Some(record) })
            }
            Ok(Adopted::Live(_) | Adopted::Lost { .. }) => {
                RunFacts { run, record: None, started: true, text: "supervisor lost".to_owned() }
            }
            Ok(Adopted::NeverPrepared) => {
                RunFacts { run, record: None, started: false, text: "never started".to_owned() }
            }
            Err(source) => return Err(RecoveryError::Run { run, source }),
        };
        ends.push((job, facts));
    }
    if !planted(Plant::StartWithoutSettling) {
        settle_intents(engine).await?;
    }
    for (job, facts) in ends {
        // its edge may take long; the core becomes ready meanwhile
        let engine = Arc::clone(engine);
        tokio::spawn(async move {
            if let Err(error) = settle_run(&engine, &job, &facts, Actor::Monitor).await {
                tracing::error!(job = job.id.0, error = %chain(&error), "a run of the last life could not be settled");
            }
        });
    }
    Ok(survivors)
}

/// Takes up the agents and deploys that live on.
pub fn take_up(stage: &actors::Stage, survivors: Vec<Survivor>) {
    for Survivor { job, run, running } in survivors {
        if let Some(job) = job {
            tracing::info!(run = run.id.0, role = %job.role, "an agent outlived the last core; it is taken up");
            actors::watch_adopted(stage, job, &run, running);
        } else {
            tracing::info!(run = run.id.0, "a deploy outlived the last core; its end is waited for");
            let own = stage.clone();
            stage.work.spawn(async move {
                if let Err(error) = deploy_ends(&own, &run, running).await {
                    tracing::error!(run = run.id.0, error = %chain(&error), "a deploy of the last life could not be watched");
                }
            });
        }
    }
}

/// Waits for the end of a deploy of the last life, records it, and asks for the task that waits for it.
async fn deploy_ends(stage: &actors::Stage, run: &RunRow, running: Box<dyn LiveRun>) -> Result<(), RunError> {
    let engine = &stage.engine;
    let watch = engine.runs.expect(run.id, run.kind, run.task);
    tokio::select! {
        biased;
        ended = engine.runs.watch(watch, running) => drop(ended?),
        // the next life takes it up in turn
        () = stage.stop.cancelled() => return Ok(()),
    }
    let Some(task) = run.task else { return Ok(()) };
    if let Some(row) = engine.store.task_by_id(task).await? {
        let request = Request::advance(Actor::Finalizer, "the deploy of the last life ended");
        if let Err(error) = engine.advance(&row.task.key, request).await {
            tracing::error!(work_item = %row.task.key, error = %chain(&error), "could not go on after a deploy; the reconciler asks again");
        }
    }
    Ok(())
}

/// Ends a run of the last life that nobody waits for any more.
pub(crate) async fn finish(engine: &Engine, run: &RunRow, found: Adopted<Box<dyn LiveRun>>) -> Ended {
    let ended = |record, swept| Ended { run: run.id, started: true, record, swept };
    match found {
        Adopted::Ended(record) => {
            let swept = record.swept.clone();
            ended(Some(record), swept)
        }
        Adopted::Lost { cookie } => ended(None, engine.runs.sweep_lost(cookie).await),
        Adopted::NeverPrepared => Ended { started: false, ..ended(None, None) },
        Adopted::Live(mut running) => {
            tracing::info!(run = run.id.0, kind = ?run.kind, "sweeping a run of the last life");
            let swept = match Cookie::try_from(run.cookie) {
                Ok(cookie) => engine.runs.sweep_lost(cookie).await,
                Err(_) => None,
            };
            if let Err(error) = running.stop() {
                tracing::warn!(run = run.id.0, error = %chain(&error), "its supervisor could not be told to stop");
            }
            tokio::select! {
                biased;
                end = running.wait() => match end {
                    Ok(crate::process::RunEnd::Recorded(record)) => ended(Some(record), swept),
                    Ok(crate::process::RunEnd::SupervisorLost { .. }) | Err(_) => ended(None, swept),
                },
                () = engine.clock.sleep_ms(SWEPT_END_MS) => ended(None, swept),
            }
        }
    }
}

/// Reclaims the leases of the last life and settles what it intended, by asking the outside.
async fn settle_intents(engine: &Arc<Engine>) -> Result<(), RecoveryError> {
    let mut tasks: Vec<_> =
        engine.store.open_intents().await?.into_iter().map(|intent| intent.task).collect();
    tasks.extend(engine.store.held_leases().await?.into_iter().map(|lease| lease.task));
    tasks.sort();
    tasks.dedup();
    for task in tasks {
        if let Some(row) = engine.store.task_by_id(task).await? {
            engine.settle_only(&row.task.key).await?;
        }
    }
    Ok(())
}

/// Checkouts belong to gates, and no gate of the last life lives.
fn clear_checkouts(engine: &Engine) {
    let folder = engine.config.data_dir.join("checkouts");
    let Ok(entries) = std::fs::read_dir(&folder) else { return };
    for entry in entries.flatten() {
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "a left-over checkout could not be removed");
        }
    }
}

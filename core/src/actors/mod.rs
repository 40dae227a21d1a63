//! Periodic and signalled actors: each pass does the same work from the current state, takes no
//! input and is idempotent, so a lost wake-up costs a period and nothing else.
//!
//! A panic in an actor is caught, counted, and the actor started again; it is never the end of the
//! program, and never a silent stop of one mechanism.

mod agents;
pub(crate) mod ages;
mod ci;
mod finalizer;
mod follow;
mod monitor;
mod notices;
mod reaper;
mod reconciler;
mod settle;

use std::{future::Future, sync::Arc};

pub(crate) use agents::watch_adopted;
pub(crate) use settle::{RunFacts, settle_run};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    domain::{actor::Actor, ids::WorkItemKey, transition::Outcome},
    engine::{Engine, Request},
};

/// Pause before an actor that panicked starts again.
const RESTART_PAUSE_MS: i64 = 1_000;

/// How often the monitor passes without being woken.
pub const MONITOR_PERIOD_MS: i64 = 1_000;

/// How often heads without a CI status are looked for without being woken.
pub const CI_PERIOD_MS: i64 = 2_000;

/// What every actor is given.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Told to end.
    pub stop: CancellationToken,
    /// Work that must end before the program does.
    pub work: TaskTracker,
}

/// Starts all actors.
pub fn start(stage: &Stage) {
    keep(stage, "monitor", monitor::run);
    keep(stage, "ci", ci::run);
    keep(stage, "finalizer", finalizer::run);
    keep(stage, "reaper", reaper::run);
    keep(stage, "reconciler", reconciler::run);
    keep(stage, "notices", notices::run);
}

/// Runs an actor, again after each panic, until it is told to end.
fn keep<F>(stage: &Stage, name: &'static str, actor: impl Fn(Stage) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let own = stage.clone();
    stage.work.spawn(async move {
        while !own.stop.is_cancelled() {
            let Err(error) = tokio::spawn(actor(own.clone())).await else { return };
            own.engine.counters.tally().panics += 1;
            tracing::error!(actor = name, %error, "an actor panicked; it is started again");
            own.engine.clock.sleep_ms(RESTART_PAUSE_MS).await;
        }
    });
}

/// Enters the door for a task beside the actor's own loop: an edge can take many minutes, and a panic
/// in it is one entry's end, counted, and not the actor's.
fn enter_beside(stage: &Stage, name: &'static str, key: WorkItemKey, request: Request) {
    let own = stage.clone();
    stage.work.spawn(async move {
        let (engine, woken) = (Arc::clone(&own.engine), request.actor == Actor::Reconciler);
        let entered = tokio::spawn(async move { engine.advance(&key, request).await }).await;
        match entered {
            Ok(Ok(Outcome::Advanced { .. } | Outcome::RolledBack { .. })) if woken => {
                own.engine.counters.tally().woken += 1;
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => failed(&own.engine, name, &error),
            Err(error) => {
                own.engine.counters.tally().panics += 1;
                tracing::error!(actor = name, %error, "an entry panicked; its lease is free");
            }
        }
    });
}

/// Marks a finished pass.
fn passed(engine: &Engine, name: &'static str) {
    engine.counters.tally().last_pass_ms.insert(name, engine.clock.now_ms());
}

/// Counts and logs a failed pass; the next one tries again.
fn failed(engine: &Engine, name: &'static str, error: &(dyn std::error::Error + 'static)) {
    *engine.counters.tally().failed_passes.entry(name).or_default() += 1;
    tracing::error!(actor = name, error = %crate::chain::chain(error), "a pass failed; the next one tries again");
}

//! The observation document: what this core says about itself, gathered and put into the words of
//! `orch-contract`.
//!
//! Responsible for every field of the document and for the one mapping from our states to the
//! words of the wire, which API and CLI use, too. Reads one snapshot of the store, the counters,
//! the run directories of listed runs and the file system of the data directory; changes nothing
//! and decides nothing. Invariant: what could not be read is absent, never 0, and the cost is
//! O(open work).

mod blocks;
mod standing;
mod work;

use std::path::Path;

use orch_contract::{
    ActorTick, BudgetBlock, CoreIdentity, CoreState, DataDirectory, ENDED_RUNS_KEPT_MS, ObservationDocument,
    PROCESSES_LISTED, SCHEMA_VERSION, TimeoutEntry, Timeouts,
};
pub(crate) use standing::{shown, waits_for};
pub(crate) use work::day_is_used_up;

use crate::{
    actors,
    counters::Tally,
    domain::budget::{Cap, Spending},
    engine::{Engine, Life},
    store::StoreError,
};

/// Builds the document as of now.
///
/// # Errors
/// [`StoreError`] when the store cannot be read: then nothing is known of the work.
pub async fn document(engine: &Engine) -> Result<ObservationDocument, StoreError> {
    let now = engine.clock.now_ms();
    let snapshot = engine.store.snapshot(now.saturating_sub(ENDED_RUNS_KEPT_MS), PROCESSES_LISTED).await?;
    let day = engine.store.day_spending(now).await?;
    let tally = engine.counters.tally().clone();
    let names = work::Names::gather(engine, &snapshot, &tally).await?;
    let running_jobs = work::running_jobs(engine, &snapshot, &names).await?;
    let (processes, cut) = work::trees(engine, &snapshot).await;
    let gate = |gates: &[_], switch| blocks::gate(&tally, &names, gates, switch);
    let (gates, kinds) = (&engine.config.gates, blocks::GATES);
    Ok(ObservationDocument {
        schema_version: SCHEMA_VERSION,
        generated_at_ms: now,
        core: identity(engine),
        counts: work::counts(&snapshot),
        slots: work::slots(engine, &snapshot),
        actors: actors(engine, &tally),
        tasks: work::open_tasks(&snapshot),
        queued_jobs: work::queued_jobs(engine, &snapshot, &names, day, now),
        running_jobs,
        processes,
        processes_omitted: snapshot.runs_omitted.saturating_add(cut),
        leases: work::leases(&snapshot, &names),
        transition_lease: blocks::transition_lease(engine, &tally),
        merge_gate: gate(kinds.merge, &gates.merge),
        coverage_gate: gate(kinds.coverage, &gates.coverage),
        security_gate: gate(kinds.security, &gates.security),
        image_gate: gate(kinds.image, &gates.image),
        staging: gate(kinds.staging, &gates.staging),
        reaper: blocks::reaper(engine, &tally),
        reconciler: blocks::reconciler(&tally),
        webhooks: blocks::webhooks(),
        chat: blocks::chat(engine, &tally),
        timeouts: timeouts(engine),
        data_dir: data_directory(&engine.config.data_dir),
        budget: Some(budget(engine, day)),
    })
}

fn budget(engine: &Engine, day: Spending) -> BudgetBlock {
    let budgets = engine.config.jobs.budgets;
    BudgetBlock {
        task_limit_microusd: budgets.task_microusd,
        day_limit_microusd: budgets.day_microusd,
        hard: match budgets.cap {
            Cap::Hard => true,
            Cap::Soft => false,
        },
        day_spent_microusd: day.spent_microusd,
        day_reserved_microusd: day.reserved_microusd,
    }
}

fn identity(engine: &Engine) -> CoreIdentity {
    let who = engine.store.identity();
    CoreIdentity {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: who.boot_id.to_string(),
        pid: who.pid,
        start_ticks: who.start_ticks,
        started_at_ms: engine.started_at_ms(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        state: match engine.life() {
            Life::Starting => CoreState::Starting,
            Life::Ready => CoreState::Ready,
            Life::Stopping => CoreState::Stopping,
        },
    }
}

fn actors(engine: &Engine, tally: &Tally) -> Vec<ActorTick> {
    periods(engine)
        .into_iter()
        .map(|(name, period_ms)| ActorTick {
            name: name.to_owned(),
            period_ms,
            last_tick_at_ms: tally.last_pass_ms.get(name).copied(),
        })
        .collect()
}

/// The periodic actors with their periods, in milliseconds.
pub(crate) fn periods(engine: &Engine) -> [(&'static str, i64); 5] {
    let config = &engine.config;
    [
        ("monitor", actors::MONITOR_PERIOD_MS),
        ("ci", actors::CI_PERIOD_MS),
        ("finalizer", config.finalizer_tick_ms),
        ("reaper", config.reaper.tick_ms),
        ("reconciler", config.reconcile_tick_ms),
    ]
}

fn timeouts(engine: &Engine) -> Timeouts {
    let entries: Vec<TimeoutEntry> = engine
        .projects
        .published_limits(&engine.config)
        .into_iter()
        .map(|limit| TimeoutEntry { key: limit.key, timeout_ms: limit.ms })
        .collect();
    Timeouts {
        largest_ms: entries.iter().map(|entry| entry.timeout_ms).max().unwrap_or(0),
        edge_sum_ms: engine.projects.edge_sum_ms(&engine.config),
        entries,
    }
}

/// Room on the file system of `path`, by statvfs(3).
fn data_directory(path: &Path) -> Option<DataDirectory> {
    match rustix::fs::statvfs(path) {
        Ok(found) => Some(DataDirectory {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_inodes: found.f_favail,
            total_inodes: found.f_files,
        }),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "the room of the data directory could not be read");
            None
        }
    }
}

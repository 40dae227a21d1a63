//! The reconciler: asks for every open task that does not stand for a person, so that no lost wake-up is for
//! ever, and removes what finished tasks left on this machine.

use std::collections::HashMap;

use super::{Stage, enter_beside, failed, passed};
use crate::{
    chain::chain,
    domain::{
        actor::Actor,
        ids::{TaskId, WorkItemKey},
        task::Standing,
        transition::is_parked_by_force,
    },
    engine::{EngineError, Life, Request},
    failpoint::{Plant, planted},
};

/// Open tasks asked for in one pass.
const TASKS_MAX: u32 = 10_000;

pub(super) async fn run(stage: Stage) {
    let mut known = HashMap::new();
    loop {
        if stage.engine.life() == Life::Ready {
            if let Err(error) = compare(&stage, &mut known).await {
                failed(&stage.engine, "reconciler", &error);
            }
            if let Err(error) = pass(&stage).await {
                failed(&stage.engine, "reconciler", &error);
            }
            tidy(&stage).await;
        }
        passed(&stage.engine, "reconciler");
        tokio::select! {
            biased;
            () = stage.engine.clock.sleep_ms(stage.engine.config.reconcile_tick_ms) => {}
            () = stage.stop.cancelled() => return,
        }
    }
}

/// Counts and logs each difference once, for as long as it stands. What follows from one is the gates'
/// and the probes' to say: the task is asked for all the same.
async fn compare(stage: &Stage, known: &mut HashMap<TaskId, String>) -> Result<(), EngineError> {
    let engine = &stage.engine;
    let owned: Vec<TaskId> = engine.store.held_leases().await?.into_iter().map(|lease| lease.task).collect();
    let mut present = HashMap::new();
    for row in engine.store.open_tasks(TASKS_MAX).await? {
        // an owner is about to write down what it did
        if owned.contains(&row.id) {
            continue;
        }
        let Some(drift) = engine.drift(&row).await else { continue };
        if known.get(&row.id) != Some(&drift) {
            engine.counters.tally().drift += 1;
            tracing::warn!(work_item = %row.task.key, drift, "the outside differs from the record");
        }
        present.insert(row.id, drift);
    }
    *known = present;
    Ok(())
}

async fn pass(stage: &Stage) -> Result<(), EngineError> {
    if planted(Plant::NobodySweeps) {
        return Ok(());
    }
    for row in stage.engine.store.open_tasks(TASKS_MAX).await? {
        match row.task.standing {
            Standing::Moving {} | Standing::Waiting { .. } => {}
            // nobody's turn but ours, once its robbed owner has ended
            Standing::Blocked { .. } if is_parked_by_force(&row.task) => {}
            Standing::Held { .. } | Standing::Blocked { .. } | Standing::Finished {} => continue,
        }
        let request = Request::advance(Actor::Reconciler, "found standing");
        enter_beside(stage, "reconciler", row.task.key, request);
    }
    Ok(())
}

/// Worktrees of terminal tasks: removing them is repeated here until it is done.
async fn tidy(stage: &Stage) {
    for site in &stage.engine.sites {
        let folder = stage.engine.config.data_dir.join("worktrees").join(&site.project.name);
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(key) = WorkItemKey::parse(&entry.file_name().to_string_lossy()) else { continue };
            match stage.engine.store.task(&key).await {
                Ok(Some(row)) if row.task.stage.is_terminal() => stage.engine.tidy_terminal(site, &row).await,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "could not look for left-over worktrees");
                    return;
                }
            }
        }
    }
}

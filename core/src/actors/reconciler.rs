//! The reconciler: asks for every open task that is not blocked, so that no lost wake-up is for
//! ever, and removes what finished tasks left on this machine.

use super::{Stage, enter_beside, failed, passed};
use crate::{
    chain::chain,
    domain::{actor::Actor, ids::WorkItemKey, task::Standing},
    engine::{EngineError, Life, Request},
    failpoint::{Plant, planted},
};

/// Open tasks asked for in one pass.
const TASKS_MAX: u32 = 10_000;

pub(super) async fn run(stage: Stage) {
    loop {
        if stage.engine.life() == Life::Ready {
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

async fn pass(stage: &Stage) -> Result<(), EngineError> {
    if planted(Plant::NobodySweeps) {
        return Ok(());
    }
    for row in stage.engine.store.open_tasks(TASKS_MAX).await? {
        match row.task.standing {
            Standing::Moving {} | Standing::Waiting { .. } => {}
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

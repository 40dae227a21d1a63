//! The deploy finalizer: asks, until the deployed revision is healthy or its time is up, across
//! restarts. It holds no state of its own: the stage `deploy` is its list.

use super::{Stage, failed, passed};
use crate::{
    domain::{actor::Actor, stage, task::Standing},
    engine::{EngineError, Life, Request},
};

/// Deploys looked at in one pass.
const DEPLOYS_MAX: u32 = 1_000;

pub(super) async fn run(stage: Stage) {
    loop {
        if stage.engine.life() == Life::Ready
            && let Err(error) = pass(&stage).await
        {
            failed(&stage.engine, "finalizer", &error);
        }
        passed(&stage.engine, "finalizer");
        tokio::select! {
            biased;
            () = stage.engine.wakes.deploys.notified() => {}
            () = stage.engine.clock.sleep_ms(stage.engine.config.finalizer_tick_ms) => {}
            () = stage.stop.cancelled() => return,
        }
    }
}

async fn pass(stage: &Stage) -> Result<(), EngineError> {
    let engine = &stage.engine;
    let rows = engine.store.tasks_page(0, Some(stage::Stage::Deploy), DEPLOYS_MAX).await?;
    for row in rows {
        match row.task.standing {
            Standing::Moving {} | Standing::Waiting { .. } => {
                let request = Request::advance(Actor::Finalizer, "the deploy was looked at");
                // one deploy that cannot be looked at keeps no other from it
                if let Err(error) = engine.advance(&row.task.key, request).await {
                    failed(engine, "finalizer", &error);
                }
            }
            // held ones come due by themselves, blocked ones are a person's
            Standing::Held { .. } | Standing::Blocked { .. } | Standing::Finished {} => {}
        }
    }
    Ok(())
}

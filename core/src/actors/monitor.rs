//! The monitor: starts claimable jobs while there is room, and asks for tasks whose time has come.

use super::{MONITOR_PERIOD_MS, Stage, agents, failed, passed};
use crate::{
    domain::{actor::Actor, job::Role},
    engine::{Engine, EngineError, Life, Request},
    process::Cookie,
    projects::Projects,
};

/// Due tasks asked for in one pass.
const DUE_MAX: u32 = 100;

pub(super) async fn run(stage: Stage) {
    loop {
        if let Err(error) = pass(&stage).await {
            failed(&stage.engine, "monitor", &error);
        }
        passed(&stage.engine, "monitor");
        tokio::select! {
            biased;
            () = stage.engine.wakes.jobs.notified() => {}
            () = stage.engine.clock.sleep_ms(MONITOR_PERIOD_MS) => {}
            () = stage.stop.cancelled() => return,
        }
    }
}

async fn pass(stage: &Stage) -> Result<(), EngineError> {
    let engine = &stage.engine;
    while engine.life() == Life::Ready {
        let cookie = match Cookie::draw() {
            Ok(cookie) => cookie,
            Err(error) => {
                failed(engine, "monitor", &error);
                break;
            }
        };
        let caps = (engine.config.jobs.max_agents, engine.config.jobs.max_agents_per_repo);
        let limit = timeouts(engine);
        let claimed = engine.store.claim_job(caps, cookie.get(), limit, engine.clock.now_ms()).await?;
        let Some(claimed) = claimed else { break };
        stage.work.spawn(agents::work(stage.clone(), claimed));
    }
    for row in engine.store.due_tasks(engine.clock.now_ms(), DUE_MAX).await? {
        let own = stage.clone();
        // an edge can take many minutes: the pass does not wait for it
        stage.work.spawn(async move {
            let request = Request::advance(Actor::Monitor, "its time has come");
            if let Err(error) = own.engine.advance(&row.task.key, request).await {
                failed(&own.engine, "monitor", &error);
            }
        });
    }
    Ok(())
}

fn timeouts(engine: &Engine) -> impl Fn(&str, Role) -> i64 + Send + 'static {
    let projects: Projects = engine.projects.clone();
    let config = engine.config.clone();
    move |project, role| {
        projects
            .by_name(project)
            .map_or(config.jobs.agent_timeout_ms, |found| found.agent_timeout_ms(role, &config))
    }
}

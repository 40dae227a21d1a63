//! The monitor: starts claimable jobs while there is room, and asks for tasks whose time has come.

use super::{MONITOR_PERIOD_MS, RESTART_PAUSE_MS, Stage, agents, enter_beside, failed, passed};
use crate::{
    domain::{actor::Actor, job::Role, lease::OwnerLiveness},
    engine::{Engine, EngineError, Life, Request},
    process::Cookie,
    projects::{AgentProgram, Projects},
    store::{AgentKind, AgentTerms, RunTerms},
};

/// Due tasks asked for in one pass.
const DUE_MAX: u32 = 100;

pub(super) async fn run(stage: Stage) {
    tokio::join!(sweep(&stage), follow_owners(&stage));
}

/// Hears of every owner that ends: whoever was deferred to it is asked at once, and an owner that died
/// with its lease is replaced.
async fn follow_owners(stage: &Stage) {
    let mut ended = stage.engine.store.owners().ended();
    loop {
        tokio::select! {
            biased;
            () = ended.changed() => {}
            () = stage.stop.cancelled() => return,
        }
        if stage.engine.life() != Life::Ready {
            continue;
        }
        if let Err(error) = ask_deferred(stage).await {
            failed(&stage.engine, "monitor", &error);
        }
        if let Err(error) = replace_dead(stage).await {
            failed(&stage.engine, "monitor", &error);
        }
    }
}

async fn ask_deferred(stage: &Stage) -> Result<(), EngineError> {
    for pending in stage.engine.take_pending().await? {
        let request = Request::advance(pending.actor, "asked again: the owner it was deferred to has ended");
        enter_beside(stage, "monitor", pending.key, request);
    }
    Ok(())
}

async fn replace_dead(stage: &Stage) -> Result<(), EngineError> {
    let engine = &stage.engine;
    let dead = engine.store.held_leases().await?;
    for lease in dead.into_iter().filter(|lease| lease.liveness == OwnerLiveness::DeadOwner) {
        if let Some(row) = engine.store.task_by_id(lease.task).await? {
            // a pause: what killed the owner may kill the next one just as fast
            engine.clock.sleep_ms(RESTART_PAUSE_MS).await;
            let request = Request::advance(Actor::Reaper, "the owner of its edge died");
            enter_beside(stage, "monitor", row.task.key, request);
        }
    }
    Ok(())
}

async fn sweep(stage: &Stage) {
    loop {
        if let Err(error) = pass(stage).await {
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
    if engine.life() == Life::Ready {
        end_unpaid(stage).await?;
    }
    while engine.life() == Life::Ready {
        let cookie = match Cookie::draw() {
            Ok(cookie) => cookie,
            Err(error) => {
                failed(engine, "monitor", &error);
                break;
            }
        };
        let caps = (engine.config.jobs.max_agents, engine.config.jobs.max_agents_per_repo);
        let terms = terms(engine);
        let claimed = engine.store.claim_job(caps, cookie.get(), terms, engine.clock.now_ms()).await?;
        let Some(claimed) = claimed else { break };
        stage.work.spawn(agents::work(stage.clone(), claimed));
    }
    if engine.life() != Life::Ready {
        return Ok(());
    }
    for row in engine.store.due_tasks(engine.clock.now_ms(), DUE_MAX).await? {
        enter_beside(stage, "monitor", row.task.key, Request::advance(Actor::Monitor, "its time has come"));
    }
    // what an earlier life left, and what a lost word of an owner's end would leave
    ask_deferred(stage).await
}

/// On which terms a role's agent is started.
fn terms(engine: &Engine) -> impl Fn(&str, Role) -> RunTerms + Send + 'static {
    let projects: Projects = engine.projects.clone();
    let config = engine.config.clone();
    move |project, role| {
        let budgets = config.jobs.budgets;
        let Some(project) = projects.by_name(project) else {
            return RunTerms { budgets, ..RunTerms::from(config.jobs.agent_timeout_ms) };
        };
        let (agent, cap_microusd) = match &project.agents.of(role).program {
            AgentProgram::Command(_) => (None, None),
            AgentProgram::Claude(claude) => {
                let agent = AgentTerms {
                    kind: AgentKind::Claude,
                    model: claude.settings.model.clone(),
                    effort: claude.settings.effort.map(|effort| effort.as_str().to_owned()),
                };
                (Some(agent), Some(claude.budget_microusd))
            }
        };
        RunTerms { timeout_ms: project.agent_timeout_ms(role, &config), agent, cap_microusd, budgets }
    }
}

/// Ends the jobs of tasks that have no money left, and asks for these: they stand and say why.
async fn end_unpaid(stage: &Stage) -> Result<(), EngineError> {
    let engine = &stage.engine;
    let budgets = engine.config.jobs.budgets;
    if budgets.task_microusd.is_none() {
        return Ok(());
    }
    let terms = terms(engine);
    let cap = move |project: &str, role: Role| terms(project, role).cap_microusd;
    for task in engine.store.end_unpaid_jobs(budgets, cap, engine.clock.now_ms()).await? {
        if let Some(row) = engine.store.task_by_id(task).await? {
            enter_beside(
                stage,
                "monitor",
                row.task.key,
                Request::advance(Actor::Monitor, "its budget is used up"),
            );
        }
    }
    Ok(())
}

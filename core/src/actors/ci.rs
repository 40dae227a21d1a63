//! The local forge's continuous integration: runs a project's `ci_cmd` on each head of an open
//! pull request that has no status yet, and posts what came of it.
//!
//! Level-triggered from the forge's own record, so that a lost wake-up or a crash in the middle
//! only means that a head is run again.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use orch_contract::ProcessKind;
use tokio::sync::Semaphore;

use super::{CI_PERIOD_MS, Stage, failed, passed};
use crate::{
    chain::chain,
    domain::{actor::Actor, ids::WorkItemKey},
    engine::{Checkout, Life, Request, Site},
    forge::{
        CommitStatus, ForgeError, StatusState,
        local::{CI_CONTEXT, CiRequest},
    },
    gates::{self, classify::Meaning},
    process::Stream,
    runs::{Order, PLAIN_LADDER, RunError},
};

/// CI runs at once: they share the machine with agents and gates.
const CI_AT_ONCE: usize = 2;

/// Tries of one head when the machine, not the code, was at fault.
const INFRA_TRIES: u32 = 3;

/// Why CI gave no status.
#[derive(Debug, thiserror::Error)]
enum CiError {
    #[error("ask the forge")]
    Forge(#[from] ForgeError),
    #[error("run CI")]
    Run(#[from] RunError),
    #[error("the core is stopping")]
    Stopping,
}

pub(super) async fn run(stage: Stage) {
    let under_way: Arc<Mutex<HashSet<String>>> = Arc::default();
    let room = Arc::new(Semaphore::new(CI_AT_ONCE));
    loop {
        if stage.engine.life() == Life::Ready {
            for index in 0..stage.engine.sites.len() {
                if let Err(error) = pass(&stage, index, &under_way, &room).await {
                    failed(&stage.engine, "ci", &error);
                }
            }
        }
        passed(&stage.engine, "ci");
        tokio::select! {
            biased;
            () = stage.engine.wakes.ci.notified() => {}
            () = stage.engine.clock.sleep_ms(CI_PERIOD_MS) => {}
            () = stage.stop.cancelled() => return,
        }
    }
}

async fn pass(
    stage: &Stage,
    index: usize,
    under_way: &Arc<Mutex<HashSet<String>>>,
    room: &Arc<Semaphore>,
) -> Result<(), CiError> {
    let Some(site) = stage.engine.sites.get(index) else { return Ok(()) };
    if site.project.ci_cmd.is_none() {
        return Ok(());
    }
    for request in site.forge.pending_ci().await? {
        let mark = format!("{index}:{}", request.sha);
        if !under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(mark.clone()) {
            continue;
        }
        let (own, under_way, room) = (stage.clone(), Arc::clone(under_way), Arc::clone(room));
        stage.work.spawn(async move {
            let done = async {
                let _room = room.acquire().await.map_err(|_| CiError::Stopping)?;
                let site = own.engine.sites.get(index).ok_or(CiError::Stopping)?;
                check_head(&own, site, &request).await
            };
            match done.await {
                Ok(()) | Err(CiError::Stopping) => {}
                Err(error) => failed(&own.engine, "ci", &error),
            }
            under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&mark);
            if let Ok(key) = WorkItemKey::parse(request.branch.key()) {
                // the local forge's own word, as another forge would send it
                let asked = Request::advance(Actor::GiteaWebhook, "the forge has a new CI status");
                if let Err(error) = own.engine.advance(&key, asked).await {
                    failed(&own.engine, "ci", &error);
                }
            }
        });
    }
    Ok(())
}

async fn check_head(stage: &Stage, site: &Site, request: &CiRequest) -> Result<(), CiError> {
    let engine = &stage.engine;
    let Some(command) = &site.project.ci_cmd else { return Ok(()) };
    let task = match WorkItemKey::parse(request.branch.key()) {
        Ok(key) => engine.store.task(&key).await.ok().flatten().map(|row| row.id),
        Err(_) => None,
    };
    let post = |state, description: String| CommitStatus {
        context: CI_CONTEXT.to_owned(),
        state,
        description,
        target: None,
        updated_at_ms: engine.clock.now_ms(),
    };
    site.forge.post_status(&request.sha, &post(StatusState::Pending, "running".to_owned())).await?;
    let mut last = String::new();
    for _ in 0..INFRA_TRIES {
        if engine.life() != Life::Ready {
            return Err(CiError::Stopping);
        }
        let checkout = Checkout::make(site, &format!("ci-{}", request.sha), &request.sha).await?;
        let order = Order {
            kind: ProcessKind::Ci,
            argv: command.words(),
            env: BTreeMap::from([("ORCH_REVISION".to_owned(), request.sha.to_string())]),
            cwd: checkout.path().to_owned(),
            timeout_ms: site.project.limits(&engine.config).ci_ms,
            ladder: PLAIN_LADDER.to_vec(),
        };
        let ended = match engine.runs.run(order, task).await {
            Ok(ended) => ended,
            Err(error) => {
                last = chain(&error);
                continue;
            }
        };
        drop(checkout);
        engine.counters.run_ended("ci", &ended.outcome_text());
        let out = engine.runs.tail_text(ended.run, Stream::Out).await;
        match gates::judge_ci(&command.words(), &ended, &out) {
            Meaning::Passed => {
                let text = format!("passed (run {})", ended.run);
                return Ok(site.forge.post_status(&request.sha, &post(StatusState::Success, text)).await?);
            }
            Meaning::Red(what) => {
                let failed: Vec<&str> = out
                    .lines()
                    .filter(|line| line.starts_with("FAILED ") || line.starts_with("ERROR "))
                    .take(20)
                    .collect();
                let text = format!("{what} (run {}) {}", ended.run, failed.join("; "));
                return Ok(site.forge.post_status(&request.sha, &post(StatusState::Failure, text)).await?);
            }
            Meaning::Infra(_, detail) => last = format!("{detail} (run {})", ended.run),
        }
    }
    if engine.life() != Life::Ready {
        return Err(CiError::Stopping);
    }
    Ok(site.forge.post_status(&request.sha, &post(StatusState::Error, last)).await?)
}

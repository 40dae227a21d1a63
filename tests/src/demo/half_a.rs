//! (a) An agent in the middle of a pytest run is killed: nothing of its tree survives.

use super::SHORT_PATIENCE;
use super::report::Report;
use crate::api::Api;
use crate::orphans::{self, Orphan};
use crate::relay::Screen;
use crate::{clock, pipeline, sweep, wait};
use anyhow::{Context as _, Result, ensure};
use orch_contract::SupervisedTree;
use proc_identity::ProcessId;
use serde_json::Value;

/// The live run of a work item's agent, as soon as its child and its pytest are there.
///
/// # Errors
/// When it does not come so far.
pub async fn agent_in_pytest(api: &Api, key: &str) -> Result<(SupervisedTree, Orphan)> {
    let tree = wait::until("the agent to run", SHORT_PATIENCE, || async {
        let document = api.observation().await.map_err(|error| format!("{error:#}"))?;
        let tree = pipeline::live_tree(&document, key).filter(|tree| tree.child.is_some()).cloned();
        tree.ok_or_else(|| format!("{:?}", pipeline::open_task(&document, key)))
    })
    .await?;
    let pytest = Orphan::of_run(orphans::cookie(&tree)?).await?;
    Ok((tree, pytest))
}

/// SIGKILL the agent: the process that the supervisor started, and no other.
///
/// # Errors
/// When it is not there any more.
pub fn kill_agent(tree: &SupervisedTree) -> Result<()> {
    let child = tree.child.context("the run has no child")?;
    let killed = sweep::kill_exactly(ProcessId { pid: child.pid, start_ticks: child.start_ticks });
    ensure!(killed, "the agent (pid {}) had ended already", child.pid);
    Ok(())
}

/// How many processes the record of a run says were swept; nothing while it does not say.
fn swept_in(record: &Value) -> Option<u64> {
    record["run"]["swept_processes"].as_u64()
}

/// The half.
///
/// # Errors
/// When a process survives, or the run's record does not say how many were swept.
pub(super) async fn agent_is_killed(screen: &Screen, api: &Api, report: &mut Report) -> Result<()> {
    const KEY: &str = "SOAK-1";
    pipeline::submit(api, KEY, "soak", "Split a duration into equal parts").await?;
    let (tree, _pytest) = agent_in_pytest(api, KEY).await?;
    let cookie = orphans::cookie(&tree)?;
    let before = orphans::members(cookie)?.len();
    screen.say(&format!(
        "demo: (a) run {} of {KEY} has {before} processes; its agent gets SIGKILL",
        tree.run_id
    ));
    let killed_at = clock::now();
    kill_agent(&tree)?;
    wait::until("nothing of the run to be left", SHORT_PATIENCE, || async {
        match orphans::members(cookie) {
            Ok(left) if left.is_empty() => Ok(()),
            Ok(left) => Err(format!("{left:?}")),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await?;
    let took = killed_at.elapsed();
    let swept = wait::until("the run's record to say how many were swept", SHORT_PATIENCE, || async {
        let answer =
            api.get(&format!("/runs/{}", tree.run_id)).await.map_err(|error| format!("{error:#}"))?;
        swept_in(&answer.json()).ok_or_else(|| format!("{} {}", answer.status, answer.text))
    })
    .await?;
    ensure!(swept > 0, "the record says that nothing was swept, with {before} processes before");
    screen.say(&format!("demo: (a) {swept} processes swept, none left after {:.2} s", took.as_secs_f64()));
    report.swept = Some((before, swept, took));
    pipeline::ask(api, KEY, "cancel", "the demo has seen what it came for").await
}

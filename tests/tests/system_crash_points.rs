//! The core ends itself, as a crash would, at labelled points around each effect and each step of a
//! run; started again each time, the task ends `done`, merged once, deployed once.
//!
//! Every point must be met: a label that nothing hits would prove nothing.

use anyhow::{Result, ensure};
use orch_tests::api::Api;
use orch_tests::clock;
use orch_tests::pipeline;
use orch_tests::stack::Stack;
use std::time::Duration;

const KEY: &str = "SAMPLE-1";
/// Longest time from one crash to the next.
const LIFE_PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(50);

/// How a life under a fail point ended.
#[derive(Debug, PartialEq, Eq)]
enum LifeEnd {
    Crashed,
    Arrived,
    Neither,
}

async fn act(api: &Api) -> Option<()> {
    if pipeline::task(api, KEY).await.ok()?.is_none() {
        pipeline::submit(api, KEY, "sample", "Show a duration as a clock").await.ok()?;
    }
    let document = api.observation().await.ok()?;
    if pipeline::open_task(&document, KEY).is_some_and(pipeline::asks_a_person) {
        pipeline::ask(api, KEY, "approve", "the brief is clear").await.ok();
    }
    Some(())
}

/// Lives until the point is met or the task arrives.
async fn live(api: &Api) -> LifeEnd {
    let end = clock::now() + LIFE_PATIENCE;
    let mut silent = 0;
    while clock::now() < end {
        if act(api).await.is_some() {
            silent = 0;
        } else {
            silent += 1;
        }
        if pipeline::stage(api, KEY).await.is_ok_and(|stage| stage == "done") {
            return LifeEnd::Arrived;
        }
        // a single failed request may be an answer that was cut off; several are a dead core
        if silent >= 3 && api.get("/healthz").await.is_err() {
            return LifeEnd::Crashed;
        }
        tokio::time::sleep(LOOK).await;
    }
    LifeEnd::Neither
}

async fn crash_at_each(points: &[&str]) -> Result<()> {
    let mut stack = Stack::describe().build()?;
    for point in points {
        stack.set_core("ORCH_FAILPOINT", point);
        // it may crash before it is ready: a point within recovery
        stack.launch_core()?;
        let api = stack.reach_core().await?;
        let end = live(&api).await;
        stack.kill_core();
        ensure!(end == LifeEnd::Crashed, "{point} was not met: {end:?}\n{}", stack.log("core"));
        let met = stack.log("core").lines().filter(|line| line.contains("fail point")).count();
        ensure!(met > 0, "the core ended at {point} without its fail point:\n{}", stack.log("core"));
    }
    stack.set_core("ORCH_FAILPOINT", "none");
    let api = stack.start_core().await?;
    pipeline::follow_to_done(&api, KEY, pipeline::ARRIVAL_PATIENCE, |_| {}).await?;
    let merges = stack.sample().merges("sample")?;
    assert_eq!(merges.len(), 1, "merged once: {merges:?}");
    assert_eq!(
        stack.sample().deployments("sample")?,
        [merges[0].0.clone()],
        "deployed once, and that revision"
    );
    let task = pipeline::task(&api, KEY).await?.unwrap_or_default();
    assert_eq!(task["rollbacks"], 0, "no crash is the code's fault: {task}");
    stack.stop_core()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_intent_and_act_and_one_after_each_act_lead_to_the_same_end() -> Result<()> {
    crash_at_each(&[
        "job.after_claim:analyst",
        "job.after_go:architect",
        "job.after_exit_recorded:developer",
        "effect.after_intent:prepare_candidate",
        "effect.after_intent:merge",
        "effect.after_act:merge",
        "effect.after_intent:ratchet_coverage",
        "effect.after_act:ratchet_coverage",
        "effect.after_intent:start_deploy",
        "effect.after_act:start_deploy",
        "effect.after_intent:close_work_item",
        "effect.after_act:close_work_item",
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_just_before_each_act_and_one_after_its_record_lead_to_the_same_end() -> Result<()> {
    crash_at_each(&[
        "job.after_go:analyst",
        "job.after_exit_recorded:architect",
        "job.after_claim:developer",
        "effect.after_done:prepare_candidate",
        "effect.before_act:merge",
        "effect.after_done:merge",
        "effect.before_act:ratchet_coverage",
        "effect.after_done:ratchet_coverage",
        "effect.before_act:start_deploy",
        "effect.after_done:start_deploy",
        "effect.before_act:close_work_item",
        "effect.after_done:close_work_item",
    ])
    .await
}

//! SIGKILL the core at any moment: started again, the task ends `done`, merged once, deployed once.

use anyhow::{Context as _, Result};
use orch_contract::ObservationDocument;
use orch_tests::api::Api;
use orch_tests::clock;
use orch_tests::pipeline;
use orch_tests::stack::Stack;
use std::collections::BTreeSet;
use std::time::Duration;

const KEY: &str = "SAMPLE-1";
/// At most so many kills where each new phase is met with one; a bound, not a goal.
const PHASE_KILLS: usize = 40;
/// Kills at seeded moments, for each seed.
const SEEDED_KILLS: usize = 8;
/// Longest time between two seeded kills, in milliseconds.
const LONGEST_LIFE_MS: u64 = 6_000;
/// Longest time for a whole test, all lives together.
const PATIENCE: Duration = Duration::from_secs(900);
/// Pause between two looks, short against every phase.
const LOOK_MS: u64 = 15;

/// A small generator (xorshift64*): the same seed gives the same moments.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Duration::from_millis(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % LONGEST_LIFE_MS)
    }
}

/// Submit unless a former life took it, and approve when a person is asked. Answers that do not come
/// are what this test is about.
async fn act(api: &Api) -> Option<ObservationDocument> {
    let known = pipeline::task(api, KEY).await.ok()?;
    if known.is_none() {
        pipeline::submit(api, KEY, "sample", "Show a duration as a clock").await.ok()?;
    }
    let document = api.observation().await.ok()?;
    let open = pipeline::open_task(&document, KEY);
    if open.is_some_and(pipeline::asks_a_person) {
        pipeline::ask(api, KEY, "approve", "the brief is clear").await.ok();
    }
    Some(document)
}

async fn arrived(api: &Api) -> bool {
    pipeline::stage(api, KEY).await.is_ok_and(|stage| stage == "done")
}

/// What an outsider can tell one moment from another by.
fn phase(document: &ObservationDocument) -> String {
    let stage = pipeline::open_task(document, KEY).map_or("-", |open| open.stage.as_str());
    let jobs: Vec<String> = document
        .running_jobs
        .iter()
        .map(|job| format!("{} exited={}", job.role, job.exit_recorded_at_ms.is_some()))
        .collect();
    let trees: Vec<String> = document
        .processes
        .iter()
        .filter(|tree| tree.ended_at_ms.is_none())
        .map(|tree| format!("{:?} started={}", tree.kind, tree.child.is_some()))
        .collect();
    let leases: Vec<&str> = document.leases.iter().map(|lease| lease.edge.as_str()).collect();
    format!("{stage} {jobs:?} {trees:?} {leases:?}")
}

/// The end state that any number of kills must lead to.
async fn ends_done_merged_once_deployed_once(stack: &Stack, api: &Api) -> Result<()> {
    pipeline::follow_to_done(api, KEY, pipeline::ARRIVAL_PATIENCE, |_| {}).await.with_context(|| {
        let log = stack.log("core");
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    })?;
    let merges = stack.sample().merges("sample")?;
    assert_eq!(merges.len(), 1, "merged once: {merges:?}");
    assert_eq!(
        stack.sample().deployments("sample")?,
        [merges[0].0.clone()],
        "deployed once, and that revision"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_each_phase_that_can_be_seen_leads_to_the_same_end() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let deadline = clock::now() + PATIENCE;
    let mut met = BTreeSet::new();
    let mut api = stack.start_core().await?;
    while met.len() < PHASE_KILLS && clock::now() < deadline && !arrived(&api).await {
        if let Some(document) = act(&api).await
            && met.insert(phase(&document))
        {
            stack.kill_core();
            api = stack.start_core().await.with_context(|| format!("after a kill in {:?}", met.last()))?;
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
    assert!(met.len() > 10, "too few phases were seen to prove much: {met:#?}");
    ends_done_merged_once_deployed_once(&stack, &api).await.with_context(|| format!("kills in {met:#?}"))
}

async fn kills_at_seeded_moments(seed: u64) -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let mut moments = Moments(seed);
    let mut lives = Vec::new();
    stack.launch_core()?;
    let mut api = stack.reach_core().await?;
    while lives.len() < SEEDED_KILLS && !arrived(&api).await {
        let life = moments.next();
        let end = clock::now() + life;
        while clock::now() < end {
            act(&api).await;
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
        stack.kill_core();
        lives.push(life.as_millis());
        // not waiting for ready: a kill may well meet the recovery of the last one
        stack.launch_core()?;
        api = stack.reach_core().await.with_context(|| format!("seed {seed}, lives in ms {lives:?}"))?;
    }
    let api = stack.start_core().await?;
    if act(&api).await.is_none() {
        anyhow::bail!("seed {seed}: the last life does not answer");
    }
    ends_done_merged_once_deployed_once(&stack, &api)
        .await
        .with_context(|| format!("seed {seed}, lives in ms {lives:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_moments_of_seed_1_lead_to_the_same_end() -> Result<()> {
    kills_at_seeded_moments(0x9E37_79B9_7F4A_7C15).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_moments_of_seed_2_lead_to_the_same_end() -> Result<()> {
    kills_at_seeded_moments(0xD1B5_4A32_D192_ED03).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_outlived_its_core_is_adopted_and_not_started_again() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let api = stack.start_core().await?;
    pipeline::submit(&api, "SOAK-1", "soak", "Split a duration").await?;
    let (tree, _) = orch_tests::demo::agent_in_pytest(&api, "SOAK-1").await?;
    stack.kill_core();
    let cookie = orch_tests::orphans::cookie(&tree)?;
    let before = orch_tests::orphans::members(cookie)?;
    assert!(!before.is_empty(), "the run lives on while the core is dead");
    let api = stack.start_core().await?;
    let document = api.observation().await?;
    let after = pipeline::live_tree(&document, "SOAK-1").context("the run is gone from the document")?;
    assert_eq!((after.run_id, after.cookie.clone()), (tree.run_id, tree.cookie.clone()));
    assert_eq!(after.child, tree.child);
    pipeline::ask(&api, "SOAK-1", "cancel", "seen enough").await?;
    orch_tests::wait::until("the cancelled run to be gone", Duration::from_secs(60), || async {
        match orch_tests::orphans::members(cookie) {
            Ok(left) if left.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

//! How long the core needs to be itself again, the real program over its real file. After SIGKILL in the middle of a
//! deploy: from the next start until it is ready, its last life's lease reclaimed, its intent settled, the deploy
//! command's processes gone. And the start with very many open jobs, queued or running when the last life ended.
//!
//! `cargo bench -p orch-tests --bench restart [-- KILLS [JOBS]]`

#![expect(clippy::expect_used, reason = "a bench that cannot start has nothing to say")]

#[path = "restart/filled.rs"]
mod filled;

use std::io::{Write as _, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use filled::Then;
use orch_tests::api::Api;
use orch_tests::clock;
use orch_tests::pipeline;
use orch_tests::stack::Stack;
use rusqlite::{Connection, OpenFlags};

/// Kills, unless the command line says otherwise.
const KILLS: usize = 100;
/// Open jobs, unless the command line says otherwise.
const JOBS: u32 = 10_000;
/// Starts over the same file.
const STARTS: usize = 5;
const KEY: &str = "SAMPLE-1";
const PATIENCE: Duration = Duration::from_secs(120);
/// What the measure may be wrong by.
const LOOK: Duration = Duration::from_millis(2);

fn main() -> Result<()> {
    let mut asked = std::env::args().filter_map(|word| word.parse::<u32>().ok());
    let kills = asked.next().map_or(KILLS, |kills| kills as usize);
    let jobs = asked.next().unwrap_or(JOBS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut out = stdout();
        if kills > 0 {
            let mut spans = after_kills(kills).await?;
            spans.sort();
            let at = |share: usize| spans[(spans.len() * share / 100).min(spans.len() - 1)].as_secs_f64();
            writeln!(
                out,
                "{kills} kills, from the next start to settled and ready: median {:.3} s, p99 {:.3} s, longest {:.3} s",
                at(50), at(99), at(100)
            )?;
        }
        for then in [Then::Queued, Then::Running, Then::AllRunning] {
            let mut spans = start_with(jobs, then).await?;
            spans.sort();
            writeln!(
                out,
                "{jobs} jobs {then:?}: from the start to ready: first {:.3} s, median of {STARTS} {:.3} s",
                spans[0].1.as_secs_f64(), middle(&spans)
            )?;
        }
        Ok(())
    })
}

fn middle(spans: &[(usize, Duration)]) -> f64 {
    let mut lengths: Vec<f64> = spans.iter().map(|(_, span)| span.as_secs_f64()).collect();
    lengths.sort_by(f64::total_cmp);
    lengths[lengths.len() / 2]
}

fn number(data: &Path, sql: &str) -> Result<i64> {
    let base = Connection::open_with_flags(data.join("orch.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    base.busy_timeout(Duration::from_secs(5))?;
    Ok(base.query_row(sql, [], |row| row.get(0))?)
}

/// Waits for a condition of the file.
async fn until(data: &Path, what: &str, sql: &str) -> Result<()> {
    let end = clock::now() + PATIENCE;
    while number(data, sql)? == 0 {
        ensure!(clock::now() < end, "{what}: not within {} s", PATIENCE.as_secs());
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Starts the core; how long until it says that it is ready.
async fn start(stack: &mut Stack) -> Result<(Api, Duration)> {
    let begun = clock::now();
    stack.launch_core()?;
    let api = stack.reach_core().await?;
    while !api.get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
        ensure!(begun.elapsed() < PATIENCE, "not ready:\n{}", stack.log("core"));
        tokio::time::sleep(LOOK).await;
    }
    Ok((api, begun.elapsed()))
}

async fn after_kills(kills: usize) -> Result<Vec<Duration>> {
    let mut stack = Stack::describe().core("ORCH_RECONCILE_TICK_S", "1").build()?;
    deploy_for_ever(&stack)?;
    let (api, _) = start(&mut stack).await?;
    pipeline::submit(&api, KEY, "sample", "Show a duration as a clock").await?;
    let end = clock::now() + PATIENCE;
    while pipeline::stage(&api, KEY).await? != "deploy-staging" {
        ensure!(clock::now() < end, "the task did not come to its edge");
        let document = api.observation().await?;
        if pipeline::open_task(&document, KEY).is_some_and(pipeline::asks_a_person) {
            pipeline::ask(&api, KEY, "approve", "the brief is clear").await?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut spans = Vec::new();
    let data = stack.data().to_owned();
    for _ in 0..kills {
        until(&data, "a deploy at work under an intent", IN_THE_MIDDLE).await?;
        let last = number(&data, "SELECT max(rowid) FROM run")?;
        stack.kill_core();
        let (_, span) = start(&mut stack).await?;
        let left = number(
            &data,
            &format!(
                "SELECT (SELECT count(*) FROM run WHERE id <= {last} AND ended_at_ms IS NULL)
                      + (SELECT count(*) FROM effect JOIN transition_lease USING (task_id)
                         WHERE state = 'intent' AND effect.boot_id != transition_lease.boot_id)"
            ),
        )?;
        ensure!(left == 0, "ready, and {left} things of the last life are not settled");
        spans.push(span);
    }
    stack.kill_core();
    Ok(spans)
}

const IN_THE_MIDDLE: &str = "SELECT EXISTS (SELECT 1 FROM effect JOIN transition_lease USING (task_id)
     JOIN run ON run.task_id = effect.task_id AND run.kind = 'deploy' AND run.started_at_ms IS NOT NULL AND run.ended_at_ms IS NULL
     WHERE effect.state = 'intent' AND effect.kind = 'start_deploy' AND held = 1)";

/// A deploy command that never ends: every kill meets it.
fn deploy_for_ever(stack: &Stack) -> Result<()> {
    let file = stack.data().join("projects.toml");
    let text = std::fs::read_to_string(&file)?;
    let lines = text
        .lines()
        .map(|line| if line.starts_with("deploy_cmd") { "deploy_cmd = [\"sleep\", \"3600\"]" } else { line });
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).context("projects.toml")
}

async fn start_with(jobs: u32, then: Then) -> Result<Vec<(usize, Duration)>> {
    let mut stack = Stack::describe().core("ORCH_MAX_AGENTS", "1").build()?;
    let file = stack.data().join("orch.db");
    filled::fill(&file, jobs, then).await;
    let kept = file.with_extension("kept");
    std::fs::copy(&file, &kept)?;
    let mut spans = Vec::new();
    for number in 0..STARTS {
        std::fs::copy(&kept, &file)?;
        for rest in ["orch.db-wal", "orch.db-shm"] {
            // none is there before the first start
            std::fs::remove_file(stack.data().join(rest)).ok();
        }
        let (_, span) = start(&mut stack).await?;
        stack.kill_core();
        spans.push((number, span));
    }
    Ok(spans)
}

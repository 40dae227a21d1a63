//! The demo: one work item from `created` to `done`, then the incident in two halves.
//!
//! Responsible for the order of the steps and for saying which one failed. Everything in it is done
//! from outside with ordinary settings; it measures and changes nothing in the programs.

mod half_a;
mod half_b;
mod report;

use crate::chat::Chat;
use crate::pipeline::{self, Step};
use crate::relay::Screen;
use crate::stack::Stack;
use crate::{clock, sample};
use anyhow::{Context as _, Result, ensure};
pub use half_a::{agent_in_pytest, kill_agent};
use report::Report;
use std::time::Duration;

/// How the demo's watchdog and core differ from their defaults: lower thresholds, nothing else.
const CORE: [(&str, &str); 2] = [("ORCH_SHUTDOWN_AGENTS", "stop"), ("ORCH_LOG", "info")];
const WATCHDOG: [(&str, &str); 3] =
    [("WATCHDOG_TICK_S", "1"), ("WATCHDOG_PROC_ORPHAN_GRACE_S", "2"), ("WATCHDOG_PROC_FOREIGN_GRACE_S", "4")];

/// Run the whole story on a screen.
///
/// # Errors
/// With the step that failed, its reason, and where the logs are.
pub async fn run(screen: &Screen) -> Result<()> {
    let chat = Chat::start().await.context("step \"telegram stand-in\" failed")?;
    let mut description = chat.configure(Stack::describe());
    for (key, value) in CORE {
        description = description.core(key, value);
    }
    for (key, value) in WATCHDOG {
        description = description.watchdog(key, value);
    }
    screen.say("demo: setting up a data directory with the sample (a Python environment is made once)");
    let mut stack = description.build().context("step \"set-up\" failed")?;
    let told = tell(screen, &mut stack, &chat).await;
    if told.is_err() {
        screen.say(&format!("demo: logs and data are kept in {}", stack.keep().display()));
    }
    told
}

async fn tell(screen: &Screen, stack: &mut Stack, chat: &Chat) -> Result<()> {
    let mut report = Report::default();
    let api = stack.start_core().await.context("step \"start the core\" failed")?;
    let watchdog = stack.start_watchdog().await.context("step \"start the watchdog\" failed")?;
    screen.say(&format!("demo: orch-core at {}, orch-watchdog at {watchdog}", api.base()));

    deliver(screen, stack, &api, &mut report).await.context("step \"created to done\" failed")?;
    half_a::agent_is_killed(screen, &api, &mut report)
        .await
        .context("step \"(a) agent killed in the middle of a pytest\" failed")?;
    half_b::shell_is_killed(screen, stack, chat, &mut report)
        .await
        .context("step \"(b) orphan of a killed shell\" failed")?;
    half_b::agent_is_killed_without_tree_kill(screen, stack, chat, &mut report)
        .await
        .context("step \"(b) orphan of an agent, tree kill switched off\" failed")?;
    stack.stop_watchdog().context("step \"stop the watchdog\" failed")?;
    stack.stop_core().context("step \"stop the core\" failed")?;
    for line in report.lines() {
        screen.say(&line);
    }
    Ok(())
}

/// Longest time until what a killed agent left is gone, and until an alert or a recovery arrives.
const SHORT_PATIENCE: Duration = Duration::from_secs(60);

async fn deliver(screen: &Screen, stack: &Stack, api: &crate::api::Api, report: &mut Report) -> Result<()> {
    const KEY: &str = "SAMPLE-1";
    let started = clock::now();
    pipeline::submit(api, KEY, "sample", "Show a duration as a clock").await?;
    pipeline::follow_to_done(api, KEY, pipeline::ARRIVAL_PATIENCE, |step| {
        let told = match step {
            Step::Stage(stage) => format!("{KEY} is in {stage}"),
            Step::Approved => "a person was asked; approved by the demo".to_owned(),
        };
        screen.say(&format!("demo: {:6.1} s  {told}", started.elapsed().as_secs_f64()));
    })
    .await?;
    report.delivery = Some(started.elapsed());
    let merges = stack.sample().merges("sample")?;
    ensure!(merges.len() == 1, "expected one merge on main, found {merges:?}");
    let bare = stack.sample().bare("sample");
    let pushed = sample::git(&bare, &["log", "--first-parent", "--no-merges", "--format=%H", "main"])?;
    ensure!(pushed.lines().count() == 1, "main holds more than its first commit and merges: {pushed}");
    let deployed = stack.sample().deployments("sample")?;
    ensure!(deployed == [merges[0].0.clone()], "deployed {deployed:?}, merged {}", merges[0].0);
    report.merged = merges[0].0.clone();
    Ok(())
}

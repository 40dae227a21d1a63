//! Agents of the kind `claude`, played by a stand-in: the real core starts, follows, ends and books them.

use anyhow::{Context as _, Result, bail};
use orch_tests::api::Api;
use orch_tests::stack::{Stack, StackBuilder};
use orch_tests::{binaries, orphans, pipeline, wait};
use proc_identity::ProcessId;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const KEY: &str = "SAMPLE-1";
const PATIENCE: Duration = Duration::from_secs(60);
/// What one model call of the stand-in costs, in millionths of a dollar.
const TURN: i64 = 9_975;

/// A core whose analyst is the stand-in, and what the stand-in is told to do, a line a call.
struct Stage {
    stack: Stack,
    api: Api,
    folder: PathBuf,
}

impl Stage {
    async fn new(plan: &str) -> Result<Self> {
        Self::with(Stack::describe(), plan, "").await
    }

    async fn with(stack: StackBuilder, plan: &str, role: &str) -> Result<Self> {
        let mut stack = stack.build()?;
        let folder = stack.data().join("fake");
        fs::create_dir(&folder)?;
        fs::write(folder.join("plan"), plan)?;
        let projects = stack.data().join("projects.toml");
        let text = fs::read_to_string(&projects)?;
        let (before, own) = text.split_once("[project.agents.analyst]").context("no analyst")?;
        let (own, after) = own.split_once("[project.agents.architect]").context("no architect")?;
        let command = own.lines().find_map(|line| line.strip_prefix("command = [")).context("no command")?;
        let fake = binaries::built("fake-claude")?;
        let own = format!(
            "\nkind = \"claude\"\ncommand = [{fake:?}, \"--fake\", {folder:?}, \"--tool\", {command}\nmodel = \"opus\"\n\
             effort = \"high\"\nmax_turns = 20\n{role}\n"
        );
        let own = if role.contains("budget_usd") { own } else { format!("{own}budget_usd = 5\n") };
        let own = if role.contains("timeout_s") { own } else { format!("{own}timeout_s = 600\n") };
        fs::write(
            &projects,
            format!("{before}[project.agents.analyst]{own}\n[project.agents.architect]{after}"),
        )?;
        let api = stack.start_core().await?;
        pipeline::submit(&api, KEY, "sample", "Show a duration as a clock").await?;
        Ok(Self { stack, api, folder })
    }

    /// The task with its runs, as the API tells it.
    async fn record(&self) -> Result<Value> {
        Ok(self.api.get(&format!("/tasks/{KEY}")).await?.json())
    }

    async fn agents(&self) -> Result<Vec<Value>> {
        let record = self.record().await?;
        let runs = record["runs"].as_array().cloned().unwrap_or_default();
        Ok(runs.into_iter().filter(|run| run["kind"] == "agent").collect())
    }

    /// Waits until the task's record fulfils a condition.
    async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        wait::until(what, PATIENCE, || async {
            let record = self.record().await.map_err(|error| error.to_string())?;
            if holds(&record) { Ok(record) } else { Err(brief(&record)) }
        })
        .await
        .with_context(|| self.stack.log("core").lines().rev().take(30).collect::<Vec<_>>().join("\n"))
    }

    /// Waits until the analyst has done its work: a person is asked.
    async fn until_asked(&self) -> Result<Value> {
        self.until("a person to be asked", |record| {
            record["task"]["standing"] == "waiting" && record["job"].is_null()
        })
        .await
    }

    async fn until_working(&self, run: i64) -> Result<u64> {
        let session = |record: &Value| {
            record["runs"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|found| found["run_id"] == run && !found["session_id"].is_null())
        };
        let record = self.until("a session", session).await?;
        let runs = record["runs"].as_array().cloned().unwrap_or_default();
        let cookie = runs.iter().find(|found| found["run_id"] == run).map(|found| found["cookie"].clone());
        Ok(cookie.as_ref().and_then(Value::as_str).context("no cookie")?.parse()?)
    }

    /// Waits until a tool of the stand-in lives beside it.
    async fn until_tool(&self, cookie: u64) -> Result<Vec<ProcessId>> {
        wait::until("a tool in a session of its own", PATIENCE, || async {
            let members = orphans::members(cookie).map_err(|error| error.to_string())?;
            // supervisor's child and the tool; the supervisor itself has no cookie
            if members.len() >= 2 { Ok(members) } else { Err(format!("{members:?}")) }
        })
        .await
    }

    fn calls(&self) -> Vec<Vec<String>> {
        (0..)
            .map_while(|number: u32| {
                fs::read_to_string(self.folder.join("calls").join(number.to_string())).ok()
            })
            .map(|words| words.split('\u{1f}').map(str::to_owned).collect())
            .collect()
    }
}

fn brief(record: &Value) -> String {
    let runs: Vec<String> = record["runs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|run| format!("{} {} {} {}", run["run_id"], run["kind"], run["outcome"], run["cost_microusd"]))
        .collect();
    format!("{} {} job {} runs {runs:?}", record["task"]["standing"], record["task"]["cause"], record["job"])
}

fn word(call: &[String], name: &str) -> Option<String> {
    let at = call.iter().position(|word| word == name)?;
    call.get(at + 1).cloned()
}

async fn nobody_lives(cookie: u64) -> Result<()> {
    wait::until("no survivor", PATIENCE, || async {
        let members = orphans::members(cookie).map_err(|error| error.to_string())?;
        if members.is_empty() { Ok(()) } else { Err(format!("{members:?}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_succeeds_is_booked_with_what_it_reports_and_leaves_nobody() -> Result<()> {
    let stage = Stage::new("leave").await?;
    let record = stage.until_asked().await?;
    let run = &stage.agents().await?[0];
    assert_eq!(run["outcome"], "exit 0");
    assert_eq!(
        (&run["cost_microusd"], &run["cost_kind"]),
        (&Value::from(2 * TURN), &Value::from("reported"))
    );
    assert_eq!((&run["input_tokens"], &run["cached_tokens"]), (&Value::from(13_000), &Value::from(10_600)));
    assert_eq!((&run["output_tokens"], &run["effort"]), (&Value::from(500), &Value::from("high")));
    assert_eq!(run["model"], "claude-sonnet-4-5-20250929", "the model that answered");
    assert_eq!(run["reserved_microusd"], 5_000_000);
    assert!(run["swept_processes"].as_u64().unwrap_or_default() >= 1, "{run}");
    nobody_lives(run["cookie"].as_str().context("no cookie")?.parse()?).await?;
    let call = &stage.calls()[0];
    assert_eq!(word(call, "--max-budget-usd").as_deref(), Some("5.000000"));
    assert_eq!(word(call, "--session-id").as_deref(), run["session_id"].as_str());
    assert_eq!(word(call, "--max-turns").as_deref(), Some("20"));
    assert!(call.last().is_some_and(|prompt| prompt.contains(KEY)), "{call:?}");
    assert_eq!(record["budget"]["spent_microusd"], 2 * TURN);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_resumed_and_each_run_booked_with_its_own_part() -> Result<()> {
    let stage = Stage::new("fail\nsuccess").await?;
    stage.until_asked().await?;
    let runs = stage.agents().await?;
    assert_eq!(runs.len(), 2);
    let calls = stage.calls();
    assert_eq!(word(&calls[1], "--resume"), word(&calls[0], "--session-id"));
    for run in &runs {
        assert_eq!(run["cost_microusd"], 2 * TURN, "the total of the session is told, its part is booked");
        assert_eq!(run["input_tokens"], 13_000);
    }
    assert_eq!(
        word(&calls[1], "--max-budget-usd").as_deref(),
        Some("5.000000"),
        "its cap counts this run alone"
    );
    assert_eq!(runs[1]["attempt"], 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_time_is_up_says_what_it_cost_and_its_tool_ends_with_it() -> Result<()> {
    let stage = Stage::with(Stack::describe(), "hang\nsuccess", "timeout_s = 10\n").await?;
    let cookie = stage.until_working(1).await?;
    stage.until_tool(cookie).await?;
    stage.until_asked().await?;
    let runs = stage.agents().await?;
    assert_eq!(runs[0]["outcome"], "timed out");
    assert_eq!((&runs[0]["cost_microusd"], &runs[0]["cost_kind"]), (&(2 * TURN).into(), &"reported".into()));
    nobody_lives(cookie).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_without_a_word_is_booked_with_its_bound() -> Result<()> {
    let stage = Stage::with(Stack::describe(), "deaf\nsuccess", "timeout_s = 10\nbudget_usd = 0.5\n").await?;
    let cookie = stage.until_working(1).await?;
    stage.until_tool(cookie).await?;
    stage.until_asked().await?;
    let runs = stage.agents().await?;
    assert_eq!((&runs[0]["cost_microusd"], &runs[0]["cost_kind"]), (&500_000.into(), &"estimated".into()));
    nobody_lives(cookie).await?;
    let shown = stage.stack.cli(&["task", "show", KEY])?;
    assert!(shown.all().contains("≤ 0.50 $"), "{}", shown.all());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_agent_is_interrupted_first_and_its_cost_is_booked() -> Result<()> {
    let stage = Stage::new("hang").await?;
    let cookie = stage.until_working(1).await?;
    stage.until_tool(cookie).await?;
    pipeline::ask(&stage.api, KEY, "cancel", "not wanted").await?;
    stage.until("its end", |record| !record["runs"][0]["ended_at_ms"].is_null()).await?;
    let runs = stage.agents().await?;
    assert_eq!((&runs[0]["outcome"], &runs[0]["cost_kind"]), (&"stopped".into(), &"reported".into()));
    assert_eq!(runs[0]["cost_microusd"], 2 * TURN);
    nobody_lives(cookie).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_counts_though_the_program_stays_and_the_program_is_ended() -> Result<()> {
    let stage = Stage::new("linger").await?;
    stage.until_asked().await?;
    let runs = stage.agents().await?;
    assert_eq!(runs.len(), 1, "no second attempt");
    assert_eq!((&runs[0]["outcome"], &runs[0]["cost_microusd"]), (&"stopped".into(), &(2 * TURN).into()));
    nobody_lives(runs[0]["cookie"].as_str().context("no cookie")?.parse()?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_usage_limit_and_an_overloaded_service_are_waited_for_and_no_attempt_is_spent() -> Result<()> {
    let until_s = orch_tests::clock::now_ms() / 1000 + 20;
    let stage = Stage::new(&format!("limit {until_s}\noverloaded\noverloaded\noverloaded\nsuccess")).await?;
    let waits = |record: &Value| record["job"]["not_before_ms"] == until_s * 1000;
    let record = stage.until("the job to wait for its time", waits).await?;
    assert_eq!(record["job"]["attempt"], 1);
    assert!(
        record["job"]["reason"].as_str().is_some_and(|why| why.contains("usage limit")),
        "{}",
        record["job"]
    );
    stage.until_asked().await?;
    let runs = stage.agents().await?;
    assert_eq!(runs.iter().map(|run| run["attempt"].clone()).collect::<Vec<_>>(), vec![Value::from(1); 5]);
    assert!(runs[1]["started_at_ms"].as_i64() >= Some(until_s * 1000), "{}", runs[1]);
    assert_eq!(runs[0]["cost_microusd"], 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_dies_goes_on_with_the_stream_and_books_the_run_once() -> Result<()> {
    let mut stage = Stage::new("slow 120").await?;
    stage.until_working(1).await?;
    stage.stack.kill_core();
    stage.api = stage.stack.start_core().await?;
    stage.until_asked().await?;
    let runs = stage.agents().await?;
    assert_eq!(runs.len(), 1, "taken up, not started again");
    assert_eq!(runs[0]["cost_microusd"], 2 * TURN);
    let document = stage.api.observation().await?;
    assert_eq!(document.budget.map(|budget| budget.day_spent_microusd), Some(2 * TURN));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ended_while_no_core_lived_is_booked_once() -> Result<()> {
    let mut stage = Stage::new("slow 40").await?;
    let cookie = stage.until_working(1).await?;
    stage.stack.kill_core();
    nobody_lives(cookie).await?;
    stage.api = stage.stack.start_core().await?;
    stage.until_asked().await?;
    let runs = stage.agents().await?;
    assert_eq!((runs.len(), &runs[0]["cost_microusd"]), (1, &(2 * TURN).into()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_budget_is_used_up_stands_and_says_why() -> Result<()> {
    let builder = Stack::describe().core("ORCH_TASK_BUDGET_USD", "0.05");
    let stage = Stage::with(builder, "fail\nbudget", "").await?;
    let record =
        stage.until("the task to be blocked", |record| record["task"]["standing"] == "blocked").await?;
    let calls = stage.calls();
    // what is left of the task's budget
    assert_eq!(word(&calls[0], "--max-budget-usd").as_deref(), Some("0.050000"));
    assert_eq!(word(&calls[1], "--max-budget-usd").as_deref(), Some("0.030050"));
    assert_eq!(calls.len(), 2, "no more money is spent");
    let cause = record["task"]["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("budget is used up") && cause.contains("ORCH_TASK_BUDGET_USD"), "{cause}");
    assert!(cause.contains("task retry"), "{cause}");
    let spent = record["budget"]["spent_microusd"].as_i64().unwrap_or_default();
    assert!((50_000..=50_000 + TURN).contains(&spent), "at most one call beyond it: {spent}");
    // asked again without more money, it stands again, and says which bound
    pipeline::ask(&stage.api, KEY, "retry", "once more").await?;
    stage
        .until("the bound to be named", |record| {
            let cause = record["task"]["cause"].as_str().unwrap_or_default();
            record["task"]["standing"] == "blocked" && cause.contains("the work item's budget is used up")
        })
        .await?;
    assert_eq!(stage.calls().len(), 2, "no run was started");
    let metrics = stage.api.get("/metrics").await?.text;
    assert!(metrics.contains("orch_core_budget_task_limit_usd 0.05\n"), "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_works_beyond_its_cap_is_ended() -> Result<()> {
    let stage = Stage::with(Stack::describe(), "overspend 600000", "budget_usd = 0.5\n").await?;
    let record =
        stage.until("the task to be blocked", |record| record["task"]["standing"] == "blocked").await?;
    let cause = record["task"]["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("the run's budget is used up") && cause.contains("budget_usd"), "{cause}");
    assert_eq!(stage.calls().len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_used_up_starts_no_agent_and_says_so() -> Result<()> {
    let builder = Stack::describe().core("ORCH_DAILY_BUDGET_USD", "0.01").core("ORCH_BUDGET_HARD", "false");
    let stage = Stage::with(builder, "fail\nsuccess", "").await?;
    stage.until("the second attempt to wait", |record| record["job"]["attempt"] == 2).await?;
    let said = wait::until("the reason in the queue", PATIENCE, || async {
        let document = stage.api.observation().await.map_err(|error| error.to_string())?;
        let reasons: Vec<String> = document.queued_jobs.iter().map(|job| job.reason.clone()).collect();
        match reasons.iter().find(|reason| reason.contains("the day's budget is used up")) {
            Some(reason) => Ok(reason.clone()),
            None => Err(format!("{reasons:?}")),
        }
    })
    .await?;
    assert!(said.contains("ORCH_DAILY_BUDGET_USD=0.01") && said.contains("00:00 UTC"), "{said}");
    let why = stage.api.get(&format!("/tasks/{KEY}/why")).await?.text;
    assert!(why.contains("the day's budget is used up"), "{why}");
    if stage.calls().len() != 1 {
        bail!("an agent was started all the same: {:?}", stage.calls());
    }
    // soft: the run was given its own bound, not the rest of the day's
    assert_eq!(word(&stage.calls()[0], "--max-budget-usd").as_deref(), Some("5.000000"));
    Ok(())
}

//! The real core with the sample: the way to `done`, the gates that stop it, the errors it tells.

use anyhow::{Result, ensure};
use orch_contract::ProcessKind;
use orch_tests::api::Api;
use orch_tests::pipeline::{self, ARRIVAL_PATIENCE};
use orch_tests::process;
use orch_tests::sample::{self, git};
use orch_tests::stack::{START_PATIENCE, Stack};
use orch_tests::wait;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Exit code of a usage or configuration error.
const USAGE: i32 = 64;

/// A copy of the scripted agents in which one text of one file is another.
fn broken_agents(folder: &Path, file: &str, old: &str, new: &str) -> Result<PathBuf> {
    let copy = folder.join("broken-agents");
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(sample::home().join("agents"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name()))?;
        }
    }
    let whole = fs::read_to_string(copy.join(file))?;
    ensure!(whole.contains(old), "{file} holds no {old:?}: the break would break nothing");
    fs::write(copy.join(file), whole.replace(old, new))?;
    Ok(copy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_item_is_merged_by_a_merge_deployed_once_and_done() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let api = stack.start_core().await?;
    pipeline::submit(&api, "SAMPLE-1", "sample", "Show a duration as a clock").await?;
    let mut steps = Vec::new();
    pipeline::follow_to_done(&api, "SAMPLE-1", ARRIVAL_PATIENCE, |step| steps.push(step.clone())).await?;
    assert_eq!(steps.iter().filter(|step| **step == pipeline::Step::Approved).count(), 1, "{steps:?}");

    let merges = stack.sample().merges("sample")?;
    assert_eq!(merges.len(), 1, "{merges:?}");
    assert_eq!(stack.sample().deployments("sample")?, [merges[0].0.clone()]);
    let bare = stack.sample().bare("sample");
    let landed = git(&bare, &["ls-tree", "-r", "--name-only", "main"])?;
    for file in ["src/spans/extras/clock.py", "docs/work-items/SAMPLE-1/01-brief.md"] {
        assert!(landed.lines().any(|line| line == file), "{file} is not on main:\n{landed}");
    }
    let pushed = git(&bare, &["log", "--first-parent", "--no-merges", "--format=%s", "main"])?;
    assert_eq!(pushed.lines().count(), 1, "main changes by merges only: {pushed}");

    let shown = stack.cli(&["task", "show", "SAMPLE-1", "--history"])?;
    assert!(shown.status.success() && shown.out.contains("done"), "{}", shown.all());
    stack.stop_core()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_what_to_do_in_the_words_of_its_target_branch() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let api = stack.start_core().await?;
    let folder = tempfile::tempdir()?;
    let checkout = folder.path().join("checkout");
    let bare = stack.sample().bare("sample");
    git(&bare, &["worktree", "add", &checkout.display().to_string(), "main"])?;
    let own = checkout.join(".orch/prompts");
    fs::create_dir_all(&own)?;
    fs::write(own.join("analyst.md"), "In our words, {{ role }}.\n{% include \"shipped/rules.md\" %}")?;
    git(&checkout, &["add", ".orch"])?;
    git(&checkout, &["commit", "-q", "-m", "our prompt"])?;
    git(&bare, &["worktree", "remove", "--force", &checkout.display().to_string()])?;
    pipeline::submit(&api, "SAMPLE-1", "sample", "Show a duration as a clock").await?;
    await_person(&api, "SAMPLE-1").await?;
    let prompt = fs::read_to_string(stack.data().join("prompts/SAMPLE-1.md"))?;
    assert!(prompt.starts_with("In our words, analyst.\n"), "{prompt}");
    for words in ["SAMPLE-1: Show a duration as a clock", "docs/work-items/SAMPLE-1/01-brief.md"] {
        assert!(prompt.contains(words), "{words}\n{prompt}");
    }
    stack.stop_core()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_does_what_the_api_does() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let api = stack.start_core().await?;
    let added =
        stack.cli(&["task", "add", "SAMPLE-1", "--project", "sample", "--title", "Split a duration"])?;
    ensure!(added.status.success(), "{}", added.all());
    await_person(&api, "SAMPLE-1").await?;
    let why = stack.cli(&["why", "SAMPLE-1"])?;
    assert!(why.status.success() && why.out.contains("approv"), "{}", why.all());
    let approved = stack.cli(&["task", "approve", "SAMPLE-1", "--who", "somebody"])?;
    ensure!(approved.status.success(), "{}", approved.all());
    wait::until("the architect's stage", START_PATIENCE, || async {
        match pipeline::stage(&api, "SAMPLE-1").await.map_err(|error| format!("{error:#}"))?.as_str() {
            "analysis" => Err("still in analysis".to_owned()),
            stage => Ok(stage.to_owned()),
        }
    })
    .await?;
    let cancelled =
        stack.cli(&["task", "cancel", "SAMPLE-1", "--who", "somebody", "--why", "seen enough"])?;
    ensure!(cancelled.status.success(), "{}", cancelled.all());
    let shown = stack.cli(&["task", "show", "SAMPLE-1", "--json"])?;
    let record: serde_json::Value = serde_json::from_str(&shown.out)?;
    assert_eq!(record["task"]["stage"], "cancelled", "{record}");
    stack.stop_core()
}

async fn await_person(api: &Api, key: &str) -> Result<()> {
    wait::until("a person to be asked", Duration::from_secs(90), || async {
        let document = api.observation().await.map_err(|error| format!("{error:#}"))?;
        match pipeline::open_task(&document, key) {
            Some(open) if pipeline::asks_a_person(open) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// The pipeline stops at a stage, names its cause, and merges and deploys nothing.
async fn stops_with(stack: &mut Stack, stage: &str, cause: &str) -> Result<()> {
    let api = stack.start_core().await?;
    pipeline::submit(&api, "SAMPLE-1", "sample", "Show a duration as a clock").await?;
    let told = pipeline::follow_to_done(&api, "SAMPLE-1", ARRIVAL_PATIENCE, |_| {}).await;
    let told = format!("{:#}", told.err().unwrap_or_else(|| anyhow::anyhow!("it reached done")));
    assert!(told.contains("is blocked"), "{told}");
    let shown = stack.cli(&["task", "show", "SAMPLE-1", "--history"])?;
    let all = format!("{told}\n{}", shown.out);
    assert!(all.contains(cause), "expected {cause:?} in:\n{all}");
    assert_eq!(pipeline::stage(&api, "SAMPLE-1").await?, stage, "{all}");
    assert_eq!(stack.sample().merges("sample")?, []);
    assert_eq!(stack.sample().deployments("sample")?, Vec::<String>::new());
    stack.stop_core()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brief_without_its_word_stops_in_analysis_and_names_key_and_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let agents =
        broken_agents(folder.path(), "analyst.py", "front_matter(brief_status=status, ", "front_matter(")?;
    let mut stack = Stack::describe()
        .agents(&agents)
        .core("ORCH_JOB_ATTEMPTS", "1")
        .core("ORCH_MAX_ROLLBACKS", "0")
        .build()?;
    stops_with(&mut stack, "analysis", "brief_status").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reviewer_that_never_approves_exhausts_the_roll_backs_and_its_findings_are_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let agents = broken_agents(
        folder.path(),
        "catalogue.py",
        "    hours, rest = divmod(span.seconds, 3_600)\n    return",
        "    hours, rest = divmod(span.seconds, 3_600)\n    print(hours)\n    return",
    )?;
    let mut stack = Stack::describe().agents(&agents).core("ORCH_MAX_ROLLBACKS", "1").build()?;
    stops_with(&mut stack, "review", "a library does not print").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_that_makes_no_environment_is_stopped_by_the_staging_suite() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let laid = "    lay_tree(context.worktree, sha, home / sha)\n    point_at(home / \"current\", sha)\n";
    let agents = broken_agents(folder.path(), "deployer.py", laid, "")?;
    let mut stack = Stack::describe().agents(&agents).core("ORCH_MAX_ROLLBACKS", "0").build()?;
    stops_with(&mut stack, "deploy-staging", "the deployer made no environment").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_core_continues_where_it_was() -> Result<()> {
    let mut stack = Stack::describe().core("ORCH_SHUTDOWN_AGENTS", "stop").build()?;
    let api = stack.start_core().await?;
    pipeline::submit(&api, "SAMPLE-1", "sample", "Split a duration").await?;
    await_person(&api, "SAMPLE-1").await?;
    stack.stop_core()?;
    assert_eq!(orch_tests::sweep::belonging_to(stack.data())?, [], "a stopped core leaves nothing running");
    let api = stack.start_core().await?;
    assert_eq!(pipeline::stage(&api, "SAMPLE-1").await?, "analysis");
    pipeline::follow_to_done(&api, "SAMPLE-1", ARRIVAL_PATIENCE, |_| {}).await?;
    assert_eq!(stack.sample().merges("sample")?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_core_on_the_same_data_directory_refuses_and_names_the_holder() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let api = stack.start_core().await?;
    let mut second = stack.core_command(&["serve"]);
    second.env("ORCH_BIND", "127.0.0.1:0");
    let said = process::run(&mut second, START_PATIENCE)?;
    assert!(!said.status.success(), "{}", said.all());
    let holder = stack.core_pid().unwrap_or_default().to_string();
    assert!(
        said.err.contains(&holder) || said.out.contains(&holder),
        "pid {holder} is not named: {}",
        said.all()
    );
    assert_eq!(api.get("/healthz").await?.status, 200, "the first one goes on");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_gets_a_clear_error_and_changes_nothing() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let api = stack.start_core().await?;
    let tasks = api.get("/tasks").await?.text;
    let person = json!({"who": "somebody", "why": "to see"}).to_string();
    let cases: [(&str, &str, u16, &str); 8] = [
        ("/tasks/SAMPLE-404/approve", &person, 404, "SAMPLE-404"),
        ("/tasks", "{\"key\": ", 400, ""),
        ("/tasks", "[]", 422, ""),
        ("/tasks", "{\"key\": \"SAMPLE-1\"}", 422, "project"),
        ("/tasks", "{\"key\": \"no key\", \"project\": \"sample\", \"title\": \"x\"}", 422, "key"),
        ("/tasks", "{\"key\": \"OTHER-1\", \"project\": \"sample\", \"title\": \"x\"}", 422, "SAMPLE"),
        ("/tasks", "{\"key\": \"SAMPLE-1\", \"project\": \"absent\", \"title\": \"x\"}", 422, "absent"),
        ("/tasks/..%2f/approve", &person, 400, "not a work item key"),
    ];
    for (path, body, status, names) in cases {
        let answer = api.post_text(path, body.to_owned()).await?;
        // 400 and 422 are both "your input"; what matters is that it is said and names the cause
        let expected = if status == 422 {
            answer.status == 422 || answer.status == 400
        } else {
            answer.status == status
        };
        assert!(expected, "POST {path} {body}: {} {}", answer.status, answer.text);
        assert!(
            answer.json()["type"].as_str().is_some_and(|kind| kind.starts_with("urn:orch:problem:")),
            "{path}: {}",
            answer.text
        );
        assert!(answer.text.contains(names), "{path} {body} does not name {names}: {}", answer.text);
    }
    assert_eq!(api.get("/tasks/SAMPLE-404").await?.status, 404);
    assert_eq!(api.get("/tasks").await?.text, tasks);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_at_the_wrong_stage_is_refused_and_changes_nothing() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let api = stack.start_core().await?;
    pipeline::submit(&api, "SAMPLE-1", "sample", "Split a duration").await?;
    await_person(&api, "SAMPLE-1").await?;
    pipeline::ask(&api, "SAMPLE-1", "cancel", "seen enough").await?;
    let before = pipeline::task(&api, "SAMPLE-1").await?;
    for verb in ["approve", "retry", "rollback"] {
        let answer =
            api.post(&format!("/tasks/SAMPLE-1/{verb}"), &json!({"who": "somebody", "why": "late"})).await?;
        assert_eq!(answer.status, 409, "{verb} of a cancelled task: {}", answer.text);
        assert!(answer.text.contains("cancelled"), "{verb}: {}", answer.text);
    }
    let nameless = api.post("/tasks/SAMPLE-1/cancel", &json!({"why": "nobody"})).await?;
    assert!((400..500).contains(&nameless.status), "{} {}", nameless.status, nameless.text);
    assert_eq!(pipeline::task(&api, "SAMPLE-1").await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nothing_is_changed() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let api = stack.start_core().await?;
    let stranger = Api::new(api.base(), "not-the-token")?;
    // on loopback reading needs no token; changing always does
    assert_eq!(stranger.get("/queue").await?.status, 200);
    let answer =
        stranger.post("/tasks", &json!({"key": "SAMPLE-1", "project": "sample", "title": "x"})).await?;
    assert_eq!(answer.status, 401);
    assert_eq!(stranger.get("/healthz").await?.status, 200);
    assert_eq!(api.get("/tasks/SAMPLE-1").await?.status, 404);
    Ok(())
}

#[test]
fn bad_settings_are_told_all_at_once_by_name_and_nothing_is_made() -> Result<()> {
    let stack = Stack::describe().build()?;
    let mut core = stack.core_command(&["serve"]);
    core.env("ORCH_BIND", "nowhere").env("ORCH_REAPER_TICK_S", "-3").env("ORCH_SHUTDOWN_AGENTS", "perhaps");
    core.env("ORCH_MAX_AGENT", "3");
    let said = process::run(&mut core, START_PATIENCE)?;
    assert_eq!(said.status.code(), Some(USAGE), "{}", said.all());
    for name in
        ["ORCH_BIND", "ORCH_REAPER_TICK_S", "ORCH_SHUTDOWN_AGENTS", "ORCH_MAX_AGENT", "ORCH_MAX_AGENTS"]
    {
        assert!(said.err.contains(name), "{name} is not named: {}", said.all());
    }
    assert!(!stack.data().join("orch.db").exists(), "a core that cannot start makes no database");

    let mut watchdog = stack.watchdog_command(&["run"]);
    watchdog.env("WATCHDOG_TICK_S", "soon").env("WATCHDOG_BIND", "nowhere");
    let said = process::run(&mut watchdog, START_PATIENCE)?;
    assert_eq!(said.status.code(), Some(USAGE), "{}", said.all());
    for name in ["WATCHDOG_TICK_S", "WATCHDOG_BIND"] {
        assert!(said.err.contains(name), "{name} is not named: {}", said.all());
    }
    Ok(())
}

#[test]
fn a_broken_projects_file_is_told_with_its_place_and_nothing_is_made() -> Result<()> {
    let stack = Stack::describe().build()?;
    let file = stack.data().join("projects.toml");
    let whole = fs::read_to_string(&file)?;
    let doubled = whole.replace("key_prefix = \"SOAK\"", "key_prefix = \"SAMPLE\"");
    let cases: [(String, &str); 4] = [
        ("[[project]\n".to_owned(), "projects.toml"),
        (whole.replace("merge_method = \"merge-commit\"", "merge_method = \"magic\""), "merge_method"),
        (whole.replacen("ci_cmd = ", "ci_command = ", 1), "ci_command"),
        (doubled, "SAMPLE"),
    ];
    for (text, names) in cases {
        fs::write(&file, &text)?;
        let said = process::run(&mut stack.core_command(&["serve"]), START_PATIENCE)?;
        assert_eq!(said.status.code(), Some(USAGE), "{names}: {}", said.all());
        assert!(said.err.contains(names), "{names} is not named: {}", said.all());
        assert!(!stack.data().join("orch.db").exists(), "a core that cannot start makes no database");
    }
    Ok(())
}

/// Once a cancel or roll-back that came between a job's claim and its agent's start was not heard:
/// the agent worked on, and after a roll-back two worked in one worktree.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_or_roll_back_at_any_moment_of_a_start_leaves_one_agent_at_most() -> Result<()> {
    let mut stack = Stack::describe().core("ORCH_MAX_AGENTS_PER_REPO", "4").build()?;
    let api = stack.start_core().await?;
    for (number, pause_ms) in [0_u64, 5, 15, 30, 60, 120].into_iter().enumerate() {
        let key = format!("SOAK-{}", number + 1);
        pipeline::submit(&api, &key, "soak", "Split a duration into equal parts").await?;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        let verb = if number % 2 == 0 { "cancel" } else { "rollback" };
        pipeline::ask(&api, &key, verb, "changed my mind").await?;
    }
    let wanted = ["SOAK-2", "SOAK-4", "SOAK-6"];
    wait::until("one live agent for each task that goes on, none for the others", START_PATIENCE, || async {
        let document = api.observation().await.map_err(|error| format!("{error:#}"))?;
        let mut live: Vec<String> = document
            .processes
            .iter()
            .filter(|tree| tree.kind == ProcessKind::Agent && tree.ended_at_ms.is_none())
            .filter(|tree| tree.child.is_some())
            .filter_map(|tree| tree.work_item.clone())
            .collect();
        live.sort();
        if live == wanted { Ok(()) } else { Err(format!("{live:?}")) }
    })
    .await?;
    for key in wanted {
        pipeline::ask(&api, key, "cancel", "seen enough").await?;
    }
    wait::until("no agent to be left", START_PATIENCE, || async {
        let document = api.observation().await.map_err(|error| format!("{error:#}"))?;
        let left = document.processes.iter().filter(|tree| tree.ended_at_ms.is_none()).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} trees live")) }
    })
    .await?;
    stack.stop_core()
}

/// Once a cancel during the edge with effects was refused, and the task was merged and deployed.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_during_the_gates_of_the_last_edge_is_heard_before_the_merge() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    let api = stack.start_core().await?;
    pipeline::submit(&api, "SAMPLE-1", "sample", "Show a duration as a clock").await?;
    wait::until("a gate of the last edge to be at work", ARRIVAL_PATIENCE, || async {
        let document = api.observation().await.map_err(|error| format!("{error:#}"))?;
        if pipeline::open_task(&document, "SAMPLE-1").is_some_and(pipeline::asks_a_person) {
            pipeline::ask(&api, "SAMPLE-1", "approve", "good").await.ok();
        }
        let at_work =
            |kind| document.processes.iter().any(|tree| tree.kind == kind && tree.ended_at_ms.is_none());
        if at_work(ProcessKind::Retest) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    pipeline::ask(&api, "SAMPLE-1", "cancel", "stop it before it lands").await?;
    wait::until("the task to be cancelled", START_PATIENCE, || async {
        let stage = pipeline::stage(&api, "SAMPLE-1").await.map_err(|error| format!("{error:#}"))?;
        if stage == "cancelled" { Ok(()) } else { Err(stage) }
    })
    .await?;
    assert_eq!(stack.sample().merges("sample")?, [], "nothing landed");
    stack.stop_core()
}

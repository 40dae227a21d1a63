//! The real watchdog beside a real core, or beside none: what it must tell, and what it must not.

use anyhow::{Context as _, Result};
use orch_tests::alerts::{self, Signal};
use orch_tests::chat::Chat;
use orch_tests::demo::{agent_in_pytest, kill_agent};
use orch_tests::orphans::Shell;
use orch_tests::pipeline;
use orch_tests::process::{self, Guard};
use orch_tests::stack::Stack;
use orch_tests::wait;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

/// Longest time until something that must be told is told.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long silence is watched: many ticks and graces of these settings.
const SILENCE: Duration = Duration::from_secs(12);

async fn hears(chat: &Chat, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
    alerts::await_message(what, PATIENCE, || chat.texts(), wanted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_of_a_killed_shell_is_told_and_its_end_too() -> Result<()> {
    let chat = Chat::start().await?;
    let mut stack = chat.configure(Stack::describe()).build()?;
    stack.start_core().await?;
    stack.start_watchdog().await?;
    let orphan = Shell::with_pytest(stack.sample(), stack.data(), "left-behind").await?.abandon()?;
    let pid = orphan.root.pid;
    hears(&chat, "the alert", |text| alerts::is_alert(text, Signal::ProcOrphaned, Some(pid))).await?;
    orphan.end()?;
    hears(&chat, "the recovery", |text| alerts::is_recovery(text, Signal::ProcOrphaned)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_with_the_tree_kill_off_leaves_an_orphan_that_is_told() -> Result<()> {
    let chat = Chat::start().await?;
    let mut stack = chat
        .configure(Stack::describe())
        .core("ORCH_SUBPROCESS_TREE_KILL_ENABLED", "false")
        .core("ORCH_JOB_ATTEMPTS", "1")
        .build()?;
    let api = stack.start_core().await?;
    stack.start_watchdog().await?;
    pipeline::submit(&api, "SOAK-1", "soak", "Split a duration").await?;
    let (tree, orphan) = agent_in_pytest(&api, "SOAK-1").await?;
    kill_agent(&tree)?;
    let pid = orphan.root.pid;
    hears(&chat, "the alert", |text| alerts::is_alert(text, Signal::ProcOrphaned, Some(pid))).await?;
    orphan.end()?;
    hears(&chat, "the recovery", |text| alerts::is_recovery(text, Signal::ProcOrphaned)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_core_stopped_the_orphan_is_still_found_and_its_owner_unknown() -> Result<()> {
    let chat = Chat::start().await?;
    // without the core only age can tell: the limit is 0.1 min
    let mut stack = chat.configure(Stack::describe()).watchdog("WATCHDOG_PROC_AGE_MIN", "0.1").build()?;
    stack.start_core().await?;
    stack.start_watchdog().await?;
    stack.stop_core()?;
    hears(&chat, "core_down", |text| alerts::is_alert(text, Signal::CoreDown, None)).await?;
    let orphan = Shell::with_pytest(stack.sample(), stack.data(), "left-behind").await?.abandon()?;
    let number = orphan.root.pid.to_string();
    let told = hears(&chat, "an alert about the pytest", |text| {
        text.contains("pytest") && text.contains(&number) && !text.contains("over after")
    })
    .await?;
    assert!(told.contains("owner unknown"), "{told}");
    let scanned = stack.watchdog_cli(&["scan", "--all"])?;
    assert!(scanned.out.contains(&number), "{}", scanned.all());

    stack.start_core().await?;
    hears(&chat, "core_down's recovery", |text| alerts::is_recovery(text, Signal::CoreDown)).await?;
    orphan.end()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_core_is_told_and_its_return_too_and_the_watchdog_lives_through_its_own_restart()
-> Result<()> {
    let chat = Chat::start().await?;
    let mut stack = chat.configure(Stack::describe()).build()?;
    stack.start_core().await?;
    stack.start_watchdog().await?;
    stack.kill_core();
    hears(&chat, "core_down", |text| alerts::is_alert(text, Signal::CoreDown, None)).await?;
    // killed before it has noted the delivery it may repeat it once; `kills` in the watchdog's tests is about that
    wait::until("the delivery to be noted", PATIENCE, || async {
        match stack.undelivered() {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    stack.kill_watchdog();
    stack.start_watchdog().await?;
    wait::never("a second alert of one outage", SILENCE, || async {
        let alerts =
            chat.texts().iter().filter(|text| alerts::is_alert(text, Signal::CoreDown, None)).count();
        (alerts > 1).then(|| format!("{:?}", chat.texts()))
    })
    .await?;
    stack.start_core().await?;
    hears(&chat, "the recovery", |text| alerts::is_recovery(text, Signal::CoreDown)).await?;
    Ok(())
}

/// A process under a name of its own choice that follows a file.
fn follower(stack: &Stack, name: &str, file: &str) -> Result<Guard> {
    fs::write(stack.data().join(file), "[pytest]\n")?;
    let mut command = process::bare_program("bash");
    command.arg("-c").arg(format!("exec -a {name} tail -f {file}")).current_dir(stack.data());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Guard::start(name, &mut command)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_a_log_reader_and_a_young_owned_pytest_raise_nothing() -> Result<()> {
    let chat = Chat::start().await?;
    let mut stack = chat.configure(Stack::describe()).build()?;
    let api = stack.start_core().await?;
    stack.start_watchdog().await?;
    let _editor = follower(&stack, "vim", "pytest.ini")?;
    let _reader = follower(&stack, "tail", "pytest.log")?;
    pipeline::submit(&api, "SOAK-1", "soak", "Split a duration").await?;
    let (_tree, _pytest) = agent_in_pytest(&api, "SOAK-1").await?;
    let shell = Shell::with_pytest(stack.sample(), stack.data(), "attended").await?;
    wait::never("a message", SILENCE, || async {
        let about_ours = |text: &String| text.contains("pytest") && names_ours(text, &stack);
        chat.texts().into_iter().find(about_ours)
    })
    .await?;

    // the same processes are seen: with a lower age limit the owned pytest is told
    stack.set_watchdog("WATCHDOG_PROC_AGE_MIN", "0.05");
    stack.stop_watchdog()?;
    stack.start_watchdog().await?;
    let pid = shell.pytest.root.pid;
    hears(&chat, "an alert by age", |text| alerts::is_alert(text, Signal::ProcBlocking, Some(pid))).await?;
    let told = chat.texts().concat();
    assert!(!told.contains("pytest.ini") && !told.contains("pytest.log"), "{told}");
    Ok(())
}

/// Whether a message is about processes of this test and not about another pytest on this host.
fn names_ours(text: &str, stack: &Stack) -> bool {
    let ours = orch_tests::sweep::belonging_to(stack.data()).unwrap_or_default();
    text.split(|sign: char| !sign.is_ascii_digit())
        .filter_map(|word| word.parse::<i32>().ok())
        .any(|number| ours.iter().any(|id| id.pid == number))
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_answer_and_a_dead_core_does_not_make_the_watchdog_unhealthy() -> Result<()> {
    let mut stack = Stack::describe().build()?;
    stack.start_core().await?;
    let base = stack.start_watchdog().await?;
    let watchdog = orch_tests::api::Api::new(&base, "")?;
    stack.kill_core();
    wait::until("core_up to be 0", PATIENCE, || async {
        let metrics = watchdog.get("/metrics").await.map_err(|error| format!("{error:#}"))?.text;
        let line = metrics.lines().find(|line| line.starts_with("orch_watchdog_core_up")).map(str::to_owned);
        line.filter(|line| line.ends_with(" 0")).ok_or(metrics)
    })
    .await?;
    let health = watchdog.get("/healthz").await?;
    assert_eq!(health.status, 200, "{}", health.text);
    let own = stack.watchdog_cli(&["healthcheck"])?;
    assert!(own.status.success(), "{}", own.all());
    stack.stop_watchdog().context("the watchdog ends when asked")
}

//! One work item on its way: submit, follow, approve when a person is asked, arrive.

use crate::api::Api;
use crate::clock;
use anyhow::{Context as _, Result, bail};
use orch_contract::{ObservationDocument, OpenTask, Standing, SupervisedTree, WaitsForKind};
use serde_json::{Value, json};
use std::time::Duration;

/// Pause between two looks at a task, in milliseconds.
const POLL_MS: u64 = 100;
/// Longest time from submission to `done` on a busy two-core machine.
pub const ARRIVAL_PATIENCE: Duration = Duration::from_secs(420);

/// Submit a work item.
///
/// # Errors
/// When the core does not take it.
pub async fn submit(api: &Api, key: &str, project: &str, title: &str) -> Result<()> {
    let answer = api.post("/tasks", &json!({"key": key, "project": project, "title": title})).await?;
    if !(200..300).contains(&answer.status) {
        bail!("submitting {key} was answered {} {}", answer.status, answer.text);
    }
    Ok(())
}

/// Ask the core for a verb (`approve`, `retry`, `rollback`, `cancel`) on a task.
///
/// # Errors
/// When it refuses.
pub async fn ask(api: &Api, key: &str, verb: &str, why: &str) -> Result<()> {
    let answer = api.post(&format!("/tasks/{key}/{verb}"), &json!({"who": "demo", "why": why})).await?;
    if !(200..300).contains(&answer.status) {
        bail!("{verb} of {key} was answered {} {}", answer.status, answer.text);
    }
    Ok(())
}

/// A task's record; `None` when the core knows none.
///
/// # Errors
/// When no answer came, or one that is neither.
pub async fn task(api: &Api, key: &str) -> Result<Option<Value>> {
    let answer = api.get(&format!("/tasks/{key}")).await?;
    match answer.status {
        200 => Ok(Some(answer.json()["task"].clone())),
        404 => Ok(None),
        status => bail!("GET /tasks/{key} was answered {status} {}", answer.text),
    }
}

/// A task's stage.
///
/// # Errors
/// When the core knows no such task, or its record has no stage.
pub async fn stage(api: &Api, key: &str) -> Result<String> {
    let record = task(api, key).await?.with_context(|| format!("the core knows no {key}"))?;
    Ok(record["stage"].as_str().with_context(|| format!("no stage in {record}"))?.to_owned())
}

/// The open task of the document, if it is open.
#[must_use]
pub fn open_task<'a>(document: &'a ObservationDocument, key: &str) -> Option<&'a OpenTask> {
    document.tasks.iter().find(|task| task.work_item == key)
}

/// Whether a person is asked to approve this task now.
#[must_use]
pub fn asks_a_person(task: &OpenTask) -> bool {
    task.standing == Standing::Waiting
        && task.waits_for.as_ref().is_some_and(|who| who.kind == WaitsForKind::Person)
}

/// The live process tree that works on a task, if there is one.
#[must_use]
pub fn live_tree<'a>(document: &'a ObservationDocument, key: &str) -> Option<&'a SupervisedTree> {
    document
        .processes
        .iter()
        .find(|tree| tree.work_item.as_deref() == Some(key) && tree.ended_at_ms.is_none())
}

/// What happened on the way, told to whoever follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The task is in this stage now.
    Stage(String),
    /// A person was asked, and answered.
    Approved,
}

/// Follow a task to `done`, approving when a person is asked; `tell` hears each step.
///
/// # Errors
/// When it is cancelled or blocked (with the cause), or has not arrived within `patience`.
pub async fn follow_to_done(
    api: &Api,
    key: &str,
    patience: Duration,
    mut tell: impl FnMut(&Step),
) -> Result<()> {
    let deadline = clock::now() + patience;
    let (mut last, mut approved_in) = (String::new(), None);
    loop {
        let now = stage(api, key).await?;
        if now != last {
            tell(&Step::Stage(now.clone()));
            last.clone_from(&now);
        }
        match now.as_str() {
            "done" => return Ok(()),
            "cancelled" => bail!("{key} was cancelled"),
            _ => {}
        }
        let document = api.observation().await?;
        if let Some(open) = open_task(&document, key) {
            if asks_a_person(open) && approved_in.as_ref() != Some(&open.stage_since_ms) {
                ask(api, key, "approve", "the brief is clear").await?;
                approved_in = Some(open.stage_since_ms);
                tell(&Step::Approved);
            }
            if open.standing == Standing::Blocked {
                bail!("{key} is blocked in {now}: {}", open.cause.as_deref().unwrap_or("no cause given"));
            }
        }
        if clock::now() >= deadline {
            let standing = open_task(&document, key).map(|open| format!("{open:?}")).unwrap_or_default();
            bail!("{key} is still in {now} after {} s: {standing}", patience.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
    }
}

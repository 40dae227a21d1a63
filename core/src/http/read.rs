//! Routes that only look.

use std::time::{Duration, Instant};

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use orch_contract::{ObservationDocument, Standing, WaitsForKind};
use serde_json::{Value, json};

use super::{
    HttpState,
    extract::{Key, Parameters, Ready, Run, whole},
    problem::{Problem, ProblemKind},
    views::{EffectView, EventView, GateView, JobView, RunView, TaskSummary, TaskView},
};
use crate::{
    domain::{
        ids::{RunId, WorkItemKey},
        stage::Stage,
    },
    engine::{Engine, Life},
    metrics, observe,
    process::Stream,
    store::{JobRow, TaskRow},
};

/// Tasks of one page when nothing else is asked.
const PAGE_TASKS: u64 = 100;
/// Tasks of one page at most.
const PAGE_TASKS_MAX: u64 = 500;
/// Events of one page at most.
const PAGE_EVENTS_MAX: u64 = 10_000;
/// Verdicts that a task shows, newest first.
const GATES_SHOWN: u32 = 200;

/// A probe of the store holds for this long: it costs a synchronous write, and anybody may ask.
const PROBE_HOLDS: Duration = Duration::from_secs(2);
/// A store that has not taken a write by then does not take writes.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// When the store was last probed, and whether it took the write.
pub(super) type LastProbe = Option<(Instant, bool)>;

pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

pub(super) async fn readyz(State(state): State<HttpState>) -> Result<Json<Value>, Problem> {
    let starting = || Problem::new(ProblemKind::Starting, "the core recovers what its last life left");
    let engine = state.0.engine.get().ok_or_else(starting)?;
    match engine.life() {
        Life::Starting => return Err(starting()),
        Life::Stopping => return Err(Problem::new(ProblemKind::Stopping, "the core was told to end")),
        Life::Ready => {}
    }
    if is_writable(&state, engine).await {
        Ok(Json(json!({ "status": "ready" })))
    } else {
        Err(Problem::new(ProblemKind::NotWritable, "a write was tried and did not succeed"))
    }
}

/// Callers that come together share one probe.
async fn is_writable(state: &HttpState, engine: &Engine) -> bool {
    let mut last = state.0.writable.lock().await;
    let now = engine.clock.instant();
    if let Some((at, writable)) = *last
        && now.saturating_duration_since(at) < PROBE_HOLDS
    {
        return writable;
    }
    let probe = tokio::time::timeout(PROBE_TIMEOUT, engine.store.probe_writable()).await;
    let writable = matches!(probe, Ok(Ok(())));
    if !writable {
        tracing::error!(?probe, "the store takes no write");
    }
    *last = Some((now, writable));
    writable
}

pub(super) async fn metrics(Ready(engine): Ready) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::scrape(&engine).await).into_response()
}

pub(super) async fn queue(Ready(engine): Ready) -> Result<Json<ObservationDocument>, Problem> {
    Ok(Json(observe::document(&engine).await?))
}

pub(super) async fn tasks(Ready(engine): Ready, mut parameters: Parameters) -> Result<Json<Value>, Problem> {
    let stage = parameters.take("stage", |text| {
        Stage::parse(text).ok_or_else(|| {
            let all: Vec<&str> = Stage::ALL.into_iter().map(Stage::as_str).collect();
            format!("must be one of {}", all.join(", "))
        })
    });
    let limit = parameters.take("limit", |text| whole(text, 1, PAGE_TASKS_MAX)).unwrap_or(PAGE_TASKS);
    let after = parameters.take("after", |text| whole(text, 0, i64::MAX as u64)).unwrap_or(0);
    parameters.finish()?;
    // one more than asked for tells whether there is a next page
    let asked = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let mut rows = engine.store.tasks_page(i64::try_from(after).unwrap_or(i64::MAX), stage, asked).await?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_next = rows.len() > shown;
    rows.truncate(shown);
    let next = rows.last().filter(|_| has_next).map(|row| row.id.to_string());
    let tasks: Vec<TaskSummary> = rows.iter().map(TaskSummary::of).collect();
    Ok(Json(json!({ "tasks": tasks, "next_after": next })))
}

pub(super) async fn task(Ready(engine): Ready, Key(key): Key) -> Result<Json<Value>, Problem> {
    let row = find(&engine, &key).await?;
    let runs: Vec<RunView> = engine.store.runs_of(row.id).await?.into_iter().map(RunView::from).collect();
    let gates = engine.store.gates_of(row.id, GATES_SHOWN).await?;
    let gates: Vec<GateView> = gates.into_iter().map(GateView::from).collect();
    let effects = engine.store.effects_of(row.id).await?;
    let effects: Vec<EffectView> = effects.into_iter().map(EffectView::from).collect();
    let events: Vec<EventView> =
        engine.store.events(row.id).await?.into_iter().map(EventView::from).collect();
    let job = engine.store.open_job_of(row.id).await?.map(JobView::from);
    let spending = engine.store.task_spending(row.id).await?;
    let budget = json!({
        "spent_microusd": spending.spent_microusd, "reserved_microusd": spending.reserved_microusd,
        "limit_microusd": engine.config.jobs.budgets.task_microusd,
    });
    Ok(Json(json!({
        "task": TaskView::of(&row), "job": job, "runs": runs, "gates": gates, "effects": effects, "events": events,
        "budget": budget,
    })))
}

pub(super) async fn events(
    Ready(engine): Ready,
    Key(key): Key,
    mut parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let after = parameters.take("after", |text| whole(text, 0, i64::MAX as u64)).unwrap_or(0);
    let limit = parameters.take("limit", |text| whole(text, 1, PAGE_EVENTS_MAX)).unwrap_or(PAGE_EVENTS_MAX);
    parameters.finish()?;
    let row = find(&engine, &key).await?;
    let events: Vec<EventView> = engine
        .store
        .events(row.id)
        .await?
        .into_iter()
        .filter(|event| u64::try_from(event.seq).is_ok_and(|seq| seq > after))
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .map(EventView::from)
        .collect();
    Ok(Json(json!({ "work_item": key, "events": events })))
}

pub(super) async fn why(Ready(engine): Ready, Key(key): Key) -> Result<Json<Value>, Problem> {
    let row = find(&engine, &key).await?;
    let job = engine.store.open_job_of(row.id).await?;
    let held = engine.store.held_leases().await?;
    let lease = held.iter().find(|lease| lease.task == row.id).map(|lease| {
        json!({ "actor": lease.row.actor, "edge": lease.edge, "acquired_at_ms": lease.row.acquired_at_ms })
    });
    let day = engine.store.day_spending(engine.clock.now_ms()).await?;
    let mut sentence = sentence(&row, job.as_ref());
    if job.as_ref().is_some_and(|job| job.status == crate::domain::job::JobStatus::Queued)
        && let Some(words) = observe::day_is_used_up(&engine, day)
    {
        sentence = format!("{sentence} No agent is started: {words}.");
    }
    Ok(Json(json!({
        "task": TaskSummary::of(&row), "job": job.map(JobView::from), "lease": lease, "sentence": sentence,
    })))
}

/// Where a task stands, who acts next, and what can be done, as one sentence.
fn sentence(row: &TaskRow, job: Option<&JobRow>) -> String {
    let (task, shown) = (&row.task, observe::shown(&row.task));
    let begin =
        format!("{} is in {} since {}", task.key, task.stage, crate::clock::rfc3339(task.stage_since_ms));
    let until = shown.until_ms.map(|at| format!(", until {}", crate::clock::rfc3339(at))).unwrap_or_default();
    let cause = shown.cause.unwrap_or_default();
    match shown.standing {
        Standing::Finished => format!("{begin}: nothing follows."),
        Standing::Moving => match job {
            Some(job) => format!("{begin}; the {} {}.", job.role, job_words(job)),
            None => format!("{begin}; the core acts next."),
        },
        Standing::Held => format!("{begin}; the core tries again by itself{until}: {cause}."),
        Standing::Blocked => {
            format!("{begin}; a person must act: {cause}. Way out: {}.", shown.way_out.unwrap_or_default())
        }
        Standing::Waiting | Standing::Unknown => {
            let who = shown.waits_for.as_ref().map(|who| who.name.clone()).unwrap_or_default();
            let is_person = shown.waits_for.is_some_and(|who| who.kind == WaitsForKind::Person);
            let hint = if is_person && task.stage == Stage::Analysis {
                format!(" `orch-core task approve {} --who NAME` approves the brief.", task.key)
            } else {
                String::new()
            };
            format!("{begin}; it waits for {who}{until}: {cause}.{hint}")
        }
    }
}

fn job_words(job: &JobRow) -> String {
    use crate::domain::job::JobStatus;
    match job.status {
        JobStatus::Running => match job.run {
            Some(run) => format!("works (attempt {} of {}, run {run})", job.attempt, job.attempts_max),
            None => "works".to_owned(),
        },
        JobStatus::Queued | JobStatus::Done | JobStatus::Failed | JobStatus::Cancelled => {
            let not_before =
                job.not_before_ms.map(|at| format!(", not before {}", crate::clock::rfc3339(at)));
            format!(
                "waits for its turn (attempt {} of {}{})",
                job.attempt,
                job.attempts_max,
                not_before.unwrap_or_default()
            )
        }
    }
}

pub(super) async fn run(Ready(engine): Ready, Run(id): Run) -> Result<Json<Value>, Problem> {
    let run = engine.store.run(id).await?.ok_or_else(|| unknown_run(id.0))?;
    let work_item = match run.task {
        Some(task) => engine.store.task_by_id(task).await?.map(|row| row.task.key),
        None => None,
    };
    let out = written(&engine, id, Stream::Out).await;
    let err = written(&engine, id, Stream::Err).await;
    Ok(Json(json!({ "work_item": work_item, "run": RunView::from(run), "out_bytes": out, "err_bytes": err })))
}

/// Bytes of an output; `None` when there is no such file.
async fn written(engine: &Engine, run: RunId, stream: Stream) -> Option<u64> {
    tokio::fs::metadata(engine.runs.stream_path(run, stream)).await.ok().map(|found| found.len())
}

pub(super) fn unknown_run(id: i64) -> Problem {
    Problem::new(ProblemKind::UnknownRun, format!("there is no run {id}"))
}

pub(super) async fn find(engine: &Engine, key: &WorkItemKey) -> Result<TaskRow, Problem> {
    let unknown = || Problem::new(ProblemKind::UnknownTask, format!("there is no task {key}"));
    engine.store.task(key).await?.ok_or_else(unknown)
}

//! Routes that change something: an operator as an actor.
//!
//! Each is one call of the engine, in a task of its own: what has begun is not ended by its caller
//! hanging up or by a time-out. Who takes long is told so, and looks later.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    HttpState,
    body::{Fields, OptionalFields, TextRule},
    extract::{Key, Parameters, Ready},
    problem::{Problem, ProblemKind},
    read::find,
    views::{self, TaskView},
};
use crate::{
    domain::{
        actor::Actor,
        ids::WorkItemKey,
        transition::{Command, Outcome, Refusal},
    },
    engine::{ApproveError, CreateError, Engine, EngineError, Life, Request},
    store::{ReclaimReason, WhichGrant},
};

/// An action that has not ended by then goes on, and its caller is answered.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

const WHO: TextRule = TextRule::line(100);
const WHY: TextRule = TextRule::line(1_000);
const REVISION: TextRule = TextRule::line(100);
const NAME: TextRule = TextRule::line(100);
const TITLE: TextRule = TextRule::line(500);
const TEXT: TextRule = TextRule::text(64 * 1024);

/// What has ended, or that it goes on.
enum Ran<T> {
    Ended(T),
    UnderWay,
}

impl HttpState {
    /// Runs an action to its end, whoever waits for it.
    async fn run<T: Send + 'static>(
        &self,
        action: impl Future<Output = T> + Send + 'static,
    ) -> Result<Ran<T>, Problem> {
        let action = self.0.work.spawn(action);
        match tokio::time::timeout(ANSWER_WITHIN, action).await {
            Ok(Ok(value)) => Ok(Ran::Ended(value)),
            // panicked: an aborted one does not exist
            Ok(Err(error)) => Err(Problem::internal(&error)),
            Err(_) => Ok(Ran::UnderWay),
        }
    }
}

fn under_way(key: &WorkItemKey) -> Response {
    let body = json!({
        "outcome": "under_way", "work_item": key,
        "detail": format!("it goes on; look with `orch-core why {key}`"),
    });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// The engine, if it may still begin something.
fn beginning(engine: &Arc<Engine>) -> Result<Arc<Engine>, Problem> {
    match engine.life() {
        Life::Stopping => Err(Problem::new(ProblemKind::Stopping, "nothing new is begun")),
        Life::Starting | Life::Ready => Ok(Arc::clone(engine)),
    }
}

pub(super) async fn create(
    State(state): State<HttpState>,
    Ready(engine): Ready,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let key_text = fields.need("key", NAME);
    let key = match WorkItemKey::parse(&key_text) {
        Ok(key) => Some(key),
        Err(_) if key_text.is_empty() => None,
        Err(error) => {
            fields.refuse("key", error.to_string());
            None
        }
    };
    let project = fields.need("project", NAME);
    let title = fields.need("title", TITLE);
    let text = fields.take("body", TEXT).unwrap_or_default();
    let who = fields.take("who", WHO);
    fields.finish()?;
    let Some(key) = key else { return Err(Problem::new(ProblemKind::MalformedKey, "the key is missing")) };
    let engine = beginning(&engine)?;
    let asked = key.clone();
    let action = async move { engine.create(key, &project, &title, &text, who).await };
    let Ran::Ended(created) = state.run(action).await? else { return Ok(under_way(&asked)) };
    let (row, is_new) = created?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let body = json!({ "created": is_new, "task": TaskView::of(&row) });
    let mut response = (status, Json(body)).into_response();
    if let Ok(place) = HeaderValue::from_str(&format!("/tasks/{asked}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

pub(super) async fn approve(
    State(state): State<HttpState>,
    Ready(engine): Ready,
    Key(key): Key,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let who = fields.need("who", WHO);
    let why = fields.take("why", WHY).unwrap_or_else(|| "no reason given".to_owned());
    let revision = fields.take("revision", REVISION);
    fields.finish()?;
    let own = beginning(&engine)?;
    let asked = key.clone();
    let action = async move { own.approve(&key, &who, &why, revision.as_deref()).await };
    let Ran::Ended(approved) = state.run(action).await? else { return Ok(under_way(&asked)) };
    let (outcome, revision) = approved?;
    let mut body = views::outcome(&outcome);
    body["approved_revision"] = json!(revision);
    with_task(&engine, &asked, body).await
}

pub(super) async fn accept_landed(
    State(state): State<HttpState>,
    Ready(engine): Ready,
    Key(key): Key,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let who = fields.need("who", WHO);
    let why = fields.need("why", WHY);
    let revision = fields.need("revision", REVISION);
    fields.finish()?;
    let own = beginning(&engine)?;
    let asked = key.clone();
    let action = async move { own.accept_landed(&key, &who, &why, &revision).await };
    let Ran::Ended(outcome) = state.run(action).await? else { return Ok(under_way(&asked)) };
    with_task(&engine, &asked, views::outcome(&outcome?)).await
}

pub(super) async fn retry(
    state: State<HttpState>,
    engine: Ready,
    key: Key,
    fields: Fields,
) -> Result<Response, Problem> {
    operate(state, engine, key, fields, |_| Command::Retry).await
}

pub(super) async fn redeploy(
    state: State<HttpState>,
    engine: Ready,
    key: Key,
    fields: Fields,
) -> Result<Response, Problem> {
    operate(state, engine, key, fields, |_| Command::Redeploy).await
}

pub(super) async fn roll_back(
    state: State<HttpState>,
    engine: Ready,
    key: Key,
    fields: Fields,
) -> Result<Response, Problem> {
    operate(state, engine, key, fields, |why| Command::RollBack { why: why.to_owned() }).await
}

pub(super) async fn cancel(
    state: State<HttpState>,
    engine: Ready,
    key: Key,
    fields: Fields,
) -> Result<Response, Problem> {
    operate(state, engine, key, fields, |_| Command::Cancel).await
}

pub(super) async fn advance(
    state: State<HttpState>,
    engine: Ready,
    key: Key,
    fields: Fields,
) -> Result<Response, Problem> {
    operate(state, engine, key, fields, |_| Command::Advance).await
}

async fn operate(
    State(state): State<HttpState>,
    Ready(engine): Ready,
    Key(key): Key,
    mut fields: Fields,
    command: impl FnOnce(&str) -> Command,
) -> Result<Response, Problem> {
    let who = fields.need("who", WHO);
    let why = fields.need("why", WHY);
    fields.finish()?;
    let command = command(&why);
    let own = beginning(&engine)?;
    let asked = key.clone();
    let action = async move {
        match command {
            Command::Advance => {
                let request = Request { command, actor: Actor::Operator, who: Some(who), reason: why };
                own.advance(&key, request).await
            }
            Command::RollBack { .. } | Command::Retry | Command::Redeploy | Command::Cancel => {
                own.operate(&key, command, &who, &why).await
            }
        }
    };
    let Ran::Ended(outcome) = state.run(action).await? else { return Ok(under_way(&asked)) };
    match outcome? {
        Outcome::Deferred { owner } => Err(Problem::deferred(owner)),
        Outcome::LostRace => {
            Err(Problem::new(ProblemKind::LostRace, "the task changed while this was decided"))
        }
        outcome @ (Outcome::Advanced { .. }
        | Outcome::RolledBack { .. }
        | Outcome::Waiting { .. }
        | Outcome::Held { .. }
        | Outcome::Blocked { .. }
        | Outcome::NoChange) => with_task(&engine, &asked, views::outcome(&outcome)).await,
    }
}

async fn with_task(engine: &Engine, key: &WorkItemKey, mut body: Value) -> Result<Response, Problem> {
    body["task"] = json!(TaskView::of(&find(engine, key).await?));
    Ok(Json(body).into_response())
}

/// Takes a lease from whoever holds it. An effect that its owner left open is settled by the next
/// entry, which this wakes.
pub(super) async fn release_lease(
    State(state): State<HttpState>,
    Ready(engine): Ready,
    mut parameters: Parameters,
    OptionalFields(mut fields): OptionalFields,
) -> Result<Response, Problem> {
    let key =
        parameters.need("work_item", |text| WorkItemKey::parse(text).map_err(|error| error.to_string()));
    parameters.finish()?;
    let who = fields.take("who", WHO);
    let why = fields.take("why", WHY);
    fields.finish()?;
    let Some(key) = key else { return Err(Problem::new(ProblemKind::BadQuery, "work_item is missing")) };
    let row = find(&engine, &key).await?;
    let own = beginning(&engine)?;
    let action = async move {
        let why = why.unwrap_or_else(|| "released by force, no reason given".to_owned());
        own.force_release(
            &row.task.key,
            Actor::Operator,
            who,
            &why,
            ReclaimReason::Forced,
            WhichGrant::Present,
        )
        .await
    };
    let Ran::Ended(robbed) = state.run(action).await? else { return Ok(under_way(&key)) };
    let Some(robbed) = robbed? else {
        return Err(Problem::new(ProblemKind::NoLease, format!("nobody holds the lease of {key}")));
    };
    let body = json!({ "outcome": "released", "owner_lives": robbed.owner_lives, "parked": robbed.parked });
    with_task(&engine, &key, body).await
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::UnknownTask(_) => Self::new(ProblemKind::UnknownTask, error.to_string()),
            EngineError::UnknownProject(_) => Self::new(ProblemKind::ProjectGone, error.to_string()),
            EngineError::Refused(refusal) => refusal.into(),
            EngineError::Store(error) => error.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Terminal(_) | Refusal::NoRollBack(..) => ProblemKind::WrongStage,
            Refusal::NothingToRetry(_) | Refusal::NothingToDeploy(..) => ProblemKind::Refused,
        };
        Self::new(kind, refusal.to_string())
    }
}

impl From<ApproveError> for Problem {
    fn from(error: ApproveError) -> Self {
        let kind = match &error {
            ApproveError::WrongStage { .. } => ProblemKind::WrongStage,
            ApproveError::NoBrief { .. } | ApproveError::NothingLanded { .. } => {
                ProblemKind::NothingToApprove
            }
            ApproveError::NotAllowed { .. } => ProblemKind::NotAllowed,
            ApproveError::Changed { .. } => ProblemKind::BriefChanged,
            ApproveError::Engine(_) | ApproveError::Store(_) => ProblemKind::Internal,
        };
        match error {
            ApproveError::Engine(error) => error.into(),
            ApproveError::Store(error) => error.into(),
            ApproveError::WrongStage { .. }
            | ApproveError::NoBrief { .. }
            | ApproveError::NothingLanded { .. }
            | ApproveError::NotAllowed { .. }
            | ApproveError::Changed { .. } => Self::new(kind, error.to_string()),
        }
    }
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        let text = error.to_string();
        match error {
            CreateError::UnknownProject { .. } => Self::new(ProblemKind::UnknownProject, text),
            CreateError::WrongPrefix { .. } => Self::new(ProblemKind::WrongPrefix, text),
            CreateError::Taken { .. } => Self::new(ProblemKind::KeyTaken, text),
            CreateError::BadText(_) => Self::new(ProblemKind::BadFields, text),
            CreateError::Store(error) => error.into(),
        }
    }
}

//! Rows as the API shows them: one shape each, apart from how they are stored.

use orch_contract::{ProcessKind, ProcessRef, Standing, WaitsFor};
use serde::Serialize;
use serde_json::{Value, json};

use super::story;
use crate::{
    domain::{
        budget::CostKind,
        event::{Event, StoredEvent},
        task::Candidate,
        transition::Outcome,
        verdict::Verdict,
    },
    observe::{shown, waits_for},
    store::{EffectRow, GateRow, JobRow, RunRow, TaskRow},
};

/// A task in a list.
#[derive(Debug, Serialize)]
pub(super) struct TaskSummary {
    work_item: String,
    project: String,
    title: String,
    stage: String,
    stage_since_ms: i64,
    standing: Standing,
    standing_since_ms: i64,
    cause: Option<String>,
    waits_for: Option<WaitsFor>,
    until_ms: Option<i64>,
    way_out: Option<String>,
    created_at_ms: i64,
    updated_at_ms: i64,
}

/// A task by itself.
#[derive(Debug, Serialize)]
pub(super) struct TaskView {
    #[serde(flatten)]
    summary: TaskSummary,
    body: String,
    rollbacks: u32,
    infra_attempts: u32,
    findings: Vec<String>,
    pull_request: Option<i64>,
    candidate: Option<Candidate>,
    merged_revision: Option<String>,
    version: i64,
}

impl TaskSummary {
    pub(super) fn of(row: &TaskRow) -> Self {
        let (task, shown) = (&row.task, shown(&row.task));
        Self {
            work_item: task.key.to_string(),
            project: task.project.clone(),
            title: task.title.clone(),
            stage: task.stage.to_string(),
            stage_since_ms: task.stage_since_ms,
            standing: shown.standing,
            standing_since_ms: task.standing_since_ms,
            cause: shown.cause,
            waits_for: shown.waits_for,
            until_ms: shown.until_ms,
            way_out: shown.way_out,
            created_at_ms: task.created_at_ms,
            updated_at_ms: task.updated_at_ms,
        }
    }
}

impl TaskView {
    pub(super) fn of(row: &TaskRow) -> Self {
        let task = &row.task;
        Self {
            summary: TaskSummary::of(row),
            body: task.body.clone(),
            rollbacks: task.rollbacks,
            infra_attempts: task.infra_attempts,
            findings: task.findings.clone(),
            pull_request: task.pull_request,
            candidate: task.candidate.clone(),
            merged_revision: task.merged.clone(),
            version: task.version,
        }
    }
}

/// An event with its line.
#[derive(Debug, Serialize)]
pub(super) struct EventView {
    seq: i64,
    at_ms: i64,
    actor: &'static str,
    who: Option<String>,
    what: String,
    why: String,
    event: Event,
}

impl From<StoredEvent> for EventView {
    fn from(stored: StoredEvent) -> Self {
        Self {
            seq: stored.seq,
            at_ms: stored.at_ms,
            actor: stored.actor.as_str(),
            who: stored.who,
            what: story::line(&stored.event),
            why: stored.reason,
            event: stored.event,
        }
    }
}

/// A run.
#[derive(Debug, Serialize)]
pub(super) struct RunView {
    run_id: i64,
    job_id: Option<i64>,
    kind: ProcessKind,
    attempt: u32,
    command: String,
    cookie: String,
    created_at_ms: i64,
    started_at_ms: Option<i64>,
    timeout_ms: i64,
    supervisor: Option<ProcessRef>,
    exit_recorded_at_ms: Option<i64>,
    ended_at_ms: Option<i64>,
    outcome: Option<String>,
    exit_code: Option<i32>,
    swept_processes: Option<u64>,
    surviving_processes: Option<u64>,
    cost_microusd: Option<i64>,
    /// `reported`, or `estimated`: the bound that was reserved.
    cost_kind: Option<&'static str>,
    reserved_microusd: Option<i64>,
    agent: Option<&'static str>,
    session_id: Option<String>,
    model: Option<String>,
    effort: Option<String>,
    input_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl From<RunRow> for RunView {
    fn from(run: RunRow) -> Self {
        let ending = run.ending;
        Self {
            run_id: run.id.0,
            job_id: run.job.map(|job| job.0),
            kind: run.kind,
            attempt: run.attempt,
            command: run.command,
            // JSON numbers lose a cookie above 2^53
            cookie: run.cookie.to_string(),
            created_at_ms: run.created_at_ms,
            started_at_ms: run.started_at_ms,
            timeout_ms: run.timeout_ms,
            supervisor: run.supervisor.map(|(pid, start_ticks)| ProcessRef { pid, start_ticks }),
            exit_recorded_at_ms: run.exit_recorded_at_ms,
            ended_at_ms: ending.as_ref().map(|ending| ending.ended_at_ms),
            outcome: ending.as_ref().map(|ending| ending.outcome.clone()),
            exit_code: ending.as_ref().and_then(|ending| ending.exit_code),
            swept_processes: ending.as_ref().and_then(|ending| ending.swept),
            surviving_processes: ending.as_ref().and_then(|ending| ending.surviving),
            cost_kind: ending.as_ref().and_then(|ending| ending.cost_kind).map(CostKind::as_str),
            cost_microusd: ending.and_then(|ending| ending.cost_microusd),
            reserved_microusd: run.reserved_microusd,
            agent: run.agent.as_ref().map(|agent| agent.kind.as_str()),
            input_tokens: run.agent.as_ref().and_then(|agent| agent.input_tokens),
            cached_tokens: run.agent.as_ref().and_then(|agent| agent.cached_tokens),
            output_tokens: run.agent.as_ref().and_then(|agent| agent.output_tokens),
            effort: run.agent.as_ref().and_then(|agent| agent.effort.clone()),
            model: run.agent.as_ref().and_then(|agent| agent.told.model.clone()),
            session_id: run.agent.and_then(|agent| agent.told.session),
        }
    }
}

/// A gate's verdict.
#[derive(Debug, Serialize)]
pub(super) struct GateView {
    gate: &'static str,
    #[serde(flatten)]
    verdict: Verdict,
    summary: String,
    head: String,
    started_at_ms: i64,
    ended_at_ms: i64,
    run_id: Option<i64>,
}

impl From<GateRow> for GateView {
    fn from(row: GateRow) -> Self {
        Self {
            gate: row.gate.as_str(),
            summary: row.verdict.summary(),
            verdict: row.verdict,
            head: row.head,
            started_at_ms: row.started_at_ms,
            ended_at_ms: row.ended_at_ms,
            run_id: row.run.map(|run| run.0),
        }
    }
}

/// A journalled effect.
#[derive(Debug, Serialize)]
pub(super) struct EffectView {
    effect: &'static str,
    revision: String,
    grant: i64,
    state: String,
    intent_at_ms: i64,
    settled_at_ms: Option<i64>,
    evidence: Option<String>,
}

impl From<EffectRow> for EffectView {
    fn from(row: EffectRow) -> Self {
        Self {
            effect: row.kind.as_str(),
            revision: row.revision,
            grant: row.grant_number,
            state: row.state,
            intent_at_ms: row.intent_at_ms,
            settled_at_ms: row.settled_at_ms,
            evidence: row.evidence,
        }
    }
}

/// An open job.
#[derive(Debug, Serialize)]
pub(super) struct JobView {
    job_id: i64,
    role: &'static str,
    status: &'static str,
    attempt: u32,
    attempts_max: u32,
    reason: String,
    queued_at_ms: i64,
    not_before_ms: Option<i64>,
    run_id: Option<i64>,
}

impl From<JobRow> for JobView {
    fn from(job: JobRow) -> Self {
        Self {
            job_id: job.id.0,
            role: job.role.as_str(),
            status: job.status.as_str(),
            attempt: job.attempt,
            attempts_max: job.attempts_max,
            reason: job.reason,
            queued_at_ms: job.queued_at_ms,
            not_before_ms: job.not_before_ms,
            run_id: job.run.map(|run| run.0),
        }
    }
}

/// An answer of the door. Deferred and lost races are problems where they are the whole answer.
pub(super) fn outcome(outcome: &Outcome) -> Value {
    let word = outcome.as_str();
    match outcome {
        Outcome::Advanced { to } | Outcome::RolledBack { to } => json!({ "outcome": word, "to": to }),
        Outcome::Waiting { who, until_ms } => {
            json!({ "outcome": word, "waits_for": waits_for(who), "until_ms": until_ms })
        }
        Outcome::Held { retry_at_ms } => json!({ "outcome": word, "until_ms": retry_at_ms }),
        Outcome::Blocked { cause, way_out } => {
            json!({ "outcome": word, "cause": cause, "way_out": way_out })
        }
        Outcome::Deferred { owner } => json!({ "outcome": word, "owner": owner }),
        Outcome::LostRace | Outcome::NoChange => json!({ "outcome": word }),
    }
}

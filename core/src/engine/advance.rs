//! One entry of one actor: load, look or act, decide, commit.

use orch_contract::ProcessKind;

use super::{Engine, Site, edge::Settled};
use crate::{
    chain::chain,
    domain::{
        actor::Actor,
        event::Event,
        ids::{TaskId, WorkItemKey},
        stage::{Edge, Stage, Step},
        task::Standing,
        transition::{
            Checked, Command, Decision, Facts, Outcome, Refusal, Work, decide, is_deploy_in_doubt, is_parked,
            rests_until,
        },
        verdict::{InfraClass, Verdict, Waitee},
    },
    failpoint::{Plant, planted},
    gates,
    guards::Guard,
    store::{Acquired, CommitWrite, Expected, LeaseProof, StoreError, TaskRow},
};

/// A lost comparison is looked at anew this many times within one entry; then the entry ends as
/// lost, and the next trigger or sweep asks again.
const LOST_RACES_MAX: u32 = 4;

/// When a task is asked for again whose entry failed in the store.
const STORE_RETRY_MS: i64 = 2_000;

/// What is asked for, by whom and why.
#[derive(Debug, Clone)]
pub struct Request {
    /// What.
    pub command: Command,
    /// Which actor.
    pub actor: Actor,
    /// The person behind an operator.
    pub who: Option<String>,
    /// Why, one line.
    pub reason: String,
}

impl Request {
    /// An actor's plain "go on if you can".
    #[must_use]
    pub fn advance(actor: Actor, reason: &str) -> Self {
        Self { command: Command::Advance, actor, who: None, reason: reason.to_owned() }
    }
}

/// Why an entry gave no outcome. Refusals are answers to an operator; the rest is ours.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No such task.
    #[error("there is no task {0}")]
    UnknownTask(WorkItemKey),
    /// Its project is no longer configured.
    #[error("project {0} is not in projects.toml")]
    UnknownProject(String),
    /// The command does not fit the task.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed; nothing is known to have changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Enters the door. Safe to call from anywhere, any number of times, at once and after a
    /// crash: whoever loses writes nothing.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn advance(&self, key: &WorkItemKey, request: Request) -> Result<Outcome, EngineError> {
        let mut outcome = Outcome::LostRace;
        for _ in 0..LOST_RACES_MAX {
            outcome = match self.enter(key, &request).await {
                // whatever failed of lease, comparison or journal: nothing is believed of it, and it is
                // decided anew from what stands then. A person is told instead.
                Err(EngineError::Store(error)) if request.command == Command::Advance => {
                    tracing::error!(work_item = %key, actor = %request.actor, error = %chain(&error), "the store failed; asked again later");
                    Outcome::Held { retry_at_ms: self.clock.now_ms().saturating_add(STORE_RETRY_MS) }
                }
                entered => entered?,
            };
            if outcome != Outcome::LostRace {
                break;
            }
            self.counters.tally().lost_cas += 1;
        }
        *self.counters.tally().outcomes.entry(outcome.as_str()).or_default() += 1;
        tracing::debug!(work_item = %key, actor = %request.actor, outcome = outcome.as_str(), "entered the door");
        Ok(outcome)
    }

    async fn enter(&self, key: &WorkItemKey, request: &Request) -> Result<Outcome, EngineError> {
        let row = self.store.task(key).await?.ok_or_else(|| EngineError::UnknownTask(key.clone()))?;
        let site = self
            .site(&row.task.project)
            .ok_or_else(|| EngineError::UnknownProject(row.task.project.clone()))?;
        if request.command == Command::Advance
            && let Some(retry_at_ms) = rests_until(&row.task, self.clock.now_ms())
        {
            return Ok(Outcome::Held { retry_at_ms });
        }
        if request.command == Command::Advance {
            // a person goes first, and may be refused: whoever makes way has not asked for nothing
            if self.yields.asked(row.id) {
                self.store.keep_trigger(row.id, request.actor, self.clock.now_ms()).await?;
                return Ok(Outcome::NoChange);
            }
            // the forge keeps a spoiled run's status as final: a retry has to ask for another
            if matches!(&row.task.standing, Standing::Held { reason, .. } if reason.starts_with("ci: ")) {
                self.ask_ci_again(key).await?;
            }
        }
        let work = self.store.work(row.id, row.task.stage, row.task.round).await?;
        let ready = matches!(work, Work::Done | Work::NotNeeded) && !row.task.stage.is_terminal();
        let goes_on = request.command == Command::Advance && ready;
        if row.task.stage.has_effects() && (goes_on || request.command != Command::Advance) {
            return self.enter_leased(site, row, request).await;
        }
        if goes_on {
            let Some((row, checked)) = self.look(site, row).await? else { return Ok(Outcome::LostRace) };
            return self.conclude(site, &row, work, checked, request, None).await;
        }
        self.conclude(site, &row, work, Checked::No, request, None).await
    }

    /// Edges without effects: gates only look, and the first that does not let through decides.
    /// `None` when somebody else moved the task meanwhile: the work that was found done is not the
    /// work of where it is now.
    async fn look(&self, site: &Site, row: TaskRow) -> Result<Option<(TaskRow, Checked)>, EngineError> {
        if row.task.stage.row().role.is_some()
            && let Err(error) = self.publish(site, &row).await
        {
            let checked = Checked::Stopped { step: "publish".to_owned(), verdict: error.verdict() };
            return Ok(Some((row, checked)));
        }
        let asked = (row.task.stage, row.task.round);
        let row = self.store.task_by_id(row.id).await?.unwrap_or(row);
        if (row.task.stage, row.task.round) != asked {
            return Ok(None);
        }
        for step in row.task.stage.row().steps {
            // an edge with effects never comes here: it is entered under its lease
            let Step::Gate(gate) = *step else { continue };
            let verdict = gates::evaluate(self, site, &row, gate, None).await?;
            if !verdict.lets_through() {
                let checked = Checked::Stopped { step: gate.to_string(), verdict };
                return Ok(Some((row, checked)));
            }
        }
        Ok(Some((row, Checked::Through)))
    }

    async fn enter_leased(
        &self,
        site: &Site,
        row: TaskRow,
        request: &Request,
    ) -> Result<Outcome, EngineError> {
        let edge = Edge { from: row.task.stage, to: row.task.stage.row().next.unwrap_or(Stage::Cancelled) };
        let proof = match self.acquire(&row, edge, request).await? {
            Ok(proof) => proof,
            Err(deferred) => return Ok(deferred),
        };
        let result = self.under_lease(site, row.id, edge, request, &proof).await;
        // a no-op where the commit ended the lease already
        self.store.release_lease(proof).await?;
        let keeps_slot = matches!(&result, Ok(Outcome::Waiting { who: Waitee::Ci { .. }, .. }));
        if !keeps_slot {
            self.store.free_merge_slot(row.id).await?;
        }
        result
    }

    /// Settles what earlier tries of a task left open, without going on. For the start, before
    /// any actor enters.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn settle_only(&self, key: &WorkItemKey) -> Result<(), EngineError> {
        let row = self.store.task(key).await?.ok_or_else(|| EngineError::UnknownTask(key.clone()))?;
        let Some(site) = self.site(&row.task.project) else {
            // nobody enters a task whose project is gone; it waits for projects.toml
            tracing::warn!(work_item = %key, project = row.task.project, "its project is not configured; left as it is");
            return Ok(());
        };
        let edge = Edge { from: row.task.stage, to: row.task.stage.row().next.unwrap_or(Stage::Cancelled) };
        let request = Request::advance(Actor::Reconciler, "settled at the start");
        let Ok(proof) = self.acquire(&row, edge, &request).await? else { return Ok(()) };
        let settled = self.settle_open(site, &row, &proof, Actor::Reconciler).await?;
        if let Some(row) = self.store.task_by_id(row.id).await? {
            match settled {
                Settled::UnderWay(waits) => {
                    self.conclude(site, &row, Work::Done, waits, &request, Some(&proof)).await?;
                }
                Settled::InDoubt { step, cause } => {
                    let doubt = Checked::InDoubt { step, cause };
                    self.conclude(site, &row, Work::Done, doubt, &request, Some(&proof)).await?;
                }
                // what it stood for is known now: it goes on by itself
                Settled::Clear if is_parked(&row.task) => {
                    let events = vec![Event::Stood { standing: Standing::Moving {} }];
                    let write = CommitWrite {
                        task: row.id,
                        expected: Expected::At { stage: row.task.stage, version: row.task.version },
                        actor: request.actor,
                        who: None,
                        reason: "its effects are settled".to_owned(),
                        events,
                        enqueue: None,
                        cancel_jobs: false,
                        at_ms: self.clock.now_ms(),
                    };
                    self.store.commit(Some(&proof), write).await?;
                }
                Settled::Clear | Settled::Fenced => {}
            }
        }
        self.store.release_lease(proof).await?;
        Ok(())
    }

    async fn acquire(
        &self,
        row: &TaskRow,
        edge: Edge,
        request: &Request,
    ) -> Result<Result<LeaseProof, Outcome>, EngineError> {
        if !self.config.transition_lease.is_on_for(&row.task.project) {
            return Ok(Ok(self.store.unleased(row.id)));
        }
        match self.store.acquire_lease(row.id, edge, request.actor, self.clock.now_ms()).await? {
            Acquired::Deferred { owner } => {
                self.counters.tally().deferrals += 1;
                Ok(Err(Outcome::Deferred { owner: owner.to_string() }))
            }
            Acquired::Granted(proof, reclaimed) => {
                self.counters.tally().grants += 1;
                if let Some(why) = reclaimed {
                    *self.counters.tally().reclaims.entry(why.as_str()).or_default() += 1;
                    tracing::warn!(work_item = %row.task.key, reason = why.as_str(), "took the lease of an owner that is gone");
                }
                Ok(Ok(proof))
            }
        }
    }

    async fn under_lease(
        &self,
        site: &Site,
        task: TaskId,
        edge: Edge,
        request: &Request,
        proof: &LeaseProof,
    ) -> Result<Outcome, EngineError> {
        // what happened between the first look and the grant counts
        let Some(row) = self.store.task_by_id(task).await?.filter(|row| row.task.stage == edge.from) else {
            return Ok(Outcome::LostRace);
        };
        let work = self.store.work(task, row.task.stage, row.task.round).await?;
        if let Some(verdict) = self.end_left_over(proof).await? {
            let checked = Checked::Stopped { step: "left_over".to_owned(), verdict };
            let command = Request { command: Command::Advance, ..request.clone() };
            return self.conclude(site, &row, Work::Done, checked, &command, Some(proof)).await;
        }
        let checked = match self.settle_open(site, &row, proof, request.actor).await? {
            Settled::Fenced => return Ok(Outcome::LostRace),
            Settled::InDoubt { step, cause } => Checked::InDoubt { step, cause },
            Settled::UnderWay(waits) => waits,
            Settled::Clear if request.command == Command::Advance => {
                match self.act(site, &row, proof, request.actor).await? {
                    Some(checked) => checked,
                    None => return Ok(Outcome::LostRace),
                }
            }
            Settled::Clear => Checked::No,
        };
        // a person who says that the deploy is to be started again has looked where the core cannot
        let knows = request.command == Command::Redeploy && is_deploy_in_doubt(&checked);
        if request.command != Command::Advance
            && !knows
            && let Checked::InDoubt { step, .. } | Checked::Stopped { step, .. } = &checked
        {
            // a person's command must not paper over an effect of which nobody knows
            let command = Request { command: Command::Advance, ..request.clone() };
            tracing::warn!(work_item = %row.task.key, step, ?checked, "refused a command over an effect of which nobody knows");
            return self.conclude(site, &row, Work::Done, checked, &command, Some(proof)).await;
        }
        let asked = (row.task.stage, row.task.round);
        let row = match self.store.task_by_id(task).await? {
            Some(present) if (present.task.stage, present.task.round) == asked => present,
            // switched off, a decision is written over whatever stands there by now
            Some(_) if !self.compares(&row) => row,
            Some(_) | None => return Ok(Outcome::LostRace),
        };
        if matches!(request.command, Command::RollBack { .. }) && self.has_landed(site, &row).await {
            let why = "its pull request is merged; revert it instead";
            return Err(Refusal::NoRollBack(row.task.stage, why).into());
        }
        self.conclude(site, &row, work, checked, request, Some(proof)).await
    }

    /// Whether a decision on this task is written by comparison, or as a plain write.
    fn compares(&self, row: &TaskRow) -> bool {
        self.config.transition_lease.is_on_for(&row.task.project)
            && self.store.guards().stands(Guard::Comparison)
    }

    /// Decides and writes. Whoever loses the comparison has written nothing.
    async fn conclude(
        &self,
        site: &Site,
        row: &TaskRow,
        work: Work,
        checked: Checked,
        request: &Request,
        proof: Option<&LeaseProof>,
    ) -> Result<Outcome, EngineError> {
        let now = self.clock.now_ms();
        // a gate that this very shutdown stopped says nothing of the machine
        if self.life() == super::Life::Stopping
            && matches!(&checked, Checked::Stopped { verdict: Verdict::Infra { .. }, .. })
        {
            return Ok(Outcome::NoChange);
        }
        let last_deploy = match request.command {
            Command::Redeploy => self.last_deploy(row.id).await?,
            Command::Advance | Command::RollBack { .. } | Command::Retry | Command::Cancel => 0,
        };
        let (limits, stood_ms) = (self.limits(site), self.stood_ms(row));
        let facts = Facts { work, checked, limits, stood_ms, last_deploy };
        let mut task = row.task.clone();
        if planted(Plant::RollBackAfterMerge) {
            task.merged = None;
        }
        let decision = decide(&task, &request.command, &facts, now)?;
        if decision.events.is_empty() && decision.enqueue.is_none() && !decision.cancel_jobs {
            return Ok(decision.outcome);
        }
        let write = CommitWrite {
            task: row.id,
            expected: if self.compares(row) {
                Expected::At { stage: row.task.stage, version: row.task.version }
            } else {
                Expected::Any
            },
            actor: request.actor,
            who: request.who.clone(),
            reason: reason_of(&decision, request),
            events: decision.events.clone(),
            enqueue: decision.enqueue.map(|role| (role, self.config.jobs.attempts)),
            cancel_jobs: decision.cancel_jobs,
            at_ms: now,
        };
        let Some(after) = self.store.commit(proof, write).await? else { return Ok(Outcome::LostRace) };
        self.after_commit(site, &after, &decision).await;
        Ok(decision.outcome)
    }

    async fn last_deploy(&self, task: TaskId) -> Result<i64, EngineError> {
        let runs = self.store.runs_of(task).await?;
        Ok(runs.into_iter().rfind(|run| run.kind == ProcessKind::Deploy).map_or(0, |run| run.id.0))
    }

    async fn after_commit(&self, site: &Site, row: &TaskRow, decision: &Decision) {
        let key = &row.task.key;
        self.watch_wait(row);
        match &decision.outcome {
            Outcome::Advanced { to } => tracing::info!(work_item = %key, stage = %to, "entered the stage"),
            Outcome::RolledBack { to } => {
                tracing::warn!(work_item = %key, stage = %to, findings = ?row.task.findings, "rolled back");
            }
            Outcome::Blocked { cause, way_out } => {
                tracing::warn!(work_item = %key, stage = %row.task.stage, cause, way_out, "blocked: a person must act");
            }
            Outcome::Waiting { who, .. } => {
                tracing::info!(work_item = %key, stage = %row.task.stage, ?who, "waits");
            }
            Outcome::Held { retry_at_ms } => {
                tracing::warn!(work_item = %key, stage = %row.task.stage, retry_at_ms, "could not be judged; tried again in place");
            }
            Outcome::Deferred { .. } | Outcome::LostRace | Outcome::NoChange => {}
        }
        if decision.cancel_jobs {
            self.runs.stop_task(row.id);
        }
        if decision.enqueue.is_some() {
            self.wakes.jobs.notify_one();
        }
        if row.task.stage == Stage::Deploy {
            self.wakes.deploys.notify_one();
        }
        if row.task.stage.is_terminal() {
            self.tidy_terminal(site, row).await;
        }
    }

    /// Removes what a finished task leaves on this machine. Repeated by the reconciler, so a
    /// failure here is only a delay.
    pub(crate) async fn tidy_terminal(&self, site: &Site, row: &TaskRow) {
        let key = row.task.key.as_str();
        if row.task.stage == Stage::Cancelled {
            let ended =
                self.store.end_tracker_item(key.to_owned(), "cancelled", None, self.clock.now_ms()).await;
            if let Err(error) = ended {
                tracing::warn!(work_item = key, error = %chain(&error), "the work item could not be cancelled");
            }
        }
        if self.runs.is_task_watched(row.id) {
            return;
        }
        let removed = match site.branch(key) {
            Ok(branch) => site.repo.remove_worktree(&branch).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = removed {
            tracing::warn!(work_item = key, error = %chain(&error), "the worktree could not be removed");
        }
    }
}

fn reason_of(decision: &Decision, request: &Request) -> String {
    match &decision.outcome {
        Outcome::Blocked { cause, .. } => cause.clone(),
        Outcome::Advanced { .. }
        | Outcome::RolledBack { .. }
        | Outcome::Waiting { .. }
        | Outcome::Held { .. }
        | Outcome::Deferred { .. }
        | Outcome::LostRace
        | Outcome::NoChange => request.reason.clone(),
    }
}

/// A failure of git or forge as a gate's answer: the code is not at fault.
pub(crate) fn infra(error: &(dyn std::error::Error + 'static)) -> Verdict {
    Verdict::Infra { class: InfraClass::Other, detail: chain(error) }
}

//! The task: our record of a work item, as a fold over its events.
//!
//! There is no other way to a `Task` than [`fold`]: the row in the store is what the fold gives,
//! so history explains the stage byte for byte.

use serde::{Deserialize, Serialize};

use super::{
    effect::EffectKind,
    event::{Event, StoredEvent},
    ids::WorkItemKey,
    stage::Stage,
    verdict::Waitee,
};

/// How a task stands in its stage. Everything that does not move names a cause and a way on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// An actor of the core acts next, at once.
    Moving {},
    /// Somebody must answer.
    Waiting {
        /// Who.
        who: Waitee,
        /// For what.
        reason: String,
        /// Until when at most.
        until_ms: Option<i64>,
    },
    /// The core tries again by itself.
    Held {
        /// Why it stopped.
        reason: String,
        /// When it tries again.
        retry_at_ms: i64,
    },
    /// A person must act.
    Blocked {
        /// Why.
        cause: String,
        /// What to do.
        way_out: String,
    },
    /// Terminal.
    Finished {},
}

impl Standing {
    /// Name in store, API and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Moving {} => "moving",
            Self::Waiting { .. } => "waiting",
            Self::Held { .. } => "held",
            Self::Blocked { .. } => "blocked",
            Self::Finished {} => "finished",
        }
    }
}

/// What is to be merged: an exact commit on an exact base.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// Head of the task branch.
    pub head: String,
    /// Target head that it stands on.
    pub base: String,
    /// Tree of `head`: what is tested, and what must land.
    pub tree: String,
}

/// Our record of a work item.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Task {
    /// The tracker's key.
    pub key: WorkItemKey,
    /// Project (repository) it belongs to.
    pub project: String,
    /// Title.
    pub title: String,
    /// Text.
    pub body: String,
    /// Where it stands.
    pub stage: Stage,
    /// Since when.
    pub stage_since_ms: i64,
    /// How it stands there.
    pub standing: Standing,
    /// Since when.
    pub standing_since_ms: i64,
    /// Grows with every entry of a stage and every new try by an operator: a job belongs to one
    /// round, so the work of an earlier round never counts for a later one.
    pub round: u32,
    /// Roll-backs so far.
    pub rollbacks: u32,
    /// Tries of the present edge that ended without a judgement of the code.
    pub infra_attempts: u32,
    /// What the last roll-back asked to mend.
    pub findings: Vec<String>,
    /// Pull request, once there is one.
    pub pull_request: Option<i64>,
    /// Candidate of the edge with effects, once prepared.
    pub candidate: Option<Candidate>,
    /// Revision on the target branch, once merged. After this there is no roll-back.
    pub merged: Option<String>,
    /// Set while a person's word stands that the deploy is to be started again: the number of the last run of
    /// its command before that word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_after: Option<i64>,
    /// When the task came to be.
    pub created_at_ms: i64,
    /// When its last event was written.
    pub updated_at_ms: i64,
    /// Number of its last event.
    pub version: i64,
}

/// An event that does not fit the task it is applied to: a defect or a damaged file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} does not fit: {what}")]
pub struct BadHistory {
    /// Number of the event.
    pub seq: i64,
    /// What is wrong.
    pub what: String,
}

/// Folds a whole history; `None` for an empty one.
///
/// # Errors
/// [`BadHistory`] when an event does not fit.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a StoredEvent>) -> Result<Option<Task>, BadHistory> {
    let mut task = None;
    for event in events {
        task = Some(apply(task, event)?);
    }
    Ok(task)
}

/// Applies one event.
///
/// # Errors
/// [`BadHistory`] when it does not fit: a gap in the numbers, a change of stage that starts
/// elsewhere or in a terminal stage, a roll-back after the merge, an event before the first.
pub fn apply(task: Option<Task>, stored: &StoredEvent) -> Result<Task, BadHistory> {
    let bad = |what: &str| BadHistory { seq: stored.seq, what: what.to_owned() };
    let Some(mut task) = task else {
        let Event::Created { key, project, title, body } = &stored.event else {
            return Err(bad("the first event must be `created`"));
        };
        if stored.seq != 1 {
            return Err(bad("the first event must have number 1"));
        }
        return Ok(Task {
            key: key.clone(),
            project: project.clone(),
            title: title.clone(),
            body: body.clone(),
            stage: Stage::Created,
            stage_since_ms: stored.at_ms,
            standing: Standing::Moving {},
            standing_since_ms: stored.at_ms,
            round: 1,
            rollbacks: 0,
            infra_attempts: 0,
            findings: Vec::new(),
            pull_request: None,
            candidate: None,
            merged: None,
            deploy_after: None,
            created_at_ms: stored.at_ms,
            updated_at_ms: stored.at_ms,
            version: 1,
        });
    };
    if stored.seq != task.version + 1 {
        return Err(bad("its number does not follow"));
    }
    match &stored.event {
        Event::Created { .. } => return Err(bad("created twice")),
        Event::Entered { from, to } => {
            task.leave(*from, *to, stored).map_err(bad)?;
            if !matches!(to, Stage::DeployStaging | Stage::Deploy) {
                task.findings.clear();
            }
        }
        Event::RolledBack { .. } if task.merged.is_some() => {
            return Err(bad("a merged task is never rolled back"));
        }
        Event::RolledBack { from, to, findings, .. } => {
            task.leave(*from, *to, stored).map_err(bad)?;
            task.rollbacks += 1;
            task.candidate = None;
            task.findings.clone_from(findings);
        }
        Event::WrittenOver { found, .. } if task.stage != *found => {
            return Err(bad("it was written over a stage in which the task was not"));
        }
        Event::WrittenOver { to, step, findings, .. } => {
            task.enter(*to, stored);
            if step.is_some() {
                task.rollbacks += 1;
                task.candidate = None;
                task.findings.clone_from(findings);
            }
        }
        Event::Stood { standing } => task.stand(standing.clone(), stored.at_ms),
        Event::InfraRetry { step, detail, retry_at_ms } => {
            task.infra_attempts += 1;
            let reason = format!("{step}: {detail}");
            task.stand(Standing::Held { reason, retry_at_ms: *retry_at_ms }, stored.at_ms);
        }
        Event::Retried { rerun } => {
            task.round += u32::from(*rerun);
            task.infra_attempts = 0;
            task.rollbacks = 0;
            task.stand(Standing::Moving {}, stored.at_ms);
        }
        Event::DeployAsked { .. } if task.merged.is_none() => {
            return Err(bad("nothing is merged that could be deployed again"));
        }
        Event::DeployAsked { after_run } => {
            task.deploy_after = Some(*after_run);
            task.infra_attempts = 0;
            task.stand(Standing::Moving {}, stored.at_ms);
        }
        // one word, one grant
        Event::EffectDone { effect: EffectKind::StartDeploy, .. } => task.deploy_after = None,
        Event::PullRequestOpened { number } => task.pull_request = Some(*number),
        Event::CandidatePrepared { head, base, tree } => {
            task.candidate = Some(Candidate { head: head.clone(), base: base.clone(), tree: tree.clone() });
        }
        Event::Merged { revision } => task.merged = Some(revision.clone()),
        Event::Approved { .. }
        | Event::EffectDone { .. }
        | Event::JobQueued { .. }
        | Event::RunEnded { .. }
        | Event::LeaseReclaimed { .. } => {}
    }
    task.updated_at_ms = stored.at_ms;
    task.version = stored.seq;
    Ok(task)
}

impl Task {
    fn leave(&mut self, from: Stage, to: Stage, stored: &StoredEvent) -> Result<(), &'static str> {
        if self.stage != from {
            return Err("it leaves a stage in which the task is not");
        }
        if from.is_terminal() {
            return Err("it leaves a terminal stage");
        }
        self.enter(to, stored);
        Ok(())
    }

    fn enter(&mut self, to: Stage, stored: &StoredEvent) {
        self.stage = to;
        self.stage_since_ms = stored.at_ms;
        self.round += 1;
        self.infra_attempts = 0;
        let standing = if to.is_terminal() { Standing::Finished {} } else { Standing::Moving {} };
        self.stand(standing, stored.at_ms);
    }

    fn stand(&mut self, standing: Standing, at_ms: i64) {
        if self.standing != standing {
            self.standing = standing;
            self.standing_since_ms = at_ms;
        }
    }
}

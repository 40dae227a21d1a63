//! What people do: take a work item in, approve, retry, roll back, cancel.

use super::{Engine, EngineError, Request};
use crate::{
    chain::chain,
    domain::{
        actor::Actor,
        artifact::{artifacts_dir, rule_of},
        ids::WorkItemKey,
        job::Role,
        stage::Stage,
        task::Standing,
        transition::{Command, Outcome},
        verdict::Waitee,
    },
    forge::StatusState,
    git::RepoPath,
    store::{NewTask, StoreError, TaskRow},
};

/// Why a work item was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// No such project.
    #[error("there is no project `{project}`; projects.toml has {known}")]
    UnknownProject {
        /// As asked.
        project: String,
        /// What there is.
        known: String,
    },
    /// The key belongs to no or another project.
    #[error("key {key} does not begin with `{prefix}-`, the key prefix of project {project}")]
    WrongPrefix {
        /// The key.
        key: WorkItemKey,
        /// The project.
        project: String,
        /// Its prefix.
        prefix: String,
    },
    /// The key is another work item's.
    #[error("{key} is taken by another work item of project {project}: {title}")]
    Taken {
        /// The key.
        key: WorkItemKey,
        /// Its project.
        project: String,
        /// Its title.
        title: String,
    },
    /// A text is empty or too long.
    #[error("{0}")]
    BadText(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an approval was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ApproveError {
    /// No such task or project.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The task waits for no approval.
    #[error("{key} is in stage `{stage}`; only a brief in `analysis` is approved")]
    WrongStage {
        /// The task.
        key: WorkItemKey,
        /// Its stage.
        stage: Stage,
    },
    /// There is nothing to approve yet.
    #[error("{key} has no brief yet: {why}")]
    NoBrief {
        /// The task.
        key: WorkItemKey,
        /// What is missing.
        why: String,
    },
    /// Nothing landed that would have to be accepted.
    #[error("{key} has not landed as {asked} in `deploy-staging`; there is nothing to accept")]
    NothingLanded {
        /// The task.
        key: WorkItemKey,
        /// The revision that was to be accepted.
        asked: String,
    },
    /// This person may not approve.
    #[error("`{who}` is not among the approvers of project {project}: {allowed}")]
    NotAllowed {
        /// Who asked.
        who: String,
        /// The project.
        project: String,
        /// Who may.
        allowed: String,
    },
    /// The brief is another one than the one that was read.
    #[error("the brief of {key} is {present} by now, not {asked}: read it again")]
    Changed {
        /// The task.
        key: WorkItemKey,
        /// Its revision.
        present: String,
        /// The revision that was to be approved.
        asked: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What stands in an acceptance of a landed tree in the place of an artifact.
pub(crate) const LANDED_TREE: &str = "landed-tree";

/// Longest title, in bytes.
const TITLE_MAX_BYTES: usize = 500;
/// Longest text of a work item, in bytes.
const BODY_MAX_BYTES: usize = 64 * 1024;

impl Engine {
    /// Takes a work item in, idempotently by key, and starts it.
    ///
    /// # Errors
    /// [`CreateError`]; then nothing changed.
    pub async fn create(
        &self,
        key: WorkItemKey,
        project: &str,
        title: &str,
        body: &str,
        who: Option<String>,
    ) -> Result<(TaskRow, bool), CreateError> {
        let Some(found) = self.projects.by_name(project) else {
            let known: Vec<&str> = self.projects.iter().map(|project| project.name.as_str()).collect();
            return Err(CreateError::UnknownProject { project: project.to_owned(), known: known.join(", ") });
        };
        if self.projects.by_work_item(key.as_str()).is_none_or(|owner| owner.name != found.name) {
            return Err(CreateError::WrongPrefix {
                key,
                project: project.to_owned(),
                prefix: found.key_prefix.clone(),
            });
        }
        let title = title.trim();
        if title.is_empty() || title.contains('\n') || title.len() > TITLE_MAX_BYTES {
            return Err(CreateError::BadText("the title must be one line of 1 to 500 bytes"));
        }
        if body.len() > BODY_MAX_BYTES {
            return Err(CreateError::BadText("the text of a work item must be at most 65,536 bytes"));
        }
        let new = NewTask {
            key: key.clone(),
            project: project.to_owned(),
            title: title.to_owned(),
            body: body.to_owned(),
            actor: Actor::Operator,
            who,
        };
        let (row, is_new) = self.store.create_task(new, self.clock.now_ms()).await?;
        if !is_new && (row.task.project != project || row.task.title != title) {
            return Err(CreateError::Taken { key, project: row.task.project, title: row.task.title });
        }
        if is_new {
            tracing::info!(work_item = %key, project, title, "took the work item in");
            // a failure here loses nothing: the sweep starts it
            if let Err(error) =
                // the local tracker's own word, as another tracker would send it
                self
                    .advance(&key, Request::advance(Actor::PlaneWebhook, "the tracker has a new work item"))
                    .await
            {
                tracing::error!(work_item = %key, error = %chain(&error), "could not start the work item");
            }
        }
        let row = self.store.task_by_id(row.id).await?.unwrap_or(row);
        Ok((row, is_new))
    }

    /// Approves the brief as it stands on the task's branch, for exactly that revision.
    ///
    /// # Errors
    /// [`ApproveError`]; then nothing changed.
    pub async fn approve(
        &self,
        key: &WorkItemKey,
        who: &str,
        why: &str,
        revision: Option<&str>,
    ) -> Result<(Outcome, String), ApproveError> {
        let row = self.store.task(key).await?.ok_or_else(|| EngineError::UnknownTask(key.clone()))?;
        let project = row.task.project.clone();
        let site = self.site(&project).ok_or(EngineError::UnknownProject(project.clone()))?;
        let approvers = &site.project.approvers;
        if !approvers.is_empty() && !approvers.iter().any(|allowed| allowed == who) {
            return Err(ApproveError::NotAllowed {
                who: who.to_owned(),
                project,
                allowed: approvers.join(", "),
            });
        }
        if row.task.stage != Stage::Analysis {
            return Err(ApproveError::WrongStage { key: key.clone(), stage: row.task.stage });
        }
        let (artifact, present) = self.brief_revision(site, &row).await?;
        // without a revision it is the one that the person was last asked for
        let asked = revision.map(str::to_owned).or_else(|| asked_revision(&row.task.standing));
        if let Some(asked) = asked
            && !present.starts_with(&asked)
        {
            // who named no revision was asked for an old one: the next look names the present
            if revision.is_none() {
                self.advance(key, Request::advance(Actor::Operator, "the brief changed")).await?;
            }
            return Err(ApproveError::Changed { key: key.clone(), present, asked });
        }
        let now = self.clock.now_ms();
        self.store.approve(row.id, artifact, present.clone(), who.to_owned(), why.to_owned(), now).await?;
        let request = Request {
            command: Command::Advance,
            actor: Actor::Operator,
            who: Some(who.to_owned()),
            reason: format!("{who} approved the brief: {why}"),
        };
        Ok((self.advance(key, request).await?, present))
    }

    /// Accepts what landed though it is not what was tested, for exactly the revision that was looked at,
    /// and lets the task go on: deployed, and its coverage not believed.
    ///
    /// # Errors
    /// [`ApproveError`]; then nothing changed.
    pub async fn accept_landed(
        &self,
        key: &WorkItemKey,
        who: &str,
        why: &str,
        revision: &str,
    ) -> Result<Outcome, ApproveError> {
        let row = self.store.task(key).await?.ok_or_else(|| EngineError::UnknownTask(key.clone()))?;
        let project = row.task.project.clone();
        let site = self.site(&project).ok_or(EngineError::UnknownProject(project.clone()))?;
        let approvers = &site.project.approvers;
        if !approvers.is_empty() && !approvers.iter().any(|allowed| allowed == who) {
            let (who, allowed) = (who.to_owned(), approvers.join(", "));
            return Err(ApproveError::NotAllowed { who, project, allowed });
        }
        let merged = match (&row.task.merged, row.task.stage) {
            (Some(merged), Stage::DeployStaging) if merged == revision => merged.clone(),
            _ => return Err(ApproveError::NothingLanded { key: key.clone(), asked: revision.to_owned() }),
        };
        let now = self.clock.now_ms();
        let artifact = LANDED_TREE.to_owned();
        self.store.approve(row.id, artifact, merged, who.to_owned(), why.to_owned(), now).await?;
        Ok(self.operate(key, Command::Retry, who, why).await?)
    }

    async fn brief_revision(
        &self,
        site: &super::Site,
        row: &TaskRow,
    ) -> Result<(String, String), ApproveError> {
        let key = &row.task.key;
        let missing = |why: String| ApproveError::NoBrief { key: key.clone(), why };
        let file = rule_of(Role::Analyst).map_or("01-brief.md", |rule| rule.path);
        let path = format!("{}/{file}", artifacts_dir(key.as_str()));
        let head = match site.head(key.as_str()).await {
            Ok(Some(head)) => head,
            Ok(None) => return Err(missing("the analyst has not delivered".to_owned())),
            Err(error) => return Err(missing(chain(&error))),
        };
        let repo_path = RepoPath::parse(&path).map_err(|error| missing(chain(&error)))?;
        match site.repo.blob_id(&head, &repo_path).await {
            Ok(Some(blob)) => Ok((path, blob.to_string())),
            Ok(None) => Err(missing(format!("{path} is not on the branch"))),
            Err(error) => Err(missing(chain(&error))),
        }
    }

    /// A CI run that the machine spoiled was posted as final; a person's retry asks for another.
    pub(super) async fn ask_ci_again(&self, key: &WorkItemKey) -> Result<(), EngineError> {
        let Some(row) = self.store.task(key).await? else { return Ok(()) };
        let Some(site) = self.site(&row.task.project) else { return Ok(()) };
        let Ok(Some(head)) = site.head(key.as_str()).await else { return Ok(()) };
        let statuses = match site.forge.statuses(&head).await {
            Ok(statuses) => statuses,
            Err(error) => {
                tracing::warn!(work_item = %key, error = %chain(&error), "could not look at the CI's answers");
                return Ok(());
            }
        };
        for mut status in statuses.into_iter().filter(|status| status.state == StatusState::Error) {
            status.state = StatusState::Pending;
            "asked again".clone_into(&mut status.description);
            status.updated_at_ms = self.clock.now_ms();
            if let Err(error) = site.forge.post_status(&head, &status).await {
                tracing::warn!(work_item = %key, error = %chain(&error), "could not ask the CI again");
            }
        }
        self.wakes.ci.notify_one();
        Ok(())
    }

    /// Retry, another start of the deploy, roll-back or cancel on a person's word.
    ///
    /// # Errors
    /// [`EngineError`], [`EngineError::Refused`] among them.
    pub async fn operate(
        &self,
        key: &WorkItemKey,
        command: Command,
        who: &str,
        why: &str,
    ) -> Result<Outcome, EngineError> {
        let (retries, deploys) = (command == Command::Retry, command == Command::Redeploy);
        let makes_way = matches!(command, Command::Cancel | Command::RollBack { .. });
        let request =
            Request { command, actor: Actor::Operator, who: Some(who.to_owned()), reason: why.to_owned() };
        let mut outcome = self.advance(key, request.clone()).await?;
        if makes_way && matches!(outcome, Outcome::Deferred { .. }) {
            outcome = self.enter_between_steps(key, request, who, why).await?;
        }
        if (retries || deploys) && outcome == Outcome::NoChange {
            if retries {
                self.ask_ci_again(key).await?;
            }
            let mut again = Request::advance(Actor::Operator, why);
            again.who = Some(who.to_owned());
            return self.advance(key, again).await;
        }
        Ok(outcome)
    }
}

/// The revision of the brief that a waiting task names: the last word of its reason.
fn asked_revision(standing: &Standing) -> Option<String> {
    let Standing::Waiting { who: Waitee::Person { .. }, reason, .. } = standing else { return None };
    let word = reason.strip_prefix("approval of ")?.rsplit(' ').next()?;
    (word.len() >= 7 && word.chars().all(|c| c.is_ascii_hexdigit())).then(|| word.to_owned())
}

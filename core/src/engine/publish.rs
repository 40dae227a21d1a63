//! The agents' work on the forge: branch pushed, pull request open. Idempotent by looking first,
//! so that every actor may ask for it.

use super::{Engine, Site, advance::infra};
use crate::{
    domain::{
        actor::Actor,
        event::Event,
        verdict::{InfraClass, Verdict},
    },
    forge::ForgeError,
    git::{Branch, GitError, PushOutcome, Sha},
    store::{CommitWrite, Expected, StoreError, TaskRow},
};

/// Why the work is not on the forge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error("push the branch")]
    Git(#[from] GitError),
    #[error("name the branch")]
    Name(#[from] crate::git::NameError),
    #[error("ask the forge")]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the forge refused the branch: {0}")]
    Refused(String),
    #[error("there is no branch: the agent has not worked")]
    NoBranch,
}

impl PublishError {
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Git(GitError::LockBusy { detail }) => {
                Verdict::Infra { class: InfraClass::LockBusy, detail: detail.clone() }
            }
            Self::Git(_)
            | Self::Name(_)
            | Self::Forge(_)
            | Self::Store(_)
            | Self::Refused(_)
            | Self::NoBranch => infra(self),
        }
    }
}

impl Engine {
    /// Pushes the task's branch if the forge has another head, and opens its pull request if
    /// there is none. Answers the head.
    pub(crate) async fn publish(&self, site: &Site, row: &TaskRow) -> Result<Sha, PublishError> {
        let key = row.task.key.as_str();
        let branch = site.branch(key)?;
        let head = site.repo.branch_head(&branch).await?.ok_or(PublishError::NoBranch)?;
        let there = site.forge.branch_head(&Branch::Task(branch.clone())).await?;
        if there.as_ref() != Some(&head) {
            match site.repo.push_branch(&branch, &head, there.as_ref()).await? {
                PushOutcome::Pushed | PushOutcome::UpToDate => self.wakes.ci.notify_one(),
                PushOutcome::Stale => {
                    return Err(PublishError::Refused("the branch moved meanwhile".to_owned()));
                }
                PushOutcome::Rejected { reason } => return Err(PublishError::Refused(reason)),
            }
        }
        let pull = site
            .forge
            .get_or_create_pr(&branch, site.repo.target(), &row.task.title, &pull_request_text(row))
            .await?;
        let number = i64::try_from(pull.number.0).unwrap_or(i64::MAX);
        if row.task.pull_request != Some(number) {
            let write = CommitWrite {
                task: row.id,
                expected: Expected::Any,
                actor: Actor::Monitor,
                who: None,
                reason: "the work is on the forge".to_owned(),
                events: vec![Event::PullRequestOpened { number }],
                enqueue: None,
                cancel_jobs: false,
                at_ms: self.clock.now_ms(),
            };
            self.store.commit(None, write).await?;
            self.wakes.ci.notify_one();
        }
        Ok(head)
    }
}

fn pull_request_text(row: &TaskRow) -> String {
    let body = row.task.body.trim();
    let text = if body.is_empty() { "No description." } else { body };
    format!("{text}\n\nWork item: {}\n", row.task.key)
}

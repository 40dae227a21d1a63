//! The forge in the model: pull requests, statuses, and a merge that holds head and base.

use std::path::Path;

use orch_core::{
    forge::{
        CommentOutcome, CommitStatus, Forge, ForgeError, ForgeFuture, Marker, MergeOutcome, MergeRequest,
        Mergeability, PrNumber, PullRequest, PullRequestState, SiteForge, StatusState, local::CiRequest,
    },
    git::{Branch, Sha, TargetBranch, TaskBranch},
};

use super::{Ci, Outside, Pull, PullState, World, repository::on_forge, sha};

/// The only context.
const CONTEXT: &str = "ci";

fn unavailable() -> ForgeError {
    ForgeError::Unavailable { detail: "the model says so".to_owned() }
}

impl World {
    fn answers<'a, T: Send + 'a>(
        &'a self,
        what: &'static str,
        look: impl FnOnce(&mut Outside, &Self) -> Result<T, ForgeError> + Send + 'a,
    ) -> ForgeFuture<'a, T> {
        Box::pin(async move {
            if self.fails("forge", what).await { Err(unavailable()) } else { look(&mut self.outside(), self) }
        })
    }

    fn acts<'a, T: Send + 'a>(
        &'a self,
        what: &'static str,
        act: impl FnOnce(&mut Outside, &Self) -> Result<T, ForgeError> + Send + 'a,
    ) -> ForgeFuture<'a, T> {
        Box::pin(async move {
            if self.fails("forge", what).await {
                return Err(unavailable());
            }
            let answer = act(&mut self.outside(), self);
            if self.fails("forge did", what).await { Err(unavailable()) } else { answer }
        })
    }

    fn shown(&self, outside: &Outside, index: usize) -> Result<PullRequest, ForgeError> {
        let pull = outside
            .pulls
            .get(index)
            .ok_or_else(|| ForgeError::NotFound { what: format!("pull request {}", index + 1) })?;
        let head = pull.head.clone().or_else(|| outside.branches.get(&pull.key).cloned()).unwrap_or_default();
        Ok(PullRequest {
            number: PrNumber(index as u64 + 1),
            head_branch: TaskBranch::for_key(&pull.key).map_err(|error| ForgeError::Git(error.into()))?,
            base_branch: self.target.clone(),
            head_sha: sha(&head),
            state: match &pull.state {
                PullState::Open => PullRequestState::Open,
                PullState::Merged(merged) => PullRequestState::Merged { merge_sha: sha(merged) },
                PullState::Closed => PullRequestState::Closed,
            },
            title: pull.title.clone(),
        })
    }
}

fn index(number: PrNumber) -> usize {
    usize::try_from(number.0).unwrap_or(0).wrapping_sub(1)
}

impl Forge for World {
    fn remote_url(&self) -> String {
        "model:forge".to_owned()
    }

    fn get_or_create_pr<'a>(
        &'a self,
        branch: &'a TaskBranch,
        _base: &'a TargetBranch,
        title: &'a str,
        _body: &'a str,
    ) -> ForgeFuture<'a, PullRequest> {
        self.acts("pull request", move |outside, world| {
            let head = outside.branches.get(branch.key()).cloned();
            let fits = |pull: &Pull| match &pull.state {
                PullState::Open => true,
                PullState::Merged(_) => pull.head == head,
                PullState::Closed => false,
            };
            let found = outside.pulls.iter().rposition(|pull| pull.key == branch.key() && fits(pull));
            if let Some(found) = found {
                return world.shown(outside, found);
            }
            if head.is_none() {
                return Err(ForgeError::NotFound { what: format!("branch {branch}") });
            }
            outside.pulls.push(Pull {
                key: branch.key().to_owned(),
                title: title.to_owned(),
                state: PullState::Open,
                head: None,
                by_person: false,
            });
            outside.tell(branch.key());
            world.shown(outside, outside.pulls.len() - 1)
        })
    }

    fn get_pr(&self, number: PrNumber) -> ForgeFuture<'_, PullRequest> {
        self.answers("get pull request", move |outside, world| world.shown(outside, index(number)))
    }

    fn find_pr<'a>(&'a self, branch: &'a TaskBranch) -> ForgeFuture<'a, Option<PullRequest>> {
        self.answers("find pull request", move |outside, world| {
            let found = outside.pulls.iter().rposition(|pull| pull.key == branch.key());
            found.map(|found| world.shown(outside, found)).transpose()
        })
    }

    fn close_pr(&self, number: PrNumber) -> ForgeFuture<'_, PullRequest> {
        self.acts("close pull request", move |outside, world| {
            let head =
                outside.pulls.get(index(number)).and_then(|pull| outside.branches.get(&pull.key)).cloned();
            if let Some(pull) = outside.pulls.get_mut(index(number))
                && pull.state == PullState::Open
            {
                pull.state = PullState::Closed;
                pull.head = head;
            }
            world.shown(outside, index(number))
        })
    }

    fn statuses<'a>(&'a self, commit: &'a Sha) -> ForgeFuture<'a, Vec<CommitStatus>> {
        self.answers("statuses", move |outside, _| {
            let told = outside.ci.get(commit.as_str()).map(|ci| CommitStatus {
                context: CONTEXT.to_owned(),
                state: match ci {
                    Ci::Passed => StatusState::Success,
                    Ci::Red => StatusState::Failure,
                    Ci::Error => StatusState::Error,
                    Ci::Pending => StatusState::Pending,
                },
                description: "by the model".to_owned(),
                target: None,
                updated_at_ms: 0,
            });
            Ok(told.into_iter().collect())
        })
    }

    fn post_status<'a>(&'a self, commit: &'a Sha, status: &'a CommitStatus) -> ForgeFuture<'a, ()> {
        self.acts("post status", move |outside, _| {
            if status.state == StatusState::Pending {
                outside.ci.insert(commit.to_string(), Ci::Pending);
            } else {
                outside.wrongs.push("the core answered for the CI".to_owned());
            }
            Ok(())
        })
    }

    fn mergeable(&self, _number: PrNumber) -> ForgeFuture<'_, Mergeability> {
        self.answers("mergeable", |_, _| Ok(Mergeability::Checking))
    }

    fn merge<'a>(&'a self, request: &'a MergeRequest) -> ForgeFuture<'a, MergeOutcome> {
        self.acts("merge", move |outside, _| {
            let index = index(request.number);
            let Some(pull) = outside.pulls.get(index).cloned() else {
                return Err(ForgeError::NotFound { what: format!("pull request {}", request.number) });
            };
            match &pull.state {
                PullState::Merged(merged) => {
                    return Ok(MergeOutcome::AlreadyMerged { merge_sha: sha(merged) });
                }
                PullState::Closed => return Ok(MergeOutcome::Closed),
                PullState::Open => {}
            }
            let head = outside.branches.get(&pull.key).cloned().unwrap_or_default();
            if head != request.expected_head.as_str() {
                return Ok(MergeOutcome::HeadMoved { actual: sha(&head) });
            }
            if outside.target != request.expected_base.as_str() {
                return Ok(MergeOutcome::BaseMoved { actual: sha(&outside.target) });
            }
            if outside.ci.get(&head) != Some(&Ci::Passed) {
                outside.wrongs.push(format!("I9: {} was merged at {head}, whose CI is not green", pull.key));
            }
            if !outside.tested.contains(&head) {
                outside
                    .wrongs
                    .push(format!("I9: {} was merged at {head}, which was not re-tested", pull.key));
            }
            if !outside.images.contains(&head) {
                outside
                    .wrongs
                    .push(format!("I9: {} was merged at {head}, whose image was not built", pull.key));
            }
            let tree = outside.commits.get(&head).map(|commit| commit.tree.clone()).unwrap_or_default();
            let merged = outside.commit(vec![outside.target.clone(), head.clone()], tree);
            outside.target.clone_from(&merged);
            outside.merges.push((index, head.clone()));
            if let Some(pull) = outside.pulls.get_mut(index) {
                pull.state = PullState::Merged(merged.clone());
                pull.head = Some(head);
            }
            outside.tell(&pull.key);
            Ok(MergeOutcome::Merged { merge_sha: sha(&merged) })
        })
    }

    fn comment<'a>(
        &'a self,
        _number: PrNumber,
        _marker: &'a Marker,
        _body: &'a str,
    ) -> ForgeFuture<'a, CommentOutcome> {
        self.acts("comment", |_, _| Ok(CommentOutcome::Posted))
    }

    fn branch_head<'a>(&'a self, branch: &'a Branch) -> ForgeFuture<'a, Option<Sha>> {
        self.answers("branch head", move |outside, _| Ok(on_forge(outside, branch)))
    }

    fn delete_branch<'a>(&'a self, branch: &'a TaskBranch) -> ForgeFuture<'a, ()> {
        self.acts("delete branch", move |outside, _| {
            outside.branches.remove(branch.key());
            Ok(())
        })
    }
}

impl SiteForge for World {
    fn checkout_for_ci<'a>(&'a self, _commit: &'a Sha, dir: &'a Path) -> ForgeFuture<'a, ()> {
        Box::pin(async move {
            if self.fails("forge", "checkout").await {
                return Err(unavailable());
            }
            std::fs::create_dir_all(dir).map_err(|source| ForgeError::Io { path: dir.to_owned(), source })
        })
    }

    fn pending_ci(&self) -> ForgeFuture<'_, Vec<CiRequest>> {
        // this forge's CI is its own
        Box::pin(async { Ok(Vec::new()) })
    }

    fn clear_stale_locks(&self, _before_ms: i64) -> ForgeFuture<'_, usize> {
        Box::pin(async { Ok(0) })
    }
}

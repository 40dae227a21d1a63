//! A forge on this machine: a bare repository and a folder of records beside it.
//!
//! Responsible for the port's answers. Set-up stands in `setup`, the files in `records`, what git says of a pull
//! request and the merge in `merge`, work for a CI runner in `ci`.
//! Deliberately not here: running CI; users and rights (whoever can write the directory can do anything to it).
//!
//! Invariants: git is the truth and the records follow it: a merge that landed is told as merged whatever the record
//! says, and the record is healed. An open pull request's head is always read from the ref. Records are replaced
//! whole and only under the lock.

mod ci;
mod merge;
mod records;
mod setup;

use std::path::{Path, PathBuf};

pub use ci::{CI_CONTEXT, CiRequest};

use records::{Comment, PrRecord, RecordState, Records};

use crate::forge::{
    CommentOutcome, CommitStatus, Forge, ForgeError, ForgeFuture, Marker, MergeOutcome, MergeRequest,
    Mergeability, PrNumber, PullRequest, PullRequestState, SiteForge,
};
use crate::git::{Branch, Git, GitCall, Sha, TargetBranch, TaskBranch, remove_repository_locks};

/// Longest title or context, in characters; longer ones are cut.
const MAX_LINE_CHARS: usize = 500;
/// Largest body of a pull request or comment, in bytes.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// Most comments on one pull request.
const MAX_COMMENTS: usize = 1_000;
/// Most contexts on one commit.
const MAX_CONTEXTS: usize = 100;

/// Where a local forge stands and what it demands.
#[derive(Debug, Clone)]
pub struct LocalForgeConfig {
    /// The folder of all local forges.
    pub dir: PathBuf,
    /// The project's name: `<name>.git` and `<name>.forge` in that folder.
    pub name: String,
    /// The branch that only merges can change.
    pub target: TargetBranch,
    /// Contexts that must be successful on a head before it is merged.
    pub required_contexts: Vec<String>,
}

/// One project's forge.
#[derive(Debug, Clone)]
pub struct LocalForge {
    git: Git,
    bare: PathBuf,
    records: Records,
    target: TargetBranch,
    required_contexts: Vec<String>,
}

impl LocalForge {
    /// The bare repository's directory.
    #[must_use]
    pub fn repository(&self) -> &Path {
        &self.bare
    }

    /// Removes git's lock files in the repository that are older than a moment (UTC milliseconds) since when nobody
    /// of before can be working in it: the core's start; later, an age above every time-out of git calls. A core that
    /// was killed in the middle of a merge leaves one, and no merge would go through any more. Gives how many.
    ///
    /// # Errors
    /// [`ForgeError::Busy`], or a failure of the file system.
    pub async fn clear_stale_locks(&self, before_ms: i64) -> Result<usize, ForgeError> {
        let _lock = self.records.lock().await?;
        Ok(remove_repository_locks(&self.bare, before_ms)?)
    }

    fn call(&self, args: &[&str]) -> GitCall<'_> {
        self.git.call(&self.bare, args)
    }

    /// The commit that a full ref name is at.
    async fn ref_head(&self, full_ref: &str) -> Result<Option<Sha>, ForgeError> {
        let args = ["for-each-ref", "--format=%(objectname) %(refname)", full_ref];
        let answer = self.call(&args).text().await?;
        // the pattern also matches what lies below it
        let head = answer.lines().find_map(|line| line.strip_suffix(full_ref)?.strip_suffix(' '));
        head.map(|id| Sha::parse(id).map_err(|error| ForgeError::Git(error.into()))).transpose()
    }

    async fn require_commit(&self, commit: &Sha) -> Result<(), ForgeError> {
        let object = format!("{commit}^{{commit}}");
        if self.call(&["cat-file", "-e", &object]).output().await?.code() == Some(0) {
            Ok(())
        } else {
            Err(ForgeError::NotFound { what: format!("commit {commit}") })
        }
    }

    /// Records of a branch, newest first.
    fn records_of(&self, branch: &TaskBranch) -> Result<Vec<PrRecord>, ForgeError> {
        let mut all = self.records.all()?;
        all.retain(|record| record.branch == *branch);
        all.reverse();
        Ok(all)
    }

    async fn do_get_or_create(
        &self,
        branch: &TaskBranch,
        base: &TargetBranch,
        title: &str,
        body: &str,
    ) -> Result<PullRequest, ForgeError> {
        if *base != self.target {
            return Err(ForgeError::Refused {
                reason: format!("{base} is not the target branch {}", self.target),
            });
        }
        require_body(body)?;
        let lock = self.records.lock().await?;
        let head = self.ref_head(&branch.full_ref()).await?;
        for record in self.records_of(branch)? {
            let request = self.healed(record, &lock).await?;
            match &request.state {
                PullRequestState::Open => return Ok(request),
                PullRequestState::Merged { .. }
                    if head.is_none() || head.as_ref() == Some(&request.head_sha) =>
                {
                    return Ok(request);
                }
                PullRequestState::Merged { .. } | PullRequestState::Closed => {}
            }
        }
        let head = head.ok_or_else(|| ForgeError::NotFound { what: format!("branch {branch}") })?;
        let record = PrRecord {
            number: self.records.next_number()?,
            branch: branch.clone(),
            base: base.clone(),
            title: first_chars(title),
            body: body.to_owned(),
            state: RecordState::Open,
            intent: None,
            comments: Vec::new(),
        };
        self.keep_head(record.number, &head).await?;
        self.records.save(&record, &lock).await?;
        // with the records lost, the branch may turn out to be merged
        self.healed(record, &lock).await
    }

    async fn do_get(&self, number: PrNumber) -> Result<PullRequest, ForgeError> {
        let record = self.records.load(number)?;
        let (request, changed) = self.truth(&record).await?;
        if changed {
            let lock = self.records.lock().await?;
            return self.healed(self.records.load(number)?, &lock).await;
        }
        Ok(request)
    }

    async fn do_find(&self, branch: &TaskBranch) -> Result<Option<PullRequest>, ForgeError> {
        let mut newest = None;
        for record in self.records_of(branch)? {
            let request = self.do_get(record.number).await?;
            if request.state == PullRequestState::Open {
                return Ok(Some(request));
            }
            newest = newest.or(Some(request));
        }
        Ok(newest)
    }

    async fn do_close(&self, number: PrNumber) -> Result<PullRequest, ForgeError> {
        let lock = self.records.lock().await?;
        let mut request = self.healed(self.records.load(number)?, &lock).await?;
        if request.state == PullRequestState::Open {
            let mut record = self.records.load(number)?;
            record.state = RecordState::Closed { head_sha: request.head_sha.clone() };
            self.keep_head(number, &request.head_sha).await?;
            self.records.save(&record, &lock).await?;
            request.state = PullRequestState::Closed;
        }
        Ok(request)
    }

    async fn do_post_status(&self, commit: &Sha, status: &CommitStatus) -> Result<(), ForgeError> {
        if status.context.trim().is_empty() || status.context.chars().count() > MAX_LINE_CHARS {
            return Err(ForgeError::Refused { reason: "a status without a usable context".to_owned() });
        }
        self.require_commit(commit).await?;
        let lock = self.records.lock().await?;
        let mut all = self.records.statuses(commit)?;
        let newer =
            all.iter().any(|old| old.context == status.context && old.updated_at_ms > status.updated_at_ms);
        if newer {
            return Ok(());
        }
        all.retain(|old| old.context != status.context);
        if all.len() >= MAX_CONTEXTS {
            return Err(ForgeError::Refused {
                reason: format!("{commit} has {MAX_CONTEXTS} contexts already"),
            });
        }
        all.push(CommitStatus { description: first_chars(&status.description), ..status.clone() });
        all.sort_by(|one, other| one.context.cmp(&other.context));
        self.records.save_statuses(commit, &all, &lock).await
    }

    async fn do_comment(
        &self,
        number: PrNumber,
        marker: &Marker,
        body: &str,
    ) -> Result<CommentOutcome, ForgeError> {
        require_body(body)?;
        let lock = self.records.lock().await?;
        let mut record = self.records.load(number)?;
        let hidden = marker.hidden();
        if record.comments.iter().any(|comment| comment.body.contains(&hidden)) {
            return Ok(CommentOutcome::AlreadyThere);
        }
        if record.comments.len() >= MAX_COMMENTS {
            return Err(ForgeError::Refused {
                reason: format!("pull request {number} has {MAX_COMMENTS} comments"),
            });
        }
        record.comments.push(Comment { body: format!("{body}\n\n{hidden}") });
        self.records.save(&record, &lock).await?;
        Ok(CommentOutcome::Posted)
    }

    async fn do_delete_branch(&self, branch: &TaskBranch) -> Result<(), ForgeError> {
        let lock = self.records.lock().await?;
        let Some(head) = self.ref_head(&branch.full_ref()).await? else { return Ok(()) };
        for record in self.records_of(branch)? {
            let request = self.healed(record, &lock).await?;
            self.keep_head(request.number, &request.head_sha).await?;
        }
        self.call(&["update-ref", "-d", &branch.full_ref(), head.as_str()]).done().await?;
        Ok(())
    }

    /// Remembers a pull request's head in a ref of its own: it outlives the branch, and so do the objects.
    async fn keep_head(&self, number: PrNumber, head: &Sha) -> Result<(), ForgeError> {
        self.call(&["update-ref", &kept_ref(number), head.as_str()]).done().await?;
        Ok(())
    }
}

/// The ref that keeps a pull request's head.
fn kept_ref(number: PrNumber) -> String {
    format!("refs/pull/{number}/head")
}

fn first_chars(text: &str) -> String {
    text.chars().take(MAX_LINE_CHARS).collect()
}

fn require_body(body: &str) -> Result<(), ForgeError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(ForgeError::Refused { reason: format!("a text of more than {MAX_BODY_BYTES} bytes") });
    }
    Ok(())
}

impl SiteForge for LocalForge {
    fn checkout_for_ci<'a>(&'a self, commit: &'a Sha, dir: &'a Path) -> ForgeFuture<'a, ()> {
        Box::pin(Self::checkout_for_ci(self, commit, dir))
    }

    fn pending_ci(&self) -> ForgeFuture<'_, Vec<CiRequest>> {
        Box::pin(Self::pending_ci(self))
    }

    fn clear_stale_locks(&self, before_ms: i64) -> ForgeFuture<'_, usize> {
        Box::pin(Self::clear_stale_locks(self, before_ms))
    }
}

impl Forge for LocalForge {
    fn remote_url(&self) -> String {
        self.bare.to_string_lossy().into_owned()
    }

    fn get_or_create_pr<'a>(
        &'a self,
        branch: &'a TaskBranch,
        base: &'a TargetBranch,
        title: &'a str,
        body: &'a str,
    ) -> ForgeFuture<'a, PullRequest> {
        Box::pin(self.do_get_or_create(branch, base, title, body))
    }

    fn get_pr(&self, number: PrNumber) -> ForgeFuture<'_, PullRequest> {
        Box::pin(self.do_get(number))
    }

    fn find_pr<'a>(&'a self, branch: &'a TaskBranch) -> ForgeFuture<'a, Option<PullRequest>> {
        Box::pin(self.do_find(branch))
    }

    fn close_pr(&self, number: PrNumber) -> ForgeFuture<'_, PullRequest> {
        Box::pin(self.do_close(number))
    }

    fn statuses<'a>(&'a self, commit: &'a Sha) -> ForgeFuture<'a, Vec<CommitStatus>> {
        Box::pin(async move { self.records.statuses(commit) })
    }

    fn post_status<'a>(&'a self, commit: &'a Sha, status: &'a CommitStatus) -> ForgeFuture<'a, ()> {
        Box::pin(self.do_post_status(commit, status))
    }

    fn mergeable(&self, number: PrNumber) -> ForgeFuture<'_, Mergeability> {
        Box::pin(self.do_mergeable(number))
    }

    fn merge<'a>(&'a self, request: &'a MergeRequest) -> ForgeFuture<'a, MergeOutcome> {
        Box::pin(self.do_merge(request))
    }

    fn comment<'a>(
        &'a self,
        number: PrNumber,
        marker: &'a Marker,
        body: &'a str,
    ) -> ForgeFuture<'a, CommentOutcome> {
        Box::pin(self.do_comment(number, marker, body))
    }

    fn branch_head<'a>(&'a self, branch: &'a Branch) -> ForgeFuture<'a, Option<Sha>> {
        Box::pin(async move { self.ref_head(&branch.full_ref()).await })
    }

    fn delete_branch<'a>(&'a self, branch: &'a TaskBranch) -> ForgeFuture<'a, ()> {
        Box::pin(self.do_delete_branch(branch))
    }
}

#[cfg(test)]
mod tests;

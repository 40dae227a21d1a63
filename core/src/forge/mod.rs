//! The forge: where branches are shared, proposed, judged and merged.
//!
//! Responsible for the port ([`Forge`]) with its domain types, and for the adapters below it: [`local`], a bare
//! repository on this machine.
//! Deliberately not here: when to merge (the engine) and what a CI command is (the projects).
//!
//! Invariants: the target branch changes by [`Forge::merge`] alone (I5), and that holds both the head and the base to
//! what the caller tested. Every refusal is an outcome, every "could not ask" an error; neither is read as the other.

pub mod local;
mod types;

use std::future::Future;
use std::pin::Pin;

pub use types::{
    CommentOutcome, CommitStatus, ForgeError, Marker, MergeMethod, MergeOutcome, MergeRequest, Mergeability,
    PrNumber, PullRequest, PullRequestState, StatusState,
};

use crate::git::{Branch, Sha, TargetBranch, TaskBranch};

/// A call that may wait for a disk or a network.
pub type ForgeFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ForgeError>> + Send + 'a>>;

/// A forge whose repository stands on this machine, so that commits can be laid out from it.
pub trait SiteForge: Forge + std::fmt::Debug {
    /// As [`local::LocalForge::checkout_for_ci`].
    fn checkout_for_ci<'a>(&'a self, commit: &'a Sha, dir: &'a std::path::Path) -> ForgeFuture<'a, ()>;

    /// As [`local::LocalForge::pending_ci`].
    fn pending_ci(&self) -> ForgeFuture<'_, Vec<local::CiRequest>>;

    /// As [`local::LocalForge::clear_stale_locks`].
    fn clear_stale_locks(&self, before_ms: i64) -> ForgeFuture<'_, usize>;
}

/// What the core asks of a forge. Used as `Arc<dyn Forge>`.
///
/// Every method may be called again after a lost answer: creating looks first, merging tells "already merged".
pub trait Forge: Send + Sync {
    /// The address that git fetches from and pushes to.
    fn remote_url(&self) -> String;

    /// The open pull request of a branch; else the merged one, if it merged exactly the branch's present head; else
    /// a new one. Two callers at once get the same.
    fn get_or_create_pr<'a>(
        &'a self,
        branch: &'a TaskBranch,
        base: &'a TargetBranch,
        title: &'a str,
        body: &'a str,
    ) -> ForgeFuture<'a, PullRequest>;

    /// One pull request; [`ForgeError::NotFound`] when there is none.
    fn get_pr(&self, number: PrNumber) -> ForgeFuture<'_, PullRequest>;

    /// The open pull request of a branch, else its newest one.
    fn find_pr<'a>(&'a self, branch: &'a TaskBranch) -> ForgeFuture<'a, Option<PullRequest>>;

    /// Closes an open pull request without merging it; one that is not open is left as it is. Gives its state after.
    fn close_pr(&self, number: PrNumber) -> ForgeFuture<'_, PullRequest>;

    /// The newest status of each context of exactly this commit, sorted by context; empty when none was posted.
    fn statuses<'a>(&'a self, commit: &'a Sha) -> ForgeFuture<'a, Vec<CommitStatus>>;

    /// Posts a status; one that is older than what the context has is dropped.
    fn post_status<'a>(&'a self, commit: &'a Sha, status: &'a CommitStatus) -> ForgeFuture<'a, ()>;

    /// Whether a merge would go through at this moment.
    fn mergeable(&self, number: PrNumber) -> ForgeFuture<'_, Mergeability>;

    /// Merges, provided that head and base are the expected ones. After an error the merge may have happened: ask
    /// with [`Forge::get_pr`].
    fn merge<'a>(&'a self, request: &'a MergeRequest) -> ForgeFuture<'a, MergeOutcome>;

    /// Comments once for each marker.
    fn comment<'a>(
        &'a self,
        number: PrNumber,
        marker: &'a Marker,
        body: &'a str,
    ) -> ForgeFuture<'a, CommentOutcome>;

    /// The commit that a branch is at; `None` when it does not exist.
    fn branch_head<'a>(&'a self, branch: &'a Branch) -> ForgeFuture<'a, Option<Sha>>;

    /// Deletes a task branch; absent is fine. Its pull requests keep their head.
    fn delete_branch<'a>(&'a self, branch: &'a TaskBranch) -> ForgeFuture<'a, ()>;
}

#[cfg(test)]
pub(crate) mod conformance;

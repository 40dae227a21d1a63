//! The core's clone of a project, as a port: what engine, effects and gates ask of it.
//!
//! [`Repo`] is the clone on this machine; a simulation has a model. What each call promises is said
//! there. Deliberately not here: anything that only one adapter can do.

use std::{fmt::Debug, future::Future, pin::Pin};

use super::{
    Branch, GitError, PushOutcome, RebaseOutcome, Repo, RepoPath, Sha, TargetBranch, TaskBranch, TreeId,
    Worktree,
};

/// A call that may wait for a disk or a network.
pub type GitFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, GitError>> + Send + 'a>>;

macro_rules! repository {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        /// What is asked of a clone.
        pub trait Repository: Debug + Send + Sync {
            /// The branch that is merged to.
            fn target(&self) -> &TargetBranch;
            $($(#[$doc])* fn $name<'a>(&'a self $(, $argument: $type)*) -> GitFuture<'a, $answer>;)*
        }

        impl Repository for Repo {
            fn target(&self) -> &TargetBranch {
                Self::target(self)
            }
            $(fn $name<'a>(&'a self $(, $argument: $type)*) -> GitFuture<'a, $answer> {
                Box::pin(Self::$name(self $(, $argument)*))
            })*
        }
    };
}

repository! {
    /// As [`Repo::fetch`].
    fn fetch() -> ();
    /// As [`Repo::clear_stale_locks`].
    fn clear_stale_locks(before_ms: i64) -> usize;
    /// As [`Repo::target_head`].
    fn target_head() -> Option<Sha>;
    /// As [`Repo::branch_head`].
    fn branch_head(branch: &'a TaskBranch) -> Option<Sha>;
    /// As [`Repo::ls_remote`].
    fn ls_remote(branch: &'a Branch) -> Option<Sha>;
    /// As [`Repo::tree_of`].
    fn tree_of(commit: &'a Sha) -> TreeId;
    /// As [`Repo::is_ancestor`].
    fn is_ancestor(older: &'a Sha, newer: &'a Sha) -> bool;
    /// As [`Repo::first_parent`].
    fn first_parent(commit: &'a Sha) -> Option<Sha>;
    /// As [`Repo::blob_id`].
    fn blob_id(commit: &'a Sha, path: &'a RepoPath) -> Option<Sha>;
    /// As [`Repo::show_file`].
    fn show_file(commit: &'a Sha, path: &'a RepoPath) -> Option<Vec<u8>>;
    /// As [`Repo::list_files`].
    fn list_files(commit: &'a Sha, folder: &'a RepoPath) -> Vec<String>;
    /// As [`Repo::diff_names`].
    fn diff_names(from: &'a Sha, to: &'a Sha) -> Vec<String>;
    /// As [`Repo::merge_base`].
    fn merge_base(one: &'a Sha, other: &'a Sha) -> Option<Sha>;
    /// As [`Repo::push_branch`].
    fn push_branch(branch: &'a TaskBranch, commit: &'a Sha, expected: Option<&'a Sha>) -> PushOutcome;
    /// As [`Repo::ensure_worktree`].
    fn ensure_worktree(branch: &'a TaskBranch, quiet_since_ms: i64) -> Worktree;
    /// As [`Repo::remove_worktree`].
    fn remove_worktree(branch: &'a TaskBranch) -> ();
    /// As [`Repo::rebase_onto`].
    fn rebase_onto(worktree: &'a Worktree, target_head: &'a Sha) -> RebaseOutcome;
}

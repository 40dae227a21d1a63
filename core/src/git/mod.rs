//! Typed calls of the git program.
//!
//! Responsible for: the core's own clone of a project, one worktree a task, rebase, push and the questions that
//! gates and probes ask of history. Every call goes through [`Git`], which fixes locale, configuration, identity,
//! time-outs and output limits, and turns what git says into a [`GitError`] of one kind.
//!
//! Deliberately not here: when to do any of it (the engine), and anything of a forge but its refs.
//!
//! Invariant I5: what can be pushed is a [`TaskBranch`], and no value of that type names a target branch.

mod command;
mod error;
mod files;
mod locks;
mod names;
mod push;
mod rebase;
mod repo;
mod repository;
mod worktree;

pub use command::{Git, GitLimits, Identity};
pub use error::GitError;
pub use names::{Branch, NameError, RepoPath, Sha, TargetBranch, TaskBranch, TreeId};
pub use push::PushOutcome;
pub use rebase::RebaseOutcome;
pub use repo::Repo;
pub use repository::{GitFuture, Repository};
pub use worktree::Worktree;

pub(crate) use command::GitCall;
pub(crate) use files::{read_if_there, remove_tree, write_atomically};
pub(crate) use locks::remove_repository_locks;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

//! Bringing a task branch onto the target's head.
//!
//! Responsible for the rebase in the task's worktree, for telling a conflict from every other failure, and for
//! leaving the worktree as it was unless the rebase succeeded.
//! Deliberately not here: pushing the result; deciding what an emptied branch means (compare with `diff_names`).
//!
//! Invariant: when the target is already an ancestor nothing is rewritten, so verdicts given to the head stay valid.

use crate::git::command::zero_separated;
use crate::git::error::GitError;
use crate::git::names::Sha;
use crate::git::repo::Repo;
use crate::git::worktree::Worktree;

/// What a rebase came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebaseOutcome {
    /// The target's head is contained already; nothing was touched.
    AlreadyCurrent {
        /// The unchanged head.
        head: Sha,
    },
    /// The branch was rewritten onto the target's head. It may equal it, when all of its changes were there.
    Rebased {
        /// The new head.
        head: Sha,
    },
    /// The same places were changed; the branch is as before.
    Conflict {
        /// The files in conflict, sorted.
        files: Vec<String>,
    },
}

impl Repo {
    /// Rebases a worktree's branch onto a commit of the target branch. Merge commits are flattened; commits whose
    /// change the target has already are dropped.
    ///
    /// # Errors
    /// [`GitError::Dirty`] for uncommitted changes in tracked files, or untracked files in the way;
    /// [`GitError::NotFound`] for an unknown target. After any error the branch is where it was.
    pub async fn rebase_onto(
        &self,
        worktree: &Worktree,
        target_head: &Sha,
    ) -> Result<RebaseOutcome, GitError> {
        let _writing = self.write_lock().await;
        let before = self.head(worktree).await?;
        if self.is_ancestor(target_head, &before).await? {
            return Ok(RebaseOutcome::AlreadyCurrent { head: before });
        }
        let changed = self.status(worktree, "--untracked-files=no").await?;
        if !changed.is_empty() {
            return Err(GitError::Dirty { files: changed });
        }
        let args =
            ["rebase", "--quiet", "--no-fork-point", "--no-rebase-merges", "--no-verify", "--empty=drop"];
        let rebased = self.inside(worktree, &args).args([target_head.as_str()]).tree().output().await;
        let failure = match rebased {
            Ok(output) if output.code() == Some(0) => {
                return Ok(RebaseOutcome::Rebased { head: self.head(worktree).await? });
            }
            Ok(output) if output.stderr().contains("would be overwritten") => {
                GitError::Dirty { files: self.uncommitted(worktree).await? }
            }
            Ok(output) => output.error(),
            Err(error) => error,
        };
        // both before the undoing: it wipes the traces
        let conflicts = self.unmerged(worktree).await;
        self.undo_rebase(worktree, &before).await?;
        let files = conflicts?;
        if files.is_empty() { Err(failure) } else { Ok(RebaseOutcome::Conflict { files }) }
    }

    /// Files that the stopped rebase left unmerged.
    async fn unmerged(&self, worktree: &Worktree) -> Result<Vec<String>, GitError> {
        let answer = self.inside(worktree, &["ls-files", "-z", "--unmerged"]).bytes().await?;
        let mut files: Vec<String> = zero_separated(&answer)
            .into_iter()
            .filter_map(|entry| entry.split_once('\t').map(|(_stage, path)| path.to_owned()))
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// Ends the rebase, if one is open, and makes sure that the branch is where it was.
    async fn undo_rebase(&self, worktree: &Worktree, before: &Sha) -> Result<(), GitError> {
        let admin = self.admin_dir(worktree).await?;
        if ["rebase-merge", "rebase-apply"].iter().any(|sign| admin.join(sign).exists()) {
            self.inside(worktree, &["rebase", "--abort"]).tree().done().await?;
        }
        let after = self.head(worktree).await?;
        if after == *before {
            return Ok(());
        }
        Err(GitError::Other {
            what: "rebase --abort".to_owned(),
            code: 0,
            stderr: format!("left {} at {after} instead of {before}", worktree.branch()),
        })
    }
}

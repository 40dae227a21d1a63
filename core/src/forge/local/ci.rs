//! Work for whoever runs a project's CI command.
//!
//! Responsible for telling which heads have no verdict yet and for laying one out as files.
//! Deliberately not here: running anything, and posting the verdict (`post_status`).
//!
//! Invariant: what is pending is a function of refs and statuses alone, so a lost event or a crash in the middle of
//! a run only means that the head is named again.

use std::path::Path;

use super::LocalForge;
use crate::forge::{ForgeError, PrNumber, PullRequestState};
use crate::git::{Sha, TaskBranch, remove_tree, write_atomically};

/// The context of the forge's own CI.
pub const CI_CONTEXT: &str = "ci";
/// Lies in the git folder of each tree that this module laid out; only such a tree is ever replaced.
const OWN_MARK: &str = "orch-ci";

/// A head that waits for its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiRequest {
    /// The commit.
    pub sha: Sha,
    /// Its branch.
    pub branch: TaskBranch,
    /// Its pull request.
    pub pr: PrNumber,
}

impl LocalForge {
    /// Heads of open pull requests without a final status of context [`CI_CONTEXT`], by number.
    ///
    /// # Errors
    /// Any failure to look: never an empty answer instead.
    pub async fn pending_ci(&self) -> Result<Vec<CiRequest>, ForgeError> {
        let mut pending = Vec::new();
        for record in self.records.all()? {
            let (request, _lags) = self.truth(&record).await?;
            if request.state != PullRequestState::Open {
                continue;
            }
            let statuses = self.records.statuses(&request.head_sha)?;
            if !statuses.iter().any(|status| status.context == CI_CONTEXT && status.state.is_final()) {
                pending.push(CiRequest {
                    sha: request.head_sha,
                    branch: request.head_branch,
                    pr: request.number,
                });
            }
        }
        Ok(pending)
    }

    /// Lays out a commit's files in `dir`, as a repository with a detached HEAD that borrows its objects from the
    /// forge and knows no remote. A tree that an earlier call made there is replaced; anything else is refused.
    ///
    /// # Errors
    /// [`ForgeError::NotFound`] for an unknown commit, [`ForgeError::Refused`] when `dir` holds something else.
    pub async fn checkout_for_ci(&self, commit: &Sha, dir: &Path) -> Result<(), ForgeError> {
        self.require_commit(commit).await?;
        let git_dir = dir.join(".git");
        let is_free = match std::fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_none() || git_dir.join(OWN_MARK).exists(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(source) => return Err(ForgeError::Io { path: dir.to_owned(), source }),
        };
        if !is_free {
            return Err(ForgeError::Refused { reason: format!("{} holds something else", dir.display()) });
        }
        remove_tree(dir).map_err(ForgeError::io(dir))?;
        let info = git_dir.join("objects").join("info");
        std::fs::create_dir_all(&info).map_err(ForgeError::io(&info))?;
        // the mark first: whatever stops this, the next call may clear it away
        let mark = git_dir.join(OWN_MARK);
        write_atomically(&mark, format!("{commit}\n").as_bytes(), 0o644).map_err(ForgeError::io(&mark))?;
        self.git.call(dir, &["init", "--quiet", "--template=", "--object-format=sha1"]).done().await?;
        let (alternates, objects) = (info.join("alternates"), self.bare.join("objects"));
        let line = format!("{}\n", objects.display());
        write_atomically(&alternates, line.as_bytes(), 0o644).map_err(ForgeError::io(&alternates))?;
        self.git.call(dir, &["checkout", "--quiet", "--detach", commit.as_str()]).tree().done().await?;
        Ok(())
    }
}

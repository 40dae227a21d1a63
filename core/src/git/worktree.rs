//! One worktree a task, usable again after any crash.
//!
//! Responsible for making it, for repairing what killed programs left (locks, half operations, half directories)
//! and for removing it.
//! Deliberately not here: what is done in it. The caller proves that nobody works in it while it is repaired.
//!
//! Invariant: no repair loses a commit of the task branch, and a commit that only a detached HEAD holds is kept below
//! `refs/orch/rescued/`.

use std::path::{Path, PathBuf};

use crate::git::command::{GitCall, zero_separated};
use crate::git::error::GitError;
use crate::git::files::remove_tree;
use crate::git::locks::remove_if_older;
use crate::git::names::{Sha, TaskBranch};
use crate::git::repo::{Repo, sha};

/// How many files a message about a dirty worktree names.
const NAMED_FILES: usize = 20;

/// A task's worktree that was found or made fit for use; on this machine only [`Repo::ensure_worktree`] gives one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    path: PathBuf,
    branch: TaskBranch,
}

impl Worktree {
    /// For another adapter of [`super::Repository`], whose worktrees are where it says.
    #[must_use]
    pub const fn of_model(path: PathBuf, branch: TaskBranch) -> Self {
        Self { path, branch }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The branch checked out in it.
    #[must_use]
    pub fn branch(&self) -> &TaskBranch {
        &self.branch
    }
}

/// Operations that stop in the middle: the file that tells, and the ways out, the gentle one first.
const UNFINISHED: &[(&str, &[&[&str]])] = &[
    ("rebase-merge", &[&["rebase", "--abort"], &["rebase", "--quit"]]),
    ("rebase-apply", &[&["rebase", "--abort"], &["am", "--abort"], &["rebase", "--quit"], &["am", "--quit"]]),
    ("MERGE_HEAD", &[&["merge", "--abort"], &["merge", "--quit"]]),
    ("CHERRY_PICK_HEAD", &[&["cherry-pick", "--abort"], &["cherry-pick", "--quit"]]),
    ("REVERT_HEAD", &[&["revert", "--abort"], &["revert", "--quit"]]),
    ("BISECT_LOG", &[&["bisect", "reset"]]),
];

/// Lock files of one worktree.
const LOCKS: &[&str] = &["index.lock", "HEAD.lock", "ORIG_HEAD.lock", "config.worktree.lock"];

/// What `git worktree list` says of one worktree.
#[derive(Debug, Default)]
struct Listed {
    path: PathBuf,
    branch: Option<String>,
    lock_reason: Option<String>,
}

impl Repo {
    /// Where the worktree of a branch stands or would stand.
    #[must_use]
    pub fn worktree_path(&self, branch: &TaskBranch) -> PathBuf {
        self.worktrees.join(branch.key())
    }

    /// The worktree of a task, made, reused or repaired. A missing branch starts from the forge's copy of it, else
    /// from the target's head, both as of the last fetch. Uncommitted work of a healthy worktree is kept, except of
    /// an operation that stopped in the middle: that is undone.
    ///
    /// `quiet_since_ms` (UTC): the caller's proof that nobody who started before this moment still works in the
    /// worktree: the end of the last run, or the start of the core. Older locks are left-overs and are removed.
    ///
    /// # Errors
    /// [`GitError::LockBusy`] for a younger lock, [`GitError::NotFound`] when there is no commit to start from,
    /// [`GitError::Dirty`] when changes on a detached HEAD cannot be carried back to the branch.
    pub async fn ensure_worktree(
        &self,
        branch: &TaskBranch,
        quiet_since_ms: i64,
    ) -> Result<Worktree, GitError> {
        let _writing = self.write_lock().await;
        self.ensure_branch(branch, quiet_since_ms).await?;
        let worktree = Worktree { path: self.worktree_path(branch), branch: branch.clone() };
        let interrupted_making = self
            .listed()
            .await?
            .into_iter()
            .find(|listed| listed.path == worktree.path)
            .is_some_and(|listed| listed.lock_reason.as_deref() == Some("initializing"));
        if !interrupted_making && self.is_usable(&worktree).await? {
            self.settle(&worktree, quiet_since_ms).await?;
        } else {
            self.make_anew(&worktree).await?;
        }
        Ok(worktree)
    }

    /// Removes a task's worktree with all uncommitted work; the branch stays. Absent is fine.
    ///
    /// # Errors
    /// Any failure of git or of the file system.
    pub async fn remove_worktree(&self, branch: &TaskBranch) -> Result<(), GitError> {
        let _writing = self.write_lock().await;
        self.discard(&self.worktree_path(branch)).await
    }

    /// Files with uncommitted changes, untracked ones included, ignored ones not; at most 20 are named.
    ///
    /// # Errors
    /// Any failure of git.
    pub async fn uncommitted(&self, worktree: &Worktree) -> Result<Vec<String>, GitError> {
        self.status(worktree, "--untracked-files=normal").await
    }

    /// Whether everything in the worktree is committed (or ignored).
    ///
    /// # Errors
    /// Any failure of git.
    pub async fn is_clean(&self, worktree: &Worktree) -> Result<bool, GitError> {
        Ok(self.uncommitted(worktree).await?.is_empty())
    }

    /// The commit that the worktree stands on.
    ///
    /// # Errors
    /// Any failure of git.
    pub async fn head(&self, worktree: &Worktree) -> Result<Sha, GitError> {
        let text = self.inside(worktree, &["rev-parse", "--verify", "HEAD^{commit}"]).text().await?;
        sha("rev-parse", &text)
    }

    pub(super) fn inside<'a>(&'a self, worktree: &'a Worktree, args: &[&str]) -> GitCall<'a> {
        self.git.call(&worktree.path, args)
    }

    pub(super) async fn status(&self, worktree: &Worktree, untracked: &str) -> Result<Vec<String>, GitError> {
        let args = ["status", "--porcelain=v1", "-z", "--no-renames", untracked];
        let answer = self.inside(worktree, &args).bytes().await?;
        // "XY path"
        Ok(zero_separated(&answer)
            .into_iter()
            .take(NAMED_FILES)
            .map(|entry| entry.chars().skip(3).collect())
            .collect())
    }

    /// The directory where git keeps this worktree's HEAD, index and locks.
    pub(super) async fn admin_dir(&self, worktree: &Worktree) -> Result<PathBuf, GitError> {
        self.inside(worktree, &["rev-parse", "--absolute-git-dir"]).text().await.map(PathBuf::from)
    }

    async fn ensure_branch(&self, branch: &TaskBranch, quiet_since_ms: i64) -> Result<(), GitError> {
        let own_lock = self.dir.join(format!("{}.lock", branch.full_ref()));
        remove_if_older(&own_lock, quiet_since_ms)?;
        if self.branch_head(branch).await?.is_some() {
            return Ok(());
        }
        let on_forge = self.rev_parse(&format!("refs/remotes/origin/{}", branch.name())).await?;
        let start = match on_forge {
            Some(head) => head,
            None => self.target_head().await?.ok_or_else(|| GitError::NotFound {
                what: format!("branch {} on the forge", self.target.name()),
            })?,
        };
        // the empty old value: created, never moved
        self.call(&["update-ref", &branch.full_ref(), start.as_str(), ""]).done().await
    }

    async fn listed(&self) -> Result<Vec<Listed>, GitError> {
        let answer = self.call(&["worktree", "list", "--porcelain", "-z"]).bytes().await?;
        let mut all = Vec::new();
        let mut current = Listed::default();
        for line in String::from_utf8_lossy(&answer).split('\0') {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "worktree" => current.path = PathBuf::from(rest),
                "branch" => current.branch = Some(rest.to_owned()),
                "locked" => current.lock_reason = Some(rest.to_owned()),
                "" if !current.path.as_os_str().is_empty() => all.push(std::mem::take(&mut current)),
                _ => {}
            }
        }
        Ok(all)
    }

    /// Whether the directory is a worktree of this clone, after the repairs that git itself offers.
    async fn is_usable(&self, worktree: &Worktree) -> Result<bool, GitError> {
        if !worktree.path.is_dir() {
            return Ok(false);
        }
        if self.belongs_here(worktree).await? {
            return Ok(true);
        }
        // a lost or wrong .git file is written anew from the clone's own record; failing that the check below tells
        self.call(&["worktree", "repair"]).path_arg(&worktree.path).output().await?;
        if !self.belongs_here(worktree).await? {
            return Ok(false);
        }
        // what took the .git file may have taken more: bring back what is missing, keep what is there
        Ok(self.inside(worktree, &["checkout-index", "--all", "--quiet"]).tree().output().await?.code()
            != Some(128))
    }

    async fn belongs_here(&self, worktree: &Worktree) -> Result<bool, GitError> {
        let args = ["rev-parse", "--path-format=absolute", "--git-common-dir", "--show-toplevel"];
        let answer = self.inside(worktree, &args).output().await?;
        let text = answer.stdout();
        let mut lines = text.lines();
        let (common, top) = (lines.next().map(Path::new), lines.next().map(Path::new));
        let ours = common == Some(self.dir.as_path()) && top == Some(worktree.path.as_path());
        Ok(answer.code() == Some(0) && ours)
    }

    /// An index that is missing or that a power cut emptied is made again from HEAD; the files stay as they are.
    async fn ensure_index(&self, worktree: &Worktree, admin: &Path) -> Result<(), GitError> {
        let index = admin.join("index");
        if index.exists() {
            let answer =
                self.inside(worktree, &["ls-files", "--cached", "-z", "--", ".git"]).output().await?;
            if answer.code() == Some(0) {
                return Ok(());
            }
            remove_tree(&index).map_err(GitError::io(&index))?;
        }
        self.inside(worktree, &["read-tree", "HEAD"]).tree().done().await
    }

    /// Brings a usable worktree to rest on its branch.
    async fn settle(&self, worktree: &Worktree, quiet_since_ms: i64) -> Result<(), GitError> {
        let admin = self.admin_dir(worktree).await?;
        for lock in LOCKS {
            remove_if_older(&admin.join(lock), quiet_since_ms)?;
        }
        self.ensure_index(worktree, &admin).await?;
        for (sign, ways_out) in UNFINISHED {
            for way_out in *ways_out {
                if !admin.join(sign).exists() {
                    break;
                }
                let done = self.inside(worktree, way_out).tree().output().await?;
                if let GitError::LockBusy { detail } = done.error() {
                    return Err(GitError::LockBusy { detail });
                }
            }
            let sign = admin.join(sign);
            if sign.exists() {
                // what git itself cannot read any more is of no use to it
                remove_tree(&sign).map_err(GitError::io(&sign))?;
            }
        }
        self.return_to_branch(worktree).await
    }

    async fn return_to_branch(&self, worktree: &Worktree) -> Result<(), GitError> {
        let on = self.inside(worktree, &["symbolic-ref", "--quiet", "HEAD"]).output().await?;
        if on.stdout().trim() == worktree.branch.full_ref() {
            return Ok(());
        }
        let head = self.head(worktree).await?;
        let rescued = format!("refs/orch/rescued/{}/{head}", worktree.branch.key());
        self.call(&["update-ref", &rescued, head.as_str()]).done().await?;
        let switched =
            self.inside(worktree, &["switch", "--no-guess", worktree.branch.name()]).tree().output().await?;
        match switched.code() {
            Some(0) => Ok(()),
            Some(_) | None if switched.stderr().contains("would be overwritten") => {
                Err(GitError::Dirty { files: self.uncommitted(worktree).await? })
            }
            Some(_) | None => Err(switched.error()),
        }
    }

    async fn make_anew(&self, worktree: &Worktree) -> Result<(), GitError> {
        self.discard(&worktree.path).await?;
        let elsewhere = self.listed().await?.into_iter().find(|listed| {
            listed.branch.as_deref() == Some(worktree.branch.full_ref().as_str()) && !listed.path.is_dir()
        });
        if let Some(gone) = elsewhere {
            // the data directory was moved: the record of the old place is in the way
            self.forget(&gone.path).await?;
        }
        self.call(&["worktree", "add", "--quiet", "--no-guess-remote"])
            .path_arg(&worktree.path)
            .args([worktree.branch.name()])
            .tree()
            .done()
            .await
    }

    /// Removes directory and record of a worktree.
    async fn discard(&self, path: &Path) -> Result<(), GitError> {
        remove_tree(path).map_err(GitError::io(path))?;
        self.forget(path).await
    }

    async fn forget(&self, path: &Path) -> Result<(), GitError> {
        if self.listed().await?.iter().any(|listed| listed.path == path) {
            // twice: also one that is locked by an interrupted making
            self.call(&["worktree", "remove", "--force", "--force"]).path_arg(path).done().await?;
        }
        Ok(())
    }
}

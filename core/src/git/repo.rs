//! The core's own clone of a project, and questions about its history.
//!
//! Responsible for making the clone once, fetching, and answering from commits: ancestry, trees, files, names.
//! Deliberately not here: the worktrees (`worktree`), rewriting (`rebase`), sending (`push`).
//!
//! Invariants: the clone is bare, so that no checkout of its own can be in the way; the forge's branches are
//! mirrored below `refs/remotes/origin`, so a fetch never moves a task branch. A directory that is not this clone is
//! refused, not replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use crate::git::command::{Git, GitCall, zero_separated};
use crate::git::error::GitError;
use crate::git::files::remove_tree;
use crate::git::locks::remove_repository_locks;
use crate::git::names::{Branch, RepoPath, Sha, TargetBranch, TaskBranch, TreeId};

/// A clone with its worktrees. Clones of this value share one lock: keep one a project.
#[derive(Debug, Clone)]
pub struct Repo {
    pub(super) git: Git,
    pub(super) dir: PathBuf,
    pub(super) worktrees: PathBuf,
    pub(super) target: TargetBranch,
    writes: Arc<Mutex<()>>,
}

impl Repo {
    /// The clone of `forge_url` in `dir`, made when it is missing; task worktrees go below `worktrees`.
    /// A changed address is taken over. The target branch need not exist yet.
    ///
    /// # Errors
    /// [`GitError::NotFound`] when `dir` is something else than a bare repository; any failure of git.
    pub async fn ensure_clone(
        git: Git,
        forge_url: &str,
        dir: &Path,
        worktrees: &Path,
        target: TargetBranch,
    ) -> Result<Self, GitError> {
        for folder in [dir.parent().unwrap_or(dir), worktrees] {
            std::fs::create_dir_all(folder).map_err(GitError::io(folder))?;
        }
        let worktrees = worktrees.canonicalize().map_err(GitError::io(worktrees))?;
        if !dir.try_exists().map_err(GitError::io(dir))? {
            Self::clone_anew(&git, forge_url, dir).await?;
        }
        let dir = dir.canonicalize().map_err(GitError::io(dir))?;
        let repo = Self { git, dir, worktrees, target, writes: Arc::new(Mutex::new(())) };
        if repo.call(&["rev-parse", "--is-bare-repository"]).text().await? != "true" {
            return Err(GitError::NotFound { what: format!("no bare repository at {}", repo.dir.display()) });
        }
        if repo.call(&["rev-parse", "--show-object-format"]).text().await? != "sha1" {
            return Err(GitError::NotFound { what: "a repository with SHA-1 ids".to_owned() });
        }
        let known = repo.call(&["config", "--get", "remote.origin.url"]).output().await?;
        if known.stdout().trim_end_matches('\n') != forge_url {
            repo.call(&["config", "remote.origin.url", forge_url]).done().await?;
        }
        Ok(repo)
    }

    /// Everything happens beside the final place, so a crash leaves no half clone in it.
    async fn clone_anew(git: &Git, forge_url: &str, dir: &Path) -> Result<(), GitError> {
        let mut beside = dir.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        remove_tree(&beside).map_err(GitError::io(&beside))?;
        std::fs::create_dir(&beside).map_err(GitError::io(&beside))?;
        git.call(&beside, &["init", "--quiet", "--bare", "--template=", "--object-format=sha1"])
            .done()
            .await?;
        for (key, value) in [
            ("remote.origin.url", forge_url),
            ("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("core.logAllRefUpdates", "true"),
        ] {
            git.call(&beside, &["config", key, value]).done().await?;
        }
        git.call(&beside, FETCH).network().done().await?;
        std::fs::rename(&beside, dir).map_err(GitError::io(dir))
    }

    pub(super) fn call(&self, args: &[&str]) -> GitCall<'_> {
        self.git.call(&self.dir, args)
    }

    /// Held by every operation that writes refs or worktrees; calls of one project queue here.
    pub(super) async fn write_lock(&self) -> MutexGuard<'_, ()> {
        self.writes.lock().await
    }

    /// The branch that tasks are merged into.
    #[must_use]
    pub fn target(&self) -> &TargetBranch {
        &self.target
    }

    /// The clone's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Brings all branches of the forge here and forgets those that are gone there.
    ///
    /// # Errors
    /// Any failure of git.
    pub async fn fetch(&self) -> Result<(), GitError> {
        let _writing = self.write_lock().await;
        self.call(FETCH).network().done().await
    }

    /// Removes locks of the clone itself (refs, configuration; not of worktrees) that are older than a moment (UTC
    /// milliseconds) since when nobody of before can be working in it: the core's start; later, an age above every
    /// time-out of [`crate::git::GitLimits`]. Gives how many.
    ///
    /// # Errors
    /// [`GitError::Io`].
    pub async fn clear_stale_locks(&self, before_ms: i64) -> Result<usize, GitError> {
        let _writing = self.write_lock().await;
        remove_repository_locks(&self.dir, before_ms)
    }

    /// The target branch as of the last fetch.
    ///
    /// # Errors
    /// Any failure of git.
    pub async fn target_head(&self) -> Result<Option<Sha>, GitError> {
        self.rev_parse(&format!("refs/remotes/origin/{}", self.target.name())).await
    }

    /// The local head of a task branch: what its worktree has committed.
    ///
    /// # Errors
    /// Any failure of git.
    pub async fn branch_head(&self, branch: &TaskBranch) -> Result<Option<Sha>, GitError> {
        self.rev_parse(&branch.full_ref()).await
    }

    /// What a branch is on the forge at this moment, asked there.
    ///
    /// # Errors
    /// Any failure of git; "could not ask" is never `None`.
    pub async fn ls_remote(&self, branch: &Branch) -> Result<Option<Sha>, GitError> {
        let full = branch.full_ref();
        let answer = self.call(&["ls-remote", "origin", &full]).network().text().await?;
        // the pattern also matches refs that merely end in it
        let line = answer.lines().find(|line| line.split('\t').nth(1) == Some(full.as_str()));
        line.map(|line| sha("ls-remote", line.split('\t').next().unwrap_or_default())).transpose()
    }

    /// The commit that a revision names.
    ///
    /// # Errors
    /// Any failure of git; a revision that names nothing is `None`.
    pub async fn rev_parse(&self, revision: &str) -> Result<Option<Sha>, GitError> {
        if revision.starts_with('-') {
            return Err(GitError::NotFound { what: revision.to_owned() });
        }
        let answer = self.parse_object(&format!("{revision}^{{commit}}")).await?;
        answer.map(|text| sha("rev-parse", &text)).transpose()
    }

    /// The tree of a commit.
    ///
    /// # Errors
    /// [`GitError::NotFound`] for an unknown commit.
    pub async fn tree_of(&self, commit: &Sha) -> Result<TreeId, GitError> {
        let answer = self.parse_object(&format!("{commit}^{{tree}}")).await?;
        let text = answer.ok_or_else(|| GitError::NotFound { what: format!("tree of {commit}") })?;
        TreeId::parse(&text).map_err(|_| GitError::unreadable("rev-parse", &text))
    }

    async fn parse_object(&self, object: &str) -> Result<Option<String>, GitError> {
        let answer = self.call(&["rev-parse", "--verify", "--quiet", object]).output().await?;
        match answer.code() {
            Some(0) => Ok(Some(answer.stdout().trim().to_owned())),
            Some(1) => Ok(None),
            // an unknown full id is a fatal error even with --quiet
            Some(_) | None => match answer.error() {
                GitError::Other { stderr, .. } if stderr.contains("Needed a single revision") => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Whether `older` is `newer` or reachable from it.
    ///
    /// # Errors
    /// [`GitError::NotFound`] when one of them is unknown here.
    pub async fn is_ancestor(&self, older: &Sha, newer: &Sha) -> Result<bool, GitError> {
        self.call(&["merge-base", "--is-ancestor", older.as_str(), newer.as_str()]).yes().await
    }

    /// The parents of a commit, the first one first; empty for a root.
    ///
    /// # Errors
    /// [`GitError::NotFound`] for an unknown commit.
    pub async fn parents(&self, commit: &Sha) -> Result<Vec<Sha>, GitError> {
        let answer = self.call(&["rev-list", "--no-walk", "--parents", commit.as_str(), "--"]).text().await?;
        answer.split_whitespace().skip(1).map(|word| sha("rev-list", word)).collect()
    }

    /// The first parent; `None` for a root.
    ///
    /// # Errors
    /// [`GitError::NotFound`] for an unknown commit.
    pub async fn first_parent(&self, commit: &Sha) -> Result<Option<Sha>, GitError> {
        Ok(self.parents(commit).await?.into_iter().next())
    }

    /// The blob of a regular file in a commit: equal ids are equal contents. `None` for no such file, for a folder,
    /// a symbolic link and a submodule.
    ///
    /// # Errors
    /// [`GitError::NotFound`] for an unknown commit.
    pub async fn blob_id(&self, commit: &Sha, path: &RepoPath) -> Result<Option<Sha>, GitError> {
        if path.as_str().is_empty() {
            return Ok(None);
        }
        let answer = self.call(&["ls-tree", "-z", commit.as_str(), "--", path.as_str()]).bytes().await?;
        for entry in zero_separated(&answer) {
            let Some((head, name)) = entry.split_once('\t') else { continue };
            let mut words = head.split(' ');
            let (mode, _kind, id) = (words.next(), words.next(), words.next());
            if name == path.as_str() && matches!(mode, Some("100644" | "100755")) {
                return sha("ls-tree", id.unwrap_or_default()).map(Some);
            }
        }
        Ok(None)
    }

    /// The contents of a regular file in a commit.
    ///
    /// # Errors
    /// [`GitError::NotFound`] for an unknown commit, [`GitError::TooLarge`] above the output limit.
    pub async fn show_file(&self, commit: &Sha, path: &RepoPath) -> Result<Option<Vec<u8>>, GitError> {
        match self.blob_id(commit, path).await? {
            Some(blob) => self.call(&["cat-file", "blob", blob.as_str()]).bytes().await.map(Some),
            None => Ok(None),
        }
    }

    /// The paths of all files at or below `folder` in a commit, sorted as git sorts; empty for no such folder.
    ///
    /// # Errors
    /// [`GitError::NotFound`] for an unknown commit.
    pub async fn list_files(&self, commit: &Sha, folder: &RepoPath) -> Result<Vec<String>, GitError> {
        let call = self.call(&["ls-tree", "-r", "-z", "--name-only", commit.as_str()]);
        let call = if folder.as_str().is_empty() { call } else { call.args(["--", folder.as_str()]) };
        Ok(zero_separated(&call.bytes().await?))
    }

    /// The paths in which two commits differ; a rename is two paths.
    ///
    /// # Errors
    /// [`GitError::NotFound`] for an unknown commit.
    pub async fn diff_names(&self, from: &Sha, to: &Sha) -> Result<Vec<String>, GitError> {
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-only", from.as_str(), to.as_str()];
        Ok(zero_separated(&self.call(&args).bytes().await?))
    }

    /// Where two histories parted; nothing when they have no commit in common.
    ///
    /// # Errors
    /// [`GitError::NotFound`] for an unknown commit.
    pub async fn merge_base(&self, one: &Sha, other: &Sha) -> Result<Option<Sha>, GitError> {
        let answer = self.call(&["merge-base", one.as_str(), other.as_str()]).output().await?;
        match answer.code() {
            Some(0) => sha("merge-base", answer.stdout().trim()).map(Some),
            Some(1) => Ok(None),
            Some(_) | None => Err(answer.error()),
        }
    }

    /// Commits that are in `head` and not in `base`, newest first, with their subject lines.
    ///
    /// # Errors
    /// [`GitError::NotFound`] for an unknown commit.
    pub async fn log_subjects(
        &self,
        base: &Sha,
        head: &Sha,
        limit: usize,
    ) -> Result<Vec<(Sha, String)>, GitError> {
        let (range, count) = (format!("{base}..{head}"), format!("--max-count={limit}"));
        let answer = self.call(&["log", "--format=%H %s", &count, &range, "--"]).text().await?;
        answer
            .lines()
            .map(|line| {
                let (id, subject) = line.split_once(' ').unwrap_or((line, ""));
                Ok((sha("log", id)?, subject.to_owned()))
            })
            .collect()
    }
}

/// All branches, and no tags: a tag in the project must not fail a fetch.
const FETCH: &[&str] = &[
    "fetch",
    "--quiet",
    "--prune",
    "--no-tags",
    "--no-recurse-submodules",
    "--no-write-fetch-head",
    "origin",
];

pub(super) fn sha(what: &str, text: &str) -> Result<Sha, GitError> {
    Sha::parse(text).map_err(|_| GitError::unreadable(what, text))
}

//! The core's clone in the model: what git would answer of the same commits.

use std::path::PathBuf;

use orch_core::git::{
    Branch, GitError, GitFuture, PushOutcome, RebaseOutcome, RepoPath, Repository, Sha, TargetBranch,
    TaskBranch, TreeId, Worktree,
};

use super::{Outside, World, name_of, sha};

fn lock_busy(what: &str) -> GitError {
    GitError::LockBusy { detail: format!("{what}: the model says so") }
}

impl World {
    /// One call of the clone that only looks.
    fn looks<'a, T: Send + 'a>(
        &'a self,
        what: &'static str,
        look: impl FnOnce(&mut Outside) -> T + Send + 'a,
    ) -> GitFuture<'a, T> {
        Box::pin(async move {
            if self.fails("git", what).await { Err(lock_busy(what)) } else { Ok(look(&mut self.outside())) }
        })
    }

    /// One that changes something: it may fail before, and nobody may hear of it after.
    fn changes<'a, T: Send + 'a>(
        &'a self,
        what: &'static str,
        change: impl FnOnce(&mut Outside) -> T + Send + 'a,
    ) -> GitFuture<'a, T> {
        Box::pin(async move {
            if self.fails("git", what).await {
                return Err(lock_busy(what));
            }
            let answer = change(&mut self.outside());
            if self.fails("git did", what).await { Err(lock_busy(what)) } else { Ok(answer) }
        })
    }

    pub(super) async fn fails(&self, at: &'static str, what: &str) -> bool {
        self.schedule.fails(at, what).await
    }

    fn file(&self, commit: &Sha, path: &RepoPath) -> Option<String> {
        self.outside().commits.get(commit.as_str())?.tree.get(path.as_str()).cloned()
    }
}

impl Repository for World {
    fn target(&self) -> &TargetBranch {
        &self.target
    }

    fn fetch<'a>(&'a self) -> GitFuture<'a, ()> {
        self.changes("fetch", |outside| outside.fetched = Some(outside.target.clone()))
    }

    fn clear_stale_locks<'a>(&'a self, _before_ms: i64) -> GitFuture<'a, usize> {
        Box::pin(async { Ok(0) })
    }

    fn target_head<'a>(&'a self) -> GitFuture<'a, Option<Sha>> {
        Box::pin(async { Ok(self.outside().fetched.as_deref().map(sha)) })
    }

    fn branch_head<'a>(&'a self, branch: &'a TaskBranch) -> GitFuture<'a, Option<Sha>> {
        Box::pin(async { Ok(self.outside().local.get(branch.key()).map(|head| sha(head))) })
    }

    fn ls_remote<'a>(&'a self, branch: &'a Branch) -> GitFuture<'a, Option<Sha>> {
        self.looks("ls-remote", move |outside| on_forge(outside, branch))
    }

    fn tree_of<'a>(&'a self, commit: &'a Sha) -> GitFuture<'a, TreeId> {
        Box::pin(async move {
            let name = self.outside().tree_name(commit.as_str());
            Ok(TreeId::parse(&name)?)
        })
    }

    fn is_ancestor<'a>(&'a self, older: &'a Sha, newer: &'a Sha) -> GitFuture<'a, bool> {
        Box::pin(async { Ok(self.outside().is_ancestor(older.as_str(), newer.as_str())) })
    }

    fn first_parent<'a>(&'a self, commit: &'a Sha) -> GitFuture<'a, Option<Sha>> {
        Box::pin(async {
            let outside = self.outside();
            Ok(outside
                .commits
                .get(commit.as_str())
                .and_then(|commit| commit.parents.first())
                .map(|name| sha(name)))
        })
    }

    fn blob_id<'a>(&'a self, commit: &'a Sha, path: &'a RepoPath) -> GitFuture<'a, Option<Sha>> {
        Box::pin(async { Ok(self.file(commit, path).map(|text| sha(&name_of(&text)))) })
    }

    fn show_file<'a>(&'a self, commit: &'a Sha, path: &'a RepoPath) -> GitFuture<'a, Option<Vec<u8>>> {
        Box::pin(async { Ok(self.file(commit, path).map(String::into_bytes)) })
    }

    fn list_files<'a>(&'a self, commit: &'a Sha, folder: &'a RepoPath) -> GitFuture<'a, Vec<String>> {
        Box::pin(async {
            let outside = self.outside();
            let tree = outside.commits.get(commit.as_str()).map(|commit| &commit.tree);
            let inside = |file: &&String| file.starts_with(folder.as_str());
            Ok(tree.map(|tree| tree.keys().filter(inside).cloned().collect()).unwrap_or_default())
        })
    }

    fn diff_names<'a>(&'a self, from: &'a Sha, to: &'a Sha) -> GitFuture<'a, Vec<String>> {
        Box::pin(async {
            let outside = self.outside();
            let tree = |name: &Sha| {
                outside.commits.get(name.as_str()).map(|commit| commit.tree.clone()).unwrap_or_default()
            };
            let (from, to) = (tree(from), tree(to));
            Ok(to
                .iter()
                .filter(|(file, text)| from.get(*file) != Some(text))
                .map(|(file, _)| file.clone())
                .collect())
        })
    }

    fn merge_base<'a>(&'a self, one: &'a Sha, other: &'a Sha) -> GitFuture<'a, Option<Sha>> {
        Box::pin(async { Ok(self.outside().base_of(one.as_str(), other.as_str()).map(|name| sha(&name))) })
    }

    fn push_branch<'a>(
        &'a self,
        branch: &'a TaskBranch,
        commit: &'a Sha,
        expected: Option<&'a Sha>,
    ) -> GitFuture<'a, PushOutcome> {
        self.changes("push", move |outside| {
            let there = outside.branches.get(branch.key()).cloned();
            if there.as_deref() == Some(commit.as_str()) {
                return PushOutcome::UpToDate;
            }
            if there.as_deref() != expected.map(Sha::as_str) {
                return PushOutcome::Stale;
            }
            outside.branches.insert(branch.key().to_owned(), commit.to_string());
            outside.tell(branch.key());
            PushOutcome::Pushed
        })
    }

    fn ensure_worktree<'a>(
        &'a self,
        branch: &'a TaskBranch,
        _quiet_since_ms: i64,
    ) -> GitFuture<'a, Worktree> {
        self.changes("worktree", move |outside| {
            let key = branch.key().to_owned();
            if !outside.local.contains_key(&key) {
                let start = outside.branches.get(&key).cloned().or_else(|| outside.fetched.clone());
                let start = start.unwrap_or_else(|| outside.target.clone());
                outside.local.insert(key.clone(), start);
            }
            Worktree::of_model(PathBuf::from("/model/worktrees").join(key), branch.clone())
        })
    }

    fn remove_worktree<'a>(&'a self, _branch: &'a TaskBranch) -> GitFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn rebase_onto<'a>(
        &'a self,
        worktree: &'a Worktree,
        target_head: &'a Sha,
    ) -> GitFuture<'a, RebaseOutcome> {
        self.changes("rebase", move |outside| {
            let key = worktree.branch().key().to_owned();
            let head = outside.local.get(&key).cloned().unwrap_or_default();
            if outside.is_ancestor(target_head.as_str(), &head) {
                return RebaseOutcome::AlreadyCurrent { head: sha(&head) };
            }
            match outside.carried(&head, target_head.as_str()) {
                Err(files) => RebaseOutcome::Conflict { files },
                Ok(tree) => {
                    let new = outside.commit(vec![target_head.to_string()], tree);
                    outside.local.insert(key, new.clone());
                    RebaseOutcome::Rebased { head: sha(&new) }
                }
            }
        })
    }
}

pub(super) fn on_forge(outside: &Outside, branch: &Branch) -> Option<Sha> {
    match branch {
        Branch::Task(branch) => outside.branches.get(branch.key()).map(|head| sha(head)),
        Branch::Target(_) => Some(sha(&outside.target)),
    }
}

//! Real repositories for tests: a bare origin that stands in for the forge, and a person who commits to it.
//!
//! Responsible for set-up and for plain git calls; no test logic.

use std::path::{Path, PathBuf};

use crate::git::{Branch, Git, Identity, Repo, Sha, TargetBranch, TaskBranch};

pub(crate) fn git() -> Git {
    Git::new("/usr/local/bin:/usr/bin:/bin", Identity { name: "orch".into(), email: "orch@localhost".into() })
}

pub(crate) fn main_branch() -> TargetBranch {
    TargetBranch::parse("main").unwrap()
}

pub(crate) fn task(key: &str) -> TaskBranch {
    TaskBranch::for_key(key).unwrap()
}

/// Runs git and gives its trimmed output; any failure fails the test.
pub(crate) async fn raw(dir: &Path, args: &[&str]) -> String {
    git().call(dir, args).text().await.unwrap_or_else(|error| panic!("git {args:?}: {error}"))
}

/// Writes a file and commits everything.
pub(crate) async fn commit(dir: &Path, file: &str, contents: &str) -> Sha {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, contents).unwrap();
    raw(dir, &["add", "--all"]).await;
    raw(dir, &["commit", "--quiet", "--allow-empty", "-m", &format!("change {file}")]).await;
    Sha::parse(&raw(dir, &["rev-parse", "HEAD"]).await).unwrap()
}

/// A forge's repository with one commit on `main`, and a person's clone of it.
pub(crate) struct Origin {
    pub(crate) root: tempfile::TempDir,
    pub(crate) bare: PathBuf,
    pub(crate) person: PathBuf,
}

impl Origin {
    pub(crate) async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (bare, person) = (root.path().join("origin.git"), root.path().join("person"));
        raw(root.path(), &["init", "--quiet", "--bare", "--template=", bare.to_str().unwrap()]).await;
        raw(root.path(), &["init", "--quiet", "--template=", person.to_str().unwrap()]).await;
        raw(&person, &["remote", "add", "origin", bare.to_str().unwrap()]).await;
        commit(&person, "README", "first\n").await;
        raw(&person, &["push", "--quiet", "origin", "main"]).await;
        Self { root, bare, person }
    }

    /// Moves `main` of the origin, as a merge by somebody else would.
    pub(crate) async fn advance_main(&self, file: &str, contents: &str) -> Sha {
        raw(&self.person, &["checkout", "--quiet", "main"]).await;
        let head = commit(&self.person, file, contents).await;
        raw(&self.person, &["push", "--quiet", "origin", "main"]).await;
        head
    }

    /// Puts another's commit onto a branch of the origin.
    pub(crate) async fn push_as_person(&self, branch: &TaskBranch, file: &str) -> Sha {
        raw(&self.person, &["fetch", "--quiet", "origin"]).await;
        raw(&self.person, &["checkout", "--quiet", "--detach", &format!("origin/{}", branch.name())]).await;
        let head = commit(&self.person, file, "theirs\n").await;
        raw(&self.person, &["push", "--quiet", "origin", &format!("{head}:{}", branch.full_ref())]).await;
        head
    }

    pub(crate) async fn clone_repo(&self) -> Repo {
        let (dir, worktrees) = (self.root.path().join("clone.git"), self.root.path().join("worktrees"));
        Repo::ensure_clone(git(), self.bare.to_str().unwrap(), &dir, &worktrees, main_branch()).await.unwrap()
    }

    pub(crate) async fn head_of(&self, branch: &TaskBranch) -> Option<Sha> {
        self.clone_repo().await.ls_remote(&Branch::from(branch)).await.unwrap()
    }
}

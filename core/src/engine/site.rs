//! A project's places on this machine: its forge, the core's own clone, its worktrees.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    forge::{
        Forge, ForgeError, SiteForge,
        local::{LocalForge, LocalForgeConfig},
    },
    git::{Git, GitError, NameError, Repo, Repository, Sha, TargetBranch, TaskBranch},
    projects::Project,
};

/// A project with its forge and clone.
#[derive(Debug)]
pub struct Site {
    /// The project.
    pub project: Project,
    /// Its forge.
    pub forge: Arc<dyn SiteForge>,
    /// The core's clone of it.
    pub repo: Arc<dyn Repository>,
    /// Where clean checkouts are made.
    pub checkouts: PathBuf,
}

/// A site that cannot be made, or a name that fits no branch.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The forge.
    #[error("set up the forge of project {project}")]
    Forge {
        /// Which project.
        project: String,
        /// Why.
        source: ForgeError,
    },
    /// The clone.
    #[error("set up the clone of project {project}")]
    Clone {
        /// Which project.
        project: String,
        /// Why.
        source: GitError,
    },
    /// A name.
    #[error("project {project}")]
    Name {
        /// Which project.
        project: String,
        /// Why.
        source: NameError,
    },
    /// A folder.
    #[error("make the folder {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Site {
    /// Makes what is missing below the data directory and opens the rest.
    ///
    /// # Errors
    /// [`SiteError`] naming the project.
    pub async fn open(project: &Project, git: &Git, data_dir: &Path) -> Result<Self, SiteError> {
        let name = project.name.clone();
        let target = TargetBranch::parse(&project.target_branch)
            .map_err(|source| SiteError::Name { project: name.clone(), source })?;
        let config = LocalForgeConfig {
            dir: data_dir.join("forge"),
            name: name.clone(),
            target: target.clone(),
            required_contexts: project.required_contexts.clone(),
        };
        let forge = LocalForge::import(git.clone(), config, &project.source)
            .await
            .map_err(|source| SiteError::Forge { project: name.clone(), source })?;
        let repo = Repo::ensure_clone(
            git.clone(),
            &forge.remote_url(),
            &data_dir.join("repos").join(format!("{name}.git")),
            &data_dir.join("worktrees").join(&name),
            target,
        )
        .await
        .map_err(|source| SiteError::Clone { project: name.clone(), source })?;
        let checkouts = data_dir.join("checkouts");
        std::fs::create_dir_all(&checkouts)
            .map_err(|source| SiteError::Folder { path: checkouts.clone(), source })?;
        Ok(Self { project: project.clone(), forge: Arc::new(forge), repo: Arc::new(repo), checkouts })
    }

    /// The branch of a work item.
    ///
    /// # Errors
    /// [`NameError`] for a key that cannot be a ref.
    pub fn branch(&self, key: &str) -> Result<TaskBranch, NameError> {
        TaskBranch::for_key(key)
    }

    /// The local head of a work item's branch.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn head(&self, key: &str) -> Result<Option<Sha>, GitError> {
        self.repo.branch_head(&self.branch(key)?).await
    }
}

/// Checkouts made in this life; what an earlier life left is removed before the first.
static CHECKOUTS: AtomicU64 = AtomicU64::new(0);

/// A clean checkout that is removed when it goes out of scope.
#[derive(Debug)]
pub struct Checkout {
    path: PathBuf,
}

impl Checkout {
    /// Where it stands.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks `commit` out into a folder of its own below the site's checkouts.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub async fn make(site: &Site, name: &str, commit: &Sha) -> Result<Self, ForgeError> {
        // a name of its own: an owner that lost its lease must not remove its successor's
        let number = CHECKOUTS.fetch_add(1, Ordering::Relaxed);
        let path = site.checkouts.join(format!("{name}-{number}"));
        let checkout = Self { path: path.clone() };
        site.forge.checkout_for_ci(commit, &path).await?;
        Ok(checkout)
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "a checkout could not be removed");
        }
    }
}

//! Making and opening a local forge.
//!
//! Responsible for the first import, the repository's configuration and the hook that guards the target branch.
//! Deliberately not here: anything after that.
//!
//! Invariants: a half import is never found under the final name. After `open` no push moves or deletes the target
//! branch, with or without force, also when the one who pushes has configured other hooks for himself.

use std::path::{Path, PathBuf};

use super::records::{Records, RecordsLock};
use super::{LocalForge, LocalForgeConfig};
use crate::forge::ForgeError;
use crate::git::{Git, TargetBranch, read_if_there, remove_tree, write_atomically};

const HOOK_MODE: u32 = 0o755;
const MAX_NAME_CHARS: usize = 100;

/// Configuration of the repository. It is read by the git of whoever pushes, so what matters stands here and not in
/// our own calls.
const CONFIG: &[(&str, &str)] = &[
    // relative to the repository, so that it holds after a move; wins over the pusher's own setting
    ("core.hooksPath", "hooks"),
    ("core.fsync", "committed"),
    ("core.logAllRefUpdates", "true"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("receive.autogc", "false"),
    ("receive.fsckObjects", "true"),
    ("receive.hideRefs", "refs/pull"),
];

impl LocalForge {
    /// Opens the forge that [`LocalForge::import`] made, and renews its guard.
    ///
    /// # Errors
    /// [`ForgeError::NotFound`] when it was never made; [`ForgeError::Refused`] for an unusable name.
    pub async fn open(git: Git, config: LocalForgeConfig) -> Result<Self, ForgeError> {
        let forge = Self::place(git, config)?;
        if !forge.bare.join("HEAD").exists() {
            return Err(ForgeError::NotFound { what: format!("repository {}", forge.bare.display()) });
        }
        let lock = forge.records.lock().await?;
        forge.guard(&lock).await?;
        if forge.ref_head(&forge.target.full_ref()).await?.is_none() {
            return Err(ForgeError::NotFound {
                what: format!("branch {} in {}", forge.target, forge.bare.display()),
            });
        }
        Ok(forge)
    }

    /// Opens the forge, made at the first call: from a repository (its branches, without those of tasks), or from a
    /// plain folder (its files as the first commit). Later calls do not look at `source`.
    ///
    /// # Errors
    /// [`ForgeError::NotFound`] when the source is missing or has no target branch; any failure of git.
    pub async fn import(git: Git, config: LocalForgeConfig, source: &Path) -> Result<Self, ForgeError> {
        let forge = Self::place(git, config.clone())?;
        let lock = forge.records.lock().await?;
        if !forge.bare.join("HEAD").exists() {
            forge.make(source).await?;
        }
        drop(lock);
        Self::open(forge.git, config).await
    }

    fn place(git: Git, config: LocalForgeConfig) -> Result<Self, ForgeError> {
        let LocalForgeConfig { dir, name, target, required_contexts } = config;
        let fits = name.len() <= MAX_NAME_CHARS
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !fits {
            return Err(ForgeError::Refused { reason: format!("{name:?} is no name for a forge") });
        }
        std::fs::create_dir_all(&dir).map_err(ForgeError::io(&dir))?;
        let dir = dir.canonicalize().map_err(ForgeError::io(&dir))?;
        let records = Records::open(dir.join(format!("{name}.forge")))?;
        Ok(Self { git, bare: dir.join(format!("{name}.git")), records, target, required_contexts })
    }

    async fn make(&self, source: &Path) -> Result<(), ForgeError> {
        let source = source.canonicalize().map_err(|error| ForgeError::NotFound {
            what: format!("source {} ({error})", source.display()),
        })?;
        let beside = beside(&self.bare);
        remove_tree(&beside).map_err(ForgeError::io(&beside))?;
        std::fs::create_dir(&beside).map_err(ForgeError::io(&beside))?;
        let init = ["init", "--quiet", "--bare", "--template=", "--object-format=sha1", "--initial-branch"];
        self.git.call(&beside, &init).args([self.target.name()]).done().await?;
        if is_repository(&source) {
            let fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--"];
            let branches = ["+refs/heads/*:refs/heads/*", "^refs/heads/orch/*"];
            self.git.call(&beside, &fetch).path_arg(&source).args(branches).network().done().await?;
        } else {
            self.commit_folder(&source, &beside).await?;
        }
        let target = ["rev-parse", "--verify", "--quiet", &self.target.full_ref()];
        if self.git.call(&beside, &target).output().await?.code() != Some(0) {
            let what = format!("branch {} in {}", self.target, source.display());
            return Err(ForgeError::NotFound { what });
        }
        std::fs::rename(&beside, &self.bare).map_err(ForgeError::io(&self.bare))
    }

    /// The files of a folder as the first commit; what its ignore files name stays out.
    async fn commit_folder(&self, source: &Path, bare: &Path) -> Result<(), ForgeError> {
        let index = bare.join("import-index");
        let call = |args: &[&str]| {
            let call = self.git.call(source, args).tree();
            call.env("GIT_DIR", bare).env("GIT_WORK_TREE", source).env("GIT_INDEX_FILE", &index)
        };
        call(&["add", "--all", "."]).done().await?;
        let tree = call(&["write-tree"]).text().await?;
        let commit = call(&["commit-tree", &tree, "-m", "Import"]).text().await?;
        call(&["update-ref", &self.target.full_ref(), &commit]).done().await?;
        remove_tree(&index).map_err(ForgeError::io(&index))
    }

    async fn guard(&self, _lock: &RecordsLock) -> Result<(), ForgeError> {
        let listed = self.call(&["config", "--local", "--list"]).text().await?;
        for (key, value) in CONFIG {
            // git lists names in lower case
            let line = format!("{}={value}", key.to_lowercase());
            if !listed.lines().any(|known| known == line) {
                self.call(&["config", "--local", "--replace-all", key, value]).done().await?;
            }
        }
        let hooks = self.bare.join("hooks");
        std::fs::create_dir_all(&hooks).map_err(ForgeError::io(&hooks))?;
        let path = hooks.join("pre-receive");
        let wanted = hook(&self.target).into_bytes();
        if read_if_there(&path).map_err(ForgeError::io(&path))?.as_deref() != Some(&wanted) {
            write_atomically(&path, &wanted, HOOK_MODE).map_err(ForgeError::io(&path))?;
        }
        Ok(())
    }
}

fn beside(bare: &Path) -> PathBuf {
    let mut path = bare.as_os_str().to_owned();
    path.push(".new");
    PathBuf::from(path)
}

fn is_repository(source: &Path) -> bool {
    source.join(".git").exists() || (source.join("HEAD").exists() && source.join("objects").is_dir())
}

/// The hook sees every ref of a push, deletions too, before anything is changed. The name needs no quoting: a target
/// branch has no character that the shell knows.
fn hook(target: &TargetBranch) -> String {
    format!(
        "#!/bin/sh\n\
         # Written by orch at each start: the target branch changes by merging a pull request.\n\
         while read -r old new ref; do\n\
         \tif [ \"$ref\" = '{full}' ]; then\n\
         \t\techo \"orch: {name} is changed by merging a pull request only; push a branch orch/<KEY>\" >&2\n\
         \t\texit 1\n\
         \tfi\n\
         done\n\
         exit 0\n",
        full = target.full_ref(),
        name = target.name(),
    )
}

//! The sample on disk: where its parts are, and its set-up in a data directory.
//!
//! It runs `sample/setup` and knows the layout which that makes; it does not know what the scripted
//! agents do. The Python environment is shared by all tests (under `target/`), since making one takes
//! seconds and a package index.

use crate::process::{self, Said};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time that set-up may take, in seconds: it may have to fetch two Python packages.
const SETUP_PATIENCE_S: u64 = 600;
/// Longest time that one git call may take, in seconds.
const GIT_PATIENCE_S: u64 = 60;

/// Root of the source tree that these tests were built from.
#[must_use]
pub fn source_tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_path_buf()
}

/// Folder with the sample's set-up, project, agents and operations.
#[must_use]
pub fn home() -> PathBuf {
    source_tree().join("sample")
}

/// The Python environment that tests share, beside the build's output.
///
/// # Errors
/// When this program's own place cannot be told.
pub fn shared_venv() -> Result<PathBuf> {
    Ok(crate::binaries::profile_folder()?
        .parent()
        .context("the build folder has no parent")?
        .join("sample-venv"))
}

/// A data directory with the sample set up.
#[derive(Debug, Clone)]
pub struct Sample {
    data: PathBuf,
    venv: PathBuf,
}

impl Sample {
    /// Set up the sample in `data` with the shared Python environment; `agents` replaces the folder of
    /// scripted agents.
    ///
    /// # Errors
    /// When set-up fails: its own message.
    pub fn set_up(data: &Path, agents: Option<&Path>) -> Result<Self> {
        Self::set_up_with(data, &shared_venv()?, agents)
    }

    /// The same with a Python environment of the caller's choice.
    ///
    /// # Errors
    /// When set-up fails: its own message.
    pub fn set_up_with(data: &Path, venv: &Path, agents: Option<&Path>) -> Result<Self> {
        let mut setup = process::bare_program(home().join("setup"));
        setup.arg(data).arg("--venv").arg(venv);
        if let Some(agents) = agents {
            setup.arg("--agents").arg(agents);
        }
        let said = process::run(&mut setup, Duration::from_secs(SETUP_PATIENCE_S))?;
        if !said.status.success() {
            bail!("{}", said.all());
        }
        Ok(Self { data: data.to_path_buf(), venv: venv.to_path_buf() })
    }

    /// Interpreter with pytest and coverage.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.venv.join("bin/python")
    }

    /// The source repository.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.data.join("sample/source")
    }

    /// Staging environments of a project.
    #[must_use]
    pub fn staging(&self, project: &str) -> PathBuf {
        self.data.join("sample/staging").join(project)
    }

    /// Deployment of a project.
    #[must_use]
    pub fn deployed(&self, project: &str) -> PathBuf {
        self.data.join("sample/deployed").join(project)
    }

    /// Image of a project, and the record of its builds.
    #[must_use]
    pub fn image(&self, project: &str) -> PathBuf {
        self.data.join("sample/image").join(project)
    }

    /// The local forge's bare repository of a project.
    #[must_use]
    pub fn bare(&self, project: &str) -> PathBuf {
        self.data.join("forge").join(format!("{project}.git"))
    }

    /// Revisions in the order in which they went live, one for each switch.
    ///
    /// # Errors
    /// When the log is there and cannot be read.
    pub fn deployments(&self, project: &str) -> Result<Vec<String>> {
        match std::fs::read_to_string(self.deployed(project).join("deployments.log")) {
            Ok(text) => {
                Ok(text.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).context("cannot read deployments.log"),
        }
    }

    /// Merge commits on the target branch of a project's forge, oldest first: (sha, subject).
    ///
    /// # Errors
    /// When git cannot read the bare repository.
    pub fn merges(&self, project: &str) -> Result<Vec<(String, String)>> {
        let text = git(
            &self.bare(project),
            &["log", "--first-parent", "--merges", "--reverse", "--format=%H %s%n", "main"],
        )?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(sha, subject)| (sha.to_owned(), subject.to_owned()))
            .collect())
    }
}

/// Run git in a folder; its standard output, trimmed.
///
/// # Errors
/// When git fails: its standard error.
pub fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let said = try_git(folder, arguments)?;
    if !said.status.success() {
        bail!("git {} in {}: {}", arguments.join(" "), folder.display(), said.err.trim());
    }
    Ok(said.out.trim().to_owned())
}

/// Run git in a folder, whatever it answers.
///
/// # Errors
/// When git cannot be started or does not end.
pub fn try_git(folder: &Path, arguments: &[&str]) -> Result<Said> {
    let mut command = process::bare_program("git");
    command.args([
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@sample.invalid",
        "-c",
        "protocol.file.allow=always",
    ]);
    process::run(command.args(arguments).current_dir(folder), Duration::from_secs(GIT_PATIENCE_S))
}

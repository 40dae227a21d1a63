//! The core's life: put together, recover, work, end.
//!
//! The order is the safety: lock, migrate, answer `/healthz`, recover, and only then actors. This
//! module wires and waits; every decision stands elsewhere.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    actors::{self, Stage},
    clock::Clock,
    config::{CoreConfig, ShutdownAgents},
    domain::ids::BootId,
    engine::{Engine, Life, Site, SiteError, identity},
    git::Git,
    projects::Projects,
    recovery::{self, RecoveryError},
    runs::Runs,
    store::{FileLock, Identity, LockRefused, Store, StoreError},
};

/// Variables of our own environment that children are given. Everything else stays with us:
/// tokens, settings, the session of whoever started us.
pub const ENVIRONMENT_ALLOWED: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SHELL"];

/// Variables of our own environment that Claude Code is given beside these: who pays, by which way it reaches the
/// service, where its sessions are. Nobody else gets them.
pub const CLAUDE_ENVIRONMENT: [&str; 13] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CONFIG_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "IS_SANDBOX",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
];

/// How long the end of supervised runs is waited for when agents are stopped, beyond the grace.
const STOP_LADDER_MS: i64 = 13_000;

/// Why the core does not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A folder of the data directory.
    #[error("make {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Who we are could not be told.
    #[error("tell this process apart: {0}")]
    Identity(String),
    /// Another core, or an unfit file system.
    #[error(transparent)]
    Lock(#[from] LockRefused),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A project's repository.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The last life.
    #[error("end the last life")]
    Recovery(#[from] RecoveryError),
}

/// What a core is made of.
#[derive(Debug)]
pub struct Parts {
    /// Settings.
    pub config: CoreConfig,
    /// Projects, checked against the settings.
    pub projects: Projects,
    /// Our environment, cut to [`ENVIRONMENT_ALLOWED`].
    pub base_env: BTreeMap<String, String>,
    /// Our environment, cut to [`CLAUDE_ENVIRONMENT`].
    pub claude_env: BTreeMap<String, String>,
    /// The binary that understands `supervise`.
    pub self_exe: PathBuf,
}

/// Takes the lock on the database and opens it.
///
/// # Errors
/// [`StartError`]; a second core is refused with the holder's name.
pub fn open_store(config: &CoreConfig, host: &str) -> Result<(FileLock, Store), StartError> {
    make_private(&config.data_dir)?;
    keep_private(&config.data_dir)?;
    if let Some(folder) = config.db_path.parent() {
        make_private(folder)?;
    }
    let identity = own_identity()?;
    let lock = FileLock::take(&config.db_path, &identity, host)?;
    let store = Store::open(&config.db_path, identity)?;
    Ok((lock, store))
}

/// Who this process is, with a boot id that no other life has.
///
/// # Errors
/// [`StartError::Identity`].
pub fn own_identity() -> Result<Identity, StartError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Identity(error.to_string()))?;
    let boot_id = BootId(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
    let me = proc_identity::read_stat(
        Path::new(proc_identity::PROC_ROOT),
        rustix::process::getpid().as_raw_nonzero().get(),
    )
    .map_err(|error| StartError::Identity(error.to_string()))?;
    Ok(Identity { boot_id, pid: me.pid, start_ticks: me.start_ticks })
}

/// A folder that only this user can look into: it holds tokens, logs and worktrees.
fn make_private(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StartError::Folder { path: path.to_owned(), source })
}

/// The same for the data directory when somebody else made it. Never for a folder that a setting
/// merely points into.
fn keep_private(path: &Path) -> Result<(), StartError> {
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(path, private)
        .map_err(|source| StartError::Folder { path: path.to_owned(), source })
}

/// Opens forges and clones and puts the engine together. Nothing acts yet.
///
/// # Errors
/// [`StartError`].
pub async fn assemble(parts: Parts, store: Store) -> Result<Arc<Engine>, StartError> {
    let Parts { config, projects, base_env, claude_env, self_exe } = parts;
    let clock = Clock::System;
    let search_path =
        base_env.get("PATH").cloned().unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let git = Git::new(search_path, identity());
    let mut sites = Vec::new();
    for project in projects.iter() {
        sites.push(Site::open(project, &git, &config.data_dir).await?);
    }
    let runs_dir = config.data_dir.join("runs");
    make_private(&runs_dir)?;
    let runs =
        Runs::new(store.clone(), clock.clone(), config.processes.clone(), runs_dir, self_exe, base_env)
            .with_claude_env(claude_env);
    Ok(Arc::new(Engine::new(config, projects, store, clock, sites, Arc::new(runs))))
}

/// Ends the last life and starts the actors.
///
/// # Errors
/// [`StartError`]; then nothing acts.
pub async fn bring_up(engine: &Arc<Engine>) -> Result<Stage, StartError> {
    let survivors = recovery::recover(engine).await?;
    let stage =
        Stage { engine: Arc::clone(engine), stop: CancellationToken::new(), work: TaskTracker::new() };
    recovery::take_up(&stage, survivors);
    for kept in engine.store.kept_commands().await? {
        let engine = Arc::clone(engine);
        stage.work.spawn(async move { engine.resume(kept).await });
    }
    engine.set_life(Life::Ready);
    actors::start(&stage);
    tracing::info!(
        boot_id = %engine.store.identity().boot_id, projects = engine.sites.len(), "the core is ready"
    );
    Ok(stage)
}

/// Ends this life: no new work, gates stopped, agents left to their supervisors or stopped, what
/// is being written is written, the database closed.
pub async fn shut_down(stage: Stage) {
    let engine = &stage.engine;
    engine.set_life(Life::Stopping);
    stage.stop.cancel();
    stage.work.close();
    let grace_ms = engine.config.shutdown.grace_ms;
    let patience_ms = match engine.config.shutdown.agents {
        ShutdownAgents::Keep => {
            let stopped = engine.runs.stop_gates();
            tracing::info!(stopped, "stopping; agents go on under their supervisors");
            grace_ms
        }
        ShutdownAgents::Stop => {
            let stopped = engine.runs.stop_all();
            tracing::info!(stopped, "stopping, agents too");
            grace_ms.max(STOP_LADDER_MS)
        }
    };
    tokio::select! {
        () = stage.work.wait() => {}
        () = engine.clock.sleep_ms(patience_ms) => {
            tracing::warn!(tasks = stage.work.len(), "the grace is over; what is left is settled at the next start");
        }
    }
    engine.store.close().await;
}

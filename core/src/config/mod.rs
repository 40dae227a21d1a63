//! Settings of orch-core, typed.
//!
//! Responsible for the environment as one struct and for the rules across keys; what concerns a
//! single project stands in `projects`. Reads no environment itself ([`Strings`] comes in), opens
//! nothing but the files of secrets, creates nothing.
//!
//! Invariant: a [`CoreConfig`] that exists satisfies every bound and every rule below.

mod budget;
mod keys;
mod scope;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use orch_settings::{ExposeSecret, Loaded, Problem, Problems, Reader, SecretString, Strings};
use orch_telemetry::{LogConfig, LogKeys};

use crate::domain::budget::{Budgets, Cap};
pub use budget::{CEILING_KEY, EdgeBudget, Limit, agent_problem};
pub use keys::KEYS;
pub use scope::{Scope, ScopeError, Switch};

/// Keys of the log.
const LOG: LogKeys = LogKeys { filter: "ORCH_LOG", format: "ORCH_LOG_FORMAT" };

/// Settings of one core.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// `ORCH_DATA_DIR`, absolute.
    pub data_dir: PathBuf,
    /// `ORCH_DB_PATH`, absolute.
    pub db_path: PathBuf,
    /// `ORCH_PROJECTS_FILE`, absolute.
    pub projects_file: PathBuf,
    /// `ORCH_SELF_REPO`: project that holds this program.
    pub self_repo: Option<String>,
    /// HTTP.
    pub http: HttpConfig,
    /// Log.
    pub log: LogConfig,
    /// Agents and jobs.
    pub jobs: JobsConfig,
    /// Supervised processes.
    pub processes: ProcessConfig,
    /// `ORCH_TRANSITION_LEASE_ENABLED`, `…_REPOS`.
    pub transition_lease: Switch,
    /// Gates.
    pub gates: GatesConfig,
    /// `ORCH_DEPLOY_TIMEOUT_S`, in milliseconds.
    pub deploy_timeout_ms: i64,
    /// Reaper.
    pub reaper: ReaperConfig,
    /// `ORCH_RECONCILE_TICK_S`, in milliseconds.
    pub reconcile_tick_ms: i64,
    /// `ORCH_FINALIZER_TICK_S`, in milliseconds.
    pub finalizer_tick_ms: i64,
    /// Shutdown.
    pub shutdown: ShutdownConfig,
    /// Word to people by Telegram; `None`: by the log alone.
    pub telegram: Option<TelegramConfig>,
}

/// A bot and the chat that it writes into.
#[derive(Debug, Clone)]
pub struct TelegramConfig {
    /// `ORCH_TELEGRAM_BOT_TOKEN`.
    pub token: SecretString,
    /// `ORCH_TELEGRAM_CHAT_ID`.
    pub chat: i64,
    /// `ORCH_TELEGRAM_API_URL`.
    pub api_url: String,
}

/// HTTP.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// `ORCH_BIND`.
    pub bind: SocketAddr,
    /// `ORCH_API_TOKEN`; always there when `bind` is not a loopback address.
    pub api_token: Option<SecretString>,
    /// `ORCH_API_READ_TOKEN`; likewise, and never equal to the other.
    pub api_read_token: Option<SecretString>,
}

/// Agents and jobs.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// `ORCH_MAX_AGENTS`.
    pub max_agents: u32,
    /// `ORCH_MAX_AGENTS_PER_REPO`.
    pub max_agents_per_repo: u32,
    /// `ORCH_AGENT_TIMEOUT_S`, in milliseconds.
    pub agent_timeout_ms: i64,
    /// `ORCH_JOB_ATTEMPTS`, the first one included.
    pub attempts: u32,
    /// `ORCH_JOB_BACKOFF_S`, in milliseconds.
    pub backoff_ms: i64,
    /// `ORCH_MAX_ROLLBACKS` of one task.
    pub max_rollbacks: u32,
    /// `ORCH_TASK_BUDGET_USD`, `ORCH_DAILY_BUDGET_USD`, `ORCH_BUDGET_HARD`.
    pub budgets: Budgets,
}

/// Supervised processes.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// `ORCH_SUBPROCESS_TREE_KILL_ENABLED`.
    pub tree_kill_enabled: bool,
    /// `ORCH_SUBPROCESS_NO_NEW_PRIVS`.
    pub no_new_privs: bool,
    /// `ORCH_RUN_OUTPUT_MAX_BYTES`, each of out and err.
    pub output_max_bytes: u64,
}

/// Gates.
#[derive(Debug, Clone)]
pub struct GatesConfig {
    /// `ORCH_MERGE_GATE_ENABLED`, `…_REPOS`.
    pub merge: Switch,
    /// `ORCH_COVERAGE_GATE_ENABLED`, `…_REPOS`.
    pub coverage: Switch,
    /// `ORCH_SECURITY_GATE_ENABLED`, `…_REPOS`.
    pub security: Switch,
    /// `ORCH_IMAGE_GATE_ENABLED`, `…_REPOS`.
    pub image: Switch,
    /// `ORCH_STAGING_ENABLED`, `…_REPOS`.
    pub staging: Switch,
    /// `ORCH_MERGE_RETEST_TIMEOUT_S`, in milliseconds.
    pub merge_retest_timeout_ms: i64,
    /// `ORCH_MERGE_RETEST_CLASSIFY_ENABLED`.
    pub merge_retest_classify_enabled: bool,
    /// `ORCH_COVERAGE_TIMEOUT_S`, in milliseconds.
    pub coverage_timeout_ms: i64,
    /// `ORCH_COVERAGE_TOLERANCE_PP`, in parts per million of the whole (0.1 points = 1,000).
    pub coverage_tolerance_ppm: i64,
    /// `ORCH_IMAGE_BUILD_TIMEOUT_S`, in milliseconds.
    pub image_build_timeout_ms: i64,
    /// `ORCH_STAGING_TIMEOUT_S`, in milliseconds.
    pub staging_timeout_ms: i64,
    /// `ORCH_CI_WAIT_S`, in milliseconds.
    pub ci_wait_ms: i64,
    /// `ORCH_CI_TIMEOUT_S`, in milliseconds.
    pub ci_timeout_ms: i64,
    /// `ORCH_GATE_INFRA_RETRY_ENABLED`.
    pub infra_retry_enabled: bool,
    /// `ORCH_GATE_INFRA_RETRIES`.
    pub infra_retries: u32,
    /// `ORCH_GATE_INFRA_BACKOFF_S`, in milliseconds.
    pub infra_backoff_ms: i64,
}

/// Reaper.
#[derive(Debug, Clone)]
pub struct ReaperConfig {
    /// `ORCH_REAPER_TICK_S`, in milliseconds.
    pub tick_ms: i64,
    /// `ORCH_REAPER_DEAD_GRACE_S`, in milliseconds.
    pub dead_grace_ms: i64,
    /// `ORCH_REAPER_FINALIZE_GRACE_S`, in milliseconds.
    pub finalize_grace_ms: i64,
    /// `ORCH_REAPER_MAX_RUNNING_S`, in milliseconds.
    pub max_running_ms: i64,
}

/// Shutdown.
#[derive(Debug, Clone)]
pub struct ShutdownConfig {
    /// `ORCH_SHUTDOWN_GRACE_S`, in milliseconds.
    pub grace_ms: i64,
    /// `ORCH_SHUTDOWN_AGENTS`.
    pub agents: ShutdownAgents,
}

/// What becomes of agents when the core ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShutdownAgents {
    /// They go on under their supervisors and are adopted again.
    #[default]
    Keep,
    /// Their trees are ended.
    Stop,
}

impl CoreConfig {
    /// Reads every setting; relative paths are taken from `base` (the working directory).
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(strings: &Strings, base: &Path) -> Result<Loaded<Self>, Problems> {
        let mut reader = Reader::new(&KEYS, strings);
        let config = Self::read(&mut reader, strings, base);
        config.refuse_open_bind(&mut reader);
        config.refuse_small_budget(&mut reader);
        reader.finish(config)
    }

    fn read(reader: &mut Reader<'_>, strings: &Strings, base: &Path) -> Self {
        let data_dir = base.join(reader.path("ORCH_DATA_DIR"));
        let self_repo = reader.optional_text("ORCH_SELF_REPO");
        let switch = |reader: &mut Reader<'_>, enabled: &str, repos: &str| Switch {
            enabled: reader.switch(enabled),
            scope: read_scope(reader, repos, self_repo.as_deref()),
        };
        let transition_lease = switch(reader, "ORCH_TRANSITION_LEASE_ENABLED", "ORCH_TRANSITION_LEASE_REPOS");
        let gates = GatesConfig {
            merge: switch(reader, "ORCH_MERGE_GATE_ENABLED", "ORCH_MERGE_GATE_REPOS"),
            coverage: switch(reader, "ORCH_COVERAGE_GATE_ENABLED", "ORCH_COVERAGE_GATE_REPOS"),
            security: switch(reader, "ORCH_SECURITY_GATE_ENABLED", "ORCH_SECURITY_GATE_REPOS"),
            image: switch(reader, "ORCH_IMAGE_GATE_ENABLED", "ORCH_IMAGE_GATE_REPOS"),
            staging: switch(reader, "ORCH_STAGING_ENABLED", "ORCH_STAGING_REPOS"),
            merge_retest_timeout_ms: reader.duration_ms("ORCH_MERGE_RETEST_TIMEOUT_S"),
            merge_retest_classify_enabled: reader.switch("ORCH_MERGE_RETEST_CLASSIFY_ENABLED"),
            coverage_timeout_ms: reader.duration_ms("ORCH_COVERAGE_TIMEOUT_S"),
            coverage_tolerance_ppm: reader.points_ppm("ORCH_COVERAGE_TOLERANCE_PP"),
            image_build_timeout_ms: reader.duration_ms("ORCH_IMAGE_BUILD_TIMEOUT_S"),
            staging_timeout_ms: reader.duration_ms("ORCH_STAGING_TIMEOUT_S"),
            ci_wait_ms: reader.duration_ms("ORCH_CI_WAIT_S"),
            ci_timeout_ms: reader.duration_ms("ORCH_CI_TIMEOUT_S"),
            infra_retry_enabled: reader.switch("ORCH_GATE_INFRA_RETRY_ENABLED"),
            infra_retries: reader.integer("ORCH_GATE_INFRA_RETRIES"),
            infra_backoff_ms: reader.duration_ms("ORCH_GATE_INFRA_BACKOFF_S"),
        };
        Self {
            db_path: base.join(reader.path_or("ORCH_DB_PATH", &data_dir.join("orch.db"))),
            projects_file: base.join(reader.path_or("ORCH_PROJECTS_FILE", &data_dir.join("projects.toml"))),
            data_dir,
            self_repo,
            http: HttpConfig {
                bind: reader.socket_address("ORCH_BIND"),
                api_token: reader.secret("ORCH_API_TOKEN"),
                api_read_token: reader.secret("ORCH_API_READ_TOKEN"),
            },
            log: LogConfig::read(reader, strings, LOG),
            jobs: JobsConfig {
                max_agents: reader.integer("ORCH_MAX_AGENTS"),
                max_agents_per_repo: reader.integer("ORCH_MAX_AGENTS_PER_REPO"),
                agent_timeout_ms: reader.duration_ms("ORCH_AGENT_TIMEOUT_S"),
                attempts: reader.integer("ORCH_JOB_ATTEMPTS"),
                backoff_ms: reader.duration_ms("ORCH_JOB_BACKOFF_S"),
                max_rollbacks: reader.integer("ORCH_MAX_ROLLBACKS"),
                budgets: Budgets {
                    task_microusd: read_usd(reader, "ORCH_TASK_BUDGET_USD"),
                    day_microusd: read_usd(reader, "ORCH_DAILY_BUDGET_USD"),
                    cap: if reader.switch("ORCH_BUDGET_HARD") { Cap::Hard } else { Cap::Soft },
                },
            },
            processes: ProcessConfig {
                tree_kill_enabled: reader.switch("ORCH_SUBPROCESS_TREE_KILL_ENABLED"),
                no_new_privs: reader.switch("ORCH_SUBPROCESS_NO_NEW_PRIVS"),
                output_max_bytes: reader.integer("ORCH_RUN_OUTPUT_MAX_BYTES"),
            },
            transition_lease,
            telegram: read_telegram(reader),
            gates,
            deploy_timeout_ms: reader.duration_ms("ORCH_DEPLOY_TIMEOUT_S"),
            reaper: ReaperConfig {
                tick_ms: reader.duration_ms("ORCH_REAPER_TICK_S"),
                dead_grace_ms: reader.duration_ms("ORCH_REAPER_DEAD_GRACE_S"),
                finalize_grace_ms: reader.duration_ms("ORCH_REAPER_FINALIZE_GRACE_S"),
                max_running_ms: reader.duration_ms("ORCH_REAPER_MAX_RUNNING_S"),
            },
            reconcile_tick_ms: reader.duration_ms("ORCH_RECONCILE_TICK_S"),
            finalizer_tick_ms: reader.duration_ms("ORCH_FINALIZER_TICK_S"),
            shutdown: ShutdownConfig {
                grace_ms: reader.duration_ms("ORCH_SHUTDOWN_GRACE_S"),
                agents: reader.word(
                    "ORCH_SHUTDOWN_AGENTS",
                    &[("keep", ShutdownAgents::Keep), ("stop", ShutdownAgents::Stop)],
                ),
            },
        }
    }

    /// The limits along the edge that merges and deploys, as the settings give them; what a project
    /// changes of them is `Project::edge_budget`'s.
    #[must_use]
    pub fn edge_budget(&self) -> EdgeBudget {
        let limits = [
            ("ORCH_MERGE_RETEST_TIMEOUT_S", self.gates.merge_retest_timeout_ms),
            ("ORCH_COVERAGE_TIMEOUT_S", self.gates.coverage_timeout_ms),
            ("ORCH_IMAGE_BUILD_TIMEOUT_S", self.gates.image_build_timeout_ms),
            ("ORCH_STAGING_TIMEOUT_S", self.gates.staging_timeout_ms),
            ("ORCH_CI_WAIT_S", self.gates.ci_wait_ms),
            ("ORCH_DEPLOY_TIMEOUT_S", self.deploy_timeout_ms),
            ("ORCH_REAPER_DEAD_GRACE_S", self.reaper.dead_grace_ms),
            ("ORCH_REAPER_FINALIZE_GRACE_S", self.reaper.finalize_grace_ms),
        ];
        EdgeBudget { limits: limits.into_iter().map(|(key, ms)| Limit { key: key.to_owned(), ms }).collect() }
    }

    fn refuse_open_bind(&self, reader: &mut Reader<'_>) {
        const TOKENS: [&str; 2] = ["ORCH_API_TOKEN", "ORCH_API_READ_TOKEN"];
        if let (Some(act), Some(read)) = (&self.http.api_token, &self.http.api_read_token)
            && act.expose_secret() == read.expose_secret()
        {
            let reason = "are equal: whoever may read could act";
            reader.refuse(Problem::of(TOKENS.join(" + "), reason));
        }
        if self.http.bind.ip().is_loopback() || !reader.sound(&["ORCH_BIND"]) {
            return;
        }
        let given = [&self.http.api_token, &self.http.api_read_token];
        for (name, token) in TOKENS.into_iter().zip(given) {
            if token.is_none() && reader.sound(&[name]) {
                let reason = format!("must be set: ORCH_BIND={} is not a loopback address", self.http.bind);
                reader.refuse(Problem::of(name, reason));
            }
        }
    }

    fn refuse_small_budget(&self, reader: &mut Reader<'_>) {
        let ceiling_ms = self.reaper.max_running_ms;
        let edge = self.edge_budget();
        let agent = Limit { key: "ORCH_AGENT_TIMEOUT_S".to_owned(), ms: self.jobs.agent_timeout_ms };
        // both are judged before either is noted: they share the ceiling's key
        let edge_keys: Vec<&str> =
            edge.limits.iter().map(|limit| limit.key.as_str()).chain([CEILING_KEY]).collect();
        let too_small = [
            reader.sound(&edge_keys).then(|| edge.problem(ceiling_ms)).flatten(),
            reader.sound(&[&agent.key, CEILING_KEY]).then(|| agent_problem(&agent, ceiling_ms)).flatten(),
        ];
        for problem in too_small.into_iter().flatten() {
            reader.refuse(problem);
        }
        if reader.sound(&["ORCH_CI_WAIT_S", "ORCH_CI_TIMEOUT_S"])
            && self.gates.ci_wait_ms < self.gates.ci_timeout_ms
        {
            let reason = format!(
                "smaller than ORCH_CI_TIMEOUT_S={}: a slow CI run would always lose its merge slot",
                budget::seconds(self.gates.ci_timeout_ms)
            );
            reader.refuse(Problem::with_value(
                "ORCH_CI_WAIT_S",
                budget::seconds(self.gates.ci_wait_ms),
                reason,
            ));
        }
    }
}

/// Millionths of a US dollar; a cent at least.
fn read_usd(reader: &mut Reader<'_>, name: &str) -> Option<i64> {
    reader.optional_parsed(name, |text| match orch_settings::decimal::parse(text, 1_000_000) {
        Ok(microusd) if (10_000..=1_000_000_000_000).contains(&microusd) => Ok(microusd),
        Ok(_) => Err("allowed: US dollars, 0.01 to 1000000".to_owned()),
        Err(error) => Err(format!("{error}; allowed: US dollars, 0.01 to 1000000")),
    })
}

fn read_telegram(reader: &mut Reader<'_>) -> Option<TelegramConfig> {
    const TOKEN: &str = "ORCH_TELEGRAM_BOT_TOKEN";
    const CHAT: &str = "ORCH_TELEGRAM_CHAT_ID";
    let token = reader.secret(TOKEN);
    let chat = reader.optional_parsed(CHAT, |text| {
        text.parse::<i64>().map_err(|_| "is not the number of a chat".to_owned())
    });
    let api_url = reader.http_address("ORCH_TELEGRAM_API_URL");
    match (token, chat) {
        (Some(token), Some(chat)) => Some(TelegramConfig { token, chat, api_url }),
        (None, None) => None,
        (given, _) => {
            let (unset, set) = if given.is_some() { (CHAT, TOKEN) } else { (TOKEN, CHAT) };
            if reader.sound(&[unset]) {
                reader.refuse(Problem::of(unset, format!("must be set: {set} is")));
            }
            None
        }
    }
}

fn read_scope(reader: &mut Reader<'_>, name: &str, self_repo: Option<&str>) -> Scope {
    let items = reader.list(name);
    if !reader.sound(&[name]) {
        return Scope::All;
    }
    let shown = items.join(",");
    Scope::from_items(items, self_repo).unwrap_or_else(|error| {
        reader.refuse(Problem::with_value(name, shown, error.to_string()));
        Scope::All
    })
}

#[cfg(test)]
mod tests;

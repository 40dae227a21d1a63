//! Projects: which repositories the core serves, with their agents, gates and commands.
//!
//! Responsible for `projects.toml` as typed values and for the rules between it and the settings.
//! Reads one file, starts nothing, and does not look whether a path or program exists (`doctor`
//! and the first run do). Commands are arrays of words that are handed to the system as they are:
//! no shell takes part unless the words name one.
//!
//! Invariant: a [`Projects`] that exists is complete: every role has its agent, names and key
//! prefixes are unique, and commands that only work together stand together.

mod parse;
mod walk;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use orch_settings::{Problem, Problems, nearest};

pub use crate::domain::job::Role;

use crate::agents::claude::command::ClaudeSettings;
use crate::config::{CoreConfig, EdgeBudget, Limit, Scope, agent_problem};

/// Context under which the local forge posts the outcome of a project's `ci_cmd`.
pub const LOCAL_CI_CONTEXT: &str = "ci";

/// Largest `projects.toml`, in bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// All projects, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projects(Vec<Project>);

/// One project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Name: the repository's in switches, API and file names.
    pub name: String,
    /// Letters before the dash of its work items' keys.
    pub key_prefix: String,
    /// Where branches, pull requests and statuses live.
    pub forge: ForgeKind,
    /// Repository that the local forge is made from; absolute.
    pub source: PathBuf,
    /// Branch that is merged to.
    pub target_branch: String,
    /// How it is merged.
    pub merge_method: MergeMethod,
    /// Statuses that a head must have; empty means that no CI is asked.
    pub required_contexts: Vec<String>,
    /// CI of the local forge.
    pub ci_cmd: Option<Argv>,
    /// Re-test of the merge gate.
    pub merge_retest_cmd: Option<Argv>,
    /// Report of its tests in JUnit's XML, which it writes, relative to the worktree.
    pub merge_retest_junit: Option<PathBuf>,
    /// Coverage gate.
    pub coverage: Option<CoverageCommand>,
    /// Image of a candidate.
    pub image: Option<ImageCommands>,
    /// Staging suite.
    pub staging_cmd: Option<Argv>,
    /// Deploy.
    pub deploy: Option<DeployCommands>,
    /// Who may approve; empty means anyone with the operator's token.
    pub approvers: Vec<String>,
    /// Limits that differ from the settings.
    pub limits: ProjectLimits,
    /// Agents by role.
    pub agents: Agents,
}

/// Kind of forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeKind {
    /// Bare repository and records on this machine.
    Local,
}

/// How a candidate gets onto the target branch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MergeMethod {
    /// A merge commit.
    #[default]
    MergeCommit,
    /// The target moves to the candidate, or not at all.
    FastForwardOnly,
}

/// Words of a command: a program and its arguments, taken as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv {
    program: String,
    arguments: Vec<String>,
}

/// Coverage measurement of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageCommand {
    /// What measures.
    pub cmd: Argv,
    /// File that it writes, relative to the worktree.
    pub report: PathBuf,
    /// How that file is read.
    pub format: CoverageFormat,
}

/// Format of a coverage report, by the end of its file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoverageFormat {
    /// `.json`: what `coverage json` of coverage.py writes.
    CoveragePyJson,
    /// `.xml`: Cobertura's.
    CoberturaXml,
    /// `.info` and `.lcov`: lcov's.
    Lcov,
}

/// Image of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCommands {
    /// Builds it from a clean checkout, labelled with `ORCH_REVISION`.
    pub build_cmd: Argv,
    /// Prints the revision that it is labelled with; nothing when there is none.
    pub revision_cmd: Argv,
}

/// Deploy of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployCommands {
    /// Starts the deploy.
    pub cmd: Argv,
    /// Prints the deployed revision and exits 0 when that is healthy.
    pub health_cmd: Argv,
}

/// Limits of one project; absent ones are those of the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProjectLimits {
    /// `merge_retest_timeout_s`, in milliseconds.
    pub merge_retest_ms: Option<i64>,
    /// `coverage_timeout_s`, in milliseconds.
    pub coverage_ms: Option<i64>,
    /// `image_build_timeout_s`, in milliseconds.
    pub image_build_ms: Option<i64>,
    /// `staging_timeout_s`, in milliseconds.
    pub staging_ms: Option<i64>,
    /// `ci_timeout_s`, in milliseconds.
    pub ci_ms: Option<i64>,
    /// `ci_wait_s`, in milliseconds.
    pub ci_wait_ms: Option<i64>,
    /// `deploy_timeout_s`, in milliseconds.
    pub deploy_ms: Option<i64>,
}

/// Limits in effect for one project, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveLimits {
    /// One re-test.
    pub merge_retest_ms: i64,
    /// One coverage run.
    pub coverage_ms: i64,
    /// One build of the image.
    pub image_build_ms: i64,
    /// The staging suite.
    pub staging_ms: i64,
    /// One CI run of the local forge.
    pub ci_ms: i64,
    /// How long a candidate keeps the merge slot for its CI.
    pub ci_wait_ms: i64,
    /// How long a deployed revision may take to be healthy.
    pub deploy_ms: i64,
}

/// The agent of each role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agents {
    analyst: Agent,
    architect: Agent,
    developer: Agent,
    reviewer: Agent,
    tester: Agent,
    deployer: Agent,
}

/// One role's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// What is started.
    pub program: AgentProgram,
    /// `timeout_s`, in milliseconds; absent means `ORCH_AGENT_TIMEOUT_S`.
    pub timeout_ms: Option<i64>,
}

/// What an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentProgram {
    /// `kind = "command"`: any program, started in the task's worktree.
    Command(Argv),
    /// `kind = "claude"`: Claude Code, whose stream is read as it comes.
    Claude(Box<ClaudeAgent>),
}

/// A role that Claude Code works in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaudeAgent {
    /// How it is called.
    pub settings: ClaudeSettings,
    /// `budget_usd`: what one run may cost, in millionths of a US dollar.
    pub budget_microusd: i64,
}

/// Something wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// Line, from 1.
    pub line: usize,
    /// Key, with the project's number or name before it.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

/// Why there are no projects.
#[derive(Debug, thiserror::Error)]
pub enum ProjectsError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is far larger than any such file.
    #[error("{path} is larger than {FILE_MAX_BYTES} bytes")]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// The file is wrong; everything that is, in the order of its lines.
    #[error("{}", show(.path, .problems))]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Never empty.
        problems: Vec<FileProblem>,
    },
}

fn show(path: &Path, problems: &[FileProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{}:{problem}", path.display())).collect();
    lines.join("\n")
}

impl fmt::Display for FileProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.line)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.reason)
    }
}

impl Projects {
    /// Reads and judges the file.
    ///
    /// # Errors
    /// See [`ProjectsError`].
    pub fn load(path: &Path) -> Result<Self, ProjectsError> {
        let read = |source| ProjectsError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(read)?;
        file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(read)?;
        if u64::try_from(text.len()).is_ok_and(|bytes| bytes > FILE_MAX_BYTES) {
            return Err(ProjectsError::TooLarge { path: path.to_owned() });
        }
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, base).map_err(|problems| ProjectsError::Wrong { path: path.to_owned(), problems })
    }

    /// Judges a file's text; relative sources are taken from `base` (the file's directory).
    ///
    /// # Errors
    /// Everything that is wrong, in the order of lines; where the text is no TOML, only that.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Vec<FileProblem>> {
        parse::projects(text, base).map(Self)
    }

    /// Every project.
    pub fn iter(&self) -> impl Iterator<Item = &Project> {
        self.0.iter()
    }

    /// The project of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Project> {
        self.0.iter().find(|project| project.name == name)
    }

    /// The project of a work item's key (`ORCH-114`); absent for a key of no project, or no key.
    #[must_use]
    pub fn by_work_item(&self, key: &str) -> Option<&Project> {
        let (prefix, number) = key.split_once('-')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        self.0.iter().find(|project| is_number && project.key_prefix == prefix)
    }

    /// The rules between projects and settings: names in scopes are projects, and the reaper's
    /// ceiling exceeds what any project sets for itself.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn check(&self, config: &CoreConfig) -> Result<(), Problems> {
        let mut problems = Vec::new();
        if let Some(name) = &config.self_repo {
            problems.extend(self.unknown_name("ORCH_SELF_REPO", name));
        }
        let gates = &config.gates;
        for (key, switch) in [
            ("ORCH_TRANSITION_LEASE_REPOS", &config.transition_lease),
            ("ORCH_MERGE_GATE_REPOS", &gates.merge),
            ("ORCH_COVERAGE_GATE_REPOS", &gates.coverage),
            ("ORCH_SECURITY_GATE_REPOS", &gates.security),
            ("ORCH_IMAGE_GATE_REPOS", &gates.image),
            ("ORCH_STAGING_REPOS", &gates.staging),
        ] {
            // the name that an empty list stands for is judged once, above
            if let Scope::List(names) = &switch.scope {
                problems.extend(names.iter().filter_map(|name| self.unknown_name(key, name)));
            }
        }
        let ceiling_ms = config.reaper.max_running_ms;
        for project in &self.0 {
            problems.extend(project.edge_budget(config).problem(ceiling_ms));
            problems
                .extend(project.agent_limits().iter().filter_map(|limit| agent_problem(limit, ceiling_ms)));
            let limits = project.limits(config);
            if limits.ci_wait_ms < limits.ci_ms {
                let reason =
                    "ci_wait_s is smaller than ci_timeout_s: a slow CI run would always lose its merge slot";
                problems.push(Problem::of(format!("project {}", project.name), reason));
            }
        }
        Problems::some(problems).map_or(Ok(()), Err)
    }

    /// Every limit in effect by the name of its setting, those of single projects included: what
    /// the observation document publishes.
    #[must_use]
    pub fn published_limits(&self, config: &CoreConfig) -> Vec<Limit> {
        let mut limits = config.edge_budget().limits;
        for (key, ms) in [
            ("ORCH_AGENT_TIMEOUT_S", config.jobs.agent_timeout_ms),
            ("ORCH_CI_TIMEOUT_S", config.gates.ci_timeout_ms),
        ] {
            limits.push(Limit { key: key.to_owned(), ms });
        }
        for project in &self.0 {
            for limit in project.edge_budget(config).limits.into_iter().chain(project.agent_limits()) {
                if !limits.contains(&limit) {
                    limits.push(limit);
                }
            }
            if let Some(ms) = project.limits.ci_ms {
                limits.push(Limit { key: format!("ORCH_CI_TIMEOUT_S:{}", project.name), ms });
            }
        }
        limits
    }

    /// The longest that a lease of any project may be held without anything being wrong, in
    /// milliseconds.
    #[must_use]
    pub fn edge_sum_ms(&self, config: &CoreConfig) -> i64 {
        self.0.iter().map(|project| project.edge_budget(config).sum_ms()).max().unwrap_or(0)
    }

    fn unknown_name(&self, key: &str, name: &str) -> Option<Problem> {
        if self.by_name(name).is_some() {
            return None;
        }
        let known: Vec<&str> = self.0.iter().map(|project| project.name.as_str()).collect();
        let reason = match nearest(name, known.iter().copied()) {
            Some(near) => format!("no project is named {name:?}; did you mean {near:?}?"),
            None => format!("no project is named {name:?}; there are: {}", known.join(", ")),
        };
        Some(Problem::of(key, reason))
    }
}

impl Project {
    /// The limits in effect: its own, else those of the settings.
    #[must_use]
    pub fn limits(&self, config: &CoreConfig) -> EffectiveLimits {
        let own = &self.limits;
        EffectiveLimits {
            merge_retest_ms: own.merge_retest_ms.unwrap_or(config.gates.merge_retest_timeout_ms),
            coverage_ms: own.coverage_ms.unwrap_or(config.gates.coverage_timeout_ms),
            image_build_ms: own.image_build_ms.unwrap_or(config.gates.image_build_timeout_ms),
            staging_ms: own.staging_ms.unwrap_or(config.gates.staging_timeout_ms),
            ci_ms: own.ci_ms.unwrap_or(config.gates.ci_timeout_ms),
            ci_wait_ms: own.ci_wait_ms.unwrap_or(config.gates.ci_wait_ms),
            deploy_ms: own.deploy_ms.unwrap_or(config.deploy_timeout_ms),
        }
    }

    /// Limit of one run of a role's agent, in milliseconds.
    #[must_use]
    pub fn agent_timeout_ms(&self, role: Role, config: &CoreConfig) -> i64 {
        self.agents.of(role).timeout_ms.unwrap_or(config.jobs.agent_timeout_ms)
    }

    /// The limits along its edge that merges and deploys; those that it sets itself are named
    /// `KEY:project`.
    #[must_use]
    pub fn edge_budget(&self, config: &CoreConfig) -> EdgeBudget {
        let own = &self.limits;
        let overrides = [
            ("ORCH_MERGE_RETEST_TIMEOUT_S", own.merge_retest_ms),
            ("ORCH_COVERAGE_TIMEOUT_S", own.coverage_ms),
            ("ORCH_IMAGE_BUILD_TIMEOUT_S", own.image_build_ms),
            ("ORCH_STAGING_TIMEOUT_S", own.staging_ms),
            ("ORCH_CI_WAIT_S", own.ci_wait_ms),
            ("ORCH_DEPLOY_TIMEOUT_S", own.deploy_ms),
        ];
        let mut budget = config.edge_budget();
        for limit in &mut budget.limits {
            let own_ms = overrides.iter().find(|(key, _)| *key == limit.key).and_then(|(_, ms)| *ms);
            if let Some(ms) = own_ms {
                *limit = Limit { key: format!("{}:{}", limit.key, self.name), ms };
            }
        }
        budget
    }

    /// The limits that its roles set themselves.
    fn agent_limits(&self) -> Vec<Limit> {
        Role::ALL
            .into_iter()
            .filter_map(|role| {
                let ms = self.agents.of(role).timeout_ms?;
                Some(Limit { key: format!("ORCH_AGENT_TIMEOUT_S:{}.{}", self.name, role.as_str()), ms })
            })
            .collect()
    }
}

impl Agents {
    /// The agent of a role.
    #[must_use]
    pub const fn of(&self, role: Role) -> &Agent {
        match role {
            Role::Analyst => &self.analyst,
            Role::Architect => &self.architect,
            Role::Developer => &self.developer,
            Role::Reviewer => &self.reviewer,
            Role::Tester => &self.tester,
            Role::Deployer => &self.deployer,
        }
    }
}

impl From<MergeMethod> for crate::forge::MergeMethod {
    fn from(method: MergeMethod) -> Self {
        match method {
            MergeMethod::MergeCommit => Self::MergeCommit,
            MergeMethod::FastForwardOnly => Self::FastForwardOnly,
        }
    }
}

impl Argv {
    /// A command of at least one word; absent when there is none, the program is empty, or a word
    /// holds a NUL (no program can be started with one).
    #[must_use]
    pub fn new(words: Vec<String>) -> Option<Self> {
        if words.iter().any(|word| word.contains('\0')) {
            return None;
        }
        let mut words = words.into_iter();
        let program = words.next().filter(|program| !program.is_empty())?;
        Some(Self { program, arguments: words.collect() })
    }

    /// What is started.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// What it is given.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// All words, the program first.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        std::iter::once(self.program.clone()).chain(self.arguments.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests;

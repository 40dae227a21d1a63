//! What may be typed.
//!
//! Data only: the shape of the command line, and the texts of `--help`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed or refused, 2 could not reach the core, 64 wrong use or configuration.
Settings come from the environment (ORCH_…): `orch-core check-config --print-env` shows all of them.
Output has no colours; NO_COLOR is respected by the log of `serve`.";

/// The command line of orch-core.
#[derive(Debug, Parser)]
#[command(
    name = "orch-core",
    version,
    about = "Takes a work item through a gated pipeline, from created to done.",
    after_help = EXIT_CODES,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Print JSON documents instead of tables
    #[arg(long, global = true)]
    pub json: bool,

    /// Address of the core [default: what `serve` wrote to bound-address in the data directory]
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,

    /// Data directory of the core [default: ORCH_DATA_DIR, or ./data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the core until it is told to end
    Serve,
    /// Run one process tree (used by the core itself)
    #[command(hide = true)]
    Supervise {
        /// Run directory
        dir: PathBuf,
    },
    /// Become the program of a run (used by the supervisor itself)
    #[command(hide = true)]
    SuperviseChild {
        /// Run directory
        dir: PathBuf,
    },
    /// Work items
    #[command(subcommand)]
    Task(TaskVerb),
    /// Say why a work item does not move, who acts next, and by when
    Why {
        /// Work item, like ORCH-114
        key: String,
    },
    /// Transition leases
    #[command(subcommand)]
    Lease(LeaseVerb),
    /// Runs of agents, gates and effects
    #[command(subcommand)]
    Run(RunVerb),
    /// Check settings and projects.toml, and tell everything that is wrong
    CheckConfig {
        /// Print every setting with the value in effect; secrets are masked
        #[arg(long)]
        print_env: bool,
    },
    /// Copy the database into a new file, also while the core runs
    Backup {
        /// The file to make
        file: PathBuf,
    },
    /// Put a backup in the database's place; the core must not run
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// Ask the core whether it is ready
    Healthcheck,
    /// Print the version
    Version,
}

/// Verbs about work items.
#[derive(Debug, Subcommand)]
pub enum TaskVerb {
    /// Take a work item in
    Add(AddTask),
    /// List work items
    List {
        /// Only those in this stage
        #[arg(long)]
        stage: Option<String>,
    },
    /// Show a work item with its runs, gates and effects
    Show {
        /// Work item, like ORCH-114
        key: String,
        /// Tell its whole history, one line an event
        #[arg(long)]
        history: bool,
    },
    /// Approve the brief, as it stands now
    Approve {
        /// Work item, like ORCH-114
        key: String,
        /// Who approves [default: USER]
        #[arg(long, value_name = "NAME")]
        who: Option<String>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        /// Revision that was read; refused when the brief is another one by now
        #[arg(long, value_name = "BLOB")]
        revision: Option<String>,
    },
    /// Accept what landed though it is not what was tested: it is deployed
    AcceptLanded {
        /// Work item, like ORCH-114
        key: String,
        /// The merged revision that was looked at
        #[arg(long, value_name = "SHA")]
        revision: String,
        /// Who accepts [default: USER]
        #[arg(long, value_name = "NAME")]
        who: Option<String>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Try again what stands blocked or held
    Retry(Act),
    /// Start the deploy of what is merged again, where it failed or is in doubt
    Redeploy(Act),
    /// Send a work item back, with what must be mended
    Rollback(Act),
    /// Give a work item up
    Cancel(Act),
}

/// A new work item.
#[derive(Debug, Args)]
pub struct AddTask {
    /// Work item, like ORCH-114
    pub key: String,
    /// Project, as projects.toml names it
    #[arg(long, value_name = "NAME")]
    pub project: String,
    /// Title, one line
    #[arg(long, value_name = "TEXT")]
    pub title: String,
    /// Text
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    pub body: Option<String>,
    /// File that holds the text
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// Who asks [default: USER]
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
}

/// Who does something to a work item, and why.
#[derive(Debug, Args)]
pub struct Act {
    /// Work item, like ORCH-114
    pub key: String,
    /// Who [default: USER]
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub why: String,
}

/// Verbs about leases.
#[derive(Debug, Subcommand)]
pub enum LeaseVerb {
    /// List the leases that are held
    List,
    /// Take a lease from whoever holds it
    Release {
        /// Work item, like ORCH-114
        key: String,
        /// Who [default: USER]
        #[arg(long, value_name = "NAME")]
        who: Option<String>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
}

/// Verbs about runs.
#[derive(Debug, Subcommand)]
pub enum RunVerb {
    /// Show a run
    Show {
        /// Number of the run
        id: u64,
    },
    /// Print a run's output
    Log {
        /// Number of the run
        id: u64,
        /// Standard error instead of standard output
        #[arg(long)]
        err: bool,
        /// Only the last bytes
        #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
        tail: Option<u64>,
    },
}

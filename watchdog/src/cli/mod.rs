//! The command line.
//!
//! Responsible for the verbs and their exit codes: 0 clean, 1 failure, 64 usage or settings; `scan`
//! has its own. Writes to what it is given; reads no environment.

mod asks;
mod command;
pub mod explain;
mod history;
mod look;
mod output;
mod paint;
mod possible;
mod runbook;
pub mod scan;
mod scan_json;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use orch_settings::{Loaded, Strings};

pub use self::output::UntilClosed;
use crate::config::WatchdogConfig;
use crate::host;
use crate::sandbox::{Confinement, Writable};
use crate::survey::Survey;

/// Failure.
pub const EXIT_FAILURE: u8 = 1;
/// Wrong usage or settings (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// Sees what is stuck on a host and says so.
#[derive(Debug, Parser)]
#[command(name = "orch-watchdog", disable_version_flag = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Watch, tell, and serve metrics until SIGTERM or Ctrl-C.
    Run,
    /// Say at once what blocks this host; exit code 0 nothing, 1 something, 2 could not look at all of it.
    Scan {
        /// Draw every process of a family.
        #[arg(long)]
        tree: bool,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        /// Matched processes that are fine, too.
        #[arg(long)]
        all: bool,
        /// Look for this instead of the configured patterns; may be given several times.
        #[arg(long = "pattern")]
        patterns: Vec<String>,
        /// Ask no core: judge by the structure of the process tree alone.
        #[arg(long)]
        without_core: bool,
    },
    /// Show every fact and rule behind "orphan" or "not" for one process; exit codes as `scan`.
    Explain {
        /// The process, as seen from here.
        #[arg(value_parser = clap::value_parser!(i32).range(1..), allow_negative_numbers = true)]
        pid: i32,
        /// Ask no core: judge by the structure of the process tree alone.
        #[arg(long)]
        without_core: bool,
    },
    /// Print the alerts, recoveries and commands of late.
    History {
        /// How many at most, latest last.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Do not announce a signal, or one case of it, for a while; recoveries are still told.
    Mute {
        /// A signal, or the id of a case (see `status`).
        what: String,
        /// For how long: 30m, 1.5h, 2d; it ends earlier with recovery.
        duration: String,
        /// Only the case of this id.
        #[arg(long = "entity", value_name = "ID")]
        entity: Option<String>,
    },
    /// End a mute, or take an acknowledgement back.
    Unmute {
        /// A signal, the id of a case, or `all`.
        what: String,
        /// Only the case of this id.
        #[arg(long = "entity", value_name = "ID")]
        entity: Option<String>,
    },
    /// Say that an alert was seen: no reminders, unless it gets worse; its recovery is still told.
    Ack {
        /// The id of a case (see `status`).
        id: String,
    },
    /// Print what fires, what is muted and what was acknowledged.
    Status,
    /// Print the runbook, or its section of a signal.
    Runbook {
        /// A signal, as an alert names it.
        signal: Option<String>,
    },
    /// Send a test message to every configured channel.
    TestAlert,
    /// Check the settings and name everything that is wrong.
    CheckConfig {
        /// Print every setting in effect, secrets masked.
        #[arg(long)]
        print_env: bool,
    },
    /// Ask the running watchdog whether it is well; for container health checks.
    Healthcheck,
    /// Print the version.
    Version,
}

/// Reads the settings; what is wrong goes to `err`, and the exit code comes back.
///
/// # Errors
/// The exit code, after everything wrong was told.
pub fn load(
    strings: &Strings,
    base: &Path,
    host_name: &str,
    err: &mut dyn Write,
) -> Result<Loaded<WatchdogConfig>, ExitCode> {
    match WatchdogConfig::load(strings, base, host_name) {
        Ok(loaded) => Ok(loaded),
        Err(problems) => {
            tell(err, format_args!("orch-watchdog: {problems}"));
            Err(ExitCode::from(EXIT_USAGE))
        }
    }
}

/// The exit code of a verb that failed itself: `scan` and `explain` could not look then, and 1 would say that they found
/// something.
#[must_use]
pub fn failure_code(verb: &Verb) -> u8 {
    match verb {
        Verb::Scan { .. } | Verb::Explain { .. } => scan::ScanEnd::CouldNotLook.exit_code(),
        Verb::Run
        | Verb::History { .. }
        | Verb::Mute { .. }
        | Verb::Unmute { .. }
        | Verb::Ack { .. }
        | Verb::Status
        | Verb::Runbook { .. }
        | Verb::TestAlert
        | Verb::CheckConfig { .. }
        | Verb::Healthcheck
        | Verb::Version => EXIT_FAILURE,
    }
}

/// Where a verb may write files: only what keeps state has a place of its own.
#[must_use]
pub fn writable<'config>(verb: &Verb, config: &'config WatchdogConfig) -> Writable<'config> {
    match verb {
        Verb::Run => Writable::Below(&config.state_dir),
        // without a watchdog that runs, a command changes the state file itself; a missing directory is told
        // and not made
        Verb::Mute { .. } | Verb::Unmute { .. } | Verb::Ack { .. } | Verb::Status => {
            match config.state_dir.is_dir() {
                true => Writable::Below(&config.state_dir),
                false => Writable::Nowhere,
            }
        }
        Verb::Scan { .. }
        | Verb::Explain { .. }
        | Verb::History { .. }
        | Verb::Runbook { .. }
        | Verb::CheckConfig { .. }
        | Verb::TestAlert
        | Verb::Healthcheck
        | Verb::Version => Writable::Nowhere,
    }
}

/// Runs every verb but `run`, which needs a runtime of its own making.
///
/// # Errors
/// When the output cannot be written.
pub async fn execute(
    verb: Verb,
    loaded: &Loaded<WatchdogConfig>,
    confinement: &Confinement,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let config = &loaded.value;
    match verb {
        Verb::Run => Ok(ExitCode::from(EXIT_USAGE)),
        Verb::Scan { tree, json, all, patterns, without_core } => {
            let wish = look::Wish { patterns, without_core };
            look::scan(
                config,
                wish,
                scan::ScanOptions { json, tree, all, color: look::color(config) },
                out,
                err,
            )
            .await
        }
        Verb::Explain { pid, without_core } => {
            let wish = look::Wish { patterns: Vec::new(), without_core };
            look::explain(config, pid, wish, out, err).await
        }
        Verb::History { limit } => history::print(&config.state_dir, limit, out, err),
        Verb::Mute { what, duration, entity } => {
            let words = ["mute".to_owned(), what, duration].into_iter().chain(entity);
            command::run(config, &words.collect::<Vec<_>>(), out, err).await
        }
        Verb::Unmute { what, entity } => {
            let words = ["unmute".to_owned(), what].into_iter().chain(entity);
            command::run(config, &words.collect::<Vec<_>>(), out, err).await
        }
        Verb::Ack { id } => command::run(config, &["ack".to_owned(), id], out, err).await,
        Verb::Status => command::run(config, &["status".to_owned()], out, err).await,
        Verb::Runbook { signal } => runbook::print(signal.as_deref(), out, err),
        Verb::TestAlert => asks::test_alert(config, out, err).await,
        Verb::CheckConfig { print_env } => {
            for warning in &loaded.warnings {
                writeln!(err, "warning: {warning}")?;
            }
            if let Some(remark) = host::remark(&config.proc.root) {
                writeln!(err, "note: {remark}")?;
            }
            let impossible = possible::problems(config);
            for problem in &impossible {
                writeln!(err, "orch-watchdog: {problem}")?;
            }
            match print_env {
                false if !impossible.is_empty() => {}
                true => write!(out, "{}", loaded.print_env())?,
                false => {
                    writeln!(out, "the settings are sound")?;
                    if config.trust.extra() > 0 {
                        let extra = config.trust.extra();
                        writeln!(out, "trusted besides the built-in certificate authorities: {extra}")?;
                    }
                    let confined = confinement.words(writable(&Verb::Run, config));
                    writeln!(out, "run here it would be confined: {confined}")?;
                }
            }
            Ok(if impossible.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) })
        }
        Verb::Healthcheck => asks::healthcheck(config, out, err).await,
        Verb::Version => {
            writeln!(out, "orch-watchdog {}", env!("CARGO_PKG_VERSION"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What `scan` sees of this host now. Asks the core, so it is to be called on a thread of a runtime
/// that may block.
///
/// # Errors
/// Why it could not look.
pub fn survey(config: &WatchdogConfig) -> Result<Survey, String> {
    tokio::runtime::Handle::current().block_on(look::survey(config))
}

/// Tells an error; a closed standard error leaves nobody to tell it to.
pub fn tell(err: &mut dyn Write, what: std::fmt::Arguments<'_>) {
    writeln!(err, "{what}").ok();
}

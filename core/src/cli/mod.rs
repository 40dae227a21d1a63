//! The command line: what may be typed, and the verbs that talk to a running core.
//!
//! Responsible for reading arguments and for the client's side of the API. `serve` and the two
//! hidden supervisor verbs are only named here; `main` carries them out. Reads the environment
//! through [`Strings`] alone, and writes to the writer it is given.
//!
//! Exit codes: 0 done, 1 failed or refused, 2 could not reach the core, 64 wrong use or settings.

mod args;
mod backup;
mod check;
mod client;
mod show;
mod table;
#[cfg(test)]
mod tests;
mod verbs;

use std::{ffi::OsString, io::Write, path::Path};

pub use args::{Cli, Command, LeaseVerb, RunVerb, TaskVerb};
use clap::Parser;
use orch_settings::Strings;

/// Done.
pub const DONE: u8 = 0;
/// Failed or refused.
pub const FAILED: u8 = 1;
/// The core could not be reached.
pub const UNREACHABLE: u8 = 2;
/// Wrong use or settings (EX_USAGE of sysexits.h).
pub const USAGE: u8 = 64;

/// Arguments that are no command: the text to print instead, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// What to print.
    pub text: String,
    /// Whether it belongs on standard error.
    pub is_error: bool,
    /// Exit code.
    pub code: u8,
}

/// Reads arguments, the program's name first.
///
/// # Errors
/// [`Stop`] for help and version (code 0) and for arguments that are wrong (code 64).
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Stop> {
    Cli::try_parse_from(args).and_then(refuse_ignored).map_err(|error| Stop {
        text: error.to_string(),
        is_error: error.use_stderr(),
        code: if error.use_stderr() { USAGE } else { DONE },
    })
}

/// An option that would be ignored is refused: who starts a core beside the one that he means finds
/// out too late.
fn refuse_ignored(cli: Cli) -> Result<Cli, clap::Error> {
    use clap::{CommandFactory, error::ErrorKind};
    let reads_settings = match cli.command {
        Command::Serve
        | Command::Supervise { .. }
        | Command::SuperviseChild { .. }
        | Command::Backup { .. }
        | Command::Restore { .. }
        | Command::CheckConfig { .. } => true,
        Command::Task(_)
        | Command::Why { .. }
        | Command::Lease(_)
        | Command::Run(_)
        | Command::Healthcheck
        | Command::Version => false,
    };
    if reads_settings && (cli.data_dir.is_some() || cli.url.is_some()) {
        let why = "--data-dir and --url are for verbs that ask a running core; this one reads its settings from the \
                   environment: set ORCH_DATA_DIR or ORCH_BIND instead";
        return Err(Cli::command().error(ErrorKind::ArgumentConflict, why));
    }
    Ok(cli)
}

/// Carries out a verb of the client and gives the exit code. `serve` and the supervisor's verbs
/// are `main`'s: here they are refused. `base` is the working directory.
pub async fn run(
    cli: Cli,
    strings: &Strings,
    base: &Path,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> u8 {
    let result = dispatch(cli, strings, base, out).await;
    match result {
        Ok(()) => DONE,
        Err(failure) => {
            // a reader that went away (`… | head`) is no failure of ours
            if failure.is_closed_pipe() {
                return DONE;
            }
            writeln!(err, "orch-core: {failure}").ok();
            failure.code()
        }
    }
}

async fn dispatch(
    cli: Cli,
    strings: &Strings,
    base: &Path,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    match &cli.command {
        Command::Serve | Command::Supervise { .. } | Command::SuperviseChild { .. } => {
            Err(Failure::Usage("this verb is carried out by the program itself".to_owned()))
        }
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            if cli.json {
                let document = serde_json::json!({ "program": "orch-core", "version": version });
                writeln!(out, "{document}")?;
            } else {
                writeln!(out, "orch-core {version}")?;
            }
            Ok(())
        }
        Command::CheckConfig { print_env } => check::check(*print_env, strings, base, out),
        Command::Backup { file } => backup::backup(file, strings, base, out),
        Command::Restore { file } => backup::restore(file, strings, base, out),
        Command::Task(_)
        | Command::Why { .. }
        | Command::Lease(_)
        | Command::Run(_)
        | Command::Healthcheck => {
            let session = client::Session::open(&cli, strings, base)?;
            verbs::carry_out(&cli, &session, out).await
        }
    }
}

/// Why a verb did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Arguments or settings.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers, or not as a core does.
    #[error("{0}")]
    Unreachable(String),
    /// The core refused, or what was asked cannot be done.
    #[error("{0}")]
    Refused(String),
    /// What was to be printed could not be.
    #[error("write the output: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Unreachable(_) => UNREACHABLE,
            Self::Refused(_) | Self::Output(_) => FAILED,
        }
    }

    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

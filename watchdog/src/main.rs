//! orch-watchdog: wiring only.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use clap::error::ErrorKind;
use orch_settings::Strings;
use orch_watchdog::cli::{self, Arguments, EXIT_FAILURE, EXIT_USAGE, UntilClosed, Verb, tell};
use orch_watchdog::{sandbox, service};

/// Longest wait for tasks and threads that do not end by themselves.
const END_PATIENCE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let (mut out, mut err) = (UntilClosed::new(std::io::stdout()), std::io::stderr());
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let code = if asked { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) };
            return match error.print() {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(EXIT_FAILURE),
                Ok(()) | Err(_) => code,
            };
        }
    };
    let failure = cli::failure_code(&arguments.verb);
    match wire(arguments.verb, &mut out, &mut err).and_then(|code| Ok(out.flush().map(|()| code)?)) {
        Ok(code) => code,
        Err(error) => {
            tell(&mut err, format_args!("orch-watchdog: {error:#}"));
            ExitCode::from(failure)
        }
    }
}

fn wire(verb: Verb, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let base = std::env::current_dir().context("find the working directory")?;
    let system = rustix::system::uname();
    let host_name = system.nodename().to_string_lossy();
    let loaded = match cli::load(&Strings::from_process(), &base, &host_name, err) {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    // before the runtime: what starts a thread later starts it confined
    let confinement = sandbox::confine(cli::writable(&verb, &loaded.value))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if !matches!(verb, Verb::Run) {
        return Ok(runtime.block_on(cli::execute(verb, &loaded, &confinement, out, err))?);
    }
    let config = loaded.value;
    orch_telemetry::init(&config.log)?;
    #[cfg(debug_assertions)]
    if let Some(label) = hidden("WATCHDOG_FAILPOINT") {
        orch_watchdog::failpoint::arm(&label);
    }
    #[cfg(debug_assertions)]
    if let Some(point) = hidden("WATCHDOG_HANGPOINT") {
        orch_watchdog::failpoint::arm_hang(&point);
    }
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "a setting is not known");
    }
    let ended = runtime.block_on(service::run(&config, &confinement, cli::survey));
    // what still hangs somewhere must not hold the end
    runtime.shutdown_timeout(END_PATIENCE);
    ended?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "main alone reads the environment")]
fn hidden(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

//! orch-core, the program: reads the environment and the arguments once, and wires.
//!
//! The supervisor's verbs come first: they run before any runtime, log or setting, as one small
//! process a run. Exit codes: 0 clean, 1 failure, 64 wrong use or settings.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use orch_core::{
    chain::chain,
    cli::{self, Command},
    config::CoreConfig,
    http::{Access, EngineSlot, HttpState, api_token, router},
    process::{hardening, supervise, trampoline},
    projects::Projects,
    serve::{self, CLAUDE_ENVIRONMENT, ENVIRONMENT_ALLOWED, Parts},
};
use orch_settings::Strings;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Worker threads: the store has its own, children have theirs, and requests are few.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(stop) => {
            if stop.is_error {
                write!(std::io::stderr(), "{}", stop.text).ok();
            } else {
                write!(std::io::stdout(), "{}", stop.text).ok();
            }
            return ExitCode::from(stop.code);
        }
    };
    match &cli.command {
        Command::Supervise { dir } => return code(supervise::supervise(dir)),
        Command::SuperviseChild { dir } => return code(trampoline::supervise_child(dir)),
        Command::Serve
        | Command::Task(_)
        | Command::Why { .. }
        | Command::Lease(_)
        | Command::Run(_)
        | Command::CheckConfig { .. }
        | Command::Backup { .. }
        | Command::Restore { .. }
        | Command::Healthcheck
        | Command::Version => {}
    }
    let strings = Strings::from_process();
    let base = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let serves = matches!(cli.command, Command::Serve);
    let mut runtime = if serves {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(WORKERS);
        builder
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("start the runtime: {error}")),
    };
    if serves {
        return match load(&strings, &base) {
            Ok((config, projects)) => runtime.block_on(run(config, projects)),
            Err(problems) => fail(cli::USAGE, &problems),
        };
    }
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    ExitCode::from(runtime.block_on(cli::run(cli, &strings, &base, &mut out, &mut err)))
}

/// Settings and projects; every problem in one text.
fn load(strings: &Strings, base: &Path) -> Result<(CoreConfig, Projects), String> {
    let loaded = CoreConfig::load(strings, base).map_err(|problems| problems.to_string())?;
    let config = loaded.value;
    orch_telemetry::init(&config.log).map_err(|error| chain(&error))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let projects = Projects::load(&config.projects_file).map_err(|error| chain(&error))?;
    projects.check(&config).map_err(|problems| problems.to_string())?;
    Ok((config, projects))
}

async fn run(config: CoreConfig, projects: Projects) -> ExitCode {
    if let Err(error) = hardening::set_not_dumpable() {
        return fail(1, &format!("hide this process's environment from its children: {error}"));
    }
    #[cfg(debug_assertions)]
    if let Ok(label) = environment("ORCH_FAILPOINT") {
        orch_core::failpoint::arm(&label);
    }
    match serve_until_told(config, projects).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

async fn serve_until_told(config: CoreConfig, projects: Projects) -> anyhow::Result<()> {
    use anyhow::Context;

    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (lock, store) = serve::open_store(&config, &host)?;
    let listener = tokio::net::TcpListener::bind(config.http.bind)
        .await
        .with_context(|| format!("bind {}", config.http.bind))?;
    let bound = listener.local_addr().context("ask for the bound address")?;
    let token = api_token(&config.http, &config.data_dir)?;
    let access = Access::new(bound, &token, config.http.api_read_token.as_ref());
    let (slot, requests) = (EngineSlot::default(), TaskTracker::new());
    let routes = router(HttpState::new(slot.clone(), access, requests.clone()));
    let (data_dir, closing) = (config.data_dir.clone(), CancellationToken::new());
    let told = closing.clone();
    let mut http =
        tokio::spawn(async move { orch_core::http::serve(listener, routes, &data_dir, told).await });

    let parts = Parts {
        config,
        projects,
        base_env: allowed_environment(&ENVIRONMENT_ALLOWED),
        claude_env: allowed_environment(&CLAUDE_ENVIRONMENT),
        self_exe: PathBuf::from("/proc/self/exe"),
    };
    let engine = serve::assemble(parts, store).await?;
    slot.fill(std::sync::Arc::clone(&engine));
    let stage = serve::bring_up(&engine).await?;
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = &mut http => Some(ended),
    };
    tracing::info!("told to end");
    requests.close();
    closing.cancel();
    serve::shut_down(stage).await;
    let ended = match ended {
        Some(ended) => ended,
        None => http.await,
    };
    drop(lock);
    ended.context("end the HTTP server")?.context("serve HTTP")
}

#[expect(clippy::disallowed_methods, reason = "main alone reads the environment")]
fn allowed_environment(names: &[&str]) -> BTreeMap<String, String> {
    let allowed = |name: &&str| std::env::var(name).ok().map(|value| ((*name).to_owned(), value));
    names.iter().filter_map(allowed).collect()
}

#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "main alone reads the environment")]
fn environment(name: &str) -> Result<String, std::env::VarError> {
    std::env::var(name)
}

fn code(number: i32) -> ExitCode {
    ExitCode::from(u8::try_from(number).unwrap_or(1))
}

fn fail(number: u8, text: &str) -> ExitCode {
    writeln!(std::io::stderr(), "orch-core: {text}").ok();
    ExitCode::from(number)
}

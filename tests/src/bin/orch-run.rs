//! `make run`: set up what is missing, start both programs, send the sample work item on its way.
//!
//! Ends with Ctrl-C or SIGTERM, and with it both programs and the agents they started. A second start
//! in the same data directory continues. Settings given in the environment win over those here.

use anyhow::{Context as _, Result, bail};
use orch_tests::api::Api;
use orch_tests::process::{self, Guard};
use orch_tests::relay::Screen;
use orch_tests::sample::Sample;
use orch_tests::{binaries, pipeline, sweep, wait};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const KEY: &str = "SAMPLE-1";
const TITLE: &str = "Show a duration as a clock";
/// Longest time until a started program listens.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Longest time for the supervisors that a killed core left to end their runs.
const SUPERVISORS_PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two looks at the work item.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new(std::io::stdout());
    let settings: BTreeMap<String, String> = process::settings_given();
    match run(&screen, settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.say(&format!("run: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(screen: &Screen, given: BTreeMap<String, String>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut stack = tokio::select! {
        started = Running::start(screen, &given) => started?,
        _ = interrupt.recv() => bail!("interrupted before the programs were up"),
        _ = terminate.recv() => bail!("interrupted before the programs were up"),
    };
    let story = async {
        stack.wait_ready().await?;
        stack.tell_what_to_try(screen);
        stack.follow(screen).await
    };
    let told = tokio::select! {
        told = story => told,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    screen.say("run: stopping both programs and the agents they started");
    let stopped = stack.stop();
    told?;
    stopped?;
    screen.say("run: stopped; `make run` continues where this left off");
    Ok(())
}

/// Both programs and where they are.
struct Running {
    core: Guard,
    watchdog: Guard,
    core_program: PathBuf,
    data: PathBuf,
    api: Api,
    sample: Sample,
}

impl Running {
    async fn start(screen: &Screen, given: &BTreeMap<String, String>) -> Result<Self> {
        let core_program = binaries::built("orch-core")?;
        let watchdog_program = binaries::built("orch-watchdog")?;
        let data = std::path::absolute(given.get("ORCH_DATA_DIR").map_or("data", String::as_str))?;
        std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        screen.say(&format!("run: setting up {} (a Python environment is made once)", data.display()));
        let (place, venv) = (data.clone(), data.join("sample/venv"));
        let sample = tokio::task::spawn_blocking(move || Sample::set_up_with(&place, &venv, None)).await??;

        let bound = data.join("bound-address");
        // left where it is: it may be a running core's, whose commands need it
        let before = written_at(&bound);
        let mut core = process::bare_program(&core_program);
        core.arg("serve").env("ORCH_SHUTDOWN_AGENTS", "stop");
        core.envs(given.iter().filter(|(key, _)| key.starts_with("ORCH_")));
        core.env("ORCH_DATA_DIR", &data);
        let mut core = relayed(screen, "core", core)?;
        let address = address(&mut core, &bound, before).await?;
        let token = std::fs::read_to_string(data.join("api-token")).ok();

        let mut watchdog = process::bare_program(&watchdog_program);
        watchdog.arg("run");
        for (key, value) in [
            ("WATCHDOG_TICK_S", "2"),
            ("WATCHDOG_PROC_ENABLED", "true"),
            ("WATCHDOG_PROC_ORPHAN_GRACE_S", "10"),
            ("WATCHDOG_PROC_FOREIGN_GRACE_S", "20"),
        ] {
            watchdog.env(key, value);
        }
        watchdog.env("WATCHDOG_STATE_DIR", data.join("watchdog"));
        watchdog.env("WATCHDOG_CORE_URL", format!("http://{address}"));
        // on loopback reading needs no token, and the watchdog is never given one that can change
        let token = given.get("ORCH_API_TOKEN").cloned().or(token).unwrap_or_default();
        watchdog.envs(given.iter().filter(|(key, _)| key.starts_with("WATCHDOG_")));
        let watchdog = relayed(screen, "watchdog", watchdog)?;
        let api = Api::new(&format!("http://{address}"), token.trim())?;
        Ok(Self { core, watchdog, core_program, data, api, sample })
    }

    async fn wait_ready(&self) -> Result<()> {
        let api = &self.api;
        wait::until("the core to be ready", START_PATIENCE, || async {
            match api.get("/readyz").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("{} {}", answer.status, answer.text)),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await
    }

    /// A command of the core's command line as a person would type it.
    fn command(&self, rest: &str) -> String {
        format!("ORCH_DATA_DIR={} {} {rest}", shown(&self.data), shown(&self.core_program))
    }

    fn tell_what_to_try(&self, screen: &Screen) {
        let base = self.api.base();
        let python = self.sample.python();
        for line in [
            String::new(),
            format!("run: orch-core is at {base}, its token in {}", shown(&self.data.join("api-token"))),
            "run: what to try next:".to_owned(),
            format!("  {}", self.command("task list")),
            format!("  {}", self.command(&format!("task show {KEY} --history"))),
            format!("  {}", self.command("task add SAMPLE-2 --project sample --title 'Split a duration'")),
            "  leave an orphaned pytest behind, and watch the alert here and, two minutes later, the recovery:".to_owned(),
            format!(
                "  (cd {} && setsid sh -c '{} -m pytest -q -m slow tests/test_soak.py >/dev/null 2>&1 &')",
                shown(&self.sample.source()),
                python.display()
            ),
            "run: Ctrl-C stops both programs and the agents they started".to_owned(),
            String::new(),
        ] {
            screen.say(&line);
        }
    }

    /// Submit the sample work item if it is not there, and tell of each change until it is over.
    async fn follow(&mut self, screen: &Screen) -> Result<()> {
        let api = self.api.clone();
        if pipeline::task(&api, KEY).await?.is_none() {
            pipeline::submit(&api, KEY, "sample", TITLE).await?;
            screen.say(&format!("run: submitted {KEY}: {TITLE}"));
        }
        let (mut last, mut asked) = (String::new(), None);
        loop {
            for (name, guard) in [("orch-core", &mut self.core), ("orch-watchdog", &mut self.watchdog)] {
                if let Some(status) = guard.ended()? {
                    bail!("{name} ended by itself: {status}");
                }
            }
            tokio::time::sleep(FOLLOW_PAUSE).await;
            // a busy core may not answer in time; whether it lives was asked above
            let (Ok(stage), Ok(document)) = (pipeline::stage(&api, KEY).await, api.observation().await)
            else {
                continue;
            };
            if stage != last {
                screen.say(&format!("run: {KEY} is in {stage}"));
                last = stage;
            }
            if let Some(open) = pipeline::open_task(&document, KEY)
                && pipeline::asks_a_person(open)
                && asked != Some(open.stage_since_ms)
            {
                asked = Some(open.stage_since_ms);
                screen.say(&format!("run: {KEY} waits for a person to approve its brief:"));
                screen.say(&format!("  {}", self.command(&format!("task approve {KEY} --who me"))));
            }
        }
    }

    fn stop(&mut self) -> Result<()> {
        let watchdog = self.watchdog.stop();
        let core = self.core.stop();
        // a core that was killed could not stop its agents: their supervisors are in the run directories
        sweep::stop_supervisors(&self.data, SUPERVISORS_PATIENCE);
        core?;
        watchdog?;
        Ok(())
    }
}

/// Start a program in a process group of its own, so that Ctrl-C reaches only this one, which then
/// ends it in order; its lines go to the screen.
fn relayed(screen: &Screen, name: &'static str, mut command: std::process::Command) -> Result<Guard> {
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut guard = Guard::start(name, &mut command)?;
    let (out, err) = (guard.child().stdout.take(), guard.child().stderr.take());
    drop(screen.relay(name, out.context("no pipe")?));
    drop(screen.relay(name, err.context("no pipe")?));
    Ok(guard)
}

fn written_at(path: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}

async fn address(core: &mut Guard, bound: &Path, before: Option<std::time::SystemTime>) -> Result<String> {
    let deadline = orch_tests::clock::now() + START_PATIENCE;
    loop {
        if written_at(bound) != before
            && let Ok(text) = std::fs::read_to_string(bound)
            && text.trim().parse::<std::net::SocketAddr>().is_ok()
        {
            return Ok(text.trim().to_owned());
        }
        if let Some(status) = core.ended()? {
            bail!("orch-core ended with {status}; if its address is taken: ORCH_BIND=127.0.0.1:0 make run");
        }
        if orch_tests::clock::now() >= deadline {
            bail!("orch-core did not listen within {} s", START_PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A path as short as it can be said from here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    short.display().to_string()
}

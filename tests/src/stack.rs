//! Both programs as a user starts them, in a data directory of their own.
//!
//! Responsible for: settings in the environment (and nothing else of the caller's environment), ports
//! of the kernel's choice, log files, restarts on the same port, and the end of everything that was
//! started. The core is reached at the address that it wrote to `<data>/bound-address`, with the token
//! of `<data>/api-token`.

use crate::api::Api;
use crate::process::{self, Guard, Said};
use crate::sample::Sample;
use crate::{binaries, sweep, wait};
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest time until a started program answers, in seconds.
pub const START_PATIENCE: Duration = Duration::from_secs(60);
/// Longest time for one command of the command line, in seconds.
const CLI_PATIENCE: Duration = Duration::from_secs(60);

/// What a stack is made of.
#[derive(Debug, Default)]
pub struct StackBuilder {
    core: BTreeMap<String, String>,
    watchdog: BTreeMap<String, String>,
    agents: Option<PathBuf>,
}

impl StackBuilder {
    /// Set a setting of the core.
    #[must_use]
    pub fn core(mut self, key: &str, value: &str) -> Self {
        self.core.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Set a setting of the watchdog.
    #[must_use]
    pub fn watchdog(mut self, key: &str, value: &str) -> Self {
        self.watchdog.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Use another folder of scripted agents.
    #[must_use]
    pub fn agents(mut self, folder: &Path) -> Self {
        self.agents = Some(folder.to_path_buf());
        self
    }

    /// Make the data directory and set up the sample in it; nothing is started yet.
    ///
    /// # Errors
    /// When a program is not built or set-up fails.
    pub fn build(self) -> Result<Stack> {
        let (core_program, watchdog_program) =
            (binaries::built("orch-core")?, binaries::built("orch-watchdog")?);
        let root = tempfile::Builder::new().prefix("orch-stack-").tempdir()?;
        let data = root.path().join("data");
        fs::create_dir(&data)?;
        let sample = Sample::set_up(&data, self.agents.as_deref())?;
        let mut core = brisk_core(&data);
        core.extend(self.core);
        let mut watchdog = brisk_watchdog(&root.path().join("watchdog"));
        watchdog.extend(self.watchdog);
        Ok(Stack {
            core: None,
            watchdog: None,
            core_settings: core,
            watchdog_settings: watchdog,
            core_program,
            watchdog_program,
            sample,
            data,
            root,
        })
    }
}

/// Settings that make a core answer within seconds; ordinary ones, each documented.
fn brisk_core(data: &Path) -> BTreeMap<String, String> {
    settings(&[
        ("ORCH_DATA_DIR", &data.to_string_lossy()),
        ("ORCH_PROJECTS_FILE", &data.join("projects.toml").to_string_lossy()),
        ("ORCH_BIND", "127.0.0.1:0"),
        ("ORCH_REAPER_TICK_S", "1"),
        ("ORCH_REAPER_DEAD_GRACE_S", "2"),
        ("ORCH_RECONCILE_TICK_S", "2"),
        ("ORCH_JOB_BACKOFF_S", "1"),
        ("ORCH_GATE_INFRA_BACKOFF_S", "1"),
    ])
}

/// Settings that make a watchdog tell within seconds; ordinary ones, each documented.
fn brisk_watchdog(state: &Path) -> BTreeMap<String, String> {
    settings(&[
        ("WATCHDOG_STATE_DIR", &state.to_string_lossy()),
        ("WATCHDOG_BIND", "127.0.0.1:0"),
        ("WATCHDOG_TICK_S", "0.5"),
        ("WATCHDOG_PROC_ENABLED", "true"),
        ("WATCHDOG_PROC_ORPHAN_GRACE_S", "2"),
        ("WATCHDOG_PROC_FOREIGN_GRACE_S", "3"),
        // the load of this machine is nobody's story
        ("WATCHDOG_CPU_STARVED_ENABLED", "false"),
    ])
}

fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Two programs and all that belongs to them.
#[derive(Debug)]
pub struct Stack {
    // the programs stand before the directory: they end before it is removed
    watchdog: Option<Guard>,
    core: Option<Guard>,
    core_settings: BTreeMap<String, String>,
    watchdog_settings: BTreeMap<String, String>,
    core_program: PathBuf,
    watchdog_program: PathBuf,
    sample: Sample,
    data: PathBuf,
    root: tempfile::TempDir,
}

impl Stack {
    /// A new description.
    #[must_use]
    pub fn describe() -> StackBuilder {
        StackBuilder::default()
    }

    /// The core's data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The sample in it.
    #[must_use]
    pub fn sample(&self) -> &Sample {
        &self.sample
    }

    /// Change a setting of the core for its next start.
    pub fn set_core(&mut self, key: &str, value: &str) {
        self.core_settings.insert(key.to_owned(), value.to_owned());
    }

    /// Change a setting of the watchdog for its next start.
    pub fn set_watchdog(&mut self, key: &str, value: &str) {
        self.watchdog_settings.insert(key.to_owned(), value.to_owned());
    }

    /// `orch-core ARGUMENTS` with this stack's settings.
    #[must_use]
    pub fn core_command(&self, arguments: &[&str]) -> Command {
        let mut command = process::bare_program(&self.core_program);
        command.args(arguments).envs(&self.core_settings).current_dir(self.root.path());
        command
    }

    /// `orch-watchdog ARGUMENTS` with this stack's settings.
    #[must_use]
    pub fn watchdog_command(&self, arguments: &[&str]) -> Command {
        let mut command = process::bare_program(&self.watchdog_program);
        command.args(arguments).envs(&self.watchdog_settings).current_dir(self.root.path());
        command
    }

    /// Run one command of the core's command line to its end.
    ///
    /// # Errors
    /// When it cannot be started or does not end.
    pub fn cli(&self, arguments: &[&str]) -> Result<Said> {
        process::run(&mut self.core_command(arguments), CLI_PATIENCE)
    }

    /// Run one command of the watchdog's command line to its end.
    ///
    /// # Errors
    /// When it cannot be started or does not end.
    pub fn watchdog_cli(&self, arguments: &[&str]) -> Result<Said> {
        process::run(&mut self.watchdog_command(arguments), CLI_PATIENCE)
    }

    /// Start the core and wait until it is ready. A restart keeps the port.
    ///
    /// # Errors
    /// When it ends, or is not ready in time: with its last lines.
    pub async fn start_core(&mut self) -> Result<Api> {
        self.launch_core()?;
        let api = self.reach_core().await?;
        wait::until("the core to be ready", START_PATIENCE, || async {
            match api.get("/readyz").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("{} {}", answer.status, answer.text)),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await
        .with_context(|| self.last_lines("core"))?;
        Ok(api)
    }

    /// Start the core and return at once.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch_core(&mut self) -> Result<()> {
        self.core = None; // a former one is ended before the next is started
        remove_if_there(&self.data.join("bound-address"))?;
        let mut command = self.core_command(&["serve"]);
        self.core = Some(self.start("core", &mut command)?);
        Ok(())
    }

    /// A client for the running core, as soon as it has said where it listens.
    ///
    /// # Errors
    /// When it ends or says nothing in time.
    pub async fn reach_core(&mut self) -> Result<Api> {
        let (bound, token) = (self.data.join("bound-address"), self.data.join("api-token"));
        let address =
            Self::address(self.core.as_mut(), &bound).await.with_context(|| self.last_lines("core"))?;
        let token = fs::read_to_string(&token).with_context(|| format!("cannot read {}", token.display()))?;
        self.set_core("ORCH_BIND", &address);
        self.set_watchdog("WATCHDOG_CORE_URL", &format!("http://{address}"));
        self.set_watchdog("WATCHDOG_CORE_TOKEN", token.trim());
        Api::new(&format!("http://{address}"), token.trim())
    }

    /// Start the watchdog and wait until it listens; gives its base URL.
    ///
    /// # Errors
    /// When it ends, or says nothing in time: with its last lines.
    pub async fn start_watchdog(&mut self) -> Result<String> {
        self.watchdog = None;
        let state =
            PathBuf::from(self.watchdog_settings.get("WATCHDOG_STATE_DIR").cloned().unwrap_or_default());
        fs::create_dir_all(&state)?;
        remove_if_there(&state.join("bound-address"))?;
        let mut command = self.watchdog_command(&["run"]);
        self.watchdog = Some(self.start("watchdog", &mut command)?);
        let address = Self::address(self.watchdog.as_mut(), &state.join("bound-address"))
            .await
            .with_context(|| self.last_lines("watchdog"))?;
        self.set_watchdog("WATCHDOG_BIND", &address);
        Ok(format!("http://{address}"))
    }

    /// SIGKILL the core; its supervisors live on.
    pub fn kill_core(&mut self) {
        self.core = None;
    }

    /// Whether the core has ended by itself.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn core_has_ended(&mut self) -> Result<bool> {
        match self.core.as_mut() {
            Some(core) => Ok(core.ended()?.is_some()),
            None => Ok(true),
        }
    }

    /// Ask the core to end and wait for it.
    ///
    /// # Errors
    /// When it had to be killed.
    pub fn stop_core(&mut self) -> Result<()> {
        stop(self.core.take(), "orch-core")
    }

    /// SIGKILL the watchdog.
    pub fn kill_watchdog(&mut self) {
        self.watchdog = None;
    }

    /// Of how many entities the watchdog's state file holds notices that some channel has not taken: what a start
    /// after a kill would send (again).
    ///
    /// # Errors
    /// When the file is not there, or not as expected.
    pub fn undelivered(&self) -> Result<usize> {
        let folder =
            self.watchdog_settings.get("WATCHDOG_STATE_DIR").context("the watchdog has a state directory")?;
        let state: serde_json::Value =
            serde_json::from_slice(&fs::read(Path::new(folder).join("state.json"))?)?;
        let entries = state.pointer("/state/outbox/entries").and_then(serde_json::Value::as_array);
        Ok(entries.context("the state has no outbox")?.len())
    }

    /// Ask the watchdog to end and wait for it.
    ///
    /// # Errors
    /// When it had to be killed.
    pub fn stop_watchdog(&mut self) -> Result<()> {
        stop(self.watchdog.take(), "orch-watchdog")
    }

    /// Send a signal to the running core.
    ///
    /// # Errors
    /// When none runs or the kernel refuses.
    pub fn signal_core(&mut self, signal: Signal) -> Result<()> {
        self.core.as_mut().context("no core runs")?.signal(signal)
    }

    /// The running core's pid.
    #[must_use]
    pub fn core_pid(&self) -> Option<i32> {
        self.core.as_ref().map(Guard::pid)
    }

    /// The running watchdog's pid.
    #[must_use]
    pub fn watchdog_pid(&self) -> Option<i32> {
        self.watchdog.as_ref().map(Guard::pid)
    }

    /// All that a program (`core`, `watchdog`) has written so far, over restarts.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        fs::read(self.log_file(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Where a program's log is.
    #[must_use]
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.root.path().join(format!("{name}.log"))
    }

    /// Keep the directory for a person to look at; tells where it is.
    pub fn keep(&mut self) -> PathBuf {
        self.root.disable_cleanup(true);
        self.root.path().to_path_buf()
    }

    fn start(&self, name: &str, command: &mut Command) -> Result<Guard> {
        let open = || OpenOptions::new().create(true).append(true).open(self.log_file(name));
        let (out, err) = (open()?, open()?);
        Guard::start(name, command.stdin(std::process::Stdio::null()).stdout(out).stderr(err))
    }

    fn last_lines(&self, name: &str) -> String {
        const SHOWN: usize = 30;
        let log = self.log(name);
        let lines: Vec<&str> = log.lines().collect();
        format!("last lines of the {name}:\n{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"))
    }

    async fn address(mut guard: Option<&mut Guard>, file: &Path) -> Result<String> {
        let deadline = crate::clock::now() + START_PATIENCE;
        loop {
            if let Ok(text) = fs::read_to_string(file)
                && text.trim().parse::<std::net::SocketAddr>().is_ok()
            {
                return Ok(text.trim().to_owned());
            }
            let Some(running) = guard.as_mut() else { bail!("nothing was started") };
            if let Some(status) = running.ended()? {
                bail!("it ended with {status} before it listened");
            }
            if crate::clock::now() >= deadline {
                bail!("{} was not written within {} s", file.display(), START_PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.watchdog = None;
        self.core = None;
        sweep::sweep(self.root.path());
    }
}

fn stop(guard: Option<Guard>, name: &str) -> Result<()> {
    let mut guard = guard.with_context(|| format!("no {name} runs"))?;
    let status = guard.stop()?;
    if !status.success() {
        bail!("{name} ended with {status} when asked to stop");
    }
    Ok(())
}

fn remove_if_there(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

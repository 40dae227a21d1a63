//! Both programs under compose, as a person who cloned the repository starts them.
//!
//! Responsible for: a copy of the source tree with `make env` run in it, the images, a compose project of
//! its own name and ports, shorter times by settings, and the end of everything. The compose file is the
//! shipped one; what a test adds stands in an override beside it. It touches no container, volume or
//! network but those of its project.

use super::outside::{self, Outside};
use super::{engine, images};
use anyhow::{Context as _, Result, bail};
use orch_tests::api::Api;
use orch_tests::process::{self, Said};
use orch_tests::{alerts, sample, wait};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The core's service.
pub(crate) const CORE: &str = "orchestrator";
/// The watchdog's service.
pub(crate) const WATCHDOG: &str = "orchestrator-watchdog";
/// Longest time for a compose command that builds nothing: a stop has its grace.
const COMPOSE_PATIENCE: Duration = Duration::from_secs(300);
/// Longest time from a start to an answer.
const START_PATIENCE: Duration = Duration::from_secs(240);
/// Longest time until something is told.
const TELL_PATIENCE: Duration = Duration::from_secs(240);
/// Where the sidecar finds the certificate of the authority outside.
pub(crate) const AUTHORITY: &str = "/etc/authority-of-the-test.pem";

/// A compose project.
#[derive(Debug)]
pub(crate) struct Stand {
    name: String,
    tree: PathBuf,
    compose: Vec<String>,
    settings: BTreeMap<&'static str, BTreeMap<String, String>>,
    outside: Outside,
    // last: the tree is removed when nothing mounts it any more
    _home: tempfile::TempDir,
}

impl Stand {
    /// Copy the tree, write the settings, build what changed, set up the sample and the world outside; nothing of
    /// ours runs yet.
    ///
    /// # Errors
    /// When there is no engine (names the cure), or a step fails.
    pub(crate) async fn prepare(story: &str) -> Result<Self> {
        let compose = engine::require()?;
        let home = tempfile::Builder::new().prefix("orch-container-").tempdir()?;
        let tree = home.path().join("tree");
        copy_of_the_tree(&tree)?;
        engine::succeed(process::program(tree.join("deploy/make-env")).current_dir(&tree), COMPOSE_PATIENCE)?;
        let name = format!("orch-test-{}-{story}", std::process::id());
        let brisk = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let settings = BTreeMap::from([
            (
                CORE,
                brisk(&[
                    ("ORCH_PROJECTS_FILE", "/data/projects.toml"),
                    ("ORCH_REAPER_TICK_S", "1"),
                    ("ORCH_REAPER_DEAD_GRACE_S", "2"),
                    ("ORCH_RECONCILE_TICK_S", "2"),
                    ("ORCH_JOB_BACKOFF_S", "1"),
                    ("ORCH_GATE_INFRA_BACKOFF_S", "1"),
                    ("ORCH_JOB_ATTEMPTS", "1"),
                ]),
            ),
            (
                WATCHDOG,
                brisk(&[
                    ("WATCHDOG_TICK_S", "0.5"),
                    ("WATCHDOG_PROC_ORPHAN_GRACE_S", "2"),
                    ("WATCHDOG_PROC_FOREIGN_GRACE_S", "3"),
                    // this host is as busy as it is
                    ("WATCHDOG_CPU_STARVED_ENABLED", "false"),
                    ("WATCHDOG_TELEGRAM_API_URL", outside::URL),
                    ("WATCHDOG_TELEGRAM_BOT_TOKEN", outside::TOKEN),
                    ("WATCHDOG_TELEGRAM_CHAT_ID", &outside::CHAT.to_string()),
                    ("WATCHDOG_CA_FILE", AUTHORITY),
                ]),
            ),
        ]);
        let outside = Outside::new().await?;
        outside::hand_out(outside.authority(), &tree.with_file_name("authority.pem"))?;
        let mut stand = Self { name, tree, compose, settings, outside, _home: home };
        let bases = images::Bases::borrow()?;
        stand.build(&[], "of-the-test")?;
        images::build_sample(&stand.tree)?;
        images::drop_old_layers()?;
        drop(bases);
        stand.write_override()?;
        let setup = "/opt/sample/setup";
        stand.compose(&[
            "run",
            "--rm",
            "--no-deps",
            "--entrypoint",
            setup,
            CORE,
            "/data",
            "--venv",
            "/opt/tools/venv",
        ])?;
        // the network is there from now on
        let scripts = format!("{}:/scripts:ro", stand.tree.join("tests/container").display());
        let place = ["--network-alias", outside::NAME, "--publish", "127.0.0.1:0:9000", "--volume", &scripts];
        let image = images::with_sample();
        let program = ["--entrypoint", "python3", &image, "/scripts/relay.py"];
        let relay = stand.start_beside("outside", &[&place[..], &program].concat())?;
        stand.outside.be_behind(&relay).await?;
        Ok(stand)
    }

    /// The world outside.
    #[must_use]
    pub(crate) fn outside(&self) -> &Outside {
        &self.outside
    }

    /// Name of the project's network.
    #[must_use]
    pub(crate) fn network(&self) -> String {
        format!("{}_default", self.name)
    }

    /// A name for a container beside the project's, removed with it.
    #[must_use]
    pub(crate) fn beside(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Start a container beside the project's, on its network; its id.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start_beside(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let label = format!("orch.test={}", self.name);
        let (name, network) = (self.beside(name), self.network());
        let mut words = vec!["run", "--detach", "--name", &name, "--label", &label, "--network", &network];
        words.extend_from_slice(arguments);
        engine::docker(&words)
    }

    /// `compose build SERVICES` with the shipped file alone.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn build(&self, services: &[&str], revision: &str) -> Result<()> {
        let mut command = self.command(&["--file", "docker-compose.yml", "build"]);
        engine::succeed(command.args(services).env("IMAGE_REVISION", revision), engine::BUILD_PATIENCE)
    }

    /// Change a setting for the next `up`.
    ///
    /// # Errors
    /// When the override cannot be written.
    pub(crate) fn set(&mut self, service: &'static str, key: &str, value: &str) -> Result<()> {
        self.settings.entry(service).or_default().insert(key.to_owned(), value.to_owned());
        self.write_override()
    }

    /// `compose ARGUMENTS` with the shipped file and the override.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn compose(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(&["--file", "docker-compose.yml", "--file", "../override.yml"]);
        engine::succeed(command.args(arguments), COMPOSE_PATIENCE)
    }

    /// `compose up -d SERVICE`, alone.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn up(&self, service: &str) -> Result<()> {
        self.compose(&["up", "-d", "--no-build", "--no-deps", service])
    }

    /// The container of a service, running or not.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn container(&self, service: &str) -> Result<String> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let service = format!("label=com.docker.compose.service={service}");
        let oneoff = "label=com.docker.compose.oneoff=False";
        let filters = ["--filter", &project, "--filter", &service, "--filter", oneoff];
        let found = engine::docker(&[&["ps", "--all", "--quiet", "--no-trunc"][..], &filters].concat())?;
        match found.lines().collect::<Vec<_>>()[..] {
            [id] => Ok(id.to_owned()),
            ref other => bail!("{service}: {} containers, not one", other.len()),
        }
    }

    /// Run a program in the core's container.
    ///
    /// # Errors
    /// When it cannot be started or does not end.
    pub(crate) fn exec_in_core(&self, words: &[&str]) -> Result<Said> {
        let id = self.container(CORE)?;
        engine::try_docker(&[&["exec", &id], words].concat())
    }

    /// A client with the acting token, when the core is ready. The engine gives another port after each
    /// start.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn core(&self) -> Result<Api> {
        let token = self.token(".env", "ORCH_API_TOKEN")?;
        wait::until("the core to be ready", START_PATIENCE, || async {
            let api = self.address(CORE, "8080").and_then(|address| Api::new(&address, &token));
            let api = api.map_err(|error| format!("{error:#}"))?;
            match api.get("/readyz").await {
                Ok(answer) if answer.status == 200 => Ok(api),
                Ok(answer) => Err(format!("{} {}", answer.status, answer.text)),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await
        .with_context(|| self.last_lines(CORE))
    }

    /// A value of the watchdog's metrics.
    ///
    /// # Errors
    /// When it does not answer or has no such sample.
    pub(crate) async fn metric(&self, sample: &str) -> Result<String> {
        let watchdog = Api::new(&self.address(WATCHDOG, "9109")?, "")?;
        let text = watchdog.get("/metrics").await?.text;
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {sample} in {text}"))?.to_owned())
    }

    /// Wait until the engine calls a service healthy by the image's own check.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn healthy(&self, service: &str) -> Result<()> {
        let id = self.container(service)?;
        wait::until(&format!("{service} to be healthy"), START_PATIENCE, || async {
            let health =
                engine::inspect(&id, "{{json .State.Health}}").map_err(|error| format!("{error:#}"))?;
            if health.contains("\"Status\":\"healthy\"") { Ok(()) } else { Err(health) }
        })
        .await
    }

    /// What the chat shows, oldest first.
    #[must_use]
    pub(crate) fn messages(&self) -> Vec<String> {
        self.outside.messages()
    }

    /// Wait until the chat is told something.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) async fn hears(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        self.hears_after(0, what, wanted).await
    }

    /// The same, of messages after so many.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) async fn hears_after(
        &self,
        heard: usize,
        what: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let later = || self.messages().split_off(heard.min(self.messages().len()));
        let told = alerts::await_message(what, TELL_PATIENCE, later, wanted).await;
        told.with_context(|| format!("callers: {:?}\n{}", self.outside.callers(), self.last_lines(WATCHDOG)))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = process::program(&self.compose[0]);
        command.args(&self.compose[1..]).args(["--project-name", &self.name]).args(arguments);
        // ports of the engine's choice, and a tag that no person uses
        command.env("IMAGE_TAG", images::tag()).env("PUBLISH_CORE", "127.0.0.1:0");
        command.env("PUBLISH_WATCHDOG", "127.0.0.1:0").env_remove("COMPOSE_FILE").current_dir(&self.tree);
        command
    }

    fn address(&self, service: &str, port: &str) -> Result<String> {
        let published = engine::docker(&["port", &self.container(service)?, &format!("{port}/tcp")])?;
        Ok(format!("http://{}", published.lines().next().context("no port is published")?))
    }

    fn token(&self, file: &str, key: &str) -> Result<String> {
        let text = fs::read_to_string(self.tree.join(file))?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        Ok(value.with_context(|| format!("{file} sets no {key}"))?.to_owned())
    }

    fn last_lines(&self, service: &str) -> String {
        let said = self.container(service).and_then(|id| engine::try_docker(&["logs", "--tail", "30", &id]));
        said.map_or_else(|error| format!("{error:#}"), |said| said.all())
    }

    fn write_override(&self) -> Result<()> {
        let authority = format!("{}:{AUTHORITY}:ro", self.tree.with_file_name("authority.pem").display());
        let document = serde_json::json!({ "services": {
            CORE: { "image": images::with_sample(), "environment": self.settings.get(CORE) },
            WATCHDOG: { "environment": self.settings.get(WATCHDOG), "volumes": [authority] },
        }});
        // JSON is YAML
        fs::write(self.tree.with_file_name("override.yml"), document.to_string())
            .context("cannot write the override")
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let label = format!("label=orch.test={}", self.name);
        let beside = engine::docker(&["ps", "--all", "--quiet", "--filter", &label]).unwrap_or_default();
        for id in beside.lines() {
            engine::try_docker(&["rm", "--force", "--volumes", id]).ok();
        }
        // a failed test has said what is wrong already; what is left would be found by its name
        self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "2"]).ok();
    }
}

/// The files that git keeps or would keep, as in a fresh clone: no data, no settings, no build output.
fn copy_of_the_tree(to: &Path) -> Result<()> {
    let from = sample::source_tree();
    let listed = sample::git(&from, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    for name in listed.split('\0').filter(|name| from.join(name).is_file()) {
        let target = to.join(name);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(from.join(name), &target).with_context(|| format!("cannot copy {name}"))?;
    }
    Ok(())
}

//! A real Prometheus and a real Alertmanager with the shipped files, on loopback.
//!
//! Both are told a port that was free a moment ago; when somebody else took it meanwhile they end,
//! and another one is tried.

use crate::process::{self, Guard};
use crate::tools::{self, Tool};
use crate::{shipped, wait};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Longest time until one is ready, in seconds.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// So many ports are tried.
const PORTS_TRIED: usize = 3;
/// Longest time for one request.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// A running server with an HTTP interface; ends when dropped.
#[derive(Debug)]
pub struct Server {
    guard: Guard,
    address: String,
    client: reqwest::Client,
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Labels, the metric's name among them.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

impl Server {
    /// A Prometheus with the shipped settings and rules, pointed at other addresses and quicker.
    ///
    /// # Errors
    /// When it is missing, or not ready in time: with its log.
    pub async fn prometheus(
        folder: &Path,
        core: &str,
        watchdog: &str,
        token: &str,
        alertmanager: &str,
    ) -> Result<Self> {
        let secret = folder.join("read-token");
        fs::write(&secret, token)?;
        let config = shipped::adapted(
            "prometheus/prometheus.yml",
            &[
                ("scrape_interval: 15s", "scrape_interval: 500ms"),
                ("evaluation_interval: 15s", "evaluation_interval: 500ms"),
                ("/run/secrets/orch_api_read_token", &secret.to_string_lossy()),
                ("orchestrator:8080", core),
                ("orchestrator-watchdog:9109", watchdog),
                ("alertmanager:9093", alertmanager),
            ],
        )?;
        fs::write(folder.join("prometheus.yml"), config)?;
        fs::copy(shipped::path("prometheus/rules.yml"), folder.join("rules.yml"))?;
        let arguments = |address: &str| {
            vec![
                format!("--config.file={}", folder.join("prometheus.yml").display()),
                format!("--storage.tsdb.path={}", folder.join("tsdb").display()),
                format!("--web.listen-address={address}"),
            ]
        };
        Self::start(tools::PROMETHEUS, folder, arguments).await
    }

    /// An Alertmanager with the shipped settings, quicker.
    ///
    /// # Errors
    /// As [`Self::prometheus`].
    pub async fn alertmanager(folder: &Path) -> Result<Self> {
        let config = folder.join("alertmanager.yml");
        fs::copy(shipped::path("alertmanager/alertmanager.yml"), &config)?;
        let arguments = |address: &str| {
            vec![
                format!("--config.file={}", config.display()),
                format!("--storage.path={}", folder.join("alertmanager").display()),
                format!("--web.listen-address={address}"),
                // no cluster: one server, no other port
                "--cluster.listen-address=".to_owned(),
            ]
        };
        Self::start(tools::ALERTMANAGER, folder, arguments).await
    }

    async fn start(tool: Tool, folder: &Path, arguments: impl Fn(&str) -> Vec<String>) -> Result<Self> {
        let program = tool.find()?;
        let client = reqwest::Client::builder().timeout(REQUEST_PATIENCE).no_proxy().build()?;
        let log = folder.join(format!("{}.log", tool.program));
        for _ in 0..PORTS_TRIED {
            let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
            let mut command = process::bare_program(&program);
            command.args(arguments(&address)).current_dir(folder).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(File::create(&log)?);
            let guard = Guard::start(tool.program, &mut command)?;
            let mut server = Self { guard, address, client: client.clone() };
            if server.ready().await.with_context(|| fs::read_to_string(&log).unwrap_or_default())? {
                return Ok(server);
            }
        }
        bail!("{} does not start: {}", tool.program, fs::read_to_string(&log)?);
    }

    /// Whether it answers; false when it has ended.
    async fn ready(&mut self) -> Result<bool> {
        let url = format!("http://{}/-/ready", self.address);
        let (guard, client) = (&mut self.guard, &self.client);
        wait::until("a server to be ready", START_PATIENCE, || {
            let ended = guard.ended();
            let asked = client.get(&url).send();
            async move {
                if matches!(ended, Ok(Some(_))) {
                    return Ok(false);
                }
                match asked.await {
                    Ok(answer) if answer.status().is_success() => Ok(true),
                    Ok(answer) => Err(answer.status().to_string()),
                    Err(error) => Err(error.to_string()),
                }
            }
        })
        .await
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// GET a path as JSON.
    ///
    /// # Errors
    /// When no JSON came.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let request = self.client.get(format!("http://{}{path}", self.address)).query(parameters);
        request.send().await?.json().await.with_context(|| format!("GET {path}"))
    }

    /// An instant query, as of now.
    ///
    /// # Errors
    /// When the query is refused.
    pub async fn query(&self, query: &str) -> Result<Vec<Sample>> {
        let answer = self.get("/api/v1/query", &[("query", query)]).await?;
        if answer["status"] != "success" {
            bail!("{query}: {}", answer["error"]);
        }
        let series = answer["data"]["result"].as_array().with_context(|| format!("{query}: no vector"))?;
        series.iter().map(|row| sample(row).with_context(|| format!("{query}: {row}"))).collect()
    }

    /// Names and states (`pending`, `firing`) of the alerts of a Prometheus.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn alerts(&self) -> Result<Vec<(String, String)>> {
        let answer = self.get("/api/v1/alerts", &[]).await?;
        let alerts = answer["data"]["alerts"].as_array().context("no alerts")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(alerts.iter().map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["state"]))).collect())
    }
}

fn sample(row: &Value) -> Option<Sample> {
    let labels = row["metric"].as_object()?.iter();
    let labels = labels.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let value = row["value"].get(1)?.as_str()?.parse().ok()?;
    Some(Sample { labels: labels.collect::<Option<_>>()?, value })
}

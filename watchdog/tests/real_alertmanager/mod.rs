//! The real Alertmanager as a child process on loopback, with a receiver that writes down what it
//! is told.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use serde_json::Value;

use crate::support::until;

const PROGRAM: &str = "prometheus-alertmanager";

/// Its settings of the web server.
const WEB: &str = "web.yml";

/// Whoever takes a free port between our look and its start wins it: another one is tried.
const STARTS: usize = 5;

type Heard = Arc<Mutex<Vec<(String, String)>>>;

/// A running Alertmanager, killed on drop.
pub(crate) struct RealAlertmanager {
    child: Child,
    port: u16,
    config: tempfile::TempDir,
    _data: tempfile::TempDir,
    heard: Heard,
    login: Option<(String, String)>,
}

impl RealAlertmanager {
    /// Starts one; fails with the way to install it when it is missing.
    pub(crate) async fn start() -> Self {
        Self::configured(None, "").await
    }

    /// One that asks everybody for this user's password, of which it knows the bcrypt hash.
    pub(crate) async fn start_with_login(user: &str, password: &str, hash: &str) -> Self {
        let web = format!("basic_auth_users:\n  {user}: {hash}\n");
        Self::configured(Some((user.to_owned(), password.to_owned())), &web).await
    }

    async fn configured(login: Option<(String, String)>, web: &str) -> Self {
        let heard = Heard::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = listener.local_addr().unwrap();
        let router = axum::Router::new().route("/", post(hear)).with_state(Arc::clone(&heard));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let config = tempfile::tempdir().unwrap();
        let text = format!(
            "route:\n  receiver: us\n  group_by: [alertname]\n  group_wait: 0s\n  group_interval: 1s\n\
             receivers:\n  - name: us\n    webhook_configs:\n      - url: http://{receiver}/\n        send_resolved: true\n"
        );
        std::fs::write(config.path().join("alertmanager.yml"), text).unwrap();
        std::fs::write(config.path().join(WEB), web).unwrap();
        for _ in 0..STARTS {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(running) = Self::on(port, &config).await {
                let (child, data) = running;
                return Self { child, port, config, _data: data, heard, login };
            }
        }
        panic!("{PROGRAM} did not start; its log: {}", log_of(config.path()));
    }

    /// The same address, and nothing remembered.
    pub(crate) async fn restart_empty(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let config = std::mem::replace(&mut self.config, tempfile::tempdir().unwrap());
        let (child, data) = Self::on(self.port, &config).await.unwrap();
        let (heard, login) = (Arc::clone(&self.heard), self.login.take());
        Self { child, port: self.port, config, _data: data, heard, login }
    }

    async fn on(port: u16, config: &tempfile::TempDir) -> Option<(Child, tempfile::TempDir)> {
        let data = tempfile::tempdir().unwrap();
        let mut child = spawn(port, config.path(), data.path());
        let ready = until("Alertmanager to be ready or to end", async || {
            if child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            let ready = reqwest::get(format!("http://127.0.0.1:{port}/-/ready")).await;
            // one that asks for a login is ready to ask
            let answers = |status: reqwest::StatusCode| status.is_success() || status.as_u16() == 401;
            ready.ok().filter(|answer| answers(answer.status())).map(|_| true)
        })
        .await;
        ready.then_some((child, data))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Alerts that its API lists as active.
    pub(crate) async fn active(&self) -> Vec<Value> {
        let url = format!("{}/api/v2/alerts?active=true", self.url());
        let request = reqwest::Client::new().get(url);
        let request = match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        request.send().await.unwrap().json().await.unwrap()
    }

    /// (status, alert name) of every message that its receiver took.
    pub(crate) fn notified(&self) -> Vec<(String, String)> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for RealAlertmanager {
    fn drop(&mut self) {
        // it may have ended already
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "the door through which these tests start it")]
fn spawn(port: u16, config: &Path, data: &Path) -> Child {
    let log = std::fs::File::create(config.join("log")).unwrap();
    let mut command = Command::new(PROGRAM);
    command
        .arg(format!("--config.file={}", config.join("alertmanager.yml").display()))
        .arg(format!("--web.config.file={}", config.join(WEB).display()))
        .arg(format!("--storage.path={}", data.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--cluster.listen-address=", "--log.level=warn"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().unwrap_or_else(|error| {
        panic!("{PROGRAM} cannot be started ({error}): apt-get install prometheus-alertmanager")
    })
}

fn log_of(config: &Path) -> String {
    std::fs::read_to_string(config.join("log")).unwrap_or_default()
}

async fn hear(State(heard): State<Heard>, Json(message): Json<Value>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    heard.lock().unwrap().push((text(&message["status"]), text(&message["commonLabels"]["alertname"])));
}

//! The core's HTTP interface as a stranger uses it.

use anyhow::{Context as _, Result};
use orch_contract::ObservationDocument;
use serde_json::Value;
use std::time::Duration;

/// Longest time for one request, in seconds.
const REQUEST_PATIENCE_S: u64 = 30;

/// A client of one core.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    token: String,
    client: reqwest::Client,
}

/// What the core answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

impl Api {
    /// A client for `http://HOST:PORT` with a bearer token.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(base: &str, token: &str) -> Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(REQUEST_PATIENCE_S))
            .no_proxy()
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), token: token.to_owned(), client })
    }

    /// Where the core listens.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET a path.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        Self::answer(request).await.with_context(|| format!("GET {path}"))
    }

    /// POST JSON to a path.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.post_text(path, body.to_string()).await
    }

    /// POST any text to a path, declared as JSON.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn post_text(&self, path: &str, body: String) -> Result<Answer> {
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(body);
        Self::answer(request).await.with_context(|| format!("POST {path}"))
    }

    /// The observation document.
    ///
    /// # Errors
    /// When no answer came, or one that is not the document.
    pub async fn observation(&self) -> Result<ObservationDocument> {
        let answer = self.get("/queue").await?;
        serde_json::from_str(&answer.text).with_context(|| {
            format!("GET /queue answered {} with something else: {}", answer.status, answer.text)
        })
    }

    async fn answer(request: reqwest::RequestBuilder) -> Result<Answer> {
        let response = request.send().await?;
        Ok(Answer { status: response.status().as_u16(), text: response.text().await? })
    }
}

//! One call of the Telegram Bot API.
//!
//! Responsible for putting a method's parameters on the wire and for telling apart the ways in which
//! a call fails: by the answer's own code and parameters, never by guessing. Parameters and
//! answers are teloxide's types; its HTTP client is not used, since it sleeps ten seconds after a
//! 5xx, drops the error's code and cannot bound an answer. It does not wait, retry or decide
//! anything. Invariants: the token stands in no text that leaves this module, no redirect is
//! followed (the token would travel), and no answer larger than [`ANSWER_MAX_BYTES`] is read.

use std::time::Duration;

use reqwest::{Response, StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use teloxide_core::requests::Payload;
use thiserror::Error;

use crate::trust::{Trust, disbelieved};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for an answer, beyond the time that the method itself may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Largest answer read (8 MiB): a hundred updates stay far below it.
pub const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Longest wait that is taken from an answer (a day): whoever asks for more is asked again then.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// Characters of a description that are kept.
const DESCRIPTION_MAX_CHARACTERS: usize = 300;

/// Why a client cannot be set up.
#[derive(Debug, Error)]
pub enum BotApiError {
    /// The address is none.
    #[error("read the address of the Bot API {address:?}")]
    Address {
        /// As configured.
        address: String,
    },
    /// The HTTP client could not be built.
    #[error("build the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Why a call brought no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFailure {
    /// 429: nothing before so long a time.
    RetryAfter(Duration),
    /// The chat has another number from now on.
    MovedTo(i64),
    /// The API says no, with its code and description.
    Refused {
        /// `error_code`, or the status of HTTP.
        code: u16,
        /// In its words.
        description: String,
    },
    /// No connection, no answer in time, or half an answer: it may have been done.
    Network(&'static str),
    /// It was done, and the record of it is in a form that we do not know.
    DoneUnread,
    /// An answer that is none of the Bot API.
    Answer(String),
}

/// A client for one bot.
pub struct BotApi {
    client: reqwest::Client,
    // holds the token in its path
    base: Url,
}

impl std::fmt::Debug for BotApi {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BotApi").field("host", &self.base.host_str()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Envelope {
    ok: bool,
    result: Option<Value>,
    error_code: Option<u16>,
    description: Option<String>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

impl BotApi {
    /// A client of the API at `address` (a path prefix is kept).
    ///
    /// # Errors
    /// When the address is none or no client can be built.
    pub fn new(address: &str, token: &SecretString, trust: &Trust) -> Result<Self, BotApiError> {
        let not_an_address = || BotApiError::Address { address: address.to_owned() };
        let mut base = Url::parse(address).map_err(|_| not_an_address())?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(not_an_address());
        }
        let bot = format!("bot{}", token.expose_secret());
        base.path_segments_mut().map_err(|()| not_an_address())?.pop_if_empty().push(&bot);
        let client = trust
            .client()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(BotApiError::Client)?;
        Ok(Self { client, base })
    }

    /// Calls a method; `R` is as much of its result as the caller needs.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn call<P: Payload + Serialize, R: DeserializeOwned>(
        &self,
        payload: &P,
    ) -> Result<R, CallFailure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(P::NAME);
        }
        let timeout = payload.timeout_hint().unwrap_or_default() + ANSWER_TIMEOUT;
        let request = self.client.post(url).timeout(timeout).json(payload);
        let response = request.send().await.map_err(|error| CallFailure::Network(words(&error)))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let body = body_of(response).await?;
        read(status, retry_after, &body)
    }
}

fn retry_after(response: &Response) -> Option<u64> {
    response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

async fn body_of(mut response: Response) -> Result<Vec<u8>, CallFailure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| CallFailure::Network(words(&error)))? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(CallFailure::Answer(format!("it is larger than {ANSWER_MAX_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An answer as a result or a failure. Pure.
fn read<R: DeserializeOwned>(
    status: StatusCode,
    retry_after_s: Option<u64>,
    body: &[u8],
) -> Result<R, CallFailure> {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
        return Err(match status {
            // half a record of what was done
            StatusCode::OK if body.trim_ascii_start().starts_with(br#"{"ok":true"#) => {
                CallFailure::DoneUnread
            }
            // whatever stands before the API (a proxy, a load balancer) answers in its own form
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                refusal(status.as_u16(), &format!("status {}", status.as_u16()), retry_after_s)
            }
            status => CallFailure::Answer(format!("status {} and no answer of the Bot API", status.as_u16())),
        });
    };
    if envelope.ok {
        let result = envelope.result.unwrap_or(Value::Null);
        return serde_json::from_value(result).map_err(|_| CallFailure::DoneUnread);
    }
    let code = envelope.error_code.unwrap_or(status.as_u16());
    let parameters =
        envelope.parameters.unwrap_or(Parameters { retry_after: None, migrate_to_chat_id: None });
    if let Some(to) = parameters.migrate_to_chat_id {
        return Err(CallFailure::MovedTo(to));
    }
    let description = envelope.description.unwrap_or_else(|| format!("error {code}"));
    Err(refusal(code, &description, parameters.retry_after.or(retry_after_s)))
}

fn refusal(code: u16, description: &str, retry_after_s: Option<u64>) -> CallFailure {
    match (code, retry_after_s) {
        (429, Some(wait_s)) => CallFailure::RetryAfter(Duration::from_secs(wait_s).min(RETRY_AFTER_MAX)),
        (code, _) => {
            let description = description.chars().take(DESCRIPTION_MAX_CHARACTERS).collect();
            CallFailure::Refused { code, description }
        }
    }
}

/// What went wrong on the way, by kind only: the client's errors carry the address, and the address
/// carries the token.
fn words(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if disbelieved(error) {
        "its certificate is not trusted"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the request failed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_number(status: u16, header_s: Option<u64>, body: &str) -> Result<i64, CallFailure> {
        read(StatusCode::from_u16(status).unwrap(), header_s, body.as_bytes())
    }

    fn refused(code: u16, description: &str) -> Result<i64, CallFailure> {
        Err(CallFailure::Refused { code, description: description.to_owned() })
    }

    #[test]
    fn answers_are_told_apart_by_code_and_parameters() {
        let flood = r#"{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":7}}"#;
        let flood_bare = r#"{"ok":false,"error_code":429,"description":"x"}"#;
        let moved =
            r#"{"ok":false,"error_code":400,"description":"x","parameters":{"migrate_to_chat_id":-9}}"#;
        let blocked = r#"{"ok":false,"error_code":403,"description":"Forbidden: no"}"#;
        let wait = |seconds| Err(CallFailure::RetryAfter(Duration::from_secs(seconds)));
        for (status, header_s, body, expected) in [
            (200, None, r#"{"ok":true,"result":5}"#, Ok(5)),
            (200, None, r#"{"ok":true,"result":"other"}"#, Err(CallFailure::DoneUnread)),
            (200, None, r#"{"ok":true,"resu"#, Err(CallFailure::DoneUnread)),
            (429, None, flood, wait(7)),
            (429, Some(3), flood_bare, wait(3)),
            (429, Some(4), "slow down", wait(4)),
            (429, None, flood_bare, refused(429, "x")),
            (400, None, moved, Err(CallFailure::MovedTo(-9))),
            (403, None, blocked, refused(403, "Forbidden: no")),
            (502, Some(9), "<html>", refused(502, "status 502")),
        ] {
            assert_eq!(read_number(status, header_s, body), expected, "{body}");
        }
        for (status, body) in [(200, "<html>"), (200, ""), (301, ""), (404, "nothing here")] {
            assert!(matches!(read_number(status, None, body), Err(CallFailure::Answer(_))), "{body}");
        }
    }

    #[test]
    fn a_wait_beyond_a_day_is_cut_to_a_day() {
        let body = r#"{"ok":false,"error_code":429,"parameters":{"retry_after":18446744073709551615}}"#;
        assert_eq!(read_number(429, None, body), Err(CallFailure::RetryAfter(RETRY_AFTER_MAX)));
    }
}

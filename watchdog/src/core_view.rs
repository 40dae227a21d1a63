//! The core as seen from outside: one poll, one answer.
//!
//! Responsible for `GET <core>/queue` and for putting whatever comes back into one of six words
//! (`CoreSight`). It does not judge how long a core may be silent (`signals::core_down`) and keeps
//! no history. Invariants: `ReadOnlyClient` has no method but `GET`, follows no redirect (the token
//! would travel), and takes no body larger than [`BODY_MAX_BYTES`].

mod sense;

use std::sync::Arc;
use std::time::Duration;

use orch_contract::{ObservationDocument, SCHEMA_VERSION};
use reqwest::{StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use thiserror::Error;

use crate::observe::{CoreObservation, CoreSight, Fault};
use crate::trust::Trust;

/// Largest document taken (4 MiB): five thousand trees and tasks stay below it, and whoever answers in the core's place
/// cannot fill this program's memory with one.
pub const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How much of a failing answer is looked at for the word "starting".
const ERROR_BODY_MAX_BYTES: usize = 4 * 1024;

/// Why a client could not be made.
#[derive(Debug, Error)]
pub enum CoreClientError {
    /// The address is none.
    #[error("read the core's address {address:?}")]
    Address {
        /// As configured.
        address: String,
    },
    /// The token holds characters that no header may hold.
    #[error("use the core's read token: it holds characters that no header may hold")]
    Token,
    /// The HTTP client could not be built.
    #[error("build the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// An HTTP client that can only `GET`.
#[derive(Debug, Clone)]
pub struct ReadOnlyClient {
    client: reqwest::Client,
    queue: Url,
    timeout: Duration,
}

impl ReadOnlyClient {
    /// A client of the core at `address` (`http://host:port`, a path prefix is kept).
    ///
    /// # Errors
    /// When the address or the token cannot be used.
    pub fn new(
        address: &str,
        token: Option<&SecretString>,
        timeout: Duration,
        trust: &Trust,
    ) -> Result<Self, CoreClientError> {
        let not_an_address = || CoreClientError::Address { address: address.to_owned() };
        let mut queue = Url::parse(address).map_err(|_| not_an_address())?;
        if !matches!(queue.scheme(), "http" | "https") {
            return Err(not_an_address());
        }
        queue.path_segments_mut().map_err(|()| not_an_address())?.pop_if_empty().push("queue");
        let mut headers = header::HeaderMap::new();
        if let Some(token) = token {
            let bearer = format!("Bearer {}", token.expose_secret());
            let mut value = header::HeaderValue::from_str(&bearer).map_err(|_| CoreClientError::Token)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let client = trust
            .client()
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .no_proxy()
            .build()
            .map_err(CoreClientError::Client)?;
        Ok(Self { client, queue, timeout })
    }

    /// One poll; `now` stamps the answer.
    pub async fn poll(&self, now: impl FnOnce() -> i64) -> CoreSight {
        match self.answer().await {
            Ok((StatusCode::OK, body)) => read_document(&body, now()),
            Ok((status, body)) => read_refusal(status, &body),
            Err(fault) => CoreSight::Down(fault),
        }
    }

    async fn answer(&self) -> Result<(StatusCode, Vec<u8>), Fault> {
        let request = self.client.get(self.queue.clone());
        let mut response = request.send().await.map_err(|error| self.fault(&error))?;
        let status = response.status();
        let limit = if status == StatusCode::OK { BODY_MAX_BYTES } else { ERROR_BODY_MAX_BYTES };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.fault(&error))? {
            if body.len() + chunk.len() > limit {
                match status {
                    StatusCode::OK => return Err(Fault::TooLarge { limit_bytes: limit as u64 }),
                    _ => break,
                }
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }

    /// The failing step, without the address: errors of the client carry whole URLs.
    fn fault(&self, error: &reqwest::Error) -> Fault {
        if error.is_timeout() {
            let waited_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
            return Fault::Late { waited_ms };
        }
        let mut source = std::error::Error::source(error);
        let mut cause = None;
        while let Some(inner) = source {
            cause = Some(inner.to_string());
            source = inner.source();
        }
        if error.is_connect() { Fault::Connect { cause } } else { Fault::BrokeOff { cause } }
    }
}

/// The one field that every major version has.
#[derive(Deserialize)]
struct Version {
    schema_version: u32,
}

/// Reads the body of a 200.
pub(crate) fn read_document(body: &[u8], received_at_ms: i64) -> CoreSight {
    let read = serde_json::from_slice::<ObservationDocument>(body);
    let version = match &read {
        Ok(document) => document.schema_version,
        // only what cannot be used is looked at twice
        Err(_) => match serde_json::from_slice::<Version>(body) {
            Ok(version) => version.schema_version,
            Err(_) => return CoreSight::Unreadable(Fault::NoDocument),
        },
    };
    if version != SCHEMA_VERSION {
        return CoreSight::OtherSchema(version);
    }
    match read {
        Ok(document) => match sense::nonsense(&document) {
            Some(error) => CoreSight::Unreadable(Fault::BreaksContract { error }),
            None => CoreSight::Heard(Arc::new(CoreObservation { document, received_at_ms })),
        },
        Err(error) => CoreSight::Unreadable(Fault::BreaksContract { error: error.to_string() }),
    }
}

/// Reads an answer that is no 200.
fn read_refusal(status: StatusCode, body: &[u8]) -> CoreSight {
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    match status {
        StatusCode::SERVICE_UNAVAILABLE if body.contains("starting") => CoreSight::Starting,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            CoreSight::Unreadable(Fault::TokenRefused(status.as_u16()))
        }
        status if status.is_server_error() => CoreSight::Down(Fault::Answers(status.as_u16())),
        status => CoreSight::Unreadable(Fault::AnswersInstead(status.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reads_as_one_of_six_words() {
        let refused =
            |status: u16, body: &str| read_refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        let cases = [
            (refused(503, r#"{"title":"starting"}"#), CoreSight::Starting),
            (refused(503, "upstream is away"), CoreSight::Down(Fault::Answers(503))),
            (refused(502, ""), CoreSight::Down(Fault::Answers(502))),
            (refused(401, ""), CoreSight::Unreadable(Fault::TokenRefused(401))),
            (refused(404, ""), CoreSight::Unreadable(Fault::AnswersInstead(404))),
            (refused(302, ""), CoreSight::Unreadable(Fault::AnswersInstead(302))),
            (read_document(br#"{"schema_version":2,"anything":1}"#, 0), CoreSight::OtherSchema(2)),
            (read_document(b"<html>", 0), CoreSight::Unreadable(Fault::NoDocument)),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
        let CoreSight::Unreadable(reason) = read_document(br#"{"schema_version":1}"#, 0) else { panic!() };
        assert!(matches!(reason, Fault::BreaksContract { .. }), "{reason:?}");
    }

    #[test]
    fn the_queue_stands_below_the_configured_path() {
        let client = |address| ReadOnlyClient::new(address, None, Duration::from_secs(1), &Trust::default());
        for (address, expected) in [
            ("http://core:8080", "http://core:8080/queue"),
            ("http://core:8080/", "http://core:8080/queue"),
            ("https://host/orch/", "https://host/orch/queue"),
        ] {
            assert_eq!(client(address).unwrap().queue.as_str(), expected);
        }
        for address in ["core:8080", "ftp://core", "", "not an address"] {
            assert!(client(address).is_err(), "{address:?}");
        }
    }
}

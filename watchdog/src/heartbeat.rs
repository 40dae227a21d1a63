//! The dead man's switch: a sign of life to somebody who notices when it stays away.
//!
//! Responsible for fetching one address after a good tick, and for its counters. A task of its own:
//! a tick hands over and goes on, and what comes while one is under way is one more and no queue.
//! Invariants: the address is a secret and stands in no text that leaves this module; no redirect is
//! followed (the secret would travel); nothing is retried, since the next tick is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::trust::{Trust, disbelieved};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why no heartbeat can be set up.
#[derive(Debug, Error)]
pub enum HeartbeatError {
    /// The address is none; it is not quoted.
    #[error("read the address of the heartbeat")]
    Address,
    /// The HTTP client could not be built.
    #[error("build the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Why a heartbeat failed, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeatFailure {
    /// No connection, or no answer in time.
    Network,
    /// An answer that is no success.
    Status,
}

impl BeatFailure {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Network, Self::Status];

    /// Label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Status => "status",
        }
    }
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BeatReport {
    /// Tries.
    pub attempts: u64,
    /// Failures, in the order of [`BeatFailure::ALL`].
    pub failures: [u64; BeatFailure::ALL.len()],
}

/// The tick's end of the heartbeat.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    wanted: Arc<Notify>,
    report: Arc<Mutex<BeatReport>>,
}

/// The sending end.
pub struct HeartbeatSender {
    client: reqwest::Client,
    url: Url,
}

impl std::fmt::Debug for HeartbeatSender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HeartbeatSender").finish_non_exhaustive()
    }
}

impl HeartbeatSender {
    /// A sender to this address.
    ///
    /// # Errors
    /// When the address is none or no client can be built.
    pub fn new(url: &SecretString, trust: &Trust) -> Result<Self, HeartbeatError> {
        let url = Url::parse(url.expose_secret()).map_err(|_| HeartbeatError::Address)?;
        let client = trust
            .client()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(HeartbeatError::Client)?;
        Ok(Self { client, url })
    }

    async fn beat(&self) -> Result<(), (BeatFailure, String)> {
        match self.client.get(self.url.clone()).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err((BeatFailure::Status, format!("it answers {}", answer.status().as_u16()))),
            // the error carries the address
            Err(error) if error.is_timeout() => Err((BeatFailure::Network, "no answer in time".to_owned())),
            Err(error) if disbelieved(&error) => {
                Err((BeatFailure::Network, "its certificate is not trusted".to_owned()))
            }
            Err(_) => Err((BeatFailure::Network, "no connection, or it broke".to_owned())),
        }
    }
}

impl Heartbeat {
    /// A good tick has finished. Never waits.
    pub fn good_tick(&self) {
        self.wanted.notify_one();
    }

    /// Counters.
    #[must_use]
    pub fn report(&self) -> BeatReport {
        *self.lock()
    }

    /// Sends until it is told to stop.
    pub async fn run(self, sender: HeartbeatSender, stop: CancellationToken) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wanted.notified() => {}
            }
            let beaten = tokio::select! {
                () = stop.cancelled() => return,
                beaten = sender.beat() => beaten,
            };
            self.note(&beaten);
            // told when it changes: a line each tick would drown the others
            match (&beaten, failing) {
                (Err((_, why)), false) => tracing::warn!(why, "the heartbeat is not taken"),
                (Ok(()), true) => tracing::info!("the heartbeat is taken again"),
                (Err(_), true) | (Ok(()), false) => {}
            }
            failing = beaten.is_err();
        }
    }

    fn note(&self, beaten: &Result<(), (BeatFailure, String)>) {
        let mut report = self.lock();
        report.attempts += 1;
        if let Err((reason, _)) = beaten {
            for (known, count) in BeatFailure::ALL.iter().zip(&mut report.failures) {
                *count += u64::from(known == reason);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BeatReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

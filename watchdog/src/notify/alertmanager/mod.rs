//! The Alertmanager channel: keeps one Alertmanager in step with the cases.
//!
//! Responsible for `POST /api/v2/alerts` and for when: at once when a notice waits, and again and
//! again while anything fires, since Alertmanager forgets what it does not hear of. Each message
//! tells everything (`ledger`, `wire`), so a message that was lost or doubled does no harm, and
//! neither does an Alertmanager that was restarted. A notice leaves the outbox when a message
//! with it was taken. It asks Alertmanager for nothing and silences nothing there.

pub mod ledger;
pub mod wire;

use std::time::Duration;

use orch_settings::ExposeSecret;
use reqwest::{StatusCode, Url, header, redirect};
use thiserror::Error;
use tokio::time::Instant;

use self::ledger::Ledger;
use self::wire::PostableAlert;
use super::Channel;
use super::delivery::{Delivery, FailureReason, Outcome, Patience, Rest, crash_point};
use super::outbox::Entry;
use crate::clock;
use crate::config::{AlertmanagerConfig, Login};
use crate::keeper::Worth;
use crate::proc::redact;
use crate::trust::{Trust, disbelieved};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Alerts in one request.
const ALERTS_A_REQUEST: usize = 250;

/// What fires is good for so many periods of re-sending: a watchdog that is away for a shorter
/// time causes no false end.
const GOOD_FOR_PERIODS: i64 = 10;

/// Longest wait that is taken from an answer.
const RETRY_AFTER_MAX_S: u64 = 300;

/// How much of a refusal is told.
const WHY_MAX_CHARACTERS: usize = 200;

/// How much of a refusal is read.
const WHY_MAX_BYTES: usize = 4 * 1024;

/// Why the channel cannot be set up.
#[derive(Debug, Error)]
pub enum AlertmanagerError {
    /// The address is none.
    #[error("read the address of Alertmanager {address:?}")]
    Address {
        /// As configured.
        address: String,
    },
    /// The HTTP client could not be built.
    #[error("build the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A client of one Alertmanager.
#[derive(Debug, Clone)]
pub struct AlertmanagerClient {
    client: reqwest::Client,
    alerts: Url,
    // its secrets print as stars, and the headers made of them are marked as sensitive
    login: Option<Login>,
}

impl AlertmanagerClient {
    /// A client of the configured Alertmanager (a path prefix of its address is kept).
    ///
    /// # Errors
    /// When the address is none or no client can be built.
    pub fn new(settings: &AlertmanagerConfig, trust: &Trust) -> Result<Self, AlertmanagerError> {
        let address = &settings.url;
        let not_an_address = || AlertmanagerError::Address { address: address.to_owned() };
        let mut alerts = Url::parse(address).map_err(|_| not_an_address())?;
        let path = ["api", "v2", "alerts"];
        alerts.path_segments_mut().map_err(|()| not_an_address())?.pop_if_empty().extend(path);
        let client = trust
            .client()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(AlertmanagerError::Client)?;
        Ok(Self { client, alerts, login: settings.login.clone() })
    }

    /// Tells alerts, all of them or none as far as we then know.
    pub async fn post(&self, alerts: &[PostableAlert]) -> Outcome {
        for some in alerts.chunks(ALERTS_A_REQUEST) {
            match self.post_some(some).await {
                Outcome::Taken(_) => {}
                other @ (Outcome::Wait(_)
                | Outcome::Failed(..)
                | Outcome::Refused(..)
                | Outcome::Unsendable(..)
                | Outcome::Moved(_)) => return other,
            }
        }
        Outcome::Taken(None)
    }

    async fn post_some(&self, alerts: &[PostableAlert]) -> Outcome {
        let network = |error: reqwest::Error| {
            let words = if error.is_timeout() {
                "no answer in time"
            } else if disbelieved(&error) {
                "its certificate is not trusted"
            } else {
                "no connection, or it broke"
            };
            Outcome::Failed(FailureReason::Network, words.to_owned())
        };
        let request = self.client.post(self.alerts.clone()).json(alerts);
        let request = match &self.login {
            None => request,
            Some(Login::Bearer(token)) => request.bearer_auth(token.expose_secret()),
            Some(Login::Basic { user, password }) => request.basic_auth(user, Some(password.expose_secret())),
        };
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return network(error),
        };
        let status = response.status();
        if status.is_success() {
            return Outcome::Taken(None);
        }
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after_s = retry_after.and_then(|text| text.trim().parse::<u64>().ok());
        let mut body = Vec::new();
        while body.len() < WHY_MAX_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        refusal(status, retry_after_s, &String::from_utf8_lossy(&body))
    }
}

fn refusal(status: StatusCode, retry_after_s: Option<u64>, body: &str) -> Outcome {
    let said = redact::plain(body.trim().as_bytes(), WHY_MAX_CHARACTERS);
    let why = format!("status {} {said}", status.as_u16()).trim_end().to_owned();
    match (status.as_u16(), retry_after_s) {
        (429 | 503, Some(wait_s)) => Outcome::Wait(Duration::from_secs(wait_s.clamp(1, RETRY_AFTER_MAX_S))),
        (429, None) => Outcome::Failed(FailureReason::RateLimited, why),
        (408, _) => Outcome::Failed(FailureReason::Network, why),
        (400..500, _) => Outcome::Refused(FailureReason::Refused, why),
        (500..600, _) => Outcome::Failed(FailureReason::Server, why),
        _ => Outcome::Failed(FailureReason::Answer, why),
    }
}

/// What the next message tells.
struct Plan {
    ledger: Ledger,
    alerts: Vec<PostableAlert>,
    seqs: Vec<u64>,
}

/// Keeps Alertmanager in step until it is told to stop.
pub async fn run(delivery: Delivery, settings: AlertmanagerConfig, client: AlertmanagerClient) {
    let period = Duration::from_millis(u64::try_from(settings.resend_ms).unwrap_or(u64::MAX));
    let good_for_ms = settings.resend_ms.saturating_mul(GOOD_FOR_PERIODS);
    let mut saved = delivery.keeper.saved();
    let mut patience = Patience::default();
    // what it was told in an earlier life of ours, and what it forgot in its own
    let mut due = Instant::now();
    if delivery.wait_on(Channel::Alertmanager).await == Rest::Stopped {
        return;
    }
    loop {
        let outbox_seq = saved.borrow_and_update().outbox_seq;
        let now_ms = clock::wall_ms();
        let waiting = delivery.keeper.read(|state| state.outbox.waiting(Channel::Alertmanager, outbox_seq));
        if waiting.is_empty() && Instant::now() < due {
            tokio::select! {
                () = delivery.stop.cancelled() => return,
                changed = saved.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(due) => {}
            }
            continue;
        }
        let plan = plan(&delivery, &waiting, now_ms, now_ms.saturating_add(good_for_ms));
        if plan.alerts.is_empty() && plan.seqs.is_empty() {
            due = Instant::now() + period;
            continue;
        }
        let newest = newest_kind(&waiting);
        crash_point(Channel::Alertmanager, "before_send", newest);
        let outcome = tokio::select! {
            () = delivery.stop.cancelled() => return,
            outcome = client.post(&plan.alerts) => outcome,
        };
        crash_point(Channel::Alertmanager, "after_send", newest);
        delivery.report.note(Channel::Alertmanager, &outcome);
        delivery.keep_wait(Channel::Alertmanager, &outcome);
        if let Outcome::Taken(_) = outcome {
            due = Instant::now() + period;
            taken(&delivery, plan, now_ms);
            crash_point(Channel::Alertmanager, "after_record", newest);
        }
        let wait = match &outcome {
            // what fires would end there if nobody tried for long
            Outcome::Refused(..) | Outcome::Failed(..) => patience.after(&outcome).min(period),
            Outcome::Taken(_) | Outcome::Wait(_) | Outcome::Unsendable(..) | Outcome::Moved(_) => {
                patience.after(&outcome)
            }
        };
        if delivery.rest(&outcome, wait).await == Rest::Stopped {
            return;
        }
    }
}

/// Empty for a message that only repeats what fires.
fn newest_kind(waiting: &[Entry]) -> &'static str {
    let newest = waiting.iter().flat_map(|entry| &entry.notices).max_by_key(|queued| queued.seq);
    newest.map_or("", |queued| queued.notice.kind.name())
}

fn plan(delivery: &Delivery, waiting: &[Entry], now_ms: i64, until_ms: i64) -> Plan {
    let voice = &delivery.voice;
    delivery.keeper.read(|state| {
        let mut ledger = state.alertmanager.clone();
        ledger.update(waiting, &state.alerts, voice, now_ms);
        let alerts = ledger.alerts(&state.alerts, voice, now_ms, until_ms);
        let seqs = waiting.iter().flat_map(|entry| &entry.notices).map(|queued| queued.seq).collect();
        Plan { ledger, alerts, seqs }
    })
}

/// Writes down what was taken; a message that told nothing new is not worth a write.
fn taken(delivery: &Delivery, plan: Plan, now_ms: i64) {
    let Plan { mut ledger, seqs, .. } = plan;
    ledger.taken(now_ms);
    delivery.keeper.change(|state| {
        state.outbox.taken(Channel::Alertmanager, &seqs, None);
        let new = !seqs.is_empty() || state.alertmanager != ledger;
        state.alertmanager = ledger;
        ((), if new { Worth::Saving } else { Worth::Keeping })
    });
}

#[cfg(test)]
mod tests;

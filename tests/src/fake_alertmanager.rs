//! An Alertmanager stand-in for what the real one cannot be made to do: fail.
//!
//! Responsible for `POST /api/v2/alerts` with the checks that the real one makes (labels, times) and
//! its state by labels, and for faults. Whether a real Alertmanager agrees is shown by tests
//! against the real program.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use tokio::net::TcpListener;

/// Names and values.
pub type Words = BTreeMap<String, String>;

/// A running stand-in; ends when dropped.
#[derive(Debug)]
pub struct FakeAlertmanager {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    server: tokio::task::JoinHandle<()>,
}

/// An alert as it was told last.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Told {
    /// Identity.
    pub labels: Words,
    /// For people.
    pub annotations: Words,
    /// RFC 3339.
    pub starts_at: String,
    /// RFC 3339.
    pub ends_at: String,
}

/// What goes wrong with the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostFault {
    /// This status, and nothing is taken.
    Status(u16),
    /// 503, and the wish to be left alone for so many seconds.
    RetryAfter(u16),
    /// The connection ends before anything is taken.
    Reset,
    /// It is taken, and the answer never arrives.
    LostAnswer,
}

#[derive(Debug, Default)]
struct World {
    alerts: BTreeMap<Words, Told>,
    faults: VecDeque<PostFault>,
    standing: Option<PostFault>,
    posts: u64,
}

impl FakeAlertmanager {
    /// Starts one on loopback.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> std::io::Result<Self> {
        let world = Arc::new(Mutex::new(World::default()));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/am/api/v2/alerts", post(take)).with_state(Arc::clone(&world));
        let server = tokio::spawn(async move {
            // ends with the test that started it
            axum::serve(listener, router).await.ok();
        });
        Ok(Self { address, world, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address, with the path prefix that it is served under.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/am", self.address)
    }

    /// The next request goes wrong.
    pub fn fault(&self, fault: PostFault) {
        self.world().faults.push_back(fault);
    }

    /// Every request goes wrong, until this is set to none.
    pub fn set_outage(&self, outage: Option<PostFault>) {
        self.world().standing = outage;
    }

    /// It loses what it knows, as after a restart.
    pub fn forget(&self) {
        self.world().alerts.clear();
    }

    /// What it was told last, by labels.
    #[must_use]
    pub fn alerts(&self) -> Vec<Told> {
        self.world().alerts.values().cloned().collect()
    }

    /// Requests so far.
    #[must_use]
    pub fn posts(&self) -> u64 {
        self.world().posts
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

impl Drop for FakeAlertmanager {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(world): State<Arc<Mutex<World>>>, body: axum::body::Bytes) -> Response {
    let fault = {
        let mut world = lock(&world);
        world.posts += 1;
        world.standing.or_else(|| world.faults.pop_front())
    };
    match fault {
        Some(PostFault::Status(code)) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return (status, "\"not now\"").into_response();
        }
        Some(PostFault::RetryAfter(wait_s)) => {
            let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
            return response;
        }
        Some(PostFault::Reset) => std::panic::resume_unwind(Box::new("the connection is reset")),
        Some(PostFault::LostAnswer) | None => {}
    }
    let alerts: Vec<Told> = match serde_json::from_slice(&body) {
        Ok(alerts) => alerts,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    for alert in &alerts {
        if let Err(why) = check(alert) {
            return (StatusCode::BAD_REQUEST, why).into_response();
        }
    }
    let mut world = lock(&world);
    world.alerts.extend(alerts.into_iter().map(|alert| (alert.labels.clone(), alert)));
    if fault == Some(PostFault::LostAnswer) {
        drop(world);
        std::panic::resume_unwind(Box::new("the answer is lost"));
    }
    StatusCode::OK.into_response()
}

/// What the real one refuses.
fn check(alert: &Told) -> Result<(), String> {
    let is_name = |name: &str| {
        name.bytes()
            .enumerate()
            .all(|(at, byte)| byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()))
    };
    match alert.labels.iter().find(|(name, value)| !is_name(name) || value.is_empty()) {
        Some((name, _)) => return Err(format!("invalid label set: invalid name or value of {name:?}")),
        None if !alert.labels.contains_key("alertname") => {
            return Err("at least one label pair required".into());
        }
        None => {}
    }
    // both are in UTC with the same form up to the fraction, so their text compares by time
    if alert.ends_at[..19] < alert.starts_at[..19] {
        return Err("start time must be before end time".to_owned());
    }
    Ok(())
}

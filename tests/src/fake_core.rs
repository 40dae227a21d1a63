//! A core that only answers `GET /queue`, with whatever a test wants to be the case.
//!
//! Counts the requests by method, so that a test can prove that nobody asks for more than to read.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use orch_contract::ObservationDocument;
use tokio::net::TcpListener;

/// What the core does when it is asked.
#[derive(Debug, Clone)]
pub enum CoreBehaviour {
    /// Answers with this document.
    Document(Box<ObservationDocument>),
    /// Says that it is starting.
    Starting,
    /// Answers with a status and a text.
    Refuses(u16, String),
    /// Takes the request and stays silent for this long.
    Hangs(Duration),
}

/// A running stand-in; ends when dropped.
#[derive(Debug)]
pub struct FakeCore {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    behaviour: CoreBehaviour,
    token: Option<String>,
    polls: u64,
    other_requests: Vec<String>,
}

impl FakeCore {
    /// Starts one on loopback, at a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(behaviour: CoreBehaviour, token: Option<&str>) -> std::io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), behaviour, token).await
    }

    /// Starts one at an address, say where an earlier one was.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn start_at(
        address: SocketAddr,
        behaviour: CoreBehaviour,
        token: Option<&str>,
    ) -> std::io::Result<Self> {
        let token = token.map(str::to_owned);
        let shared = Shared { behaviour, token, polls: 0, other_requests: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // ends with the test that started it
            axum::serve(listener, router).await.ok();
        });
        Ok(Self { address, shared, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a setting.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it behaves like this.
    pub fn behave(&self, behaviour: CoreBehaviour) {
        lock(&self.shared).behaviour = behaviour;
    }

    /// Polls so far.
    #[must_use]
    pub fn polls(&self) -> u64 {
        lock(&self.shared).polls
    }

    /// Requests that were no `GET /queue`.
    #[must_use]
    pub fn other_requests(&self) -> Vec<String> {
        lock(&self.shared).other_requests.clone()
    }
}

impl Drop for FakeCore {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> Response {
    let behaviour = {
        let mut shared = lock(&shared);
        if request.method() != "GET" || request.uri().path() != "/queue" {
            shared.other_requests.push(format!("{} {}", request.method(), request.uri().path()));
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        shared.polls += 1;
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let wanted = shared.token.as_ref().map(|token| format!("Bearer {token}"));
        if wanted.is_some() && given != wanted.as_deref() {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        shared.behaviour.clone()
    };
    match behaviour {
        CoreBehaviour::Document(document) => axum::Json(*document).into_response(),
        CoreBehaviour::Starting => {
            (StatusCode::SERVICE_UNAVAILABLE, r#"{"title":"starting"}"#).into_response()
        }
        CoreBehaviour::Refuses(status, text) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, text).into_response()
        }
        CoreBehaviour::Hangs(time) => {
            tokio::time::sleep(time).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
    }
}

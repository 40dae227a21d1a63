//! The HTTP API: reading for everybody who may, actions for operators.
//!
//! Responsible for routes, who may call them, bounds on requests, and putting answers and problems
//! into words. Knows no SQL and decides nothing about tasks: every action is one call of the
//! engine. While the core recovers, only `/healthz` and `/readyz` answer in substance.
//!
//! Invariants: nothing that changes runs without the operator's token; a request that is refused
//! has changed nothing; an action that began is never ended by its caller going away; every error
//! is a problem document (RFC 9457), and none carries internals.

mod access;
mod act;
mod body;
mod extract;
mod guard;
mod problem;
mod read;
mod run_log;
mod server;
mod story;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod token;
mod views;

use std::sync::{Arc, OnceLock};

pub use access::Access;
use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
pub use server::{BOUND_ADDRESS_FILE, ServeError, serve};
pub use token::{API_TOKEN_FILE, TokenError, api_token, read_token_file};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;

use crate::engine::Engine;

/// Requests that are worked on at once; health checks do not count. The next one is told to come
/// again.
const REQUESTS_MAX: usize = 64;

/// Where the engine will be once the core has it: the listener answers before.
#[derive(Debug, Clone, Default)]
pub struct EngineSlot(Arc<OnceLock<Arc<Engine>>>);

impl EngineSlot {
    /// Puts the engine in; answers whether the slot was empty.
    pub fn fill(&self, engine: Arc<Engine>) -> bool {
        self.0.set(engine).is_ok()
    }

    fn get(&self) -> Option<&Arc<Engine>> {
        self.0.get()
    }
}

/// What handlers share.
#[derive(Debug, Clone)]
pub struct HttpState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: EngineSlot,
    access: Access,
    /// Actions under way: they end even when whoever asked has gone.
    work: TaskTracker,
    room: Semaphore,
    writable: Mutex<read::LastProbe>,
}

impl HttpState {
    /// Shares the engine's slot; actions are tracked by `work`, which a shutdown waits for.
    #[must_use]
    pub fn new(engine: EngineSlot, access: Access, work: TaskTracker) -> Self {
        Self(Arc::new(Shared {
            engine,
            access,
            work,
            room: Semaphore::new(REQUESTS_MAX),
            writable: Mutex::default(),
        }))
    }
}

/// All routes with everything around them.
pub fn router(state: HttpState) -> Router {
    let routes = Router::new()
        .route("/healthz", get(read::healthz))
        .route("/readyz", get(read::readyz))
        .route("/metrics", get(read::metrics))
        .route("/queue", get(read::queue))
        .route("/tasks", get(read::tasks).post(act::create))
        .route("/tasks/{key}", get(read::task))
        .route("/tasks/{key}/why", get(read::why))
        .route("/tasks/{key}/events", get(read::events))
        .route("/tasks/{key}/approve", post(act::approve))
        .route("/tasks/{key}/accept-landed", post(act::accept_landed))
        .route("/tasks/{key}/retry", post(act::retry))
        .route("/tasks/{key}/redeploy", post(act::redeploy))
        .route("/tasks/{key}/rollback", post(act::roll_back))
        .route("/tasks/{key}/cancel", post(act::cancel))
        .route("/tasks/{key}/advance", post(act::advance))
        .route("/runs/{id}", get(read::run))
        .route("/runs/{id}/log", get(run_log::log))
        .route("/transition-lease/release", post(act::release_lease));
    around(routes, state)
}

/// What surrounds every route: the last layer is the outermost.
fn around(routes: Router<HttpState>, state: HttpState) -> Router {
    routes
        .fallback(guard::unknown_route)
        .method_not_allowed_fallback(guard::wrong_method)
        .layer(from_fn_with_state(state.clone(), guard::guard))
        .layer(CatchPanicLayer::custom(guard::panicked))
        .layer(from_fn(guard::security_headers))
        .with_state(state)
}

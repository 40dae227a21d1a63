//! What every request passes: room, name, token, time; and what is said where no handler is.

use std::{any::Any, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    HttpState, access,
    problem::{Problem, ProblemKind},
};

/// A handler that has not answered by then is given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Headers of every answer: nothing here is a page, is kept by a cache, or is put into another
/// site's page.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Lets a request through to its handler, or says why not.
pub(super) async fn guard(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    // a health check is cheap, comes from anything, and must answer when everything else is busy
    if matches!(request.uri().path(), "/healthz" | "/readyz") {
        return bounded(next.run(request)).await;
    }
    let Ok(_room) = state.0.room.try_acquire() else {
        return Problem::new(ProblemKind::Busy, "too many requests are under way").into_response();
    };
    if let Err(problem) = admit(&state, &request) {
        return problem.into_response();
    }
    bounded(next.run(request)).await
}

fn admit(state: &HttpState, request: &Request) -> Result<(), Problem> {
    let access = &state.0.access;
    access.judge_name(request.version(), request.uri(), request.headers())?;
    access.judge(request.method(), request.headers())?;
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        access::refuse_other_sites(request.headers())?;
    }
    Ok(())
}

async fn bounded(answer: impl Future<Output = Response>) -> Response {
    tokio::time::timeout(REQUEST_TIMEOUT, answer).await.unwrap_or_else(|_| {
        let detail = format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
        Problem::new(ProblemKind::TimedOut, detail).into_response()
    })
}

pub(super) async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer demands")]
pub(super) fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a handler panicked");
    Problem::new(ProblemKind::Internal, "the cause stands in the core's log").into_response()
}

pub(super) async fn unknown_route(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(ProblemKind::UnknownRoute, format!("there is nothing at {path}"))
}

pub(super) async fn wrong_method(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(ProblemKind::WrongMethod, format!("{path} does not know {}", request.method()))
}

//! Parts of a request as checked values: key, run number, query, and the engine that is ready.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};

use super::{
    HttpState,
    problem::{FieldProblem, Problem, ProblemKind},
};
use crate::{
    domain::ids::{RunId, WorkItemKey},
    engine::{Engine, Life},
};

/// The engine, once the core has recovered.
pub(super) struct Ready(pub(super) Arc<Engine>);

impl FromRequestParts<HttpState> for Ready {
    type Rejection = Problem;

    async fn from_request_parts(_parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        let starting = || Problem::new(ProblemKind::Starting, "the core recovers what its last life left");
        let engine = state.0.engine.get().ok_or_else(starting)?;
        match engine.life() {
            Life::Starting => Err(starting()),
            Life::Ready | Life::Stopping => Ok(Self(Arc::clone(engine))),
        }
    }
}

/// The key in the path.
pub(super) struct Key(pub(super) WorkItemKey);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let malformed = |detail: String| Problem::new(ProblemKind::MalformedKey, detail);
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| malformed("the key is not UTF-8".to_owned()))?;
        WorkItemKey::parse(&text).map(Self).map_err(|error| malformed(error.to_string()))
    }
}

/// The run number in the path.
pub(super) struct Run(pub(super) RunId);

impl<S: Send + Sync> FromRequestParts<S> for Run {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| text);
        text.ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .map(|number| Self(RunId(number)))
            .ok_or_else(|| Problem::new(ProblemKind::MalformedId, "a run number is a whole number"))
    }
}

/// Parameters behind the question mark, each at most once; [`Parameters::finish`] refuses what no
/// handler took.
#[derive(Debug)]
pub(super) struct Parameters {
    given: Vec<(String, String)>,
    errors: Vec<FieldProblem>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(given) =
            query.map_err(|_| Problem::new(ProblemKind::BadQuery, "the query cannot be read"))?;
        Ok(Self { given, errors: Vec::new() })
    }
}

impl Parameters {
    /// A parameter as `parse` reads it; `parse` says in words what is allowed.
    pub(super) fn take<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (ours, rest) = std::mem::take(&mut self.given).into_iter().partition(|(given, _)| given == name);
        self.given = rest;
        let ours: Vec<(String, String)> = ours;
        let why = match ours.as_slice() {
            [] => return None,
            [(_, text)] => match parse(text) {
                Ok(value) => return Some(value),
                Err(why) => why,
            },
            _ => "is given more than once".to_owned(),
        };
        self.refuse(name, why);
        None
    }

    /// A parameter that must be there.
    pub(super) fn need<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if self.given.iter().all(|(given, _)| given != name) {
            self.refuse(name, "is missing".to_owned());
            return None;
        }
        self.take(name, parse)
    }

    /// Refuses everything that was wrong or that nobody knows.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.given) {
            let shown: String = name.chars().take(60).collect();
            self.refuse(&shown, "is not known here".to_owned());
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(ProblemKind::BadQuery, self.errors)) }
    }

    fn refuse(&mut self, name: &str, detail: String) {
        self.errors.push(FieldProblem { pointer: format!("?{name}"), detail });
    }
}

/// A whole number within bounds.
pub(super) fn whole(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(number) if digits && (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number, {min} to {max}")),
    }
}

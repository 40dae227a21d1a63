//! Problem documents (RFC 9457): one kind a way to fail, each with a stable `type`.
//!
//! `type` and `status` are promised; words may change. Nothing internal is ever put into one: what
//! failed inside goes to the log, once, where the problem is made.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{chain::chain, store::StoreError};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident, $word:literal, $status:ident, $title:literal, $to_do:literal;)*) => {
        /// Ways to fail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum ProblemKind {
            $($(#[$doc])* $variant,)*
        }

        impl ProblemKind {
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(super) const fn uri(self) -> &'static str {
                match self { $(Self::$variant => concat!("urn:orch:problem:", $word),)* }
            }

            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            const fn what_to_do(self) -> &'static str {
                match self { $(Self::$variant => $to_do,)* }
            }
        }
    };
}

kinds! {
    UnknownRoute, "unknown-route", NOT_FOUND, "no such route", "look at the routes in the API's documentation";
    WrongMethod, "wrong-method", METHOD_NOT_ALLOWED, "wrong method", "use a method that the header `Allow` names";
    Unauthorized, "unauthorized", UNAUTHORIZED, "a token is needed", "send `Authorization: Bearer TOKEN`; the operator's token is ORCH_API_TOKEN, or stands in the file `api-token` of the data directory";
    Forbidden, "forbidden", FORBIDDEN, "this token may only read", "use the operator's token";
    Misdirected, "misdirected-request", MISDIRECTED_REQUEST, "not asked by a name of this machine's loopback", "call http://127.0.0.1 or http://localhost, or set ORCH_BIND to an address beyond loopback, which demands tokens";
    BadRequest, "bad-request", BAD_REQUEST, "the request cannot be read", "mend the request";
    CrossSite, "cross-site", FORBIDDEN, "sent by a page of another site", "actions come from programs, not from other sites' pages";
    UnsupportedMediaType, "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "the body must be JSON", "send `Content-Type: application/json`";
    BodyTooLarge, "body-too-large", PAYLOAD_TOO_LARGE, "the body is too large", "send less";
    MalformedJson, "malformed-json", BAD_REQUEST, "the body is not JSON", "mend the JSON at the place that `detail` names";
    BadFields, "bad-fields", UNPROCESSABLE_ENTITY, "fields are missing or wrong", "mend the fields that `errors` names; nothing was changed";
    BadQuery, "bad-query", BAD_REQUEST, "the query is wrong", "mend the parameters that `errors` names";
    MalformedKey, "malformed-key", BAD_REQUEST, "not a work item key", "write the key like ORCH-114";
    MalformedId, "malformed-id", BAD_REQUEST, "not a run number", "write the number as `task show` lists it";
    UnknownTask, "unknown-task", NOT_FOUND, "no such task", "look with `orch-core task list`";
    UnknownRun, "unknown-run", NOT_FOUND, "no such run", "look with `orch-core task show KEY`";
    NoOutput, "no-output", NOT_FOUND, "the run has left no output here", "its directory is gone, or it was never started";
    UnknownProject, "unknown-project", UNPROCESSABLE_ENTITY, "no such project", "use a name of projects.toml";
    ProjectGone, "project-gone", CONFLICT, "the task's project is no longer configured", "put the project back into projects.toml and start the core again";
    WrongPrefix, "wrong-prefix", UNPROCESSABLE_ENTITY, "the key belongs to no or another project", "use the project's key prefix";
    KeyTaken, "key-taken", CONFLICT, "the key is another work item's", "use another key";
    WrongStage, "wrong-stage", CONFLICT, "the task's stage does not permit it", "look where the task stands with `orch-core why KEY`";
    Refused, "refused", CONFLICT, "the task does not permit it now", "look how the task stands with `orch-core why KEY`";
    NotAllowed, "not-an-approver", FORBIDDEN, "this person may not approve", "let one of the project's approvers do it";
    NothingToApprove, "nothing-to-approve", CONFLICT, "there is no brief yet", "wait until the analyst has delivered";
    BriefChanged, "brief-changed", CONFLICT, "the brief is another one by now", "read it again and approve the revision that you read";
    Deferred, "deferred", CONFLICT, "somebody is at work on this task", "ask again when the owner is done";
    LostRace, "lost-race", CONFLICT, "somebody changed the task meanwhile", "look where the task stands and ask again";
    NoLease, "no-lease", CONFLICT, "no lease is held", "nothing is to be released";
    Starting, "starting", SERVICE_UNAVAILABLE, "starting", "ask again: the core recovers what its last life left";
    Stopping, "stopping", SERVICE_UNAVAILABLE, "the core is stopping", "ask the next core";
    NotWritable, "not-writable", SERVICE_UNAVAILABLE, "the store takes no write", "look at the core's log and at the disk of the data directory";
    StoreFailed, "store-failed", SERVICE_UNAVAILABLE, "the store could not answer", "look at the core's log; whether something changed is not known, so look before asking again";
    Busy, "busy", SERVICE_UNAVAILABLE, "too many requests at once", "ask again in a second";
    TimedOut, "timed-out", SERVICE_UNAVAILABLE, "the answer took too long", "ask again; look at the core's log";
    Internal, "internal", INTERNAL_SERVER_ERROR, "a fault of the core", "look at the core's log";
}

/// One wrong field or parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FieldProblem {
    /// JSON pointer (RFC 6901) of a field, or `?name` of a parameter.
    pub(super) pointer: String,
    /// What is wrong, and what is allowed.
    pub(super) detail: String,
}

/// A problem on its way out.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Vec<FieldProblem>,
    owner: Option<String>,
    challenge: Option<&'static str>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    what_to_do: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: &'a Vec<FieldProblem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: &'a Option<String>,
}

impl Problem {
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), owner: None, challenge: None }
    }

    /// With the fields that are wrong; their texts are the detail.
    pub(super) fn fields(kind: ProblemKind, errors: Vec<FieldProblem>) -> Self {
        let lines: Vec<String> =
            errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
        Self { errors, ..Self::new(kind, lines.join("; ")) }
    }

    /// With whoever holds the task.
    pub(super) fn deferred(owner: String) -> Self {
        let detail = format!("{owner} is at work on this task");
        Self { owner: Some(owner), ..Self::new(ProblemKind::Deferred, detail) }
    }

    /// With the challenge of RFC 6750.
    pub(super) fn challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// A fault of ours: the log has the cause, the caller does not.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %chain(error), "a request failed inside");
        Self::new(ProblemKind::Internal, "the cause stands in the core's log")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %chain(&error), "a request could not use the store");
        Self::new(ProblemKind::StoreFailed, error.advice().unwrap_or("the cause stands in the core's log"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: self.kind.uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            what_to_do: self.kind.what_to_do(),
            errors: &self.errors,
            owner: &self.owner,
        };
        let mut response = (self.kind.status(), Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if self.kind.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

//! The JSON body of an action: one flat object, read field by field so that everything that is
//! wrong is told at once, each by its JSON pointer.

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use super::problem::{FieldProblem, Problem, ProblemKind};

/// Largest body, in bytes: a work item's text of 64 KiB with every character escaped, and the rest.
pub(super) const BODY_MAX_BYTES: usize = 448 * 1024;

/// Fields of the body; [`Fields::finish`] refuses what no handler took.
#[derive(Debug)]
pub(super) struct Fields {
    given: Map<String, Value>,
    errors: Vec<FieldProblem>,
}

/// What a text may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextRule {
    /// Most bytes.
    pub(super) max_bytes: usize,
    /// Whether line breaks are allowed.
    pub(super) lines: Lines,
}

/// How many lines a text may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// One, which is not empty.
    One,
    /// Any number, also none.
    Many,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let given = read(request).await?;
        let given = given.ok_or_else(|| Problem::new(ProblemKind::MalformedJson, "the body is empty"))?;
        Ok(Self { given, errors: Vec::new() })
    }
}

/// Fields of a body that may be left out altogether.
pub(super) struct OptionalFields(pub(super) Fields);

impl<S: Send + Sync> FromRequest<S> for OptionalFields {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let given = read(request).await?.unwrap_or_default();
        Ok(Self(Fields { given, errors: Vec::new() }))
    }
}

/// Reads the body as an object; `None` for an empty one.
async fn read(request: Request) -> Result<Option<Map<String, Value>>, Problem> {
    let is_json = is_json(request.headers());
    let too_large =
        || Problem::new(ProblemKind::BodyTooLarge, format!("at most {BODY_MAX_BYTES} bytes are read"));
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_MAX_BYTES as u64) {
        return Err(too_large());
    }
    let bytes = match Limited::new(request.into_body(), BODY_MAX_BYTES).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(_) => return Err(Problem::new(ProblemKind::BadRequest, "the body ended early")),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    // a form of another site cannot send this type without asking first
    if !is_json {
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, "only application/json is read"));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(given)) => Ok(Some(given)),
        Ok(other) => {
            let error = FieldProblem {
                pointer: String::new(),
                detail: format!("must be an object, not {}", kind(&other)),
            };
            Err(Problem::fields(ProblemKind::BadFields, vec![error]))
        }
        Err(error) => Err(Problem::new(ProblemKind::MalformedJson, error.to_string())),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

impl Fields {
    /// A text that must be there. After a problem a placeholder, which [`Fields::finish`] keeps
    /// from being used.
    pub(super) fn need(&mut self, name: &str, rule: TextRule) -> String {
        if !self.given.contains_key(name) {
            self.refuse(name, "is missing".to_owned());
        }
        self.take(name, rule).unwrap_or_default()
    }

    /// A text that may be absent or `null`.
    pub(super) fn take(&mut self, name: &str, rule: TextRule) -> Option<String> {
        match self.given.remove(name)? {
            Value::Null => None,
            Value::String(text) => match rule.check(&text) {
                Ok(()) => Some(text),
                Err(why) => {
                    self.refuse(name, why);
                    None
                }
            },
            other => {
                self.refuse(name, format!("must be a text, not {}", kind(&other)));
                None
            }
        }
    }

    /// Notes a field that a further check found wrong.
    pub(super) fn refuse(&mut self, name: &str, detail: String) {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        self.errors.push(FieldProblem { pointer: format!("/{escaped}"), detail });
    }

    /// Refuses everything that was wrong or that nobody knows.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.given).keys() {
            let shown: String = name.chars().take(60).collect();
            self.refuse(&shown, "is not known here".to_owned());
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::fields(ProblemKind::BadFields, self.errors))
        }
    }
}

impl TextRule {
    /// One line of at most `max_bytes`, not empty.
    pub(super) const fn line(max_bytes: usize) -> Self {
        Self { max_bytes, lines: Lines::One }
    }

    /// Any text of at most `max_bytes`.
    pub(super) const fn text(max_bytes: usize) -> Self {
        Self { max_bytes, lines: Lines::Many }
    }

    fn check(self, text: &str) -> Result<(), String> {
        let allowed = |letter: char| match self.lines {
            Lines::One => !letter.is_control(),
            Lines::Many => !letter.is_control() || matches!(letter, '\n' | '\r' | '\t'),
        };
        if self.lines == Lines::One && text.trim().is_empty() {
            return Err("is empty".to_owned());
        }
        if text.len() > self.max_bytes {
            return Err(format!("has {} bytes; at most {} are allowed", text.len(), self.max_bytes));
        }
        match text.chars().find(|letter| !allowed(*letter)) {
            Some(letter) => Err(format!("has the control character {letter:?}")),
            None => Ok(()),
        }
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

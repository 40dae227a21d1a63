//! What is kept of a stream: enough to judge its end, to book its cost and to go on with its session.

use serde::{Deserialize, Serialize};

use super::stream::{Event, ResultLine, Retry};

/// Bytes kept of what an agent or its service says in a result: enough for a cause in words.
const WORDS_MAX_BYTES: usize = 2_000;
/// Errors kept of a result.
const ERRORS_MAX: usize = 8;

/// Everything that matters of a stream so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The session, once it has begun.
    pub session: Option<String>,
    /// The model that answers.
    pub model: Option<String>,
    /// The last result line.
    pub result: Option<ResultLine>,
    /// The last retry, until the service answers again.
    pub retry: Option<Retry>,
    /// Tools that were asked for.
    pub tools: u64,
    /// Whether the model has answered at all: from then on something was spent.
    pub answered: bool,
    /// Lines that could not be read.
    pub unreadable: u64,
}

impl Summary {
    /// Takes a line in.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Init { session, model } => {
                self.session = Some(session);
                self.model = model.or(self.model.take());
            }
            Event::Retry(retry) => self.retry = Some(retry),
            Event::Tools { names } => {
                self.tools += names.len() as u64;
                self.answer();
            }
            Event::Outcome(mut result) => {
                self.session = result.session_id.clone().or(self.session.take());
                shorten(&mut result);
                self.result = Some(*result);
            }
            Event::Other(kind) if kind == "assistant" => self.answer(),
            Event::Other(_) => {}
            Event::Unreadable => self.unreadable += 1,
        }
    }

    fn answer(&mut self) {
        self.answered = true;
        self.retry = None;
    }
}

/// A summary stands in a row of the store: it does not grow with what an agent has to say.
fn shorten(result: &mut ResultLine) {
    if let Some(first) = result.errors.len().checked_sub(ERRORS_MAX) {
        result.errors.drain(..first);
    }
    for words in result.errors.iter_mut().chain(&mut result.result) {
        // the end of a text carries the second until which a limit holds
        let mut from = words.len().saturating_sub(WORDS_MAX_BYTES);
        while !words.is_char_boundary(from) {
            from += 1;
        }
        words.drain(..from);
    }
}

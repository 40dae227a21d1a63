//! What is kept of a stream: enough to judge its end, to book its cost and to go on with its session.

use super::stream::{Event, ResultLine, Retry};

/// Everything that matters of a stream so far.
#[derive(Debug, Clone, Default, PartialEq)]
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
            Event::Outcome(result) => {
                self.session = result.session_id.clone().or(self.session.take());
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

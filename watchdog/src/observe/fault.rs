//! Why an answer could not be had or used, as values.
//!
//! Responsible for the closed list of what a poll of the core runs into, and for its plain English,
//! which the log and the command line show; chat asks `notify::text`. What an operating system or a
//! library said of itself stays as it said it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No answer in time.
    Late {
        /// Milliseconds waited.
        waited_ms: u64,
    },
    /// No connection.
    Connect {
        /// The innermost cause.
        cause: Option<String>,
    },
    /// The answer broke off.
    BrokeOff {
        /// The innermost cause.
        cause: Option<String>,
    },
    /// The document is larger than this many bytes.
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// A server error, by its status.
    Answers(u16),
    /// Some other status than that of a document.
    AnswersInstead(u16),
    /// The read token is refused, by its status.
    TokenRefused(u16),
    /// What came is no document.
    NoDocument,
    /// What came breaks the contract.
    BreaksContract {
        /// As the parser says.
        error: String,
    },
    /// As an operating system said it, or an earlier version stored it.
    #[serde(untagged)]
    Words(String),
}

impl Fault {
    /// Whether somebody answered and the answer is of no use, as opposed to none or a failing one.
    #[must_use]
    pub fn is_of_an_answer(&self) -> bool {
        match self {
            Self::TooLarge { .. }
            | Self::AnswersInstead(_)
            | Self::TokenRefused(_)
            | Self::NoDocument
            | Self::BreaksContract { .. } => true,
            Self::Late { .. }
            | Self::Connect { .. }
            | Self::BrokeOff { .. }
            | Self::Answers(_)
            | Self::Words(_) => false,
        }
    }
}

impl From<String> for Fault {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<&str> for Fault {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_cause = |out: &mut fmt::Formatter<'_>, step: &str, cause: &Option<String>| match cause {
            Some(cause) => write!(out, "{step}: {cause}"),
            None => out.write_str(step),
        };
        match self {
            Self::Late { waited_ms } => {
                write!(out, "no answer within {}.{} s", waited_ms / 1_000, waited_ms % 1_000 / 100)
            }
            Self::Connect { cause } => with_cause(out, "cannot connect", cause),
            Self::BrokeOff { cause } => with_cause(out, "the answer broke off", cause),
            Self::TooLarge { limit_bytes } => write!(out, "its document is larger than {limit_bytes} bytes"),
            Self::Answers(status) => write!(out, "it answers {status}"),
            Self::AnswersInstead(status) => write!(out, "it answers {status} instead of a document"),
            Self::TokenRefused(status) => write!(out, "it refuses the read token ({status})"),
            Self::NoDocument => out.write_str("it is no observation document"),
            Self::BreaksContract { error } => write!(out, "its document breaks the contract: {error}"),
            Self::Words(words) => out.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_stored_as_a_sentence_still_loads() {
        let stored = r#"["it answers 502",{"answers":502},"no_document"]"#;
        let read: Vec<Fault> = serde_json::from_str(stored).unwrap();
        assert_eq!(read, [Fault::from("it answers 502"), Fault::Answers(502), Fault::NoDocument]);
        assert_eq!(read[0].to_string(), read[1].to_string());
        assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    }
}

//! The stream, line by line.
//!
//! Responsible for lines out of any pieces of bytes, and for the few of their fields that somebody needs. The order of
//! keys in a line says nothing, the result is not the last line, and new kinds of lines come with every version.
//!
//! Invariant: bounded memory for any bytes; a line that is no JSON object, or too long, is skipped and told as such.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Longest line that is read (16 MiB); a tool's whole output may stand in one.
const LINE_MAX_BYTES: usize = 16 * 1024 * 1024;

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The session has begun.
    Init {
        /// Its id.
        session: String,
        /// The model that answers.
        model: Option<String>,
    },
    /// The model's service refused and is asked again.
    Retry(Retry),
    /// The agent asked for tools.
    Tools {
        /// Their names.
        names: Vec<String>,
    },
    /// What it came to, and what it cost.
    Outcome(Box<ResultLine>),
    /// Anything else; its kind.
    Other(String),
    /// No JSON object, or longer than is read.
    Unreadable,
}

/// One retry as told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Which one, from 1.
    pub attempt: u32,
    /// How many there will be.
    pub max_retries: u32,
    /// Wait before it, milliseconds.
    #[serde(rename = "retry_delay_ms")]
    pub delay_ms: f64,
    /// HTTP status of the refusal.
    #[serde(rename = "error_status", default)]
    pub status: Option<u16>,
}

/// The result line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResultLine {
    /// `success`, or which error; alone it means nothing.
    pub subtype: String,
    /// Whether it is an error, whatever the subtype says.
    pub is_error: bool,
    /// Why it ended.
    pub terminal_reason: Option<String>,
    /// HTTP status of the service's refusal.
    pub api_error_status: Option<u16>,
    /// The agent's last words.
    pub result: Option<String>,
    /// Errors in words.
    pub errors: Vec<String>,
    /// Model calls.
    pub num_turns: u64,
    /// The session.
    pub session_id: Option<String>,
    /// Cost of the whole session so far, also of its earlier runs.
    pub total_cost_usd: Option<f64>,
    /// Tokens of the whole session so far, by model.
    #[serde(rename = "modelUsage")]
    pub model_usage: BTreeMap<String, ModelUsage>,
    /// Tools that it was not allowed; not kept beside the stream.
    #[serde(skip_serializing)]
    pub permission_denials: Vec<serde_json::Value>,
}

/// Tokens of one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ModelUsage {
    /// Read anew.
    pub input_tokens: u64,
    /// Written.
    pub output_tokens: u64,
    /// Read from the cache.
    pub cache_read_input_tokens: u64,
    /// Written to the cache.
    pub cache_creation_input_tokens: u64,
}

/// The fields by which kinds of lines are told apart.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    subtype: Option<String>,
}

#[derive(Deserialize)]
struct Init {
    session_id: String,
    #[serde(default)]
    model: Option<String>,
}

#[derive(Deserialize)]
struct Assistant {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Blocks(Vec<Block>),
    /// A text alone, or whatever else may come.
    Other(serde::de::IgnoredAny),
}

impl Default for Content {
    fn default() -> Self {
        Self::Blocks(Vec::new())
    }
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    name: String,
}

/// Reads one line.
#[must_use]
pub fn read_line(line: &[u8]) -> Event {
    let Ok(kind) = serde_json::from_slice::<Kind>(line) else { return Event::Unreadable };
    let known = match (kind.kind.as_str(), kind.subtype.as_deref()) {
        ("system", Some("init")) => serde_json::from_slice(line)
            .map(|init: Init| Event::Init { session: init.session_id, model: init.model }),
        ("system", Some("api_retry")) => serde_json::from_slice(line).map(Event::Retry),
        ("assistant", _) => serde_json::from_slice(line).map(tools),
        ("result", _) => serde_json::from_slice(line).map(|result| Event::Outcome(Box::new(result))),
        _ => Ok(Event::Other(kind.subtype.map_or(kind.kind.clone(), |sub| format!("{}/{sub}", kind.kind)))),
    };
    // a known kind in an unknown shape is an unknown kind
    known.unwrap_or(Event::Other(kind.kind))
}

fn tools(line: Assistant) -> Event {
    let names: Vec<String> = match line.message.content {
        Content::Blocks(blocks) => {
            blocks.into_iter().filter(|block| block.kind == "tool_use").map(|block| block.name).collect()
        }
        Content::Other(_) => Vec::new(),
    };
    if names.is_empty() { Event::Other("assistant".to_owned()) } else { Event::Tools { names } }
}

/// Lines out of pieces of bytes, wherever these are cut.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// The present line is too long; the rest of it is passed over.
    skips: bool,
    /// Bytes of the present line, those included that are passed over.
    begun_bytes: u64,
}

impl Lines {
    /// Takes the next bytes in; `take` is given an event for each line that they end.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Event)) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = rest.split_at(at);
            self.begin(line);
            self.end(&mut take);
            rest = behind.get(1..).unwrap_or_default();
        }
        self.begin(rest);
    }

    /// Bytes taken in that no line has ended: where the stream is read again from, this is before them.
    #[must_use]
    pub fn begun_bytes(&self) -> u64 {
        self.begun_bytes
    }

    /// There is no more: what was begun is a line, if the program was cut off in it or ended it by its end.
    pub fn finish(mut self, mut take: impl FnMut(Event)) {
        self.end(&mut take);
    }

    fn begin(&mut self, bytes: &[u8]) {
        self.begun_bytes += bytes.len() as u64;
        if self.skips || self.begun.len() + bytes.len() > LINE_MAX_BYTES {
            self.skips = true;
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, take: &mut impl FnMut(Event)) {
        self.begun_bytes = 0;
        let (line, skips) = (std::mem::take(&mut self.begun), std::mem::take(&mut self.skips));
        if skips {
            take(Event::Unreadable);
        } else if !line.trim_ascii().is_empty() {
            take(read_line(&line));
        }
    }
}

//! A stream that is read while it is written, across lives of the reader.
//!
//! Pure: bytes in, a state out that can be stored with the offset it belongs to. Whoever goes on from both misses no line
//! and takes none twice.

use super::stream::{Event, Lines};
use super::summary::Summary;

/// How far a stream was read, and what it has said up to there.
#[derive(Debug, Default)]
pub struct Progress {
    summary: Summary,
    lines: Lines,
    read_to: u64,
}

/// What a piece of the stream brought that somebody acts upon at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Whether any line ended.
    pub lines: bool,
    /// Whether a result came, with nothing of the agent behind it.
    pub result: bool,
    /// Whether the agent has gone on working.
    pub work: bool,
}

impl Progress {
    /// Goes on from what was stored: nothing, or a state that cannot be read, means from the beginning.
    #[must_use]
    pub fn from_stored(offset: u64, state: Option<&str>) -> Self {
        match state.and_then(|text| serde_json::from_str(text).ok()) {
            Some(summary) => Self { summary, lines: Lines::default(), read_to: offset },
            None => Self::default(),
        }
    }

    /// Where the next bytes are read.
    #[must_use]
    pub fn read_to(&self) -> u64 {
        self.read_to
    }

    /// The offset that belongs to the state: behind the last line that has ended.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.read_to - self.lines.begun_bytes()
    }

    /// The state, to be stored with [`Self::offset`].
    #[must_use]
    pub fn state(&self) -> String {
        serde_json::to_string(&self.summary).unwrap_or_default()
    }

    /// What the stream has said so far.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Takes the next bytes in.
    pub fn take(&mut self, bytes: &[u8]) -> Heard {
        let Self { summary, lines, read_to } = self;
        *read_to += bytes.len() as u64;
        let mut heard = Heard::default();
        lines.push(bytes, |event| {
            heard.lines = true;
            match &event {
                Event::Outcome(_) => heard = Heard { result: true, work: false, ..heard },
                Event::Tools { .. } => heard = Heard { result: false, work: true, ..heard },
                Event::Other(kind) if kind == "assistant" => {
                    heard = Heard { result: false, work: true, ..heard };
                }
                Event::Init { .. } | Event::Retry(_) | Event::Other(_) | Event::Unreadable => {}
            }
            summary.take(event);
        });
        heard
    }

    /// The program has ended: a line that it was cut off in may still be one.
    pub fn finish(&mut self) {
        let Self { summary, lines, .. } = self;
        std::mem::take(lines).finish(|event| summary.take(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        include_bytes!("../../../tests/fixtures/agent-claude/claude_2.1.330_success_tool.jsonl");

    #[test]
    fn a_reader_that_dies_anywhere_goes_on_without_gap_or_repetition() {
        let mut whole = Progress::default();
        whole.take(STREAM);
        for cut in (0..STREAM.len()).step_by(97) {
            let mut first = Progress::default();
            first.take(STREAM.get(..cut).unwrap_or_default());
            let offset = first.offset();
            let mut second = Progress::from_stored(offset, Some(&first.state()));
            let from = usize::try_from(second.read_to()).unwrap();
            second.take(STREAM.get(from..).unwrap_or_default());
            second.finish();
            let (mut told, mut expected) = (second.summary().clone(), whole.summary().clone());
            for summary in [&mut told, &mut expected] {
                summary.result.as_mut().unwrap().permission_denials.clear();
            }
            assert_eq!(told, expected, "cut at {cut}, read again from {offset}");
        }
    }

    #[test]
    fn a_result_with_work_behind_it_is_no_end() {
        let mut progress = Progress::default();
        assert!(progress.take(STREAM).result);
        let work = br#"{"type":"assistant","message":{"content":[{"type":"text","text":"more"}]}}"#;
        let heard = progress.take(&[work.as_slice(), b"\n"].concat());
        assert_eq!(heard, Heard { lines: true, result: false, work: true });
    }

    #[test]
    fn what_an_agent_says_does_not_grow_the_state() {
        let mut progress = Progress::default();
        let words = "x".repeat(1_000_000);
        progress.take(format!("{{\"type\":\"result\",\"result\":\"{words}|1760000000\"}}\n").as_bytes());
        assert!(progress.state().len() < 4_000);
        assert!(progress.state().contains("|1760000000"));
    }
}

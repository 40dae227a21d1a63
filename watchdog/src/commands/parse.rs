//! Words into commands.
//!
//! Responsible for the grammar that a terminal and a phone share: case does not matter in names, `-`
//! stands for `_`. It knows no state: whether an id exists is found out by `apply`.

use orch_settings::decimal::{self, DecimalError};
use orch_settings::nearest;
use thiserror::Error;

use super::{Command, Target};
use crate::cases::CaseId;
use crate::signals::SignalKind;

/// Shortest mute (one minute, in milliseconds).
pub const MUTE_MIN_MS: i64 = 60_000;

/// Longest mute (30 days, in milliseconds): what is to be silent for longer is switched off by its
/// setting, where others see it.
pub const MUTE_MAX_MS: i64 = 30 * 86_400_000;

/// Words of a command at most.
pub const WORDS_MAX: usize = 4;

/// How commands are typed.
pub const USAGE: &str = "mute SIGNAL|ID DURATION · unmute SIGNAL|ID|all · ack ID · status";

/// Why words are no command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// No such verb, or none.
    #[error("no such command: {0:?}; there are: {USAGE}")]
    Verb(String),
    /// Something is missing.
    #[error("{0} is missing: {USAGE}")]
    Missing(MissingWord),
    /// A word too many.
    #[error("one word too many: {0:?}: {USAGE}")]
    Surplus(String),
    /// No such signal.
    #[error("no such signal: {word:?}{}; there are: {}", meant(.nearest), signal_names())]
    Signal {
        /// As typed.
        word: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// No id.
    #[error("{0:?} is no id of a case: those look like c17, see status")]
    Id(String),
    /// No duration.
    #[error("{word:?} is no duration: {why}; such as 30m, 1.5h, 2d")]
    Duration {
        /// As typed.
        word: String,
        /// Why not.
        why: DurationFault,
    },
}

/// What a command lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MissingWord {
    /// Of a mute: what.
    #[error("what to mute")]
    MuteTarget,
    /// Of a mute: for how long.
    #[error("how long")]
    Duration,
    /// Of an unmute: what.
    #[error("what to unmute")]
    UnmuteTarget,
    /// Of an acknowledgement: which case.
    #[error("what to acknowledge")]
    AckTarget,
}

/// Why a word is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DurationFault {
    /// Its unit is missing, or none that we know.
    #[error("it needs a unit, one of s, m, h, d")]
    Unit,
    /// What stands before the unit.
    #[error(transparent)]
    Number(DecimalError),
    /// Shorter than [`MUTE_MIN_MS`].
    #[error("the shortest is 1m")]
    TooShort,
    /// Longer than [`MUTE_MAX_MS`].
    #[error("the longest is 30d; a setting switches a signal off for good")]
    TooLong,
}

fn meant(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

fn signal_names() -> String {
    SignalKind::ALL.map(SignalKind::name).join(", ")
}

impl Command {
    /// Reads a command.
    ///
    /// # Errors
    /// What is wrong with it, in words for the person.
    pub fn parse(words: &[&str]) -> Result<Self, Malformed> {
        let (verb, rest) = words.split_first().ok_or_else(|| Malformed::Verb(String::new()))?;
        let mut rest = Words(rest);
        let command = match verb.to_ascii_lowercase().as_str() {
            "mute" => {
                let target = rest.next(MissingWord::MuteTarget)?;
                let for_ms = duration_ms(rest.next(MissingWord::Duration)?)?;
                Self::Mute { target: target_of(target, rest.maybe())?, for_ms }
            }
            "unmute" => {
                let target = rest.next(MissingWord::UnmuteTarget)?;
                match target.eq_ignore_ascii_case("all") {
                    true => Self::Unmute { target: None },
                    false => Self::Unmute { target: Some(target_of(target, rest.maybe())?) },
                }
            }
            "ack" => Self::Ack { id: id_of(rest.next(MissingWord::AckTarget)?)? },
            "status" => Self::Status,
            _ => return Err(Malformed::Verb(shown(verb))),
        };
        match rest.maybe() {
            Some(word) => Err(Malformed::Surplus(shown(word))),
            None => Ok(command),
        }
    }
}

struct Words<'a>(&'a [&'a str]);

impl<'a> Words<'a> {
    fn maybe(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn next(&mut self, what: MissingWord) -> Result<&'a str, Malformed> {
        self.maybe().ok_or(Malformed::Missing(what))
    }
}

/// A signal, an id, or a signal and an id of it.
fn target_of(word: &str, id: Option<&str>) -> Result<Target, Malformed> {
    match (CaseId::parse(word), id) {
        (Some(id), None) => Ok(Target::Case { id, signal: None }),
        (Some(_), Some(surplus)) => Err(Malformed::Surplus(shown(surplus))),
        (None, None) => Ok(Target::Signal(signal_of(word)?)),
        (None, Some(id)) => Ok(Target::Case { id: id_of(id)?, signal: Some(signal_of(word)?) }),
    }
}

fn id_of(word: &str) -> Result<CaseId, Malformed> {
    CaseId::parse(word).ok_or_else(|| Malformed::Id(shown(word)))
}

fn signal_of(word: &str) -> Result<SignalKind, Malformed> {
    let name = word.to_ascii_lowercase().replace('-', "_");
    let known = SignalKind::ALL.into_iter().find(|signal| signal.name() == name);
    known.ok_or_else(|| Malformed::Signal {
        word: shown(word),
        nearest: nearest(&name, SignalKind::ALL.map(SignalKind::name)),
    })
}

/// Milliseconds of `30m`, `1.5h`, `2d`, `90s`.
fn duration_ms(word: &str) -> Result<i64, Malformed> {
    let refuse = |why| Malformed::Duration { word: shown(word), why };
    let unit_at = word.char_indices().next_back().map_or(0, |(at, _)| at);
    let (number, unit) = word.split_at(unit_at);
    let unit_ms = match unit {
        "s" | "S" => 1_000,
        "m" | "M" => 60_000,
        "h" | "H" => 3_600_000,
        "d" | "D" => 86_400_000,
        _ => return Err(refuse(DurationFault::Unit)),
    };
    let ms = decimal::parse(number, unit_ms).map_err(|error| refuse(DurationFault::Number(error)))?;
    match ms {
        ..MUTE_MIN_MS => Err(refuse(DurationFault::TooShort)),
        MUTE_MIN_MS..=MUTE_MAX_MS => Ok(ms),
        _ => Err(refuse(DurationFault::TooLong)),
    }
}

/// A word as it may be repeated to whoever typed it.
fn shown(word: &str) -> String {
    const SHOWN_MAX_CHARACTERS: usize = 40;
    word.chars().take(SHOWN_MAX_CHARACTERS).collect()
}

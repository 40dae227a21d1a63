//! What people are answered when they command, in every language.
//!
//! Responsible for the shape of an answer (one line, or a line a case); the words stand in the
//! languages. It knows no chat and no terminal.

use super::phrases::Language;
use super::said::Said;
use super::{Locale, told};
use crate::cases::CaseId;
use crate::commands::{About, CaseLine, Ended, Malformed, Reply, Status};
use crate::notify::buttons::Wish;

/// What is said in chats alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatWord {
    /// How to command.
    Usage,
    /// A command that arrived so many milliseconds after it was said.
    TooLate(i64),
    /// A press of unknown age.
    PressAgain,
    /// A press of somebody who may not.
    MayNot,
    /// A press of a button that is none of ours.
    UnknownButton,
    /// Done, and a restart would forget it.
    Unsaved,
    /// Processes are not looked at.
    ScanIsOff,
    /// A scan that broke.
    ScanFailed,
    /// So many lines of an answer are left out.
    LinesLeftOut(usize),
}

/// An answer as a person reads it; several lines for a status, no line break at the end.
#[must_use]
pub fn reply(reply: &Reply, locale: Locale) -> String {
    let language = locale.language();
    match reply {
        Reply::Muted { what, until_ms, silenced } => language.muted(what, *until_ms, *silenced).plain(),
        Reply::Unmuted { what } => format!("{}{}", language.ended(), joined(language, what)),
        Reply::Acknowledged(case) => Said::of(language.acknowledged()).and(case_line(language, case)).plain(),
        Reply::Status(status) => status_lines(language, status),
        Reply::Refused(refusal) => language.refused(refusal).plain(),
    }
}

/// Words that are no command.
#[must_use]
pub fn malformed(malformed: &Malformed, locale: Locale) -> String {
    locale.language().malformed(malformed).plain()
}

/// What is said in chats alone.
#[must_use]
pub fn chat(word: ChatWord, locale: Locale) -> String {
    locale.language().chat(word).plain()
}

/// What a button says.
#[must_use]
pub fn button(wish: Wish, id: CaseId, locale: Locale) -> String {
    locale.language().button(wish, id)
}

/// What a command was about, in English: for the history.
#[must_use]
pub fn about(about: &About) -> String {
    Locale::English.language().about(about).plain()
}

/// What a command ended, in English: for the history.
#[must_use]
pub fn ended_by_command(ended: &[Ended]) -> String {
    joined(Locale::English.language(), ended)
}

fn joined(language: &dyn Language, ended: &[Ended]) -> String {
    let ended: Vec<String> = ended.iter().map(|one| language.ended_one(one).plain()).collect();
    ended.join("; ")
}

fn case_line(language: &dyn Language, case: &CaseLine) -> Said {
    language.case_line(case, told(language, &case.finding).what)
}

fn status_lines(language: &dyn Language, status: &Status) -> String {
    let mut lines: Vec<String> = status.firing.iter().map(|case| case_line(language, case).plain()).collect();
    if lines.is_empty() {
        lines.push(language.nothing_fires().to_owned());
    }
    lines.extend(status.mutes.iter().map(|mute| language.mute_line(mute).plain()));
    lines.join("\n")
}

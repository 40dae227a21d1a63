//! What a chat is answered to `/scan`, in every language.
//!
//! Responsible for the order of lines; the words stand in the languages. It looks at nothing. What the
//! tree of a family shows (pids, states, commands) is the same in every language.

use super::Locale;
use super::phrases::Language;
use super::said::Said;
use crate::survey::{Headline, Survey, SurveyedFamily, Unheard};

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScanLine {
    /// Words.
    Said(Said),
    /// What is the same in every language.
    Data(String),
    /// Between two families.
    Gap,
}

/// A look at the host as a person reads it, or why there was none.
#[must_use]
pub fn scan(seen: &Result<Survey, String>, locale: Locale) -> String {
    let language = locale.language();
    let lines = match seen {
        Ok(survey) => lines(language, survey),
        Err(why) => vec![ScanLine::Said(language.could_not_look(why))],
    };
    let line = |line: ScanLine| match line {
        ScanLine::Said(said) => said.bare(),
        ScanLine::Data(data) => format!("  {data}"),
        ScanLine::Gap => String::new(),
    };
    lines.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What a look comes to, in English: for the command line.
#[must_use]
pub fn scan_headline(headline: Headline) -> String {
    Locale::English.language().headline(headline).bare()
}

/// Why the core's word is missing, in English: for the command line.
#[must_use]
pub fn scan_unheard(unheard: &Unheard) -> String {
    Locale::English.language().unheard(unheard).bare()
}

pub(super) fn lines(language: &dyn Language, survey: &Survey) -> Vec<ScanLine> {
    let headline = language.headline(survey.headline).and(language.readable(survey.readable, survey.listed));
    let limit = survey.limit.as_ref().map(|limit| language.limit(limit));
    let unheard = survey.unheard.as_ref().map(|unheard| language.unheard(unheard));
    let said = limit.into_iter().chain([headline]).chain(unheard).map(ScanLine::Said);
    said.chain(survey.families.iter().flat_map(|family| of_family(language, family))).collect()
}

fn of_family(language: &dyn Language, seen: &SurveyedFamily) -> Vec<ScanLine> {
    let mut lines = vec![ScanLine::Gap, ScanLine::Said(language.family(seen))];
    lines.extend(seen.tree.iter().cloned().map(ScanLine::Data));
    let mut say = |said: Said| lines.push(ScanLine::Said(Said::of("  ").and(said)));
    if seen.left_out() > 0 {
        say(language.more_members(seen.left_out()));
    }
    if !seen.family.root_alive {
        say(language.root_ended(seen.family.key.pid));
    }
    if let Some(container) = &seen.family.container {
        say(language.container(container));
    }
    for rule in &seen.evidence {
        say(language.rule(language.evidence(rule)));
    }
    if let Some(stop) = &seen.family.stop {
        say(language.stop(stop));
    }
    lines
}

//! Walking a TOML document by hand: typed getters that note a problem with its line and go on.
//!
//! Knows nothing of projects. Deriving a deserializer would stop at the first error; this walk
//! tells all of them. Keys that nobody asked for are unknown and refused with the nearest name.

use std::collections::BTreeSet;
use std::ops::Range;

use orch_settings::{decimal, nearest};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::FileProblem;

/// Problems of one document.
pub(super) struct Walk<'t> {
    text: &'t str,
    problems: Vec<FileProblem>,
}

/// A table being read.
pub(super) struct View<'d> {
    table: &'d DeTable<'d>,
    /// Where it begins, for what is missing in it.
    pub(super) span: Range<usize>,
    /// How problems name it; empty for the document itself.
    pub(super) path: String,
    asked: BTreeSet<&'static str>,
}

impl<'d> View<'d> {
    pub(super) fn new(table: &'d DeTable<'d>, span: Range<usize>, path: String) -> Self {
        Self { table, span, path, asked: BTreeSet::new() }
    }

    pub(super) fn get(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.insert(key);
        self.table.get(key)
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl<'t> Walk<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, problems: Vec::new() }
    }

    /// The problems by line, when there are any.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, Vec<FileProblem>> {
        self.problems.sort_by_key(|problem| problem.line);
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }

    pub(super) fn refuse(&mut self, span: &Range<usize>, key: impl Into<String>, reason: impl Into<String>) {
        let line = 1 + self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count();
        self.problems.push(FileProblem { line, key: key.into(), reason: reason.into() });
    }

    /// A problem of one key of a table, at the key's value or, where that is missing, the table.
    pub(super) fn refuse_key(&mut self, view: &View<'_>, key: &str, reason: impl Into<String>) {
        let span = view.table.get(key).map_or(view.span.clone(), Spanned::span);
        self.refuse(&span, view.name(key), reason);
    }

    /// Notes every key that nobody asked for.
    pub(super) fn refuse_unknown(&mut self, view: &View<'_>) {
        for key in view.table.keys() {
            let name: &str = key.get_ref();
            if view.asked.contains(name) {
                continue;
            }
            let reason = match nearest(name, view.asked.iter().copied()) {
                Some(near) => format!("unknown key; did you mean {near}?"),
                None => format!("unknown key; known: {}", join(&view.asked)),
            };
            self.refuse(&key.span(), view.name(name), reason);
        }
    }

    pub(super) fn missing(&mut self, view: &View<'_>, key: &str) {
        self.refuse_key(view, key, "is missing");
    }

    fn wrong_type(&mut self, view: &View<'_>, key: &str, found: &DeValue<'_>, wanted: &str) {
        self.refuse_key(view, key, format!("is {}; must be {wanted}", article(found)));
    }

    /// Text, when it is there.
    pub(super) fn text(&mut self, view: &mut View<'_>, key: &'static str) -> Option<String> {
        let value = view.get(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(text.to_owned()),
            None => {
                self.wrong_type(view, key, value.get_ref(), "a string");
                None
            }
        }
    }

    /// Text that passes `check`, which says in words what is allowed.
    pub(super) fn checked_text(
        &mut self,
        view: &mut View<'_>,
        key: &'static str,
        check: impl FnOnce(&str) -> Result<(), &'static str>,
    ) -> Option<String> {
        let text = self.text(view, key)?;
        match check(&text) {
            Ok(()) => Some(text),
            Err(why) => {
                self.refuse_key(view, key, format!("{text:?}: {why}"));
                None
            }
        }
    }

    /// One of some words; the first is the default.
    pub(super) fn word<T: Copy>(
        &mut self,
        view: &mut View<'_>,
        key: &'static str,
        meanings: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(view, key)?;
        let found = meanings.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let words: Vec<String> = meanings.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.refuse_key(view, key, format!("{text:?}: allowed: {}", words.join(" or ")));
        }
        found
    }

    /// An array of strings, when it is there.
    pub(super) fn texts(
        &mut self,
        view: &mut View<'_>,
        key: &'static str,
        wanted: &str,
    ) -> Option<Vec<String>> {
        let value = view.get(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(view, key, value.get_ref(), wanted);
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => {
                    let reason = format!("holds {}; must be {wanted}", article(item.get_ref()));
                    self.refuse(&item.span(), view.name(key), reason);
                }
            }
        }
        (texts.len() == items.len()).then_some(texts)
    }

    /// Seconds, whole or with a fraction, in milliseconds.
    pub(super) fn seconds_ms(
        &mut self,
        view: &mut View<'_>,
        key: &'static str,
        bounds_ms: (i64, i64),
    ) -> Option<i64> {
        self.decimal(view, key, "seconds", 1_000, bounds_ms)
    }

    /// US dollars, whole or with a fraction, in millionths.
    pub(super) fn usd_micro(
        &mut self,
        view: &mut View<'_>,
        key: &'static str,
        bounds: (i64, i64),
    ) -> Option<i64> {
        self.decimal(view, key, "US dollars", 1_000_000, bounds)
    }

    /// A whole number.
    pub(super) fn whole(
        &mut self,
        view: &mut View<'_>,
        key: &'static str,
        unit: &str,
        bounds: (i64, i64),
    ) -> Option<i64> {
        self.decimal(view, key, unit, 1, bounds)
    }

    /// A number of `unit` as an integer of which `per_one` make one.
    fn decimal(
        &mut self,
        view: &mut View<'_>,
        key: &'static str,
        unit: &str,
        per_one: i64,
        (min, max): (i64, i64),
    ) -> Option<i64> {
        let value = view.get(key)?;
        let text = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            other => {
                self.wrong_type(view, key, other, &format!("a number of {unit}"));
                return None;
            }
        };
        match decimal::parse(text, per_one) {
            Ok(found) if (min..=max).contains(&found) => Some(found),
            _ => {
                let (min, max) = (decimal::show(min, per_one), decimal::show(max, per_one));
                self.refuse_key(view, key, format!("{text}: allowed: {unit}, {min} to {max}"));
                None
            }
        }
    }

    /// A table, when it is there.
    pub(super) fn table<'d>(&mut self, view: &mut View<'d>, key: &'static str) -> Option<View<'d>> {
        let value = view.get(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some(View::new(table, value.span(), view.name(key))),
            None => {
                self.wrong_type(view, key, value.get_ref(), "a table");
                None
            }
        }
    }
}

fn article(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    let vowel = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}

fn join(names: &BTreeSet<&'static str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

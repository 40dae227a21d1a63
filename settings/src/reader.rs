//! Reading one program's keys: typed getters that go on after a problem.
//!
//! A getter that meets a problem notes it and returns a placeholder; the placeholder is never
//! seen, since [`Reader::finish`] gives no value while a problem stands. So one start tells
//! everything that is wrong. Rules across keys are noted by the program with [`Reader::refuse`]
//! and stand in the same list.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::decimal;
use crate::http_address;
use crate::key::{Empty, Fallback, Key, Kind, PPM_IN_POINT, Table, Unknown};
use crate::nearest::nearest;
use crate::problem::{Problem, Problems};
use crate::render;
use crate::strings::Strings;

/// What a secret shows instead of itself.
const MASK: &str = "***";

/// Reads a table's keys from some strings.
#[derive(Debug)]
pub struct Reader<'a> {
    table: &'static Table,
    strings: &'a Strings,
    problems: Vec<Problem>,
    read: BTreeSet<&'static str>,
    in_effect: BTreeMap<String, String>,
}

/// A value that was read without a problem, and what is worth telling about it.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// Worth a line in the log; nothing of it stops the program.
    pub warnings: Vec<Problem>,
    table: &'static Table,
    in_effect: BTreeMap<String, String>,
}

impl<T> Loaded<T> {
    /// Every key with the value in effect, as an environment file; secrets are masked.
    #[must_use]
    pub fn print_env(&self) -> String {
        render::in_effect(self.table, &self.in_effect)
    }
}

/// A value as it stands for one key.
enum Given<'a> {
    Text(&'a str),
    Absent,
    Bad,
}

impl<'a> Reader<'a> {
    /// Starts reading.
    #[must_use]
    pub fn new(table: &'static Table, strings: &'a Strings) -> Self {
        Self { table, strings, problems: Vec::new(), read: BTreeSet::new(), in_effect: BTreeMap::new() }
    }

    /// Text.
    pub fn text(&mut self, name: &str) -> String {
        self.parsed(name, |text| Ok(text.to_owned()))
    }

    /// Text that may be unset.
    pub fn optional_text(&mut self, name: &str) -> Option<String> {
        self.optional_parsed(name, |text| Ok(text.to_owned()))
    }

    /// Text whose default is found at run time; `parse` judges what is given, not the default.
    pub fn text_or(
        &mut self,
        name: &str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<String, String>,
    ) -> String {
        self.optional_parsed(name, parse).unwrap_or_else(|| {
            self.note_default(name, default);
            default.to_owned()
        })
    }

    /// Text that `parse` turns into something else; `parse` says in words what is wrong.
    pub fn parsed<T: Default>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> T {
        self.demand(name, |kind, text| match kind {
            Kind::Text(_) => Some(parse(text)),
            _ => None,
        })
    }

    /// The same for text that may be unset.
    pub fn optional_parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.take(name, |kind, text| match kind {
            Kind::Text(_) => Some(parse(text)),
            _ => None,
        })
    }

    /// Path with a default.
    pub fn path(&mut self, name: &str) -> PathBuf {
        self.demand(name, parse_path)
    }

    /// Path whose default is found at run time.
    pub fn path_or(&mut self, name: &str, default: &Path) -> PathBuf {
        self.take(name, parse_path).unwrap_or_else(|| {
            self.note_default(name, &default.to_string_lossy());
            default.to_owned()
        })
    }

    /// What `parse` makes of the file that an optional path names, taken from `base` when it is relative; `parse` says
    /// in words what is wrong with its content.
    pub fn optional_file<T>(
        &mut self,
        name: &str,
        base: &Path,
        max_bytes: u64,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        let strings = self.strings;
        self.take(name, |kind, text| match kind {
            Kind::Path => Some(
                strings
                    .file(&base.join(text), max_bytes)
                    .map_err(|why| format!("cannot be read: {why}"))
                    .and_then(|content| parse(&content)),
            ),
            _ => None,
        })
    }

    /// Switch.
    pub fn switch(&mut self, name: &str) -> bool {
        self.demand(name, |kind, text| match (kind, text) {
            (Kind::Bool, "true") => Some(Ok(true)),
            (Kind::Bool, "false") => Some(Ok(false)),
            (Kind::Bool, _) => Some(Err("neither true nor false".to_owned())),
            _ => None,
        })
    }

    /// Whole number within its bounds; a type too small for the bounds is a defect, told as one.
    pub fn integer<T: TryFrom<i64> + Default>(&mut self, name: &str) -> T {
        self.demand(name, |kind, text| match *kind {
            Kind::Integer { min, max, .. } => {
                let whole = text.bytes().all(|byte| byte.is_ascii_digit());
                Some(match text.parse::<i64>() {
                    Ok(value) if whole => within(value, min, max).and_then(|value| {
                        T::try_from(value).map_err(|_| "out of the type's range".to_owned())
                    }),
                    _ => Err("not a whole number".to_owned()),
                })
            }
            _ => None,
        })
    }

    /// Length of time, in milliseconds.
    pub fn duration_ms(&mut self, name: &str) -> i64 {
        self.demand(name, parse_duration)
    }

    /// Length of time that may be unset, in milliseconds.
    pub fn optional_duration_ms(&mut self, name: &str) -> Option<i64> {
        self.take(name, parse_duration)
    }

    /// Percentage points, in parts per million of the whole (1 point = 10,000).
    pub fn points_ppm(&mut self, name: &str) -> i64 {
        self.demand(name, |kind, text| match *kind {
            Kind::Points { min_ppm, max_ppm } => Some(
                decimal::parse(text, PPM_IN_POINT)
                    .map_err(|error| error.to_string())
                    .and_then(|value| within(value, min_ppm, max_ppm)),
            ),
            _ => None,
        })
    }

    /// One word of the key's list, as the value that `meanings` gives it.
    pub fn word<T: Copy + Default>(&mut self, name: &str, meanings: &[(&str, T)]) -> T {
        self.demand(name, |kind, text| match kind {
            Kind::Word(words) if words.contains(&text) => Some(
                meanings
                    .iter()
                    .find(|(word, _)| *word == text)
                    .map(|(_, meaning)| *meaning)
                    .ok_or_else(|| "a word without a meaning (defect)".to_owned()),
            ),
            Kind::Word(words) => Some(Err(match nearest(text, words.iter().copied()) {
                Some(word) => format!("not a known word; did you mean {word}?"),
                None => "not a known word".to_owned(),
            })),
            _ => None,
        })
    }

    /// Address of an HTTP server, without a trailing slash.
    pub fn http_address(&mut self, name: &str) -> String {
        self.demand(name, |kind, text| match kind {
            Kind::HttpAddress => Some(http_address::parse(text).map_err(str::to_owned)),
            _ => None,
        })
    }

    /// The same for an address that may be unset.
    pub fn optional_http_address(&mut self, name: &str) -> Option<String> {
        self.take(name, |kind, text| match kind {
            Kind::HttpAddress => Some(http_address::parse(text).map_err(str::to_owned)),
            _ => None,
        })
    }

    /// Address to listen on.
    pub fn socket_address(&mut self, name: &str) -> SocketAddr {
        self.take_required(name, |kind, text| match kind {
            Kind::SocketAddress => {
                Some(text.parse::<SocketAddr>().map_err(|_| "not an address with a port".to_owned()))
            }
            _ => None,
        })
        .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Items of a comma list, without the spaces around them.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        self.demand(name, |kind, text| match kind {
            Kind::List { .. } if text.is_empty() => Some(Ok(Vec::new())),
            Kind::List { .. } => {
                let items: Vec<String> = text.split(',').map(|item| item.trim().to_owned()).collect();
                Some(if items.iter().any(String::is_empty) {
                    Err("has an empty item".to_owned())
                } else {
                    Ok(items)
                })
            }
            _ => None,
        })
    }

    /// Secret, from the key itself or from the file that `<KEY>_FILE` names.
    pub fn secret(&mut self, name: &str) -> Option<SecretString> {
        let key = self.declared(name)?;
        let Some(file_key) = key.file_name() else {
            self.defect(name, "is read as a secret and is none");
            return None;
        };
        let direct = self.given(key);
        let file = match self.variable(&file_key) {
            Ok(Some("") | None) => None,
            Ok(Some(path)) => Some(path.to_owned()),
            Err(()) => return None,
        };
        self.in_effect.insert(file_key.clone(), file.clone().unwrap_or_default());
        let shown = if file.is_some() { "" } else { MASK };
        let (told_by, text) = match (direct, file) {
            (Given::Bad, _) => return None,
            (Given::Absent, None) => {
                self.in_effect.insert(name.to_owned(), String::new());
                return None;
            }
            (Given::Text(_), Some(_)) => {
                let reason = "both are set; set one of them";
                self.problems.push(Problem::of(format!("{name} + {file_key}"), reason));
                return None;
            }
            (Given::Text(text), None) => (name, text.to_owned()),
            (Given::Absent, Some(path)) => match self.strings.secret_file(Path::new(&path)) {
                Ok(text) => (file_key.as_str(), text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(why) => {
                    // the path is not quoted: somebody may have put the secret itself there
                    self.problems.push(Problem::of(file_key, format!("cannot be read: {why}")));
                    return None;
                }
            },
        };
        if text.is_empty() {
            self.problems.push(Problem::of(told_by, "the file is empty"));
            return None;
        }
        if text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
            let reason = format!("allowed: {}", key.kind.allowed());
            self.problems.push(Problem::of(told_by, reason));
            return None;
        }
        self.in_effect.insert(name.to_owned(), shown.to_owned());
        Some(SecretString::from(text))
    }

    /// Notes a problem that a rule of the program found.
    pub fn refuse(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Whether none of these keys has a problem so far: a rule across keys should judge only then.
    #[must_use]
    pub fn sound(&self, names: &[&str]) -> bool {
        !self.problems.iter().any(|problem| {
            problem.key.split(" + ").any(|key| {
                names
                    .iter()
                    .any(|name| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest == "_FILE"))
            })
        })
    }

    /// Ends reading: the value with its warnings, or every problem.
    ///
    /// # Errors
    /// All problems, when there is one.
    pub fn finish<T>(mut self, value: T) -> Result<Loaded<T>, Problems> {
        for key in self.table.keys() {
            if !self.read.contains(key.name) {
                self.problems.push(Problem::of(key.name, "is declared but never read (defect)"));
            }
        }
        let unknown = self.unknown_variables();
        let warnings = match self.table.unknown {
            Unknown::Refuse => {
                self.problems.extend(unknown);
                Vec::new()
            }
            Unknown::Warn => unknown,
        };
        // told with the errors, since whoever mends those would find them only afterwards
        if !self.problems.is_empty() {
            let told =
                |warning: &Problem| Problem::of(&warning.key, format!("{} (a warning)", warning.reason));
            self.problems.extend(warnings.iter().map(told));
        }
        match Problems::some(self.problems) {
            Some(problems) => Err(problems),
            None => Ok(Loaded { value, warnings, table: self.table, in_effect: self.in_effect }),
        }
    }

    fn unknown_variables(&self) -> Vec<Problem> {
        let known = self.table.variables();
        self.strings
            .names()
            .filter(|name| name.starts_with(self.table.prefix))
            .filter(|name| !known.iter().any(|key| key == name) && !self.table.foreign.contains(name))
            .map(|name| {
                let reason = match nearest(name, known.iter().map(String::as_str)) {
                    Some(key) => format!("unknown key; did you mean {key}?"),
                    None => format!("unknown key of {}", self.table.program),
                };
                Problem::of(name, reason)
            })
            .collect()
    }

    /// A required value, or a placeholder after a problem.
    fn demand<T: Default>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&Kind, &str) -> Option<Result<T, String>>,
    ) -> T {
        self.take_required(name, parse).unwrap_or_default()
    }

    fn take_required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&Kind, &str) -> Option<Result<T, String>>,
    ) -> Option<T> {
        if let Some(key) = self.table.key(name)
            && !matches!(key.fallback, Fallback::Text(_))
        {
            self.defect(name, "is read as required but has no default");
        }
        self.take(name, parse)
    }

    /// A value, when there is one; a problem is noted. `parse` answers `None` for a key of another
    /// kind than its caller reads.
    fn take<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&Kind, &str) -> Option<Result<T, String>>,
    ) -> Option<T> {
        let key = self.declared(name)?;
        let text = match self.given(key) {
            Given::Text(text) => text,
            Given::Absent => {
                self.in_effect.insert(name.to_owned(), String::new());
                return None;
            }
            Given::Bad => return None,
        };
        match parse(&key.kind, text) {
            Some(Ok(value)) => {
                self.in_effect.insert(name.to_owned(), text.to_owned());
                Some(value)
            }
            Some(Err(why)) => {
                self.problems.push(bad_value(key, text, &why));
                None
            }
            None => {
                self.defect(name, "is read as another kind than it is declared");
                None
            }
        }
    }

    fn declared(&mut self, name: &str) -> Option<&'static Key> {
        let key = self.table.key(name);
        match key {
            Some(key) => {
                self.read.insert(key.name);
            }
            None => self.defect(name, "is read but not declared"),
        }
        key
    }

    fn given(&mut self, key: &'static Key) -> Given<'a> {
        let Ok(value) = self.variable(key.name) else { return Given::Bad };
        match (value, key.fallback) {
            (None, Fallback::Text(default)) => Given::Text(default),
            (None | Some(""), Fallback::Unset | Fallback::Described(_)) => Given::Absent,
            (Some(""), Fallback::Text(default)) => match key.kind {
                Kind::List { empty: Empty::Allowed, .. } => Given::Text(""),
                _ => {
                    let why = format!("is empty; leave it out for the default ({default})");
                    self.problems.push(bad_value(key, "", &why));
                    Given::Bad
                }
            },
            (Some(text), _) => Given::Text(text),
        }
    }

    /// A variable's text; what no setting may hold is a problem.
    fn variable(&mut self, name: &str) -> Result<Option<&'a str>, ()> {
        match self.strings.get(name) {
            None => Ok(None),
            Some(Ok(text)) if !text.chars().any(char::is_control) => Ok(Some(text)),
            Some(Ok(_)) => {
                self.problems.push(Problem::of(name, "has control characters"));
                Err(())
            }
            Some(Err(_)) => {
                self.problems.push(Problem::of(name, "is not UTF-8"));
                Err(())
            }
        }
    }

    fn note_default(&mut self, name: &str, text: &str) {
        self.in_effect.insert(name.to_owned(), text.to_owned());
    }

    fn defect(&mut self, name: &str, what: &str) {
        self.problems.push(Problem::of(name, format!("{what} (defect of the program)")));
    }
}

fn parse_path(kind: &Kind, text: &str) -> Option<Result<PathBuf, String>> {
    matches!(kind, Kind::Path).then(|| Ok(PathBuf::from(text)))
}

fn parse_duration(kind: &Kind, text: &str) -> Option<Result<i64, String>> {
    match *kind {
        Kind::Duration { unit, min_ms, max_ms } => Some(
            decimal::parse(text, unit.ms())
                .map_err(|error| error.to_string())
                .and_then(|value| within(value, min_ms, max_ms)),
        ),
        _ => None,
    }
}

fn within(value: i64, min: i64, max: i64) -> Result<i64, String> {
    if value < min {
        Err("too small".to_owned())
    } else if value > max {
        Err("too large".to_owned())
    } else {
        Ok(value)
    }
}

fn bad_value(key: &Key, text: &str, why: &str) -> Problem {
    let allowed = key.kind.allowed();
    let quoted =
        text.len() > 1 && ['"', '\''].iter().any(|&quote| text.starts_with(quote) && text.ends_with(quote));
    let hint = if quoted { "; quotes are taken as part of the value" } else { "" };
    let reason = format!("{why}{hint}; allowed: {allowed}");
    let hidden = matches!(key.kind, Kind::Secret) || why == http_address::CREDENTIALS;
    if hidden { Problem::of(key.name, reason) } else { Problem::with_value(key.name, text, reason) }
}

#[cfg(test)]
mod tests;

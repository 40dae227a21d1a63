//! Is this command line a test run? By its structure, never by a substring.
//!
//! Responsible for patterns and for matching them against a command line as the kernel shows it. It reads nothing and
//! knows no process. `vim pytest.ini` does not match: the word stands where no program, module or script stands.
//!
//! Invariant: bounded work on any bytes, whatever a process writes over its own command line.

use regex::bytes::{Regex, RegexBuilder};

use super::wrapper::{self, Inner};

/// Words of a command line.
pub(super) type Words = Vec<Vec<u8>>;

/// Words that are looked at; a program behind more wrapper options than this is not recognised.
const WORDS_LOOKED_AT: usize = 256;
/// Bytes of a word that are looked at.
const WORD_BYTES: usize = 4096;
/// Bytes of a line that a regular expression is applied to.
const LINE_BYTES: usize = 16 * 1024;
/// Wrappers within wrappers that are seen through.
const DEPTH: usize = 16;
/// Memory that one compiled regular expression may take, in bytes.
const REGEX_BYTES: usize = 1024 * 1024;
/// Patterns in one list.
const PATTERNS: usize = 64;

/// What to look for.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A program, Python module or script of this name.
    Program(String),
    /// `re:`, over the words joined by blanks.
    Line(Regex),
    /// `comm:`, the kernel's name of the process.
    Comm(String),
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing stands where a name should.
    #[error("pattern {0:?} is empty")]
    Empty(String),
    /// A plain pattern is a name, and a name has no slash and no blank.
    #[error("pattern {0:?} is no program name; write re: before a regular expression")]
    NoName(String),
    /// The regular expression does not compile, or is too large.
    #[error("pattern {0:?}: {1}")]
    Regex(String, String),
    /// More patterns than a tick should have to try.
    #[error("more than {PATTERNS} patterns")]
    TooMany,
}

/// The structure that a command line matched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The program itself.
    Program,
    /// `python -m`.
    Module,
    /// A script that an interpreter runs.
    Script,
    /// A worker of pytest-xdist: it carries no word of the pattern.
    Worker,
    /// A regular expression over the line.
    Line,
    /// The kernel's name.
    Comm,
}

/// A match, in facts and in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// How it matched.
    pub shape: Shape,
    /// Pattern, shape and what it was reached through, for people.
    pub words: String,
}

impl Pattern {
    /// Reads one pattern: a name, `re:<regular expression>`, or `comm:<name>`.
    ///
    /// # Errors
    /// [`PatternError`]
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        let kind = if let Some(expression) = text.strip_prefix("re:") {
            let regex = RegexBuilder::new(expression)
                .size_limit(REGEX_BYTES)
                .build()
                .map_err(|error| PatternError::Regex(text.to_owned(), last_line(&error.to_string())))?;
            if expression.is_empty() {
                return Err(PatternError::Empty(text.to_owned()));
            }
            Kind::Line(regex)
        } else if let Some(name) = text.strip_prefix("comm:") {
            Kind::Comm(non_empty(name, text)?)
        } else if text.contains(['/', ' ', '\t', '*']) {
            return Err(PatternError::NoName(text.to_owned()));
        } else {
            Kind::Program(non_empty(text, text)?)
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// Reads a comma list; a comma inside a regular expression is written `\,`.
    ///
    /// # Errors
    /// [`PatternError`] of the first pattern that cannot be used; an empty list is one.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, PatternError> {
        let mut items = vec![String::new()];
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match (letter, items.last_mut()) {
                ('\\', Some(item)) if letters.peek() == Some(&',') => {
                    letters.next();
                    item.push(',');
                }
                (',', _) => items.push(String::new()),
                (other, Some(item)) => item.push(other),
                (_, None) => {}
            }
        }
        let patterns: Vec<Self> = items
            .iter()
            .filter(|item| !item.trim().is_empty())
            .map(|item| Self::parse(item))
            .collect::<Result<_, _>>()?;
        if patterns.is_empty() {
            return Err(PatternError::Empty(text.to_owned()));
        }
        if patterns.len() > PATTERNS { Err(PatternError::TooMany) } else { Ok(patterns) }
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn names(&self, name: &[u8]) -> bool {
        match &self.kind {
            Kind::Program(program) => same_program(program, name),
            Kind::Line(_) | Kind::Comm(_) => false,
        }
    }

    fn is_pytest(&self) -> bool {
        matches!(&self.kind, Kind::Program(program) if program == "pytest")
    }
}

/// Matches a command line. `comm` is the kernel's name of the process; an empty command line (a kernel thread, a
/// zombie) can match by that alone.
#[must_use]
pub fn find(patterns: &[Pattern], words: &[&[u8]], comm: &[u8]) -> Option<Match> {
    for pattern in patterns {
        let hit = match &pattern.kind {
            Kind::Comm(name) => comm == name.as_bytes(),
            Kind::Line(regex) => {
                let line = joined(words);
                !line.is_empty() && regex.is_match(&line)
            }
            Kind::Program(_) => false,
        };
        if hit {
            let shape = if matches!(pattern.kind, Kind::Comm(_)) { Shape::Comm } else { Shape::Line };
            return Some(Match { shape, words: pattern.text.clone() });
        }
    }
    let words: Words =
        words.iter().take(WORDS_LOOKED_AT).map(|word| cut(word, WORD_BYTES).to_vec()).collect();
    by_structure(patterns, words)
}

/// One place on the way inwards where a name may stand.
struct Place {
    shape: Shape,
    name: Vec<u8>,
}

fn by_structure(patterns: &[Pattern], words: Words) -> Option<Match> {
    let mut through: Vec<String> = Vec::new();
    let mut next = Some(Inner::Command(words));
    for _ in 0..DEPTH {
        let inner = next.take()?;
        let place = match &inner {
            Inner::Command(words) => Place { shape: Shape::Program, name: program_name(words)? },
            Inner::Module(module, _) => Place { shape: Shape::Module, name: module_name(module).to_vec() },
            Inner::Script(words) => {
                Place { shape: Shape::Script, name: script_name(words.first()?).to_vec() }
            }
            Inner::Code(code) => {
                let pattern = patterns.iter().find(|pattern| pattern.is_pytest() && is_worker(code))?;
                return Some(told(pattern, Shape::Worker, "execnet", &through));
            }
        };
        if place.shape == Shape::Program && is_worker_title(&inner) {
            let pattern = patterns.iter().find(|pattern| pattern.is_pytest())?;
            return Some(told(pattern, Shape::Worker, "xdist", &through));
        }
        if let Some(pattern) = patterns.iter().find(|pattern| pattern.names(&place.name)) {
            let shape = match place.shape {
                Shape::Module => "python -m",
                Shape::Script => "python FILE",
                Shape::Program | Shape::Worker | Shape::Line | Shape::Comm => "argv[0]",
            };
            return Some(told(pattern, place.shape, shape, &through));
        }
        next = match &inner {
            Inner::Command(words) => wrapper::step(words),
            Inner::Module(module, arguments) => wrapper::through_module(module, arguments),
            // `/usr/bin/coverage run -m pytest` runs as `python3 /usr/bin/coverage run -m pytest`
            Inner::Script(words) => wrapper::step(words),
            Inner::Code(_) => None,
        };
        through.push(String::from_utf8_lossy(cut(&place.name, 32)).into_owned());
    }
    None
}

/// In signs and names alone, so that it is the same in every language: the pattern, and the way inwards to its name.
fn told(pattern: &Pattern, shape: Shape, how: &str, through: &[String]) -> Match {
    let way: String = through.iter().flat_map(|outer| [outer.as_str(), " → "]).collect();
    let way = super::redact::plain(way.as_bytes(), 100);
    let gap = if way.is_empty() || way.ends_with(' ') { "" } else { " " };
    Match { shape, words: format!("{}: {way}{gap}{how}", pattern.text) }
}

/// A login shell's name begins with `-`.
fn program_name(words: &Words) -> Option<Vec<u8>> {
    let name = basename(words.first()?);
    Some(name.strip_prefix(b"-").unwrap_or(name).to_vec())
}

/// `python -m pytest` and `python -m pytest.__main__` are one.
fn module_name(module: &[u8]) -> &[u8] {
    module.strip_suffix(b".__main__").unwrap_or(module)
}

/// `…/pytest/__main__.py` runs the package.
fn script_name(path: &[u8]) -> &[u8] {
    basename(path.strip_suffix(b"/__main__.py").unwrap_or(path))
}

/// The name itself, Debian's `pytest-3`, and for pytest its old name.
fn same_program(program: &str, name: &[u8]) -> bool {
    let named = |wanted: &str| {
        name.strip_prefix(wanted.as_bytes()).is_some_and(|rest| {
            rest.is_empty()
                || rest.strip_prefix(b"-").is_some_and(|version| {
                    version.first().is_some_and(u8::is_ascii_digit)
                        && version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
                })
        })
    };
    named(program) || (program == "pytest" && named("py.test"))
}

/// execnet, `gateway_base.py`: the bootstrap of a worker on the same host.
fn is_worker(code: &[u8]) -> bool {
    let text: Vec<u8> = code.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    contains(&text, b"exec(eval(sys.stdin.readline()))")
}

/// pytest-xdist, `remote.py`: the title a worker gives itself where `setproctitle` is installed.
fn is_worker_title(inner: &Inner) -> bool {
    match inner {
        Inner::Command(words) => words.first().is_some_and(|first| first.starts_with(b"[pytest-xdist ")),
        Inner::Module(..) | Inner::Script(_) | Inner::Code(_) => false,
    }
}

fn joined(words: &[&[u8]]) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        line.extend_from_slice(cut(word, LINE_BYTES));
        if line.len() >= LINE_BYTES {
            line.truncate(LINE_BYTES);
            break;
        }
    }
    line
}

/// The last part of a path.
pub(super) fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn cut(bytes: &[u8], limit: usize) -> &[u8] {
    bytes.get(..limit).unwrap_or(bytes)
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

fn non_empty(name: &str, text: &str) -> Result<String, PatternError> {
    if name.is_empty() { Err(PatternError::Empty(text.to_owned())) } else { Ok(name.to_owned()) }
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

//! What a key is: name, meaning, kind with bounds, default.
//!
//! Plain data that fits in a `static`; nothing here reads or judges a value. The texts that people
//! see (what is allowed, what the default is) are derived here, so that a problem, the example
//! file and the reference cannot disagree.

use crate::decimal;

/// All keys of one program.
#[derive(Debug)]
pub struct Table {
    /// Program that reads them.
    pub program: &'static str,
    /// Every key starts so; other variables of the environment are nobody's business.
    pub prefix: &'static str,
    /// What a variable with the prefix means that is not in the table.
    pub unknown: Unknown,
    /// Names with the prefix that belong to somebody else (systemd) and are passed over.
    pub foreign: &'static [&'static str],
    /// Keys in the order in which they are shown.
    pub sections: &'static [Section],
}

/// What to do about a variable that has the prefix and is not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// A misspelt setting must not be taken for its default.
    Refuse,
    /// The program runs across versions and must start all the same.
    Warn,
}

/// Keys that belong together.
#[derive(Debug)]
pub struct Section {
    /// Heading.
    pub title: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Variable name, prefix included.
    pub name: &'static str,
    /// What it means: one sentence, without its unit and bounds.
    pub meaning: &'static str,
    /// Type and bounds.
    pub kind: Kind,
    /// What holds when it is not set.
    pub fallback: Fallback,
}

/// What holds when a key is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This text, read like any value.
    Text(&'static str),
    /// Found at run time; described here in words. An empty value means the same.
    Described(&'static str),
    /// Nothing. An empty value means the same.
    Unset,
}

/// Type and bounds of a value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text; in words what is allowed.
    Text(&'static str),
    /// Path of a file or directory.
    Path,
    /// `true` or `false`, nothing else.
    Bool,
    /// Whole number.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// What is counted.
        unit: &'static str,
    },
    /// Length of time, with fractions.
    Duration {
        /// Unit in which it is written.
        unit: Unit,
        /// Smallest, in milliseconds.
        min_ms: i64,
        /// Largest, in milliseconds.
        max_ms: i64,
    },
    /// Percentage points, with fractions; bounds in millionths of the whole (1 point = 10,000).
    Points {
        /// Smallest, in parts per million.
        min_ppm: i64,
        /// Largest, in parts per million.
        max_ppm: i64,
    },
    /// One word of a closed list.
    Word(&'static [&'static str]),
    /// Address of an HTTP server, without credentials.
    HttpAddress,
    /// Address and port to listen on.
    SocketAddress,
    /// Comma list.
    List {
        /// In words what an item may be.
        items: &'static str,
        /// Whether the empty list has a meaning.
        empty: Empty,
    },
    /// Secret; `<KEY>_FILE` may name a file that holds it.
    Secret,
}

/// Unit in which a length of time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
}

/// Whether a list may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// The empty list means something of its own.
    Allowed,
    /// At least one item.
    Refused,
}

impl Unit {
    /// Milliseconds in one.
    #[must_use]
    pub const fn ms(self) -> i64 {
        match self {
            Self::Seconds => 1_000,
            Self::Minutes => 60_000,
        }
    }

    /// Its plural.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
        }
    }
}

/// Parts per million in one percentage point.
pub(crate) const PPM_IN_POINT: i64 = 10_000;

/// Suffix of the key that names a secret's file.
pub(crate) const FILE_SUFFIX: &str = "_FILE";

impl Kind {
    /// In words what a value may be; fits behind "allowed: ".
    #[must_use]
    pub fn allowed(&self) -> String {
        match *self {
            Self::Text(words) => words.to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max, unit } => format!("a whole number of {unit}, {min} to {max}"),
            Self::Duration { unit, min_ms, max_ms } => format!(
                "{}, {} to {}, fractions allowed",
                unit.name(),
                decimal::show(min_ms, unit.ms()),
                decimal::show(max_ms, unit.ms())
            ),
            Self::Points { min_ppm, max_ppm } => format!(
                "percentage points, {} to {}, fractions allowed",
                decimal::show(min_ppm, PPM_IN_POINT),
                decimal::show(max_ppm, PPM_IN_POINT)
            ),
            Self::Word(words) => words.join(" or "),
            Self::HttpAddress => "http:// or https://, host, optional port and path".to_owned(),
            Self::SocketAddress => "address:port, such as 127.0.0.1:8080 or [::1]:8080".to_owned(),
            Self::List { items, empty: Empty::Refused } => format!("a comma list of {items}"),
            Self::List { items, empty: Empty::Allowed } => format!("a comma list of {items}, or empty"),
            Self::Secret => "a secret without spaces or control characters".to_owned(),
        }
    }
}

impl Key {
    const fn new(name: &'static str, kind: Kind, fallback: Fallback, meaning: &'static str) -> Self {
        Self { name, meaning, kind, fallback }
    }

    /// Text with a default; `allowed` says in words what it may be.
    #[must_use]
    pub const fn text(
        name: &'static str,
        default: &'static str,
        allowed: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self::new(name, Kind::Text(allowed), Fallback::Text(default), meaning)
    }

    /// Path with a default.
    #[must_use]
    pub const fn path(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Kind::Path, Fallback::Text(default), meaning)
    }

    /// Switch with a default.
    #[must_use]
    pub const fn switch(name: &'static str, default: bool, meaning: &'static str) -> Self {
        Self::new(name, Kind::Bool, Fallback::Text(if default { "true" } else { "false" }), meaning)
    }

    /// Whole number of `unit` with a default.
    #[must_use]
    pub const fn integer(
        name: &'static str,
        default: &'static str,
        (min, max): (i64, i64),
        unit: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self::new(name, Kind::Integer { min, max, unit }, Fallback::Text(default), meaning)
    }

    /// Seconds with a default; bounds in milliseconds.
    #[must_use]
    pub const fn seconds(
        name: &'static str,
        default: &'static str,
        (min_ms, max_ms): (i64, i64),
        meaning: &'static str,
    ) -> Self {
        let kind = Kind::Duration { unit: Unit::Seconds, min_ms, max_ms };
        Self::new(name, kind, Fallback::Text(default), meaning)
    }

    /// Minutes with a default; bounds in milliseconds.
    #[must_use]
    pub const fn minutes(
        name: &'static str,
        default: &'static str,
        (min_ms, max_ms): (i64, i64),
        meaning: &'static str,
    ) -> Self {
        let kind = Kind::Duration { unit: Unit::Minutes, min_ms, max_ms };
        Self::new(name, kind, Fallback::Text(default), meaning)
    }

    /// Percentage points with a default; bounds in parts per million.
    #[must_use]
    pub const fn points(
        name: &'static str,
        default: &'static str,
        (min_ppm, max_ppm): (i64, i64),
        meaning: &'static str,
    ) -> Self {
        Self::new(name, Kind::Points { min_ppm, max_ppm }, Fallback::Text(default), meaning)
    }

    /// One word of a list, with a default.
    #[must_use]
    pub const fn word(
        name: &'static str,
        default: &'static str,
        words: &'static [&'static str],
        meaning: &'static str,
    ) -> Self {
        Self::new(name, Kind::Word(words), Fallback::Text(default), meaning)
    }

    /// Address of an HTTP server, with a default.
    #[must_use]
    pub const fn http_address(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Kind::HttpAddress, Fallback::Text(default), meaning)
    }

    /// Address to listen on, with a default.
    #[must_use]
    pub const fn socket_address(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Kind::SocketAddress, Fallback::Text(default), meaning)
    }

    /// Comma list with a default.
    #[must_use]
    pub const fn list(
        name: &'static str,
        default: &'static str,
        items: &'static str,
        empty: Empty,
        meaning: &'static str,
    ) -> Self {
        Self::new(name, Kind::List { items, empty }, Fallback::Text(default), meaning)
    }

    /// Secret, unset by default.
    #[must_use]
    pub const fn secret(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Kind::Secret, Fallback::Unset, meaning)
    }

    /// The same key without a default: unset unless given.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.fallback = Fallback::Unset;
        self
    }

    /// The same key with a default that is found at run time.
    #[must_use]
    pub const fn described(mut self, words: &'static str) -> Self {
        self.fallback = Fallback::Described(words);
        self
    }

    /// The variable that names this secret's file; absent for other kinds.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        matches!(self.kind, Kind::Secret).then(|| format!("{}{FILE_SUFFIX}", self.name))
    }
}

impl Table {
    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.sections.iter().flat_map(|section| section.keys)
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }

    /// Every variable that may be set, the files of secrets included.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        self.keys().flat_map(|key| std::iter::once(key.name.to_owned()).chain(key.file_name())).collect()
    }
}

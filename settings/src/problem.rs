//! What is wrong with the settings, told all at once.
//!
//! A problem names the key, the value as it was given (never a secret's, never an unknown key's:
//! that may be a misspelt secret) and what is allowed.

use std::fmt;

/// Longest part of a value that is quoted, in characters.
const VALUE_SHOWN_MAX: usize = 80;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Key, or keys joined by ` + ` for a rule across several.
    pub key: String,
    /// Value as given; absent for secrets, unknown keys and rules across keys.
    pub value: Option<String>,
    /// Why, and what is allowed.
    pub reason: String,
}

impl Problem {
    /// A problem of a key, without its value.
    pub fn of(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, reason: reason.into() }
    }

    /// A problem of a key's value.
    pub fn with_value(key: impl Into<String>, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), value: Some(value.into()), reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.key)?;
        if let Some(value) = &self.value {
            let mut shown: String = value.chars().take(VALUE_SHOWN_MAX).collect();
            if shown.len() < value.len() {
                shown.push('…');
            }
            write!(formatter, "={shown:?}")?;
        }
        write!(formatter, ": {}", self.reason)
    }
}

/// Everything that is wrong, in the order of the table; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Some problems, unless there are none.
    #[must_use]
    pub fn some(problems: Vec<Problem>) -> Option<Self> {
        if problems.is_empty() { None } else { Some(Self(problems)) }
    }

    /// Each of them.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => formatter.write_str("1 setting is wrong:")?,
            count => write!(formatter, "{count} settings are wrong:")?,
        }
        for problem in &self.0 {
            write!(formatter, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

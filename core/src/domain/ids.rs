//! Identifiers as types, so that a job number cannot be passed for a run number.
//!
//! They carry values only; who hands them out (the store, the tracker, chance) is not decided here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A key that is not of the shape `ORCH-114`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a work item key: expected letters, digits or `_`, a dash and a number, like `ORCH-114`, at most 64 characters"
)]
pub struct BadKey(pub String);

/// The tracker's key of a work item: `ORCH-114`. Safe as a file name and in a git ref.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkItemKey(String);

impl WorkItemKey {
    /// Checks the shape: `[A-Za-z][A-Za-z0-9_]*-[0-9]+`, at most 64 characters.
    ///
    /// # Errors
    /// [`BadKey`] with the text as given.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let bad = || BadKey(text.chars().take(80).collect());
        let (prefix, number) = text.rsplit_once('-').ok_or_else(bad)?;
        let prefix_fits = prefix.starts_with(|c: char| c.is_ascii_alphabetic())
            && prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let number_fits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        if prefix_fits && number_fits && text.len() <= 64 { Ok(Self(text.to_owned())) } else { Err(bad()) }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WorkItemKey {
    type Error = BadKey;
    fn try_from(text: String) -> Result<Self, BadKey> {
        Self::parse(&text)
    }
}

impl From<WorkItemKey> for String {
    fn from(key: WorkItemKey) -> Self {
        key.0
    }
}

impl fmt::Display for WorkItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

row_id!(
    /// Number of a task in the store.
    TaskId
);
row_id!(
    /// Number of a job in the store.
    JobId
);
row_id!(
    /// Number of a run in the store; also the name of its run directory.
    RunId
);
row_id!(
    /// Fencing token: grows with every lease grant of a task and never shrinks.
    Fencing
);

/// One life of this program: random, new at each start.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_prefix_a_dash_and_a_number() {
        for good in ["ORCH-1", "a-0", "SAMPLE_2-114"] {
            assert_eq!(WorkItemKey::parse(good).map(String::from).as_deref(), Ok(good));
        }
        for bad in ["", "ORCH", "ORCH-", "-1", "1A-1", "OR CH-1", "../x-1", "ORCH-1a", "ORCH-1/..", "É-1"] {
            assert!(WorkItemKey::parse(bad).is_err(), "{bad}");
        }
        assert!(WorkItemKey::parse(&format!("A-{}", "1".repeat(63))).is_err());
    }
}

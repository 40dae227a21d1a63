//! Which projects a mechanism serves.

use std::fmt;

/// Scope of a switch, as `ORCH_…_REPOS` gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// `*`: every project.
    #[default]
    All,
    /// These projects, by name; never empty.
    List(Vec<String>),
    /// Empty: `ORCH_SELF_REPO` alone, which is this.
    SelfRepoOnly(String),
}

/// Why a list gives no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A star among names.
    #[error("* stands alone or not at all")]
    StarAmongNames,
    /// Empty without the project it would mean.
    #[error("empty means ORCH_SELF_REPO alone, and that is not set; use * for all projects")]
    NoSelfRepo,
}

impl Scope {
    /// Reads the items of a scope key.
    ///
    /// # Errors
    /// See [`ScopeError`].
    pub fn from_items(items: Vec<String>, self_repo: Option<&str>) -> Result<Self, ScopeError> {
        match items.as_slice() {
            [] => {
                self_repo.map_or(Err(ScopeError::NoSelfRepo), |name| Ok(Self::SelfRepoOnly(name.to_owned())))
            }
            [only] if only == "*" => Ok(Self::All),
            names if names.iter().any(|name| name == "*") => Err(ScopeError::StarAmongNames),
            _ => Ok(Self::List(items)),
        }
    }

    /// Whether a project is in scope.
    #[must_use]
    pub fn contains(&self, repo: &str) -> bool {
        match self {
            Self::All => true,
            Self::List(names) => names.iter().any(|name| name == repo),
            Self::SelfRepoOnly(name) => name == repo,
        }
    }

    /// Projects that are named, so that a name of no project can be refused.
    #[must_use]
    pub fn named(&self) -> &[String] {
        match self {
            Self::All => &[],
            Self::List(names) => names,
            Self::SelfRepoOnly(name) => std::slice::from_ref(name),
        }
    }
}

impl fmt::Display for Scope {
    /// As the observation document shows it: `*`, or names.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("*"),
            Self::List(names) => formatter.write_str(&names.join(",")),
            Self::SelfRepoOnly(name) => formatter.write_str(name),
        }
    }
}

/// A mechanism's switch with its scope; out of scope behaves as switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Whether it is on at all.
    pub enabled: bool,
    /// For which projects.
    pub scope: Scope,
}

impl Switch {
    /// Whether the mechanism works for this project.
    #[must_use]
    pub fn is_on_for(&self, repo: &str) -> bool {
        self.enabled && self.scope.contains(repo)
    }
}

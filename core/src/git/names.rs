//! Names that git and the core agree on, each valid from its making.
//!
//! Responsible for validating commit and tree ids, branch names and paths inside a repository.
//! Deliberately not here: whether what they name exists.
//!
//! Invariant I5: a [`TaskBranch`] is made from a work item key alone and always lies below `orch/`, where no
//! [`TargetBranch`] can lie.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Folder of the branches that the core may push.
const TASK_PREFIX: &str = "orch/";
const ID_CHARS: usize = 40;
const MAX_KEY_CHARS: usize = 64;
const MAX_BRANCH_CHARS: usize = 200;
const MAX_PATH_BYTES: usize = 4_096;

/// Why a text is not such a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not 40 hexadecimal digits (repositories with SHA-256 ids are not supported).
    #[error("not a 40 digit git id: {0:?}")]
    Id(String),
    /// Not a work item key that can stand in a branch name.
    #[error("not a work item key: {0:?}")]
    Key(String),
    /// Not a branch name, or one in the part that belongs to task branches.
    #[error("not a target branch: {0:?}")]
    Target(String),
    /// Not a relative path inside a repository.
    #[error("not a path inside a repository: {0:?}")]
    Path(String),
}

macro_rules! git_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes 40 hexadecimal digits, in either case.
            ///
            /// # Errors
            /// [`NameError::Id`] for anything else.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                if text.len() == ID_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    Ok(Self(text.to_ascii_lowercase()))
                } else {
                    Err(NameError::Id(text.chars().take(ID_CHARS + 1).collect()))
                }
            }

            /// The 40 digits, in lower case.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

git_id! {
    /// A commit (or, where said, a blob).
    Sha
}
git_id! {
    /// A tree: what a commit contains, without its history. Equal trees are equal contents.
    TreeId
}

impl Sha {
    /// The first ten digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

/// The branch of one task: `orch/<KEY>`. The only thing that the core can push.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskBranch {
    name: String,
}

impl TaskBranch {
    /// The branch of a work item, for instance `orch/ORCH-114`.
    ///
    /// # Errors
    /// [`NameError::Key`] unless the key is 1–64 ASCII letters, digits, `-` and `_`, starting with a letter or digit.
    pub fn for_key(key: &str) -> Result<Self, NameError> {
        let fits = key.len() <= MAX_KEY_CHARS
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && key.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if fits {
            Ok(Self { name: format!("{TASK_PREFIX}{key}") })
        } else {
            Err(NameError::Key(key.chars().take(MAX_KEY_CHARS + 1).collect()))
        }
    }

    /// The task branch with this name, when it is one.
    ///
    /// # Errors
    /// [`NameError::Key`] for a name outside `orch/`.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match name.strip_prefix(TASK_PREFIX) {
            Some(key) => Self::for_key(key),
            None => Err(NameError::Key(name.chars().take(MAX_KEY_CHARS + 1).collect())),
        }
    }

    /// The branch name, without `refs/heads/`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The work item's key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.name[TASK_PREFIX.len()..]
    }

    /// The full ref name.
    #[must_use]
    pub fn full_ref(&self) -> String {
        format!("refs/heads/{}", self.name)
    }
}

impl fmt::Display for TaskBranch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl TryFrom<String> for TaskBranch {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl From<TaskBranch> for String {
    fn from(branch: TaskBranch) -> Self {
        branch.name
    }
}

/// A branch that tasks are merged into, for instance `main`. It can be read, never pushed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetBranch {
    name: String,
}

impl TargetBranch {
    /// Takes a branch name by a rule stricter than git's: parts of ASCII letters, digits, `.`, `_`, `-`.
    ///
    /// # Errors
    /// [`NameError::Target`] for anything else, and for `orch` and all below it.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let part_fits = |part: &str| {
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
                && part.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !part.contains("..")
                && !part.ends_with('.')
                && !part.ends_with(".lock")
        };
        let fits = name.len() <= MAX_BRANCH_CHARS
            && name.split('/').all(part_fits)
            && name != "HEAD"
            && name.split('/').next() != Some("refs")
            && name.split('/').next() != TASK_PREFIX.split('/').next();
        if fits {
            Ok(Self { name: name.to_owned() })
        } else {
            Err(NameError::Target(name.chars().take(MAX_BRANCH_CHARS + 1).collect()))
        }
    }

    /// The branch name, without `refs/heads/`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The full ref name.
    #[must_use]
    pub fn full_ref(&self) -> String {
        format!("refs/heads/{}", self.name)
    }
}

impl fmt::Display for TargetBranch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl TryFrom<String> for TargetBranch {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl From<TargetBranch> for String {
    fn from(branch: TargetBranch) -> Self {
        branch.name
    }
}

/// Either kind of branch, where it is only looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Branch {
    /// A task's branch.
    Task(TaskBranch),
    /// A branch that tasks are merged into.
    Target(TargetBranch),
}

impl Branch {
    /// The branch name, without `refs/heads/`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Task(branch) => branch.name(),
            Self::Target(branch) => branch.name(),
        }
    }

    /// The full ref name.
    #[must_use]
    pub fn full_ref(&self) -> String {
        format!("refs/heads/{}", self.name())
    }
}

impl From<&TaskBranch> for Branch {
    fn from(branch: &TaskBranch) -> Self {
        Self::Task(branch.clone())
    }
}

impl From<&TargetBranch> for Branch {
    fn from(branch: &TargetBranch) -> Self {
        Self::Target(branch.clone())
    }
}

/// A relative path inside a repository, with `/` between its parts; empty means the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(String);

impl RepoPath {
    /// Takes a relative path without `.` and `..` parts; one `/` at its end is dropped.
    ///
    /// # Errors
    /// [`NameError::Path`] for anything else.
    pub fn parse(path: &str) -> Result<Self, NameError> {
        let bare = path.strip_suffix('/').unwrap_or(path);
        let fits = bare.len() <= MAX_PATH_BYTES
            && !bare.contains('\0')
            && (bare.is_empty() && path.is_empty()
                || bare.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
        if fits {
            Ok(Self(bare.to_owned()))
        } else {
            Err(NameError::Path(path.chars().take(MAX_BRANCH_CHARS).collect()))
        }
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_forty_hexadecimal_digits_in_lower_case() {
        let id = "0123456789ABCDEFabcdef0123456789abcdef01";
        assert_eq!(Sha::parse(id).unwrap().as_str(), id.to_lowercase());
        for bad in ["", "main", "--all", &id[1..], &format!("{id}0"), &format!("{}g", &id[1..])] {
            assert!(Sha::parse(bad).is_err(), "{bad}");
            assert!(TreeId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_task_branch_is_made_of_a_key_and_of_nothing_else() {
        assert_eq!(TaskBranch::for_key("ORCH-114").unwrap().full_ref(), "refs/heads/orch/ORCH-114");
        let long = "K".repeat(65);
        for bad in ["", "-x", "a/b", "a b", "a..b", "a.lock", "../main", "a:main", "+a", "a\n", &long] {
            assert!(TaskBranch::for_key(bad).is_err(), "{bad}");
        }
        for bad in ["main", "orch", "orch/", "refs/heads/orch/A-1", "Orch/A-1"] {
            assert!(TaskBranch::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_branch_is_a_plain_name_outside_the_task_branches() {
        for good in ["main", "release/1.2", "trunk", "v2_x", "orchestra"] {
            assert_eq!(TargetBranch::parse(good).unwrap().name(), good);
        }
        for bad in
            ["", "orch", "orch/A-1", "HEAD", "refs/heads/main", "-d", "a//b", "/a", "a/", "a..b", "a.lock"]
        {
            assert!(TargetBranch::parse(bad).is_err(), "{bad}");
        }
        for bad in ["a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a@{1}", "a'b", ".a", "a."] {
            assert!(TargetBranch::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_repository_path_cannot_leave_the_repository() {
        assert_eq!(RepoPath::parse("docs/adr/").unwrap().as_str(), "docs/adr");
        assert_eq!(RepoPath::parse("").unwrap().as_str(), "");
        for bad in ["/", "/etc", "..", "a/../b", "./a", "a//b", "a\0b"] {
            assert!(RepoPath::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_name_is_both_a_task_branch_and_a_target_branch(name in "(orch/)?[A-Za-z0-9_./-]{0,12}") {
            prop_assert!(TaskBranch::parse(&name).is_err() || TargetBranch::parse(&name).is_err());
        }

        #[test]
        fn a_branch_survives_its_text(key in "[A-Za-z0-9][A-Za-z0-9_-]{0,20}") {
            let branch = TaskBranch::for_key(&key).unwrap();
            prop_assert_eq!(branch.key(), key.as_str());
            prop_assert_eq!(TaskBranch::parse(branch.name()).unwrap(), branch);
        }
    }
}

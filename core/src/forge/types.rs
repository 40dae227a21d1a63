//! What is said between the core and any forge.
//!
//! Responsible for the domain types of the port; plain data, valid from its making.
//! Deliberately not here: any forge's own words for them.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::git::{GitError, Identity, Sha, TargetBranch, TaskBranch};

const MAX_MARKER_CHARS: usize = 200;

/// A pull request's number in its repository, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrNumber(pub u64);

impl fmt::Display for PrNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a pull request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullRequestState {
    /// It can still be merged or closed.
    Open,
    /// It is on the base branch.
    Merged {
        /// The commit on the base branch that brought it: a merge commit, or the head itself after a fast-forward.
        merge_sha: Sha,
    },
    /// It was closed without a merge.
    Closed,
}

/// A task branch that is proposed for a target branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: PrNumber,
    /// The proposed branch.
    pub head_branch: TaskBranch,
    /// The branch that it is proposed for.
    pub base_branch: TargetBranch,
    /// The branch's present commit while open; what was merged, or was there at the closing, afterwards.
    pub head_sha: Sha,
    /// Where it stands.
    pub state: PullRequestState,
    /// Its title.
    pub title: String,
}

/// What a check says of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusState {
    /// It has not come to an end.
    Pending,
    /// It is good.
    Success,
    /// The code is at fault.
    Failure,
    /// The check itself failed.
    Error,
}

impl StatusState {
    /// Whether no more is to come without a new run.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending => false,
            Self::Success | Self::Failure | Self::Error => true,
        }
    }
}

/// One check's word on one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitStatus {
    /// Which check, for instance `ci`.
    pub context: String,
    /// What it says.
    pub state: StatusState,
    /// A line for people.
    pub description: String,
    /// Where more is to be read.
    pub target: Option<String>,
    /// When it was said, in UTC milliseconds; the newest of a context counts.
    pub updated_at_ms: i64,
}

/// How a branch comes onto its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MergeMethod {
    /// A commit with two parents, the base first.
    MergeCommit,
    /// The base moves to the head; refused when that would lose commits.
    FastForwardOnly,
}

/// A merge with its guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRequest {
    /// Which pull request.
    pub number: PrNumber,
    /// The head that was tested.
    pub expected_head: Sha,
    /// The base's commit that it was tested on.
    pub expected_base: Sha,
    /// How.
    pub method: MergeMethod,
    /// The merge commit's message.
    pub message: String,
    /// Its author and committer.
    pub author: Identity,
    /// Its time, in UTC milliseconds.
    pub at_ms: i64,
}

/// What became of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeOutcome {
    /// Merged by this call.
    Merged {
        /// The base's new commit.
        merge_sha: Sha,
    },
    /// Merged before.
    AlreadyMerged {
        /// The commit that brought it. Whose head that was: see [`PullRequest::head_sha`].
        merge_sha: Sha,
    },
    /// The branch is not at the expected commit.
    HeadMoved {
        /// Where it is.
        actual: Sha,
    },
    /// The base is not at the expected commit.
    BaseMoved {
        /// Where it is.
        actual: Sha,
    },
    /// Both sides changed the same places.
    Conflict,
    /// The forge's rules stand against it.
    NotMergeable {
        /// Which rule.
        reason: String,
    },
    /// The pull request was closed.
    Closed,
}

/// Whether a merge would go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mergeability {
    /// It would.
    Clean,
    /// The forge is still looking.
    Checking,
    /// Both sides changed the same places.
    Conflict {
        /// The files, as far as the forge names them.
        files: Vec<String>,
    },
    /// The forge's rules stand against it.
    Blocked {
        /// Which rule.
        reason: String,
    },
    /// It is merged.
    AlreadyMerged {
        /// The commit that brought it.
        merge_sha: Sha,
    },
    /// It is closed.
    Closed,
}

/// What became of a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentOutcome {
    /// Written by this call.
    Posted,
    /// A comment with this marker was there; it is left as it is.
    AlreadyThere,
}

/// A hidden text by which the core finds its own comment again, for instance `ORCH-114:7:review`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker(String);

impl Marker {
    /// Takes ASCII letters, digits and `. _ : / -`, without `--` (it ends an HTML comment).
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= MAX_MARKER_CHARS
            && !text.contains("--")
            && !text.ends_with('-')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte));
        fits.then(|| Self(text.to_owned()))
    }

    /// The marker as it stands in a comment's source, where a reader does not see it.
    #[must_use]
    pub fn hidden(&self) -> String {
        format!("<!-- orch:{} -->", self.0)
    }
}

/// Why a forge gave no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// What was asked about does not exist.
    #[error("the forge has no {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The request itself cannot be right.
    #[error("the forge refuses: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// Somebody else works on the same records; try again.
    #[error("{what} is busy")]
    Busy {
        /// The lock.
        what: String,
    },
    /// The forge did not answer, or not so that it could be understood.
    #[error("the forge does not answer: {detail}")]
    Unavailable {
        /// What happened.
        detail: String,
    },
    /// A record that this program did not write like that.
    #[error("cannot read {}: {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The file system refused.
    #[error("access {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Git failed.
    #[error("use the forge's repository")]
    Git(#[from] GitError),
}

impl ForgeError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

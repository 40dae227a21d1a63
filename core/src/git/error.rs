//! What can go wrong with git, by kind.
//!
//! Responsible for reading git's exit code and messages (the C locale) into one [`GitError`].
//! Deliberately not here: what a caller makes of a kind (retry, roll back, block).
//!
//! Invariant: what is not recognised is [`GitError::Other`], never a guess.

use std::path::PathBuf;

use crate::git::names::NameError;
use crate::process::short::{EndStatus, ShortError, ShortOutput};

/// How much of standard error a message carries.
const TAIL_BYTES: usize = 2_000;

/// Why a git operation gave no result.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Another git process holds a lock, or a killed one left it.
    #[error("git lock is busy: {detail}")]
    LockBusy {
        /// Git's words, with the lock's path.
        detail: String,
    },
    /// Two changes of the same place.
    #[error("conflict in {}", files.join(", "))]
    Conflict {
        /// The files in conflict.
        files: Vec<String>,
    },
    /// The worktree has changes that the operation would have to carry or destroy.
    #[error("worktree has uncommitted changes: {}", files.join(", "))]
    Dirty {
        /// The changed files.
        files: Vec<String>,
    },
    /// The other side refused.
    #[error("refused by the remote: {reason}")]
    Rejected {
        /// The other side's words.
        reason: String,
    },
    /// The ref was not what the caller expected; nothing was changed.
    #[error("the ref is not at the expected commit")]
    StaleInfo,
    /// A commit, path or repository that does not exist.
    #[error("not found: {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// Killed after its time-out.
    #[error("{what} did not end within {after_ms} ms")]
    TimedOut {
        /// The git command.
        what: String,
        /// The time-out, in milliseconds.
        after_ms: u128,
    },
    /// More output than a caller can hold.
    #[error("{what} gave more than {limit_bytes} bytes")]
    TooLarge {
        /// The git command.
        what: String,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// A text that should be a name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Git itself could not be run.
    #[error("run git {what}")]
    Run {
        /// The git command.
        what: String,
        /// The reason.
        source: ShortError,
    },
    /// The file system refused.
    #[error("access {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Git said something that this program does not understand.
    #[error("cannot read the answer of git {what}: {answer:?}")]
    Unreadable {
        /// The git command.
        what: String,
        /// The start of the answer.
        answer: String,
    },
    /// Any other failure.
    #[error("git {what} ended with {code}: {stderr}")]
    Other {
        /// The git command.
        what: String,
        /// Exit code, or minus the signal.
        code: i32,
        /// The last lines of standard error.
        stderr: String,
    },
}

impl GitError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn unreadable(what: &str, answer: &str) -> Self {
        Self::Unreadable { what: what.to_owned(), answer: answer.chars().take(200).collect() }
    }

    pub(crate) fn from_run(what: &str, error: ShortError) -> Self {
        match error {
            ShortError::TimedOut { after_ms, .. } => Self::TimedOut { what: format!("git {what}"), after_ms },
            source @ (ShortError::Spawn { .. } | ShortError::Io { .. }) => {
                Self::Run { what: what.to_owned(), source }
            }
        }
    }

    /// The kind of a failure, from an output whose status is not success.
    pub(crate) fn from_output(what: &str, output: &ShortOutput) -> Self {
        let stderr = tail(&output.stderr);
        let code = match output.status {
            EndStatus::Code(code) => code,
            EndStatus::Signal(signal) => -signal,
        };
        if is_lock_busy(&stderr) {
            return Self::LockBusy { detail: stderr };
        }
        if is_missing(&stderr) {
            return Self::NotFound { what: stderr };
        }
        Self::Other { what: what.to_owned(), code, stderr }
    }
}

fn is_lock_busy(stderr: &str) -> bool {
    // "fatal: Unable to create '/…/index.lock': File exists." and the same for config, refs, packed-refs
    let lock_file = |line: &str| line.contains(".lock") && line.contains("File exists");
    stderr.lines().any(|line| lock_file(line) || line.contains("could not lock config file"))
}

fn is_missing(stderr: &str) -> bool {
    [
        "unknown revision",
        "bad object",
        "Not a valid",
        "not a tree object",
        "not a git repository",
        "bad revision",
    ]
    .iter()
    .any(|words| stderr.contains(words))
}

/// The end of what was written, without user names and passwords of URLs.
pub(crate) fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(TAIL_BYTES);
    let text = String::from_utf8_lossy(&bytes[start..]);
    text.trim().split(' ').map(without_userinfo).collect::<Vec<_>>().join(" ")
}

fn without_userinfo(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(stderr: &str) -> GitError {
        let output = ShortOutput {
            status: EndStatus::Code(128),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
            truncated: false,
        };
        GitError::from_output("probe", &output)
    }

    #[test]
    fn each_message_has_its_kind_and_an_unknown_one_is_other() {
        let lock =
            "fatal: Unable to create '/r/.git/worktrees/A-1/index.lock': File exists.\n\nAnother git process";
        assert!(matches!(failed(lock), GitError::LockBusy { .. }));
        let packed = "error: Unable to create '/r/packed-refs.lock': File exists.";
        assert!(matches!(failed(packed), GitError::LockBusy { .. }));
        assert!(matches!(failed("fatal: bad object 0123"), GitError::NotFound { .. }));
        assert!(matches!(failed("fatal: something new"), GitError::Other { code: 128, .. }));
        assert!(matches!(failed("fatal: '/r/f' already: File exists"), GitError::Other { .. }));
    }

    #[test]
    fn a_message_never_carries_the_password_of_a_url() {
        let text = tail(b"fatal: unable to access 'http://bot:s3cret@forge/x.git/': refused");
        assert!(!text.contains("s3cret") && !text.contains("bot"), "{text}");
        assert!(text.contains("@forge/x.git"), "{text}");
    }
}

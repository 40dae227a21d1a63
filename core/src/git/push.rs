//! Sending a task branch to the forge.
//!
//! Responsible for the guarded push and for reading its per-ref answer.
//! Deliberately not here: fetching and looking before the push; a retry.
//!
//! Invariants: only a [`TaskBranch`] is sent (I5). The guard is always an explicit commit: git's own default compares
//! with the tracking ref, which every fetch moves, and would overwrite another's work after one.

use crate::git::error::{GitError, tail};
use crate::git::names::{Sha, TaskBranch};
use crate::git::repo::Repo;

/// How many of the remote's lines a refusal carries.
const REASON_LINES: usize = 10;

/// What the forge did with a pushed branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushOutcome {
    /// It is there now.
    Pushed,
    /// It was there already.
    UpToDate,
    /// The branch is not where the caller expected it; nothing was changed.
    Stale,
    /// The forge refused.
    Rejected {
        /// Its reason, with the lines that it sent.
        reason: String,
    },
}

impl Repo {
    /// Makes the forge's copy of a task branch this commit, provided that it is at `expected` (`None`: absent).
    /// History may be rewritten; that is what the guard is for.
    ///
    /// # Errors
    /// Any failure in which the forge gave no answer for the branch. It may have taken the push all the same: probe
    /// with [`Repo::ls_remote`].
    pub async fn push_branch(
        &self,
        branch: &TaskBranch,
        commit: &Sha,
        expected: Option<&Sha>,
    ) -> Result<PushOutcome, GitError> {
        let _writing = self.write_lock().await;
        let full = branch.full_ref();
        let lease = format!("--force-with-lease={full}:{}", expected.map_or("", Sha::as_str));
        let refspec = format!("{commit}:{full}");
        let call = self.call(&[
            "push",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            &lease,
            "origin",
            &refspec,
        ]);
        let answer = call.network().output().await?;
        match read_porcelain(&answer.stdout(), &full) {
            Some(RefAnswer::Took) if answer.code() == Some(0) => Ok(PushOutcome::Pushed),
            Some(RefAnswer::Same) if answer.code() == Some(0) => Ok(PushOutcome::UpToDate),
            Some(RefAnswer::Refused(summary)) if is_stale(&summary) => Ok(PushOutcome::Stale),
            Some(RefAnswer::Refused(summary)) => {
                Ok(PushOutcome::Rejected { reason: with_remote_lines(&summary, &answer.stderr()) })
            }
            Some(RefAnswer::Took | RefAnswer::Same) | None => Err(answer.error()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum RefAnswer {
    Took,
    Same,
    Refused(String),
}

/// The line of one ref in `git push --porcelain`: flag TAB from:to TAB summary.
fn read_porcelain(stdout: &str, full_ref: &str) -> Option<RefAnswer> {
    stdout.lines().find_map(|line| {
        let mut fields = line.splitn(3, '\t');
        let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
        if refs.rsplit(':').next() != Some(full_ref) {
            return None;
        }
        match flag {
            " " | "+" | "*" | "-" => Some(RefAnswer::Took),
            "=" => Some(RefAnswer::Same),
            "!" => Some(RefAnswer::Refused(summary.to_owned())),
            _ => None,
        }
    })
}

/// Refusals that mean "somebody else moved it": seen by our git before sending, or by the other side while it locked
/// the ref.
fn is_stale(summary: &str) -> bool {
    let seen_here = summary.starts_with("[rejected]");
    let reason = summary.split_once('(').map_or("", |(_head, reason)| reason);
    let stale_here = ["stale info", "fetch first", "non-fast-forward", "remote ref updated since checkout"];
    let raced_there =
        ["failed to update ref", "cannot lock ref", "incorrect old value", "reference already exists"];
    if seen_here {
        stale_here.iter().any(|words| reason.starts_with(words))
    } else {
        raced_there.iter().any(|words| reason.contains(words))
    }
}

fn with_remote_lines(summary: &str, stderr: &str) -> String {
    let said = stderr.lines().filter_map(|line| line.strip_prefix("remote:")).map(str::trim);
    let lines: Vec<&str> = said.filter(|line| !line.is_empty()).take(REASON_LINES).collect();
    let text = if lines.is_empty() { summary.to_owned() } else { format!("{summary}: {}", lines.join("; ")) };
    tail(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_line_is_read_by_its_flag_and_only_for_our_ref() {
        let ours = "refs/heads/orch/A-1";
        let line = |flag: &str, to: &str, summary: &str| {
            format!("To /forge/x.git\n{flag}\t0123:{to}\t{summary}\nDone\n")
        };
        let rows = [
            (line("*", ours, "[new branch]"), Some(RefAnswer::Took)),
            (line(" ", ours, "0123..4567"), Some(RefAnswer::Took)),
            (line("+", ours, "0123...4567 (forced update)"), Some(RefAnswer::Took)),
            (line("=", ours, "[up to date]"), Some(RefAnswer::Same)),
            (
                line("!", ours, "[rejected] (stale info)"),
                Some(RefAnswer::Refused("[rejected] (stale info)".into())),
            ),
            (line("*", "refs/heads/orch/A-11", "[new branch]"), None),
            ("fatal: the remote end hung up\n".to_owned(), None),
        ];
        for (stdout, expected) in rows {
            assert_eq!(read_porcelain(&stdout, ours), expected, "{stdout}");
        }
    }

    #[test]
    fn a_moved_ref_is_stale_and_a_decision_of_the_other_side_is_not() {
        for stale in [
            "[rejected] (stale info)",
            "[rejected] (fetch first)",
            "[rejected] (non-fast-forward)",
            "[remote rejected] (failed to update ref)",
            "[remote rejected] (incorrect old value provided)",
            "[remote rejected] (cannot lock ref 'refs/heads/orch/A-1': is at 01 but expected 02)",
        ] {
            assert!(is_stale(stale), "{stale}");
        }
        for refused in [
            "[remote rejected] (pre-receive hook declined)",
            "[remote rejected] (hook declined)",
            "[remote rejected] (deny updating a hidden ref)",
            "[rejected] (atomic push failed)",
        ] {
            assert!(!is_stale(refused), "{refused}");
        }
    }
}

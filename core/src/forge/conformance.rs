//! What every forge must do, as tests over the port alone.
//!
//! Responsible for the cases that hold for any adapter; each adapter calls [`conformance`] with a maker of an empty
//! forge. Deliberately not here: an adapter's own mechanisms.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::git::testing::{commit, git, main_branch, raw, task};
use crate::git::{Branch, Identity};

/// A forge with one commit on `main`, and a person's clone of it.
pub(crate) struct Lab {
    pub(crate) forge: Arc<dyn Forge>,
    pub(crate) person: PathBuf,
    /// Kept for its end.
    pub(crate) root: tempfile::TempDir,
}

impl Lab {
    pub(crate) async fn new(root: tempfile::TempDir, forge: Arc<dyn Forge>) -> Self {
        let person = root.path().join("person");
        raw(root.path(), &["clone", "--quiet", &forge.remote_url(), person.to_str().unwrap()]).await;
        Self { forge, person, root }
    }

    /// Commits on a branch (made from the present target) and pushes it.
    pub(crate) async fn push(&self, branch: &TaskBranch, file: &str, contents: &str) -> Sha {
        raw(&self.person, &["fetch", "--quiet", "origin"]).await;
        let start = match self.forge.branch_head(&Branch::from(branch)).await.unwrap() {
            Some(head) => head.to_string(),
            None => "origin/main".to_owned(),
        };
        raw(&self.person, &["checkout", "--quiet", "--detach", &start]).await;
        let head = commit(&self.person, file, contents).await;
        raw(&self.person, &["push", "--quiet", "origin", &format!("{head}:{}", branch.full_ref())]).await;
        head
    }

    /// A pushed branch with its pull request.
    pub(crate) async fn proposed(&self, key: &str, file: &str, contents: &str) -> PullRequest {
        let branch = task(key);
        self.push(&branch, file, contents).await;
        self.forge.get_or_create_pr(&branch, &main_branch(), key, "body").await.unwrap()
    }

    pub(crate) async fn main_head(&self) -> Sha {
        self.forge.branch_head(&Branch::from(&main_branch())).await.unwrap().unwrap()
    }

    /// A request to merge exactly what is there now.
    pub(crate) async fn ask(&self, request: &PullRequest, method: MergeMethod) -> MergeRequest {
        MergeRequest {
            number: request.number,
            expected_head: request.head_sha.clone(),
            expected_base: self.main_head().await,
            method,
            message: format!("Merge {}\n", request.head_branch),
            author: Identity { name: "orch".into(), email: "orch@localhost".into() },
            at_ms: 1_700_000_000_000,
        }
    }

    /// Proposes and merges a change; gives the target's new head.
    pub(crate) async fn advance_main(&self, key: &str, file: &str, contents: &str) -> Sha {
        let request = self.proposed(key, file, contents).await;
        let asked = self.ask(&request, MergeMethod::MergeCommit).await;
        match self.forge.merge(&asked).await.unwrap() {
            MergeOutcome::Merged { merge_sha } => merge_sha,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn parents(&self, commit: &Sha) -> Vec<String> {
        raw(&self.person, &["fetch", "--quiet", "origin"]).await;
        let line = raw(&self.person, &["rev-list", "--no-walk", "--parents", commit.as_str()]).await;
        line.split(' ').skip(1).map(str::to_owned).collect()
    }
}

fn status(context: &str, state: StatusState, at: i64) -> CommitStatus {
    CommitStatus {
        context: context.into(),
        state,
        description: format!("{at}"),
        target: None,
        updated_at_ms: at,
    }
}

pub(crate) async fn creating_twice_gives_the_same_open_pull_request(lab: &Lab) {
    let first = lab.proposed("A-1", "a", "1").await;
    let again =
        lab.forge.get_or_create_pr(&first.head_branch, &main_branch(), "other", "other").await.unwrap();
    assert_eq!(first, again);
    assert_eq!(lab.forge.get_pr(first.number).await.unwrap(), first);
    assert_eq!(lab.forge.find_pr(&first.head_branch).await.unwrap(), Some(first.clone()));
    let second = lab.proposed("A-2", "b", "1").await;
    assert_ne!(first.number, second.number);
}

pub(crate) async fn what_does_not_exist_is_said_so(lab: &Lab) {
    assert!(matches!(lab.forge.get_pr(PrNumber(77)).await, Err(ForgeError::NotFound { .. })));
    assert!(matches!(lab.forge.mergeable(PrNumber(77)).await, Err(ForgeError::NotFound { .. })));
    assert_eq!(lab.forge.find_pr(&task("NO-1")).await.unwrap(), None);
    assert_eq!(lab.forge.branch_head(&Branch::from(&task("NO-1"))).await.unwrap(), None);
    let missing = lab.forge.get_or_create_pr(&task("NO-1"), &main_branch(), "t", "b").await;
    assert!(matches!(missing, Err(ForgeError::NotFound { .. })), "{missing:?}");
    let unknown = Sha::parse(&"1".repeat(40)).unwrap();
    assert_eq!(lab.forge.statuses(&unknown).await.unwrap(), []);
    let posted = lab.forge.post_status(&unknown, &status("ci", StatusState::Success, 1)).await;
    assert!(matches!(posted, Err(ForgeError::NotFound { .. })), "{posted:?}");
}

pub(crate) async fn an_open_pull_request_follows_its_branch(lab: &Lab) {
    let request = lab.proposed("A-1", "a", "1").await;
    let head = lab.push(&request.head_branch, "a", "2").await;
    assert_ne!(request.head_sha, head);
    let now = lab.forge.get_pr(request.number).await.unwrap();
    assert_eq!((now.head_sha, now.state), (head, PullRequestState::Open));
}

pub(crate) async fn a_merge_commit_has_the_base_first_and_the_head_second(lab: &Lab) {
    let request = lab.proposed("A-1", "a", "1").await;
    lab.advance_main("B-1", "b", "1").await;
    let base = lab.main_head().await;
    assert_eq!(lab.forge.mergeable(request.number).await.unwrap(), Mergeability::Clean);
    let asked = lab.ask(&request, MergeMethod::MergeCommit).await;
    let MergeOutcome::Merged { merge_sha } = lab.forge.merge(&asked).await.unwrap() else {
        panic!("not merged")
    };
    assert_eq!(lab.main_head().await, merge_sha);
    assert_eq!(lab.parents(&merge_sha).await, [base.to_string(), request.head_sha.to_string()]);
    let merged = lab.forge.get_pr(request.number).await.unwrap();
    assert_eq!(merged.state, PullRequestState::Merged { merge_sha: merge_sha.clone() });
    // the branch is still there: only an explicit call deletes it
    let head = lab.forge.branch_head(&Branch::from(&request.head_branch)).await.unwrap();
    assert_eq!(head, Some(request.head_sha.clone()));
}

pub(crate) async fn a_fast_forward_is_the_head_itself_or_is_refused(lab: &Lab) {
    let behind = lab.proposed("A-1", "a", "1").await;
    let request = lab.proposed("B-1", "b", "1").await;
    let asked = lab.ask(&request, MergeMethod::FastForwardOnly).await;
    let merged = lab.forge.merge(&asked).await.unwrap();
    assert_eq!(merged, MergeOutcome::Merged { merge_sha: request.head_sha.clone() });
    assert_eq!(lab.main_head().await, request.head_sha);
    let refused = lab.forge.merge(&lab.ask(&behind, MergeMethod::FastForwardOnly).await).await.unwrap();
    assert!(matches!(refused, MergeOutcome::NotMergeable { .. }), "{refused:?}");
    assert_eq!(lab.main_head().await, request.head_sha);
}

pub(crate) async fn a_second_merge_is_already_merged(lab: &Lab) {
    for (key, method) in [("A-1", MergeMethod::MergeCommit), ("A-2", MergeMethod::FastForwardOnly)] {
        let request = lab.proposed(key, key, "1").await;
        let asked = lab.ask(&request, method).await;
        let MergeOutcome::Merged { merge_sha } = lab.forge.merge(&asked).await.unwrap() else {
            panic!("not merged")
        };
        let again = lab.forge.merge(&asked).await.unwrap();
        assert_eq!(again, MergeOutcome::AlreadyMerged { merge_sha: merge_sha.clone() });
        assert_eq!(lab.main_head().await, merge_sha);
        let answer = lab.forge.mergeable(request.number).await.unwrap();
        assert_eq!(answer, Mergeability::AlreadyMerged { merge_sha });
        // a lost answer repeats the creation too
        let created =
            lab.forge.get_or_create_pr(&request.head_branch, &main_branch(), "t", "b").await.unwrap();
        assert_eq!(created.number, request.number);
    }
}

pub(crate) async fn a_merge_of_another_head_than_the_tested_one_is_refused(lab: &Lab) {
    let request = lab.proposed("A-1", "a", "1").await;
    let asked = lab.ask(&request, MergeMethod::MergeCommit).await;
    let actual = lab.push(&request.head_branch, "a", "2").await;
    assert_eq!(lab.forge.merge(&asked).await.unwrap(), MergeOutcome::HeadMoved { actual });
    assert_eq!(lab.main_head().await, asked.expected_base);
}

pub(crate) async fn a_merge_onto_another_base_than_the_tested_one_is_refused(lab: &Lab) {
    for (key, method) in [("A-1", MergeMethod::MergeCommit), ("A-2", MergeMethod::FastForwardOnly)] {
        let request = lab.proposed(key, key, "1").await;
        let asked = lab.ask(&request, method).await;
        let actual = lab.advance_main(&format!("B{key}"), "b", key).await;
        assert_eq!(
            lab.forge.merge(&asked).await.unwrap(),
            MergeOutcome::BaseMoved { actual: actual.clone() }
        );
        assert_eq!(lab.main_head().await, actual);
        assert_eq!(lab.forge.get_pr(request.number).await.unwrap().state, PullRequestState::Open);
    }
}

pub(crate) async fn a_conflict_changes_nothing(lab: &Lab) {
    let request = lab.proposed("A-1", "same", "ours").await;
    lab.advance_main("B-1", "same", "theirs").await;
    let asked = lab.ask(&request, MergeMethod::MergeCommit).await;
    assert_eq!(lab.forge.merge(&asked).await.unwrap(), MergeOutcome::Conflict);
    assert_eq!(lab.main_head().await, asked.expected_base);
    let answer = lab.forge.mergeable(request.number).await.unwrap();
    assert!(matches!(answer, Mergeability::Conflict { .. }), "{answer:?}");
    assert_eq!(lab.forge.get_pr(request.number).await.unwrap().state, PullRequestState::Open);
}

pub(crate) async fn a_closed_pull_request_is_not_merged_and_a_new_one_can_follow(lab: &Lab) {
    let request = lab.proposed("A-1", "a", "1").await;
    let closed = lab.forge.close_pr(request.number).await.unwrap();
    assert_eq!(closed.state, PullRequestState::Closed);
    let asked = lab.ask(&request, MergeMethod::MergeCommit).await;
    assert_eq!(lab.forge.merge(&asked).await.unwrap(), MergeOutcome::Closed);
    assert_eq!(lab.forge.mergeable(request.number).await.unwrap(), Mergeability::Closed);
    assert_eq!(lab.main_head().await, asked.expected_base);
    let next = lab.forge.get_or_create_pr(&request.head_branch, &main_branch(), "t", "b").await.unwrap();
    assert!(next.number > request.number && next.state == PullRequestState::Open);
    assert_eq!(lab.forge.find_pr(&request.head_branch).await.unwrap(), Some(next.clone()));
    // closing what is merged changes nothing
    let merged = lab.forge.merge(&lab.ask(&next, MergeMethod::MergeCommit).await).await.unwrap();
    let MergeOutcome::Merged { merge_sha } = merged else { panic!("{merged:?}") };
    let after = lab.forge.close_pr(next.number).await.unwrap();
    assert_eq!(after.state, PullRequestState::Merged { merge_sha });
}

pub(crate) async fn the_newest_status_of_each_context_counts_and_only_for_its_commit(lab: &Lab) {
    let request = lab.proposed("A-1", "a", "1").await;
    let head = request.head_sha;
    for posted in [
        status("ci", StatusState::Pending, 10),
        status("lint", StatusState::Failure, 11),
        status("ci", StatusState::Success, 12),
    ] {
        lab.forge.post_status(&head, &posted).await.unwrap();
    }
    let expected = [status("ci", StatusState::Success, 12), status("lint", StatusState::Failure, 11)];
    assert_eq!(lab.forge.statuses(&head).await.unwrap(), expected);
    let next = lab.push(&request.head_branch, "a", "2").await;
    assert_eq!(lab.forge.statuses(&next).await.unwrap(), []);
}

pub(crate) async fn a_comment_is_written_once_for_each_marker(lab: &Lab) {
    let request = lab.proposed("A-1", "a", "1").await;
    let (one, other) = (Marker::new("A-1:1:review").unwrap(), Marker::new("A-1:2:review").unwrap());
    for (marker, expected) in [
        (&one, CommentOutcome::Posted),
        (&one, CommentOutcome::AlreadyThere),
        (&other, CommentOutcome::Posted),
    ] {
        assert_eq!(lab.forge.comment(request.number, marker, "looks fine").await.unwrap(), expected);
    }
}

pub(crate) async fn a_deleted_branch_leaves_its_pull_request_readable(lab: &Lab) {
    let merged = lab.proposed("A-1", "a", "1").await;
    lab.forge.merge(&lab.ask(&merged, MergeMethod::MergeCommit).await).await.unwrap();
    let open = lab.proposed("A-2", "b", "1").await;
    for request in [&merged, &open] {
        let before = lab.forge.get_pr(request.number).await.unwrap();
        lab.forge.delete_branch(&request.head_branch).await.unwrap();
        lab.forge.delete_branch(&request.head_branch).await.unwrap();
        assert_eq!(lab.forge.branch_head(&Branch::from(&request.head_branch)).await.unwrap(), None);
        let after = lab.forge.get_pr(request.number).await.unwrap();
        assert_eq!((&after.head_sha, &after.state), (&before.head_sha, &before.state));
    }
    let refused = lab.forge.merge(&lab.ask(&open, MergeMethod::MergeCommit).await).await.unwrap();
    assert!(matches!(refused, MergeOutcome::NotMergeable { .. }), "{refused:?}");
}

pub(crate) async fn nobody_pushes_to_the_target_branch(lab: &Lab) {
    let before = lab.main_head().await;
    raw(&lab.person, &["checkout", "--quiet", "--detach", "origin/main"]).await;
    commit(&lab.person, "sneaked", "in").await;
    // the push must be refused by the forge: our own git has no say in it
    for args in [
        ["push", "origin", "HEAD:refs/heads/main"],
        ["push", "origin", "+HEAD:refs/heads/main"],
        ["push", "origin", ":refs/heads/main"],
    ] {
        let git = git();
        let answer = git.call(&lab.person, &args).output().await.unwrap();
        assert_eq!(answer.code(), Some(1), "{args:?}: {}", answer.stderr());
        assert_eq!(lab.main_head().await, before, "{args:?}");
    }
}

/// Instantiates every case for an adapter; `$make` is an async fn that gives a [`Lab`].
macro_rules! conformance {
    ($make:path: $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                crate::forge::conformance::$case(&$make().await).await;
            }
        )+
    };
    ($make:path) => {
        crate::forge::conformance::conformance! {
            $make:
            creating_twice_gives_the_same_open_pull_request,
            what_does_not_exist_is_said_so,
            an_open_pull_request_follows_its_branch,
            a_merge_commit_has_the_base_first_and_the_head_second,
            a_fast_forward_is_the_head_itself_or_is_refused,
            a_second_merge_is_already_merged,
            a_merge_of_another_head_than_the_tested_one_is_refused,
            a_merge_onto_another_base_than_the_tested_one_is_refused,
            a_conflict_changes_nothing,
            a_closed_pull_request_is_not_merged_and_a_new_one_can_follow,
            the_newest_status_of_each_context_counts_and_only_for_its_commit,
            a_comment_is_written_once_for_each_marker,
            a_deleted_branch_leaves_its_pull_request_readable,
            nobody_pushes_to_the_target_branch,
        }
    };
}
pub(crate) use conformance;

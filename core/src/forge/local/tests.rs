//! What is particular to the local forge: crashes between git and record, the hook, import, CI, two processes.

use std::sync::Arc;

use super::*;
use crate::forge::conformance::{Lab, conformance};
use crate::forge::{MergeMethod, StatusState};
use crate::git::testing::{commit, git, main_branch, raw, task};

fn config(dir: &Path, required: &[&str]) -> LocalForgeConfig {
    LocalForgeConfig {
        dir: dir.join("forges"),
        name: "sample".into(),
        target: main_branch(),
        required_contexts: required.iter().map(ToString::to_string).collect(),
    }
}

async fn imported(required: &[&str]) -> (tempfile::TempDir, LocalForge) {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("README"), "first\n").unwrap();
    let forge = LocalForge::import(git(), config(root.path(), required), &source).await.unwrap();
    (root, forge)
}

async fn lab() -> Lab {
    let (root, forge) = imported(&[]).await;
    Lab::new(root, Arc::new(forge)).await
}

/// The lab with the adapter itself beside it.
async fn local_lab(required: &[&str]) -> (Lab, LocalForge) {
    let (root, forge) = imported(required).await;
    (Lab::new(root, Arc::new(forge.clone())).await, forge)
}

conformance!(lab);

fn final_status(state: StatusState) -> CommitStatus {
    CommitStatus {
        context: CI_CONTEXT.into(),
        state,
        description: "exit 0".into(),
        target: None,
        updated_at_ms: 1,
    }
}

/// A merge commit made by hand, landed as the forge lands it; the record knows nothing of it.
async fn land_by_hand(lab: &Lab, forge: &LocalForge, request: &PullRequest) -> Sha {
    let (base, head) = (lab.main_head().await, &request.head_sha);
    let bare = forge.repository();
    let tree = raw(bare, &["merge-tree", "--write-tree", base.as_str(), head.as_str()]).await;
    let merge =
        raw(bare, &["commit-tree", &tree, "-p", base.as_str(), "-p", head.as_str(), "-m", "by hand"]).await;
    raw(bare, &["update-ref", "refs/heads/main", &merge, base.as_str()]).await;
    Sha::parse(&merge).unwrap()
}

#[tokio::test]
async fn a_merge_that_landed_before_its_record_is_told_and_healed() {
    let (lab, forge) = local_lab(&[]).await;
    let request = lab.proposed("A-1", "a", "1").await;
    let merge_sha = land_by_hand(&lab, &forge, &request).await;
    lab.advance_main("B-1", "b", "1").await;
    assert_eq!(
        forge.records.load(request.number).unwrap().state,
        RecordState::Open,
        "the case needs a lagging record"
    );
    let told = forge.get_pr(request.number).await.unwrap();
    assert_eq!(told.state, PullRequestState::Merged { merge_sha: merge_sha.clone() });
    let healed = RecordState::Merged { merge_sha: merge_sha.clone(), head_sha: request.head_sha.clone() };
    assert_eq!(forge.records.load(request.number).unwrap().state, healed);
    let asked = lab.ask(&request, MergeMethod::MergeCommit).await;
    assert_eq!(forge.merge(&asked).await.unwrap(), MergeOutcome::AlreadyMerged { merge_sha });
}

#[tokio::test]
async fn the_merge_call_itself_recognises_a_merge_that_landed() {
    let (lab, forge) = local_lab(&[]).await;
    let request = lab.proposed("A-1", "a", "1").await;
    let merge_sha = land_by_hand(&lab, &forge, &request).await;
    let asked = lab.ask(&request, MergeMethod::MergeCommit).await;
    assert_eq!(
        forge.merge(&asked).await.unwrap(),
        MergeOutcome::AlreadyMerged { merge_sha: merge_sha.clone() }
    );
    assert_eq!(lab.main_head().await, merge_sha);
}

#[tokio::test]
async fn a_landed_merge_is_told_although_the_branch_moved_on_before_anyone_looked() {
    let (lab, forge) = local_lab(&[]).await;
    for (key, is_fast_forward) in [("A-1", false), ("A-2", true)] {
        let request = lab.proposed(key, key, "1").await;
        let base = lab.main_head().await;
        let merge_sha = if is_fast_forward {
            raw(
                forge.repository(),
                &["update-ref", "refs/heads/main", request.head_sha.as_str(), base.as_str()],
            )
            .await;
            request.head_sha.clone()
        } else {
            land_by_hand(&lab, &forge, &request).await
        };
        // the intent that a crash between landing and record leaves
        let lock = forge.records.lock().await.unwrap();
        let mut record = forge.records.load(request.number).unwrap();
        record.intent =
            Some(records::MergeIntent { head_sha: request.head_sha.clone(), merge_sha: merge_sha.clone() });
        forge.records.save(&record, &lock).await.unwrap();
        drop(lock);
        lab.push(&request.head_branch, key, "2").await;
        let told = forge.get_pr(request.number).await.unwrap();
        assert_eq!(told.state, PullRequestState::Merged { merge_sha }, "{key}");
        assert_eq!(told.head_sha, request.head_sha, "{key}");
    }
}

#[tokio::test]
async fn an_intent_that_never_landed_leaves_the_pull_request_open() {
    let (lab, forge) = local_lab(&[]).await;
    let request = lab.proposed("A-1", "a", "1").await;
    let lock = forge.records.lock().await.unwrap();
    let mut record = forge.records.load(request.number).unwrap();
    let unknown = Sha::parse(&"1".repeat(40)).unwrap();
    record.intent = Some(records::MergeIntent { head_sha: request.head_sha.clone(), merge_sha: unknown });
    forge.records.save(&record, &lock).await.unwrap();
    drop(lock);
    assert_eq!(forge.get_pr(request.number).await.unwrap().state, PullRequestState::Open);
    let asked = lab.ask(&request, MergeMethod::FastForwardOnly).await;
    assert!(matches!(forge.merge(&asked).await.unwrap(), MergeOutcome::Merged { .. }));
}

#[tokio::test]
async fn with_all_records_lost_a_merged_branch_is_still_told_as_merged() {
    let (lab, forge) = local_lab(&[]).await;
    let request = lab.proposed("A-1", "a", "1").await;
    let merge = lab.forge.merge(&lab.ask(&request, MergeMethod::MergeCommit).await).await.unwrap();
    let MergeOutcome::Merged { merge_sha } = merge else { panic!("{merge:?}") };
    std::fs::remove_file(forge.records.pr_path(request.number)).unwrap();
    let again = forge.get_or_create_pr(&request.head_branch, &main_branch(), "t", "b").await.unwrap();
    assert_eq!(again.state, PullRequestState::Merged { merge_sha });
}

#[tokio::test]
async fn a_branch_without_changes_of_its_own_is_not_merged_by_standing_still() {
    let (lab, forge) = local_lab(&[]).await;
    let branch = task("A-1");
    let main = lab.main_head().await;
    raw(&lab.person, &["push", "--quiet", "origin", &format!("{main}:{}", branch.full_ref())]).await;
    let request = forge.get_or_create_pr(&branch, &main_branch(), "t", "b").await.unwrap();
    lab.advance_main("B-1", "b", "1").await;
    assert_eq!(forge.get_pr(request.number).await.unwrap().state, PullRequestState::Open);
    let asked = lab.ask(&request, MergeMethod::FastForwardOnly).await;
    assert!(matches!(forge.merge(&asked).await.unwrap(), MergeOutcome::NotMergeable { .. }));
}

#[tokio::test]
async fn the_guards_hold_inside_the_transaction_too() {
    let (lab, forge) = local_lab(&[]).await;
    let request = lab.proposed("A-1", "a", "1").await;
    let asked = lab.ask(&request, MergeMethod::FastForwardOnly).await;
    let record = forge.records.load(request.number).unwrap();
    // as if both had moved after the checks
    lab.push(&request.head_branch, "a", "2").await;
    let stale_head = forge.land(&record, &asked, &request.head_sha).await;
    assert!(stale_head.is_err());
    assert_eq!(lab.main_head().await, asked.expected_base);
    let other = lab.proposed("A-2", "b", "1").await;
    let asked = lab.ask(&other, MergeMethod::FastForwardOnly).await;
    let record = forge.records.load(other.number).unwrap();
    let moved = lab.advance_main("B-1", "c", "1").await;
    forge.land(&record, &asked, &other.head_sha).await.unwrap_err();
    assert_eq!(lab.main_head().await, moved);
}

#[tokio::test]
async fn many_merges_at_once_land_one_after_the_other_and_lose_nothing() {
    let (lab, forge) = local_lab(&[]).await;
    let mut requests = Vec::new();
    for number in 0..4 {
        requests.push(lab.proposed(&format!("A-{number}"), &format!("f{number}"), "1").await);
    }
    let base = lab.main_head().await;
    let mut calls = tokio::task::JoinSet::new();
    for request in &requests {
        let (forge, asked) = (forge.clone(), lab.ask(request, MergeMethod::MergeCommit).await);
        calls.spawn(async move { forge.merge(&asked).await.unwrap() });
    }
    let outcomes = calls.join_all().await;
    let merged = outcomes.iter().filter(|outcome| matches!(outcome, MergeOutcome::Merged { .. })).count();
    let moved = outcomes.iter().filter(|outcome| matches!(outcome, MergeOutcome::BaseMoved { .. })).count();
    assert_eq!((merged, moved), (1, 3), "{outcomes:?}");
    let line = raw(forge.repository(), &["rev-list", "--first-parent", &format!("{base}..main")]).await;
    assert_eq!(line.lines().count(), 1);
}

#[tokio::test]
async fn two_forges_on_one_directory_create_one_pull_request() {
    let (lab, forge) = local_lab(&[]).await;
    let branch = task("A-1");
    lab.push(&branch, "a", "1").await;
    let other = LocalForge::open(git(), config(lab.root.path(), &[])).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for forge in [forge.clone(), other.clone(), forge.clone(), other] {
        let branch = branch.clone();
        calls.spawn(async move {
            forge.get_or_create_pr(&branch, &main_branch(), "t", "b").await.unwrap().number
        });
    }
    let numbers = calls.join_all().await;
    assert_eq!(numbers, [PrNumber(1); 4]);
    assert_eq!(forge.records.all().unwrap().len(), 1);
}

#[tokio::test]
async fn a_pusher_cannot_switch_the_hook_off_by_his_own_configuration() {
    let (lab, forge) = local_lab(&[]).await;
    let before = lab.main_head().await;
    let personal = lab.root.path().join("gitconfig");
    std::fs::write(
        &personal,
        "[core]\n\thooksPath = /nonexistent\n[receive]\n\tdenyNonFastForwards = false\n",
    )
    .unwrap();
    commit(&lab.person, "sneaked", "in").await;
    let git = git();
    let push = git.call(&lab.person, &["push", "--force", "--no-verify", "origin", "HEAD:refs/heads/main"]);
    let answer = push.env("GIT_CONFIG_GLOBAL", &personal).output().await.unwrap();
    assert_eq!(answer.code(), Some(1));
    assert!(answer.stderr().contains("changed by merging a pull request only"), "{}", answer.stderr());
    assert_eq!(lab.main_head().await, before);
    // without the hook the same push goes through: it is the hook that refuses
    std::fs::remove_file(forge.repository().join("hooks/pre-receive")).unwrap();
    raw(&lab.person, &["push", "--quiet", "--force", "origin", "HEAD:refs/heads/main"]).await;
    assert_ne!(lab.main_head().await, before);
    LocalForge::open(git.clone(), config(lab.root.path(), &[])).await.unwrap();
    assert!(forge.repository().join("hooks/pre-receive").exists(), "open renews the guard");
}

#[tokio::test]
async fn the_kept_heads_cannot_be_pushed_to() {
    let (lab, forge) = local_lab(&[]).await;
    let request = lab.proposed("A-1", "a", "1").await;
    let git = git();
    let push =
        git.call(&lab.person, &["push", "origin", "+origin/main:refs/pull/1/head"]).output().await.unwrap();
    assert_eq!(push.code(), Some(1), "{}", push.stderr());
    assert_eq!(forge.ref_head("refs/pull/1/head").await.unwrap(), Some(request.head_sha));
}

#[tokio::test]
async fn a_required_context_must_be_successful_on_exactly_this_head() {
    let (lab, forge) = local_lab(&["ci"]).await;
    let request = lab.proposed("A-1", "a", "1").await;
    let ask = async |request: &PullRequest| {
        forge.merge(&lab.ask(request, MergeMethod::MergeCommit).await).await.unwrap()
    };
    assert!(matches!(ask(&request).await, MergeOutcome::NotMergeable { reason } if reason.contains("ci")));
    forge.post_status(&request.head_sha, &final_status(StatusState::Failure)).await.unwrap();
    assert!(matches!(ask(&request).await, MergeOutcome::NotMergeable { .. }));
    forge.post_status(&request.head_sha, &final_status(StatusState::Success)).await.unwrap();
    lab.push(&request.head_branch, "a", "2").await;
    let moved = forge.get_pr(request.number).await.unwrap();
    assert!(
        matches!(ask(&moved).await, MergeOutcome::NotMergeable { .. }),
        "a status of an older head counted"
    );
    assert!(matches!(forge.mergeable(request.number).await.unwrap(), Mergeability::Blocked { .. }));
    forge.post_status(&moved.head_sha, &final_status(StatusState::Success)).await.unwrap();
    assert!(matches!(ask(&moved).await, MergeOutcome::Merged { .. }));
}

#[tokio::test]
async fn ci_is_pending_for_each_open_head_until_its_final_status() {
    let (lab, forge) = local_lab(&[]).await;
    let first = lab.proposed("A-1", "a", "1").await;
    let second = lab.proposed("A-2", "b", "1").await;
    let closed = lab.proposed("A-3", "c", "1").await;
    forge.close_pr(closed.number).await.unwrap();
    lab.advance_main("A-4", "d", "1").await;
    let wanted =
        async || forge.pending_ci().await.unwrap().into_iter().map(|request| request.sha).collect::<Vec<_>>();
    assert_eq!(wanted().await, [first.head_sha.clone(), second.head_sha.clone()]);
    // a run that began and was lost
    forge.post_status(&first.head_sha, &final_status(StatusState::Pending)).await.unwrap();
    assert_eq!(wanted().await, [first.head_sha.clone(), second.head_sha.clone()]);
    for (request, state) in [(&first, StatusState::Success), (&second, StatusState::Error)] {
        forge.post_status(&request.head_sha, &final_status(state)).await.unwrap();
    }
    assert_eq!(wanted().await, []);
    let next = lab.push(&second.head_branch, "b", "2").await;
    assert_eq!(wanted().await, [next]);
}

#[tokio::test]
async fn a_tree_for_ci_is_the_commit_and_replaces_only_its_own_kind() {
    let (lab, forge) = local_lab(&[]).await;
    let first = lab.proposed("A-1", "a", "1").await;
    let second = lab.push(&first.head_branch, "a", "2").await;
    let dir = lab.root.path().join("ci");
    forge.checkout_for_ci(&first.head_sha, &dir).await.unwrap();
    assert_eq!(std::fs::read_to_string(dir.join("a")).unwrap(), "1");
    assert_eq!(raw(&dir, &["rev-parse", "HEAD"]).await, first.head_sha.as_str());
    assert_eq!(raw(&dir, &["status", "--porcelain"]).await, "");
    assert_eq!(raw(&dir, &["remote"]).await, "");
    std::fs::write(dir.join("left-over"), "").unwrap();
    forge.checkout_for_ci(&second, &dir).await.unwrap();
    assert_eq!(std::fs::read_to_string(dir.join("a")).unwrap(), "2");
    assert!(!dir.join("left-over").exists());
    // a commit that no branch holds any more
    raw(
        &lab.person,
        &["push", "--quiet", "--force", "origin", &format!("origin/main:{}", first.head_branch.full_ref())],
    )
    .await;
    forge.checkout_for_ci(&second, &dir).await.unwrap();
    let foreign = lab.root.path().join("thesis");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("chapter"), "1").unwrap();
    let refused = forge.checkout_for_ci(&second, &foreign).await;
    assert!(matches!(refused, Err(ForgeError::Refused { .. })), "{refused:?}");
    assert!(foreign.join("chapter").exists());
    let unknown = Sha::parse(&"1".repeat(40)).unwrap();
    assert!(matches!(forge.checkout_for_ci(&unknown, &dir).await, Err(ForgeError::NotFound { .. })));
}

#[tokio::test]
async fn a_late_status_does_not_replace_a_newer_one() {
    let (lab, forge) = local_lab(&[]).await;
    let request = lab.proposed("A-1", "a", "1").await;
    let newer = CommitStatus { updated_at_ms: 20, ..final_status(StatusState::Success) };
    let late = CommitStatus { updated_at_ms: 10, ..final_status(StatusState::Pending) };
    forge.post_status(&request.head_sha, &newer).await.unwrap();
    forge.post_status(&request.head_sha, &late).await.unwrap();
    assert_eq!(forge.statuses(&request.head_sha).await.unwrap(), [newer]);
}

#[tokio::test]
async fn a_repository_is_imported_once_without_its_task_branches() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("source");
    raw(root.path(), &["init", "--quiet", "--template=", source.to_str().unwrap()]).await;
    let head = commit(&source, "README", "first\n").await;
    raw(&source, &["branch", "orch/OLD-1"]).await;
    raw(&source, &["branch", "release"]).await;
    let forge = LocalForge::import(git(), config(root.path(), &[]), &source).await.unwrap();
    assert_eq!(forge.ref_head("refs/heads/main").await.unwrap(), Some(head.clone()));
    assert_eq!(forge.ref_head("refs/heads/release").await.unwrap(), Some(head.clone()));
    assert_eq!(forge.ref_head("refs/heads/orch/OLD-1").await.unwrap(), None);
    commit(&source, "README", "second\n").await;
    let again = LocalForge::import(git(), config(root.path(), &[]), &source).await.unwrap();
    assert_eq!(again.ref_head("refs/heads/main").await.unwrap(), Some(head));
}

#[tokio::test]
async fn a_plain_folder_becomes_the_first_commit_even_inside_another_repository() {
    let root = tempfile::tempdir().unwrap();
    raw(root.path(), &["init", "--quiet", "--template=", "."]).await;
    let source = root.path().join("sample");
    std::fs::create_dir_all(source.join("src")).unwrap();
    std::fs::write(source.join("src/a.py"), "a = 1\n").unwrap();
    std::fs::write(source.join(".gitignore"), "__pycache__\n").unwrap();
    std::fs::create_dir(source.join("__pycache__")).unwrap();
    std::fs::write(source.join("__pycache__/a.pyc"), "x").unwrap();
    let forge = LocalForge::import(git(), config(root.path(), &[]), &source).await.unwrap();
    let files = raw(forge.repository(), &["ls-tree", "-r", "--name-only", "main"]).await;
    assert_eq!(files.lines().collect::<Vec<_>>(), [".gitignore", "src/a.py"]);
    assert!(!source.join(".git").exists());
}

#[tokio::test]
async fn an_import_that_fails_leaves_nothing_under_the_final_name() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("source");
    raw(root.path(), &["init", "--quiet", "--template=", "--initial-branch=trunk", source.to_str().unwrap()])
        .await;
    commit(&source, "README", "first\n").await;
    for source in [source.clone(), root.path().join("nowhere")] {
        let failed = LocalForge::import(git(), config(root.path(), &[]), &source).await;
        assert!(matches!(failed, Err(ForgeError::NotFound { .. })), "{failed:?}");
        let opened = LocalForge::open(git(), config(root.path(), &[])).await;
        assert!(matches!(opened, Err(ForgeError::NotFound { .. })), "{opened:?}");
    }
    raw(&source, &["branch", "-m", "trunk", "main"]).await;
    LocalForge::import(git(), config(root.path(), &[]), &source).await.unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named_and_never_taken_for_none() {
    let (lab, forge) = local_lab(&[]).await;
    let request = lab.proposed("A-1", "a", "1").await;
    let path = forge.records.pr_path(request.number);
    for broken in ["", "{", "{\"schema\": 2, \"record\": {}}", "{\"schema\": 1, \"record\": {}}"] {
        std::fs::write(&path, broken).unwrap();
        for answer in
            [forge.get_pr(request.number).await.map(Some), forge.find_pr(&request.head_branch).await]
        {
            let named = matches!(&answer, Err(ForgeError::Corrupt { path: named, .. }) if *named == path);
            assert!(named, "{broken:?}: {answer:?}");
        }
        forge.pending_ci().await.unwrap_err();
    }
}

#[tokio::test]
async fn a_lock_of_a_killed_merge_stops_merges_only_until_it_is_cleared() {
    let (lab, forge) = local_lab(&[]).await;
    let request = lab.proposed("A-1", "a", "1").await;
    std::fs::write(forge.repository().join("refs/heads/main.lock"), "").unwrap();
    let asked = lab.ask(&request, MergeMethod::MergeCommit).await;
    let busy = forge.merge(&asked).await;
    assert!(matches!(busy, Err(ForgeError::Git(crate::git::GitError::LockBusy { .. }))), "{busy:?}");
    assert_eq!(lab.main_head().await, asked.expected_base);
    assert_eq!(forge.get_pr(request.number).await.unwrap().state, PullRequestState::Open);
    assert_eq!(forge.clear_stale_locks(0).await.unwrap(), 0);
    assert_eq!(forge.clear_stale_locks(i64::MAX).await.unwrap(), 1);
    assert!(matches!(forge.merge(&asked).await.unwrap(), MergeOutcome::Merged { .. }));
}

#[tokio::test]
async fn a_name_that_leaves_the_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for name in ["", "../x", "a/b", ".hidden", "a b"] {
        let config = LocalForgeConfig { name: name.into(), ..config(root.path(), &[]) };
        assert!(matches!(LocalForge::open(git(), config).await, Err(ForgeError::Refused { .. })), "{name:?}");
    }
}

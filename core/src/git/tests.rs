//! Real git: the clone and its questions, worktrees after crashes, rebases against a moving target, guarded pushes.

use std::path::Path;

use super::testing::{Origin, commit, main_branch, raw, task};
use super::*;

/// Later than any lock file of a test: "nobody works here any more".
const QUIET: i64 = i64::MAX;
/// Earlier than any lock file: "somebody may still work here".
const BUSY: i64 = 0;

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

fn nothing_unfinished(repo: &Repo, worktree: &Worktree) {
    let admin = repo.dir().join("worktrees").join(worktree.branch().key());
    for sign in ["rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "index.lock"] {
        assert!(!admin.join(sign).exists(), "{sign} was left");
    }
}

async fn on_branch(worktree: &Worktree) -> String {
    raw(worktree.path(), &["symbolic-ref", "--short", "HEAD"]).await
}

#[tokio::test]
async fn the_clone_is_made_once_and_follows_a_changed_address() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let first = repo.target_head().await.unwrap().unwrap();
    let moved = origin.root.path().join("moved.git");
    std::fs::rename(&origin.bare, &moved).unwrap();
    let worktrees = origin.root.path().join("worktrees");
    let again =
        Repo::ensure_clone(testing::git(), moved.to_str().unwrap(), repo.dir(), &worktrees, main_branch())
            .await
            .unwrap();
    again.fetch().await.unwrap();
    assert_eq!(again.target_head().await.unwrap(), Some(first));
}

#[tokio::test]
async fn a_half_made_clone_is_made_again_and_a_foreign_directory_is_refused() {
    let origin = Origin::new().await;
    std::fs::create_dir_all(origin.root.path().join("clone.git.new/objects")).unwrap();
    let repo = origin.clone_repo().await;
    assert!(repo.target_head().await.unwrap().is_some());

    let foreign = origin.root.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.txt"), "years of work").unwrap();
    let worktrees = origin.root.path().join("worktrees");
    let url = origin.bare.to_str().unwrap();
    let refused = Repo::ensure_clone(testing::git(), url, &foreign, &worktrees, main_branch()).await;
    assert!(matches!(refused, Err(GitError::NotFound { .. })), "{refused:?}");
    assert!(foreign.join("thesis.txt").exists());
}

#[tokio::test]
async fn history_answers_questions_about_ancestry_trees_and_files() {
    let origin = Origin::new().await;
    let first = origin.advance_main("docs/ä b.md", "one\n").await;
    let second = origin.advance_main("docs/adr/1.md", "two\n").await;
    let repo = origin.clone_repo().await;
    assert_eq!(repo.target_head().await.unwrap(), Some(second.clone()));
    assert!(repo.is_ancestor(&first, &second).await.unwrap());
    assert!(!repo.is_ancestor(&second, &first).await.unwrap());
    assert_eq!(repo.parents(&second).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(repo.first_parent(&second).await.unwrap(), Some(first.clone()));
    let root = repo.first_parent(&first).await.unwrap().unwrap();
    assert_eq!(repo.first_parent(&root).await.unwrap(), None);
    assert_ne!(repo.tree_of(&first).await.unwrap(), repo.tree_of(&second).await.unwrap());
    assert_eq!(repo.diff_names(&first, &second).await.unwrap(), ["docs/adr/1.md"]);
    assert_eq!(repo.list_files(&second, &path("docs")).await.unwrap(), ["docs/adr/1.md", "docs/ä b.md"]);
    assert_eq!(repo.list_files(&second, &path("")).await.unwrap().len(), 3);
    assert_eq!(repo.list_files(&second, &path("none")).await.unwrap(), Vec::<String>::new());
    assert_eq!(repo.show_file(&second, &path("docs/ä b.md")).await.unwrap().unwrap(), b"one\n");
    assert_eq!(repo.show_file(&second, &path("docs")).await.unwrap(), None);
    assert_eq!(repo.show_file(&first, &path("docs/adr/1.md")).await.unwrap(), None);
    let (blob_before, blob_after) = (
        repo.blob_id(&first, &path("README")).await.unwrap(),
        repo.blob_id(&second, &path("README")).await.unwrap(),
    );
    assert!(blob_before.is_some() && blob_before == blob_after);
    let log = repo.log_subjects(&root, &second, 10).await.unwrap();
    assert_eq!(
        log.iter().map(|(_, subject)| subject.as_str()).collect::<Vec<_>>(),
        ["change docs/adr/1.md", "change docs/ä b.md"]
    );
}

#[tokio::test]
async fn what_does_not_exist_is_none_or_not_found_and_never_an_answer() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let known = repo.target_head().await.unwrap().unwrap();
    let unknown = Sha::parse(&"1".repeat(40)).unwrap();
    assert_eq!(repo.rev_parse("no-such-branch").await.unwrap(), None);
    assert_eq!(repo.rev_parse(unknown.as_str()).await.unwrap(), None);
    assert!(matches!(repo.rev_parse("--all").await, Err(GitError::NotFound { .. })));
    assert!(matches!(repo.tree_of(&unknown).await, Err(GitError::NotFound { .. })));
    assert!(matches!(repo.is_ancestor(&unknown, &known).await, Err(GitError::NotFound { .. })));
    assert!(matches!(repo.is_ancestor(&known, &unknown).await, Err(GitError::NotFound { .. })));
    assert!(matches!(repo.parents(&unknown).await, Err(GitError::NotFound { .. })));
    assert!(matches!(repo.show_file(&unknown, &path("README")).await, Err(GitError::NotFound { .. })));
    assert!(matches!(repo.diff_names(&known, &unknown).await, Err(GitError::NotFound { .. })));
    assert_eq!(repo.ls_remote(&Branch::from(&task("NONE-1"))).await.unwrap(), None);
    std::fs::remove_dir_all(&origin.bare).unwrap();
    repo.ls_remote(&Branch::from(&task("NONE-1"))).await.unwrap_err();
}

#[tokio::test]
async fn a_worktree_is_made_from_the_target_and_found_again_with_its_work() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    assert_eq!(Some(repo.head(&worktree).await.unwrap()), repo.target_head().await.unwrap());
    assert_eq!(on_branch(&worktree).await, "orch/ORCH-1");
    assert!(repo.is_clean(&worktree).await.unwrap());
    let head = commit(worktree.path(), "work", "1\n").await;
    std::fs::write(worktree.path().join("draft"), "unfinished").unwrap();
    let again = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    assert_eq!(again, worktree);
    assert_eq!(repo.head(&again).await.unwrap(), head);
    assert_eq!(repo.uncommitted(&again).await.unwrap(), ["draft"]);
}

#[tokio::test]
async fn a_lost_clone_goes_on_from_the_branch_on_the_forge() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    let head = commit(worktree.path(), "work", "1\n").await;
    repo.push_branch(&branch, &head, None).await.unwrap();
    std::fs::remove_dir_all(repo.dir()).unwrap();
    let repo = origin.clone_repo().await;
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    assert_eq!(repo.head(&worktree).await.unwrap(), head);
}

#[tokio::test]
async fn a_removed_worktree_keeps_its_branch_and_removing_it_twice_is_fine() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    let head = commit(worktree.path(), "work", "1\n").await;
    std::fs::write(worktree.path().join("draft"), "unfinished").unwrap();
    repo.remove_worktree(&branch).await.unwrap();
    repo.remove_worktree(&branch).await.unwrap();
    assert!(!worktree.path().exists());
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    assert_eq!(repo.head(&worktree).await.unwrap(), head);
    assert!(repo.is_clean(&worktree).await.unwrap());
}

/// Given the worktree's directory and git's record of it.
type Breakage = fn(&Path, &Path);

/// Each row breaks a worktree in one way; the repair must bring it back with all commits.
#[tokio::test]
async fn a_broken_worktree_is_repaired_without_losing_a_commit() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let breakages: [(&str, Breakage); 9] = [
        ("directory gone", |dir, _| std::fs::remove_dir_all(dir).unwrap()),
        ("directory empty", |dir, _| {
            std::fs::remove_dir_all(dir).unwrap();
            std::fs::create_dir(dir).unwrap();
        }),
        (".git file gone", |dir, _| std::fs::remove_file(dir.join(".git")).unwrap()),
        (".git file emptied", |dir, _| std::fs::write(dir.join(".git"), "").unwrap()),
        ("record gone", |_, admin| std::fs::remove_dir_all(admin).unwrap()),
        ("HEAD emptied", |_, admin| std::fs::write(admin.join("HEAD"), "").unwrap()),
        ("index emptied", |_, admin| std::fs::write(admin.join("index"), "").unwrap()),
        ("index gone", |_, admin| std::fs::remove_file(admin.join("index")).unwrap()),
        ("making interrupted", |dir, admin| {
            std::fs::write(admin.join("locked"), "initializing").unwrap();
            std::fs::remove_file(admin.join("index")).unwrap();
            std::fs::remove_file(dir.join("work")).unwrap();
        }),
    ];
    for (number, (name, break_it)) in breakages.into_iter().enumerate() {
        let branch = task(&format!("ORCH-{number}"));
        let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
        let head = commit(worktree.path(), "work", "1\n").await;
        let admin = repo.dir().join("worktrees").join(branch.key());
        assert!(admin.is_dir(), "{name}");
        break_it(worktree.path(), &admin);
        let repaired =
            repo.ensure_worktree(&branch, BUSY).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(repo.head(&repaired).await.unwrap(), head, "{name}");
        assert_eq!(on_branch(&repaired).await, branch.name(), "{name}");
        assert_eq!(std::fs::read_to_string(repaired.path().join("work")).unwrap(), "1\n", "{name}");
        assert!(repo.is_clean(&repaired).await.unwrap(), "{name}");
        commit(repaired.path(), "more", "2\n").await;
    }
}

#[tokio::test]
async fn a_lost_git_file_costs_no_uncommitted_work() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    commit(worktree.path(), "work", "1\n").await;
    std::fs::write(worktree.path().join("work"), "2\n").unwrap();
    std::fs::write(worktree.path().join("draft"), "unfinished").unwrap();
    std::fs::remove_file(worktree.path().join(".git")).unwrap();
    repo.ensure_worktree(&branch, BUSY).await.unwrap();
    assert_eq!(std::fs::read_to_string(worktree.path().join("work")).unwrap(), "2\n");
    assert_eq!(repo.uncommitted(&worktree).await.unwrap(), ["work", "draft"]);
}

#[tokio::test]
async fn a_moved_data_directory_gets_its_worktrees_again() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    let head = commit(worktree.path(), "work", "1\n").await;
    let (clone, worktrees) =
        (origin.root.path().join("new/clone.git"), origin.root.path().join("new/worktrees"));
    std::fs::create_dir(origin.root.path().join("new")).unwrap();
    std::fs::rename(repo.dir(), &clone).unwrap();
    std::fs::rename(origin.root.path().join("worktrees"), &worktrees).unwrap();
    let url = origin.bare.to_str().unwrap();
    let moved = Repo::ensure_clone(testing::git(), url, &clone, &worktrees, main_branch()).await.unwrap();
    let worktree = moved.ensure_worktree(&branch, BUSY).await.unwrap();
    assert!(worktree.path().starts_with(worktrees.canonicalize().unwrap()));
    assert_eq!(moved.head(&worktree).await.unwrap(), head);
}

#[tokio::test]
async fn an_old_lock_is_removed_and_a_young_one_is_busy() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    let admin = repo.dir().join("worktrees/ORCH-1");
    // a stopped merge makes the repair write, so that it meets the lock
    commit(worktree.path(), "same", "ours\n").await;
    let theirs = origin.advance_main("same", "theirs\n").await;
    repo.fetch().await.unwrap();
    testing::git().call(worktree.path(), &["merge", theirs.as_str()]).output().await.unwrap();
    std::fs::write(admin.join("index.lock"), "").unwrap();
    let busy = repo.ensure_worktree(&branch, BUSY).await;
    assert!(matches!(busy, Err(GitError::LockBusy { .. })), "{busy:?}");
    assert!(admin.join("index.lock").exists(), "somebody else's lock was taken away");
    repo.ensure_worktree(&branch, QUIET).await.unwrap();
    nothing_unfinished(&repo, &worktree);
    assert!(repo.is_clean(&worktree).await.unwrap());
}

#[tokio::test]
async fn a_fetch_that_was_killed_does_not_block_the_next_for_ever() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    origin.advance_main("a", "1").await;
    for lock in ["refs/remotes/origin/main.lock", "packed-refs.lock"] {
        std::fs::write(repo.dir().join(lock), "").unwrap();
    }
    let busy = repo.fetch().await;
    assert!(matches!(busy, Err(GitError::LockBusy { .. })), "{busy:?}");
    assert_eq!(repo.clear_stale_locks(BUSY).await.unwrap(), 0, "a lock that may be in use was taken away");
    assert_eq!(repo.clear_stale_locks(QUIET).await.unwrap(), 2);
    repo.fetch().await.unwrap();
}

#[tokio::test]
async fn an_operation_that_stopped_in_the_middle_is_undone() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    for operation in ["rebase", "merge", "cherry-pick"] {
        let branch = task(&operation.to_uppercase());
        let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
        let head = commit(worktree.path(), "same", &format!("{operation}\n")).await;
        let theirs = origin.advance_main("same", &format!("theirs against {operation}\n")).await;
        repo.fetch().await.unwrap();
        let stopped =
            testing::git().call(worktree.path(), &[operation, theirs.as_str()]).output().await.unwrap();
        assert_eq!(stopped.code(), Some(1), "{operation}: {}", stopped.stderr());
        repo.ensure_worktree(&branch, QUIET).await.unwrap();
        assert_eq!(repo.head(&worktree).await.unwrap(), head, "{operation}");
        assert_eq!(on_branch(&worktree).await, branch.name(), "{operation}");
        assert!(repo.is_clean(&worktree).await.unwrap(), "{operation}");
        nothing_unfinished(&repo, &worktree);
    }
}

#[tokio::test]
async fn an_unreadable_half_rebase_does_not_stop_the_repair() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    let head = commit(worktree.path(), "work", "1\n").await;
    // killed between the directory and the files in it
    std::fs::create_dir(repo.dir().join("worktrees/ORCH-1/rebase-merge")).unwrap();
    repo.ensure_worktree(&branch, QUIET).await.unwrap();
    assert_eq!(repo.head(&worktree).await.unwrap(), head);
    nothing_unfinished(&repo, &worktree);
}

#[tokio::test]
async fn commits_of_a_detached_head_are_kept_when_the_worktree_returns_to_its_branch() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    raw(worktree.path(), &["checkout", "--quiet", "--detach"]).await;
    let stray = commit(worktree.path(), "stray", "1\n").await;
    repo.ensure_worktree(&branch, BUSY).await.unwrap();
    assert_eq!(on_branch(&worktree).await, branch.name());
    assert_eq!(repo.rev_parse(&format!("refs/orch/rescued/ORCH-1/{stray}")).await.unwrap(), Some(stray));
}

#[tokio::test]
async fn a_rebase_is_a_no_op_when_the_target_is_contained() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let worktree = repo.ensure_worktree(&task("ORCH-1"), BUSY).await.unwrap();
    let head = commit(worktree.path(), "work", "1\n").await;
    let target = repo.target_head().await.unwrap().unwrap();
    let outcome = repo.rebase_onto(&worktree, &target).await.unwrap();
    assert_eq!(outcome, RebaseOutcome::AlreadyCurrent { head: head.clone() });
    assert_eq!(repo.head(&worktree).await.unwrap(), head);
}

#[tokio::test]
async fn a_rebase_onto_a_moved_target_contains_both_and_keeps_the_author() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let worktree = repo.ensure_worktree(&task("ORCH-1"), BUSY).await.unwrap();
    std::fs::write(worktree.path().join("work"), "1\n").unwrap();
    raw(worktree.path(), &["add", "work"]).await;
    raw(worktree.path(), &["commit", "--quiet", "--author=A Dev <dev@example.org>", "-m", "work"]).await;
    let target = origin.advance_main("other", "2\n").await;
    repo.fetch().await.unwrap();
    let RebaseOutcome::Rebased { head } = repo.rebase_onto(&worktree, &target).await.unwrap() else {
        panic!("not rebased")
    };
    assert_eq!(repo.first_parent(&head).await.unwrap(), Some(target.clone()));
    assert_eq!(repo.diff_names(&target, &head).await.unwrap(), ["work"]);
    assert_eq!(
        raw(worktree.path(), &["log", "-1", "--format=%an <%ae> %cn"]).await,
        "A Dev <dev@example.org> orch"
    );
    assert_eq!(repo.rebase_onto(&worktree, &target).await.unwrap(), RebaseOutcome::AlreadyCurrent { head });
}

#[tokio::test]
async fn a_conflicting_rebase_names_the_files_and_changes_nothing() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let worktree = repo.ensure_worktree(&task("ORCH-1"), BUSY).await.unwrap();
    commit(worktree.path(), "a/same", "ours\n").await;
    let head = commit(worktree.path(), "fine", "ours\n").await;
    let target = origin.advance_main("a/same", "theirs\n").await;
    repo.fetch().await.unwrap();
    let outcome = repo.rebase_onto(&worktree, &target).await.unwrap();
    assert_eq!(outcome, RebaseOutcome::Conflict { files: vec!["a/same".into()] });
    assert_eq!(repo.head(&worktree).await.unwrap(), head);
    assert!(repo.is_clean(&worktree).await.unwrap());
    nothing_unfinished(&repo, &worktree);
}

#[tokio::test]
async fn a_rebase_refuses_uncommitted_changes_and_files_in_the_way() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let worktree = repo.ensure_worktree(&task("ORCH-1"), BUSY).await.unwrap();
    let head = commit(worktree.path(), "work", "1\n").await;
    let target = origin.advance_main("new", "theirs\n").await;
    repo.fetch().await.unwrap();
    std::fs::write(worktree.path().join("work"), "changed").unwrap();
    let dirty = repo.rebase_onto(&worktree, &target).await;
    assert!(matches!(&dirty, Err(GitError::Dirty { files }) if files == &["work"]), "{dirty:?}");
    raw(worktree.path(), &["checkout", "--quiet", "work"]).await;
    std::fs::write(worktree.path().join("new"), "untracked").unwrap();
    let in_the_way = repo.rebase_onto(&worktree, &target).await;
    assert!(matches!(&in_the_way, Err(GitError::Dirty { files }) if files == &["new"]), "{in_the_way:?}");
    assert_eq!(repo.head(&worktree).await.unwrap(), head);
    assert_eq!(std::fs::read_to_string(worktree.path().join("new")).unwrap(), "untracked");
    nothing_unfinished(&repo, &worktree);
}

#[tokio::test]
async fn a_rebase_that_empties_the_branch_ends_at_the_target() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let worktree = repo.ensure_worktree(&task("ORCH-1"), BUSY).await.unwrap();
    commit(worktree.path(), "work", "1\n").await;
    origin.advance_main("other", "2\n").await;
    let target = origin.advance_main("work", "1\n").await;
    repo.fetch().await.unwrap();
    let outcome = repo.rebase_onto(&worktree, &target).await.unwrap();
    assert_eq!(outcome, RebaseOutcome::Rebased { head: target });
}

#[tokio::test]
async fn hooks_and_editors_of_the_repository_never_run() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let worktree = repo.ensure_worktree(&task("ORCH-1"), BUSY).await.unwrap();
    let head = commit(worktree.path(), "work", "1\n").await;
    let hooks = repo.dir().join("hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    let mark = origin.root.path().join("ran");
    for hook in ["pre-push", "pre-rebase", "post-checkout", "post-rewrite", "reference-transaction"] {
        write_atomically(
            &hooks.join(hook),
            format!("#!/bin/sh\necho {hook} >>{}\n", mark.display()).as_bytes(),
            0o755,
        )
        .unwrap();
    }
    let target = origin.advance_main("other", "2\n").await;
    repo.fetch().await.unwrap();
    let RebaseOutcome::Rebased { head: rebased } = repo.rebase_onto(&worktree, &target).await.unwrap() else {
        panic!("not rebased")
    };
    assert_ne!(rebased, head);
    repo.push_branch(worktree.branch(), &rebased, None).await.unwrap();
    assert!(!mark.exists(), "{}", std::fs::read_to_string(&mark).unwrap());
    // the hooks are real: a plain git call runs one
    let git = testing::git();
    let plain = git.call(worktree.path(), &["commit", "--quiet", "--allow-empty", "-m", "x"]);
    plain.env("GIT_CONFIG_COUNT", "0").output().await.unwrap();
    assert!(mark.exists(), "the hooks of this test cannot run at all");
}

#[tokio::test]
async fn a_push_is_guarded_by_the_expected_commit() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    let first = commit(worktree.path(), "work", "1\n").await;
    assert_eq!(repo.push_branch(&branch, &first, None).await.unwrap(), PushOutcome::Pushed);
    assert_eq!(repo.push_branch(&branch, &first, Some(&first)).await.unwrap(), PushOutcome::UpToDate);
    assert_eq!(repo.push_branch(&branch, &first, None).await.unwrap(), PushOutcome::UpToDate);
    // rewritten history is fine as long as the expectation holds
    raw(worktree.path(), &["commit", "--quiet", "--amend", "-m", "again"]).await;
    let second = repo.head(&worktree).await.unwrap();
    assert_eq!(repo.push_branch(&branch, &second, None).await.unwrap(), PushOutcome::Stale);
    assert_eq!(repo.push_branch(&branch, &second, Some(&first)).await.unwrap(), PushOutcome::Pushed);
    assert_eq!(repo.ls_remote(&Branch::from(&branch)).await.unwrap(), Some(second));
}

#[tokio::test]
async fn a_fetch_in_between_does_not_weaken_the_guard() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    let first = commit(worktree.path(), "work", "1\n").await;
    repo.push_branch(&branch, &first, None).await.unwrap();
    let theirs = origin.push_as_person(&branch, "their-work").await;
    repo.fetch().await.unwrap();
    let second = commit(worktree.path(), "work", "2\n").await;
    assert_eq!(repo.push_branch(&branch, &second, Some(&first)).await.unwrap(), PushOutcome::Stale);
    assert_eq!(origin.head_of(&branch).await, Some(theirs));
}

#[tokio::test]
async fn a_refusing_hook_of_the_forge_is_a_rejection_with_its_words() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    let head = commit(worktree.path(), "work", "1\n").await;
    std::fs::create_dir_all(origin.bare.join("hooks")).unwrap();
    let hook = b"#!/bin/sh\necho 'no pushes on sundays' >&2\nexit 1\n";
    write_atomically(&origin.bare.join("hooks/pre-receive"), hook, 0o755).unwrap();
    let outcome = repo.push_branch(&branch, &head, None).await.unwrap();
    assert!(
        matches!(&outcome, PushOutcome::Rejected { reason } if reason.contains("no pushes on sundays")),
        "{outcome:?}"
    );
    assert_eq!(origin.head_of(&branch).await, None);
}

#[tokio::test]
async fn a_push_to_nowhere_is_an_error_and_not_an_outcome() {
    let origin = Origin::new().await;
    let repo = origin.clone_repo().await;
    let branch = task("ORCH-1");
    let worktree = repo.ensure_worktree(&branch, BUSY).await.unwrap();
    let head = repo.head(&worktree).await.unwrap();
    std::fs::remove_dir_all(&origin.bare).unwrap();
    repo.push_branch(&branch, &head, None).await.unwrap_err();
}

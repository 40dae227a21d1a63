//! The file and its lock: ours or refused, and what is refused stays as it was.

use std::{fs, io::Write};

use super::*;
use crate::store::{FileLock, LockRefused, SCHEMA};

fn refuse(path: &Path) -> StoreError {
    let before = fs::read(path).unwrap();
    let error = Store::open(path, identity("x")).unwrap_err();
    assert_eq!(fs::read(path).unwrap(), before, "left as it was");
    assert!(error.to_string().contains("orch.db"), "names the file: {error}");
    error
}

#[test]
fn a_file_of_a_newer_program_is_refused_with_both_versions() {
    let fixture = Fixture::new();
    let path = fixture.path();
    fixture.raw().pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    let raw = fixture.raw();
    raw.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let error = refuse(&path);
    assert!(
        matches!(error, StoreError::Newer { found, known, .. } if found == SCHEMA + 1 && known == SCHEMA)
    );
    let text = error.to_string();
    assert!(text.contains(&(SCHEMA + 1).to_string()) && text.contains(&format!("knows {SCHEMA}")), "{text}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    fs::write(&path, "a letter, and a long one, for it must be more than a header".repeat(40)).unwrap();
    assert!(matches!(refuse(&path), StoreError::Foreign { .. }));
}

#[test]
fn somebody_else_s_database_is_refused() {
    for (name, statements) in [
        ("tables without an id", "CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)"),
        ("another id", "PRAGMA application_id = 7; CREATE TABLE theirs (a)"),
        ("a version without an id", "PRAGMA user_version = 3"),
        ("our version, another id", "PRAGMA user_version = 1; PRAGMA application_id = 7"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orch.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(statements).unwrap();
        let error = refuse(&path);
        assert!(matches!(error, StoreError::Foreign { .. }), "{name}: {error}");
        let beside: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside, ["orch.db"], "{name}: nothing is left beside it");
    }
}

#[test]
fn an_empty_file_and_no_file_become_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    fs::File::create(&path).unwrap();
    open(&path, "a");
    open(&dir.path().join("new.db"), "a");
    let nowhere = Store::open(&dir.path().join("no/such/folder.db"), identity("a"));
    assert!(matches!(nowhere, Err(StoreError::Open { .. })));
}

#[tokio::test]
async fn what_was_written_is_there_in_the_next_life() {
    let fixture = Fixture::new();
    let row = with_job(&fixture, 1, "sample").await;
    fixture.store.close().await;
    let closed = fixture.store.create_task(new_task(2), 1).await;
    assert!(matches!(closed, Err(StoreError::Closed)));
    let next = fixture.next_life("second");
    assert_eq!(next.task_by_id(row.id).await.unwrap().unwrap(), row);
    assert_eq!(next.task(&row.task.key).await.unwrap().unwrap(), row);
}

#[tokio::test]
async fn a_damaged_row_is_told_and_not_guessed() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    fixture.raw().execute("UPDATE task SET row_json = '{}'", []).unwrap();
    let error = fixture.store.task_by_id(row.id).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { table: "task", .. }), "{error}");
    // the connection that met it is not poisoned for others
    assert_eq!(fixture.store.events(row.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_command_that_fails_changes_nothing_and_the_next_one_works() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    fixture
        .raw()
        .execute_batch("CREATE TRIGGER sick BEFORE INSERT ON job BEGIN SELECT raise(ABORT, 'sick'); END")
        .unwrap();
    let failed = fixture.store.commit(None, forward(&row)).await;
    assert!(matches!(failed, Err(StoreError::Write { command: "enqueue", .. })), "{failed:?}");
    assert_eq!(fixture.store.task_by_id(row.id).await.unwrap().unwrap(), row, "the event went with the job");
    fixture.raw().execute_batch("DROP TRIGGER sick").unwrap();
    assert!(fixture.store.commit(None, forward(&row)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_transaction_that_ended_by_itself_is_unknown_and_the_writer_goes_on() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    // ROLLBACK ends the transaction behind the writer's back, as a full disk does
    fixture
        .raw()
        .execute_batch("CREATE TRIGGER sick BEFORE INSERT ON job BEGIN SELECT raise(ROLLBACK, 'full'); END")
        .unwrap();
    assert!(fixture.store.commit(None, forward(&row)).await.is_err());
    fixture.raw().execute_batch("DROP TRIGGER sick").unwrap();
    assert_eq!(fixture.store.task_by_id(row.id).await.unwrap().unwrap(), row);
    assert!(fixture.store.commit(None, forward(&row)).await.unwrap().is_some());
}

#[test]
fn a_second_core_is_refused_and_told_who_holds_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    let first = FileLock::take(&path, &identity("boot-one"), "here").unwrap();
    match FileLock::take(&path, &identity("boot-two"), "there") {
        Err(LockRefused::Held { holder, path }) => {
            for part in ["4711", "99", "here", "boot-one"] {
                assert!(holder.contains(part), "{holder}");
            }
            assert!(path.to_string_lossy().ends_with("orch.db.lock"));
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    FileLock::take(&path, &identity("boot-two"), "there").unwrap();
}

#[test]
fn a_database_has_one_lock_whatever_way_leads_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    let (link, folder) = (other.join("linked.db"), dir.path().join("folder"));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    std::os::unix::fs::symlink(dir.path(), &folder).unwrap();
    assert!(
        matches!(FileLock::take(&link, &identity("no"), "here"), Err(LockRefused::Io { .. })),
        "it leads nowhere"
    );
    // before there is a database, and after
    let first = FileLock::take(&path, &identity("boot-one"), "here").unwrap();
    let refused = FileLock::take(&folder.join("orch.db"), &identity("boot-two"), "there");
    assert!(matches!(refused, Err(LockRefused::Held { .. })), "{refused:?}");
    fs::write(&path, "").unwrap();
    let refused = FileLock::take(&link, &identity("boot-two"), "there");
    assert!(matches!(refused, Err(LockRefused::Held { .. })), "{refused:?}");
    drop(first);
    let hard = other.join("hard.db");
    fs::hard_link(&path, &hard).unwrap();
    for path in [&path, &hard] {
        let told = FileLock::take(path, &identity("boot-two"), "there").unwrap_err().to_string();
        assert!(told.contains("2 names"), "{told}");
    }
    fs::remove_file(&hard).unwrap();
    FileLock::take(&link, &identity("boot-two"), "there").unwrap();
    assert!(dir.path().join("orch.db.lock").exists() && !other.join("linked.db.lock").exists());
}

#[test]
fn the_lock_is_what_is_locked_and_not_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    let mut stale = fs::File::create(dir.path().join("orch.db.lock")).unwrap();
    stale.write_all(&b"pid 1 of a core that was killed, with a very long line ".repeat(9)).unwrap();
    drop(stale);
    let _lock = FileLock::take(&path, &identity("now"), "here").unwrap();
    let content = fs::read_to_string(dir.path().join("orch.db.lock")).unwrap();
    assert_eq!(content.lines().count(), 1);
    assert!(content.contains("now") && !content.contains("killed"), "{content}");
}

#[test]
fn a_holder_that_is_just_ending_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    let first = FileLock::take(&path, &identity("one"), "here").unwrap();
    let ending = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(first);
    });
    FileLock::take(&path, &identity("two"), "here").unwrap();
    ending.join().unwrap();
}

#[tokio::test]
async fn a_panic_in_one_command_is_that_commands_end_and_not_the_writers() {
    let fixture = Fixture::new();
    let ended = fixture
        .store
        .writer
        .write("panics", |tx| -> Result<(), StoreError> {
            tx.execute("DELETE FROM stage_count", []).unwrap();
            panic!("a defect in a command");
        })
        .await;
    assert!(matches!(ended, Err(StoreError::Closed)), "{ended:?}");
    let row = fixture.task(1).await;
    assert_eq!(fixture.store.task_by_id(row.id).await.unwrap(), Some(row), "the next command is served");
}

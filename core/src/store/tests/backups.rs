//! Backups while the core writes, and the way back.

use std::fs;

use super::*;
use crate::store::{BackupError, Copied, FileLock, backup, restore};

fn keys(path: &Path) -> Vec<String> {
    let raw = rusqlite::Connection::open(path).unwrap();
    let mut statement = raw.prepare("SELECT work_item FROM task ORDER BY id").unwrap();
    let found = statement.query_map([], |row| row.get(0)).unwrap();
    found.map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_core_at_work_is_whole_and_opens_as_a_store() {
    let fixture = Fixture::new();
    fixture.task(1).await;
    let store = fixture.store.clone();
    let writing = tokio::spawn(async move {
        for number in 2..60 {
            let row = task(&store, number).await;
            store.commit(None, forward(&row)).await.unwrap().unwrap();
        }
    });
    let mut copies = Vec::new();
    for number in 0..4 {
        let (from, to) = (fixture.path(), fixture.dir.path().join(format!("copy-{number}.db")));
        let copied = tokio::task::spawn_blocking(move || backup(&from, &to).map(|copied| (copied, to)));
        copies.push(copied.await.unwrap().unwrap());
    }
    writing.await.unwrap();
    for (copied, path) in copies {
        assert!(copied.tasks >= 1);
        assert!(!path.with_extension("db-wal").exists(), "one file");
        let copy = open(&path, "other");
        let rows = copy.tasks_page(0, None, 1_000).await.unwrap();
        assert_eq!(rows.len() as u64, copied.tasks);
        copy.close().await;
    }
    let first = fixture.dir.path().join("copy-0.db");
    assert!(matches!(backup(&fixture.path(), &first), Err(BackupError::Exists(_))), "nothing is overwritten");
}

#[tokio::test]
async fn a_restore_brings_back_what_was_and_keeps_what_it_replaces() {
    let fixture = Fixture::new();
    fixture.task(1).await;
    let copy = fixture.dir.path().join("copy.db");
    assert_eq!(backup(&fixture.path(), &copy).unwrap(), Copied { tasks: 1 });
    fixture.task(2).await;
    let lock = FileLock::take(&fixture.path(), &identity("first"), "here").unwrap();
    let in_use = restore(&fixture.path(), &copy, &identity("r"), "here").unwrap_err();
    assert!(crate::chain::chain(&in_use).contains("4711"), "names the core that uses it: {in_use}");
    assert_eq!(keys(&fixture.path()).len(), 2);
    drop(lock);
    fixture.store.close().await;
    let (copied, kept) = restore(&fixture.path(), &copy, &identity("r"), "here").unwrap();
    assert_eq!(copied, Copied { tasks: 1 });
    assert_eq!(keys(&fixture.path()), ["ORCH-1"]);
    assert_eq!(keys(&kept.unwrap()), ["ORCH-1", "ORCH-2"], "what was there is kept");
    let next = open(&fixture.path(), "next");
    task(&next, 3).await;
}

#[tokio::test]
async fn what_is_no_backup_of_ours_replaces_nothing() {
    let fixture = Fixture::new();
    fixture.task(1).await;
    fixture.store.close().await;
    let before = fs::read(fixture.path()).unwrap();
    let bad = fixture.dir.path().join("bad.db");
    for (what, make) in [
        (
            "letters",
            Box::new(|path: &Path| fs::write(path, "no database".repeat(99)).unwrap()) as Box<dyn Fn(&Path)>,
        ),
        (
            "another's",
            Box::new(|path: &Path| {
                rusqlite::Connection::open(path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
            }),
        ),
        (
            "a history that explains nothing",
            Box::new(|path: &Path| {
                fs::write(path, fs::read(path.with_file_name("orch.db")).unwrap()).unwrap();
                let raw = rusqlite::Connection::open(path).unwrap();
                raw.execute_batch(
                    "PRAGMA journal_mode=DELETE; UPDATE event SET event = replace(event, 'Sort', 'Mend')",
                )
                .unwrap();
            }),
        ),
    ] {
        fs::remove_file(&bad).ok();
        make(&bad);
        assert!(restore(&fixture.path(), &bad, &identity("r"), "here").is_err(), "{what}");
        assert_eq!(fs::read(fixture.path()).unwrap(), before, "{what}");
    }
    let nothing = restore(&fixture.path(), &fixture.dir.path().join("none"), &identity("r"), "here");
    assert!(matches!(nothing, Err(BackupError::Missing(_))));
}

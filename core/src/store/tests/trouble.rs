//! A disk that is full, a file that is locked or damaged, a transaction that ended behind our back:
//! refused in clear words, nothing lost, and it goes on by itself.

use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[tokio::test]
async fn a_transaction_that_a_statement_ended_has_an_unknown_outcome_and_the_next_is_served() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let ended = fixture
        .store
        .writer
        .write("ends_early", |tx| {
            tx.execute("UPDATE task SET round = 99", [])
                .map_err(super::super::tasks::failed("ends_early"))?;
            // ends the whole transaction, as a full disk or an I/O error may
            tx.execute("INSERT OR ROLLBACK INTO task SELECT * FROM task", [])
                .map(drop)
                .map_err(super::super::tasks::failed("ends_early"))
        })
        .await;
    assert!(matches!(ended, Err(StoreError::Unknown { command: "ends_early", .. })), "{ended:?}");
    assert_eq!(fixture.store.task_by_id(row.id).await.unwrap(), Some(row.clone()));
    assert!(fixture.store.commit(None, forward(&row)).await.unwrap().is_some(), "the file was opened anew");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_says_what_to_do() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    // the file may not grow any more, as on a disk without room
    fixture
        .store
        .writer
        .write("limit", |tx| {
            let pages: i64 = tx.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
            tx.pragma_update(None, "max_page_count", pages).unwrap();
            Ok(())
        })
        .await
        .unwrap();
    let large = NewTask { body: "x".repeat(60_000), ..new_task(2) };
    let full = fixture.store.create_task(large.clone(), 1).await.unwrap_err();
    assert!(full.advice().is_some_and(|advice| advice.contains("make room")), "{full:?}");
    assert_eq!(fixture.store.task_by_id(row.id).await.unwrap(), Some(row.clone()), "what was written stands");
    assert_eq!(fixture.number("SELECT count(*) FROM task"), 1, "half a task is none");
    // room again: a connection of its own has no such limit
    let next = fixture.next_life("second");
    assert!(next.create_task(large, 1).await.unwrap().1);
}

#[tokio::test]
async fn a_file_that_another_program_locks_is_waited_for_and_then_refused_in_clear_words() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let other = fixture.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = fixture.store.commit(None, forward(&row)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Write { .. }), "nothing was begun: {refused:?}");
    assert!(refused.advice().is_some_and(|advice| advice.contains("lock")), "{refused:?}");
    assert_eq!(fixture.store.task_by_id(row.id).await.unwrap(), Some(row.clone()), "readers go on");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(fixture.store.commit(None, forward(&row)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_damaged_file_is_refused_by_name_with_the_way_back() {
    let fixture = Fixture::new();
    fixture.task(1).await;
    fixture.store.close().await;
    let path = fixture.path();
    let length = std::fs::metadata(&path).unwrap().len();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // the header stays: it is ours by every sign, and rotten behind
    file.seek(SeekFrom::Start(4_096)).unwrap();
    file.write_all(&vec![0xAA; usize::try_from(length - 4_096).unwrap()]).unwrap();
    drop(file);
    let told = match Store::open(&path, identity("next")) {
        Err(error) => {
            let text = crate::chain::chain(&error);
            assert!(text.contains("orch.db"), "{text}");
            format!("{text} {}", error.advice().unwrap_or_default())
        }
        Ok(store) => {
            let error = store.create_task(new_task(2), 1).await.unwrap_err();
            error.advice().unwrap_or_default().to_owned()
        }
    };
    assert!(told.contains("orch-core restore"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_makes_callers_wait_and_loses_no_command() {
    let fixture = Fixture::new();
    let row = fixture.task(1).await;
    let (hold, held) = std::sync::mpsc::sync_channel::<()>(1);
    let (at_work, begun) = tokio::sync::oneshot::channel();
    let store = fixture.store.clone();
    let slow = tokio::spawn(async move {
        store
            .writer
            .write("slow", move |_| {
                at_work.send(()).ok();
                held.recv().ok();
                Ok(())
            })
            .await
    });
    // nobody else may be served before the slow one holds the writer
    begun.await.unwrap();
    // three times what the queue takes
    let asked = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..768 {
        let store = fixture.store.clone();
        let note =
            CommitWrite { expected: Expected::Any, ..write(&row, vec![Event::PullRequestOpened { number }]) };
        let asked = asked.clone();
        callers.spawn(async move {
            asked.fetch_add(1, Ordering::Relaxed);
            store.commit(None, note).await.unwrap().unwrap()
        });
    }
    while asked.load(Ordering::Relaxed) < 768 {
        tokio::task::yield_now().await;
    }
    assert!(callers.try_join_next().is_none(), "everybody waits for the writer");
    hold.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(callers.join_all().await.len(), 768);
    assert_eq!(fixture.store.task_by_id(row.id).await.unwrap().unwrap().task.version, 769);
}

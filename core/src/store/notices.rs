//! Notices for people: written in the transaction that they tell of, taken off when told.

use rusqlite::{Transaction, params};

use super::writer::Cached;
use super::{Store, StoreError, tasks};
use crate::domain::{ids::TaskId, notice::Notice};

/// A notice with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRow {
    /// Number.
    pub id: i64,
    /// The work item's key.
    pub key: String,
    /// What happened.
    pub notice: Notice,
    /// When.
    pub at_ms: i64,
}

/// Untold notices read at once.
const NOTICES_MAX: u32 = 20;

/// Puts a notice into the transaction of what it tells.
pub(super) fn insert(
    tx: &Transaction<'_>,
    task: TaskId,
    notice: &Notice,
    at_ms: i64,
) -> Result<(), StoreError> {
    tx.execute_cached(
        "INSERT INTO notice (task_id, what, at_ms) VALUES (?1, ?2, ?3)",
        params![task.0, tasks::json(notice)?, at_ms],
    )
    .map(drop)
    .map_err(tasks::failed("insert_notice"))
}

impl Store {
    /// The oldest notices that nobody was told of, and how many there are in all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn untold_notices(&self) -> Result<(Vec<NoticeRow>, u64), StoreError> {
        self.readers
            .read("untold_notices", |connection| {
                let read = |source| StoreError::Read { query: "untold_notices", source };
                let count: i64 = connection
                    .query_row("SELECT count(*) FROM notice WHERE told_at_ms IS NULL", [], |row| row.get(0))
                    .map_err(read)?;
                let mut statement = connection
                    .prepare_cached(
                        "SELECT notice.id, task.work_item, notice.what, notice.at_ms FROM notice
                         JOIN task ON task.id = notice.task_id WHERE told_at_ms IS NULL ORDER BY notice.id LIMIT ?1",
                    )
                    .map_err(read)?;
                let found = statement
                    .query_map([NOTICES_MAX], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?))
                    })
                    .map_err(read)?;
                let rows: Result<Vec<NoticeRow>, StoreError> = found
                    .map(|row| {
                        let (id, key, what, at_ms) = row.map_err(read)?;
                        let notice =
                            serde_json::from_str(&what).map_err(|error| StoreError::damaged("notice", error))?;
                        Ok(NoticeRow { id, key, notice, at_ms })
                    })
                    .collect();
                Ok((rows?, count.unsigned_abs()))
            })
            .await
    }

    /// Marks a notice as told; answers whether it was not before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn notice_told(&self, id: i64, at_ms: i64) -> Result<bool, StoreError> {
        self.writer
            .write("notice_told", move |tx| {
                tx.execute_cached(
                    "UPDATE notice SET told_at_ms = ?2 WHERE id = ?1 AND told_at_ms IS NULL",
                    params![id, at_ms],
                )
                .map(|n| n == 1)
                .map_err(tasks::failed("notice_told"))
            })
            .await
    }
}

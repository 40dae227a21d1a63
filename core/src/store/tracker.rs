//! Work items of the local tracker: those that live nowhere else.

use rusqlite::{OptionalExtension, params};

use super::writer::Cached;
use super::{Store, StoreError, tasks};

/// A work item as the local tracker keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerItem {
    /// `open`, `closed`, `cancelled`.
    pub state: String,
    /// Which revision closed it.
    pub closed_by: Option<String>,
}

impl Store {
    /// One work item.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tracker_item(&self, key: String) -> Result<Option<TrackerItem>, StoreError> {
        self.readers
            .read("tracker_item", move |connection| {
                connection
                    .query_row(
                        "SELECT state, closed_by FROM tracker_item WHERE work_item = ?1",
                        [key],
                        |row| Ok(TrackerItem { state: row.get(0)?, closed_by: row.get(1)? }),
                    )
                    .optional()
                    .map_err(|source| StoreError::Read { query: "tracker_item", source })
            })
            .await
    }

    /// Moves an open work item to `state`; answers whether it was open.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_tracker_item(
        &self,
        key: String,
        state: &'static str,
        by: Option<String>,
        at_ms: i64,
    ) -> Result<bool, StoreError> {
        self.writer
            .write("end_tracker_item", move |tx| {
                tx.execute_cached(
                    "UPDATE tracker_item SET state = ?2, closed_by = ?3, changed_at_ms = ?4 WHERE work_item = ?1 AND state = 'open'",
                    params![key, state, by, at_ms],
                )
                .map(|n| n == 1)
                .map_err(tasks::failed("end_tracker_item"))
            })
            .await
    }
}

//! Whether the file takes a write.

use super::{Store, StoreError, migrate::SCHEMA, tasks};

impl Store {
    /// Writes what stands there already, through to the disk. Costs one synchronous write: callers
    /// keep the answer for a while.
    ///
    /// # Errors
    /// [`StoreError`]: the file takes no write now (full disk, lost file system, ended writer).
    pub async fn probe_writable(&self) -> Result<(), StoreError> {
        self.writer
            .write("probe_writable", |tx| {
                tx.pragma_update(None, "user_version", SCHEMA).map_err(tasks::failed("probe_writable"))
            })
            .await
    }
}

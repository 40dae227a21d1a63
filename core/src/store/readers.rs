//! Read-only connections: a few, reused, each read on a blocking thread.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::{StoreError, inline::Here};

/// Reads that run at once.
const READERS_MAX: usize = 4;

#[derive(Debug, Clone)]
pub(super) enum Readers {
    /// Connections of their own.
    Pool(Pool),
    /// The writer's connection: a simulation's.
    Here(Here),
}

#[derive(Debug, Clone)]
pub(super) struct Pool {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
    room: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self::Pool(Pool {
            path: Arc::new(path.to_owned()),
            idle: Arc::default(),
            room: Arc::new(Semaphore::new(READERS_MAX)),
        })
    }

    pub(super) const fn here(here: Here) -> Self {
        Self::Here(here)
    }

    /// Runs `query` in one read transaction: what it sees belongs together.
    pub(super) async fn read<T, F>(&self, name: &'static str, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let pool = match self {
            Self::Pool(pool) => pool,
            Self::Here(here) => return here.read(name, query).await,
        };
        let room = Arc::clone(&pool.room).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let this = pool.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _room = room;
            let mut connection = this.take()?;
            let transaction =
                connection.transaction().map_err(|source| StoreError::Read { query: name, source })?;
            let result = query(&transaction);
            drop(transaction);
            if result.is_ok() {
                this.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            result
        });
        work.await.map_err(|_| StoreError::Closed)?
    }
}

impl Pool {
    fn take(&self) -> Result<Connection, StoreError> {
        if let Some(connection) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(connection);
        }
        let fail = |source| StoreError::Open { path: self.path.as_ref().clone(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.path.as_ref(), flags).map_err(fail)?;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(fail)?;
        Ok(connection)
    }
}

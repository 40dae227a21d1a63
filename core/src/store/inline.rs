//! A store without threads, for simulations: the same commands and the same SQL, carried out where
//! they are asked for, on one database in memory that outlives the lives of a core.
//!
//! Each call stops at named points, so that a scheduler decides who goes on, what fails, and where a
//! life ends. Deliberately not here: durability; a database in memory has none to prove.

use std::{
    fmt::Debug,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::guards::Guards;

use super::{Identity, OwnerRegistry, Store, StoreError, migrate, readers::Readers, writer::Writer};

/// Where a call of the store stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorePoint {
    /// Before a read.
    Read,
    /// Before a write's transaction.
    BeforeWrite,
    /// After a write's commit, before its caller knows.
    AfterWrite,
}

/// What a call meets at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It goes on.
    Go,
    /// It fails here: nothing was read or written, or, after the commit, nobody can say.
    Fail,
}

/// Who decides what a call meets.
pub trait StorePoints: Debug + Send + Sync {
    /// Resolves when the call may go on.
    fn at(&self, point: StorePoint, command: &'static str) -> Pin<Box<dyn Future<Output = Passage> + Send>>;
}

/// A database in memory.
#[derive(Debug, Clone)]
pub struct MemoryFile(Arc<Mutex<Connection>>);

impl MemoryFile {
    /// An empty database with the present schema.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn new() -> Result<Self, StoreError> {
        let path = PathBuf::from(":memory:");
        let fail = |source| StoreError::Open { path: path.clone(), source };
        let mut connection = Connection::open_in_memory().map_err(fail)?;
        migrate::migrate(&mut connection, Path::new(":memory:"))?;
        connection.pragma_update(None, "foreign_keys", true).map_err(fail)?;
        connection.set_prepared_statement_cache_capacity(128);
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Empties every table: the next history begins as in a new file, with statements prepared.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn clear(&self) -> Result<(), StoreError> {
        let fail = |source| StoreError::Write { command: "clear", source };
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = connection
            .prepare_cached(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            )
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(fail)?;
        let sweep: String = names.iter().map(|name| format!("DELETE FROM \"{name}\";")).collect();
        connection
            .execute_batch(&format!(
                "PRAGMA foreign_keys = OFF; BEGIN; {sweep} COMMIT; PRAGMA foreign_keys = ON;"
            ))
            .map_err(fail)
    }

    /// One life's store on this database.
    #[must_use]
    pub fn open(&self, identity: Identity, points: Arc<dyn StorePoints>) -> Store {
        let here = Here { connection: Arc::clone(&self.0), points };
        Store {
            writer: Writer::Here(here.clone()),
            readers: Readers::here(here),
            identity: Arc::new(identity),
            owners: OwnerRegistry::default(),
            guards: Guards::default(),
        }
    }
}

/// Carries commands out where they are asked for.
#[derive(Debug, Clone)]
pub(super) struct Here {
    connection: Arc<Mutex<Connection>>,
    points: Arc<dyn StorePoints>,
}

impl Here {
    pub(super) async fn write<T>(
        &self,
        name: &'static str,
        command: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let failed = || rusqlite::Error::ExecuteReturnedResults;
        if self.points.at(StorePoint::BeforeWrite, name).await == Passage::Fail {
            return Err(StoreError::Write { command: name, source: failed() });
        }
        let value = {
            let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(|source| StoreError::Write { command: name, source })?;
            let value = command(&transaction)?;
            transaction.commit().map_err(|source| StoreError::Unknown { command: name, source })?;
            value
        };
        match self.points.at(StorePoint::AfterWrite, name).await {
            Passage::Go => Ok(value),
            Passage::Fail => Err(StoreError::Unknown { command: name, source: failed() }),
        }
    }

    pub(super) async fn read<T>(
        &self,
        name: &'static str,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.points.at(StorePoint::Read, name).await == Passage::Fail {
            return Err(StoreError::Read { query: name, source: rusqlite::Error::ExecuteReturnedResults });
        }
        query(&self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

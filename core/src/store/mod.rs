//! The store: the only place with SQL, and the only writer of every row.
//!
//! One thread writes, one transaction a command, over a bounded channel; readers use read-only
//! connections of their own. What is offered knows nothing of SQLite: ids, domain types and
//! [`StoreError`]. It decides nothing: a decision arrives as events and is written whole or not
//! at all.
//!
//! Invariants: a task's row is the fold of its events, written in the same transaction; leases
//! exist as proof values that only this module makes; every claim is one guarded UPDATE.

mod backup;
mod coverage;
mod effects;
mod error;
mod file_lock;
mod gates;
mod inline;
mod jobs;
mod leases;
mod migrate;
mod notices;
mod observe;
mod pending;
mod probe;
mod readers;
mod runs;
mod slot;
mod spending;
mod tasks;
mod tracker;
mod writer;

use std::{path::Path, sync::Arc};

pub use backup::{BackupError, Copied, backup, restore};
pub use coverage::RatchetWrite;
pub use effects::{EffectRow, IntentWrite};
pub use error::StoreError;
pub use file_lock::{FileLock, LockRefused};
pub use gates::{GateRow, GateWrite};
pub use inline::{MemoryFile, Passage, StorePoint, StorePoints};
pub use jobs::{ClaimedJob, JobRow, JobSettlement, RunTerms};
pub use leases::{
    Acquired, Ended, ForcedRelease, HeldLease, LeaseProof, OwnerRegistration, OwnerRegistry, ReclaimReason,
    Robbed, WhichGrant,
};
pub use migrate::SCHEMA;
pub use notices::NoticeRow;
pub use observe::Snapshot;
pub use pending::{KeptCommand, PendingTrigger};
pub use runs::{AgentKind, AgentRow, AgentTerms, AgentUse, NewRun, RunEnding, RunRow, StreamTold};
pub(crate) use runs::{RUN_KINDS, kind_name};
pub use tasks::{CommitWrite, Expected, NewTask, TaskRow};
pub use tracker::TrackerItem;

use crate::{domain::ids::BootId, guards::Guards};

/// Who this process is, as leases and runs record it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This life.
    pub boot_id: BootId,
    /// Our pid.
    pub pid: i32,
    /// Our start ticks.
    pub start_ticks: u64,
}

/// Handle on the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writer: writer::Writer,
    readers: readers::Readers,
    identity: Arc<Identity>,
    owners: OwnerRegistry,
    guards: Guards,
}

impl Store {
    /// Opens the database file, migrates it, and starts the writer thread.
    ///
    /// # Errors
    /// [`StoreError`] naming the file: not a database, made by a newer program, unwritable.
    pub fn open(path: &Path, identity: Identity) -> Result<Self, StoreError> {
        let writer = writer::Writer::start(path)?;
        let readers = readers::Readers::new(path);
        Ok(Self {
            writer,
            readers,
            identity: Arc::new(identity),
            owners: OwnerRegistry::default(),
            guards: Guards::default(),
        })
    }

    /// Who we are.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Handles of the owners that live in this process.
    #[must_use]
    pub const fn owners(&self) -> &OwnerRegistry {
        &self.owners
    }

    /// What keeps effects and changes of stage single.
    #[must_use]
    pub const fn guards(&self) -> &Guards {
        &self.guards
    }

    /// Writes the log back into the file and waits until the writer has ended.
    pub async fn close(&self) {
        self.writer.close().await;
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! What can go wrong between a command and the file.

use std::path::PathBuf;

use crate::domain::task::BadHistory;

/// A failed store call.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("open the database {path}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file was made by a newer program.
    #[error(
        "the database {path} has schema {found}, this program knows {known}: use the newer program, or restore a backup"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is not ours.
    #[error(
        "{path} is not a database of orch-core ({why}): set ORCH_DB_PATH to another file or restore a backup"
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// How it shows.
        why: String,
    },
    /// The file is ours, and damaged.
    #[error(
        "the database {path} is damaged ({why}): stop the core and put a backup in its place with `orch-core restore FILE`"
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// How it shows.
        why: String,
    },
    /// A command failed and changed nothing.
    #[error("write `{command}`")]
    Write {
        /// Name of the command.
        command: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// A commit failed: whether its rows are in the file is unknown until it is read again.
    #[error("commit of `{command}` has an unknown outcome")]
    Unknown {
        /// Name of the command.
        command: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// A read failed.
    #[error("read `{query}`")]
    Read {
        /// Name of the query.
        query: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// A row does not read back as what was written.
    #[error("row of `{table}` is damaged: {what}")]
    Damaged {
        /// Which table.
        table: &'static str,
        /// How it shows.
        what: String,
    },
    /// History does not fold.
    #[error("history is damaged")]
    History(#[from] BadHistory),
    /// The writer has ended.
    #[error("the store is closed")]
    Closed,
}

const RESTORE: &str = "the file of ORCH_DB_PATH is damaged; stop the core and put a backup in its place with `orch-core restore FILE`";

impl StoreError {
    /// What somebody can do about it, where that is known.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        use rusqlite::ErrorCode;
        let source = match self {
            Self::Open { source, .. }
            | Self::Write { source, .. }
            | Self::Unknown { source, .. }
            | Self::Read { source, .. } => source,
            Self::Corrupt { .. } | Self::Damaged { .. } | Self::History(_) => return Some(RESTORE),
            Self::Newer { .. } | Self::Foreign { .. } | Self::Closed => return None,
        };
        match source.sqlite_error_code()? {
            ErrorCode::DiskFull => {
                Some("make room on the disk of ORCH_DB_PATH; nothing is lost, it goes on by itself")
            }
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Some("another program holds a lock on the file of ORCH_DB_PATH; end it, it goes on by itself")
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Some(RESTORE),
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                Some("look at the rights of the file of ORCH_DB_PATH and of its folder")
            }
            _ => None,
        }
    }

    pub(super) fn damaged(table: &'static str, what: impl std::fmt::Display) -> Self {
        Self::Damaged { table, what: what.to_string() }
    }
}

//! Forward-only migrations, embedded, one transaction each.
//!
//! `user_version` is the schema's number, `application_id` says whose file it is. A file that is
//! newer than the program, or somebody else's, is refused and left untouched.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Schema that this program reads and writes.
pub const SCHEMA: i64 = 5;

/// `application_id` of our files: "orch" in ASCII.
const APPLICATION_ID: i64 = 0x6f72_6368;

/// Statements that lead from schema `index` to `index + 1`.
const MIGRATIONS: [&str; SCHEMA as usize] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
];

/// Refuses a file that is not ours, or newer than we are, before anything is changed in it; answers
/// its schema.
pub(super) fn recognise(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let open = |source| StoreError::Open { path: path.to_owned(), source };
    let foreign = |why: String| StoreError::Foreign { path: path.to_owned(), why };
    let pragma = |connection: &Connection, name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
    };
    let found = match pragma(connection, "user_version") {
        Ok(found) => found,
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == rusqlite::ErrorCode::NotADatabase => {
            return Err(foreign("it is not an SQLite file".to_owned()));
        }
        Err(source) => return Err(open(source)),
    };
    let owner = pragma(connection, "application_id").map_err(open)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
                StoreError::Corrupt { path: path.to_owned(), why: source.to_string() }
            }
            _ => open(source),
        })?;
    if owner != APPLICATION_ID && (tables > 0 || found > 0) {
        return Err(foreign(format!("its application id is {owner:#x}")));
    }
    if found > SCHEMA {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: SCHEMA });
    }
    Ok(found)
}

/// Brings the file to [`SCHEMA`].
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let open = |source| StoreError::Open { path: path.to_owned(), source };
    let found = recognise(connection, path)?;
    for (statements, schema) in MIGRATIONS.iter().zip(1_i64..).skip(usize::try_from(found).unwrap_or(0)) {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(open)?;
        transaction.execute_batch(statements).map_err(open)?;
        transaction.pragma_update(None, "user_version", schema).map_err(open)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(open)?;
        transaction.commit().map_err(open)?;
    }
    Ok(())
}

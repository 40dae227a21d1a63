//! Measured coverage by revision, and the baseline of each target branch: a ratchet that only
//! rises, tied to a merged revision.

use rusqlite::{Connection, OptionalExtension, params};

use super::writer::Cached;
use super::{LeaseProof, Store, StoreError, leases, tasks};
use crate::domain::coverage::LineCounts;

/// What became of a ratchet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RatchetWrite {
    /// The baseline is this revision's now.
    Raised,
    /// The baseline is at least as high already.
    Kept,
    /// The lease is somebody else's by now: nothing was written.
    Fenced,
}

impl Store {
    /// Stores what a candidate measured.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_coverage(
        &self,
        project: String,
        revision: String,
        counts: LineCounts,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        self.writer
            .write("record_coverage", move |tx| {
                tx.execute_cached(
                    "INSERT INTO coverage_measured (project, revision, covered, measured, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (project, revision) DO UPDATE SET covered = ?3, measured = ?4, at_ms = ?5",
                    params![project, revision, counts.covered.cast_signed(), counts.measured.cast_signed(), at_ms],
                )
                .map(drop)
                .map_err(tasks::failed("record_coverage"))
            })
            .await
    }

    /// What a revision measured.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn measured_coverage(
        &self,
        project: String,
        revision: String,
    ) -> Result<Option<LineCounts>, StoreError> {
        self.readers
            .read("measured_coverage", move |connection| {
                connection
                    .query_row(
                        "SELECT covered, measured FROM coverage_measured WHERE project = ?1 AND revision = ?2",
                        params![project, revision],
                        counts,
                    )
                    .optional()
                    .map_err(|source| StoreError::Read { query: "measured_coverage", source })
            })
            .await
    }

    /// The baseline of a target branch with the revision that set it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn coverage_baseline(
        &self,
        project: String,
        branch: String,
    ) -> Result<Option<(String, LineCounts)>, StoreError> {
        self.readers
            .read("coverage_baseline", move |connection| baseline(connection, &project, &branch))
            .await
    }

    /// Raises the baseline to a merged revision's counts, never lowers it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ratchet_coverage(
        &self,
        proof: &LeaseProof,
        project: String,
        branch: String,
        revision: String,
        counts: LineCounts,
        at_ms: i64,
    ) -> Result<RatchetWrite, StoreError> {
        let (task, fencing) = (proof.task(), proof.fencing());
        self.writer
            .write("ratchet_coverage", move |tx| {
                if let Some(fencing) = fencing
                    && !leases::is_current(tx, task, fencing)?
                {
                    return Ok(RatchetWrite::Fenced);
                }
                if let Some((_, present)) = baseline(tx, &project, &branch)?
                    && !counts.exceeds(present)
                {
                    return Ok(RatchetWrite::Kept);
                }
                tx.execute_cached(
                    "INSERT INTO coverage_baseline (project, branch, revision, covered, measured, at_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (project, branch) DO UPDATE SET revision = ?3, covered = ?4, measured = ?5, at_ms = ?6",
                    params![project, branch, revision, counts.covered.cast_signed(), counts.measured.cast_signed(), at_ms],
                )
                .map_err(tasks::failed("ratchet_coverage"))?;
                Ok(RatchetWrite::Raised)
            })
            .await
    }
}

fn baseline(
    connection: &Connection,
    project: &str,
    branch: &str,
) -> Result<Option<(String, LineCounts)>, StoreError> {
    connection
        .query_row(
            "SELECT covered, measured, revision FROM coverage_baseline WHERE project = ?1 AND branch = ?2",
            params![project, branch],
            |row| Ok((row.get(2)?, counts(row)?)),
        )
        .optional()
        .map_err(|source| StoreError::Read { query: "coverage_baseline", source })
}

fn counts(row: &rusqlite::Row<'_>) -> rusqlite::Result<LineCounts> {
    Ok(LineCounts {
        covered: row.get::<_, i64>(0)?.cast_unsigned(),
        measured: row.get::<_, i64>(1)?.cast_unsigned(),
    })
}

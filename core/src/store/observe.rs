//! One consistent picture of the open work, for the observation document and the metrics.
//!
//! Cost is O(open work): finished tasks are seen only through their counts.

use rusqlite::params;

use super::{HeldLease, JobRow, RunRow, Store, StoreError, TaskRow, jobs, leases, runs, tasks};

/// Open tasks and queued jobs listed at most.
const ROWS_MAX: u32 = 10_000;

pub(super) const SELECT_COUNTS: &str = "SELECT stage, standing, tasks FROM stage_count WHERE tasks > 0";
pub(super) const COUNT_ENDED_SINCE: &str = "SELECT count(*) FROM run WHERE ended_at_ms >= ?1";

/// What one read transaction saw.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Stage, standing, number of tasks.
    pub counts: Vec<(String, String, u64)>,
    /// Tasks that are not terminal.
    pub open_tasks: Vec<TaskRow>,
    /// Jobs that wait.
    pub queued: Vec<JobRow>,
    /// Jobs that run.
    pub running: Vec<JobRow>,
    /// Runs without a recorded end, and those ended since the given time, newest first.
    pub runs: Vec<RunRow>,
    /// Ended runs beyond the listed ones.
    pub runs_omitted: u64,
    /// Leases held.
    pub leases: Vec<HeldLease>,
    /// Keys of the tasks that runs name, open or not.
    pub keys: std::collections::HashMap<i64, String>,
}

impl Store {
    /// Takes the picture. Runs that ended at or after `ended_since_ms` are listed, at most
    /// `runs_max` with the live ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn snapshot(&self, ended_since_ms: i64, runs_max: usize) -> Result<Snapshot, StoreError> {
        let owners = self.owners.clone();
        let boot = self.identity.boot_id.clone();
        self.readers
            .read("snapshot", move |connection| {
                let read = |source| StoreError::Read { query: "snapshot", source };
                let mut counts = connection.prepare_cached(SELECT_COUNTS).map_err(read)?;
                let counts = counts
                    .query_map([], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned()))
                    })
                    .and_then(Iterator::collect)
                    .map_err(read)?;
                let mut listed = runs::open(connection)?;
                let room = u32::try_from(runs_max.saturating_sub(listed.len())).unwrap_or(u32::MAX);
                listed.extend(runs::ended_since(connection, ended_since_ms, room)?);
                let ended: i64 = connection
                    .prepare_cached(COUNT_ENDED_SINCE)
                    .and_then(|mut statement| statement.query_row([ended_since_ms], |row| row.get(0)))
                    .map_err(read)?;
                let shown =
                    i64::try_from(listed.iter().filter(|run| run.ending.is_some()).count()).unwrap_or(0);
                let mut keys = std::collections::HashMap::new();
                let mut key_of =
                    connection.prepare_cached("SELECT work_item FROM task WHERE id = ?1").map_err(read)?;
                for task in listed.iter().filter_map(|run| run.task) {
                    if let std::collections::hash_map::Entry::Vacant(entry) = keys.entry(task.0) {
                        entry.insert(key_of.query_row(params![task.0], |row| row.get(0)).map_err(read)?);
                    }
                }
                Ok(Snapshot {
                    counts,
                    open_tasks: tasks::rows(connection, tasks::SELECT_OPEN, params![ROWS_MAX])?,
                    queued: jobs::queued(connection, ROWS_MAX)?,
                    running: jobs::running(connection)?,
                    runs: listed,
                    runs_omitted: u64::try_from(ended - shown).unwrap_or(0),
                    leases: leases::held(connection, &owners, &boot)?,
                    keys,
                })
            })
            .await
    }
}

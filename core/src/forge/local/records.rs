//! The files of a local forge.
//!
//! Responsible for the JSON of pull requests and statuses and for the lock around their changes.
//! Deliberately not here: whether a record is true (git decides).
//!
//! Invariants: a file is replaced whole or not at all; a write demands the lock's guard; the lock is held for one
//! operation and waited for no longer than [`LOCK_WAIT`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::forge::{CommitStatus, ForgeError, PrNumber};
use crate::git::{Sha, TargetBranch, TaskBranch, read_if_there, write_atomically};

/// How long an operation waits for another one to end.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(20);
const SCHEMA: u32 = 1;
const FILE_MODE: u32 = 0o644;

/// The state that a record tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum RecordState {
    Open,
    Merged { merge_sha: Sha, head_sha: Sha },
    Closed { head_sha: Sha },
}

/// A merge that was about to happen: with its commit known beforehand, git can tell whether it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MergeIntent {
    pub(super) head_sha: Sha,
    pub(super) merge_sha: Sha,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Comment {
    pub(super) body: String,
}

/// One pull request as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PrRecord {
    pub(super) number: PrNumber,
    pub(super) branch: TaskBranch,
    pub(super) base: TargetBranch,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) state: RecordState,
    pub(super) intent: Option<MergeIntent>,
    pub(super) comments: Vec<Comment>,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    schema: u32,
    #[serde(rename = "record")]
    contents: T,
}

/// The folder of records.
#[derive(Debug, Clone)]
pub(super) struct Records {
    dir: PathBuf,
}

/// Proof that this operation alone changes the records; ends when dropped.
#[derive(Debug)]
pub(super) struct RecordsLock {
    _held: File,
}

impl Records {
    /// Makes the folders where they are missing.
    pub(super) fn open(dir: PathBuf) -> Result<Self, ForgeError> {
        for folder in ["prs", "statuses"] {
            let folder = dir.join(folder);
            std::fs::create_dir_all(&folder).map_err(ForgeError::io(&folder))?;
        }
        Ok(Self { dir })
    }

    pub(super) async fn lock(&self) -> Result<RecordsLock, ForgeError> {
        let path = self.dir.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(ForgeError::io(&path))?;
        let wait = async {
            loop {
                match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => return Ok(()),
                    Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                        tokio::time::sleep(LOCK_POLL).await;
                    }
                    Err(errno) => return Err(ForgeError::Io { path: path.clone(), source: errno.into() }),
                }
            }
        };
        match tokio::time::timeout(LOCK_WAIT, wait).await {
            Ok(locked) => locked.map(|()| RecordsLock { _held: file }),
            Err(_elapsed) => Err(ForgeError::Busy { what: path.display().to_string() }),
        }
    }

    pub(super) fn load(&self, number: PrNumber) -> Result<PrRecord, ForgeError> {
        read(&self.pr_path(number))?
            .ok_or_else(|| ForgeError::NotFound { what: format!("pull request {number}") })
    }

    /// All pull requests by number.
    pub(super) fn all(&self) -> Result<Vec<PrRecord>, ForgeError> {
        let mut records: Vec<PrRecord> = Vec::new();
        for number in self.numbers()? {
            records.extend(read(&self.pr_path(number))?);
        }
        Ok(records)
    }

    pub(super) fn next_number(&self) -> Result<PrNumber, ForgeError> {
        Ok(PrNumber(self.numbers()?.last().map_or(1, |last| last.0 + 1)))
    }

    fn numbers(&self) -> Result<Vec<PrNumber>, ForgeError> {
        let folder = self.dir.join("prs");
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(ForgeError::io(&folder))? {
            let name = entry.map_err(ForgeError::io(&folder))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            numbers.extend(number.map(PrNumber));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) async fn save(&self, record: &PrRecord, _lock: &RecordsLock) -> Result<(), ForgeError> {
        write(self.pr_path(record.number), record).await
    }

    pub(super) fn statuses(&self, commit: &Sha) -> Result<Vec<CommitStatus>, ForgeError> {
        Ok(read(&self.status_path(commit))?.unwrap_or_default())
    }

    pub(super) async fn save_statuses(
        &self,
        commit: &Sha,
        statuses: &[CommitStatus],
        _lock: &RecordsLock,
    ) -> Result<(), ForgeError> {
        write(self.status_path(commit), &statuses).await
    }

    pub(super) fn pr_path(&self, number: PrNumber) -> PathBuf {
        self.dir.join("prs").join(format!("{number}.json"))
    }

    fn status_path(&self, commit: &Sha) -> PathBuf {
        self.dir.join("statuses").join(format!("{commit}.json"))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ForgeError> {
    let Some(bytes) = read_if_there(path).map_err(ForgeError::io(path))? else { return Ok(None) };
    let corrupt = |detail: String| ForgeError::Corrupt { path: path.to_owned(), detail };
    // the version first: a newer record may have another shape
    let raw: Versioned<serde_json::Value> =
        serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    if raw.schema != SCHEMA {
        return Err(corrupt(format!("schema {} where {SCHEMA} is known", raw.schema)));
    }
    serde_json::from_value(raw.contents).map(Some).map_err(|error| corrupt(error.to_string()))
}

async fn write<T: Serialize>(path: PathBuf, contents: &T) -> Result<(), ForgeError> {
    let unwritable = |detail: String| ForgeError::Corrupt { path: path.clone(), detail };
    let mut bytes = serde_json::to_vec_pretty(&Versioned { schema: SCHEMA, contents })
        .map_err(|error| unwritable(error.to_string()))?;
    bytes.push(b'\n');
    let target = path.clone();
    // synced to the disk, which may take long
    tokio::task::spawn_blocking(move || write_atomically(&target, &bytes, FILE_MODE))
        .await
        .map_err(|error| unwritable(error.to_string()))?
        .map_err(ForgeError::io(path))
}

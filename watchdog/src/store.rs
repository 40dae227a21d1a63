//! The state file: what must survive a stop.
//!
//! Responsible for one directory (lock, load, save) and one file in it. A save is: temporary file,
//! fsync, rename, fsync of the directory; so a reader sees the old or the new state, never half. A
//! file that cannot be read is set aside under another name and told. It does not know when to save
//! (`keeper`). Invariant: one process a directory, held by a file lock that dies with it.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cases::{AlertState, Notice};
use crate::chat::ChatMemory;
use crate::commands::Way;
use crate::failpoint;
use crate::notify::Channel;
use crate::notify::alertmanager::ledger::Ledger;
use crate::notify::outbox::Outbox;
use crate::notify::text;
use crate::notify::wait::Wait;
use crate::proc::ProcMemory;
use crate::signals::{Memory, Severity, SignalKind};

/// Version of the file's form.
const VERSION: u32 = 1;

/// Told notices remembered for `history`.
pub const HISTORY_KEPT: usize = 500;

/// Commands remembered for `history`.
pub const COMMANDS_KEPT: usize = 200;

/// Largest state file read (64 MiB): a larger one is not ours.
const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

const STATE_FILE: &str = "state.json";
const TEMPORARY_FILE: &str = "state.json.new";
const LOCK_FILE: &str = "lock";
/// Holds the address that HTTP is served at, for whoever configured port 0.
pub const ADDRESS_FILE: &str = "bound-address";

/// Everything that survives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Durable {
    /// Cases.
    pub alerts: AlertState,
    /// Memory of the signals.
    pub memory: Memory,
    /// What no channel has taken.
    pub outbox: Outbox,
    /// What was told, oldest first.
    pub history: VecDeque<HistoryRow>,
    /// A chat that Telegram moved.
    pub moved_chat: Option<MovedChat>,
    /// Which processes belong together.
    pub proc: Option<ProcMemory>,
    /// Which update of the chat comes next.
    #[serde(default)]
    pub chat: ChatMemory,
    /// What Alertmanager was told.
    #[serde(default)]
    pub alertmanager: Ledger,
    /// What people commanded, oldest first.
    #[serde(default)]
    pub commands: VecDeque<CommandRow>,
    /// How long each channel asked to be left alone.
    #[serde(default)]
    pub waits: BTreeMap<Channel, Wait>,
}

/// One command that changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRow {
    /// When, UTC Unix milliseconds.
    pub at_ms: i64,
    /// By which way.
    pub way: Way,
    /// Who.
    pub by: String,
    /// What, in words.
    pub what: String,
}

/// One told notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// When, UTC Unix milliseconds.
    pub at_ms: i64,
    /// Alert, reminder, …
    pub kind: String,
    /// Signal.
    pub signal: SignalKind,
    /// Severity.
    pub severity: Severity,
    /// What it was about.
    pub entity: String,
    /// In half a line.
    pub title: String,
}

/// Telegram gave a chat another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedChat {
    /// As configured.
    pub configured: i64,
    /// As it is now.
    pub now: i64,
}

impl Durable {
    /// Remembers a told notice.
    pub fn remember(&mut self, notice: &Notice) {
        self.history.push_back(HistoryRow {
            at_ms: notice.at_ms,
            kind: notice.kind.name().to_owned(),
            signal: notice.finding.signal,
            severity: notice.finding.severity,
            entity: text::entity(&notice.finding.entity),
            title: text::title(&notice.finding),
        });
        while self.history.len() > HISTORY_KEPT {
            self.history.pop_front();
        }
    }

    /// Remembers a command.
    pub fn remember_command(&mut self, row: CommandRow) {
        self.commands.push_back(row);
        while self.commands.len() > COMMANDS_KEPT {
            self.commands.pop_front();
        }
    }
}

#[derive(Serialize)]
struct FileOut<'a> {
    version: u32,
    saved_at_ms: i64,
    state: &'a Durable,
}

#[derive(Deserialize)]
struct FileIn {
    version: u32,
    state: Durable,
}

/// Why a state directory cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another watchdog uses it.
    #[error("take the state directory {dir}: another watchdog holds it ({holder})")]
    Held {
        /// The directory.
        dir: PathBuf,
        /// What that one wrote into the lock file.
        holder: String,
    },
    /// The file system refused a step.
    #[error("{step} {path}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no such directory.
    #[error("find the state directory {dir}")]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// The state file cannot be read; only a watchdog that starts sets it aside.
    #[error("read the state {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The state could not be put into text.
    #[error("write the state as text")]
    Text(#[source] serde_json::Error),
}

/// A state directory that this process holds.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    // closing it releases the lock
    _lock: File,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    /// The directory, held.
    pub store: Store,
    /// The state, empty when there was none.
    pub state: Durable,
    /// A file that could not be read: where it is now, and why it was set aside.
    pub set_aside: Option<(PathBuf, String)>,
}

impl Store {
    /// Takes the directory, makes it if it is missing, and reads the state.
    ///
    /// # Errors
    /// When another watchdog holds it or the file system refuses.
    pub fn open(dir: &Path, now_ms: i64) -> Result<Opened, StoreError> {
        fs::create_dir_all(dir).map_err(failed("make the state directory", dir))?;
        let lock = take_lock(dir, now_ms)?;
        let store = Self { dir: dir.to_owned(), _lock: lock };
        let path = store.dir.join(STATE_FILE);
        let (state, set_aside) = match read_state(&path) {
            Ok(state) => (state.unwrap_or_default(), None),
            Err(reason) => {
                let aside = store.dir.join(format!("{STATE_FILE}.unreadable-{now_ms}"));
                fs::rename(&path, &aside).map_err(failed("set aside", &path))?;
                (Durable::default(), Some((aside, reason)))
            }
        };
        Ok(Opened { store, state, set_aside })
    }

    /// Takes a directory that is there, to change its state while no watchdog runs: makes no
    /// directory and sets nothing aside.
    ///
    /// # Errors
    /// When there is none, when a watchdog holds it, or when its state cannot be read.
    pub fn open_existing(dir: &Path, now_ms: i64) -> Result<(Self, Durable), StoreError> {
        if !dir.is_dir() {
            return Err(StoreError::Missing { dir: dir.to_owned() });
        }
        let store = Self { dir: dir.to_owned(), _lock: take_lock(dir, now_ms)? };
        let path = dir.join(STATE_FILE);
        match read_state(&path) {
            Ok(state) => Ok((store, state.unwrap_or_default())),
            Err(reason) => Err(StoreError::Unreadable { path, reason }),
        }
    }

    /// Replaces the state file.
    ///
    /// # Errors
    /// When the file system refuses; the old file is then still whole.
    pub fn save(&self, state: &Durable, now_ms: i64) -> Result<(), StoreError> {
        let form = FileOut { version: VERSION, saved_at_ms: now_ms, state };
        let text = serde_json::to_vec(&form).map_err(StoreError::Text)?;
        let temporary = self.dir.join(TEMPORARY_FILE);
        let path = self.dir.join(STATE_FILE);
        let mut file = File::create(&temporary).map_err(failed("create", &temporary))?;
        keep_owner(&file, &self.dir).map_err(failed("give to its owner", &temporary))?;
        let newest = state.outbox.newest_kind().unwrap_or_default();
        failpoint::hit("state.before_write", newest);
        file.write_all(&text).map_err(failed("write", &temporary))?;
        file.sync_all().map_err(failed("sync", &temporary))?;
        failpoint::hit("state.before_rename", newest);
        fs::rename(&temporary, &path).map_err(failed("replace", &path))?;
        failpoint::hit("state.after_rename", newest);
        let dir = File::open(&self.dir).map_err(failed("open", &self.dir))?;
        dir.sync_all().map_err(failed("sync", &self.dir))
    }

    /// Writes down where HTTP is served.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn publish_address(&self, address: &str) -> Result<(), StoreError> {
        let path = self.dir.join(ADDRESS_FILE);
        let temporary = self.dir.join(format!("{ADDRESS_FILE}.new"));
        fs::write(&temporary, format!("{address}\n")).map_err(failed("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(failed("replace", &path))
    }
}

/// Reads the state of a directory that another process may hold, for `history`.
///
/// # Errors
/// In words, when there is a file that cannot be read.
pub fn peek(dir: &Path) -> Result<Option<Durable>, String> {
    read_state(&dir.join(STATE_FILE))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { step, path, source }
}

fn take_lock(dir: &Path, now_ms: i64) -> Result<File, StoreError> {
    let path = dir.join(LOCK_FILE);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut lock = open.map_err(failed("open", &path))?;
    keep_owner(&lock, dir).map_err(failed("give to its owner", &path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            lock.read_to_string(&mut holder).map_err(failed("read", &path))?;
            return Err(StoreError::Held { dir: dir.to_owned(), holder: holder.trim().to_owned() });
        }
        Err(fs::TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
    }
    let holder = format!("pid {} since {}\n", std::process::id(), text::full_time(now_ms));
    let written =
        lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(holder.as_bytes()));
    written.map_err(failed("write", &path))?;
    Ok(lock)
}

/// Root may command a watchdog of another user while it is stopped: what root makes in its directory
/// must stay that user's, else the next start could not read it. Root without the right to give files
/// away goes on: a watchdog that cannot do this must still watch.
fn keep_owner(file: &File, dir: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (wanted, found) = (fs::metadata(dir)?, file.metadata()?);
    match (wanted.uid(), wanted.gid()) == (found.uid(), found.gid()) {
        true => Ok(()),
        false => match std::os::unix::fs::fchown(file, Some(wanted.uid()), Some(wanted.gid())) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            given => given,
        },
    }
}

fn read_state(path: &Path) -> Result<Option<Durable>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot open it: {error}")),
    };
    let mut text = Vec::new();
    file.take(FILE_MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("cannot read it: {error}"))?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(format!("it is larger than {FILE_MAX_BYTES} bytes"));
    }
    let form: FileIn = serde_json::from_slice(&text).map_err(|error| format!("it is no state: {error}"))?;
    match form.version {
        VERSION => Ok(Some(form.state)),
        other => Err(format!("it has version {other}, this program writes {VERSION}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at_ms: i64) -> HistoryRow {
        HistoryRow {
            at_ms,
            kind: "alert".into(),
            signal: SignalKind::CoreDown,
            severity: Severity::Critical,
            entity: "core".into(),
            title: "the core does not answer".into(),
        }
    }

    #[test]
    fn what_was_saved_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let opened = Store::open(dir.path(), 1).unwrap();
        assert_eq!(opened.state, Durable::default());
        let state = Durable { history: [row(5)].into(), ..Durable::default() };
        opened.store.save(&state, 2).unwrap();
        drop(opened);
        assert_eq!(Store::open(dir.path(), 3).unwrap().state, state);
        assert_eq!(peek(dir.path()), Ok(Some(state)));
    }

    /// As the first version wrote it, before there were chats, commands, waits and told causes.
    #[test]
    fn a_state_of_an_earlier_program_is_read_whole() {
        let text = include_str!("store/state-of-first-version.json");
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(STATE_FILE), text).unwrap();
        let opened = Store::open(dir.path(), 7).unwrap();
        assert_eq!(opened.set_aside, None);
        let state = opened.state;
        assert_eq!(state.alerts.told().count(), 1);
        assert_eq!((state.outbox.depth(Channel::Telegram), state.outbox.last_seq()), (1, 2));
        assert_eq!(state.history.len(), 1);
        assert_eq!((state.waits.len(), state.commands.len()), (0, 0));
    }

    #[test]
    fn a_second_watchdog_is_refused_and_told_who_holds() {
        let dir = tempfile::tempdir().unwrap();
        let held = Store::open(dir.path(), 1).unwrap();
        let error = Store::open(dir.path(), 2).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(held);
        Store::open(dir.path(), 3).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside_and_named() {
        for text in ["", "{", r#"{"version":99,"state":{}}"#, "\0\0\0"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(STATE_FILE), text).unwrap();
            let opened = Store::open(dir.path(), 7).unwrap();
            let (aside, reason) = opened.set_aside.unwrap();
            assert_eq!(fs::read_to_string(&aside).unwrap(), text);
            assert!(!reason.is_empty());
            assert_eq!(opened.state, Durable::default());
        }
    }

    #[test]
    fn a_save_that_fails_leaves_the_old_state_whole() {
        let dir = tempfile::tempdir().unwrap();
        let opened = Store::open(dir.path(), 1).unwrap();
        let state = Durable { history: [row(5)].into(), ..Durable::default() };
        opened.store.save(&state, 2).unwrap();
        // a directory in the temporary file's place makes the next save fail, for root too
        fs::create_dir(dir.path().join(TEMPORARY_FILE)).unwrap();
        assert!(opened.store.save(&Durable::default(), 3).is_err());
        assert_eq!(peek(dir.path()), Ok(Some(state)));
    }
}

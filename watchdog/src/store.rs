//! The state file: what must survive a stop.
//!
//! Responsible for one directory (hold, load, save) and one file in it. A save is: temporary file,
//! fsync, rename, fsync of the directory; so a reader sees the old or the new state, never half. A
//! file that holds no state is set aside under another name and told; one that could not be looked
//! at stays where it is, nothing is saved over it, and each save looks again. A directory that
//! cannot be held or written is no reason not to watch: every save tries anew. It does not know when
//! to save (`keeper`). Invariants: one process a directory (`hold`); no save without the hold.

mod file;
mod hold;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::file::{Unread, create_regular, read_state};
use self::hold::{Hold, keep_others_out};
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

/// A state directory that is made here is its owner's alone.
const DIRECTORY_MODE: u32 = 0o700;

const STATE_FILE: &str = "state.json";
const TEMPORARY_FILE: &str = "state.json.new";
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
    /// What a state that was taken up late knew of processes, until the collector knows it, too.
    #[serde(skip)]
    pub returned: Option<ProcMemory>,
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

    /// Takes up a state that was on disk all the time and can only now be read: what is known here is
    /// newer and wins, what is known there alone is not lost.
    pub fn take_up(&mut self, old: Self) {
        self.alerts.take_up(old.alerts);
        self.returned = old.proc;
        self.outbox.take_up(old.outbox);
        self.moved_chat = self.moved_chat.or(old.moved_chat);
        self.chat.take_up(old.chat);
        self.alertmanager.take_up(old.alertmanager);
        let rows = old.history.into_iter().chain(std::mem::take(&mut self.history));
        self.history = newest(rows.collect(), HISTORY_KEPT);
        let rows = old.commands.into_iter().chain(std::mem::take(&mut self.commands));
        self.commands = newest(rows.collect(), COMMANDS_KEPT);
        for (channel, wait) in old.waits {
            self.waits.entry(channel).or_insert(wait);
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

/// Cases whose numbers no button of a state that was lost carries: a state has fewer cases than its time has minutes.
fn numbered_apart(now_ms: i64) -> AlertState {
    AlertState::after(u64::try_from(now_ms / 60_000).unwrap_or(0))
}

fn newest<T>(mut rows: VecDeque<T>, kept: usize) -> VecDeque<T> {
    rows.drain(..rows.len().saturating_sub(kept));
    rows
}

/// Makes a state directory where there is none: its owner's alone, since whoever can open it can keep its lock.
///
/// # Errors
/// As mkdir(2).
pub fn make_directory(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir)
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
    /// Another watchdog uses it, or somebody else has its lock.
    #[error("take the state directory {dir}: its lock is held; {holder}")]
    Held {
        /// The directory.
        dir: PathBuf,
        /// What that one wrote into the lock file.
        holder: String,
    },
    /// Somebody put another directory in the place of the held one.
    #[error(
        "use the state directory {dir}: it is not the one that was taken at the start; restart the watchdog"
    )]
    Replaced {
        /// The directory.
        dir: PathBuf,
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
    /// The state file cannot be read. It is left as it is, and nothing is saved over it.
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

/// A state directory of this process.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    grip: Mutex<Grip>,
    /// Where HTTP is served, until that was written down.
    address: Mutex<Option<String>>,
}

/// What this process has of its directory.
#[derive(Debug)]
struct Grip {
    // closing it releases the directory
    hold: Option<Hold>,
    signed: bool,
    /// Whether what is on disk is known: nothing is saved over what is not.
    known: bool,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    /// The directory.
    pub store: Store,
    /// The state, empty when there was none or it could not be looked at.
    pub state: Durable,
    /// A file that holds no state: where it is now, and why it was set aside.
    pub set_aside: Option<(PathBuf, String)>,
    /// Why nothing can be saved as things are; each save tries again.
    pub faults: Vec<StoreError>,
}

impl Store {
    /// Takes the directory, makes it if it is missing, and reads the state. A directory that cannot
    /// be held and a file that cannot be looked at are faults of what is opened, and no errors.
    ///
    /// # Errors
    /// When another watchdog holds it or when there is no directory and none can be made.
    pub fn open(dir: &Path, now_ms: i64) -> Result<Opened, StoreError> {
        make_directory(dir).map_err(failed("make the state directory", dir))?;
        keep_others_out(dir);
        let mut faults = Vec::new();
        let hold = match Hold::take(dir) {
            Ok(hold) => Some(hold),
            Err(held @ StoreError::Held { .. }) => return Err(held),
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        let held = hold.is_some();
        let store = Self::with(dir, Grip { hold, signed: false, known: true });
        let (mut state, mut set_aside) = (None, None);
        match read_state(&store.path()) {
            Ok(found) => state = Some(found.unwrap_or_default()),
            Err(Unread::NoState(reason)) if held => match store.set_aside(now_ms) {
                Ok(aside) => {
                    state = Some(Durable { alerts: numbered_apart(now_ms), ..Durable::default() });
                    set_aside = Some((aside, reason));
                }
                Err(fault) => faults.push(fault),
            },
            Err(unread) => faults.push(store.unreadable(unread.reason())),
        }
        store.grip().known = state.is_some();
        // numbers that stand apart from those in the file, which may be taken up later
        let state = state.unwrap_or_else(|| {
            let outbox = Outbox::after(u64::try_from(now_ms).unwrap_or(0));
            Durable { outbox, alerts: numbered_apart(now_ms), ..Durable::default() }
        });
        Ok(Opened { store, state, set_aside, faults })
    }

    /// Takes a directory that is there, to change its state while no watchdog runs: makes no
    /// directory and sets nothing aside.
    ///
    /// # Errors
    /// When there is none, when a watchdog holds it, or when its state cannot be read.
    pub fn open_existing(dir: &Path) -> Result<(Self, Durable), StoreError> {
        if !dir.is_dir() {
            return Err(StoreError::Missing { dir: dir.to_owned() });
        }
        let store = Self::with(dir, Grip { hold: Some(Hold::take(dir)?), signed: false, known: true });
        match read_state(&store.path()) {
            Ok(state) => Ok((store, state.unwrap_or_default())),
            Err(unread) => Err(store.unreadable(unread.reason())),
        }
    }

    fn with(dir: &Path, grip: Grip) -> Self {
        Self { dir: dir.to_owned(), grip: Mutex::new(grip), address: Mutex::new(None) }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(STATE_FILE)
    }

    fn grip(&self) -> MutexGuard<'_, Grip> {
        self.grip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreadable(&self, reason: String) -> StoreError {
        StoreError::Unreadable { path: self.path(), reason }
    }

    fn set_aside(&self, now_ms: i64) -> Result<PathBuf, StoreError> {
        let path = self.path();
        let aside = self.dir.join(format!("{STATE_FILE}.unreadable-{now_ms}"));
        fs::rename(&path, &aside).map_err(failed("set aside", &path))?;
        Ok(aside)
    }

    /// Takes the directory if it is not held yet, and checks that the held one is the one at the path.
    fn hold(&self, now_ms: i64) -> Result<(), StoreError> {
        let mut grip = self.grip();
        let Grip { hold, signed, .. } = &mut *grip;
        let hold = match hold {
            Some(hold) => hold,
            None => hold.insert(Hold::take(&self.dir)?),
        };
        hold.check(&self.dir)?;
        match hold.sign(&self.dir, now_ms, !*signed) {
            Ok(()) => *signed = true,
            Err(held @ StoreError::Held { .. }) => return Err(held),
            // the lock on the directory holds; if nothing can be written, the save will say so
            Err(error) => tracing::debug!(error = %error, "could not sign the lock file"),
        }
        Ok(())
    }

    /// Looks again at a file that could not be looked at; its state, when it is there now. To be
    /// called before a save.
    ///
    /// # Errors
    /// When it still cannot be looked at: a save would replace what nobody has seen.
    pub fn recall(&self, now_ms: i64) -> Result<Option<Durable>, StoreError> {
        if self.grip().known {
            return Ok(None);
        }
        self.hold(now_ms)?;
        let found = match read_state(&self.path()) {
            Ok(found) => found,
            Err(Unread::NoState(reason)) => {
                let aside = self.set_aside(now_ms)?;
                tracing::error!(path = %aside.display(), reason, "the state file holds no state; it was set aside");
                None
            }
            Err(unread) => return Err(self.unreadable(unread.reason())),
        };
        self.grip().known = true;
        Ok(found)
    }

    /// Replaces the state file.
    ///
    /// # Errors
    /// When the directory is not held, when the file on disk was never read, or when the file system
    /// refuses; the old file is then still whole.
    pub fn save(&self, state: &Durable, now_ms: i64) -> Result<(), StoreError> {
        self.hold(now_ms)?;
        if !self.grip().known {
            return Err(self.unreadable("it was not read yet".to_owned()));
        }
        self.publish_address();
        let form = FileOut { version: VERSION, saved_at_ms: now_ms, state };
        let text = serde_json::to_vec(&form).map_err(StoreError::Text)?;
        let temporary = self.dir.join(TEMPORARY_FILE);
        let path = self.path();
        let newest = state.outbox.newest_kind().unwrap_or_default();
        failpoint::hit("state.before_create", newest);
        let mut file = create_regular(&temporary).map_err(failed("create", &temporary))?;
        keep_owner(&file, &self.dir).map_err(failed("give to its owner", &temporary))?;
        failpoint::hit("state.before_write", newest);
        file.write_all(&text).map_err(failed("write", &temporary))?;
        file.sync_all().map_err(failed("sync", &temporary))?;
        failpoint::hit("state.before_rename", newest);
        fs::rename(&temporary, &path).map_err(failed("replace", &path))?;
        failpoint::hit("state.after_rename", newest);
        let dir = File::open(&self.dir).map_err(failed("open", &self.dir))?;
        dir.sync_all().map_err(failed("sync", &self.dir))
    }

    /// HTTP is served here: written down with the next save.
    pub fn serve_at(&self, address: &str) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.to_owned());
    }

    fn publish_address(&self) {
        let waiting = self.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(address) = waiting else { return };
        let path = self.dir.join(ADDRESS_FILE);
        let temporary = self.dir.join(format!("{ADDRESS_FILE}.new"));
        let written = create_regular(&temporary)
            .and_then(|mut file| file.write_all(format!("{address}\n").as_bytes()))
            .and_then(|()| fs::rename(&temporary, &path));
        match written {
            Ok(()) => *self.address.lock().unwrap_or_else(PoisonError::into_inner) = None,
            // tried again with the next save, which is what ails then
            Err(error) => {
                tracing::warn!(error = %error, address, "could not write down where HTTP is served");
            }
        }
    }
}

/// Reads the state of a directory that another process may hold, for `history`.
///
/// # Errors
/// In words, when there is a file that cannot be read.
pub fn peek(dir: &Path) -> Result<Option<Durable>, String> {
    read_state(&dir.join(STATE_FILE)).map_err(Unread::reason)
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { step, path, source }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

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
        held.store.save(&Durable::default(), 1).unwrap();
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
            let opened = Store::open(dir.path(), 1_764_000_000_000).unwrap();
            let (aside, reason) = opened.set_aside.unwrap();
            assert_eq!(fs::read_to_string(&aside).unwrap(), text);
            assert!(!reason.is_empty());
            // an old button must not reach a new case
            let alerts = AlertState::after(29_400_000);
            assert_eq!(opened.state, Durable { alerts, ..Durable::default() });
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

    #[test]
    fn a_lock_file_that_somebody_removed_lets_no_second_watchdog_in_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let held = Store::open(dir.path(), 1).unwrap();
        held.store.save(&Durable::default(), 1).unwrap();
        fs::remove_file(dir.path().join("lock")).unwrap();
        assert!(matches!(Store::open(dir.path(), 2), Err(StoreError::Held { .. })));
        held.store.save(&Durable::default(), 3).unwrap();
        let holder = fs::read_to_string(dir.path().join("lock")).unwrap();
        assert!(holder.contains(&format!("pid {}", std::process::id())), "{holder}");
    }

    #[test]
    fn a_watchdog_of_an_earlier_version_holds_too() {
        let dir = tempfile::tempdir().unwrap();
        let lock = File::create(dir.path().join("lock")).unwrap();
        lock.lock().unwrap();
        assert!(matches!(Store::open(dir.path(), 1), Err(StoreError::Held { .. })));
    }

    #[test]
    fn a_directory_in_the_place_of_the_held_one_is_not_written_to() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("state");
        let held = Store::open(&dir, 1).unwrap();
        fs::rename(&dir, place.path().join("elsewhere")).unwrap();
        fs::create_dir(&dir).unwrap();
        assert!(matches!(held.store.save(&Durable::default(), 2), Err(StoreError::Replaced { .. })));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }

    /// Anybody who can open the directory or a file in it can lock it.
    #[test]
    fn nobody_else_can_open_what_is_locked_and_a_lock_of_somebody_else_is_called_that() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("made/here");
        let opened = Store::open(&state, 1).unwrap();
        opened.store.save(&Durable::default(), 2).unwrap();
        let mode = |dir: &Path| fs::metadata(dir).unwrap().mode() & 0o777;
        assert_eq!(mode(&state), 0o700);
        // one that somebody made for it, and one that holds what is not a watchdog's
        let (made, shared) = (dir.path().join("made before"), dir.path().join("shared"));
        for dir in [&made, &shared] {
            fs::create_dir(dir).unwrap();
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(made.join("state.json.unreadable-1"), "").unwrap();
        fs::write(shared.join("notes"), "").unwrap();
        for dir in [&made, &shared] {
            drop(Store::open(dir, 1).unwrap());
        }
        assert_eq!((mode(&made), mode(&shared)), (0o750, 0o755));
        let told = |dir: &Path| Store::open(dir, 3).err().unwrap().to_string();
        assert!(told(&state).contains(&format!("another watchdog runs there: pid {}", std::process::id())));
        drop(opened);
        let somebody = File::open(state.join("lock")).unwrap();
        somebody.try_lock().unwrap();
        fs::write(state.join("lock"), "pid 999999999 since then\n").unwrap();
        let told = told(&state);
        assert!(told.contains("is gone (pid 999999999 since then)") && told.contains("fuser -v"), "{told}");
    }

    #[test]
    fn where_nothing_can_be_written_it_is_opened_and_saves_once_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let in_the_way = ["lock", TEMPORARY_FILE];
        in_the_way.iter().for_each(|name| fs::create_dir(dir.path().join(name)).unwrap());
        let opened = Store::open(dir.path(), 1).unwrap();
        assert!(opened.store.save(&Durable::default(), 2).is_err());
        assert!(matches!(Store::open(dir.path(), 3), Err(StoreError::Held { .. })));
        in_the_way.iter().for_each(|name| fs::remove_dir(dir.path().join(name)).unwrap());
        opened.store.save(&Durable::default(), 4).unwrap();
        assert!(dir.path().join("lock").is_file());
    }

    #[test]
    fn a_state_that_could_not_be_looked_at_stays_and_is_taken_up_once_it_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let (path, hidden) = (dir.path().join(STATE_FILE), dir.path().join("hidden"));
        let opened = Store::open(dir.path(), 1).unwrap();
        let chat: ChatMemory = serde_json::from_str(r#"{"next_update":7,"at_ms":1}"#).unwrap();
        let alert =
            r#"{"key":{"slot":"core_down","entity":"core"},"labels":{"alertname":"a"},"annotations":{},"#;
        let ledger = format!("{{\"rows\":[{alert}\"starts_at_ms\":1,\"ended_at_ms\":2}}]}}");
        let alertmanager: Ledger = serde_json::from_str(&ledger).unwrap();
        let old = Durable {
            history: [row(5)].into(),
            chat,
            alertmanager: alertmanager.clone(),
            ..Durable::default()
        };
        opened.store.save(&old, 2).unwrap();
        drop(opened);
        fs::rename(&path, &hidden).unwrap();
        // what cannot be opened as a file, for root too
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let opened = Store::open(dir.path(), 3).unwrap();
        assert!(matches!(opened.faults[..], [StoreError::Unreadable { .. }]), "{:?}", opened.faults);
        assert_eq!(opened.set_aside, None);
        let mut state = opened.state;
        state.history.push_back(row(6));
        assert!(matches!(opened.store.recall(4), Err(StoreError::Unreadable { .. })));
        assert!(matches!(opened.store.save(&state, 4), Err(StoreError::Unreadable { .. })));
        fs::rename(&hidden, &path).unwrap();
        state.take_up(opened.store.recall(5).unwrap().unwrap());
        assert_eq!(state.history, [row(5), row(6)]);
        assert_eq!((state.chat, &state.alertmanager), (chat, &alertmanager));
        opened.store.save(&state, 5).unwrap();
        assert_eq!(peek(dir.path()), Ok(Some(state)));
    }
}

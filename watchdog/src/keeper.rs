//! The state in memory and the thread that saves it.
//!
//! Responsible for the one copy of [`Durable`] that the tick and the deliveries share, and for
//! saving it without ever blocking them: a thread of its own waits for a request, copies the state
//! and writes it. Requests coalesce: one that waits stands for all later changes. A save that failed
//! is tried again until the disk holds what memory holds. A disk that does not answer holds nothing
//! back for longer than [`DISK_PATIENCE`] (`mind`). Invariant: a notice may leave only when the state
//! that holds it was saved, or when saving it failed or takes too long and that was told
//! (`Saved::outbox_seq`).

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::clock;
use crate::store::{Durable, Store, StoreError};

/// Requests that wait for the writer: one is enough, since it takes the state as it then is.
const REQUESTS_MAX: usize = 1;

/// How long a change waits for the disk before notices leave without it.
pub const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// First wait after a save that failed; doubles.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// Longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Where a state is kept; a call may take as long as the disk takes.
pub trait Disk: Send + 'static {
    /// A state of an earlier life that could not be read until now.
    ///
    /// # Errors
    /// When it still cannot be: nothing may be saved over it.
    fn recall(&self, now_ms: i64) -> Result<Option<Durable>, StoreError>;

    /// Replaces what is kept.
    ///
    /// # Errors
    /// When what was kept before is still all that is kept.
    fn save(&self, state: &Durable, now_ms: i64) -> Result<(), StoreError>;
}

impl Disk for Arc<Store> {
    fn recall(&self, now_ms: i64) -> Result<Option<Durable>, StoreError> {
        Store::recall(self, now_ms)
    }

    fn save(&self, state: &Durable, now_ms: i64) -> Result<(), StoreError> {
        Store::save(self, state, now_ms)
    }
}

/// How far the writer came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// The last change that a save which has ended took along.
    pub generation: u64,
    /// The latest outbox number that may leave.
    pub outbox_seq: u64,
    /// Saves that ended.
    pub attempts: u64,
    /// Saves that failed.
    pub failures: u64,
    /// Saves that took longer than [`DISK_PATIENCE`].
    pub late: u64,
    /// Why the disk does not hold what memory holds; absent while it does, or will in a moment.
    pub fault: Option<Fault>,
}

/// Why the state is not saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Since when, UTC Unix milliseconds.
    pub since_ms: i64,
    /// What failed, in words.
    pub why: String,
    /// Whether a save is under way and does not come to an end.
    pub hangs: bool,
}

impl Saved {
    /// What happened to a state that is not saved; begins when it first was not.
    fn fail(&mut self, why: String, hangs: bool) {
        let since_ms = self.fault.as_ref().map_or_else(clock::wall_ms, |fault| fault.since_ms);
        // told when it changes: a line each try would drown the others
        if self.fault.as_ref().is_none_or(|fault| fault.why != why) {
            tracing::error!(error = why, "could not save the state; delivery goes on from memory");
        }
        self.fault = Some(Fault { since_ms, why, hangs });
    }

    fn hangs(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.hangs)
    }
}

/// The state with its count of changes.
#[derive(Debug)]
struct Kept {
    state: Durable,
    generation: u64,
}

/// Shares the state and saves it.
#[derive(Debug, Clone)]
pub struct Keeper {
    kept: Arc<Mutex<Kept>>,
    requests: SyncSender<()>,
    tell: Arc<watch::Sender<Saved>>,
    changed: Arc<Notify>,
}

/// The writer's thread; ends when the last keeper is dropped.
#[derive(Debug)]
pub struct Writer(JoinHandle<()>);

impl Keeper {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(disk: impl Disk, state: Durable) -> std::io::Result<(Self, Writer)> {
        let saved = Saved { outbox_seq: state.outbox.last_seq(), ..Saved::default() };
        let tell = Arc::new(watch::Sender::new(saved));
        let (requests, wanted) = sync_channel(REQUESTS_MAX);
        let kept = Arc::new(Mutex::new(Kept { state, generation: 0 }));
        let (of_writer, told) = (Arc::clone(&kept), Arc::clone(&tell));
        let thread = std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || write_on_request(&disk, &of_writer, &wanted, &told))?;
        Ok((Self { kept, requests, tell, changed: Arc::default() }, Writer(thread)))
    }

    /// Reads the state.
    pub fn read<R>(&self, look: impl FnOnce(&Durable) -> R) -> R {
        look(&lock(&self.kept).state)
    }

    /// Changes the state; saved soon when `change` says that it matters.
    pub fn change<R>(&self, change: impl FnOnce(&mut Durable) -> (R, Worth)) -> R {
        let mut kept = lock(&self.kept);
        let (result, worth) = change(&mut kept.state);
        match worth {
            Worth::Keeping => return result,
            Worth::Saving => kept.generation += 1,
        }
        let seq = kept.state.outbox.last_seq();
        drop(kept);
        // who waited for this disk once already does not wait again
        self.tell.send_if_modified(|saved| saved.hangs() && saved.release(seq));
        self.changed.notify_one();
        match self.requests.try_send(()) {
            // one that waits will take this change too; a writer that is gone is told by `mind`
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => result,
        }
    }

    /// How far the writer came, and changes of it.
    #[must_use]
    pub fn saved(&self) -> watch::Receiver<Saved> {
        self.tell.subscribe()
    }

    /// Waits until everything so far was saved; false when it was not, within `patience`.
    pub async fn flush(&self, patience: Duration) -> bool {
        let generation = lock(&self.kept).generation;
        let mut saved = self.saved();
        let all = saved.wait_for(|saved| saved.generation >= generation);
        match tokio::time::timeout(patience, all).await {
            Ok(Ok(saved)) => saved.fault.is_none(),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Watches over the writer and never ends: a change that waits for the disk for longer than
    /// `patience` is told, and its notices leave from memory as after a save that failed.
    pub async fn mind(self, patience: Duration) {
        let mut saved = self.saved();
        loop {
            self.changed.notified().await;
            let generation = lock(&self.kept).generation;
            let taken = saved.wait_for(|saved| saved.generation >= generation);
            if tokio::time::timeout(patience, taken).await.is_ok() {
                continue;
            }
            let seq = self.read(|state| state.outbox.last_seq());
            self.tell.send_if_modified(|saved| {
                // it may have ended just now
                if saved.generation >= generation {
                    return false;
                }
                saved.late += u64::from(!saved.hangs());
                saved.fail(format!("a save takes longer than {} s", patience.as_secs()), true);
                saved.release(seq);
                true
            });
        }
    }
}

impl Saved {
    /// Lets notices leave up to this number; whether that is news.
    fn release(&mut self, seq: u64) -> bool {
        let news = seq > self.outbox_seq;
        self.outbox_seq = self.outbox_seq.max(seq);
        news
    }
}

impl Writer {
    /// Waits for the writer's end, after every keeper was dropped. It waits for the disk: not to be
    /// called while a save may hang.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the state writer ended by a panic");
        }
    }
}

/// Whether a change must survive a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// Save it.
    Saving,
    /// Memory is enough; the next save takes it along.
    Keeping,
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    // a panic elsewhere leaves a state that is still a state
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_on_request(
    disk: &impl Disk,
    kept: &Mutex<Kept>,
    wanted: &Receiver<()>,
    tell: &watch::Sender<Saved>,
) {
    let mut retry: Option<Duration> = None;
    loop {
        let woken = match retry {
            None => wanted.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(wait) => wanted.recv_timeout(wait),
        };
        let by_itself = match woken {
            Ok(()) => false,
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        retry = match (write(disk, kept, tell), retry) {
            (Ended::Saved, _) => None,
            (Ended::Failed, None) => Some(RETRY_FIRST),
            (Ended::Failed, Some(wait)) if by_itself => Some((wait * 2).min(RETRY_MAX)),
            (Ended::Failed, Some(wait)) => Some(wait),
        };
    }
}

/// How a save ended.
enum Ended {
    Saved,
    Failed,
}

fn write(disk: &impl Disk, kept: &Mutex<Kept>, tell: &watch::Sender<Saved>) -> Ended {
    let now_ms = clock::wall_ms();
    let recalled = disk.recall(now_ms);
    let (result, generation, outbox_seq) = match recalled {
        Err(error) => {
            let kept = lock(kept);
            (Err(error), kept.generation, kept.state.outbox.last_seq())
        }
        Ok(old) => {
            let (state, generation) = {
                let mut kept = lock(kept);
                if let Some(old) = old {
                    tracing::info!("the state on disk can be read again; it was taken up");
                    kept.state.take_up(old);
                }
                (kept.state.clone(), kept.generation)
            };
            (disk.save(&state, now_ms), generation, state.outbox.last_seq())
        }
    };
    let error = result.err().map(|error| {
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        format!("{error}{cause}")
    });
    let ended = if error.is_some() { Ended::Failed } else { Ended::Saved };
    tell.send_modify(|saved| {
        saved.generation = generation;
        saved.release(outbox_seq);
        saved.attempts += 1;
        saved.failures += u64::from(error.is_some());
        match error {
            Some(why) => saved.fail(why, false),
            None => {
                if saved.fault.take().is_some() {
                    tracing::info!("the state is saved again");
                }
            }
        }
    });
    ended
}

#[cfg(test)]
mod tests;

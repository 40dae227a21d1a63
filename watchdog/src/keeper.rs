//! The state in memory and the thread that saves it.
//!
//! Responsible for the one copy of [`Durable`] that the tick and the deliveries share, and for
//! saving it without ever blocking them: a thread of its own waits for a request, copies the state
//! and writes it. Requests coalesce: one that waits stands for all later changes. Invariant: a
//! notice may leave only when the state that holds it was saved, or when saving it failed and that
//! was told (`Saved::outbox_seq`).

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock;
use crate::store::{Durable, Store};

/// Requests that wait for the writer: one is enough, since it takes the state as it then is.
const REQUESTS_MAX: usize = 1;

/// How far the writer came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// The last change it has seen.
    pub generation: u64,
    /// The latest outbox number it has seen.
    pub outbox_seq: u64,
    /// Saves tried.
    pub attempts: u64,
    /// Saves that failed.
    pub failures: u64,
    /// Why the last one failed; absent when it did not.
    pub error: Option<String>,
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
    saved: watch::Receiver<Saved>,
}

/// The writer's thread; ends when the last keeper is dropped.
#[derive(Debug)]
pub struct Writer(JoinHandle<()>);

impl Keeper {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(store: Arc<Store>, state: Durable) -> std::io::Result<(Self, Writer)> {
        let saved = Saved { outbox_seq: state.outbox.last_seq(), ..Saved::default() };
        let (tell, saved) = watch::channel(saved);
        let (requests, wanted) = sync_channel(REQUESTS_MAX);
        let kept = Arc::new(Mutex::new(Kept { state, generation: 0 }));
        let of_writer = Arc::clone(&kept);
        let thread = std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || write_on_request(&store, &of_writer, &wanted, &tell))?;
        Ok((Self { kept, requests, saved }, Writer(thread)))
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
        drop(kept);
        match self.requests.try_send(()) {
            // one that waits will take this change too; a writer that is gone is told by `flush`
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => result,
        }
    }

    /// How far the writer came, and changes of it.
    #[must_use]
    pub fn saved(&self) -> watch::Receiver<Saved> {
        self.saved.clone()
    }

    /// Waits until everything so far was saved; false when it was not, within `patience`.
    pub async fn flush(&self, patience: Duration) -> bool {
        let generation = lock(&self.kept).generation;
        let mut saved = self.saved.clone();
        let all = saved.wait_for(|saved| saved.generation >= generation);
        match tokio::time::timeout(patience, all).await {
            Ok(Ok(saved)) => saved.error.is_none(),
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

impl Writer {
    /// Waits for the writer's end, after every keeper was dropped.
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

fn write_on_request(store: &Store, kept: &Mutex<Kept>, wanted: &Receiver<()>, tell: &watch::Sender<Saved>) {
    while wanted.recv().is_ok() {
        let (state, generation) = {
            let kept = lock(kept);
            (kept.state.clone(), kept.generation)
        };
        let error = store.save(&state, clock::wall_ms()).err().map(|error| {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            format!("{error}{cause}")
        });
        if let Some(error) = &error {
            tracing::error!(error, "could not save the state; delivery goes on from memory");
        }
        tell.send_modify(|saved| {
            saved.generation = generation;
            saved.outbox_seq = state.outbox.last_seq();
            saved.attempts += 1;
            saved.failures += u64::from(error.is_some());
            saved.error = error;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_change_worth_saving_is_on_disk_after_a_flush() {
        let dir = tempfile::tempdir().unwrap();
        let opened = Store::open(dir.path(), 0).unwrap();
        let (keeper, writer) = Keeper::start(Arc::new(opened.store), opened.state).unwrap();
        let moved = store::MovedChat { configured: 1, now: 2 };
        keeper.change(|state| {
            state.moved_chat = Some(moved);
            ((), Worth::Saving)
        });
        assert!(keeper.flush(PATIENCE).await);
        assert_eq!(store::peek(dir.path()).unwrap().unwrap().moved_chat, Some(moved));
        drop(keeper);
        writer.join();
    }

    #[tokio::test]
    async fn a_save_that_fails_is_told_and_does_not_hold_delivery_back() {
        let dir = tempfile::tempdir().unwrap();
        let opened = Store::open(dir.path(), 0).unwrap();
        std::fs::create_dir(dir.path().join("state.json.new")).unwrap();
        let (keeper, _writer) = Keeper::start(Arc::new(opened.store), opened.state).unwrap();
        let mut saved = keeper.saved();
        keeper.change(|_| ((), Worth::Saving));
        let seen = tokio::time::timeout(PATIENCE, saved.wait_for(|saved| saved.generation == 1)).await;
        let seen = seen.unwrap().unwrap().clone();
        assert_eq!((seen.attempts, seen.failures), (1, 1));
        assert!(seen.error.unwrap().contains("state.json.new"));
    }
}

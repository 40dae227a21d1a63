//! The writer thread: commands over a bounded channel, one transaction each.
//!
//! A commit whose outcome is unknown (a failed fsync may leave the rows in the file) is reported
//! as unknown, never as failed: the thread reopens the file first, so that whoever asked decides
//! anew from what is there.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::{StoreError, inline::Here, migrate};

/// Commands that may wait; a caller waits when it is full.
const QUEUE_COMMANDS: usize = 256;

/// How long SQLite waits for a lock that a backup or a reader's checkpoint holds.
const BUSY_TIMEOUT_MS: u64 = 5_000;

/// The log is cut back to this size after a checkpoint.
const JOURNAL_SIZE_LIMIT_BYTES: i64 = 16 * 1024 * 1024;

/// Statements that a connection keeps compiled: more than the store has.
const STATEMENTS_KEPT: usize = 128;

/// How often the thread looks for the next command, giving its core away each time, before it sleeps: some tens
/// of microseconds on an idle core.
const LOOKS_BEFORE_SLEEP: u32 = 100;

/// A write whose statement is compiled once a connection, and not once a call.
pub(super) trait Cached {
    /// As `execute`.
    ///
    /// # Errors
    /// [`rusqlite::Error`].
    fn execute_cached(&self, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<usize>;
}

impl Cached for Connection {
    fn execute_cached(&self, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(parameters)
    }
}

type Job = Box<dyn FnOnce(&mut Option<Connection>, &Path) + Send>;

pub(super) enum Message {
    Work(Job),
    Close(oneshot::Sender<()>),
}

/// Handle on the writer.
#[derive(Debug, Clone)]
pub(super) enum Writer {
    /// The thread's inbox.
    Thread(SyncSender<Message>),
    /// No thread: a simulation's.
    Here(Here),
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Work(_) => "Work",
            Self::Close(_) => "Close",
        })
    }
}

impl Writer {
    /// Opens the file in the caller's thread, so that its errors reach the caller.
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let mut connection = open(path)?;
        migrate::migrate(&mut connection, path)?;
        let (queue, inbox) = sync_channel(QUEUE_COMMANDS);
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || work(connection, &path, &inbox))
            .map_err(|error| StoreError::Damaged { table: "writer thread", what: error.to_string() })?;
        Ok(Self::Thread(queue))
    }

    /// Runs `command` in one transaction. An `Err` of the command rolls back.
    pub(super) async fn write<T, F>(&self, name: &'static str, command: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let queue = match self {
            Self::Thread(queue) => queue,
            Self::Here(here) => return here.write(name, command).await,
        };
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection, path| {
            let result = transact(connection, path, name, command);
            if let Err(error @ (StoreError::Unknown { .. } | StoreError::Write { .. })) = &result {
                let advice = error.advice().unwrap_or("look at the disk and the file of ORCH_DB_PATH");
                tracing::error!(command = name, error = %crate::chain::chain(error), advice, "store write failed");
            }
            // a caller that went away has no use for the answer; the write stands
            answer.send(result).ok();
        });
        send(queue, Message::Work(job)).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn close(&self) {
        let Self::Thread(queue) = self else { return };
        let (done, ended) = oneshot::channel();
        if send(queue, Message::Close(done)).await.is_ok() {
            ended.await.ok();
        }
    }
}

async fn send(queue: &SyncSender<Message>, message: Message) -> Result<(), StoreError> {
    match queue.try_send(message) {
        Ok(()) => Ok(()),
        Err(std::sync::mpsc::TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        Err(std::sync::mpsc::TrySendError::Full(message)) => {
            let queue = queue.clone();
            tokio::task::spawn_blocking(move || queue.send(message))
                .await
                .map_err(|_| StoreError::Closed)?
                .map_err(|_| StoreError::Closed)
        }
    }
}

/// The next message. Whoever writes mostly writes again, and to wake a thread that sleeps in between costs more
/// than to look.
fn next(inbox: &Receiver<Message>) -> Result<Message, RecvError> {
    for _ in 0..LOOKS_BEFORE_SLEEP {
        match inbox.try_recv() {
            Ok(message) => return Ok(message),
            Err(TryRecvError::Empty) => std::thread::yield_now(),
            Err(TryRecvError::Disconnected) => return Err(RecvError),
        }
    }
    inbox.recv()
}

fn work(connection: Connection, path: &Path, inbox: &Receiver<Message>) {
    let mut connection = Some(connection);
    while let Ok(message) = next(inbox) {
        match message {
            Message::Work(job) => {
                // a panic is one command's: its caller gets no answer, and the file is opened anew,
                // so that nobody else builds on a half-done transaction
                let done = catch_unwind(AssertUnwindSafe(|| job(&mut connection, path)));
                if done.is_err() {
                    tracing::error!("a store command panicked");
                    connection = None;
                }
            }
            Message::Close(done) => {
                if let Some(connection) = connection.take() {
                    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
                        tracing::warn!(%error, "the log was not written back; the next start does it");
                    }
                    drop(connection);
                }
                done.send(()).ok();
                return;
            }
        }
    }
}

fn transact<T>(
    slot: &mut Option<Connection>,
    path: &Path,
    name: &'static str,
    command: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if slot.is_none() {
        *slot = Some(open(path)?);
    }
    let Some(connection) = slot.as_mut() else { return Err(StoreError::Closed) };
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|source| StoreError::Write { command: name, source })?;
    let result = command(&transaction);
    // a statement error can end the transaction behind our back (full disk, I/O error)
    let ended_early = transaction.is_autocommit();
    match result {
        Ok(_) if ended_early => {
            drop(transaction);
            *slot = None;
            Err(StoreError::Unknown { command: name, source: rusqlite::Error::ExecuteReturnedResults })
        }
        Ok(value) => match transaction.commit() {
            Ok(()) => Ok(value),
            Err(source) => {
                *slot = None;
                Err(StoreError::Unknown { command: name, source })
            }
        },
        Err(error) => {
            drop(transaction);
            if !ended_early {
                return Err(error);
            }
            *slot = None;
            Err(match error {
                StoreError::Write { source, .. } | StoreError::Read { source, .. } => {
                    StoreError::Unknown { command: name, source }
                }
                other => other,
            })
        }
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let fail = |source| StoreError::Open { path: PathBuf::from(path), source };
    let connection = Connection::open(path).map_err(fail)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS)).map_err(fail)?;
    // the journal's mode is written into the file: only into one that is ours
    migrate::recognise(&connection, path)?;
    let set = |name: &str, value: &dyn rusqlite::ToSql| connection.pragma_update(None, name, value);
    set("journal_mode", &"WAL").map_err(fail)?;
    // an outside effect follows a commit: the commit must be on the disk by then
    set("synchronous", &"FULL").map_err(fail)?;
    set("foreign_keys", &true).map_err(fail)?;
    set("journal_size_limit", &JOURNAL_SIZE_LIMIT_BYTES).map_err(fail)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

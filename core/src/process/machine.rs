//! The machine on which runs live, as a port: prepare, find again, sweep, ask, read a tail.
//!
//! [`Host`] is this machine; it adds nothing to the functions of this room. A simulation has a model
//! of its own. Deliberately not here: the order of a start, and what any end means.

use std::{
    fmt::Debug,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
};

use proc_identity::ProcessId;

use super::{
    Adopted, Cookie, LaunchError, Prepared, RunEnd, RunSpec, Running, StopSent, SweepRecord, adopt, prepare,
    run_dir::{RunDir, Stream},
    short::{self, ShortCommand, ShortError, ShortOutput},
    sweep,
    tail::read_from,
};

/// A call that may wait.
pub type MachineFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where runs live.
pub trait Machine: Debug + Send + Sync {
    /// As [`prepare`].
    fn prepare<'a>(
        &'a self,
        spec: &'a RunSpec,
        dir: &'a Path,
    ) -> MachineFuture<'a, Result<Box<dyn ReadyRun>, LaunchError>>;

    /// As [`adopt`].
    ///
    /// # Errors
    /// [`LaunchError`]: could not look.
    fn adopt(&self, dir: &Path) -> Result<Adopted<Box<dyn LiveRun>>, LaunchError>;

    /// As [`sweep`].
    fn sweep(&self, cookie: Cookie) -> MachineFuture<'_, SweepRecord>;

    /// As [`short::run`].
    fn ask(&self, command: ShortCommand) -> MachineFuture<'_, Result<ShortOutput, ShortError>>;

    /// As [`read_from`].
    fn read<'a>(
        &'a self,
        dir: &'a Path,
        stream: Stream,
        from: u64,
        bytes: u64,
    ) -> MachineFuture<'a, std::io::Result<Vec<u8>>>;

    /// The last bytes of a file as text; empty where there is none.
    fn tail(&self, path: PathBuf, bytes: u64) -> MachineFuture<'_, String>;
}

/// A run before its go byte; dropped without it, nothing is started.
pub trait ReadyRun: Debug + Send {
    /// The supervisor, for the record of the run.
    fn supervisor(&self) -> ProcessId;

    /// Starts the program.
    fn go(self: Box<Self>) -> MachineFuture<'static, Result<Box<dyn LiveRun>, LaunchError>>;
}

/// A run that goes on; dropping the handle leaves it alone.
pub trait LiveRun: Debug + Send + Sync {
    /// Waits for its end. May be dropped and called again.
    fn wait(&mut self) -> MachineFuture<'_, Result<RunEnd, LaunchError>>;

    /// Asks its supervisor to end it.
    ///
    /// # Errors
    /// [`LaunchError::Stop`] when it lives and cannot be told.
    fn stop(&self) -> Result<StopSent, LaunchError>;
}

/// This machine.
#[derive(Debug)]
pub struct Host {
    /// The binary that understands `supervise`.
    pub self_exe: PathBuf,
}

impl Machine for Host {
    fn prepare<'a>(
        &'a self,
        spec: &'a RunSpec,
        dir: &'a Path,
    ) -> MachineFuture<'a, Result<Box<dyn ReadyRun>, LaunchError>> {
        Box::pin(async move {
            let prepared = prepare(spec, dir, &self.self_exe).await?;
            Ok(Box::new(prepared) as Box<dyn ReadyRun>)
        })
    }

    fn adopt(&self, dir: &Path) -> Result<Adopted<Box<dyn LiveRun>>, LaunchError> {
        Ok(match adopt(dir)? {
            Adopted::Live(running) => Adopted::Live(Box::new(running)),
            Adopted::Ended(record) => Adopted::Ended(record),
            Adopted::Lost { cookie } => Adopted::Lost { cookie },
            Adopted::NeverPrepared => Adopted::NeverPrepared,
        })
    }

    fn sweep(&self, cookie: Cookie) -> MachineFuture<'_, SweepRecord> {
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || sweep(cookie)).await {
                Ok(record) => record,
                Err(error) => {
                    SweepRecord { could_not_look: Some(error.to_string()), ..SweepRecord::default() }
                }
            }
        })
    }

    fn ask(&self, command: ShortCommand) -> MachineFuture<'_, Result<ShortOutput, ShortError>> {
        Box::pin(short::run(command))
    }

    fn read<'a>(
        &'a self,
        dir: &'a Path,
        stream: Stream,
        from: u64,
        bytes: u64,
    ) -> MachineFuture<'a, std::io::Result<Vec<u8>>> {
        let dir = RunDir::at(dir);
        Box::pin(async move {
            let dir = dir.map_err(std::io::Error::other)?;
            let read = move || read_from(&dir, stream, from, bytes);
            tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
        })
    }

    fn tail(&self, path: PathBuf, bytes: u64) -> MachineFuture<'_, String> {
        Box::pin(async move {
            tokio::task::spawn_blocking(move || read_tail(&path, bytes)).await.unwrap_or_default()
        })
    }
}

impl ReadyRun for Prepared {
    fn supervisor(&self) -> ProcessId {
        Self::supervisor(self)
    }

    fn go(self: Box<Self>) -> MachineFuture<'static, Result<Box<dyn LiveRun>, LaunchError>> {
        Box::pin(async move { Ok(Box::new(Self::go(*self).await?) as Box<dyn LiveRun>) })
    }
}

impl LiveRun for Running {
    fn wait(&mut self) -> MachineFuture<'_, Result<RunEnd, LaunchError>> {
        Box::pin(Self::wait(self))
    }

    fn stop(&self) -> Result<StopSent, LaunchError> {
        Self::stop(self)
    }
}

fn read_tail(path: &Path, bytes: u64) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let Ok(mut file) = std::fs::File::open(path) else { return String::new() };
    let length = file.metadata().map_or(0, |data| data.len());
    if file.seek(SeekFrom::Start(length.saturating_sub(bytes))).is_err() {
        return String::new();
    }
    let mut content = Vec::new();
    match file.take(bytes).read_to_end(&mut content) {
        Ok(_) => String::from_utf8_lossy(&content).into_owned(),
        Err(_) => String::new(),
    }
}

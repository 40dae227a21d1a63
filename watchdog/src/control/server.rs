//! The watchdog's end of the socket.
//!
//! Responsible for the socket's file (mode 0600, replaced atomically, removed at the end) and for one
//! bounded exchange a connection. A peer that is slow, silent or noisy costs one of a few places for
//! a few seconds and delays no tick.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::path::{Address, SOCKET_FILE};
use super::{Ending, REQUEST_MAX_BYTES, Request, Response};
use crate::clock;
use crate::commands::desk::{Answer, Desk};
use crate::commands::{Person, Reply, Way, in_english};
use crate::notify::Channel;
use crate::notify::retry::Wakes;

/// Exchanges at once; whoever comes beyond it waits.
const EXCHANGES_MAX: usize = 4;

/// Longest time for a request to arrive whole, and for its answer to be taken.
const PEER_PATIENCE: Duration = Duration::from_secs(2);

/// Wait after the kernel refused a connection (no descriptors, no memory).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Only its owner opens the socket.
const SOCKET_MODE: u32 = 0o600;

/// Why there is no socket.
#[derive(Debug, Error)]
#[error("{step} {path}")]
pub struct ControlError {
    step: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A socket that listens; its file goes when this is dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens in a state directory that this process holds: what an earlier life left is replaced.
    ///
    /// # Errors
    /// When the file system has no sockets or refuses.
    pub fn bind(dir: &Path) -> Result<Self, ControlError> {
        let path = dir.join(SOCKET_FILE);
        let temporary_name = format!("{SOCKET_FILE}.new");
        let temporary = dir.join(&temporary_name);
        let failed = |step, path: &Path| {
            let path = path.to_owned();
            move |source| ControlError { step, path, source }
        };
        match fs::remove_file(&temporary) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove", &temporary)(error)),
        }
        let address = Address::of(dir, &temporary_name).map_err(failed("open", dir))?;
        let listener = UnixListener::bind(address.name()).map_err(failed("listen at", &temporary))?;
        // nobody finds it under its name before its mode is right
        let mode = Permissions::from_mode(SOCKET_MODE);
        fs::set_permissions(&temporary, mode).map_err(failed("protect", &temporary))?;
        fs::rename(&temporary, &path).map_err(failed("name", &path))?;
        Ok(Self { listener, path })
    }

    /// Answers until it is told to stop.
    pub async fn serve(self, desk: Desk, wakes: Wakes, stop: CancellationToken) {
        let mut exchanges = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = exchanges.join_next() => continue,
                accepted = self.listener.accept(), if exchanges.len() < EXCHANGES_MAX => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    exchanges.spawn(exchange(stream, desk.clone(), wakes.clone()));
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a command's connection was refused");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // a name that is left behind is replaced by the next life
        fs::remove_file(&self.path).ok();
    }
}

/// One request and its answer. A peer that does not keep to the form gets none.
async fn exchange(mut stream: UnixStream, desk: Desk, wakes: Wakes) {
    let Ok(peer) = stream.peer_cred() else { return };
    let uid = peer.uid();
    let response = match may_command(uid, rustix::process::geteuid().as_raw()) {
        true => {
            let read = tokio::time::timeout(PEER_PATIENCE, read_line(&mut stream)).await;
            let Ok(Ok(line)) = read else { return };
            answer(&line, &desk, &wakes, &Person::new(Way::CommandLine, &format!("uid {uid}"))).await
        }
        false => {
            desk.forbidden(Way::CommandLine);
            tracing::warn!(uid, "a command of another user was refused");
            let text = format!("uid {uid} may not command this watchdog: only its own user and root may");
            Response { ending: Ending::Forbidden, text }
        }
    };
    let Ok(mut line) = serde_json::to_vec(&response) else { return };
    line.push(b'\n');
    let write = async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    };
    if !matches!(tokio::time::timeout(PEER_PATIENCE, write).await, Ok(Ok(()))) {
        tracing::debug!("the answer to a command was not taken");
    }
}

/// The same user, or root, who may do worse anyway.
pub(super) fn may_command(peer_uid: u32, own_uid: u32) -> bool {
    peer_uid == own_uid || peer_uid == 0
}

fn wake(wakes: &Wakes, channel: Channel) -> Response {
    let name = channel.name();
    match wakes.wake(channel) {
        true => Response { ending: Ending::Done, text: format!("{name} tries again") },
        false => {
            let text = format!("the running watchdog has no channel {name}: its settings are others");
            Response { ending: Ending::Refused, text }
        }
    }
}

async fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream.take(REQUEST_MAX_BYTES as u64)).read_until(b'\n', &mut line).await?;
    Ok(line)
}

async fn answer(line: &[u8], desk: &Desk, wakes: &Wakes, person: &Person) -> Response {
    let malformed = |text: String| Response { ending: Ending::Malformed, text };
    if line.last() != Some(&b'\n') {
        desk.malformed(person.way());
        return malformed(format!("a request is one line of at most {REQUEST_MAX_BYTES} bytes"));
    }
    let words = match serde_json::from_slice(line) {
        Ok(Request::Command(words)) => words,
        Ok(Request::TookTestAlert(channel)) => return wake(wakes, channel),
        Err(error) => {
            desk.malformed(person.way());
            return malformed(format!("no request of this version: {error}"));
        }
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match desk.take(&words, clock::wall_ms(), person).await {
        Answer::Replied(reply) => {
            let ending = match &reply {
                Reply::Refused(_) => Ending::Refused,
                Reply::Muted { .. } | Reply::Unmuted { .. } | Reply::Acknowledged(_) | Reply::Status(_) => {
                    Ending::Done
                }
            };
            Response { ending, text: in_english(&reply) }
        }
        Answer::Unsaved(reply) => {
            let text = format!("{}; the state could not be saved: a restart forgets it", in_english(&reply));
            Response { ending: Ending::Unsaved, text }
        }
        Answer::Malformed(why) => malformed(why.to_string()),
    }
}

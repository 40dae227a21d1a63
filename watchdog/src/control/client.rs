//! The command line's end of the socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::path::{Address, SOCKET_FILE};
use super::{RESPONSE_MAX_BYTES, Request, Response};

/// Longest wait for an answer: longer than the watchdog waits for its disk.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// Why a running watchdog gave no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// The socket is somebody else's.
    #[error("open {path}: it belongs to another user")]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// No connection, or one that broke.
    #[error("ask the watchdog at {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It takes too long.
    #[error("ask the watchdog at {path}: no answer in {} s", ANSWER_PATIENCE.as_secs())]
    Slow {
        /// The socket.
        path: PathBuf,
    },
    /// Not an answer.
    #[error("understand the answer of {path}")]
    Answer {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

/// Asks the watchdog of a state directory; nothing when none listens there.
///
/// # Errors
/// When one listens and gives no answer.
pub async fn ask(dir: &Path, request: &Request) -> Result<Option<Response>, AskError> {
    let path = dir.join(SOCKET_FILE);
    let failed = |source| AskError::Io { path: path.clone(), source };
    let address = match Address::of(dir, SOCKET_FILE) {
        Ok(address) => address,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(AskError::Denied { path });
        }
        Err(error) => return Err(failed(error)),
    };
    let exchange = async {
        let mut stream = match UnixStream::connect(address.name()).await {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    // no socket, or one that its watchdog left behind
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                    io::ErrorKind::PermissionDenied => Err(AskError::Denied { path: path.clone() }),
                    _ => Err(failed(error)),
                };
            }
        };
        let mut line =
            serde_json::to_vec(request).map_err(|source| AskError::Answer { path: path.clone(), source })?;
        line.push(b'\n');
        // a watchdog that turns us away answers and closes without having read
        let written = stream.write_all(&line).await;
        let mut answer = Vec::new();
        // up to the line break: what follows is a close, which may be a rude one
        let mut bounded = BufReader::new(stream.take(RESPONSE_MAX_BYTES as u64));
        bounded.read_until(b'\n', &mut answer).await.map_err(failed)?;
        if answer.is_empty() {
            written.map_err(failed)?;
        }
        let response = serde_json::from_slice(&answer)
            .map_err(|source| AskError::Answer { path: path.clone(), source })?;
        Ok(Some(response))
    };
    match tokio::time::timeout(ANSWER_PATIENCE, exchange).await {
        Ok(answered) => answered,
        Err(_) => Err(AskError::Slow { path: path.clone() }),
    }
}

//! Listening, and an end that is bounded.
//!
//! Keeps the file `bound-address` in the data directory true: written after the bind, removed at a
//! clean end. After a crash it names an address where nobody answers, which its readers expect.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::git::write_atomically;

/// Name of the file that says where this core listens.
pub const BOUND_ADDRESS_FILE: &str = "bound-address";

/// Open requests may go on for this long once the core is told to end.
const DRAIN: Duration = Duration::from_secs(5);

const ADDRESS_FILE_MODE: u32 = 0o644;

/// Why the API ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener cannot be asked for its address.
    #[error("ask the listener for its address")]
    Address(#[source] std::io::Error),
    /// The address cannot be told.
    #[error("write {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Serving failed.
    #[error("serve HTTP")]
    Serve(#[source] std::io::Error),
}

/// Serves until `shutdown`, then lets open requests end within five seconds.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    data_dir: &Path,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    let path = data_dir.join(BOUND_ADDRESS_FILE);
    write_atomically(&path, format!("{address}\n").as_bytes(), ADDRESS_FILE_MODE)
        .map_err(|source| ServeError::File { path: path.clone(), source })?;
    tracing::info!(%address, "listening");
    let told = shutdown.clone();
    let serving = axum::serve(listener, router)
        .with_graceful_shutdown(async move { told.cancelled().await })
        .into_future();
    let result = tokio::select! {
        result = serving => result.map_err(ServeError::Serve),
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("requests were still open and were cut off");
            Ok(())
        }
    };
    forget(&path, address);
    result
}

/// Removes the file, unless it is another's by now.
fn forget(path: &Path, address: SocketAddr) {
    let ours = std::fs::read_to_string(path).is_ok_and(|text| text.trim() == address.to_string());
    if ours
        && let Err(error) = std::fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "the address file could not be removed");
    }
}

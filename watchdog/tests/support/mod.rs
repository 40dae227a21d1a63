//! Waiting for what happens.

use std::time::Duration;

/// Longest wait for anything, generous since machines are slow; never an assertion.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer; after the patience says what was awaited.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

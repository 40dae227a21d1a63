//! Waiting on conditions with a patience; never a bare sleep that hopes.

use crate::clock;
use anyhow::{Result, bail};
use std::future::Future;
use std::time::Duration;

/// How often a condition is asked, in milliseconds.
const POLL_MS: u64 = 50;

/// Ask `look` until it gives a value.
///
/// # Errors
/// When `patience` is over; the message holds `what` and the last thing that `look` said instead.
pub async fn until<T, F, L>(what: &str, patience: Duration, mut look: L) -> Result<T>
where
    L: FnMut() -> F,
    F: Future<Output = Result<T, String>>,
{
    let deadline = clock::now() + patience;
    loop {
        let instead = match look().await {
            Ok(value) => return Ok(value),
            Err(instead) => instead,
        };
        if clock::now() >= deadline {
            bail!("waited {} s for {what}; last seen: {instead}", patience.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
    }
}

/// Watch that `look` gives no value for a whole `span`.
///
/// # Errors
/// When it does give one; the message holds it.
pub async fn never<F, L>(what: &str, span: Duration, mut look: L) -> Result<()>
where
    L: FnMut() -> F,
    F: Future<Output = Option<String>>,
{
    let deadline = clock::now() + span;
    while clock::now() < deadline {
        if let Some(seen) = look().await {
            bail!("{what} happened and must not: {seen}");
        }
        tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
    }
    Ok(())
}

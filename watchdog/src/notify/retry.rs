//! From a test alert that was taken to the running watchdog's parked channels.
//!
//! Responsible for one small file a channel in the state directory: `test-alert` writes it after a
//! channel took its message, the running watchdog sees that it changed. It carries no order and no
//! content that matters; whoever can write it can at most make a channel try again at once.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Notify;

use super::Channel;
use crate::store::open_regular;

/// How much of a file is read: a time has fewer digits.
const MARK_MAX_BYTES: u64 = 64;

fn file(dir: &Path, channel: Channel) -> PathBuf {
    dir.join(format!("took-test-alert-{}", channel.name()))
}

/// The channel took a test alert.
///
/// # Errors
/// When the state directory cannot be written.
pub fn tell(dir: &Path, channel: Channel, now_ms: i64) -> io::Result<()> {
    fs::write(file(dir, channel), format!("{now_ms}\n"))
}

/// Watches the file of one channel.
#[derive(Debug)]
pub struct TestAlertWatch {
    path: PathBuf,
    seen: Option<Vec<u8>>,
    unpark: Arc<Notify>,
}

impl TestAlertWatch {
    /// Begins with the file as it is.
    #[must_use]
    pub fn new(dir: &Path, channel: Channel, unpark: Arc<Notify>) -> Self {
        let path = file(dir, channel);
        Self { seen: mark(&path), path, unpark }
    }

    /// Wakes the channel when the file changed since the last look.
    pub fn look(&mut self) {
        let now = mark(&self.path);
        if now.is_some() && now != self.seen {
            self.seen = now;
            // kept for a channel that is being refused just now
            self.unpark.notify_one();
        }
    }
}

fn mark(path: &Path) -> Option<Vec<u8>> {
    let mut mark = Vec::new();
    open_regular(path).ok()?.take(MARK_MAX_BYTES).read_to_end(&mut mark).ok()?;
    Some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_test_alert_that_was_taken_wakes_its_channel_once() {
        let dir = tempfile::tempdir().unwrap();
        tell(dir.path(), Channel::Telegram, 1).unwrap();
        let unpark = Arc::new(Notify::new());
        let mut watch = TestAlertWatch::new(dir.path(), Channel::Telegram, Arc::clone(&unpark));
        let woken = |watch: &mut TestAlertWatch| {
            watch.look();
            Box::pin(unpark.notified()).as_mut().enable()
        };
        assert!(!woken(&mut watch), "an old file says nothing");
        tell(dir.path(), Channel::Alertmanager, 2).unwrap();
        assert!(!woken(&mut watch), "another channel");
        tell(dir.path(), Channel::Telegram, 3).unwrap();
        assert!(woken(&mut watch));
        assert!(!woken(&mut watch), "the same file again");
    }
}

//! From a test alert that was taken to the running watchdog's waiting channels.
//!
//! Responsible for which channel is woken. Who may say that one took a message is the socket's business
//! (`control`); the worst that such a word can do is make a channel try again at once.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Channel;

/// The channels that can be woken.
#[derive(Debug, Clone, Default)]
pub struct Wakes(Vec<(Channel, Arc<Notify>)>);

impl Wakes {
    /// One more channel: what ends its wait.
    pub fn of(&mut self, channel: Channel) -> Arc<Notify> {
        let unpark = Arc::new(Notify::new());
        self.0.push((channel, Arc::clone(&unpark)));
        unpark
    }

    /// Ends the wait of a channel, or the next one of a channel that is being refused just now; false when there is no
    /// such channel here.
    #[must_use]
    pub fn wake(&self, channel: Channel) -> bool {
        let Some((_, unpark)) = self.0.iter().find(|(known, _)| *known == channel) else { return false };
        unpark.notify_one();
        true
    }
}

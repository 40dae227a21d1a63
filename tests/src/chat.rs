//! The local Telegram stand-in, seen as a chat with messages.

use crate::fake_telegram::FakeTelegram;
use crate::stack::StackBuilder;
use anyhow::Result;

/// Token that the stand-in takes; its shape is a bot token's, and it opens nothing.
const TOKEN: &str = "1000000:stand-in-token-that-opens-nothing";
/// Chat that alerts go to.
const CHAT: i64 = 4242;

/// A running stand-in.
#[derive(Debug)]
pub struct Chat {
    telegram: FakeTelegram,
}

impl Chat {
    /// Start one on loopback.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> Result<Self> {
        Ok(Self { telegram: FakeTelegram::start().await? })
    }

    /// Point a stack's watchdog at it.
    #[must_use]
    pub fn configure(&self, stack: StackBuilder) -> StackBuilder {
        stack
            .watchdog("WATCHDOG_TELEGRAM_API_URL", &self.telegram.url())
            .watchdog("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN)
            .watchdog("WATCHDOG_TELEGRAM_CHAT_ID", &CHAT.to_string())
    }

    /// Texts of all messages that it keeps, oldest first.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.telegram.messages().into_iter().map(|message| message.text).collect()
    }
}

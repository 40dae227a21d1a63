//! Word to people outside: one message a notice, by Telegram where it is configured, always by log.
//!
//! Knows how to put a notice into words and how to send one text; when, how often and what is told
//! stands in `actors::notices`. Invariant: the token stands in no text that leaves this module.

use std::time::Duration;

use orch_settings::{ExposeSecret, SecretString};
use serde_json::json;

use crate::{config::TelegramConfig, domain::notice::Notice};

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// An answer is not read beyond this.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendFailure {
    /// Told to come again after this time.
    #[error("told to wait {0} s")]
    Wait(u32),
    /// Refused for good until somebody changes something: token, chat, rights.
    #[error("refused with {0}: check ORCH_TELEGRAM_BOT_TOKEN and ORCH_TELEGRAM_CHAT_ID")]
    Refused(u16),
    /// Not reached, or in trouble; it may have been sent.
    #[error("{0}")]
    Trouble(String),
}

/// A bot and the chat that it writes into.
pub(crate) struct Telegram {
    client: reqwest::Client,
    address: String,
    token: SecretString,
    chat: i64,
}

impl Telegram {
    /// A sender; nothing is sent yet.
    ///
    /// # Errors
    /// When no client can be built.
    pub(crate) fn new(config: &TelegramConfig) -> Result<Self, reqwest::Error> {
        // the token stands in the address: it must not travel on
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWER_WITHIN)
            .build()?;
        let address = config.api_url.trim_end_matches('/').to_owned();
        Ok(Self { client, address, token: config.token.clone(), chat: config.chat })
    }

    /// Sends one text.
    ///
    /// # Errors
    /// [`SendFailure`]; then it was not taken, or nobody knows.
    pub(crate) async fn send(&self, text: &str) -> Result<(), SendFailure> {
        let url = format!("{}/bot{}/sendMessage", self.address, self.token.expose_secret());
        let request = self.client.post(url).json(&json!({ "chat_id": self.chat, "text": text }));
        let answer = request.send().await.map_err(trouble)?;
        let status = answer.status().as_u16();
        if answer.content_length().is_some_and(|length| length > ANSWER_MAX_BYTES) {
            return Err(SendFailure::Trouble("an answer that is too long".to_owned()));
        }
        let body: serde_json::Value = answer.json().await.map_err(trouble)?;
        match status {
            200 if body.get("ok") == Some(&json!(true)) => Ok(()),
            429 => {
                let asked = body.pointer("/parameters/retry_after").and_then(serde_json::Value::as_u64);
                Err(SendFailure::Wait(asked.and_then(|wait| u32::try_from(wait).ok()).unwrap_or(30)))
            }
            400..=499 => Err(SendFailure::Refused(status)),
            status => Err(SendFailure::Trouble(format!("answered with {status}"))),
        }
    }
}

/// The client's own error without the address, which holds the token.
fn trouble(error: reqwest::Error) -> SendFailure {
    SendFailure::Trouble(crate::chain::chain(&error.without_url()))
}

/// A notice in words.
pub(crate) fn words(key: &str, notice: &Notice) -> String {
    match notice {
        Notice::LeaseReclaimed { why, edge, owner, by, who, parked } => {
            let by = who.as_ref().map_or_else(|| by.to_string(), |who| format!("{by} ({who})"));
            let how = match why.as_str() {
                "dead_boot" => "its owner belonged to a core that is gone",
                "dead_owner" => "its owner died",
                "overdue" => "it was held beyond ORCH_REAPER_MAX_RUNNING_S",
                _ => "it was taken by force",
            };
            let after = if *parked {
                "An effect had begun: the task stands until the outside was asked."
            } else {
                "The task goes on."
            };
            format!(
                "{key}: {by} took the lease of {edge} from {owner}: {how}. {after} Look: orch-core why {key}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::actor::Actor;

    #[test]
    fn a_reclaim_is_told_with_who_whose_and_what_follows() {
        let notice = |why: &str, parked| Notice::LeaseReclaimed {
            why: why.into(),
            edge: "deploy-staging -> deploy".into(),
            owner: Actor::Monitor,
            by: Actor::Operator,
            who: Some("ada".into()),
            parked,
        };
        let text = words("S-1", &notice("forced", true));
        for part in
            ["S-1", "operator (ada)", "deploy-staging -> deploy", "monitor", "by force", "orch-core why S-1"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(text.contains("stands until"), "{text}");
        let texts: std::collections::HashSet<String> = ["dead_boot", "dead_owner", "overdue", "forced"]
            .map(|why| words("S-1", &notice(why, false)))
            .into();
        assert_eq!(texts.len(), 4, "each reason has its own words");
    }
}

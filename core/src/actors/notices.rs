//! Tells people what was written down for them: oldest first, one message each, at least once.
//!
//! A notice leaves the table when the channel took it. A lost answer is sent again, a refusal waits
//! for somebody to mend the settings; nothing is dropped.

use super::{Stage, failed};
use crate::{
    chain::chain,
    chat::{SendFailure, Telegram, words},
    store::StoreError,
};

/// How often the table is looked at.
const PERIOD_MS: i64 = 1_000;
/// First pause after trouble; doubles.
const TROUBLE_MS: i64 = 2_000;
/// Longest pause after trouble.
const TROUBLE_MAX_MS: i64 = 300_000;
/// Pause after a refusal: nothing helps but new settings, or a right given back.
const REFUSED_MS: i64 = 3_600_000;

pub(super) async fn run(stage: Stage) {
    let telegram = stage.engine.config.telegram.as_ref().map(Telegram::new).transpose();
    let telegram = match telegram {
        Ok(telegram) => telegram,
        Err(error) => {
            tracing::error!(error = %chain(&error), "no client for Telegram: notices go to the log alone");
            None
        }
    };
    let mut troubles: u32 = 0;
    loop {
        let pause_ms = match pass(&stage, telegram.as_ref()).await {
            Ok(None) => {
                troubles = 0;
                PERIOD_MS
            }
            Ok(Some(SendFailure::Wait(seconds))) => i64::from(seconds) * 1_000,
            Ok(Some(SendFailure::Refused(_))) => REFUSED_MS,
            Ok(Some(SendFailure::Trouble(_))) => {
                troubles += 1;
                TROUBLE_MS.saturating_mul(1 << troubles.min(10)).min(TROUBLE_MAX_MS)
            }
            Err(error) => {
                failed(&stage.engine, "notices", &error);
                PERIOD_MS
            }
        };
        tokio::select! {
            () = stage.engine.clock.sleep_ms(pause_ms) => {}
            () = stage.stop.cancelled() => return,
        }
    }
}

/// Tells what waits, until it is told or the channel does not take it.
async fn pass(stage: &Stage, telegram: Option<&Telegram>) -> Result<Option<SendFailure>, StoreError> {
    let engine = &stage.engine;
    let (waiting, pending) = engine.store.untold_notices().await?;
    engine.counters.tally().chat.pending = pending;
    for row in waiting {
        let text = words(&row.key, &row.notice);
        if let Some(telegram) = telegram {
            let sent = telegram.send(&text).await;
            let mut tally = engine.counters.tally();
            let chat = &mut tally.chat;
            chat.attempts += 1;
            chat.up = Some(sent.is_ok());
            if let Err(failure) = sent {
                chat.failures += 1;
                tracing::error!(work_item = row.key, %failure, "a notice was not taken; it is kept and sent again");
                return Ok(Some(failure));
            }
        }
        tracing::warn!(work_item = row.key, notice = text, "told");
        engine.store.notice_told(row.id, engine.clock.now_ms()).await?;
        let mut tally = engine.counters.tally();
        tally.chat.pending = tally.chat.pending.saturating_sub(1);
    }
    Ok(None)
}

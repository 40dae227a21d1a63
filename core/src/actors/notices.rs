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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
    use serde_json::{Value, json};
    use tokio_util::{sync::CancellationToken, task::TaskTracker};

    use super::*;
    use crate::{
        config::TelegramConfig,
        domain::{
            actor::Actor,
            stage::{Edge, Stage as TaskStage},
        },
        http::testing::Bench,
    };

    /// What the stand-in has taken, and what it answers next; the last answer stays.
    #[derive(Clone, Default)]
    struct Chat(Arc<Mutex<World>>);

    type World = (Vec<Value>, Vec<(u16, Value)>);

    async fn send(State(chat): State<Chat>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
        let mut world = chat.0.lock().unwrap();
        let (status, answer) =
            if world.1.is_empty() { (200, json!({ "ok": true })) } else { world.1.remove(0) };
        if status == 200 {
            world.0.push(body);
        }
        (StatusCode::from_u16(status).unwrap(), Json(answer))
    }

    async fn telegram(chat: &Chat) -> Telegram {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api_url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/bot7:secret/sendMessage", post(send)).with_state(chat.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let token = orch_settings::SecretString::from("7:secret".to_owned());
        Telegram::new(&TelegramConfig { token, chat: -5, api_url }).unwrap()
    }

    #[tokio::test]
    async fn a_reclaim_is_told_once_and_kept_until_the_channel_takes_it() {
        let bench = Bench::ready().await;
        let engine = &bench.engine;
        let stage =
            Stage { engine: Arc::clone(engine), stop: CancellationToken::new(), work: TaskTracker::new() };
        let key = crate::domain::ids::WorkItemKey::parse("SHOP-1").unwrap();
        let row = engine.create(key, "shop", "Sort", "", None).await.unwrap().0;
        let edge = Edge { from: TaskStage::DeployStaging, to: TaskStage::Deploy };
        // an owner that dies with its lease, and the next that takes it
        drop(engine.store.acquire_lease(row.id, edge, Actor::Monitor, 1).await.unwrap());
        let _next = engine.store.acquire_lease(row.id, edge, Actor::Reaper, 2).await.unwrap();

        let chat = Chat::default();
        let telegram = telegram(&chat).await;
        chat.0.lock().unwrap().1 = vec![
            (429, json!({ "ok": false, "parameters": { "retry_after": 7 } })),
            (502, json!({})),
            (403, json!({ "ok": false })),
        ];
        assert_eq!(pass(&stage, Some(&telegram)).await.unwrap(), Some(SendFailure::Wait(7)));
        assert!(matches!(pass(&stage, Some(&telegram)).await.unwrap(), Some(SendFailure::Trouble(_))));
        assert_eq!(pass(&stage, Some(&telegram)).await.unwrap(), Some(SendFailure::Refused(403)));
        assert_eq!(engine.store.untold_notices().await.unwrap().1, 1, "nothing is dropped");
        for _ in 0..3 {
            assert_eq!(pass(&stage, Some(&telegram)).await.unwrap(), None);
        }
        let told = chat.0.lock().unwrap().0.clone();
        assert_eq!(told.len(), 1, "one message a reclaim: {told:?}");
        let text = told[0]["text"].as_str().unwrap();
        assert!(text.contains("SHOP-1") && text.contains("its owner died"), "{text}");
        assert_eq!(told[0]["chat_id"], -5);
        let tally = engine.counters.tally().chat;
        assert_eq!((tally.attempts, tally.failures, tally.pending, tally.up), (4, 3, 0, Some(true)));
    }

    #[tokio::test]
    async fn a_failure_names_no_token() {
        let token = orch_settings::SecretString::from("7:secret".to_owned());
        // port 1 of this machine: nobody listens there
        let nowhere = TelegramConfig { token, chat: 1, api_url: "http://127.0.0.1:1".to_owned() };
        let failure = Telegram::new(&nowhere).unwrap().send("x").await.unwrap_err();
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
}

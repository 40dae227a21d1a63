//! A core that answers badly, over a real connection: frozen or degraded, never a false recovery.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::stories::{World, task};
use super::*;
use crate::core_view::ReadOnlyClient;
use crate::trust::Trust;

/// How a core answers one poll.
#[derive(Debug, Clone)]
enum Answer {
    Document(Box<ObservationDocument>),
    Failing,
    Silent,
    /// The connection ends in the middle of the body.
    BrokenOff(Box<ObservationDocument>),
    /// The body itself is cut, and its length says so.
    Half(Box<ObservationDocument>),
    Newer,
}

fn reply(status: &str, length: usize, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

/// Polls a core that answers so.
async fn poll(answer: &Answer, now: i64) -> CoreSight {
    let whole = |document: &ObservationDocument| {
        let document = ObservationDocument { generated_at_ms: now, ..document.clone() };
        serde_json::to_string(&document).unwrap()
    };
    let bytes = match answer {
        Answer::Document(document) => {
            let body = whole(document);
            Some(reply("200 OK", body.len(), &body))
        }
        Answer::Failing => Some(reply("500 Internal Server Error", 4, "oops")),
        Answer::Silent => None,
        Answer::BrokenOff(document) => {
            let body = whole(document);
            Some(reply("200 OK", body.len(), &body[..body.len() / 2]))
        }
        Answer::Half(document) => {
            let body = whole(document);
            Some(reply("200 OK", body.len() / 2, &body[..body.len() / 2]))
        }
        Answer::Newer => Some(reply("200 OK", 20, r#"{"schema_version":2}"#)),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let patience = match bytes {
        Some(_) => Duration::from_secs(10),
        None => Duration::from_millis(50),
    };
    let client = ReadOnlyClient::new(&address, None, patience, &Trust::default()).unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4_096];
        let read = stream.read(&mut request).await.unwrap();
        assert!(request[..read].starts_with(b"GET /queue "));
        match bytes {
            Some(bytes) => stream.write_all(&bytes).await.unwrap(),
            // held open until the client gives up
            None => assert_eq!(stream.read(&mut request).await.unwrap_or(0), 0),
        }
    };
    let (sight, ()) = tokio::join!(client.poll(|| now), serve);
    sight
}

#[tokio::test]
async fn bad_answers_freeze_what_was_told_and_name_the_core_itself() {
    let stuck = SignalKind::StageStuck;
    let mut spoilt = documents::idle(NOW);
    spoilt.tasks = vec![task("review", orch_contract::Standing::Moving, None)];
    let spoilt = Box::new(spoilt);
    for (answer, raised) in [
        (Answer::Failing, Some(SignalKind::CoreDown)),
        (Answer::Silent, Some(SignalKind::CoreDown)),
        (Answer::BrokenOff(spoilt.clone()), Some(SignalKind::CoreDown)),
        (Answer::Half(spoilt.clone()), Some(SignalKind::CoreDown)),
        (Answer::Newer, Some(SignalKind::CoreDegraded)),
    ] {
        let mut world = World::new();
        let good = Answer::Document(spoilt.clone());
        let core = poll(&good, world.now).await;
        assert_eq!(world.tick(stuck, core), ["alert warning"], "{answer:?}");
        for _ in 0..5 {
            let core = poll(&answer, world.now).await;
            assert_eq!(world.tick(stuck, core), [""; 0], "{answer:?}");
        }
        let firing: Vec<SignalKind> =
            SignalKind::ALL.into_iter().filter(|signal| world.firing(*signal) > 0).collect();
        let expected: Vec<SignalKind> = SignalKind::ALL
            .into_iter()
            .filter(|signal| *signal == stuck || Some(*signal) == raised)
            .collect();
        assert_eq!(firing, expected, "{answer:?}");
        let core = poll(&good, world.now).await;
        assert_eq!(world.tick(stuck, core), [""; 0], "it goes on, and was told: {answer:?}");
        let core = poll(&Answer::Document(Box::new(documents::idle(NOW))), world.now).await;
        assert_eq!(world.tick(stuck, core), ["recovered: the task is done or was cancelled"], "{answer:?}");
    }
}

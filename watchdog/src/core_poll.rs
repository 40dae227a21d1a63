//! Polls of the core, one at a time, beside everything else.
//!
//! Responsible for one poll under way at most, and for handing each answer out exactly once, so that
//! what counts polls counts none twice. How long a poll may take is the client's limit; when it is
//! over the poll ends as late. It decides nothing, and nobody has to wait for it.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock::{self, Stopwatch};
use crate::core_view::ReadOnlyClient;
use crate::observe::{CoreSight, Fault};

/// What a poll brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The answer.
    pub sight: CoreSight,
    /// How long it took.
    pub took: Duration,
}

/// Polls one core.
#[derive(Debug)]
pub struct CorePoll {
    client: ReadOnlyClient,
    /// The poll under way; it ends when this is dropped.
    under_way: JoinSet<Answer>,
}

impl CorePoll {
    /// Polls with this client, when asked to.
    #[must_use]
    pub fn new(client: ReadOnlyClient) -> Self {
        Self { client, under_way: JoinSet::new() }
    }

    /// Begins a poll unless one is under way. Must run inside a tokio runtime.
    pub fn ask(&mut self) {
        if !self.under_way.is_empty() {
            return;
        }
        let client = self.client.clone();
        self.under_way.spawn(async move {
            let taken = Stopwatch::start();
            let sight = client.poll(clock::wall_ms).await;
            Answer { sight, took: taken.elapsed() }
        });
    }

    /// Waits for the end of the poll under way; for ever when there is none. Cancel-safe.
    pub async fn answer(&mut self) -> Answer {
        match self.under_way.join_next().await {
            Some(Ok(answer)) => answer,
            // a poll that broke down is one that brought nothing
            Some(Err(error)) => {
                let words = Fault::Words(format!("the poll broke down: {error}"));
                Answer { sight: CoreSight::Down(words), took: Duration::ZERO }
            }
            None => std::future::pending().await,
        }
    }
}

/// Waits for an answer, where a core is polled at all.
pub async fn answer_of(core: Option<&mut CorePoll>) -> Answer {
    match core {
        Some(core) => core.answer().await,
        None => std::future::pending().await,
    }
}

//! What a run that ended is booked with.
//!
//! A command agent may say it in a last line of JSON. Of an agent whose stream is read, the rest of the stream is taken in
//! behind what its followers stored, and the run is booked with what it added to its session; where it could not say,
//! with the bound that was reserved for it. Called by whoever records an end, once: the record is guarded.

use super::{Runs, Stream};
use crate::{
    agents::claude::{
        cost::{Booked, Spent, booked, session_total},
        progress::Progress,
    },
    domain::{budget::CostKind, ids::RunId},
    store::{AgentRow, AgentUse, StoreError, StreamTold},
};

/// Bytes of a stream that are read at once.
pub(crate) const PIECE_BYTES: u64 = 1024 * 1024;

/// Cost of a run, and what its agent told.
#[derive(Debug, Default)]
pub(super) struct Booking {
    pub(super) cost: Option<(i64, CostKind)>,
    pub(super) agent: Option<AgentUse>,
}

impl Runs {
    pub(super) async fn book(&self, run: RunId) -> Result<Booking, StoreError> {
        let row = self.store.run(run).await?;
        let reserved = row.as_ref().and_then(|row| row.reserved_microusd).unwrap_or_default();
        match row.and_then(|row| row.agent) {
            Some(agent) => self.book_agent(run, &agent, reserved).await,
            None => {
                let cost = self.reported_cost(run).await.map(|microusd| (microusd, CostKind::Reported));
                Ok(Booking { cost, agent: None })
            }
        }
    }

    async fn book_agent(&self, run: RunId, agent: &AgentRow, reserved: i64) -> Result<Booking, StoreError> {
        let progress = self.read_out(run, agent).await;
        let summary = progress.summary();
        let before = self.session_before(run, summary.session.as_deref()).await?;
        let (cost, spent) = match booked(summary, before, reserved) {
            Booked::Reported(spent) => ((spent.microusd, CostKind::Reported), Some(spent)),
            Booked::Estimated { microusd } => ((microusd, CostKind::Estimated), None),
        };
        let total = summary.result.as_ref().and_then(session_total);
        Ok(Booking {
            cost: Some(cost),
            agent: Some(AgentUse {
                told: told(&progress),
                input_tokens: spent.map(|spent| spent.input_tokens),
                cached_tokens: spent.map(|spent| spent.cached_tokens),
                output_tokens: spent.map(|spent| spent.output_tokens),
                session_total: total.and_then(|total| serde_json::to_string(&total).ok()),
            }),
        })
    }

    /// All that a session had cost before this run, as far as it was told.
    pub(crate) async fn session_before(
        &self,
        run: RunId,
        session: Option<&str>,
    ) -> Result<Option<Spent>, StoreError> {
        let Some(session) = session else { return Ok(None) };
        let text = self.store.session_total(session.to_owned(), run).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The stream to its end, from where it was last read.
    async fn read_out(&self, run: RunId, agent: &AgentRow) -> Progress {
        let mut progress = Progress::from_stored(agent.told.offset, Some(&agent.told.state));
        loop {
            match self.read(run, progress.read_to()).await {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => {
                    progress.take(&bytes);
                }
                Err(error) => {
                    tracing::warn!(%run, %error, "an agent's stream cannot be read to its end; what it told before is booked");
                    break;
                }
            }
        }
        progress.finish();
        progress
    }

    /// What stands in a run's output behind an offset.
    pub(crate) async fn read(&self, run: RunId, from: u64) -> std::io::Result<Vec<u8>> {
        self.machine.read(&self.dir_of(run), Stream::Out, from, PIECE_BYTES).await
    }

    /// An optional last line of JSON with `cost_usd` reports what a command agent cost.
    async fn reported_cost(&self, run: RunId) -> Option<i64> {
        let text = self.tail_text(run, Stream::Out).await;
        let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
        let value: serde_json::Value = serde_json::from_str(line.trim()).ok()?;
        let usd =
            value.get("cost_usd")?.as_f64().filter(|usd| usd.is_finite() && (0.0..1e9).contains(usd))?;
        // micro-dollars of less than a billion dollars fit i64 exactly
        Some((usd * 1e6).round() as i64)
    }
}

/// How far a stream was read, for the row of its run.
pub(crate) fn told(progress: &Progress) -> StreamTold {
    let summary = progress.summary();
    StreamTold {
        offset: progress.offset(),
        state: progress.state(),
        session: summary.session.clone(),
        model: summary.model.clone(),
    }
}

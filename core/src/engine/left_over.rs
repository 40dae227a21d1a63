//! What a dead owner left at work in a core that lives: it is ended before the next owner acts.
//!
//! A start does the same for the last life (`recovery`). An agent's run is the reaper's to end, a CI's is
//! its own actor's, and a deploy is cut off by nobody: its probe says that it is at work.

use orch_contract::ProcessKind;

use super::{Engine, EngineError};
use crate::{
    chain::chain,
    domain::verdict::{InfraClass, Verdict},
    process::Adopted,
    recovery,
    store::{LeaseProof, RunRow},
};

/// Whether only the owner of an edge waits for such a run.
const fn is_of_the_edge(kind: ProcessKind) -> bool {
    match kind {
        ProcessKind::Retest
        | ProcessKind::Coverage
        | ProcessKind::Security
        | ProcessKind::ImageBuild
        | ProcessKind::Staging
        | ProcessKind::Push
        | ProcessKind::Deploy
        | ProcessKind::DeployHealth => true,
        ProcessKind::Agent | ProcessKind::Ci | ProcessKind::Unknown => false,
    }
}

impl Engine {
    /// Ends the runs of a task's edge that nobody watches any more, and records their ends. A verdict when
    /// one could not be ended, or not be looked at: then nothing may begin beside it.
    pub(super) async fn end_left_over(&self, proof: &LeaseProof) -> Result<Option<Verdict>, EngineError> {
        // switched off, another owner may be about to start what nobody watches yet
        if proof.fencing().is_none() {
            return Ok(None);
        }
        for run in self.store.open_runs_of_task(proof.task()).await? {
            if run.job.is_some() || !is_of_the_edge(run.kind) || self.runs.is_watched(run.id) {
                continue;
            }
            if let Err(detail) = self.end_one(&run).await? {
                return Ok(Some(Verdict::Infra { class: InfraClass::Other, detail }));
            }
        }
        Ok(None)
    }

    async fn end_one(&self, run: &RunRow) -> Result<Result<(), String>, EngineError> {
        let name = format!("run {} of an owner that is gone", run.id);
        let found = match self.runs.adopt(run.id) {
            Ok(Adopted::Live(_)) if run.kind == ProcessKind::Deploy => return Ok(Ok(())),
            Ok(found) => found,
            Err(error) => return Ok(Err(format!("{name} could not be looked at: {}", chain(&error)))),
        };
        let ended = recovery::finish(self, run, found).await;
        if matches!(self.runs.adopt(run.id), Ok(Adopted::Live(_))) {
            return Ok(Err(format!("{name} could not be ended: it is at work")));
        }
        if let Some(swept) = ended.swept.as_ref().filter(|swept| !swept.survivors.is_empty()) {
            return Ok(Err(format!("{name} could not be ended: {} survive", swept.survivors.len())));
        }
        self.runs.record_end(&ended).await?;
        tracing::warn!(run = run.id.0, kind = ?run.kind, outcome = ended.outcome_text(), "ended what a dead owner left at work");
        Ok(Ok(()))
    }
}

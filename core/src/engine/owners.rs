//! What others do to the owner of an edge: ask it to make way, wait for its end, rob it.

use super::{Engine, EngineError, Request};
use crate::{
    chain::chain,
    domain::{actor::Actor, ids::WorkItemKey, transition::Outcome},
    store::{ForcedRelease, KeptCommand, PendingTrigger, ReclaimReason, Robbed, StoreError, WhichGrant},
};

impl Engine {
    /// Enters an edge that somebody walks: gates are stopped and no new one is begun, an open effect is
    /// waited for, and the walk ends before its next step. The command is kept until it is carried out
    /// or refused, so that the next life does what this one promised.
    pub(super) async fn enter_between_steps(
        &self,
        key: &WorkItemKey,
        request: Request,
        who: &str,
        why: &str,
    ) -> Result<Outcome, EngineError> {
        let row = self.store.task(key).await?.ok_or_else(|| EngineError::UnknownTask(key.clone()))?;
        let command = request.command.clone();
        let kept = KeptCommand { task: row.id, command, who: who.to_owned(), why: why.to_owned() };
        self.store.keep_command(kept, self.clock.now_ms()).await?;
        let _asking = self.yields.ask(row.id);
        let _held = self.runs.hold_gates(row.id);
        let mut ended = self.store.owners().ended();
        let entered = loop {
            // whoever ends from here on is heard
            ended.mark_unchanged();
            let outcome = self.advance(key, request.clone()).await;
            if !matches!(outcome, Ok(Outcome::Deferred { .. })) {
                break outcome;
            }
            ended.changed().await;
        };
        if !matches!(entered, Err(EngineError::Store(_))) {
            self.store.forget_command(row.id).await?;
        }
        entered
    }

    /// Carries out what a person asked for in an earlier life.
    pub async fn resume(&self, kept: KeptCommand) {
        let KeptCommand { task, command, who, why } = kept;
        let row = match self.store.task_by_id(task).await {
            Ok(Some(row)) => row,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(task = task.0, error = %chain(&error), "a kept command could not be read; the next start asks again");
                return;
            }
        };
        let key = row.task.key;
        let request =
            Request { command, actor: Actor::Operator, who: Some(who.clone()), reason: why.clone() };
        match self.enter_between_steps(&key, request, &who, &why).await {
            Ok(outcome) => {
                tracing::info!(work_item = %key, who, outcome = outcome.as_str(), "carried out a command that the last life kept");
            }
            Err(error) => {
                tracing::warn!(work_item = %key, who, error = %chain(&error), "a command that the last life kept was not carried out");
            }
        }
    }

    /// Takes a task's lease from its owner and ends what that runs; `None` when nobody holds the grant that
    /// is meant. The owner, should it live, can journal and commit nothing any more. With an effect open the
    /// task stands until that owner has ended and the outside was asked.
    ///
    /// # Errors
    /// [`EngineError`]; then nothing was taken.
    pub async fn force_release(
        &self,
        key: &WorkItemKey,
        actor: Actor,
        who: Option<String>,
        reason: &str,
        why: ReclaimReason,
        grant: WhichGrant,
    ) -> Result<Option<Robbed>, EngineError> {
        let row = self.store.task(key).await?.ok_or_else(|| EngineError::UnknownTask(key.clone()))?;
        let release = ForcedRelease {
            task: row.id,
            grant,
            actor,
            who,
            reason: reason.to_owned(),
            why,
            at_ms: self.clock.now_ms(),
        };
        let Some(robbed) = self.store.force_release(release).await? else { return Ok(None) };
        *self.counters.tally().reclaims.entry(why.as_str()).or_default() += 1;
        let stopped = match why {
            ReclaimReason::Forced => self.runs.stop_gates_of(row.id),
            // beyond any limit nothing of it is worth waiting for
            ReclaimReason::Overdue => self.runs.stop_edge_of(row.id),
            ReclaimReason::DeadBoot | ReclaimReason::DeadOwner => 0,
        };
        tracing::warn!(
            work_item = %key, %actor, why = why.as_str(), reason, owner_lives = robbed.owner_lives,
            parked = robbed.parked, stopped, "a lease was taken from its owner"
        );
        Ok(Some(robbed))
    }

    /// Triggers that were deferred and whose owner has ended, each once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_pending(&self) -> Result<Vec<PendingTrigger>, StoreError> {
        self.store.take_pending().await
    }
}

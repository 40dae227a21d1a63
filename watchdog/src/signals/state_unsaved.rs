//! `state_unsaved`: what this watchdog must remember does not reach its disk.
//!
//! Watching and telling go on from memory (ADR 0017); what a stop would lose is what this tells. A local signal, and the
//! only one whose own case is kept in memory alone for as long as it holds.

use super::{
    CaseKey, Context, Ending, Entity, Facts, Finding, HeldScope, Severity, SignalKind, SignalState,
    StateFacts, switched_off,
};
use crate::observe::Observation;

/// That the disk does not hold what memory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsaved {
    /// Since when, UTC Unix milliseconds.
    pub since_ms: i64,
    /// What failed, in words.
    pub why: String,
}

/// How the state fares on its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saving {
    /// The fault; absent while there is none.
    pub fault: Option<Unsaved>,
    /// Whether a save of this life went well. Before the first one nobody knows whether the disk takes any.
    pub proven: bool,
}

pub(super) fn derive(
    observation: &Observation,
    context: &Context<'_>,
    memory: &mut super::Memory,
    states: &mut Vec<SignalState>,
) {
    if !context.thresholds.enabled(SignalKind::StateUnsaved) {
        return switched_off(SignalKind::StateUnsaved, context, states);
    }
    let key = || CaseKey { slot: SignalKind::StateUnsaved, entity: Entity::State };
    let limit_ms = context.thresholds.unsaved_age_ms;
    if let Some(fault) = &context.saving.fault {
        let since_ms = memory.unsaved_since(fault.since_ms, observation.at_ms);
        if observation.at_ms.saturating_sub(since_ms) > limit_ms {
            return states.push(SignalState::Active(Finding {
                signal: SignalKind::StateUnsaved,
                entity: Entity::State,
                severity: Severity::Warning,
                since_ms,
                facts: Facts::State(StateFacts { why: fault.why.clone(), limit_ms }),
            }));
        }
    } else {
        memory.saved();
    }
    states.push(match context.saving.proven {
        true => SignalState::Clear { key: key(), how: Ending::StateSaved },
        false => SignalState::Held {
            scope: HeldScope::Case(key()),
            reason: "no save of this life went well yet".to_owned(),
        },
    });
}

//! `state_unsaved`: what this watchdog must remember does not reach its disk.
//!
//! Watching and telling go on from memory (ADR 0017); what a stop would lose is what this tells. A local signal, and the
//! only one whose own case is kept in memory alone for as long as it holds.

use super::{
    CaseKey, Context, Ending, Entity, Facts, Finding, Severity, SignalKind, SignalState, StateFacts,
    switched_off,
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

pub(super) fn derive(observation: &Observation, context: &Context<'_>, states: &mut Vec<SignalState>) {
    if !context.thresholds.enabled(SignalKind::StateUnsaved) {
        return switched_off(SignalKind::StateUnsaved, context, states);
    }
    let limit_ms = context.thresholds.unsaved_age_ms;
    let long = |unsaved: &&Unsaved| observation.at_ms.saturating_sub(unsaved.since_ms) > limit_ms;
    states.push(match context.unsaved.filter(long) {
        None => SignalState::Clear {
            key: CaseKey { slot: SignalKind::StateUnsaved, entity: Entity::State },
            how: Ending::StateSaved,
        },
        Some(unsaved) => SignalState::Active(Finding {
            signal: SignalKind::StateUnsaved,
            entity: Entity::State,
            severity: Severity::Warning,
            since_ms: unsaved.since_ms,
            facts: Facts::State(StateFacts { why: unsaved.why.clone(), limit_ms }),
        }),
    });
}

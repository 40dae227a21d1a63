//! `core_degraded`: the core answers, and what it says is old, foreign, or on another clock.
//!
//! Four causes, each measured so that it does not look like another: actors are compared with the
//! core's own clock, the age of a document with ours since it first came in this form, and only a
//! document at its first coming tells a difference of clocks. A core that is starting or stopping
//! is not judged; one that does not answer is `core_down`.

use orch_contract::{ActorTick, CoreState, ObservationDocument, SCHEMA_VERSION};

use super::age::{NO_AGE, age_ms};
use super::{
    CaseKey, Context, CoreDegradedFacts, DegradedCause, Ending, Entity, Facts, Finding, Memory, Severity,
    SignalKind, SignalState, hold_slot, readable_document, switched_off,
};
use crate::observe::{CoreObservation, CoreSight, Observation};

/// Periods that an actor, or a document, may be late.
const LATE_PERIODS: i64 = 2;

/// Nothing is late before this many milliseconds: an actor that passes each second may lawfully
/// work for longer than two of them.
const LATE_AT_LEAST_MS: i64 = 30_000;

/// Difference of the two clocks that is tolerated, in milliseconds.
const SKEW_LIMIT_MS: i64 = 30_000;

pub(super) fn derive(
    observation: &Observation,
    context: &Context<'_>,
    memory: &mut Memory,
    states: &mut Vec<SignalState>,
) {
    if !context.thresholds.enabled(SignalKind::CoreDegraded) {
        memory.ended(SignalKind::CoreDegraded);
        return switched_off(SignalKind::CoreDegraded, context, states);
    }
    let (causes, untold) = match (&observation.core, readable_document(observation)) {
        (CoreSight::OtherSchema(found), _) => {
            (vec![DegradedCause::OtherSchema { found: *found, known: SCHEMA_VERSION }], false)
        }
        (CoreSight::Heard(heard), Ok(document)) => match document.core.state {
            CoreState::Stopping => {
                return hold_slot(SignalKind::CoreDegraded, "the core is stopping", states);
            }
            CoreState::Starting | CoreState::Ready | CoreState::Unknown => causes_of(heard, memory),
        },
        (_, Err(reason)) => return hold_slot(SignalKind::CoreDegraded, reason, states),
        // a document can be read only where one was heard
        (
            CoreSight::Starting
            | CoreSight::Down(_)
            | CoreSight::Unreadable(_)
            | CoreSight::Awaited
            | CoreSight::Off,
            Ok(_),
        ) => {
            return hold_slot(SignalKind::CoreDegraded, "no document", states);
        }
    };
    if causes.is_empty() && untold {
        return hold_slot(SignalKind::CoreDegraded, NO_AGE, states);
    }
    if causes.is_empty() {
        memory.ended(SignalKind::CoreDegraded);
        let key = CaseKey { slot: SignalKind::CoreDegraded, entity: Entity::Core };
        let how = Ending::CoreOnTime;
        states.push(SignalState::Clear { key, how });
        return;
    }
    states.push(SignalState::Active(Finding {
        signal: SignalKind::CoreDegraded,
        entity: Entity::Core,
        severity: Severity::Warning,
        since_ms: memory.holds_since(SignalKind::CoreDegraded, observation.at_ms),
        facts: Facts::CoreDegraded(CoreDegradedFacts { causes }),
    }));
}

/// What is wrong, and whether something could not be told.
fn causes_of(heard: &CoreObservation, memory: &mut Memory) -> (Vec<DegradedCause>, bool) {
    let document = &heard.document;
    let first_ms = memory.document_came(document.generated_at_ms, heard.received_at_ms);
    let mut causes = Vec::new();
    let mut untold = false;
    for actor in &document.actors {
        match lateness_ms(document, actor) {
            Some(late_ms) => causes.extend(late_actor(actor, late_ms)),
            None => untold = true,
        }
    }
    let age_ms = heard.received_at_ms.saturating_sub(first_ms);
    let limit_ms = document_limit_ms(document);
    if age_ms > limit_ms {
        causes.push(DegradedCause::StaleDocument { age_ms, limit_ms });
    }
    let ahead_ms = document.generated_at_ms.saturating_sub(first_ms);
    if ahead_ms.saturating_abs() > SKEW_LIMIT_MS {
        causes.push(DegradedCause::ClockSkew { ahead_ms, limit_ms: SKEW_LIMIT_MS });
    }
    (causes, untold)
}

fn late_limit_ms(period_ms: i64) -> i64 {
    period_ms.saturating_mul(LATE_PERIODS).max(LATE_AT_LEAST_MS)
}

/// A document older than two periods of one of its actors cannot tell whether that one is late.
fn document_limit_ms(document: &ObservationDocument) -> i64 {
    late_limit_ms(document.actors.iter().map(|actor| actor.period_ms).min().unwrap_or(0))
}

fn lateness_ms(document: &ObservationDocument, actor: &ActorTick) -> Option<i64> {
    age_ms(document.generated_at_ms, actor.last_tick_at_ms.unwrap_or(document.core.started_at_ms))
}

fn late_actor(actor: &ActorTick, late_ms: i64) -> Option<DegradedCause> {
    let limit_ms = late_limit_ms(actor.period_ms);
    (late_ms > limit_ms).then(|| DegradedCause::LateActor {
        name: actor.name.clone(),
        period_ms: actor.period_ms,
        late_ms,
        limit_ms,
        passed: actor.last_tick_at_ms.is_some(),
    })
}

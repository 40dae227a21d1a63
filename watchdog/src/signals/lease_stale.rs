//! `lease_stale`: a transition lease that nobody alive can release.
//!
//! Stale is proven (granted by an earlier life of the core, or its owner is gone by the core's own
//! word), or overdue by the sum of all time-outs that one edge may lawfully take.

use orch_contract::{Lease, ObservationDocument};

use super::age::{NO_AGE, age_ms, began_ms};
use super::{
    CaseKey, Context, Ending, Entity, Facts, Finding, HeldScope, LeaseFacts, Severity, SignalKind,
    SignalState, StaleCause, hold_slot, readable_document, switched_off,
};
use crate::observe::Observation;

pub(super) fn derive(observation: &Observation, context: &Context<'_>, states: &mut Vec<SignalState>) {
    if !context.thresholds.enabled(SignalKind::LeaseStale) {
        return switched_off(SignalKind::LeaseStale, context, states);
    }
    let document = match readable_document(observation) {
        Ok(document) => document,
        Err(reason) => return hold_slot(SignalKind::LeaseStale, reason, states),
    };
    for lease in &document.leases {
        let entity = Entity::WorkItem(lease.work_item.clone());
        let age_ms = age_ms(document.generated_at_ms, lease.acquired_at_ms);
        let key = || CaseKey { slot: SignalKind::LeaseStale, entity: entity.clone() };
        let cause = match stale(document, lease, age_ms, context.thresholds.lease_age_ms) {
            Judgement::Stale(cause) => cause,
            Judgement::Owned => {
                states.push(SignalState::Clear { key: key(), how: Ending::LeaseOwned });
                continue;
            }
            Judgement::CannotTell => {
                let (scope, reason) = (HeldScope::Case(key()), NO_AGE.to_owned());
                states.push(SignalState::Held { scope, reason });
                continue;
            }
        };
        // an earlier life's lease may well carry a time that this life cannot place
        let age_ms = age_ms.unwrap_or(0);
        states.push(SignalState::Active(Finding {
            signal: SignalKind::LeaseStale,
            entity,
            severity: Severity::Critical,
            since_ms: began_ms(observation.at_ms, age_ms),
            facts: Facts::Lease(LeaseFacts {
                work_item: lease.work_item.clone(),
                repo: lease.repo.clone(),
                edge: lease.edge.clone(),
                fencing: lease.fencing,
                actor: lease.owner.actor.clone(),
                age_ms,
                cause,
            }),
        }));
    }
}

/// What can be said of one lease.
enum Judgement {
    Stale(StaleCause),
    Owned,
    CannotTell,
}

/// Ages are taken on the core's clock alone, so that a skew between two hosts cannot raise this.
fn stale(
    document: &ObservationDocument,
    lease: &Lease,
    age_ms: Option<i64>,
    limit_ms: Option<i64>,
) -> Judgement {
    if lease.owner.core_boot_id != document.core.boot_id {
        return Judgement::Stale(StaleCause::EarlierBoot);
    }
    if lease.owner.alive == Some(false) {
        return Judgement::Stale(StaleCause::OwnerGone);
    }
    // a core without projects has no time-outs to add up: nothing can be said of an age
    let limit_ms = limit_ms.unwrap_or(document.timeouts.edge_sum_ms);
    if limit_ms <= 0 {
        return Judgement::Owned;
    }
    match age_ms {
        Some(age_ms) if age_ms > limit_ms => Judgement::Stale(StaleCause::TooOld(limit_ms)),
        Some(_) => Judgement::Owned,
        None => Judgement::CannotTell,
    }
}

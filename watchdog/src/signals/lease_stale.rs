//! `lease_stale`: a transition lease that nobody alive can release.
//!
//! Stale is proven (granted by an earlier life of the core, or its owner is gone by the core's own
//! word), or overdue by the sum of all time-outs that one edge may lawfully take.

use orch_contract::{Lease, ObservationDocument};

use super::{
    CaseKey, Context, Ending, Entity, Facts, Finding, LeaseFacts, Severity, SignalKind, SignalState,
    StaleCause, hold_slot, readable_document, switched_off,
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
        let Some(cause) = stale(document, lease, context.thresholds.lease_age_ms) else {
            let key = CaseKey { slot: SignalKind::LeaseStale, entity };
            states.push(SignalState::Clear { key, how: Ending::LeaseOwned });
            continue;
        };
        let age_ms = document.generated_at_ms - lease.acquired_at_ms;
        states.push(SignalState::Active(Finding {
            signal: SignalKind::LeaseStale,
            entity,
            severity: Severity::Critical,
            since_ms: observation.at_ms - age_ms.max(0),
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

/// Ages are taken on the core's clock alone, so that a skew between two hosts cannot raise this.
fn stale(document: &ObservationDocument, lease: &Lease, limit_ms: Option<i64>) -> Option<StaleCause> {
    if lease.owner.core_boot_id != document.core.boot_id {
        return Some(StaleCause::EarlierBoot);
    }
    if lease.owner.alive == Some(false) {
        return Some(StaleCause::OwnerGone);
    }
    // a core without projects has no time-outs to add up: nothing can be said of an age
    let limit_ms = limit_ms.unwrap_or(document.timeouts.edge_sum_ms);
    if limit_ms <= 0 {
        return None;
    }
    (document.generated_at_ms - lease.acquired_at_ms > limit_ms).then_some(StaleCause::TooOld(limit_ms))
}

//! `collector_unavailable`: one of our own eyes is shut.
//!
//! The core is no eye of ours: one without a usable answer is `core_down`, one of another schema version
//! `core_degraded`. A case of it that an earlier version began is held until the core is heard.

use orch_contract::CoreState;

use super::{
    CaseKey, CollectorFacts, CollectorName, Context, Ending, Entity, Facts, Finding, HeldScope, Severity,
    SignalKind, SignalState, switched_off,
};
use crate::observe::{Collected, CoreSight, Fault, Observation, ProcObservation};

pub(super) fn derive(
    observation: &Observation,
    context: &Context<'_>,
    memory: &mut super::Memory,
    states: &mut Vec<SignalState>,
) {
    if !context.thresholds.enabled(SignalKind::CollectorUnavailable) {
        return switched_off(SignalKind::CollectorUnavailable, context, states);
    }
    for collector in CollectorName::ALL {
        let entity = Entity::Collector(collector);
        if collector == CollectorName::Core && is_told_elsewhere(&observation.core) {
            let key = CaseKey { slot: SignalKind::CollectorUnavailable, entity };
            let reason = "told by the signals of the core".to_owned();
            states.push(SignalState::Held { scope: HeldScope::Case(key), reason });
            continue;
        }
        let reason = match collector {
            CollectorName::Proc => match &observation.proc {
                Collected::Unavailable(reason) => Some(reason.as_str().into()),
                Collected::Fresh(seen) => narrower(seen).map(Fault::from),
                Collected::Off => None,
            },
            CollectorName::Host => match &observation.host {
                Collected::Unavailable(reason) => Some(reason.as_str().into()),
                Collected::Fresh(_) | Collected::Off => None,
            },
            CollectorName::Core => None,
        };
        let Some(reason) = reason else {
            memory.available(collector);
            let key = CaseKey { slot: SignalKind::CollectorUnavailable, entity };
            states.push(SignalState::Clear { key, how: Ending::CanLook });
            continue;
        };
        states.push(SignalState::Active(Finding {
            signal: SignalKind::CollectorUnavailable,
            entity,
            severity: Severity::Warning,
            since_ms: memory.unavailable_since(collector, observation.at_ms),
            facts: Facts::Collector(CollectorFacts { collector, reason }),
        }));
    }
}

/// What an earlier view saw and this one cannot look for: said for as long as it is so.
fn narrower(seen: &ProcObservation) -> Option<String> {
    let of = |count: usize| if count == 1 { "1 family".to_owned() } else { format!("{count} families") };
    let first = seen.unseen.first()?;
    Some(format!(
        "could not look for {} of processes seen before (the first had pid {}): this watchdog looks from another pid \
         namespace by now; run it where it ran (pid: host for the whole host)",
        of(seen.unseen.len()),
        first.pid,
    ))
}

fn is_told_elsewhere(core: &CoreSight) -> bool {
    match core {
        CoreSight::Starting
        | CoreSight::Down(_)
        | CoreSight::Unreadable(_)
        | CoreSight::OtherSchema(_)
        | CoreSight::Awaited => true,
        CoreSight::Heard(heard) => heard.document.core.state == CoreState::Starting,
        CoreSight::Off => false,
    }
}

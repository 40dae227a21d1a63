//! `core_down`: the core does not answer.
//!
//! One failed poll makes it active; how many in a row make it fire is the `for` of its policy, so
//! that the count survives a restart with the case. A core that says it is starting is not down.

use super::{
    CaseKey, Context, CoreDownFacts, Ending, Entity, Facts, Finding, Severity, SignalKind, SignalState,
    hold_slot, switched_off,
};
use crate::observe::{CoreSight, Observation};

/// Work items named in the text at most.
const WORK_ITEMS_NAMED: usize = 10;

pub(super) fn derive(
    observation: &Observation,
    context: &Context<'_>,
    memory: &mut super::Memory,
    states: &mut Vec<SignalState>,
) {
    if !context.thresholds.enabled(SignalKind::CoreDown) {
        return switched_off(SignalKind::CoreDown, context, states);
    }
    let how = match &observation.core {
        CoreSight::Down(reason) => {
            let last_heard_ms = context.last_heard.map(|heard| heard.received_at_ms);
            let work_items = context.last_heard.map_or_else(Vec::new, |heard| {
                let jobs = heard.document.running_jobs.iter();
                jobs.map(|job| job.work_item.clone()).take(WORK_ITEMS_NAMED).collect()
            });
            states.push(SignalState::Active(Finding {
                signal: SignalKind::CoreDown,
                entity: Entity::Core,
                severity: Severity::Critical,
                since_ms: memory.down_since(observation.at_ms),
                facts: Facts::CoreDown(CoreDownFacts {
                    reason: reason.clone(),
                    last_heard_ms,
                    work_items,
                    polls: context.thresholds.core_down_polls,
                }),
            }));
            return;
        }
        CoreSight::Off => return hold_slot(SignalKind::CoreDown, "no core is configured", states),
        CoreSight::Heard(_) => Ending::CoreAnswers,
        CoreSight::Starting => Ending::CoreStarts,
        CoreSight::Unreadable(_) | CoreSight::OtherSchema(_) => Ending::CoreUnreadable,
    };
    memory.not_down();
    let key = CaseKey { slot: SignalKind::CoreDown, entity: Entity::Core };
    states.push(SignalState::Clear { key, how });
}

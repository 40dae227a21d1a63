//! `core_down`: the core gives no answer that can be used.
//!
//! Every poll without a usable document counts, whatever came instead: nothing, a failure, a page of
//! something else, a refused token. How many in a row make it fire is the `for` of its policy, so
//! that the count survives a restart with the case. Over is what only a usable document ends, or one
//! of another schema version, which is `core_degraded`. A core that says it is starting is not down,
//! and not back either: such a poll changes nothing, since a core that is killed over and over says
//! so in between.

use orch_contract::CoreState;

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
        CoreSight::Down(reason) | CoreSight::Unreadable(reason) => {
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
        CoreSight::Awaited => {
            return hold_slot(SignalKind::CoreDown, "the core's first answer is awaited", states);
        }
        CoreSight::Off => return hold_slot(SignalKind::CoreDown, "no core is configured", states),
        CoreSight::Heard(heard) => match heard.document.core.state {
            CoreState::Starting => return hold_slot(SignalKind::CoreDown, "the core is starting", states),
            CoreState::Ready | CoreState::Stopping | CoreState::Unknown => Ending::CoreAnswers,
        },
        CoreSight::Starting => return hold_slot(SignalKind::CoreDown, "the core is starting", states),
        CoreSight::OtherSchema(_) => Ending::CoreOtherSchema,
    };
    memory.not_down();
    let key = CaseKey { slot: SignalKind::CoreDown, entity: Entity::Core };
    states.push(SignalState::Clear { key, how });
}

//! `delivery_failing`: a channel has not taken a notice for too long.
//!
//! Judged by the age of what waits in the outbox, whatever the reason. A local signal. Its notices
//! go to the other channels only (`notify::audience`).

use super::{
    CaseKey, ChannelFacts, Context, Ending, Entity, Facts, Finding, Severity, SignalKind, SignalState,
    switched_off,
};
use crate::notify::Channel;
use crate::notify::delivery::LastFailure;
use crate::observe::Observation;

/// What waits for one configured channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelBacklog {
    /// Which.
    pub channel: Channel,
    /// When the oldest notice that waits was decided; absent when none waits.
    pub oldest_at_ms: Option<i64>,
    /// Notices that wait.
    pub notices: usize,
    /// Why it refuses until somebody changes something.
    pub parked: Option<String>,
    /// Why the last message failed, if it did.
    pub last_failure: Option<LastFailure>,
    /// Messages tried since this watchdog started.
    pub attempts: u64,
    /// Of those, how many failed.
    pub failures: u64,
}

pub(super) fn derive(observation: &Observation, context: &Context<'_>, states: &mut Vec<SignalState>) {
    if !context.thresholds.enabled(SignalKind::DeliveryFailing) {
        return switched_off(SignalKind::DeliveryFailing, context, states);
    }
    let limit_ms = context.thresholds.delivery_age_ms;
    for backlog in context.channels {
        let entity = Entity::Channel(backlog.channel);
        let late = backlog.oldest_at_ms.filter(|oldest| observation.at_ms.saturating_sub(*oldest) > limit_ms);
        let Some(oldest_at_ms) = late else {
            let key = CaseKey { slot: SignalKind::DeliveryFailing, entity };
            states.push(SignalState::Clear { key, how: Ending::ChannelTakes });
            continue;
        };
        states.push(SignalState::Active(Finding {
            signal: SignalKind::DeliveryFailing,
            entity,
            severity: Severity::Critical,
            since_ms: oldest_at_ms,
            facts: Facts::Channel(ChannelFacts {
                channel: backlog.channel,
                waiting_ms: observation.at_ms.saturating_sub(oldest_at_ms),
                limit_ms,
                notices: backlog.notices,
                parked: backlog.parked.clone(),
                last_failure: backlog.last_failure.clone(),
                attempts: backlog.attempts,
                failures: backlog.failures,
            }),
        }));
    }
}

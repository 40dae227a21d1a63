//! `cpu_starved`: work waits for a processor for too much of the time.
//!
//! The kernel's own measure (PSI, `some avg60`) decides; the matched families that use most are
//! named, so that one knows where to begin. A local signal: the core's silence does not touch it. A
//! kernel that measures no pressure holds it for ever, which is said elsewhere, once.

use super::{
    CaseKey, Context, CpuStarvedFacts, Ending, Entity, Facts, Finding, HungryFamily, Memory, MemoryRoom,
    Severity, SignalKind, SignalState, hold_slot, switched_off,
};
use crate::observe::{Collected, HostObservation, Observation, PressureShares, PressureSight};

/// Families that use less than this fraction of a core starve nobody.
const HUNGRY_SHARE: f64 = 0.1;

pub(super) fn derive(
    observation: &Observation,
    context: &Context<'_>,
    memory: &mut Memory,
    states: &mut Vec<SignalState>,
) {
    if !context.thresholds.enabled(SignalKind::CpuStarved) {
        memory.ended(SignalKind::CpuStarved);
        return switched_off(SignalKind::CpuStarved, context, states);
    }
    let host = match &observation.host {
        Collected::Fresh(host) => host,
        Collected::Unavailable(reason) => return hold_slot(SignalKind::CpuStarved, reason, states),
        Collected::Off => return hold_slot(SignalKind::CpuStarved, "not looked", states),
    };
    let shares = match &host.cpu {
        PressureSight::Measured(shares) => shares,
        PressureSight::NotOffered(reason) => return hold_slot(SignalKind::CpuStarved, reason, states),
    };
    let limit_percent = context.thresholds.cpu_starved_percent;
    if shares.some_avg60_percent <= f64::from(limit_percent) {
        memory.ended(SignalKind::CpuStarved);
        let key = CaseKey { slot: SignalKind::CpuStarved, entity: Entity::Host };
        let how = Ending::CpuRelieved { percent: whole(shares.some_avg60_percent) };
        states.push(SignalState::Clear { key, how });
        return;
    }
    states.push(SignalState::Active(Finding {
        signal: SignalKind::CpuStarved,
        entity: Entity::Host,
        severity: Severity::Warning,
        since_ms: memory.holds_since(SignalKind::CpuStarved, observation.at_ms),
        facts: Facts::CpuStarved(facts(observation, host, shares, limit_percent)),
    }));
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of 0 to 100, shown whole"
)]
fn whole(percent: f64) -> u32 {
    percent.round() as u32
}

fn facts(
    observation: &Observation,
    host: &HostObservation,
    shares: &PressureShares,
    limit_percent: u32,
) -> CpuStarvedFacts {
    CpuStarvedFacts {
        avg10_percent: shares.some_avg10_percent,
        avg60_percent: shares.some_avg60_percent,
        avg300_percent: shares.some_avg300_percent,
        limit_percent,
        memory: host.memory.map(|memory| MemoryRoom {
            available_bytes: memory.available_bytes,
            total_bytes: memory.total_bytes,
        }),
        families: hungriest(observation),
    }
}

fn hungriest(observation: &Observation) -> Vec<HungryFamily> {
    let Collected::Fresh(proc) = &observation.proc else { return Vec::new() };
    let hungry = proc.families.iter().filter_map(|family| {
        family.cpu_share.filter(|share| *share >= HUNGRY_SHARE).map(|cpu_share| HungryFamily {
            key: family.key.clone(),
            command: family.command.clone(),
            cpu_share,
            members: family.members.len(),
            container: family.container.clone(),
        })
    });
    let mut hungry: Vec<HungryFamily> = hungry.collect();
    // stable: equals keep the order of their keys
    hungry.sort_by(|one, other| other.cpu_share.total_cmp(&one.cpu_share));
    hungry.truncate(CpuStarvedFacts::FAMILIES_KEPT);
    hungry
}

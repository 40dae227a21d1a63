//! `disk_low`: the core's data directory runs out of bytes or inodes.
//!
//! By the core's word alone: this watchdog has no mount of that directory. What the core could not
//! read is not judged, nor are inodes where the file system does not count them.

use orch_contract::DataDirectory;

use super::{
    CaseKey, Context, DiskFacts, DiskShortage, Ending, Entity, Facts, Finding, Memory, Severity, SignalKind,
    SignalState, hold_slot, readable_document, switched_off,
};
use crate::observe::Observation;

pub(super) fn derive(
    observation: &Observation,
    context: &Context<'_>,
    memory: &mut Memory,
    states: &mut Vec<SignalState>,
) {
    if !context.thresholds.enabled(SignalKind::DiskLow) {
        memory.ended(SignalKind::DiskLow);
        return switched_off(SignalKind::DiskLow, context, states);
    }
    let document = match readable_document(observation) {
        Ok(document) => document,
        Err(reason) => return hold_slot(SignalKind::DiskLow, reason, states),
    };
    let Some(room) = &document.data_dir else {
        return hold_slot(
            SignalKind::DiskLow,
            "the core could not read the room of its data directory",
            states,
        );
    };
    let limit_percent = context.thresholds.disk_low_percent;
    let Some(short_of) = shortage(room, limit_percent) else {
        memory.ended(SignalKind::DiskLow);
        let key = CaseKey { slot: SignalKind::DiskLow, entity: Entity::Core };
        let how = Ending::DiskHasRoom { percent: limit_percent };
        states.push(SignalState::Clear { key, how });
        return;
    };
    states.push(SignalState::Active(Finding {
        signal: SignalKind::DiskLow,
        entity: Entity::Core,
        severity: Severity::Warning,
        since_ms: memory.holds_since(SignalKind::DiskLow, observation.at_ms),
        facts: Facts::Disk(DiskFacts {
            core_host: document.core.host.clone(),
            free_bytes: room.free_bytes,
            total_bytes: room.total_bytes,
            free_inodes: room.free_inodes,
            total_inodes: room.total_inodes,
            limit_percent,
            short_of,
        }),
    }));
}

fn shortage(room: &DataDirectory, limit_percent: u32) -> Option<DiskShortage> {
    let short = |free: u64, total: u64| {
        u128::from(free).saturating_mul(100) < u128::from(total).saturating_mul(u128::from(limit_percent))
    };
    match (short(room.free_bytes, room.total_bytes), short(room.free_inodes, room.total_inodes)) {
        (true, true) => Some(DiskShortage::Both),
        (true, false) => Some(DiskShortage::Bytes),
        (false, true) => Some(DiskShortage::Inodes),
        (false, false) => None,
    }
}

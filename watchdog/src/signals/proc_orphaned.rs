//! `proc_orphaned`: a matched family that nobody owns.
//!
//! Told after a grace, since a starter that ends may leave its children a moment; a family that was
//! never the core's business needs a much longer one. Critical when it spins.

use super::{Context, Judged, Memory, Ownership, Severity, SignalKind};
use crate::observe::Family;

/// From this share of one core on, an orphan counts as spinning.
pub const SPINNING_SHARE: f64 = 0.25;

/// While its CPU use is not known yet, an orphan is held for at most this long (one minute, in
/// milliseconds), so that one orphan is not told twice with two severities.
const CPU_UNKNOWN_HELD_MS: i64 = 60_000;

/// What the rule says of one family.
#[derive(Debug, PartialEq)]
pub(super) enum Assessment {
    /// An orphan to tell, since when.
    Active(Severity, i64),
    /// An orphan within its grace.
    WithinGrace,
    /// No orphan, as far as can be told.
    No,
}

/// Applies the rule.
pub(super) fn assess(
    now: i64,
    family: &Family,
    judged: &Judged,
    context: &Context<'_>,
    memory: &mut Memory,
) -> Assessment {
    let thresholds = context.thresholds;
    if !thresholds.enabled(SignalKind::ProcOrphaned) {
        return Assessment::No;
    }
    let foreign = match judged.ownership {
        Ownership::Orphan => false,
        Ownership::Foreign => true,
        Ownership::Owned => {
            memory.not_orphan(&family.key);
            return Assessment::No;
        }
        // what was known before stays: an orphan does not become younger while nobody can tell
        Ownership::OwnerUnknown => return Assessment::No,
    };
    let since = memory.orphan_since(&family.key, now);
    let orphan_for = now.saturating_sub(since);
    let too_young = foreign && family.awake_age_ms < thresholds.foreign_grace_ms;
    if orphan_for < thresholds.orphan_grace_ms || too_young {
        return Assessment::WithinGrace;
    }
    match family.cpu_share {
        None if orphan_for < CPU_UNKNOWN_HELD_MS.max(thresholds.orphan_grace_ms.saturating_mul(2)) => {
            Assessment::WithinGrace
        }
        Some(share) if share >= SPINNING_SHARE => Assessment::Active(Severity::Critical, since),
        None | Some(_) => Assessment::Active(Severity::Warning, since),
    }
}

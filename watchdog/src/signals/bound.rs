//! How many cases a document of the core may make.
//!
//! Pure. A case costs some ten kilobytes in all its places (memory, outbox, state file), and a document has room for tens
//! of thousands: without a bound whoever answers in the core's place could have this program killed for its memory.
//! Processes are bounded by the kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::{CaseKey, SignalKind, SignalState};

/// Cases of one signal at once.
pub const CASES_A_SIGNAL: usize = 1_000;

/// Leaves out what is beyond the bound, cases that are open excepted; how many that were.
pub fn bound(open: &[CaseKey], states: &mut Vec<SignalState>) -> usize {
    let before = states.len();
    if before <= CASES_A_SIGNAL {
        return 0;
    }
    let open: BTreeSet<&CaseKey> = open.iter().collect();
    let mut cases: BTreeMap<SignalKind, usize> = BTreeMap::new();
    for key in &open {
        let cases = cases.entry(key.slot).or_default();
        *cases = cases.saturating_add(1);
    }
    states.retain(|state| {
        let SignalState::Active(finding) = state else { return true };
        let key = finding.key();
        let is_process = matches!(key.slot, SignalKind::ProcBlocking | SignalKind::ProcOrphaned);
        if is_process || open.contains(&key) {
            return true;
        }
        let cases = cases.entry(key.slot).or_default();
        *cases = cases.saturating_add(1);
        *cases <= CASES_A_SIGNAL
    });
    before.saturating_sub(states.len())
}

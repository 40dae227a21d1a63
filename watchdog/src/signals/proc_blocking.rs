//! `proc_blocking`: a matched family is older than its limit, whoever owns it.
//!
//! The age is awake time: a laptop's night does not make a test old.

use super::{Severity, SignalKind, Thresholds};
use crate::observe::Family;

/// Always a warning: an owned long test may be right.
pub(super) const SEVERITY: Severity = Severity::Warning;

/// Whether it holds.
pub(super) fn holds(family: &Family, thresholds: &Thresholds) -> bool {
    thresholds.enabled(SignalKind::ProcBlocking) && family.awake_age_ms > thresholds.proc_age_ms
}

//! Exclusive ownership of one task's edge, as values.
//!
//! Whether an owner lives is decided by two facts alone: its core's boot id is ours, and its task
//! handle is registered in this process. No clock takes part.

use super::{
    actor::Actor,
    ids::{BootId, Fencing},
};

/// A lease as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Token of this grant.
    pub fencing: Fencing,
    /// Actor that holds it.
    pub actor: Actor,
    /// Life of the core that granted it.
    pub boot_id: BootId,
    /// Number of the owner's handle within that life.
    pub owner: i64,
    /// When it was granted.
    pub acquired_at_ms: i64,
}

/// What a look at an owner says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerLiveness {
    /// Registered in this life.
    Live,
    /// Of an earlier life.
    DeadBoot,
    /// Of this life, but its handle is gone: returned, aborted or panicked.
    DeadOwner,
}

/// Judges an owner.
#[must_use]
pub fn judge_owner(row: &LeaseRow, our_boot: &BootId, registered: bool) -> OwnerLiveness {
    match (row.boot_id == *our_boot, registered) {
        (true, true) => OwnerLiveness::Live,
        (true, false) => OwnerLiveness::DeadOwner,
        (false, _) => OwnerLiveness::DeadBoot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_only_by_boot_id_and_registration() {
        let row = LeaseRow {
            fencing: Fencing(3),
            actor: Actor::Monitor,
            boot_id: BootId("a".into()),
            owner: 7,
            acquired_at_ms: 0,
        };
        let ours = BootId("a".into());
        let next = BootId("b".into());
        assert_eq!(judge_owner(&row, &ours, true), OwnerLiveness::Live);
        assert_eq!(judge_owner(&row, &ours, false), OwnerLiveness::DeadOwner);
        assert_eq!(
            judge_owner(&row, &next, true),
            OwnerLiveness::DeadBoot,
            "a recycled handle number proves nothing"
        );
    }
}

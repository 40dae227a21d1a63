//! The guards that keep an effect and a change of stage single, each by its name.
//!
//! A build with debug assertions can lift one guard of one store, so that a test can show what it is
//! there for. A release build has none of this: there every guard stands.

#[cfg(debug_assertions)]
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// One guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Guard {
    /// A live owner's lease is not granted to anybody else.
    LiveOwner = 1,
    /// An owner whose lease was taken by force in the middle of an effect is waited for.
    ForcedOwner = 1 << 1,
    /// A stale owner can neither journal, nor begin an act.
    JournalFencing = 1 << 2,
    /// A stale owner cannot commit.
    CommitFencing = 1 << 3,
    /// A decision is written only over what it was made on.
    Comparison = 1 << 4,
    /// What is journalled as done is not done again.
    JournalledDone = 1 << 5,
    /// The outside is asked before an act.
    ProbeFirst = 1 << 6,
    /// Intents of an earlier try are settled before anything begins.
    SettledFirst = 1 << 7,
    /// An effect that cannot be told parks the task.
    DoubtParks = 1 << 8,
    /// The tree that landed is compared with the tree that was tested.
    LandedTree = 1 << 9,
    /// A trigger that was deferred is asked again.
    PendingTrigger = 1 << 10,
    /// One candidate at a time merges into a branch.
    MergeSlot = 1 << 11,
}

impl Guard {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::LiveOwner,
        Self::ForcedOwner,
        Self::JournalFencing,
        Self::CommitFencing,
        Self::Comparison,
        Self::JournalledDone,
        Self::ProbeFirst,
        Self::SettledFirst,
        Self::DoubtParks,
        Self::LandedTree,
        Self::PendingTrigger,
        Self::MergeSlot,
    ];
}

/// Which guards of one store are lifted; none, outside of tests.
#[derive(Debug, Clone, Default)]
pub struct Guards {
    #[cfg(debug_assertions)]
    lifted: Arc<AtomicU32>,
}

impl Guards {
    /// Whether a guard stands.
    #[must_use]
    #[cfg_attr(not(debug_assertions), expect(clippy::unused_self, reason = "release builds lift nothing"))]
    #[cfg_attr(
        not(debug_assertions),
        expect(clippy::missing_const_for_fn, reason = "not const in debug builds")
    )]
    pub fn stands(&self, guard: Guard) -> bool {
        #[cfg(debug_assertions)]
        return self.lifted.load(Ordering::Relaxed) & guard as u32 == 0;
        #[cfg(not(debug_assertions))]
        {
            let _ = guard;
            true
        }
    }

    /// Lifts a guard for this store's life.
    #[cfg(debug_assertions)]
    pub fn lift(&self, guard: Guard) {
        self.lifted.fetch_or(guard as u32, Ordering::Relaxed);
    }
}

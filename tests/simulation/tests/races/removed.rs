//! What is taken away from the model, so that it can be seen to be needed.

use orch_core::guards::Guard;

/// One mechanism, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// All of them stand.
    Nothing,
    /// One of the store's and the engine's guards.
    Guard(Guard),
    /// An owner of an earlier life is taken for a living one.
    BootId,
    /// The reaper takes the lease of whoever holds it by then, not only of the owner that it saw.
    SeenToken,
    /// A merged task is decided about like any other.
    MergeBar,
}

impl Removed {
    /// Whether a guard stands.
    pub(crate) fn stands(self, guard: Guard) -> bool {
        self != Self::Guard(guard)
    }
}

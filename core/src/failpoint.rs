//! Labelled points at which a test can end this process, as a crash would, and guards that a test
//! can take away.
//!
//! A point is armed by the hidden setting `ORCH_FAILPOINT=<label>[:<detail>]` in builds with debug
//! assertions; a release build has none of this. Nothing but ending the process is offered there: what
//! a crash at this point leaves behind is exactly what the proof is about.
//!
//! A [`Plant`] is a bug put in, for one thread and by a simulation alone: each must be found.

#[cfg(debug_assertions)]
use std::{cell::Cell, sync::OnceLock};

#[cfg(debug_assertions)]
static ARMED: OnceLock<String> = OnceLock::new();

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
}

/// A bug put in, beside the guards of one store (`guards`) that can be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// An owner lives as long as its pid does, and every life has the same one.
    LivenessByPid,
    /// An open intent of a deploy is taken for done.
    IntentIsDone,
    /// Nothing is settled at the start.
    StartWithoutSettling,
    /// A merged task is rolled back like any other.
    RollBackAfterMerge,
    /// A pass of any candidate counts for every other.
    PassOfAnotherHead,
    /// A living agent of the last life is taken for one that never began.
    SurvivorsForgotten,
    /// The reconciler does not look.
    NobodySweeps,
    /// The reaper does not look at jobs.
    NobodyReaps,
    /// The finalizer believes every deploy.
    DeployUnchecked,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::LivenessByPid,
        Self::IntentIsDone,
        Self::StartWithoutSettling,
        Self::RollBackAfterMerge,
        Self::PassOfAnotherHead,
        Self::SurvivorsForgotten,
        Self::NobodySweeps,
        Self::NobodyReaps,
        Self::DeployUnchecked,
    ];
}

/// Takes one guard away in this thread, or puts all back.
#[cfg(debug_assertions)]
pub fn plant(bug: Option<Plant>) {
    PLANTED.set(bug);
}

/// Whether this guard was taken away. Never in a release build.
#[cfg_attr(
    not(debug_assertions),
    expect(clippy::missing_const_for_fn, reason = "constant in release builds")
)]
#[must_use]
pub fn planted(bug: Plant) -> bool {
    #[cfg(debug_assertions)]
    return PLANTED.get() == Some(bug);
    #[cfg(not(debug_assertions))]
    {
        let _ = bug;
        false
    }
}

/// Arms one point for this life.
#[cfg(debug_assertions)]
pub fn arm(label: &str) {
    if ARMED.set(label.to_owned()).is_err() {
        tracing::warn!(label, "a fail point is armed already");
    }
}

/// Ends the process here if this point is armed.
#[cfg_attr(not(debug_assertions), expect(clippy::missing_const_for_fn, reason = "empty in release builds"))]
pub fn hit(label: &str, detail: &str) {
    #[cfg(debug_assertions)]
    if let Some(armed) = ARMED.get()
        && (armed == label || armed.split_once(':') == Some((label, detail)))
    {
        tracing::error!(label, detail, "fail point: ending the process");
        // SIGKILL to ourselves: no destructor, no buffer, no exit handler
        if rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).is_err() {
            std::process::abort();
        }
    }
    #[cfg(not(debug_assertions))]
    {
        let _ = (label, detail);
    }
}

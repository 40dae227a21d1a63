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

use crate::domain::{effect::EffectKind, job::Role, stage::Stage};

#[cfg(debug_assertions)]
static ARMED: OnceLock<String> = OnceLock::new();

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
}

/// A place in the program at which it can be ended. Each has as many points as details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// A job is claimed, its run not started.
    JobAfterClaim,
    /// The agent was told to go.
    JobAfterGo,
    /// The end of a run is recorded, the job not settled.
    JobAfterExitRecorded,
    /// A lease is written, its transaction not committed.
    LeaseBeforeCommit,
    /// A lease is granted.
    LeaseAfterCommit,
    /// An intent is written, its transaction not committed.
    IntentBeforeCommit,
    /// An intent stands in the journal.
    IntentAfterCommit,
    /// The outside said that the act is wanted.
    EffectBeforeAct,
    /// The act is over, and not journalled.
    EffectAfterAct,
    /// *Done* is written, its transaction not committed.
    DoneBeforeCommit,
    /// *Done* stands in the journal.
    DoneAfterCommit,
    /// A start found an intent proven not done, and journalled it.
    SettledVoid,
    /// A start found an intent done, and journalled it.
    SettledDone,
    /// A change of stage is written, its transaction not committed.
    StageBeforeCommit,
    /// A change of stage stands.
    StageAfterCommit,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::JobAfterClaim,
        Self::JobAfterGo,
        Self::JobAfterExitRecorded,
        Self::LeaseBeforeCommit,
        Self::LeaseAfterCommit,
        Self::IntentBeforeCommit,
        Self::IntentAfterCommit,
        Self::EffectBeforeAct,
        Self::EffectAfterAct,
        Self::DoneBeforeCommit,
        Self::DoneAfterCommit,
        Self::SettledVoid,
        Self::SettledDone,
        Self::StageBeforeCommit,
        Self::StageAfterCommit,
    ];

    /// Its label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobAfterClaim => "job.after_claim",
            Self::JobAfterGo => "job.after_go",
            Self::JobAfterExitRecorded => "job.after_exit_recorded",
            Self::LeaseBeforeCommit => "lease.before_commit",
            Self::LeaseAfterCommit => "lease.after_commit",
            Self::IntentBeforeCommit => "effect.before_intent_commit",
            Self::IntentAfterCommit => "effect.after_intent",
            Self::EffectBeforeAct => "effect.before_act",
            Self::EffectAfterAct => "effect.after_act",
            Self::DoneBeforeCommit => "effect.before_done_commit",
            Self::DoneAfterCommit => "effect.after_done",
            Self::SettledVoid => "settle.after_void",
            Self::SettledDone => "settle.after_done",
            Self::StageBeforeCommit => "stage.before_commit",
            Self::StageAfterCommit => "stage.after_commit",
        }
    }

    /// What can stand behind its label: a role, an effect, or the stage that is left.
    #[must_use]
    pub fn details(self) -> Vec<&'static str> {
        match self {
            Self::JobAfterClaim | Self::JobAfterGo | Self::JobAfterExitRecorded => {
                Role::ALL.iter().map(|role| role.as_str()).collect()
            }
            Self::LeaseBeforeCommit | Self::LeaseAfterCommit => {
                let leased = Stage::ALL.iter().filter(|stage| stage.has_effects());
                leased.map(|stage| stage.as_str()).collect()
            }
            Self::IntentBeforeCommit
            | Self::IntentAfterCommit
            | Self::EffectBeforeAct
            | Self::EffectAfterAct
            | Self::DoneBeforeCommit
            | Self::DoneAfterCommit
            | Self::SettledVoid => EffectKind::ALL.iter().map(|kind| kind.as_str()).collect(),
            // a half-prepared candidate is always prepared anew
            Self::SettledDone => {
                let others = EffectKind::ALL.iter().filter(|kind| **kind != EffectKind::PrepareCandidate);
                others.map(|kind| kind.as_str()).collect()
            }
            Self::StageBeforeCommit | Self::StageAfterCommit => {
                Stage::ALL.iter().filter(|stage| !stage.is_terminal()).map(|stage| stage.as_str()).collect()
            }
        }
    }
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
    /// Waits for others are measured by the host's clock.
    WaitsByClock,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::LivenessByPid,
        Self::IntentIsDone,
        Self::StartWithoutSettling,
        Self::RollBackAfterMerge,
        Self::PassOfAnotherHead,
        Self::SurvivorsForgotten,
        Self::NobodySweeps,
        Self::NobodyReaps,
        Self::DeployUnchecked,
        Self::WaitsByClock,
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
pub fn hit(point: Point, detail: &str) {
    #[cfg(debug_assertions)]
    let label = point.as_str();
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
        let _ = (point, detail);
    }
}

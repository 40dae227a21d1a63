//! What happened since this core's start, counted once and read by the observation document and
//! the metrics alike.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::{ids::TaskId, verdict::GateKind};

/// The last failure of a gate.
#[derive(Debug, Clone)]
pub struct LastFailure {
    /// Whose.
    pub task: TaskId,
    /// When.
    pub at_ms: i64,
    /// Verdict's name.
    pub verdict: &'static str,
    /// Its class.
    pub class: &'static str,
    /// One line.
    pub summary: String,
}

/// A gate at work.
#[derive(Debug, Clone)]
pub struct AtWork {
    /// For which task.
    pub task: TaskId,
    /// Since when.
    pub since_ms: i64,
    /// Its time-out.
    pub timeout_ms: i64,
}

/// All counters.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Answers of the one door, by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Verdicts by gate, verdict, class.
    pub verdicts: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// Last failure by gate.
    pub failures: BTreeMap<&'static str, LastFailure>,
    /// Gates at work.
    pub at_work: BTreeMap<&'static str, Vec<AtWork>>,
    /// Leases granted.
    pub grants: u64,
    /// Entries deferred.
    pub deferrals: u64,
    /// Leases reclaimed, by reason.
    pub reclaims: BTreeMap<&'static str, u64>,
    /// Comparisons lost.
    pub lost_cas: u64,
    /// Effects carried out, by kind and outcome.
    pub effects: BTreeMap<(&'static str, &'static str), u64>,
    /// Runs ended, by kind and outcome word.
    pub runs: BTreeMap<(&'static str, &'static str), u64>,
    /// Claims of the reaper by tier (1, 2, 3).
    pub reaped: [u64; 3],
    /// Failed passes by actor.
    pub failed_passes: BTreeMap<&'static str, u64>,
    /// Last finished pass by actor.
    pub last_pass_ms: BTreeMap<&'static str, i64>,
    /// Tasks that the reconciler woke.
    pub woken: u64,
    /// Panics caught in actors.
    pub panics: u64,
    /// Differences between our record and the outside that the reconciler found.
    pub drift: u64,
    /// Messages to people.
    pub chat: ChatTally,
}

/// Messages to people by the channel beside the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChatTally {
    /// Whether the last call went through.
    pub up: Option<bool>,
    /// Notices that wait.
    pub pending: u64,
    /// Calls made.
    pub attempts: u64,
    /// Calls failed.
    pub failures: u64,
}

/// Shared tally.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Tally>);

impl Counters {
    /// The tally, to read or to count.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The words in which [`Self::run_ended`] counts.
    pub const RUN_OUTCOMES: [&'static str; 7] =
        ["success", "timed_out", "stopped", "lost", "not_started", "signal", "failure"];

    /// Counts a run that ended, by its kind and its outcome in one word.
    pub fn run_ended(&self, kind: &'static str, outcome: &str) {
        let word = match outcome {
            "exit 0" => "success",
            "timed out" => "timed_out",
            "stopped" => "stopped",
            "supervisor lost" => "lost",
            text if text.starts_with("not started") || text == "never started" => "not_started",
            text if text.starts_with("signal") => "signal",
            _ => "failure",
        };
        *self.tally().runs.entry((kind, word)).or_default() += 1;
    }

    /// Marks a gate as at work until the guard is dropped.
    #[must_use]
    pub fn gate_at_work(&self, gate: GateKind, work: AtWork) -> GateAtWork<'_> {
        let task = work.task;
        self.tally().at_work.entry(gate.as_str()).or_default().push(work);
        GateAtWork { counters: self, gate, task }
    }
}

/// A gate at work; ends with its drop, also when the gate's task is aborted.
#[derive(Debug)]
pub struct GateAtWork<'a> {
    counters: &'a Counters,
    gate: GateKind,
    task: TaskId,
}

impl Drop for GateAtWork<'_> {
    fn drop(&mut self) {
        if let Some(list) = self.counters.tally().at_work.get_mut(self.gate.as_str())
            && let Some(at) = list.iter().position(|work| work.task == self.task)
        {
            list.swap_remove(at);
        }
    }
}

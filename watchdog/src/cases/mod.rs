//! Cases: when a condition is announced, reminded of, and declared over.
//!
//! Responsible for `decide`, a pure function from the state so far, the states of all signals and
//! the time to a new state and notices. It knows nothing of channels and texts. Invariants, held by
//! properties: no two alerts of an entity inside its cooldown unless it got worse or has
//! another cause; at most one
//! recovery an alert; no recovery without an alert; nothing from what could not be seen; the same
//! input gives the same output. There is no special case for a start of the program: what was told
//! is in the state, so an unchanged condition stays silent and an ended one recovers. What people
//! muted or acknowledged is decided all the same and not told (`suppress`).

mod policy;
mod step;
mod suppress;

use std::collections::{BTreeMap, BTreeSet};

pub use policy::{Policy, SignalPolicy};
use serde::{Deserialize, Serialize};
pub use suppress::{Acknowledged, CaseId, Mute, MuteScope, Mutes, NotAcknowledged, Silence, Suppression};

use crate::signals::{CaseKey, Ending, Finding, HeldScope, Severity, SignalKind, SignalState};

/// Changes of one case that are remembered; more than [`FLAPPING_CHANGES`] is all that is asked.
const CHANGES_KEPT: usize = 8;

/// More changes than this within [`FLAPPING_WINDOW_MS`] is flapping.
pub const FLAPPING_CHANGES: usize = 4;

/// The window in which changes count as flapping (one hour, in milliseconds).
pub const FLAPPING_WINDOW_MS: i64 = 3_600_000;

/// A flapping case without a change for this long is stable again (30 minutes, in milliseconds).
pub const STABLE_AFTER_MS: i64 = 1_800_000;

/// Causes of one case that are told at once between two reminders; further ones wait for the reminder.
pub const CAUSES_TOLD_AT_ONCE: usize = 8;

/// Cases that are over and owe nothing are remembered at most this many.
const RECOVERED_KEPT: usize = 2_000;

/// All cases.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertState {
    #[serde(with = "crate::signals::as_list")]
    cases: BTreeMap<CaseKey, Case>,
    #[serde(default)]
    mutes: Mutes,
    #[serde(default)]
    last_case_id: u64,
}

/// One entity's case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The condition as last seen to hold.
    pub finding: Finding,
    /// Where the case stands.
    pub phase: Phase,
    /// What people were told.
    pub told: Told,
    /// When it began to fire or recovered, latest last.
    changes_ms: Vec<i64>,
    /// Given when it first fires, kept until it is forgotten.
    #[serde(default)]
    id: Option<CaseId>,
}

/// Where a case stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Seen, not long enough to count.
    Pending {
        /// Ticks in a row.
        ticks: u32,
    },
    /// It counts.
    Firing {
        /// Since when it counts.
        since_ms: i64,
        /// Ticks in a row in which it was clear.
        clear_ticks: u32,
    },
    /// It is over.
    Recovered {
        /// Since when it counted.
        fired_ms: i64,
        /// When it ended.
        at_ms: i64,
        /// What ended it.
        how: Ending,
    },
}

/// What people were told of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The last alert.
    last_alert: Option<LastAlert>,
    /// Reminders since the first alert or since it got worse.
    reminders: u32,
    /// An alert was told and its end was not.
    recovery_owed: bool,
    /// Told to be flapping, and held until it is stable.
    flapping: bool,
    /// Somebody has seen it.
    #[serde(default)]
    acknowledged: Option<Acknowledged>,
    /// Causes that were named since the last alert or reminder; absent in a state of an earlier
    /// program, which did not keep them.
    #[serde(default)]
    causes: Option<BTreeSet<String>>,
}

/// The last alert of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LastAlert {
    at_ms: i64,
    severity: Severity,
    signal: SignalKind,
}

impl LastAlert {
    /// Order of badness: severity first, then the superseding signal.
    fn rank(self) -> (Severity, u8) {
        (self.severity, self.signal.precedence())
    }
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What it says.
    pub kind: NoticeKind,
    /// When it was decided, UTC Unix milliseconds.
    pub at_ms: i64,
    /// The condition.
    pub finding: Finding,
}

/// What a notice says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// It began.
    Alert,
    /// It still holds.
    Reminder {
        /// How many reminders, this one included.
        count: u32,
    },
    /// It got worse: a higher severity, or a signal that supersedes.
    Worse,
    /// It holds for a cause that was not named yet.
    Changed,
    /// It comes and goes; held from here on until it is stable.
    Flapping {
        /// Changes within the last hour.
        changes: usize,
    },
    /// It is over.
    Recovered {
        /// For how long it counted, milliseconds.
        lasted_ms: i64,
        /// What ended it.
        how: Ending,
    },
}

impl NoticeKind {
    /// Whether it announces a condition, as opposed to its end.
    #[must_use]
    pub fn is_alert(&self) -> bool {
        match self {
            Self::Alert | Self::Reminder { .. } | Self::Worse | Self::Changed | Self::Flapping { .. } => true,
            Self::Recovered { .. } => false,
        }
    }

    /// Name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Reminder { .. } => "reminder",
            Self::Worse => "worse",
            Self::Changed => "changed",
            Self::Flapping { .. } => "flapping",
            Self::Recovered { .. } => "recovered",
        }
    }
}

/// What a case is told in one tick.
#[derive(Debug, Clone, PartialEq)]
enum Input {
    Active(Box<Finding>),
    Clear(Ending),
    Gone(Ending),
    Held,
}

impl Case {
    /// Whether it counts.
    #[must_use]
    pub fn fires(&self) -> bool {
        match self.phase {
            Phase::Firing { .. } => true,
            Phase::Pending { .. } | Phase::Recovered { .. } => false,
        }
    }
}

impl AlertState {
    /// Cases that are pending or fire, with their keys.
    pub fn open(&self) -> impl Iterator<Item = (&CaseKey, &Case)> {
        self.cases.iter().filter(|(_, case)| match case.phase {
            Phase::Pending { .. } | Phase::Firing { .. } => true,
            Phase::Recovered { .. } => false,
        })
    }

    /// Cases that fire.
    pub fn firing(&self) -> impl Iterator<Item = &Case> {
        self.cases.values().filter(|case| case.fires())
    }

    /// What a firing case was last seen to be.
    #[must_use]
    pub fn firing_finding(&self, key: &CaseKey) -> Option<&Finding> {
        self.cases.get(key).filter(|case| case.fires()).map(|case| &case.finding)
    }

    /// No case yet, and the first one's number beyond this one.
    #[must_use]
    pub fn after(last_case_id: u64) -> Self {
        Self { last_case_id, ..Self::default() }
    }

    /// Cases that people were told of, and whose end they were not, with their keys.
    pub fn told(&self) -> impl Iterator<Item = (&CaseKey, &Case)> {
        self.cases.iter().filter(|(_, case)| case.told.recovery_owed)
    }

    /// Takes up cases and mutes of an earlier life that are not known here. A case gets another number,
    /// since its own may be taken.
    pub fn take_up(&mut self, old: Self) {
        self.last_case_id = self.last_case_id.max(old.last_case_id);
        for (key, case) in old.cases {
            self.cases.entry(key).or_insert(Case { id: None, ..case });
        }
        self.mutes.take_up(old.mutes);
    }

    /// Whether two states differ in what must survive a stop. The measured facts of a condition
    /// that goes on (its age, its CPU) change with every tick and are not worth a write.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        let durable = |state: &Self| -> Vec<(CaseKey, Phase, Told, SignalKind, Severity)> {
            let row = |(key, case): (&CaseKey, &Case)| {
                let finding = &case.finding;
                (key.clone(), case.phase.clone(), case.told.clone(), finding.signal, finding.severity)
            };
            state.cases.iter().map(row).collect()
        };
        self.mutes != other.mutes
            || self.last_case_id != other.last_case_id
            || durable(self) != durable(other)
    }
}

/// The next state of all cases, and what is to be told, in the order of the keys.
#[must_use]
pub fn decide(
    state: AlertState,
    states: &[SignalState],
    now: i64,
    policy: &Policy,
) -> (AlertState, Vec<Notice>) {
    let mut inputs: BTreeMap<CaseKey, Input> = BTreeMap::new();
    let mut held_slots = Vec::new();
    for one in states {
        let (key, input) = match one {
            SignalState::Active(finding) => (finding.key(), Input::Active(Box::new(finding.clone()))),
            SignalState::Clear { key, how } => (key.clone(), Input::Clear(how.clone())),
            SignalState::Gone { key, how } => (key.clone(), Input::Gone(how.clone())),
            SignalState::Held { scope: HeldScope::Case(key), .. } => (key.clone(), Input::Held),
            SignalState::Held { scope: HeldScope::Slot(slot), .. } => {
                held_slots.push(*slot);
                continue;
            }
        };
        // two words on one case: a condition that holds wins, then doubt, then its end
        match inputs.get(&key) {
            Some(known) if known.weight() >= input.weight() => {}
            Some(_) | None => {
                inputs.insert(key, input);
            }
        }
    }
    let AlertState { mut cases, mut mutes, mut last_case_id } = state;
    mutes.expire(now);
    for key in cases.keys() {
        if !inputs.contains_key(key) {
            let input = match held_slots.contains(&key.slot) {
                true => Input::Held,
                false => Input::Gone(Ending::of_vanished(&key.entity)),
            };
            inputs.insert(key.clone(), input);
        }
    }
    let mut notices = Vec::new();
    let mut over = Vec::new();
    let rules = step::Rules { policy, mutes: &mutes };
    for (key, input) in inputs {
        let before = cases.remove(&key);
        let fired = before.as_ref().is_some_and(Case::fires).then(|| key.clone());
        let stepped = step::step(before, input, now, &rules);
        if let Some(mut case) = stepped.case {
            if case.fires() && case.id.is_none() {
                let id = CaseId::after(last_case_id);
                last_case_id = id.number();
                case.id = Some(id);
            }
            if let Some(fired) = fired.filter(|_| !case.fires()) {
                over.push((case.finding.signal, fired));
            }
            cases.insert(key, case);
        }
        notices.extend(stepped.notice);
    }
    mutes.end_with(&over, &cases);
    forget(&mut cases);
    (AlertState { cases, mutes, last_case_id }, notices)
}

impl Input {
    fn weight(&self) -> u8 {
        match self {
            Self::Active(_) => 3,
            Self::Held => 2,
            Self::Clear(_) => 1,
            Self::Gone(_) => 0,
        }
    }
}

/// Bounds the memory of what is over: the oldest go first, unless they still owe a recovery.
fn forget(cases: &mut BTreeMap<CaseKey, Case>) {
    let mut over: Vec<(i64, CaseKey)> = Vec::new();
    for (key, case) in cases.iter() {
        if let Phase::Recovered { at_ms, .. } = case.phase
            && !case.told.recovery_owed
        {
            over.push((at_ms, key.clone()));
        }
    }
    if over.len() > RECOVERED_KEPT {
        over.sort();
        let surplus = over.len().saturating_sub(RECOVERED_KEPT);
        for (_, key) in over.into_iter().take(surplus) {
            cases.remove(&key);
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod tests;

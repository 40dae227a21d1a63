//! One case, one tick: the transition function.
//!
//! A match on (phase, input) with no wildcard. The announcing rules stand below it, once for all
//! ways into `Firing`.

use super::{
    CAUSES_TOLD_AT_ONCE, CHANGES_KEPT, Case, FLAPPING_CHANGES, FLAPPING_WINDOW_MS, Input, LastAlert, Mutes,
    Notice, NoticeKind, Phase, Policy, STABLE_AFTER_MS, SignalPolicy, Told,
};
use std::collections::BTreeSet;

use crate::signals::Ending;

/// What came of a step.
pub(super) struct Stepped {
    pub(super) case: Option<Case>,
    pub(super) notice: Option<Notice>,
}

impl Stepped {
    fn quiet(case: Case) -> Self {
        Self { case: Some(case), notice: None }
    }
}

/// What a step goes by.
pub(super) struct Rules<'a> {
    pub(super) policy: &'a Policy,
    pub(super) mutes: &'a Mutes,
}

pub(super) fn step(case: Option<Case>, input: Input, now: i64, rules: &Rules<'_>) -> Stepped {
    let policy = rules.policy;
    let Some(mut case) = case else {
        return match input {
            Input::Active(finding) => {
                let (told, changes_ms, phase) = (Told::default(), Vec::new(), Phase::Pending { ticks: 0 });
                begin(Case { finding: *finding, phase, told, changes_ms, id: None }, now, rules)
            }
            Input::Clear(_) | Input::Gone(_) | Input::Held => Stepped { case: None, notice: None },
        };
    };
    case.not_after(now);
    match (case.phase.clone(), input) {
        (_, Input::Held) => Stepped::quiet(case),
        (Phase::Pending { ticks }, Input::Active(finding)) => {
            let patience = policy.of(finding.signal);
            case.finding = *finding;
            match ticks.saturating_add(1) >= patience.for_ticks {
                true => fire(case, now, rules),
                false => {
                    case.phase = Phase::Pending { ticks: ticks.saturating_add(1) };
                    Stepped::quiet(case)
                }
            }
        }
        (Phase::Pending { .. }, Input::Clear(how) | Input::Gone(how)) => {
            // a case that never counted leaves no trace, unless it was told of before
            let remembered = case.told.last_alert.is_some();
            case.phase = Phase::Recovered { fired_ms: now, at_ms: now, how };
            Stepped { case: remembered.then_some(case), notice: None }
        }
        (Phase::Firing { since_ms, .. }, Input::Active(finding)) => {
            case.finding = *finding;
            case.phase = Phase::Firing { since_ms, clear_ticks: 0 };
            announce(case, now, rules)
        }
        (Phase::Firing { since_ms, clear_ticks }, Input::Clear(how)) => {
            match clear_ticks.saturating_add(1) >= policy.of(case.finding.signal).clear_ticks {
                true => recover(case, since_ms, how, now),
                false => {
                    case.phase = Phase::Firing { since_ms, clear_ticks: clear_ticks.saturating_add(1) };
                    Stepped::quiet(case)
                }
            }
        }
        (Phase::Firing { since_ms, .. }, Input::Gone(how)) => recover(case, since_ms, how, now),
        (Phase::Recovered { .. }, Input::Active(finding)) => {
            case.finding = *finding;
            begin(case, now, rules)
        }
        (Phase::Recovered { fired_ms, at_ms, how }, Input::Clear(_) | Input::Gone(_)) => {
            settle(case, (fired_ms, at_ms, how), now, policy)
        }
    }
}

fn begin(mut case: Case, now: i64, rules: &Rules<'_>) -> Stepped {
    case.phase = Phase::Pending { ticks: 1 };
    match rules.policy.of(case.finding.signal).for_ticks <= 1 {
        true => fire(case, now, rules),
        false => Stepped::quiet(case),
    }
}

fn fire(mut case: Case, now: i64, rules: &Rules<'_>) -> Stepped {
    case.phase = Phase::Firing { since_ms: now, clear_ticks: 0 };
    case.changed(now);
    announce(case, now, rules)
}

/// Tells a firing case if it is due and nobody asked not to be told.
fn announce(mut case: Case, now: i64, rules: &Rules<'_>) -> Stepped {
    let patience = rules.policy.of(case.finding.signal);
    case.calm_down(now);
    let seen = case.told.acknowledged.as_ref().is_some_and(|seen| seen.covers(case.rank()));
    if seen || rules.mutes.silence(&case.finding) {
        return Stepped::quiet(case);
    }
    let changes = case.changes_within_hour(now);
    let due = match case.told.last_alert {
        None => Some(NoticeKind::Alert),
        Some(last) if case.rank() > last.rank() => Some(NoticeKind::Worse),
        Some(_) if case.told.flapping => None,
        Some(_) if changes > FLAPPING_CHANGES => Some(NoticeKind::Flapping { changes }),
        Some(last) => case.due(last, now, patience).or_else(|| case.changed_cause()),
    };
    let Some(kind) = due else { return Stepped::quiet(case) };
    let unnamed = case.unnamed_causes();
    case.name_causes(&kind);
    match &kind {
        NoticeKind::Changed => {}
        NoticeKind::Reminder { count } => case.told.reminders = *count,
        NoticeKind::Flapping { .. } => case.told.flapping = true,
        NoticeKind::Alert | NoticeKind::Worse | NoticeKind::Recovered { .. } => case.told.reminders = 0,
    }
    // what is told now is worse than what was seen
    case.told.acknowledged = None;
    let finding = &case.finding;
    // a new cause puts no reminder off
    if kind != NoticeKind::Changed {
        case.told.last_alert =
            Some(LastAlert { at_ms: now, severity: finding.severity, signal: finding.signal });
    }
    case.told.recovery_owed = true;
    let finding = if kind == NoticeKind::Changed { finding.led_by(&unnamed) } else { finding.clone() };
    let notice = Notice { kind, at_ms: now, finding };
    Stepped { case: Some(case), notice: Some(notice) }
}

fn recover(mut case: Case, fired_ms: i64, how: Ending, now: i64) -> Stepped {
    case.phase = Phase::Recovered { fired_ms, at_ms: now, how: how.clone() };
    case.changed(now);
    case.told.reminders = 0;
    case.told.acknowledged = None;
    if case.told.flapping || !case.told.recovery_owed {
        return Stepped::quiet(case);
    }
    tell_recovery(case, now.saturating_sub(fired_ms), how, now)
}

/// A case that is over: pays what it owes once it is stable, and is forgotten in the end.
fn settle(mut case: Case, over: (i64, i64, Ending), now: i64, policy: &Policy) -> Stepped {
    let (fired_ms, at_ms, how) = over;
    case.calm_down(now);
    if case.told.recovery_owed && !case.told.flapping {
        return tell_recovery(case, at_ms.saturating_sub(fired_ms), how, now);
    }
    let cooldown_ms = policy.of(case.finding.signal).cooldown_ms;
    let cooled = case.told.last_alert.is_none_or(|last| now.saturating_sub(last.at_ms) >= cooldown_ms);
    let calm = now.saturating_sub(at_ms) >= FLAPPING_WINDOW_MS;
    match cooled && calm && !case.told.recovery_owed {
        true => Stepped { case: None, notice: None },
        false => Stepped::quiet(case),
    }
}

fn tell_recovery(mut case: Case, lasted_ms: i64, how: Ending, now: i64) -> Stepped {
    case.told.recovery_owed = false;
    let kind = NoticeKind::Recovered { lasted_ms, how };
    let notice = Notice { kind, at_ms: now, finding: case.finding.clone() };
    Stepped { case: Some(case), notice: Some(notice) }
}

impl Case {
    pub(super) fn rank(&self) -> (crate::signals::Severity, u8) {
        (self.finding.severity, self.finding.signal.precedence())
    }

    /// What is due after the last alert, if its cooldown is over.
    fn due(&self, last: LastAlert, now: i64, patience: &SignalPolicy) -> Option<NoticeKind> {
        let cooled = now.saturating_sub(last.at_ms) >= patience.cooldown_after(self.told.reminders);
        match (cooled, self.told.recovery_owed) {
            (false, _) => None,
            (true, true) => Some(NoticeKind::Reminder { count: self.told.reminders.saturating_add(1) }),
            (true, false) => Some(NoticeKind::Alert),
        }
    }

    /// A told case that goes on for a cause that was not named since the last alert or reminder. A
    /// cause that leaves and comes back is not news, so a cause is told at once only once between two
    /// reminders.
    fn changed_cause(&self) -> Option<NoticeKind> {
        let room = self.told.causes.as_ref().is_some_and(|named| named.len() < CAUSES_TOLD_AT_ONCE);
        (self.told.recovery_owed && room && !self.unnamed_causes().is_empty()).then_some(NoticeKind::Changed)
    }

    fn unnamed_causes(&self) -> BTreeSet<String> {
        let causes = self.finding.causes();
        match &self.told.causes {
            Some(named) => causes.difference(named).cloned().collect(),
            None => causes,
        }
    }

    /// A new cause is added to those that were named; any other word begins the list anew.
    fn name_causes(&mut self, kind: &NoticeKind) {
        let causes = self.finding.causes();
        match (&mut self.told.causes, kind) {
            (Some(named), NoticeKind::Changed) => named.extend(causes),
            (named, _) => *named = Some(causes),
        }
    }

    fn changed(&mut self, now: i64) {
        self.changes_ms.push(now);
        let surplus = self.changes_ms.len().saturating_sub(CHANGES_KEPT);
        self.changes_ms.drain(..surplus);
    }

    /// Ends the hold of a flapping case that has become stable, and forgets why it flapped.
    fn calm_down(&mut self, now: i64) {
        let calm = self.changes_ms.last().is_none_or(|last| now.saturating_sub(*last) >= STABLE_AFTER_MS);
        if self.told.flapping && calm {
            self.told.flapping = false;
            self.changes_ms.clear();
        }
    }

    fn changes_within_hour(&self, now: i64) -> usize {
        self.changes_ms.iter().filter(|at| now.saturating_sub(**at) < FLAPPING_WINDOW_MS).count()
    }

    /// The wall clock may be set back: what lies in the future happened now, else a cooldown
    /// would last until the clock catches up.
    fn not_after(&mut self, now: i64) {
        for at in &mut self.changes_ms {
            *at = (*at).min(now);
        }
        if let Some(last) = &mut self.told.last_alert {
            last.at_ms = last.at_ms.min(now);
        }
        if let Some(seen) = &mut self.told.acknowledged {
            seen.at_ms = seen.at_ms.min(now);
        }
        match &mut self.phase {
            Phase::Pending { .. } => {}
            Phase::Firing { since_ms, .. } => *since_ms = (*since_ms).min(now),
            Phase::Recovered { fired_ms, at_ms, .. } => {
                *fired_ms = (*fired_ms).min(now);
                *at_ms = (*at_ms).min(now);
            }
        }
    }
}

//! What people asked not to be told: mutes and acknowledgements, and the short names of cases.
//!
//! Responsible for whom a mute silences and when it ends, for what an acknowledgement covers, and for
//! ids that fit a phone and a button. It tells nothing itself: `step` asks it before it announces.
//! Invariants: whatever is silenced is still decided and counted, the recovery of a told alert is
//! never silenced, and nothing here lasts beyond its time or the case it was about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AlertState, Case, LastAlert};
use crate::signals::{CaseKey, Finding, Severity, SignalKind};

/// Short name of a case that fires: `c17`. Counted up over the life of a state directory and never
/// given twice in it, so that an old button cannot reach another case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CaseId(u64);

impl CaseId {
    /// Longest text in bytes, far below the 64 of a button's callback data.
    pub const TEXT_MAX_BYTES: usize = 21;

    /// Reads `c17`, as people type it: `C17` and `#c17` too.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('#').unwrap_or(text);
        let digits = text.strip_prefix(['c', 'C'])?;
        // `parse` would take a sign
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().map(Self)
    }

    pub(super) fn after(last: u64) -> Self {
        Self(last.saturating_add(1))
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "c{}", self.0)
    }
}

/// What a mute silences.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MuteScope {
    /// Every case while it is of this signal: one that turns into a superseding signal is heard.
    Signal(SignalKind),
    /// One case.
    Case(CaseKey),
}

/// A mute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// When it was asked for, UTC Unix milliseconds.
    pub since_ms: i64,
    /// When it ends by itself.
    pub until_ms: i64,
    /// Who asked.
    pub by: String,
}

/// Somebody has seen an alert: it is not told again unless it gets worse than what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// When, UTC Unix milliseconds.
    pub at_ms: i64,
    /// By whom.
    pub by: String,
    severity: Severity,
    signal: SignalKind,
}

impl Acknowledged {
    pub(super) fn covers(&self, rank: (Severity, u8)) -> bool {
        rank <= (self.severity, self.signal.precedence())
    }
}

/// Why a firing case is counted and not announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suppression {
    /// Its signal or itself is muted.
    Muted,
    /// Somebody has seen it.
    Acknowledged,
}

impl Suppression {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Muted, Self::Acknowledged];

    /// Name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Muted => "muted",
            Self::Acknowledged => "acknowledged",
        }
    }
}

/// What a person said that silences a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence<'a> {
    /// A mute, of the case or of its signal: the one that lasts longer.
    Muted(&'a Mute),
    /// That it was seen.
    Acknowledged(&'a Acknowledged),
}

/// All mutes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mutes {
    #[serde(with = "crate::signals::as_list")]
    by_scope: BTreeMap<MuteScope, Mute>,
}

impl Mutes {
    /// Takes up mutes that are not known here.
    pub(super) fn take_up(&mut self, old: Self) {
        for (scope, mute) in old.by_scope {
            self.by_scope.entry(scope).or_insert(mute);
        }
    }

    /// Whether a condition is silenced.
    #[must_use]
    pub fn silence(&self, finding: &Finding) -> bool {
        !self.by_scope.is_empty() && self.of(finding).is_some()
    }

    /// The mute that silences a condition for longest.
    fn of(&self, finding: &Finding) -> Option<&Mute> {
        let scopes = [MuteScope::Signal(finding.signal), MuteScope::Case(finding.key())];
        scopes.iter().filter_map(|scope| self.by_scope.get(scope)).max_by_key(|mute| mute.until_ms)
    }

    /// All of them, by scope.
    pub fn iter(&self) -> impl Iterator<Item = (&MuteScope, &Mute)> {
        self.by_scope.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_scope.len()
    }

    /// Drops what has had its time. The wall clock may be set back: a mute begins then anew and
    /// keeps its length, so that it never lasts longer than twice what was asked for.
    pub(super) fn expire(&mut self, now: i64) {
        for mute in self.by_scope.values_mut() {
            let ahead_ms = mute.since_ms.saturating_sub(now).max(0);
            mute.since_ms = mute.since_ms.saturating_sub(ahead_ms);
            mute.until_ms = mute.until_ms.saturating_sub(ahead_ms);
        }
        self.by_scope.retain(|_, mute| now < mute.until_ms);
    }

    /// A mute ends with recovery: that of its case, or that of the last case of its signal.
    pub(super) fn end_with(&mut self, over: &[(SignalKind, CaseKey)], cases: &BTreeMap<CaseKey, Case>) {
        if self.by_scope.is_empty() || over.is_empty() {
            return;
        }
        let firing: BTreeSet<SignalKind> =
            cases.values().filter(|case| case.fires()).map(|case| case.finding.signal).collect();
        for (signal, key) in over {
            self.by_scope.remove(&MuteScope::Case(key.clone()));
            if !firing.contains(signal) {
                self.by_scope.remove(&MuteScope::Signal(*signal));
            }
        }
    }
}

/// Why a case cannot be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAcknowledged {
    /// No case has this id, or it is forgotten.
    Unknown,
    /// It is over.
    Over,
    /// Somebody was first.
    Already(Acknowledged),
}

impl AlertState {
    /// The case of a short id.
    #[must_use]
    pub fn by_id(&self, id: CaseId) -> Option<(&CaseKey, &Case)> {
        self.cases.iter().find(|(_, case)| case.id == Some(id))
    }

    /// The short id of a case; cases that never fired have none.
    #[must_use]
    pub fn id_of(&self, key: &CaseKey) -> Option<CaseId> {
        self.cases.get(key)?.id
    }

    /// Mutes in effect.
    #[must_use]
    pub fn mutes(&self) -> &Mutes {
        &self.mutes
    }

    /// Why a firing case is not announced; absent when it is.
    #[must_use]
    pub fn suppression(&self, case: &Case) -> Option<Suppression> {
        Some(match self.silence_of(case)? {
            Silence::Muted(_) => Suppression::Muted,
            Silence::Acknowledged(_) => Suppression::Acknowledged,
        })
    }

    /// Who said that a firing case is not to be announced, and for how long.
    #[must_use]
    pub fn silence_of<'a>(&'a self, case: &'a Case) -> Option<Silence<'a>> {
        if let Some(mute) = self.mutes.of(&case.finding) {
            return Some(Silence::Muted(mute));
        }
        let seen = case.told.acknowledged.as_ref()?;
        seen.covers(case.rank()).then_some(Silence::Acknowledged(seen))
    }

    /// Mutes a signal or a case; a mute that it has already is replaced. Returns how many firing
    /// cases it silences now.
    pub fn mute(&mut self, scope: MuteScope, mute: Mute) -> usize {
        let silenced = self.firing().filter(|case| match &scope {
            MuteScope::Signal(signal) => case.finding.signal == *signal,
            MuteScope::Case(key) => case.finding.key() == *key,
        });
        let count = silenced.count();
        self.mutes.by_scope.insert(scope, mute);
        count
    }

    /// Ends a mute; what it was, if there was one.
    pub fn unmute(&mut self, scope: &MuteScope) -> Option<Mute> {
        self.mutes.by_scope.remove(scope)
    }

    /// Ends all mutes; how many there were.
    pub fn unmute_all(&mut self) -> usize {
        let count = self.mutes.count();
        self.mutes.by_scope.clear();
        count
    }

    /// Acknowledges a firing case: the worst of what was told of it and what holds now.
    ///
    /// # Errors
    /// When there is nothing to acknowledge.
    pub fn acknowledge(&mut self, id: CaseId, at_ms: i64, by: &str) -> Result<(), NotAcknowledged> {
        let known = self.cases.values_mut().find(|case| case.id == Some(id));
        let case = known.ok_or(NotAcknowledged::Unknown)?;
        if !case.fires() {
            return Err(NotAcknowledged::Over);
        }
        let rank = case.rank();
        if let Some(earlier) = &case.told.acknowledged
            && earlier.covers(rank)
        {
            return Err(NotAcknowledged::Already(earlier.clone()));
        }
        let (severity, signal) = match case.told.last_alert {
            Some(told) if LastAlert::rank(told) > rank => (told.severity, told.signal),
            Some(_) | None => (case.finding.severity, case.finding.signal),
        };
        case.told.acknowledged = Some(Acknowledged { at_ms, by: by.to_owned(), severity, signal });
        Ok(())
    }

    /// Takes an acknowledgement back; what it was, if there was one.
    pub fn forget_acknowledgement(&mut self, id: CaseId) -> Option<Acknowledged> {
        let case = self.cases.values_mut().find(|case| case.id == Some(id))?;
        case.told.acknowledged.take()
    }
}

impl Case {
    /// Its short name; absent while it never fired.
    #[must_use]
    pub fn id(&self) -> Option<CaseId> {
        self.id
    }

    /// Who has seen it, if somebody said so.
    #[must_use]
    pub fn acknowledged(&self) -> Option<&Acknowledged> {
        self.told.acknowledged.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_read_as_people_type_them() {
        for text in ["c17", "C17", "#c17"] {
            assert_eq!(CaseId::parse(text), Some(CaseId(17)), "{text}");
        }
        for text in ["", "c", "17", "c-1", "c+1", "cc1", "c1 ", "c99999999999999999999"] {
            assert_eq!(CaseId::parse(text), None, "{text}");
        }
        assert_eq!(CaseId(u64::MAX).to_string().len(), CaseId::TEXT_MAX_BYTES);
        assert_eq!(CaseId::parse(&CaseId(u64::MAX).to_string()), Some(CaseId(u64::MAX)));
    }
}

//! Notices that a channel refuses for what they say.
//!
//! Responsible for finding the culprit among notices that were refused together (by halves, so that the others are
//! late by few messages), for keeping it aside for [`PARKED_FOR`], and for what is tried meanwhile. Pure: the loop of
//! a channel asks and tells. What is parked lives no longer than the program: a restart tries everything. Invariants:
//! nothing is parked but what was refused alone, and a parked notice holds up no other.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::delivery::PARKED_FOR;
use super::outbox::Entry;

/// What was refused, by the outbox number of an entity's latest notice: a later one says something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parking {
    parked: BTreeMap<u64, Parked>,
    /// Refused together; a culprit is among them.
    suspects: BTreeSet<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parked {
    until: Instant,
    why: String,
}

/// The number of an entity's latest notice.
fn latest(entry: &Entry) -> u64 {
    entry.notices.last().map_or(0, |queued| queued.seq)
}

impl Parking {
    /// What may be tried of all that waits.
    pub fn choose(&mut self, waiting: Vec<Entry>, now: Instant) -> Vec<Entry> {
        let there: BTreeSet<u64> = waiting.iter().map(latest).collect();
        self.parked.retain(|seq, parked| there.contains(seq) && now < parked.until);
        self.suspects.retain(|seq| there.contains(seq));
        let free = waiting.into_iter().filter(|entry| !self.parked.contains_key(&latest(entry)));
        match self.suspects.is_empty() {
            true => free.collect(),
            false => {
                let half = self.suspects.len().div_ceil(2);
                free.filter(|entry| self.suspects.contains(&latest(entry))).take(half).collect()
            }
        }
    }

    /// A message made of `tried` was refused for what it says; `seqs` are the notices in it.
    pub fn refused(&mut self, tried: &[Entry], seqs: &[u64], why: &str, now: Instant) {
        let told = tried.iter().filter(|entry| entry.notices.iter().any(|queued| seqs.contains(&queued.seq)));
        let told: Vec<u64> = told.map(latest).collect();
        self.suspects.clear();
        match told.as_slice() {
            [culprit] => {
                self.parked.insert(*culprit, Parked { until: now + PARKED_FOR, why: why.to_owned() });
            }
            // what was a suspect beside these is as good as any other now
            several => self.suspects.extend(several),
        }
    }

    /// A message with these notices was taken.
    pub fn taken(&mut self, seqs: &[u64]) {
        self.suspects.retain(|seq| !seqs.contains(seq));
    }

    /// Everything is tried again.
    pub fn release(&mut self) {
        self.parked.clear();
    }

    /// When the next parked notice is to be tried again; nothing while none is parked.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.parked.values().map(|parked| parked.until).min()
    }

    /// How many notices are parked.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parked.len()
    }

    /// Why the one that was parked last is, in the channel's words.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        self.parked.values().max_by_key(|parked| parked.until).map(|parked| parked.why.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cases::{Notice, NoticeKind};
    use crate::notify::Channel;
    use crate::notify::outbox::Outbox;
    use crate::signals::{CollectorFacts, CollectorName, Entity, Facts, Finding, Severity, SignalKind};

    fn outbox(jobs: i64) -> Outbox {
        let mut outbox = Outbox::default();
        (0..jobs).for_each(|job| push(&mut outbox, job));
        outbox
    }

    fn push(outbox: &mut Outbox, job: i64) {
        let facts = Facts::Collector(CollectorFacts { collector: CollectorName::Proc, reason: "r".into() });
        let (signal, severity) = (SignalKind::AgentHung, Severity::Warning);
        let finding = Finding { signal, entity: Entity::Job(job), severity, since_ms: 0, facts };
        outbox.push(&[Channel::Telegram], &Notice { kind: NoticeKind::Alert, at_ms: 0, finding });
    }

    fn waiting(outbox: &Outbox) -> Vec<Entry> {
        outbox.waiting(Channel::Telegram, u64::MAX)
    }

    /// Sends all that may be tried to a channel that refuses what holds one of these; how many messages that took.
    fn deliver(outbox: &mut Outbox, parking: &mut Parking, bad: &[i64], now: Instant) -> usize {
        for messages in 0..1_000 {
            let tried = parking.choose(waiting(outbox), now);
            if tried.is_empty() {
                return messages;
            }
            let seqs: Vec<u64> = tried.iter().map(latest).collect();
            let is_bad = |entry: &Entry| bad.iter().any(|job| entry.key.entity == Entity::Job(*job));
            if tried.iter().any(is_bad) {
                parking.refused(&tried, &seqs, "BUTTON_DATA_INVALID", now);
            } else {
                outbox.taken(Channel::Telegram, &seqs, None);
                parking.taken(&seqs);
            }
        }
        panic!("it never ends");
    }

    #[tokio::test]
    async fn only_the_culprits_of_a_refused_group_are_parked_and_few_messages_find_them() {
        let now = Instant::now();
        for bad in [&[][..], &[0], &[49], &[17], &[3, 4, 40]] {
            let (mut outbox, mut parking) = (outbox(50), Parking::default());
            let messages = deliver(&mut outbox, &mut parking, bad, now);
            let left: Vec<Entity> = waiting(&outbox).into_iter().map(|entry| entry.key.entity).collect();
            assert_eq!(left, bad.iter().map(|job| Entity::Job(*job)).collect::<Vec<_>>());
            assert_eq!(parking.count(), bad.len());
            assert!(messages <= 1 + 8 * bad.len(), "{messages} messages for {bad:?}");
        }
    }

    #[tokio::test]
    async fn a_parked_notice_is_tried_again_after_its_time_when_released_and_when_it_says_something_new() {
        let now = Instant::now();
        let parked = || {
            let (mut outbox, mut parking) = (outbox(2), Parking::default());
            deliver(&mut outbox, &mut parking, &[1], now);
            assert_eq!(parking.why().as_deref(), Some("BUTTON_DATA_INVALID"));
            (outbox, parking)
        };
        let (outbox, mut parking) = parked();
        let due = parking.next_due().unwrap();
        assert_eq!(parking.choose(waiting(&outbox), due - Duration::from_millis(1)), []);
        assert_eq!(parking.choose(waiting(&outbox), due).len(), 1);
        let (outbox, mut parking) = parked();
        parking.release();
        assert_eq!((parking.choose(waiting(&outbox), now).len(), parking.next_due()), (1, None));
        let (mut outbox, mut parking) = parked();
        push(&mut outbox, 1);
        assert_eq!((parking.choose(waiting(&outbox), now).len(), parking.count()), (1, 0));
    }
}

//! What was decided and no channel has taken yet.
//!
//! Responsible for keeping, per channel and entity, what is still to be told, folded to the latest
//! word, and for remembering which message told an alert, so that its recovery can reply to it. Pure: a
//! value that is saved with the cases. Invariants: a notice leaves only by `taken`; it is bounded,
//! and what the bound drops is counted.

use serde::{Deserialize, Serialize};

use super::Channel;
use crate::cases::{Notice, NoticeKind};
use crate::signals::CaseKey;

/// Entities waiting at most, a channel.
pub const ENTRIES_MAX: usize = 2_000;

/// Notices of one entity that wait at most; beyond it the oldest alert that is over goes.
pub const NOTICES_AN_ENTRY: usize = 6;

/// Messages remembered at most, so that recoveries can reply.
pub const MESSAGES_KEPT: usize = 1_000;

/// Everything that waits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outbox {
    last_seq: u64,
    entries: Vec<Entry>,
    messages: Vec<AlertMessage>,
    dropped: u64,
}

/// What one channel has not taken yet of one entity, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// For whom.
    pub channel: Channel,
    /// Of what.
    pub key: CaseKey,
    /// The notices.
    pub notices: Vec<Queued>,
}

/// A notice that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// Grows with each change of the outbox.
    pub seq: u64,
    /// The notice.
    pub notice: Notice,
}

/// Which message told an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AlertMessage {
    channel: Channel,
    key: CaseKey,
    chat_id: i64,
    message_id: i32,
}

/// A message that a recovery can reply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageRef {
    /// Chat.
    pub chat_id: i64,
    /// Message.
    pub message_id: i32,
}

impl Outbox {
    /// Queues a notice for each of the channels.
    pub fn push(&mut self, channels: &[Channel], notice: &Notice) {
        for channel in channels {
            self.last_seq += 1;
            let queued = Queued { seq: self.last_seq, notice: notice.clone() };
            let key = notice.finding.key();
            let entry = self.entries.iter_mut().find(|entry| entry.channel == *channel && entry.key == key);
            match entry {
                Some(entry) => self.dropped += entry.fold(queued),
                None => self.entries.push(Entry { channel: *channel, key, notices: vec![queued] }),
            }
            self.bound(*channel);
        }
    }

    /// An empty one whose numbers come after `seq`.
    #[must_use]
    pub fn after(seq: u64) -> Self {
        Self { last_seq: seq, ..Self::default() }
    }

    /// Takes up what an earlier life left on disk, before what waits here. Its numbers are to be lower
    /// than those here ([`Self::after`]), so that what is under way cannot be taken for it.
    pub fn take_up(&mut self, old: Self) {
        self.last_seq = self.last_seq.max(old.last_seq);
        self.dropped += old.dropped;
        let mut entries = old.entries;
        for entry in std::mem::take(&mut self.entries) {
            let same = |known: &&mut Entry| known.channel == entry.channel && known.key == entry.key;
            match entries.iter_mut().find(same) {
                Some(known) => known.notices.extend(entry.notices),
                None => entries.push(entry),
            }
        }
        self.entries = entries;
        let mut messages = old.messages;
        let told =
            |one: &AlertMessage, other: &AlertMessage| one.channel == other.channel && one.key == other.key;
        messages.retain(|known| !self.messages.iter().any(|newer| told(newer, known)));
        messages.append(&mut self.messages);
        self.messages = messages;
    }

    /// The number of the latest change.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Entries of a channel with the notices that were queued up to `seq`, oldest entry first.
    #[must_use]
    pub fn waiting(&self, channel: Channel, seq: u64) -> Vec<Entry> {
        let of_channel = self.entries.iter().filter(|entry| entry.channel == channel);
        let up_to = of_channel.map(|entry| Entry {
            notices: entry.notices.iter().filter(|queued| queued.seq <= seq).cloned().collect(),
            ..entry.clone()
        });
        up_to.filter(|entry| !entry.notices.is_empty()).collect()
    }

    /// The channel took these notices, in this message if it has such.
    pub fn taken(&mut self, channel: Channel, seqs: &[u64], message: Option<MessageRef>) {
        for entry in self.entries.iter_mut().filter(|entry| entry.channel == channel) {
            let (gone, left): (Vec<Queued>, Vec<Queued>) =
                entry.notices.drain(..).partition(|queued| seqs.contains(&queued.seq));
            entry.notices = left;
            let Some(last) = gone.last() else { continue };
            let same = |known: &AlertMessage| known.channel == channel && known.key == entry.key;
            match (last.notice.kind.is_alert(), message) {
                (true, Some(message)) => {
                    self.messages.retain(|known| !same(known));
                    let MessageRef { chat_id, message_id } = message;
                    let key = entry.key.clone();
                    self.messages.push(AlertMessage { channel, key, chat_id, message_id });
                }
                (true, None) => {}
                (false, _) => self.messages.retain(|known| !same(known)),
            }
        }
        self.entries.retain(|entry| !entry.notices.is_empty());
        let surplus = self.messages.len().saturating_sub(MESSAGES_KEPT);
        self.messages.drain(..surplus);
    }

    /// The message that told an entity's alert on this channel.
    #[must_use]
    pub fn message_of(&self, channel: Channel, key: &CaseKey) -> Option<MessageRef> {
        let known = self.messages.iter().find(|known| known.channel == channel && known.key == *key)?;
        Some(MessageRef { chat_id: known.chat_id, message_id: known.message_id })
    }

    /// Notices that wait for a channel.
    #[must_use]
    pub fn depth(&self, channel: Channel) -> usize {
        let of_channel = self.entries.iter().filter(|entry| entry.channel == channel);
        of_channel.map(|entry| entry.notices.len()).sum()
    }

    /// When the oldest notice that waits for a channel was decided.
    #[must_use]
    pub fn oldest_at_ms(&self, channel: Channel) -> Option<i64> {
        let of_channel = self.entries.iter().filter(|entry| entry.channel == channel);
        of_channel.flat_map(|entry| &entry.notices).map(|queued| queued.notice.at_ms).min()
    }

    /// Dates notices of the future to now: the clock was set back, and what waits must not look younger than what comes.
    pub fn date_no_later_than(&mut self, now_ms: i64) {
        for queued in self.entries.iter_mut().flat_map(|entry| &mut entry.notices) {
            queued.notice.at_ms = queued.notice.at_ms.min(now_ms);
        }
    }

    /// Kind of the notice that was queued last, among those that wait.
    #[must_use]
    pub fn newest_kind(&self) -> Option<&'static str> {
        let waiting = self.entries.iter().flat_map(|entry| &entry.notices);
        waiting.max_by_key(|queued| queued.seq).map(|queued| queued.notice.kind.name())
    }

    /// Notices that the bounds dropped, all in all.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets what waits for channels that are not configured any more.
    pub fn keep_only(&mut self, channels: &[Channel]) {
        self.entries.retain(|entry| channels.contains(&entry.channel));
    }

    fn bound(&mut self, channel: Channel) {
        let waiting = self.entries.iter().filter(|entry| entry.channel == channel).count();
        if waiting > ENTRIES_MAX
            && let Some(oldest) = self.entries.iter().position(|entry| entry.channel == channel)
        {
            self.dropped += self.entries.remove(oldest).notices.len() as u64;
        }
    }
}

impl Entry {
    /// Adds a notice: an alert that is still unsent takes the latest facts and keeps its first
    /// time, everything else follows. Returns how many notices the bound dropped.
    fn fold(&mut self, queued: Queued) -> u64 {
        match self.notices.last_mut() {
            Some(last) if last.notice.kind.is_alert() && queued.notice.kind.is_alert() => {
                let began_at_ms = last.notice.at_ms;
                let kind = match (&last.notice.kind, queued.notice.kind) {
                    (
                        NoticeKind::Alert,
                        NoticeKind::Reminder { .. } | NoticeKind::Worse | NoticeKind::Changed,
                    ) => NoticeKind::Alert,
                    (NoticeKind::Worse, NoticeKind::Reminder { .. } | NoticeKind::Changed) => {
                        NoticeKind::Worse
                    }
                    (_, later) => later,
                };
                let notice = Notice { kind, at_ms: began_at_ms, ..queued.notice };
                *last = Queued { seq: queued.seq, notice };
            }
            Some(_) | None => self.notices.push(queued),
        }
        if self.notices.len() <= NOTICES_AN_ENTRY {
            return 0;
        }
        // alerts and recoveries alternate: the oldest pair that began and ended unsent goes
        let first_alert =
            usize::from(!self.notices.first().is_some_and(|first| first.notice.kind.is_alert()));
        self.notices.drain(first_alert..first_alert + 2).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::{
        CollectorFacts, CollectorName, Ending, Entity, Facts, Finding, Severity, SignalKind,
    };

    fn notice(job: i64, kind: NoticeKind, at_ms: i64) -> Notice {
        let facts = Facts::Collector(CollectorFacts { collector: CollectorName::Proc, reason: "r".into() });
        let signal = SignalKind::AgentHung;
        let severity = Severity::Warning;
        Notice {
            kind,
            at_ms,
            finding: Finding { signal, entity: Entity::Job(job), severity, since_ms: 0, facts },
        }
    }

    fn over() -> NoticeKind {
        NoticeKind::Recovered { lasted_ms: 1, how: Ending::JobEnded }
    }

    fn kinds(outbox: &Outbox, channel: Channel) -> Vec<Vec<&'static str>> {
        let waiting = outbox.waiting(channel, u64::MAX);
        waiting.iter().map(|entry| entry.notices.iter().map(|one| one.notice.kind.name()).collect()).collect()
    }

    const BOTH: [Channel; 2] = [Channel::Log, Channel::Telegram];

    #[test]
    fn unsent_notices_of_an_entity_fold_to_the_latest_word() {
        let mut outbox = Outbox::default();
        outbox.push(&BOTH, &notice(1, NoticeKind::Alert, 10));
        outbox.push(&BOTH, &notice(1, NoticeKind::Worse, 20));
        outbox.push(&BOTH, &notice(1, NoticeKind::Reminder { count: 1 }, 30));
        outbox.push(&BOTH, &notice(2, NoticeKind::Alert, 30));
        assert_eq!(kinds(&outbox, Channel::Telegram), [vec!["alert"], vec!["alert"]]);
        assert_eq!(outbox.oldest_at_ms(Channel::Telegram), Some(10));
        outbox.push(&BOTH, &notice(1, over(), 40));
        assert_eq!(kinds(&outbox, Channel::Telegram), [vec!["alert", "recovered"], vec!["alert"]]);
    }

    #[test]
    fn what_waits_stays_the_oldest_when_the_clock_is_set_back() {
        let mut outbox = Outbox::default();
        outbox.push(&BOTH, &notice(1, NoticeKind::Alert, 5_000));
        outbox.date_no_later_than(6_000);
        assert_eq!(outbox.oldest_at_ms(Channel::Telegram), Some(5_000));
        outbox.date_no_later_than(1_000);
        outbox.push(&BOTH, &notice(2, NoticeKind::Alert, 1_500));
        outbox.date_no_later_than(2_000);
        assert_eq!(outbox.oldest_at_ms(Channel::Telegram), Some(1_000));
    }

    #[test]
    fn channels_take_on_their_own() {
        let mut outbox = Outbox::default();
        outbox.push(&BOTH, &notice(1, NoticeKind::Alert, 10));
        let seq = outbox.waiting(Channel::Log, u64::MAX)[0].notices[0].seq;
        outbox.taken(Channel::Log, &[seq], None);
        assert_eq!((outbox.depth(Channel::Log), outbox.depth(Channel::Telegram)), (0, 1));
    }

    #[test]
    fn what_arrives_while_a_message_is_under_way_stays() {
        let mut outbox = Outbox::default();
        outbox.push(&[Channel::Log], &notice(1, NoticeKind::Alert, 10));
        let under_way: Vec<u64> =
            outbox.waiting(Channel::Log, u64::MAX)[0].notices.iter().map(|one| one.seq).collect();
        outbox.push(&[Channel::Log], &notice(1, NoticeKind::Worse, 20));
        outbox.taken(Channel::Log, &under_way, None);
        assert_eq!(kinds(&outbox, Channel::Log), [["alert"]]);
    }

    #[test]
    fn a_notice_not_saved_yet_does_not_leave() {
        let mut outbox = Outbox::default();
        outbox.push(&[Channel::Log], &notice(1, NoticeKind::Alert, 10));
        let saved = outbox.last_seq();
        outbox.push(&[Channel::Log], &notice(2, NoticeKind::Alert, 10));
        assert_eq!(outbox.waiting(Channel::Log, saved).len(), 1);
    }

    #[test]
    fn a_recovery_finds_the_message_of_its_alert_until_it_is_told() {
        let mut outbox = Outbox::default();
        let message = MessageRef { chat_id: 5, message_id: 9 };
        outbox.push(&[Channel::Telegram], &notice(1, NoticeKind::Alert, 10));
        outbox.taken(Channel::Telegram, &[outbox.last_seq()], Some(message));
        let key = notice(1, over(), 0).finding.key();
        assert_eq!(outbox.message_of(Channel::Telegram, &key), Some(message));
        outbox.push(&[Channel::Telegram], &notice(1, over(), 20));
        outbox.taken(
            Channel::Telegram,
            &[outbox.last_seq()],
            Some(MessageRef { chat_id: 5, message_id: 10 }),
        );
        assert_eq!(outbox.message_of(Channel::Telegram, &key), None);
    }

    #[test]
    fn it_is_bounded_and_counts_what_the_bounds_drop() {
        let mut outbox = Outbox::default();
        outbox.push(&[Channel::Log], &notice(1, over(), 0));
        for round in 0..20 {
            outbox.push(&[Channel::Log], &notice(1, NoticeKind::Alert, round));
            outbox.push(&[Channel::Log], &notice(1, over(), round));
        }
        let waiting = kinds(&outbox, Channel::Log);
        assert!(waiting[0].len() <= NOTICES_AN_ENTRY, "{waiting:?}");
        assert_eq!(waiting[0][0], "recovered", "the end of a told alert is kept");
        assert_eq!(waiting[0].len() as u64 + outbox.dropped(), 41);
        for job in 0..3_000 {
            outbox.push(&[Channel::Log], &notice(job, NoticeKind::Alert, 0));
        }
        assert_eq!(outbox.waiting(Channel::Log, u64::MAX).len(), ENTRIES_MAX);
    }
}

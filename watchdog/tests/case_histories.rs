//! Random histories of the whole middle, with a stop at any point: decide, save, send, record.
//!
//! A model beside it remembers only what a person could know (what was seen, what was asked for, what
//! the chat shows) and holds the watchdog to it. The machine stands in for the rim: a disk that has
//! the last save that came to its end (saves are refused, and hang), a memory that a stop loses, a chat that keeps everything.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;

use orch_watchdog::cases::{
    FLAPPING_WINDOW_MS, Notice, NoticeKind, Policy, STABLE_AFTER_MS, SignalPolicy, decide,
};
use orch_watchdog::commands::{Command, Person, Target, Way, apply};
use orch_watchdog::notify::text::{Locale, Voice};
use orch_watchdog::notify::{Channel, compose};
use orch_watchdog::signals::{
    CaseKey, CollectorFacts, CollectorName, Ending, Entity, Facts, Finding, HeldScope, Severity, SignalKind,
    SignalState,
};
use orch_watchdog::store::Durable;
use proptest::prelude::*;

const COOLDOWN: i64 = 600_000;
const MINUTE: i64 = 60_000;
const ENTITIES: usize = 3;
const SLOT: SignalKind = SignalKind::ProcBlocking;

#[derive(Debug, Clone, Copy)]
enum Sight {
    Active(Severity, SignalKind),
    Clear,
    Absent,
    Held,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Signal(SignalKind),
    Entity(usize),
}

#[derive(Debug, Clone, Copy)]
enum Stop {
    BeforeSend,
    BeforeRecord,
}

#[derive(Debug, Clone)]
enum Step {
    Tick {
        after_ms: i64,
        sights: [Sight; ENTITIES],
        blind: bool,
    },
    Clock(i64),
    Mute(What, i64),
    Unmute(What),
    Ack(usize),
    Save,
    /// A save that the disk refuses.
    Refuse,
    /// A save that takes the state as it is and does not come to an end.
    Hang,
    /// The patience with such a save is over.
    Late,
    /// Such a save comes to its end after all.
    Return,
    Deliver(Option<Stop>),
    Stop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let signal = || prop_oneof![Just(SignalKind::ProcBlocking), Just(SignalKind::ProcOrphaned)];
    let severity = prop_oneof![Just(Severity::Warning), Just(Severity::Critical)];
    let sight = prop_oneof![
        4 => (severity, signal()).prop_map(|(severity, signal)| Sight::Active(severity, signal)),
        1 => Just(Sight::Clear),
        3 => Just(Sight::Absent),
        1 => Just(Sight::Held),
    ];
    let what = || prop_oneof![signal().prop_map(What::Signal), (0..ENTITIES).prop_map(What::Entity)];
    let stop = prop::option::weighted(0.2, prop_oneof![Just(Stop::BeforeSend), Just(Stop::BeforeRecord)]);
    let step = prop_oneof![
        12 => (1_000_i64..400_000, prop::array::uniform3(sight), prop::bool::weighted(0.1))
            .prop_map(|(after_ms, sights, blind)| Step::Tick { after_ms, sights, blind }),
        1 => (-7_200_000_i64..7_200_000).prop_map(Step::Clock),
        1 => (what(), 1_i64..90).prop_map(|(what, minutes)| Step::Mute(what, minutes)),
        1 => what().prop_map(Step::Unmute),
        1 => (0..ENTITIES).prop_map(Step::Ack),
        5 => Just(Step::Save),
        2 => Just(Step::Refuse),
        2 => Just(Step::Hang),
        2 => Just(Step::Late),
        1 => Just(Step::Return),
        5 => stop.prop_map(Step::Deliver),
        1 => Just(Step::Stop),
    ];
    prop::collection::vec(step, 1..120)
}

fn entity(index: usize) -> Entity {
    Entity::Job(i64::try_from(index).unwrap())
}

fn key(index: usize) -> CaseKey {
    CaseKey { slot: SLOT, entity: entity(index) }
}

fn index_of(notice: &Notice) -> usize {
    (0..ENTITIES).find(|index| entity(*index) == notice.finding.entity).unwrap()
}

type Rank = (Severity, u8);

fn rank(notice: &Notice) -> Rank {
    (notice.finding.severity, notice.finding.signal.precedence())
}

fn states(sights: &[Sight; ENTITIES], blind: bool) -> Vec<SignalState> {
    if blind {
        return vec![SignalState::Held { scope: HeldScope::Slot(SLOT), reason: "blind".into() }];
    }
    let state = |(index, sight): (usize, &Sight)| match sight {
        Sight::Active(severity, signal) => Some(SignalState::Active(Finding {
            signal: *signal,
            entity: entity(index),
            severity: *severity,
            since_ms: 0,
            facts: Facts::Collector(CollectorFacts { collector: CollectorName::Proc, reason: "r".into() }),
        })),
        Sight::Clear => Some(SignalState::Clear { key: key(index), how: Ending::JobMoves }),
        Sight::Absent => None,
        Sight::Held => Some(SignalState::Held { scope: HeldScope::Case(key(index)), reason: "held".into() }),
    };
    sights.iter().enumerate().filter_map(state).collect()
}

/// A decided notice, with what the clock of the watchdog showed before it.
#[derive(Debug, Clone)]
struct Decided {
    notice: Notice,
    /// Since the alert of its entity before this one; absent for the first of a case.
    after_alert_ms: Option<i64>,
    /// How often its entity had been seen to be calm by then.
    calms: u32,
}

/// Time of one entity as the clock of a watchdog shows it that looks now and then: a clock that was
/// set forward makes it longer, one that was set back makes it shorter, and never negative.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    /// Since it began or ended last.
    since_change_ms: Option<i64>,
    since_alert_ms: Option<i64>,
    /// Looks that saw no change for [`STABLE_AFTER_MS`]: only such a look may end a hold.
    calms: u32,
}

impl Shown {
    fn changed_before(&self, ms: i64) -> bool {
        self.since_change_ms.is_some_and(|since_ms| since_ms >= ms)
    }

    fn pass(&mut self, by_ms: i64) {
        for since in [&mut self.since_change_ms, &mut self.since_alert_ms].into_iter().flatten() {
            *since = (*since + by_ms).max(0);
        }
    }
}

/// What a person knows.
#[derive(Debug, Clone, Default)]
struct Model {
    seen: [Option<Rank>; ENTITIES],
    signal: [Option<SignalKind>; ENTITIES],
    /// A bound from below of what an acknowledgement covers.
    acknowledged: [Option<Rank>; ENTITIES],
    /// What, since and until by the wall clock.
    mutes: Vec<(What, i64, i64)>,
    decided: Vec<Decided>,
    shown: [Shown; ENTITIES],
    /// What the clock showed at the last look.
    looked_at_ms: Option<i64>,
}

impl Model {
    fn expire(&mut self, now: i64) {
        for (_, since, until) in &mut self.mutes {
            let ahead = (*since - now).max(0);
            *since -= ahead;
            *until -= ahead;
        }
        self.mutes.retain(|(_, _, until)| now < *until);
    }

    fn silences(&self, index: usize, signal: SignalKind) -> bool {
        self.mutes.iter().any(|(what, ..)| *what == What::Signal(signal) || *what == What::Entity(index))
    }

    /// Takes in what a tick showed. With one tick to fire and one to clear, what is seen is what is.
    fn look(&mut self, sights: &[Sight; ENTITIES], blind: bool) {
        if blind {
            return;
        }
        let mut over = Vec::new();
        for (index, sight) in sights.iter().enumerate() {
            let began_or_ended = match sight {
                Sight::Held => continue,
                Sight::Active(..) => self.seen[index].is_none(),
                Sight::Clear | Sight::Absent => self.seen[index].is_some(),
            };
            let shown = &mut self.shown[index];
            if began_or_ended {
                shown.since_change_ms = Some(0);
            } else {
                shown.calms += u32::from(shown.changed_before(STABLE_AFTER_MS));
                // a case that is over for so long, its cooldown too, is forgotten: the next one is new
                let forgotten = self.seen[index].is_none()
                    && shown.changed_before(FLAPPING_WINDOW_MS)
                    && shown.since_alert_ms.is_some_and(|since_ms| since_ms >= COOLDOWN);
                if forgotten {
                    shown.since_alert_ms = None;
                }
            }
            match sight {
                Sight::Held => {}
                Sight::Active(severity, signal) => {
                    self.seen[index] = Some((*severity, signal.precedence()));
                    self.signal[index] = Some(*signal);
                }
                Sight::Clear | Sight::Absent => {
                    if self.seen[index].take().is_some() {
                        self.acknowledged[index] = None;
                        over.extend(self.signal[index].take().map(|signal| (index, signal)));
                    }
                }
            }
        }
        for (index, signal) in over {
            let others = self.signal.contains(&Some(signal));
            self.mutes.retain(|(what, ..)| match what {
                What::Entity(muted) => *muted != index,
                What::Signal(muted) => *muted != signal || others,
            });
        }
    }
}

struct Machine {
    policy: Policy,
    memory: Durable,
    disk: (Vec<u8>, Model),
    saved_seq: u64,
    model: Model,
    wall_ms: i64,
    stops: usize,
    /// Number and notice, as often as it arrived.
    chat: Vec<(u64, Notice)>,
    /// What a save that hangs will have written, and whether the patience with it is over.
    hanging: Option<((Vec<u8>, Model), bool)>,
    /// The highest number that left by the word of a save that was refused or late.
    unsaved_seq: u64,
}

impl Machine {
    fn new() -> Self {
        let process = SignalPolicy { for_ticks: 1, clear_ticks: 1, cooldown_ms: COOLDOWN };
        let memory = Durable::default();
        Self {
            policy: Policy { process, ..Policy::default() },
            disk: (serde_json::to_vec(&memory).unwrap(), Model::default()),
            memory,
            saved_seq: 0,
            model: Model::default(),
            wall_ms: 1_700_000_000_000,
            stops: 0,
            chat: Vec::new(),
            hanging: None,
            unsaved_seq: 0,
        }
    }

    fn snapshot(&self) -> (Vec<u8>, Model) {
        (serde_json::to_vec(&self.memory).unwrap(), self.model.clone())
    }

    /// One writer: while a save hangs, no other begins.
    fn save(&mut self) {
        if self.hanging.is_none() {
            self.disk = self.snapshot();
            self.saved_seq = self.memory.outbox.last_seq();
        }
    }

    fn release_from_memory(&mut self) {
        self.saved_seq = self.memory.outbox.last_seq();
        self.unsaved_seq = self.saved_seq;
    }

    fn is_late(&self) -> bool {
        self.hanging.as_ref().is_some_and(|(_, late)| *late)
    }

    /// The hanging save ends: the disk has what it took with it, and the next save takes the rest.
    fn end_hang(&mut self) {
        if let Some((snapshot, _)) = self.hanging.take() {
            self.disk = snapshot;
            self.save();
        }
    }

    /// A stop forgets what the disk does not hold. People may have been told of it only by the word of
    /// a save that was refused or late; what they were told is then of no life that goes on.
    fn forget_what_no_disk_holds(&mut self) -> Result<(), TestCaseError> {
        let on_disk: Durable = serde_json::from_slice(&self.disk.0).unwrap();
        let last = on_disk.outbox.last_seq();
        for (seq, notice) in self.chat.iter().filter(|(seq, _)| *seq > last) {
            prop_assert!(*seq <= self.unsaved_seq, "told before it was saved, and lost: {seq} {notice:?}");
        }
        self.chat.retain(|(seq, _)| *seq <= last);
        // numbers are given again
        self.unsaved_seq = self.unsaved_seq.min(last);
        self.hanging = None;
        Ok(())
    }

    fn stop(&mut self) -> Result<(), TestCaseError> {
        self.forget_what_no_disk_holds()?;
        self.memory = serde_json::from_slice(&self.disk.0).unwrap();
        self.model = self.disk.1.clone();
        self.saved_seq = self.memory.outbox.last_seq();
        self.stops += 1;
        Ok(())
    }

    fn tick(&mut self, after_ms: i64, sights: &[Sight; ENTITIES], blind: bool) -> Result<(), TestCaseError> {
        self.wall_ms += after_ms;
        let since_look_ms = self.wall_ms - self.model.looked_at_ms.unwrap_or(self.wall_ms);
        self.model.looked_at_ms = Some(self.wall_ms);
        self.model.shown.iter_mut().for_each(|shown| shown.pass(since_look_ms));
        let before = std::mem::take(&mut self.memory.alerts);
        let (alerts, notices) = decide(before, &states(sights, blind), self.wall_ms, &self.policy);
        self.memory.alerts = alerts;
        self.model.expire(self.wall_ms);
        for notice in &notices {
            let index = index_of(notice);
            prop_assert!(!blind && !matches!(sights[index], Sight::Held), "of what was not seen: {notice:?}");
            if notice.kind.is_alert() {
                let muted = self.model.silences(index, notice.finding.signal);
                prop_assert!(!muted, "told while muted: {notice:?}");
                let seen = self.model.acknowledged[index].take();
                prop_assert!(seen.is_none_or(|seen| rank(notice) > seen), "told while seen: {notice:?}");
            }
            self.memory.outbox.push(&[Channel::Telegram], notice);
            let shown = &mut self.model.shown[index];
            let after_alert_ms = shown.since_alert_ms;
            if notice.kind.is_alert() {
                shown.since_alert_ms = Some(0);
            }
            let decided = Decided { notice: notice.clone(), after_alert_ms, calms: shown.calms };
            self.model.decided.push(decided);
        }
        if self.is_late() {
            self.release_from_memory();
        }
        self.model.look(sights, blind);
        let firing = self.model.seen.iter().flatten().count();
        prop_assert_eq!(self.memory.alerts.firing().count(), firing, "what is silenced still counts");
        prop_assert_eq!(self.memory.alerts.mutes().count(), self.model.mutes.len());
        Ok(())
    }

    /// As the desk does it: an answer is given after the save.
    fn say(&mut self, command: &Command) -> bool {
        let person = Person::new(Way::Chat, "me");
        apply(&mut self.memory, command, self.wall_ms, &person).changed()
    }

    fn target(&self, what: What) -> Option<Target> {
        match what {
            What::Signal(signal) => Some(Target::Signal(signal)),
            What::Entity(index) => {
                let id = self.memory.alerts.id_of(&key(index))?;
                Some(Target::Case { id, signal: None })
            }
        }
    }

    fn deliver(&mut self, stop: Option<Stop>) -> Result<(), TestCaseError> {
        let outbox = &self.memory.outbox;
        let waiting = outbox.waiting(Channel::Telegram, self.saved_seq);
        let voice = Voice { host: "h".into(), runbook_url: None, locale: Locale::English };
        let Some(message) = compose::next(outbox, &waiting, &voice, None) else { return Ok(()) };
        if matches!(stop, Some(Stop::BeforeSend)) {
            return self.stop();
        }
        let told = waiting.iter().flat_map(|entry| &entry.notices);
        let told = told.filter(|queued| message.seqs.contains(&queued.seq));
        self.chat.extend(told.map(|queued| (queued.seq, queued.notice.clone())));
        if matches!(stop, Some(Stop::BeforeRecord)) {
            return self.stop();
        }
        self.memory.outbox.taken(Channel::Telegram, &message.seqs, None);
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Tick { after_ms, sights, blind } => self.tick(*after_ms, sights, *blind)?,
            Step::Clock(by_ms) => self.wall_ms += by_ms,
            Step::Mute(what, minutes) => {
                let Some(target) = self.target(*what) else { return Ok(()) };
                let for_ms = minutes * MINUTE;
                if self.say(&Command::Mute { target, for_ms }) {
                    self.model.mutes.retain(|(known, ..)| known != what);
                    self.model.mutes.push((*what, self.wall_ms, self.wall_ms + for_ms));
                    self.save();
                }
            }
            Step::Unmute(what) => {
                let Some(target) = self.target(*what) else { return Ok(()) };
                if self.say(&Command::Unmute { target: Some(target) }) {
                    self.model.mutes.retain(|(known, ..)| known != what);
                    if let What::Entity(index) = what {
                        self.model.acknowledged[*index] = None;
                    }
                    self.save();
                }
            }
            Step::Ack(index) => {
                let Some(id) = self.memory.alerts.id_of(&key(*index)) else { return Ok(()) };
                if self.say(&Command::Ack { id }) {
                    prop_assert!(self.model.seen[*index].is_some(), "acknowledged what does not fire");
                    self.model.acknowledged[*index] = self.model.seen[*index];
                    self.save();
                }
            }
            Step::Save => self.save(),
            Step::Refuse if self.hanging.is_none() => self.release_from_memory(),
            Step::Hang if self.hanging.is_none() => self.hanging = Some((self.snapshot(), false)),
            Step::Late if self.hanging.is_some() => {
                self.hanging = self.hanging.take().map(|(snapshot, _)| (snapshot, true));
                self.release_from_memory();
            }
            Step::Refuse | Step::Hang | Step::Late => {}
            Step::Return => self.end_hang(),
            Step::Deliver(stop) => self.deliver(*stop)?,
            Step::Stop => self.stop()?,
        }
        Ok(())
    }

    fn deliver_all(&mut self) -> Result<(), TestCaseError> {
        self.end_hang();
        self.save();
        while self.memory.outbox.depth(Channel::Telegram) > 0 {
            self.deliver(None)?;
        }
        self.save();
        Ok(())
    }

    /// Everything holds at its worst for long, then everything ends for long.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        self.say(&Command::Unmute { target: None });
        self.model.mutes.clear();
        let worst = [Sight::Active(Severity::Critical, SignalKind::ProcOrphaned); ENTITIES];
        for _ in 0..40 {
            self.tick(400_000, &worst, false)?;
        }
        self.deliver_all()?;
        for index in 0..ENTITIES {
            let told = self.words_of_chat(index).ends_with('A');
            let seen = self.model.acknowledged[index].is_some();
            prop_assert!(told || seen, "{index} holds and nobody was told");
        }
        for _ in 0..24 {
            self.tick(400_000, &[Sight::Absent; ENTITIES], false)?;
        }
        self.deliver_all()?;
        Ok(())
    }

    /// Alerts as A, recoveries as R, alerts in a row as one: a fold may make one of them.
    fn words<'a>(notices: impl Iterator<Item = &'a Notice>, index: usize) -> String {
        let mut words = String::new();
        for notice in notices.filter(|notice| index_of(notice) == index) {
            let word = if notice.kind.is_alert() { 'A' } else { 'R' };
            if word == 'R' || !words.ends_with('A') {
                words.push(word);
            }
        }
        words
    }

    /// What the chat was told of an entity, in the order of deciding: what a stop makes arrive again
    /// may have been overtaken by what came after it.
    fn words_of_chat(&self, index: usize) -> String {
        let told: BTreeMap<u64, &Notice> = self.chat.iter().map(|(seq, notice)| (*seq, notice)).collect();
        Self::words(told.into_values(), index)
    }

    /// Whether an earlier alert of its entity arrived before each recovery.
    fn recoveries_follow_alerts(&self) -> bool {
        self.chat.iter().enumerate().all(|(place, (seq, notice))| {
            notice.kind.is_alert()
                || self.chat[..place].iter().any(|(earlier, before)| {
                    before.kind.is_alert() && earlier < seq && index_of(before) == index_of(notice)
                })
        })
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.recoveries_follow_alerts(), "an end came before its alert: {:?}", self.chat);
        for index in 0..ENTITIES {
            let of_entity: Vec<&Decided> =
                self.model.decided.iter().filter(|decided| index_of(&decided.notice) == index).collect();
            let alerts: Vec<_> = of_entity.iter().filter(|decided| decided.notice.kind.is_alert()).collect();
            for pair in alerts.windows(2) {
                let close = pair[1].after_alert_ms.is_some_and(|after_ms| after_ms < COOLDOWN);
                let flapping = matches!(pair[1].notice.kind, NoticeKind::Flapping { .. });
                let worse = rank(&pair[1].notice) > rank(&pair[0].notice);
                prop_assert!(!close || flapping || worse, "two inside the cooldown: {pair:?}");
            }
            let flaps: Vec<_> = alerts
                .iter()
                .filter(|decided| matches!(decided.notice.kind, NoticeKind::Flapping { .. }))
                .collect();
            for pair in flaps.windows(2) {
                prop_assert!(pair[0].calms < pair[1].calms, "flapping again, and never calm: {pair:?}");
            }
            let told = self.words_of_chat(index);
            prop_assert!(!told.contains("RR") && !told.starts_with('R'), "recovered from nothing: {told}");
            prop_assert!(!told.ends_with('A'), "a recovery was lost: {told}");
            if self.memory.outbox.dropped() == 0 {
                let decided = Self::words(of_entity.iter().map(|decided| &decided.notice), index);
                prop_assert_eq!(&decided, &told, "decided, and told");
            }
        }
        let mut times: BTreeMap<u64, usize> = BTreeMap::new();
        for (seq, _) in &self.chat {
            *times.entry(*seq).or_default() += 1;
        }
        for (seq, count) in times {
            prop_assert!(count <= 1 + self.stops, "{seq} was told {count} times over {} stops", self.stops);
        }
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&(&self.memory, &self.chat)).unwrap()
    }
}

fn play(steps: &[Step]) -> Result<Machine, TestCaseError> {
    let mut machine = Machine::new();
    for step in steps {
        machine.step(step)?;
    }
    machine.finish()?;
    Ok(machine)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_told_against_a_persons_wish_over_stops_at_any_point(steps in steps()) {
        play(&steps)?.check()?;
    }

    #[test]
    fn the_same_history_gives_the_same_bytes(steps in steps()) {
        prop_assert_eq!(play(&steps)?.bytes(), play(&steps)?.bytes());
    }
}

//! A watchdog's middle over a written host on which processes, families and jobs come and go, by an accelerated clock.
//!
//! Everything that a tick keeps is kept as in life: collector, memory of the signals, cases, outbox, history. One channel
//! takes what it is told, the other is away most of the time. It measures nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use orch_contract::ObservationDocument;
use orch_watchdog::cases::{Policy, decide};
use orch_watchdog::notify::Channel;
use orch_watchdog::observe::{Collected, CoreObservation, CoreSight, Observation};
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings};
use orch_watchdog::proc_watch::judge_family;
use orch_watchdog::signals::{CaseKey, Context, Saving, Thresholds, derive};
use orch_watchdog::store::Durable;
use proc_identity::host::Clocks;

use crate::proc_support::{Fake, TICKS, Tree};

/// Boot to the first tick, milliseconds.
const BOOTED_MS: i64 = 100_000_000;
/// Wall clock at boot.
const BOOT_MS: i64 = 1_700_000_000_000;
/// Ticks that a family lives.
const FAMILY_TICKS: u64 = 12;
/// The distant channel takes what waits each so many ticks.
const TAKEN_EACH: u64 = 40;
/// Pids are given anew from here on, as a kernel does.
const PID_MAX: i32 = 4_000_000;

/// The host and its watchdog.
pub(crate) struct Soak {
    tree: Tree,
    collector: Collector,
    thresholds: Thresholds,
    state: Durable,
    crowd: VecDeque<i32>,
    families: VecDeque<(u64, i32)>,
    document: ObservationDocument,
    next_pid: i32,
    ticks: u64,
    tick_ms: i64,
    /// Processes that go, and as many that come, at each tick, beside one new family.
    churn: usize,
    /// Notices decided, alerts and recoveries.
    pub(crate) told: (u64, u64),
}

impl Soak {
    /// A host of `size` processes, of which `churn` come and go a tick. A disk gives inodes anew, so that every process is
    /// read at each tick.
    pub(crate) fn new(size: usize, churn: usize, tick_ms: i64, thresholds: Thresholds) -> Self {
        Self::over(Tree::new(), size, churn, tick_ms, thresholds)
    }

    /// The same, over a tree whose inodes the caller knows to be given once: new processes are read and others are not, as
    /// on a real host.
    pub(crate) fn over_trusted(
        tree: Tree,
        size: usize,
        churn: usize,
        tick_ms: i64,
        thresholds: Thresholds,
    ) -> Self {
        let mut soak = Self::over(tree, size, churn, tick_ms, thresholds);
        soak.collector.trust_inodes();
        soak
    }

    fn over(tree: Tree, size: usize, churn: usize, tick_ms: i64, thresholds: Thresholds) -> Self {
        let settings = CollectorSettings {
            proc_root: tree.path().to_owned(),
            patterns: Pattern::parse_list("pytest").expect("patterns"),
            refresh_ms: 900_000,
            age_marks_ms: vec![30_000, 1_800_000, 3_600_000],
        };
        let mut soak = Self {
            collector: Collector::new(settings, None).expect("a collector"),
            tree,
            thresholds,
            state: Durable::default(),
            crowd: VecDeque::new(),
            families: VecDeque::new(),
            document: orch_tests::documents::idle(0),
            next_pid: 100,
            ticks: 0,
            tick_ms,
            churn,
            told: (0, 0),
        };
        for _ in 0..size {
            soak.come();
        }
        soak
    }

    /// One tick.
    pub(crate) fn tick(&mut self) {
        self.ticks += 1;
        self.live_on();
        let after_ms = self.tick_ms * i64::try_from(self.ticks).unwrap_or(i64::MAX);
        let clocks = Clocks {
            realtime_ms: BOOT_MS + BOOTED_MS + after_ms,
            boottime_ms: BOOTED_MS + after_ms,
            monotonic_ms: BOOTED_MS + after_ms,
        };
        let now_ms = clocks.realtime_ms;
        let proc = self.collector.pass(&clocks, None);
        assert!(matches!(proc, Collected::Fresh(_)), "{proc:?}");
        self.document.generated_at_ms = now_ms;
        let heard = CoreObservation { document: self.document.clone(), received_at_ms: now_ms };
        let core = CoreSight::Heard(Arc::new(heard.clone()));
        let observation = Observation { at_ms: now_ms, proc, core, host: Collected::Off };
        let open: Vec<CaseKey> = self.state.alerts.open().map(|(key, _)| key.clone()).collect();
        let context = Context {
            last_heard: Some(&heard),
            open: &open,
            channels: &[],
            saving: &Saving { fault: None, proven: true },
            thresholds: &self.thresholds,
            judge: &judge_family,
        };
        let states = derive(&observation, &context, &mut self.state.memory);
        let alerts = std::mem::take(&mut self.state.alerts);
        let (alerts, notices) = decide(alerts, &states, now_ms, &Policy::default());
        self.state.alerts = alerts;
        for notice in &notices {
            match notice.kind.is_alert() {
                true => self.told.0 += 1,
                false => self.told.1 += 1,
            }
            self.state.outbox.push(&[Channel::Log, Channel::Telegram], notice);
            self.state.remember(notice);
        }
        self.take(Channel::Log);
        if self.ticks.is_multiple_of(TAKEN_EACH) {
            self.take(Channel::Telegram);
        }
    }

    /// Bytes of the state as it would be saved.
    pub(crate) fn state_bytes(&self) -> usize {
        serde_json::to_vec(&self.state).expect("a state").len()
    }

    fn take(&mut self, channel: Channel) {
        let waiting = self.state.outbox.waiting(channel, u64::MAX);
        let seqs: Vec<u64> = waiting.iter().flat_map(|entry| &entry.notices).map(|one| one.seq).collect();
        self.state.outbox.taken(channel, &seqs, None);
    }

    /// What happens on the host between two ticks.
    fn live_on(&mut self) {
        for _ in 0..self.churn {
            if let Some(gone) = self.crowd.pop_front() {
                self.tree.remove(gone);
            }
            self.come();
        }
        // an exec keeps the process and changes its words
        if let Some(youngest) = self.crowd.back() {
            self.tree.exec(*youngest, format!("builder\0--pass\0{}\0", self.ticks).as_bytes());
        }
        while let Some((_, pid)) = self.families.front().filter(|(born, _)| self.ticks >= born + FAMILY_TICKS)
        {
            self.tree.remove(*pid);
            self.families.pop_front();
        }
        let pid = self.pid();
        let argv = ["/usr/bin/python3", "-m", "pytest", "-q", &format!("tests/test_{pid}.py")];
        self.put(&Fake::new(pid, 1, &argv).leader());
        self.families.push_back((self.ticks, pid));
    }

    fn come(&mut self) {
        let pid = self.pid();
        self.put(&Fake::new(pid, 1, &["worker", "--serve", &pid.to_string()]));
        self.crowd.push_back(pid);
    }

    /// Started now, with some CPU behind it.
    fn put(&self, fake: &Fake) {
        let after_ms = self.tick_ms * i64::try_from(self.ticks).unwrap_or(i64::MAX);
        let ticks = u64::try_from(BOOTED_MS + after_ms).unwrap_or(0) * TICKS / 1_000;
        self.tree.put(&fake.clone().with(|it| (it.start, it.cpu) = (ticks, 7)));
    }

    fn pid(&mut self) -> i32 {
        self.next_pid = if self.next_pid >= PID_MAX { 100 } else { self.next_pid + 1 };
        self.next_pid
    }
}

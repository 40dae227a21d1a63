//! What `derive` remembers over ticks: since when a family is an orphan, and the CPU of each run.
//!
//! Written to the state file together with the cases, but never a reason to write it: losing it
//! holds a signal for a while and never ends one. Bounded by what the last observation lists.

use std::collections::{BTreeMap, BTreeSet};

use orch_contract::OpenTask;
use serde::{Deserialize, Serialize};

use super::SignalKind;
use crate::observe::{Collected, CoreObservation, Observation, ProcessKey, View};

/// CPU samples kept of one window; the window is the silence that `agent_hung` asks for.
const SAMPLES_A_WINDOW: i64 = 16;

/// Runs remembered at most; beyond it the least recently seen go.
const RUNS_KEPT: usize = 1_000;

/// Memory over ticks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    #[serde(with = "as_list")]
    orphan_since_ms: BTreeMap<ProcessKey, i64>,
    #[serde(with = "as_list")]
    runs: BTreeMap<u64, RunMemory>,
    down_since_ms: Option<i64>,
    #[serde(with = "as_list")]
    unavailable_since_ms: BTreeMap<super::CollectorName, i64>,
    /// Since when a signal of a single entity holds, UTC milliseconds by our clock.
    #[serde(default)]
    holds_since_ms: BTreeMap<SignalKind, i64>,
    /// Since when the state is not saved, where that began in the future of our clock.
    #[serde(default)]
    unsaved_since_ms: Option<i64>,
    /// When each open task was last seen not waiting for a person, by the core's clock.
    #[serde(default)]
    not_waiting_at_ms: BTreeMap<String, i64>,
    /// The document that came last.
    #[serde(default)]
    document: Option<DocumentMemory>,
}

/// A beginning that is no later than now: a clock that is set back must not hold what has begun.
fn begun(since_ms: &mut i64, now: i64) -> i64 {
    *since_ms = (*since_ms).min(now);
    *since_ms
}

/// One document, however often it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct DocumentMemory {
    generated_at_ms: i64,
    first_received_ms: i64,
}

/// What is remembered of one run cookie.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct RunMemory {
    /// (UTC ms, CPU credited so far in ms), oldest first.
    samples: Vec<(i64, u64)>,
    credited_cpu_ms: u64,
    last_cpu_ms: u64,
    last_seen_ms: i64,
    gone_since_ms: Option<i64>,
    /// From where its processes were seen last; absent in what an earlier version wrote.
    #[serde(default)]
    view: Option<View>,
}

impl Memory {
    /// Takes one observation in.
    pub(super) fn observe(&mut self, observation: &Observation, window_ms: i64) {
        let now = observation.at_ms;
        let Collected::Fresh(proc) = &observation.proc else { return };
        let mut present = BTreeSet::new();
        for run in &proc.runs {
            present.insert(run.cookie);
            let memory = self.runs.entry(run.cookie).or_default();
            // a member that ended takes its CPU out of the sum: such a step credits nothing
            let credit_ms = match memory.samples.is_empty() {
                true => 0,
                false => run.cpu_ms.saturating_sub(memory.last_cpu_ms),
            };
            memory.credited_cpu_ms = memory.credited_cpu_ms.saturating_add(credit_ms);
            memory.last_cpu_ms = run.cpu_ms;
            memory.last_seen_ms = now;
            memory.gone_since_ms = None;
            memory.view = Some(proc.view);
            memory.sample(now, window_ms);
        }
        for cookie in &proc.missing_runs {
            let memory = self.runs.entry(*cookie).or_default();
            // known from here on, and not there: gone, as below
            memory.last_seen_ms = now;
            memory.view = Some(proc.view);
        }
        for (cookie, memory) in &mut self.runs {
            if present.contains(cookie) || memory.gone_since_ms.is_some() {
                continue;
            }
            match proc.view.covers(memory.view) {
                true => memory.gone_since_ms = Some(now),
                // it may live where this view does not reach: not gone, and nobody knows what it computes
                false => memory.samples.clear(),
            }
        }
    }

    /// Drops what neither the host nor the core lists any more.
    pub(super) fn forget(&mut self, observation: &Observation, last_heard: Option<&CoreObservation>) {
        if let Collected::Fresh(proc) = &observation.proc {
            let alive: BTreeSet<&ProcessKey> =
                proc.families.iter().map(|family| &family.key).chain(&proc.unseen).collect();
            self.orphan_since_ms.retain(|key, _| alive.contains(key));
        }
        if let Some(heard) = last_heard {
            let listed: BTreeSet<u64> =
                heard.document.processes.iter().filter_map(|tree| tree.cookie.parse().ok()).collect();
            self.runs.retain(|cookie, memory| memory.gone_since_ms.is_none() || listed.contains(cookie));
        }
        while self.runs.len() > RUNS_KEPT {
            let oldest = self.runs.iter().min_by_key(|(_, memory)| memory.last_seen_ms).map(|(key, _)| *key);
            if let Some(key) = oldest {
                self.runs.remove(&key);
            }
        }
    }

    /// Since when a family is an orphan, beginning now if it is new.
    pub(super) fn orphan_since(&mut self, key: &ProcessKey, now: i64) -> i64 {
        begun(self.orphan_since_ms.entry(key.clone()).or_insert(now), now)
    }

    /// When the next orphan's grace will be over.
    #[must_use]
    pub fn next_grace_end_ms(&self, now: i64, grace_ms: i64) -> Option<i64> {
        let ends = self.orphan_since_ms.values().map(|since| since.saturating_add(grace_ms));
        ends.filter(|end| *end > now).min()
    }

    /// The family is owned.
    pub(super) fn not_orphan(&mut self, key: &ProcessKey) {
        self.orphan_since_ms.remove(key);
    }

    /// CPU of a run over at least `window_ms`, and the time it was measured over; absent when it
    /// was not watched that long.
    pub(super) fn cpu_over(&self, cookie: u64, now: i64, window_ms: i64) -> Option<(u64, i64)> {
        let memory = self.runs.get(&cookie)?;
        let (from, credited) =
            memory.samples.iter().rev().find(|(at, _)| *at <= now.saturating_sub(window_ms))?;
        Some((memory.credited_cpu_ms.saturating_sub(*credited), now.saturating_sub(*from)))
    }

    /// Since when no process carries a cookie that was once seen, or that a core of this very host
    /// lists; absent while one does, and for a run that may live where this watchdog cannot look.
    pub(super) fn gone_since(&self, cookie: u64) -> Option<i64> {
        self.runs.get(&cookie)?.gone_since_ms
    }

    /// Since when polls fail.
    pub(super) fn down_since(&mut self, now: i64) -> i64 {
        begun(self.down_since_ms.get_or_insert(now), now)
    }

    /// A poll did not fail.
    pub(super) fn not_down(&mut self) {
        self.down_since_ms = None;
    }

    /// Since when a collector cannot look.
    pub(super) fn unavailable_since(&mut self, name: super::CollectorName, now: i64) -> i64 {
        begun(self.unavailable_since_ms.entry(name).or_insert(now), now)
    }

    /// Since when a signal of a single entity holds, beginning now if it did not.
    pub(super) fn holds_since(&mut self, signal: SignalKind, now: i64) -> i64 {
        begun(self.holds_since_ms.entry(signal).or_insert(now), now)
    }

    /// Since when the state is not saved, by the keeper's word and by our clock, which may have been set back since.
    pub(super) fn unsaved_since(&mut self, since_ms: i64, now: i64) -> i64 {
        match since_ms <= now {
            true => {
                self.saved();
                since_ms
            }
            false => begun(self.unsaved_since_ms.get_or_insert(now), now),
        }
    }

    /// It is saved.
    pub(super) fn saved(&mut self) {
        self.unsaved_since_ms = None;
    }

    /// Such a signal does not hold.
    pub(super) fn ended(&mut self, signal: SignalKind) {
        self.holds_since_ms.remove(&signal);
    }

    /// A task does not wait for a person.
    pub(super) fn not_waiting(&mut self, work_item: &str, now: i64) {
        match self.not_waiting_at_ms.get_mut(work_item) {
            Some(at) => *at = now,
            None => {
                self.not_waiting_at_ms.insert(work_item.to_owned(), now);
            }
        }
    }

    /// Since when a task waits for a person: since it was last seen not to, and since it entered
    /// its stage when that is later or it never was seen so.
    pub(super) fn waits_since(&self, work_item: &str, stage_since_ms: i64, now: i64) -> i64 {
        let seen_ms = self.not_waiting_at_ms.get(work_item).copied().unwrap_or(stage_since_ms);
        seen_ms.max(stage_since_ms).min(now)
    }

    /// Forgets tasks that are not open any more.
    pub(super) fn keep_tasks(&mut self, open: &[OpenTask]) {
        if self.not_waiting_at_ms.is_empty() {
            return;
        }
        let open: BTreeSet<&str> = open.iter().map(|task| task.work_item.as_str()).collect();
        self.not_waiting_at_ms.retain(|work_item, _| open.contains(work_item.as_str()));
    }

    /// When a document that was built at this time first came; never after now.
    pub(super) fn document_came(&mut self, generated_at_ms: i64, received_at_ms: i64) -> i64 {
        let first_received_ms = match self.document {
            Some(known) if known.generated_at_ms == generated_at_ms => {
                known.first_received_ms.min(received_at_ms)
            }
            Some(_) | None => received_at_ms,
        };
        self.document = Some(DocumentMemory { generated_at_ms, first_received_ms });
        first_received_ms
    }

    /// A collector looked.
    pub(super) fn available(&mut self, name: super::CollectorName) {
        self.unavailable_since_ms.remove(&name);
    }
}

impl RunMemory {
    /// Adds a sample when the last is old enough, and drops those that no window needs.
    fn sample(&mut self, now: i64, window_ms: i64) {
        let spacing = (window_ms / SAMPLES_A_WINDOW).max(1);
        if self.samples.last().is_none_or(|(at, _)| now.saturating_sub(*at) >= spacing || now < *at) {
            self.samples.retain(|(at, _)| *at <= now);
            self.samples.push((now, self.credited_cpu_ms));
        }
        // one sample at or before the window's start must stay
        while self.samples.get(1).is_some_and(|(at, _)| *at <= now.saturating_sub(window_ms)) {
            self.samples.remove(0);
        }
    }
}

/// Maps whose keys are no strings, as lists of pairs.
pub(crate) mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K, V, S>(map: &BTreeMap<K, V>, serializer: S) -> Result<S::Ok, S::Error>
    where
        K: Serialize,
        V: Serialize,
        S: Serializer,
    {
        serializer.collect_seq(map.iter())
    }

    pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

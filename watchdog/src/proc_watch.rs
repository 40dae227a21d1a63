//! The collector as ticks use it: switched off, waiting to open, or at work.
//!
//! Responsible for opening the process tree again after a failure, for following ends, and for saying
//! once what can be seen. What is read and matched stands in `proc`. Invariant: switched off, it
//! opens nothing of any process.

use std::future::Future;
use std::pin::Pin;

use proc_identity::host::Clocks;

use crate::config::ProcConfig;
use crate::metrics::ReadFailure;
use crate::observe::{Collected, CoreObservation, Family, ProcObservation};
use crate::proc::{
    Answer, Collector, CollectorSettings, CoreHint, CoreKnowledge, EndWatch, Pattern, ProcMemory, SelfCheck,
    Verdict, judge,
};
use crate::signals::{CoreWord, Judged, Ownership};
use crate::tick::{ProcReport, ProcSource};
use crate::ticking::WatchedProcSource;

/// Looks at processes as configured.
#[derive(Debug)]
pub struct ProcWatch {
    state: State,
}

#[derive(Debug)]
enum State {
    Off,
    /// Not opened yet, or the last try failed.
    Shut(CollectorSettings, Option<ProcMemory>),
    Open(Box<Open>),
}

#[derive(Debug)]
struct Open {
    collector: Collector,
    ends: EndWatch,
    /// What an earlier life knew, kept for as long as processes are hidden from this one.
    earlier: Option<ProcMemory>,
    /// Whether the log was told what can be seen.
    told: bool,
    /// Whether the log was told that ends cannot be awaited.
    refusal_told: bool,
}

impl ProcWatch {
    /// As configured; `memory` is what an earlier life knew of families.
    ///
    /// # Errors
    /// In words, when a pattern cannot be used.
    pub fn new(config: &ProcConfig, memory: Option<ProcMemory>) -> Result<Self, String> {
        if !config.enabled {
            return Ok(Self { state: State::Off });
        }
        let parse =
            |text: &String| Pattern::parse(text).map_err(|error| format!("pattern {text:?}: {error}"));
        let settings = CollectorSettings {
            proc_root: config.root.clone(),
            patterns: config.patterns.iter().map(parse).collect::<Result<_, _>>()?,
            refresh_ms: config.refresh_ms,
            age_marks_ms: vec![config.age_ms, config.foreign_grace_ms],
        };
        Ok(Self { state: State::Shut(settings, memory) })
    }

    /// Opens what is shut; false when it stays shut or is off.
    fn open(&mut self) -> Result<Option<&mut Open>, String> {
        if let State::Shut(settings, memory) = &self.state {
            let collector =
                Collector::new(settings.clone(), memory.clone()).map_err(|error| error.to_string())?;
            let earlier = memory.clone();
            self.state = State::Open(Box::new(Open {
                collector,
                ends: EndWatch::default(),
                earlier,
                told: false,
                refusal_told: false,
            }));
        }
        match &mut self.state {
            State::Open(open) => Ok(Some(open)),
            State::Off | State::Shut(..) => Ok(None),
        }
    }
}

impl ProcSource for ProcWatch {
    fn look(&mut self, heard: Option<&CoreObservation>) -> Collected<ProcObservation> {
        let open = match self.open() {
            Ok(Some(open)) => open,
            Ok(None) => return Collected::Off,
            Err(reason) => return Collected::Unavailable(reason),
        };
        let hint = heard.map(|heard| CoreHint::from_document(&heard.document));
        if let Some(earlier) = &open.earlier {
            open.collector.recall(earlier);
        }
        let observation = match open.collector.pass(&Clocks::now(), hint.as_ref()) {
            Collected::Fresh(observation) => observation,
            Collected::Unavailable(why) => return Collected::Unavailable(why),
            Collected::Off => return Collected::Off,
        };
        open.tell_once();
        // what is hidden is not gone: nothing may be raised or ended by a view that leaves out the rest
        if let Some(why) = open.collector.self_check().hidden() {
            return Collected::Unavailable(why);
        }
        open.earlier = None;
        open.ends.follow(&observation.families, open.collector.reader());
        open.tell_refusal_once();
        Collected::Fresh(observation)
    }

    fn join(&mut self, earlier: &ProcMemory) {
        match &mut self.state {
            State::Off => {}
            State::Shut(_, memory) => {
                memory.get_or_insert_with(|| earlier.clone());
            }
            State::Open(open) => {
                if let Some(kept) = &open.earlier {
                    open.collector.recall(kept);
                }
                open.collector.join(earlier);
                open.earlier = Some(open.collector.memory().clone());
            }
        }
    }

    fn report(&self) -> ProcReport {
        match &self.state {
            State::Off => ProcReport::default(),
            State::Shut(_, memory) => ProcReport { memory: memory.clone(), ..ProcReport::default() },
            State::Open(open) => {
                let counters = open.collector.counters();
                ProcReport {
                    memory: Some(open.earlier.as_ref().unwrap_or(open.collector.memory()).clone()),
                    ends_unwatched: Some(open.ends.unwatched() as u64),
                    blind: Some(blindness(open.collector.self_check()).is_some()),
                    reads: counters.reads(),
                    listings: counters.listings,
                    read_errors: ReadFailure::ALL.map(|reason| match reason {
                        ReadFailure::Denied => counters.denied,
                        ReadFailure::Malformed => counters.malformed,
                        ReadFailure::Failed => counters.failed,
                    }),
                }
            }
        }
    }
}

/// Why not the whole host is seen: its processes are hidden, or this is a pid namespace of its own.
fn blindness(check: &SelfCheck) -> Option<String> {
    check.hidden().or_else(|| check.confined().map(str::to_owned))
}

impl Open {
    fn tell_once(&mut self) {
        if self.told {
            return;
        }
        self.told = true;
        let check = self.collector.self_check();
        tracing::info!("{}", check.words());
        if let Some(blindness) = blindness(check) {
            tracing::warn!(blindness, "not the whole host can be seen");
        }
        if check.environ_denied == Answer::No {
            tracing::warn!("the kernel would show me environments of others: run me as a user of my own");
        }
    }

    fn tell_refusal_once(&mut self) {
        if self.refusal_told {
            return;
        }
        if let Some(refusal) = self.ends.refusal() {
            self.refusal_told = true;
            tracing::warn!(refusal, "ends are seen at the next tick only");
        }
    }
}

impl WatchedProcSource for ProcWatch {
    fn ended(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        match &mut self.state {
            State::Open(open) => Box::pin(async {
                open.ends.ended().await;
            }),
            State::Off | State::Shut(..) => Box::pin(std::future::pending()),
        }
    }
}

/// The ownership rule as the signals ask it.
#[must_use]
pub fn judge_family(family: &Family, core: CoreWord<'_>) -> Judged {
    let core = match core {
        CoreWord::Document(document) => CoreKnowledge::Document(document),
        CoreWord::Silent => CoreKnowledge::Silent,
        CoreWord::Off => CoreKnowledge::Off,
    };
    let judgement = judge(family, core);
    let ownership = match judgement.verdict {
        Verdict::Owned { .. } => Ownership::Owned,
        Verdict::Orphan { .. } => Ownership::Orphan,
        Verdict::Foreign { .. } => Ownership::Foreign,
        Verdict::OwnerUnknown { .. } => Ownership::OwnerUnknown,
    };
    Judged { ownership, evidence: judgement.evidence }
}

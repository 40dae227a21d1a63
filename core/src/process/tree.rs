//! The flat kill: ends every process that carries a run's cookie, wherever it has got to.
//!
//! Passes over `/proc`: SIGSTOP each match until a pass finds none running, SIGKILL all, then two passes in a row that
//! find nothing alive. Never a walk from parent to child: a fork bomb outruns it, and a double fork leaves it. A pass goes
//! from the newest pid to the oldest and signals on sight, and where somebody ran, the newest pids are looked at again and
//! again: a line of processes that fork and end is never where it was a millisecond ago.
//!
//! Does not decide *that* a run is to die. Invariants: nobody is signalled but a process that carried the cookie after
//! its pidfd was opened (so that a reused pid cannot be hit), never pid 1 or below, never this process; a zombie is
//! dead; whoever may not be signalled is a survivor; a search that failed is said to have failed, and is not clean.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use proc_identity::host::{Clocks, last_pid};
use proc_identity::{Marked, PROC_ROOT, ProcError, ProcRoot, ProcessId, State};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpriority_process, pidfd_open, pidfd_send_signal, setpriority_process,
};

use super::cookie::Cookie;
use super::record::SweepRecord;

/// A whole sweep takes no longer than this, plus one pass.
const SWEEP_LIMIT_MS: i64 = 10_000;
/// So many passes may go by with SIGSTOP before SIGKILL is sent to a tree that does not stand still.
const STOP_PASSES: u32 = 40;
/// Consecutive passes that must find nothing.
const EMPTY_PASSES: u32 = 2;
/// A pass in which somebody vanished between list and look proves nothing, but on a busy host strangers do so all the
/// time: after so many of them they count.
const DOUBTFUL_PASSES: u32 = 20;
/// While there are runners: the newest pids are looked at so often between two passes at most,
const CHASE_ROUNDS: u32 = 2_000;
/// so many of them,
const CHASE_PIDS: i32 = 48;
/// until so many looks in a row meet no runner.
const CHASE_QUIET_ROUNDS: u32 = 20;
/// Niceness of a sweep where the kernel grants it: those who are chased must not get the processor first.
const SWEEP_NICENESS: i32 = -15;
/// First pause between two passes that found somebody dying.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What a sweep found and did.
pub type SweepReport = SweepRecord;

/// Ends the run of this cookie and says what it found. Blocks for at most ten seconds, for a few milliseconds where the
/// run has ended already.
#[must_use]
pub fn sweep(cookie: Cookie) -> SweepReport {
    sweep_with(cookie, &mut || {})
}

/// As [`sweep`]; between two passes `reap` may collect zombies that are this process's own children.
pub(super) fn sweep_with(cookie: Cookie, reap: &mut dyn FnMut()) -> SweepReport {
    let niceness = getpriority_process(None);
    // refused to all but root, and a sweep works without it
    setpriority_process(None, SWEEP_NICENESS).ok();
    let report = to_the_end(cookie, reap);
    if let Ok(niceness) = niceness {
        setpriority_process(None, niceness).ok();
    }
    report
}

fn to_the_end(cookie: Cookie, reap: &mut dyn FnMut()) -> SweepReport {
    let mut sweep = match Sweep::begin(cookie) {
        Ok(sweep) => sweep,
        Err(error) => return blind(SweepReport::default(), &error),
    };
    loop {
        match sweep.pass(reap) {
            Ok(None) => {}
            Ok(Some(report)) => return report,
            Err(error) => return blind(sweep.report, &error),
        }
    }
}

fn blind(report: SweepReport, error: &ProcError) -> SweepReport {
    SweepReport { could_not_look: Some(error.to_string()), ..report }
}

#[derive(Clone, Copy)]
enum Phase {
    Stopping { passes: u32 },
    Killing { first: bool, empty: u32 },
}

struct Sweep {
    proc: ProcRoot,
    cookie: Cookie,
    own_pid: i32,
    give_up_at_ms: i64,
    phase: Phase,
    pause: Duration,
    doubtful: u32,
    pids: Vec<(i32, u64)>,
    stopped: HashSet<ProcessId>,
    killed: HashSet<ProcessId>,
    refused: HashSet<ProcessId>,
    report: SweepReport,
}

/// What one pass met.
#[derive(Default)]
struct Met {
    /// Carriers that live, whether we may signal them or not.
    alive: Vec<ProcessId>,
    /// Of these, those that we may signal.
    reachable: usize,
    /// Of these, those that could still fork when they were met.
    running: usize,
    /// Of these, those that an earlier killing pass had not met.
    newcomers: usize,
    /// Processes that were listed and gone when they were looked at.
    vanished: usize,
    /// Processes that could not be looked at.
    unreadable: u64,
}

impl Sweep {
    fn begin(cookie: Cookie) -> Result<Self, ProcError> {
        let own_pid = i32::try_from(std::process::id()).map_err(|_| ProcError::Io(Errno::OVERFLOW))?;
        let seen = std::fs::read_link(Path::new(PROC_ROOT).join("self")).map_err(|error| {
            ProcError::Io(error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
        })?;
        // a proc mount of another pid namespace shows numbers that mean somebody else here
        if seen != Path::new(&own_pid.to_string()) {
            return Err(ProcError::Malformed { file: "self", field: "pid of this namespace" });
        }
        Ok(Self {
            proc: ProcRoot::open(PROC_ROOT.as_ref())?,
            cookie,
            own_pid,
            give_up_at_ms: Clocks::now().monotonic_ms.saturating_add(SWEEP_LIMIT_MS),
            phase: Phase::Stopping { passes: 0 },
            pause: PAUSE_MIN,
            doubtful: 0,
            pids: Vec::new(),
            stopped: HashSet::new(),
            killed: HashSet::new(),
            refused: HashSet::new(),
            report: SweepReport::default(),
        })
    }

    /// One pass; a report when it was the last.
    fn pass(&mut self, reap: &mut dyn FnMut()) -> Result<Option<SweepReport>, ProcError> {
        let met = self.meet()?;
        if met.running > 0 {
            self.chase()?;
        }
        let next = match self.phase {
            Phase::Stopping { passes } if met.running > 0 && passes < STOP_PASSES => {
                Phase::Stopping { passes: passes + 1 }
            }
            Phase::Stopping { .. } => Phase::Killing { first: true, empty: 0 },
            // somebody slipped past the passes before, and may have done so with company
            Phase::Killing { first: false, .. } if met.newcomers > 0 => Phase::Stopping { passes: 0 },
            Phase::Killing { .. } if met.reachable > 0 => Phase::Killing { first: false, empty: 0 },
            Phase::Killing { empty, .. } if met.vanished > 0 && self.doubtful < DOUBTFUL_PASSES => {
                self.doubtful += 1;
                Phase::Killing { first: false, empty }
            }
            Phase::Killing { empty, .. } => Phase::Killing { first: false, empty: empty + 1 },
        };
        self.phase = next;
        let done = matches!(self.phase, Phase::Killing { empty, .. } if empty >= EMPTY_PASSES);
        if done || Clocks::now().monotonic_ms >= self.give_up_at_ms {
            self.report.killed = self.killed.len() as u64;
            self.report.survivors = met.alive;
            self.report.unreadable = met.unreadable;
            return Ok(Some(std::mem::take(&mut self.report)));
        }
        reap();
        // only for those who are already signalled is there anything to wait for
        if met.reachable > 0 && met.running == 0 {
            std::thread::sleep(self.pause);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        Ok(None)
    }

    /// Looks at every process, the newest first, and signals carriers on sight as the phase has it.
    fn meet(&mut self) -> Result<Met, ProcError> {
        let mut pids = std::mem::take(&mut self.pids);
        let listed = self.proc.list_pids(&mut pids);
        let own_pid = self.own_pid;
        let mut met = Met::default();
        for (pid, _) in pids.iter().rev().filter(|(pid, _)| *pid > 1 && *pid != own_pid) {
            match self.proc.limits(*pid) {
                Ok(locks) if locks.carries(self.cookie.get()) => self.meet_carrier(*pid, &mut met),
                Ok(_) => {}
                Err(ProcError::Gone) => met.vanished += 1,
                Err(ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_)) => {
                    met.unreadable += 1;
                }
            }
        }
        self.pids = pids;
        listed.map(|()| met)
    }

    /// Looks at the newest pids, over and over, until no runner is met among them.
    fn chase(&mut self) -> Result<(), ProcError> {
        let mut quiet = 0;
        for _ in 0..CHASE_ROUNDS {
            let last = last_pid(PROC_ROOT.as_ref())?;
            let mut met = Met::default();
            for pid in (last.saturating_sub(CHASE_PIDS).max(2)..=last).rev() {
                if pid != self.own_pid
                    && self.proc.limits(pid).is_ok_and(|locks| locks.carries(self.cookie.get()))
                {
                    self.meet_carrier(pid, &mut met);
                }
            }
            quiet = if met.running > 0 { 0 } else { quiet + 1 };
            if quiet >= CHASE_QUIET_ROUNDS || Clocks::now().monotonic_ms >= self.give_up_at_ms {
                break;
            }
        }
        Ok(())
    }

    /// Signals through a pidfd that was opened *before* the cookie was looked at again: if the pid has passed to a
    /// stranger, that look refuses it; if it passes afterwards, the signal finds nobody.
    fn meet_carrier(&mut self, pid: i32, met: &mut Met) {
        let pidfd =
            Pid::from_raw(pid).ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let marked = match self.proc.marked(pid, self.cookie.get()) {
            Ok(Some(marked)) if !marked.dead => marked,
            Ok(Some(_) | None) => return,
            Err(ProcError::Gone) => {
                met.vanished += 1;
                return;
            }
            Err(ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_)) => {
                met.unreadable += 1;
                return;
            }
        };
        met.alive.push(marked.id);
        if self.refused.contains(&marked.id) {
            return;
        }
        met.reachable += 1;
        met.running += usize::from(!self.stands_still(&marked));
        let signal = match self.phase {
            Phase::Stopping { .. } if self.stands_still(&marked) => return,
            Phase::Stopping { .. } => Signal::STOP,
            Phase::Killing { .. } => Signal::KILL,
        };
        match (pidfd.and_then(|pidfd| pidfd_send_signal(&pidfd, signal)), self.phase) {
            (Ok(()), Phase::Stopping { .. }) => {
                self.stopped.insert(marked.id);
            }
            (Ok(()), Phase::Killing { .. }) => met.newcomers += usize::from(self.killed.insert(marked.id)),
            (Err(Errno::PERM), _) => {
                self.refused.insert(marked.id);
            }
            // gone, or no descriptor to be had: the next pass tells
            (Err(_), _) => {}
        }
    }

    /// It forks nothing until somebody continues it.
    fn stands_still(&self, marked: &Marked) -> bool {
        match marked.state {
            State::Stopped | State::Traced => true,
            // in the kernel until it returns, a vfork parent for instance: there the pending stop meets it first; and a
            // leader that has ended shows nothing of its threads, which are stopped with it
            State::DiskSleep | State::Zombie => self.stopped.contains(&marked.id),
            State::Running | State::Sleeping | State::Dead | State::Idle | State::Other(_) => false,
        }
    }
}

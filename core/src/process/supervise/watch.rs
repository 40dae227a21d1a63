//! From the start of the program to its end: one poll loop over its pidfd, its pipes, our signals and the deadlines.
//!
//! Responsible for: starting the trampoline, draining, time-out, stop, the kill ladder, reaping. What happens once the
//! program has ended stands in [`super::ending`].
//!
//! Invariant: a group is signalled only while its leader is not reaped, so that the number still means this run.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{Signal, killpg};
use nix::unistd;
use proc_identity::PROC_ROOT;
use proc_identity::host::Clocks;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, pidfd_send_signal};

use super::pump::Pump;
use super::wait;
use crate::process::record::{ChildEnd, ChildIdentity, ExitRecord};
use crate::process::run_dir::{RunDir, Stream};
use crate::process::signals::{Inbox, Told};
use crate::process::spec::{KillSignal, RunSpec, TreeKill};
use crate::process::trampoline;

/// A program that was killed and does not end within this is stuck in the kernel; the record says so.
const CHILD_END_LIMIT_MS: i64 = 5_000;
/// Longest sleep without a look at the clock.
const LONGEST_POLL_MS: i64 = 60_000;
/// Zombies collected in one turn.
const REAPS_A_TURN: u32 = 4_096;
/// The trampoline's message is cut here.
const MESSAGE_CAP_BYTES: u64 = 4_096;

/// Why the program is being ended, if it does not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its time is over.
    TimeOut,
    /// Somebody asked.
    Stop,
}

/// Where the ladder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nobody wants an end yet.
    No,
    /// The next rung is due at a time, monotonic milliseconds.
    Rung { next: usize, due_at_ms: i64 },
    /// SIGKILL was sent; its end is waited for until a time.
    Killed { until_ms: i64 },
}

/// A started program and all that is watched about it.
#[derive(Debug)]
pub(super) struct Watch<'run> {
    pub(super) spec: &'run RunSpec,
    pub(super) out: Pump,
    pub(super) err: Pump,
    pub(super) buffer: Vec<u8>,
    pub(super) reaper: Reaper,
    pub(super) cause: Option<Cause>,
    pub(super) failed_start: Option<String>,
    pub(super) started_at_ms: i64,
    pid: i32,
    pidfd: OwnedFd,
    report: Option<File>,
    time_out_at_ms: Option<i64>,
    ending: Ending,
}

/// Collects what has ended: the program, and what was re-parented to this subreaper.
#[derive(Debug)]
pub(super) struct Reaper {
    child: i32,
    pub(super) child_end: Option<ChildEnd>,
}

impl Reaper {
    /// Collects whoever waits to be collected. This process has no children but those of the run.
    pub(super) fn turn(&mut self) {
        for _ in 0..REAPS_A_TURN {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == self.child => {
                    self.child_end = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => Some(ChildEnd::Exited { code }),
                        (None, Some(signal)) => Some(ChildEnd::Signaled { signal }),
                        (None, None) => self.child_end,
                    };
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

impl<'run> Watch<'run> {
    /// Starts the program. The error is a text for the record: the step and its cause.
    pub(super) fn start(dir: &'run RunDir, spec: &'run RunSpec) -> Result<Self, String> {
        let out = dir.create_stream(Stream::Out).map_err(|error| error.to_string())?;
        let err = dir.create_stream(Stream::Err).map_err(|error| error.to_string())?;
        let (report, trampolines_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|errno| format!("make the report pipe: {errno}"))?;
        let mut child = trampoline::spawn(dir, trampolines_end)
            .map_err(|error| format!("spawn the trampoline: {error}"))?;
        let started = Clocks::now();
        let pid = i32::try_from(child.id()).map_err(|error| format!("read the pid: {error}"))?;
        let pipes = child.stdout.take().zip(child.stderr.take());
        let opened =
            Pid::from_raw(pid).ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let built = match (opened, pipes) {
            (Ok(pidfd), Some((stdout, stderr))) => Pump::new(stdout.into(), out, spec.output_cap_bytes)
                .and_then(|out| {
                    let err = Pump::new(stderr.into(), err, spec.output_cap_bytes)?;
                    Ok((pidfd, out, err))
                }),
            (Err(errno), _) => Err(errno),
            (Ok(_), None) => Err(Errno::PIPE),
        };
        let (pidfd, out, err) = match built {
            Ok(built) => built,
            Err(errno) => {
                // our own child, not reaped: the pid is still its own
                child.kill().ok();
                child.wait().ok();
                return Err(format!("watch the program: {errno}"));
            }
        };
        if let Ok(stat) = proc_identity::read_stat(PROC_ROOT.as_ref(), pid) {
            let identity = ChildIdentity {
                id: stat.id(),
                pgid: stat.pgrp,
                sid: stat.session,
                started_at_ms: started.realtime_ms,
            };
            // for display: who kills goes by cookie and lock
            dir.write_child(&identity).ok();
        }
        Ok(Self {
            spec,
            out,
            err,
            buffer: Vec::new(),
            reaper: Reaper { child: pid, child_end: None },
            cause: None,
            failed_start: None,
            started_at_ms: started.realtime_ms,
            pid,
            pidfd,
            report: Some(File::from(report)),
            time_out_at_ms: spec.timeout_ms.map(|limit| started.monotonic_ms.saturating_add_unsigned(limit)),
            ending: Ending::No,
        })
    }

    /// Watches until the program has ended, or cannot be ended; then ends the rest and makes the record.
    pub(super) fn run(mut self, inbox: &Inbox) -> Result<ExitRecord, Errno> {
        while self.reaper.child_end.is_none() {
            let now_ms = Clocks::now().monotonic_ms;
            if matches!(self.ending, Ending::Killed { until_ms } if now_ms >= until_ms) {
                break;
            }
            self.step_if_due(now_ms);
            self.poll(inbox, now_ms)?;
            self.reaper.turn();
        }
        self.hear_report();
        Ok(super::ending::end(self))
    }

    fn poll(&mut self, inbox: &Inbox, now_ms: i64) -> Result<(), Errno> {
        let due_at_ms = match self.ending {
            Ending::No => self.time_out_at_ms.unwrap_or(i64::MAX),
            Ending::Rung { due_at_ms, .. } => due_at_ms,
            Ending::Killed { until_ms } => until_ms,
        };
        let mut fds = vec![PollFd::new(inbox, PollFlags::IN), PollFd::new(&self.pidfd, PollFlags::IN)];
        let watched = [self.out.pipe(), self.err.pipe(), self.report.as_ref().map(AsFd::as_fd)];
        fds.extend(watched.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)));
        // a millisecond more, so that a deadline has passed when we wake for it
        wait(&mut fds, due_at_ms.saturating_sub(now_ms).saturating_add(1).min(LONGEST_POLL_MS))?;
        let report_is_there =
            fds.len() > 2 && self.report.is_some() && fds.last().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);

        while let Some(told) = inbox.next() {
            match told {
                Told::Stop => self.begin_ending(Cause::Stop),
                Told::Child | Told::Nothing => {}
            }
        }
        if report_is_there {
            self.hear_report();
        }
        self.out.turn(&mut self.buffer);
        self.err.turn(&mut self.buffer);
        Ok(())
    }

    /// The trampoline's pipe: its end means exec, a text means that a step failed.
    fn hear_report(&mut self) {
        if let Some(report) = self.report.take() {
            let mut text = Vec::new();
            let heard = report.take(MESSAGE_CAP_BYTES).read_to_end(&mut text);
            if heard.is_err() || !text.is_empty() {
                self.failed_start = Some(String::from_utf8_lossy(&text).into_owned());
            }
        }
    }

    fn begin_ending(&mut self, cause: Cause) {
        if self.ending == Ending::No {
            self.cause = Some(cause);
            self.ending = Ending::Rung { next: 0, due_at_ms: i64::MIN };
        }
    }

    fn step_if_due(&mut self, now_ms: i64) {
        if self.ending == Ending::No && self.time_out_at_ms.is_some_and(|at| now_ms >= at) {
            self.begin_ending(Cause::TimeOut);
        }
        match self.ending {
            Ending::Rung { next, due_at_ms } if now_ms >= due_at_ms => self.climb(next, now_ms),
            Ending::Rung { .. } | Ending::No | Ending::Killed { .. } => {}
        }
    }

    fn climb(&mut self, rung: usize, now_ms: i64) {
        match self.spec.kill_ladder.get(rung).copied() {
            Some(step) if step.signal != KillSignal::Kill => {
                self.ask(step.signal.signal());
                self.ending =
                    Ending::Rung { next: rung + 1, due_at_ms: now_ms.saturating_add_unsigned(step.grace_ms) };
            }
            Some(_) | None => {
                // by pidfd, since the trampoline has no cookie in its first instants; the sweep takes the rest
                pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL).ok();
                self.ending = Ending::Killed { until_ms: now_ms.saturating_add(CHILD_END_LIMIT_MS) };
            }
        }
    }

    /// Sends a signal that may be caught, and wakes whoever is stopped so that it can be.
    fn ask(&self, signal: Signal) {
        for signal in [signal, Signal::SIGCONT] {
            // a failure here only means that the next rung comes without an answer to this one
            match self.spec.tree_kill {
                TreeKill::On if self.pid > 1 => {
                    killpg(unistd::Pid::from_raw(self.pid), signal).ok();
                }
                TreeKill::On | TreeKill::Off => {
                    if let Some(number) = rustix_signal(signal) {
                        pidfd_send_signal(&self.pidfd, number).ok();
                    }
                }
            }
        }
    }
}

fn rustix_signal(signal: Signal) -> Option<rustix::process::Signal> {
    rustix::process::Signal::from_named_raw(signal as i32)
}

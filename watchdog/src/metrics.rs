//! Metrics: one list of names, built at scrape from the last finished pass.
//!
//! Responsible for names, kinds, labels and help, and for turning one [`View`] into the text that
//! Prometheus reads. Keeps no series of its own, so what vanished is not exported. Labels are closed
//! lists; a pid, task or command line is never one. What was not measured has no sample.

mod render;
mod view;

pub use render::{MetricsError, reference, render};
pub use view::{ChannelView, Counters, CpuMeter, PollFailure, ReadFailure, View};

use crate::cases::Suppression;
use crate::chat::PollFailure as ChatPollFailure;
use crate::heartbeat::BeatFailure;
use crate::notify::Channel;
use crate::notify::delivery::FailureReason;
use crate::signals::{CollectorName, Severity, SignalKind};

/// Prefix of every name but those of the own process.
pub const PREFIX: &str = "orch_watchdog_";

/// A sample: label values in the order of the metric's labels, and the value.
type Sample = (Vec<&'static str>, f64);

/// Sort of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Goes up and down.
    Gauge,
    /// Only grows, from the start of the program.
    Counter,
}

macro_rules! metrics {
    ($($variant:ident, $name:literal, $sort:ident, [$($label:literal),*], $help:literal;)*) => {
        /// Every metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        impl Metric {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Name without the prefix; [`Self::exposed_name`] has it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Sort.
            #[must_use]
            pub fn sort(self) -> Sort {
                match self { $(Self::$variant => Sort::$sort,)* }
            }

            /// Labels.
            #[must_use]
            pub fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)* }
            }

            /// One line of help.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

metrics! {
    SignalsActive, "signals_active", Gauge, ["signal", "severity"],
        "Cases that fire and are announced; muted and acknowledged ones are in signals_suppressed.";
    SignalsSuppressed, "signals_suppressed", Gauge, ["signal", "reason"],
        "Cases that fire and are counted only, since they are muted or acknowledged.";
    MutesActive, "mutes_active", Gauge, [], "Mutes in effect, of signals and of single cases.";
    CommandsTotal, "commands_total", Counter, ["way", "outcome"],
        "Commands of people; forbidden are those of somebody who may not.";
    SignalOldestStart, "signal_oldest_start_timestamp_seconds", Gauge, ["signal"],
        "Since when the oldest firing case of a signal holds, announced or not; absent when none fires.";
    AlertsTotal, "alerts_total", Counter, ["signal"], "Alerts decided: first ones, worse ones, flapping.";
    RemindersTotal, "reminders_total", Counter, ["signal"], "Reminders decided.";
    RecoveriesTotal, "recoveries_total", Counter, ["signal"], "Recoveries decided.";
    DeliveryAttemptsTotal, "delivery_attempts_total", Counter, ["channel"], "Messages given to a channel.";
    DeliveryFailuresTotal, "delivery_failures_total", Counter, ["channel", "reason"],
        "Messages that a channel did not take.";
    ChannelParked, "channel_parked", Gauge, ["channel"],
        "1 while a channel refuses until somebody changes something.";
    ParkedNotices, "parked_notices", Gauge, ["channel"],
        "Waiting notices that a channel refused for what they say; the others go on.";
    OutboxNotices, "outbox_notices", Gauge, ["channel"], "Notices that wait for a channel.";
    SignalsLeftOut, "signals_left_out", Gauge, [],
        "Conditions in the core's document that are not told, since a signal has its most cases already.";
    OutboxOldest, "outbox_oldest_notice_timestamp_seconds", Gauge, ["channel"],
        "When the oldest waiting notice was decided; absent when none waits.";
    OutboxDroppedTotal, "outbox_dropped_total", Counter, [], "Notices that the bounds of the outbox dropped.";
    HeartbeatAttemptsTotal, "heartbeat_attempts_total", Counter, [], "Heartbeats tried; absent when none is configured.";
    HeartbeatFailuresTotal, "heartbeat_failures_total", Counter, ["reason"],
        "Heartbeats that were not answered with success; absent when none is configured.";
    ChatPollsTotal, "chat_polls_total", Counter, [],
        "Polls for commands by chat that ended; absent while they are off.";
    ChatPollFailuresTotal, "chat_poll_failures_total", Counter, ["reason"],
        "Of those, polls that failed; conflict means that another program polls for the same bot. Absent while they are off.";
    StateWritesTotal, "state_writes_total", Counter, [], "Writes of the state file tried.";
    StateWriteFailuresTotal, "state_write_failures_total", Counter, [], "Writes of the state file that failed.";
    StateWritesLateTotal, "state_writes_late_total", Counter, [],
        "Writes of the state file that took so long that delivery went on without them.";
    StateSaved, "state_saved", Gauge, [],
        "1 while the disk holds what memory holds, 0 while a write of the state fails, hangs or may not be tried.";
    StateUnsavedSince, "state_unsaved_since_timestamp_seconds", Gauge, [],
        "Since when the disk does not hold the state; absent while it does.";
    TicksTotal, "ticks_total", Counter, [], "Ticks finished.";
    TicksSkippedTotal, "ticks_skipped_total", Counter, [], "Ticks skipped since the one before took too long.";
    TickPeriod, "tick_period_seconds", Gauge, [], "How often this watchdog means to look.";
    LastTick, "last_tick_timestamp_seconds", Gauge, [], "When the last tick finished; absent before the first.";
    TickDuration, "tick_duration_seconds", Gauge, [], "How long the last tick took, without the poll of the core, which runs beside it.";
    CollectorUp, "collector_up", Gauge, ["collector"],
        "1 when a collector could look, 0 when not; absent when it is switched off.";
    CoreUp, "core_up", Gauge, [], "1 when the core answered with a document that can be used.";
    CorePollDuration, "core_poll_duration_seconds", Gauge, [], "How long the last poll of the core took.";
    CorePollsTotal, "core_polls_total", Counter, [], "Polls of the core.";
    CorePollFailuresTotal, "core_poll_failures_total", Counter, ["reason"],
        "Polls that brought no document, the core's own start excepted.";
    CoreLastHeard, "core_last_heard_timestamp_seconds", Gauge, [],
        "When the core last answered with a document; absent when never.";
    ProcListed, "proc_listed_processes", Gauge, [], "Processes that the directory of /proc listed.";
    ProcVisible, "proc_visible_processes", Gauge, [], "Of those, processes that could be read when they had to be.";
    ProcBlind, "proc_blind", Gauge, [],
        "1 when not the whole host can be seen; absent when processes are not looked at.";
    ProcEndsUnwatched, "proc_ends_unwatched", Gauge, [],
        "Families whose end is seen at the next tick and not at once; absent when processes are not looked at.";
    ProcReadsTotal, "proc_reads_total", Counter, [], "Reads of the process tree.";
    ProcListingsTotal, "proc_listings_total", Counter, [],
        "Whole passes over the directory of processes; other ticks list a part of it.";
    ProcReadErrorsTotal, "proc_read_errors_total", Counter, ["reason"],
        "Reads of the process tree that failed; processes that vanished meanwhile are none.";
    MatchedFamilies, "matched_families", Gauge, [], "Families of matched processes.";
    MatchedProcesses, "matched_processes", Gauge, [], "Processes in matched families.";
    MatchedCpu, "matched_cpu_ratio", Gauge, [], "CPU of matched families over the last two passes, in cores.";
    MatchedResident, "matched_resident_bytes", Gauge, [], "Resident memory of matched families.";
    MatchedCpuSeconds, "matched_cpu_seconds_total", Counter, [],
        "CPU that matched families used since they were first seen; absent when processes are not looked at.";
    HostPressure, "host_pressure_ratio", Gauge, ["resource", "kind"],
        "Share of the last 60 s in which some or all tasks waited for a resource; absent when not measured.";
    HostPressureOffered, "host_pressure_offered", Gauge, [],
        "1 when the kernel measures processor pressure, 0 when not; absent when it could not be looked at.";
    Start, "start_timestamp_seconds", Gauge, [], "When this watchdog started.";
    SandboxInfo, "sandbox_info", Gauge, ["landlock_abi", "scope"],
        "1; the version of Landlock and what it denies are labels: none, writes, writes_and_signals. No version covers modes, owners and times of files.";
    BuildInfo, "build_info", Gauge, ["version"], "1; the version is a label.";
    ProcessCpu, "process_cpu_seconds_total", Counter, [], "CPU time of this process, user and system.";
    ProcessResident, "process_resident_memory_bytes", Gauge, [], "Resident memory of this process.";
    ProcessVirtual, "process_virtual_memory_bytes", Gauge, [], "Address space of this process.";
    ProcessOpenFds, "process_open_fds", Gauge, [], "File descriptors that this process has open.";
    ProcessMaxFds, "process_max_fds", Gauge, [], "File descriptors that this process may have open.";
    ProcessThreads, "process_threads", Gauge, [], "Threads of this process.";
    ProcessStart, "process_start_time_seconds", Gauge, [], "When this process started.";
}

impl Metric {
    /// Name as exposed: Prometheus keeps `process_` for what every program tells of itself.
    #[must_use]
    pub fn exposed_name(self) -> String {
        match self.name() {
            name if name.starts_with("process_") => name.to_owned(),
            name => format!("{PREFIX}{name}"),
        }
    }

    /// Its samples for one view. Closed lists are walked whole, so that each series exists from the
    /// first scrape on.
    fn samples(self, view: &View) -> Vec<Sample> {
        let one = |value: f64| vec![(Vec::new(), value)];
        let maybe = |value: Option<f64>| value.map_or_else(Vec::new, one);
        match self {
            Self::SignalsActive => {
                let pairs = SignalKind::ALL
                    .iter()
                    .flat_map(|signal| Severity::ALL.map(|severity| (*signal, severity)));
                pairs
                    .map(|(signal, severity)| {
                        let count =
                            view.firing.iter().filter(|row| row.0 == signal && row.1 == severity).count();
                        (vec![signal.name(), severity.name()], number(count as u64))
                    })
                    .collect()
            }
            Self::SignalOldestStart => {
                let oldest = SignalKind::ALL.iter().filter_map(|signal| {
                    let announced = view.firing.iter().map(|row| (row.0, row.2));
                    let counted = view.suppressed.iter().map(|row| (row.0, row.2));
                    let of_signal = announced.chain(counted).filter(|row| row.0 == *signal);
                    of_signal.map(|row| row.1).min().map(|since| (vec![signal.name()], seconds(since)))
                });
                oldest.collect()
            }
            Self::SignalsSuppressed => {
                let pairs =
                    SignalKind::ALL.iter().flat_map(|signal| Suppression::ALL.map(|why| (*signal, why)));
                pairs
                    .map(|(signal, why)| {
                        let of_pair = view.suppressed.iter().filter(|row| row.0 == signal && row.1 == why);
                        (vec![signal.name(), why.name()], number(of_pair.count() as u64))
                    })
                    .collect()
            }
            Self::MutesActive => one(number(view.mutes as u64)),
            Self::CommandsTotal => {
                let rows = view.commands.rows();
                rows.map(|(way, outcome, count)| (vec![way.name(), outcome.name()], number(count))).collect()
            }
            Self::AlertsTotal => by_signal(&view.counters.alerts),
            Self::RemindersTotal => by_signal(&view.counters.reminders),
            Self::RecoveriesTotal => by_signal(&view.counters.recoveries),
            Self::DeliveryAttemptsTotal => by_channel(view, |channel| Some(number(channel.report.attempts))),
            Self::DeliveryFailuresTotal => {
                let of_channel = |(channel, known): &(Channel, ChannelView)| {
                    let counts = FailureReason::ALL.iter().zip(known.report.failures);
                    let rows =
                        counts.map(|(reason, count)| (vec![channel.name(), reason.name()], number(count)));
                    rows.collect::<Vec<_>>()
                };
                view.channels.iter().flat_map(of_channel).collect()
            }
            Self::ChannelParked => by_channel(view, |channel| Some(flag(channel.report.parked.is_some()))),
            Self::ParkedNotices => {
                by_channel(view, |channel| Some(number(channel.report.parked_notices as u64)))
            }
            Self::OutboxNotices => by_channel(view, |channel| Some(number(channel.waiting as u64))),
            Self::SignalsLeftOut => one(number(view.left_out as u64)),
            Self::OutboxOldest => by_channel(view, |channel| channel.oldest_at_ms.map(seconds)),
            Self::OutboxDroppedTotal => one(number(view.outbox_dropped)),
            Self::HeartbeatAttemptsTotal => maybe(view.heartbeat.map(|beats| number(beats.attempts))),
            Self::HeartbeatFailuresTotal => view.heartbeat.map_or_else(Vec::new, |beats| {
                let counts = BeatFailure::ALL.iter().zip(beats.failures);
                counts.map(|(reason, count)| (vec![reason.name()], number(count))).collect()
            }),
            Self::ChatPollsTotal => maybe(view.chat_polls.map(|polls| number(polls.polls))),
            Self::ChatPollFailuresTotal => view.chat_polls.map_or_else(Vec::new, |polls| {
                let counts = ChatPollFailure::ALL.iter().zip(polls.failures);
                counts.map(|(reason, count)| (vec![reason.name()], number(count))).collect()
            }),
            Self::StateWritesTotal => one(number(view.state_writes)),
            Self::StateWriteFailuresTotal => one(number(view.state_write_failures)),
            Self::StateWritesLateTotal => one(number(view.state_writes_late)),
            Self::StateSaved => one(flag(view.state_unsaved_since_ms.is_none())),
            Self::StateUnsavedSince => maybe(view.state_unsaved_since_ms.map(seconds)),
            Self::TicksTotal => one(number(view.counters.ticks)),
            Self::TicksSkippedTotal => one(number(view.counters.ticks_skipped)),
            Self::TickPeriod => maybe(view.tick_period_s),
            Self::LastTick => maybe(view.last_tick_ms.map(seconds)),
            Self::TickDuration => maybe(view.tick_duration_s),
            Self::CollectorUp => {
                let up = [
                    (CollectorName::Proc, view.proc_up),
                    (CollectorName::Core, view.core_up),
                    (CollectorName::Host, view.host_up),
                ];
                let known =
                    up.into_iter().filter_map(|(name, up)| up.map(|up| (vec![name.name()], flag(up))));
                known.collect()
            }
            Self::CoreUp => maybe(view.core_up.map(flag)),
            Self::CorePollDuration => maybe(view.core_poll_duration_s),
            Self::CorePollsTotal => one(number(view.counters.core_polls)),
            Self::CorePollFailuresTotal => {
                by_reason(PollFailure::ALL.map(PollFailure::name), view.counters.core_poll_failures)
            }
            Self::CoreLastHeard => maybe(view.core_last_heard_ms.map(seconds)),
            Self::ProcListed => maybe(view.proc_listed.map(number)),
            Self::ProcVisible => maybe(view.proc_readable.map(number)),
            Self::ProcBlind => maybe(view.proc_blind.map(flag)),
            Self::ProcEndsUnwatched => maybe(view.proc_ends_unwatched.map(number)),
            Self::ProcReadsTotal => one(number(view.proc_reads)),
            Self::ProcListingsTotal => one(number(view.proc_listings)),
            Self::ProcReadErrorsTotal => {
                by_reason(ReadFailure::ALL.map(ReadFailure::name), view.proc_read_errors)
            }
            Self::MatchedFamilies => maybe(view.matched_families.map(number)),
            Self::MatchedProcesses => maybe(view.matched_processes.map(number)),
            Self::MatchedCpu => maybe(view.matched_cpu_ratio),
            Self::MatchedResident => maybe(view.matched_resident_bytes.map(number)),
            Self::MatchedCpuSeconds => maybe(view.matched_cpu.seconds()),
            Self::HostPressure => {
                let row = |(resource, kind, ratio): &(&'static str, &'static str, f64)| {
                    (vec![*resource, *kind], *ratio)
                };
                view.host_pressure.iter().map(row).collect()
            }
            Self::HostPressureOffered => maybe(view.host_pressure_offered.map(flag)),
            Self::Start => one(seconds(view.started_at_ms)),
            Self::SandboxInfo => view.sandbox.iter().map(|labels| (labels.to_vec(), 1.0)).collect(),
            Self::BuildInfo => vec![(vec![env!("CARGO_PKG_VERSION")], 1.0)],
            Self::ProcessCpu => maybe(view.own.map(|own| own.cpu_s)),
            Self::ProcessResident => maybe(view.own.and_then(|own| own.resident_bytes).map(number)),
            Self::ProcessVirtual => maybe(view.own.and_then(|own| own.virtual_bytes).map(number)),
            Self::ProcessOpenFds => maybe(view.own.and_then(|own| own.open_fds).map(number)),
            Self::ProcessMaxFds => maybe(view.own.and_then(|own| own.max_fds).map(number)),
            Self::ProcessThreads => maybe(view.own.and_then(|own| own.threads).map(number)),
            Self::ProcessStart => maybe(view.own.and_then(|own| own.started_at_ms).map(seconds)),
        }
    }
}

fn by_signal(counts: &[u64; SignalKind::ALL.len()]) -> Vec<Sample> {
    SignalKind::ALL.iter().zip(counts).map(|(signal, count)| (vec![signal.name()], number(*count))).collect()
}

fn by_reason<const REASONS: usize>(names: [&'static str; REASONS], counts: [u64; REASONS]) -> Vec<Sample> {
    names.into_iter().zip(counts).map(|(reason, count)| (vec![reason], number(count))).collect()
}

fn by_channel(view: &View, value: impl Fn(&ChannelView) -> Option<f64>) -> Vec<Sample> {
    let known =
        view.channels.iter().filter_map(|(channel, known)| value(known).map(|value| (*channel, value)));
    known.map(|(channel, value)| (vec![channel.name()], value)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats")]
fn number(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay exact below 2^53")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

#[cfg(test)]
mod tests;

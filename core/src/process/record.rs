//! What a supervisor leaves behind: identities while the run lives, the exit record at its end.
//!
//! Plain data with one text form (JSON). Reading and writing stand in `run_dir`.

use proc_identity::ProcessId;
use serde::{Deserialize, Serialize};

/// `child.json`: the program, once it has been spawned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildIdentity {
    /// Its pid and start ticks.
    #[serde(flatten)]
    pub id: ProcessId,
    /// Its process group: its own pid.
    pub pgid: i32,
    /// Its session: the supervisor's.
    pub sid: i32,
    /// When it was spawned, UTC milliseconds.
    pub started_at_ms: i64,
}

/// `exit.json`: how a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Why it ended.
    pub outcome: Outcome,
    /// What the program itself reported when it was reaped; also after a time-out or a stop, where a program may still
    /// end well by itself. Absent when it never started, or could not be reaped in time (stuck in the kernel).
    pub child: Option<ChildEnd>,
    /// When the program was spawned, UTC milliseconds; of a run that never started, when the supervisor gave up.
    pub started_at_ms: i64,
    /// When the record was made, UTC milliseconds.
    pub ended_at_ms: i64,
    /// What the sweep found; absent with tree kill off, and when nothing was started.
    pub swept: Option<SweepRecord>,
    /// Standard output.
    pub out: StreamEnd,
    /// Standard error.
    pub err: StreamEnd,
}

/// Why a run ended. A time-out and a stop are outcomes of their own, whatever the program answered to the signals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// By itself.
    Exited {
        /// Exit code.
        code: i32,
    },
    /// By a signal that the supervisor did not send.
    Signaled {
        /// Number of the signal.
        signal: i32,
    },
    /// It reached its time-out.
    TimedOut,
    /// Somebody asked the supervisor to stop it.
    Stopped,
    /// The program was never executed.
    NotStarted {
        /// Why.
        reason: NotStarted,
    },
}

/// Why a program was never executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum NotStarted {
    /// The core closed the pipe without a go byte, or died.
    NoGo,
    /// Neither a go byte nor an end within the supervisor's bound.
    GoTimedOut,
    /// A stop came before the go byte.
    StoppedBefore,
    /// A step between go byte and exec failed: the message names the step.
    Failed {
        /// Step and cause.
        message: String,
    },
}

/// The program's own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChildEnd {
    /// It exited.
    Exited {
        /// Exit code.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// Number of the signal.
        signal: i32,
    },
}

impl ChildEnd {
    /// One number for both: the exit code, or −n for signal n.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Exited { code } => code,
            Self::Signaled { signal } => -signal,
        }
    }
}

impl ExitRecord {
    /// The program's exit code, −n for signal n, nothing when it did not report.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.child.map(ChildEnd::code)
    }

    /// It ended by itself with exit code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.outcome == Outcome::Exited { code: 0 }
    }
}

/// What a sweep by cookie found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepRecord {
    /// Processes that got a SIGKILL from the sweep, the program itself counted where it still ran.
    pub killed: u64,
    /// Those that carried the cookie and lived when the sweep gave up, or that it was not allowed to signal.
    pub survivors: Vec<ProcessId>,
    /// Processes of the host whose limits could not be read in the last pass: any of them may belong to the run.
    pub unreadable: u64,
    /// Why the proc tree could not be searched at all; then the numbers above say nothing.
    pub could_not_look: Option<String>,
}

impl SweepRecord {
    /// It looked, and nothing of the run lives.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.survivors.is_empty() && self.could_not_look.is_none()
    }
}

/// What became of one output stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEnd {
    /// Bytes in the file.
    pub kept_bytes: u64,
    /// Bytes that were drained and dropped, beyond the cap or because the file could not be written.
    pub truncated_bytes: u64,
    /// The first error of the file, if writing failed.
    pub write_error: Option<String>,
}

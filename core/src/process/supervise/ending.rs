//! Once the program has ended: end what it left, take what is still in the pipes, make the record and keep it.
//!
//! Invariant: nothing here waits without a bound; neither a grandchild that holds a pipe open nor a full disk keeps a
//! supervisor for ever.

use std::io::Write;
use std::time::Duration;

use proc_identity::host::Clocks;

use super::watch::{Cause, Watch};
use crate::process::record::{ChildEnd, ExitRecord, NotStarted, Outcome, SweepRecord};
use crate::process::run_dir::{RunDir, RunDirError};
use crate::process::spec::TreeKill;
use crate::process::tree;

/// Draining after the end goes on for at most so long, however much somebody outside of the run goes on writing.
const DRAIN_LIMIT_MS: i64 = 1_000;
/// So often the record is tried to be written (a full disk may be emptied by somebody).
const RECORD_TRIES: u32 = 60;
/// Pause between two tries.
const RECORD_PAUSE: Duration = Duration::from_secs(1);

/// Ends the rest of the run and says how it went.
pub(super) fn end(mut watch: Watch<'_>) -> ExitRecord {
    let swept = match watch.spec.tree_kill {
        TreeKill::On => {
            let reaper = &mut watch.reaper;
            let swept = tree::sweep_with(watch.spec.cookie, &mut || reaper.turn());
            reaper.turn();
            Some(swept)
        }
        TreeKill::Off => None,
    };
    drain(&mut watch);
    record(watch, swept)
}

fn drain(watch: &mut Watch<'_>) {
    let until_ms = Clocks::now().monotonic_ms.saturating_add(DRAIN_LIMIT_MS);
    loop {
        let more = [watch.out.turn(&mut watch.buffer), watch.err.turn(&mut watch.buffer)];
        if more == [false, false] || Clocks::now().monotonic_ms >= until_ms {
            return;
        }
    }
}

fn record(watch: Watch<'_>, swept: Option<SweepRecord>) -> ExitRecord {
    let child = watch.reaper.child_end.filter(|_| watch.failed_start.is_none());
    let (out, err) = (watch.out.finish(), watch.err.finish());
    ExitRecord {
        outcome: outcome(watch.failed_start, watch.cause, child),
        child,
        started_at_ms: watch.started_at_ms,
        ended_at_ms: Clocks::now().realtime_ms,
        swept,
        out,
        err,
    }
}

fn outcome(failed_start: Option<String>, cause: Option<Cause>, child: Option<ChildEnd>) -> Outcome {
    match (failed_start, cause, child) {
        (Some(message), _, _) => Outcome::NotStarted { reason: NotStarted::Failed { message } },
        (None, Some(Cause::TimeOut), _) => Outcome::TimedOut,
        // without a cause the loop ends with the program's end only
        (None, Some(Cause::Stop), _) | (None, None, None) => Outcome::Stopped,
        (None, None, Some(ChildEnd::Exited { code })) => Outcome::Exited { code },
        (None, None, Some(ChildEnd::Signaled { signal })) => Outcome::Signaled { signal },
    }
}

/// Writes the record, again and again for a minute when the disk refuses it.
pub(super) fn keep(dir: &RunDir, record: &ExitRecord) -> Result<(), RunDirError> {
    for _ in 1..RECORD_TRIES {
        match dir.write_exit(record) {
            Ok(()) => return Ok(()),
            Err(error) => {
                writeln!(std::io::stderr(), "{error}").ok();
                std::thread::sleep(RECORD_PAUSE);
            }
        }
    }
    dir.write_exit(record)
}

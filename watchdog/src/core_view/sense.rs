//! Numbers of a document that cannot be.
//!
//! Responsible for every time and every duration of the contract lying where such a thing can lie: a
//! time in the calendar, a duration between nothing and a century. One that does not makes the whole
//! document unusable, by name: who writes such a number may have written others. Times that are
//! possible and make no sense together are the signals' business (`signals::age`).

use orch_contract::{GateBlock, ObservationDocument};

/// The last millisecond of the year 9999, UTC.
const LATEST_MS: i64 = 253_402_300_799_999;

/// A hundred years of 365.25 days.
const LONGEST_MS: i64 = 3_155_760_000_000;

/// The first number that cannot be, in words.
pub(super) fn nonsense(document: &ObservationDocument) -> Option<String> {
    let impossible = |(_, value, most): &(&str, i64, i64)| !(0..=*most).contains(value);
    let found = numbers(document).find(impossible);
    found.map(|(name, value, _)| format!("{name} cannot be {value}"))
}

/// Name, value and largest value of each time and duration.
fn numbers(document: &ObservationDocument) -> impl Iterator<Item = (&'static str, i64, i64)> {
    let time = |name: &'static str, at: i64| (name, at, LATEST_MS);
    let maybe = move |name: &'static str, at: Option<i64>| at.map(|at| time(name, at));
    let length = |name: &'static str, length: i64| (name, length, LONGEST_MS);
    let (reaper, timeouts) = (&document.reaper, &document.timeouts);
    let own = [
        time("generated_at_ms", document.generated_at_ms),
        time("started_at_ms", document.core.started_at_ms),
        length("dead_grace_ms", reaper.dead_grace_ms),
        length("finalize_grace_ms", reaper.finalize_grace_ms),
        length("max_running_ms", reaper.max_running_ms),
        length("largest_ms", timeouts.largest_ms),
        length("edge_sum_ms", timeouts.edge_sum_ms),
    ];
    let actors = document.actors.iter().flat_map(move |actor| {
        let period = length("period_ms", actor.period_ms);
        [Some(period), maybe("last_tick_at_ms", actor.last_tick_at_ms)].into_iter().flatten()
    });
    let tasks = document.tasks.iter().flat_map(move |task| {
        let since = time("stage_since_ms", task.stage_since_ms);
        [Some(since), maybe("until_ms", task.until_ms)].into_iter().flatten()
    });
    let queued = document.queued_jobs.iter().flat_map(move |job| {
        let queued = time("queued_at_ms", job.queued_at_ms);
        [Some(queued), maybe("not_before_ms", job.not_before_ms)].into_iter().flatten()
    });
    let running = document.running_jobs.iter().flat_map(move |job| {
        let known = [time("started_at_ms", job.started_at_ms), length("limit_ms", job.limit_ms)];
        let told = [
            maybe("last_output_at_ms", job.last_output_at_ms),
            maybe("exit_recorded_at_ms", job.exit_recorded_at_ms),
        ];
        known.into_iter().chain(told.into_iter().flatten())
    });
    let trees = document.processes.iter().flat_map(move |tree| {
        let known = [time("started_at_ms", tree.started_at_ms), length("timeout_ms", tree.timeout_ms)];
        known.into_iter().chain(maybe("ended_at_ms", tree.ended_at_ms))
    });
    let leases = document.leases.iter().map(move |lease| time("acquired_at_ms", lease.acquired_at_ms));
    let gates = gates(document).into_iter().flat_map(move |gate| {
        let running = gate.running.iter().flat_map(move |running| {
            [time("since_ms", running.since_ms), length("timeout_ms", running.timeout_ms)]
        });
        running.chain(gate.last_failure.iter().map(move |failure| time("at_ms", failure.at_ms)))
    });
    let sources = document.webhooks.sources.iter();
    let deliveries =
        sources.filter_map(move |source| maybe("last_delivery_at_ms", source.last_delivery_at_ms));
    let entries = timeouts.entries.iter().map(move |entry| length("timeout_ms", entry.timeout_ms));
    let work = tasks.chain(queued).chain(running).chain(trees).chain(leases);
    own.into_iter().chain(actors).chain(work).chain(gates).chain(deliveries).chain(entries)
}

fn gates(document: &ObservationDocument) -> [&GateBlock; 5] {
    [
        &document.merge_gate,
        &document.coverage_gate,
        &document.security_gate,
        &document.image_gate,
        &document.staging,
    ]
}

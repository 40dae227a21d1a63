//! What Prometheus scrapes: names from one enum, series built at each scrape.
//!
//! Responsible for `/metrics` and for the reference in the documents, which both come from
//! [`Name`]. Keeps no series between scrapes, so what vanishes from the core vanishes here; labels
//! are closed lists (never a task, a pid or a path); points in time instead of ages. What could
//! not be read is absent, never 0.

mod families;

use std::fmt::Write;

use families::Families;
use orch_contract::ObservationDocument;
use orch_telemetry::{OwnProcess, unit};
use prometheus::proto::MetricType;

use crate::{
    chain::chain,
    counters::{Counters, Tally},
    engine::Engine,
    observe,
};

/// Content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a number only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

macro_rules! names {
    ($($variant:ident, $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        /// Every metric of this program.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Name {
            $(#[doc = $help] $variant,)*
        }

        impl Name {
            /// All of them, in the order in which they are exposed.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Name as exposed.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Help text.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// Names of its labels.
            #[must_use]
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)* }
            }

            const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }
        }
    };
}

names! {
    BuildInfo, "orch_core_build_info", Gauge, ["version"], "Always 1; the version of this program.";
    Ready, "orch_core_ready", Gauge, [], "1 while the core takes work, 0 while it recovers or ends.";
    StoreReadable, "orch_core_store_readable", Gauge, [], "1 when the store answered this scrape; 0 leaves out every series that is read from it.";
    StartTime, "orch_core_start_timestamp_seconds", Gauge, [], "When this life of the core began.";
    Tasks, "orch_core_tasks", Gauge, ["pipeline_stage", "standing"], "Tasks by stage and standing.";
    OldestStage, "orch_core_stage_oldest_entry_timestamp_seconds", Gauge, ["pipeline_stage"], "When the task that is longest in a stage entered it; absent for an empty stage.";
    JobsQueued, "orch_core_jobs_queued", Gauge, [], "Jobs that wait for a slot or for a time.";
    OldestQueued, "orch_core_job_oldest_queued_timestamp_seconds", Gauge, [], "When the job that waits longest was queued; absent while none waits.";
    JobsRunning, "orch_core_jobs_running", Gauge, [], "Jobs that run, those included that have exited and are being settled.";
    SlotsMax, "orch_core_agent_slots_max", Gauge, [], "Agents that may run at once.";
    SlotsFree, "orch_core_agent_slots_free", Gauge, [], "Agents that could start now.";
    Trees, "orch_core_process_trees", Gauge, ["kind"], "Supervised process trees that live, by what they are for.";
    Runs, "orch_core_runs_total", Counter, ["kind", "outcome"], "Runs that ended.";
    DoorOutcomes, "orch_core_advance_outcomes_total", Counter, ["outcome"], "Answers of the one door through which every change of stage goes.";
    Leases, "orch_core_leases_held", Gauge, [], "Transition leases held.";
    OldestLease, "orch_core_lease_oldest_grant_timestamp_seconds", Gauge, [], "When the lease that is held longest was granted; absent while none is held.";
    LeaseGrants, "orch_core_lease_grants_total", Counter, [], "Transition leases granted.";
    LeaseDeferrals, "orch_core_lease_deferrals_total", Counter, [], "Entries that were deferred to a live owner.";
    LeaseReclaims, "orch_core_lease_reclaims_total", Counter, ["reason"], "Transition leases taken from their owner.";
    LostRaces, "orch_core_lost_races_total", Counter, [], "Comparisons with the expected stage that lost, and so wrote nothing.";
    Verdicts, "orch_core_gate_verdicts_total", Counter, ["gate", "verdict", "class"], "Verdicts of gates; class is that of an infra verdict, else empty.";
    GatesRunning, "orch_core_gates_running", Gauge, ["gate"], "Gates at work.";
    OldestGate, "orch_core_gate_oldest_start_timestamp_seconds", Gauge, ["gate"], "When the gate run that is longest at work began; absent while none is.";
    GateFailure, "orch_core_gate_last_failure_timestamp_seconds", Gauge, ["gate"], "When a gate last answered red or infra; absent before the first.";
    Effects, "orch_core_effects_total", Counter, ["effect", "outcome"], "Effects by how they ended.";
    ReaperClaims, "orch_core_reaper_claims_total", Counter, ["reason"], "What the reaper took over: runs that were gone, exits that nobody settled, jobs or leases over the ceiling.";
    ReconcilerWoken, "orch_core_reconciler_woken_total", Counter, [], "Tasks that went on since the reconciler asked, and nobody else had.";
    DaySpent, "orch_core_budget_day_spent_usd", Gauge, [], "What agents have cost since 00:00 UTC, by list price.";
    DayReserved, "orch_core_budget_reserved_usd", Gauge, [], "What agents at work have reserved.";
    DayLimit, "orch_core_budget_day_limit_usd", Gauge, [], "What a day may cost; absent without a bound.";
    TaskLimit, "orch_core_budget_task_limit_usd", Gauge, [], "What one work item may cost; absent without a bound.";
    ActorPass, "orch_core_actor_last_pass_timestamp_seconds", Gauge, ["actor"], "When an actor last finished a pass; absent before its first.";
    ActorPeriod, "orch_core_actor_period_seconds", Gauge, ["actor"], "How often an actor means to pass.";
    ActorFailures, "orch_core_actor_failed_passes_total", Counter, ["actor"], "Passes of actors that failed.";
    ActorPanics, "orch_core_actor_panics_total", Counter, [], "Panics that were caught in actors.";
    EdgeTimeouts, "orch_core_edge_timeout_seconds", Gauge, [], "Time-outs along one edge in sum: how long a lease may be held without anything being wrong.";
    LargestTimeout, "orch_core_largest_timeout_seconds", Gauge, [], "The largest single time-out in effect.";
    DataFree, "orch_core_data_directory_free_bytes", Gauge, [], "Bytes free on the file system of the data directory.";
    DataSize, "orch_core_data_directory_size_bytes", Gauge, [], "Size of the file system of the data directory.";
    DataFreeInodes, "orch_core_data_directory_free_inodes", Gauge, [], "Inodes free on the file system of the data directory.";
    DataInodes, "orch_core_data_directory_inodes", Gauge, [], "Inodes of the file system of the data directory.";
    ProcessCpu, "process_cpu_seconds_total", Counter, [], "CPU time of this process, user and system.";
    ProcessResident, "process_resident_memory_bytes", Gauge, [], "Resident memory of this process.";
    ProcessVirtual, "process_virtual_memory_bytes", Gauge, [], "Address space of this process.";
    ProcessOpenFds, "process_open_fds", Gauge, [], "File descriptors that this process has open.";
    ProcessMaxFds, "process_max_fds", Gauge, [], "File descriptors that this process may have open.";
    ProcessThreads, "process_threads", Gauge, [], "Threads of this process.";
    ProcessStart, "process_start_time_seconds", Gauge, [], "When this process started.";
}

impl Name {
    const fn field_type(self) -> MetricType {
        match self.kind() {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        }
    }
}

/// Builds the exposition as of now. It never fails: without the store it says so and leaves out
/// what the store would have told.
pub async fn scrape(engine: &Engine) -> String {
    let document = match observe::document(engine).await {
        Ok(document) => Some(document),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "a scrape could not read the store");
            None
        }
    };
    let tally = engine.counters.tally().clone();
    let ready = engine.life() == crate::engine::Life::Ready;
    let own = tokio::task::spawn_blocking(OwnProcess::look).await.ok();
    let mut families = Families::default();
    families.gauge(Name::BuildInfo, &[env!("CARGO_PKG_VERSION")], 1.0);
    families.gauge(Name::Ready, &[], f64::from(u8::from(ready)));
    families.gauge(Name::StoreReadable, &[], f64::from(u8::from(document.is_some())));
    families.time(Name::StartTime, &[], engine.started_at_ms());
    for (actor, period_ms) in observe::periods(engine) {
        families.gauge(Name::ActorPeriod, &[actor], seconds(period_ms));
        families.count(Name::ActorFailures, &[actor], 0);
    }
    counted(&mut families, &tally);
    if let Some(document) = &document {
        observed(&mut families, document);
    }
    if let Some(own) = own {
        own_process(&mut families, &own);
    }
    families.text()
}

fn counted(families: &mut Families, tally: &Tally) {
    use crate::domain::{
        effect::EffectKind,
        verdict::{GateKind, InfraClass},
    };
    // every reason stands at 0 before it first happens, so that a rate sees its first one
    for outcome in OUTCOMES {
        families.count(Name::DoorOutcomes, &[outcome], 0);
    }
    for reason in ["dead_boot", "dead_owner", "forced", "overdue"] {
        families.count(Name::LeaseReclaims, &[reason], 0);
    }
    for gate in GateKind::ALL {
        for verdict in ["pass", "red", "wait", "skipped"] {
            families.count(Name::Verdicts, &[gate.as_str(), verdict, ""], 0);
        }
        for class in InfraClass::ALL {
            families.count(Name::Verdicts, &[gate.as_str(), "infra", class.as_str()], 0);
        }
        let at_work = tally.at_work.get(gate.as_str()).map_or(&[][..], Vec::as_slice);
        families.gauge(Name::GatesRunning, &[gate.as_str()], number(at_work.len()));
        if let Some(since) = at_work.iter().map(|work| work.since_ms).min() {
            families.time(Name::OldestGate, &[gate.as_str()], since);
        }
    }
    for effect in EffectKind::ALL {
        for outcome in ["done", "refused", "moved", "failed", "in_doubt"] {
            families.count(Name::Effects, &[effect.as_str(), outcome], 0);
        }
    }
    for kind in crate::store::RUN_KINDS {
        for outcome in Counters::RUN_OUTCOMES {
            families.count(Name::Runs, &[crate::store::kind_name(kind), outcome], 0);
        }
    }
    for (outcome, total) in &tally.outcomes {
        families.count(Name::DoorOutcomes, &[outcome], *total);
    }
    for ((gate, verdict, class), total) in &tally.verdicts {
        families.count(Name::Verdicts, &[gate, verdict, class], *total);
    }
    for (gate, failure) in &tally.failures {
        families.time(Name::GateFailure, &[gate], failure.at_ms);
    }
    for (reason, total) in &tally.reclaims {
        families.count(Name::LeaseReclaims, &[reason], *total);
    }
    for ((effect, outcome), total) in &tally.effects {
        families.count(Name::Effects, &[effect, outcome], *total);
    }
    for ((kind, outcome), total) in &tally.runs {
        families.count(Name::Runs, &[kind, outcome], *total);
    }
    families.count(Name::LeaseGrants, &[], tally.grants);
    families.count(Name::LeaseDeferrals, &[], tally.deferrals);
    families.count(Name::LostRaces, &[], tally.lost_cas);
    for (reason, total) in ["dead_run", "unsettled", "overdue"].into_iter().zip(tally.reaped) {
        families.count(Name::ReaperClaims, &[reason], total);
    }
    families.count(Name::ReconcilerWoken, &[], tally.woken);
    for (actor, total) in &tally.failed_passes {
        families.count(Name::ActorFailures, &[actor], *total);
    }
    for (actor, at_ms) in &tally.last_pass_ms {
        families.time(Name::ActorPass, &[actor], *at_ms);
    }
    families.count(Name::ActorPanics, &[], tally.panics);
}

/// Words of the door's answers.
const OUTCOMES: [&str; 8] =
    ["advanced", "rolled_back", "waiting", "held", "blocked", "deferred", "lost_race", "no_change"];

fn own_process(families: &mut Families, own: &OwnProcess) {
    families.gauge(Name::ProcessCpu, &[], own.cpu_s);
    let counted = [
        (Name::ProcessResident, own.resident_bytes),
        (Name::ProcessVirtual, own.virtual_bytes),
        (Name::ProcessOpenFds, own.open_fds),
        (Name::ProcessMaxFds, own.max_fds),
        (Name::ProcessThreads, own.threads),
    ];
    for (name, value) in counted {
        if let Some(value) = value {
            families.count(name, &[], value);
        }
    }
    if let Some(at_ms) = own.started_at_ms {
        families.time(Name::ProcessStart, &[], at_ms);
    }
}

fn observed(families: &mut Families, document: &ObservationDocument) {
    use orch_contract::Standing;

    use crate::domain::stage::Stage;
    let word = |standing: Standing| match standing {
        Standing::Moving => "moving",
        Standing::Waiting => "waiting",
        Standing::Held => "held",
        Standing::Blocked => "blocked",
        Standing::Finished => "finished",
        Standing::Unknown => "unknown",
    };
    let of_open = [Standing::Moving, Standing::Waiting, Standing::Held, Standing::Blocked];
    for stage in Stage::ALL {
        let standings = if stage.is_terminal() { &[Standing::Finished][..] } else { &of_open[..] };
        for standing in standings {
            families.gauge(Name::Tasks, &[stage.as_str(), word(*standing)], 0.0);
        }
        let since = document.tasks.iter().filter(|task| task.stage == stage.as_str());
        if let Some(since_ms) = since.map(|task| task.stage_since_ms).min() {
            families.time(Name::OldestStage, &[stage.as_str()], since_ms);
        }
    }
    for count in &document.counts {
        families.gauge(Name::Tasks, &[&count.stage, word(count.standing)], number(count.tasks));
    }
    families.gauge(Name::JobsQueued, &[], number(document.queued_jobs.len()));
    if let Some(at_ms) = document.queued_jobs.iter().map(|job| job.queued_at_ms).min() {
        families.time(Name::OldestQueued, &[], at_ms);
    }
    families.gauge(Name::JobsRunning, &[], number(document.running_jobs.len()));
    families.gauge(Name::SlotsMax, &[], f64::from(document.slots.agents_max));
    families.gauge(Name::SlotsFree, &[], f64::from(document.slots.agents_free));
    for kind in crate::store::RUN_KINDS {
        let live = |tree: &&orch_contract::SupervisedTree| tree.kind == kind && tree.ended_at_ms.is_none();
        let trees = document.processes.iter().filter(live).count();
        families.gauge(Name::Trees, &[crate::store::kind_name(kind)], number(trees));
    }
    families.gauge(Name::Leases, &[], number(document.leases.len()));
    if let Some(at_ms) = document.leases.iter().map(|lease| lease.acquired_at_ms).min() {
        families.time(Name::OldestLease, &[], at_ms);
    }
    families.gauge(Name::EdgeTimeouts, &[], seconds(document.timeouts.edge_sum_ms));
    families.gauge(Name::LargestTimeout, &[], seconds(document.timeouts.largest_ms));
    if let Some(room) = &document.data_dir {
        families.gauge(Name::DataFree, &[], number(room.free_bytes));
        families.gauge(Name::DataSize, &[], number(room.total_bytes));
        families.gauge(Name::DataFreeInodes, &[], number(room.free_inodes));
        families.gauge(Name::DataInodes, &[], number(room.total_inodes));
    }
    if let Some(budget) = &document.budget {
        families.gauge(Name::DaySpent, &[], dollars(budget.day_spent_microusd));
        families.gauge(Name::DayReserved, &[], dollars(budget.day_reserved_microusd));
        for (name, limit) in
            [(Name::DayLimit, budget.day_limit_microusd), (Name::TaskLimit, budget.task_limit_microusd)]
        {
            if let Some(limit) = limit {
                families.gauge(name, &[], dollars(limit));
            }
        }
    }
}

/// The reference of all metrics, as a Markdown table.
#[must_use]
pub fn reference() -> String {
    let mut text =
        String::from("| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n");
    for name in Name::ALL {
        let labels: Vec<String> = name.labels().iter().map(|label| format!("`{label}`")).collect();
        let kind = match name.kind() {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // writing to a String cannot fail
        let (name, help) = (name.as_str(), name.help());
        writeln!(text, "| `{name}` | {kind} | {} | {} | {help} |", unit(name), labels.join(", ")).ok();
    }
    text
}

/// Milliseconds as Prometheus writes time.
#[expect(
    clippy::cast_precision_loss,
    reason = "Unix milliseconds fit the 53 bits of a double for 280,000 years"
)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Millionths of a US dollar as dollars.
#[expect(clippy::cast_precision_loss, reason = "a double holds nine billion dollars to the millionth")]
fn dollars(microusd: i64) -> f64 {
    microusd as f64 / 1e6
}

/// A count as a sample; beyond 2^53 a double rounds, and nobody minds.
#[expect(clippy::cast_precision_loss, reason = "samples are doubles by definition of the format")]
fn number(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}

#[cfg(test)]
mod tests;

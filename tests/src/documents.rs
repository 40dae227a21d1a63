//! Observation documents to start from.
//!
//! One document of an idle core; a test adds what its story needs.

use orch_contract::{
    ChatBlock, CoreIdentity, CoreState, GateBlock, LeaseBlock, LeaseReclaims, ObservationDocument,
    ReaperBlock, ReconcilerBlock, SCHEMA_VERSION, Slots, Timeouts, WebhooksBlock,
};

/// Boot id of the core in [`idle`].
pub const BOOT_ID: &str = "11111111-2222-3333-4444-555555555555";

/// What an idle core says, built at a time.
#[must_use]
pub fn idle(generated_at_ms: i64) -> ObservationDocument {
    let gate = || GateBlock {
        enabled: true,
        scope: "*".to_owned(),
        running: Vec::new(),
        counts: Vec::new(),
        skipped_total: 0,
        last_failure: None,
    };
    ObservationDocument {
        schema_version: SCHEMA_VERSION,
        generated_at_ms,
        core: CoreIdentity {
            version: "0.1.0".to_owned(),
            boot_id: BOOT_ID.to_owned(),
            pid: 1,
            start_ticks: 1,
            started_at_ms: generated_at_ms - 60_000,
            host: "core".to_owned(),
            state: CoreState::Ready,
        },
        counts: Vec::new(),
        slots: Slots { agents_max: 4, agents_free: 4, repos: Vec::new() },
        actors: Vec::new(),
        tasks: Vec::new(),
        queued_jobs: Vec::new(),
        running_jobs: Vec::new(),
        processes: Vec::new(),
        processes_omitted: 0,
        leases: Vec::new(),
        transition_lease: LeaseBlock {
            enabled: true,
            scope: "*".to_owned(),
            grants_total: 0,
            deferrals_total: 0,
            reclaims_total: LeaseReclaims::default(),
            lost_cas_total: 0,
        },
        merge_gate: gate(),
        coverage_gate: gate(),
        security_gate: gate(),
        image_gate: gate(),
        staging: gate(),
        reaper: ReaperBlock {
            enabled: true,
            dead_grace_ms: 30_000,
            finalize_grace_ms: 900_000,
            max_running_ms: 7_200_000,
            dead_runs_total: 0,
            unsettled_total: 0,
            overdue_total: 0,
            failures_total: 0,
        },
        reconciler: ReconcilerBlock { enabled: true, woken_total: 0, drift_total: 0, failures_total: 0 },
        webhooks: WebhooksBlock { sources: Vec::new() },
        chat: ChatBlock {
            channel: "log".to_owned(),
            up: None,
            pending: 0,
            attempts_total: 0,
            failures_total: 0,
        },
        timeouts: Timeouts { entries: Vec::new(), largest_ms: 600_000, edge_sum_ms: 1_800_000 },
        data_dir: None,
        budget: None,
    }
}

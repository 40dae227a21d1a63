//! Blocks of the document: switches, scopes and counters of one mechanism each.

use orch_contract::{
    ChatBlock, GateBlock, GateCount, GateFailure, GateRunning, LeaseBlock, LeaseReclaims, ReaperBlock,
    ReconcilerBlock, WebhooksBlock,
};

use super::work::Names;
use crate::{config::Switch, counters::Tally, domain::verdict::GateKind, engine::Engine};

/// Which of our gates each block is about.
pub(super) struct GatesOfBlocks {
    pub(super) merge: &'static [GateKind],
    pub(super) coverage: &'static [GateKind],
    pub(super) security: &'static [GateKind],
    pub(super) image: &'static [GateKind],
    pub(super) staging: &'static [GateKind],
}

/// The merge gate is the re-test and the look at what landed; artifact, approval, change, CI and
/// deployed have no block in schema 1: they stand in the metrics.
pub(super) const GATES: GatesOfBlocks = GatesOfBlocks {
    merge: &[GateKind::Retest, GateKind::LandedTree],
    coverage: &[GateKind::Coverage],
    security: &[GateKind::Security],
    image: &[GateKind::Image],
    staging: &[GateKind::Staging],
};

pub(super) fn gate(tally: &Tally, names: &Names, kinds: &[GateKind], switch: &Switch) -> GateBlock {
    let ours = |name: &str| kinds.iter().any(|kind| kind.as_str() == name);
    let mut counts: Vec<GateCount> = Vec::new();
    for ((_, verdict, class), total) in tally.verdicts.iter().filter(|((gate, ..), _)| ours(gate)) {
        match counts.iter_mut().find(|count| count.verdict == *verdict && count.class == *class) {
            Some(count) => count.total += total,
            None => counts.push(GateCount {
                verdict: (*verdict).to_owned(),
                class: (*class).to_owned(),
                total: *total,
            }),
        }
    }
    let failures = tally.failures.iter().filter(|(gate, _)| ours(gate)).map(|(_, failure)| failure);
    GateBlock {
        enabled: switch.enabled,
        scope: switch.scope.to_string(),
        running: tally
            .at_work
            .iter()
            .filter(|(gate, _)| ours(gate))
            .flat_map(|(_, work)| work)
            .map(|work| GateRunning {
                work_item: names.key(work.task),
                since_ms: work.since_ms,
                timeout_ms: work.timeout_ms,
            })
            .collect(),
        skipped_total: counts
            .iter()
            .filter(|count| count.verdict == "skipped")
            .map(|count| count.total)
            .sum(),
        counts,
        last_failure: failures.max_by_key(|failure| failure.at_ms).map(|failure| GateFailure {
            work_item: names.key(failure.task),
            at_ms: failure.at_ms,
            verdict: failure.verdict.to_owned(),
            class: failure.class.to_owned(),
            summary: failure.summary.clone(),
        }),
    }
}

pub(super) fn transition_lease(engine: &Engine, tally: &Tally) -> LeaseBlock {
    let switch = &engine.config.transition_lease;
    let reclaimed = |why: &str| tally.reclaims.get(why).copied().unwrap_or(0);
    LeaseBlock {
        enabled: switch.enabled,
        scope: switch.scope.to_string(),
        grants_total: tally.grants,
        deferrals_total: tally.deferrals,
        reclaims_total: LeaseReclaims {
            dead_boot: reclaimed("dead_boot"),
            dead_owner: reclaimed("dead_owner"),
            forced: reclaimed("forced"),
            overdue: reclaimed("overdue"),
        },
        lost_cas_total: tally.lost_cas,
    }
}

pub(super) fn reaper(engine: &Engine, tally: &Tally) -> ReaperBlock {
    let config = &engine.config.reaper;
    let [dead_runs_total, unsettled_total, overdue_total] = tally.reaped;
    ReaperBlock {
        enabled: true,
        dead_grace_ms: config.dead_grace_ms,
        finalize_grace_ms: config.finalize_grace_ms,
        max_running_ms: config.max_running_ms,
        dead_runs_total,
        unsettled_total,
        overdue_total,
        failures_total: failed_passes(tally, "reaper"),
    }
}

pub(super) fn reconciler(tally: &Tally) -> ReconcilerBlock {
    ReconcilerBlock {
        enabled: true,
        woken_total: tally.woken,
        drift_total: tally.drift,
        failures_total: failed_passes(tally, "reconciler"),
    }
}

/// No source of webhooks is configured: forge and tracker are local.
pub(super) const fn webhooks() -> WebhooksBlock {
    WebhooksBlock { sources: Vec::new() }
}

/// The channel beside the log. The log alone cannot fail: nothing is called.
pub(super) fn chat(engine: &Engine, tally: &Tally) -> ChatBlock {
    let channel = if engine.config.telegram.is_some() { "telegram" } else { "log" };
    ChatBlock {
        channel: channel.to_owned(),
        up: tally.chat.up,
        pending: tally.chat.pending,
        attempts_total: tally.chat.attempts,
        failures_total: tally.chat.failures,
    }
}

fn failed_passes(tally: &Tally, actor: &str) -> u64 {
    tally.failed_passes.get(actor).copied().unwrap_or(0)
}

//! What the collector takes from the core's document: which processes the core knows, so that it can find them here.
//!
//! The core's pids are those of its own namespace, so they are joined by (innermost NSpid, start ticks). In a time
//! namespace its start ticks are shifted against ours, all by the same amount ([`Shift`]). It judges nothing; a reference
//! that cannot be found is left out.

use std::collections::BTreeMap;

use orch_contract::{ObservationDocument, ProcessRef, SupervisedTree};
use proc_identity::ProcessId;
use proc_identity::host::Clocks;

use super::detail::Details;
use super::lineage::Role;
use super::reader::Reader;
use super::table::{RowState, Table};

/// The core says when its life began a moment after its process started (ten seconds, in milliseconds).
const CORE_START_SLACK_MS: i64 = 10_000;

/// The core's processes and runs, from its last document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreHint {
    /// The core itself.
    pub core: Option<ProcessRef>,
    /// When its life began, UTC milliseconds.
    pub core_started_at_ms: i64,
    /// Its runs, ended ones too.
    pub runs: Vec<HintedRun>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HintedRun {
    /// Cookie.
    pub cookie: u64,
    /// Whether the core lists it as live.
    pub live: bool,
    /// When it started, UTC milliseconds.
    pub started_at_ms: i64,
    /// Its supervisor.
    pub supervisor: Option<ProcessRef>,
    /// The supervisor's child.
    pub child: Option<ProcessRef>,
}

impl CoreHint {
    /// Takes what is needed from a document. A cookie that is no number joins nothing.
    #[must_use]
    pub fn from_document(document: &ObservationDocument) -> Self {
        let run = |tree: &SupervisedTree| {
            Some(HintedRun {
                cookie: tree.cookie.parse().ok()?,
                live: tree.ended_at_ms.is_none(),
                started_at_ms: tree.started_at_ms,
                supervisor: tree.supervisor,
                child: tree.child,
            })
        };
        Self {
            core: Some(ProcessRef { pid: document.core.pid, start_ticks: document.core.start_ticks }),
            core_started_at_ms: document.core.started_at_ms,
            runs: document.processes.iter().filter_map(run).collect(),
        }
    }

    /// Whether the document lists this cookie.
    #[must_use]
    pub fn lists(&self, cookie: u64) -> bool {
        self.runs.iter().any(|run| run.cookie == cookie)
    }
}

/// The core's start ticks less those of the same process here. None but in a time namespace (time_namespaces(7)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shift {
    of_core: Option<ProcessRef>,
    ticks: i64,
}

impl Shift {
    /// Finds it, where the core is not found without one: the one program of its name whose innermost pid and whose
    /// start by the wall clock are the core's. Two of that sort prove nothing, and neither do start ticks that differ
    /// where the core is somewhere else: then nobody here bears its name.
    pub(super) fn find(
        &mut self,
        hint: &CoreHint,
        table: &Table,
        clocks: &Clocks,
        ticks_per_second: u64,
        details: &mut Details,
        reader: &mut Reader,
    ) {
        let Some(core) = hint.core else { return };
        if self.of_core != Some(core) {
            *self = Self { of_core: Some(core), ticks: 0 };
        }
        if self.ticks != 0 || table.started_at(core.start_ticks).next().is_some() {
            return;
        }
        let mut found = Vec::new();
        for row in table.rows().iter().filter(|row| row.state == RowState::Alive) {
            let apart_ms = clocks
                .started_at_ms(row.start_ticks, ticks_per_second)
                .saturating_sub(hint.core_started_at_ms);
            if apart_ms.saturating_abs() > CORE_START_SLACK_MS {
                continue;
            }
            let Ok(detail) = details.look(reader, row.pid) else { continue };
            if detail.stat.id() == row.id()
                && detail.stat.comm == b"orch-core"
                && detail.ns_pids(reader).and_then(|pids| pids.last().copied()) == Some(core.pid)
            {
                found.push(row.start_ticks);
            }
        }
        if let [here] = found.as_slice() {
            self.ticks = i64::try_from(i128::from(core.start_ticks) - i128::from(*here)).unwrap_or(0);
        }
    }

    /// A start that the core told, as it is seen here.
    fn here(&self, start_ticks: u64) -> u64 {
        u64::try_from(i128::from(start_ticks) - i128::from(self.ticks)).unwrap_or(start_ticks)
    }
}

/// The core's processes as seen here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// The core.
    pub core: Option<ProcessId>,
    /// Supervisors and registered children by pid, each with its run's cookie.
    pub of_runs: BTreeMap<i32, (ProcessId, Role, u64)>,
}

impl Roles {
    /// Finds the hinted processes. One walk over the rows; `status` is read for those whose start ticks fit.
    pub fn find(
        hint: &CoreHint,
        shift: &Shift,
        table: &Table,
        details: &mut Details,
        reader: &mut Reader,
    ) -> Self {
        let mut wanted: Vec<(u64, i32, Role, u64)> = Vec::new();
        let mut want = |process: Option<ProcessRef>, role: Role, cookie: u64| {
            wanted
                .extend(process.map(|process| (shift.here(process.start_ticks), process.pid, role, cookie)));
        };
        want(hint.core, Role::Core, 0);
        for run in hint.runs.iter().filter(|run| run.live) {
            want(run.supervisor, Role::Supervisor, run.cookie);
            want(run.child, Role::Registered, run.cookie);
        }
        wanted.sort_unstable_by_key(|(start, ..)| *start);
        let mut roles = Self::default();
        for row in table.rows().iter().filter(|row| row.state == RowState::Alive) {
            let from = wanted.partition_point(|(start, ..)| *start < row.start_ticks);
            for (_, inner, role, cookie) in
                wanted.iter().skip(from).take_while(|(start, ..)| *start == row.start_ticks)
            {
                let innermost = details
                    .look(reader, row.pid)
                    .ok()
                    .filter(|detail| detail.stat.id() == row.id())
                    .and_then(|detail| detail.ns_pids(reader).and_then(|pids| pids.last().copied()));
                if innermost != Some(*inner) {
                    continue;
                }
                if *role == Role::Core {
                    roles.core = Some(row.id());
                } else {
                    roles.of_runs.insert(row.pid, (row.id(), role.clone(), *cookie));
                }
            }
        }
        roles
    }

    /// What the core says about a process.
    #[must_use]
    pub fn of(&self, pid: i32) -> Role {
        if self.core.is_some_and(|core| core.pid == pid) {
            return Role::Core;
        }
        self.of_runs.get(&pid).map_or(Role::Ordinary, |(_, role, _)| role.clone())
    }
}

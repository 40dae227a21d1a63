//! CPU of the core's live runs, for jobs whose silence must be judged.
//!
//! Responsible for knowing which processes belong to a run and for their summed CPU time. Its cost follows the live
//! runs and not the host: whoever descends from a supervisor is of its run, since a supervisor is the subreaper of its
//! tree, so no `limits` is read for them. Only where the core's processes cannot be found here (another time
//! namespace, a supervisor that was lost) the cookie itself is looked for, once an identity, among processes younger
//! than the run, a bounded number a pass.
//!
//! Invariants: a process once of a run stays of it; a run's CPU time does not fall when a process ends.

use std::collections::BTreeMap;

use proc_identity::host::{Clocks, ticks_ms};
use proc_identity::{ProcError, ProcessId};

use super::detail::Details;
use super::hint::{CoreHint, Roles};
use super::lineage::Role;
use super::reader::Reader;
use super::table::{RowState, Table};
use crate::observe::RunUse;

/// Reads of `limits` in search of lost runs, a pass.
const LIMITS_A_PASS: usize = 256;
/// A process may look older than its run by this much: ticks are 10 ms, and clocks are set (two seconds, in
/// milliseconds).
const CLOCK_SLACK_MS: i64 = 2_000;

/// The processes of a pass, and when it is.
pub(super) struct Sight<'pass> {
    pub(super) table: &'pass Table,
    pub(super) clocks: &'pass Clocks,
    pub(super) ticks_per_second: u64,
}

/// Whom a search for lost runs has asked by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Everybody,
    /// The rest come in later passes, or cannot be asked.
    Some,
}

/// Which processes belong to which run.
#[derive(Debug, Default)]
pub struct RunMembers {
    by_pid: BTreeMap<i32, (ProcessId, u64)>,
    /// Processes whose cookie was read and belongs to no live run.
    strangers: BTreeMap<i32, ProcessId>,
    /// CPU ticks of each member when last seen.
    cpu: BTreeMap<i32, u64>,
    ended_ticks: BTreeMap<u64, u64>,
    /// See [`RunMembers::missing`].
    missing: Vec<u64>,
}

impl RunMembers {
    /// The cookie of a process that was seen below a run.
    #[must_use]
    pub fn cookie_of(&self, id: ProcessId) -> Option<u64> {
        self.by_pid.get(&id.pid).filter(|(member, _)| *member == id).map(|(_, cookie)| *cookie)
    }

    /// Runs that the core lists as live and of which no process is here, in a pass that found the core itself and asked
    /// everybody who is young enough: nothing of them is left, whether or not they were ever seen.
    #[must_use]
    pub fn missing(&self) -> &[u64] {
        &self.missing
    }

    /// Notes members of a matched family, whose cookie was read anyway.
    pub(super) fn note(&mut self, ids: &[ProcessId], cookie: u64) {
        for id in ids {
            self.by_pid.insert(id.pid, (*id, cookie));
            self.strangers.remove(&id.pid);
        }
    }

    /// Finds the members of this pass.
    pub(super) fn find(
        &mut self,
        sight: &Sight<'_>,
        hint: Option<&CoreHint>,
        roles: &Roles,
        details: &mut Details,
        reader: &mut Reader,
    ) {
        let table = sight.table;
        let (cpu, ended) = (&mut self.cpu, &mut self.ended_ticks);
        self.by_pid.retain(|pid, (id, cookie)| {
            let alive = table.alive(*id);
            if !alive {
                *ended.entry(*cookie).or_default() += cpu.remove(pid).unwrap_or(0);
            }
            alive
        });
        self.strangers.retain(|_, id| table.alive(*id));
        let mut supervisors: BTreeMap<i32, u64> = BTreeMap::new();
        for (pid, (id, role, cookie)) in &roles.of_runs {
            match role {
                // the supervisor itself carries no cookie, and it must not hide the end of its run
                Role::Supervisor => drop(supervisors.insert(*pid, *cookie)),
                Role::Registered => drop(self.by_pid.insert(*pid, (*id, *cookie))),
                Role::Core | Role::Ordinary => {}
            }
        }
        self.descend(table, &supervisors);
        self.missing.clear();
        if let Some(hint) = hint {
            let asked = self.search(sight, hint, details, reader);
            if asked == Asked::Everybody && roles.core.is_some() {
                let here = |cookie: u64| self.by_pid.values().any(|(_, of)| *of == cookie);
                self.missing = hint.runs.iter().filter(|run| run.live).map(|run| run.cookie).collect();
                self.missing.retain(|cookie| !here(*cookie));
            }
            let members = &self.by_pid;
            self.ended_ticks.retain(|cookie, _| {
                hint.lists(*cookie) || members.values().any(|(_, listed)| listed == cookie)
            });
        }
    }

    fn descend(&mut self, table: &Table, supervisors: &BTreeMap<i32, u64>) {
        if supervisors.is_empty() && self.by_pid.is_empty() {
            return;
        }
        loop {
            let before = self.by_pid.len();
            for row in table.rows().iter().filter(|row| row.state == RowState::Alive) {
                if self.by_pid.contains_key(&row.pid) || supervisors.contains_key(&row.pid) {
                    continue;
                }
                let of_parent = self.by_pid.get(&row.ppid).map(|(_, cookie)| *cookie);
                if let Some(cookie) = of_parent.or_else(|| supervisors.get(&row.ppid).copied())
                    && table.parent(row).is_some()
                {
                    self.by_pid.insert(row.pid, (row.id(), cookie));
                }
            }
            if self.by_pid.len() == before {
                return;
            }
        }
    }

    /// Looks for live runs of which no process is known here, by their cookie.
    fn search(
        &mut self,
        sight: &Sight<'_>,
        hint: &CoreHint,
        details: &mut Details,
        reader: &mut Reader,
    ) -> Asked {
        let lost: Vec<_> = hint
            .runs
            .iter()
            .filter(|run| run.live && !self.by_pid.values().any(|(_, cookie)| *cookie == run.cookie))
            .collect();
        let Some(oldest_ms) = lost.iter().map(|run| run.started_at_ms).min() else { return Asked::Everybody };
        let (mut reads, mut asked) = (0, Asked::Everybody);
        for row in sight.table.rows().iter().filter(|row| row.state == RowState::Alive) {
            if reads >= LIMITS_A_PASS {
                return Asked::Some;
            }
            let known = self.by_pid.contains_key(&row.pid)
                || self.strangers.get(&row.pid).is_some_and(|id| *id == row.id());
            if known
                || sight.clocks.started_at_ms(row.start_ticks, sight.ticks_per_second)
                    < oldest_ms.saturating_sub(CLOCK_SLACK_MS)
            {
                continue;
            }
            reads += 1;
            let locks = match details.look(reader, row.pid).and_then(|detail| detail.locks(reader)) {
                Ok(locks) => locks,
                Err(ProcError::Gone) => continue,
                Err(ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_)) => {
                    asked = Asked::Some;
                    continue;
                }
            };
            match lost.iter().find(|run| locks.carries(run.cookie)) {
                Some(run) => drop(self.by_pid.insert(row.pid, (row.id(), run.cookie))),
                None => drop(self.strangers.insert(row.pid, row.id())),
            }
        }
        asked
    }

    /// Sums the CPU of each run, one `stat` for each of its processes.
    pub(super) fn measure(
        &mut self,
        details: &mut Details,
        reader: &mut Reader,
        ticks_per_second: u64,
    ) -> Vec<RunUse> {
        let mut sums: BTreeMap<u64, (u32, u64)> = BTreeMap::new();
        for (pid, (id, cookie)) in &self.by_pid {
            let Ok(detail) = details.look(reader, *pid) else { continue };
            if detail.stat.id() != *id || detail.stat.is_dead() {
                continue;
            }
            let ticks = detail.cpu_ticks();
            self.cpu.insert(*pid, ticks);
            let sum = sums.entry(*cookie).or_default();
            sum.0 = sum.0.saturating_add(1);
            sum.1 = sum.1.saturating_add(ticks);
        }
        sums.into_iter()
            .map(|(cookie, (processes, ticks))| {
                let ticks = ticks.saturating_add(self.ended_ticks.get(&cookie).copied().unwrap_or(0));
                let cpu_ms = u64::try_from(ticks_ms(ticks, ticks_per_second)).unwrap_or(0);
                RunUse { cookie, processes, cpu_ms }
            })
            .collect()
    }
}

//! From groups of processes to [`Family`] values: facts gathered, sums made, lineage asked for.
//!
//! Responsible for one pass's families and for what is remembered of them. It reads through `detail`, which reads
//! each file at most once a pass or once an identity. It decides neither membership nor ownership.
//!
//! Invariant: sums over a family never fall because a member ended.

use std::collections::BTreeMap;

use proc_identity::ProcessId;
use proc_identity::host::{self, Clocks, ticks_ms};

use super::container;
use super::detail::{Details, bare_name};
use super::family::{FamilyMemory, Grouping};
use super::hint::{CoreHint, Roles};
use super::lineage::{self, Host, Node, Role, Tree};
use super::reader::Reader;
use super::rhythm::Sample;
use super::runs::RunMembers;
use super::shape::Pattern;
use super::stop;
use super::table::{RowState, Table};
use crate::observe::{Cookie, Family, Member, ProcessKey, Supervisor, View};

/// Everything a pass knows, borrowed for the time of assembling.
pub(super) struct Sources<'pass> {
    pub(super) table: &'pass Table,
    pub(super) details: &'pass mut Details,
    pub(super) reader: &'pass mut Reader,
    pub(super) runs: &'pass mut RunMembers,
    pub(super) patterns: &'pass [Pattern],
    pub(super) roles: &'pass Roles,
    pub(super) hint: Option<&'pass CoreHint>,
    pub(super) host: Host,
    pub(super) boot_id: &'pass str,
    pub(super) view: View,
    pub(super) clocks: &'pass Clocks,
    pub(super) cpu_sample: Option<&'pass Sample>,
    pub(super) cpu_before: &'pass mut BTreeMap<ProcessId, u64>,
}

/// What became of the families of a pass.
pub(super) struct Assembled {
    /// Those that were found.
    pub(super) families: Vec<Family>,
    /// Those of an earlier view that this one cannot look for.
    pub(super) unseen: Vec<ProcessKey>,
}

/// Assembles the families of a pass and brings the memory up to date: ended families leave it, new ones enter, those
/// that live where this pass cannot look stay as they were.
pub(super) fn families(
    sources: &mut Sources<'_>,
    grouping: &Grouping,
    memory: &mut Vec<FamilyMemory>,
) -> Assembled {
    let mut unseen = Vec::new();
    for (remembered, members) in memory.iter_mut().zip(&grouping.known) {
        if members.is_empty() && remembered.may_live_unseen(sources.view, sources.table) {
            unseen.push(sources.key(remembered.root));
        } else {
            sources.retire(remembered, members);
        }
    }
    memory.retain(|family| !family.members.is_empty());
    for members in &grouping.new {
        memory.extend(sources.remember(members));
    }
    let core_container = sources.core_container();
    let mut cpu_now = BTreeMap::new();
    let not_here = |family: &FamilyMemory| unseen.iter().any(|key| is_of(key, family.root));
    let families = memory
        .iter_mut()
        .filter(|family| !not_here(family))
        .filter_map(|family| sources.family(family, core_container.as_deref(), &mut cpu_now))
        .collect();
    *sources.cpu_before = cpu_now;
    Assembled { families, unseen }
}

fn is_of(key: &ProcessKey, id: ProcessId) -> bool {
    (key.pid, key.start_ticks) == (id.pid, id.start_ticks)
}

impl Sources<'_> {
    /// Takes over this pass's members; the CPU of those that ended is kept.
    fn retire(&self, family: &mut FamilyMemory, members: &[ProcessId]) {
        for ended in family.members.iter().filter(|member| !members.contains(member)) {
            let ticks = self.cpu_before.get(ended).copied().unwrap_or(0);
            family.ended_cpu_ms = family.ended_cpu_ms.saturating_add(self.as_ms(ticks));
        }
        let led = |id: ProcessId| {
            self.details
                .last(id)
                .is_none_or(|detail| detail.stat.pgrp == id.pid || detail.stat.session == id.pid)
        };
        family.take_members(members, led);
    }

    fn remember(&mut self, members: &[ProcessId]) -> Option<FamilyMemory> {
        let root = *members.first()?;
        let row = *self.table.get(root.pid)?;
        let (command, matched_by) = self.described(root);
        Some(FamilyMemory {
            root,
            command,
            matched_by,
            members: members.to_vec(),
            leaders: Vec::new(),
            root_ppid: Some(row.ppid),
            root_pgid: row.pgid,
            root_sid: row.sid,
            suspended_ms_at_first: self.clocks.boottime_ms - self.clocks.monotonic_ms,
            ended_cpu_ms: 0,
            core_linked: false,
            view: Some(self.view),
            elsewhere: false,
        })
    }

    /// Command and match of a topmost process; a worker or an ancestor may have matched only earlier.
    fn described(&mut self, id: ProcessId) -> (String, String) {
        let Ok(detail) = self.details.look(self.reader, id.pid) else {
            return (String::new(), String::new());
        };
        if detail.command.is_empty() {
            // its command line is unreadable then: the name is what there is
            drop(detail.read_command(self.reader, self.patterns));
        }
        let command =
            if detail.command.is_empty() { bare_name(&detail.name) } else { detail.command.clone() };
        (command, detail.matched.as_ref().map(|found| found.words.clone()).unwrap_or_default())
    }

    fn family(
        &mut self,
        family: &mut FamilyMemory,
        core_container: Option<&str>,
        cpu_now: &mut BTreeMap<ProcessId, u64>,
    ) -> Option<Family> {
        let mut members = Vec::new();
        let mut ticks = 0_u64;
        let mut rss_pages = 0_u64;
        for id in &family.members {
            match self.member(*id, cpu_now, &mut ticks, &mut rss_pages) {
                Some(member) => members.push(member),
                // it lives and could not be read now: what it has used does not fall for that
                None => {
                    if let Some(before) = self.cpu_before.get(id).copied() {
                        cpu_now.insert(*id, before);
                        ticks = ticks.saturating_add(before);
                    }
                }
            }
        }
        let first = family.members.first().copied()?;
        family.view = Some(self.view);
        let root_alive = first == family.root;
        if root_alive {
            let (command, matched_by) = self.described(first);
            // a leader that called `pthread_exit` has no line any more: what an earlier life read of it stands
            let nameless = self.details.last(first).is_none_or(|detail| command == bare_name(&detail.name));
            if !nameless || family.command.is_empty() {
                family.command = command;
            }
            if !matched_by.is_empty() {
                family.matched_by = matched_by;
            }
        }
        let cookie = self.cookie(first);
        let container = self.container(first);
        let registered = family
            .members
            .iter()
            .any(|id| self.runs.cookie_of(*id).is_some() || self.roles.of_runs.contains_key(&id.pid));
        family.core_linked |= matches!(cookie, Cookie::Run(_))
            || registered
            || (container.is_some() && container.as_deref() == core_container);
        let supervisor = match cookie {
            Cookie::Run(cookie) => {
                self.runs.note(&family.members, cookie);
                self.supervisor(first, cookie)
            }
            Cookie::None | Cookie::Unreadable => Supervisor::Absent,
        };
        let tree =
            &mut Look { table: self.table, details: self.details, reader: self.reader, roles: self.roles };
        let lineage = if root_alive {
            lineage::of_known(tree, first.pid, family.root_ppid, self.host)
        } else {
            let pids: Vec<i32> = family.members.iter().map(|member| member.pid).collect();
            lineage::of_left_over(tree, first.pid, &pids, self.host)
        };
        let suspended_ms = self.clocks.boottime_ms - self.clocks.monotonic_ms;
        let stop = stop::command(&members, self.table);
        let age_ms = self.clocks.age_ms(family.root.start_ticks, self.host.ticks_per_second);
        Some(Family {
            key: self.key(family.root),
            command: family.command.clone(),
            matched_by: family.matched_by.clone(),
            members,
            root_alive,
            started_at_ms: self.clocks.started_at_ms(family.root.start_ticks, self.host.ticks_per_second),
            awake_age_ms: (age_ms - (suspended_ms - family.suspended_ms_at_first).max(0)).max(0),
            cpu_ms: family.ended_cpu_ms.saturating_add(self.as_ms(ticks)),
            cpu_share: self.cpu_share(&family.members, cpu_now),
            rss_bytes: rss_pages.saturating_mul(host::page_size_bytes()),
            container,
            lineage,
            cookie,
            supervisor,
            core_linked: family.core_linked,
            stop,
        })
    }

    fn member(
        &mut self,
        id: ProcessId,
        cpu_now: &mut BTreeMap<ProcessId, u64>,
        ticks: &mut u64,
        rss_pages: &mut u64,
    ) -> Option<Member> {
        let detail = self.details.look(self.reader, id.pid).ok().filter(|detail| detail.stat.id() == id)?;
        if detail.command_due() {
            // what was known before stays when it cannot be read
            drop(detail.read_command(self.reader, self.patterns));
        }
        let own = detail.cpu_ticks();
        cpu_now.insert(id, own);
        *ticks = ticks.saturating_add(own);
        *rss_pages = rss_pages.saturating_add(detail.stat.rss_pages);
        let inner_pid = detail.ns_pids(self.reader).and_then(|pids| pids.last().copied());
        let (ppid, pgid, sid, state) =
            (detail.stat.ppid, detail.stat.pgrp, detail.stat.session, detail.stat.state.letter());
        let (name, command) = (detail.name.clone(), detail.command.clone());
        Some(Member { key: self.key(id), ppid, pgid, sid, inner_pid, name, command, state })
    }

    /// The run that a process belongs to. A run within a run belongs to the outer one where the core lists only that.
    fn cookie(&mut self, id: ProcessId) -> Cookie {
        let read = self.details.look(self.reader, id.pid).and_then(|detail| detail.locks(self.reader));
        let Ok(locks) = read else {
            return self.runs.cookie_of(id).map_or(Cookie::Unreadable, Cookie::Run);
        };
        let listed = |cookie: &u64| self.hint.is_some_and(|hint| hint.lists(*cookie));
        match (locks.soft, locks.hard) {
            (Some(soft), Some(hard)) if !listed(&soft) && listed(&hard) => Cookie::Run(hard),
            (Some(soft), _) => Cookie::Run(soft),
            // a soft limit above a finite hard one cannot be
            (None, _) => Cookie::None,
        }
    }

    /// Goes up while the cookie stays the same: who stands above the last that carries it started the run. A
    /// supervisor adopts whatever its run leaves behind, so as long as it lives it is found this way.
    fn supervisor(&mut self, id: ProcessId, cookie: u64) -> Supervisor {
        let Some(row) = self.table.get(id.pid).filter(|row| row.id() == id) else {
            return Supervisor::Unknown;
        };
        for ancestor in self.table.ancestors(row) {
            let Ok(detail) = self.details.look(self.reader, ancestor.pid) else { return Supervisor::Unknown };
            match (detail.is_supervisor(self.reader), detail.locks(self.reader)) {
                (Ok(true), _) => return Supervisor::Alive(ancestor.pid),
                (Ok(false), Ok(locks)) if locks.carries(cookie) => {}
                (Ok(false), Ok(_)) => return Supervisor::Absent,
                (Err(_), _) | (_, Err(_)) => return Supervisor::Unknown,
            }
        }
        Supervisor::Absent
    }

    fn container(&mut self, id: ProcessId) -> Option<String> {
        let detail = self.details.look(self.reader, id.pid).ok()?;
        detail.container(self.reader)
    }

    fn core_container(&mut self) -> Option<String> {
        self.roles.core.and_then(|core| self.container(core))
    }

    /// CPU used since an earlier pass, as a fraction of one core; `None` where there is nothing to compare with.
    fn cpu_share(&self, members: &[ProcessId], cpu_now: &BTreeMap<ProcessId, u64>) -> Option<f64> {
        let earlier = self.cpu_sample?;
        let interval_ms = self.clocks.monotonic_ms - earlier.at.monotonic_ms;
        let mut used = 0_u64;
        let mut comparable = false;
        for id in members {
            let now = cpu_now.get(id).copied().unwrap_or(0);
            if let Some(before) = earlier.ticks.get(id) {
                comparable = true;
                used = used.saturating_add(now.saturating_sub(*before));
            } else if ticks_ms(id.start_ticks, self.host.ticks_per_second) >= earlier.at.boottime_ms {
                comparable = true;
                used = used.saturating_add(now);
            }
        }
        // milliseconds fit a float exactly for longer than any host runs
        comparable.then(|| self.as_ms(used) as f64 / interval_ms as f64)
    }

    fn key(&self, id: ProcessId) -> ProcessKey {
        ProcessKey { host_boot_id: self.boot_id.to_owned(), pid: id.pid, start_ticks: id.start_ticks }
    }

    fn as_ms(&self, ticks: u64) -> u64 {
        u64::try_from(ticks_ms(ticks, self.host.ticks_per_second)).unwrap_or(0)
    }
}

/// [`Tree`] over the live table.
pub(super) struct Look<'pass> {
    pub(super) table: &'pass Table,
    pub(super) details: &'pass mut Details,
    pub(super) reader: &'pass mut Reader,
    pub(super) roles: &'pass Roles,
}

impl Tree for Look<'_> {
    fn node(&mut self, pid: i32) -> Option<Node> {
        self.table.get(pid)?;
        let detail = self.details.look(self.reader, pid).ok()?;
        let ns_pids = detail.ns_pids(self.reader).map(<[i32]>::to_vec);
        let container = detail.container(self.reader);
        Some(Node {
            pid,
            start_ticks: detail.stat.start_ticks,
            ppid: detail.stat.ppid,
            pgid: detail.stat.pgrp,
            sid: detail.stat.session,
            name: detail.name.clone(),
            ns_pids,
            dead: detail.stat.is_dead(),
            container,
        })
    }

    fn role(&mut self, pid: i32) -> Role {
        self.roles.of(pid)
    }

    fn is_user_manager(&mut self, node: &Node) -> bool {
        self.details.look(self.reader, node.pid).is_ok_and(|detail| detail.is_user_manager(self.reader))
    }

    fn is_service_main(&mut self, node: &Node) -> bool {
        // systemd gives each main process a session of its own, and starts it before anything else of the group
        if node.sid != node.pid {
            return false;
        }
        let Some(service) = self.service(node.pid) else { return false };
        let siblings: Vec<i32> = self
            .table
            .rows()
            .iter()
            .filter(|row| row.ppid == node.ppid && row.pid != node.pid && row.state == RowState::Alive)
            .filter(|row| row.start_ticks < node.start_ticks)
            .map(|row| row.pid)
            .collect();
        !siblings.into_iter().any(|pid| self.service(pid).as_deref() == Some(service.as_str()))
    }
}

impl Look<'_> {
    fn service(&mut self, pid: i32) -> Option<String> {
        let detail = self.details.look(self.reader, pid).ok()?;
        container::service(detail.cgroup(self.reader)).map(str::to_owned)
    }
}

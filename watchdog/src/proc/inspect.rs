//! Every fact about one process, matched or not: what `explain` shows.
//!
//! Responsible for gathering; the rules are those of the collector's own pass, asked again for a single pid. It must
//! follow a pass, and judges nothing.

use proc_identity::ProcError;

use super::assemble::Look;
use super::hint::{CoreHint, Roles};
use super::lineage::{self, Host};
use super::scan::Collector;
use super::selfcheck::Answer;
use super::table::{Row, RowState};
use crate::observe::{Cookie, Lineage};

/// Ancestors shown at most.
const CHAIN: usize = 32;

/// One process on the way up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Pid as seen here.
    pub pid: i32,
    /// Name, cleaned.
    pub name: String,
    /// The pid in each namespace, outermost first; empty when it could not be read.
    pub ns_pids: Vec<i32>,
}

/// Whether the leader of a session or group lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leader {
    /// It is the process itself.
    Itself,
    /// Another process that lives.
    Alive,
    /// It ended.
    Gone,
    /// There is none, or none that can be seen from here.
    Outside,
}

/// What is known of one process.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Pid.
    pub pid: i32,
    /// Start ticks.
    pub start_ticks: u64,
    /// Name, cleaned.
    pub name: String,
    /// Redacted command line.
    pub command: String,
    /// State letter.
    pub state: char,
    /// Threads.
    pub threads: u64,
    /// A thread of the kernel: nothing started it and nothing can stop it.
    pub of_kernel: bool,
    /// Pattern and shape, if it matches.
    pub matched_by: Option<String>,
    /// Group.
    pub pgid: i32,
    /// Leader of the group.
    pub group_leader: Leader,
    /// Session.
    pub sid: i32,
    /// Leader of the session.
    pub session_leader: Leader,
    /// The pid in each namespace, outermost first; empty when it could not be read.
    pub ns_pids: Vec<i32>,
    /// Container, if it runs in one.
    pub container: Option<String>,
    /// Run cookie.
    pub cookie: Cookie,
    /// Ancestors from the parent up.
    pub chain: Vec<Link>,
    /// Class by structure.
    pub lineage: Lineage,
}

impl Collector {
    /// Gathers every fact about one process of the last pass.
    ///
    /// # Errors
    /// [`ProcError`] of its `stat`, or [`ProcError::Gone`] when the last pass did not see it.
    pub fn inspect(&mut self, pid: i32, hint: Option<&CoreHint>) -> Result<Inspection, ProcError> {
        let row = *self.table.get(pid).ok_or(ProcError::Gone)?;
        self.details.begin_pass();
        let detail = self.details.look(&mut self.reader, pid)?;
        if detail.stat.start_ticks != row.start_ticks {
            return Err(ProcError::Gone);
        }
        drop(detail.read_command(&mut self.reader, &self.settings.patterns));
        let ns_pids = detail.ns_pids(&mut self.reader).unwrap_or_default().to_vec();
        let container = detail.container(&mut self.reader);
        let cookie = detail
            .locks(&mut self.reader)
            .map_or(Cookie::Unreadable, |locks| locks.cookie().map_or(Cookie::None, Cookie::Run));
        let (stat, name, command) = (detail.stat.clone(), detail.name.clone(), detail.command.clone());
        let matched_by = detail.matched.as_ref().map(|found| found.words.clone());
        let roles = hint.map_or_else(Roles::default, |hint| {
            Roles::find(hint, &self.shift, &self.table, &mut self.details, &mut self.reader)
        });
        let host = Host {
            host_namespace: self.check.host_namespace != Answer::No,
            ticks_per_second: self.ticks_per_second,
        };
        let mut look =
            Look { table: &self.table, details: &mut self.details, reader: &mut self.reader, roles: &roles };
        let lineage = lineage::of(&mut look, pid, host);
        let chain = self.chain(&row);
        Ok(Inspection {
            pid,
            start_ticks: stat.start_ticks,
            name,
            command,
            state: stat.state.letter(),
            threads: stat.num_threads,
            of_kernel: row.state == RowState::Kernel,
            matched_by,
            pgid: stat.pgrp,
            group_leader: self.leader(&row, stat.pgrp),
            sid: stat.session,
            session_leader: self.leader(&row, stat.session),
            ns_pids,
            container,
            cookie,
            chain,
            lineage,
        })
    }

    fn chain(&mut self, row: &Row) -> Vec<Link> {
        let pids: Vec<i32> = self.table.ancestors(row).take(CHAIN).map(|ancestor| ancestor.pid).collect();
        let mut chain = Vec::new();
        for pid in pids {
            let Ok(detail) = self.details.look(&mut self.reader, pid) else { continue };
            let ns_pids = detail.ns_pids(&mut self.reader).unwrap_or_default().to_vec();
            chain.push(Link { pid, name: detail.name.clone(), ns_pids });
        }
        chain
    }

    fn leader(&mut self, row: &Row, leader: i32) -> Leader {
        if leader == row.pid {
            return Leader::Itself;
        }
        if leader <= 0 {
            return Leader::Outside;
        }
        let alive = self.table.get(leader).is_some()
            && self.details.look(&mut self.reader, leader).is_ok_and(|detail| !detail.stat.is_dead());
        if alive { Leader::Alive } else { Leader::Gone }
    }
}

//! What a pass may conclude from what it does not see.
//!
//! Responsible for the tree at the path being the one that is read, for processes that are hidden from one pass to the
//! next, and for the view of each pass. What the passes read is `scan`'s business.
//!
//! Invariant: whoever is hidden, or lives where this view does not reach, has not ended.

use std::collections::BTreeMap;

use proc_identity::{ProcError, host};

use super::detail::Details;
use super::family::ProcMemory;
use super::reader::Root;
use super::recount::own_namespace;
use super::runs::RunMembers;
use super::scan::{Collector, StartError, own_pid};
use super::selfcheck::{Answer, SelfCheck};
use super::table::{RowState, Table};
use crate::observe::View;

impl Collector {
    /// Makes sure that what stands at the path now is what is read.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        let path = || self.settings.proc_root.display();
        let failed = |error: ProcError| match error {
            ProcError::Gone => StartError::NoTree(self.settings.proc_root.clone()).to_string(),
            error @ (ProcError::Denied | ProcError::Malformed { .. } | ProcError::Io(_)) => {
                format!("look at {}: {error}", path())
            }
        };
        match self.reader.follow_path().map_err(failed)? {
            Root::AsBefore if !self.unsettled => return Ok(()),
            Root::AsBefore | Root::Another => self.unsettled = true,
        }
        let boot_id = host::boot_id(self.reader.path())
            .map_err(|error| format!("read boot id below {}: {error}", path()))?;
        self.own_pid = own_pid(self.reader.path());
        self.own_namespace = own_namespace(&mut self.reader, self.own_pid);
        let fresh = SelfCheck::run(&mut self.reader, &mut self.uncompared);
        self.check = self.check.renewed(fresh);
        if boot_id != self.boot_id {
            // another host's tree: nothing that was known holds there
            self.table = Table::default();
            self.check.threads_seen = 0;
            self.memory = ProcMemory { host_boot_id: boot_id.clone(), families: Vec::new() };
            self.boot_id = boot_id;
            (self.young, self.hits, self.previous) = (Vec::new(), BTreeMap::new(), None);
            (self.details, self.runs) = (Details::default(), RunMembers::default());
        }
        self.unsettled = false;
        Ok(())
    }

    /// Before a pass is taken over: what is hidden by now and was not before has not ended, so that such a pass must
    /// change nothing. What was hidden from the start is counted and told (`SelfCheck::hidden`), and may be shown one day.
    pub(super) fn hidden_since(&mut self) -> Option<String> {
        // the first process of a namespace outlives all the others of it; a written tree need not have one
        self.check.first_listed = !self.reader.is_kernels() || self.pairs.iter().any(|(pid, _)| *pid == 1);
        if self.check.blinded || !self.check.first_listed {
            self.check.look_at_mount(self.reader.path());
        }
        self.check.hidden_by_kernel().filter(|_| self.shown)
    }

    /// After the reads and before anything is concluded from them: the tree may have begun to hide processes since it
    /// was listed, or show them and refuse to have them read. Looked at only where something vanished or was refused.
    pub(super) fn hidden_meanwhile(&mut self, denied_before: u64) -> Option<String> {
        if !self.shown || !self.reader.is_kernels() {
            return None;
        }
        let mut members = self.memory.families.iter().flat_map(|family| &family.members);
        let vanished = members.any(|member| !self.table.alive(*member) && !self.table.may_be(*member));
        if !vanished && self.reader.counters().denied == denied_before {
            return None;
        }
        self.check.look_at_mount(self.reader.path());
        self.check.first_listed = !matches!(self.reader.stat(1), Err(ProcError::Gone | ProcError::Denied));
        self.check.hidden_by_kernel()
    }

    /// From where this pass looks.
    pub(super) fn view(&self) -> View {
        let first = self.table.get(1).filter(|row| row.state != RowState::Unreadable);
        View {
            host: self.check.host_namespace == Answer::Yes,
            first_start_ticks: first.map(|row| row.start_ticks),
        }
    }
}

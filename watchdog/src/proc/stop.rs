//! The command that stops a family, for a person to run. Nothing here runs it.
//!
//! Pure. A group is named only when every live process of it is a member; whoever is in no such group is named by pid, so
//! that the command never hits a bystander.

use std::collections::BTreeMap;

use super::table::{RowState, Table};
use crate::observe::Member;

/// Targets in one command; a person who meets more is shown all of them by `scan --tree`.
const TARGETS: usize = 64;

/// The command; `None` when nobody is left to stop.
#[must_use]
pub fn command(members: &[Member], table: &Table) -> Option<String> {
    let mut pids: Vec<i32> = members.iter().map(|member| member.key.pid).filter(|pid| *pid > 1).collect();
    pids.sort_unstable();
    let mut groups: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for member in members.iter().filter(|member| member.key.pid > 1) {
        groups.entry(member.pgid).or_default().push(member.key.pid);
    }
    groups.retain(|pgid, members| *pgid > 1 && members.len() > 1 && !has_stranger(*pgid, &pids, table));
    let whole = groups.keys().map(|pgid| format!("-{pgid}"));
    let single = pids.iter().filter(|pid| !groups.values().any(|members| members.contains(pid)));
    let targets: Vec<String> = whole.chain(single.map(i32::to_string)).take(TARGETS).collect();
    // the end of options: a group's number begins like one
    let dashes = if groups.is_empty() { "" } else { "-- " };
    if targets.is_empty() { None } else { Some(format!("kill {dashes}{}", targets.join(" "))) }
}

/// Whether a process of the group is no member, or could not be looked at.
fn has_stranger(pgid: i32, pids: &[i32], table: &Table) -> bool {
    table.rows().iter().any(|row| match row.state {
        RowState::Alive => row.pgid == pgid && pids.binary_search(&row.pid).is_err(),
        // it may be in any group
        RowState::Unreadable => true,
        RowState::Zombie | RowState::Kernel => false,
    })
}

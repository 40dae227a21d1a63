//! The command that stops a family, for a person to run. Nothing here runs it.
//!
//! Pure. A group is named only when every live process of it is a member; whoever is in no such group is named by pid, so
//! that the command never hits a bystander.

use std::collections::BTreeMap;

use super::table::{RowState, Table};
use crate::observe::Member;

/// Longest command that a message carries, in bytes.
pub const MESSAGE_MAX_BYTES: usize = 400;

/// What a message tells to run instead of a longer one: it prints the whole.
const LOOK: &str = "orch-watchdog scan";

/// A command as a message carries it: whole, or the one that prints it. A part of it would stop a part of a family, and
/// a pid that was cut short is somebody else's.
#[must_use]
pub fn in_message(command: &str) -> &str {
    if command.len() <= MESSAGE_MAX_BYTES { command } else { LOOK }
}

/// The command, with every member in it; `None` when nobody is left to stop.
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
    let targets: Vec<String> = whole.chain(single.map(i32::to_string)).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ProcessKey;

    fn alone(pid: i32) -> Member {
        Member {
            key: ProcessKey { host_boot_id: "boot".to_owned(), pid, start_ticks: 1 },
            ppid: 1,
            pgid: pid,
            sid: pid,
            inner_pid: None,
            name: "pytest".to_owned(),
            command: "pytest".to_owned(),
            state: 'S',
        }
    }

    /// A hundred and one sessions of one family: 64 of them were named, as if that were all.
    #[test]
    fn every_member_is_named_and_a_message_carries_the_whole_or_none_of_it() {
        let members: Vec<Member> = (0..101).map(|at| alone(1_234_000 + at)).collect();
        let all = command(&members, &Table::default()).unwrap();
        let named: Vec<i32> = all.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert_eq!(named, (1_234_000..1_234_101).collect::<Vec<_>>());
        assert_eq!(in_message(&all), "orch-watchdog scan");
        let few = command(&members[..3], &Table::default()).unwrap();
        assert_eq!((in_message(&few), few.as_str()), (few.as_str(), "kill 1234000 1234001 1234002"));
    }
}

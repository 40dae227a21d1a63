//! How a task stands, in the words of the wire.
//!
//! One mapping for document, API and command line. Pure; it judges nothing.

use orch_contract::{Standing, WaitsFor, WaitsForKind};

use crate::domain::{
    task::{self, Task},
    verdict::Waitee,
};

/// A task's standing as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// How it stands.
    pub(crate) standing: Standing,
    /// Why it does not move; absent while it moves.
    pub(crate) cause: Option<String>,
    /// Who acts next.
    pub(crate) waits_for: Option<WaitsFor>,
    /// Until when, or when the core tries again.
    pub(crate) until_ms: Option<i64>,
    /// What a person can do; only where one must.
    pub(crate) way_out: Option<String>,
}

/// Puts a task's standing into words. A task whose agent works moves: nobody outside is waited for.
pub(crate) fn shown(task: &Task) -> Shown {
    match &task.standing {
        task::Standing::Moving {} => Shown::plain(Standing::Moving),
        task::Standing::Finished {} => Shown::plain(Standing::Finished),
        task::Standing::Waiting { who: who @ Waitee::Agent { .. }, until_ms, .. } => {
            Shown { waits_for: Some(waits_for(who)), until_ms: *until_ms, ..Shown::plain(Standing::Moving) }
        }
        task::Standing::Waiting { who, reason, until_ms } => Shown {
            cause: Some(reason.clone()),
            waits_for: Some(waits_for(who)),
            until_ms: *until_ms,
            ..Shown::plain(Standing::Waiting)
        },
        task::Standing::Held { reason, retry_at_ms } => Shown {
            cause: Some(reason.clone()),
            waits_for: Some(named(WaitsForKind::Core, "monitor")),
            until_ms: Some(*retry_at_ms),
            ..Shown::plain(Standing::Held)
        },
        task::Standing::Blocked { cause, way_out } => Shown {
            cause: Some(cause.clone()),
            waits_for: Some(named(WaitsForKind::Person, "operator")),
            way_out: Some(way_out.clone()),
            ..Shown::plain(Standing::Blocked)
        },
    }
}

/// A standing's word in the store, as the wire has it.
pub(super) fn of_word(word: &str) -> Standing {
    match word {
        "moving" => Standing::Moving,
        "waiting" => Standing::Waiting,
        "held" => Standing::Held,
        "blocked" => Standing::Blocked,
        "finished" => Standing::Finished,
        _ => Standing::Unknown,
    }
}

/// Who is waited for.
pub(crate) fn waits_for(who: &Waitee) -> WaitsFor {
    match who {
        Waitee::Person { name } => named(WaitsForKind::Person, name),
        Waitee::Agent { name } => named(WaitsForKind::Agent, name),
        Waitee::Ci { name } => named(WaitsForKind::Ci, name),
        Waitee::Slot { name } => named(WaitsForKind::Slot, name),
        Waitee::Deploy { name } => named(WaitsForKind::Deploy, name),
    }
}

fn named(kind: WaitsForKind, name: &str) -> WaitsFor {
    WaitsFor { kind, name: name.to_owned() }
}

impl Shown {
    const fn plain(standing: Standing) -> Self {
        Self { standing, cause: None, waits_for: None, until_ms: None, way_out: None }
    }
}

//! From where a pass looked: which pid namespace its mount shows.
//!
//! What is not seen from one place may live on in another, so that an absence counts only where the view covers the one
//! that saw. The mount's `hidepid` option and our user are no part of it: while they hide anybody, a pass is unavailable
//! and nothing of it is remembered.
//!
//! Invariant: a view that cannot tell where it is covers nothing.

use serde::{Deserialize, Serialize};

/// The view of one pass. Holds on one boot of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Whether it is the host's own pid namespace, in which every process of the machine has a pid.
    pub host: bool,
    /// Start ticks of the first process shown, which lives exactly as long as its namespace.
    pub first_start_ticks: Option<u64>,
}

impl View {
    /// Whether who was seen from `then`, under a pid of then, is seen from here under the same pid, if it lives. What an
    /// earlier version of this program saw is not known; it is taken for the host's.
    #[must_use]
    pub fn covers(self, then: Option<Self>) -> bool {
        match (self.host, then.is_none_or(|then| then.host)) {
            (true, true) => true,
            (true, false) | (false, true) => false,
            (false, false) => {
                let first = then.and_then(|then| then.first_start_ticks);
                first.is_some() && first == self.first_start_ticks
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_counts_in_the_namespace_of_the_sight_and_in_no_other() {
        let host = View { host: true, first_start_ticks: Some(1) };
        let restarted_init = View { host: true, first_start_ticks: Some(2) };
        let inside = |ticks| View { host: false, first_start_ticks: Some(ticks) };
        let nowhere = View { host: false, first_start_ticks: None };
        for (now, then, covers) in [
            (host, Some(host), true),
            (host, Some(restarted_init), true),
            (host, None, true),
            (host, Some(inside(500)), false),
            (inside(500), Some(host), false),
            (inside(500), None, false),
            (inside(500), Some(inside(500)), true),
            (inside(500), Some(inside(900)), false),
            (nowhere, Some(nowhere), false),
            (nowhere, Some(host), false),
        ] {
            assert_eq!(now.covers(then), covers, "{now:?} {then:?}");
        }
    }
}

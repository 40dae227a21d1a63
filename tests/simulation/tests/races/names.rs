//! One name for one state: tokens and versions count up for ever, and only their order among each other
//! means anything; seats of one kind are the same.
//!
//! Without this the checker would tell apart what no actor can.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use orch_core::domain::task::Task;

use crate::world::{At, Place, Row, World};

/// The version from which on they are counted anew.
const FIRST_VERSION: i64 = 100;

impl World {
    /// Gives tokens, versions and seats the names that they have in every such state.
    pub(crate) fn settle_names(&mut self) {
        self.rename_tokens();
        self.rename_versions();
        self.seats[..3].sort_by_cached_key(|seat| {
            let mut hasher = DefaultHasher::new();
            seat.hash(&mut hasher);
            (seat.kind, hasher.finish())
        });
    }

    fn rename_tokens(&mut self) {
        let mut tokens: Vec<i64> = Vec::with_capacity(8);
        self.each_token(&mut |token| tokens.push(*token));
        tokens.sort_unstable();
        tokens.dedup();
        self.each_token(&mut |token| {
            if let Ok(rank) = tokens.binary_search(token) {
                *token = i64::try_from(rank).expect("few") + 1;
            }
        });
    }

    fn each_token(&mut self, tell: &mut dyn FnMut(&mut i64)) {
        if let Some(lease) = &mut self.lease {
            tell(&mut lease.fencing);
            tell(&mut lease.owner);
        }
        for seat in &mut self.seats {
            match &mut seat.place {
                Place::Inside { fencing, .. } | Place::Reaping { fencing, .. } => tell(fencing),
                Place::Idle
                | Place::Again(_)
                | Place::Read(..)
                | Place::Unleased(..)
                | Place::WaitsForOwner(_) => {}
            }
        }
    }

    fn rename_versions(&mut self) {
        let mut versions: Vec<i64> = Vec::with_capacity(8);
        self.each_row(&mut |row| versions.push(row.0.version));
        versions.sort_unstable();
        versions.dedup();
        self.each_row(&mut |row| {
            let rank =
                versions.binary_search(&row.0.version).map_or(0, |rank| i64::try_from(rank).expect("few"));
            if row.0.version != FIRST_VERSION + rank {
                let mut task = Task::clone(&row.0);
                task.version = FIRST_VERSION + rank;
                row.0 = Arc::new(task);
            }
        });
    }

    fn each_row(&mut self, tell: &mut dyn FnMut(&mut Row)) {
        tell(&mut self.task);
        for seat in &mut self.seats {
            match &mut seat.place {
                Place::Read(_, row) | Place::Unleased(_, row, _) => tell(row),
                Place::Inside { row, at, .. } => {
                    tell(row);
                    if let At::Commit { row, .. } = at {
                        tell(row);
                    }
                }
                Place::Idle | Place::Again(_) | Place::WaitsForOwner(_) | Place::Reaping { .. } => {}
            }
        }
    }
}

//! The whole state space of lease, comparison, reaper and finalizer with three actors at the door.
//!
//! Histories by seed (`simulation.rs`) go deep and miss some; this one is shallow and misses none: one
//! task, its edges from `testing` to `done`, three actors, a few mishaps. Each transaction of the store
//! is one step here; fold, decision, edge table and the judgement of an owner are the program's own.
//! `docs/races.md` is rendered from what was seen.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

mod door;
mod entry;
mod names;
mod page;
mod removed;
mod store;
mod world;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use door::Door;
use orch_core::guards::Guard;
use orch_settings::{Strings, generated};
use removed::Removed;
use stateright::{Checker, HasDiscoveries, Model};
use world::Kind::{self, Cancel, Finalizer, Reaper, RollBack, Sweep, Webhook};

/// Threads of one search; the machine has other tests to run.
const THREADS: usize = 2;

fn door(seated: Vec<([Kind; 3], u8)>, removed: Removed) -> Door {
    Door { seated, removed, seen: Arc::default() }
}

#[test]
fn every_state_of_every_three_holds_and_the_page_tells_what_was_seen() {
    let door = door(door::every_three(), Removed::Nothing);
    let seen = Arc::clone(&door.seen);
    let properties = door.properties();
    let checker = door.checker().threads(THREADS).spawn_bfs().join();
    // a `sometimes` that was never seen would mean that the space is not the one that is meant
    checker.assert_properties();
    let counts = page::Counts {
        threes: door::every_three().len(),
        states: checker.unique_state_count(),
        rules: properties.iter().map(|property| property.name).collect(),
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/races.md");
    let differing = generated::differing(&Strings::from_process());
    generated::agree(&path, &page::render(&counts, &seen), differing).expect("the page is up to date");
}

/// Whether the space without this mechanism breaks a rule.
fn breaks(removed: Removed, seated: [Kind; 3], mishaps: u8, rule: &'static str) {
    let stands = door(vec![(seated, mishaps)], removed);
    let wanted = HasDiscoveries::AnyOf(BTreeSet::from([rule]));
    let checker = stands.checker().threads(THREADS).finish_when(wanted).spawn_bfs().join();
    let found = checker.discovery(rule);
    assert!(found.is_some(), "{removed:?} is not needed for {rule:?}: nothing proves anything by it");
}

macro_rules! load_bearing {
    ($($name:ident: $removed:expr, $seated:expr, $mishaps:expr => $rule:ident;)*) => {
        $(#[test] fn $name() { breaks($removed, $seated, $mishaps, door::$rule); })*

        #[test]
        fn every_guard_of_ownership_has_its_counterexample() {
            let removed = [$($removed),*];
            for guard in Guard::ALL {
                let in_model = match guard {
                    Guard::LiveOwner
                    | Guard::ForcedOwner
                    | Guard::JournalFencing
                    | Guard::CommitFencing
                    | Guard::Comparison
                    | Guard::JournalledDone
                    | Guard::ProbeFirst
                    | Guard::SettledFirst
                    | Guard::DoubtParks
                    | Guard::PendingTrigger => true,
                    // trees, and other tasks: not in this model
                    Guard::LandedTree | Guard::MergeSlot => false,
                };
                assert_eq!(removed.contains(&Removed::Guard(guard)), in_model, "{guard:?}");
            }
        }
    };
}

load_bearing! {
    without_deferral_two_owners_are_inside:
        Removed::Guard(Guard::LiveOwner), [Sweep, Sweep, Sweep], 0 => ONE_OWNER;
    without_deferral_an_effect_is_doubled:
        Removed::Guard(Guard::LiveOwner), [Sweep, Sweep, Sweep], 0 => ONE_EFFECT;
    without_waiting_for_a_robbed_owner_an_effect_is_doubled:
        Removed::Guard(Guard::ForcedOwner), [Sweep, Sweep, Reaper], 1 => ONE_EFFECT;
    without_fencing_in_the_journal_an_effect_is_doubled:
        Removed::Guard(Guard::JournalFencing), [Sweep, Sweep, Reaper], 1 => ONE_EFFECT;
    without_fencing_at_the_commit_what_is_merged_is_rolled_back:
        Removed::Guard(Guard::CommitFencing), [Sweep, Sweep, Reaper], 1 => NO_ROLL_BACK_AFTER_MERGE;
    without_the_comparison_a_task_is_rolled_back_and_done:
        Removed::Guard(Guard::Comparison), [Sweep, Sweep, RollBack], 0 => NOT_BOTH;
    without_the_comparison_a_late_decision_is_written_over_a_newer_one:
        Removed::Guard(Guard::Comparison), [Sweep, Sweep, Sweep], 0 => LOSER_IS_MUTE;
    without_the_journals_done_a_replaced_deploy_is_repeated:
        Removed::Guard(Guard::JournalledDone), [Sweep, Finalizer, Finalizer], 2 => ONE_EFFECT;
    without_the_probe_what_a_person_deployed_is_deployed_again:
        Removed::Guard(Guard::ProbeFirst), [Sweep, Finalizer, Finalizer], 1 => ONE_EFFECT;
    without_settling_first_a_cancelled_task_forgets_what_it_did:
        Removed::Guard(Guard::SettledFirst), [Sweep, Finalizer, Cancel], 1 => NOTHING_FORGOTTEN;
    without_parking_a_cancelled_task_forgets_what_it_did:
        Removed::Guard(Guard::DoubtParks), [Sweep, Finalizer, Cancel], 2 => NOTHING_FORGOTTEN;
    without_pending_triggers_somebody_is_never_asked_again:
        Removed::Guard(Guard::PendingTrigger), [Sweep, Webhook, Webhook], 0 => REST_HAS_A_CAUSE;
    without_the_boot_id_a_dead_owner_is_deferred_to_for_ever:
        Removed::BootId, [Sweep, Finalizer, Reaper], 1 => REST_HAS_A_CAUSE;
    without_the_seen_token_the_reaper_robs_a_healthy_owner:
        Removed::SeenToken, [Sweep, Sweep, Reaper], 1 => HEALTHY_SURVIVES;
    without_the_bar_of_the_merge_a_merged_task_would_be_rolled_back:
        Removed::MergeBar, [Sweep, Finalizer, Finalizer], 1 => HISTORY_FITS;
}

//! Guards taken away, one at a time: each is found within ten thousand seeds, by the invariant that
//! it keeps. A plant that nothing finds would mean that its guard proves nothing.

use orch_core::failpoint::{Plant, plant};
use orch_simulation::{history::Ground, search, shrink::sort_of};

/// Seeds within which each plant must be found.
const SEEDS: u64 = 10_000;

fn found(bug: Plant, expected: &[&str]) {
    let ground = Ground::new().expect("the model world");
    plant(Some(bug));
    let found = search(&ground, 0, SEEDS, 1).expect("runs");
    plant(None);
    let (seed, report) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS} seeds"));
    let violation = report.violation.expect("a violation");
    assert!(expected.contains(&sort_of(&violation)), "{bug:?} shows by seed {seed} as {violation}");
}

macro_rules! plants {
    ($($name:ident: $bug:ident => $expected:expr;)*) => {
        $(#[test] fn $name() { found(Plant::$bug, &$expected); })*

        #[test]
        fn every_plant_has_its_test() {
            assert_eq!([$(Plant::$bug),*].len(), Plant::ALL.len());
            for bug in Plant::ALL {
                assert!([$(Plant::$bug),*].contains(&bug), "{bug:?} has no test");
            }
        }
    };
}

plants! {
    a_decision_is_written_only_on_what_it_was_made_on: CommitWithoutComparison => ["I4", "I8"];
    a_live_owner_is_deferred_to: LeaseForEverybody => ["I1", "I3"];
    a_pid_proves_no_life: LivenessByPid => ["I3", "I7"];
    a_stale_owner_journals_nothing: IntentWithoutFencing => ["I1", "I3"];
    an_effect_is_looked_for_before_it_is_made: ActWithoutProbe => ["I1"];
    doubt_is_no_absence: DoubtIsAbsence => ["I1"];
    an_intent_is_no_effect: IntentIsDone => ["I6"];
    a_start_settles_what_the_last_life_left: StartWithoutSettling => ["I3", "I6"];
    a_merge_is_never_rolled_back: RollBackAfterMerge => ["I2", "I8"];
    what_landed_is_compared_with_what_was_tested: LandedTreeUnchecked => ["I9"];
    a_pass_counts_for_its_own_candidate: PassOfAnotherHead => ["I9"];
    a_living_agent_is_taken_up: SurvivorsForgotten => ["two agents"];
    a_lost_wake_up_is_made_good: NobodySweeps => ["I7"];
    a_run_that_is_gone_is_noticed: NobodyReaps => ["I7"];
    done_means_that_it_runs: DeployUnchecked => ["I6"];
    a_deferred_trigger_is_kept: DeferralDropped => ["I7"];
}

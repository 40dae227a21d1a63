//! Guards taken away, one at a time: each is found within ten thousand seeds, by the invariant that
//! it keeps. A plant that nothing finds would mean that its guard proves nothing.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

use orch_core::{
    failpoint::{Plant, plant},
    guards::Guard,
};
use orch_simulation::{history::Ground, search, shrink::sort_of};

/// Seeds within which each must be found.
const SEEDS: u64 = 10_000;

fn found(name: &str, ground: &Ground, expected: &[&str]) {
    let found = search(ground, 0, SEEDS, 1).expect("runs");
    let (seed, report) = found.unwrap_or_else(|| panic!("{name} was not found in {SEEDS} seeds"));
    let violation = report.violation.expect("a violation");
    assert!(expected.contains(&sort_of(&violation)), "{name} shows by seed {seed} as {violation}");
}

macro_rules! plants {
    ($($name:ident: $bug:ident => $expected:expr;)*) => {
        $(#[test] fn $name() {
            plant(Some(Plant::$bug));
            found(stringify!($bug), &Ground::new().expect("the model world"), &$expected);
            plant(None);
        })*

        #[test]
        fn every_plant_has_its_test() {
            assert!(Plant::ALL.into_iter().all(|bug| [$(Plant::$bug),*].contains(&bug)), "each has its test");
        }
    };
}

macro_rules! guards {
    ($($name:ident: $guard:ident => $expected:expr;)*) => {
        $(#[test] fn $name() {
            let ground = Ground::without(&[Guard::$guard]).expect("the model world");
            found(stringify!($guard), &ground, &$expected);
        })*

        #[test]
        fn every_guard_has_its_test() {
            assert!(Guard::ALL.into_iter().all(|guard| [$(Guard::$guard),*].contains(&guard)), "each has its test");
        }
    };
}

plants! {
    a_pid_proves_no_life: LivenessByPid => ["I3", "I7"];
    a_start_settles_what_the_last_life_left: StartWithoutSettling => ["I3", "I6"];
    a_merge_is_never_rolled_back: RollBackAfterMerge => ["I2", "I7", "I8"];
    a_living_agent_is_taken_up: SurvivorsForgotten => ["two agents"];
    a_lost_wake_up_is_made_good: NobodySweeps => ["I7"];
    a_run_that_is_gone_is_noticed: NobodyReaps => ["I7"];
    done_means_that_it_runs: DeployUnchecked => ["I6"];
    an_intent_is_not_the_act: IntentIsDone => ["I1"];
    a_pass_is_of_one_candidate: PassOfAnotherHead => ["I9"];
    waits_for_others_are_not_measured_by_the_hosts_clock: WaitsByClock => ["I6", "I7"];
}

guards! {
    // a second owner that leaves gives back the slot that the first still needs
    a_live_owner_is_deferred_to: LiveOwner => ["I1", "I3", "slot"];
    a_decision_is_written_only_on_what_it_was_made_on: Comparison => ["I4", "I8"];
    what_landed_is_compared_with_what_was_tested: LandedTree => ["I9"];
    one_candidate_at_a_time_is_prepared: MergeSlot => ["slot"];
    what_an_earlier_try_left_is_settled_before_the_core_is_ready: SettledFirst => ["I1", "I6"];
    a_robbed_owner_is_waited_for: ForcedOwner => ["I1", "I3"];
    a_stale_owner_journals_nothing: JournalFencing => ["I3"];
    a_stale_owner_commits_nothing: CommitFencing => ["I3"];
    what_is_journalled_as_done_is_granted_to_nobody: JournalledDone => ["I1"];
    the_outside_is_asked_before_an_act: ProbeFirst => ["I1"];
    what_cannot_be_told_is_not_given_up: DoubtParks => ["I1"];
    whoever_was_deferred_is_asked_again: PendingTrigger => ["I7"];
}

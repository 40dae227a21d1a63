//! The simulation itself: ten thousand seeds hold, and the same seed gives the same history.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

use orch_simulation::{choices::Choices, explain, history, history::Ground, search};

/// Seeds of `make test`, split over tests so that they share the machine.
const SEEDS: u64 = 10_000;
/// Tests that share them.
const SHARES: u64 = 4;

fn share(number: u64) {
    let ground = Ground::new().expect("the model world");
    if let Some((seed, found)) = search(&ground, number, SEEDS, SHARES).expect("runs") {
        panic!("{}", explain(&ground, seed, found).expect("runs"));
    }
}

#[test]
fn the_first_quarter_of_ten_thousand_seeds_holds() {
    share(0);
}

#[test]
fn the_second_quarter_of_ten_thousand_seeds_holds() {
    share(1);
}

#[test]
fn the_third_quarter_of_ten_thousand_seeds_holds() {
    share(2);
}

#[test]
fn the_last_quarter_of_ten_thousand_seeds_holds() {
    share(3);
}

#[test]
fn the_same_seed_gives_the_same_history_to_the_byte_and_so_do_its_choices() {
    let (one, other) = (Ground::new().expect("a world"), Ground::new().expect("another"));
    for seed in 0..25 {
        let first = history::run(&one, Choices::seeded(seed), true).expect("runs");
        let second = history::run(&other, Choices::seeded(seed), true).expect("runs");
        assert_eq!(first, second, "seed {seed}");
        let replayed = history::run(&one, Choices::scripted(first.choices.clone()), true).expect("runs");
        assert_eq!(first, replayed, "choices of seed {seed}");
        assert!(first.count > 10, "seed {seed} has a history");
    }
}

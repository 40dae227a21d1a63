//! A core that gives nothing usable, in whatever mixture: told once, and over only when it is.

use super::stories::World;
use super::*;
use crate::observe::Fault;

const DOWN: SignalKind = SignalKind::CoreDown;

/// What a poll can bring that is of no use.
fn useless(now: usize) -> CoreSight {
    match now % 6 {
        0 => CoreSight::Down(Fault::Answers(500)),
        1 => CoreSight::Unreadable(Fault::NoDocument),
        2 => CoreSight::Unreadable(Fault::AnswersInstead(404)),
        3 => CoreSight::Unreadable(Fault::TokenRefused(401)),
        4 => CoreSight::Unreadable(Fault::AnswersInstead(302)),
        _ => CoreSight::Down(Fault::Late { waited_ms: 5_000 }),
    }
}

fn usable(world: &World) -> CoreSight {
    let now = world.now + super::stories::TICK;
    heard(&documents::idle(now), now)
}

/// Server errors and a page of something else took turns, and forty polls told nothing: each reset
/// the other's count.
#[test]
fn useless_answers_of_every_sort_count_together() {
    let mut world = World::new();
    let told: Vec<String> = (0..40).flat_map(|poll| world.tick(DOWN, useless(poll % 2))).collect();
    assert_eq!(told, ["alert critical"]);
    let mut world = World::new();
    let told: Vec<Vec<String>> = (0..40).map(|poll| world.tick(DOWN, useless(poll))).collect();
    assert_eq!(told[2], ["alert critical"], "the third in a row: {told:?}");
    assert_eq!(told.concat().len(), 1, "{told:?}");
    let core = usable(&world);
    assert_eq!(world.tick(DOWN, core), ["recovered: the core answers again"]);
}

/// One page of a proxy in the midst of an outage was told as its end, and the rest of it kept silent.
#[test]
fn a_useless_answer_never_ends_an_outage() {
    for answer in 0..6 {
        let mut world = World::new();
        let mut told: Vec<String> = (0..5).flat_map(|_| world.tick(DOWN, useless(0))).collect();
        told.extend(world.tick(DOWN, useless(answer)));
        assert_eq!(world.firing(DOWN), 1);
        while world.now < NOW + 35 * MINUTE {
            told.extend(world.tick(DOWN, useless(0)));
        }
        assert_eq!(told, ["alert critical", "reminder critical"], "{:?}", useless(answer));
    }
}

#[test]
fn each_sort_of_useless_answer_is_an_outage_by_itself_and_named() {
    for answer in 0..6 {
        let mut world = World::new();
        let told: Vec<String> = (0..4).flat_map(|_| world.tick(DOWN, useless(answer))).collect();
        assert_eq!(told, ["alert critical"], "{:?}", useless(answer));
        let (CoreSight::Down(fault) | CoreSight::Unreadable(fault)) = useless(answer) else { panic!() };
        let reasons = world.reasons();
        assert_eq!(reasons, [fault]);
    }
}

/// A core that is killed over and over says in between that it is starting.
#[test]
fn a_core_that_is_starting_neither_counts_nor_ends_anything() {
    let mut world = World::new();
    assert!((0..40).all(|_| world.tick(DOWN, CoreSight::Starting).is_empty()));
    let mut told = Vec::new();
    for _ in 0..6 {
        told.extend(world.tick(DOWN, useless(0)));
        told.extend(world.tick(DOWN, CoreSight::Starting));
        told.extend(world.tick(DOWN, heard(&starting(), world.now)));
    }
    assert_eq!(told, ["alert critical"]);
    let core = usable(&world);
    assert_eq!(world.tick(DOWN, core), ["recovered: the core answers again"]);
}

#[test]
fn a_newer_core_is_not_down_and_is_told_as_degraded_even_in_turns_with_failures() {
    let mut world = World::new();
    for _ in 0..4 {
        world.tick(DOWN, useless(0));
    }
    let told = world.tick(DOWN, CoreSight::OtherSchema(2));
    assert_eq!(told, ["recovered: the core answers again, in another schema version"]);
    let mut told = Vec::new();
    for _ in 0..4 {
        told.extend(world.tick(SignalKind::CoreDegraded, CoreSight::OtherSchema(2)));
        told.extend(world.tick(SignalKind::CoreDegraded, useless(0)));
    }
    assert_eq!(told, ["alert warning"]);
}

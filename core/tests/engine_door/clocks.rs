//! Clocks that are set: no healthy owner is robbed for it, and none that hangs is spared.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use orch_core::{
    clock::{Clock, ManualTime},
    domain::{actor::Actor, stage::Stage, transition::Outcome},
    recovery, serve,
};
use tokio::sync::watch;

use crate::{
    deploys::{crashed_in_the_command, loses_its_supervisor},
    support::{Setup, World},
};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);
const DAY_MS: i64 = 86_400_000;
const TICK_MS: i64 = 1_000;
const CEILING_MS: i64 = 14_400_000;

/// Time in the hand of a test.
#[derive(Debug)]
pub(crate) struct Hand {
    passed_ms: watch::Sender<i64>,
    set_by_ms: AtomicI64,
}

impl Hand {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { passed_ms: watch::Sender::new(0), set_by_ms: AtomicI64::new(1_767_225_600_000) })
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, ms: i64) {
        self.passed_ms.send_modify(|passed| *passed += ms);
    }

    /// Sets the clock, in which no time passes.
    pub(crate) fn set(&self, by_ms: i64) {
        self.set_by_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl ManualTime for Hand {
    fn now_ms(&self) -> i64 {
        self.passed_ms() + self.set_by_ms.load(Ordering::SeqCst)
    }

    fn passed_ms(&self) -> i64 {
        *self.passed_ms.borrow()
    }

    fn sleep_ms(&self, wait_ms: i64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut passed = self.passed_ms.subscribe();
        let until = self.passed_ms() + wait_ms.max(1);
        Box::pin(async move {
            let woken = passed.wait_for(|passed| *passed >= until).await.map(drop);
            woken.expect("the hand outlives every sleeper");
        })
    }
}

/// Lets the reaper look twice more: what it sees in the first has an age in the second.
async fn reaper_looks(world: &World, hand: &Hand) {
    for _ in 0..2 {
        let looked = async {
            loop {
                hand.pass(TICK_MS);
                let now = hand.now_ms();
                tokio::time::sleep(LOOK).await;
                if world.engine.counters.tally().last_pass_ms.get("reaper") == Some(&now) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("the reaper looks");
    }
}

fn reclaims(world: &World) -> Vec<(&'static str, u64)> {
    world.engine.counters.tally().reclaims.iter().map(|(why, count)| (*why, *count)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clock_that_is_set_by_a_day_robs_no_healthy_owner_and_time_that_passes_does() {
    for by_ms in [DAY_MS, -DAY_MS] {
        let hand = Hand::new();
        let setup = Setup {
            settings: &[("ORCH_REAPER_TICK_S", "1")],
            clock: Clock::Manual(Arc::clone(&hand) as Arc<dyn ManualTime>),
            ..Setup::default()
        };
        let world = World::at_the_edge(1, setup).await;
        world.prepared(1).await;
        let stage = serve::bring_up(&world.engine).await.unwrap();
        world.hang("at_retest", "exit 0");
        let owner = world.beside(1, Actor::Monitor);
        world.until("at_work").await;
        reaper_looks(&world, &hand).await;
        let held = world.store().held_leases().await.unwrap();
        assert_eq!(held.len(), 1);

        hand.set(by_ms);
        reaper_looks(&world, &hand).await;
        assert_eq!(world.store().held_leases().await.unwrap(), held, "set by {by_ms} ms");
        assert_eq!(reclaims(&world), [], "set by {by_ms} ms");

        hand.pass(CEILING_MS);
        reaper_looks(&world, &hand).await;
        assert_eq!(reclaims(&world), [("overdue", 1)], "set by {by_ms} ms: the ceiling is not lost");
        world.put("go", "");
        assert!(!matches!(owner.await.unwrap(), Outcome::Advanced { .. }), "who was robbed commits nothing");
        hand.pass(TICK_MS);
        stage.stop.cancel();
    }
}

pub(crate) fn by_hand(hand: &Arc<Hand>) -> Setup {
    Setup { clock: Clock::Manual(Arc::clone(hand) as Arc<dyn ManualTime>), ..Setup::default() }
}

/// Whoever waits goes on waiting when the clock is set by a day either way, and ends when its time has passed.
async fn waits_by_the_time_that_passes(world: &World, hand: &Hand, by_ms: i64, limit_ms: i64) {
    let is_waiting = |outcome: &Outcome| matches!(outcome, Outcome::Waiting { .. });
    let told = world.task(1).await.standing;
    let before = world.advance(1).await;
    assert!(is_waiting(&before), "{before:?}: {told:?}");
    hand.set(by_ms);
    let after = world.advance(1).await;
    assert!(is_waiting(&after), "set by {by_ms} ms: {after:?}");
    if let Outcome::Waiting { until_ms: Some(until_ms), .. } = after {
        let left_ms = until_ms - hand.now_ms();
        assert!((0..=limit_ms).contains(&left_ms), "set by {by_ms} ms, it is told to wait {left_ms} ms more");
    }
    hand.pass(limit_ms / 2);
    assert!(is_waiting(&world.advance(1).await), "set by {by_ms} ms, half its time");
    hand.pass(limit_ms / 2 + TICK_MS);
    let end = world.advance(1).await;
    assert!(matches!(end, Outcome::Blocked { .. }), "set by {by_ms} ms, its time has passed: {end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_by_a_day_neither_ends_nor_prolongs_the_wait_for_ci() {
    for by_ms in [DAY_MS, -DAY_MS] {
        let hand = Hand::new();
        let world = World::at_the_edge(1, by_hand(&hand)).await;
        assert!(matches!(world.advance(1).await, Outcome::Waiting { .. }));
        let limit_ms = world.site().project.limits(&world.engine.config).ci_wait_ms;
        waits_by_the_time_that_passes(&world, &hand, by_ms, limit_ms).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_by_a_day_neither_ends_nor_prolongs_the_wait_for_a_deploy() {
    for by_ms in [DAY_MS, -DAY_MS] {
        let hand = Hand::new();
        let world = World::at_the_edge(1, by_hand(&hand)).await;
        world.prepared(1).await;
        world.put("sick_health", "");
        assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
        let limit_ms = world.site().project.limits(&world.engine.config).deploy_ms;
        waits_by_the_time_that_passes(&world, &hand, by_ms, limit_ms).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clock_that_is_set_by_a_day_neither_ends_nor_prolongs_the_wait_for_a_deploy_that_was_cut_off() {
    for by_ms in [DAY_MS, -DAY_MS] {
        let hand = Hand::new();
        let world = crashed_in_the_command(by_hand(&hand)).await;
        loses_its_supervisor(&world).await;
        recovery::recover(&world.engine).await.unwrap();
        let limit_ms = world.site().project.limits(&world.engine.config).deploy_ms;
        waits_by_the_time_that_passes(&world, &hand, by_ms, limit_ms).await;
    }
}

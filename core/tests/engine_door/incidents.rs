//! The incidents that the mechanism is there for: with the switch off they happen again, with it on
//! they do not.

use orch_core::{
    domain::{
        actor::Actor,
        effect::EffectKind,
        event::Event,
        lease::OwnerLiveness,
        stage::Stage,
        task::Standing,
        transition::{Command, Outcome},
    },
    store::{KeptCommand, ReclaimReason, WhichGrant},
};

use crate::support::{Setup, World, blocked, key};

const OFF: &[(&str, &str)] = &[("ORCH_TRANSITION_LEASE_ENABLED", "false")];

async fn world(settings: &'static [(&'static str, &'static str)]) -> World {
    World::at_the_edge(1, Setup { settings, ..Setup::default() }).await
}

async fn history(world: &World) -> Vec<Event> {
    let events = world.store().events(world.row(1).await.id).await.unwrap();
    events.into_iter().map(|stored| stored.event).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn switched_off_two_actors_in_the_deploy_edge_end_rolled_back_and_done() {
    let world = world(OFF).await;
    world.prepared(1).await;
    world.hang("at_retest", "exit 1");
    let late = world.beside(1, Actor::Monitor);
    world.until("at_work").await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.put("go", "");
    assert_eq!(late.await.unwrap(), Outcome::RolledBack { to: Stage::Development });
    let task = world.task(1).await;
    assert_eq!(task.stage, Stage::Development);
    assert_eq!(task.merged, Some(world.sha("main").await), "rolled back, and merged and deployed");
    let over = |event: &Event| {
        matches!(event, Event::WrittenOver { found: Stage::Done, to: Stage::Development, .. })
    };
    assert_eq!(history(&world).await.iter().filter(|event| over(event)).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn switched_on_the_second_actor_is_deferred_and_the_roll_back_stands_alone() {
    let world = world(&[]).await;
    world.prepared(1).await;
    world.hang("at_retest", "exit 1");
    let first = world.beside(1, Actor::Monitor);
    world.until("at_work").await;
    for actor in Actor::ALL {
        let outcome = world.beside(1, actor).await.unwrap();
        assert_eq!(outcome, Outcome::Deferred { owner: "monitor".into() });
    }
    world.put("go", "");
    assert_eq!(first.await.unwrap(), Outcome::RolledBack { to: Stage::Development });
    let task = world.task(1).await;
    assert_eq!((task.stage, task.merged, world.merges().await), (Stage::Development, None, 0));
    assert_eq!(world.lines("deploys"), [] as [&str; 0]);
    assert_eq!(world.lines("retests").len(), 1, "no heavy step was begun twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn switched_on_a_roll_back_that_comes_late_cannot_undo_done() {
    let world = world(&[]).await;
    world.prepared(1).await;
    world.hang("at_retest", "exit 1");
    let late = world.beside(1, Actor::Monitor);
    world.until("at_work").await;
    world.rob(1).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    // the finalizer and the late roll-back at once
    world.put("go", "");
    let finalizer = world.beside(1, Actor::Finalizer);
    let late = late.await.unwrap();
    assert!(
        matches!(late, Outcome::NoChange | Outcome::Deferred { .. } | Outcome::Advanced { to: Stage::Done }),
        "{late:?}"
    );
    finalizer.await.unwrap();
    while world.task(1).await.stage != Stage::Done {
        world.advance(1).await;
    }
    world.assert_done_once(1).await;
    assert_eq!(world.task(1).await.rollbacks, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_ends_a_gate_at_work_and_waits_for_nothing_else() {
    let world = world(&[]).await;
    world.prepared(1).await;
    world.hang("at_retest", "exit 0");
    let walk = world.beside(1, Actor::Monitor);
    world.until("at_work").await;
    // no word is given: the gate ends because it is stopped
    let outcome = world.engine.operate(&key(1), Command::Cancel, "ada", "not wanted").await.unwrap();
    assert_eq!(outcome, Outcome::Advanced { to: Stage::Cancelled });
    walk.await.unwrap();
    assert_eq!(world.merges().await, 0);
    assert_eq!(world.store().kept_commands().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_waits_for_an_effect_that_has_begun() {
    let world = world(&[]).await;
    world.prepared(1).await;
    world.hang("at_deploy", "");
    let walk = world.beside(1, Actor::Monitor);
    world.until("at_work").await;
    let engine = std::sync::Arc::clone(&world.engine);
    let cancel =
        tokio::spawn(async move { engine.operate(&key(1), Command::Cancel, "ada", "not wanted").await });
    while world.store().kept_commands().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!cancel.is_finished());
    world.put("go", "");
    walk.await.unwrap();
    assert_eq!(cancel.await.unwrap().unwrap(), Outcome::Advanced { to: Stage::Cancelled });
    assert_eq!(world.lines("deploys").len(), 1, "it was not cut short, and not done again");
    assert!(world.store().open_intents().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_asked_for_is_carried_out_by_the_next_life() {
    let mut world = world(&[]).await;
    let kept = KeptCommand {
        task: world.row(1).await.id,
        command: Command::Cancel,
        who: "ada".into(),
        why: "not wanted".into(),
    };
    world.store().keep_command(kept, 1).await.unwrap();
    world.crash().await;
    for kept in world.store().kept_commands().await.unwrap() {
        world.engine.resume(kept).await;
    }
    assert_eq!(world.task(1).await.stage, Stage::Cancelled);
    assert_eq!(world.store().kept_commands().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_as_the_same_pid_is_another_life() {
    let mut world = world(&[]).await;
    let candidate = world.prepared(1).await;
    let proof: &'static _ = Box::leak(Box::new(world.lease(1).await));
    let now = world.engine.clock.now_ms();
    world.store().write_intent(proof, EffectKind::Merge, candidate.head, true, now).await.unwrap();
    let before = world.store().identity().clone();
    world.crash().await;
    let after = world.store().identity().clone();
    assert_eq!((before.pid, before.start_ticks), (after.pid, after.start_ticks), "a container starts so");
    let held = world.store().held_leases().await.unwrap();
    assert_eq!(held[0].liveness, OwnerLiveness::DeadBoot, "pid and start ticks decide nothing");
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    assert_eq!(world.merges().await, 1);
    let (told, _) = world.store().untold_notices().await.unwrap();
    assert_eq!(told.len(), 1, "one word of one reclaim");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lease_taken_in_the_middle_of_an_effect_parks_the_task_until_its_owner_has_ended() {
    let world = world(&[]).await;
    world.prepared(1).await;
    world.hang("at_deploy", "");
    let robbed = world.beside(1, Actor::Monitor);
    world.until("at_work").await;
    let taken = world
        .engine
        .force_release(
            &key(1),
            Actor::Operator,
            Some("ada".into()),
            "it hangs",
            ReclaimReason::Forced,
            WhichGrant::Present,
        )
        .await
        .unwrap()
        .unwrap();
    assert!(taken.owner_lives && taken.parked, "{taken:?}");
    let (cause, way_out) = {
        let task = world.task(1).await;
        let (c, w) = blocked(&task);
        (c.to_owned(), w.to_owned())
    };
    assert!(cause.contains("start_deploy") && way_out.contains("owner"), "{cause}: {way_out}");
    let second = world.beside(1, Actor::Reconciler).await.unwrap();
    assert!(matches!(second, Outcome::Deferred { .. }), "the act is under way: {second:?}");
    world.put("go", "");
    robbed.await.unwrap();
    // whoever was deferred is asked again, and finds by looking that it was done
    for pending in world.engine.take_pending().await.unwrap() {
        world.beside(1, pending.actor).await.unwrap();
    }
    while world.task(1).await.stage != Stage::Done {
        world.advance(1).await;
    }
    world.assert_done_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_task_goes_on_by_itself_once_a_restart_has_settled_its_effect() {
    let mut world = world(&[]).await;
    let candidate = world.prepared(1).await;
    let proof: &'static _ = Box::leak(Box::new(world.lease(1).await));
    let now = world.engine.clock.now_ms();
    world.store().write_intent(proof, EffectKind::Merge, candidate.head, true, now).await.unwrap();
    world.rob(1).await;
    blocked(&world.task(1).await);
    world.crash().await;
    world.engine.settle_only(&key(1)).await.unwrap();
    assert_eq!(world.task(1).await.standing, Standing::Moving {});
    assert!(world.store().open_intents().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_landed_untested_goes_on_by_a_persons_word_for_exactly_that_revision() {
    let world = World::at_the_edge(1, Setup { project: "approvers = [\"ada\"]\n", ..Setup::default() }).await;
    let candidate = world.prepared(1).await;
    world.land_untested(&candidate).await;
    assert!(matches!(world.advance(1).await, Outcome::Blocked { .. }));
    let merged = world.task(1).await.merged.unwrap();
    let task = world.task(1).await;
    let (_, way_out) = blocked(&task);
    assert!(way_out.contains("accept-landed S-1") && way_out.contains(&merged), "{way_out}");
    // a retry alone looks again, and finds the same
    let again = world.engine.operate(&key(1), Command::Retry, "ada", "look again").await.unwrap();
    assert!(matches!(again, Outcome::Blocked { .. }), "{again:?}");
    assert!(world.engine.accept_landed(&key(1), "mallory", "fine", &merged).await.is_err());
    assert!(world.engine.accept_landed(&key(1), "ada", "fine", &candidate.head).await.is_err());
    assert_eq!(world.lines("deploys"), [] as [&str; 0]);
    let outcome = world.engine.accept_landed(&key(1), "ada", "tested by hand", &merged).await.unwrap();
    assert_eq!(outcome, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("deploys"), [merged]);
    let baseline = world.store().coverage_baseline("sample".into(), "main".into()).await.unwrap();
    assert_eq!(baseline, None, "its coverage was not measured");
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_changed_outside_is_found() {
    let world = world(&[]).await;
    assert_eq!(world.engine.drift(&world.row(1).await).await, None);
    world.prepared(1).await;
    world.merge_by_a_person(1).await;
    let found = world.engine.drift(&world.row(1).await).await.unwrap();
    assert!(found.contains("merged"), "{found}");
    let now = world.engine.clock.now_ms();
    world.store().end_tracker_item("S-1".into(), "cancelled", None, now).await.unwrap();
    assert!(world.engine.drift(&world.row(1).await).await.unwrap().contains("cancelled"));
}

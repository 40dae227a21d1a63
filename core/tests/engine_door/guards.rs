//! Each guard in turn: with it the rule holds, without it the same story breaks the rule.
//!
//! A guard whose removal nobody notices would be ornament.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use orch_core::{
    domain::{
        actor::Actor,
        effect::EffectKind,
        stage::Stage,
        transition::{Command, Outcome},
    },
    engine::Request,
    guards::Guard,
};

use crate::{
    image::WITH_IMAGE,
    support::{Setup, World, key},
};

/// Whether the rule held in the story.
type Held = bool;

/// Tells the story twice: with the guard, and without it.
async fn is_load_bearing<F: Future<Output = Held>>(guard: Guard, story: impl Fn(Option<Guard>) -> F) {
    assert!(story(None).await, "{guard:?} stands, and the rule is broken");
    assert!(!story(Some(guard)).await, "{guard:?} is lifted, and nobody notices");
}

async fn at_the_edge(lifted: Option<Guard>) -> World {
    let world = World::at_the_edge(1, Setup::default()).await;
    lift(&world, lifted);
    world
}

fn lift(world: &World, lifted: Option<Guard>) {
    if let Some(guard) = lifted {
        world.store().guards().lift(guard);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_deferral_two_owners_walk_one_edge() {
    is_load_bearing(Guard::LiveOwner, |lifted| async move {
        let world = at_the_edge(lifted).await;
        world.prepared(1).await;
        world.hang("at_retest", "exit 0");
        let first = world.beside(1, Actor::Monitor);
        world.until("at_work").await;
        let second = world.beside(1, Actor::Reconciler).await.unwrap();
        world.put("go", "");
        first.await.unwrap();
        matches!(second, Outcome::Deferred { .. }) && world.lines("retests").len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_waiting_for_a_robbed_owner_its_effect_is_doubled() {
    is_load_bearing(Guard::ForcedOwner, |lifted| async move {
        let world = World::at_the_edge(1, WITH_IMAGE).await;
        lift(&world, lifted);
        world.prepared(1).await;
        world.hang("at_build", "");
        let robbed = world.beside(1, Actor::Monitor);
        world.until("at_work").await;
        world.rob(1).await;
        world.beside(1, Actor::Reconciler).await.unwrap();
        world.put("go", "");
        robbed.await.unwrap();
        world.lines("builds").len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_fencing_in_the_journal_a_robbed_owner_merges_in_the_new_owners_place() {
    is_load_bearing(Guard::JournalFencing, |lifted| async move {
        let world = at_the_edge(lifted).await;
        world.prepared(1).await;
        world.hang("at_retest", "exit 0");
        let robbed = world.beside(1, Actor::Monitor);
        world.until("at_work").await;
        world.rob(1).await;
        let _owner = world.lease(1).await;
        world.put("go", "");
        robbed.await.unwrap();
        world.merges().await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_fencing_at_the_commit_a_robbed_owner_moves_a_task_that_is_somebody_elses() {
    is_load_bearing(Guard::CommitFencing, |lifted| async move {
        let world = at_the_edge(lifted).await;
        world.prepared(1).await;
        world.hang("at_retest", "exit 1");
        let robbed = world.beside(1, Actor::Monitor);
        world.until("at_work").await;
        world.rob(1).await;
        let _owner = world.lease(1).await;
        world.put("go", "");
        robbed.await.unwrap();
        world.task(1).await.stage == Stage::DeployStaging
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_the_comparison_a_late_decision_is_written_over_a_newer_one() {
    is_load_bearing(Guard::Comparison, |lifted| async move {
        let world = World::plain().await;
        lift(&world, lifted);
        world.walk_to(1, Stage::Testing, ("sort.py", "x\n")).await;
        let row = world.row(1).await;
        let back = orch_core::domain::event::Event::RolledBack {
            from: Stage::Testing,
            to: Stage::Development,
            step: "artifact".into(),
            findings: Vec::new(),
        };
        let cancelled = world.engine.operate(&key(1), Command::Cancel, "ada", "w").await.unwrap();
        assert_eq!(cancelled, Outcome::Advanced { to: Stage::Cancelled });
        let late = orch_core::store::CommitWrite {
            task: row.id,
            expected: orch_core::store::Expected::At { stage: row.task.stage, version: row.task.version },
            actor: Actor::Monitor,
            who: None,
            reason: "late".into(),
            events: vec![back],
            enqueue: None,
            cancel_jobs: false,
            at_ms: 1,
        };
        world.store().commit(None, late).await.unwrap();
        world.task(1).await.stage == Stage::Cancelled
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_journals_done_a_deploy_that_was_replaced_is_repeated() {
    is_load_bearing(Guard::JournalledDone, |lifted| async move {
        let world = at_the_edge(lifted).await;
        world.prepared(1).await;
        world.post_ci(1, orch_core::forge::StatusState::Success).await;
        let proof = world.lease(1).await;
        let merged = deployed_by_journal(&world, &proof).await;
        world.store().release_lease(proof).await.unwrap();
        // meanwhile a later revision took its place: the outside says no more that ours was deployed
        world.put("deploys", &format!("{merged}\n"));
        world.put("deployed", "a later one");
        world.advance(1).await;
        world.lines("deploys").len() == 1
    })
    .await;
}

/// Merge and deploy as the engine journals them, done, without the commit that follows.
async fn deployed_by_journal(world: &World, proof: &orch_core::store::LeaseProof) -> String {
    let now = world.engine.clock.now_ms();
    let candidate = world.task(1).await.candidate.unwrap();
    let counts = orch_core::domain::coverage::LineCounts { covered: 8, measured: 10 };
    world.store().record_coverage("sample".into(), candidate.head.clone(), counts, now).await.unwrap();
    let merged = world.merge_by_a_person(1).await;
    for (kind, revision, evidence) in [
        (EffectKind::Merge, candidate.head.clone(), format!("merged as {merged}")),
        (EffectKind::StartDeploy, merged.clone(), "deployed".to_owned()),
    ] {
        let intent = world.store().write_intent(proof, kind, revision, true, now).await.unwrap();
        let orch_core::store::IntentWrite::Open { id, .. } = intent else { panic!("{intent:?}") };
        let events = match kind {
            EffectKind::Merge => {
                vec![orch_core::domain::event::Event::Merged { revision: merged.clone() }]
            }
            _ => Vec::new(),
        };
        let done = world.store().effect_done(proof, id, Actor::Monitor, evidence, events, now).await.unwrap();
        assert!(done);
    }
    merged
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_probe_what_a_person_deployed_is_deployed_again() {
    is_load_bearing(Guard::ProbeFirst, |lifted| async move {
        let world = at_the_edge(lifted).await;
        world.prepared(1).await;
        let merged = world.merge_by_a_person(1).await;
        world.put("deployed", &merged);
        world.advance_past_holding(1).await;
        assert_eq!(world.task(1).await.stage, Stage::Deploy);
        world.lines("deploys").is_empty()
    })
    .await;
}

/// A deploy of an earlier life of which nobody knows whether it happened.
async fn in_doubt(lifted: Option<Guard>) -> World {
    let mut world = World::at_the_edge(1, Setup::default()).await;
    world.prepared(1).await;
    let proof: &'static _ = Box::leak(Box::new(world.lease(1).await));
    let candidate = world.task(1).await.candidate.unwrap();
    let now = world.engine.clock.now_ms();
    let merged = world.merge_by_a_person(1).await;
    let intent =
        world.store().write_intent(proof, EffectKind::Merge, candidate.head, true, now).await.unwrap();
    let orch_core::store::IntentWrite::Open { id, .. } = intent else { panic!("{intent:?}") };
    let events = vec![orch_core::domain::event::Event::Merged { revision: merged.clone() }];
    let evidence = format!("merged as {merged}");
    assert!(world.store().effect_done(proof, id, Actor::Monitor, evidence, events, now).await.unwrap());
    world.store().write_intent(proof, EffectKind::StartDeploy, merged.clone(), true, now).await.unwrap();
    world.put("deploys", &format!("{merged}\n"));
    world.put("deployed", &merged);
    world.put("deaf_health", "");
    world.crash().await;
    lift(&world, lifted);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn without_settling_first_a_person_cancels_over_an_effect_of_which_nobody_knows() {
    is_load_bearing(Guard::SettledFirst, |lifted| async move {
        let world = in_doubt(lifted).await;
        world.engine.operate(&key(1), Command::Cancel, "ada", "w").await.unwrap();
        world.task(1).await.stage == Stage::DeployStaging
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_parking_an_effect_in_doubt_is_repeated_blindly() {
    is_load_bearing(Guard::DoubtParks, |lifted| async move {
        let world = in_doubt(lifted).await;
        world.advance(1).await;
        world.take_away("deaf_health");
        world.put("deployed", "not ours");
        world.advance_past_holding(1).await;
        world.lines("deploys").len() == 1 || lifted.is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_look_at_the_landed_tree_something_untested_is_deployed() {
    is_load_bearing(Guard::LandedTree, |lifted| async move {
        let world = at_the_edge(lifted).await;
        let candidate = world.prepared(1).await;
        world.land_untested(&candidate).await;
        world.advance(1).await;
        world.lines("deploys").is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_pending_triggers_whoever_was_deferred_is_never_asked_again() {
    is_load_bearing(Guard::PendingTrigger, |lifted| async move {
        let world = at_the_edge(lifted).await;
        let owner = world.lease(1).await;
        let deferred = Request::advance(Actor::GiteaWebhook, "CI has answered");
        assert!(matches!(world.engine.advance(&key(1), deferred).await.unwrap(), Outcome::Deferred { .. }));
        world.store().release_lease(owner).await.unwrap();
        let asked = world.engine.take_pending().await.unwrap();
        asked.iter().any(|pending| pending.actor == Actor::GiteaWebhook)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_merge_slot_two_candidates_are_prepared_on_one_base() {
    is_load_bearing(Guard::MergeSlot, |lifted| async move {
        let world = at_the_edge(lifted).await;
        world.to_the_edge(2, ("README", "another\n")).await;
        world.prepared(1).await;
        world.advance(2).await;
        world.task(2).await.candidate.is_none()
    })
    .await;
}

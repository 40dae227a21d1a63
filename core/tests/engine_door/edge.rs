//! The edge with effects: moving ground, other people's merges, several at once.

use std::sync::Arc;

use orch_core::{
    domain::{
        actor::Actor,
        stage::Stage,
        transition::{Command, Outcome},
        verdict::Waitee,
    },
    engine::Request,
    forge::{PrNumber, StatusState},
};

use crate::support::{Setup, World, blocked, key};

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_the_target_is_red_by_its_files() {
    let world = World::at_the_edge(1, Setup::default()).await;
    world.move_main("sort.py", "def sort(x):\n    return list(x)\n").await;
    assert_eq!(world.advance(1).await, Outcome::RolledBack { to: Stage::Development });
    let task = world.task(1).await;
    assert!(
        task.findings[0].contains("conflict") && task.findings[0].contains("sort.py"),
        "{:?}",
        task.findings
    );
    assert_eq!(world.grants(world.row(1).await.id, "prepare_candidate").await, ["void"]);
    assert_eq!(world.merges().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_moved_before_is_rebased_on_and_its_verdicts_are_asked_anew() {
    let world = World::at_the_edge(1, Setup::default()).await;
    let old = world.sha("refs/heads/orch/S-1").await;
    world.post_ci(1, StatusState::Success).await;
    let main = world.move_main("README", "moved\n").await;
    let candidate = world.prepared(1).await;
    assert_ne!(candidate.head, old);
    assert_eq!(candidate.base, main);
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("retests"), [candidate.head], "the old head's green never counted");
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_moves_during_the_gates_starts_the_edge_over() {
    let world = World::at_the_edge(1, Setup::default()).await;
    let first = world.prepared(1).await;
    // another task's merge lands while this one is re-tested
    let moved = world.move_main("README", "moved\n").await;
    let bare = world.bare().display().to_string();
    world.there(&["update-ref", "refs/heads/main", &first.base]).await;
    world.put("at_retest", &format!("git -C {bare} update-ref refs/heads/main {moved}\n"));
    let outcome = world.advance(1).await;
    assert!(matches!(outcome, Outcome::Waiting { who: Waitee::Ci { .. }, .. }), "{outcome:?}");
    assert_eq!(world.merges().await, 0);
    let second = world.task(1).await.candidate.unwrap();
    assert_eq!(second.base, moved);
    assert_ne!(second.head, first.head);
    world.post_ci(1, StatusState::Success).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
    assert_eq!(world.lines("retests"), [first.head, second.head]);
    assert_eq!(world.task(1).await.rollbacks, 0, "nobody is blamed for moving ground");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_candidate_merged_by_a_person_is_a_success_and_merged_once() {
    let world = World::at_the_edge(1, Setup::default()).await;
    world.prepared(1).await;
    let merged = world.merge_by_a_person(1).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.task(1).await.merged.as_deref(), Some(merged.as_str()));
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    assert_eq!(world.merges().await, 1);
    assert_eq!(world.lines("deploys"), [merged]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_lands_during_the_gates_is_not_doubled() {
    let world = World::at_the_edge(1, Setup::default()).await;
    let candidate = world.prepared(1).await;
    // what a person's merge in the forge does, in the middle of the re-test
    let bare = world.bare().display().to_string();
    let (base, head, tree) = (&candidate.base, &candidate.head, &candidate.tree);
    world.put("at_retest", &format!(
        "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b\n\
         m=$(git -C {bare} commit-tree {tree} -p {base} -p {head} -m person) && git -C {bare} update-ref refs/heads/main $m\n"
    ));
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.merges().await, 1);
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_red_gate_does_not_roll_back_what_landed_while_it_looked() {
    let world = World::at_the_edge(1, Setup::default()).await;
    let tree = world.worktree(1).await;
    std::fs::write(tree.join("broken"), "").unwrap();
    world.git(&tree, &["add", "--all"]).await;
    world.git(&tree, &["commit", "-q", "-m", "break"]).await;
    let candidate = world.prepared(1).await;
    let bare = world.bare().display().to_string();
    let (base, head, tree) = (&candidate.base, &candidate.head, &candidate.tree);
    world.put("at_retest", &format!(
        "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b\n\
         m=$(git -C {bare} commit-tree {tree} -p {base} -p {head} -m person) && git -C {bare} update-ref refs/heads/main $m\n"
    ));
    assert!(matches!(world.advance(1).await, Outcome::Blocked { .. }));
    let task = world.task(1).await;
    let (cause, _) = blocked(&task);
    assert!(cause.contains("after the merge") && cause.contains("test_order"), "{cause}");
    assert_eq!((task.rollbacks, task.merged), (0, Some(world.sha("main").await)));
    assert_eq!(
        world.lines("deploys"),
        [] as [&str; 0],
        "a red candidate is deployed on a person's word alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_landed_and_was_not_tested_is_neither_deployed_nor_rolled_back() {
    let world = World::at_the_edge(1, Setup::default()).await;
    let candidate = world.prepared(1).await;
    let tree = world.land_untested(&candidate).await;
    assert!(matches!(world.advance(1).await, Outcome::Blocked { .. }));
    let task = world.task(1).await;
    let (cause, _) = blocked(&task);
    assert!(
        cause.contains("after the merge") && cause.contains(&tree) && cause.contains(&candidate.tree),
        "{cause}"
    );
    assert_eq!(world.lines("deploys"), [] as [&str; 0]);
    assert_eq!(world.store().coverage_baseline("sample".into(), "main".into()).await.unwrap(), None);
    let refused = world.engine.operate(&key(1), Command::RollBack { why: "w".into() }, "ada", "w").await;
    assert!(refused.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_cannot_roll_back_what_has_landed_without_our_knowing() {
    let world = World::at_the_edge(1, Setup::default()).await;
    world.prepared(1).await;
    world.merge_by_a_person(1).await;
    let refused = world.engine.operate(&key(1), Command::RollBack { why: "w".into() }, "ada", "w").await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pull_request_stops_the_edge_without_a_merge() {
    let world = World::at_the_edge(
        1,
        Setup { settings: &[("ORCH_GATE_INFRA_RETRY_ENABLED", "false")], ..Setup::default() },
    )
    .await;
    world.prepared(1).await;
    let number = world.task(1).await.pull_request.unwrap();
    world.site().forge.close_pr(PrNumber(u64::try_from(number).unwrap())).await.unwrap();
    let outcome = world.advance(1).await;
    let Outcome::Blocked { cause, .. } = outcome else { panic!("{outcome:?}") };
    assert!(cause.contains("closed"), "{cause}");
    assert_eq!(world.merges().await, 0);
}

async fn at_once(world: &World, how_many: usize) -> Vec<Outcome> {
    let mut actors = tokio::task::JoinSet::new();
    for actor in Actor::ALL.into_iter().cycle().take(how_many) {
        let engine = Arc::clone(&world.engine);
        actors
            .spawn(async move { engine.advance(&key(1), Request::advance(actor, "at once")).await.unwrap() });
    }
    actors.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_actors_that_enter_the_edge_at_once_one_acts_and_the_others_are_deferred() {
    let world = World::at_the_edge(1, Setup::default()).await;
    world.prepared(1).await;
    let outcomes = at_once(&world, 7).await;
    let advanced =
        |to: Stage| outcomes.iter().filter(|outcome| **outcome == Outcome::Advanced { to }).count();
    assert_eq!(advanced(Stage::Deploy), 1, "{outcomes:?}");
    let deferred = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Deferred { .. })).count();
    assert!(deferred >= 1, "{outcomes:?}");
    assert_eq!(world.merges().await, 1);
    while world.task(1).await.stage != Stage::Done {
        at_once(&world, 7).await;
    }
    world.assert_done_once(1).await;
    assert_eq!(world.lines("retests").len(), 1, "no heavy step was doubled");
    assert_eq!(world.grants(world.row(1).await.id, "close_work_item").await, ["done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn actors_that_enter_an_edge_without_effects_at_once_advance_it_once() {
    let world = World::plain().await;
    world.walk_to(1, Stage::Development, ("sort.py", "x\n")).await;
    world.agent(1, &[("sort.py", "one\n")]).await;
    world.post_ci(1, StatusState::Success).await;
    let outcomes = at_once(&world, 8).await;
    let advanced =
        outcomes.iter().filter(|outcome| **outcome == Outcome::Advanced { to: Stage::Review }).count();
    assert_eq!(advanced, 1, "{outcomes:?}");
    assert_eq!(world.task(1).await.stage, Stage::Review);
    let now = world.engine.clock.now_ms();
    assert!(world.store().claim_job((9, 9), 5, |_, _| 1, now).await.unwrap().is_some());
    assert!(world.store().claim_job((9, 9), 5, |_, _| 1, now).await.unwrap().is_none(), "one job");
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_the_lease_is_inert_and_the_edge_works_as_before() {
    let world = World::at_the_edge(
        1,
        Setup { settings: &[("ORCH_TRANSITION_LEASE_ENABLED", "false")], ..Setup::default() },
    )
    .await;
    world.prepared(1).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
    let tally = world.engine.counters.tally();
    assert_eq!((tally.grants, tally.deferrals), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_nobody_is_deferred_to_a_held_lease() {
    let world = World::at_the_edge(
        1,
        Setup {
            settings: &[
                ("ORCH_TRANSITION_LEASE_REPOS", "sample"),
                ("ORCH_TRANSITION_LEASE_ENABLED", "false"),
            ],
            ..Setup::default()
        },
    )
    .await;
    let row = world.row(1).await;
    let edge = orch_core::domain::stage::Edge { from: Stage::DeployStaging, to: Stage::Deploy };
    let _owner = world.store().acquire_lease(row.id, edge, Actor::Reaper, 1).await.unwrap();
    world.prepared(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_candidate_waits_for_the_slot_while_the_first_waits_for_ci() {
    let world = World::at_the_edge(1, Setup::default()).await;
    world.to_the_edge(2, ("README", "another\n")).await;
    world.prepared(1).await;
    let outcome = world.advance(2).await;
    assert!(matches!(outcome, Outcome::Waiting { who: Waitee::Slot { .. }, .. }), "{outcome:?}");
    assert_eq!(world.task(2).await.candidate, None, "it was not rebased for nothing");
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    // the ground has moved for the second: it is rebased on what the first brought
    let second = world.prepared(2).await;
    assert_eq!(second.base, world.sha("main").await);
    assert_eq!(world.advance(2).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.merges().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_failed_is_tried_again_and_one_that_went_well_is_not() {
    let world = World::at_the_edge(1, Setup::default()).await;
    world.put("broken_deploy", "");
    world.prepared(1).await;
    assert!(matches!(world.advance(1).await, Outcome::Held { .. }));
    let merged = world.task(1).await.merged.unwrap();
    assert_eq!(world.lines("deploys"), std::slice::from_ref(&merged));
    world.take_away("broken_deploy");
    assert_eq!(world.advance_past_holding(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("deploys"), [merged.clone(), merged]);
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    assert_eq!(world.lines("deploys").len(), 2);
    assert_eq!(world.merges().await, 1);
    assert_eq!(world.grants(world.row(1).await.id, "start_deploy").await, ["void", "done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fast_forward_only_lands_the_candidate_itself() {
    let world = World::at_the_edge(
        1,
        Setup { project: "merge_method = \"fast-forward-only\"\n", ..Setup::default() },
    )
    .await;
    let candidate = world.prepared(1).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.sha("main").await, candidate.head);
    assert_eq!(world.merges().await, 0);
}

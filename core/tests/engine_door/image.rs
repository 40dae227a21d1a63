//! The image of a candidate: built once where it is another's, found where it stands, never built blindly.

use orch_contract::ProcessKind;
use orch_core::{
    clock::Clock,
    domain::{
        actor::Actor,
        effect::EffectKind,
        stage::Stage,
        transition::{Command, Outcome},
    },
    forge::StatusState,
    process::Adopted,
};

use crate::{
    crash::{Act, ends_well, intent, lease},
    support::{Setup, World, blocked, key},
};

pub(crate) const WITH_IMAGE: Setup = Setup {
    settings: &[],
    project: "image_build_cmd = [\"$W/bin/image\"]\nimage_revision_cmd = [\"$W/bin/image-revision\"]\n",
    clock: Clock::System,
};

async fn states(world: &World) -> Vec<String> {
    world.grants(world.row(1).await.id, "rebuild_image").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_something_else_is_built_once_before_any_gate_runs_it() {
    for before in [None, Some("0123456"), Some("unknown")] {
        let world = World::at_the_edge(1, WITH_IMAGE).await;
        if let Some(label) = before {
            world.put("image", label);
        }
        let candidate = world.prepared(1).await;
        assert_eq!(world.lines("builds"), [] as [&str; 0], "nothing is built before the CI has answered");
        assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy }, "{before:?}");
        assert_eq!(world.lines("builds"), [candidate.head], "{before:?}");
        assert_eq!(states(&world).await, ["done"], "{before:?}");
        assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
        world.assert_done_once(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_the_candidates_already_is_not_built() {
    let world = World::at_the_edge(1, WITH_IMAGE).await;
    let candidate = world.prepared(1).await;
    world.put("image", &candidate.head);
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("builds"), [] as [&str; 0]);
    assert_eq!(states(&world).await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_still_anothers_after_its_build_is_red_and_not_built_again() {
    let world = World::at_the_edge(1, WITH_IMAGE).await;
    world.put("inherited_label", "");
    world.put("image", "of the base image");
    let candidate = world.prepared(1).await;
    assert_eq!(world.advance(1).await, Outcome::RolledBack { to: Stage::Development });
    let task = world.task(1).await;
    assert!(
        task.findings[0].contains("of the base image") && task.findings[0].contains(&candidate.head),
        "{:?}",
        task.findings
    );
    assert_eq!(world.lines("builds"), [candidate.head], "at most once an edge");
    assert_eq!(world.lines("retests"), [] as [&str; 0], "no gate ran what nobody knows");
    assert_eq!(world.merges().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_on_moved_ground_has_an_image_of_its_own() {
    let world = World::at_the_edge(1, WITH_IMAGE).await;
    let first = world.prepared(1).await;
    let moved = world.move_main("README", "moved\n").await;
    let bare = world.bare().display().to_string();
    world.there(&["update-ref", "refs/heads/main", &first.base]).await;
    world.put("at_retest", &format!("git -C {bare} update-ref refs/heads/main {moved}\n"));
    let outcome = world.advance(1).await;
    assert!(matches!(outcome, Outcome::Waiting { .. }), "{outcome:?}");
    let second = world.task(1).await.candidate.unwrap();
    assert_eq!(second.base, moved);
    world.post_ci(1, StatusState::Success).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("builds"), [first.head, second.head]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_blames_no_code_and_is_tried_again_in_place() {
    let world = World::at_the_edge(1, WITH_IMAGE).await;
    world.put("broken_build", "");
    let candidate = world.prepared(1).await;
    assert!(matches!(world.advance(1).await, Outcome::Held { .. }));
    world.take_away("broken_build");
    assert_eq!(world.advance_past_holding(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("builds"), [candidate.head.clone(), candidate.head]);
    assert_eq!(states(&world).await, ["void", "done"]);
    assert_eq!(world.task(1).await.rollbacks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_asked_is_neither_built_nor_blamed() {
    let world = World::at_the_edge(1, WITH_IMAGE).await;
    world.put("deaf_image", "");
    world.prepared(1).await;
    assert!(matches!(world.advance(1).await, Outcome::Held { .. }));
    assert_eq!(world.lines("builds"), [] as [&str; 0]);
    world.take_away("deaf_image");
    assert_eq!(world.advance_past_holding(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("builds").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_build_command() {
    for act in [Act::Done, Act::NotDone] {
        let mut world = World::at_the_edge(1, WITH_IMAGE).await;
        let candidate = world.prepared(1).await;
        let proof = lease(&world).await;
        intent(&world, proof, EffectKind::RebuildImage, &candidate.head).await;
        if act == Act::Done {
            world.put("builds", &format!("{}\n", candidate.head));
            world.put("image", &candidate.head);
        }
        world.crash().await;
        ends_well(&world).await;
        assert_eq!(world.lines("builds"), [candidate.head], "{act:?}");
        let expected: &[&str] = if act == Act::Done { &["done"] } else { &["void", "done"] };
        assert_eq!(states(&world).await, expected, "{act:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_of_which_nobody_knows_parks_with_cause_and_way_out() {
    let mut world = World::at_the_edge(1, WITH_IMAGE).await;
    let candidate = world.prepared(1).await;
    let proof = lease(&world).await;
    intent(&world, proof, EffectKind::RebuildImage, &candidate.head).await;
    world.put("builds", &format!("{}\n", candidate.head));
    world.put("image", &candidate.head);
    world.put("deaf_image", "");
    world.crash().await;
    world.engine.settle_only(&key(1)).await.unwrap();
    let task = world.task(1).await;
    let (cause, way_out) = blocked(&task);
    assert!(
        cause.contains("rebuild_image is in doubt") && cause.contains("no daemon"),
        "settled at the start, before any actor enters: {cause}"
    );
    assert!(way_out.contains("task retry"), "{way_out}");
    assert!(matches!(world.advance(1).await, Outcome::Blocked { .. }));
    let back = Command::RollBack { why: "w".into() };
    let refused = world.engine.operate(&key(1), back, "ada", "w").await.unwrap();
    assert!(matches!(refused, Outcome::Blocked { .. }), "{refused:?}");
    world.take_away("deaf_image");
    let outcome = world.engine.operate(&key(1), Command::Retry, "ada", "it listens again").await.unwrap();
    assert_eq!(outcome, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("builds").len(), 1, "never repeated blindly");
    assert_eq!(states(&world).await, ["done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_no_image_is_asked_for_or_built() {
    let world =
        World::at_the_edge(1, Setup { settings: &[("ORCH_IMAGE_GATE_ENABLED", "false")], ..WITH_IMAGE })
            .await;
    world.put("deaf_image", "");
    world.prepared(1).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("builds"), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_build_whose_owner_died_in_a_living_core_is_ended_before_the_next_owner_acts() {
    let world = World::at_the_edge(1, WITH_IMAGE).await;
    let candidate = world.prepared(1).await;
    world.hang("at_build", "");
    let owner = world.beside(1, Actor::Monitor);
    world.until("at_work").await;
    owner.abort();
    assert!(owner.await.is_err(), "it dies, and its core lives on");
    let first = world.store().runs_of(world.row(1).await.id).await.unwrap().pop().unwrap();
    assert_eq!((first.kind, &first.ending), (ProcessKind::ImageBuild, &None));
    assert!(matches!(world.engine.runs.adopt(first.id), Ok(Adopted::Live(_))), "its build goes on");

    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert!(!matches!(world.engine.runs.adopt(first.id), Ok(Adopted::Live(_))), "nobody builds beside it");
    let runs = world.store().runs_of(first.task.unwrap()).await.unwrap();
    let ended = runs.iter().find(|run| run.id == first.id).unwrap().ending.as_ref();
    assert!(ended.is_some_and(|ending| ending.exit_code != Some(0)), "{ended:?}");
    assert_eq!(world.lines("builds"), [candidate.head.clone(), candidate.head]);
    assert_eq!(states(&world).await, ["void", "done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_is_short_or_longer_than_the_candidates_head_is_not_its_label() {
    for shape in ["short", "dirty", "upper"] {
        let world = World::at_the_edge(1, WITH_IMAGE).await;
        let candidate = world.prepared(1).await;
        let head = &candidate.head;
        let label = match shape {
            "short" => head[..39].to_owned(),
            "dirty" => format!("{head}-dirty"),
            _ => head.to_uppercase(),
        };
        world.put("image", &label);
        world.put("inherited_label", "");
        assert_eq!(world.advance(1).await, Outcome::RolledBack { to: Stage::Development }, "{shape}");
        assert!(world.task(1).await.findings[0].contains(&label), "{shape}");
        assert_eq!(world.lines("builds"), [head.as_str()], "{shape}: built once, and red");
    }
}

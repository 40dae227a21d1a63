//! A deploy that was started is not started again, whether or not it is healthy yet.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orch_contract::ProcessKind;
use orch_core::{
    domain::{
        actor::Actor,
        effect::EffectKind,
        event::Event,
        stage::Stage,
        task::Standing,
        transition::{Command, Outcome, Refusal},
        verdict::Waitee,
    },
    engine::EngineError,
    process::Adopted,
    recovery,
    runs::{Order, PLAIN_LADDER},
    serve,
};

use crate::{
    clocks::{Hand, by_hand},
    crash::{intent, lease, merged_under},
    support::{Setup, World, blocked, key},
};

/// How long a condition may take to come true, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// Waits until something holds.
async fn comes_true(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect(what);
}

/// The deploy command as the engine runs it, to its end.
async fn deploys_to_the_end(world: &World, revision: &str) {
    let order = Order {
        kind: ProcessKind::Deploy,
        argv: vec!["sh".into(), world.path("bin/deploy").display().to_string()],
        env: BTreeMap::from([("ORCH_REVISION".into(), revision.to_owned())]),
        cwd: world.path("data"),
        timeout_ms: 60_000,
        ladder: PLAIN_LADDER.to_vec(),
    };
    let ended = world.engine.runs.run(order, Some(world.row(1).await.id)).await.unwrap();
    assert!(ended.succeeded(), "{}", ended.outcome_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_whose_command_ended_well_is_not_started_again_before_it_is_healthy() {
    for health in ["sick_health", "deaf_health"] {
        let mut world = World::at_the_edge(1, Setup::default()).await;
        assert!(matches!(world.advance(1).await, Outcome::Waiting { .. }));
        let proof = lease(&world).await;
        let revision = merged_under(&world, proof).await;
        intent(&world, proof, EffectKind::StartDeploy, &revision).await;
        deploys_to_the_end(&world, &revision).await;
        world.take_away("deployed");
        world.put(health, "");
        world.crash().await;
        recovery::recover(&world.engine).await.unwrap();
        assert_eq!(world.grants(world.row(1).await.id, "start_deploy").await, ["done"], "{health}");
        assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy }, "{health}");
        let waits = world.advance(1).await;
        assert!(matches!(&waits, Outcome::Waiting { who: Waitee::Deploy { .. }, .. }), "{health}: {waits:?}");
        world.take_away(health);
        world.put("deployed", &revision);
        assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done }, "{health}");
        world.assert_done_once(1).await;
    }
}

/// A life that ends in the middle of the deploy command.
pub(crate) async fn crashed_in_the_command(setup: Setup) -> World {
    let mut world = World::at_the_edge(1, setup).await;
    world.prepared(1).await;
    world.hang("at_deploy", "");
    let owner = world.beside(1, Actor::Monitor);
    world.until("at_work").await;
    owner.abort();
    assert!(owner.await.unwrap_err().is_cancelled(), "it goes with its life");
    world.crash().await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deploy_whose_command_outlives_the_core_is_waited_for_to_its_end() {
    let world = crashed_in_the_command(Setup::default()).await;
    let stage = serve::bring_up(&world.engine).await.unwrap();
    let waits = world.task(1).await.standing;
    assert!(matches!(&waits, Standing::Waiting { who: Waitee::Deploy { .. }, .. }), "{waits:?}");
    assert_eq!(world.grants(world.row(1).await.id, "start_deploy").await, ["intent"]);
    world.put("go", "");
    let done = async || world.task(1).await.stage == Stage::Done;
    comes_true("whoever waits for it hears of its end", done).await;
    serve::shut_down(stage).await;
    world.assert_done_once(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_core_that_is_told_to_end_cuts_no_deploy_off() {
    let mut world =
        World::at_the_edge(1, Setup { settings: &[("ORCH_SHUTDOWN_GRACE_S", "0.1")], ..Setup::default() })
            .await;
    world.prepared(1).await;
    let stage = serve::bring_up(&world.engine).await.unwrap();
    world.hang("at_deploy", "");
    let owner = world.beside(1, Actor::Monitor);
    world.until("at_work").await;
    serve::shut_down(stage).await;
    owner.abort();
    assert!(owner.await.is_err(), "it goes with its life");
    world.crash().await;
    recovery::recover(&world.engine).await.unwrap();
    let reason = format!("{:?}", world.task(1).await.standing);
    assert!(reason.contains("is at work"), "{reason}");
    world.put("go", "");
    world.until("deployed").await;
    let run = world.store().runs_of(world.row(1).await.id).await.unwrap().pop().unwrap();
    let ended = async || matches!(world.engine.runs.adopt(run.id), Ok(Adopted::Ended(_)));
    comes_true("its supervisor writes its end down", ended).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
}

/// Ends the supervisor of the task's deploy, and its program with it.
pub(crate) async fn loses_its_supervisor(world: &World) {
    let run = world.store().runs_of(world.row(1).await.id).await.unwrap().pop().unwrap();
    let (pid, _) = run.supervisor.unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let lost = async || matches!(world.engine.runs.adopt(run.id), Ok(Adopted::Lost { .. }));
    comes_true("its lock is free", lost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deploy_whose_command_was_cut_off_is_waited_for_and_not_started_again() {
    let world = crashed_in_the_command(Setup::default()).await;
    loses_its_supervisor(&world).await;
    recovery::recover(&world.engine).await.unwrap();
    let task = world.task(1).await;
    let Standing::Waiting { who: Waitee::Deploy { name }, reason, until_ms: Some(_) } = &task.standing else {
        panic!("{:?}", task.standing)
    };
    assert_eq!(Some(name), task.merged.as_ref());
    assert!(reason.contains("was begun"), "{reason}");
    assert!(matches!(world.advance(1).await, Outcome::Waiting { .. }));
    let cancel = world.engine.operate(&key(1), Command::Cancel, "ada", "w").await.unwrap();
    assert!(matches!(cancel, Outcome::Waiting { .. }), "nobody goes over it: {cancel:?}");
    assert_eq!(world.grants(world.row(1).await.id, "start_deploy").await, ["intent"]);
    // what the command had begun goes on outside
    world.put("deployed", task.merged.as_ref().unwrap());
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deploy_that_ran_out_of_its_time_parks_with_a_way_out_and_is_not_started_again() {
    let setup = Setup { project: "deploy_timeout_s = 1.5\n", ..Setup::default() };
    let world = World::at_the_edge(1, setup).await;
    world.prepared(1).await;
    world.hang("at_deploy", "");
    assert!(matches!(world.advance(1).await, Outcome::Held { .. }));
    let parked = async {
        loop {
            match world.advance_past_holding(1).await {
                Outcome::Waiting { who: Waitee::Deploy { .. }, .. } => tokio::time::sleep(LOOK).await,
                Outcome::Blocked { .. } => break,
                other => panic!("{other:?}: deploys {:?}", world.lines("deploys")),
            }
        }
    };
    tokio::time::timeout(PATIENCE, parked).await.expect("it is not waited for without end");
    let task = world.task(1).await;
    let merged = task.merged.clone().unwrap();
    let (cause, way_out) = blocked(&task);
    assert!(
        cause.contains("start_deploy is in doubt")
            && cause.contains("ran out of its time")
            && cause.contains(&format!("deploy {merged} by hand")),
        "{cause}"
    );
    assert!(way_out.contains("task retry"), "{way_out}");
    let retried = world.engine.operate(&key(1), Command::Retry, "ada", "is it there?").await.unwrap();
    assert!(matches!(retried, Outcome::Blocked { .. }), "{retried:?}");
    assert_eq!(world.lines("deploys"), std::slice::from_ref(&merged), "started once");
    // the way out
    world.put("deployed", &merged);
    let retried = world.engine.operate(&key(1), Command::Retry, "ada", "deployed by hand").await.unwrap();
    assert_eq!(retried, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_itself_is_deployed_by_somebody_else_and_the_next_core_finds_it_done() {
    let mut world =
        World::at_the_edge(1, Setup { settings: &[("ORCH_SELF_REPO", "sample")], ..Setup::default() }).await;
    world.prepared(1).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    let merged = world.task(1).await.merged.unwrap();
    assert_eq!(world.grants(world.row(1).await.id, "start_deploy").await, ["done"]);
    assert_eq!(world.lines("deploys"), Vec::<String>::new(), "its command was not started");
    let waits = world.advance(1).await;
    assert!(matches!(&waits, Outcome::Waiting { who: Waitee::Deploy { .. }, .. }), "{waits:?}");
    let Standing::Waiting { reason, until_ms, .. } = world.task(1).await.standing else { panic!() };
    assert!(reason.contains(&format!("deploy {merged} from outside")), "{reason}");
    assert_eq!(until_ms, None, "nobody is late");
    // whoever does it restarts the core
    world.put("deployed", &merged);
    world.crash().await;
    recovery::recover(&world.engine).await.unwrap();
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    assert_eq!(world.lines("deploys"), Vec::<String>::new());
}

/// A task whose deploy was started and is not healthy in time.
async fn failed_in_deploy() -> (World, Arc<Hand>) {
    let hand = Hand::new();
    let world = World::at_the_edge(1, by_hand(&hand)).await;
    world.prepared(1).await;
    world.put("sick_health", "");
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert!(matches!(world.advance(1).await, Outcome::Waiting { .. }));
    its_time_ends(&world, &hand).await;
    (world, hand)
}

async fn its_time_ends(world: &World, hand: &Hand) {
    hand.pass(world.site().project.limits(&world.engine.config).deploy_ms + 1);
    let end = world.advance(1).await;
    assert!(matches!(end, Outcome::Blocked { .. }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_failed_is_started_again_by_a_persons_word_once_a_word() {
    let (world, hand) = failed_in_deploy().await;
    let task = world.task(1).await;
    let merged = task.merged.clone().unwrap();
    let (cause, way_out) = blocked(&task);
    assert!(cause.contains("is not deployed in time"), "{cause}");
    assert!(way_out.contains("task redeploy S-1") && way_out.contains("task retry S-1"), "{way_out}");
    let waits = world.engine.operate(&key(1), Command::Retry, "ada", "give it time").await.unwrap();
    assert!(matches!(waits, Outcome::Waiting { .. }), "{waits:?}");
    assert_eq!(world.lines("deploys"), std::slice::from_ref(&merged), "a retry only waits");
    let early = world.engine.operate(&key(1), Command::Redeploy, "ada", "now").await;
    assert!(matches!(early, Err(EngineError::Refused(Refusal::NothingToDeploy(..)))), "{early:?}");
    its_time_ends(&world, &hand).await;

    let waits = world.engine.operate(&key(1), Command::Redeploy, "ada", "the disk was full").await.unwrap();
    assert!(matches!(waits, Outcome::Waiting { .. }), "it has its time anew: {waits:?}");
    assert_eq!(world.lines("deploys"), [merged.clone(), merged.clone()]);
    assert!(matches!(world.advance(1).await, Outcome::Waiting { .. }));
    assert_eq!(world.lines("deploys").len(), 2, "one word, one start");
    assert_eq!(world.grants(world.row(1).await.id, "start_deploy").await, ["done", "done"], "and one grant");
    let events = world.store().events(world.row(1).await.id).await.unwrap();
    let word = events.iter().find(|stored| matches!(stored.event, Event::DeployAsked { .. })).unwrap();
    let told = (word.actor, word.who.as_deref(), word.reason.as_str());
    assert_eq!(told, (Actor::Operator, Some("ada"), "the disk was full"));

    world.take_away("sick_health");
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    assert_eq!(world.lines("deploys").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deploy_that_is_started_again_survives_a_crash_and_is_not_started_a_third_time() {
    let (mut world, _hand) = failed_in_deploy().await;
    let merged = world.task(1).await.merged.unwrap();
    world.take_away("sick_health");
    world.put("deployed", "something older");
    world.hang("at_deploy", "");
    let engine = Arc::clone(&world.engine);
    let asked = async move { engine.operate(&key(1), Command::Redeploy, "ada", "again").await };
    let asked = tokio::spawn(asked);
    world.until("at_work").await;
    asked.abort();
    assert!(asked.await.is_err(), "it goes with its life");
    world.crash().await;
    recovery::recover(&world.engine).await.unwrap();
    let waits = world.task(1).await.standing;
    assert!(matches!(&waits, Standing::Waiting { who: Waitee::Deploy { .. }, .. }), "{waits:?}");
    let third = world.engine.operate(&key(1), Command::Redeploy, "ada", "again").await.unwrap();
    assert!(matches!(third, Outcome::Waiting { .. }), "it is at work: {third:?}");
    world.put("go", "");
    let done = async || world.advance(1).await == Outcome::Advanced { to: Stage::Done };
    comes_true("the second start ends well", done).await;
    assert_eq!(world.lines("deploys"), [merged.clone(), merged]);
    assert_eq!(world.grants(world.row(1).await.id, "start_deploy").await, ["done", "done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deploy_in_doubt_is_started_again_by_a_persons_word_and_by_nobody_elses() {
    let setup = Setup { project: "deploy_timeout_s = 3\n", ..Setup::default() };
    let world = World::at_the_edge(1, setup).await;
    world.prepared(1).await;
    let early = world.engine.operate(&key(1), Command::Redeploy, "ada", "now").await;
    assert!(matches!(early, Err(EngineError::Refused(Refusal::NothingToDeploy(..)))), "{early:?}");
    world.hang("at_deploy", "");
    assert!(matches!(world.advance(1).await, Outcome::Held { .. }), "it runs out of its time");
    let parked = async || matches!(world.advance_past_holding(1).await, Outcome::Blocked { .. });
    comes_true("nobody knows what it came to", parked).await;
    let task = world.task(1).await;
    let merged = task.merged.clone().unwrap();
    let (_, way_out) = blocked(&task);
    assert!(way_out.contains("task redeploy S-1"), "{way_out}");
    let outcome = world.engine.operate(&key(1), Command::Redeploy, "ada", "I looked").await.unwrap();
    assert_eq!(outcome, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("deploys"), [merged.clone(), merged]);
    assert_eq!(world.grants(world.row(1).await.id, "start_deploy").await, ["void", "done"]);
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deploy_command_that_failed_is_started_again_by_either_word() {
    let settings = &[("ORCH_GATE_INFRA_RETRIES", "0")];
    let world = World::at_the_edge(1, Setup { settings, ..Setup::default() }).await;
    world.put("broken_deploy", "");
    world.prepared(1).await;
    assert!(matches!(world.advance(1).await, Outcome::Blocked { .. }));
    let task = world.task(1).await;
    let (cause, way_out) = blocked(&task);
    assert!(cause.contains("the deploy command ended with exit 3: no room"), "{cause}");
    assert!(way_out.contains("task redeploy S-1") && way_out.contains("revert"), "{way_out}");
    world.take_away("broken_deploy");
    let advanced =
        world.engine.operate(&key(1), Command::Redeploy, "ada", "there is room again").await.unwrap();
    assert_eq!(advanced, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!((world.lines("deploys").len(), world.merges().await), (2, 1));
}

//! A crash at each effect, with and without the act done: the outside is asked, nothing is doubled.

use orch_core::{
    domain::{
        actor::Actor,
        effect::EffectKind,
        event::Event,
        stage::Stage,
        transition::{Command, Outcome},
    },
    runs::Ended,
    store::{IntentWrite, LeaseProof},
};

use crate::support::{Setup, World, blocked, key};

/// The lease as the engine takes it. Leaked: a crash drops nothing.
pub(crate) async fn lease(world: &World) -> &'static LeaseProof {
    Box::leak(Box::new(world.lease(1).await))
}

pub(crate) async fn intent(world: &World, proof: &LeaseProof, kind: EffectKind, revision: &str) -> i64 {
    let now = world.engine.clock.now_ms();
    let written = world.store().write_intent(proof, kind, revision.to_owned(), true, now).await.unwrap();
    let IntentWrite::Open { id, fresh: true } = written else { panic!("{written:?}") };
    id
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Act {
    Done,
    NotDone,
}

/// After the crash every further entry leads to the one good end.
pub(crate) async fn ends_well(world: &World) {
    for _ in 0..6 {
        match world.advance_past_holding(1).await {
            Outcome::Waiting { .. } => {
                world.post_ci(1, orch_core::forge::StatusState::Success).await;
            }
            Outcome::Advanced { to: Stage::Done } => break,
            Outcome::Advanced { .. } => {}
            other => panic!("{other:?}: {:?}", world.task(1).await),
        }
    }
    world.assert_done_once(1).await;
    let reclaims = world.engine.counters.tally().reclaims.clone();
    assert_eq!(reclaims.get("dead_boot"), Some(&1), "the dead life's lease was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_candidate_is_prepared() {
    for act in [Act::Done, Act::NotDone] {
        let mut world = World::at_the_edge(1, Setup::default()).await;
        let main = world.move_main("README", "moved\n").await;
        let head = world.sha("refs/heads/orch/S-1").await;
        let proof = lease(&world).await;
        intent(&world, proof, EffectKind::PrepareCandidate, &format!("{head}+{main}")).await;
        if act == Act::Done {
            let site = world.site();
            site.repo.fetch().await.unwrap();
            let branch = site.branch("S-1").unwrap();
            let worktree = site.repo.ensure_worktree(&branch, world.engine.clock.now_ms()).await.unwrap();
            let main = orch_core::git::Sha::parse(&main).unwrap();
            site.repo.rebase_onto(&worktree, &main).await.unwrap();
            let new = site.repo.branch_head(&branch).await.unwrap().unwrap();
            let old = orch_core::git::Sha::parse(&head).unwrap();
            site.repo.push_branch(&branch, &new, Some(&old)).await.unwrap();
        }
        world.crash().await;
        let candidate = world.prepared(1).await;
        assert_eq!(candidate.base, main, "{act:?}");
        ends_well(&world).await;
        assert_eq!(
            world.there(&["rev-list", "--count", &format!("{main}..{}", candidate.head)]).await,
            "5",
            "{act:?}: rebased once"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_merge() {
    for act in [Act::Done, Act::NotDone] {
        let mut world = World::at_the_edge(1, Setup::default()).await;
        let candidate = world.prepared(1).await;
        measured(&world, &candidate.head).await;
        let proof = lease(&world).await;
        intent(&world, proof, EffectKind::Merge, &candidate.head).await;
        if act == Act::Done {
            world.merge_by_a_person(1).await;
        }
        world.crash().await;
        ends_well(&world).await;
        let grants = world.grants(world.row(1).await.id, "merge").await;
        let expected: &[&str] = if act == Act::Done { &["done"] } else { &["void", "done"] };
        assert_eq!(grants, expected, "{act:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_a_merge_with_the_journal_wiped() {
    let mut world = World::at_the_edge(1, Setup::default()).await;
    let candidate = world.prepared(1).await;
    measured(&world, &candidate.head).await;
    let _proof = lease(&world).await;
    // no intent at all: the outside alone answers
    world.merge_by_a_person(1).await;
    world.crash().await;
    ends_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_coverage_baseline_is_raised() {
    for act in [Act::Done, Act::NotDone] {
        let mut world = World::at_the_edge(1, Setup::default()).await;
        assert!(matches!(world.advance(1).await, Outcome::Waiting { .. }));
        let proof = lease(&world).await;
        let revision = merged_under(&world, proof).await;
        intent(&world, proof, EffectKind::RatchetCoverage, &revision).await;
        if act == Act::Done {
            let counts = orch_core::domain::coverage::LineCounts { covered: 8, measured: 10 };
            let raised =
                world.store().ratchet_coverage(proof, "sample".into(), "main".into(), revision, counts, 1);
            assert_eq!(raised.await.unwrap(), orch_core::store::RatchetWrite::Raised);
        }
        world.crash().await;
        ends_well(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_deploy_command() {
    for act in [Act::Done, Act::NotDone] {
        let mut world = World::at_the_edge(1, Setup::default()).await;
        assert!(matches!(world.advance(1).await, Outcome::Waiting { .. }));
        let proof = lease(&world).await;
        let revision = merged_under(&world, proof).await;
        intent(&world, proof, EffectKind::StartDeploy, &revision).await;
        if act == Act::Done {
            world.put("deploys", &format!("{revision}\n"));
            world.put("deployed", &revision);
        }
        world.crash().await;
        ends_well(&world).await;
    }
}

/// What the coverage gate leaves of a candidate.
pub(crate) async fn measured(world: &World, head: &str) {
    let counts = orch_core::domain::coverage::LineCounts { covered: 8, measured: 10 };
    let now = world.engine.clock.now_ms();
    world.store().record_coverage("sample".into(), head.to_owned(), counts, now).await.unwrap();
}

/// The merge as the engine journals it, with the candidate measured; all that follows is to do.
pub(crate) async fn merged_under(world: &World, proof: &LeaseProof) -> String {
    world.post_ci(1, orch_core::forge::StatusState::Success).await;
    let candidate = world.task(1).await.candidate.unwrap();
    let now = world.engine.clock.now_ms();
    measured(world, &candidate.head).await;
    let id = intent(world, proof, EffectKind::Merge, &candidate.head).await;
    let revision = world.merge_by_a_person(1).await;
    let events = vec![Event::Merged { revision: revision.clone() }];
    let evidence = format!("merged as {revision}");
    assert!(world.store().effect_done(proof, id, Actor::Monitor, evidence, events, now).await.unwrap());
    revision
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_of_which_nobody_knows_is_never_repeated_blindly() {
    let mut world = World::at_the_edge(1, Setup::default()).await;
    assert!(matches!(world.advance(1).await, Outcome::Waiting { .. }));
    let proof = lease(&world).await;
    let revision = merged_under(&world, proof).await;
    intent(&world, proof, EffectKind::StartDeploy, &revision).await;
    world.put("deploys", &format!("{revision}\n"));
    world.put("deployed", &revision);
    world.put("deaf_health", "");
    world.crash().await;
    assert!(matches!(world.advance(1).await, Outcome::Blocked { .. }));
    let task = world.task(1).await;
    let (cause, way_out) = blocked(&task);
    assert!(
        cause.contains("start_deploy") && cause.contains("in doubt") && way_out.contains("retry"),
        "{cause}"
    );
    // neither an actor nor a person's command papers over it
    assert!(matches!(world.advance(1).await, Outcome::Blocked { .. }));
    let cancel = world.engine.operate(&key(1), Command::Cancel, "ada", "w").await.unwrap();
    assert!(matches!(cancel, Outcome::Blocked { .. }), "{cancel:?}");
    assert_eq!(world.lines("deploys").len(), 1);
    world.take_away("deaf_health");
    let outcome = world.engine.operate(&key(1), Command::Retry, "ada", "it listens again").await.unwrap();
    assert_eq!(outcome, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_work_item_is_closed() {
    for act in [Act::Done, Act::NotDone] {
        let mut world = World::at_the_edge(1, Setup::default()).await;
        world.prepared(1).await;
        assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
        let merged = world.task(1).await.merged.unwrap();
        let proof = lease(&world).await;
        intent(&world, proof, EffectKind::CloseWorkItem, &merged).await;
        if act == Act::Done {
            let now = world.engine.clock.now_ms();
            assert!(world.store().end_tracker_item("S-1".into(), "closed", Some(merged), now).await.unwrap());
        }
        world.crash().await;
        ends_well(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_of_the_last_life_that_wakes_up_late_can_do_nothing() {
    let mut world = World::at_the_edge(1, Setup::default()).await;
    let candidate = world.prepared(1).await;
    let stale = lease(&world).await;
    let old_store = world.store().clone();
    world.crash().await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    let late = old_store.write_intent(stale, EffectKind::Merge, candidate.head, true, 1).await.unwrap();
    assert_eq!(late, IntentWrite::Fenced);
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
}

/// More than one transaction of the start records.
const MANY: u32 = 300;

/// That many agents of a life that ended before any of them began.
async fn claimed_and_gone() -> World {
    let mut world = World::plain().await;
    for number in 1..=MANY {
        let row = world.create(number).await;
        assert_eq!(row.task.stage, Stage::Analysis);
        let claimed =
            world.store().claim_job((MANY, MANY), u64::from(number), |_, _| 60_000, 1).await.unwrap();
        assert!(claimed.is_some());
    }
    world.crash().await;
    world
}

/// Takes the last life up; answers how its runs and jobs stand then.
async fn taken_up(world: &World) -> Vec<String> {
    orch_core::recovery::recover(&world.engine).await.unwrap();
    assert_eq!(world.store().open_runs().await.unwrap(), []);
    let settled = async {
        while !world.store().running_jobs().await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let settled = tokio::time::timeout(std::time::Duration::from_secs(60), settled).await;
    assert!(settled.is_ok(), "a job is never settled");
    let mut told = Vec::new();
    for number in 1..=MANY {
        let row = world.row(number).await;
        let job = world.store().open_job_of(row.id).await.unwrap().unwrap();
        let run = world.store().run(job.run.unwrap()).await.unwrap().unwrap();
        let events = world.store().events(row.id).await.unwrap();
        let events: Vec<_> = events.into_iter().map(|stored| stored.event).collect();
        told.push(format!("{:?} {} {:?} {events:?}", job.status, job.attempt, run.ending.unwrap().outcome));
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_two_batches_of_recorded_ends_leaves_what_one_start_leaves() {
    let undisturbed = taken_up(&claimed_and_gone().await).await;
    let mut world = claimed_and_gone().await;
    // a start that recorded its first ends and was killed before it settled any job
    let open = world.store().open_runs().await.unwrap();
    let first =
        open.iter().take(256).map(|run| Ended { run: run.id, started: false, swept: None, record: None });
    world.engine.runs.record_ends(&first.collect::<Vec<_>>()).await.unwrap();
    world.crash().await;
    assert_eq!(taken_up(&world).await, undisturbed);
}

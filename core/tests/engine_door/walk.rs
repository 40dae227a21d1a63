//! A task from `created` to `done`, and what ends it on the way.

use orch_core::{
    domain::{
        stage::Stage,
        transition::{Command, Outcome},
        verdict::Waitee,
    },
    engine::{ApproveError, CreateError, EngineError},
    forge::StatusState,
    store::Acquired,
};

use crate::support::{Setup, World, blocked, key};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_from_created_to_done_merged_and_deployed_once() {
    let world = World::at_the_edge(1, Setup::default()).await;
    let base = world.main_head().await;
    // nothing moved: the candidate is the head that the tester saw, with the same CI to ask for
    let candidate = world.prepared(1).await;
    assert_eq!(candidate.base, base.to_string());
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
    for _ in 0..2 {
        assert_eq!(world.advance(1).await, Outcome::NoChange);
    }
    world.assert_done_once(1).await;
    assert_eq!(world.lines("retests"), [candidate.head]);
    let refused = world.engine.operate(&key(1), Command::Cancel, "ada", "late").await;
    assert!(matches!(refused, Err(EngineError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brief_is_approved_for_exactly_its_revision_by_whoever_may() {
    let world = World::new(Setup { project: "approvers = [\"ada\"]\n", ..Setup::default() }).await;
    world.create(1).await;
    let engine = &world.engine;
    let early = engine.approve(&key(1), "ada", "fine", None).await;
    assert!(matches!(early, Err(ApproveError::NoBrief { .. })), "{early:?}");
    let brief = World::papers(1, "01-brief.md");
    let asked = world.agent(1, &[(&brief, "---\nbrief_status: READY\n---\nOne.\n")]).await;
    assert!(
        matches!(&asked, Outcome::Waiting { who: Waitee::Person { name }, .. } if name == "ada"),
        "{asked:?}"
    );
    let mallory = engine.approve(&key(1), "mallory", "fine", None).await;
    assert!(matches!(mallory, Err(ApproveError::NotAllowed { .. })));
    let other = engine.approve(&key(1), "ada", "fine", Some("0000000")).await;
    let Err(ApproveError::Changed { present, .. }) = other else { panic!("{other:?}") };

    // the brief changes between the reading and the approval of what was read
    let tree = world.worktree(1).await;
    std::fs::write(tree.join(&brief), "---\nbrief_status: READY\n---\nTwo.\n").unwrap();
    world.git(&tree, &["commit", "-q", "-a", "-m", "again"]).await;
    let stale = engine.approve(&key(1), "ada", "fine", Some(&present)).await;
    assert!(matches!(stale, Err(ApproveError::Changed { .. })));
    assert_eq!(world.task(1).await.stage, Stage::Analysis);
    // who names no revision says yes to the one that was asked for, and is asked anew for the next
    let unasked = engine.approve(&key(1), "ada", "fine", None).await;
    let Err(ApproveError::Changed { present: second, asked, .. }) = unasked else { panic!("{unasked:?}") };
    assert!(present.starts_with(&asked) && second != present, "{asked} {present} {second}");
    assert_eq!(world.task(1).await.stage, Stage::Analysis);
    let (outcome, revision) = engine.approve(&key(1), "ada", "fine", None).await.unwrap();
    assert_eq!(outcome, Outcome::Advanced { to: Stage::Architecture });
    assert_eq!(revision, second);
    let late = engine.approve(&key(1), "ada", "fine", None).await;
    assert!(matches!(late, Err(ApproveError::WrongStage { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_an_earlier_brief_does_not_count_after_a_roll_back() {
    let world = World::plain().await;
    world.create(1).await;
    let brief = World::papers(1, "01-brief.md");
    world.agent(1, &[(&brief, "---\nbrief_status: NEEDS_INPUT\n---\nWhich order?\n")]).await;
    let row = world.row(1).await;
    // approved while it still asks: not enough, and not for the next one
    world.engine.approve(&key(1), "ada", "fine", None).await.unwrap();
    assert_eq!(world.task(1).await.stage, Stage::Analysis);
    world
        .engine
        .operate(&key(1), Command::RollBack { why: "ascending".into() }, "ada", "answer")
        .await
        .unwrap();
    assert_eq!(world.task(1).await.findings, ["ascending"]);
    assert!(world.row(1).await.task.round > row.task.round);
    let outcome = world.agent(1, &[(&brief, "---\nbrief_status: READY\n---\nAscending.\n")]).await;
    assert!(matches!(outcome, Outcome::Waiting { who: Waitee::Person { .. }, .. }), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_orders_are_refused_and_change_nothing() {
    let world = World::plain().await;
    let engine = &world.engine;
    let before = world.create(1).await;
    let unknown = engine.operate(&key(9), Command::Retry, "ada", "w").await;
    assert!(matches!(unknown, Err(EngineError::UnknownTask(_))));
    for (what, refused) in [
        ("project", engine.create(key(2), "nowhere", "t", "", None).await),
        ("title", engine.create(key(2), "sample", " \n", "", None).await),
        ("body", engine.create(key(2), "sample", "t", &"x".repeat(70_000), None).await),
        ("taken", engine.create(key(1), "sample", "another title", "", None).await),
    ] {
        assert!(refused.is_err(), "{what}");
    }
    let prefix = orch_core::domain::ids::WorkItemKey::parse("OTHER-1").unwrap();
    let wrong = engine.create(prefix, "sample", "t", "", None).await;
    assert!(matches!(wrong, Err(CreateError::WrongPrefix { .. })));
    let (again, is_new) = engine.create(key(1), "sample", "Sort the list", "stable", None).await.unwrap();
    assert!(!is_new);
    assert_eq!(again, before);
    for command in [Command::Retry, Command::RollBack { why: "w".into() }] {
        let outcome = engine.operate(&key(1), command.clone(), "ada", "w").await;
        match command {
            Command::Retry => assert!(matches!(outcome, Err(EngineError::Refused(_)))),
            _ => assert!(outcome.is_ok(), "an analyst works in analysis"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_a_task_with_its_job_its_worktree_and_its_tracker_item() {
    let world = World::plain().await;
    world.walk_to(1, Stage::Development, ("sort.py", "x\n")).await;
    let tree = world.worktree(1).await;
    assert!(tree.exists());
    let outcome = world.engine.operate(&key(1), Command::Cancel, "ada", "not wanted").await.unwrap();
    assert_eq!(outcome, Outcome::Advanced { to: Stage::Cancelled });
    assert!(!tree.exists());
    let now = world.engine.clock.now_ms();
    assert!(world.store().claim_job((9, 9), 5, |_, _| 1, now).await.unwrap().is_none());
    let item = world.store().tracker_item("S-1".into()).await.unwrap().unwrap();
    assert_eq!(item.state, "cancelled");
    let events = world.store().events(world.row(1).await.id).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!((last.who.as_deref(), last.reason.as_str()), (Some("ada"), "not wanted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_on_the_edge_waits_for_its_owner_and_frees_the_merge_slot() {
    let world = World::at_the_edge(1, Setup::default()).await;
    world.prepared(1).await;
    let row = world.row(1).await;
    let edge = orch_core::domain::stage::Edge { from: Stage::DeployStaging, to: Stage::Deploy };
    let actor = orch_core::domain::actor::Actor::Monitor;
    let Acquired::Granted(owner, _) = world.store().acquire_lease(row.id, edge, actor, 1).await.unwrap()
    else {
        panic!("granted")
    };
    let one = key(1);
    let (outcome, ()) = tokio::join!(world.engine.operate(&one, Command::Cancel, "ada", "w"), async {
        // once a person waits, whoever else asks makes way; the owner ends in its own time
        while world.advance(1).await != Outcome::NoChange {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.task(1).await.stage, Stage::DeployStaging);
        world.store().release_lease(owner).await.unwrap();
    });
    assert_eq!(outcome.unwrap(), Outcome::Advanced { to: Stage::Cancelled });
    assert_eq!(world.merges().await, 0);
    // the slot that was kept for its CI is free for the next
    world.to_the_edge(2, ("README", "another\n")).await;
    world.prepared(2).await;
    assert_eq!(world.advance(2).await, Outcome::Advanced { to: Stage::Deploy });
}

#[tokio::test(flavor = "multi_thread")]
async fn roll_backs_are_bounded_and_then_a_person_decides() {
    let world = World::new(Setup { settings: &[("ORCH_MAX_ROLLBACKS", "2")], ..Setup::default() }).await;
    world.walk_to(1, Stage::Development, ("sort.py", "x\n")).await;
    world.agent(1, &[("sort.py", "one\n")]).await;
    for (round, text) in [(1, "two\n"), (2, "three\n")] {
        world.post_ci(1, StatusState::Failure).await;
        assert_eq!(world.advance(1).await, Outcome::RolledBack { to: Stage::Development });
        assert_eq!(world.task(1).await.rollbacks, round);
        world.agent(1, &[("sort.py", text)]).await;
    }
    world.post_ci(1, StatusState::Failure).await;
    assert!(matches!(world.advance(1).await, Outcome::Blocked { .. }));
    let task = world.task(1).await;
    let (cause, way_out) = blocked(&task);
    assert!(cause.contains("2 failed") && cause.contains("2 times") && way_out.contains("retry"), "{cause}");
    let events = world.count_events(1, "stood").await;
    assert!(matches!(world.advance(1).await, Outcome::Blocked { .. }));
    assert_eq!(world.count_events(1, "stood").await, events, "asking again tells nothing new");
}

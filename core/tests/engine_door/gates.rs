//! Each gate stops what it is there to stop, and says what.

use orch_core::{
    domain::{
        stage::Stage,
        task::Standing,
        transition::{Command, Outcome},
        verdict::Waitee,
    },
    forge::StatusState,
};

use crate::support::{Setup, World, blocked, key};

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_no_verdict_is_red_by_file_key_and_values() {
    let brief = World::papers(1, "01-brief.md");
    for (what, text) in [
        ("missing", None),
        ("doubled", Some("---\nbrief_status: READY\nbrief_status: READY\n---\n")),
        ("unknown", Some("---\nbrief_status: FINE\n---\n")),
        ("in the text", Some("brief_status: READY\n")),
    ] {
        let world = World::plain().await;
        world.create(1).await;
        let other = World::papers(1, "notes.md");
        let files: Vec<(&str, &str)> = text.map_or(vec![(&other, "n")], |text| vec![(&brief, text)]);
        assert_eq!(world.agent(1, &files).await, Outcome::RolledBack { to: Stage::Analysis }, "{what}");
        let findings = world.task(1).await.findings.join("\n");
        for part in [brief.as_str(), "brief_status", "READY | NEEDS_INPUT"] {
            assert!(findings.contains(part), "{what}: {findings}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_committed_was_not_delivered() {
    let world = World::plain().await;
    world.create(1).await;
    let tree = world.worktree(1).await;
    let brief = World::papers(1, "01-brief.md");
    std::fs::create_dir_all(tree.join(&brief).parent().unwrap()).unwrap();
    std::fs::write(tree.join(&brief), "---\nbrief_status: READY\n---\n").unwrap();
    assert_eq!(world.agent(1, &[]).await, Outcome::RolledBack { to: Stage::Analysis });
    assert!(world.task(1).await.findings[0].contains("not committed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adr_is_any_markdown_of_its_folder_and_all_of_them_must_be_good() {
    let world = World::plain().await;
    world.walk_to(1, Stage::Architecture, ("sort.py", "x\n")).await;
    let adr = |file: &str| World::papers(1, &format!("06-adr/{file}"));
    let (one, two, text) = (adr("0001.md"), adr("0002.md"), adr("notes.txt"));
    let good = "---\nadr_status: PROPOSED\n---\n";
    assert_eq!(world.agent(1, &[(&text, good)]).await, Outcome::RolledBack { to: Stage::Architecture });
    let outcome = world.agent(1, &[(&one, good), (&two, "---\nadr_status: DONE\n---\n")]).await;
    assert_eq!(outcome, Outcome::RolledBack { to: Stage::Architecture });
    assert!(world.task(1).await.findings[0].contains("0002.md"));
    assert_eq!(world.agent(1, &[(&two, good)]).await, Outcome::Advanced { to: Stage::Development });
}

#[tokio::test(flavor = "multi_thread")]
async fn papers_alone_are_no_change() {
    let world = World::plain().await;
    world.walk_to(1, Stage::Development, ("sort.py", "x\n")).await;
    let notes = World::papers(1, "notes.md");
    assert_eq!(world.agent(1, &[(&notes, "n")]).await, Outcome::RolledBack { to: Stage::Development });
    assert!(world.task(1).await.findings[0].contains("changes nothing outside docs/work-items/S-1/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ci_is_waited_for_and_counts_for_exactly_this_head() {
    let world = World::plain().await;
    world.walk_to(1, Stage::Development, ("sort.py", "x\n")).await;
    let waits = |outcome: &Outcome| matches!(outcome, Outcome::Waiting { who: Waitee::Ci { .. }, .. });
    let missing = world.agent(1, &[("sort.py", "one\n")]).await;
    assert!(waits(&missing), "{missing:?}");
    let old = world.post_ci(1, StatusState::Pending).await;
    assert!(waits(&world.advance(1).await));
    world.post_ci(1, StatusState::Failure).await;
    assert_eq!(world.advance(1).await, Outcome::RolledBack { to: Stage::Development });
    assert!(world.task(1).await.findings[0].contains("2 failed"));
    world.agent(1, &[("sort.py", "two\n")]).await;
    // the old head turns green too late
    world.post_ci_on(&old, StatusState::Success).await;
    assert!(waits(&world.advance(1).await));
    world.post_ci(1, StatusState::Success).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Review });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ci_that_broke_by_itself_is_no_fault_of_the_code() {
    let world = World::new(Setup { settings: &[("ORCH_GATE_INFRA_RETRIES", "1")], ..Setup::default() }).await;
    world.walk_to(1, Stage::Development, ("sort.py", "x\n")).await;
    world.agent(1, &[("sort.py", "one\n")]).await;
    world.post_ci(1, StatusState::Error).await;
    let Outcome::Held { retry_at_ms } = world.advance(1).await else { panic!("held") };
    // whoever asks before its time uses no try up
    for _ in 0..5 {
        if world.engine.clock.now_ms() < retry_at_ms - 100 {
            assert_eq!(world.advance(1).await, Outcome::Held { retry_at_ms });
        }
    }
    assert_eq!(world.task(1).await.infra_attempts, 1);
    // a retry asks the CI for another run, instead of reading the spoiled one again
    let outcome = world.advance_past_holding(1).await;
    assert!(matches!(outcome, Outcome::Waiting { who: Waitee::Ci { .. }, .. }), "{outcome:?}");
    world.post_ci(1, StatusState::Error).await;
    assert!(matches!(world.advance(1).await, Outcome::Blocked { .. }));
    let task = world.task(1).await;
    assert_eq!(task.rollbacks, 0);
    assert!(blocked(&task).1.contains("not found at fault"));
    world.post_ci(1, StatusState::Success).await;
    let outcome = world.engine.operate(&key(1), Command::Retry, "ada", "mended").await.unwrap();
    assert_eq!(outcome, Outcome::Advanced { to: Stage::Review }, "the agent is not paid twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn reviewer_and_tester_send_back_with_their_findings() {
    let world = World::plain().await;
    world.walk_to(1, Stage::Review, ("sort.py", "def sort(x):\n    return sorted(x)\n")).await;
    let review = World::papers(1, "12-review.md");
    let text = "---\nreview_verdict: REQUEST_CHANGES\n---\n## Findings\n- no test\n- a print\n";
    assert_eq!(world.agent(1, &[(&review, text)]).await, Outcome::RolledBack { to: Stage::Development });
    assert_eq!(world.task(1).await.findings, ["no test", "a print"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_red_retest_rolls_back_with_the_failed_tests_and_nothing_is_merged() {
    let world = World::at_the_edge(1, Setup::default()).await;
    let tree = world.worktree(1).await;
    std::fs::write(tree.join("broken"), "").unwrap();
    world.git(&tree, &["add", "--all"]).await;
    world.git(&tree, &["commit", "-q", "-m", "break"]).await;
    world.prepared(1).await;
    assert_eq!(world.advance(1).await, Outcome::RolledBack { to: Stage::Development });
    let task = world.task(1).await;
    assert!(task.findings.join("\n").contains("test_sort.py::test_order"), "{:?}", task.findings);
    assert_eq!((task.candidate, world.merges().await), (None, 0));
    assert!(world.store().held_leases().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_of_the_same_candidate_is_not_paid_for_twice() {
    let world = World::at_the_edge(1, Setup::default()).await;
    world.put("broken_deploy", "");
    let candidate = world.prepared(1).await;
    assert!(matches!(world.advance(1).await, Outcome::Held { .. }));
    world.take_away("broken_deploy");
    assert_eq!(world.advance_past_holding(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("retests"), [candidate.head]);
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_that_falls_is_red_and_coverage_that_measured_nothing_is_no_answer() {
    let world =
        World::at_the_edge(1, Setup { settings: &[("ORCH_GATE_INFRA_RETRIES", "1")], ..Setup::default() })
            .await;
    let proof = world.store().unleased(world.row(1).await.id);
    let counts = orch_core::domain::coverage::LineCounts { covered: 9, measured: 10 };
    let main = world.main_head().await.to_string();
    world
        .store()
        .ratchet_coverage(&proof, "sample".into(), "main".into(), main.clone(), counts, 1)
        .await
        .unwrap();
    world.prepared(1).await;
    world.put("nothing_measured", "");
    assert!(matches!(world.advance(1).await, Outcome::Held { .. }));
    assert_eq!(world.task(1).await.stage, Stage::DeployStaging);
    world.take_away("nothing_measured");
    assert_eq!(world.advance_past_holding(1).await, Outcome::RolledBack { to: Stage::Development });
    let findings = world.task(1).await.findings.join("\n");
    assert!(findings.contains("80.00 %") && findings.contains("90.00 %"), "{findings}");
    let baseline = world.store().coverage_baseline("sample".into(), "main".into()).await.unwrap().unwrap();
    assert_eq!(baseline, (main, counts));
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_that_are_switched_off_are_skipped_and_the_rest_goes_on() {
    let world = World::at_the_edge(
        1,
        Setup {
            settings: &[("ORCH_MERGE_GATE_ENABLED", "false"), ("ORCH_COVERAGE_GATE_ENABLED", "false")],
            ..Setup::default()
        },
    )
    .await;
    let candidate = world.prepared(1).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    assert_eq!(world.lines("retests"), [] as [&str; 0]);
    assert_eq!(world.sha("main^{tree}").await, candidate.tree);
    let told = world.store().gates_of(world.row(1).await.id, 50).await.unwrap();
    let skipped: Vec<&str> = told
        .iter()
        .filter(|gate| gate.verdict.as_str() == "skipped")
        .map(|gate| gate.gate.as_str())
        .collect();
    for gate in ["retest", "coverage", "image", "security", "staging"] {
        assert!(skipped.contains(&gate), "{gate}: {skipped:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_deploy_is_waited_for_then_blocks_and_is_never_rolled_back() {
    let world = World::at_the_edge(1, Setup { project: "deploy_timeout_s = 2\n", ..Setup::default() }).await;
    world.put("sick_health", "");
    world.prepared(1).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    let outcome = world.advance(1).await;
    assert!(
        matches!(outcome, Outcome::Waiting { who: Waitee::Deploy { .. }, until_ms: Some(_) }),
        "{outcome:?}"
    );
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while !matches!(world.advance(1).await, Outcome::Blocked { .. }) {
        assert!(tokio::time::Instant::now() < deadline, "the wait is bounded");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let refused = world.engine.operate(&key(1), Command::RollBack { why: "w".into() }, "ada", "w").await;
    assert!(refused.is_err());
    world.take_away("sick_health");
    let outcome = world.engine.operate(&key(1), Command::Retry, "ada", "mended").await.unwrap();
    assert_eq!(outcome, Outcome::Advanced { to: Stage::Done });
    world.assert_done_once(1).await;
    assert_eq!(world.task(1).await.standing, Standing::Finished {});
}

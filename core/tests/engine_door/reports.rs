//! Reports that a project's commands leave in the checkout: they decide, and only those of this very run.

use orch_core::domain::{stage::Stage, task::Standing, transition::Outcome};

use crate::support::{Setup, World};

/// What stands in the way of the task.
async fn cause(world: &World) -> String {
    match world.task(1).await.standing {
        Standing::Held { reason, .. } => reason,
        other => panic!("not held: {other:?}"),
    }
}

async fn commit(world: &World, file: &str, text: &str) {
    let tree = world.worktree(1).await;
    std::fs::write(tree.join(file), text).unwrap();
    world.git(&tree, &["add", "--all"]).await;
    world.git(&tree, &["commit", "-q", "-m", "a report"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coverage_report_that_was_committed_is_not_that_of_the_run() {
    let project = "coverage_cmd = [\"true\"]\ncoverage_report = \"coverage.json\"\n";
    let world = World::at_the_edge(1, Setup { project, ..Setup::default() }).await;
    commit(&world, "coverage.json", r#"{"totals":{"covered_lines":10,"num_statements":10}}"#).await;
    world.prepared(1).await;
    assert!(matches!(world.advance(1).await, Outcome::Held { .. }));
    assert!(cause(&world).await.contains("there is no coverage.json"), "{}", cause(&world).await);
    assert_eq!(world.merges().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lcov_report_is_measured_like_any_other() {
    let project = "coverage_cmd = [\"sh\", \"-c\", \"printf 'SF:a.c\\\\nDA:1,1\\\\nDA:2,0\\\\nend_of_record\\\\n' > c.info\"]\n\
                   coverage_report = \"c.info\"\n";
    let world = World::at_the_edge(1, Setup { project, ..Setup::default() }).await;
    world.prepared(1).await;
    assert_eq!(world.advance(1).await, Outcome::Advanced { to: Stage::Deploy });
    let baseline = world.store().coverage_baseline("sample".into(), "main".into()).await.unwrap();
    assert_eq!(baseline.map(|(_, counts)| (counts.covered, counts.measured)), Some((1, 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_nobody_knows_is_red_by_its_report_and_by_nothing_else() {
    let project = "merge_retest_cmd = [\"sh\", \"-c\", \"cp $W/junit.xml junit.xml; exit 3\"]\n\
                   merge_retest_junit = \"junit.xml\"\n";
    let world = World::at_the_edge(1, Setup { project, ..Setup::default() }).await;
    // one that was committed tells of another run
    commit(&world, "junit.xml", r#"<testsuite><testcase name="old"><failure/></testcase></testsuite>"#).await;
    world.prepared(1).await;
    assert!(matches!(world.advance(1).await, Outcome::Held { .. }));
    assert!(cause(&world).await.contains("no report of its tests"), "{}", cause(&world).await);
    world.put(
        "junit.xml",
        r#"<testsuite><testcase name="order" classname="sort"><failure/></testcase></testsuite>"#,
    );
    assert_eq!(world.advance_past_holding(1).await, Outcome::RolledBack { to: Stage::Development });
    let findings = world.task(1).await.findings.join("\n");
    assert!(
        findings.contains("1 of 1 tests failed") && findings.contains("FAILED sort::order"),
        "{findings}"
    );
}

//! The core ends itself, as a crash would, at every labelled point: each role's job, each lease, each
//! effect's transactions (before their commit and after it), its act, its settlement at a start, each
//! change of stage. Started again each time, the task ends as one that was never disturbed.
//!
//! The points are the program's own list ([`Point::ALL`]): a new label, effect, role or stage that no
//! pass meets fails a test. Every point of a pass must be met: one that nothing hits would prove nothing.

use anyhow::{Context as _, Result, ensure};
use orch_core::domain::effect::EffectKind;
use orch_core::domain::job::Role;
use orch_core::domain::stage::{Stage, Step};
use orch_core::failpoint::Point;
use orch_tests::api::Api;
use orch_tests::clock;
use orch_tests::pipeline;
use orch_tests::sample::git;
use orch_tests::stack::Stack;
use std::collections::BTreeSet;
use std::time::Duration;

const KEY: &str = "SAMPLE-1";
/// Longest time from one crash to the next.
const LIFE_PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(20);

/// One point: `label:detail`.
type Armed = (Point, &'static str);

fn open_stages() -> impl Iterator<Item = Stage> {
    Stage::ALL.into_iter().filter(|stage| !stage.is_terminal())
}

/// Effects that nobody has to ask for: a second start of the deploy waits for a person's word.
fn effects_of(stage: Stage) -> impl Iterator<Item = EffectKind> {
    let by_word = move |kind: &EffectKind| stage == Stage::Deploy && *kind == EffectKind::StartDeploy;
    let effects = stage.row().steps.iter().filter_map(|step| match step {
        Step::Effect(kind) => Some(*kind),
        Step::Gate(_) => None,
    });
    effects.filter(move |kind| !by_word(kind))
}

/// Jobs, leases and changes of stage.
fn around_the_effects() -> Vec<Armed> {
    let mut points = Vec::new();
    for stage in open_stages() {
        let job = [Point::JobAfterClaim, Point::JobAfterGo];
        let role = stage.row().role.map(Role::as_str);
        points.extend(role.into_iter().flat_map(|role| job.map(|point| (point, role))));
        if stage.has_effects() {
            let lease = [Point::LeaseBeforeCommit, Point::LeaseAfterCommit];
            points.extend(lease.map(|point| (point, stage.as_str())));
        }
        let change = [Point::StageBeforeCommit, Point::StageAfterCommit];
        points.extend(change.map(|point| (point, stage.as_str())));
    }
    points
}

/// Each effect up to its act; what a start makes of it; and the record that a start writes.
fn within_the_effects() -> Vec<Armed> {
    let mut points = Vec::new();
    for kind in open_stages().flat_map(effects_of) {
        let act = [
            Point::IntentBeforeCommit,
            Point::IntentAfterCommit,
            Point::SettledVoid,
            Point::EffectBeforeAct,
            Point::EffectAfterAct,
            Point::DoneBeforeCommit,
        ];
        let end = match kind {
            // a start voids a half-prepared candidate: its record is always its own walk's
            EffectKind::PrepareCandidate => Point::DoneAfterCommit,
            EffectKind::RebuildImage
            | EffectKind::Merge
            | EffectKind::RatchetCoverage
            | EffectKind::StartDeploy
            | EffectKind::CloseWorkItem => Point::SettledDone,
        };
        points.extend(act.into_iter().chain([end]).map(|point| (point, kind.as_str())));
    }
    points
}

/// The end of each run of an agent, as the life that started it records it (one that outlived its core may
/// have ended before the next one looks); the record of each act, as its own walk writes it.
fn at_each_record() -> Vec<Armed> {
    let mut points = Vec::new();
    for stage in open_stages() {
        let role = stage.row().role.map(Role::as_str);
        points.extend(role.map(|role| (Point::JobAfterExitRecorded, role)));
        points.extend(acts_of(stage).map(|kind| (Point::DoneBeforeCommit, kind.as_str())));
    }
    points
}

/// After the record of each act.
fn after_each_record() -> Vec<Armed> {
    let acts = open_stages().flat_map(acts_of);
    acts.map(|kind| (Point::DoneAfterCommit, kind.as_str())).collect()
}

/// Effects that act once.
fn acts_of(stage: Stage) -> impl Iterator<Item = EffectKind> {
    effects_of(stage).filter(|kind| *kind != EffectKind::PrepareCandidate)
}

/// What one task each meets; the first meets nothing.
fn passes() -> Vec<Vec<Armed>> {
    vec![Vec::new(), around_the_effects(), within_the_effects(), at_each_record(), after_each_record()]
}

#[test]
fn every_point_of_the_program_is_in_a_pass() {
    let passes = passes().concat();
    let met: BTreeSet<(&str, &str)> =
        passes.into_iter().map(|(point, detail)| (point.as_str(), detail)).collect();
    let of = |point: &Point| {
        let label = point.as_str();
        point.details().into_iter().map(move |detail| (label, detail))
    };
    let all: BTreeSet<(&str, &str)> = Point::ALL.iter().flat_map(of).collect();
    assert_eq!(met, all);
}

/// What is left of a task when all is over.
#[derive(Debug, PartialEq, Eq)]
struct End {
    stage: String,
    standing: String,
    rollbacks: i64,
    merges: usize,
    /// Whether exactly the merged revision went live, once.
    deployed_once: bool,
    /// How often the deploy command was started: it is idempotent, and would hide a second time.
    deploy_starts: usize,
    /// How often the image was built.
    image_builds: usize,
    closed: bool,
    /// Effects by name that the journal has as done, each once.
    done: Vec<String>,
    open_intents: i64,
    held_leases: i64,
    open_jobs: i64,
    /// Roles whose work was done, each once.
    worked: Vec<String>,
    changes_of_stage: i64,
}

fn end_of(stack: &Stack) -> Result<End> {
    let file = stack.data().join("orch.db");
    let base = rusqlite::Connection::open_with_flags(&file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("open {}", file.display()))?;
    let number = |sql: &str| base.query_row(sql, [], |row| row.get::<_, i64>(0));
    let words = |sql: &str| -> Result<Vec<String>> {
        Ok(base.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    };
    let text = |sql: &str| base.query_row(sql, [], |row| row.get::<_, String>(0));
    let merges = stack.sample().merges("sample")?;
    Ok(End {
        stage: text("SELECT stage FROM task")?,
        standing: text("SELECT standing FROM task")?,
        rollbacks: number("SELECT json_extract(row_json, '$.rollbacks') FROM task")?,
        merges: merges.len(),
        deployed_once: stack.sample().deployments("sample")?
            == merges.iter().map(|(sha, _)| sha.clone()).collect::<Vec<_>>(),
        deploy_starts: std::fs::read_to_string(stack.sample().deployed("sample").join("attempts.log"))?
            .lines()
            .count(),
        image_builds: std::fs::read_to_string(stack.sample().image("sample").join("builds.log"))?
            .lines()
            .count(),
        closed: text("SELECT state FROM tracker_item")? == "closed",
        done: words("SELECT kind FROM effect WHERE state = 'done' ORDER BY kind")?,
        open_intents: number("SELECT count(*) FROM effect WHERE state = 'intent'")?,
        held_leases: number("SELECT count(*) FROM transition_lease WHERE held = 1")?,
        open_jobs: number("SELECT count(*) FROM job WHERE status IN ('queued', 'running')")?,
        worked: words("SELECT role FROM job WHERE status = 'done' ORDER BY role")?,
        changes_of_stage: number(
            "SELECT count(*) FROM event WHERE json_extract(event, '$.event') IN ('entered', 'rolled_back')",
        )?,
    })
}

fn undisturbed() -> End {
    let sorted = |mut words: Vec<&str>| {
        words.sort_unstable();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    End {
        stage: "done".to_owned(),
        standing: "finished".to_owned(),
        rollbacks: 0,
        merges: 1,
        deployed_once: true,
        deploy_starts: 1,
        image_builds: 1,
        closed: true,
        done: sorted(EffectKind::ALL.iter().map(|kind| kind.as_str()).collect()),
        open_intents: 0,
        held_leases: 0,
        open_jobs: 0,
        worked: sorted(Role::ALL.iter().map(|role| role.as_str()).collect()),
        changes_of_stage: 8,
    }
}

async fn act(api: &Api) -> Option<()> {
    if pipeline::task(api, KEY).await.ok()?.is_none() {
        pipeline::submit(api, KEY, "sample", "Show a duration as a clock").await.ok()?;
    }
    let document = api.observation().await.ok()?;
    if pipeline::open_task(&document, KEY).is_some_and(pipeline::asks_a_person) {
        pipeline::ask(api, KEY, "approve", "the brief is clear").await.ok();
    }
    Some(())
}

/// Lives until the core has ended; an error when it does not.
async fn live_to_the_crash(stack: &mut Stack, api: &Api, point: &str) -> Result<()> {
    let end = clock::now() + LIFE_PATIENCE;
    while !stack.core_has_ended()? {
        ensure!(clock::now() < end, "{point} was not met\n{}", stack.log("core"));
        // a request may be cut off by the crash
        act(api).await;
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Somebody else's change lands on the target: the candidate has to be prepared on it.
fn move_the_target(stack: &Stack) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bare = stack.sample().bare("sample");
    git(folder.path(), &["clone", "--quiet", &bare.to_string_lossy(), "."])?;
    std::fs::write(folder.path().join("NOTES"), "somebody else's\n")?;
    git(folder.path(), &["add", "NOTES"])?;
    git(folder.path(), &["commit", "--quiet", "-m", "Notes"])?;
    // the forge takes no push to a target, from nobody
    git(&bare, &["fetch", "--quiet", &folder.path().to_string_lossy(), "HEAD"])?;
    git(&bare, &["update-ref", "refs/heads/main", "FETCH_HEAD"])?;
    Ok(())
}

/// One task, one crash a point, and the end compared with the undisturbed one's.
async fn pass(points: Vec<Armed>) -> Result<()> {
    let mut stack = Stack::describe().core("ORCH_RECONCILE_TICK_S", "1").build()?;
    let first_act = points.iter().position(|(point, _)| *point == Point::EffectBeforeAct);
    for (at, (point, detail)) in points.iter().enumerate() {
        if Some(at) == first_act {
            // the branch stands on the target's head already: otherwise there is nothing to prepare
            move_the_target(&stack)?;
        }
        let armed = format!("{}:{detail}", point.as_str());
        stack.set_core("ORCH_FAILPOINT", &armed);
        let met_before = stack.log("core").matches("fail point: ending").count();
        // it may crash before it is ready: a point within the recovery
        stack.launch_core()?;
        if let Ok(api) = stack.reach_core().await {
            live_to_the_crash(&mut stack, &api, &armed).await?;
        }
        stack.kill_core();
        let met = stack.log("core").matches("fail point: ending").count();
        ensure!(met == met_before + 1, "the core ended at {armed} by itself:\n{}", stack.log("core"));
    }
    stack.set_core("ORCH_FAILPOINT", "none");
    let api = stack.start_core().await?;
    if pipeline::task(&api, KEY).await?.is_none() {
        pipeline::submit(&api, KEY, "sample", "Show a duration as a clock").await?;
    }
    pipeline::follow_to_done(&api, KEY, pipeline::ARRIVAL_PATIENCE, |_| {}).await?;
    stack.stop_core()?;
    assert_eq!(end_of(&stack)?, undisturbed(), "after {} crashes", points.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_every_point_leads_to_the_end_of_a_task_that_never_met_one() -> Result<()> {
    // each has its own core, forge and deployment: they are no more than neighbours
    let running: Vec<_> = passes().into_iter().map(|points| tokio::spawn(pass(points))).collect();
    for one in running {
        one.await??;
    }
    Ok(())
}

//! Gates: each looks at one candidate (task and exact commit) and returns a typed verdict.
//!
//! A gate changes nothing outside and writes only its `gate_run` row. One file a gate; this file
//! holds what they share: switches, the reuse of a stored pass, running a project's command in a
//! clean checkout.

mod artifact;
mod change;
mod ci;
pub(crate) mod classify;
mod commands;
mod coverage;
mod junit;
mod landed;
mod report;
mod staging;
mod xml;

pub(crate) use commands::{Told, judge_ci, run as run_in_checkout};

use crate::{
    config::Switch,
    counters::{AtWork, LastFailure},
    domain::{
        task::{Candidate, Standing},
        verdict::{GateKind, InfraClass, Verdict, Waitee},
    },
    effects::{Health, ImageOf, by_hand, health, image_of, is_of_this_program},
    engine::{Engine, EngineError, Site, waits::Wait},
    failpoint::{Plant, planted},
    guards::Guard,
    store::{GateWrite, TaskRow},
};

/// What a gate hands back beside its verdict.
pub(crate) struct Looked {
    pub(crate) verdict: Verdict,
    pub(crate) run: Option<crate::domain::ids::RunId>,
}

impl From<Verdict> for Looked {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, run: None }
    }
}

/// Evaluates one gate and stores its verdict.
pub(crate) async fn evaluate(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
    gate: GateKind,
    candidate: Option<&Candidate>,
) -> Result<Verdict, EngineError> {
    let started_at_ms = engine.clock.now_ms();
    let head = match candidate {
        Some(candidate) => candidate.head.clone(),
        None => match site.head(row.task.key.as_str()).await {
            Ok(head) => head.map(|head| head.to_string()).unwrap_or_default(),
            Err(error) => return Ok(crate::engine::infra(&error)),
        },
    };
    let base = candidate.map(|candidate| candidate.base.clone()).unwrap_or_default();
    let configuration = configuration(engine, site, gate);
    if reuses_pass(gate) {
        let stored =
            engine.store.stored_pass(row.id, gate, head.clone(), base.clone(), configuration.clone()).await?;
        if let Some(evidence) = stored {
            return Ok(Verdict::Pass { evidence: format!("{evidence} (checked before)") });
        }
    }
    let looked = {
        let timeout_ms = limit_of(engine, site, gate);
        let _at_work =
            engine.counters.gate_at_work(gate, AtWork { task: row.id, since_ms: started_at_ms, timeout_ms });
        look(engine, site, row, gate, &head, candidate).await?
    };
    let ended_at_ms = engine.clock.now_ms();
    // a gate that was stopped for a person says nothing of the machine
    if engine.yields.asked(row.id) && matches!(looked.verdict, Verdict::Infra { .. }) {
        return Ok(looked.verdict);
    }
    count(engine, row, gate, &looked.verdict, ended_at_ms);
    // a gate that waits is asked again and again: only an answer is history
    if !matches!(looked.verdict, Verdict::Wait { .. }) {
        engine
            .store
            .record_gate(GateWrite {
                task: row.id,
                gate,
                verdict: looked.verdict.clone(),
                head,
                base,
                configuration,
                started_at_ms,
                ended_at_ms,
                run: looked.run,
            })
            .await?;
    }
    Ok(looked.verdict)
}

async fn look(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
    gate: GateKind,
    head: &str,
    candidate: Option<&Candidate>,
) -> Result<Looked, EngineError> {
    if let Some(why) = off(engine, site, gate) {
        return Ok(Verdict::Skipped { why }.into());
    }
    Ok(match gate {
        GateKind::Artifact => artifact::artifact(site, row, head).await.into(),
        GateKind::Approval => artifact::approval(engine, site, row, head).await?.into(),
        GateKind::Change => change::change(site, row, head).await.into(),
        GateKind::Ci => ci::ci(site, head).await.into(),
        GateKind::Staging => staging::staging(engine, site, row, head).await,
        GateKind::Retest => commands::retest(engine, site, row, head).await,
        GateKind::Coverage => coverage::coverage(engine, site, row, head).await?,
        GateKind::LandedTree if !engine.store.guards().stands(Guard::LandedTree) => {
            Verdict::Skipped { why: "its guard is lifted".to_owned() }.into()
        }
        GateKind::LandedTree => landed::landed_tree(engine, site, row, candidate).await?.into(),
        GateKind::Deployed => deployed(engine, site, row).await.into(),
        GateKind::Image => image(engine, site, row, head).await.into(),
        GateKind::Security => Verdict::Skipped { why: "no scanners are configured".to_owned() }.into(),
    })
}

/// Why a gate does not look, if it does not.
fn off(engine: &Engine, site: &Site, gate: GateKind) -> Option<String> {
    let gates = &engine.config.gates;
    let project = &site.project;
    let (switch, name): (&Switch, &str) = match gate {
        GateKind::Retest => (&gates.merge, "ORCH_MERGE_GATE"),
        GateKind::Coverage => (&gates.coverage, "ORCH_COVERAGE_GATE"),
        GateKind::Security => (&gates.security, "ORCH_SECURITY_GATE"),
        GateKind::Image => (&gates.image, "ORCH_IMAGE_GATE"),
        GateKind::Staging => (&gates.staging, "ORCH_STAGING"),
        GateKind::Artifact
        | GateKind::Approval
        | GateKind::Change
        | GateKind::Ci
        | GateKind::LandedTree
        | GateKind::Deployed => return None,
    };
    if !switch.enabled {
        return Some(format!("{name}_ENABLED is false"));
    }
    (!switch.is_on_for(&project.name)).then(|| format!("{} is not in {name}_REPOS", project.name))
}

/// Gates that run a project's command: what they said of the same candidate stands.
const fn reuses_pass(gate: GateKind) -> bool {
    match gate {
        GateKind::Staging | GateKind::Retest | GateKind::Coverage => true,
        GateKind::Artifact
        | GateKind::Approval
        | GateKind::Change
        | GateKind::Ci
        | GateKind::Image
        | GateKind::Security
        | GateKind::LandedTree
        | GateKind::Deployed => false,
    }
}

/// What the gate was told to do, as one line.
fn configuration(engine: &Engine, site: &Site, gate: GateKind) -> String {
    let project = &site.project;
    match gate {
        GateKind::Retest => {
            let command = project.merge_retest_cmd.as_ref().map(|cmd| cmd.words().join(" "));
            let report = project.merge_retest_junit.as_ref().map(|path| format!(" junit {}", path.display()));
            command.unwrap_or_default() + &report.unwrap_or_default()
        }
        GateKind::Staging => {
            project.staging_cmd.as_ref().map(|cmd| cmd.words().join(" ")).unwrap_or_default()
        }
        GateKind::Coverage => project
            .coverage
            .as_ref()
            .map(|coverage| {
                format!(
                    "{} tolerance {} ppm",
                    coverage.cmd.words().join(" "),
                    engine.config.gates.coverage_tolerance_ppm
                )
            })
            .unwrap_or_default(),
        GateKind::Ci => project.required_contexts.join(","),
        GateKind::Artifact
        | GateKind::Approval
        | GateKind::Change
        | GateKind::Image
        | GateKind::Security
        | GateKind::LandedTree
        | GateKind::Deployed => String::new(),
    }
}

fn limit_of(engine: &Engine, site: &Site, gate: GateKind) -> i64 {
    let limits = site.project.limits(&engine.config);
    match gate {
        GateKind::Retest => limits.merge_retest_ms,
        GateKind::Coverage => limits.coverage_ms,
        GateKind::Staging => limits.staging_ms,
        GateKind::Ci => limits.ci_wait_ms,
        GateKind::Deployed => limits.deploy_ms,
        GateKind::Artifact
        | GateKind::Approval
        | GateKind::Change
        | GateKind::Image
        | GateKind::Security
        | GateKind::LandedTree => 60_000,
    }
}

fn count(engine: &Engine, row: &TaskRow, gate: GateKind, verdict: &Verdict, at_ms: i64) {
    let mut tally = engine.counters.tally();
    *tally.verdicts.entry((gate.as_str(), verdict.as_str(), verdict.class())).or_default() += 1;
    match verdict {
        Verdict::Red { .. } | Verdict::Infra { .. } => {
            let failure = LastFailure {
                task: row.id,
                at_ms,
                verdict: verdict.as_str(),
                class: verdict.class(),
                summary: verdict.summary(),
            };
            tally.failures.insert(gate.as_str(), failure);
        }
        Verdict::Pass { .. } | Verdict::Wait { .. } | Verdict::Skipped { .. } => {}
    }
}

/// The image that staging runs is of exactly this candidate. Whatever else its label says, short, marked
/// as dirty or inherited, does not say that.
async fn image(engine: &Engine, site: &Site, row: &TaskRow, head: &str) -> Verdict {
    if site.project.image.is_none() {
        return Verdict::Skipped { why: "no image commands are configured".to_owned() };
    }
    let looked = image_of(engine, site, row, head).await;
    match &looked {
        ImageOf::Revision(revision) if revision == head => Verdict::Pass { evidence: looked.told() },
        // the step before has built it, or found that it was built
        ImageOf::Revision(_) | ImageOf::Nothing => {
            Verdict::Red { findings: vec![format!("{} after a build of {head}", looked.told())] }
        }
        ImageOf::CannotTell(_) => Verdict::Infra { class: InfraClass::Other, detail: looked.told() },
    }
}

/// The finalizer's gate: the deployed revision is the merged one, and healthy.
async fn deployed(engine: &Engine, site: &Site, row: &TaskRow) -> Verdict {
    let Some(merged) = &row.task.merged else {
        return Verdict::Infra { class: InfraClass::Other, detail: "nothing is merged".to_owned() };
    };
    if site.project.deploy.is_none() {
        return Verdict::Skipped { why: "no deploy is configured".to_owned() };
    }
    if planted(Plant::DeployUnchecked) {
        return Verdict::Pass { evidence: "believed".to_owned() };
    }
    let state = match health(engine, site).await {
        Health::Healthy(revision) if revision == *merged => {
            return Verdict::Pass { evidence: format!("{revision} is deployed and healthy") };
        }
        Health::Healthy(revision) => match superseded(site, merged, &revision).await {
            true => {
                return Verdict::Pass { evidence: format!("{revision} is deployed and contains {merged}") };
            }
            false => format!("{revision} is deployed"),
        },
        Health::Unhealthy(why) => format!("not healthy: {why}"),
        Health::CannotTell(why) => format!("the health command could not be asked: {why}"),
    };
    let who = Waitee::Deploy { name: merged.clone() };
    if is_of_this_program(engine, site) {
        // a person or a unit outside deploys it when they think fit, and the core that starts then asks again
        let reason = format!("{}; {state}", by_hand(site, merged));
        return Verdict::Wait { reason, who, until_ms: None };
    }
    let limit_ms = site.project.limits(&engine.config).deploy_ms;
    let left_ms = limit_ms.saturating_sub(engine.waits.of(row.id, Wait::Deploy, 0, engine.wait_clock_ms()));
    let (is_over, told_ms) = match row.task.standing {
        Standing::Waiting { until_ms, .. } => (left_ms < 0, until_ms),
        Standing::Moving {} | Standing::Held { .. } => (left_ms < 0, None),
        // it stays so until it is healthy, or a person acts
        Standing::Blocked { .. } | Standing::Finished {} => (true, None),
    };
    if is_over {
        return Verdict::Red { findings: vec![format!("{merged} is not deployed in time: {state}")] };
    }
    Verdict::Wait { reason: state, who, until_ms: Some(engine.shown_until(told_ms, left_ms)) }
}

/// Whether a later revision that contains ours took its place.
async fn superseded(site: &Site, merged: &str, deployed: &str) -> bool {
    let (Ok(merged), Ok(deployed)) = (crate::git::Sha::parse(merged), crate::git::Sha::parse(deployed))
    else {
        return false;
    };
    site.repo.fetch().await.is_ok() && site.repo.is_ancestor(&merged, &deployed).await.unwrap_or(false)
}

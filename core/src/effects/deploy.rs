//! Start the deploy of the merged revision; and the look at what is deployed.
//!
//! The probe is the health command's own answer, and where that does not name our revision, what the
//! supervisor of the deploy command left behind: a command that ended well has started the deploy, one
//! that was cut off may have, and neither is started again. A command outlives its core and is not
//! swept: its end is waited for.
//!
//! Invariant: the deploy of this very program is never started here (`ORCH_SELF_REPO`).

use std::{collections::BTreeMap, time::Duration};

use orch_contract::ProcessKind;

use crate::{
    chain::chain,
    domain::{
        effect::{EffectOutcome, Probe},
        ids::RunId,
        task::Standing,
    },
    engine::{Engine, Site, waits::Wait},
    process::{
        Adopted, Outcome, Stream,
        short::{EndStatus, ShortCommand},
    },
    runs::{Order, PLAIN_LADDER},
    store::TaskRow,
};

/// Longest wait for one answer of the health command.
const HEALTH_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of its answer that are read.
const HEALTH_OUTPUT_BYTES: usize = 64 * 1024;

/// What the health command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// It prints this revision and is content with it.
    Healthy(String),
    /// It ran and is not content, or prints no revision; in words.
    Unhealthy(String),
    /// It could not be asked.
    CannotTell(String),
}

/// Asks the project's health command.
pub(crate) async fn health(engine: &Engine, site: &Site) -> Health {
    let Some(deploy) = &site.project.deploy else {
        return Health::CannotTell("no deploy is configured".to_owned());
    };
    let argv = deploy.health_cmd.words();
    let Some((program, args)) = argv.split_first() else {
        return Health::CannotTell("the health command is empty".to_owned());
    };
    let command = ShortCommand {
        program: program.into(),
        args: args.iter().map(Into::into).collect(),
        cwd: site.checkouts.clone(),
        env: engine.runs.base_env().iter().map(|(key, value)| (key.into(), value.into())).collect(),
        stdin: None,
        timeout: HEALTH_LIMIT,
        max_output_bytes: HEALTH_OUTPUT_BYTES,
    };
    match engine.runs.ask(command).await {
        Err(error) => Health::CannotTell(chain(&error)),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            match output.status {
                EndStatus::Code(0) if !text.is_empty() => Health::Healthy(text),
                EndStatus::Code(0) => Health::Unhealthy("it printed no revision".to_owned()),
                EndStatus::Code(code) => {
                    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    Health::Unhealthy(format!("exit {code}: {said}"))
                }
                EndStatus::Signal(signal) => Health::CannotTell(format!("signal {signal}")),
            }
        }
    }
}

pub(super) async fn probe(engine: &Engine, site: &Site, row: &TaskRow) -> Probe {
    let Some(merged) = &row.task.merged else { return Probe::Absent };
    match health(engine, site).await {
        Health::Healthy(revision) if revision == *merged => {
            Probe::Done(format!("deployed revision is {revision}"))
        }
        other => not_ours(engine, site, row, merged, other).await,
    }
}

/// Another revision than ours is deployed, or none is known to be: what became of our command tells.
async fn not_ours(engine: &Engine, site: &Site, row: &TaskRow, merged: &str, health: Health) -> Probe {
    let (run, how, is_over) = match begun(engine, row).await {
        Ok(Begun::Not) => {
            return match health {
                Health::Healthy(_) | Health::Unhealthy(_) => Probe::Absent,
                Health::CannotTell(why) => Probe::CannotTell(format!("the health command: {why}")),
            };
        }
        Ok(Begun::Well(run)) => return Probe::Done(started(merged, run)),
        Ok(Begun::CutOff { run, how, is_over }) => (run, how, is_over),
        Err(why) => return Probe::CannotTell(format!("what its command came to: {why}")),
    };
    let state = match health {
        Health::Healthy(revision) => format!("{revision} is deployed"),
        Health::Unhealthy(why) => format!("not healthy: {why}"),
        Health::CannotTell(why) => format!("the health command: {why}"),
    };
    let why = format!("its command was begun and {how} (run {run}); {state}");
    // what it had begun has its time from its end on
    let mark = run.0.saturating_mul(2).saturating_add(i64::from(is_over));
    let waited_ms = engine.waits.of(row.id, Wait::Command, mark, engine.wait_clock_ms());
    let left_ms = site.project.limits(&engine.config).deploy_ms.saturating_sub(waited_ms);
    if left_ms >= 0 {
        let told_ms = match row.task.standing {
            Standing::Waiting { until_ms, .. } => until_ms,
            Standing::Moving {}
            | Standing::Held { .. }
            | Standing::Blocked { .. }
            | Standing::Finished {} => None,
        };
        Probe::UnderWay { why, until_ms: engine.shown_until(told_ms, left_ms) }
    } else {
        Probe::CannotTell(format!("{why}; if it does not come by itself, deploy {merged} by hand"))
    }
}

/// What became of the last deploy command of a task, as the machine tells it. A task is merged once,
/// so that every deploy of it is of that one revision.
enum Begun {
    /// Never started, or it failed by its own word.
    Not,
    /// It ended well.
    Well(RunId),
    /// It was started and did not come to an end of its own.
    CutOff { run: RunId, how: String, is_over: bool },
}

async fn begun(engine: &Engine, row: &TaskRow) -> Result<Begun, String> {
    let runs = engine.store.runs_of(row.id).await.map_err(|error| chain(&error))?;
    // what came of the runs before a person's word that it is to be started again counts no more
    let after = row.task.deploy_after.unwrap_or(0);
    let Some(last) = runs.into_iter().rfind(|run| run.kind == ProcessKind::Deploy && run.id.0 > after) else {
        return Ok(Begun::Not);
    };
    let run = last.id;
    let cut_off = |how: &str| Ok(Begun::CutOff { run, how: how.to_owned(), is_over: true });
    match engine.runs.adopt(run).map_err(|error| chain(&error))? {
        // its go byte may have left: the directory is gone, and with it what would tell
        Adopted::NeverPrepared if last.started_at_ms.is_some() => cut_off("left no record"),
        Adopted::NeverPrepared => Ok(Begun::Not),
        Adopted::Live(_) => Ok(Begun::CutOff { run, how: "is at work".to_owned(), is_over: false }),
        Adopted::Lost { .. } => cut_off("left no record"),
        Adopted::Ended(record) => match record.outcome {
            Outcome::Exited { code: 0 } => Ok(Begun::Well(run)),
            Outcome::Exited { .. } | Outcome::NotStarted { .. } => Ok(Begun::Not),
            Outcome::Signaled { signal } => cut_off(&format!("was ended by signal {signal}")),
            Outcome::TimedOut => cut_off("ran out of its time"),
            Outcome::Stopped => cut_off("was stopped"),
        },
    }
}

/// Whether a deploy would replace this very program (`ORCH_SELF_REPO`). It has to be somebody else's hand: who stops the
/// core ends whatever the core runs.
pub(crate) fn is_of_this_program(engine: &Engine, site: &Site) -> bool {
    engine.config.self_repo.as_deref() == Some(site.project.name.as_str())
}

/// What whoever deploys this program has to do.
pub(crate) fn by_hand(site: &Site, revision: &str) -> String {
    let command = site.project.deploy.as_ref().map_or_else(String::new, |deploy| {
        format!(" (ORCH_REVISION={revision} {})", deploy.cmd.words().join(" "))
    });
    format!("this core deploys no new version of itself: deploy {revision} from outside{command}")
}

fn started(revision: &str, run: RunId) -> String {
    format!("deploy of {revision} started (run {run})")
}

pub(super) async fn act(engine: &Engine, site: &Site, row: &TaskRow) -> EffectOutcome {
    let (Some(deploy), Some(merged)) = (&site.project.deploy, &row.task.merged) else {
        return EffectOutcome::Failed("nothing to deploy".to_owned());
    };
    if is_of_this_program(engine, site) {
        return EffectOutcome::Done(format!("handed over: {}", by_hand(site, merged)));
    }
    let order = Order {
        kind: ProcessKind::Deploy,
        argv: deploy.cmd.words(),
        env: BTreeMap::from([
            ("ORCH_REVISION".to_owned(), merged.clone()),
            ("ORCH_WORK_ITEM".to_owned(), row.task.key.to_string()),
        ]),
        cwd: site.checkouts.clone(),
        timeout_ms: site.project.limits(&engine.config).deploy_ms,
        ladder: PLAIN_LADDER.to_vec(),
    };
    let ended = engine.runs.run(order, Some(row.id)).await;
    if let Ok(ended) = &ended {
        engine.counters.run_ended("deploy", &ended.outcome_text());
    }
    match ended {
        Ok(ended) if ended.succeeded() => EffectOutcome::Done(started(merged, ended.run)),
        Ok(ended) => {
            let said = engine.runs.tail_text(ended.run, Stream::Err).await;
            let last = said.lines().rev().find(|line| !line.trim().is_empty());
            let last = last.map(|line| format!(": {}", line.trim())).unwrap_or_default();
            EffectOutcome::Failed(format!("the deploy command ended with {}{last}", ended.outcome_text()))
        }
        Err(error) => EffectOutcome::Failed(chain(&error)),
    }
}

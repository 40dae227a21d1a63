//! Start the deploy of the merged revision; and the look at what is deployed.
//!
//! The probe is the health command's own answer. A deploy command of an earlier life was swept at
//! the start of this one, so that its act is over, one way or the other, before anyone looks.

use std::{collections::BTreeMap, time::Duration};

use orch_contract::ProcessKind;

use crate::{
    chain::chain,
    domain::effect::{EffectOutcome, Probe},
    engine::{Engine, Site},
    process::{
        Stream,
        short::{EndStatus, ShortCommand},
    },
    runs::Order,
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
        Health::Healthy(_) | Health::Unhealthy(_) => Probe::Absent,
        Health::CannotTell(why) => Probe::CannotTell(format!("the health command: {why}")),
    }
}

pub(super) async fn act(engine: &Engine, site: &Site, row: &TaskRow) -> EffectOutcome {
    let (Some(deploy), Some(merged)) = (&site.project.deploy, &row.task.merged) else {
        return EffectOutcome::Failed("nothing to deploy".to_owned());
    };
    let order = Order {
        kind: ProcessKind::Deploy,
        argv: deploy.cmd.words(),
        env: BTreeMap::from([
            ("ORCH_REVISION".to_owned(), merged.clone()),
            ("ORCH_WORK_ITEM".to_owned(), row.task.key.to_string()),
        ]),
        cwd: site.checkouts.clone(),
        timeout_ms: site.project.limits(&engine.config).deploy_ms,
    };
    let ended = engine.runs.run(order, Some(row.id)).await;
    if let Ok(ended) = &ended {
        engine.counters.run_ended("deploy", &ended.outcome_text());
    }
    match ended {
        Ok(ended) if ended.succeeded() => {
            EffectOutcome::Done(format!("deploy of {merged} started (run {})", ended.run))
        }
        Ok(ended) => {
            let said = engine.runs.tail_text(ended.run, Stream::Err).await;
            let last = said.lines().last().unwrap_or("").trim().to_owned();
            EffectOutcome::Failed(format!("the deploy command ended with {}: {last}", ended.outcome_text()))
        }
        Err(error) => EffectOutcome::Failed(chain(&error)),
    }
}

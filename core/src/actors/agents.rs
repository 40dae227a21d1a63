//! From a claimed job to its settled end: worktree, command, supervised run, settlement.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use orch_contract::ProcessKind;

use super::{
    Stage, failed,
    follow::{Followed, follow},
    settle::{RunFacts, agent_end, settle_run},
};
use crate::{
    agents::{
        claude::{
            command::{self, Session},
            end::AgentEnd,
        },
        prompt::{self, PromptError, PromptFacts},
    },
    chain::chain,
    domain::{actor::Actor, artifact::artifacts_dir, job::JobStatus},
    engine::{Engine, EngineError, Site},
    failpoint::{self, Point},
    git::RepoPath,
    process::{Cookie, CookieError, KillStep, LiveRun},
    projects::{AgentProgram, ClaudeAgent},
    runs::{Order, PLAIN_LADDER, RunError, Watch},
    store::{ClaimedJob, JobRow, JobSettlement, RunEnding, RunRow, StoreError, StreamTold, TaskRow},
};

/// Pause before a job whose start failed for the core's own reasons is tried again.
const START_RETRY_MS: i64 = 5_000;

/// Longest wait for the end of the task's last, cancelled agent.
const LAST_AGENT_PATIENCE_MS: i64 = 30_000;

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("task or project of the job is gone")]
    Gone,
    #[error("the task's last agent has not ended yet")]
    StillThere,
    #[error("make the worktree")]
    Git(#[from] crate::git::GitError),
    #[error("name the branch")]
    Name(#[from] crate::git::NameError),
    #[error("write {what} of the agent")]
    Papers {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("make the prompt")]
    Prompt(#[from] PromptError),
    #[error("take the cookie")]
    Cookie(#[from] crate::process::CookieError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Works a claimed job to its settled end.
pub(super) async fn work(stage: Stage, claimed: ClaimedJob) {
    let engine = &stage.engine;
    let watched = engine.runs.expect(claimed.run, ProcessKind::Agent, Some(claimed.job.task));
    failpoint::hit(Point::JobAfterClaim, claimed.job.role.as_str());
    match start(engine, &claimed, &watched).await {
        Ok(running) => {
            let followed = claimed.agent.map(|_| Followed {
                run: claimed.run,
                told: StreamTold::default(),
                reserved_microusd: claimed.reserved_microusd,
            });
            watch(&stage, &claimed.job, watched, running, followed).await;
        }
        Err(error) => {
            tracing::error!(job = claimed.job.id.0, error = %chain(&error), "an agent could not be started");
            if let Err(error) = give_back(engine, &claimed, &chain(&error)).await {
                failed(engine, "monitor", &error);
            }
        }
    }
}

/// Takes up a run of an earlier life.
pub(crate) fn watch_adopted(stage: &Stage, job: JobRow, run: &RunRow, running: Box<dyn LiveRun>) {
    let followed = run.agent.as_ref().map(|agent| Followed {
        run: run.id,
        told: agent.told.clone(),
        reserved_microusd: run.reserved_microusd,
    });
    let (own, run) = (stage.clone(), run.id);
    stage.work.spawn(async move {
        let watched = own.engine.runs.expect(run, ProcessKind::Agent, Some(job.task));
        watch(&own, &job, watched, running, followed).await;
    });
}

async fn watch(
    stage: &Stage,
    job: &JobRow,
    watched: Watch<'_>,
    running: Box<dyn LiveRun>,
    followed: Option<Followed>,
) {
    let engine = &stage.engine;
    let ended = tokio::select! {
        biased;
        ended = engine.runs.watch(watched, running) => ended,
        never = follow(engine, followed) => match never {},
        // agents outlive the core: the next life takes them up
        () = released(stage) => return,
    };
    let settled = match ended {
        Ok(ended) => {
            failpoint::hit(Point::JobAfterExitRecorded, job.role.as_str());
            engine.counters.run_ended("agent", &ended.outcome_text());
            settle_run(engine, job, &RunFacts::from(&ended), Actor::Monitor).await
        }
        Err(error) => {
            // nothing is known of the run: the reaper asks its lock
            failed(engine, "monitor", &error);
            return;
        }
    };
    if let Err(error) = settled {
        failed(engine, "monitor", &error);
    }
}

/// Resolves when the core ends and leaves agents to their supervisors.
async fn released(stage: &Stage) {
    stage.stop.cancelled().await;
    match stage.engine.config.shutdown.agents {
        crate::config::ShutdownAgents::Keep => {}
        crate::config::ShutdownAgents::Stop => std::future::pending().await,
    }
}

async fn start(
    engine: &Arc<Engine>,
    claimed: &ClaimedJob,
    watched: &Watch<'_>,
) -> Result<Box<dyn LiveRun>, StartError> {
    let job = &claimed.job;
    let row = engine.store.task_by_id(job.task).await?.ok_or(StartError::Gone)?;
    let site = engine.site(&row.task.project).ok_or(StartError::Gone)?;
    site.repo.fetch().await?;
    let branch = site.branch(row.task.key.as_str())?;
    if !engine.runs.agents_gone(row.id, claimed.run, LAST_AGENT_PATIENCE_MS).await {
        return Err(StartError::StillThere);
    }
    // the job is the only open one of its task, and its last agent is gone: nobody works there now
    let worktree = site.repo.ensure_worktree(&branch, engine.clock.now_ms()).await?;
    let prompt = prompt(site, &row, job).await?;
    let program = &site.project.agents.of(job.role).program;
    let call = match program {
        AgentProgram::Command(argv) => Call::plain(argv.words()),
        AgentProgram::Claude(agent) => claude_call(engine, claimed, agent, &prompt).await?,
    };
    let order = order(engine, site, &row, job, worktree.path().to_owned(), &prompt, call)?;
    let cookie = Cookie::try_from(claimed.cookie)?;
    let running = engine.runs.start(watched, cookie, &order).await?;
    failpoint::hit(Point::JobAfterGo, job.role.as_str());
    tracing::info!(
        work_item = %row.task.key, role = %job.role, run = claimed.run.0, attempt = job.attempt, "an agent works"
    );
    Ok(running)
}

/// What is started, and how it is ended.
struct Call {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    ladder: Vec<KillStep>,
}

impl Call {
    fn plain(argv: Vec<String>) -> Self {
        Self { argv, env: BTreeMap::new(), ladder: PLAIN_LADDER.to_vec() }
    }
}

/// Claude Code goes on with the session of the job's last attempt, where that has begun one.
async fn claude_call(
    engine: &Engine,
    claimed: &ClaimedJob,
    agent: &ClaudeAgent,
    prompt: &str,
) -> Result<Call, StartError> {
    let last = engine.store.last_run_of(claimed.job.id, claimed.run).await?;
    let session = match &last {
        Some(last) => match (
            last.agent.as_ref().and_then(|agent| agent.told.session.clone()),
            agent_end(engine, last).await,
        ) {
            (_, Some(AgentEnd::SessionUnknown)) | (None, _) => None,
            (Some(session), _) => Some(session),
        },
        None => None,
    };
    let session = match session {
        Some(session) => Session::Resumed(session),
        None => Session::New(command::session_id(random()?, random()?)),
    };
    let mut env = engine.runs.claude_env().clone();
    env.extend(command::QUIET.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Ok(Call {
        argv: command::argv(&agent.settings, &session, claimed.reserved_microusd, prompt),
        env,
        ladder: command::LADDER.to_vec(),
    })
}

fn random() -> Result<u64, CookieError> {
    getrandom::u64().map_err(|error| CookieError::Random(error.to_string()))
}

/// What the agent is asked to do, by the words of the target branch.
async fn prompt(site: &Site, row: &TaskRow, job: &JobRow) -> Result<String, StartError> {
    let path = RepoPath::parse(&prompt::own_template(job.role))?;
    let own = match site.repo.target_head().await? {
        Some(head) => site.repo.show_file(&head, &path).await?,
        None => None,
    };
    let task = &row.task;
    let facts = PromptFacts {
        key: task.key.to_string(),
        title: task.title.clone(),
        body: task.body.clone(),
        attempt: job.attempt,
        target_branch: site.project.target_branch.clone(),
        findings: task.findings.clone(),
    };
    Ok(prompt::render(job.role, &facts, own.as_deref())?)
}

fn order(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
    job: &JobRow,
    worktree: PathBuf,
    prompt: &str,
    call: Call,
) -> Result<Order, StartError> {
    let project = &site.project;
    let task = &row.task;
    let paper = |folder: &str| engine.config.data_dir.join(folder).join(format!("{}.md", task.key));
    let unwritten = |what| move |source| StartError::Papers { what, source };
    let (findings, prompt_file) = (paper("findings"), paper("prompts"));
    write_findings(&findings, &task.findings).map_err(unwritten("the findings"))?;
    write_paper(&prompt_file, prompt).map_err(unwritten("the prompt"))?;
    let pairs = [
        ("ORCH_WORK_ITEM", task.key.to_string()),
        ("ORCH_TITLE", task.title.clone()),
        ("ORCH_BODY", task.body.clone()),
        ("ORCH_ROLE", job.role.to_string()),
        ("ORCH_STAGE", job.stage.to_string()),
        ("ORCH_ATTEMPT", job.attempt.to_string()),
        ("ORCH_WORKTREE", worktree.display().to_string()),
        ("ORCH_ARTIFACTS_DIR", artifacts_dir(task.key.as_str())),
        ("ORCH_FINDINGS_FILE", findings.display().to_string()),
        ("ORCH_PROMPT_FILE", prompt_file.display().to_string()),
        ("ORCH_TARGET_BRANCH", project.target_branch.clone()),
    ];
    let mut env = call.env;
    env.extend(pairs.map(|(name, value)| (name.to_owned(), value)));
    Ok(Order {
        kind: ProcessKind::Agent,
        argv: call.argv,
        env,
        cwd: worktree,
        timeout_ms: project.agent_timeout_ms(job.role, &engine.config),
        ladder: call.ladder,
    })
}

/// The last roll-back's findings, one a line; no file where there are none.
fn write_findings(path: &std::path::Path, findings: &[String]) -> std::io::Result<()> {
    if findings.is_empty() {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
    }
    let text: String = findings.iter().map(|finding| format!("- {finding}\n")).collect();
    write_paper(path, &text)
}

fn write_paper(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}

/// Gives a job back whose agent was never started: the attempt does not count, the core's own
/// trouble is waited out.
async fn give_back(engine: &Arc<Engine>, claimed: &ClaimedJob, why: &str) -> Result<(), EngineError> {
    let now = engine.clock.now_ms();
    let text = format!("not started: {why}");
    let ending = RunEnding {
        outcome: text.clone(),
        exit_code: None,
        swept: None,
        surviving: None,
        cost_microusd: None,
        cost_kind: None,
        agent: None,
        ended_at_ms: now,
    };
    engine.store.record_run_ended(claimed.run, ending, now).await?;
    let settlement = JobSettlement {
        job: claimed.job.id,
        run: claimed.run,
        status: JobStatus::Queued,
        not_before_ms: Some(now.saturating_add(START_RETRY_MS)),
        counts: false,
        awaits_service: false,
        outcome: text,
        actor: Actor::Monitor,
        at_ms: now,
    };
    engine.store.settle_job(settlement).await?;
    Ok(())
}

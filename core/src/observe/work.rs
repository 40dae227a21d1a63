//! Rows of the document: tasks, jobs, process trees, leases.
//!
//! Puts one snapshot into the words of the wire, joined with what the run directories say. Totals
//! stand in `blocks`.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use orch_contract::{
    AgentRun, Lease, LeaseOwner, OpenTask, PROCESSES_LISTED, ProcessRef, QueuedJob, RepoSlots, RunningJob,
    Slots, StageCount, Standing, SupervisedTree,
};

use super::standing::{of_word, shown};
use crate::{
    counters::Tally,
    domain::{
        budget::{NoRoom, Spending},
        ids::{RunId, TaskId},
        lease::OwnerLiveness,
    },
    engine::Engine,
    process::{ChildIdentity, RunDir, Stream},
    store::{JobRow, RunRow, Snapshot, StoreError},
};

/// Key and project of every task that the document names.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<TaskId, Name>);

#[derive(Debug, Clone)]
struct Name {
    key: String,
    repo: String,
}

impl Names {
    /// Open tasks come with the snapshot; the few others that counters and leases name are read.
    pub(super) async fn gather(
        engine: &Engine,
        snapshot: &Snapshot,
        tally: &Tally,
    ) -> Result<Self, StoreError> {
        let mut names = Self::default();
        for row in &snapshot.open_tasks {
            names.note(row.id, row.task.key.as_str(), &row.task.project);
        }
        let jobs = snapshot.queued.iter().chain(&snapshot.running).map(|job| job.task);
        let gates = tally.failures.values().map(|failure| failure.task);
        let at_work = tally.at_work.values().flatten().map(|work| work.task);
        let leases = snapshot.leases.iter().map(|lease| lease.task);
        for task in jobs.chain(gates).chain(at_work).chain(leases) {
            if !names.0.contains_key(&task)
                && let Some(row) = engine.store.task_by_id(task).await?
            {
                names.note(row.id, row.task.key.as_str(), &row.task.project);
            }
        }
        Ok(names)
    }

    fn note(&mut self, task: TaskId, key: &str, repo: &str) {
        self.0.insert(task, Name { key: key.to_owned(), repo: repo.to_owned() });
    }

    /// The task's key.
    pub(super) fn key(&self, task: TaskId) -> String {
        self.0.get(&task).map_or_else(|| format!("task {task}"), |name| name.key.clone())
    }

    fn repo(&self, task: TaskId) -> String {
        self.0.get(&task).map(|name| name.repo.clone()).unwrap_or_default()
    }
}

/// Tasks by stage and standing. The store counts an agent at work as waiting; on the wire such a
/// task moves, so these are counted over.
pub(super) fn counts(snapshot: &Snapshot) -> Vec<StageCount> {
    let mut counts: Vec<StageCount> = snapshot
        .counts
        .iter()
        .map(|(stage, standing, tasks)| StageCount {
            stage: stage.clone(),
            standing: of_word(standing),
            tasks: *tasks,
        })
        .collect();
    let mut shift = |stage: &str, standing: Standing, by: i64| match counts
        .iter_mut()
        .find(|count| count.stage == stage && count.standing == standing)
    {
        Some(count) => count.tasks = count.tasks.saturating_add_signed(by),
        None => counts.push(StageCount {
            stage: stage.to_owned(),
            standing,
            tasks: u64::try_from(by).unwrap_or(0),
        }),
    };
    for row in &snapshot.open_tasks {
        let (kept, wire) = (of_word(row.task.standing.as_str()), shown(&row.task).standing);
        if kept != wire {
            shift(row.task.stage.as_str(), kept, -1);
            shift(row.task.stage.as_str(), wire, 1);
        }
    }
    counts.retain(|count| count.tasks > 0);
    counts
}

pub(super) fn open_tasks(snapshot: &Snapshot) -> Vec<OpenTask> {
    snapshot
        .open_tasks
        .iter()
        .map(|row| {
            let (task, shown) = (&row.task, shown(&row.task));
            OpenTask {
                work_item: task.key.to_string(),
                repo: task.project.clone(),
                title: task.title.clone(),
                stage: task.stage.to_string(),
                stage_since_ms: task.stage_since_ms,
                standing: shown.standing,
                cause: shown.cause,
                waits_for: shown.waits_for,
                until_ms: shown.until_ms,
            }
        })
        .collect()
}

/// Agents that run, by project of `projects.toml`; a project that is gone from the file and still
/// runs is listed behind them.
pub(super) fn slots(engine: &Engine, snapshot: &Snapshot) -> Slots {
    let jobs = &engine.config.jobs;
    let mut repos: Vec<RepoSlots> = engine
        .projects
        .iter()
        .map(|project| RepoSlots {
            repo: project.name.clone(),
            agents_max: jobs.max_agents_per_repo,
            agents_running: 0,
        })
        .collect();
    for job in &snapshot.running {
        match repos.iter_mut().find(|slots| slots.repo == job.project) {
            Some(slots) => slots.agents_running += 1,
            None => repos.push(RepoSlots {
                repo: job.project.clone(),
                agents_max: jobs.max_agents_per_repo,
                agents_running: 1,
            }),
        }
    }
    let running: u32 = repos.iter().map(|slots| slots.agents_running).sum();
    let room: u32 = repos
        .iter()
        .map(|slots| slots.agents_max.saturating_sub(slots.agents_running))
        .fold(0, u32::saturating_add);
    Slots {
        agents_max: jobs.max_agents,
        agents_free: jobs.max_agents.saturating_sub(running).min(room),
        repos,
    }
}

pub(super) fn queued_jobs(
    engine: &Engine,
    snapshot: &Snapshot,
    names: &Names,
    day: Spending,
    now_ms: i64,
) -> Vec<QueuedJob> {
    let unpaid = day_is_used_up(engine, day);
    let slots = slots(engine, snapshot);
    snapshot
        .queued
        .iter()
        .map(|job| QueuedJob {
            job_id: job.id.0,
            work_item: names.key(job.task),
            repo: job.project.clone(),
            stage: job.stage.to_string(),
            role: job.role.to_string(),
            attempt: job.attempt,
            reason: waits_because(job, &slots, unpaid.as_deref(), now_ms),
            queued_at_ms: job.queued_at_ms,
            not_before_ms: job.not_before_ms,
        })
        .collect()
}

/// Why no agent is started today, in words.
pub(crate) fn day_is_used_up(engine: &Engine, day: Spending) -> Option<String> {
    match engine.config.jobs.budgets.reserve(None, Spending::default(), day) {
        Err(NoRoom::Day { words } | NoRoom::Task { words }) => Some(words),
        Ok(_) => None,
    }
}

fn waits_because(job: &JobRow, slots: &Slots, unpaid: Option<&str>, now_ms: i64) -> String {
    let repo = slots.repos.iter().find(|slots| slots.repo == job.project);
    if job.not_before_ms.is_some_and(|at| at > now_ms) {
        format!("waits for its time: {}", job.reason)
    } else if let Some(words) = unpaid {
        words.to_owned()
    } else if slots.repos.iter().map(|slots| slots.agents_running).sum::<u32>() >= slots.agents_max {
        format!("all {} agent slots are in use (ORCH_MAX_AGENTS)", slots.agents_max)
    } else if let Some(repo) = repo
        && repo.agents_running >= repo.agents_max
    {
        format!("all {} slots of {} are in use (ORCH_MAX_AGENTS_PER_REPO)", repo.agents_max, repo.repo)
    } else {
        "starts next".to_owned()
    }
}

pub(super) async fn running_jobs(
    engine: &Engine,
    snapshot: &Snapshot,
    names: &Names,
) -> Result<Vec<RunningJob>, StoreError> {
    let mut rows = Vec::with_capacity(snapshot.running.len());
    for job in &snapshot.running {
        let Some(id) = job.run else { continue };
        // a run whose exit waits long for its settlement is no longer among the listed ones
        let run = match snapshot.runs.iter().find(|run| run.id == id) {
            Some(run) => Some(run.clone()),
            None => engine.store.run(id).await?,
        };
        if let Some(run) = run {
            rows.push((job, run));
        }
    }
    let dirs: Vec<PathBuf> = rows.iter().map(|(_, run)| engine.runs.dir_of(run.id)).collect();
    let outputs = blocking(move || dirs.iter().map(|dir| last_output_ms(dir)).collect::<Vec<_>>()).await;
    let mut outputs = outputs.into_iter();
    Ok(rows
        .into_iter()
        .map(|(job, run)| RunningJob {
            job_id: job.id.0,
            run_id: run.id.0,
            work_item: names.key(job.task),
            repo: job.project.clone(),
            stage: job.stage.to_string(),
            role: job.role.to_string(),
            attempt: job.attempt,
            started_at_ms: run.started_at_ms.unwrap_or(run.created_at_ms),
            last_output_at_ms: outputs.next().flatten(),
            exit_recorded_at_ms: run.exit_recorded_at_ms,
            cost_microusd: run.ending.as_ref().and_then(|ending| ending.cost_microusd),
            limit_ms: run.timeout_ms,
            agent: run.agent.map(|agent| AgentRun {
                kind: agent.kind.as_str().to_owned(),
                session_id: agent.told.session,
                model: agent.told.model,
                effort: agent.effort,
                reserved_microusd: run.reserved_microusd,
            }),
        })
        .collect())
}

/// Supervised trees, and how many were left out by the cap.
pub(super) async fn trees(engine: &Engine, snapshot: &Snapshot) -> (Vec<SupervisedTree>, u64) {
    // live ones stand first in the snapshot
    let listed: Vec<RunRow> = snapshot.runs.iter().take(PROCESSES_LISTED).cloned().collect();
    let dirs: Vec<(RunId, PathBuf)> = listed.iter().map(|run| (run.id, engine.runs.dir_of(run.id))).collect();
    let children =
        blocking(move || dirs.iter().map(|(run, dir)| child_of(*run, dir)).collect::<Vec<_>>()).await;
    let cut = snapshot.runs.len().saturating_sub(listed.len()) as u64;
    let mut children = children.into_iter();
    let trees = listed
        .into_iter()
        .map(|run| {
            let child: Option<ChildIdentity> = children.next().flatten();
            SupervisedTree {
                kind: run.kind,
                run_id: run.id.0,
                work_item: run.task.and_then(|task| snapshot.keys.get(&task.0).cloned()),
                cookie: run.cookie.to_string(),
                child: child.map(|child| ProcessRef { pid: child.id.pid, start_ticks: child.id.start_ticks }),
                pgid: child.map(|child| child.pgid),
                sid: child.map(|child| child.sid),
                supervisor: run.supervisor.map(|(pid, start_ticks)| ProcessRef { pid, start_ticks }),
                started_at_ms: run.started_at_ms.unwrap_or(run.created_at_ms),
                timeout_ms: run.timeout_ms,
                ended_at_ms: run.ending.as_ref().map(|ending| ending.ended_at_ms),
                outcome: run.ending.map(|ending| ending.outcome),
            }
        })
        .collect();
    (trees, cut)
}

pub(super) fn leases(snapshot: &Snapshot, names: &Names) -> Vec<Lease> {
    snapshot
        .leases
        .iter()
        .map(|lease| Lease {
            work_item: names.key(lease.task),
            repo: names.repo(lease.task),
            edge: lease.edge.clone(),
            fencing: lease.row.fencing.0,
            acquired_at_ms: lease.row.acquired_at_ms,
            owner: LeaseOwner {
                actor: lease.row.actor.to_string(),
                core_boot_id: lease.row.boot_id.to_string(),
                process: ProcessRef { pid: lease.process.0, start_ticks: lease.process.1 },
                alive: Some(match lease.liveness {
                    OwnerLiveness::Live => true,
                    OwnerLiveness::DeadBoot | OwnerLiveness::DeadOwner => false,
                }),
            },
        })
        .collect()
}

/// Looks at local files off the runtime's threads. Nothing of a look that panicked is known.
async fn blocking<T: Send + 'static>(look: impl FnOnce() -> Vec<T> + Send + 'static) -> Vec<T> {
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

fn child_of(run: RunId, dir: &Path) -> Option<ChildIdentity> {
    match RunDir::at(dir).and_then(|dir| dir.read_child()) {
        Ok(child) => child,
        Err(error) => {
            tracing::debug!(%run, %error, "the identity of a run's program could not be read");
            None
        }
    }
}

/// When one of the two output files last grew. A file that is empty was made and never written.
fn last_output_ms(dir: &Path) -> Option<i64> {
    let dir = RunDir::at(dir).ok()?;
    [Stream::Out, Stream::Err]
        .into_iter()
        .filter_map(|stream| {
            let found = std::fs::metadata(dir.stream(stream)).ok().filter(|found| found.len() > 0)?;
            let since = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_millis()).ok()
        })
        .max()
}

//! Supervised runs as the core starts, watches, stops and finds them again.
//!
//! The order of a start is the point: row and cookie are committed, then the supervisor is
//! prepared, then its identity is committed, and only then does the go byte leave. A crash between
//! any two of these neither loses a run nor starts one twice. This module settles nothing: what an
//! end means for a job or a gate is decided by whoever asked.

pub(crate) mod booking;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use booking::Booking;
use orch_contract::ProcessKind;
use tokio_util::sync::CancellationToken;

use crate::{
    chain::chain,
    clock::Clock,
    config::ProcessConfig,
    domain::ids::{RunId, TaskId},
    process::{
        Adopted, Cookie, ExitRecord, Host, KillSignal, KillStep, LaunchError, LiveRun, Machine, Outcome,
        ReadyRun, RunEnd, RunSpec, Stream, SweepRecord, TreeKill,
        short::{ShortCommand, ShortError, ShortOutput},
    },
    store::{NewRun, RunEnding, Store, StoreError},
};

/// How a program is asked to end that has said nothing else of itself: SIGTERM, and the kill 5 seconds later.
pub const PLAIN_LADDER: [KillStep; 1] = [KillStep { signal: KillSignal::Term, grace_ms: 5_000 }];

/// How often a dying agent is looked for.
const GONE_POLL_MS: i64 = 50;

/// Bytes of a run's output that a finding or an error carries.
pub const TAIL_BYTES: u64 = 8_192;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Order {
    /// What for.
    pub kind: ProcessKind,
    /// Program and arguments; at least the program.
    pub argv: Vec<String>,
    /// Environment beyond the base allow-list.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Wall-clock limit.
    pub timeout_ms: i64,
    /// How the program is asked to end, rung by rung; the kill of the tree stands behind the last.
    pub ladder: Vec<KillStep>,
}

/// A failed step of a run: the core's side, never the program's.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A cookie could not be drawn.
    #[error(transparent)]
    Cookie(#[from] crate::process::CookieError),
    /// The supervisor could not be started or watched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The command is empty.
    #[error("the command is empty")]
    NoCommand,
    /// Its job was cancelled, or its stop was asked for, before the program was started.
    #[error("it is no longer wanted")]
    NoLongerWanted,
}

/// How a run ended, in words of this core.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Which run.
    pub run: RunId,
    /// Whether the program can have been started at all.
    pub started: bool,
    /// The record, unless the supervisor was lost.
    pub record: Option<ExitRecord>,
    /// What was swept: by the supervisor, or by the core after it was lost.
    pub swept: Option<SweepRecord>,
}

/// A run that the core watches.
#[derive(Debug, Clone)]
struct Watched {
    kind: ProcessKind,
    task: Option<TaskId>,
    stop: CancellationToken,
}

/// Starts and watches runs.
#[derive(Debug)]
pub struct Runs {
    store: Store,
    clock: Clock,
    config: ProcessConfig,
    dir: PathBuf,
    machine: Arc<dyn Machine>,
    base_env: BTreeMap<String, String>,
    claude_env: BTreeMap<String, String>,
    // in the order of runs: who is told to stop first does not depend on chance
    watched: Mutex<BTreeMap<RunId, Watched>>,
    /// Tasks whose gates may not begin, by how many ask for it.
    held: Mutex<BTreeMap<TaskId, usize>>,
}

/// A task's gates are held back until this is dropped.
#[derive(Debug)]
pub struct GatesHeld<'a> {
    runs: &'a Runs,
    task: TaskId,
}

impl Drop for GatesHeld<'_> {
    fn drop(&mut self) {
        let mut held = self.runs.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.task) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.task);
            }
        }
    }
}

/// A look at a candidate, which can be stopped and done again.
const fn is_gate(kind: ProcessKind) -> bool {
    matches!(kind, ProcessKind::Retest | ProcessKind::Coverage | ProcessKind::Security | ProcessKind::Staging)
}

/// A run on the list of watched ones, from before its first step to its recorded end: whoever asks
/// for its stop meanwhile is heard. It leaves the list with this value, also when the watcher is
/// aborted.
#[derive(Debug)]
pub struct Watch<'a> {
    runs: &'a Runs,
    run: RunId,
    stop: CancellationToken,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.runs.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

impl Runs {
    /// Runs below `dir`, supervised by `self_exe`, with `base_env` as the allow-listed part of our
    /// environment.
    #[must_use]
    pub fn new(
        store: Store,
        clock: Clock,
        config: ProcessConfig,
        dir: PathBuf,
        self_exe: PathBuf,
        base_env: BTreeMap<String, String>,
    ) -> Self {
        Self::on(Arc::new(Host { self_exe }), store, clock, config, dir, base_env)
    }

    /// The same on another machine than this one.
    #[must_use]
    pub fn on(
        machine: Arc<dyn Machine>,
        store: Store,
        clock: Clock,
        config: ProcessConfig,
        dir: PathBuf,
        base_env: BTreeMap<String, String>,
    ) -> Self {
        Self {
            store,
            clock,
            config,
            dir,
            machine,
            base_env,
            claude_env: BTreeMap::new(),
            watched: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// With what Claude Code is given of our environment beyond `base_env`.
    #[must_use]
    pub fn with_claude_env(mut self, env: BTreeMap<String, String>) -> Self {
        self.claude_env = env;
        self
    }

    /// Environment of Claude Code beyond [`Self::base_env`].
    #[must_use]
    pub const fn claude_env(&self) -> &BTreeMap<String, String> {
        &self.claude_env
    }

    /// Looks at a run of an earlier life.
    ///
    /// # Errors
    /// [`LaunchError`] when it cannot be looked at, which says nothing about the run.
    pub fn adopt(&self, run: RunId) -> Result<Adopted<Box<dyn LiveRun>>, LaunchError> {
        self.machine.adopt(&self.dir_of(run))
    }

    /// Runs a short command that only looks.
    ///
    /// # Errors
    /// [`ShortError`].
    pub async fn ask(&self, command: ShortCommand) -> Result<ShortOutput, ShortError> {
        self.machine.ask(command).await
    }

    /// Directory of a run.
    #[must_use]
    pub fn dir_of(&self, run: RunId) -> PathBuf {
        self.dir.join(run.to_string())
    }

    /// Environment that every child starts from.
    #[must_use]
    pub const fn base_env(&self) -> &BTreeMap<String, String> {
        &self.base_env
    }

    /// Runs an order from its row to its end. For gates and effects, which have no job.
    ///
    /// # Errors
    /// [`RunError`]: the core's own failure; the program's end is in [`Ended`].
    pub async fn run(&self, order: Order, task: Option<TaskId>) -> Result<Ended, RunError> {
        let cookie = Cookie::draw()?;
        let run = self
            .store
            .create_run(NewRun {
                job: None,
                task,
                kind: order.kind,
                attempt: 1,
                cookie: cookie.get(),
                command: order.argv.join(" "),
                timeout_ms: order.timeout_ms,
                created_at_ms: self.clock.now_ms(),
                agent: None,
                reserved_microusd: None,
            })
            .await?;
        let watch = self.expect(run, order.kind, task);
        // on the list by now: whoever holds gates has either stopped it, or is seen here
        if is_gate(order.kind) && self.are_gates_held(task) {
            watch.stop.cancel();
        }
        let running = match self.start(&watch, cookie, &order).await {
            Ok(running) => running,
            Err(error) => {
                self.record_not_started(run, &chain(&error)).await?;
                return Err(error);
            }
        };
        self.watch(watch, running).await
    }

    /// Puts a run on the list of watched ones, before its first step.
    #[must_use]
    pub fn expect(&self, run: RunId, kind: ProcessKind, task: Option<TaskId>) -> Watch<'_> {
        let stop = CancellationToken::new();
        let watched = Watched { kind, task, stop: stop.clone() };
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(run, watched);
        Watch { runs: self, run, stop }
    }

    /// Prepares a supervisor, commits who it is, and gives the go byte.
    ///
    /// # Errors
    /// [`RunError`]; then the program was not started.
    pub async fn start(
        &self,
        watch: &Watch<'_>,
        cookie: Cookie,
        order: &Order,
    ) -> Result<Box<dyn LiveRun>, RunError> {
        let run = watch.run;
        let prepared = self.prepare(run, cookie, order).await?;
        let supervisor = prepared.supervisor();
        let wanted = self
            .store
            .record_run_started(run, supervisor.pid, supervisor.start_ticks, self.clock.now_ms())
            .await?;
        // dropping what was prepared ends its supervisor without a go byte
        if !wanted || watch.stop.is_cancelled() {
            return Err(RunError::NoLongerWanted);
        }
        Ok(prepared.go().await?)
    }

    async fn prepare(
        &self,
        run: RunId,
        cookie: Cookie,
        order: &Order,
    ) -> Result<Box<dyn ReadyRun>, RunError> {
        let (program, args) = order.argv.split_first().ok_or(RunError::NoCommand)?;
        let mut env = self.base_env.clone();
        env.extend(order.env.clone());
        let spec = RunSpec {
            program: program.clone(),
            args: args.to_vec(),
            env,
            cwd: order.cwd.clone(),
            cookie,
            timeout_ms: Some(u64::try_from(order.timeout_ms).unwrap_or(0)),
            kill_ladder: order.ladder.clone(),
            output_cap_bytes: self.config.output_max_bytes,
            tree_kill: if self.config.tree_kill_enabled { TreeKill::On } else { TreeKill::Off },
            max_user_processes: None,
            no_new_privs: self.config.no_new_privs,
        };
        Ok(self.machine.prepare(&spec, &self.dir_of(run)).await?)
    }

    /// Watches a run to its end, sweeping what a lost supervisor left. A stop that was asked for
    /// with [`Self::stop`] is passed on. The end is recorded before this returns.
    ///
    /// # Errors
    /// [`RunError`] when the run cannot be watched: nothing is known of its end then.
    pub async fn watch(&self, watch: Watch<'_>, mut running: Box<dyn LiveRun>) -> Result<Ended, RunError> {
        let (run, stop) = (watch.run, watch.stop.clone());
        let mut told = false;
        let end = loop {
            tokio::select! {
                biased;
                end = running.wait() => break end?,
                () = stop.cancelled(), if !told => {
                    told = true;
                    running.stop()?;
                }
            }
        };
        let ended = match end {
            RunEnd::Recorded(record) => {
                let swept = record.swept.clone();
                Ended { run, started: true, record: Some(record), swept }
            }
            RunEnd::SupervisorLost { cookie } => {
                Ended { run, started: true, record: None, swept: self.sweep_lost(cookie).await }
            }
        };
        self.record_end(&ended).await?;
        Ok(ended)
    }

    /// Kills what a lost supervisor left, by cookie. Nothing when tree kill is switched off.
    pub async fn sweep_lost(&self, cookie: Cookie) -> Option<SweepRecord> {
        if !self.config.tree_kill_enabled {
            return None;
        }
        Some(self.machine.sweep(cookie).await)
    }

    /// Records how a run ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_end(&self, ended: &Ended) -> Result<(), StoreError> {
        self.record_ends(std::slice::from_ref(ended)).await
    }

    /// Records how several runs ended, in one transaction: all of them, or none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_ends(&self, ends: &[Ended]) -> Result<(), StoreError> {
        if ends.is_empty() {
            return Ok(());
        }
        let now = self.clock.now_ms();
        let mut endings = Vec::with_capacity(ends.len());
        for ended in ends {
            endings.push((ended.run, self.ending(ended, now).await?));
        }
        self.store.record_runs_ended(endings, now).await
    }

    async fn ending(&self, ended: &Ended, now_ms: i64) -> Result<RunEnding, StoreError> {
        // what was never begun has said nothing
        let booked = if ended.was_begun() { self.book(ended.run).await? } else { Booking::default() };
        let swept = ended.swept.as_ref().filter(|swept| swept.could_not_look.is_none());
        Ok(RunEnding {
            outcome: ended.outcome_text(),
            exit_code: ended.record.as_ref().and_then(ExitRecord::exit_code),
            swept: swept.map(|swept| swept.killed),
            surviving: swept.map(|swept| swept.survivors.len() as u64),
            cost_microusd: booked.cost.map(|(microusd, _)| microusd),
            cost_kind: booked.cost.map(|(_, kind)| kind),
            ended_at_ms: ended.record.as_ref().map_or(now_ms, |record| record.ended_at_ms),
            agent: booked.agent,
        })
    }

    async fn record_not_started(&self, run: RunId, why: &str) -> Result<(), StoreError> {
        let now = self.clock.now_ms();
        let ending = RunEnding {
            outcome: format!("not started: {why}"),
            exit_code: None,
            swept: None,
            surviving: None,
            cost_microusd: None,
            cost_kind: None,
            ended_at_ms: now,
            agent: None,
        };
        self.store.record_run_ended(run, ending, now).await
    }

    /// The last bytes of a run's output as text.
    pub async fn tail_text(&self, run: RunId, stream: Stream) -> String {
        self.machine.tail(self.stream_path(run, stream), TAIL_BYTES).await
    }

    /// Where a run's output stands.
    #[must_use]
    pub fn stream_path(&self, run: RunId, stream: Stream) -> PathBuf {
        self.dir_of(run).join(match stream {
            Stream::Out => "out",
            Stream::Err => "err",
        })
    }

    /// Asks a watched run to end by its ladder; answers whether it is watched.
    pub fn stop(&self, run: RunId) -> bool {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.get(&run).map(|one| one.stop.cancel()).is_some()
    }

    /// Asks all watched runs of a task to end; answers how many.
    pub fn stop_task(&self, task: TaskId) -> usize {
        self.stop_where(|one| one.task == Some(task))
    }

    /// Asks the gates at work for a task to end: not its agent, its CI, or a deploy that has begun.
    pub fn stop_gates_of(&self, task: TaskId) -> usize {
        self.stop_where(|one| one.task == Some(task) && is_gate(one.kind))
    }

    /// Asks everything at work for a task's edge to end, a deploy too: not its agent, not its CI.
    pub fn stop_edge_of(&self, task: TaskId) -> usize {
        self.stop_where(|one| {
            one.task == Some(task) && !matches!(one.kind, ProcessKind::Agent | ProcessKind::Ci)
        })
    }

    /// Stops the gates at work for a task, and every one that is begun while the answer lives.
    #[must_use]
    pub fn hold_gates(&self, task: TaskId) -> GatesHeld<'_> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner).entry(task).or_default() += 1;
        self.stop_gates_of(task);
        GatesHeld { runs: self, task }
    }

    fn are_gates_held(&self, task: Option<TaskId>) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        task.is_some_and(|task| held.contains_key(&task))
    }

    /// Asks all watched runs to end but agents and deploys: a deploy that has begun is not cut off.
    pub fn stop_gates(&self) -> usize {
        self.stop_where(|one| !matches!(one.kind, ProcessKind::Agent | ProcessKind::Deploy))
    }

    /// Asks every watched run to end, agents too, but deploys.
    pub fn stop_all(&self) -> usize {
        self.stop_where(|one| one.kind != ProcessKind::Deploy)
    }

    /// Whether somebody in this process watches the run.
    #[must_use]
    pub fn is_watched(&self, run: RunId) -> bool {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&run)
    }

    /// Waits until no agent of a task but this run is watched any more, at most `patience_ms`; answers whether
    /// that came. A cancelled agent takes its grace to die, and its worktree is its own until then.
    pub async fn agents_gone(&self, task: TaskId, but: RunId, patience_ms: i64) -> bool {
        let mut waited_ms = 0;
        loop {
            let at_work = {
                let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
                watched
                    .iter()
                    .any(|(run, one)| *run != but && one.task == Some(task) && one.kind == ProcessKind::Agent)
            };
            if !at_work {
                return true;
            }
            if waited_ms >= patience_ms {
                return false;
            }
            self.clock.sleep_ms(GONE_POLL_MS).await;
            waited_ms += GONE_POLL_MS;
        }
    }

    /// Whether any run of a task is watched.
    #[must_use]
    pub fn is_task_watched(&self, task: TaskId) -> bool {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.values().any(|one| one.task == Some(task))
    }

    /// Watched runs.
    #[must_use]
    pub fn watched_count(&self) -> usize {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn stop_where(&self, wanted: impl Fn(&Watched) -> bool) -> usize {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.values().filter(|one| wanted(one)).map(|one| one.stop.cancel()).count()
    }
}

impl Ended {
    /// In words: `exit 0`, `signal 9`, `timed out`, `stopped`, `not started: …`, `supervisor lost`.
    #[must_use]
    pub fn outcome_text(&self) -> String {
        match self.record.as_ref().map(|record| &record.outcome) {
            Some(Outcome::Exited { code }) => format!("exit {code}"),
            Some(Outcome::Signaled { signal }) => format!("signal {signal}"),
            Some(Outcome::TimedOut) => "timed out".to_owned(),
            Some(Outcome::Stopped) => "stopped".to_owned(),
            Some(Outcome::NotStarted { reason }) => format!("not started: {reason:?}"),
            None if !self.started => "never started".to_owned(),
            None => "supervisor lost".to_owned(),
        }
    }

    /// Whether the program itself was ever executed, as far as anybody knows.
    fn was_begun(&self) -> bool {
        self.started
            && !self
                .record
                .as_ref()
                .is_some_and(|record| matches!(record.outcome, Outcome::NotStarted { .. }))
    }

    /// Ended by itself with exit code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.record.as_ref().is_some_and(ExitRecord::succeeded)
    }
}

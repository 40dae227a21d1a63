//! One history: lives of a core in the model world, step by step, from the first to rest.
//!
//! First chance decides who goes on and what goes wrong; then all goes fairly and well, and every
//! task must come to rest. The same choices give the same history, to the byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use orch_core::{
    actors,
    clock::{Clock, ManualTime as _},
    config::CoreConfig,
    domain::{
        actor::Actor,
        event::Event,
        ids::{BootId, TaskId, WorkItemKey},
        job::Role,
        stage::Stage,
        task::Standing,
        transition::Command,
        verdict::Waitee,
    },
    engine::{Engine, EngineError, Life, Request, Site},
    git::TargetBranch,
    guards::Guard,
    projects::Projects,
    runs::Runs,
    serve,
    store::{
        CommitWrite, Expected, Identity, MemoryFile, NewTask, ReclaimReason, Store, StoreError, WhichGrant,
    },
};
use orch_settings::Strings;
use tokio::task::JoinHandle;

use crate::{
    acts::{self, Weather, Webhook},
    choices::Choices,
    judge::{Judge, now},
    ledger::Ledger,
    schedule::{Kind, Open, Schedule},
    world::{Source, World},
};

/// Steps that chance decides, at most.
const STEPS_MAX: u32 = 320;
/// Steps that go well before chance decides, at most: so the weather meets the late part of an edge as
/// often as the early one.
const CALM_STEPS_MAX: u32 = 320;
/// Steps within which everything must come to rest once all goes well.
const FAIR_STEPS_MAX: u32 = 20_000;
/// Steps that may follow each other without time passing.
const BUSY_STEPS_MAX: u32 = 3_000;
/// And the time: less than a jump of the clock, which must delay nothing.
const FAIR_TIME_MAX_MS: i64 = 12 * 3_600_000;
/// How long a task may stand for a robbed owner that has ended, once nobody is at work any more: a pass of
/// the monitor and its pause, with room. The reconciler comes far later.
const PARKED_MAX_MS: i64 = 10_000;
/// Retries by a person that make good what failing calls and commands cost.
const RETRIES_MAX: u32 = 2;
/// Lives of one history, at most.
const LIVES_MAX: u32 = 8;
const DAY_MS: i64 = 86_400_000;

const PROJECT: &str = r#"[[project]]
name = "model"
key_prefix = "M"
forge = "local"
source = "/model/source"
required_contexts = ["ci"]
ci_cmd = ["ci"]
merge_retest_cmd = ["pytest"]
coverage_cmd = ["coverage"]
coverage_report = "coverage.json"
image_build_cmd = ["image"]
image_revision_cmd = ["image-revision"]
deploy_cmd = ["deploy"]
deploy_health_cmd = ["health"]

[project.agents]
"#;

/// What is the same for every history of one thread.
#[derive(Debug)]
pub struct Ground {
    config: CoreConfig,
    projects: Projects,
    file: MemoryFile,
    lifted: Vec<Guard>,
    _dir: tempfile::TempDir,
}

impl Ground {
    /// Settings, one project, an empty database.
    ///
    /// # Errors
    /// What of it cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let settings = [
            ("ORCH_DATA_DIR", dir.path().display().to_string()),
            ("ORCH_GATE_INFRA_BACKOFF_S", "2".to_owned()),
            ("ORCH_FINALIZER_TICK_S", "20".to_owned()),
            ("ORCH_JOB_BACKOFF_S", "2".to_owned()),
            ("ORCH_CI_TIMEOUT_S", "60".to_owned()),
            ("ORCH_CI_WAIT_S", "120".to_owned()),
            ("ORCH_DEPLOY_TIMEOUT_S", "120".to_owned()),
            ("ORCH_REAPER_TICK_S", "15".to_owned()),
            ("ORCH_REAPER_DEAD_GRACE_S", "20".to_owned()),
            ("ORCH_REAPER_FINALIZE_GRACE_S", "60".to_owned()),
            ("ORCH_RECONCILE_TICK_S", "60".to_owned()),
        ];
        let loaded = CoreConfig::load(&Strings::from_pairs(settings), dir.path());
        let config = loaded.map_err(|problems| anyhow::anyhow!("{problems}"))?.value;
        let mut text = PROJECT.to_owned();
        for role in Role::ALL {
            text.push_str(&format!("{role} = {{ kind = \"command\", command = [\"agent\"] }}\n"));
        }
        let projects = Projects::parse(&text, Path::new("/model"))
            .map_err(|problems| anyhow::anyhow!("the project of the model: {problems:?}"))?;
        Ok(Self { config, projects, file: MemoryFile::new()?, lifted: Vec::new(), _dir: dir })
    }

    /// The same without these guards.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[cfg(debug_assertions)]
    pub fn without(guards: &[Guard]) -> anyhow::Result<Self> {
        Ok(Self { lifted: guards.to_vec(), ..Self::new()? })
    }
}

/// How a history went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What does not hold, if anything.
    pub violation: Option<String>,
    /// Every step, if they were to be told.
    pub steps: Vec<String>,
    /// Every choice.
    pub choices: Vec<u32>,
    /// Number of steps.
    pub count: u32,
    /// Number of lives.
    pub lives: u32,
    /// How the tasks stood at the end.
    pub end: String,
}

/// Runs one history.
///
/// # Errors
/// What keeps it from being run at all: never what it finds.
pub fn run(ground: &Ground, choices: Choices, tells: bool) -> anyhow::Result<Report> {
    ground.file.clear()?;
    let schedule = Schedule::default();
    let target = TargetBranch::parse("main")?;
    let world = World::new(schedule.clone(), target);
    let mut history = History {
        ground,
        schedule,
        world,
        choices,
        judge: Judge::default(),
        weather: Weather::default(),
        calm: 0,
        budget: 0,
        fair: false,
        fair_since_ms: 0,
        fair_steps: 0,
        fair_last_ms: 0,
        fair_busy: 0,
        parked_ms: None,
        retries: RETRIES_MAX,
        answers: Vec::new(),
        life: 0,
        tells,
        report: Report::default(),
    };
    history.begin()?;
    while history.live()? {}
    let mut report = history.report;
    report.choices = history.choices.made().to_vec();
    report.lives = history.life;
    report.end = history.judge.told();
    Ok(report)
}

struct History<'a> {
    ground: &'a Ground,
    schedule: Schedule,
    world: World,
    choices: Choices,
    judge: Judge,
    weather: Weather,
    calm: u32,
    budget: u32,
    fair: bool,
    fair_since_ms: i64,
    fair_steps: u32,
    fair_last_ms: i64,
    fair_busy: u32,
    parked_ms: Option<i64>,
    retries: u32,
    answers: Vec<JoinHandle<Result<(), EngineError>>>,
    life: u32,
    tells: bool,
    report: Report,
}

/// What a step leads to.
enum Next {
    On,
    /// Another life begins.
    Dead,
    /// The history is at its end.
    Over,
}

/// The life that is, while it is.
struct Now {
    engine: Arc<Engine>,
    quiet: Store,
    up: Option<JoinHandle<Result<actors::Stage, serve::StartError>>>,
    stage: Option<actors::Stage>,
    down: Option<JoinHandle<()>>,
}

impl History<'_> {
    fn tell(&mut self, step: impl FnOnce() -> String) {
        self.report.count += 1;
        if self.tells {
            self.report.steps.push(format!("{:>5} {}", self.report.count, step()));
        }
    }

    fn wrong(&mut self, what: String) -> Next {
        self.tell(|| format!("VIOLATION {what}"));
        self.report.violation = Some(what);
        Next::Over
    }

    /// Weather, tasks, and how long chance rules.
    fn begin(&mut self) -> anyhow::Result<()> {
        let choices = &mut self.choices;
        let storm = choices.chance(75);
        let mut often = |percent: u32| choices.chance(percent);
        self.weather = Weather {
            crashes: often(60),
            panics: often(25),
            losses: often(40),
            slow_deploys: often(30),
            failures: often(35) && storm,
            jumps: often(25) && storm,
            red: often(35) && storm,
            meddling: often(35) && storm,
            operator: often(35) && storm,
            deaf: often(25) && storm,
            hands: often(25) && storm,
            kills: often(20) && storm,
        };
        self.world.outside().owners_end = !self.weather.panics;
        self.world.outside().owners_live = !(self.weather.operator || self.weather.failures);
        self.world.outside().slots_last =
            !(self.weather.panics || self.weather.operator || self.weather.failures || self.weather.jumps);
        let store = self.store(0);
        self.schedule.let_all_through(true);
        let tasks = 1 + self.choices.below(2);
        for number in 1..=tasks {
            let start = match self.choices.below(4) {
                0 | 1 => Stage::DeployStaging,
                2 => Stage::Development,
                _ => Stage::Created,
            };
            self.take_in(&store, number, start)?;
        }
        self.calm = if self.choices.chance(60) { self.choices.below(CALM_STEPS_MAX) } else { 0 };
        self.budget = self.calm + 40 + self.choices.below(STEPS_MAX - 40);
        let weather = self.weather;
        self.tell(|| format!("{weather:?}, {tasks} tasks"));
        let looked = self.judge.look(&store, &self.world.outside());
        self.schedule.let_all_through(false);
        looked.map_err(anyhow::Error::msg)
    }

    /// A task in its stage, with what the roles before have left.
    fn take_in(&self, store: &Store, number: u32, start: Stage) -> anyhow::Result<()> {
        let key = WorkItemKey::parse(&format!("M-{number}"))?;
        let new = NewTask {
            key: key.clone(),
            project: "model".to_owned(),
            title: format!("work item {number}"),
            body: String::new(),
            actor: Actor::PlaneWebhook,
            who: None,
        };
        let at_ms = self.schedule.now_ms();
        let (row, _) = now(store.create_task(new, at_ms))?;
        let mut outside = self.world.outside();
        if start == Stage::Created {
            outside.webhooks.push((Source::Tracker, key.as_str().to_owned()));
            return Ok(());
        }
        let target = outside.target.clone();
        outside.local.insert(key.as_str().to_owned(), target);
        let mut events = Vec::new();
        let mut from = Stage::Created;
        while from != start {
            let Some(to) = from.row().next else { break };
            if let Some(role) = from.row().role {
                outside.work(key.as_str(), role.as_str(), true, false);
            }
            events.push(Event::Entered { from, to });
            from = to;
        }
        // the work of the roles before is on the forge
        outside.publish(key.as_str(), &format!("work item {number}"));
        events.push(Event::PullRequestOpened { number: i64::try_from(outside.pulls.len())? });
        let role = start.row().role;
        events.extend(role.map(|role| Event::JobQueued { role }));
        let write = CommitWrite {
            task: row.id,
            expected: Expected::At { stage: row.task.stage, version: row.task.version },
            actor: Actor::Operator,
            who: None,
            reason: "the history begins here".to_owned(),
            events,
            enqueue: role.map(|role| (role, self.ground.config.jobs.attempts)),
            cancel_jobs: false,
            at_ms,
        };
        anyhow::ensure!(now(store.commit(None, write))?.is_some(), "nobody else writes yet");
        Ok(())
    }

    /// The store as life `number` sees it. Every life has the same pid, as in a container.
    fn store(&self, number: u32) -> Store {
        let identity = Identity { boot_id: BootId(format!("life {number}")), pid: 1, start_ticks: 1 };
        let store = self.ground.file.open(identity, Arc::new(self.schedule.clone()));
        #[cfg(debug_assertions)]
        for guard in &self.ground.lifted {
            store.guards().lift(*guard);
        }
        store
    }

    fn engine(&self, store: Store) -> Arc<Engine> {
        let clock = Clock::Manual(Arc::new(self.schedule.clone()));
        let config = self.ground.config.clone();
        let world = Arc::new(self.world.clone());
        let sites = self.ground.projects.iter().map(|project| Site {
            project: project.clone(),
            forge: Arc::clone(&world) as _,
            repo: Arc::clone(&world) as _,
            checkouts: config.data_dir.join("checkouts"),
        });
        let sites = sites.collect();
        let runs = Runs::on(
            world,
            store.clone(),
            clock.clone(),
            config.processes.clone(),
            config.data_dir.join("runs"),
            BTreeMap::new(),
        );
        Arc::new(Engine::new(config, self.ground.projects.clone(), store, clock, sites, Arc::new(runs)))
    }

    /// One life; false when the history is at its end.
    fn live(&mut self) -> anyhow::Result<bool> {
        self.life += 1;
        // all tasks run until each stands at a gate; only then is the root asked what comes next
        let runtime = tokio::runtime::Builder::new_current_thread().event_interval(u32::MAX).build()?;
        let next = runtime.block_on(async {
            let store = self.store(self.life);
            let engine = self.engine(store.clone());
            match Ledger::new(store.clone(), self.schedule.clone(), self.world.clone()) {
                Ok(ledger) => self.schedule.tell(Some(Arc::new(ledger))),
                Err(error) => return self.wrong(format!("the store cannot be read: {error}")),
            }
            let starting = Arc::clone(&engine);
            let up = tokio::spawn(async move { serve::bring_up(&starting).await });
            let mut life = Now { engine, quiet: store, up: Some(up), stage: None, down: None };
            loop {
                tokio::task::yield_now().await;
                match self.step(&mut life).await {
                    Next::On => {}
                    other => return other,
                }
            }
        });
        // whatever waited anywhere is gone with it, as in a crash
        self.answers.clear();
        self.schedule.tell(None);
        drop(runtime);
        self.schedule.clear();
        self.world.core_died();
        Ok(matches!(next, Next::Dead))
    }

    async fn step(&mut self, life: &mut Now) -> Next {
        if let Err(what) = self.settle_handles(life).await {
            return match what {
                Some(what) => self.wrong(what),
                None => Next::Dead,
            };
        }
        // only a person or the machine ends a life: nothing that the core itself runs or decides
        if life.down.is_none() && life.engine.life() == Life::Stopping {
            return self.wrong("I11: the core ends by itself".to_owned());
        }
        if !self.fair && self.report.count >= self.budget {
            self.fair = true;
            self.fair_since_ms = self.schedule.passed_ms();
            self.fair_steps = 0;
            let told = self.judge.told();
            self.tell(|| format!("from here on all goes well: {told}"));
        }
        let calm = self.fair || self.report.count < self.calm;
        let next = if calm { self.fair_step(life) } else { self.wild_step(life) };
        match next {
            Ok(Next::On) => {}
            Ok(other) => return other,
            Err(what) => return self.wrong(what),
        }
        Next::On
    }

    /// Hears of what has ended. `Err(None)`: this life is over.
    async fn settle_handles(&mut self, life: &mut Now) -> Result<(), Option<String>> {
        if life.up.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(up) = life.up.take()
        {
            match up.await {
                Ok(Ok(stage)) => {
                    life.stage = Some(stage);
                    self.tell(|| "the core is ready".to_owned());
                    self.quietly(|judge, _| judge.look_at_start(&life.quiet)).map_err(Some)?;
                }
                Ok(Err(error)) => {
                    let told = orch_core::chain::chain(&error);
                    self.tell(|| format!("the core does not come up: {told}"));
                    if !self.weather.failures {
                        return Err(Some(format!("I6: the core does not come up: {told}")));
                    }
                    return Err(None);
                }
                Err(_) => {
                    self.tell(|| "the start panics".to_owned());
                    return Err(None);
                }
            }
        }
        if life.down.as_ref().is_some_and(JoinHandle::is_finished) {
            self.tell(|| "the core has ended".to_owned());
            return Err(None);
        }
        let ended = self.answers.extract_if(.., |answer| answer.is_finished()).collect::<Vec<_>>();
        for answer in ended {
            if let Ok(Err(EngineError::Store(
                error @ (StoreError::History(_) | StoreError::Damaged { .. }),
            ))) = answer.await
            {
                return Err(Some(format!("I8: {}", orch_core::chain::chain(&error))));
            }
        }
        Ok(())
    }

    fn quietly<T>(&mut self, look: impl FnOnce(&mut Judge, &World) -> T) -> T {
        self.schedule.let_all_through(true);
        let answer = look(&mut self.judge, &self.world);
        self.schedule.let_all_through(false);
        answer
    }

    fn look(&mut self, life: &Now) -> Result<(), String> {
        self.quietly(|judge, world| judge.look(&life.quiet, &world.outside()))
    }

    fn open(&mut self, life: &Now, gate: u64, how: Open) -> Result<(), String> {
        let told = self.schedule.open(gate, how);
        let wrote = told.starts_with("wrote") || told.starts_with("forge did") || told.starts_with("machine");
        self.tell(|| match how {
            Open::Go => told,
            Open::Fail => format!("{told} FAILS"),
            Open::Panic => format!("{told} PANICS"),
        });
        // a write is in the file when its caller stands behind it
        if wrote { self.look(life) } else { Ok(()) }
    }

    fn wild_step(&mut self, life: &mut Now) -> Result<Next, String> {
        let ready = self.schedule.ready();
        let roll = self.choices.below(100);
        if !ready.is_empty() && roll < 75 {
            let count = u32::try_from(ready.len()).unwrap_or(u32::MAX);
            let (gate, kind) = ready[self.choices.below(count) as usize];
            let fails = kind == Kind::Call && self.weather.failures && self.choices.chance(3);
            let sleeps = matches!(kind, Kind::Sleep(_));
            let panics =
                !fails && !sleeps && self.weather.panics && life.stage.is_some() && self.choices.chance(2);
            let how = match (fails, panics) {
                (true, _) => Open::Fail,
                (_, true) => Open::Panic,
                (false, false) => Open::Go,
            };
            self.open(life, gate, how)?;
            return Ok(Next::On);
        }
        if roll < 90 {
            let possible = acts::possible(&self.world.outside(), self.weather, false);
            if !possible.is_empty() {
                let count = u32::try_from(possible.len()).unwrap_or(u32::MAX);
                let act = &possible[self.choices.below(count) as usize];
                return self.act(life, act, false);
            }
        }
        if roll >= 97
            && let Some(next) = self.disaster(life)
        {
            return Ok(next);
        }
        if roll >= 94 && self.weather.operator && life.engine.life() == Life::Ready {
            self.meddle(life);
            return Ok(Next::On);
        }
        if self.approve(life) {
            return Ok(Next::On);
        }
        self.schedule.pass_time();
        let passed = self.schedule.passed_ms();
        self.tell(|| format!("time passes to {passed} ms"));
        Ok(Next::On)
    }

    fn fair_step(&mut self, life: &mut Now) -> Result<Next, String> {
        self.fair_steps += 1;
        let passed_ms = self.schedule.passed_ms();
        if passed_ms != self.fair_last_ms {
            (self.fair_last_ms, self.fair_busy) = (passed_ms, 0);
        }
        self.fair_busy += 1;
        if self.fair_busy > BUSY_STEPS_MAX {
            return Err(format!("I7: {BUSY_STEPS_MAX} steps without a pause: {}", self.judge.told()));
        }
        if let Some((gate, _)) = self.schedule.ready().first() {
            self.open(life, *gate, Open::Go)?;
        } else {
            let possible = acts::possible(&self.world.outside(), self.weather, true);
            if let Some(act) = possible.first() {
                return self.act(life, act, true);
            }
            if self.judge.rests() && life.down.is_none() && self.answers.is_empty() {
                return self.rest(life);
            }
            // a trigger whose entry failed or panicked is the reconciler's to make good
            let lost = self.weather.failures || self.weather.panics;
            self.parked_ms = match self.parked_ms {
                _ if lost || !self.judge.is_any_parked() || life.engine.life() != Life::Ready => None,
                None => Some(passed_ms),
                Some(since) if passed_ms - since > PARKED_MAX_MS => {
                    return Err(format!(
                        "I7: nobody asks for what was taken by force: {}",
                        self.judge.told()
                    ));
                }
                since => since,
            };
            if !self.approve(life) && !self.schedule.pass_time() {
                return Err(format!("I7: nobody waits for anything: {}", self.judge.told()));
            }
        }
        let took_ms = self.schedule.passed_ms() - self.fair_since_ms;
        if self.fair_steps > FAIR_STEPS_MAX || took_ms > FAIR_TIME_MAX_MS {
            return Err(format!(
                "I7: no rest after {} steps and {took_ms} ms: {}",
                self.fair_steps,
                self.judge.told()
            ));
        }
        Ok(Next::On)
    }

    /// The end, where all must be well.
    fn rest(&mut self, life: &Now) -> Result<Next, String> {
        self.look(life)?;
        let weather = self.weather;
        // what failing calls and commands cost, a person's retry makes good: the way out that each task names
        if (weather.operator || weather.failures) && self.retries > 0 && self.judge.blocked().next().is_some()
        {
            self.retries -= 1;
            self.fair_busy = 0;
            self.retry_all(life);
            return Ok(Next::On);
        }
        self.quietly(|judge, world| judge.all_done(&world.outside(), weather))?;
        let told = self.judge.told();
        self.tell(|| format!("at rest: {told}"));
        Ok(Next::Over)
    }

    /// A person retries what nobody outside has made impossible; false when there is nothing.
    fn retry_all(&mut self, life: &Now) -> bool {
        let excuses = self.world.outside().excuses.clone();
        let blocked = self.judge.blocked().filter(|task| !excuses.contains_key(task.key.as_str()));
        let keys: Vec<WorkItemKey> = blocked.map(|task| task.key.clone()).collect();
        let any = !keys.is_empty();
        for key in keys {
            self.tell(|| format!("a person retries {key}"));
            let engine = Arc::clone(&life.engine);
            self.answers.push(tokio::spawn(async move {
                engine.operate(&key, Command::Retry, "ann", "its way out").await.map(drop)
            }));
        }
        any
    }

    fn act(&mut self, life: &Now, act: &acts::Act, calm: bool) -> Result<Next, String> {
        let (told, webhook) =
            acts::act(&mut self.world.outside(), act, self.weather, calm, &mut self.choices);
        self.tell(|| told);
        if let Some(webhook) = webhook
            && life.engine.life() == Life::Ready
        {
            self.deliver(life, webhook);
        }
        self.look(life)?;
        Ok(Next::On)
    }

    fn deliver(&mut self, life: &Now, (source, key): Webhook) {
        let actor = match source {
            Source::Forge => Actor::GiteaWebhook,
            Source::Tracker => Actor::PlaneWebhook,
        };
        let Ok(key) = WorkItemKey::parse(&key) else { return };
        let engine = Arc::clone(&life.engine);
        self.answers.push(tokio::spawn(async move {
            engine.advance(&key, Request::advance(actor, "a webhook said so")).await.map(drop)
        }));
    }

    /// A person approves the first brief that waits; false when none does.
    fn approve(&mut self, life: &Now) -> bool {
        let waits =
            |standing: &Standing| matches!(standing, Standing::Waiting { who: Waitee::Person { .. }, .. });
        let found =
            self.judge.tasks().find(|(_, task)| task.stage == Stage::Analysis && waits(&task.standing));
        let Some(key) = found.map(|(_, task)| task.key.clone()) else { return false };
        if life.engine.life() != Life::Ready || !self.answers.is_empty() {
            return false;
        }
        let engine = Arc::clone(&life.engine);
        self.tell(|| format!("a person approves the brief of {key}"));
        self.answers.push(tokio::spawn(async move {
            match engine.approve(&key, "ann", "fine", None).await {
                Err(orch_core::engine::ApproveError::Engine(error)) => Err(error),
                Ok(_) | Err(_) => Ok(()),
            }
        }));
        true
    }

    fn meddle(&mut self, life: &Now) {
        // nobody releases what nobody holds
        let held = self.quietly(|_, _| now(life.quiet.held_leases())).unwrap_or_default();
        let owned: BTreeSet<TaskId> = held.into_iter().map(|lease| lease.task).collect();
        let releases = !owned.is_empty() && self.choices.chance(50);
        let tasks = self.judge.tasks().filter(|(id, _)| !releases || owned.contains(id));
        let tasks: Vec<WorkItemKey> = tasks.map(|(_, task)| task.key.clone()).collect();
        let count = u32::try_from(tasks.len()).unwrap_or(1);
        let Some(key) = tasks.get(self.choices.below(count) as usize).cloned() else { return };
        let engine = Arc::clone(&life.engine);
        let command = match if releases { 8 } else { self.choices.below(8) } {
            0..=3 => Command::Retry,
            4 => Command::Redeploy,
            5 | 6 => Command::RollBack { why: "not so".to_owned() },
            7 => Command::Cancel,
            _ => {
                self.tell(|| format!("a person releases the lease of {key}"));
                self.answers.push(tokio::spawn(async move {
                    engine
                        .force_release(
                            &key,
                            Actor::Operator,
                            Some("ann".to_owned()),
                            "as I say",
                            ReclaimReason::Forced,
                            WhichGrant::Present,
                        )
                        .await?;
                    Ok(())
                }));
                return;
            }
        };
        if command == Command::Cancel {
            self.world.outside().cancels.insert(key.as_str().to_owned());
        }
        self.tell(|| format!("a person asks {key} for {command:?}"));
        self.answers.push(tokio::spawn(async move {
            engine.operate(&key, command, "ann", "as I say").await.map(drop)
        }));
    }

    /// A crash, an orderly end, or a jump of the clock.
    fn disaster(&mut self, life: &mut Now) -> Option<Next> {
        let roll = self.choices.below(10);
        if roll < 4 && self.weather.jumps {
            let by = if roll < 2 { DAY_MS } else { -DAY_MS };
            self.schedule.jump(by);
            self.tell(|| format!("the clock jumps by {by} ms"));
            return Some(Next::On);
        }
        if !self.weather.crashes || self.life >= LIVES_MAX {
            return None;
        }
        if roll == 9
            && life.down.is_none()
            && let Some(stage) = life.stage.clone()
        {
            self.tell(|| "the core is told to end".to_owned());
            life.down = Some(tokio::spawn(serve::shut_down(stage)));
            return Some(Next::On);
        }
        self.tell(|| "CRASH".to_owned());
        Some(Next::Dead)
    }
}

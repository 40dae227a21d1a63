//! The machine in the model: supervisors and their programs, which outlive a life of the core.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    path::{Path, PathBuf},
    task::{Poll, Waker},
};

use orch_core::process::{
    Adopted, Cookie, ExitRecord, LaunchError, LiveRun, Machine, MachineFuture, NotStarted, Outcome, ReadyRun,
    RunEnd, RunSpec, StopSent, Stream, StreamEnd, SweepRecord,
    short::{EndStatus, ShortCommand, ShortError, ShortOutput},
};
use proc_identity::ProcessId;

use super::World;

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Its supervisor waits for the go byte.
    Ready,
    /// Its program runs.
    Alive,
    /// Its supervisor left this record.
    Ended(ExitRecord),
    /// Its supervisor was killed and left none.
    Lost,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where it is.
    pub state: RunState,
    /// Program: `agent`, `pytest`, `coverage`, `image`, `deploy`.
    pub program: String,
    /// Its order.
    pub env: BTreeMap<String, String>,
    /// Where it works.
    pub cwd: PathBuf,
    /// Its mark.
    pub cookie: Cookie,
    /// Whether its supervisor was told to stop.
    pub told: bool,
    /// Place in the list of deploys that were begun.
    pub deploy: Option<usize>,
    /// Who waits for its end.
    pub wakers: Vec<Waker>,
}

impl Run {
    /// The work item it works for.
    #[must_use]
    pub fn key(&self) -> &str {
        self.env.get("ORCH_WORK_ITEM").map_or("", String::as_str)
    }

    /// Its end, which wakes whoever waits.
    pub fn end(&mut self, outcome: Outcome) {
        let swept = SweepRecord::default();
        self.state = RunState::Ended(ExitRecord {
            outcome,
            child: None,
            started_at_ms: 0,
            ended_at_ms: 0,
            swept: Some(swept),
            out: StreamEnd::default(),
            err: StreamEnd::default(),
        });
        self.wake();
    }

    /// Wakes whoever waits for a change.
    pub fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }
}

/// A handle on one run.
#[derive(Debug)]
struct Handle {
    world: World,
    dir: PathBuf,
    went: bool,
}

impl Machine for World {
    fn prepare<'a>(
        &'a self,
        spec: &'a RunSpec,
        dir: &'a Path,
    ) -> MachineFuture<'a, Result<Box<dyn ReadyRun>, LaunchError>> {
        Box::pin(async move {
            if self.fails("machine", "prepare").await {
                return Err(LaunchError::Spawn(std::io::ErrorKind::OutOfMemory.into()));
            }
            let run = Run {
                state: RunState::Ready,
                program: spec.program.clone(),
                env: spec.env.clone(),
                cwd: spec.cwd.clone(),
                cookie: spec.cookie,
                told: false,
                deploy: None,
                wakers: Vec::new(),
            };
            self.outside().runs.insert(dir.to_owned(), run);
            let handle = Handle { world: self.clone(), dir: dir.to_owned(), went: false };
            self.schedule.step("machine", "prepared").await;
            Ok(Box::new(handle) as Box<dyn ReadyRun>)
        })
    }

    fn adopt(&self, dir: &Path) -> Result<Adopted<Box<dyn LiveRun>>, LaunchError> {
        let outside = self.outside();
        let Some(run) = outside.runs.get(dir) else { return Ok(Adopted::NeverPrepared) };
        Ok(match &run.state {
            RunState::Ready | RunState::Alive => {
                Adopted::Live(Box::new(Handle { world: self.clone(), dir: dir.to_owned(), went: true }))
            }
            RunState::Ended(record) => Adopted::Ended(record.clone()),
            RunState::Lost => Adopted::Lost { cookie: run.cookie },
        })
    }

    fn sweep(&self, cookie: Cookie) -> MachineFuture<'_, SweepRecord> {
        Box::pin(async move {
            self.schedule.step("machine", "sweep").await;
            let mut killed = 0;
            let mut outside = self.outside();
            let outside = &mut *outside;
            for run in outside.runs.values_mut().filter(|run| run.cookie == cookie) {
                if run.state == RunState::Alive {
                    killed += 1;
                    run.end(Outcome::Signaled { signal: 9 });
                    // whether it had begun anything nobody can say any more
                    if run.deploy.is_some() {
                        outside.cut_off.insert(run.key().to_owned());
                    }
                }
            }
            SweepRecord { killed, ..SweepRecord::default() }
        })
    }

    fn ask(&self, command: ShortCommand) -> MachineFuture<'_, Result<ShortOutput, ShortError>> {
        Box::pin(async move {
            let of_image = command.program == "image-revision";
            let deaf = self.fails("machine", if of_image { "image revision" } else { "health" }).await;
            let outside = self.outside();
            let said = if of_image { &outside.image } else { &outside.deployed };
            let status = match said {
                _ if deaf || outside.deaf => EndStatus::Signal(9),
                None if !of_image => EndStatus::Code(1),
                Some(_) | None => EndStatus::Code(0),
            };
            let stdout = said.clone().unwrap_or_default().into_bytes();
            Ok(ShortOutput { status, stdout, stderr: Vec::new(), truncated: false })
        })
    }

    fn read<'a>(
        &'a self,
        _dir: &'a Path,
        _stream: Stream,
        _from: u64,
        _bytes: u64,
    ) -> MachineFuture<'a, std::io::Result<Vec<u8>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn tail(&self, _path: PathBuf, _bytes: u64) -> MachineFuture<'_, String> {
        Box::pin(async { String::new() })
    }
}

impl ReadyRun for Handle {
    fn supervisor(&self) -> ProcessId {
        ProcessId { pid: 40, start_ticks: 400 }
    }

    fn go(mut self: Box<Self>) -> MachineFuture<'static, Result<Box<dyn LiveRun>, LaunchError>> {
        Box::pin(async move {
            self.world.schedule.step("machine", "go").await;
            self.went = true;
            {
                let mut outside = self.world.outside();
                outside.began(&self.dir);
            }
            let handle = Self { world: self.world.clone(), dir: self.dir.clone(), went: true };
            handle.world.schedule.step("machine", "gone").await;
            Ok(Box::new(handle) as Box<dyn LiveRun>)
        })
    }
}

impl super::Outside {
    /// A program begins; whatever must never run beside it is told.
    fn began(&mut self, dir: &Path) {
        let Some(run) = self.runs.get(dir).cloned() else { return };
        let beside = |other: &Run| {
            other.state == RunState::Alive && other.program == run.program && other.key() == run.key()
        };
        let twice = self.runs.values().any(beside);
        let mut deploy = None;
        match run.program.as_str() {
            "agent" if twice => self.wrongs.push(format!("two agents: both work for {}", run.key())),
            "deploy" => {
                let revision = run.env.get("ORCH_REVISION").cloned().unwrap_or_default();
                // what came to run by another's hand after the core had looked is nobody's fault
                let stands = self.deployed.as_deref() == Some(&revision)
                    && self.intended.get(&revision) == Some(&self.changes);
                let earlier = self.deploys.iter().any(|(of, end)| *of == revision && *end != Some(false));
                if stands || earlier {
                    self.wrongs.push(format!("I1: {} was deployed twice ({revision})", run.key()));
                }
                deploy = Some(self.deploys.len());
                self.deploys.push((revision, None));
            }
            "image" if self.image == run.env.get("ORCH_REVISION").cloned() => {
                self.wrongs.push(format!("I1: the image of {} was built again, though it stands", run.key()));
            }
            "image" if twice => {
                self.wrongs.push(format!("I1: two builds of the image of {} at once", run.key()));
            }
            "image" | "pytest" | "coverage" if twice && self.owners_live => {
                self.wrongs.push(format!("I3: two {} of {} at once", run.program, run.key()));
            }
            _ => {}
        }
        if let Some(run) = self.runs.get_mut(dir) {
            run.state = RunState::Alive;
            run.deploy = deploy;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.went {
            return;
        }
        // the pipe closed without a go byte
        if let Some(run) = self.world.outside().runs.get_mut(&self.dir)
            && run.state == RunState::Ready
        {
            run.end(Outcome::NotStarted { reason: NotStarted::NoGo });
        }
    }
}

impl LiveRun for Handle {
    fn wait(&mut self) -> MachineFuture<'_, Result<RunEnd, LaunchError>> {
        Box::pin(async move {
            let end = poll_fn(|cx| {
                let mut outside = self.world.outside();
                let Some(run) = outside.runs.get_mut(&self.dir) else { return Poll::Pending };
                match &run.state {
                    RunState::Ready | RunState::Alive => {
                        run.wakers.push(cx.waker().clone());
                        Poll::Pending
                    }
                    RunState::Ended(record) => Poll::Ready(RunEnd::Recorded(record.clone())),
                    RunState::Lost => Poll::Ready(RunEnd::SupervisorLost { cookie: run.cookie }),
                }
            })
            .await;
            self.world.schedule.step("machine", "ended").await;
            Ok(end)
        })
    }

    fn stop(&self) -> Result<StopSent, LaunchError> {
        let mut outside = self.world.outside();
        let Some(run) = outside.runs.get_mut(&self.dir) else { return Ok(StopSent::AlreadyEnded) };
        match run.state {
            RunState::Ready | RunState::Alive => {
                run.told = true;
                Ok(StopSent::Sent)
            }
            RunState::Ended(_) | RunState::Lost => Ok(StopSent::AlreadyEnded),
        }
    }
}

//! The running watchdog: construction and a clean end.
//!
//! Responsible for wiring state, collectors, channels and HTTP, and for stopping them in order:
//! ticks first, then deliveries, then the last save. It decides nothing about signals, and it does not tick:
//! `ticking` does, on a thread of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind as UnixSignal, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cases::{Policy, SignalPolicy};
use crate::chat::{ChatCommands, ScanNow, SharedPollReport};
use crate::clock::{self, Stopwatch};
use crate::commands::SharedCommandCounts;
use crate::commands::desk::Desk;
use crate::config::WatchdogConfig;
use crate::control::server::Control;
use crate::core_poll::CorePoll;
use crate::core_view::{CoreClientError, ReadOnlyClient};
use crate::heartbeat::{Heartbeat, HeartbeatError, HeartbeatSender};
use crate::host::HostWatch;
use crate::http::bounded::Bounded;
use crate::http::{self, Published};
use crate::keeper::{DISK_PATIENCE, Keeper, Worth};
use crate::metrics::View;
use crate::notify::Channel;
use crate::notify::alertmanager::{self, AlertmanagerClient, AlertmanagerError};
use crate::notify::bot_api::{BotApi, BotApiError};
use crate::notify::delivery::{self, Buttons, Delivery, SharedReport};
use crate::notify::log::LogSender;
use crate::notify::retry::Wakes;
use crate::notify::telegram::TelegramSender;
use crate::notify::text::Voice;
use crate::observe::CoreSight;
use crate::proc_watch::{self, ProcWatch};
use crate::sandbox::{Confinement, Writable};
use crate::signals::{SignalKind, Thresholds};
use crate::store::{Opened, Store, StoreError};
use crate::survey::Survey;
use crate::tick::Ticker;
use crate::ticking::{Ticking, TicksError};

/// Longest time of one poll of the core; a shorter tick allows no more than itself.
const CORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for what is under way when the program ends.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Longest wait, once it is told to end, for a tick under way.
const TICK_PATIENCE: Duration = Duration::from_secs(2);

/// Longest wait for a command that holds the state directory, and the distance of two looks.
const HELD_PATIENCE: Duration = Duration::from_secs(1);
const HELD_LOOKS: Duration = Duration::from_millis(50);

/// Why a watchdog did not run, or ended.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The core's address or token.
    #[error(transparent)]
    Core(#[from] CoreClientError),
    /// Telegram's settings.
    #[error(transparent)]
    Telegram(#[from] BotApiError),
    /// Alertmanager's settings.
    #[error(transparent)]
    Alertmanager(#[from] AlertmanagerError),
    /// The heartbeat's settings.
    #[error(transparent)]
    Heartbeat(#[from] HeartbeatError),
    /// The address for metrics and health.
    #[error("listen on {address}")]
    Bind {
        /// As configured.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A pattern of `WATCHDOG_PROC_PATTERNS`.
    #[error("use the patterns: {0}")]
    Patterns(String),
    /// Ticks ended by themselves, or did not when they were told to.
    #[error(transparent)]
    Ticks(#[from] TicksError),
    /// The system refused a thread or a signal handler.
    #[error("{step}")]
    System {
        /// What was tried.
        step: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Looks at the host at once, for `/scan`; may block.
pub type Look = fn(&WatchdogConfig) -> Result<Survey, String>;

/// Runs until a signal asks to stop.
///
/// # Errors
/// When something needed cannot be set up.
pub async fn run(config: &WatchdogConfig, confinement: &Confinement, scan: Look) -> Result<(), ServiceError> {
    tell_confinement(config, confinement);
    let mut terminate = handler(UnixSignal::terminate())?;
    let mut interrupt = handler(UnixSignal::interrupt())?;
    let tick = Duration::from_millis(u64::try_from(config.tick_ms).unwrap_or(u64::MAX));
    let (token, trust) = (config.core.token.as_ref(), &config.trust);
    let core = ReadOnlyClient::new(&config.core.url, token, CORE_TIMEOUT.min(tick), trust)?;
    let channels = channels(config);
    let started_at_ms = clock::wall_ms();
    let opened = tokio::select! {
        opened = open(&config.state_dir, started_at_ms) => opened?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let Opened { store, mut state, set_aside, faults } = opened;
    if let Some((path, reason)) = set_aside {
        let path = path.display();
        tracing::error!(%path, reason, "the state file could not be read; it was set aside, beginning anew");
    }
    for fault in &faults {
        let cause = std::error::Error::source(fault).map(ToString::to_string);
        tracing::error!(error = %fault, cause, "the state cannot be used; watching from memory, and trying again");
    }
    state.outbox.keep_only(&channels);
    let proc = ProcWatch::new(&config.proc, state.proc.clone()).map_err(ServiceError::Patterns)?;
    let telegram = match &config.telegram {
        Some(settings) => Some(TelegramSender::new(settings, state.moved_chat, trust)?),
        None => None,
    };
    let alertmanager = match &config.alertmanager {
        Some(settings) => Some((settings.clone(), AlertmanagerClient::new(settings, trust)?)),
        None => None,
    };
    let heartbeat_sender = config.heartbeat_url.as_ref();
    let heartbeat_sender = heartbeat_sender.map(|url| HeartbeatSender::new(url, trust)).transpose()?;
    let store = Arc::new(store);
    let (keeper, _writer) = Keeper::start(Arc::clone(&store), state)
        .map_err(|source| ServiceError::System { step: "start the state writer", source })?;

    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let mut lines =
        Lines { config, keeper: &keeper, stop: &stop, reports: Vec::new(), wakes: Wakes::default() };
    tasks.spawn(delivery::run(lines.line(Channel::Log), LogSender));
    if let Some(sender) = telegram {
        tasks.spawn(delivery::run(lines.line(Channel::Telegram), sender));
    }
    if let Some((settings, client)) = alertmanager {
        tasks.spawn(alertmanager::run(lines.line(Channel::Alertmanager), settings, client));
    }
    let Lines { reports, wakes, .. } = lines;
    let (minded, stopping) = (keeper.clone().mind(DISK_PATIENCE), stop.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = minded => {}
            () = stopping.cancelled() => {}
        }
    });
    let heartbeat = heartbeat_sender.map(|sender| {
        let heartbeat = Heartbeat::default();
        tasks.spawn(heartbeat.clone().run(sender, stop.clone()));
        heartbeat
    });

    let view = View {
        started_at_ms,
        tick_period_s: Some(tick.as_secs_f64()),
        sandbox: Some(confinement.labels()),
        ..View::default()
    };
    let counts = SharedCommandCounts::default();
    let desk = Desk::new(keeper.clone(), counts.clone());
    let chat_polls = listen(&mut tasks, config, &desk, &keeper, &stop, scan)?;
    attend(&mut tasks, config, desk, wakes, stop.clone());
    let published = Published::new(view.clone(), tick, keeper.clone(), reports.clone());
    let published =
        Arc::new(published.with_commands(counts).with_heartbeat(heartbeat).with_chat_polls(chat_polls));
    let address = serve(&mut tasks, config, Arc::clone(&published), stop.clone()).await?;
    store.serve_at(&address);
    // the first save writes the address down, and shows at once whether the disk takes anything
    keeper.change(|_| ((), Worth::Saving));
    tracing::info!(address, tick_s = tick.as_secs_f64(), host = config.host_label, "watching");

    let ticker = Ticker {
        proc,
        core: Some(CorePoll::new(core)),
        judge: Box::new(proc_watch::judge_family),
        thresholds: thresholds(config),
        policy: policy(config),
        host: HostWatch::new(&config.proc.root),
        channels,
        reports: reports.clone(),
        keeper: keeper.clone(),
        view,
        last_sight: CoreSight::Awaited,
        last_heard: None,
    };
    let mut ticking = Ticking::start(ticker, tick, published, stop.clone())
        .map_err(|source| ServiceError::System { step: "start the ticks", source })?;
    let by = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        _ = ticking.ended() => "the end of its ticks",
    };
    tracing::info!(by, "stopping");
    stop.cancel();
    let ticks = ticking.end_within(TICK_PATIENCE).await;
    if let Err(error) = &ticks {
        tracing::error!(%error, "ending without it");
    }
    let all_ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_PATIENCE, all_ended).await.is_err() {
        tracing::warn!("not everything ended in time");
        tasks.shutdown().await;
    }
    keeper.change(|_| ((), Worth::Saving));
    let flushed = keeper.flush(STOP_PATIENCE).await;
    // the writer is not waited for: it may stand before a disk that never answers, and what was flushed is there
    if !flushed {
        tracing::error!("the state could not be saved at the end");
    }
    Ok(ticks?)
}

fn tell_confinement(config: &WatchdogConfig, confinement: &Confinement) {
    let words = confinement.words(Writable::Below(&config.state_dir));
    if confinement.gaps().is_empty() {
        tracing::info!("confined: {words}");
    } else {
        tracing::warn!("confined in part: {words}");
    }
}

fn handler(kind: UnixSignal) -> Result<tokio::signal::unix::Signal, ServiceError> {
    signal(kind).map_err(|source| ServiceError::System { step: "listen to signals", source })
}

fn channels(config: &WatchdogConfig) -> Vec<Channel> {
    let configured = |channel: &Channel| match channel {
        Channel::Log => true,
        Channel::Telegram => config.telegram.is_some(),
        Channel::Alertmanager => config.alertmanager.is_some(),
    };
    Channel::ALL.into_iter().filter(configured).collect()
}

/// How texts are told on this host.
#[must_use]
pub fn voice(config: &WatchdogConfig) -> Voice {
    Voice { host: config.host_label.clone(), runbook_url: config.runbook_url.clone(), locale: config.locale }
}

/// What the lines to the channels have in common, and what the rest of the program needs of them.
struct Lines<'a> {
    config: &'a WatchdogConfig,
    keeper: &'a Keeper,
    stop: &'a CancellationToken,
    reports: Vec<(Channel, SharedReport)>,
    wakes: Wakes,
}

impl Lines<'_> {
    fn line(&mut self, channel: Channel) -> Delivery {
        let (report, unpark) = (SharedReport::default(), self.wakes.of(channel));
        self.reports.push((channel, report.clone()));
        let (keeper, stop) = (self.keeper.clone(), self.stop.clone());
        let commands = self.config.telegram.as_ref().is_some_and(|telegram| telegram.commands.is_some());
        let buttons = match channel {
            Channel::Telegram if commands => Buttons::Shown,
            Channel::Telegram | Channel::Log | Channel::Alertmanager => Buttons::None,
        };
        Delivery { keeper, voice: voice(self.config).on(channel), buttons, report, unpark, stop }
    }
}

/// Listens to commands by chat, where that is switched on.
fn listen(
    tasks: &mut JoinSet<()>,
    config: &WatchdogConfig,
    desk: &Desk,
    keeper: &Keeper,
    stop: &CancellationToken,
    scan: Look,
) -> Result<Option<SharedPollReport>, ServiceError> {
    let Some(telegram) = &config.telegram else { return Ok(None) };
    let Some(lists) = telegram.commands.clone() else { return Ok(None) };
    let report = SharedPollReport::default();
    let scan = config.proc.enabled.then(|| {
        let config = config.clone();
        let scan: ScanNow = Arc::new(move || scan(&config));
        scan
    });
    let chat = ChatCommands {
        api: BotApi::new(&telegram.api_url, &telegram.bot_token, &config.trust)?,
        lists,
        desk: desk.clone(),
        keeper: keeper.clone(),
        scan,
        locale: config.locale,
        report: report.clone(),
        stop: stop.clone(),
    };
    tasks.spawn(chat.run());
    Ok(Some(report))
}

/// Opens the state directory; a command that changes it meanwhile holds it for a moment.
async fn open(dir: &Path, now_ms: i64) -> Result<Opened, ServiceError> {
    let waited = Stopwatch::start();
    loop {
        match open_aside(dir, now_ms).await? {
            Err(StoreError::Held { .. }) if waited.elapsed() < HELD_PATIENCE => {
                tokio::time::sleep(HELD_LOOKS).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// Opens on a thread of its own: a disk that does not answer must not keep signals from being heard.
async fn open_aside(dir: &Path, now_ms: i64) -> Result<Result<Opened, StoreError>, ServiceError> {
    let (tell, told) = oneshot::channel();
    let wanted = dir.to_owned();
    // nobody listens any more when the program was told to end
    let open = move || drop(tell.send(Store::open(&wanted, now_ms)));
    let no_thread = |source| ServiceError::System { step: "open the state directory", source };
    std::thread::Builder::new().name("state-opener".to_owned()).spawn(open).map_err(no_thread)?;
    told.await.map_err(|_| no_thread(std::io::Error::other("the thread ended without an answer")))
}

/// Listens to commands. A watchdog that cannot be commanded still watches.
fn attend(
    tasks: &mut JoinSet<()>,
    config: &WatchdogConfig,
    desk: Desk,
    wakes: Wakes,
    stop: CancellationToken,
) {
    match Control::bind(&config.state_dir) {
        Ok(control) => {
            tasks.spawn(control.serve(desk, wakes, stop));
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(error = %error, cause, "mute, ack and status cannot reach this watchdog");
        }
    }
}

async fn serve(
    tasks: &mut JoinSet<()>,
    config: &WatchdogConfig,
    published: Arc<Published>,
    stop: CancellationToken,
) -> Result<String, ServiceError> {
    let failed = |source| ServiceError::Bind { address: config.bind, source };
    let listener = TcpListener::bind(config.bind).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?.to_string();
    let server = axum::serve(Bounded::new(listener), http::router(published));
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            ended = server => {
                if let Err(error) = ended {
                    tracing::error!(error = %error, "metrics and health are no longer served");
                }
            }
        }
    });
    Ok(address)
}

/// Thresholds and switches from settings.
#[must_use]
pub fn thresholds(config: &WatchdogConfig) -> Thresholds {
    let signals = &config.signals;
    let switch = |signal: &SignalKind| !match signal {
        SignalKind::ProcBlocking => signals.proc_blocking.enabled,
        SignalKind::ProcOrphaned => signals.proc_orphaned.enabled,
        SignalKind::AgentHung => signals.agent_hung.enabled,
        SignalKind::AgentOverrun => signals.agent_overrun.enabled,
        SignalKind::LeaseStale => signals.lease_stale.enabled,
        SignalKind::StageStuck => signals.stage_stuck.enabled,
        SignalKind::ApprovalWaiting => signals.approval_waiting.enabled,
        SignalKind::QueueStalled => signals.queue_stalled.enabled,
        SignalKind::CoreDown => signals.core_down.enabled,
        SignalKind::CoreDegraded => signals.core_degraded.enabled,
        SignalKind::CpuStarved => signals.cpu_starved.enabled,
        SignalKind::DiskLow => signals.disk_low.enabled,
        SignalKind::DeliveryFailing => signals.delivery_failing.enabled,
        SignalKind::CollectorUnavailable => signals.collector_unavailable.enabled,
        SignalKind::StateUnsaved => signals.state_unsaved.enabled,
    };
    Thresholds {
        proc_age_ms: config.proc.age_ms,
        orphan_grace_ms: config.proc.orphan_grace_ms,
        foreign_grace_ms: config.proc.foreign_grace_ms,
        agent_silent_ms: signals.agent_silent_ms,
        lease_age_ms: signals.lease_age_ms,
        overrun_percent: signals.agent_overrun_percent,
        stage_age_ms: signals.stage_stuck_age_ms,
        approval_age_ms: signals.approval_waiting_age_ms,
        queue_age_ms: signals.queue_stalled_age_ms,
        cpu_starved_percent: signals.cpu_starved_percent,
        disk_low_percent: signals.disk_low_percent,
        delivery_age_ms: signals.delivery_failing_age_ms,
        unsaved_age_ms: signals.state_unsaved_age_ms,
        core_down_polls: signals.core_down_polls,
        disabled: SignalKind::ALL.into_iter().filter(switch).collect(),
    }
}

/// Patience from settings.
#[must_use]
pub fn policy(config: &WatchdogConfig) -> Policy {
    let usual = Policy::default();
    let signals = &config.signals;
    let with = |usual: SignalPolicy, cooldown_ms: i64| SignalPolicy { cooldown_ms, ..usual };
    Policy {
        process: with(usual.process, config.proc.cooldown_ms),
        agent_hung: with(usual.agent_hung, signals.agent_hung.cooldown_ms),
        agent_overrun: with(usual.agent_overrun, signals.agent_overrun.cooldown_ms),
        lease_stale: with(usual.lease_stale, signals.lease_stale.cooldown_ms),
        stage_stuck: with(usual.stage_stuck, signals.stage_stuck.cooldown_ms),
        approval_waiting: with(usual.approval_waiting, signals.approval_waiting.cooldown_ms),
        queue_stalled: with(usual.queue_stalled, signals.queue_stalled.cooldown_ms),
        core_degraded: with(usual.core_degraded, signals.core_degraded.cooldown_ms),
        cpu_starved: with(usual.cpu_starved, signals.cpu_starved.cooldown_ms),
        disk_low: with(usual.disk_low, signals.disk_low.cooldown_ms),
        delivery_failing: with(usual.delivery_failing, signals.delivery_failing.cooldown_ms),
        state_unsaved: with(usual.state_unsaved, signals.state_unsaved.cooldown_ms),
        core_down: SignalPolicy {
            for_ticks: signals.core_down_polls,
            ..with(usual.core_down, signals.core_down.cooldown_ms)
        },
        collector_unavailable: SignalPolicy {
            for_ticks: signals.collector_unavailable_ticks,
            ..with(usual.collector_unavailable, signals.collector_unavailable.cooldown_ms)
        },
    }
}

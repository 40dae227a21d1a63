//! `/metrics` and `/healthz`.
//!
//! Responsible for two read-only pages and nothing else. It shows what the run loop published; it
//! never looks at the host or the core itself, so a scrape costs the same whatever is wrong.

pub mod bounded;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use orch_telemetry::OwnProcess;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::chat::SharedPollReport;
use crate::clock::{self, Stopwatch};
use crate::commands::SharedCommandCounts;
use crate::heartbeat::Heartbeat;
use crate::keeper::Keeper;
use crate::metrics::{self, ChannelView, View};
use crate::notify::Channel;
use crate::notify::delivery::SharedReport;
use crate::proc::redact;

/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Bodies are not read; whoever sends more than this is not a scraper.
const BODY_MAX_BYTES: usize = 1024;

/// How much of a channel's refusal is shown, in characters.
const WHY_MAX_CHARACTERS: usize = 200;

/// A tick may be late by this many periods.
const TICKS_LATE: u32 = 3;

/// A notice may wait this long (five minutes, in milliseconds) before the outbox counts as stuck.
pub const OUTBOX_STUCK_MS: i64 = 300_000;

/// What the run loop publishes and the pages show.
#[derive(Debug)]
pub struct Published {
    view: Mutex<(View, Stopwatch)>,
    tick: Duration,
    keeper: Keeper,
    reports: Vec<(Channel, SharedReport)>,
    commands: SharedCommandCounts,
    heartbeat: Option<Heartbeat>,
    chat_polls: Option<SharedPollReport>,
}

impl Published {
    /// Begins with a view of nothing; the first tick is late after three periods too.
    #[must_use]
    pub fn new(view: View, tick: Duration, keeper: Keeper, reports: Vec<(Channel, SharedReport)>) -> Self {
        Self {
            view: Mutex::new((view, Stopwatch::start())),
            tick,
            keeper,
            reports,
            commands: SharedCommandCounts::default(),
            heartbeat: None,
            chat_polls: None,
        }
    }

    /// Shows these counts of commands.
    #[must_use]
    pub fn with_commands(self, commands: SharedCommandCounts) -> Self {
        Self { commands, ..self }
    }

    /// The same with polls for commands by chat.
    #[must_use]
    pub fn with_chat_polls(self, chat_polls: Option<SharedPollReport>) -> Self {
        Self { chat_polls, ..self }
    }

    /// The same with a heartbeat.
    #[must_use]
    pub fn with_heartbeat(self, heartbeat: Option<Heartbeat>) -> Self {
        Self { heartbeat, ..self }
    }

    /// A regular tick has finished. It was a good one when nothing ails: a watchdog that cannot tell
    /// anybody anything lets its heartbeat stop, which somebody else notices.
    pub fn ticked(&self, view: View) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = (view, Stopwatch::start());
        if let Some(heartbeat) = &self.heartbeat
            && self.ailments().is_empty()
        {
            heartbeat.good_tick();
        }
    }

    /// An early tick has finished: it does not count for health.
    pub fn refreshed(&self, view: View) {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).0 = view;
    }

    /// The view as of now, with what lives elsewhere.
    #[must_use]
    pub fn view(&self) -> View {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        let saved = self.keeper.saved().borrow().clone();
        view.chat_polls = self.chat_polls.as_ref().map(SharedPollReport::read);
        view.heartbeat = self.heartbeat.as_ref().map(Heartbeat::report);
        view.state_writes = saved.attempts;
        view.commands = self.commands.read();
        view.state_write_failures = saved.failures;
        view.state_writes_late = saved.late;
        view.state_unsaved_since_ms = saved.fault.map(|fault| fault.since_ms);
        self.keeper.read(|state| {
            view.mutes = state.alerts.mutes().count();
            view.outbox_dropped = state.outbox.dropped();
            let of_channel = |(channel, report): &(Channel, SharedReport)| {
                let waiting = state.outbox.depth(*channel);
                let oldest_at_ms = state.outbox.oldest_at_ms(*channel);
                (*channel, ChannelView { report: report.read(), waiting, oldest_at_ms })
            };
            view.channels = self.reports.iter().map(of_channel).collect();
        });
        view
    }

    /// Why the watchdog is not well, one line each; empty when it is.
    #[must_use]
    pub fn ailments(&self) -> Vec<String> {
        let mut ailments = Vec::new();
        let since_tick = self.view.lock().unwrap_or_else(PoisonError::into_inner).1.elapsed();
        if since_tick > self.tick * TICKS_LATE {
            ailments.push(format!("the last tick finished {} s ago", since_tick.as_secs()));
        }
        let now = clock::wall_ms();
        for (channel, known) in self.view().channels {
            let name = channel.name();
            if let Some(why) = known.report.parked {
                ailments
                    .push(format!("{name} refuses: {}", redact::plain(why.as_bytes(), WHY_MAX_CHARACTERS)));
            }
            if let Some(why) = known.report.parked_notice_why {
                let parked = known.report.parked_notices;
                ailments.push(format!("{name} refuses {parked} of the notices that wait: {why}"));
            }
            let waited_ms = known.oldest_at_ms.map_or(0, |oldest| now - oldest);
            if waited_ms > OUTBOX_STUCK_MS {
                ailments.push(format!("{name} waits to be told for {} s", waited_ms / 1_000));
            }
        }
        if let Some(fault) = &self.keeper.saved().borrow().fault {
            let unsaved_s = (now - fault.since_ms).max(0) / 1_000;
            ailments.push(format!("the state is not saved for {unsaved_s} s: {}", fault.why));
        }
        ailments
    }
}

/// The two pages.
pub fn router(published: Arc<Published>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(health_page))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT))
        .layer(RequestBodyLimitLayer::new(BODY_MAX_BYTES))
        .with_state(published)
}

async fn metrics_page(State(published): State<Arc<Published>>) -> Response {
    let view = View { own: Some(OwnProcess::look()), ..published.view() };
    match metrics::render(&view) {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => {
            tracing::error!(error = %error, "could not build the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn health_page(State(published): State<Arc<Published>>) -> Response {
    let ailments = published.ailments();
    match ailments.is_empty() {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, ailments.join("\n") + "\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::{Notice, NoticeKind};
    use crate::keeper::Worth;
    use crate::notify::delivery::{FailureReason, Outcome};
    use crate::signals::{CollectorFacts, CollectorName, Entity, Facts, Finding, Severity, SignalKind};
    use crate::store::Store;

    struct World {
        published: Published,
        report: SharedReport,
        _dir: tempfile::TempDir,
    }

    fn world(tick: Duration) -> World {
        let dir = tempfile::tempdir().unwrap();
        let opened = Store::open(dir.path(), 0).unwrap();
        let (keeper, _writer) = Keeper::start(Arc::new(opened.store), opened.state).unwrap();
        let report = SharedReport::default();
        let reports = vec![(Channel::Telegram, report.clone())];
        World { published: Published::new(View::default(), tick, keeper, reports), report, _dir: dir }
    }

    fn waits_since(world: &World, at_ms: i64) {
        let facts = CollectorFacts { collector: CollectorName::Proc, reason: String::new().into() };
        let finding = Finding {
            signal: SignalKind::CollectorUnavailable,
            entity: Entity::Collector(CollectorName::Proc),
            severity: Severity::Warning,
            since_ms: at_ms,
            facts: Facts::Collector(facts),
        };
        world.published.keeper.change(|state| {
            state.outbox.push(&[Channel::Telegram], &Notice { kind: NoticeKind::Alert, at_ms, finding });
            ((), Worth::Keeping)
        });
    }

    #[test]
    fn a_tick_that_is_late_by_more_than_three_periods_is_an_ailment() {
        assert_eq!(world(Duration::from_secs(3_600)).published.ailments(), Vec::<String>::new());
        let late = world(Duration::ZERO).published.ailments();
        assert!(late[0].starts_with("the last tick finished "), "{late:?}");
    }

    #[test]
    fn a_notice_that_waits_too_long_is_an_ailment_and_a_fresh_one_is_none() {
        let hour = Duration::from_secs(3_600);
        let fresh = world(hour);
        waits_since(&fresh, clock::wall_ms());
        assert_eq!(fresh.published.ailments(), Vec::<String>::new());
        let stuck = world(hour);
        waits_since(&stuck, clock::wall_ms() - OUTBOX_STUCK_MS - 1_000);
        assert_eq!(stuck.published.ailments(), ["telegram waits to be told for 301 s"]);
    }

    #[test]
    fn a_notice_that_is_refused_for_what_it_says_is_an_ailment_of_its_own() {
        let world = world(Duration::from_secs(3_600));
        world.report.set_parked(1, Some("BUTTON_DATA_INVALID".to_owned()));
        assert_eq!(
            world.published.ailments(),
            ["telegram refuses 1 of the notices that wait: BUTTON_DATA_INVALID"]
        );
        world.report.set_parked(0, None);
        assert_eq!(world.published.ailments(), Vec::<String>::new());
    }

    #[test]
    fn a_channel_that_refuses_is_an_ailment_until_it_takes_something() {
        let world = world(Duration::from_secs(3_600));
        let refused = Outcome::Refused(FailureReason::Refused, "Forbidden".to_owned());
        world.report.note(Channel::Telegram, &refused);
        assert_eq!(world.published.ailments(), ["telegram refuses: Forbidden"]);
        world.report.note(Channel::Telegram, &Outcome::Taken(None));
        assert_eq!(world.published.ailments(), Vec::<String>::new());
    }
}

//! Every sentence that people read in chat, in every language.
//!
//! Responsible for turning a notice into words: a headline that suffices on a lock screen, then since
//! when, where, evidence, effect, the command to run and the section of the runbook. The order stands
//! here, the words in one module a language. It does not know channels or markup. Invariant: a
//! language that lacks a phrase does not compile. What was not measured is left out, never written
//! as 0.

mod answers;
mod command;
mod english;
mod phrases;
mod russian;
mod said;
mod scan;
mod units;

pub use answers::{ChatWord, about, button, chat, ended_by_command, malformed, reply};
use phrases::{Language, Told};
pub use said::{Said, Span};
pub use scan::{scan, scan_headline, scan_unheard};

use super::Channel;
use crate::cases::{Notice, NoticeKind};
use crate::proc::redact;
use crate::signals::{Ending, Entity, Facts, Finding, Severity, SignalKind};

/// Longest headline of an alert, in characters: what a phone shows without being unlocked.
pub const HEADLINE_MAX: usize = 120;

/// Longest line of a recovery, in characters: there is nothing below it.
pub const RECOVERY_MAX: usize = 200;

/// Room that a claim has in a headline at least, however long the name of its place.
const CLAIM_MIN: usize = 60;

/// Longest command line in a headline, in characters.
const COMMAND_IN_HEADLINE: usize = 28;

/// Longest name of an entity in a list, in characters.
const ENTITY_MAX: usize = 80;

/// How texts are told: in whose name, in which language, with which links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// Name of this host.
    pub host: String,
    /// Address of the runbook; `#section` is put behind it. Absent: the program prints it itself.
    pub runbook_url: Option<String>,
    /// Language.
    pub locale: Locale,
}

impl Voice {
    /// Address of a signal's section of the runbook, if the runbook has one.
    #[must_use]
    pub fn section(&self, signal: SignalKind) -> Option<String> {
        self.runbook_url.as_ref().map(|url| format!("{url}#{}", signal.name()))
    }

    /// The voice of a channel: logs and interfaces are English, whatever people in chat read.
    #[must_use]
    pub fn on(self, channel: Channel) -> Self {
        let locale = match channel {
            Channel::Log | Channel::Alertmanager => Locale::English,
            Channel::Telegram => self.locale,
        };
        Self { locale, ..self }
    }
}

/// Language of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Locale {
    /// English.
    #[default]
    English,
    /// Russian.
    Russian,
}

impl Locale {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::Russian];

    fn language(self) -> &'static dyn Language {
        match self {
            Self::English => &english::English,
            Self::Russian => &russian::Russian,
        }
    }
}

/// A notice in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// Severity mark.
    pub mark: &'static str,
    /// One line that suffices alone.
    pub headline: Said,
    /// Further lines.
    pub lines: Vec<Line>,
}

/// One further line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Prose.
    Prose(Said),
    /// A command to run.
    Command(String),
    /// Another entity that is told under this one: shown even where prose is left out.
    Under(Said),
}

/// A notice in words.
#[must_use]
pub fn notice(notice: &Notice, voice: &Voice) -> Words {
    let language = voice.locale.language();
    let finding = &notice.finding;
    let told = told(language, finding);
    let before = |prefix: &str, said: &Said| Said::of(prefix).and(said.clone());
    let (claim, repeated) = match &notice.kind {
        NoticeKind::Alert => (told.what.clone(), None),
        NoticeKind::Reminder { count } => {
            (before(language.still(), &told.what), Some(language.reminder(*count)))
        }
        NoticeKind::Worse => (before(language.worse(), &told.what), None),
        NoticeKind::Changed => (before(language.changed(), &told.what), None),
        NoticeKind::Flapping { changes } => {
            (before(language.flapping(), &told.subject), Some(language.changes(*changes)))
        }
        NoticeKind::Recovered { lasted_ms, how } => {
            let subject = named(told.subject, finding);
            let claim = Said::of(language.over_after(*lasted_ms)).and(ended(language, subject, how));
            return over(&claim, finding, voice);
        }
    };
    let mut lines =
        vec![prose(language.since(finding.since_ms, notice.at_ms.saturating_sub(finding.since_ms)))];
    lines.extend(repeated.map(prose));
    lines.extend(told.details.into_iter().map(Line::Prose));
    lines.push(Line::Prose(told.effect));
    lines.extend(command::of(finding).map(Line::Command));
    let runbook = Said::of(language.runbook());
    lines.push(Line::Prose(match voice.section(finding.signal) {
        Some(address) => runbook.address(address),
        None => runbook.code(runbook_command(finding.signal)),
    }));
    Words { mark: mark(finding.severity), headline: headline(&claim, HEADLINE_MAX, finding, voice), lines }
}

/// The command that prints a signal's section of the runbook, for whoever has no address of it.
#[must_use]
pub fn runbook_command(signal: SignalKind) -> String {
    format!("orch-watchdog runbook {}", signal.name())
}

/// An alert and its recovery that leave together, in one line.
#[must_use]
pub fn both(alert: &Notice, recovery: &Notice, voice: &Voice) -> Words {
    let language = voice.locale.language();
    let subject = named(told(language, &recovery.finding).subject, &recovery.finding);
    let subject = match &recovery.kind {
        NoticeKind::Recovered { how, .. } => ended(language, subject, how),
        NoticeKind::Alert
        | NoticeKind::Reminder { .. }
        | NoticeKind::Worse
        | NoticeKind::Changed
        | NoticeKind::Flapping { .. } => subject,
    };
    let claim = Said::of(language.was_on(alert.at_ms, recovery.at_ms)).and(subject);
    over(&claim, &recovery.finding, voice)
}

/// The last line of a message that cannot hold them all.
#[must_use]
pub fn more(left_out: usize, voice: &Voice) -> String {
    voice.locale.language().more(left_out)
}

/// The last line of a message that another one goes on with.
#[must_use]
pub fn more_follow(left_out: usize, voice: &Voice) -> String {
    voice.locale.language().more_follow(left_out)
}

/// A message that is sent on purpose, to see whether it arrives.
#[must_use]
pub fn test_alert(voice: &Voice, at_ms: i64) -> Said {
    voice.locale.language().test_alert(&voice.host, at_ms)
}

fn prose(text: String) -> Line {
    Line::Prose(Said::of(text))
}

const OVER: &str = "🟢";

fn over(claim: &Said, finding: &Finding, voice: &Voice) -> Words {
    Words { mark: OVER, headline: headline(claim, RECOVERY_MAX, finding, voice), lines: Vec::new() }
}

/// What ended by its pid, too: runs of one suite have one command line.
fn named(subject: Said, finding: &Finding) -> Said {
    match &finding.facts {
        Facts::Process(facts) => subject.text(format!(" ({})", facts.root_pid)),
        Facts::AgentHung(_)
        | Facts::AgentOverrun(_)
        | Facts::Lease(_)
        | Facts::StageStuck(_)
        | Facts::Approval(_)
        | Facts::QueueStalled(_)
        | Facts::CoreDown(_)
        | Facts::CoreDegraded(_)
        | Facts::CpuStarved(_)
        | Facts::Disk(_)
        | Facts::Channel(_)
        | Facts::Collector(_)
        | Facts::State(_) => subject,
    }
}

fn ended(language: &dyn Language, subject: Said, how: &Ending) -> Said {
    subject.text(language.because()).and(language.ending(how))
}

fn mark(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "🔵",
        Severity::Warning => "🟠",
        Severity::Critical => "🔴",
    }
}

/// Claim and place in one line; the claim is cut first, so that the place is never lost.
fn headline(claim: &Said, longest: usize, finding: &Finding, voice: &Voice) -> Said {
    let place = place(finding, voice);
    let room = longest.saturating_sub(place.characters());
    claim.cut(room.max(CLAIM_MIN)).and(place).cut(longest)
}

/// Host, container and task, as far as the claim does not name them.
fn place(finding: &Finding, voice: &Voice) -> Said {
    let host = Said::of(" · ").name(&voice.host);
    match &finding.facts {
        Facts::Process(facts) => {
            let inside = facts.container.iter().chain(&facts.work_item);
            inside.fold(host, |place, name| place.text(" · ").name(name))
        }
        Facts::AgentHung(_)
        | Facts::AgentOverrun(_)
        | Facts::Lease(_)
        | Facts::StageStuck(_)
        | Facts::Approval(_)
        | Facts::QueueStalled(_)
        | Facts::CoreDown(_)
        | Facts::CoreDegraded(_)
        | Facts::CpuStarved(_)
        | Facts::Disk(_)
        | Facts::Channel(_)
        | Facts::Collector(_)
        | Facts::State(_) => host,
    }
}

fn told(language: &dyn Language, finding: &Finding) -> Told {
    match &finding.facts {
        Facts::Process(facts) => language.process(finding.signal, facts),
        Facts::AgentHung(facts) => language.agent_hung(facts),
        Facts::AgentOverrun(facts) => language.agent_overrun(facts),
        Facts::Lease(facts) => language.lease(facts),
        Facts::StageStuck(facts) => language.stage_stuck(facts),
        Facts::Approval(facts) => language.approval(facts),
        Facts::QueueStalled(facts) => language.queue_stalled(facts),
        Facts::CoreDown(facts) => language.core_down(facts),
        Facts::CoreDegraded(facts) => language.core_degraded(facts),
        Facts::CpuStarved(facts) => language.cpu_starved(facts),
        Facts::Disk(facts) => language.disk(facts),
        Facts::Channel(facts) => language.channel(facts),
        Facts::Collector(facts) => language.collector(facts),
        Facts::State(facts) => language.state(facts),
    }
}

/// A command line as a headline shows it: the program without its folder, and the beginning of the rest.
fn in_headline(command: &str) -> String {
    let (program, rest) =
        command.split_once(' ').map_or((command, None), |(first, rest)| (first, Some(rest)));
    let program = program.rsplit('/').find(|part| !part.is_empty()).unwrap_or(program);
    let short = rest.map_or_else(|| program.to_owned(), |rest| format!("{program} {rest}"));
    redact::plain(short.as_bytes(), COMMAND_IN_HEADLINE)
}

/// What a finding is, in half a line of English: for the command line and the log.
#[must_use]
pub fn title(finding: &Finding) -> String {
    told(Locale::English.language(), finding).what.plain()
}

/// A length of time, in English: for the command line and the log.
#[must_use]
pub fn duration(ms: i64) -> String {
    english::duration(ms)
}

/// What ended a condition, in English: for the command line and the log.
#[must_use]
pub fn ending(ending: &Ending) -> String {
    Locale::English.language().ending(ending).plain()
}

/// What an entity is called in lists, in English: for the command line.
#[must_use]
pub fn entity(entity: &Entity) -> String {
    match entity {
        Entity::Family(key) => format!("family of pid {}", key.pid),
        Entity::Job(job) => format!("job {job}"),
        Entity::WorkItem(key) => redact::plain(key.as_bytes(), ENTITY_MAX),
        Entity::Task(key) => format!("task {}", redact::plain(key.as_bytes(), ENTITY_MAX)),
        Entity::Core => "core".to_owned(),
        Entity::Host => "host".to_owned(),
        Entity::Channel(channel) => format!("channel {}", channel.name()),
        Entity::Collector(name) => format!("collector {}", name.name()),
        Entity::State => "own state".to_owned(),
    }
}

/// Date and time in UTC for the command line and the log; a stamp outside the calendar is shown as
/// its number.
#[must_use]
pub fn full_time(ms: i64) -> String {
    units::stamp(ms, "%Y-%m-%d %H:%M:%S UTC").unwrap_or_else(|| format!("{ms} ms"))
}

#[cfg(test)]
mod tests;

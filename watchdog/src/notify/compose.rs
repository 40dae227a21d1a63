//! Messages made of waiting notices.
//!
//! Responsible for what leaves together (all new alerts of a channel are one message, recoveries
//! go by the message they reply to), for folding an unsent alert and its recovery into one line, and
//! for cutting by whole entities. Pure. Invariant: markup is made after cutting, so a cut never
//! lies inside it.

use std::collections::BTreeSet;

use super::buttons::{self, Button};
use super::outbox::{Entry, MessageRef, Outbox, Queued};
use super::text::{self, Line, Said, Span, Voice, Words};
use crate::cases::{AlertState, CaseId, Notice, NoticeKind};
use crate::proc::stop;
use crate::signals::{Entity, Facts, Finding, Severity};

/// Characters of a Telegram message, counted in UTF-16 units of the marked-up text: never less than
/// what Telegram counts (4,096 after parsing).
pub const MESSAGE_MAX_UNITS: usize = 4_096;

/// Recoveries that wait are sorted by the message they reply to while these are so few; beyond, an
/// outage is over, and one message that replies to none tells them all.
const REPLIES_AT_ONCE: usize = 3;

/// Room kept for the last line, which says how many were left out.
const MORE_UNITS: usize = 48;

/// One message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// With HTML markup as Telegram takes it.
    pub html: String,
    /// The same without markup.
    pub plain: String,
    /// The message it replies to.
    pub reply_to: Option<MessageRef>,
    /// Buttons below it, row by row; none while commands are off.
    pub buttons: Vec<Vec<Button>>,
    /// The notices it tells, by their outbox numbers.
    pub seqs: Vec<u64>,
}

impl Message {
    /// A sentence that tells no notice.
    #[must_use]
    pub fn of(said: &Said) -> Self {
        let (html, plain) = (marked_up(said, Markup::Html, Weight::Plain), said.plain());
        Self { html, plain, reply_to: None, buttons: Vec::new(), seqs: Vec::new() }
    }
}

/// What still fires and does not fit into a message follows in further ones while these are so few; beyond, the list would
/// be a flood, and its length is told instead.
const MESSAGES_FOLLOWING: usize = 4;

/// One entity's part of a message.
struct Block {
    severity: Severity,
    /// Its condition holds on.
    goes_on: bool,
    words: Vec<Words>,
    seqs: Vec<u64>,
    /// Short name of a case that can be commanded.
    id: Option<CaseId>,
}

/// The next message of a channel: alerts before recoveries, worst first. `cases` gives alerts the
/// names and buttons by which they can be commanded; absent where nobody can.
#[must_use]
pub fn next(
    outbox: &Outbox,
    entries: &[Entry],
    voice: &Voice,
    cases: Option<&AlertState>,
) -> Option<Message> {
    let alerts: Vec<&Entry> = entries.iter().filter(|entry| tells_alert(entry)).collect();
    if !alerts.is_empty() {
        return Some(message(folded(&alerts, voice, cases), None, voice));
    }
    let reply_of = |entry: &Entry| outbox.message_of(entry.channel, &entry.key);
    let reply_to = reply_of(entries.first()?);
    let replied: BTreeSet<Option<MessageRef>> = entries.iter().map(reply_of).collect();
    if replied.len() > REPLIES_AT_ONCE {
        let blocks = entries.iter().map(|entry| block(entry, voice, None)).collect();
        return Some(message(blocks, None, voice));
    }
    let together = entries.iter().filter(|entry| reply_of(entry) == reply_to);
    Some(message(together.map(|entry| block(entry, voice, None)).collect(), reply_to, voice))
}

/// The notices as they are true when they leave: what waited long is told with the facts of the last look, not with those
/// of the time at which it was decided. What is over by now has its end behind it and stays as it was.
#[must_use]
pub fn as_of_now(mut entries: Vec<Entry>, cases: &AlertState, now_ms: i64) -> Vec<Entry> {
    for entry in &mut entries {
        let Some(queued) = entry.notices.last_mut() else { continue };
        let Some(finding) = cases.firing_finding(&entry.key) else { continue };
        match queued.notice.kind {
            NoticeKind::Alert | NoticeKind::Reminder { .. } | NoticeKind::Worse => {
                let at_ms = queued.notice.at_ms.max(now_ms);
                queued.notice = Notice { at_ms, finding: finding.clone(), kind: queued.notice.kind.clone() };
            }
            // what it names is what was new then
            NoticeKind::Changed | NoticeKind::Flapping { .. } | NoticeKind::Recovered { .. } => {}
        }
    }
    entries
}

/// Blocks of alerts that leave together. Families that a starved host names are told under the
/// host: one shortage is one thing to look at. Their notices count as told with it.
fn folded(alerts: &[&Entry], voice: &Voice, cases: Option<&AlertState>) -> Vec<Block> {
    let named_by = |entry: &Entry| match entry.notices.last().map(|queued| &queued.notice) {
        Some(Notice { kind, finding: Finding { facts: Facts::CpuStarved(facts), .. }, .. })
            if kind.is_alert() =>
        {
            Some(facts.families.iter().map(|family| family.key.clone()).collect::<Vec<_>>())
        }
        Some(_) | None => None,
    };
    let host = alerts.iter().find_map(|entry| named_by(entry).map(|families| (entry.key.clone(), families)));
    let Some((host, families)) = host else {
        return alerts.iter().map(|entry| block(entry, voice, cases)).collect();
    };
    let is_under = |entry: &Entry| match &entry.key.entity {
        // one whose end waits, too, has more to tell than a line
        Entity::Family(key) => {
            families.contains(key) && entry.notices.iter().all(|queued| queued.notice.kind.is_alert())
        }
        Entity::Job(_)
        | Entity::WorkItem(_)
        | Entity::Task(_)
        | Entity::Core
        | Entity::Host
        | Entity::Channel(_)
        | Entity::Collector(_)
        | Entity::State => false,
    };
    let (under, beside): (Vec<&Entry>, Vec<&Entry>) =
        alerts.iter().copied().partition(|entry| is_under(entry));
    let blocks = beside.into_iter().map(|entry| {
        let mut block = block(entry, voice, cases);
        if entry.key == host {
            under.iter().for_each(|family| block.take_under(family, voice, cases));
        }
        block
    });
    blocks.collect()
}

impl Block {
    /// Tells another entity in a line of this one, with its command.
    fn take_under(&mut self, entry: &Entry, voice: &Voice, cases: Option<&AlertState>) {
        let Some(words) = self.words.last_mut() else { return };
        let id = cases.and_then(|cases| cases.id_of(&entry.key));
        let name = id.map_or_else(String::new, |id| format!(" · {id}"));
        for queued in &entry.notices {
            let told = text::notice(&queued.notice, voice);
            let line = Said::of(format!("{} ", told.mark)).and(told.headline).text(name.clone());
            words.lines.push(Line::Under(line));
            words.lines.extend(told.lines.into_iter().filter(|line| matches!(line, Line::Command(_))));
            self.severity = self.severity.max(queued.notice.finding.severity);
            self.seqs.push(queued.seq);
        }
    }
}

fn tells_alert(entry: &Entry) -> bool {
    entry.notices.iter().any(|queued| queued.notice.kind.is_alert())
}

fn block(entry: &Entry, voice: &Voice, cases: Option<&AlertState>) -> Block {
    let mut words = Vec::new();
    let mut rest: &[Queued] = &entry.notices;
    while let [first, after @ ..] = rest {
        rest = after;
        match after {
            [second, after @ ..] if is_pair(&first.notice, &second.notice) => {
                words.push(text::both(&first.notice, &second.notice, voice));
                rest = after;
            }
            _ => words.push(text::notice(&first.notice, voice)),
        }
    }
    let severity = entry.notices.last().map_or(Severity::Info, |queued| queued.notice.finding.severity);
    let goes_on = entry.notices.last().is_some_and(|queued| queued.notice.kind.is_alert());
    let id = cases.filter(|_| goes_on).and_then(|cases| cases.id_of(&entry.key));
    if let (Some(id), Some(last)) = (id, words.last_mut()) {
        last.headline = std::mem::take(&mut last.headline).text(format!(" · {id}"));
    }
    Block { severity, goes_on, words, seqs: entry.notices.iter().map(|queued| queued.seq).collect(), id }
}

fn is_pair(first: &Notice, second: &Notice) -> bool {
    first.kind.is_alert() && !second.kind.is_alert()
}

fn message(mut blocks: Vec<Block>, reply_to: Option<MessageRef>, voice: &Voice) -> Message {
    // what is true now stands above what was, and is what a cut leaves
    blocks.sort_by_key(|block| std::cmp::Reverse((block.goes_on, block.severity)));
    let detail = if blocks.len() == 1 { Detail::Full } else { Detail::Short };
    let shown = fitting(&blocks, detail);
    let (fit, cut) = blocks.split_at(shown);
    let firing = cut.iter().filter(|block| block.goes_on).count();
    let follows = firing > 0 && firing <= MESSAGES_FOLLOWING * shown;
    let told = if follows { fit } else { &blocks };
    let seqs = told.iter().flat_map(|block| block.seqs.iter().copied()).collect();
    let rest = match (cut.len(), follows) {
        (0, _) => None,
        (left, true) => Some(text::more_follow(left, voice)),
        (left, false) => Some(text::more(left, voice)),
    };
    let render = |markup: Markup| {
        let mut parts: Vec<String> = fit.iter().map(|block| part(block, detail, markup)).collect();
        parts.extend(rest.clone());
        if detail == Detail::Full {
            return parts.join("\n\n");
        }
        let mut list = parts.join("\n");
        // since when, evidence, effect, runbook of each below the list of all, as far as there is room for whole ones
        for block in &blocks {
            let prose = part(block, Detail::Prose, markup);
            if rest.is_none()
                && !prose.is_empty()
                && units_of(&list) + units_of(&prose) + 2 <= MESSAGE_MAX_UNITS
            {
                list.push_str("\n\n");
                list.push_str(&prose);
            }
        }
        list
    };
    let named = fit.iter().filter_map(|block| block.id).take(buttons::ROWS_MAX);
    let buttons = named.map(|id| buttons::row(id, voice.locale)).collect();
    Message { html: render(Markup::Html), plain: render(Markup::None), reply_to, buttons, seqs }
}

/// How many of them fit, with room for a line about the others. Marked up they are longest.
fn fitting(blocks: &[Block], detail: Detail) -> usize {
    let mut units = 0;
    let fits = |block: &&Block| {
        units += units_of(&part(block, detail, Markup::Html)) + 2;
        units <= MESSAGE_MAX_UNITS - MORE_UNITS
    };
    // one alone is cut line by line
    blocks.iter().take_while(fits).count().max(1)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Full,
    /// Headline and command: several entities share the message.
    Short,
    /// What `Short` leaves out, below the headline; nothing where it leaves out nothing.
    Prose,
}

#[derive(Clone, Copy)]
enum Markup {
    Html,
    None,
}

/// One entity's lines. A single entity larger than a message is cut line by line.
fn part(block: &Block, detail: Detail, markup: Markup) -> String {
    let mut lines = Vec::new();
    let mut units = 0;
    for words in &block.words {
        let headline = Said::of(format!("{} ", words.mark)).and(words.headline.clone());
        let is_prose = |line: &Line| matches!(line, Line::Prose(_));
        let (weight, shown): (_, fn(bool) -> bool) = match detail {
            Detail::Full => (Weight::Bold, |_| true),
            Detail::Short => (Weight::Bold, |is_prose| !is_prose),
            Detail::Prose => (Weight::Plain, |is_prose| is_prose),
        };
        if detail == Detail::Prose && !words.lines.iter().any(is_prose) {
            continue;
        }
        let headline = marked_up(&headline, markup, weight);
        let further = words.lines.iter().filter(|line| shown(is_prose(line)));
        let further = further.map(|line| match (line, markup) {
            (Line::Prose(prose) | Line::Under(prose), _) => {
                marked_up(&prose.cut(LINE_MAX_CHARACTERS), markup, Weight::Plain)
            }
            (Line::Command(command), Markup::Html) => {
                format!("<code>{}</code>", escaped(stop::in_message(command)))
            }
            (Line::Command(command), Markup::None) => stop::in_message(command).to_owned(),
        });
        for line in std::iter::once(headline).chain(further) {
            let line_units = units_of(&line) + 1;
            if units + line_units <= MESSAGE_MAX_UNITS - 2 * MORE_UNITS {
                units += line_units;
                lines.push(line);
            }
        }
    }
    lines.join("\n")
}

/// Prose is cut there; a command never is: a part of it is another command.
const LINE_MAX_CHARACTERS: usize = 500;

#[derive(Clone, Copy)]
enum Weight {
    Bold,
    Plain,
}

/// A sentence as a channel shows it. Code is never inside of bold: Telegram takes no markup in code
/// and no code in markup.
fn marked_up(said: &Said, markup: Markup, weight: Weight) -> String {
    let html = |span: &Span| match (span, weight) {
        (Span::Text(letters) | Span::Name(letters), Weight::Bold) => format!("<b>{}</b>", escaped(letters)),
        (Span::Text(letters) | Span::Name(letters), Weight::Plain) => escaped(letters),
        (Span::Code(code), Weight::Bold | Weight::Plain) => format!("<code>{}</code>", escaped(code)),
    };
    match markup {
        Markup::Html => said.spans().iter().map(html).collect::<String>().replace("</b><b>", ""),
        Markup::None => said.plain(),
    }
}

fn units_of(text: &str) -> usize {
    text.encode_utf16().count()
}

/// What Telegram's HTML needs escaped, and no more.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;

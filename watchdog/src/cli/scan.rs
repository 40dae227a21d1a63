//! `orch-watchdog scan`: what blocks this host, now.
//!
//! Responsible for two passes a moment apart (the second measures CPU), for judging each family, and for printing. It
//! sends nothing, changes nothing, and does not need a running watchdog or core.
//!
//! The object that `--json` writes has a file of its own, `scan_json`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use proc_identity::host::Clocks;
use serde_json::json;

pub use super::paint::Color;
use super::paint::{Tone, cpu, duration, paint, size, tree};
use super::scan_json;
use crate::observe::{Collected, Family, ProcObservation};
use crate::proc::ProcMemory;
use crate::proc::hint::CoreHint;
use crate::proc::ownership::{CoreKnowledge, Judgement, Verdict, judge};
use crate::proc::scan::{Collector, CollectorSettings};
use crate::proc::shape::Pattern;

/// Time between the two passes: long enough for 4 % of a core to show in 10 ms ticks.
const BETWEEN_PASSES: Duration = Duration::from_millis(250);
/// Members drawn of a family without `--tree`.
const MEMBERS_DRAWN: usize = 8;
/// Members drawn with `--tree`.
const MEMBERS_DRAWN_IN_TREE: usize = 10_000;

/// What to scan, and what to compare with.
#[derive(Debug, Clone)]
pub struct ScanInputs<'run> {
    /// Where the process tree is mounted.
    pub proc_root: PathBuf,
    /// What to look for.
    pub patterns: Vec<Pattern>,
    /// What is known from the core.
    pub core: CoreKnowledge<'run>,
    /// What a running watchdog remembers of families, if its state can be read.
    pub memory: Option<ProcMemory>,
    /// From this age on a family is shown whoever owns it, milliseconds (`WATCHDOG_PROC_AGE_MIN`).
    pub age_ms: i64,
    /// From this age on a foreign orphan is shown, milliseconds (`WATCHDOG_PROC_FOREIGN_GRACE_S`).
    pub foreign_grace_ms: i64,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanOptions {
    /// One JSON object instead of text.
    pub json: bool,
    /// Every member of a family.
    pub tree: bool,
    /// Families that are fine, too.
    pub all: bool,
    /// Escape sequences.
    pub color: Color,
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanEnd {
    /// Nothing blocks this host.
    Nothing,
    /// Something does.
    Found,
    /// It could not be told.
    CouldNotLook,
}

impl ScanEnd {
    /// The exit code of the command.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Found => 1,
            Self::CouldNotLook => 2,
        }
    }
}

/// How much of the host was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Whole,
    /// All of its own pid namespace, and nothing beyond.
    OwnNamespace,
    /// Not even that.
    Hidden,
}

/// A judged family.
pub(super) struct Row<'scan> {
    pub(super) family: &'scan Family,
    pub(super) judgement: Judgement,
    pub(super) found: bool,
    /// Nothing is known against it, but its owner could not be asked for.
    pub(super) unjudged: bool,
}

/// Scans and prints. Refusals to look are printed, too.
///
/// # Errors
/// As writing to `out`.
pub fn run(inputs: &ScanInputs<'_>, options: ScanOptions, out: &mut dyn Write) -> io::Result<ScanEnd> {
    let (collector, observation) = match look(inputs) {
        Ok(looked) => looked,
        Err(why) => {
            if options.json {
                writeln!(out, "{}", json!({ "schema_version": scan_json::SCHEMA_VERSION, "error": why }))?;
            } else {
                writeln!(out, "{}: {why}", paint(options.color, Tone::Alarm, "could not look"))?;
            }
            return Ok(ScanEnd::CouldNotLook);
        }
    };
    let rows: Vec<Row<'_>> = observation
        .families
        .iter()
        .map(|family| {
            let judgement = judge(family, inputs.core);
            let found = counts(family, &judgement.verdict, inputs);
            let unjudged = !found && matches!(judgement.verdict, Verdict::OwnerUnknown { .. });
            Row { family, judgement, found, unjudged }
        })
        .collect();
    let found = rows.iter().filter(|row| row.found).count();
    let unjudged = rows.iter().any(|row| row.unjudged);
    let check = collector.self_check();
    let (hidden, confined) = (check.hidden(), check.confined());
    let blind = hidden.as_deref().or(confined);
    if options.json {
        let shown = rows.iter().filter(|row| row.found || row.unjudged || options.all);
        let report = scan_json::Report::new(&observation, inputs.core, blind, shown);
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        let sight = match (&hidden, confined) {
            (Some(_), _) => Sight::Hidden,
            (None, Some(_)) => Sight::OwnNamespace,
            (None, None) => Sight::Whole,
        };
        as_text(&observation, &rows, options, (blind, sight), out)?;
    }
    // nothing found by somebody who does not see the whole host, or who could not ask for its owner, is no answer
    Ok(match (found, blind.is_some() || unjudged) {
        (0, true) => ScanEnd::CouldNotLook,
        (0, false) => ScanEnd::Nothing,
        (_, _) => ScanEnd::Found,
    })
}

/// Two passes, the second one for CPU. Shared with `explain`.
pub(super) fn look(inputs: &ScanInputs<'_>) -> Result<(Collector, ProcObservation), String> {
    let settings = CollectorSettings {
        proc_root: inputs.proc_root.clone(),
        patterns: inputs.patterns.clone(),
        refresh_ms: i64::MAX,
        age_marks_ms: Vec::new(),
    };
    let hint = hint(inputs.core);
    let mut collector = Collector::new(settings, inputs.memory.clone()).map_err(|error| error.to_string())?;
    if let Collected::Unavailable(why) = collector.pass(&Clocks::now(), hint.as_ref()) {
        return Err(why);
    }
    std::thread::sleep(BETWEEN_PASSES);
    match collector.pass(&Clocks::now(), hint.as_ref()) {
        Collected::Fresh(observation) => Ok((collector, observation)),
        Collected::Unavailable(why) => Err(why),
        Collected::Off => Err("switched off".to_owned()),
    }
}

pub(super) fn hint(core: CoreKnowledge<'_>) -> Option<CoreHint> {
    match core {
        CoreKnowledge::Document(document) => Some(CoreHint::from_document(document)),
        CoreKnowledge::Silent | CoreKnowledge::Off => None,
    }
}

/// Whether a family blocks the host, or would soon be alerted.
fn counts(family: &Family, verdict: &Verdict, inputs: &ScanInputs<'_>) -> bool {
    let old = family.awake_age_ms > inputs.age_ms;
    match verdict {
        Verdict::Orphan { .. } => true,
        Verdict::Foreign { .. } => old || family.awake_age_ms > inputs.foreign_grace_ms,
        Verdict::OwnerUnknown { .. } | Verdict::Owned { .. } => old,
    }
}

pub(super) fn verdict_words(verdict: &Verdict) -> (&'static str, &'static str, &str) {
    match verdict {
        Verdict::Orphan { because } => ("orphan", "orphan", because),
        Verdict::Foreign { because } => ("foreign", "orphan, not the core's", because),
        Verdict::OwnerUnknown { why } => ("owner_unknown", "owner unknown", why),
        Verdict::Owned { by } => ("owned", "owned", by),
    }
}

fn as_text(
    observation: &ProcObservation,
    rows: &[Row<'_>],
    options: ScanOptions,
    (blind, sight): (Option<&str>, Sight),
    out: &mut dyn Write,
) -> io::Result<()> {
    let color = options.color;
    let found = rows.iter().filter(|row| row.found).count();
    if let Some(why) = blind {
        writeln!(out, "{}: {why}", paint(color, Tone::Alarm, "limited view"))?;
    }
    let unjudged = rows.iter().filter(|row| row.unjudged).count();
    let headline = match (found, rows.len()) {
        (0, all) if unjudged > 0 => paint(
            color,
            Tone::Alarm,
            &format!("could not tell: the owner of {unjudged} of {all} matched families is unknown"),
        ),
        (0, _) if sight == Sight::Hidden => {
            paint(color, Tone::Alarm, "could not look: what is hidden may block this host all the same")
        }
        (0, all) if sight == Sight::OwnNamespace => paint(
            color,
            Tone::Alarm,
            &format!(
                "could not look at the host; in this pid namespace {all} matched, and nothing blocks it"
            ),
        ),
        (0, 0) => paint(color, Tone::Good, "no test run is under way"),
        (0, all) => paint(color, Tone::Good, &format!("nothing blocks this host; {all} matched and fine")),
        (found, all) => paint(color, Tone::Strong, &format!("{found} of {all} matched families need a look")),
    };
    writeln!(out, "{headline} ({} of {} processes readable)", observation.readable, observation.listed)?;
    for row in rows.iter().filter(|row| row.found || row.unjudged || options.all) {
        writeln!(out)?;
        one(row, options, out)?;
    }
    Ok(())
}

fn one(row: &Row<'_>, options: ScanOptions, out: &mut dyn Write) -> io::Result<()> {
    let (family, color) = (row.family, options.color);
    let (_, words, reason) = verdict_words(&row.judgement.verdict);
    let tone = match (&row.judgement.verdict, row.found) {
        (Verdict::Orphan { .. } | Verdict::Foreign { .. }, true) => Tone::Alarm,
        (Verdict::OwnerUnknown { .. } | Verdict::Owned { .. }, true) => Tone::Warning,
        (_, false) => Tone::Good,
    };
    writeln!(
        out,
        "{} · {} · {} · {}, {}, {} process{}",
        paint(color, tone, words),
        paint(color, Tone::Strong, &family.command),
        duration(family.awake_age_ms),
        cpu(family.cpu_share),
        size(family.rss_bytes),
        family.members.len(),
        if family.members.len() == 1 { "" } else { "es" },
    )?;
    let most = if options.tree { MEMBERS_DRAWN_IN_TREE } else { MEMBERS_DRAWN };
    for line in tree(family, most) {
        writeln!(out, "  {line}")?;
    }
    let mut fact = |name: &str, text: &str| {
        writeln!(out, "  {} {text}", paint(color, Tone::Faint, &format!("{name:<8}")))
    };
    if !family.root_alive {
        fact("root", &format!("{} has ended; these are left of it", family.key.pid))?;
    }
    if let Some(container) = &family.container {
        fact("where", container)?;
    }
    fact("why", reason)?;
    for line in &row.judgement.evidence {
        fact("evidence", &line.to_string())?;
    }
    if let Some(command) = &family.stop {
        fact("stop", &paint(color, Tone::Strong, command))?;
    }
    Ok(())
}

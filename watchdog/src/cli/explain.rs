//! `orch-watchdog explain PID`: every fact and rule behind "orphan" or "not".
//!
//! Responsible for showing one process, the family it belongs to, and the verdict on it. It decides nothing of its own:
//! what it prints is what the collector and the ownership rules said.

use std::io::{self, Write};

use proc_identity::ProcError;

use super::paint::{Color, Tone, cpu, duration, paint};
use super::scan::{ScanEnd, ScanInputs, hint, look};
use crate::observe::{Cookie, Family, Supervisor};
use crate::proc::inspect::{Inspection, Leader};
use crate::proc::ownership::{Verdict, judge};

/// Explains one process. Ends with `Found` when its family is an orphan, with `Nothing` when not, and with
/// `CouldNotLook` when the process is not there or cannot be read.
///
/// # Errors
/// As writing to `out`.
pub fn run(pid: i32, inputs: &ScanInputs<'_>, color: Color, out: &mut dyn Write) -> io::Result<ScanEnd> {
    let mut refuse = |why: &str| {
        writeln!(out, "{}: {why}", paint(color, Tone::Alarm, "could not look"))?;
        Ok(ScanEnd::CouldNotLook)
    };
    let (mut collector, observation) = match look(inputs) {
        Ok(looked) => looked,
        Err(why) => return refuse(&why),
    };
    let inspection = match collector.inspect(pid, hint(inputs.core).as_ref()) {
        Ok(inspection) => inspection,
        Err(ProcError::Gone) => {
            let thread = inputs.proc_root.join(pid.to_string()).is_dir();
            let why = if thread {
                "a thread of some process, or just started"
            } else {
                "it has ended, or never was"
            };
            // a tree that hides its processes lists none of them, whether or not they live
            return refuse(&match collector.self_check().hidden() {
                Some(hidden) => format!("process {pid} is not shown, and may be there: {hidden}"),
                None => format!("no process {pid}: {why}"),
            });
        }
        Err(error) => return refuse(&format!("process {pid}: {error}")),
    };
    let family =
        observation.families.iter().find(|family| family.members.iter().any(|member| member.key.pid == pid));
    facts(&inspection, color, out)?;
    if inspection.of_kernel {
        row(out, color, "verdict", "a thread of the kernel: never watched, and nothing that a person stops")?;
        return Ok(ScanEnd::Nothing);
    }
    let Some(family) = family else {
        let patterns: Vec<&str> = inputs.patterns.iter().map(crate::proc::Pattern::text).collect();
        row(
            out,
            color,
            "family",
            &format!("none: its command line matches none of {}", patterns.join(", ")),
        )?;
        row(out, color, "verdict", "not watched")?;
        return Ok(ScanEnd::Nothing);
    };
    verdict(family, inputs, color, out)
}

fn row(out: &mut dyn Write, color: Color, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{} {text}", paint(color, Tone::Faint, &format!("{name:<10}")))
}

fn facts(process: &Inspection, color: Color, out: &mut dyn Write) -> io::Result<()> {
    row(
        out,
        color,
        "process",
        &format!("{} ({}), start tick {}", process.pid, process.name, process.start_ticks),
    )?;
    row(out, color, "command", &process.command)?;
    let threads =
        if process.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", process.threads) };
    row(out, color, "state", &format!("{}, {threads}", process.state))?;
    row(out, color, "matches", process.matched_by.as_deref().unwrap_or("no pattern"))?;
    row(out, color, "group", &leader(process.pgid, process.group_leader))?;
    row(out, color, "session", &leader(process.sid, process.session_leader))?;
    row(out, color, "pids", &namespaces(&process.ns_pids))?;
    row(out, color, "container", process.container.as_deref().unwrap_or("none"))?;
    let cookie = match process.cookie {
        Cookie::Run(cookie) => cookie.to_string(),
        Cookie::None => "none".to_owned(),
        Cookie::Unreadable => "could not be read".to_owned(),
    };
    row(out, color, "cookie", &cookie)?;
    let chain: Vec<String> = process
        .chain
        .iter()
        .map(|link| {
            let inner = link.ns_pids.last().filter(|inner| **inner != link.pid);
            let inner = inner.map(|inner| format!(", {inner} inside")).unwrap_or_default();
            format!("{} ({}{inner})", link.pid, link.name)
        })
        .collect();
    row(
        out,
        color,
        "ancestors",
        &if chain.is_empty() { "none visible".to_owned() } else { chain.join(" ← ") },
    )?;
    if process.of_kernel {
        return Ok(());
    }
    row(out, color, "structure", &process.lineage.to_string())
}

fn leader(id: i32, leader: Leader) -> String {
    match leader {
        Leader::Itself => format!("{id}, led by itself"),
        Leader::Alive => format!("{id}, whose leader lives"),
        Leader::Gone => format!("{id}, whose leader is gone"),
        Leader::Outside => "none that can be seen from here".to_owned(),
    }
}

fn namespaces(pids: &[i32]) -> String {
    match pids {
        [] => "could not be read".to_owned(),
        [only] => format!("{only}, in the namespace seen here"),
        [seen, .., inner] => {
            format!("{seen} seen here, {inner} inside, {} namespaces further in", pids.len() - 1)
        }
    }
}

fn verdict(
    family: &Family,
    inputs: &ScanInputs<'_>,
    color: Color,
    out: &mut dyn Write,
) -> io::Result<ScanEnd> {
    let root = if family.root_alive { "alive" } else { "ended" };
    row(
        out,
        color,
        "family",
        &format!(
            "of {} ({root}), {} live, {}, {}",
            family.key.pid,
            family.members.len(),
            duration(family.awake_age_ms),
            cpu(family.cpu_share)
        ),
    )?;
    if family.matched_by.is_empty() {
        row(out, color, "matched", "by an earlier command line")?;
    } else {
        row(out, color, "matched", &family.matched_by)?;
    }
    match family.supervisor {
        Supervisor::Alive(pid) => row(out, color, "supervisor", &format!("{pid}, which lives"))?,
        Supervisor::Absent => {}
        Supervisor::Unknown => row(out, color, "supervisor", "could not be looked for")?,
    }
    let judgement = judge(family, inputs.core);
    for line in &judgement.evidence {
        row(out, color, "rule", &line.to_string())?;
    }
    let (tone, words, end) = match &judgement.verdict {
        Verdict::Orphan { because } => (Tone::Alarm, format!("orphan: {because}"), ScanEnd::Found),
        Verdict::Foreign { because } => {
            let grace = duration(inputs.foreign_grace_ms);
            let words = format!("orphan, not the core's: {because}; told when older than {grace}");
            (Tone::Alarm, words, ScanEnd::Found)
        }
        Verdict::OwnerUnknown { why } => (
            Tone::Warning,
            format!("owner unknown: {why}; told when older than {}", duration(inputs.age_ms)),
            ScanEnd::Nothing,
        ),
        Verdict::Owned { by } => (
            Tone::Good,
            format!("owned: {by}; told when older than {}", duration(inputs.age_ms)),
            ScanEnd::Nothing,
        ),
    };
    row(out, color, "verdict", &paint(color, tone, &words))?;
    if let Some(stop) = &family.stop {
        row(out, color, "stop", &paint(color, Tone::Strong, stop))?;
    }
    Ok(end)
}

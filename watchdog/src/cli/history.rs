//! `history`: what was told and commanded of late, from the state file.
//!
//! Reads the file only, so that it works beside a running watchdog and without one.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::EXIT_FAILURE;
use crate::commands::Way;
use crate::notify::text;
use crate::proc::redact;
use crate::store::{self, CommandRow, HistoryRow};

/// Longest line, in characters.
const LINE_MAX: usize = 500;

pub(super) fn print(
    state_dir: &Path,
    limit: usize,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let state = match store::peek(state_dir) {
        Ok(state) => state.unwrap_or_default(),
        Err(reason) => {
            writeln!(err, "the state in {} cannot be read: {reason}", state_dir.display())?;
            return Ok(ExitCode::from(EXIT_FAILURE));
        }
    };
    let mut lines: Vec<(i64, String)> = state.history.iter().map(told).collect();
    lines.extend(state.commands.iter().map(commanded));
    // stable: what was told comes before what was answered to it in the same millisecond
    lines.sort_by_key(|line| line.0);
    if lines.is_empty() {
        writeln!(out, "nothing was told yet")?;
    }
    let surplus = lines.len().saturating_sub(limit);
    for (at_ms, line) in lines.iter().skip(surplus) {
        writeln!(out, "{}  {}", text::full_time(*at_ms), one_line(line))?;
    }
    for (key, case) in state.alerts.open() {
        let (signal, entity) = (case.finding.signal.name(), text::entity(&key.entity));
        let line = format!("open: {signal}  {entity}  {}", text::title(&case.finding));
        writeln!(out, "{}", one_line(&line))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The file may be an earlier version's, which kept names as they came.
fn one_line(line: &str) -> String {
    redact::plain(line.as_bytes(), LINE_MAX)
}

fn told(row: &HistoryRow) -> (i64, String) {
    let (kind, severity, signal) = (&row.kind, row.severity.name(), row.signal.name());
    (row.at_ms, format!("{kind:<9}  {severity:<8}  {signal}  {}  {}", row.entity, row.title))
}

fn commanded(row: &CommandRow) -> (i64, String) {
    let way = match row.way {
        Way::CommandLine => "command line",
        Way::Chat => "chat",
    };
    (row.at_ms, format!("{:<9}  {}  by {}, {way}", "command", row.what, row.by))
}

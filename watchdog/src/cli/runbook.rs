//! `runbook`: the page that an alert speaks of, out of the program itself.
//!
//! Responsible for finding a signal's section. The page is the one of the repository, so that a host
//! without a copy of it, or a reader without an address, has what an alert asks to be read.

use std::io::{self, Write};
use std::process::ExitCode;

use orch_settings::nearest;

use super::EXIT_USAGE;
use crate::signals::SignalKind;

const PAGE: &str = include_str!("../../../docs/runbook.md");

/// Prints the page or a section of it.
pub(super) fn print(wish: Option<&str>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let Some(wish) = wish else {
        write!(out, "{PAGE}")?;
        return Ok(ExitCode::SUCCESS);
    };
    let name = wish.to_ascii_lowercase().replace('-', "_");
    match section(&name) {
        Some(section) => {
            writeln!(out, "{section}")?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            let names = SignalKind::ALL.map(SignalKind::name);
            let meant =
                nearest(&name, names).map_or_else(String::new, |name| format!("; did you mean {name}?"));
            writeln!(err, "the runbook has no section {wish:?}{meant}")?;
            writeln!(err, "signals: {}", names.join(", "))?;
            Ok(ExitCode::from(EXIT_USAGE))
        }
    }
}

/// A section with its heading, without the empty lines around it.
fn section(name: &str) -> Option<&'static str> {
    let mut from = None;
    let mut at = 0;
    for line in PAGE.split_inclusive('\n') {
        match (line.strip_prefix("## "), from) {
            (Some(_), Some(from)) => return PAGE.get(from..at).map(str::trim),
            (Some(heading), None) if heading.trim() == name => from = Some(at),
            (Some(_) | None, _) => {}
        }
        at += line.len();
    }
    PAGE.get(from?..).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_its_section_and_no_other() {
        for signal in SignalKind::ALL {
            let section = section(signal.name()).unwrap();
            assert!(section.starts_with(&format!("## {}\n", signal.name())), "{section}");
            assert_eq!(section.matches("\n## ").count(), 0, "{section}");
            assert!(section.contains("**Do.**") && section.contains("**Ends**"), "{section}");
        }
        assert_eq!(section("core"), None);
    }

    #[test]
    fn a_word_that_is_no_section_is_told_with_what_was_meant() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = print(Some("core_dwn"), &mut out, &mut err).unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(EXIT_USAGE)));
        assert!(out.is_empty() && String::from_utf8(err).unwrap().contains("did you mean core_down?"));
    }
}

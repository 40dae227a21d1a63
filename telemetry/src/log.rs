//! The log: what is written, how, and to where (standard error).
//!
//! Responsible for the settings of a log and for the subscriber of this process; does not decide
//! what is worth logging and removes no secrets (those never become plain text). A filter is checked
//! when settings are read, so that setting up the log cannot fail on it.

use std::io::IsTerminal;

use orch_settings::{Reader, Strings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, fields at the top level.
    Json,
}

/// Whether lines carry colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Colour {
    /// When standard error is a terminal.
    #[default]
    OnTerminal,
    /// Not at all.
    Never,
}

/// Levels by their words.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A filter that is known to be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl LogFilter {
    /// Checks a filter: a level, or a comma list of `target=level`.
    ///
    /// # Errors
    /// In words what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        for directive in text.split(',') {
            // the parser would take a misspelt level for the name of a target, and log nothing
            if !directive.contains(['=', '[']) && !LEVELS.contains(&directive.to_ascii_lowercase().as_str()) {
                return Err(format!("{directive:?} is no level"));
            }
        }
        EnvFilter::builder().parse(text).map_err(|error| error.to_string())?;
        Ok(Self(text.to_owned()))
    }

    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Settings of a log.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// What is written.
    pub filter: LogFilter,
    /// How.
    pub format: LogFormat,
    /// Never, when `NO_COLOR` is set or the terminal is a dumb one.
    pub colour: Colour,
}

/// By which keys a program reads them: its table declares both.
#[derive(Debug, Clone, Copy)]
pub struct LogKeys {
    /// Key of the filter.
    pub filter: &'static str,
    /// Key of the format, a word: `text` or `json`.
    pub format: &'static str,
}

impl LogConfig {
    /// Reads them; what is wrong stands with the reader.
    pub fn read(reader: &mut Reader<'_>, strings: &Strings, keys: LogKeys) -> Self {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Self {
            filter: reader.parsed(keys.filter, LogFilter::parse),
            format: reader.word(keys.format, &formats),
            colour: match strings.is_set("NO_COLOR") || strings.says("TERM", "dumb") {
                true => Colour::Never,
                false => Colour::OnTerminal,
            },
        }
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A log exists already in this process.
    #[error("the log is set up already")]
    AlreadySet(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up the log of this process.
///
/// # Errors
/// When it has one.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let ansi = match config.colour {
        Colour::OnTerminal => std::io::stderr().is_terminal(),
        Colour::Never => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse_lossy(config.filter.as_str()))
        .with_writer(std::io::stderr)
        .with_ansi(ansi);
    match config.format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).finish().try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_and_targets_and_nothing_silent() {
        for (text, valid) in [
            ("info", true),
            ("INFO", true),
            ("off", true),
            ("warn,orch_watchdog=debug", true),
            ("warn,orch_core::store=trace,hyper=off", true),
            ("", false),
            ("inf", false),
            ("orch_watchdog", false),
            ("orch_watchdog=loud", false),
            ("info,", false),
            ("info, debug", false),
        ] {
            assert_eq!(LogFilter::parse(text).is_ok(), valid, "{text:?}");
        }
    }
}

//! `scan` and `explain`: what they are given to look with.
//!
//! Responsible for the core's word and the watchdog's memory of families, taken once. What they print
//! and conclude stands in their own files.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use orch_telemetry::Colour;

use super::scan::{Color, ScanInputs, ScanOptions};
use super::{EXIT_USAGE, explain, scan};
use crate::clock;
use crate::config::WatchdogConfig;
use crate::core_view::ReadOnlyClient;
use crate::notify::text;
use crate::observe::{CoreObservation, CoreSight};
use crate::proc::{CoreKnowledge, Pattern};
use crate::store;
use crate::survey::{Survey, Unheard};

/// Longest wait for the core.
const CORE_TIMEOUT: Duration = Duration::from_secs(3);

/// What the person asked for.
pub(super) struct Wish {
    pub(super) patterns: Vec<String>,
    pub(super) without_core: bool,
}

/// Whether standard output may carry colours.
pub(super) fn color(config: &WatchdogConfig) -> Color {
    match config.log.colour {
        Colour::OnTerminal if io::stdout().is_terminal() => Color::On,
        Colour::OnTerminal | Colour::Never => Color::Off,
    }
}

/// The core's word, once.
enum Heard {
    Document(Arc<CoreObservation>),
    Silent(Unheard),
    Off,
}

impl Heard {
    async fn ask(config: &WatchdogConfig, without_core: bool) -> Self {
        if without_core {
            return Self::Off;
        }
        let (core, trust) = (&config.core, &config.trust);
        let client = match ReadOnlyClient::new(&core.url, core.token.as_ref(), CORE_TIMEOUT, trust) {
            Ok(client) => client,
            Err(error) => return Self::Silent(Unheard::Fault(error.to_string().into())),
        };
        match client.poll(clock::wall_ms).await {
            CoreSight::Heard(heard) => Self::Document(heard),
            CoreSight::Off => Self::Off,
            CoreSight::Starting => Self::Silent(Unheard::Starting),
            CoreSight::Awaited => Self::Silent(Unheard::Fault("its answer is awaited".to_owned().into())),
            CoreSight::OtherSchema(found) => Self::Silent(Unheard::OtherSchema(found)),
            CoreSight::Down(why) | CoreSight::Unreadable(why) => Self::Silent(Unheard::Fault(why)),
        }
    }

    /// Tells that the core's word is missing, if it is.
    fn tell(&self, err: &mut dyn Write) -> io::Result<()> {
        match self.unheard() {
            Some(unheard) => {
                writeln!(err, "{} (--without-core judges by structure)", text::scan_unheard(&unheard))
            }
            None => Ok(()),
        }
    }

    fn unheard(&self) -> Option<Unheard> {
        match self {
            Self::Silent(unheard) => Some(unheard.clone()),
            Self::Document(_) | Self::Off => None,
        }
    }

    fn knowledge(&self) -> CoreKnowledge<'_> {
        match self {
            Self::Document(heard) => CoreKnowledge::Document(&heard.document),
            Self::Silent(_) => CoreKnowledge::Silent,
            Self::Off => CoreKnowledge::Off,
        }
    }
}

fn inputs<'heard>(
    config: &WatchdogConfig,
    patterns: Vec<Pattern>,
    heard: &'heard Heard,
) -> ScanInputs<'heard> {
    ScanInputs {
        proc_root: config.proc.root.clone(),
        patterns,
        core: heard.knowledge(),
        // without a readable state the families are those that can be seen now
        memory: store::peek(&config.state_dir).ok().flatten().and_then(|state| state.proc),
        age_ms: config.proc.age_ms,
        foreign_grace_ms: config.proc.foreign_grace_ms,
    }
}

fn patterns(config: &WatchdogConfig, wished: &[String]) -> Result<Vec<Pattern>, String> {
    let texts = if wished.is_empty() { &config.proc.patterns } else { wished };
    texts.iter().map(|text| Pattern::parse(text).map_err(|error| format!("{text:?}: {error}"))).collect()
}

/// What both verbs begin with: the patterns and the core's word, or the code of a wish that cannot
/// be understood.
async fn open(
    config: &WatchdogConfig,
    wish: &Wish,
    err: &mut dyn Write,
) -> io::Result<Result<(Vec<Pattern>, Heard), ExitCode>> {
    let patterns = match patterns(config, &wish.patterns) {
        Ok(patterns) => patterns,
        Err(why) => {
            writeln!(err, "{why}")?;
            return Ok(Err(ExitCode::from(EXIT_USAGE)));
        }
    };
    let heard = Heard::ask(config, wish.without_core).await;
    heard.tell(err)?;
    Ok(Ok((patterns, heard)))
}

pub(super) async fn scan(
    config: &WatchdogConfig,
    wish: Wish,
    options: ScanOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let (patterns, heard) = match open(config, &wish, err).await? {
        Ok(opened) => opened,
        Err(code) => return Ok(code),
    };
    let end = scan::run(&inputs(config, patterns, &heard), options, out)?;
    Ok(ExitCode::from(end.exit_code()))
}

/// The same look as `scan`, as values.
pub(super) async fn survey(config: &WatchdogConfig) -> Result<Survey, String> {
    let patterns = patterns(config, &[])?;
    let heard = Heard::ask(config, false).await;
    scan::survey(&inputs(config, patterns, &heard), heard.unheard())
}

pub(super) async fn explain(
    config: &WatchdogConfig,
    pid: i32,
    wish: Wish,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let (patterns, heard) = match open(config, &wish, err).await? {
        Ok(opened) => opened,
        Err(code) => return Ok(code),
    };
    let end = explain::run(pid, &inputs(config, patterns, &heard), color(config), out)?;
    Ok(ExitCode::from(end.exit_code()))
}

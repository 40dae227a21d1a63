//! How Claude Code is called.
//!
//! Responsible for the words of its command line out of a role's settings. It ignores a wrong effort and a limit of no
//! turns without a word, so that both cannot be said here.

use std::num::NonZeroU32;

use crate::process::{KillSignal, KillStep};

/// How hard the model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the program's own words")]
pub enum Effort {
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

impl Effort {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Low, Self::Medium, Self::High, Self::Xhigh, Self::Max];

    /// As the program takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }
}

/// What it may do without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the program's own words")]
pub enum PermissionMode {
    AcceptEdits,
    Auto,
    BypassPermissions,
    Manual,
    DontAsk,
    Plan,
}

impl PermissionMode {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::AcceptEdits, Self::Auto, Self::BypassPermissions, Self::Manual, Self::DontAsk, Self::Plan];

    /// As the program takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AcceptEdits => "acceptEdits",
            Self::Auto => "auto",
            Self::BypassPermissions => "bypassPermissions",
            Self::Manual => "manual",
            Self::DontAsk => "dontAsk",
            Self::Plan => "plan",
        }
    }
}

/// Settings of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaudeSettings {
    /// The program and words before all others; `claude` alone where empty.
    pub program: Vec<String>,
    /// Which model.
    pub model: Option<String>,
    /// How hard it thinks.
    pub effort: Option<Effort>,
    /// Most model calls.
    pub max_turns: Option<NonZeroU32>,
    /// What it may do.
    pub permission_mode: Option<PermissionMode>,
    /// Tools that need no leave.
    pub allowed_tools: Vec<String>,
    /// Tools that it may not use at all.
    pub disallowed_tools: Vec<String>,
}

/// How it is asked to end: interrupted, it can say what it has cost; terminated, it ends the tools that it started;
/// killed, it leaves them behind.
pub const LADDER: [KillStep; 2] = [
    KillStep { signal: KillSignal::Int, grace_ms: 5_000 },
    KillStep { signal: KillSignal::Term, grace_ms: 5_000 },
];

/// What it is told by its environment: nobody is asked for updates, and nothing is reported of us.
pub const QUIET: [(&str, &str); 3] = [
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
];

/// A session's id out of random numbers: a UUID of version 4 (RFC 9562), which is all that it takes.
#[must_use]
pub fn session_id(high: u64, low: u64) -> String {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Which session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// A new one of this id.
    New(String),
    /// One that goes on.
    Resumed(String),
}

/// The command line. `budget_microusd` is what this run may cost: unlike the totals that it tells, the program's cap counts no
/// earlier run of the session.
#[must_use]
pub fn argv(
    settings: &ClaudeSettings,
    session: &Session,
    budget_microusd: Option<i64>,
    prompt: &str,
) -> Vec<String> {
    let mut argv = match settings.program.is_empty() {
        true => vec!["claude".to_owned()],
        false => settings.program.clone(),
    };
    // without --verbose it refuses the format
    argv.extend(["-p", "--output-format", "stream-json", "--verbose"].map(str::to_owned));
    let mut option = |name: &str, value: String| argv.extend([name.to_owned(), value]);
    if let Some(model) = &settings.model {
        option("--model", model.clone());
    }
    if let Some(effort) = settings.effort {
        option("--effort", effort.as_str().to_owned());
    }
    if let Some(turns) = settings.max_turns {
        option("--max-turns", turns.to_string());
    }
    if let Some(budget) = budget_microusd {
        option("--max-budget-usd", format!("{}.{:06}", budget / 1_000_000, budget % 1_000_000));
    }
    if let Some(mode) = settings.permission_mode {
        option("--permission-mode", mode.as_str().to_owned());
    }
    if !settings.allowed_tools.is_empty() {
        option("--allowedTools", settings.allowed_tools.join(","));
    }
    if !settings.disallowed_tools.is_empty() {
        option("--disallowedTools", settings.disallowed_tools.join(","));
    }
    match session {
        Session::New(id) => option("--session-id", id.clone()),
        Session::Resumed(id) => option("--resume", id.clone()),
    }
    // a prompt that begins with a dash is no option
    argv.extend(["--".to_owned(), prompt.to_owned()]);
    argv
}

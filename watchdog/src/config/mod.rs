//! Settings of orch-watchdog, typed.
//!
//! Responsible for the environment as one struct and for the rules across keys. Reads no
//! environment itself ([`Strings`] comes in), opens nothing but the files that settings name. Asks the
//! core nothing: comparing thresholds with the core's time-outs is `check-config`'s work.
//!
//! Invariant: a [`WatchdogConfig`] that exists satisfies every bound and every rule below; an
//! unknown key never keeps this program from starting.

mod keys;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use orch_settings::{ExposeSecret, Loaded, Problem, Problems, Reader, SecretString, Strings};
use orch_telemetry::{LogConfig, LogKeys};

pub use keys::KEYS;

use crate::notify::text::Locale;
use crate::trust::{CA_FILE_MAX_BYTES, Trust};

/// Longest host label, in bytes.
const HOST_LABEL_MAX: usize = 64;

/// Largest compiled form of a regular expression, in bytes: the sidecar's memory is small.
const PATTERN_SIZE_MAX_BYTES: usize = 1 << 20;

/// Keys of the log.
const LOG: LogKeys = LogKeys { filter: "WATCHDOG_LOG", format: "WATCHDOG_LOG_FORMAT" };

/// Settings of one watchdog.
#[derive(Debug, Clone)]
pub struct WatchdogConfig {
    /// `WATCHDOG_STATE_DIR`, absolute.
    pub state_dir: PathBuf,
    /// `WATCHDOG_BIND`.
    pub bind: SocketAddr,
    /// `WATCHDOG_TICK_S`, in milliseconds.
    pub tick_ms: i64,
    /// `WATCHDOG_HOST_LABEL`.
    pub host_label: String,
    /// `WATCHDOG_RUNBOOK_URL`: `#section` is put behind it.
    pub runbook_url: Option<String>,
    /// `WATCHDOG_LOCALE`: language of messages in chat.
    pub locale: Locale,
    /// Log.
    pub log: LogConfig,
    /// `WATCHDOG_CA_FILE` on top of the built-in authorities.
    pub trust: Trust,
    /// The core.
    pub core: CoreEndpoint,
    /// Telegram; absent when it is not configured.
    pub telegram: Option<TelegramConfig>,
    /// Alertmanager; absent when it is not configured.
    pub alertmanager: Option<AlertmanagerConfig>,
    /// `WATCHDOG_HEARTBEAT_URL`; an address of HTTP, which may hold a secret.
    pub heartbeat_url: Option<SecretString>,
    /// Processes.
    pub proc: ProcConfig,
    /// Signals.
    pub signals: SignalsConfig,
}

/// The core.
#[derive(Debug, Clone)]
pub struct CoreEndpoint {
    /// `WATCHDOG_CORE_URL`, without a trailing slash.
    pub url: String,
    /// `WATCHDOG_CORE_TOKEN`.
    pub token: Option<SecretString>,
}

/// Telegram.
#[derive(Debug, Clone)]
pub struct TelegramConfig {
    /// `WATCHDOG_TELEGRAM_BOT_TOKEN`.
    pub bot_token: SecretString,
    /// `WATCHDOG_TELEGRAM_CHAT_ID`.
    pub chat: Chat,
    /// `WATCHDOG_TELEGRAM_API_URL`, without a trailing slash.
    pub api_url: String,
    /// Who may command; absent when nobody may.
    pub commands: Option<CommandsConfig>,
}

/// Who may command by chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandsConfig {
    /// `WATCHDOG_TELEGRAM_COMMANDS_CHAT_IDS`, else the chat that is told. Never empty.
    pub chats: Vec<i64>,
    /// `WATCHDOG_TELEGRAM_COMMANDS_USER_IDS`. Never empty.
    pub users: Vec<i64>,
}

/// Alertmanager.
#[derive(Debug, Clone)]
pub struct AlertmanagerConfig {
    /// `WATCHDOG_ALERTMANAGER_URL`, without a trailing slash.
    pub url: String,
    /// How we say who we are; absent where nobody asks.
    pub login: Option<Login>,
    /// `WATCHDOG_ALERTMANAGER_RESEND_S`, in milliseconds.
    pub resend_ms: i64,
}

/// How a client says who it is.
#[derive(Debug, Clone)]
pub enum Login {
    /// `WATCHDOG_ALERTMANAGER_TOKEN`.
    Bearer(SecretString),
    /// `WATCHDOG_ALERTMANAGER_USER` and `WATCHDOG_ALERTMANAGER_PASSWORD`.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: SecretString,
    },
}

/// A chat of the Bot API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chat {
    /// By number; groups are negative.
    Id(i64),
    /// A channel's public name, with its `@`.
    Channel(String),
}

/// Processes.
#[derive(Debug, Clone)]
pub struct ProcConfig {
    /// `WATCHDOG_PROC_ENABLED`.
    pub enabled: bool,
    /// `WATCHDOG_PROC_PATTERNS`, as written; each `re:` compiles. Never empty.
    pub patterns: Vec<String>,
    /// `WATCHDOG_PROC_AGE_MIN`, in milliseconds.
    pub age_ms: i64,
    /// `WATCHDOG_PROC_ORPHAN_GRACE_S`, in milliseconds.
    pub orphan_grace_ms: i64,
    /// `WATCHDOG_PROC_FOREIGN_GRACE_S`, in milliseconds.
    pub foreign_grace_ms: i64,
    /// `WATCHDOG_PROC_COOLDOWN_S`, in milliseconds.
    pub cooldown_ms: i64,
    /// `WATCHDOG_PROC_REFRESH_S`, in milliseconds.
    pub refresh_ms: i64,
    /// `WATCHDOG_PROC_ROOT`.
    pub root: PathBuf,
}

/// Signals: by each a switch, a cooldown, and its threshold where it has one.
#[derive(Debug, Clone, Copy)]
pub struct SignalsConfig {
    /// `proc_blocking`; its age is [`ProcConfig::age_ms`], its cooldown that of processes.
    pub proc_blocking: SignalConfig,
    /// `proc_orphaned`; its graces are those of [`ProcConfig`], its cooldown that of processes.
    pub proc_orphaned: SignalConfig,
    /// `core_down`.
    pub core_down: SignalConfig,
    /// `WATCHDOG_CORE_DOWN_POLLS`.
    pub core_down_polls: u32,
    /// `lease_stale`.
    pub lease_stale: SignalConfig,
    /// `WATCHDOG_LEASE_AGE_S`, in milliseconds; absent means the core's published sum.
    pub lease_age_ms: Option<i64>,
    /// `agent_hung`.
    pub agent_hung: SignalConfig,
    /// `WATCHDOG_AGENT_SILENT_S`, in milliseconds.
    pub agent_silent_ms: i64,
    /// `agent_overrun`.
    pub agent_overrun: SignalConfig,
    /// `WATCHDOG_AGENT_OVERRUN_PERCENT`.
    pub agent_overrun_percent: u32,
    /// `stage_stuck`.
    pub stage_stuck: SignalConfig,
    /// `WATCHDOG_STAGE_STUCK_AGE_S`, in milliseconds; absent means each stage's own limit.
    pub stage_stuck_age_ms: Option<i64>,
    /// `approval_waiting`.
    pub approval_waiting: SignalConfig,
    /// `WATCHDOG_APPROVAL_WAITING_AGE_S`, in milliseconds.
    pub approval_waiting_age_ms: i64,
    /// `queue_stalled`.
    pub queue_stalled: SignalConfig,
    /// `WATCHDOG_QUEUE_STALLED_AGE_S`, in milliseconds.
    pub queue_stalled_age_ms: i64,
    /// `core_degraded`.
    pub core_degraded: SignalConfig,
    /// `cpu_starved`.
    pub cpu_starved: SignalConfig,
    /// `WATCHDOG_CPU_STARVED_PERCENT`.
    pub cpu_starved_percent: u32,
    /// `disk_low`.
    pub disk_low: SignalConfig,
    /// `WATCHDOG_DISK_LOW_PERCENT`.
    pub disk_low_percent: u32,
    /// `state_unsaved`.
    pub state_unsaved: SignalConfig,
    /// `WATCHDOG_STATE_UNSAVED_AGE_S`, in milliseconds.
    pub state_unsaved_age_ms: i64,
    /// `delivery_failing`.
    pub delivery_failing: SignalConfig,
    /// `WATCHDOG_DELIVERY_FAILING_AGE_S`, in milliseconds.
    pub delivery_failing_age_ms: i64,
    /// `collector_unavailable`.
    pub collector_unavailable: SignalConfig,
    /// `WATCHDOG_COLLECTOR_UNAVAILABLE_TICKS`.
    pub collector_unavailable_ticks: u32,
}

/// What every signal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalConfig {
    /// `WATCHDOG_<SIGNAL>_ENABLED`.
    pub enabled: bool,
    /// `WATCHDOG_<SIGNAL>_COOLDOWN_S`, in milliseconds.
    pub cooldown_ms: i64,
}

impl WatchdogConfig {
    /// Reads every setting; relative paths are taken from `base` (the working directory), and
    /// `host_name` is this host's label unless another is set.
    ///
    /// # Errors
    /// Everything that is wrong, at once. Unknown keys are warnings of the answer.
    pub fn load(strings: &Strings, base: &Path, host_name: &str) -> Result<Loaded<Self>, Problems> {
        let mut reader = Reader::new(&KEYS, strings);
        let proc = read_proc(&mut reader, base);
        let config = Self {
            state_dir: base.join(reader.path("WATCHDOG_STATE_DIR")),
            bind: reader.socket_address("WATCHDOG_BIND"),
            tick_ms: reader.duration_ms("WATCHDOG_TICK_S"),
            host_label: reader.text_or("WATCHDOG_HOST_LABEL", host_name, parse_host_label),
            runbook_url: reader.optional_http_address("WATCHDOG_RUNBOOK_URL"),
            locale: reader.word("WATCHDOG_LOCALE", &[("en", Locale::English), ("ru", Locale::Russian)]),
            log: LogConfig::read(&mut reader, strings, LOG),
            trust: reader
                .optional_file("WATCHDOG_CA_FILE", base, CA_FILE_MAX_BYTES, |pem| {
                    Trust::with_bundle(pem).map_err(|error| error.to_string())
                })
                .unwrap_or_default(),
            core: CoreEndpoint {
                url: reader.http_address("WATCHDOG_CORE_URL"),
                token: reader.secret("WATCHDOG_CORE_TOKEN"),
            },
            telegram: read_telegram(&mut reader),
            alertmanager: read_alertmanager(&mut reader),
            heartbeat_url: read_heartbeat(&mut reader),
            signals: read_signals(&mut reader, proc.cooldown_ms),
            proc,
        };
        reader.finish(config)
    }
}

fn read_proc(reader: &mut Reader<'_>, base: &Path) -> ProcConfig {
    let patterns = reader.list("WATCHDOG_PROC_PATTERNS");
    for pattern in &patterns {
        if let Err(why) = check_pattern(pattern) {
            reader.refuse(Problem::with_value("WATCHDOG_PROC_PATTERNS", pattern, why));
        }
    }
    ProcConfig {
        enabled: reader.switch("WATCHDOG_PROC_ENABLED"),
        patterns,
        age_ms: reader.duration_ms("WATCHDOG_PROC_AGE_MIN"),
        orphan_grace_ms: reader.duration_ms("WATCHDOG_PROC_ORPHAN_GRACE_S"),
        foreign_grace_ms: reader.duration_ms("WATCHDOG_PROC_FOREIGN_GRACE_S"),
        cooldown_ms: reader.duration_ms("WATCHDOG_PROC_COOLDOWN_S"),
        refresh_ms: reader.duration_ms("WATCHDOG_PROC_REFRESH_S"),
        root: base.join(reader.path("WATCHDOG_PROC_ROOT")),
    }
}

fn read_signals(reader: &mut Reader<'_>, proc_cooldown_ms: i64) -> SignalsConfig {
    let signal = |reader: &mut Reader<'_>, enabled: &str, cooldown: &str| SignalConfig {
        enabled: reader.switch(enabled),
        cooldown_ms: reader.duration_ms(cooldown),
    };
    SignalsConfig {
        core_down: signal(reader, "WATCHDOG_CORE_DOWN_ENABLED", "WATCHDOG_CORE_DOWN_COOLDOWN_S"),
        lease_stale: signal(reader, "WATCHDOG_LEASE_STALE_ENABLED", "WATCHDOG_LEASE_STALE_COOLDOWN_S"),
        agent_hung: signal(reader, "WATCHDOG_AGENT_HUNG_ENABLED", "WATCHDOG_AGENT_HUNG_COOLDOWN_S"),
        agent_overrun: signal(reader, "WATCHDOG_AGENT_OVERRUN_ENABLED", "WATCHDOG_AGENT_OVERRUN_COOLDOWN_S"),
        agent_overrun_percent: reader.integer("WATCHDOG_AGENT_OVERRUN_PERCENT"),
        stage_stuck: signal(reader, "WATCHDOG_STAGE_STUCK_ENABLED", "WATCHDOG_STAGE_STUCK_COOLDOWN_S"),
        stage_stuck_age_ms: reader.optional_duration_ms("WATCHDOG_STAGE_STUCK_AGE_S"),
        approval_waiting: signal(
            reader,
            "WATCHDOG_APPROVAL_WAITING_ENABLED",
            "WATCHDOG_APPROVAL_WAITING_COOLDOWN_S",
        ),
        approval_waiting_age_ms: reader.duration_ms("WATCHDOG_APPROVAL_WAITING_AGE_S"),
        queue_stalled: signal(reader, "WATCHDOG_QUEUE_STALLED_ENABLED", "WATCHDOG_QUEUE_STALLED_COOLDOWN_S"),
        queue_stalled_age_ms: reader.duration_ms("WATCHDOG_QUEUE_STALLED_AGE_S"),
        core_degraded: signal(reader, "WATCHDOG_CORE_DEGRADED_ENABLED", "WATCHDOG_CORE_DEGRADED_COOLDOWN_S"),
        cpu_starved: signal(reader, "WATCHDOG_CPU_STARVED_ENABLED", "WATCHDOG_CPU_STARVED_COOLDOWN_S"),
        cpu_starved_percent: reader.integer("WATCHDOG_CPU_STARVED_PERCENT"),
        disk_low: signal(reader, "WATCHDOG_DISK_LOW_ENABLED", "WATCHDOG_DISK_LOW_COOLDOWN_S"),
        disk_low_percent: reader.integer("WATCHDOG_DISK_LOW_PERCENT"),
        delivery_failing: signal(
            reader,
            "WATCHDOG_DELIVERY_FAILING_ENABLED",
            "WATCHDOG_DELIVERY_FAILING_COOLDOWN_S",
        ),
        delivery_failing_age_ms: reader.duration_ms("WATCHDOG_DELIVERY_FAILING_AGE_S"),
        collector_unavailable: signal(
            reader,
            "WATCHDOG_COLLECTOR_UNAVAILABLE_ENABLED",
            "WATCHDOG_COLLECTOR_UNAVAILABLE_COOLDOWN_S",
        ),
        state_unsaved: signal(reader, "WATCHDOG_STATE_UNSAVED_ENABLED", "WATCHDOG_STATE_UNSAVED_COOLDOWN_S"),
        state_unsaved_age_ms: reader.duration_ms("WATCHDOG_STATE_UNSAVED_AGE_S"),
        proc_blocking: SignalConfig {
            enabled: reader.switch("WATCHDOG_PROC_BLOCKING_ENABLED"),
            cooldown_ms: proc_cooldown_ms,
        },
        proc_orphaned: SignalConfig {
            enabled: reader.switch("WATCHDOG_PROC_ORPHANED_ENABLED"),
            cooldown_ms: proc_cooldown_ms,
        },
        core_down_polls: reader.integer("WATCHDOG_CORE_DOWN_POLLS"),
        lease_age_ms: reader.optional_duration_ms("WATCHDOG_LEASE_AGE_S"),
        agent_silent_ms: reader.duration_ms("WATCHDOG_AGENT_SILENT_S"),
        collector_unavailable_ticks: reader.integer("WATCHDOG_COLLECTOR_UNAVAILABLE_TICKS"),
    }
}

/// Both token and chat, or neither: half a channel would look like one and tell nobody.
fn read_telegram(reader: &mut Reader<'_>) -> Option<TelegramConfig> {
    const TOKEN: &str = "WATCHDOG_TELEGRAM_BOT_TOKEN";
    const CHAT: &str = "WATCHDOG_TELEGRAM_CHAT_ID";
    let bot_token = reader.secret(TOKEN);
    let chat = reader.optional_parsed(CHAT, parse_chat);
    let api_url = reader.http_address("WATCHDOG_TELEGRAM_API_URL");
    let commands = read_commands(reader, chat.as_ref());
    match (bot_token, chat) {
        (Some(bot_token), Some(chat)) => Some(TelegramConfig { bot_token, chat, api_url, commands }),
        (None, None) if commands.is_some() => {
            reader.refuse(Problem::of(TOKEN, format!("must be set: {COMMANDS_ENABLED} is")));
            None
        }
        (None, None) => None,
        (Some(_), None) => {
            if reader.sound(&[CHAT]) {
                reader.refuse(Problem::of(CHAT, format!("must be set: {TOKEN} is")));
            }
            None
        }
        (None, Some(_)) => {
            if reader.sound(&[TOKEN]) {
                reader.refuse(Problem::of(TOKEN, format!("must be set: {CHAT} is")));
            }
            None
        }
    }
}

const COMMANDS_ENABLED: &str = "WATCHDOG_TELEGRAM_COMMANDS_ENABLED";

/// Commands need both lists: in a group everybody writes, and a person may write from anywhere.
fn read_commands(reader: &mut Reader<'_>, told: Option<&Chat>) -> Option<CommandsConfig> {
    const CHATS: &str = "WATCHDOG_TELEGRAM_COMMANDS_CHAT_IDS";
    const USERS: &str = "WATCHDOG_TELEGRAM_COMMANDS_USER_IDS";
    let enabled = reader.switch(COMMANDS_ENABLED);
    let mut chats = read_ids(reader, CHATS);
    let users = read_ids(reader, USERS);
    if !enabled {
        return None;
    }
    match told {
        Some(Chat::Id(id)) if chats.is_empty() => chats.push(*id),
        Some(Chat::Id(_) | Chat::Channel(_)) | None => {}
    }
    for (key, ids) in [(CHATS, &chats), (USERS, &users)] {
        if ids.is_empty() && reader.sound(&[key]) {
            reader.refuse(Problem::of(key, format!("must be set: {COMMANDS_ENABLED} is")));
        }
    }
    Some(CommandsConfig { chats, users })
}

fn read_ids(reader: &mut Reader<'_>, key: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    for item in reader.list(key) {
        match item.parse::<i64>() {
            Ok(id) if id != 0 => ids.push(id),
            Ok(_) | Err(_) => reader.refuse(Problem::with_value(key, &item, "not a number of Telegram's")),
        }
    }
    ids
}

fn read_alertmanager(reader: &mut Reader<'_>) -> Option<AlertmanagerConfig> {
    const URL: &str = "WATCHDOG_ALERTMANAGER_URL";
    let resend_ms = reader.duration_ms("WATCHDOG_ALERTMANAGER_RESEND_S");
    let login = read_login(reader);
    let Some(url) = reader.optional_http_address(URL) else {
        if login.is_some() && reader.sound(&[URL]) {
            reader.refuse(Problem::of(URL, "must be set: there is a token or user for it"));
        }
        return None;
    };
    Some(AlertmanagerConfig { url, login, resend_ms })
}

/// A token, or a user with a password: half a login would be refused there at night, not here now.
fn read_login(reader: &mut Reader<'_>) -> Option<Login> {
    const TOKEN: &str = "WATCHDOG_ALERTMANAGER_TOKEN";
    const USER: &str = "WATCHDOG_ALERTMANAGER_USER";
    const PASSWORD: &str = "WATCHDOG_ALERTMANAGER_PASSWORD";
    let token = reader.secret(TOKEN);
    let user = reader.optional_parsed(USER, parse_user);
    let password = reader.secret(PASSWORD);
    if token.is_some() && (user.is_some() || password.is_some()) {
        reader.refuse(Problem::of(TOKEN, format!("either this or {USER} with {PASSWORD}, not both")));
        return None;
    }
    match (token, user, password) {
        (Some(token), ..) => Some(Login::Bearer(token)),
        (None, Some(user), Some(password)) => Some(Login::Basic { user, password }),
        (None, None, None) => None,
        (None, Some(_), None) => {
            if reader.sound(&[PASSWORD]) {
                reader.refuse(Problem::of(PASSWORD, format!("must be set: {USER} is")));
            }
            None
        }
        (None, None, Some(_)) => {
            if reader.sound(&[USER]) {
                reader.refuse(Problem::of(USER, format!("must be set: {PASSWORD} is")));
            }
            None
        }
    }
}

/// An address that is a secret: it is never quoted.
fn read_heartbeat(reader: &mut Reader<'_>) -> Option<SecretString> {
    const KEY: &str = "WATCHDOG_HEARTBEAT_URL";
    let url = reader.secret(KEY)?;
    let parsed = reqwest::Url::parse(url.expose_secret());
    if parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        return Some(url);
    }
    reader.refuse(Problem::of(KEY, "not an address of http:// or https://"));
    None
}

fn parse_chat(text: &str) -> Result<Chat, String> {
    let is_channel = text.strip_prefix('@').is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    if is_channel {
        return Ok(Chat::Channel(text.to_owned()));
    }
    match text.parse::<i64>() {
        Ok(id) if id != 0 && !text.starts_with('+') => Ok(Chat::Id(id)),
        _ => Err("neither a number nor @name".to_owned()),
    }
}

fn parse_host_label(text: &str) -> Result<String, String> {
    let fits = text.len() <= HOST_LABEL_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if fits { Ok(text.to_owned()) } else { Err("not a host label".to_owned()) }
}

fn parse_user(text: &str) -> Result<String, String> {
    let separates = |letter: char| letter == ':' || letter.is_whitespace() || letter.is_control();
    if text.contains(separates) {
        return Err("not a name: no colon, no spaces".to_owned());
    }
    Ok(text.to_owned())
}

/// Shapes of a pattern as `proc` reads them; a regular expression must compile.
fn check_pattern(pattern: &str) -> Result<(), String> {
    if let Some(expression) = pattern.strip_prefix("re:") {
        if expression.is_empty() {
            return Err("an empty regular expression matches everything".to_owned());
        }
        return regex::RegexBuilder::new(expression)
            .size_limit(PATTERN_SIZE_MAX_BYTES)
            .build()
            .map(|_| ())
            .map_err(|error| {
                let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                format!("not a regular expression: {last} (a comma ends a pattern)")
            });
    }
    let name = pattern.strip_prefix("comm:").unwrap_or(pattern);
    if name.is_empty() || name.contains(|letter: char| letter.is_whitespace() || letter == '/') {
        return Err("not a program's name; no path, no spaces".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;

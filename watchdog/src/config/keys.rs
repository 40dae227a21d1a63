//! Every setting of orch-watchdog: name, meaning, default, bounds.
//!
//! Data only. By signal there is a switch, a threshold and a cooldown; whatever else is constant
//! stands in the code of the signal, documented there.

use orch_settings::{Empty, Key, Section, Table, Unknown};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;

/// Bounds of a period.
const TICK: (i64, i64) = (50, 3_600 * SECOND);
/// Bounds of a grace.
const GRACE: (i64, i64) = (0, 30 * DAY);
/// Bounds of an age or silence.
const AGE: (i64, i64) = (100, 365 * DAY);
/// Bounds of the time between two reminders.
const COOLDOWN: (i64, i64) = (100, 30 * DAY);
/// Bounds of the time between two messages that tell the same.
const RESEND: (i64, i64) = (100, 3_600 * SECOND);

/// Time between two reminders, by default.
const COOLDOWN_S: &str = "1800";

/// The same where a person is waited for: once a day is enough.
const APPROVAL_COOLDOWN_S: &str = "86400";

const COOLDOWN_MEANING: &str = "Time to its first reminder; later ones come at growing distance.";

const fn enabled(name: &'static str, meaning: &'static str) -> Key {
    Key::switch(name, true, meaning)
}

const fn cooldown(name: &'static str) -> Key {
    Key::seconds(name, COOLDOWN_S, COOLDOWN, COOLDOWN_MEANING)
}

/// The keys of orch-watchdog.
pub static KEYS: Table = Table {
    program: "orch-watchdog",
    prefix: "WATCHDOG_",
    unknown: Unknown::Warn,
    // systemd's own, for keep-alive
    foreign: &[
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        #[cfg(debug_assertions)]
        "WATCHDOG_FAILPOINT",
    ],
    sections: &[
        Section {
            title: "The program",
            keys: &[
                Key::path("WATCHDOG_STATE_DIR", "./data/watchdog", "Directory of its state and outbox."),
                Key::socket_address(
                    "WATCHDOG_BIND",
                    "127.0.0.1:9109",
                    "Address of metrics and health; port 0 takes a free one.",
                ),
                Key::seconds("WATCHDOG_TICK_S", "15", TICK, "How often it looks."),
                Key::text(
                    "WATCHDOG_HOST_LABEL",
                    "",
                    "up to 64 letters, digits, dots, dashes and underscores",
                    "Name of this host in alerts and metrics.",
                )
                .described("the host's own name"),
                Key::http_address(
                    "WATCHDOG_RUNBOOK_URL",
                    "",
                    "Address of the runbook; an alert links a section of it, and without it names the command that prints that section.",
                )
                .optional(),
                Key::word("WATCHDOG_LOCALE", "en", &["en", "ru"], "Language of messages in chat."),
                Key::text(
                    "WATCHDOG_LOG",
                    "info",
                    "off, error, warn, info, debug, trace, or a comma list of target=level",
                    "What is logged, to standard error.",
                ),
                Key::path(
                    "WATCHDOG_CA_FILE",
                    "",
                    "File of certificate authorities in PEM form, trusted besides the built-in ones by every connection it opens; read at start.",
                )
                .optional(),
                Key::word("WATCHDOG_LOG_FORMAT", "text", &["text", "json"], "How it is written."),
            ],
        },
        Section {
            title: "The core",
            keys: &[
                Key::http_address("WATCHDOG_CORE_URL", "http://127.0.0.1:8080", "Address of orch-core."),
                Key::secret("WATCHDOG_CORE_TOKEN", "Its token for reading (ORCH_API_READ_TOKEN)."),
            ],
        },
        Section {
            title: "Telegram",
            keys: &[
                Key::secret(
                    "WATCHDOG_TELEGRAM_BOT_TOKEN",
                    "Token of the bot; without it the log alone is told.",
                ),
                Key::text(
                    "WATCHDOG_TELEGRAM_CHAT_ID",
                    "",
                    "a chat's number, or @name of a channel",
                    "Chat that is told.",
                )
                .optional(),
                Key::http_address(
                    "WATCHDOG_TELEGRAM_API_URL",
                    "https://api.telegram.org",
                    "Address of the Bot API.",
                ),
            ],
        },
        Section {
            title: "Commands by chat",
            keys: &[
                Key::switch(
                    "WATCHDOG_TELEGRAM_COMMANDS_ENABLED",
                    false,
                    "Listen to commands and buttons; no other program may fetch this bot's updates then.",
                ),
                Key::list(
                    "WATCHDOG_TELEGRAM_COMMANDS_CHAT_IDS",
                    "",
                    "numbers of chats",
                    Empty::Allowed,
                    "Chats in which commands count; empty means the chat that is told.",
                ),
                Key::list(
                    "WATCHDOG_TELEGRAM_COMMANDS_USER_IDS",
                    "",
                    "numbers of users",
                    Empty::Allowed,
                    "People whose commands count there.",
                ),
            ],
        },
        Section {
            title: "Other ways to be told",
            keys: &[
                Key::http_address(
                    "WATCHDOG_ALERTMANAGER_URL",
                    "",
                    "Address of an Alertmanager that is told too, without /api.",
                )
                .optional(),
                Key::secret(
                    "WATCHDOG_ALERTMANAGER_TOKEN",
                    "Its bearer token, where it stands behind something that asks for one.",
                ),
                Key::text(
                    "WATCHDOG_ALERTMANAGER_USER",
                    "",
                    "a name without colon, spaces or control characters",
                    "User of its basic authentication; not together with a token.",
                )
                .optional(),
                Key::secret("WATCHDOG_ALERTMANAGER_PASSWORD", "Password of that user."),
                Key::seconds(
                    "WATCHDOG_ALERTMANAGER_RESEND_S",
                    "60",
                    RESEND,
                    "How often it is told again what fires; it counts as over after ten times as long.",
                ),
                Key::secret(
                    "WATCHDOG_HEARTBEAT_URL",
                    "Address that is fetched after each good tick, so that somebody else notices our silence.",
                ),
            ],
        },
        Section {
            title: "Processes",
            keys: &[
                Key::switch(
                    "WATCHDOG_PROC_ENABLED",
                    false,
                    "Look into the host's processes; false opens no process's files.",
                ),
                Key::list(
                    "WATCHDOG_PROC_PATTERNS",
                    "pytest",
                    "program names, re:<regular expression> or comm:<process name>",
                    Empty::Refused,
                    "Which processes may block the pipeline.",
                ),
                Key::minutes(
                    "WATCHDOG_PROC_AGE_MIN",
                    "60",
                    (60, 365 * 1_440 * MINUTE),
                    "Age above which a matched process is told, whoever owns it.",
                ),
                Key::seconds(
                    "WATCHDOG_PROC_ORPHAN_GRACE_S",
                    "30",
                    GRACE,
                    "How long a process may be an orphan before it is told.",
                ),
                Key::seconds(
                    "WATCHDOG_PROC_FOREIGN_GRACE_S",
                    "1800",
                    GRACE,
                    "Age up to which an orphan that never had to do with the core is left alone; the grace above counts besides.",
                ),
                Key::seconds(
                    "WATCHDOG_PROC_COOLDOWN_S",
                    COOLDOWN_S,
                    COOLDOWN,
                    "Time to the first reminder of a process; later ones come at growing distance.",
                ),
                Key::seconds(
                    "WATCHDOG_PROC_REFRESH_S",
                    "900",
                    (1_000, DAY),
                    "Time in which every process is looked at again: its command line is read if anything was done since.",
                ),
                Key::path("WATCHDOG_PROC_ROOT", "/proc", "Where the process file system is mounted."),
            ],
        },
        Section {
            title: "Signals",
            keys: &[
                enabled("WATCHDOG_PROC_BLOCKING_ENABLED", "Tell matched processes that are too old."),
                enabled("WATCHDOG_PROC_ORPHANED_ENABLED", "Tell matched processes that nobody owns."),
                enabled("WATCHDOG_CORE_DOWN_ENABLED", "Tell that the core does not answer."),
                Key::integer(
                    "WATCHDOG_CORE_DOWN_POLLS",
                    "3",
                    (1, 1_000),
                    "polls",
                    "Polls in a row that must fail.",
                ),
                cooldown("WATCHDOG_CORE_DOWN_COOLDOWN_S"),
                enabled("WATCHDOG_LEASE_STALE_ENABLED", "Tell leases whose owner is gone or too slow."),
                Key::seconds("WATCHDOG_LEASE_AGE_S", "", AGE, "Age above which a lease is too old.")
                    .described("the sum of the core's time-outs, as the core publishes it"),
                cooldown("WATCHDOG_LEASE_STALE_COOLDOWN_S"),
                enabled("WATCHDOG_AGENT_HUNG_ENABLED", "Tell agents that are silent and idle, or gone."),
                Key::seconds(
                    "WATCHDOG_AGENT_SILENT_S",
                    "900",
                    AGE,
                    "Silence above which an idle agent counts as hung.",
                ),
                cooldown("WATCHDOG_AGENT_HUNG_COOLDOWN_S"),
                enabled(
                    "WATCHDOG_AGENT_OVERRUN_ENABLED",
                    "Tell agents that use up much of their time limit.",
                ),
                Key::integer(
                    "WATCHDOG_AGENT_OVERRUN_PERCENT",
                    "50",
                    (1, 100),
                    "percent",
                    "Share of its limit above which an agent is told.",
                ),
                cooldown("WATCHDOG_AGENT_OVERRUN_COOLDOWN_S"),
                enabled("WATCHDOG_STAGE_STUCK_ENABLED", "Tell tasks that stay in one stage for too long."),
                Key::seconds(
                    "WATCHDOG_STAGE_STUCK_AGE_S",
                    "",
                    AGE,
                    "Time in one stage above which a task is stuck.",
                )
                .described("by stage, and never less than the core's own time-outs"),
                cooldown("WATCHDOG_STAGE_STUCK_COOLDOWN_S"),
                enabled("WATCHDOG_APPROVAL_WAITING_ENABLED", "Tell tasks that wait long for a person."),
                Key::seconds(
                    "WATCHDOG_APPROVAL_WAITING_AGE_S",
                    "86400",
                    AGE,
                    "How long a person may take before it is told.",
                ),
                Key::seconds(
                    "WATCHDOG_APPROVAL_WAITING_COOLDOWN_S",
                    APPROVAL_COOLDOWN_S,
                    COOLDOWN,
                    COOLDOWN_MEANING,
                ),
                enabled("WATCHDOG_QUEUE_STALLED_ENABLED", "Tell jobs that wait although slots are free."),
                Key::seconds(
                    "WATCHDOG_QUEUE_STALLED_AGE_S",
                    "300",
                    AGE,
                    "How long a job that could run may wait.",
                ),
                cooldown("WATCHDOG_QUEUE_STALLED_COOLDOWN_S"),
                enabled(
                    "WATCHDOG_CORE_DEGRADED_ENABLED",
                    "Tell a core whose actors or documents are late, or whose clock is off.",
                ),
                cooldown("WATCHDOG_CORE_DEGRADED_COOLDOWN_S"),
                enabled("WATCHDOG_CPU_STARVED_ENABLED", "Tell that work waits for processors."),
                Key::integer(
                    "WATCHDOG_CPU_STARVED_PERCENT",
                    "60",
                    (1, 100),
                    "percent",
                    "Share of a minute in which something waits for a processor.",
                ),
                cooldown("WATCHDOG_CPU_STARVED_COOLDOWN_S"),
                enabled("WATCHDOG_DISK_LOW_ENABLED", "Tell that the core's data directory runs out of room."),
                Key::integer(
                    "WATCHDOG_DISK_LOW_PERCENT",
                    "5",
                    (1, 100),
                    "percent",
                    "Free share of bytes or inodes below which it is told.",
                ),
                cooldown("WATCHDOG_DISK_LOW_COOLDOWN_S"),
                enabled("WATCHDOG_DELIVERY_FAILING_ENABLED", "Tell on the other channels that one fails."),
                Key::seconds(
                    "WATCHDOG_DELIVERY_FAILING_AGE_S",
                    "300",
                    AGE,
                    "How long a notice may wait for its channel.",
                ),
                cooldown("WATCHDOG_DELIVERY_FAILING_COOLDOWN_S"),
                enabled("WATCHDOG_COLLECTOR_UNAVAILABLE_ENABLED", "Tell that part of the view is missing."),
                Key::integer(
                    "WATCHDOG_COLLECTOR_UNAVAILABLE_TICKS",
                    "4",
                    (1, 1_000),
                    "ticks",
                    "Ticks in a row that must fail to look.",
                ),
                cooldown("WATCHDOG_COLLECTOR_UNAVAILABLE_COOLDOWN_S"),
                enabled("WATCHDOG_STATE_UNSAVED_ENABLED", "Tell that the watchdog cannot save its own state."),
                Key::seconds(
                    "WATCHDOG_STATE_UNSAVED_AGE_S",
                    "60",
                    AGE,
                    "How long its state may be kept in memory alone.",
                ),
                cooldown("WATCHDOG_STATE_UNSAVED_COOLDOWN_S"),
            ],
        },
    ],
};

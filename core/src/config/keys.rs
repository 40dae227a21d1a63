//! Every setting of orch-core: name, meaning, default, bounds.
//!
//! Data only. A key stands here when code of this program acts on it, and not before.

use orch_settings::{Empty, Key, Section, Table, Unknown};

const SECOND: i64 = 1_000;
const DAY: i64 = 86_400 * SECOND;

/// Fastest period of anything periodic.
const TICK_MIN: i64 = 50;
/// Bounds of a periodic actor's period.
const TICK: (i64, i64) = (TICK_MIN, 3_600 * SECOND);
/// Bounds of a time-out of something that is started.
const TIMEOUT: (i64, i64) = (100, 7 * DAY);
/// Bounds of a grace or back-off, where none at all makes sense.
const GRACE: (i64, i64) = (0, DAY);

const USD: &str = "US dollars, such as 20 or 0.50";
const REPOS: &str = "project names, or * for all";
const REPOS_MEANING: &str = "Projects in its scope; empty means ORCH_SELF_REPO alone.";

const fn scope(name: &'static str) -> Key {
    Key::list(name, "*", REPOS, Empty::Allowed, REPOS_MEANING)
}

/// What the core tells agents and gates in their environment: an agent that calls `orch-core` has
/// them set, and they are nobody's mistake. The last is the fail point of builds for tests.
const FOREIGN: &[&str] = &[
    "ORCH_ARTIFACTS_DIR",
    "ORCH_ATTEMPT",
    "ORCH_BODY",
    "ORCH_FINDINGS_FILE",
    "ORCH_PROMPT_FILE",
    "ORCH_REVISION",
    "ORCH_ROLE",
    "ORCH_STAGE",
    "ORCH_TARGET_BRANCH",
    "ORCH_TITLE",
    "ORCH_WORKTREE",
    "ORCH_WORK_ITEM",
    #[cfg(debug_assertions)]
    "ORCH_FAILPOINT",
];

/// The keys of orch-core.
pub static KEYS: Table = Table {
    program: "orch-core",
    prefix: "ORCH_",
    unknown: Unknown::Refuse,
    foreign: FOREIGN,
    sections: &[
        Section {
            title: "Where things are",
            keys: &[
                Key::path("ORCH_DATA_DIR", "./data", "Directory of everything that the core keeps."),
                Key::path("ORCH_DB_PATH", "", "Database file, on a local file system.")
                    .described("orch.db in ORCH_DATA_DIR"),
                Key::path("ORCH_PROJECTS_FILE", "", "Projects and their agents, gates and commands.")
                    .described("projects.toml in ORCH_DATA_DIR"),
                Key::text(
                    "ORCH_SELF_REPO",
                    "",
                    "the name of a project",
                    "Project that holds this program itself; the core never deploys it under its own feet.",
                )
                .optional(),
            ],
        },
        Section {
            title: "HTTP",
            keys: &[
                Key::socket_address(
                    "ORCH_BIND",
                    "127.0.0.1:8080",
                    "Address of the API; port 0 takes a free one. Beyond loopback both tokens are demanded.",
                ),
                Key::secret("ORCH_API_TOKEN", "Token for actions."),
                Key::secret("ORCH_API_READ_TOKEN", "Token for reading, for the watchdog among others."),
            ],
        },
        Section {
            title: "Log",
            keys: &[
                Key::text(
                    "ORCH_LOG",
                    "info",
                    "off, error, warn, info, debug, trace, or a comma list of target=level",
                    "What is logged, to standard error.",
                ),
                Key::word("ORCH_LOG_FORMAT", "text", &["text", "json"], "How it is written."),
            ],
        },
        Section {
            title: "Agents and jobs",
            keys: &[
                Key::integer("ORCH_MAX_AGENTS", "4", (1, 1_000), "agents", "Agents that run at once."),
                Key::integer(
                    "ORCH_MAX_AGENTS_PER_REPO",
                    "2",
                    (1, 1_000),
                    "agents",
                    "Agents that run at once in one project.",
                ),
                Key::seconds(
                    "ORCH_AGENT_TIMEOUT_S",
                    "3600",
                    TIMEOUT,
                    "Limit of one run of an agent, unless its role sets its own.",
                ),
                Key::integer("ORCH_JOB_ATTEMPTS", "3", (1, 100), "attempts", "Runs that a job is given."),
                Key::seconds(
                    "ORCH_JOB_BACKOFF_S",
                    "10",
                    GRACE,
                    "Wait before a job's second attempt; doubles with each further one.",
                ),
                Key::text(
                    "ORCH_TASK_BUDGET_USD",
                    "",
                    USD,
                    "What the agents of one work item may cost in all; unset: no bound.",
                )
                .optional(),
                Key::text(
                    "ORCH_DAILY_BUDGET_USD",
                    "",
                    USD,
                    "What all agents may cost in one day, from 00:00 UTC; unset: no bound.",
                )
                .optional(),
                Key::switch(
                    "ORCH_BUDGET_HARD",
                    true,
                    "Give a run no more than is left, and stop it there; false: no new run starts once a budget is used up.",
                ),
                Key::integer(
                    "ORCH_MAX_ROLLBACKS",
                    "3",
                    (0, 100),
                    "roll-backs",
                    "Roll-backs of one task before a person must act.",
                ),
            ],
        },
        Section {
            title: "Processes",
            keys: &[
                Key::switch(
                    "ORCH_SUBPROCESS_TREE_KILL_ENABLED",
                    true,
                    "End a run with everything it started; false ends the child alone.",
                ),
                Key::switch(
                    "ORCH_SUBPROCESS_NO_NEW_PRIVS",
                    true,
                    "Forbid whatever is started to gain privileges (sudo, su).",
                ),
                Key::integer(
                    "ORCH_RUN_OUTPUT_MAX_BYTES",
                    "67108864",
                    (4_096, 1 << 40),
                    "bytes",
                    "Output of one run that is kept, each stream by itself.",
                ),
            ],
        },
        Section {
            title: "Who owns a change of stage",
            keys: &[
                Key::switch(
                    "ORCH_TRANSITION_LEASE_ENABLED",
                    true,
                    "One owner at a time for the edge that merges and deploys.",
                ),
                scope("ORCH_TRANSITION_LEASE_REPOS"),
            ],
        },
        Section {
            title: "Word to people",
            keys: &[
                Key::secret(
                    "ORCH_TELEGRAM_BOT_TOKEN",
                    "Token of the bot that tells of leases taken by force or from the dead; unset: the log alone.",
                ),
                Key::text("ORCH_TELEGRAM_CHAT_ID", "", "the number of a chat", "Chat that it writes into.")
                    .optional(),
                Key::http_address(
                    "ORCH_TELEGRAM_API_URL",
                    "https://api.telegram.org",
                    "Address of the Bot API.",
                ),
            ],
        },
        Section {
            title: "Gates",
            keys: &[
                Key::switch("ORCH_MERGE_GATE_ENABLED", true, "Rebase and re-test before a merge."),
                scope("ORCH_MERGE_GATE_REPOS"),
                Key::switch("ORCH_COVERAGE_GATE_ENABLED", true, "Refuse a merge that lowers coverage."),
                scope("ORCH_COVERAGE_GATE_REPOS"),
                Key::switch("ORCH_SECURITY_GATE_ENABLED", true, "Refuse a merge with new findings."),
                scope("ORCH_SECURITY_GATE_REPOS"),
                Key::switch("ORCH_IMAGE_GATE_ENABLED", true, "Demand an image of this very candidate."),
                scope("ORCH_IMAGE_GATE_REPOS"),
                Key::switch("ORCH_STAGING_ENABLED", true, "Run the staging suite before a merge."),
                scope("ORCH_STAGING_REPOS"),
                Key::seconds("ORCH_MERGE_RETEST_TIMEOUT_S", "900", TIMEOUT, "Limit of one re-test."),
                Key::switch(
                    "ORCH_MERGE_RETEST_CLASSIFY_ENABLED",
                    true,
                    "Tell failures of the machine from failures of the code; false reads each as red code.",
                ),
                Key::seconds("ORCH_COVERAGE_TIMEOUT_S", "900", TIMEOUT, "Limit of one coverage run."),
                Key::points(
                    "ORCH_COVERAGE_TOLERANCE_PP",
                    "0.1",
                    (0, 1_000_000),
                    "How far below its baseline coverage may fall.",
                ),
                Key::seconds(
                    "ORCH_IMAGE_BUILD_TIMEOUT_S",
                    "1800",
                    TIMEOUT,
                    "Limit of one build of an image.",
                ),
                Key::seconds("ORCH_STAGING_TIMEOUT_S", "1800", TIMEOUT, "Limit of the staging suite."),
                Key::seconds(
                    "ORCH_CI_WAIT_S",
                    "1800",
                    TIMEOUT,
                    "How long a candidate keeps the merge slot while its own CI runs.",
                ),
                Key::seconds("ORCH_CI_TIMEOUT_S", "900", TIMEOUT, "Limit of one CI run of the local forge."),
                Key::seconds(
                    "ORCH_DEPLOY_TIMEOUT_S",
                    "600",
                    TIMEOUT,
                    "How long a deployed revision may take to be healthy.",
                ),
                Key::switch(
                    "ORCH_GATE_INFRA_RETRY_ENABLED",
                    true,
                    "Look again in place when a gate failed for reasons that are not the code's.",
                ),
                Key::integer("ORCH_GATE_INFRA_RETRIES", "3", (0, 100), "retries", "How often."),
                Key::seconds(
                    "ORCH_GATE_INFRA_BACKOFF_S",
                    "30",
                    GRACE,
                    "Wait before the first such retry; doubles with each further one.",
                ),
            ],
        },
        Section {
            title: "Actors",
            keys: &[
                Key::seconds("ORCH_REAPER_TICK_S", "30", TICK, "Period of the reaper."),
                Key::seconds(
                    "ORCH_REAPER_DEAD_GRACE_S",
                    "60",
                    GRACE,
                    "How long a run may be gone without an exit record before its job is taken over.",
                ),
                Key::seconds(
                    "ORCH_REAPER_FINALIZE_GRACE_S",
                    "300",
                    GRACE,
                    "How long a recorded exit may wait to be settled before its job is taken over.",
                ),
                Key::seconds(
                    "ORCH_REAPER_MAX_RUNNING_S",
                    "14400",
                    TIMEOUT,
                    "Ceiling of any job and any lease; must exceed the time-outs of one edge in sum.",
                ),
                Key::seconds("ORCH_RECONCILE_TICK_S", "120", TICK, "Period of the reconciler."),
                Key::seconds("ORCH_FINALIZER_TICK_S", "5", TICK, "Period of the deploy finalizer."),
                Key::seconds(
                    "ORCH_SHUTDOWN_GRACE_S",
                    "20",
                    GRACE,
                    "How long a shutdown waits for finalizations under way.",
                ),
                Key::word(
                    "ORCH_SHUTDOWN_AGENTS",
                    "keep",
                    &["keep", "stop"],
                    "Whether agents go on under their supervisors when the core ends.",
                ),
            ],
        },
    ],
};

//! Rules of the watchdog's settings.

use std::path::Path;

use orch_settings::generated::{self, Differing};
use orch_settings::{ExposeSecret, render};

use super::*;
use crate::signals::SignalKind;

fn load(pairs: &[(&str, &str)]) -> Result<Loaded<WatchdogConfig>, Problems> {
    WatchdogConfig::load(&Strings::from_pairs(pairs.iter().copied()), Path::new("/srv"), "box-1")
}

fn value(pairs: &[(&str, &str)]) -> WatchdogConfig {
    load(pairs).unwrap().value
}

fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    match load(pairs) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.all().iter().map(ToString::to_string).collect(),
    }
}

fn repository_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn differing() -> Differing {
    generated::differing(&Strings::from_process())
}

#[test]
fn an_empty_environment_gives_the_documented_defaults() {
    let config = value(&[]);
    assert_eq!(config.state_dir, Path::new("/srv/./data/watchdog"));
    assert_eq!(config.bind.to_string(), "127.0.0.1:9109");
    assert_eq!((config.tick_ms, config.host_label.as_str()), (15_000, "box-1"));
    assert_eq!(config.runbook_url, None);
    assert_eq!(config.core.url, "http://127.0.0.1:8080");
    assert!(config.core.token.is_none() && config.telegram.is_none());
    assert!(!config.proc.enabled);
    assert_eq!((config.proc.patterns, config.proc.age_ms), (vec!["pytest".to_owned()], 3_600_000));
    assert_eq!((config.proc.orphan_grace_ms, config.proc.foreign_grace_ms), (30_000, 1_800_000));
    assert_eq!((config.proc.refresh_ms, config.proc.root), (900_000, PathBuf::from("/proc")));
    let usual = SignalConfig { enabled: true, cooldown_ms: 1_800_000 };
    let signals = config.signals;
    for signal in [
        signals.proc_blocking,
        signals.proc_orphaned,
        signals.core_down,
        signals.lease_stale,
        signals.agent_hung,
        signals.agent_overrun,
        signals.stage_stuck,
        signals.queue_stalled,
        signals.core_degraded,
        signals.cpu_starved,
        signals.disk_low,
        signals.delivery_failing,
        signals.collector_unavailable,
        signals.state_unsaved,
    ] {
        assert_eq!(signal, usual);
    }
    assert_eq!(signals.approval_waiting, SignalConfig { enabled: true, cooldown_ms: 86_400_000 });
    let percents = (signals.agent_overrun_percent, signals.cpu_starved_percent, signals.disk_low_percent);
    assert_eq!(percents, (50, 60, 5));
    assert_eq!((signals.stage_stuck_age_ms, signals.approval_waiting_age_ms), (None, 86_400_000));
    assert_eq!((signals.queue_stalled_age_ms, signals.delivery_failing_age_ms), (300_000, 300_000));
    assert_eq!(signals.state_unsaved_age_ms, 60_000);
    assert_eq!((signals.core_down_polls, signals.collector_unavailable_ticks), (3, 4));
    assert_eq!((signals.lease_age_ms, signals.agent_silent_ms), (None, 900_000));
}

#[test]
fn each_signal_has_its_own_switch_and_cooldown() {
    let signals = value(&[
        ("WATCHDOG_PROC_COOLDOWN_S", "1"),
        ("WATCHDOG_CORE_DOWN_COOLDOWN_S", "2"),
        ("WATCHDOG_LEASE_STALE_COOLDOWN_S", "3"),
        ("WATCHDOG_AGENT_HUNG_COOLDOWN_S", "4"),
        ("WATCHDOG_COLLECTOR_UNAVAILABLE_COOLDOWN_S", "5"),
        ("WATCHDOG_PROC_ORPHANED_ENABLED", "false"),
        ("WATCHDOG_LEASE_STALE_ENABLED", "false"),
        ("WATCHDOG_LEASE_AGE_S", "0.5"),
    ])
    .signals;
    let told = [
        signals.proc_blocking,
        signals.proc_orphaned,
        signals.core_down,
        signals.lease_stale,
        signals.agent_hung,
        signals.collector_unavailable,
    ]
    .map(|signal| (signal.enabled, signal.cooldown_ms / 1_000));
    assert_eq!(told, [(true, 1), (false, 1), (true, 2), (false, 3), (true, 4), (true, 5)]);
    assert_eq!(signals.lease_age_ms, Some(500));
}

/// Through the whole way from a setting's name to what `derive` and `decide` read.
#[test]
fn the_keys_of_a_signal_bear_its_name_and_reach_it() {
    for (index, signal) in SignalKind::ALL.into_iter().enumerate() {
        let name = signal.name().to_uppercase();
        let switch = format!("WATCHDOG_{name}_ENABLED");
        let thresholds = crate::service::thresholds(&value(&[(&switch, "false")]));
        assert_eq!(thresholds.disabled, [signal]);
        let cooldown = match signal {
            SignalKind::ProcBlocking | SignalKind::ProcOrphaned => "WATCHDOG_PROC_COOLDOWN_S".to_owned(),
            _ => format!("WATCHDOG_{name}_COOLDOWN_S"),
        };
        let policy = crate::service::policy(&value(&[(&cooldown, &(index + 1).to_string())]));
        assert_eq!(policy.of(signal).cooldown_ms, (index as i64 + 1) * 1_000, "{cooldown}");
    }
    let thresholds = crate::service::thresholds(&value(&[
        ("WATCHDOG_AGENT_OVERRUN_PERCENT", "1"),
        ("WATCHDOG_STAGE_STUCK_AGE_S", "2"),
        ("WATCHDOG_APPROVAL_WAITING_AGE_S", "3"),
        ("WATCHDOG_QUEUE_STALLED_AGE_S", "4"),
        ("WATCHDOG_CPU_STARVED_PERCENT", "5"),
        ("WATCHDOG_DISK_LOW_PERCENT", "6"),
        ("WATCHDOG_DELIVERY_FAILING_AGE_S", "7"),
        ("WATCHDOG_STATE_UNSAVED_AGE_S", "8"),
    ]));
    let percents = [thresholds.overrun_percent, thresholds.cpu_starved_percent, thresholds.disk_low_percent];
    assert_eq!(percents, [1, 5, 6]);
    let ages = [
        thresholds.approval_age_ms,
        thresholds.queue_age_ms,
        thresholds.delivery_age_ms,
        thresholds.unsaved_age_ms,
    ];
    assert_eq!((thresholds.stage_age_ms, ages), (Some(2_000), [3_000, 4_000, 7_000, 8_000]));
}

#[test]
fn thresholds_take_fractions() {
    let config = value(&[
        ("WATCHDOG_TICK_S", "0.25"),
        ("WATCHDOG_PROC_AGE_MIN", "0.05"),
        ("WATCHDOG_PROC_ORPHAN_GRACE_S", "0"),
    ]);
    assert_eq!((config.tick_ms, config.proc.age_ms, config.proc.orphan_grace_ms), (250, 3_000, 0));
}

#[test]
fn telegram_is_whole_or_absent() {
    let token = ("WATCHDOG_TELEGRAM_BOT_TOKEN", "123:abc");
    let chat = ("WATCHDOG_TELEGRAM_CHAT_ID", "-1001234567890");
    let telegram = value(&[token, chat]).telegram.unwrap();
    assert_eq!(telegram.bot_token.expose_secret(), "123:abc");
    assert_eq!(telegram.chat, Chat::Id(-1_001_234_567_890));
    assert_eq!(telegram.api_url, "https://api.telegram.org");
    assert_eq!(
        problems(&[token]),
        ["WATCHDOG_TELEGRAM_CHAT_ID: must be set: WATCHDOG_TELEGRAM_BOT_TOKEN is"]
    );
    assert_eq!(problems(&[chat]), ["WATCHDOG_TELEGRAM_BOT_TOKEN: must be set: WATCHDOG_TELEGRAM_CHAT_ID is"]);
    let bad_chat = problems(&[token, ("WATCHDOG_TELEGRAM_CHAT_ID", "ops")]);
    assert_eq!(bad_chat.len(), 1, "{bad_chat:#?}");
}

#[test]
fn a_chat_is_a_number_or_a_public_name() {
    for (text, expected) in [
        ("42", Ok(Chat::Id(42))),
        ("-100", Ok(Chat::Id(-100))),
        ("@ops_alerts", Ok(Chat::Channel("@ops_alerts".to_owned()))),
        ("0", Err(())),
        ("+42", Err(())),
        ("@", Err(())),
        ("@a b", Err(())),
        ("ops", Err(())),
        ("99999999999999999999", Err(())),
    ] {
        assert_eq!(parse_chat(text).map_err(|_| ()), expected, "{text:?}");
    }
}

#[test]
fn patterns_are_checked_one_by_one() {
    for (patterns, wrong) in [
        ("pytest", 0),
        ("pytest,comm:xdist-worker, re:^python .*manage\\.py test", 0),
        ("re:(", 1),
        ("re:(,re:[", 2),
        ("re:", 1),
        ("comm:", 1),
        ("/usr/bin/pytest", 1),
        ("python -m pytest", 1),
        ("re:(a{1000}){1000}", 1),
        ("", 1),
    ] {
        let told = problems(&[("WATCHDOG_PROC_PATTERNS", patterns)]);
        assert_eq!(told.len(), wrong, "{patterns:?}: {told:#?}");
    }
}

#[test]
fn a_host_label_fits_a_metric_label() {
    for (text, valid) in [("box-2.example", true), ("a b", false), ("é", false), (&"x".repeat(65), false)] {
        assert_eq!(load(&[("WATCHDOG_HOST_LABEL", text)]).is_ok(), valid, "{text:?}");
    }
}

#[test]
fn an_unknown_key_warns_and_systemds_do_not() {
    let loaded = load(&[
        ("WATCHDOG_TICKS", "5"),
        ("WATCHDOG_USEC", "30000000"),
        ("WATCHDOG_PID", "7"),
        ("ORCH_BIND", "not ours"),
    ])
    .unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["WATCHDOG_TICKS: unknown key; did you mean WATCHDOG_TICK_S?"]);
}

#[test]
fn everything_wrong_is_told_at_once() {
    let told = problems(&[
        ("WATCHDOG_TICK_S", "0"),
        ("WATCHDOG_LOG", "loud"),
        ("WATCHDOG_CORE_URL", "core:8080"),
        ("WATCHDOG_CORE_TOKEN", "two words"),
        ("WATCHDOG_TELEGRAM_CHAT_ID", "ops"),
        ("WATCHDOG_RUNBOOK_URL", "docs/runbook.md"),
        ("WATCHDOG_PROC_ENABLED", "1"),
        ("WATCHDOG_CORE_DOWN_POLLS", "0"),
    ]);
    assert_eq!(told.len(), 8, "{told:#?}");
}

#[test]
fn no_secret_is_shown() {
    let loaded = load(&[
        ("WATCHDOG_CORE_TOKEN", "hunter2-core"),
        ("WATCHDOG_TELEGRAM_BOT_TOKEN", "1:hunter2"),
        ("WATCHDOG_TELEGRAM_CHAT_ID", "5"),
    ])
    .unwrap();
    assert!(loaded.print_env().contains("WATCHDOG_CORE_TOKEN=***\n"));
    assert!(!format!("{:?}{}", loaded, loaded.print_env()).contains("hunter2"));
}

#[test]
fn the_example_file_is_the_table() {
    let path = repository_file(".env.watchdog.example");
    generated::agree(&path, &render::example(&KEYS), differing()).unwrap();
}

#[test]
fn the_example_file_reads_as_the_defaults() {
    let text = std::fs::read_to_string(repository_file(".env.watchdog.example")).unwrap();
    let by_file =
        WatchdogConfig::load(&Strings::from_pairs(generated::pairs(&text)), Path::new("/srv"), "box-1")
            .unwrap();
    assert!(by_file.warnings.is_empty());
    assert_eq!(by_file.print_env(), load(&[]).unwrap().print_env());
}

#[test]
fn the_reference_is_the_table() {
    let block = format!("\n{}", render::reference(&KEYS));
    let path = repository_file("docs/configuration.md");
    generated::agree_block(&path, KEYS.program, &block, differing()).unwrap();
}

#[test]
fn commands_by_chat_need_a_chat_and_people_who_may() {
    const TELEGRAM: [(&str, &str); 2] =
        [("WATCHDOG_TELEGRAM_BOT_TOKEN", "1:a"), ("WATCHDOG_TELEGRAM_CHAT_ID", "-5")];
    const ENABLED: (&str, &str) = ("WATCHDOG_TELEGRAM_COMMANDS_ENABLED", "true");
    const USERS: (&str, &str) = ("WATCHDOG_TELEGRAM_COMMANDS_USER_IDS", "7, 8");
    let [token, chat] = TELEGRAM;
    assert_eq!(value(&TELEGRAM).telegram.unwrap().commands, None);
    let commands = value(&[token, chat, ENABLED, USERS]).telegram.unwrap().commands.unwrap();
    assert_eq!((commands.chats, commands.users), (vec![-5], vec![7, 8]));
    let chats = ("WATCHDOG_TELEGRAM_COMMANDS_CHAT_IDS", "-6");
    let commands = value(&[token, chat, ENABLED, USERS, chats]).telegram.unwrap().commands.unwrap();
    assert_eq!(commands.chats, [-6]);
    let channel = ("WATCHDOG_TELEGRAM_CHAT_ID", "@alerts");
    for (pairs, named) in [
        (vec![token, chat, ENABLED], "WATCHDOG_TELEGRAM_COMMANDS_USER_IDS: must be set"),
        (vec![token, channel, ENABLED, USERS], "WATCHDOG_TELEGRAM_COMMANDS_CHAT_IDS: must be set"),
        (vec![ENABLED, USERS, chats], "WATCHDOG_TELEGRAM_BOT_TOKEN: must be set"),
        (vec![("WATCHDOG_TELEGRAM_COMMANDS_USER_IDS", "7,@somebody")], "not a number of Telegram's"),
    ] {
        let problems = problems(&pairs);
        assert!(problems.len() == 1 && problems[0].contains(named), "{problems:?}");
    }
}

#[test]
fn an_address_of_the_heartbeat_is_checked_and_never_shown() {
    let url = value(&[("WATCHDOG_HEARTBEAT_URL", "https://beat.example/secret-1")]).heartbeat_url.unwrap();
    assert_eq!(url.expose_secret(), "https://beat.example/secret-1");
    for wrong in ["beat.example/secret-1", "ftp://beat.example/secret-1"] {
        let problems = problems(&[("WATCHDOG_HEARTBEAT_URL", wrong)]);
        assert!(problems.len() == 1 && !problems[0].contains("secret-1"), "{problems:?}");
    }
}

#[test]
fn a_login_of_the_alertmanager_is_whole_and_of_one_sort() {
    const URL: (&str, &str) = ("WATCHDOG_ALERTMANAGER_URL", "http://127.0.0.1:9093/am/");
    const TOKEN: (&str, &str) = ("WATCHDOG_ALERTMANAGER_TOKEN", "hunter2-token");
    const USER: (&str, &str) = ("WATCHDOG_ALERTMANAGER_USER", "watchdog");
    const PASSWORD: (&str, &str) = ("WATCHDOG_ALERTMANAGER_PASSWORD", "hunter2-word");
    assert!(value(&[]).alertmanager.is_none());
    let bare = value(&[URL]).alertmanager.unwrap();
    assert_eq!((bare.url.as_str(), bare.resend_ms), ("http://127.0.0.1:9093/am", 60_000));
    assert!(bare.login.is_none());
    let token = value(&[URL, TOKEN]).alertmanager.unwrap().login;
    assert!(matches!(token, Some(Login::Bearer(token)) if token.expose_secret() == "hunter2-token"));
    let basic = value(&[URL, USER, PASSWORD]).alertmanager.unwrap().login;
    let whole = |user: &str, password: &SecretString| {
        (user, password.expose_secret()) == ("watchdog", "hunter2-word")
    };
    assert!(matches!(basic, Some(Login::Basic { user, password }) if whole(&user, &password)));
    for (pairs, named) in [
        (vec![URL, USER], "WATCHDOG_ALERTMANAGER_PASSWORD: must be set"),
        (vec![URL, PASSWORD], "WATCHDOG_ALERTMANAGER_USER: must be set"),
        (vec![URL, TOKEN, USER, PASSWORD], "WATCHDOG_ALERTMANAGER_TOKEN: either this or"),
        (vec![URL, TOKEN, PASSWORD], "WATCHDOG_ALERTMANAGER_TOKEN: either this or"),
        (vec![TOKEN], "WATCHDOG_ALERTMANAGER_URL: must be set"),
        (vec![URL, ("WATCHDOG_ALERTMANAGER_USER", "a:b"), PASSWORD], "not a name"),
    ] {
        let problems = problems(&pairs);
        let told = problems.join("\n");
        assert!(problems.len() == 1 && told.contains(named) && !told.contains("hunter2"), "{problems:?}");
    }
    for pairs in [vec![URL, TOKEN], vec![URL, USER, PASSWORD]] {
        let loaded = load(&pairs).unwrap();
        assert!(!format!("{:?}{}", loaded, loaded.print_env()).contains("hunter2"));
    }
}

#[test]
fn the_runbook_has_an_address_or_none() {
    let url = ("WATCHDOG_RUNBOOK_URL", "https://wiki.example/orch/runbook.md");
    assert_eq!(value(&[url]).runbook_url.as_deref(), Some("https://wiki.example/orch/runbook.md"));
    for path in ["docs/runbook.md", "/srv/runbook.md", "wiki.example/runbook"] {
        let problems = problems(&[("WATCHDOG_RUNBOOK_URL", path)]);
        assert!(problems.len() == 1 && problems[0].starts_with("WATCHDOG_RUNBOOK_URL"), "{problems:?}");
    }
}

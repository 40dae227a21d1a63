//! Hostile names and command lines, end to end: from a written process tree through the collector to everything that
//! people and programs read (`hostile_outputs` holds the running program to the same). Nothing breaks out of its line, its markup or its object, and no secret gets through.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

mod defaults;
#[expect(dead_code, reason = "its processes change in one way only")]
mod proc_support;

use std::path::Path;

use orch_tests::tame::is_tame;
use orch_watchdog::cases::{AlertState, Notice, Policy, decide};
use orch_watchdog::cli::scan::{Color, ScanInputs, ScanOptions};
use orch_watchdog::cli::{explain, scan};
use orch_watchdog::notify::Channel;
use orch_watchdog::notify::compose::{self, MESSAGE_MAX_UNITS, Message};
use orch_watchdog::notify::outbox::Outbox;
use orch_watchdog::notify::text::{Locale, Voice};
use orch_watchdog::observe::{Collected, CoreSight, Observation};
use orch_watchdog::proc::ownership::CoreKnowledge;
use orch_watchdog::proc::shape::Pattern;
use orch_watchdog::proc::{Collector, CollectorSettings};
use orch_watchdog::proc_watch::judge_family;
use orch_watchdog::signals::{Context, Memory, Saving, Thresholds, derive};
use proc_identity::host::Clocks;
use proc_support::{Fake, TICKS, Tree};
use proptest::prelude::*;

const RUN: i32 = 600;
const CHILD: i32 = 601;

/// Everything that leaves the program about one tree.
struct Said {
    scan: String,
    json: String,
    explain: String,
    messages: Vec<Message>,
    /// What the state file holds of it.
    state: String,
}

fn patterns() -> Vec<Pattern> {
    Pattern::parse_list("pytest").expect("patterns")
}

fn say(tree: &Tree) -> Said {
    let inputs = ScanInputs {
        proc_root: tree.path().to_owned(),
        patterns: patterns(),
        core: CoreKnowledge::Off,
        memory: None,
        age_ms: i64::MAX,
        foreign_grace_ms: 0,
    };
    let scanned = |json: bool| {
        let mut out = Vec::new();
        let options = ScanOptions { json, tree: true, all: true, color: Color::Off };
        scan::run(&inputs, options, &mut out).expect("written");
        String::from_utf8(out).expect("text")
    };
    let mut explained = Vec::new();
    explain::run(CHILD, &inputs, Color::Off, &mut explained).expect("written");
    let notices = notices(tree.path());
    let mut outbox = Outbox::default();
    for notice in &notices {
        outbox.push(&[Channel::Telegram], notice);
    }
    let voice =
        Voice { host: "host-1".to_owned(), runbook_url: Some("r.md".to_owned()), locale: Locale::English };
    let waiting = outbox.waiting(Channel::Telegram, u64::MAX);
    let messages: Vec<Message> = compose::next(&outbox, &waiting, &voice, None).into_iter().collect();
    Said {
        scan: scanned(false),
        json: scanned(true),
        explain: String::from_utf8(explained).expect("text"),
        messages,
        state: serde_json::to_string(&notices).expect("notices"),
    }
}

/// What is told of an orphan of such a tree.
fn notices(root: &Path) -> Vec<Notice> {
    let settings = CollectorSettings {
        proc_root: root.to_owned(),
        patterns: patterns(),
        refresh_ms: 900_000,
        age_marks_ms: Vec::new(),
    };
    let mut collector = Collector::new(settings, None).expect("a collector");
    let (mut memory, mut alerts, mut told) = (Memory::default(), AlertState::default(), Vec::new());
    for tick in 0..4 {
        let after_ms = tick * 30_000;
        let now_ms = i64::try_from(1_000_000 * 1000 / TICKS).expect("a time") + after_ms;
        let clocks = Clocks { realtime_ms: now_ms, boottime_ms: now_ms, monotonic_ms: now_ms };
        let proc = collector.pass(&clocks, None);
        assert!(matches!(proc, Collected::Fresh(_)), "{proc:?}");
        let observation = Observation { at_ms: now_ms, proc, core: CoreSight::Off, host: Collected::Off };
        let thresholds = Thresholds {
            proc_age_ms: i64::MAX / 4,
            orphan_grace_ms: 0,
            foreign_grace_ms: 0,
            ..defaults::thresholds()
        };
        let context = Context {
            last_heard: None,
            open: &[],
            channels: &[],
            saving: &Saving { fault: None, proven: true },
            thresholds: &thresholds,
            judge: &judge_family,
        };
        let states = derive(&observation, &context, &mut memory);
        let (after, notices) = decide(alerts, &states, now_ms, &Policy::default());
        alerts = after;
        told.extend(notices);
    }
    told
}

/// An orphan with a child, of these names and words.
fn tree(comm: &[u8], words: &[Vec<u8>], cgroup: &str) -> Tree {
    let tree = Tree::new();
    put_orphan(&tree, RUN, comm, words, cgroup);
    tree
}

/// The child has the next pid, and the words alone.
fn put_orphan(tree: &Tree, pid: i32, comm: &[u8], words: &[Vec<u8>], cgroup: &str) {
    let named = |pid: i32, ppid: i32, argv: Vec<Vec<u8>>| {
        Fake::new(pid, ppid, &[]).with(|it| {
            (it.pgid, it.sid) = (90, 90);
            it.comm = comm.to_vec();
            it.argv = argv;
            it.cgroup = format!("0::{cgroup}\n");
        })
    };
    tree.put(&named(pid, 1, std::iter::once(b"pytest".to_vec()).chain(words.iter().cloned()).collect()));
    tree.put(&named(pid + 1, pid, words.to_vec()));
}

/// Telegram's HTML: only our own tags, each closed, and no stray sign of markup.
fn is_whole_markup(html: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '>', '&']) {
        rest = &rest[at..];
        let known = ["<b>", "</b>", "<code>", "</code>", "&lt;", "&gt;", "&amp;"];
        let Some(found) = known.into_iter().find(|sign| rest.starts_with(sign)) else { return false };
        match found {
            "<b>" | "<code>" => open.push(found),
            "</b>" if open.pop() != Some("<b>") => return false,
            "</code>" if open.pop() != Some("<code>") => return false,
            _ => {}
        }
        rest = &rest[found.len()..];
    }
    open.is_empty()
}

fn check_tame(said: &Said) -> Result<(), TestCaseError> {
    for text in [&said.scan, &said.explain] {
        for line in text.lines() {
            prop_assert!(is_tame(line), "{line:?}");
        }
    }
    // what a name is made of begins no line: lines are as many as for a harmless tree
    prop_assert!(said.scan.lines().count() <= 16, "{}", said.scan);
    prop_assert_eq!(said.json.lines().count(), 1);
    let object: serde_json::Value = serde_json::from_str(&said.json).expect("one object");
    prop_assert_eq!(
        object.pointer("/families/0/pid").and_then(serde_json::Value::as_i64),
        Some(i64::from(RUN))
    );
    prop_assert_eq!(said.messages.len(), 1);
    for message in &said.messages {
        prop_assert!(is_whole_markup(&message.html), "{}", message.html);
        prop_assert!(message.html.encode_utf16().count() <= MESSAGE_MAX_UNITS);
        for line in message.plain.lines().chain(message.html.lines()) {
            prop_assert!(is_tame(line), "{line:?}");
        }
        prop_assert!(message.plain.lines().any(|line| line.starts_with("kill ")), "{}", message.plain);
    }
    Ok(())
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(1..=255_u8, 0..80),
        prop::sample::select(
            [
                "\u{1b}[2J\u{1b}]0;owned\u{7}",
                "</b><a href=\"x\">",
                "<code>",
                "&lt;",
                "\u{202e}txt.exe",
                "a\r\nkill -9 1",
                "\"},{\"pid\":1",
                "`reboot`",
                "$(reboot)",
                "\u{9b}31m",
                "{}{0}%s",
                "\u{2028}x",
                "--token",
                "https://user:pw@host",
                "*bold* _it_ [x](y)",
            ]
            .as_slice()
        )
        .prop_map(|word| word.as_bytes().to_vec()),
        (1..3_usize).prop_map(|times| vec![b'<'; times * 1000]),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>().prop_filter("a name ends at NUL", |byte| *byte != 0), 0..15),
        prop::sample::select(
            [") R 1 1 (", "\n) Z 0 0", "</b>", "\u{1b}[31m", "(((", ")))", "a b\tc"].as_slice()
        )
        .prop_map(|name| name.as_bytes().to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_process_calls_itself_breaks_what_is_said_of_it(
        comm in name(),
        words in prop::collection::vec(word(), 0..12),
        machine in "[^/\n]{0,60}",
    ) {
        let tree = tree(&comm, &words, &format!("/machine.slice/machine-{machine}.scope"));
        check_tame(&say(&tree))?;
    }

    #[test]
    fn a_secret_on_a_command_line_is_in_nothing_that_is_said(
        secret in "[A-Za-z0-9+/.,_~%$!#^*-]{6,40}",
        before in prop::collection::vec("[a-z]{1,8}", 0..3),
        dashes in prop::bool::ANY,
    ) {
        // marked, so that a part of it is recognised; a value may begin like an option
        let secret = format!("{}Zq{secret}Zq", if dashes { "--" } else { "" });
        let places: [Vec<String>; 14] = [
            vec!["--token".to_owned(), secret.clone()],
            vec![format!("--password={secret}")],
            vec!["--secret".to_owned(), secret.clone()],
            vec![format!("--api-key={secret}")],
            vec!["env".to_owned(), format!("API_KEY={secret}")],
            vec![format!("GITHUB_TOKEN={secret}")],
            vec![format!("https://user:{secret}@host/x")],
            vec![format!("postgres://user:{secret}@db:5432/app?sslmode=off")],
            vec!["-H".to_owned(), format!("Authorization: Bearer {secret}")],
            vec!["-u".to_owned(), format!("user:{secret}")],
            vec!["sh".to_owned(), "-c".to_owned(), format!("DB_PASSWORD={secret} pytest")],
            vec!["sh".to_owned(), "-c".to_owned(), format!("tool --passphrase {secret} x")],
            vec![format!("{{\"access_key\": \"{secret}\"}}")],
            vec!["aB3dE5gH7jK9mN1pQ3sT5vW7yZ9Zqx1Y2z3Zq".to_owned()],
        ];
        // a family for each place, with a child whose first word is what is secret in its parent's second
        let tree = Tree::new();
        for (pid, placed) in (RUN..).step_by(2).zip(&places) {
            let words: Vec<Vec<u8>> =
                before.iter().chain(placed).map(|word| word.as_bytes().to_vec()).collect();
            put_orphan(&tree, pid, b"pytest", &words, "/");
        }
        let said = say(&tree);
        prop_assert_eq!(said.scan.matches("orphan, not the core's").count(), places.len());
        for text in [&said.scan, &said.json, &said.explain, &said.state] {
            prop_assert!(!text.contains("Zq"), "{text}");
        }
        for message in &said.messages {
            prop_assert!(!message.html.contains("Zq") && !message.plain.contains("Zq"), "{}", message.plain);
        }
    }
}

#[test]
fn two_megabytes_of_one_word_are_left_out_and_the_rest_is_told() {
    let words = vec![b"-k".to_vec(), vec![b'\x1b'; 2 * 1024 * 1024]];
    let said = say(&tree(b"\xff\xfe)(\n", &words, "/"));
    check_tame(&said).expect("tame");
    assert!(said.scan.contains("pytest -k …"), "{}", said.scan);
}

#[test]
fn the_written_tree_can_be_taken_apart_again() {
    // the guard of this file: without the orphan there is nothing to be said
    let tree = tree(b"pytest", &[], "/");
    assert_eq!(say(&tree).messages.len(), 1);
    tree.exec(RUN, b"vim\0pytest.ini\0");
    tree.exec(CHILD, b"less\0");
    assert_eq!(say(&tree).messages.len(), 0);
    tree.put(&Fake::new(RUN, 1, &["pytest"]).leader());
    assert_eq!(say(&tree).messages.len(), 1);
    tree.remove(RUN);
    assert_eq!(say(&tree).messages.len(), 0);
}

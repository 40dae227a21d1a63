//! Messages of small outboxes.

use super::*;
use crate::cases::{NoticeKind, decide};
use crate::notify::Channel;
use crate::observe::ProcessKey;
use crate::signals::{
    AgentHungFacts, CpuStarvedFacts, Ending, HangCause, HungryFamily, OwnershipWord, ProcessFacts,
    SignalKind, SignalState,
};

fn notice(job: i64, kind: NoticeKind, work_item: &str) -> Notice {
    let facts = AgentHungFacts {
        job_id: job,
        run_id: 1,
        work_item: work_item.to_owned(),
        repo: "sample".to_owned(),
        stage: "development".to_owned(),
        role: "developer".to_owned(),
        cause: HangCause::RunGone { gone_ms: 90_000, grace_ms: 30_000 },
        families: Vec::new(),
    };
    let finding = Finding {
        signal: SignalKind::AgentHung,
        entity: Entity::Job(job),
        severity: Severity::Critical,
        since_ms: 0,
        facts: Facts::AgentHung(facts),
    };
    Notice { kind, at_ms: 0, finding }
}

fn over() -> NoticeKind {
    NoticeKind::Recovered { lasted_ms: 61_000, how: Ending::JobEnded }
}

fn voice() -> Voice {
    let runbook_url = Some("docs/runbook.md".to_owned());
    Voice { host: "host-1".to_owned(), runbook_url, locale: text::Locale::English }
}

fn messages(notices: &[Notice]) -> Vec<Message> {
    let mut outbox = Outbox::default();
    for notice in notices {
        outbox.push(&[Channel::Telegram], notice);
    }
    drain(&mut outbox)
}

fn drain(outbox: &mut Outbox) -> Vec<Message> {
    drain_from(outbox, 100)
}

/// The channel takes everything; its messages are numbered from `first_id` on.
fn drain_from(outbox: &mut Outbox, first_id: i32) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        let waiting = outbox.waiting(Channel::Telegram, u64::MAX);
        let Some(message) = next(outbox, &waiting, &voice(), None) else { return messages };
        let message_id = first_id + i32::try_from(messages.len()).unwrap();
        outbox.taken(Channel::Telegram, &message.seqs, Some(MessageRef { chat_id: 1, message_id }));
        messages.push(message);
    }
}

#[test]
fn one_alert_is_one_message_whose_first_line_suffices() {
    let messages = messages(&[notice(1, NoticeKind::Alert, "ORCH-1")]);
    assert_eq!(messages.len(), 1);
    let first = messages[0].plain.lines().next().unwrap();
    assert_eq!(
        first,
        "🔴 ORCH-1 (development, developer): its run is gone for 1 min 30 s and nobody settled the job · host-1"
    );
    assert!(messages[0].plain.contains("\norch-core why ORCH-1\n"));
    assert!(messages[0].plain.ends_with("docs/runbook.md#agent_hung"));
}

#[test]
fn alerts_that_wait_together_are_one_message() {
    let waiting: Vec<_> = (0..20).map(|job| notice(job, NoticeKind::Alert, "ORCH-1")).collect();
    assert_eq!(messages(&waiting).len(), 1);
}

#[test]
fn alerts_that_share_a_message_are_listed_first_and_told_whole_below() {
    let waiting: Vec<_> = (1..4).map(|job| notice(job, NoticeKind::Alert, &format!("ORCH-{job}"))).collect();
    let told = messages(&waiting);
    let [message] = told.as_slice() else { panic!("{told:?}") };
    let lines: Vec<&str> = message.plain.lines().collect();
    let headlines = lines.iter().take(6).filter(|line| line.starts_with("🔴 ORCH-")).count();
    assert_eq!(headlines, 3, "each with its command, before anything else: {}", message.plain);
    for job in 1..4 {
        assert_eq!(
            message.plain.matches(&format!("\norch-core why ORCH-{job}\n")).count(),
            1,
            "{}",
            message.plain
        );
    }
    for needed in ["since ", "evidence (run): ", "effect: ", "docs/runbook.md#agent_hung"] {
        assert_eq!(message.plain.matches(needed).count(), 3, "{needed}: {}", message.plain);
    }
    assert!(units_of(&message.html) <= MESSAGE_MAX_UNITS);
}

/// An alert that a chat refused for an hour told the age that its process had when it was decided.
#[test]
fn what_waited_is_told_as_it_is_when_it_leaves() {
    let seen = |gone_ms: i64| {
        let mut finding = notice(1, NoticeKind::Alert, "ORCH-1").finding;
        let Facts::AgentHung(facts) = &mut finding.facts else { panic!() };
        facts.cause = HangCause::RunGone { gone_ms, grace_ms: 30_000 };
        finding
    };
    let policy = crate::cases::Policy::default();
    let at = |state, gone_ms, now| decide(state, &[SignalState::Active(seen(gone_ms))], now, &policy);
    let (state, notices) = at(AlertState::default(), 90_000, 0);
    let mut outbox = Outbox::default();
    notices.iter().for_each(|notice| outbox.push(&[Channel::Telegram], notice));
    let (state, _) = at(state, 690_000, 600_000);
    let told = |state: &AlertState| {
        let waiting = as_of_now(outbox.waiting(Channel::Telegram, u64::MAX), state, 600_000);
        next(&outbox, &waiting, &voice(), None).unwrap().plain
    };
    let text = told(&state);
    assert!(text.contains("gone for 11 min 30 s") && text.contains("for 10 min"), "{text}");
    // over by now: its end comes behind it, and what was decided stays
    let (state, _) = decide(state, &[], 610_000, &policy);
    assert!(told(&state).contains("gone for 1 min 30 s"), "{}", told(&state));
}

#[test]
fn an_alert_and_its_recovery_both_unsent_are_one_line() {
    let messages = messages(&[notice(1, NoticeKind::Alert, "ORCH-1"), notice(1, over(), "ORCH-1")]);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].plain.lines().count(), 1);
    assert!(messages[0].plain.contains("is over"), "{}", messages[0].plain);
}

#[test]
fn recoveries_reply_to_the_message_that_told_their_alert() {
    let mut outbox = Outbox::default();
    for job in [1, 2] {
        outbox.push(&[Channel::Telegram], &notice(job, NoticeKind::Alert, "ORCH-1"));
    }
    drain(&mut outbox);
    for job in [1, 2, 3] {
        outbox.push(&[Channel::Telegram], &notice(job, over(), "ORCH-1"));
    }
    let messages = drain(&mut outbox);
    let replies: Vec<_> = messages.iter().map(|message| message.reply_to.map(|to| to.message_id)).collect();
    assert_eq!(replies, [Some(100), None]);
    assert_eq!(messages[0].seqs.len(), 2);
}

#[test]
fn recoveries_of_many_messages_are_one_that_replies_to_none() {
    let mut outbox = Outbox::default();
    for job in 0..9 {
        outbox.push(&[Channel::Telegram], &notice(job, NoticeKind::Alert, "ORCH-1"));
        drain_from(&mut outbox, 100 + i32::try_from(job).unwrap());
    }
    for job in 0..9 {
        outbox.push(&[Channel::Telegram], &notice(job, over(), "ORCH-1"));
    }
    let messages = drain(&mut outbox);
    assert_eq!(messages.len(), 1);
    assert_eq!((messages[0].reply_to, messages[0].seqs.len()), (None, 9));
}

#[test]
fn a_message_is_cut_by_whole_entities_and_still_takes_them_all() {
    let long = "ORCH-<&>".repeat(30);
    let waiting: Vec<_> = (0..50).map(|job| notice(job, NoticeKind::Alert, &long)).collect();
    let messages = messages(&waiting);
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!(message.seqs.len(), 50);
    for text in [&message.html, &message.plain] {
        assert!(units_of(text) <= MESSAGE_MAX_UNITS, "{}", units_of(text));
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("and ") && last.ends_with(" more"), "{last}");
    }
    assert_eq!(message.html.matches("<b>").count(), message.html.matches("</b>").count());
    assert!(!message.html.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").contains('&'));
}

/// Fifty cases came and went while nobody could be told; a critical one and two others hold on.
#[test]
fn what_holds_on_stands_above_what_is_over_and_is_never_cut_for_it() {
    let mut waiting = Vec::new();
    for job in 0..50 {
        waiting.push(notice(job, NoticeKind::Alert, &format!("ORCH-{job}")));
        waiting.push(notice(job, over(), &format!("ORCH-{job}")));
    }
    let mild = Finding { severity: Severity::Warning, ..notice(900, NoticeKind::Alert, "ORCH-900").finding };
    waiting.push(Notice { kind: NoticeKind::Alert, at_ms: 0, finding: mild });
    waiting.push(notice(902, NoticeKind::Alert, "ORCH-902"));
    let messages = messages(&waiting);
    assert_eq!((messages.len(), messages[0].seqs.len()), (1, 102));
    let names: Vec<&str> = messages[0].plain.lines().filter(|line| line.contains("ORCH-")).take(3).collect();
    assert!(names[0].contains("ORCH-902") && names[2].contains("ORCH-900"), "{names:?}");
    assert!(messages[0].plain.lines().last().unwrap().ends_with(" more"), "{}", messages[0].plain);
}

#[test]
fn what_fires_and_does_not_fit_follows_in_the_next_message() {
    let name = |job: i64| format!("ORCH-{job}-{}", "x".repeat(200));
    let mut waiting: Vec<_> = (100..130).map(|job| notice(job, NoticeKind::Alert, &name(job))).collect();
    waiting.extend([notice(1, NoticeKind::Alert, &name(1)), notice(1, over(), &name(1))]);
    let messages = messages(&waiting);
    assert!((2..=5).contains(&messages.len()), "{}", messages.len());
    for job in 100..130 {
        let told = messages.iter().filter(|message| message.plain.contains(&format!("ORCH-{job}-"))).count();
        assert_eq!(told, 1, "{job}");
    }
    let (last, before) = messages.split_last().unwrap();
    assert!(last.plain.contains("ORCH-1-"), "what is over comes last");
    for message in before {
        let line = message.plain.lines().last().unwrap();
        assert!(line.ends_with(" more, in the next message"), "{line}");
        assert!(units_of(&message.html) <= MESSAGE_MAX_UNITS);
    }
}

#[test]
fn one_entity_larger_than_a_message_still_fits() {
    let huge = "&".repeat(20_000);
    let messages = messages(&[notice(1, NoticeKind::Alert, &huge)]);
    assert!(units_of(&messages[0].html) <= MESSAGE_MAX_UNITS);
    assert!(units_of(&messages[0].plain) <= MESSAGE_MAX_UNITS);
}

fn process(pid: i32) -> ProcessKey {
    ProcessKey { host_boot_id: "boot".to_owned(), pid, start_ticks: 1 }
}

fn orphan(pid: i32, kind: NoticeKind) -> Notice {
    let facts = ProcessFacts {
        command: format!("pytest suite{pid}"),
        matched_by: "pytest".to_owned(),
        root_pid: pid,
        root_alive: true,
        pids: vec![pid],
        members: 1,
        stop: Some(format!("kill {pid}")),
        age_ms: 90_000,
        cpu_share: Some(1.0),
        cpu_ms: 90_000,
        rss_bytes: 0,
        container: None,
        work_item: None,
        ownership: OwnershipWord::Orphan,
        evidence: Vec::new(),
        age_limit_ms: 3_600_000,
    };
    let finding = Finding {
        signal: SignalKind::ProcOrphaned,
        entity: Entity::Family(process(pid)),
        severity: Severity::Critical,
        since_ms: 0,
        facts: Facts::Process(Box::new(facts)),
    };
    Notice { kind, at_ms: 0, finding }
}

/// It was cut at 500 characters, in the middle of a pid: that pid is somebody else's.
#[test]
fn a_command_is_told_whole_or_not_at_all() {
    for processes in [1, 30, 60, 101, 2_000] {
        let pids: Vec<String> = (0..processes).map(|at| (1_000_000 + at).to_string()).collect();
        let whole = format!("kill {}", pids.join(" "));
        let mut notice = orphan(1_000_000, NoticeKind::Alert);
        if let Facts::Process(facts) = &mut notice.finding.facts {
            facts.stop = Some(whole.clone());
        }
        let message = messages(&[notice]).remove(0);
        for (text, expected) in [
            (&message.plain, [whole.as_str(), "orch-watchdog scan"].map(str::to_owned)),
            (
                &message.html,
                [whole.as_str(), "orch-watchdog scan"].map(|line| format!("<code>{line}</code>")),
            ),
        ] {
            let told: Vec<&str> =
                text.lines().filter(|line| expected.iter().any(|one| one == line)).collect();
            assert_eq!(told, [expected[usize::from(processes > 30)].as_str()], "{processes}: {text}");
            assert!(processes <= 30 || !text.contains("kill "), "{text}");
        }
    }
}

fn starved(pids: &[i32], kind: NoticeKind) -> Notice {
    let family = |pid: &i32| HungryFamily {
        key: process(*pid),
        command: format!("pytest suite{pid}"),
        cpu_share: 1.0,
        members: 1,
        container: None,
    };
    let facts = CpuStarvedFacts {
        avg10_percent: 70.0,
        avg60_percent: 65.0,
        avg300_percent: 30.0,
        limit_percent: 60,
        memory: None,
        families: pids.iter().map(family).collect(),
    };
    let finding = Finding {
        signal: SignalKind::CpuStarved,
        entity: Entity::Host,
        severity: Severity::Warning,
        since_ms: 0,
        facts: Facts::CpuStarved(facts),
    };
    Notice { kind, at_ms: 0, finding }
}

fn headlines(message: &Message) -> usize {
    message.html.lines().filter(|line| line.starts_with("<b>")).count()
}

#[test]
fn families_that_a_starved_host_names_are_told_under_it_and_count_as_told() {
    let waiting = [orphan(5, NoticeKind::Alert), starved(&[5], NoticeKind::Alert)];
    let messages = messages(&waiting);
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!(headlines(message), 1, "{}", message.html);
    assert!(message.plain.lines().next().unwrap().contains("the host lacks CPU"), "{}", message.plain);
    assert!(message.plain.contains("orphan `pytest suite5`"), "{}", message.plain);
    assert!(message.plain.contains("\nkill 5"), "{}", message.plain);
    assert_eq!(message.seqs.len(), 2);
}

#[test]
fn a_family_that_the_host_does_not_name_or_that_has_ended_keeps_its_own_block() {
    let waiting = [
        orphan(5, NoticeKind::Alert),
        orphan(6, NoticeKind::Alert),
        orphan(7, NoticeKind::Alert),
        orphan(7, over()),
        starved(&[5, 7], NoticeKind::Alert),
    ];
    let messages = messages(&waiting);
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!(headlines(message), 3, "{}", message.html);
    assert!(message.plain.contains("orphan `pytest suite5`"), "shown in a short block: {}", message.plain);
    assert_eq!(message.seqs.len(), 5);
}

#[test]
fn a_host_that_is_no_longer_starved_folds_nothing() {
    let waiting = [
        starved(&[5], NoticeKind::Alert),
        starved(&[5], NoticeKind::Recovered { lasted_ms: 1, how: Ending::CpuRelieved { percent: 5 } }),
        orphan(5, NoticeKind::Alert),
    ];
    let messages = messages(&waiting);
    assert_eq!(headlines(&messages[0]), 2, "{}", messages[0].html);
}

#[test]
fn the_recovery_of_a_folded_family_replies_to_the_message_that_told_it() {
    let mut outbox = Outbox::default();
    for notice in [orphan(5, NoticeKind::Alert), starved(&[5], NoticeKind::Alert)] {
        outbox.push(&[Channel::Telegram], &notice);
    }
    drain(&mut outbox);
    outbox.push(&[Channel::Telegram], &orphan(5, over()));
    assert_eq!(drain(&mut outbox)[0].reply_to.map(|to| to.message_id), Some(100));
}

//! Every message in every language: complete, short enough, in the language that it claims.

/// A list with a row for every variant.
macro_rules! every {
    ($kind:ty; $($row:pat => $sample:expr),+ $(,)?) => {{
        let _complete = |one: &$kind| match one { $($row => ()),+ };
        vec![$($sample),+]
    }};
}

mod samples;
mod surveys;

use std::path::Path;

use orch_settings::Strings;
use orch_settings::generated::{self, Differing, UPDATE_VARIABLE};
use samples::{NOW, Names};

use super::*;
use crate::cases::{Notice, NoticeKind};
use crate::notify::compose::{self, MESSAGE_MAX_UNITS, Message};
use crate::notify::outbox::Outbox;
use crate::signals::{Ending, SignalKind};

/// Latin words that are the same in Russian.
const INTERNATIONAL: [&str; 3] = ["CPU", "UTC", "pid"];

fn voice(locale: Locale) -> Voice {
    let runbook_url = Some("https://wiki.example/orch/runbook.md".to_owned());
    Voice { host: "build-1".to_owned(), runbook_url, locale }
}

/// Every finding × every kind of notice.
fn notices(names: Names) -> Vec<Notice> {
    let of_finding = |finding: Finding| {
        samples::kinds().into_iter().map(move |kind| Notice { kind, at_ms: NOW, finding: finding.clone() })
    };
    SignalKind::ALL
        .into_iter()
        .flat_map(|signal| samples::findings(signal, names))
        .flat_map(of_finding)
        .collect()
}

fn usual(signal: SignalKind) -> Finding {
    samples::findings(signal, Names::Ordinary).remove(0)
}

/// The message of some notices that wait together.
fn message(notices: &[Notice], voice: &Voice) -> Message {
    let mut outbox = Outbox::default();
    for notice in notices {
        outbox.push(&[Channel::Telegram], notice);
    }
    let waiting = outbox.waiting(Channel::Telegram, u64::MAX);
    compose::next(&outbox, &waiting, voice, None).expect("something waits")
}

fn sentences(words: &Words) -> Vec<&Said> {
    let further = words.lines.iter().filter_map(|line| match line {
        Line::Prose(said) | Line::Under(said) => Some(said),
        Line::Command(_) => None,
    });
    std::iter::once(&words.headline).chain(further).collect()
}

/// Words of the language itself, names and code left out.
fn own_words(said: &Said) -> Vec<String> {
    let text = said.spans().iter().map(|span| match span {
        Span::Text(text) => text.as_str(),
        // keeps the words before and after apart
        Span::Name(_) | Span::Code(_) => " ",
    });
    let text: String = text.collect();
    let words = text.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn is_latin(word: &str) -> bool {
    word.chars().any(|letter| letter.is_ascii_alphabetic())
}

#[test]
fn every_message_is_complete_in_every_language() {
    for locale in Locale::ALL {
        for told in notices(Names::Ordinary) {
            let words = notice(&told, &voice(locale));
            let said = format!("{locale:?} {} {told:?}\n{words:?}", told.kind.name());
            assert!(!words.mark.is_empty() && !own_words(&words.headline).is_empty(), "{said}");
            assert!(sentences(&words).iter().all(|line| line.characters() > 0), "{said}");
            let named = |name: &str| {
                words.headline.spans().iter().any(|span| matches!(span, Span::Name(known) if known == name))
            };
            assert!(named("build-1"), "the host stands in the headline: {said}");
            if !told.kind.is_alert() {
                assert!(words.lines.is_empty(), "a recovery is one line: {said}");
                continue;
            }
            assert!(words.lines.len() >= 4, "since, evidence, effect, command, runbook: {said}");
            let commands = words.lines.iter().filter(|line| matches!(line, Line::Command(_)));
            assert_eq!(commands.count(), 1, "{said}");
            let section = format!("runbook.md#{}", told.finding.signal.name());
            let last = sentences(&words).last().map(|line| line.plain()).unwrap_or_default();
            assert!(last.ends_with(&section), "{said}");
        }
    }
}

#[test]
fn the_words_of_a_language_are_of_that_language() {
    let of_notices = |locale| {
        let words = notices(Names::Ordinary).into_iter().map(move |told| notice(&told, &voice(locale)));
        words.flat_map(|words| sentences(&words).into_iter().cloned().collect::<Vec<_>>())
    };
    let of = |locale: Locale| {
        of_notices(locale)
            .chain(samples::answers(locale.language(), &samples::abouts()))
            .chain(said_of_scans(locale))
    };
    for said in of(Locale::Russian) {
        let own = own_words(&said);
        let foreign: Vec<_> =
            own.iter().filter(|word| is_latin(word) && !INTERNATIONAL.contains(&word.as_str())).collect();
        assert_eq!(foreign, Vec::<&String>::new(), "{:?}", said.plain());
        assert!(own.iter().any(|word| !is_latin(word)), "no word of its own: {:?}", said.plain());
    }
    for said in of(Locale::English) {
        assert!(said.characters() > 0);
        for word in own_words(&said) {
            assert!(word.is_ascii(), "{word} in {:?}", said.plain());
        }
    }
}

/// Every sentence of every answer to a scan.
fn said_of_scans(locale: Locale) -> Vec<Said> {
    let language = locale.language();
    let lines = surveys::surveys(Names::Ordinary).into_iter().flat_map(|seen| scan::lines(language, &seen));
    let said = lines.filter_map(|line| match line {
        scan::ScanLine::Said(said) => Some(said),
        scan::ScanLine::Data(_) | scan::ScanLine::Gap => None,
    });
    said.chain([language.could_not_look("list /proc: Permission denied (os error 13)")]).collect()
}

#[test]
fn a_scan_says_the_same_in_every_language_and_hides_nothing() {
    let told = |locale, names| {
        let said: Vec<String> =
            surveys::surveys(names).into_iter().map(|seen| scan(&Ok(seen), locale)).collect();
        said
    };
    let lines = |locale| told(locale, Names::Ordinary).iter().map(|said| said.lines().count()).collect();
    let english: Vec<usize> = lines(Locale::English);
    assert_eq!(english, lines(Locale::Russian), "a line in one language is a line in the other");
    for locale in Locale::ALL {
        let all = told(locale, Names::Ordinary);
        let usual = &all[0];
        for fact in ["4242 R python -m pytest", "docker 0123456789ab", "kill 4242 4243 4250", "311", "312"] {
            assert!(usual.contains(fact), "{fact} in {usual}");
        }
        let mut distinct = all.clone();
        distinct.sort();
        distinct.dedup();
        // the usual headline stands alone once, too
        assert_eq!(distinct.len(), all.len(), "no two read alike: {all:#?}");
        for said in told(locale, Names::Hostile) {
            let strange = said.chars().find(|letter| *letter != '\n' && letter.is_control());
            assert_eq!(strange, None, "{said:?}");
        }
    }
    insta::assert_snapshot!(scan(&Err("list /proc: denied".into()), Locale::English), @"could not look: list /proc: denied");
    insta::assert_snapshot!(scan(&Err("list /proc: denied".into()), Locale::Russian), @"посмотреть не удалось: list /proc: denied");
}

#[test]
fn what_is_wrong_with_a_command_is_said_in_every_language() {
    use crate::commands::Command;

    for line in [
        "shout",
        "mute",
        "mute core_down",
        "unmute",
        "ack",
        "mute cor_down 1h",
        "mute weather 1h",
        "mute core_down 1h job7",
        "mute c3 1h c4",
        "mute core_down 60",
        "mute core_down h",
        "mute core_down 59s",
        "mute core_down 31d",
        "mute core_down 9999999999999h",
        "mute core_down 0.0001s",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let wrong = Command::parse(&words).expect_err("no command");
        let [english, russian] = Locale::ALL.map(|locale| malformed(&wrong, locale));
        // what was typed, and every name that English gives, stand in Russian, too
        for name in english.split(|sign: char| !sign.is_alphanumeric() && !"_-.".contains(sign)) {
            let typed = words.contains(&name);
            let named = SignalKind::ALL.iter().any(|signal| signal.name() == name)
                || ["30m", "1.5h", "2d", "30d", "1m", "c17"].contains(&name);
            assert!(!(typed || named) || russian.contains(name), "{name}: {english} / {russian}");
        }
    }
    let why = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        malformed(&Command::parse(&words).expect_err("no command"), Locale::Russian)
    };
    let lines = [
        "mute",
        "mute core_down",
        "unmute",
        "ack",
        "mute core_down 60",
        "mute core_down h",
        "mute core_down 59s",
        "mute core_down 31d",
        "mute core_down 9999999999999h",
        "mute core_down 0.0001s",
    ];
    let mut told: Vec<String> = lines.iter().map(|line| why(line)).collect();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), lines.len(), "each is told in its own words: {told:#?}");
}

#[test]
fn an_answer_and_a_button_speak_the_language_of_the_chat() {
    use crate::cases::CaseId;
    use crate::commands::{CaseLine, Reply, Status};
    use crate::notify::buttons;

    let id = CaseId::parse("c17").unwrap();
    let finding = usual(SignalKind::AgentHung);
    let case = CaseLine { id: Some(id), finding, since_ms: NOW, suppression: None, acknowledged_by: None };
    let status = Reply::Status(Status { firing: vec![case], mutes: Vec::new() });
    insta::assert_snapshot!(reply(&status, Locale::English), @"c17  critical  agent_hung  job 31  ORCH-114 (development, developer) hangs: silent and idle for 15 min  since 2026-11-22 05:49:02 UTC");
    insta::assert_snapshot!(reply(&status, Locale::Russian), @"c17  критично  agent_hung  задание 31  ORCH-114 (development, developer): агент завис, молчит и простаивает 15 мин  с 22.11.2026 05:49:02 UTC");
    let row = |locale| buttons::row(id, locale).into_iter().map(|button| (button.text, button.data));
    let data = |locale| row(locale).map(|(_, data)| data).collect::<Vec<_>>();
    assert_eq!(data(Locale::English), data(Locale::Russian), "a press carries the same in every language");
    assert!(row(Locale::Russian).all(|(text, _)| !text.contains("ack") && !text.contains("mute")));
}

#[test]
fn no_two_findings_and_no_two_ends_read_alike() {
    for locale in Locale::ALL {
        let ends: Vec<String> = samples::endings()
            .into_iter()
            .map(|how| {
                let finding = usual(SignalKind::ProcOrphaned);
                let told = Notice { kind: samples::recovered(how), at_ms: NOW, finding };
                notice(&told, &voice(locale)).headline.plain()
            })
            .collect();
        let faults: Vec<String> = samples::faults(Names::Ordinary)
            .iter()
            .map(|fault| locale.language().fault(fault).plain())
            .collect();
        let mut rules = samples::evidence(Names::Ordinary);
        // a sort that stands in two lists is one rule
        rules.sort_by_key(|rule| format!("{rule:?}"));
        rules.dedup();
        let evidence = rules.iter().map(|rule| locale.language().evidence(rule).plain()).collect();
        for mut told in [ends, faults, evidence] {
            let all = told.len();
            told.sort();
            told.dedup();
            assert_eq!(told.len(), all, "{told:?}");
        }
    }
}

#[test]
fn a_first_line_fits_a_lock_screen_and_keeps_its_place() {
    for names in [Names::Ordinary, Names::Hostile] {
        for locale in Locale::ALL {
            for told in notices(names) {
                let words = notice(&told, &voice(locale));
                let line = words.headline.plain();
                let longest = if told.kind.is_alert() { HEADLINE_MAX } else { RECOVERY_MAX };
                assert!(words.headline.characters() <= longest, "{line}");
                if names == Names::Ordinary {
                    let place = place(&told.finding, &voice(locale)).plain();
                    assert!(line.ends_with(&place), "{line}");
                }
            }
        }
    }
}

#[test]
fn an_alert_and_its_end_in_one_line_name_both_times_and_the_reason() {
    let finding = usual(SignalKind::ProcOrphaned);
    let alert = Notice { kind: NoticeKind::Alert, at_ms: NOW - 600_000, finding: finding.clone() };
    let end = Notice { kind: samples::recovered(Ending::LastProcessEnded), at_ms: NOW, finding };
    let line = |locale| both(&alert, &end, &voice(locale)).headline.plain();
    insta::assert_snapshot!(line(Locale::English), @"was on from 05:39 UTC to 05:49 UTC (10 min) and is over: orphan `python -m pytest -q tests/i…` (4242): its last process ended · build-1 · docker 0123456789ab · ORCH-114");
    insta::assert_snapshot!(line(Locale::Russian), @"было с 05:39 UTC до 05:49 UTC (10 мин) и прошло: сирота `python -m pytest -q tests/i…` (4242) — последний процесс завершился · build-1 · docker 0123456789ab · ORCH-114");
}

#[test]
fn hostile_names_break_neither_markup_nor_lines_nor_the_limit() {
    for locale in Locale::ALL {
        let voice = voice(locale);
        let hostile = notices(Names::Hostile);
        for told in &hostile {
            sound(&message(std::slice::from_ref(told), &voice), 1);
        }
        // everything at once, as after an outage of the channel
        let distinct = (0..300).zip(hostile.iter().cycle()).map(|(job, told)| {
            let finding = Finding { entity: Entity::Job(job), ..told.finding.clone() };
            Notice { finding, kind: NoticeKind::Alert, ..told.clone() }
        });
        let all = message(&distinct.collect::<Vec<_>>(), &voice);
        sound(&all, 300);
        let last = all.plain.lines().last().unwrap_or_default();
        assert!(
            last.starts_with(match locale {
                Locale::English => "and ",
                Locale::Russian => "и ещё ",
            }),
            "{last}"
        );
    }
}

/// A message that every channel can take.
fn sound(message: &Message, notices: usize) {
    assert_eq!(message.seqs.len(), notices);
    for text in [&message.html, &message.plain] {
        assert!(text.encode_utf16().count() <= MESSAGE_MAX_UNITS, "{}", text.len());
        let strange =
            text.chars().find(|letter| *letter != '\n' && letter.is_control() || *letter == '\u{202e}');
        assert_eq!(strange, None, "{text:?}");
    }
    let html = &message.html;
    let mut rest = html.as_str();
    let mut open: Option<&str> = None;
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').expect("a tag ends") + at;
        let tag = &rest[at + 1..end];
        open = match (open, tag) {
            (None, "b" | "code") => Some(tag),
            (Some(inside), _) if tag.strip_prefix('/') == Some(inside) => None,
            (_, _) => panic!("<{tag}> inside of {open:?}: {html}"),
        };
        rest = &rest[end + 1..];
    }
    assert_eq!(open, None, "{html}");
    let bare = html.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
    assert!(!bare.contains('&'), "{html}");
}

#[test]
fn a_log_is_english_whatever_people_in_chat_read() {
    for channel in Channel::ALL {
        let locale = voice(Locale::Russian).on(channel).locale;
        let read_by_people_in_chat = match channel {
            Channel::Telegram => true,
            Channel::Log | Channel::Alertmanager => false,
        };
        assert_eq!(locale == Locale::Russian, read_by_people_in_chat);
    }
}

/// The page that shows them all, for whoever changes a text and for whoever must read them at night.
#[test]
fn the_page_of_messages_shows_the_texts_as_they_are() {
    let mut page = String::from(PAGE_BEGINS);
    for signal in SignalKind::ALL {
        page.push_str(&format!("\n## {}\n", signal.name()));
        for (locale, name) in [(Locale::English, "English"), (Locale::Russian, "Russian")] {
            let finding = usual(signal);
            let kinds = [NoticeKind::Alert, samples::usual_end(signal)];
            let told = kinds.map(|kind| {
                let told = Notice { kind, at_ms: NOW, finding: finding.clone() };
                message(&[told], &Voice { runbook_url: None, ..voice(locale) }).plain
            });
            page.push_str(&format!("\n{name}:\n\n```text\n{}\n```\n", told.join("\n\n")));
        }
    }
    page.push_str("\n## Other kinds of notices\n");
    for (locale, name) in [(Locale::English, "English"), (Locale::Russian, "Russian")] {
        let kinds = [
            (NoticeKind::Reminder { count: 2 }, SignalKind::ProcOrphaned),
            (NoticeKind::Worse, SignalKind::ProcOrphaned),
            (NoticeKind::Changed, SignalKind::CoreDegraded),
            (NoticeKind::Flapping { changes: 5 }, SignalKind::ProcOrphaned),
        ];
        let lines = kinds.map(|(kind, signal)| {
            let told = Notice { kind, at_ms: NOW, finding: usual(signal) };
            let text = message(&[told], &Voice { runbook_url: None, ..voice(locale) }).plain;
            text.lines().take(3).collect::<Vec<_>>().join("\n")
        });
        let test = test_alert(&voice(locale), NOW).plain();
        page.push_str(&format!("\n{name}:\n\n```text\n{}\n{test}\n```\n", lines.join("\n\n") + "\n"));
    }
    page.push_str("\n## Answers to commands\n");
    for (locale, name) in [(Locale::English, "English"), (Locale::Russian, "Russian")] {
        let lines: Vec<String> =
            samples::answers(locale.language(), &samples::abouts()[..2]).iter().map(Said::plain).collect();
        page.push_str(&format!("\n{name}:\n\n```text\n{}\n```\n", lines.join("\n")));
    }
    page.push_str("\n## A look at the host\n");
    for (locale, name) in [(Locale::English, "English"), (Locale::Russian, "Russian")] {
        let mut seen = surveys::surveys(Names::Ordinary);
        seen.iter_mut().for_each(|seen| seen.families.truncate(1));
        seen.iter_mut().flat_map(|seen| &mut seen.families).for_each(|family| family.evidence.truncate(2));
        let mut said: Vec<String> = seen.into_iter().map(|seen| scan(&Ok(seen), locale)).collect();
        said.push(scan(&Err("list /proc: Permission denied (os error 13)".into()), locale));
        page.push_str(&format!("\n{name}:\n\n```text\n{}\n```\n", said.join("\n\n")));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/messages.md");
    let rewrite = Strings::from_process().is_set(UPDATE_VARIABLE);
    let differing = if rewrite { Differing::Rewrite } else { Differing::Refuse };
    generated::agree(&path, &page, differing).unwrap();
}

const PAGE_BEGINS: &str = "# Messages

What people read in chat, an example a signal and every answer, in each language (`WATCHDOG_LOCALE`). In a chat the first line is bold and
what stands in backticks, and the command, can be copied with a tap. This page is generated from the program by a test.
";

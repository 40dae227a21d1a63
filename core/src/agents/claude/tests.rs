//! Recorded streams, cut anywhere, and the table of ends.

use proptest::prelude::*;

use super::command::{ClaudeSettings, Effort, PermissionMode, Session, argv, session_id};
use super::cost::{Booked, Spent, booked, session_total};
use super::end::{AgentEnd, judge};
use super::stream::{Event, Lines, read_line};
use super::summary::Summary;
use crate::process::{NotStarted, Outcome};

/// A stream as the program printed it.
macro_rules! recorded {
    ($case:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/agent-claude/claude_2.1.330_", $case, ".jsonl"))
    };
}

const API_404: &[u8] = recorded!("api404_subtype_success_is_error_rc1");
const RETRIES: &[u8] = recorded!("api_retry_529_killed");
const BUDGET: &[u8] = recorded!("max_budget_rc1");
const TURNS: &[u8] = recorded!("max_turns_rc1");
const DENIED: &[u8] = recorded!("permission_denied_rc0");
const UNKNOWN_SESSION: &[u8] = recorded!("resume_unknown_rc1");
const FIRST: &[u8] = recorded!("session_first_run");
const RESUMED: &[u8] = recorded!("session_resume_cumulative_cost");
const SIGINT: &[u8] = recorded!("sigint_during_stream_rc0");
const SIGTERM: &[u8] = recorded!("sigterm_during_tool_rc143_no_result");
const SUCCESS: &[u8] = recorded!("success_tool");

fn summary(stream: &[u8]) -> Summary {
    in_pieces(stream, stream.len().max(1))
}

fn in_pieces(stream: &[u8], size: usize) -> Summary {
    let mut summary = Summary::default();
    let mut lines = Lines::default();
    for piece in stream.chunks(size) {
        lines.push(piece, |event| summary.take(event));
    }
    lines.finish(|event| summary.take(event));
    summary
}

fn exit(code: i32) -> Outcome {
    Outcome::Exited { code }
}

#[test]
fn each_recorded_end_is_what_it_was() {
    let refused = |why: &str| AgentEnd::Refused { status: Some(404), why: why.to_owned() };
    let model = "There's an issue with the selected model (claude-sonnet-4-5-20250929). It may not exist or you may not \
                 have access to it. Run --model to pick a different model.";
    for (stream, outcome, expected) in [
        (SUCCESS, exit(0), AgentEnd::Done),
        (DENIED, exit(0), AgentEnd::Done),
        (RESUMED, exit(0), AgentEnd::Done),
        // a background command keeps it from ending: it was ended, and its work stands
        (SUCCESS, Outcome::Stopped, AgentEnd::Done),
        (SUCCESS, Outcome::TimedOut, AgentEnd::Done),
        (API_404, exit(1), refused(model)),
        // neither the subtype nor an exit code of 0 makes it good
        (API_404, exit(0), refused(model)),
        (TURNS, exit(1), AgentEnd::TurnsUsedUp),
        (BUDGET, exit(1), AgentEnd::BudgetUsedUp),
        (UNKNOWN_SESSION, exit(1), AgentEnd::SessionUnknown),
        (SIGINT, exit(0), AgentEnd::Interrupted),
        (SIGINT, Outcome::Stopped, AgentEnd::Interrupted),
        (SIGINT, Outcome::TimedOut, AgentEnd::TimedOut),
        (SIGTERM, exit(143), AgentEnd::NoResult { how: "exit 143: ".to_owned() }),
        (SIGTERM, Outcome::Signaled { signal: 9 }, AgentEnd::NoResult { how: "signal 9".to_owned() }),
        (SIGTERM, Outcome::Stopped, AgentEnd::Stopped),
        (SIGTERM, Outcome::TimedOut, AgentEnd::TimedOut),
        // minutes of silence that were the service's
        (RETRIES, Outcome::TimedOut, AgentEnd::Overloaded),
        (RETRIES, Outcome::Stopped, AgentEnd::Overloaded),
    ] {
        assert_eq!(judge(&outcome, &summary(stream), ""), expected, "{outcome:?}");
    }
}

#[test]
fn who_said_nothing_on_its_stream_is_judged_by_its_complaint() {
    let silent = Summary::default();
    let with = |complaint: &str| judge(&exit(1), &silent, complaint);
    assert_eq!(
        with("No conversation found with session ID: 11111111-2222-4333-8444-555555555555\n"),
        AgentEnd::SessionUnknown
    );
    assert_eq!(
        with("Error: Session ID aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee is already in use.\n\n"),
        AgentEnd::SessionInUse
    );
    let misused = "error: unknown option '--no-such-flag'";
    assert_eq!(with(misused), AgentEnd::Misused { why: misused.to_owned() });
    let never = Outcome::NotStarted { reason: NotStarted::NoGo };
    assert_eq!(judge(&never, &silent, ""), AgentEnd::NoResult { how: "it was never started".to_owned() });
    assert!(matches!(judge(&exit(0), &silent, ""), AgentEnd::NoResult { .. }), "silence is no success");
}

#[test]
fn a_service_that_refuses_is_told_from_one_that_is_overloaded() {
    let ended = |fields: &str| {
        let line = format!(r#"{{"type":"result","subtype":"success","is_error":true,{fields}}}"#);
        judge(&exit(1), &summary(line.as_bytes()), "")
    };
    assert_eq!(ended(r#""api_error_status":529,"result":"Overloaded""#), AgentEnd::Overloaded);
    assert_eq!(ended(r#""api_error_status":503,"result":"x""#), AgentEnd::Overloaded);
    assert_eq!(ended(r#""api_error_status":429,"result":"x""#), AgentEnd::UsageLimit { until_ms: None });
    let limited = r#""result":"Claude AI usage limit reached|1760000000""#;
    assert_eq!(ended(limited), AgentEnd::UsageLimit { until_ms: Some(1_760_000_000_000) });
    let credit =
        r#""api_error_status":400,"terminal_reason":"api_error","result":"Credit balance is too low""#;
    assert!(matches!(ended(credit), AgentEnd::Refused { status: Some(400), .. }));
}

#[test]
fn a_run_is_booked_with_what_it_added_to_its_session() {
    let first = summary(FIRST);
    let total = session_total(first.result.as_ref().unwrap()).unwrap();
    let spent = |microusd, input_tokens, cached_tokens, output_tokens| Spent {
        microusd,
        input_tokens,
        cached_tokens,
        output_tokens,
    };
    assert_eq!(total, spent(19_950, 13_000, 10_600, 500));
    assert_eq!(booked(&first, None, 1), Booked::Reported(total));
    let resumed = summary(RESUMED);
    assert_eq!(resumed.session, first.session);
    assert_eq!(booked(&resumed, Some(total), 1), Booked::Reported(spent(9_975, 6_500, 5_300, 250)));
    // interrupted and over budget, `usage` is all zeros and the rest is right
    assert_eq!(booked(&summary(SIGINT), None, 1), Booked::Reported(spent(6_255, 6_500, 5_300, 2)));
    assert_eq!(booked(&summary(BUDGET), None, 1), Booked::Reported(spent(9_975, 6_500, 5_300, 250)));
    // the session's files were lost and it began anew
    assert_eq!(
        booked(&resumed, Some(spent(99_000, 0, 0, 0)), 1),
        Booked::Reported(spent(29_925, 19_500, 15_900, 750))
    );
}

#[test]
fn who_was_killed_is_booked_with_its_bound_and_who_never_began_with_nothing() {
    assert_eq!(booked(&summary(SIGTERM), None, 500_000), Booked::Estimated { microusd: 500_000 });
    assert_eq!(booked(&summary(RETRIES), None, 500_000), Booked::Estimated { microusd: 500_000 });
    assert_eq!(booked(&Summary::default(), None, 500_000), Booked::Reported(Spent::default()));
    let nonsense = br#"{"type":"result","subtype":"success","total_cost_usd":-1,"session_id":"s"}"#;
    assert_eq!(booked(&summary(nonsense), None, 7), Booked::Estimated { microusd: 7 });
}

#[test]
fn the_order_of_keys_and_lines_says_nothing() {
    let mut stream = SUCCESS.to_vec();
    stream.extend_from_slice(
        b"{\"type\":\"system\",\"subtype\":\"task_updated\"}\n{\"type\":\"tomorrow\"}\nno json\n",
    );
    let told = summary(&stream);
    assert_eq!(judge(&exit(0), &told, ""), AgentEnd::Done);
    assert_eq!((told.unreadable, told.tools, told.answered), (1, 1, true));
    assert_eq!(told.model.as_deref(), Some("claude-sonnet-4-5-20250929"));
}

#[test]
fn a_service_that_answers_again_is_no_excuse_for_a_later_silence() {
    let mut told = summary(RETRIES);
    assert_eq!(told.retry.as_ref().map(|retry| (retry.attempt, retry.status)), Some((6, Some(529))));
    told.take(read_line(br#"{"type":"assistant","message":{"content":[{"type":"text","text":"hi"}]}}"#));
    assert_eq!(judge(&Outcome::TimedOut, &told, ""), AgentEnd::TimedOut);
}

#[test]
fn a_line_without_end_takes_no_memory_and_hides_no_other() {
    let mut told = Summary::default();
    let mut lines = Lines::default();
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..40 {
        lines.push(&piece, |event| told.take(event));
    }
    assert!(format!("{lines:?}").len() < 64 * 1024 * 1024, "no more than a line is kept");
    lines.push(b"\n", |event| told.take(event));
    lines.push(SUCCESS, |event| told.take(event));
    assert_eq!((told.unreadable, judge(&exit(0), &told, "")), (1, AgentEnd::Done));
}

#[test]
fn a_session_has_a_uuid_of_version_4() {
    assert_eq!(session_id(0, 0), "00000000-0000-4000-8000-000000000000");
    assert_eq!(session_id(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_eq!(
        session_id(0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef),
        "01234567-89ab-4def-8123-456789abcdef"
    );
}

#[test]
fn the_command_line_says_what_was_set_and_nothing_that_would_be_passed_over() {
    let plain = argv(&ClaudeSettings::default(), &Session::New("s".into()), None, "--do it");
    let words =
        ["claude", "-p", "--output-format", "stream-json", "--verbose", "--session-id", "s", "--", "--do it"];
    assert_eq!(plain, words);
    let settings = ClaudeSettings {
        program: vec!["npx".into(), "claude".into()],
        model: Some("opus".into()),
        effort: Some(Effort::Xhigh),
        max_turns: std::num::NonZeroU32::new(40),
        permission_mode: Some(PermissionMode::AcceptEdits),
        allowed_tools: vec!["Bash(pytest *)".into(), "Edit".into()],
        disallowed_tools: vec!["WebFetch".into()],
    };
    let all = argv(&settings, &Session::Resumed("s".into()), Some(1_500_001), "p").join("\u{1f}");
    for words in [
        ["--model", "opus"],
        ["--effort", "xhigh"],
        ["--max-turns", "40"],
        ["--max-budget-usd", "1.500001"],
        ["--permission-mode", "acceptEdits"],
        ["--allowedTools", "Bash(pytest *),Edit"],
        ["--disallowedTools", "WebFetch"],
        ["--resume", "s"],
    ] {
        assert!(all.contains(&words.join("\u{1f}")), "{words:?} in {all:?}");
    }
}

proptest! {
    #[test]
    fn a_stream_reads_the_same_however_it_is_cut(size in 1_usize..3_000) {
        for stream in [SUCCESS, RETRIES, SIGTERM] {
            prop_assert_eq!(in_pieces(stream, size), summary(stream));
        }
    }

    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..50) {
        let told = in_pieces(&bytes, size);
        prop_assert!(!matches!(judge(&exit(0), &told, ""), AgentEnd::Done));
    }

    #[test]
    fn a_known_line_with_odd_fields_is_passed_over(text in "\\PC{0,40}", number in any::<f64>()) {
        for line in [
            format!(r#"{{"type":"assistant","message":{{"content":{text:?}}}}}"#),
            format!(r#"{{"type":"system","subtype":"api_retry","attempt":{number}}}"#),
            format!(r#"{{"type":"result","errors":{text:?}}}"#),
        ] {
            let event = read_line(line.as_bytes());
            prop_assert!(matches!(event, Event::Other(_) | Event::Unreadable | Event::Retry(_)), "{event:?}");
        }
    }
}

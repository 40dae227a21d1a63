//! Reading the watchdog's messages as a person does: which signal, alert or recovery, about whom.
//!
//! The one place that knows how an announced message looks, for the log channel and for chat. An
//! alert ends with the runbook's section of its signal and names pids; a recovery is one line that
//! says what is over. Chat shows code in its own type, the log in backticks.

use anyhow::Result;
use std::time::Duration;

/// A signal that tests and the demo wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A pytest that nobody owns.
    ProcOrphaned,
    /// A pytest over the age limit, whoever owns it.
    ProcBlocking,
    /// The core gives no answer that can be used.
    CoreDown,
}

impl Signal {
    /// Words that its headline holds in an alert, one of them at least.
    fn claims(self) -> &'static [&'static str] {
        match self {
            Self::ProcOrphaned => &["🔴 orphan ", "🟠 orphan ", ": orphan "],
            Self::ProcBlocking => &[" runs for "],
            Self::CoreDown => &["the core does not answer", "the core's answer cannot be used"],
        }
    }

    /// Words that its recovery holds.
    fn noun(self) -> &'static str {
        match self {
            Self::ProcOrphaned => ": orphan ",
            Self::ProcBlocking => ": long-running ",
            Self::CoreDown => ": outage of the core",
        }
    }
}

/// Whether a message announces this signal's beginning, naming `pid` where one is asked for. Several
/// alerts of one tick share a message, which then has headlines and commands only.
#[must_use]
pub fn is_alert(message: &str, signal: Signal, pid: Option<i32>) -> bool {
    !says_over(message)
        && signal.claims().iter().any(|words| message.contains(words))
        && pid.is_none_or(|pid| names_number(message, pid))
}

/// Whether a message announces this signal's end.
#[must_use]
pub fn is_recovery(message: &str, signal: Signal) -> bool {
    says_over(message) && message.contains(signal.noun())
}

fn says_over(message: &str) -> bool {
    message.contains("over after ") || message.contains("is over: ")
}

/// A pid is named as a whole number, not as a part of a longer one.
fn names_number(message: &str, number: i32) -> bool {
    let number = number.to_string();
    message.split(|sign: char| !sign.is_ascii_alphanumeric()).any(|word| word == number)
}

/// The messages of a log: a line that begins with a time and the lines after it that do not.
#[must_use]
pub fn log_messages(log: &str) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for line in log.lines() {
        match messages.last_mut() {
            Some(message) if !begins_with_time(line) => {
                message.push('\n');
                message.push_str(line);
            }
            Some(_) | None => messages.push(line.to_owned()),
        }
    }
    messages
}

/// `2026-11-22T…`, or an object of the JSON format.
fn begins_with_time(line: &str) -> bool {
    let start = line.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        start.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    start.first() == Some(&b'{')
        || (digits(0..4) && start.get(4) == Some(&b'-') && digits(5..7) && start.get(10) == Some(&b'T'))
}

/// Wait until one of the messages that `read` gives satisfies `wanted`.
///
/// # Errors
/// When `patience` is over: names what was awaited and the last messages.
pub async fn await_message(
    what: &str,
    patience: Duration,
    mut read: impl FnMut() -> Vec<String>,
    wanted: impl Fn(&str) -> bool,
) -> Result<String> {
    /// At most so many messages are shown when the wait was in vain.
    const SHOWN: usize = 5;
    crate::wait::until(what, patience, || {
        let messages = read();
        let found = messages.iter().find(|message| wanted(message)).cloned();
        async move {
            found.ok_or_else(|| {
                let first = messages.len().saturating_sub(SHOWN);
                format!("{} messages, the last: {:?}", messages.len(), &messages[first..])
            })
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT: &str = "🔴 orphan `python -m pytest` spins at 1.0 of a core, 9 s old · box\n\
        where: on the host; root pid 123, 2 live\nkill 123 130\ndocs/runbook.md#proc_orphaned";

    #[test]
    fn a_pid_is_named_whole_or_not_at_all() {
        assert!(is_alert(ALERT, Signal::ProcOrphaned, Some(123)));
        assert!(is_alert(ALERT, Signal::ProcOrphaned, None));
        assert!(!is_alert(ALERT, Signal::ProcOrphaned, Some(12)));
        assert!(!is_alert(ALERT, Signal::ProcBlocking, Some(123)));
    }

    #[test]
    fn an_end_is_a_recovery_and_no_alert() {
        let over = "🟢 over after 12 s: orphan `python -m pytest`: its last process ended · box";
        assert!(is_recovery(over, Signal::ProcOrphaned));
        assert!(!is_alert(over, Signal::ProcOrphaned, None));
        assert!(!is_recovery(over, Signal::CoreDown));
        assert!(!is_recovery(ALERT, Signal::ProcOrphaned));
    }

    #[test]
    fn an_old_pytest_that_happens_to_be_an_orphan_is_told_by_its_own_signal() {
        let old = "`python -m pytest` runs for 2 min, limit 1 min, orphan · box\nkill 123";
        assert!(is_alert(old, Signal::ProcBlocking, Some(123)));
        assert!(!is_alert(old, Signal::ProcOrphaned, Some(123)));
    }

    #[test]
    fn a_message_of_several_lines_in_a_log_stays_one() {
        let log = format!(
            "2026-11-22T02:00:00Z  INFO up\n2026-11-22T02:00:01Z  WARN {ALERT}\n2026-11-22T02:00:02Z  INFO x\n"
        );
        let messages = log_messages(&log);
        assert_eq!(messages.len(), 3);
        assert!(is_alert(&messages[1], Signal::ProcOrphaned, Some(130)));
    }
}

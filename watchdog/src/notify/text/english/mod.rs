//! English.
//!
//! Responsible for the frames around every finding and for measures in the English manner; findings
//! stand in the files beside. Short and plain: it is read on a phone, at night.

mod answers;
mod core;
mod host;
mod proofs;
mod scan;
mod work;

use super::phrases::{Frames, Language};
use super::said::Said;
use super::units::{self, Length, SizeUnit};

/// The language.
pub(super) struct English;

impl Language for English {}

impl Frames for English {
    fn still(&self) -> &'static str {
        "still: "
    }

    fn worse(&self) -> &'static str {
        "worse: "
    }

    fn changed(&self) -> &'static str {
        "new cause: "
    }

    fn flapping(&self) -> &'static str {
        "comes and goes: "
    }

    fn reminder(&self, count: u32) -> String {
        format!("reminder {count}")
    }

    fn changes(&self, changes: usize) -> String {
        format!("{} within an hour; silent until it is stable", count(changes, "change", "changes"))
    }

    fn over_after(&self, lasted_ms: i64) -> String {
        format!("over after {}: ", duration(lasted_ms))
    }

    fn was_on(&self, from_ms: i64, until_ms: i64) -> String {
        let same_day = units::stamp(from_ms, "%F") == units::stamp(until_ms, "%F");
        let told = |ms| if same_day { clock(ms) } else { date_time(ms) };
        let lasted = duration(until_ms.saturating_sub(from_ms));
        format!("was on from {} to {} ({lasted}) and is over: ", told(from_ms), told(until_ms))
    }

    fn because(&self) -> &'static str {
        ": "
    }

    fn since(&self, since_ms: i64, for_ms: i64) -> String {
        match for_ms {
            ..1_000 => format!("since {}", date_time(since_ms)),
            _ => format!("since {}, for {}", date_time(since_ms), duration(for_ms)),
        }
    }

    fn runbook(&self) -> &'static str {
        "runbook: "
    }

    fn more(&self, left_out: usize) -> String {
        format!("and {left_out} more")
    }

    fn more_follow(&self, left_out: usize) -> String {
        format!("and {left_out} more, in the next message")
    }

    fn test_alert(&self, host: &str, at_ms: i64) -> Said {
        Said::of("test alert of ").name(host).text(format!(" at {}", date_time(at_ms)))
    }
}

fn effect(text: &str) -> Said {
    Said::of(format!("effect: {text}"))
}

pub(super) fn duration(ms: i64) -> String {
    match units::length(ms) {
        Length::Seconds(seconds) => format!("{seconds} s"),
        Length::Minutes(minutes, 0) => format!("{minutes} min"),
        Length::Minutes(minutes, seconds) => format!("{minutes} min {seconds} s"),
        Length::Hours(hours, 0) => format!("{hours} h"),
        Length::Hours(hours, minutes) => format!("{hours} h {minutes} min"),
        Length::Days(days, 0) => format!("{days} d"),
        Length::Days(days, hours) => format!("{days} d {hours} h"),
    }
}

fn duration_of(ms: u64) -> String {
    duration(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn bytes(bytes: u64) -> String {
    let (number, unit) = units::size(bytes);
    let unit = match unit {
        SizeUnit::Kibi => "KiB",
        SizeUnit::Mebi => "MiB",
        SizeUnit::Gibi => "GiB",
        SizeUnit::Tebi => "TiB",
    };
    format!("{number} {unit}")
}

fn cores(share: f64) -> String {
    if share < 1.005 { format!("{share:.2} of a core") } else { format!("{share:.1} cores") }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn date_time(ms: i64) -> String {
    units::stamp(ms, "%-d %b %Y, %H:%M:%S UTC").unwrap_or_else(|| format!("{ms} ms"))
}

fn clock(ms: i64) -> String {
    units::stamp(ms, "%H:%M UTC").unwrap_or_else(|| format!("{ms} ms"))
}

fn pids(pids: &[i32]) -> String {
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    pids.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_read_as_english_does() {
        assert_eq!(duration(90_000), "1 min 30 s");
        assert_eq!(duration(900_000), "15 min");
        assert_eq!(duration(183_600_000), "2 d 3 h");
        assert_eq!(bytes((1 << 30) + (1 << 29)), "1.5 GiB");
        assert_eq!((cores(0.98), cores(3.97)), ("0.98 of a core".to_owned(), "4.0 cores".to_owned()));
        assert_eq!(count(1, "process", "processes"), "1 process");
        assert_eq!(date_time(1_700_000_000_000), "14 Nov 2023, 22:13:20 UTC");
        assert_eq!(date_time(i64::MAX), "9223372036854775807 ms");
    }

    #[test]
    fn a_night_that_passes_midnight_is_told_with_its_dates() {
        let noon = 1_700_049_600_000;
        assert_eq!(
            English.was_on(noon, noon + 3_600_000),
            "was on from 12:00 UTC to 13:00 UTC (1 h) and is over: "
        );
        assert!(English.was_on(noon, noon + 86_400_000).contains("16 Nov 2023, 12:00:00 UTC"));
    }
}

//! Measures taken apart: what every language shows in its own manner.
//!
//! Responsible for which units suffice (the two largest) and for how far a number is rounded. It
//! knows no words. What was not measured never comes here.

use crate::signals::SPINNING_SHARE;

/// Below this share of one core a process sits idle, as far as a person cares.
const IDLE_SHARE: f64 = 0.02;

/// What a family does with a processor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CpuUse {
    /// Enough to be critical in an orphan, as a fraction of one core.
    Spinning(f64),
    /// Something, as a fraction of one core.
    Working(f64),
    /// Next to nothing.
    Idle,
    /// Not measured yet.
    Unknown,
}

impl CpuUse {
    /// By the measured share of one core.
    #[must_use]
    pub(super) fn of(share: Option<f64>) -> Self {
        match share {
            Some(share) if share >= SPINNING_SHARE => Self::Spinning(share),
            Some(share) if share >= IDLE_SHARE => Self::Working(share),
            Some(_) => Self::Idle,
            None => Self::Unknown,
        }
    }
}

/// A length of time in the two largest units that matter; the smaller one may be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// Below a minute.
    Seconds(i64),
    /// Minutes and seconds.
    Minutes(i64, i64),
    /// Hours and minutes.
    Hours(i64, i64),
    /// Days and hours.
    Days(i64, i64),
}

/// Takes a time in milliseconds apart; a negative one is none.
#[must_use]
pub(super) fn length(ms: i64) -> Length {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..60 => Length::Seconds(seconds),
        60..3_600 => Length::Minutes(seconds / 60, seconds % 60),
        3_600..86_400 => Length::Hours(seconds / 3_600, seconds / 60 % 60),
        _ => Length::Days(seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Unit of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SizeUnit {
    /// 2^10 bytes.
    Kibi,
    /// 2^20 bytes.
    Mebi,
    /// 2^30 bytes.
    Gibi,
    /// 2^40 bytes.
    Tebi,
}

/// Bytes as a number of the largest unit that fits: with one decimal below 10.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
pub(super) fn size(bytes: u64) -> (String, SizeUnit) {
    let (unit, shift) = match bytes {
        0..0x10_0000 => (SizeUnit::Kibi, 10),
        0x10_0000..0x4000_0000 => (SizeUnit::Mebi, 20),
        0x4000_0000..0x100_0000_0000 => (SizeUnit::Gibi, 30),
        _ => (SizeUnit::Tebi, 40),
    };
    let number = bytes as f64 / (1_u64 << shift) as f64;
    let digits = usize::from(number < 9.95 && !bytes.is_multiple_of(1 << shift));
    (format!("{number:.digits$}"), unit)
}

/// A whole number in groups of three digits.
#[must_use]
pub(super) fn grouped(number: u64, separator: char) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

/// Percent of a whole, rounded down so that "5 %" is never less; absent when there is no whole.
#[must_use]
pub(super) fn percent(part: u64, whole: u64) -> Option<u64> {
    (whole > 0).then(|| u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(u64::MAX))
}

/// A stamp in UTC; absent when it lies outside of the calendar.
#[must_use]
pub(super) fn stamp(ms: i64, format: &str) -> Option<String> {
    jiff::Timestamp::from_millisecond(ms).ok().map(|at| at.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_largest_units_suffice() {
        let minute = 60_000;
        for (ms, expected) in [
            (-1, Length::Seconds(0)),
            (59_999, Length::Seconds(59)),
            (90_000, Length::Minutes(1, 30)),
            (60 * minute, Length::Hours(1, 0)),
            (1_439 * minute, Length::Hours(23, 59)),
            (1_440 * minute, Length::Days(1, 0)),
            (i64::MAX, Length::Days(106_751_991_167, 7)),
        ] {
            assert_eq!(length(ms), expected, "{ms}");
        }
    }

    #[test]
    fn a_size_is_told_in_two_digits_or_whole() {
        for (bytes, expected) in [
            (0, ("0", SizeUnit::Kibi)),
            (1_536, ("1.5", SizeUnit::Kibi)),
            (812 << 20, ("812", SizeUnit::Mebi)),
            ((1 << 30) + (1 << 29), ("1.5", SizeUnit::Gibi)),
            (2 << 30, ("2", SizeUnit::Gibi)),
            (40 << 30, ("40", SizeUnit::Gibi)),
            (3 << 40, ("3", SizeUnit::Tebi)),
        ] {
            let (number, unit) = size(bytes);
            assert_eq!((number.as_str(), unit), expected, "{bytes}");
        }
        assert_eq!((grouped(7, ','), grouped(2_621_440, ',')), ("7".to_owned(), "2,621,440".to_owned()));
        assert_eq!(percent(49, 1_000), Some(4));
        assert_eq!(percent(1, 0), None);
    }
}

//! Line coverage as two counts, compared without rounding.
//!
//! Percents are for people; the comparison cross-multiplies integers, so 79.996 % never passes
//! for 80 %.

use serde::{Deserialize, Serialize};

/// Lines covered of lines measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineCounts {
    /// Lines that ran.
    pub covered: u64,
    /// Lines that could have run; never 0 in a usable report.
    pub measured: u64,
}

/// What a comparison with the baseline says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Better than the baseline: the ratchet may rise.
    Higher,
    /// Equal, or lower within the tolerance.
    Within,
    /// Lower than the baseline minus the tolerance.
    Lower,
}

impl LineCounts {
    /// Percent with two decimals, rounded down so that it never flatters.
    #[must_use]
    pub fn percent_text(self) -> String {
        if self.measured == 0 {
            return "unknown".to_owned();
        }
        let hundredths = u128::from(self.covered) * 10_000 / u128::from(self.measured);
        format!("{}.{:02} %", hundredths / 100, hundredths % 100)
    }

    /// Whether this is strictly more than `other`.
    #[must_use]
    pub fn exceeds(self, other: Self) -> bool {
        u128::from(self.covered) * u128::from(other.measured)
            > u128::from(other.covered) * u128::from(self.measured)
    }
}

/// Compares with `baseline`, tolerating a loss of `tolerance_millipp` thousandths of a
/// percentage point.
#[must_use]
pub fn compare(now: LineCounts, baseline: LineCounts, tolerance_millipp: u32) -> Comparison {
    if now.exceeds(baseline) {
        return Comparison::Higher;
    }
    // now + tolerance >= baseline, multiplied by both denominators and by 100 000 (thousandths of
    // a percent in one whole)
    let scale = 100_000_u128;
    let (now_covered, now_measured) = (u128::from(now.covered), u128::from(now.measured));
    let (base_covered, base_measured) = (u128::from(baseline.covered), u128::from(baseline.measured));
    let left =
        now_covered * base_measured * scale + u128::from(tolerance_millipp) * now_measured * base_measured;
    let right = base_covered * now_measured * scale;
    if left >= right { Comparison::Within } else { Comparison::Lower }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(covered: u64, measured: u64) -> LineCounts {
        LineCounts { covered, measured }
    }

    #[test]
    fn a_loss_beyond_the_tolerance_is_lower_however_small() {
        assert_eq!(compare(counts(799, 1000), counts(800, 1000), 100), Comparison::Within, "exactly 0.1 pp");
        assert_eq!(compare(counts(7989, 10_000), counts(8000, 10_000), 100), Comparison::Lower);
        assert_eq!(
            compare(counts(79_996, 100_000), counts(80, 100), 0),
            Comparison::Lower,
            "rounds to 80.00"
        );
        assert_eq!(compare(counts(8, 10), counts(80, 100), 0), Comparison::Within);
        assert_eq!(compare(counts(81, 100), counts(80, 100), 0), Comparison::Higher);
    }

    #[test]
    fn percent_never_flatters() {
        assert_eq!(counts(99_999, 100_000).percent_text(), "99.99 %");
        assert_eq!(counts(2, 3).percent_text(), "66.66 %");
        assert_eq!(counts(0, 0).percent_text(), "unknown");
    }

    proptest! {
        #[test]
        fn without_tolerance_the_order_is_that_of_the_fractions(
            a in 0_u64..2000, b in 1_u64..2000, c in 0_u64..2000, d in 1_u64..2000
        ) {
            let (a, c) = (a.min(b), c.min(d));
            let expected = match (a * d).cmp(&(c * b)) {
                std::cmp::Ordering::Greater => Comparison::Higher,
                std::cmp::Ordering::Equal => Comparison::Within,
                std::cmp::Ordering::Less => Comparison::Lower,
            };
            prop_assert_eq!(compare(counts(a, b), counts(c, d), 0), expected);
        }
    }
}

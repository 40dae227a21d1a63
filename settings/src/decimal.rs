//! Decimal numbers as people write them, into exact integers.
//!
//! No floating point: `0.1` percentage points is exactly 1,000 parts per million, and what is
//! finer than the integer's unit is refused instead of rounded.

/// Most digits before the point that are read.
const WHOLE_DIGITS_MAX: usize = 12;
/// Most digits behind the point that are read.
const FRACTION_DIGITS_MAX: usize = 9;

/// Why a text is not such a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Sign, exponent, letters, two points, nothing at all.
    #[error("not a number such as 30 or 0.5")]
    NotDecimal,
    /// More digits than any setting needs.
    #[error("too many digits")]
    TooLong,
    /// Not a whole multiple of the smallest unit.
    #[error("finer than can be told apart")]
    TooFine,
}

/// Reads `text` and multiplies by `per_one` (how many of the result's unit make one of the
/// text's): `parse("0.5", 1_000)` is 500.
///
/// # Errors
/// See [`DecimalError`].
pub fn parse(text: &str, per_one: i64) -> Result<i64, DecimalError> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(DecimalError::NotDecimal),
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(DecimalError::NotDecimal);
    }
    if whole.len() > WHOLE_DIGITS_MAX || fraction.len() > FRACTION_DIGITS_MAX {
        return Err(DecimalError::TooLong);
    }
    let mut scale: i128 = 1;
    let mut mantissa: i128 = 0;
    for byte in whole.bytes() {
        mantissa = mantissa * 10 + i128::from(byte - b'0');
    }
    for byte in fraction.bytes() {
        mantissa = mantissa * 10 + i128::from(byte - b'0');
        scale *= 10;
    }
    let scaled = mantissa * i128::from(per_one);
    if scaled % scale != 0 {
        return Err(DecimalError::TooFine);
    }
    i64::try_from(scaled / scale).map_err(|_| DecimalError::TooLong)
}

/// Writes a non-negative `value` back in units of `per_one`, without trailing zeros; the inverse
/// of [`parse`] where `per_one` divides a power of ten or the value is whole.
#[must_use]
pub fn show(value: i64, per_one: i64) -> String {
    let whole = value / per_one;
    let mut rest = value % per_one;
    let mut text = whole.to_string();
    if rest != 0 {
        text.push('.');
        for _ in 0..FRACTION_DIGITS_MAX {
            rest *= 10;
            text.push_str(&(rest / per_one).to_string());
            rest %= per_one;
            if rest == 0 {
                break;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_become_exact_integers_or_say_why_not() {
        for (text, per_one, expected) in [
            ("0", 1_000, Ok(0)),
            ("30", 1_000, Ok(30_000)),
            ("0.5", 1_000, Ok(500)),
            ("1.250", 1_000, Ok(1_250)),
            ("007", 1_000, Ok(7_000)),
            ("0.0005", 1_000, Err(DecimalError::TooFine)),
            ("0.05", 60_000, Ok(3_000)),
            ("0.0001", 60_000, Ok(6)),
            ("0.1", 10_000, Ok(1_000)),
            ("", 1_000, Err(DecimalError::NotDecimal)),
            (".5", 1_000, Err(DecimalError::NotDecimal)),
            ("5.", 1_000, Err(DecimalError::NotDecimal)),
            ("-5", 1_000, Err(DecimalError::NotDecimal)),
            ("+5", 1_000, Err(DecimalError::NotDecimal)),
            ("1e3", 1_000, Err(DecimalError::NotDecimal)),
            ("1.2.3", 1_000, Err(DecimalError::NotDecimal)),
            ("1,5", 1_000, Err(DecimalError::NotDecimal)),
            (" 5", 1_000, Err(DecimalError::NotDecimal)),
            ("٣", 1_000, Err(DecimalError::NotDecimal)),
            ("inf", 1_000, Err(DecimalError::NotDecimal)),
            ("1234567890123", 1_000, Err(DecimalError::TooLong)),
            ("0.1234567891", 1_000, Err(DecimalError::TooLong)),
        ] {
            assert_eq!(parse(text, per_one), expected, "{text:?} × {per_one}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(value in 0_i64..1_000_000_000_000) {
            for per_one in [1, 1_000, 10_000] {
                prop_assert_eq!(parse(&show(value, per_one), per_one), Ok(value));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            parse(&text, 60_000).ok();
        }
    }
}

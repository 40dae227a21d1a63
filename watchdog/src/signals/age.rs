//! Ages: the one way in which signals take a time of a document from another.
//!
//! Responsible for what an age is: of a time that lies in the calendar and not after the moment it is
//! asked for. Anything else has no age, which is "cannot be told" and never "young": a case is held
//! then. Arithmetic here and around it saturates, and a lint keeps the signals to it.

/// A time may lie this far after the clock that it is compared with (two threads, a small step back).
const AHEAD_MS: i64 = 60_000;

/// Why a case is held.
pub(super) const NO_AGE: &str = "the core tells a time that lies after its own now";

/// How old `then` is at `now`, both by one clock; absent when that cannot be.
pub(super) fn age_ms(now: i64, then: i64) -> Option<i64> {
    let age = now.checked_sub(then).filter(|age| *age >= -AHEAD_MS)?;
    (now >= 0 && then >= 0).then_some(age.max(0))
}

/// When something began that is this old now.
pub(super) fn began_ms(now: i64, age_ms: i64) -> i64 {
    now.saturating_sub(age_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_time_of_the_past_has_an_age() {
        let now = 1_700_000_000_000;
        for (now, then, expected) in [
            (now, now - 5, Some(5)),
            (now, now + AHEAD_MS, Some(0)),
            (now, now + AHEAD_MS + 1, None),
            (now, 0, Some(now)),
            (now, -1, None),
            (now, i64::MIN, None),
            (now, i64::MAX, None),
            (i64::MIN, i64::MAX, None),
            (i64::MAX, i64::MIN, None),
            (i64::MIN, i64::MIN, None),
        ] {
            assert_eq!(age_ms(now, then), expected, "{now} {then}");
        }
    }
}

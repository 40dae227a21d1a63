//! The run cookie: a random number that marks every process of a run.
//!
//! It travels as RLIMIT_LOCKS, soft and hard, which the kernel has ignored since 2.4.25 (getrlimit(2)) and hands on
//! through fork, exec, setsid, setuid and namespaces. Responsible for the number alone; the trampoline sets it.
//!
//! **Nested**: where the hard limit is finite already (orch inside a run of orch, or `ulimit -x`), only the soft limit
//! can be set, and not above the hard one. The number is committed to the database before anything is started, so it is
//! *drawn* below the hard limit of this process, which the run inherits, instead of being bent later; the
//! trampoline refuses a cookie that does not fit. The hard limit stays the outermost run's cookie, so that run finds
//! what is nested in it. Two levels are told apart that way; of three, the middle one does not find the innermost.

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

/// Cookies begin above every limit that a person would set by hand.
const LOWEST: u64 = 1 << 32;
/// Cookies end here: 63 bits fit the database's integers.
const BEYOND: u64 = 1 << 63;

/// A number that can mark a run: random, of 33 to 63 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Cookie(u64);

/// Why there is no cookie.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// The number is outside of the range.
    #[error("{0} is no run cookie")]
    OutOfRange(u64),
    /// The limit on file locks leaves too few numbers to tell runs apart.
    #[error(
        "hard limit on file locks is {hard}, too low to mark runs with: start the core with `ulimit -x unlimited`"
    )]
    HardLimit {
        /// RLIMIT_LOCKS of this process.
        hard: u64,
    },
    /// The kernel gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(String),
}

impl Cookie {
    /// Draws a new one that this process's children can carry.
    ///
    /// # Errors
    /// [`CookieError`]
    pub fn draw() -> Result<Self, CookieError> {
        let random = getrandom::u64().map_err(|error| CookieError::Random(error.to_string()))?;
        Self::below(getrlimit(Resource::Locks).maximum, random)
    }

    /// The cookie that a random number gives under a hard limit (`None`: unlimited).
    ///
    /// # Errors
    /// [`CookieError::HardLimit`] when fewer than 2^32 numbers are left.
    pub fn below(hard: Option<u64>, random: u64) -> Result<Self, CookieError> {
        let beyond = hard.unwrap_or(BEYOND).min(BEYOND);
        match beyond.checked_sub(LOWEST) {
            Some(room) if room >= LOWEST => Ok(Self(LOWEST + random % room)),
            _ => Err(CookieError::HardLimit { hard: beyond }),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Cookie {
    type Error = CookieError;

    fn try_from(number: u64) -> Result<Self, CookieError> {
        if (LOWEST..BEYOND).contains(&number) {
            Ok(Self(number))
        } else {
            Err(CookieError::OutOfRange(number))
        }
    }
}

impl From<Cookie> for u64 {
    fn from(cookie: Cookie) -> Self {
        cookie.0
    }
}

impl std::fmt::Display for Cookie {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_lie_between_hand_set_limits_and_the_hard_limit() {
        for random in [0, 1, LOWEST, BEYOND, u64::MAX] {
            let free = Cookie::below(None, random).expect("cookie").get();
            assert!((LOWEST..BEYOND).contains(&free));
            let outer = 5_000_000_000_000;
            assert!(
                Cookie::below(Some(outer), random).expect("cookie").get() < outer,
                "a soft limit fits below the hard"
            );
        }
        for hard in [0, 1024, LOWEST, 2 * LOWEST - 1] {
            assert_eq!(Cookie::below(Some(hard), 7), Err(CookieError::HardLimit { hard }));
        }
    }

    #[test]
    fn a_number_outside_of_the_range_is_no_cookie() {
        for number in [0, 1024, LOWEST - 1, BEYOND, u64::MAX] {
            assert_eq!(Cookie::try_from(number), Err(CookieError::OutOfRange(number)));
            assert!(serde_json::from_str::<Cookie>(&number.to_string()).is_err());
        }
        let cookie: Cookie = serde_json::from_str("9223372036854775807").expect("largest");
        assert_eq!(serde_json::to_string(&cookie).expect("json"), "9223372036854775807");
    }
}

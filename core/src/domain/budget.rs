//! Money: what may be spent, what is, and what one more run may have of the rest.
//!
//! Pure. Amounts are millionths of a US dollar, by list price. A bound counts what was booked and what is reserved by
//! runs that have not ended, so that runs side by side cannot spend the same rest.

use serde::{Deserialize, Serialize};

/// Less than this (a cent) is not worth the start of an agent.
const LEAST_MICROUSD: i64 = 10_000;

/// How a cost is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostKind {
    /// The agent reported it.
    Reported,
    /// It could not say: the bound that was reserved for it.
    Estimated,
}

impl CostKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Reported, Self::Estimated];

    /// Its word in the store and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
        }
    }
}

/// What happens at a bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cap {
    /// A run is given no more than is left, and is stopped there.
    #[default]
    Hard,
    /// Runs go on; none is started any more.
    Soft,
}

/// The bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Of one task, in all.
    pub task_microusd: Option<i64>,
    /// Of all tasks, of one day from 00:00 UTC.
    pub day_microusd: Option<i64>,
    /// What happens there.
    pub cap: Cap,
}

/// What was spent, and what runs at work have reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spending {
    /// Booked.
    pub spent_microusd: i64,
    /// Reserved by runs that have not ended.
    pub reserved_microusd: i64,
}

impl Spending {
    /// Both.
    #[must_use]
    pub fn taken_microusd(self) -> i64 {
        self.spent_microusd.saturating_add(self.reserved_microusd)
    }
}

/// Which bound leaves no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoom {
    /// The task's.
    Task {
        /// Cause and way out.
        words: String,
    },
    /// The day's.
    Day {
        /// Cause and way out.
        words: String,
    },
}

impl Budgets {
    /// What a run may reserve whose own bound is `cap_microusd` (`None`: an agent that has none).
    ///
    /// # Errors
    /// [`NoRoom`]: no run is started.
    pub fn reserve(
        &self,
        cap_microusd: Option<i64>,
        task: Spending,
        day: Spending,
    ) -> Result<Option<i64>, NoRoom> {
        let mut reserved = cap_microusd;
        let bounds = [
            (self.task_microusd, task, "ORCH_TASK_BUDGET_USD", "the work item's budget"),
            (self.day_microusd, day, "ORCH_DAILY_BUDGET_USD", "the day's budget"),
        ];
        for (bound, spending, key, name) in bounds {
            let Some(bound) = bound else { continue };
            let left = bound.saturating_sub(spending.taken_microusd());
            let least = match self.cap {
                Cap::Hard => LEAST_MICROUSD.min(cap_microusd.unwrap_or(LEAST_MICROUSD)),
                Cap::Soft => 1,
            };
            if left < least {
                let words = format!(
                    "{name} is used up: {} $ spent and {} $ reserved of {key}={}",
                    usd(spending.spent_microusd),
                    usd(spending.reserved_microusd),
                    usd(bound)
                );
                return Err(match key {
                    "ORCH_TASK_BUDGET_USD" => NoRoom::Task {
                        words: format!("{words}; raise it and restart the core, then `orch-core task retry`"),
                    },
                    _ => NoRoom::Day { words: format!("{words}; it begins anew at 00:00 UTC, or raise it") },
                });
            }
            if self.cap == Cap::Hard {
                reserved = reserved.map(|cap| cap.min(left));
            }
        }
        Ok(reserved)
    }
}

/// Millionths of a US dollar as dollars, for people.
#[must_use]
pub fn usd(microusd: i64) -> String {
    let (whole, rest) = (microusd / 1_000_000, (microusd % 1_000_000).abs());
    let text = format!("{whole}.{rest:06}");
    let short = text.trim_end_matches('0');
    // two digits at least, as money is written
    match short.rsplit_once('.') {
        Some((_, digits)) if digits.len() < 2 => format!("{whole}.{:02}", rest / 10_000),
        Some(_) | None => short.to_owned(),
    }
}

/// Beginning of the day that a time belongs to, UTC.
#[must_use]
pub const fn day_start_ms(now_ms: i64) -> i64 {
    now_ms - now_ms.rem_euclid(86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOLLAR: i64 = 1_000_000;

    fn taken(spent: i64, reserved: i64) -> Spending {
        Spending { spent_microusd: spent, reserved_microusd: reserved }
    }

    #[test]
    fn a_run_is_given_the_least_of_its_own_bound_and_what_is_left() {
        let budgets =
            Budgets { task_microusd: Some(10 * DOLLAR), day_microusd: Some(20 * DOLLAR), cap: Cap::Hard };
        let of = |task, day| budgets.reserve(Some(5 * DOLLAR), task, day);
        assert_eq!(of(taken(0, 0), taken(0, 0)), Ok(Some(5 * DOLLAR)));
        assert_eq!(of(taken(7 * DOLLAR, 0), taken(0, 0)), Ok(Some(3 * DOLLAR)));
        // what others have reserved is not there twice
        assert_eq!(of(taken(0, 0), taken(10 * DOLLAR, 9 * DOLLAR)), Ok(Some(DOLLAR)));
        assert_eq!(Budgets::default().reserve(Some(7), taken(9, 9), taken(9, 9)), Ok(Some(7)));
        assert_eq!(Budgets::default().reserve(None, taken(9, 9), taken(9, 9)), Ok(None));
    }

    #[test]
    fn a_bound_without_room_names_itself_and_the_way_out() {
        let budgets =
            Budgets { task_microusd: Some(10 * DOLLAR), day_microusd: Some(20 * DOLLAR), cap: Cap::Hard };
        let full = budgets.reserve(Some(DOLLAR), taken(9_995_000, 0), taken(0, 0));
        let Err(NoRoom::Task { words }) = full else { panic!("{full:?}") };
        assert_eq!(
            words,
            "the work item's budget is used up: 9.995 $ spent and 0.00 $ reserved of ORCH_TASK_BUDGET_USD=10.00; \
             raise it and restart the core, then `orch-core task retry`"
        );
        let full = budgets.reserve(None, taken(0, 0), taken(15 * DOLLAR, 5 * DOLLAR));
        assert!(
            matches!(&full, Err(NoRoom::Day { words }) if words.contains("ORCH_DAILY_BUDGET_USD=20.00")),
            "{full:?}"
        );
    }

    #[test]
    fn a_soft_bound_cuts_no_run_and_starts_none_beyond_it() {
        let budgets = Budgets { task_microusd: Some(10 * DOLLAR), day_microusd: None, cap: Cap::Soft };
        assert_eq!(budgets.reserve(Some(5 * DOLLAR), taken(9_999_999, 0), taken(0, 0)), Ok(Some(5 * DOLLAR)));
        assert!(budgets.reserve(Some(5 * DOLLAR), taken(10 * DOLLAR, 0), taken(0, 0)).is_err());
    }

    #[test]
    fn money_is_written_as_money() {
        for (microusd, text) in
            [(0, "0.00"), (1, "0.000001"), (19_950, "0.01995"), (1_500_000, "1.50"), (10 * DOLLAR, "10.00")]
        {
            assert_eq!(usd(microusd), text);
        }
        assert_eq!(day_start_ms(86_400_000 * 3 + 5), 86_400_000 * 3);
    }
}

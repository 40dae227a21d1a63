//! Four hours of ticks by an accelerated clock, with churn: what the watchdog keeps does not grow.

#![expect(clippy::expect_used, reason = "the helpers of a test fail it")]

mod defaults;
#[expect(dead_code, reason = "its processes change in one way only")]
mod proc_support;
#[expect(dead_code, reason = "the bench trusts inodes")]
mod soaked;

use orch_tests::memory::Memory;
use orch_watchdog::signals::Thresholds;
use soaked::Soak;

/// Four hours of ticks as they are by default.
const TICKS: u64 = 4 * 3_600 / 15;
const TICK_MS: i64 = 15_000;
/// Growth of anonymous memory over the last two hours that is the allocator's and not ours, KiB.
const SLACK_KIB: u64 = 1_024;

#[test]
fn four_hours_of_churn_leave_memory_and_state_flat() {
    let thresholds =
        Thresholds { orphan_grace_ms: 10_000, foreign_grace_ms: 10_000, ..defaults::thresholds() };
    let mut soak = Soak::new(200, 3, TICK_MS, thresholds);
    let (mut early_kib, mut early_bytes) = (0, 0);
    for tick in 1..=TICKS {
        soak.tick();
        // what is remembered for a while (history, cases that are over) is full by then
        if tick == TICKS / 2 {
            (early_kib, early_bytes) = (anonymous_kib(), soak.state_bytes());
        }
    }
    let (alerts, recoveries) = soak.told;
    assert!(alerts > 800 && recoveries > 800, "much was told: {alerts} alerts, {recoveries} recoveries");
    let late_kib = anonymous_kib();
    assert!(late_kib <= early_kib + SLACK_KIB, "{early_kib} KiB after two hours, {late_kib} KiB after four");
    let late_bytes = soak.state_bytes();
    assert!(
        late_bytes <= early_bytes * 5 / 4,
        "{early_bytes} bytes of state after two hours, {late_bytes} after four"
    );
}

fn anonymous_kib() -> u64 {
    Memory::own().expect("own status").anonymous_kib
}

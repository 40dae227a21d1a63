//! What the mechanism of ownership costs: a lease, an intent, its *done* and a compared commit, each durable,
//! beside bare rusqlite that writes the same rows in as many transactions, and beside bare `fdatasync`. Alone, with
//! 64 actors on a task each, and with 64 at one door, of whom one must win. Prints numbers; asserts the winner.
//!
//! `cargo bench -p orch-tests --bench ownership [-- ROUNDS]`

#![expect(clippy::expect_used, reason = "a bench that cannot start has nothing to say")]

#[path = "ownership/bare.rs"]
mod bare;
#[path = "ownership/ours.rs"]
mod ours;

use std::io::{Write as _, stdout};
use std::sync::Arc;
use std::time::Duration;

use bare::Bare;
use orch_tests::clock;
use ours::Ours;

/// Rounds of one segment, unless the command line says otherwise.
const ROUNDS: u32 = 400;
/// Segments of each kind, one after the other; the middle one is told.
const SEGMENTS: usize = 9;
/// Actors at once.
const ACTORS: u32 = 64;
/// Transactions of one round.
const TRANSACTIONS: u32 = 4;

fn main() {
    let rounds = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    // beside the build: a temporary directory may be memory, where nothing is durable
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let ours = Arc::new(runtime.block_on(Ours::open(&folder.path().join("ours.db"), ACTORS)));
    let mut bare = Bare::open(&folder.path().join("bare.db"), ACTORS);
    let (mut alone, mut alone_bare, mut many, mut many_bare, mut synced) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SEGMENTS {
        synced.push(bare::fdatasync(&folder.path().join("synced"), rounds));
        alone.push(per_round(rounds, || runtime.block_on(ours.rounds(0, rounds))));
        alone_bare.push(per_round(rounds, || bare.rounds(&[0], rounds)));
        many.push(per_round(rounds, || runtime.block_on(ours.all(ACTORS, rounds / ACTORS + 1))));
        let everyone: Vec<u32> = (0..ACTORS).collect();
        many_bare.push(per_round(rounds, || bare.rounds(&everyone, rounds)));
    }
    let many: Vec<Duration> = many
        .into_iter()
        .map(|span| span.mul_f64(f64::from(rounds) / f64::from((rounds / ACTORS + 1) * ACTORS)))
        .collect();
    let (winners, deferred) = runtime.block_on(ours.one_door(ACTORS, 100));
    let mut out = stdout();
    let sync = middle(synced);
    let mut row = |name: &str, span: Duration, of: Duration| {
        let micros = span.as_secs_f64() * 1e6;
        writeln!(out, "{name:<44} {micros:>10.1} us {:>6.2} x", of.as_secs_f64() / span.as_secs_f64())
            .expect("told");
    };
    let (bare_alone, bare_many) = (middle(alone_bare), middle(many_bare));
    row("fdatasync of 4 KiB, one", sync, sync);
    row("bare rusqlite, a round of 4 transactions", bare_alone, bare_alone);
    row("ours, alone: a round (speed against bare)", middle(alone), bare_alone);
    row("bare, 64 tasks in turn", bare_many, bare_many);
    row("ours, 64 actors on 64 tasks: a round", middle(many), bare_many);
    writeln!(out, "{TRANSACTIONS} transactions a round, {rounds} rounds a segment, {SEGMENTS} segments")
        .expect("told");
    writeln!(out, "64 at one door, 100 times: winners each time {winners:?}, deferred {deferred}")
        .expect("told");
    assert_eq!(winners, [1], "exactly one wins, each time");
}

fn per_round(rounds: u32, work: impl FnOnce()) -> Duration {
    let begun = clock::now();
    work();
    begun.elapsed() / rounds
}

fn middle(mut spans: Vec<Duration>) -> Duration {
    spans.sort();
    spans[spans.len() / 2]
}

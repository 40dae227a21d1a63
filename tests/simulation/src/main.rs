//! `orch-simulate`: many seeds, or one seed told step by step.
//!
//! `orch-simulate seeds N [FIRST]` runs seeds FIRST to N on every core; `orch-simulate seed N` tells one. Exit 0:
//! nothing found; 1: a violation, told; 64: wrong use.

use std::{
    io::Write,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use orch_simulation::{choices::Choices, explain, history, history::Ground};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    let done = match words.as_slice() {
        ["seeds", count] => number(count).map(|count| seeds(0, count)),
        ["seeds", count, first] => number(count).zip(number(first)).map(|(count, first)| seeds(first, count)),
        ["seed", seed] => number(seed).map(one),
        _ => None,
    };
    match done {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(error)) => {
            say(&format!("orch-simulate: {error:#}"));
            ExitCode::FAILURE
        }
        None => {
            say("usage: orch-simulate seeds N [FIRST] | orch-simulate seed N");
            ExitCode::from(64)
        }
    }
}

fn say(text: &str) {
    writeln!(std::io::stdout(), "{text}").ok();
}

fn one(seed: u64) -> anyhow::Result<bool> {
    let report = history::run(&Ground::new()?, Choices::seeded(seed), true)?;
    say(&report.steps.join("\n"));
    say(&format!("seed {seed}: {} steps, {} lives; {}", report.count, report.lives, report.end));
    Ok(report.violation.is_none())
}

fn seeds(first: u64, count: u64) -> anyhow::Result<bool> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let found = AtomicBool::new(false);
    let result: anyhow::Result<()> = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let found = &found;
            move || -> anyhow::Result<()> {
                let ground = Ground::new()?;
                let mut seed = first + thread;
                while seed < count && !found.load(Ordering::Relaxed) {
                    let report = history::run(&ground, Choices::seeded(seed), false)?;
                    if report.violation.is_some() && !found.swap(true, Ordering::Relaxed) {
                        say(&explain(&ground, seed, report)?);
                    }
                    if seed.is_multiple_of(100_000) && seed > first {
                        say(&format!("{seed} seeds"));
                    }
                    seed += threads;
                }
                Ok(())
            }
        };
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(())
    });
    result?;
    let found = found.load(Ordering::Relaxed);
    if !found {
        say(&format!("{} seeds, no violation", count.saturating_sub(first)));
    }
    Ok(!found)
}

//! A red test told from a sick machine: what a test runner's end means.
//!
//! Pure. Only the runner's own "tests failed" is red; what is not known to be red is `other`, and
//! never a pass.

use super::junit::Tests;
use crate::domain::verdict::InfraClass;

/// A known test runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// Exit codes of pytest: 0 passed, 1 failed, 2 interrupted or collection error, 3 internal, 4
    /// usage, 5 nothing collected.
    Pytest,
    /// `cargo test` exits 101 when tests fail (and when compiling them fails).
    Cargo,
    /// `cargo nextest run` exits 100 when tests fail, 101 when they cannot be compiled, 4 when there are none.
    Nextest,
    /// Anything else: no exit code is known to mean "tests failed".
    Generic,
}

/// How a run ended, without the process layer's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestEnd {
    /// Exit code.
    Exit(i32),
    /// Signal.
    Signal(i32),
    /// Its time was up.
    TimedOut,
    /// Not started, stopped, or lost.
    Lost,
}

/// What that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    Passed,
    Red(String),
    Infra(InfraClass, String),
}

/// The runner behind a command line, by its words.
pub(crate) fn runner_of(argv: &[String]) -> Runner {
    let name = |word: &String| word.rsplit('/').next().unwrap_or("").to_owned();
    let words: Vec<String> = argv.iter().map(name).collect();
    let follows =
        |first: &str, second: &str| words.windows(2).any(|pair| pair[0] == first && pair[1] == second);
    if words.iter().take(4).any(|word| word == "pytest" || word == "py.test") || follows("-m", "pytest") {
        Runner::Pytest
    } else if follows("cargo", "nextest") {
        Runner::Nextest
    } else if follows("cargo", "test") {
        Runner::Cargo
    } else {
        Runner::Generic
    }
}

/// Words by which git and SQLite say that a lock is held.
const LOCK_WORDS: [&str; 3] = ["index.lock': File exists", "database is locked", "Unable to create '"];

/// By which pytest says that test modules could not be imported.
const COLLECTION_WORDS: [&str; 2] = ["error during collection", "errors during collection"];

/// Judges an end with the last of what the run wrote, and with the report of its tests where there is one. A
/// report makes nothing red that was killed or ran out of time, and where it and the exit code contradict each other
/// neither is believed.
pub(crate) fn classify(runner: Runner, end: TestEnd, said: &str, tests: Option<&Tests>) -> Meaning {
    let other = |what: String| Meaning::Infra(InfraClass::Other, what);
    let red = tests.map(Tests::red);
    match (by_exit(runner, end, said), end) {
        (Meaning::Passed, _) if red.is_some_and(|red| red > 0) => {
            other("exit 0, though the report of its tests names failures".to_owned())
        }
        (Meaning::Red(what), _) if red == Some(0) => {
            other(format!("{what}, though the report of its tests names none"))
        }
        (Meaning::Infra(InfraClass::Other, _), TestEnd::Exit(1..=128)) if red.is_some_and(|red| red > 0) => {
            let (red, ran) = (red.unwrap_or_default(), tests.map_or(0, |tests| tests.ran));
            Meaning::Red(format!("{red} of {ran} tests failed"))
        }
        (meaning, _) => meaning,
    }
}

fn by_exit(runner: Runner, end: TestEnd, said: &str) -> Meaning {
    let other = |what: String| Meaning::Infra(InfraClass::Other, what);
    match (runner, end) {
        (_, TestEnd::Exit(0)) => Meaning::Passed,
        (_, TestEnd::TimedOut) => Meaning::Infra(InfraClass::Timeout, "its time was up".to_owned()),
        (_, TestEnd::Lost) => other("it was not run to its end".to_owned()),
        (_, TestEnd::Signal(signal)) => other(format!("killed by signal {signal}")),
        // a shell reports a signal of its child so
        (_, TestEnd::Exit(code)) if code > 128 && code < 128 + 65 => {
            other(format!("killed by signal {}", code - 128))
        }
        (Runner::Pytest, TestEnd::Exit(1)) => Meaning::Red("pytest: tests failed".to_owned()),
        (Runner::Cargo, TestEnd::Exit(101)) => Meaning::Red("cargo test: tests failed".to_owned()),
        (Runner::Nextest, TestEnd::Exit(100)) => Meaning::Red("cargo nextest: tests failed".to_owned()),
        (Runner::Nextest, TestEnd::Exit(101)) => {
            Meaning::Red("cargo nextest: tests could not be compiled".to_owned())
        }
        (_, TestEnd::Exit(_)) if LOCK_WORDS.iter().any(|word| said.contains(word)) => {
            Meaning::Infra(InfraClass::LockBusy, "a lock was held".to_owned())
        }
        // code that cannot be imported is the code's fault; an interrupt with the same exit is not
        (Runner::Pytest, TestEnd::Exit(2)) if COLLECTION_WORDS.iter().any(|word| said.contains(word)) => {
            Meaning::Red("pytest: tests could not be collected".to_owned())
        }
        (Runner::Pytest, TestEnd::Exit(2)) => {
            other("pytest: interrupted, or tests could not be collected (exit 2)".to_owned())
        }
        (Runner::Pytest, TestEnd::Exit(3)) => other("pytest: internal error (exit 3)".to_owned()),
        (Runner::Pytest, TestEnd::Exit(4)) => other("pytest: wrong use (exit 4)".to_owned()),
        (Runner::Pytest, TestEnd::Exit(5)) => other("pytest: no tests were collected (exit 5)".to_owned()),
        (Runner::Pytest | Runner::Cargo | Runner::Nextest | Runner::Generic, TestEnd::Exit(code)) => {
            other(format!("exit {code}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(runner: Runner, end: TestEnd, said: &str) -> Meaning {
        super::classify(runner, end, said, None)
    }

    #[test]
    fn a_report_of_the_tests_decides_where_the_exit_code_cannot_and_is_not_believed_against_it() {
        let tests = |failures| Tests { ran: 9, failures, ..Tests::default() };
        let judged = |runner, end, failures| super::classify(runner, end, "", Some(&tests(failures)));
        let red = |meaning| matches!(meaning, Meaning::Red(_));
        let other = |meaning| matches!(meaning, Meaning::Infra(InfraClass::Other, _));
        assert!(red(judged(Runner::Generic, TestEnd::Exit(1), 2)), "a runner that nobody knows");
        assert!(red(judged(Runner::Pytest, TestEnd::Exit(1), 1)));
        assert!(
            red(judged(Runner::Pytest, TestEnd::Exit(2), 1)),
            "a module that cannot be imported is an error there"
        );
        assert_eq!(judged(Runner::Generic, TestEnd::Exit(0), 0), Meaning::Passed);
        assert!(other(judged(Runner::Generic, TestEnd::Exit(1), 0)));
        assert!(other(judged(Runner::Pytest, TestEnd::Exit(1), 0)), "red by its word alone");
        assert!(other(judged(Runner::Pytest, TestEnd::Exit(0), 1)), "passed by its word alone");
        for end in [TestEnd::Signal(9), TestEnd::Exit(137), TestEnd::Lost] {
            assert!(
                other(judged(Runner::Pytest, end, 3)),
                "{end:?}: a machine that is sick leaves red tests"
            );
        }
        assert!(matches!(
            judged(Runner::Pytest, TestEnd::TimedOut, 3),
            Meaning::Infra(InfraClass::Timeout, _)
        ));
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn runners_are_told_by_their_words() {
        for (line, runner) in [
            ("pytest -q", Runner::Pytest),
            ("/v/bin/pytest -q", Runner::Pytest),
            ("/v/bin/python -m pytest -q", Runner::Pytest),
            ("python -m coverage run -m pytest", Runner::Pytest),
            ("cargo test", Runner::Cargo),
            ("cargo nextest run", Runner::Nextest),
            ("make test", Runner::Generic),
            ("echo a b c d pytest", Runner::Generic),
        ] {
            assert_eq!(runner_of(&words(line)), runner, "{line}");
        }
    }

    #[test]
    fn only_the_runners_own_word_is_red() {
        assert!(matches!(classify(Runner::Pytest, TestEnd::Exit(1), ""), Meaning::Red(_)));
        assert!(matches!(classify(Runner::Cargo, TestEnd::Exit(101), ""), Meaning::Red(_)));
        assert!(matches!(classify(Runner::Nextest, TestEnd::Exit(100), ""), Meaning::Red(_)));
        assert!(matches!(classify(Runner::Nextest, TestEnd::Exit(4), ""), Meaning::Infra(..)), "no tests");
        assert_eq!(classify(Runner::Generic, TestEnd::Exit(0), ""), Meaning::Passed);
        for (runner, end) in [
            (Runner::Generic, TestEnd::Exit(1)),
            (Runner::Pytest, TestEnd::Exit(2)),
            (Runner::Pytest, TestEnd::Exit(5)),
            (Runner::Pytest, TestEnd::Exit(137)),
            (Runner::Pytest, TestEnd::Signal(9)),
            (Runner::Cargo, TestEnd::Exit(1)),
            (Runner::Pytest, TestEnd::Lost),
        ] {
            assert!(
                matches!(classify(runner, end, ""), Meaning::Infra(InfraClass::Other, _)),
                "{runner:?} {end:?}"
            );
        }
    }

    #[test]
    fn a_module_that_cannot_be_imported_is_the_codes_fault_and_an_interrupt_is_not() {
        let collection = "!!!!! Interrupted: 1 error during collection !!!!!";
        assert!(matches!(classify(Runner::Pytest, TestEnd::Exit(2), collection), Meaning::Red(_)));
        let interrupt = "!!!!! KeyboardInterrupt !!!!!";
        assert!(matches!(
            classify(Runner::Pytest, TestEnd::Exit(2), interrupt),
            Meaning::Infra(InfraClass::Other, _)
        ));
    }

    #[test]
    fn the_incident_a_starved_retest_is_a_timeout_and_not_red() {
        assert!(matches!(
            classify(Runner::Pytest, TestEnd::TimedOut, "FAILED"),
            Meaning::Infra(InfraClass::Timeout, _)
        ));
    }
}

//! What a test runner wrote of its tests, in JUnit's XML: the evidence beside an exit code.
//!
//! Pure. Tests are counted one by one; the sums that suites carry differ between runners and are not asked.

use std::fmt;

use super::xml::{Step, walk};

/// Names of failed tests that are kept.
const NAMES_MAX: usize = 40;
/// Characters kept of a name.
const NAME_CHARS: usize = 200;

/// The tests of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tests {
    pub(crate) ran: u64,
    pub(crate) failures: u64,
    pub(crate) errors: u64,
    pub(crate) skipped: u64,
    /// Those that failed or could not be run, the first of them.
    pub(crate) failed: Vec<String>,
}

impl Tests {
    /// Tests that did not pass.
    pub(crate) fn red(&self) -> u64 {
        self.failures + self.errors
    }
}

impl fmt::Display for Tests {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ran, failures, errors, skipped, failed: _ } = self;
        write!(out, "{ran} tests: {failures} failed, {errors} with errors, {skipped} skipped")
    }
}

/// Reads a report; in words why it is none.
pub(crate) fn parse(text: &[u8]) -> Result<Tests, String> {
    let mut tests = Tests::default();
    let mut case: Option<String> = None;
    walk(text, |step| {
        match step {
            Step::Opens(element) => match (element.above, element.name()) {
                (None, "testsuites" | "testsuite") => {}
                (None, root) => return Err(format!("its root is <{root}>, not <testsuites>")),
                (Some(_), "testcase") => {
                    tests.ran += 1;
                    let part = |key| Ok::<_, String>(element.attribute(key)?.unwrap_or_default());
                    let parts = [part("classname")?, part("name")?];
                    let shown: Vec<&str> =
                        parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
                    case = Some(shown.join("::").chars().take(NAME_CHARS).collect());
                }
                (Some("testcase"), word @ ("failure" | "error" | "skipped")) => {
                    match word {
                        "failure" => tests.failures += 1,
                        "error" => tests.errors += 1,
                        _ => tests.skipped += 1,
                    }
                    // a test that failed in itself and in its end is one name
                    if let Some(name) = case.take_if(|_| word != "skipped" && tests.failed.len() < NAMES_MAX)
                    {
                        tests.failed.push(name);
                    }
                }
                (Some(_), _) => {}
            },
            Step::Closes("testcase") => case = None,
            Step::Closes(_) => {}
        }
        Ok(())
    })?;
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/fixtures/junit/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn recorded_reports_give_their_tests() {
        for (name, expected) in [
            ("enricomi_junit.fail.xml", (5, 1, 0, 1)),
            ("enricomi_junit.gloo.standalone.xml", (97, 0, 0, 17)),
            ("enricomi_no-attributes.xml", (4, 1, 1, 1)),
            ("enricomi_empty-system-out-err.xml", (1, 0, 0, 0)),
            ("pytest_9.2.0_collection_error_rc2.xml", (1, 0, 1, 0)),
        ] {
            let tests = parse(&recorded(name)).unwrap();
            assert_eq!((tests.ran, tests.failures, tests.errors, tests.skipped), expected, "{name}");
        }
        let failed = parse(&recorded("enricomi_junit.fail.xml")).unwrap().failed;
        assert_eq!(failed, ["test.test_spark.SparkTests::test_rsh_events"]);
    }

    #[test]
    fn half_a_report_and_another_tools_are_refused() {
        let whole = recorded("enricomi_junit.fail.xml");
        assert!(parse(&whole[..whole.len() / 2]).is_err());
        assert!(parse(b"<coverage/>").is_err());
        assert!(parse(b"").is_err());
    }
}

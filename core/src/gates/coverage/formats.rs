//! Reports of line coverage: coverage.py's JSON, Cobertura's XML, lcov.
//!
//! Pure. Lines are counted, and never believed from a summary that stands beside them; a line that is listed twice counts
//! once, and as run if it ran in either place. A report that stops in its middle is none.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::xml::{Step, walk};
use crate::{chain::chain, domain::coverage::LineCounts, projects::CoverageFormat};

/// The fields of coverage.py's `coverage json` that are used (format 2 and 3).
#[derive(Debug, Deserialize)]
struct CoveragePyReport {
    totals: CoveragePyTotals,
}

#[derive(Debug, Deserialize)]
struct CoveragePyTotals {
    covered_lines: u64,
    num_statements: u64,
}

/// Counts of a report; in words why there are none.
pub(super) fn parse(format: CoverageFormat, text: &[u8]) -> Result<LineCounts, String> {
    let counts = match format {
        CoverageFormat::CoveragePyJson => coverage_py(text)?,
        CoverageFormat::CoberturaXml => cobertura(text)?,
        CoverageFormat::Lcov => lcov(text)?,
    };
    if counts.measured == 0 {
        return Err("no line was measured".to_owned());
    }
    if counts.covered > counts.measured {
        return Err(format!("{} covered of {} measured lines", counts.covered, counts.measured));
    }
    if counts.measured > u64::from(u32::MAX) {
        return Err(format!("{} measured lines are not believed", counts.measured));
    }
    Ok(counts)
}

fn coverage_py(text: &[u8]) -> Result<LineCounts, String> {
    let report: CoveragePyReport = serde_json::from_slice(text).map_err(|error| chain(&error))?;
    Ok(LineCounts { covered: report.totals.covered_lines, measured: report.totals.num_statements })
}

/// Lines by file.
#[derive(Default)]
struct Lines {
    files: BTreeMap<String, BTreeMap<u64, bool>>,
}

impl Lines {
    fn add(&mut self, file: &str, number: u64, ran: bool) {
        let lines = match self.files.get_mut(file) {
            Some(lines) => lines,
            None => self.files.entry(file.to_owned()).or_default(),
        };
        *lines.entry(number).or_default() |= ran;
    }

    fn counts(&self) -> LineCounts {
        let lines = || self.files.values().flat_map(BTreeMap::values);
        LineCounts { covered: lines().filter(|ran| **ran).count() as u64, measured: lines().count() as u64 }
    }
}

/// `<class filename>` with `<line number hits>` below, in its own list and in those of its methods.
fn cobertura(text: &[u8]) -> Result<LineCounts, String> {
    let mut lines = Lines::default();
    let mut file: Option<String> = None;
    walk(text, |step| {
        match step {
            Step::Opens(element) => match (element.above, element.name(), &file) {
                (None, "coverage", _) => {}
                (None, root, _) => return Err(format!("its root is <{root}>, not <coverage>")),
                (Some(_), "class", _) => {
                    let name = element.attribute("filename")?;
                    file = Some(name.ok_or("a <class> has no filename")?);
                }
                (Some(_), "line", Some(file)) => {
                    lines.add(file, element.number("number")?, element.number("hits")? > 0);
                }
                (Some(_), _, _) => {}
            },
            Step::Closes("class") => file = None,
            Step::Closes(_) => {}
        }
        Ok(())
    })?;
    Ok(lines.counts())
}

/// `SF:` file, `DA:` line and how often it ran, `end_of_record`.
fn lcov(text: &[u8]) -> Result<LineCounts, String> {
    let mut lines = Lines::default();
    let mut file: Option<&str> = None;
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let refused = |why: &str| format!("line {}: {why}", at + 1);
        let line = std::str::from_utf8(line).map_err(|_| refused("it is not written in UTF-8"))?.trim_end();
        match (line.split_once(':'), file) {
            (None, Some(_)) if line == "end_of_record" => file = None,
            (Some(("SF", _)), Some(_)) => return Err(refused("a file begins within another's record")),
            (Some(("SF", name)), None) => file = Some(name),
            (Some(("DA", values)), Some(file)) => {
                let mut values = values.split(',');
                let number = values.next().and_then(|number| number.parse().ok());
                // some writers count into the negative, or into what that is without a sign: neither says that it ran
                let ran = values.next().and_then(|ran| ran.parse::<i128>().ok());
                let (Some(number), Some(ran)) = (number, ran) else {
                    return Err(refused("no line number and count behind DA:"));
                };
                lines.add(file, number, (1..=i128::from(i64::MAX)).contains(&ran));
            }
            (Some(("DA", _)), None) => return Err(refused("DA: belongs to no file")),
            (Some(_), _) => {}
            (None, _) if line.is_empty() || line.starts_with('#') => {}
            (None, _) => return Err(refused("no record of lcov")),
        }
    }
    match file {
        None => Ok(lines.counts()),
        Some(file) => Err(format!("it ends within the record of {file}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMATS: [CoverageFormat; 3] =
        [CoverageFormat::CoveragePyJson, CoverageFormat::CoberturaXml, CoverageFormat::Lcov];

    fn recorded(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/fixtures/coverage/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn counts(covered: u64, measured: u64) -> LineCounts {
        LineCounts { covered, measured }
    }

    #[test]
    fn recorded_reports_give_their_lines() {
        for (name, format, expected) in [
            ("coverage_7.17.3_branch.json", CoverageFormat::CoveragePyJson, Ok(counts(5, 6))),
            ("coveragepy_x_coverage.xml", CoverageFormat::CoberturaXml, Ok(counts(2, 3))),
            ("coveralls_cobertura-conditions.xml", CoverageFormat::CoberturaXml, Ok(counts(5, 6))),
            ("coveralls_test.lcov", CoverageFormat::Lcov, Ok(counts(15, 17))),
            ("coveralls_for-base-path.lcov", CoverageFormat::Lcov, Ok(counts(15, 17))),
            (
                "coveralls_cobertura-empty-lines.xml",
                CoverageFormat::CoberturaXml,
                Err("no line was measured".to_owned()),
            ),
        ] {
            assert_eq!(parse(format, &recorded(name)), expected, "{name}");
        }
        // as it was recorded: one of its elements is closed by another's name
        let broken = parse(CoverageFormat::CoberturaXml, &recorded("coveralls_cobertura.xml"));
        assert!(broken.unwrap_err().contains("at byte"));
    }

    #[test]
    fn a_report_without_measured_lines_is_no_report() {
        let report = |covered: u64, measured: u64| {
            format!(
                r#"{{"meta":{{"format":3}},"totals":{{"covered_lines":{covered},"num_statements":{measured}}}}}"#
            )
        };
        let parse = |text: &[u8]| parse(CoverageFormat::CoveragePyJson, text);
        assert_eq!(parse(report(8, 10).as_bytes()), Ok(counts(8, 10)));
        assert!(parse(report(0, 0).as_bytes()).is_err());
        assert!(parse(report(11, 10).as_bytes()).is_err());
        assert!(parse(b"{").is_err());
        assert!(parse(b"{\"totals\":{}}").is_err());
    }

    #[test]
    fn half_a_report_and_another_tools_are_refused() {
        for (name, format) in [
            ("coverage_7.17.3_branch.json", CoverageFormat::CoveragePyJson),
            ("coveralls_cobertura-conditions.xml", CoverageFormat::CoberturaXml),
            ("coveralls_test.lcov", CoverageFormat::Lcov),
        ] {
            let whole = recorded(name);
            assert!(parse(format, &whole[..whole.len() / 2]).is_err(), "half of {name}");
            for other in FORMATS.into_iter().filter(|other| *other != format) {
                assert!(parse(other, &whole).is_err(), "{name} as {other:?}");
            }
        }
        let jacoco = br#"<report name="x"><package><class name="A"/></package></report>"#;
        assert!(parse(CoverageFormat::CoberturaXml, jacoco).unwrap_err().contains("<report>"));
    }

    #[test]
    fn a_line_that_is_listed_twice_counts_once() {
        let text = "TN:\nSF:a.c\nDA:1,0\nDA:2,3,abc\nend_of_record\nSF:a.c\nDA:1,1\nDA:3,-1\nend_of_record\n";
        assert_eq!(parse(CoverageFormat::Lcov, text.as_bytes()), Ok(counts(2, 3)));
        for (text, why) in [
            ("SF:a\nDA:x,1\nend_of_record\n", "line 2"),
            ("DA:1,1\n", "belongs to no file"),
            ("SF:a\nSF:b\n", "within another"),
            ("SF:a\nDA:1,1\n", "ends within the record of a"),
            ("hello\n", "no record"),
        ] {
            assert!(parse(CoverageFormat::Lcov, text.as_bytes()).unwrap_err().contains(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            for format in FORMATS {
                drop(parse(format, &text));
            }
        }

        #[test]
        fn a_report_with_bytes_changed_is_read_or_refused(at in 0_usize..3000, byte in any::<u8>()) {
            for (name, format) in [
                ("coveralls_cobertura-conditions.xml", CoverageFormat::CoberturaXml),
                ("coveralls_test.lcov", CoverageFormat::Lcov),
            ] {
                let mut text = recorded(name);
                let at = at % text.len();
                text[at] = byte;
                if let Ok(counts) = parse(format, &text) {
                    prop_assert!(counts.covered <= counts.measured && counts.measured > 0);
                }
            }
        }
    }
}

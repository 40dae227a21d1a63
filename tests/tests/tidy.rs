//! Habits of the house that no compiler checks: sizes, module docs, links, origins, one place for
//! versions. A rule that makes one file worse is lifted here for that file, with the reason.

use orch_tests::sample::{self, git};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file without its tests, in lines.
const LINES_WITHOUT_TESTS: usize = 600;
/// Longest file with its tests, in lines.
const LINES: usize = 1_000;
/// The median file is not longer than this, in lines.
const MEDIAN_LINES: usize = 200;

/// Cargo projects outside of the workspace, whose crates cannot be linked with its own: they name versions themselves.
const OUTSIDE: &str = "tests/benches/rivals-queue";

/// Every file of the source tree that git keeps or would keep, relative to its root.
fn files() -> Vec<PathBuf> {
    let listed =
        git(&sample::source_tree(), &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .unwrap_or_else(|error| panic!("git ls-files: {error:#}"));
    let root = sample::source_tree();
    // a file that was removed and not committed yet is still listed
    listed
        .split('\0')
        .filter(|name| !name.is_empty() && root.join(name).is_file())
        .map(PathBuf::from)
        .collect()
}

fn with_ending(ending: &str) -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

fn text(path: &Path) -> String {
    let bytes = fs::read(sample::source_tree().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All complaints at once, each on a line of its own.
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn each_module_says_what_it_is_for() {
    let mut complaints = Vec::new();
    for path in with_ending("rs") {
        if !text(&path).starts_with("//! ") {
            complaints.push(format!("{}: does not open with a //! doc", path.display()));
        }
    }
    for path in with_ending("py") {
        let in_tests = path.components().any(|part| part.as_os_str() == "tests");
        if !in_tests && !text(&path).starts_with("\"\"\"") {
            complaints.push(format!("{}: does not open with a docstring", path.display()));
        }
    }
    assert_none(&complaints);
}

#[test]
fn files_fit_a_readers_head() {
    let mut lengths = Vec::new();
    let mut complaints = Vec::new();
    for path in with_ending("rs") {
        let whole = text(&path);
        let lines = whole.lines().count();
        let before_tests = whole.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        lengths.push(lines);
        let of_tests =
            path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        if lines > LINES || (before_tests > LINES_WITHOUT_TESTS && !of_tests) {
            complaints
                .push(format!("{}: {before_tests} lines before its tests, {lines} in all", path.display()));
        }
    }
    assert_none(&complaints);
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MEDIAN_LINES, "the median file has {median} lines, more than {MEDIAN_LINES}");
}

#[test]
fn lints_are_lifted_by_expect_with_a_reason_only() {
    let mut complaints = Vec::new();
    let allow = ["#[allow", "("].concat();
    for path in with_ending("rs") {
        for (number, line) in text(&path).lines().enumerate() {
            let lifts = line.trim_start();
            if lifts.starts_with(&allow) || lifts.starts_with(&allow.replace('#', "#!")) {
                complaints.push(format!("{}:{}: {lifts}", path.display(), number + 1));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn versions_stand_in_the_workspace_table_only() {
    let mut complaints = Vec::new();
    let nested = |path: &PathBuf| path.ends_with("Cargo.toml") && path.components().count() > 1;
    for path in files().into_iter().filter(|path| nested(path) && !path.starts_with(OUTSIDE)) {
        let whole = text(&path);
        let mut in_dependencies = false;
        for line in whole.lines() {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies
                && line.contains('=')
                && !line.starts_with('#')
                && !line.contains("workspace")
            {
                complaints.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn each_folder_of_fixtures_tells_its_origin() {
    let mut folders = BTreeSet::new();
    for path in files() {
        let parts: Vec<_> = path.components().collect();
        if let Some(at) = parts.iter().position(|part| part.as_os_str() == "fixtures") {
            folders.insert(parts[..=at].iter().collect::<PathBuf>());
        }
    }
    let missing: Vec<String> = folders
        .iter()
        .filter(|folder| !sample::source_tree().join(folder).join("README.md").is_file())
        .map(|folder| format!("{}: no README.md that tells where its files come from", folder.display()))
        .collect();
    assert_none(&missing);
}

/// The anchor that a heading gets: lower case, blanks to dashes, other signs dropped.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|sign| sign.is_alphanumeric() || "-_ ".contains(*sign));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(markdown: &str) -> BTreeSet<String> {
    markdown
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .chain(markdown.split("<a id=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())))
        .collect()
}

/// Targets of `](target)` in a text.
fn links(markdown: &str) -> Vec<String> {
    markdown.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut complaints = Vec::new();
    for path in with_ending("md") {
        for link in links(&text(&path)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, section) = link.split_once('#').unwrap_or((&link, ""));
            let base = path.parent().unwrap_or(Path::new(""));
            let target = if file.is_empty() { path.clone() } else { base.join(file) };
            if !sample::source_tree().join(&target).exists() {
                complaints.push(format!("{}: {link}: no such file", path.display()));
            } else if !section.is_empty() && !anchors(&text(&target)).contains(section) {
                complaints.push(format!("{}: {link}: no such section", path.display()));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn runbook_sections_that_are_named_exist() {
    let runbook = Path::new("docs/runbook.md");
    let mut named: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in files().into_iter().filter(|path| !path.starts_with("tests")) {
        for rest in text(&path).split("runbook.md#").skip(1) {
            let section: String =
                rest.chars().take_while(|sign| sign.is_alphanumeric() || "-_".contains(*sign)).collect();
            if !section.is_empty() {
                named.insert(section, path.clone());
            }
        }
    }
    let known = if named.is_empty() { BTreeSet::new() } else { anchors(&text(runbook)) };
    let missing: Vec<String> = named
        .iter()
        .filter(|(section, _)| !known.contains(*section))
        .map(|(section, path)| format!("{}: runbook.md#{section} is no section", path.display()))
        .collect();
    assert_none(&missing);
}

#[test]
fn decisions_are_numbered_without_gap_or_double() {
    let mut numbers: Vec<String> = files()
        .iter()
        .filter(|path| path.starts_with("docs/adr"))
        .filter_map(|path| Some(path.file_name()?.to_str()?.get(..4)?.to_owned()))
        .filter(|number| number.bytes().all(|sign| sign.is_ascii_digit()) && number != "0000")
        .collect();
    numbers.sort();
    let wanted: Vec<String> = (1..=numbers.len()).map(|number| format!("{number:04}")).collect();
    assert_eq!(numbers, wanted);
}

#[test]
fn nothing_names_the_machine_that_it_was_written_on() {
    let places = [["/wo", "rk/"].concat(), ["../sha", "red"].concat(), ["/home", "/runner"].concat()];
    let mut complaints = Vec::new();
    for path in files() {
        let whole = text(&path);
        for (number, line) in whole.lines().enumerate() {
            if let Some(place) = places.iter().find(|place| line.contains(place.as_str())) {
                complaints.push(format!("{}:{}: {place}", path.display(), number + 1));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn what_the_readme_tells_to_type_is_a_target_of_make() {
    let makefile = text(Path::new("Makefile"));
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(": ").or_else(|| line.strip_suffix(':').map(|name| (name, ""))))
        .map(|(name, _)| name)
        .collect();
    for document in ["README.md", "LITE_SETUP.md", "AGENTS.md"] {
        for line in text(Path::new(document)).lines() {
            for rest in line.split("make ").skip(1) {
                let word: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
                let typed = line.trim_start().starts_with("make ") || line.contains(&format!("`make {word}"));
                assert!(!typed || targets.contains(word.as_str()), "{document} tells to type make {word}");
            }
        }
    }
}

//! Machine verdicts from the front matter of a role's file. The artifact alone carries the
//! verdict: text around it never counts, and a missing, doubled or unknown value is refused by
//! name, never guessed.
//!
//! Pure: it is handed the file's text as it stands in the candidate's commit. Front matter is the
//! YAML subset that a verdict needs: a first line `---`, lines `key: scalar`, a closing line `---`.

use super::job::Role;

/// What a role must deliver, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactRule {
    /// File below `docs/work-items/<KEY>/`; a trailing `/` means "any `.md` file in this folder".
    pub path: &'static str,
    /// Front matter key.
    pub key: &'static str,
    /// Values that let the task go on.
    pub good: &'static [&'static str],
    /// Values that are a fault of the work: roll back with the file's findings.
    pub bad: &'static [&'static str],
    /// Values that ask a person.
    pub ask: &'static [&'static str],
}

/// Folder of a work item's artifacts in the target repository.
#[must_use]
pub fn artifacts_dir(key: &str) -> String {
    format!("docs/work-items/{key}")
}

/// The rule of a role; `None` for roles whose work is checked by other gates.
#[must_use]
pub const fn rule_of(role: Role) -> Option<ArtifactRule> {
    match role {
        Role::Analyst => Some(ArtifactRule {
            path: "01-brief.md",
            key: "brief_status",
            good: &["READY"],
            bad: &[],
            ask: &["NEEDS_INPUT"],
        }),
        Role::Architect => Some(ArtifactRule {
            path: "06-adr/",
            key: "adr_status",
            good: &["PROPOSED", "ACCEPTED"],
            bad: &[],
            ask: &[],
        }),
        Role::Reviewer => Some(ArtifactRule {
            path: "12-review.md",
            key: "review_verdict",
            good: &["APPROVED"],
            bad: &["REQUEST_CHANGES"],
            ask: &[],
        }),
        Role::Tester => Some(ArtifactRule {
            path: "13-test-report.md",
            key: "test_verdict",
            good: &["PASS"],
            bad: &["FAIL"],
            ask: &[],
        }),
        Role::Developer | Role::Deployer => None,
    }
}

/// What an artifact says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactVerdict {
    /// Go on.
    Good(&'static str),
    /// A fault of the work, with the lines under a heading `Findings`, if there are any.
    Bad(&'static str, Vec<String>),
    /// A person must answer.
    Ask(&'static str),
    /// Not readable as a verdict; says file, key and allowed values.
    Unreadable(String),
}

/// At most this many findings are taken over from an artifact.
const FINDINGS_MAX: usize = 50;

/// Reads the verdict of `text` (the content of `file`).
#[must_use]
pub fn read_verdict(rule: &ArtifactRule, file: &str, text: &str) -> ArtifactVerdict {
    let allowed = || {
        let all: Vec<&str> = rule.good.iter().chain(rule.bad).chain(rule.ask).copied().collect();
        all.join(" | ")
    };
    let refuse = |what: &str| {
        ArtifactVerdict::Unreadable(format!("{file}: {what}; `{}` must be one of {}", rule.key, allowed()))
    };
    let values = match front_matter_values(text, rule.key) {
        Ok(values) => values,
        Err(what) => return refuse(what),
    };
    let value = match values.as_slice() {
        [] => return refuse(&format!("front matter has no `{}`", rule.key)),
        [value] => value.as_str(),
        _ => return refuse(&format!("front matter has `{}` more than once", rule.key)),
    };
    let pick = |list: &'static [&'static str]| list.iter().find(|word| **word == value).copied();
    if let Some(word) = pick(rule.good) {
        ArtifactVerdict::Good(word)
    } else if let Some(word) = pick(rule.bad) {
        ArtifactVerdict::Bad(word, findings(text))
    } else if let Some(word) = pick(rule.ask) {
        ArtifactVerdict::Ask(word)
    } else {
        let shown: String = value.chars().take(60).collect();
        refuse(&format!("unknown value `{shown}`"))
    }
}

fn front_matter_values(text: &str, key: &str) -> Result<Vec<String>, &'static str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim_end);
    if lines.next() != Some("---") {
        return Err("no front matter (first line must be `---`)");
    }
    let mut values = Vec::new();
    for line in lines {
        if line == "---" {
            return Ok(values);
        }
        // only top-level keys count: an indented line belongs to something else
        if let Some((name, value)) = line.split_once(':')
            && name == key
        {
            let value = value.split(" #").next().unwrap_or("").trim();
            values.push(value.trim_matches(['"', '\'']).to_owned());
        }
    }
    Err("front matter is not closed by a line `---`")
}

fn findings(text: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| !line.trim_start_matches('#').trim().eq_ignore_ascii_case("findings"))
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .map(str::trim)
        .filter_map(|line| line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")))
        .map(str::to_owned)
        .take(FINDINGS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(role: Role, text: &str, expected: &ArtifactVerdict) {
        let rule = rule_of(role).expect("has a rule");
        assert_eq!(read_verdict(&rule, rule.path, text), *expected, "{text:?}");
    }

    #[test]
    fn the_artifact_table_is_frozen() {
        let table: Vec<String> = Role::ALL
            .into_iter()
            .filter_map(|role| {
                let rule = rule_of(role)?;
                let values: Vec<&str> = rule.good.iter().chain(rule.bad).chain(rule.ask).copied().collect();
                Some(format!("{role} {} {} {}", rule.path, rule.key, values.join("|")))
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        analyst 01-brief.md brief_status READY|NEEDS_INPUT
        architect 06-adr/ adr_status PROPOSED|ACCEPTED
        reviewer 12-review.md review_verdict APPROVED|REQUEST_CHANGES
        tester 13-test-report.md test_verdict PASS|FAIL
        ");
    }

    #[test]
    fn only_front_matter_counts() {
        check(
            Role::Tester,
            "---\ntest_verdict: PASS\n---\ntest_verdict: FAIL\n",
            &ArtifactVerdict::Good("PASS"),
        );
        check(Role::Tester, "---\r\ntest_verdict: \"PASS\" # all\r\n---\r\n", &ArtifactVerdict::Good("PASS"));
        check(Role::Analyst, "---\nbrief_status: NEEDS_INPUT\n---\n", &ArtifactVerdict::Ask("NEEDS_INPUT"));
        check(
            Role::Reviewer,
            "---\nreview_verdict: REQUEST_CHANGES\n---\n## Findings\n- no test\n- a print\n## Else\n- not this\n",
            &ArtifactVerdict::Bad("REQUEST_CHANGES", vec!["no test".into(), "a print".into()]),
        );
    }

    #[test]
    fn what_is_not_a_verdict_is_refused_by_file_key_and_values() {
        let rule = rule_of(Role::Tester).expect("has a rule");
        for text in [
            "test_verdict: PASS",
            "---\n---\n",
            "---\ntest_verdict: PASS\n",
            "---\ntest_verdict: PASS\ntest_verdict: FAIL\n---\n",
            "---\ntest_verdict: PASSED\n---\n",
            "---\ntest_verdict: pass\n---\n",
            "---\n  test_verdict: PASS\n---\n",
            "",
        ] {
            match read_verdict(&rule, "x.md", text) {
                ArtifactVerdict::Unreadable(why) => {
                    assert!(
                        why.contains("x.md") && why.contains("test_verdict") && why.contains("PASS | FAIL"),
                        "{why}"
                    );
                }
                other => panic!("{text:?} read as {other:?}"),
            }
        }
    }
}

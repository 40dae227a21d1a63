//! What an agent is asked to do: a template a role, shipped, and replaced by the target branch's own where it has one.
//!
//! Responsible for the words. A project's template is `.orch/prompts/<role>.md` on its target branch, never on the branch
//! of an agent, and may include the shipped ones (`shipped/<role>.md`, `shipped/rules.md`).
//!
//! Invariant: a name that is misspelt in a template is an error and no empty place; a template that does not end ends here.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use thiserror::Error;

use crate::domain::{
    artifact::{artifacts_dir, rule_of},
    job::Role,
};

/// Where a project keeps its own templates.
pub const FOLDER: &str = ".orch/prompts";

/// Largest template of a project that is read, and longest prompt, in bytes.
pub const PROMPT_MAX_BYTES: usize = 100 * 1024;

/// Steps that a template may take.
const FUEL: u64 = 1_000_000;

/// Templates in the program.
const SHIPPED: [(&str, &str); 7] = [
    ("shipped/rules.md", include_str!("prompts/rules.md")),
    ("shipped/analyst.md", include_str!("prompts/analyst.md")),
    ("shipped/architect.md", include_str!("prompts/architect.md")),
    ("shipped/developer.md", include_str!("prompts/developer.md")),
    ("shipped/reviewer.md", include_str!("prompts/reviewer.md")),
    ("shipped/tester.md", include_str!("prompts/tester.md")),
    ("shipped/deployer.md", include_str!("prompts/deployer.md")),
];

/// Why there is no prompt.
#[derive(Debug, Error)]
pub enum PromptError {
    /// A template of the project that cannot be used.
    #[error("use the prompt {path}")]
    Template {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: minijinja::Error,
    },
    /// A template that is no text, or longer than is read.
    #[error("use the prompt {path}: {why}")]
    Unusable {
        /// Which.
        path: String,
        /// Why not.
        why: &'static str,
    },
}

/// What a template may speak of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PromptFacts {
    /// The work item.
    pub key: String,
    /// Its title.
    pub title: String,
    /// Its text; may be empty.
    pub body: String,
    /// Which try of this stage, from 1.
    pub attempt: u32,
    /// Where it will be merged.
    pub target_branch: String,
    /// What the last roll-back found.
    pub findings: Vec<String>,
}

#[derive(Serialize)]
struct Context<'facts> {
    #[serde(flatten)]
    facts: &'facts PromptFacts,
    role: &'static str,
    artifacts_dir: String,
    verdict: Option<VerdictFacts>,
}

/// What must be delivered.
#[derive(Serialize)]
struct VerdictFacts {
    path: &'static str,
    folder: bool,
    key: &'static str,
    values: Vec<&'static str>,
    /// The value that sends the work back.
    findings: Option<&'static str>,
}

/// Path of a project's own template for a role.
#[must_use]
pub fn own_template(role: Role) -> String {
    format!("{FOLDER}/{}.md", role.as_str())
}

/// The prompt of a role; `own` is the project's template, as it stands on its target branch.
///
/// # Errors
/// [`PromptError`], when the project's template cannot be used.
pub fn render(role: Role, facts: &PromptFacts, own: Option<&[u8]>) -> Result<String, PromptError> {
    let path = own_template(role);
    let unusable = |why| PromptError::Unusable { path: path.clone(), why };
    let failed = |source| PromptError::Template { path: path.clone(), source };
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_fuel(Some(FUEL));
    let syntax = SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build();
    templates.set_syntax(syntax.map_err(failed)?);
    for (name, text) in SHIPPED {
        templates.add_template(name, text).map_err(failed)?;
    }
    let shipped = format!("shipped/{}.md", role.as_str());
    let name = match own {
        Some(bytes) if bytes.len() > PROMPT_MAX_BYTES => return Err(unusable("it is too long")),
        Some(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| unusable("it is no UTF-8 text"))?;
            templates.add_template(&path, text).map_err(failed)?;
            &path
        }
        None => &shipped,
    };
    let context = Context {
        facts,
        role: role.as_str(),
        artifacts_dir: artifacts_dir(&facts.key),
        verdict: verdict(role),
    };
    let prompt =
        templates.get_template(name).and_then(|template| template.render(Serde(context))).map_err(failed)?;
    if prompt.len() > PROMPT_MAX_BYTES {
        return Err(unusable("what it says is too long"));
    }
    Ok(prompt)
}

fn verdict(role: Role) -> Option<VerdictFacts> {
    let rule = rule_of(role)?;
    Some(VerdictFacts {
        path: rule.path,
        folder: rule.path.ends_with('/'),
        key: rule.key,
        values: rule.good.iter().chain(rule.bad).chain(rule.ask).copied().collect(),
        findings: rule.bad.first().copied(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> PromptFacts {
        PromptFacts {
            key: "SHOP-7".into(),
            title: "Carts forget".into(),
            body: "A cart {{ is }} empty after a day.".into(),
            attempt: 1,
            target_branch: "main".into(),
            findings: Vec::new(),
        }
    }

    #[test]
    fn each_role_is_told_its_work_item_and_exactly_the_verdict_that_is_read() {
        for role in Role::ALL {
            let prompt = render(role, &facts(), None).unwrap();
            for words in
                ["SHOP-7: Carts forget", "A cart {{ is }} empty after a day.", "docs/work-items/SHOP-7"]
            {
                assert!(prompt.contains(words), "{role}: {words}\n{prompt}");
            }
            assert!(
                !prompt.contains("attempt 1") && !prompt.contains("## What has to be mended"),
                "{prompt}"
            );
            match rule_of(role) {
                Some(rule) => {
                    for value in rule.good.iter().chain(rule.bad).chain(rule.ask) {
                        assert!(prompt.contains(value), "{role}: {value}\n{prompt}");
                    }
                    assert!(prompt.contains(&format!("docs/work-items/SHOP-7/{}", rule.path)), "{prompt}");
                    assert!(
                        prompt.contains(&format!("---\n{}: {}\n---", rule.key, rule.good[0])),
                        "{prompt}"
                    );
                }
                None => assert!(!prompt.contains("Your verdict"), "{prompt}"),
            }
        }
    }

    #[test]
    fn findings_and_a_further_attempt_are_told() {
        let findings = vec!["tests/test_cart.py fails".to_owned(), "no test for a year".to_owned()];
        let prompt = render(Role::Developer, &PromptFacts { attempt: 3, findings, ..facts() }, None).unwrap();
        for words in ["- tests/test_cart.py fails\n- no test for a year\n", "This is attempt 3"] {
            assert!(prompt.contains(words), "{words}\n{prompt}");
        }
    }

    #[test]
    fn a_project_says_it_in_its_own_words_and_may_build_on_ours() {
        let own = b"Be brief, {{ role }} of {{ key }}.\n{% include \"shipped/rules.md\" %}";
        let prompt = render(Role::Tester, &facts(), Some(own)).unwrap();
        assert!(prompt.starts_with("Be brief, tester of SHOP-7.\n") && prompt.contains("test_verdict: PASS"));
        assert_eq!(render(Role::Tester, &facts(), Some(b"Go.\n")).unwrap(), "Go.\n");
    }

    #[test]
    fn a_template_that_cannot_be_used_is_refused_by_name() {
        let told = |own: &[u8]| {
            let error = render(Role::Tester, &facts(), Some(own)).unwrap_err();
            crate::chain::chain(&error)
        };
        for (own, why) in [
            (&b"{{ tittle }}"[..], "undefined"),
            (b"{% if %}", "syntax error"),
            (b"\xff\xfe", "no UTF-8"),
            (b"{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "fuel"),
            (b"{% include \"/etc/passwd\" %}", "not found"),
            (&[b'x'; PROMPT_MAX_BYTES + 1], "too long"),
            (b"{% for a in range(9999) %}aaaaaaaaaaaaaaaaaaaa{% endfor %}", "too long"),
        ] {
            let told = told(own);
            assert!(told.contains(".orch/prompts/tester.md") && told.contains(why), "{told}");
        }
    }
}

//! The command that an alert tells to run.
//!
//! Responsible for one command a finding, the same in every language. Nothing here runs it. Invariant:
//! whatever comes from outside stands in it as one quoted word, so that pasting it into a shell runs
//! nothing else.

use crate::proc::redact;
use crate::signals::{Facts, Finding};

/// Longest word from outside, in characters.
const WORD_MAX: usize = 80;

/// The command; absent when nobody is left to act upon.
pub(super) fn of(finding: &Finding) -> Option<String> {
    match &finding.facts {
        Facts::Process(facts) => facts.stop.clone(),
        Facts::AgentHung(facts) => Some(why(&facts.work_item)),
        Facts::AgentOverrun(facts) => Some(format!("orch-core run log {} --tail 4000", facts.run_id)),
        Facts::Lease(facts) => Some(format!("orch-core lease release {}", word(&facts.work_item))),
        Facts::StageStuck(facts) => Some(why(&facts.work_item)),
        Facts::Approval(facts) => Some(match facts.blocked {
            true => why(&facts.work_item),
            false => format!("orch-core task show {}", word(&facts.work_item)),
        }),
        Facts::QueueStalled(facts) => Some(why(&facts.work_item)),
        Facts::CoreDown(_) | Facts::CoreDegraded(_) => Some("orch-core healthcheck".to_owned()),
        Facts::CpuStarved(_) => Some("orch-watchdog scan --all".to_owned()),
        Facts::Disk(_) => Some("df -h && df -i".to_owned()),
        Facts::Channel(_) => Some("orch-watchdog test-alert".to_owned()),
        Facts::Collector(_) | Facts::State(_) => Some("orch-watchdog check-config".to_owned()),
    }
}

fn why(work_item: &str) -> String {
    format!("orch-core why {}", word(work_item))
}

/// One word for a shell.
fn word(text: &str) -> String {
    let text = redact::plain(text.as_bytes(), WORD_MAX);
    let harmless =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '/' | ':');
    // a word that begins with a dash would be an option
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(harmless) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_one_word_of_a_shell() {
        for (name, expected) in [
            ("ORCH-114", "ORCH-114"),
            ("a b", "'a b'"),
            ("x; rm -rf /", "'x; rm -rf /'"),
            ("$(id)`id`", "'$(id)`id`'"),
            ("it's", r"'it'\''s'"),
            ("a\nb", "'a b'"),
            ("", "''"),
            ("--help", "'--help'"),
        ] {
            assert_eq!(word(name), expected);
        }
    }
}

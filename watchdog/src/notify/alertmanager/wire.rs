//! An alert as Alertmanager's API v2 takes it.
//!
//! Responsible for labels (what routes and silences match on, and what makes two alerts the same) and
//! annotations (what people read). Pure. Invariants: labels are bounded in number and length, and are
//! never a command line, a time or a measured value: they must not change while a condition holds; they are one line
//! each, without anything that a terminal obeys.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cases::{Notice, Silence};
use crate::notify::text::{self, Line, Voice};
use crate::proc::redact;
use crate::signals::{Entity, Facts, Finding};

/// Characters of a label's value.
const LABEL_MAX_CHARACTERS: usize = 120;

/// Characters of an annotation.
const ANNOTATION_MAX_CHARACTERS: usize = 2_000;

/// Names and values.
pub type Words = BTreeMap<String, String>;

/// One alert of `POST /api/v2/alerts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PostableAlert {
    /// Identity.
    pub labels: Words,
    /// For people.
    pub annotations: Words,
    /// RFC 3339.
    pub starts_at: String,
    /// RFC 3339; in the future while it fires.
    pub ends_at: String,
}

/// `proc_orphaned` as `OrchProcOrphaned`: alert names are in camel case by custom.
#[must_use]
pub fn alert_name(signal: &str) -> String {
    let mut name = "Orch".to_owned();
    for word in signal.split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

/// What an alert is matched by.
#[must_use]
pub fn labels(finding: &Finding, host: &str) -> Words {
    let mut labels = Words::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            labels.insert(name.to_owned(), redact::plain(value.as_bytes(), LABEL_MAX_CHARACTERS));
        }
    };
    put("alertname", &alert_name(finding.signal.name()));
    put("signal", finding.signal.name());
    put("severity", finding.severity.name());
    put("host", host);
    put("entity", &entity_id(&finding.entity));
    match &finding.facts {
        Facts::Process(facts) => {
            put("work_item", facts.work_item.as_deref().unwrap_or_default());
            put("container", facts.container.as_deref().unwrap_or_default());
        }
        Facts::AgentHung(facts) => {
            put("work_item", &facts.work_item);
            put("repo", &facts.repo);
            put("pipeline_stage", &facts.stage);
        }
        Facts::AgentOverrun(facts) => {
            put("work_item", &facts.work_item);
            put("repo", &facts.repo);
            put("pipeline_stage", &facts.stage);
        }
        Facts::Lease(facts) => {
            put("work_item", &facts.work_item);
            put("repo", &facts.repo);
        }
        Facts::StageStuck(facts) => {
            put("work_item", &facts.work_item);
            put("repo", &facts.repo);
            put("pipeline_stage", &facts.stage);
        }
        Facts::Approval(facts) => {
            put("work_item", &facts.work_item);
            put("repo", &facts.repo);
            put("pipeline_stage", &facts.stage);
        }
        Facts::Channel(facts) => put("channel", facts.channel.name()),
        // the oldest job changes while the queue stands, so it is no label
        Facts::QueueStalled(_)
        | Facts::CoreDown(_)
        | Facts::CoreDegraded(_)
        | Facts::CpuStarved(_)
        | Facts::Disk(_)
        | Facts::Collector(_)
        | Facts::State(_) => {}
    }
    labels
}

/// Which one it is, where a host has several: the same for the whole life of a case.
fn entity_id(entity: &Entity) -> String {
    match entity {
        Entity::Family(key) => format!("process-{}-{}", key.pid, key.start_ticks),
        Entity::Job(job) => format!("job-{job}"),
        Entity::WorkItem(key) | Entity::Task(key) => key.clone(),
        Entity::Core => "core".to_owned(),
        Entity::Host => "host".to_owned(),
        Entity::Channel(channel) => format!("channel-{}", channel.name()),
        Entity::Collector(name) => format!("collector-{}", name.name()),
        Entity::State => "state".to_owned(),
    }
}

/// What people read of a notice.
#[must_use]
pub fn annotations(notice: &Notice, voice: &Voice) -> Words {
    let words = text::notice(notice, voice);
    let line = |line: &Line| match line {
        Line::Prose(said) | Line::Under(said) => said.plain(),
        Line::Command(command) => command.clone(),
    };
    let description: Vec<String> = words.lines.iter().map(line).collect();
    let command = words.lines.iter().find_map(|line| match line {
        Line::Command(command) => Some(command.clone()),
        Line::Prose(_) | Line::Under(_) => None,
    });
    let mut annotations = Words::new();
    let rows = [
        ("summary", words.headline.plain()),
        ("description", description.join("\n")),
        ("command", command.unwrap_or_default()),
        // a link where there is one to follow, and always what prints the section
        ("runbook_url", voice.section(notice.finding.signal).unwrap_or_default()),
        ("runbook", text::runbook_command(notice.finding.signal)),
    ];
    for (name, value) in rows {
        if !value.is_empty() {
            annotations.insert(name.to_owned(), cut(&value, ANNOTATION_MAX_CHARACTERS));
        }
    }
    annotations
}

/// Why a watchdog's own messages say nothing more of an alert, as an annotation.
#[must_use]
pub fn silenced(silence: &Silence<'_>) -> (String, String) {
    let words = match silence {
        Silence::Muted(mute) => format!("muted until {} by {}", text::full_time(mute.until_ms), mute.by),
        Silence::Acknowledged(seen) => {
            format!("acknowledged by {} at {}", seen.by, text::full_time(seen.at_ms))
        }
    };
    ("silenced".to_owned(), cut(&words, LABEL_MAX_CHARACTERS))
}

/// How long a test alert fires (one minute, in milliseconds).
const TEST_ALERT_MS: i64 = 60_000;

/// An alert that says that it is a test, and ends by itself.
#[must_use]
pub fn test_alert(host: &str, summary: String, now_ms: i64) -> PostableAlert {
    let pairs = [("alertname", "OrchTestAlert"), ("severity", "info"), ("host", host)];
    PostableAlert {
        labels: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        annotations: [("summary".to_owned(), summary)].into(),
        starts_at: time(now_ms),
        ends_at: time(now_ms.saturating_add(TEST_ALERT_MS)),
    }
}

/// A time in the API's form; one outside the calendar becomes its edge.
#[must_use]
pub fn time(ms: i64) -> String {
    let stamp = jiff::Timestamp::from_millisecond(ms);
    stamp.unwrap_or(if ms < 0 { jiff::Timestamp::UNIX_EPOCH } else { jiff::Timestamp::MAX }).to_string()
}

fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some((at, _)) => text.get(..at).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::NoticeKind;
    use crate::signals::{AgentHungFacts, HangCause, Severity, SignalKind};

    fn finding(work_item: &str) -> Finding {
        let facts = AgentHungFacts {
            job_id: 7,
            run_id: 1,
            work_item: work_item.to_owned(),
            repo: "sample".to_owned(),
            stage: "development".to_owned(),
            role: "developer".to_owned(),
            cause: HangCause::RunGone { gone_ms: 90_000, grace_ms: 30_000 },
            families: Vec::new(),
        };
        Finding {
            signal: SignalKind::AgentHung,
            entity: Entity::Job(7),
            severity: Severity::Critical,
            since_ms: 0,
            facts: Facts::AgentHung(facts),
        }
    }

    #[test]
    fn labels_are_what_a_route_matches_on() {
        let labels = labels(&finding("ORCH-1"), "host-1");
        let pairs: Vec<(&str, &str)> =
            labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("alertname", "OrchAgentHung"),
                ("entity", "job-7"),
                ("host", "host-1"),
                ("pipeline_stage", "development"),
                ("repo", "sample"),
                ("severity", "critical"),
                ("signal", "agent_hung"),
                ("work_item", "ORCH-1"),
            ]
        );
    }

    #[test]
    fn no_label_is_longer_than_its_bound_or_empty() {
        for (work_item, expected) in [("ü".repeat(5_000), Some(LABEL_MAX_CHARACTERS)), (String::new(), None)]
        {
            let labels = labels(&finding(&work_item), "host-1");
            assert_eq!(labels.get("work_item").map(|value| value.chars().count()), expected);
        }
    }

    #[test]
    fn annotations_hold_the_command_and_the_section_of_the_runbook() {
        let voice = Voice {
            host: "host-1".to_owned(),
            runbook_url: Some("https://docs/runbook".to_owned()),
            locale: text::Locale::English,
        };
        let notice = Notice { kind: NoticeKind::Alert, at_ms: 0, finding: finding("ORCH-1") };
        let annotations = annotations(&notice, &voice);
        assert_eq!(annotations["runbook_url"], "https://docs/runbook#agent_hung");
        assert_eq!(annotations["runbook"], "orch-watchdog runbook agent_hung");
        assert_eq!(annotations["command"], "orch-core why ORCH-1");
        assert!(annotations["summary"].contains("ORCH-1"), "{annotations:?}");
        assert!(annotations["description"].contains("\nevidence"), "{annotations:?}");
        let without = self::annotations(&notice, &Voice { runbook_url: None, ..voice });
        assert!(!without.contains_key("runbook_url") && without.contains_key("runbook"), "{without:?}");
    }

    #[test]
    fn times_are_in_the_form_of_the_api() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert!(time(i64::MAX).starts_with("9999-"));
    }
}

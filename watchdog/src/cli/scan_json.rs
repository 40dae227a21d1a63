//! The object that `orch-watchdog scan --json` writes.
//!
//! Responsible for its shape alone, which `docs/scan-json.md` documents and a test compares: a reader of schema version 1
//! may rely on every field, and new fields may come. What could not be read is `null`, never 0.

use serde::Serialize;

use super::scan::{Row, verdict_words};
use crate::observe::{Cookie, Family, Lineage, Member, ProcObservation, Supervisor};
use crate::proc::ownership::CoreKnowledge;

/// Major version of the shape: within it fields are only added.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// The whole object.
#[derive(Debug, Serialize)]
pub(super) struct Report<'scan> {
    schema_version: u32,
    host_boot_id: &'scan str,
    listed: u64,
    readable: u64,
    blind: Option<&'scan str>,
    core: &'static str,
    families: Vec<FamilyReport<'scan>>,
}

#[derive(Debug, Serialize)]
struct FamilyReport<'scan> {
    pid: i32,
    start_ticks: u64,
    found: bool,
    verdict: &'static str,
    reason: &'scan str,
    evidence: Vec<String>,
    command: &'scan str,
    matched_by: &'scan str,
    root_alive: bool,
    started_at_ms: i64,
    age_ms: i64,
    cpu_ms: u64,
    cpu_share: Option<f64>,
    rss_bytes: u64,
    container: Option<&'scan str>,
    cookie: Option<String>,
    cookie_state: &'static str,
    supervisor_pid: Option<i32>,
    lineage: String,
    lineage_class: &'static str,
    stop: Option<&'scan str>,
    members: Vec<MemberReport<'scan>>,
}

#[derive(Debug, Serialize)]
struct MemberReport<'scan> {
    pid: i32,
    start_ticks: u64,
    ppid: i32,
    pgid: i32,
    sid: i32,
    inner_pid: Option<i32>,
    name: &'scan str,
    command: &'scan str,
    state: String,
}

impl<'scan> Report<'scan> {
    pub(super) fn new(
        observation: &'scan ProcObservation,
        core: CoreKnowledge<'_>,
        blind: Option<&'scan str>,
        rows: impl Iterator<Item = &'scan Row<'scan>>,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            host_boot_id: &observation.host_boot_id,
            listed: observation.listed,
            readable: observation.readable,
            blind,
            core: match core {
                CoreKnowledge::Document(_) => "document",
                CoreKnowledge::Silent => "silent",
                CoreKnowledge::Off => "off",
            },
            families: rows.map(FamilyReport::of).collect(),
        }
    }
}

impl<'scan> FamilyReport<'scan> {
    fn of(row: &'scan Row<'scan>) -> Self {
        let family: &Family = row.family;
        let (verdict, _, reason) = verdict_words(&row.judgement.verdict);
        let (cookie, cookie_state) = match family.cookie {
            Cookie::Run(cookie) => (Some(cookie.to_string()), "run"),
            Cookie::None => (None, "none"),
            Cookie::Unreadable => (None, "unreadable"),
        };
        Self {
            pid: family.key.pid,
            start_ticks: family.key.start_ticks,
            found: row.found,
            verdict,
            reason,
            evidence: row.judgement.evidence.iter().map(ToString::to_string).collect(),
            command: &family.command,
            matched_by: &family.matched_by,
            root_alive: family.root_alive,
            started_at_ms: family.started_at_ms,
            age_ms: family.awake_age_ms,
            cpu_ms: family.cpu_ms,
            cpu_share: family.cpu_share,
            rss_bytes: family.rss_bytes,
            container: family.container.as_deref(),
            cookie,
            cookie_state,
            supervisor_pid: match family.supervisor {
                Supervisor::Alive(pid) => Some(pid),
                Supervisor::Absent | Supervisor::Unknown => None,
            },
            lineage: family.lineage.to_string(),
            lineage_class: match family.lineage {
                Lineage::Main => "main",
                Lineage::Reparented { .. } => "reparented",
                Lineage::ExecRoot { .. } => "exec_root",
                Lineage::Child { .. } => "child",
                Lineage::Unknown(_) => "unknown",
            },
            stop: family.stop.as_deref(),
            members: family.members.iter().map(MemberReport::of).collect(),
        }
    }
}

impl<'scan> MemberReport<'scan> {
    fn of(member: &'scan Member) -> Self {
        Self {
            pid: member.key.pid,
            start_ticks: member.key.start_ticks,
            ppid: member.ppid,
            pgid: member.pgid,
            sid: member.sid,
            inner_pid: member.inner_pid,
            name: &member.name,
            command: &member.command,
            state: member.state.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use orch_settings::Strings;
    use orch_settings::generated::{self, Differing, UPDATE_VARIABLE};
    use serde_json::Value;

    use super::*;
    use crate::observe::{ProcessKey, Reaper};
    use crate::proc::ownership::judge;

    const BEGIN: &str = "<!-- begin example -->\n```json\n";
    const END: &str = "```\n<!-- end example -->";

    fn example() -> String {
        let key = |pid| ProcessKey { host_boot_id: "6f1c0c0e".to_owned(), pid, start_ticks: 4_465_510 };
        let member = |pid, ppid, command: &str| Member {
            key: key(pid),
            ppid,
            pgid: 2212,
            sid: 2200,
            inner_pid: Some(pid - 2200),
            name: "python3".to_owned(),
            command: command.to_owned(),
            state: 'R',
        };
        let family = Family {
            key: key(2212),
            command: "python3 -m pytest -n 1".to_owned(),
            matched_by: "pytest: python3 → python -m".to_owned(),
            members: vec![
                member(2212, 1, "python3 -m pytest -n 1"),
                member(2213, 2212, "python3 -u -c import sys;exec(eval(sys.stdin.readline()))"),
            ],
            root_alive: true,
            started_at_ms: 1_700_000_000_000,
            awake_age_ms: 7_260_000,
            cpu_ms: 6_900_000,
            cpu_share: Some(0.98),
            rss_bytes: 104_857_600,
            container: Some("docker 0123456789ab".to_owned()),
            lineage: Lineage::Reparented { parent_pid: 1, reaper: Reaper::HostInit, leader_alive: false },
            cookie: Cookie::None,
            supervisor: Supervisor::Absent,
            core_linked: true,
            stop: Some("kill -- -2212".to_owned()),
        };
        let judgement = judge(&family, CoreKnowledge::Off);
        let row = Row { family: &family, judgement, found: true, unjudged: false };
        let observation = ProcObservation {
            host_boot_id: "6f1c0c0e".to_owned(),
            families: Vec::new(),
            unseen: Vec::new(),
            runs: Vec::new(),
            missing_runs: Vec::new(),
            view: crate::observe::View::default(),
            listed: 211,
            readable: 211,
        };
        let report = Report::new(&observation, CoreKnowledge::Off, None, std::iter::once(&row));
        serde_json::to_string_pretty(&report).unwrap()
    }

    fn keys(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    found.push(key.clone());
                    keys(value, found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn the_documented_example_is_what_is_written_and_every_field_is_explained() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scan-json.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let from = page.find(BEGIN).unwrap() + BEGIN.len();
        let to = page.find(END).unwrap();
        let example = example();
        let wanted = format!("{}{example}\n{}", &page[..from], &page[to..]);
        let update = Strings::from_process().is_set(UPDATE_VARIABLE);
        generated::agree(&path, &wanted, if update { Differing::Rewrite } else { Differing::Refuse })
            .unwrap();
        let mut found = Vec::new();
        keys(&serde_json::from_str(&example).unwrap(), &mut found);
        for key in found {
            assert!(page.contains(&format!("| `{key}` |")), "{key} has no row in {}", path.display());
        }
    }
}

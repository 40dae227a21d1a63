//! A look at the host in every sort that its text tells apart; the first one is the usual one.

use super::samples::{Names, evidence, faults};
use crate::evidence::Evidence;
use crate::observe::{Cookie, Family, Lineage, Member, ProcessKey, Supervisor};
use crate::signals::OwnershipWord;
use crate::survey::{Headline, Survey, SurveyedFamily, Unheard, ViewLimit};

const HOUR: i64 = 3_600_000;

fn key(pid: i32) -> ProcessKey {
    ProcessKey { host_boot_id: "boot".into(), pid, start_ticks: 1 }
}

fn member(pid: i32, names: Names) -> Member {
    Member {
        key: key(pid),
        ppid: 700,
        pgid: 4_242,
        sid: 4_242,
        inner_pid: None,
        name: names.of("python"),
        command: names.of("/opt/venv/bin/python -m pytest -q tests"),
        state: 'R',
    }
}

fn family(names: Names) -> Family {
    Family {
        key: key(4_242),
        command: names.of("/opt/venv/bin/python -m pytest -q tests"),
        matched_by: names.of("pytest: python -m"),
        members: vec![member(4_242, names), member(4_243, names), member(4_250, names)],
        root_alive: true,
        started_at_ms: 0,
        awake_age_ms: 5 * HOUR,
        cpu_ms: 15_120_000,
        cpu_share: Some(0.98),
        rss_bytes: 812 << 20,
        container: Some(names.of("docker 0123456789ab")),
        lineage: Lineage::Main,
        cookie: Cookie::Run(77),
        supervisor: Supervisor::Absent,
        core_linked: true,
        stop: Some("kill 4242 4243 4250".into()),
    }
}

fn families(names: Names) -> Vec<SurveyedFamily> {
    let usual = SurveyedFamily {
        family: family(names),
        ownership: OwnershipWord::Orphan,
        evidence: evidence(names),
        tree: vec!["4242 R python -m pytest -q tests".into(), "└─ 4243 R python".into()],
    };
    let owners = every![OwnershipWord;
        OwnershipWord::Orphan => OwnershipWord::Orphan,
        OwnershipWord::Foreign => OwnershipWord::Foreign,
        OwnershipWord::OwnerUnknown => OwnershipWord::OwnerUnknown,
        OwnershipWord::Owned => OwnershipWord::Owned,
    ];
    let mut all: Vec<SurveyedFamily> =
        owners.into_iter().map(|ownership| SurveyedFamily { ownership, ..usual.clone() }).collect();
    for cpu_share in [Some(0.12), Some(0.0), None] {
        let family = Family { cpu_share, root_alive: false, container: None, stop: None, ..family(names) };
        all.push(SurveyedFamily { family, evidence: vec![Evidence::NoCookie], ..usual.clone() });
    }
    all
}

pub(super) fn surveys(names: Names) -> Vec<Survey> {
    let headlines = every![Headline;
        Headline::Found { .. } => Headline::Found { found: 1, matched: 3 },
        Headline::OwnersUnknown { .. } => Headline::OwnersUnknown { unjudged: 2, matched: 5 },
        Headline::Hidden => Headline::Hidden,
        Headline::OwnNamespace { .. } => Headline::OwnNamespace { matched: 4 },
        Headline::NoneMatched => Headline::NoneMatched,
        Headline::AllFine { .. } => Headline::AllFine { matched: 2 },
    ];
    let limits = every![ViewLimit;
        ViewLimit::HiddenByMount { .. } => ViewLimit::HiddenByMount { option: names.of("hidepid=2") },
        ViewLimit::FirstHidden => ViewLimit::FirstHidden,
        ViewLimit::Unreadable { .. } => ViewLimit::Unreadable { readable: 40, listed: 312 },
        ViewLimit::OwnNamespace => ViewLimit::OwnNamespace,
    ];
    let unheard = every![Unheard;
        Unheard::Starting => Unheard::Starting,
        Unheard::OtherSchema(_) => Unheard::OtherSchema(2),
        Unheard::Fault(_) => Unheard::Fault(faults(names).remove(0)),
    ];
    let usual = Survey {
        headline: Headline::Found { found: 1, matched: 3 },
        readable: 311,
        listed: 312,
        limit: None,
        unheard: None,
        families: families(names),
    };
    let bare = Survey { families: Vec::new(), ..usual.clone() };
    let mut all = vec![usual];
    all.extend(headlines.into_iter().map(|headline| Survey { headline, ..bare.clone() }));
    all.extend(limits.into_iter().map(|limit| Survey { limit: Some(limit), ..bare.clone() }));
    all.extend(unheard.into_iter().map(|unheard| Survey { unheard: Some(unheard), ..bare.clone() }));
    all
}

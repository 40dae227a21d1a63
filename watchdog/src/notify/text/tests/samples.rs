//! One finding of every sort, ordinary ones and hostile ones, and one of every reason.
//!
//! The lists are exhaustive by construction: a variant without a row does not compile.

use super::super::answers::ChatWord;
use super::super::phrases::Language;
use super::super::said::Said;
use crate::cases::{CaseId, NoticeKind, Suppression};
use crate::commands::{About, CaseLine, DurationFault, Ended, Malformed, MissingWord, MuteLine, Refusal};
use crate::evidence::{Evidence, RunName};
use crate::notify::Channel;
use crate::notify::delivery::{FailureReason, LastFailure};
use crate::observe::{Fault, Lineage, ProcessKey, Reaper, Unclear};
use crate::signals::{
    ActorWord, AgentHungFacts, AgentOverrunFacts, ApprovalFacts, ChannelFacts, CollectorFacts, CollectorName,
    CoreDegradedFacts, CoreDownFacts, CpuStarvedFacts, DegradedCause, DiskFacts, DiskShortage, Ending,
    Entity, Facts, Finding, HangCause, HungryFamily, LeaseFacts, MemoryRoom, OwnershipWord, ProcessFacts,
    QueueStalledFacts, Severity, SignalKind, StageStuckFacts, StaleCause, StateFacts, WaitsForWord,
};
use orch_settings::decimal::DecimalError;

/// 22 Nov 2026, 05:49:02 UTC.
pub(super) const NOW: i64 = 1_795_326_542_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// What commands can be about; the first two are the usual ones.
pub(super) fn abouts() -> Vec<About> {
    let id = CaseId::parse("c17").unwrap();
    let case = |entity| About::Case { id: Some(id), signal: Some(SignalKind::AgentHung), entity };
    let forgotten = |entity| About::Case { id: None, signal: None, entity };
    [About::Signal(SignalKind::CoreDown), case(Entity::Job(31))]
        .into_iter()
        .chain(entities().into_iter().map(case))
        .chain(entities().into_iter().map(forgotten))
        .collect()
}

/// What people are answered: every sentence.
pub(super) fn answers(language: &dyn Language, abouts: &[About]) -> Vec<Said> {
    let id = CaseId::parse("c17").unwrap();
    let refusals = every![Refusal;
        Refusal::UnknownId(_) => Refusal::UnknownId(id),
        Refusal::OtherSignal { .. } =>
            Refusal::OtherSignal { id, is: SignalKind::AgentHung, said: SignalKind::CoreDown },
        Refusal::Over(_) => Refusal::Over(id),
        Refusal::AlreadyAcknowledged { .. } =>
            Refusal::AlreadyAcknowledged { id, by: "@alice".into(), at_ms: NOW },
        Refusal::NotMuted => Refusal::NotMuted,
    ];
    let missing = every![MissingWord;
        MissingWord::Duration => MissingWord::Duration,
        MissingWord::MuteTarget => MissingWord::MuteTarget,
        MissingWord::UnmuteTarget => MissingWord::UnmuteTarget,
        MissingWord::AckTarget => MissingWord::AckTarget,
    ];
    let numbers = every![DecimalError;
        DecimalError::NotDecimal => DecimalError::NotDecimal,
        DecimalError::TooLong => DecimalError::TooLong,
        DecimalError::TooFine => DecimalError::TooFine,
    ];
    let faults = every![DurationFault;
        DurationFault::Unit => DurationFault::Unit,
        DurationFault::Number(_) => DurationFault::Number(DecimalError::NotDecimal),
        DurationFault::TooShort => DurationFault::TooShort,
        DurationFault::TooLong => DurationFault::TooLong,
    ];
    let faults = faults.into_iter().chain(numbers.into_iter().skip(1).map(DurationFault::Number));
    let mut malformed = every![Malformed;
        Malformed::Verb(_) => Malformed::Verb("mut".into()),
        Malformed::Missing(_) => Malformed::Missing(missing[0]),
        Malformed::Surplus(_) => Malformed::Surplus("now".into()),
        Malformed::Signal { .. } => Malformed::Signal { word: "core_dwn".into(), nearest: Some("core_down") },
        Malformed::Id(_) => Malformed::Id("17".into()),
        Malformed::Duration { .. } => Malformed::Duration { word: "5".into(), why: DurationFault::Unit },
    ];
    malformed.extend(missing.into_iter().skip(1).map(Malformed::Missing));
    malformed.push(Malformed::Signal { word: "weather".into(), nearest: None });
    malformed.extend(faults.skip(1).map(|why| Malformed::Duration { word: "5".into(), why }));
    let words = every![ChatWord;
        ChatWord::Usage => ChatWord::Usage,
        ChatWord::TooLate(_) => ChatWord::TooLate(600_000),
        ChatWord::PressAgain => ChatWord::PressAgain,
        ChatWord::MayNot => ChatWord::MayNot,
        ChatWord::UnknownButton => ChatWord::UnknownButton,
        ChatWord::Unsaved => ChatWord::Unsaved,
        ChatWord::ScanIsOff => ChatWord::ScanIsOff,
        ChatWord::ScanFailed => ChatWord::ScanFailed,
        ChatWord::LinesLeftOut(_) => ChatWord::LinesLeftOut(3),
    ];
    let finding = findings(SignalKind::AgentHung, Names::Ordinary).remove(0);
    let line = |suppression, by: Option<&str>| CaseLine {
        id: Some(id),
        finding: finding.clone(),
        since_ms: NOW,
        suppression,
        acknowledged_by: by.map(str::to_owned),
    };
    let lines = [
        line(None, None),
        line(Some(Suppression::Muted), None),
        line(Some(Suppression::Muted), Some("@alice")),
        line(Some(Suppression::Acknowledged), Some("@alice")),
        line(Some(Suppression::Acknowledged), None),
    ];
    let title = || Said::default().name("a title");
    let mut all: Vec<Said> = abouts.iter().map(|about| language.muted(about, NOW, 2)).collect();
    all.extend(abouts.iter().map(|about| language.ended_one(&Ended::Acknowledgement(about.clone()))));
    all.extend(
        abouts
            .iter()
            .map(|what| MuteLine { what: what.clone(), until_ms: NOW, by: "@alice".into() })
            .map(|mute| language.mute_line(&mute)),
    );
    all.extend(refusals.iter().map(|refusal| language.refused(refusal)));
    all.extend(malformed.iter().map(|malformed| language.malformed(malformed)));
    all.extend(words.into_iter().map(|word| language.chat(word)));
    all.extend(lines.iter().map(|line| language.case_line(line, title())));
    all.extend([language.ended(), language.acknowledged(), language.nothing_fires()].map(Said::of));
    all
}

fn entities() -> Vec<Entity> {
    every![Entity;
        Entity::Family(_) =>
            Entity::Family(ProcessKey { host_boot_id: "boot".into(), pid: 4_242, start_ticks: 1 }),
        Entity::Job(_) => Entity::Job(31),
        Entity::WorkItem(_) => Entity::WorkItem("ORCH-114".into()),
        Entity::Task(_) => Entity::Task("ORCH-114".into()),
        Entity::Core => Entity::Core,
        Entity::Host => Entity::Host,
        Entity::Channel(_) => Entity::Channel(Channel::Telegram),
        Entity::Collector(_) => Entity::Collector(CollectorName::Proc),
        Entity::State => Entity::State,
    ]
}

/// Who fills in the names that come from outside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// As in life.
    Ordinary,
    /// Long, with markup, control characters and a direction mark in them.
    Hostile,
}

impl Names {
    pub(super) fn of(self, ordinary: &str) -> String {
        match self {
            Self::Ordinary => ordinary.to_owned(),
            Self::Hostile => "</b><script>&amp;`\n\r\0\u{202e}\u{1b}[31m*_[x](y)' ; rm -rf / #".repeat(400),
        }
    }
}

pub(super) fn endings() -> Vec<Ending> {
    every![Ending;
        Ending::LastProcessEnded => Ending::LastProcessEnded,
        Ending::OwnedAndYoung => Ending::OwnedAndYoung,
        Ending::HostRestarted => Ending::HostRestarted,
        Ending::JobMoves => Ending::JobMoves,
        Ending::JobEnded => Ending::JobEnded,
        Ending::RunSettles => Ending::RunSettles,
        Ending::WithinShare => Ending::WithinShare,
        Ending::LeaseReleased => Ending::LeaseReleased,
        Ending::LeaseOwned => Ending::LeaseOwned,
        Ending::TaskSettled => Ending::TaskSettled,
        Ending::TaskFinished => Ending::TaskFinished,
        Ending::WithinStageLimit { .. } => Ending::WithinStageLimit { stage: "review".into() },
        Ending::WaitsForPerson => Ending::WaitsForPerson,
        Ending::PersonActed => Ending::PersonActed,
        Ending::AskedAgain => Ending::AskedAgain,
        Ending::QueueEmpty => Ending::QueueEmpty,
        Ending::SlotsTaken => Ending::SlotsTaken,
        Ending::JobsStart => Ending::JobsStart,
        Ending::DiskHasRoom { .. } => Ending::DiskHasRoom { percent: 5 },
        Ending::CoreOnTime => Ending::CoreOnTime,
        Ending::CpuRelieved { .. } => Ending::CpuRelieved { percent: 12 },
        Ending::ChannelTakes => Ending::ChannelTakes,
        Ending::CoreAnswers => Ending::CoreAnswers,
        Ending::CoreStarts => Ending::CoreStarts,
        Ending::CoreUnreadable => Ending::CoreUnreadable,
        Ending::CoreOtherSchema => Ending::CoreOtherSchema,
        Ending::HostHasRoom => Ending::HostHasRoom,
        Ending::ChannelUnconfigured => Ending::ChannelUnconfigured,
        Ending::CanLook => Ending::CanLook,
        Ending::StateSaved => Ending::StateSaved,
        Ending::SwitchedOff => Ending::SwitchedOff,
        Ending::Words(_) => serde_json::from_str("\"as it was said before\"").unwrap(),
    ]
}

pub(super) fn kinds() -> Vec<NoticeKind> {
    let mut kinds = every![NoticeKind;
        NoticeKind::Alert => NoticeKind::Alert,
        NoticeKind::Reminder { .. } => NoticeKind::Reminder { count: 2 },
        NoticeKind::Worse => NoticeKind::Worse,
        NoticeKind::Changed => NoticeKind::Changed,
        NoticeKind::Flapping { .. } => NoticeKind::Flapping { changes: 5 },
        NoticeKind::Recovered { .. } => recovered(Ending::JobMoves),
    ];
    kinds.extend(endings().into_iter().map(recovered));
    kinds
}

pub(super) fn recovered(how: Ending) -> NoticeKind {
    NoticeKind::Recovered { lasted_ms: 12 * MINUTE, how }
}

pub(super) fn faults(names: Names) -> Vec<Fault> {
    let cause = || Some(names.of("Connection refused (os error 111)"));
    every![Fault;
        Fault::Late { .. } => Fault::Late { waited_ms: 5_000 },
        Fault::Connect { .. } => Fault::Connect { cause: cause() },
        Fault::BrokeOff { .. } => Fault::BrokeOff { cause: None },
        Fault::TooLarge { .. } => Fault::TooLarge { limit_bytes: 4 << 20 },
        Fault::Answers(_) => Fault::Answers(502),
        Fault::AnswersInstead(_) => Fault::AnswersInstead(404),
        Fault::TokenRefused(_) => Fault::TokenRefused(401),
        Fault::NoDocument => Fault::NoDocument,
        Fault::BreaksContract { .. } => Fault::BreaksContract { error: names.of("missing field `core` at line 1") },
        Fault::Words(_) => Fault::Words(names.of("list /proc: Permission denied (os error 13)")),
    ]
}

fn reapers(names: Names) -> Vec<Reaper> {
    let name = || names.of("tini");
    every![Reaper;
        Reaper::HostInit => Reaper::HostInit,
        Reaper::NamespaceInit { .. } => Reaper::NamespaceInit { name: name(), pid: 700 },
        Reaper::OuterInit { .. } => Reaper::OuterInit { name: name(), pid: 704 },
        Reaper::Adopter { .. } => Reaper::Adopter { name: name(), pid: 705 },
        Reaper::Heir { .. } => Reaper::Heir { name: name(), pid: 706, before: 699 },
        Reaper::UserManager { .. } => Reaper::UserManager { pid: 701 },
        Reaper::Known { .. } => Reaper::Known { name: name(), pid: 702 },
        Reaper::Core => Reaper::Core,
        Reaper::Supervisor => Reaper::Supervisor,
        Reaper::Through { .. } => Reaper::Through { reaper: Box::new(Reaper::HostInit), name: name(), pid: 703 },
    ]
}

fn unclear() -> Vec<Unclear> {
    every![Unclear;
        Unclear::Process(_) => Unclear::Process(5),
        Unclear::Status(_) => Unclear::Status(5),
        Unclear::Parent(_) => Unclear::Parent(4),
        Unclear::ParentStatus(_) => Unclear::ParentStatus(4),
        Unclear::Ancestors(_) => Unclear::Ancestors(256),
    ]
}

fn lineages(names: Names) -> Vec<Lineage> {
    let reparented = |reaper| Lineage::Reparented { parent_pid: 700, reaper, leader_alive: false };
    let mut all = every![Lineage;
        Lineage::Main => Lineage::Main,
        Lineage::Reparented { .. } =>
            Lineage::Reparented { parent_pid: 1, reaper: Reaper::HostInit, leader_alive: true },
        Lineage::ExecRoot { .. } => Lineage::ExecRoot { parent_pid: 80 },
        Lineage::Child { .. } => Lineage::Child { parent_pid: 5, root_name: names.of("sshd") },
        Lineage::Unknown(_) => Lineage::Unknown(Unclear::Status(5)),
    ];
    all.push(Lineage::ExecRoot { parent_pid: 0 });
    all.extend(reapers(names).into_iter().map(reparented));
    all.extend(unclear().into_iter().map(Lineage::Unknown));
    all
}

pub(super) fn evidence(names: Names) -> Vec<Evidence> {
    let run = || RunName { run_id: 12, work_item: Some(names.of("ORCH-114")) };
    let mut all = every![Evidence;
        Evidence::NoCookie => Evidence::NoCookie,
        Evidence::CookieUnreadable => Evidence::CookieUnreadable,
        Evidence::CookieUnheard { .. } => Evidence::CookieUnheard { cookie: 77 },
        Evidence::CookieUnasked { .. } => Evidence::CookieUnasked { cookie: 77 },
        Evidence::RunAlive { .. } => Evidence::RunAlive { cookie: 77, run: run() },
        Evidence::RunEnded { .. } =>
            Evidence::RunEnded { cookie: 77, run: run(), outcome: Some(names.of("timed out")) },
        Evidence::CookieMaybeCut { .. } => Evidence::CookieMaybeCut { cookie: 77, left_out: 3 },
        Evidence::CookieTooYoung { .. } => Evidence::CookieTooYoung { cookie: 77 },
        Evidence::SupervisorUnseen { .. } => Evidence::SupervisorUnseen { cookie: 77 },
        Evidence::SupervisorAlive { .. } => Evidence::SupervisorAlive { pid: 700 },
        Evidence::CookieUnsupervised { .. } => Evidence::CookieUnsupervised { cookie: 77 },
        Evidence::CookieExpired { .. } => Evidence::CookieExpired { cookie: 77 },
        Evidence::CookieOfAnother { .. } => Evidence::CookieOfAnother { cookie: 77 },
        Evidence::Structure(_) => Evidence::Structure(Lineage::Main),
        Evidence::MayBeTheCores => Evidence::MayBeTheCores,
        Evidence::LinkedToCore => Evidence::LinkedToCore,
        Evidence::NeverLinked => Evidence::NeverLinked,
        Evidence::CoreUnheard { .. } => Evidence::CoreUnheard { age_s: 90 },
        Evidence::EndedByLastWord { .. } => Evidence::EndedByLastWord { age_s: 90 },
        Evidence::Words(_) => serde_json::from_str("\"as it was said before\"").unwrap(),
    ];
    let run = RunName { run_id: 12, work_item: None };
    all.push(Evidence::RunEnded { cookie: 77, run, outcome: None });
    all.extend(lineages(names).into_iter().map(Evidence::Structure));
    all
}

/// For how long the usual finding of a signal holds, and what ends it.
fn life(signal: SignalKind) -> (i64, Ending) {
    match signal {
        SignalKind::ProcBlocking => (5 * HOUR + 3 * MINUTE, Ending::LastProcessEnded),
        SignalKind::ProcOrphaned => (30_000, Ending::LastProcessEnded),
        SignalKind::AgentHung => (15 * MINUTE, Ending::JobMoves),
        SignalKind::AgentOverrun => (10 * MINUTE, Ending::JobEnded),
        SignalKind::LeaseStale => (2 * HOUR, Ending::LeaseReleased),
        SignalKind::StageStuck => (2 * HOUR, Ending::TaskFinished),
        SignalKind::ApprovalWaiting => (25 * HOUR, Ending::PersonActed),
        SignalKind::QueueStalled => (6 * MINUTE, Ending::JobsStart),
        SignalKind::CoreDown => (45_000, Ending::CoreAnswers),
        SignalKind::CoreDegraded => (5 * MINUTE, Ending::CoreOnTime),
        SignalKind::CpuStarved => (90_000, Ending::CpuRelieved { percent: 12 }),
        SignalKind::DiskLow => (HOUR, Ending::DiskHasRoom { percent: 5 }),
        SignalKind::DeliveryFailing => (6 * MINUTE, Ending::ChannelTakes),
        SignalKind::CollectorUnavailable => (MINUTE, Ending::CanLook),
        SignalKind::StateUnsaved => (2 * MINUTE, Ending::StateSaved),
    }
}

fn for_ms(signal: SignalKind) -> i64 {
    life(signal).0
}

/// What usually ends it.
pub(super) fn usual_end(signal: SignalKind) -> NoticeKind {
    recovered(life(signal).1)
}

/// Findings of a signal, in every sort that its text tells apart; the first one is the usual one.
pub(super) fn findings(signal: SignalKind, names: Names) -> Vec<Finding> {
    let (entity, severity, facts): (Entity, Severity, Vec<Facts>) = match signal {
        SignalKind::ProcBlocking | SignalKind::ProcOrphaned => {
            let key = ProcessKey { host_boot_id: "boot".into(), pid: 4_242, start_ticks: 1 };
            let orphaned = signal == SignalKind::ProcOrphaned;
            let severity = if orphaned { Severity::Critical } else { Severity::Warning };
            (Entity::Family(key), severity, processes(signal, names))
        }
        SignalKind::AgentHung => (Entity::Job(31), Severity::Critical, hung(names)),
        SignalKind::AgentOverrun => (Entity::Job(31), Severity::Warning, overruns(names)),
        SignalKind::LeaseStale => (Entity::WorkItem("ORCH-114".into()), Severity::Critical, leases(names)),
        SignalKind::StageStuck => (Entity::Task("ORCH-114".into()), Severity::Warning, stuck(names)),
        SignalKind::ApprovalWaiting => (Entity::Task("ORCH-114".into()), Severity::Info, approvals(names)),
        SignalKind::QueueStalled => (Entity::Core, Severity::Warning, vec![queue(names)]),
        SignalKind::CoreDown => (Entity::Core, Severity::Critical, downs(names)),
        SignalKind::CoreDegraded => (Entity::Core, Severity::Warning, degraded(names)),
        SignalKind::CpuStarved => (Entity::Host, Severity::Warning, starved(names)),
        SignalKind::DiskLow => (Entity::Core, Severity::Warning, disks(names)),
        SignalKind::DeliveryFailing => {
            (Entity::Channel(Channel::Telegram), Severity::Critical, channels(names))
        }
        SignalKind::CollectorUnavailable => {
            (Entity::Collector(CollectorName::Proc), Severity::Warning, collectors(names))
        }
        SignalKind::StateUnsaved => (Entity::State, Severity::Warning, vec![unsaved(names)]),
    };
    let finding =
        |facts| Finding { signal, entity: entity.clone(), severity, since_ms: NOW - for_ms(signal), facts };
    facts.into_iter().map(finding).collect()
}

fn processes(signal: SignalKind, names: Names) -> Vec<Facts> {
    let usual = ProcessFacts {
        command: names.of("/opt/venv/bin/python -m pytest -q tests/integration/test_checkout.py"),
        matched_by: names.of("pytest: timeout → uv → python -m"),
        root_pid: 4_242,
        root_alive: true,
        pids: vec![4_242, 4_243, 4_250],
        members: 3,
        stop: Some("kill 4242 4243 4250".into()),
        age_ms: 5 * HOUR + 3 * MINUTE,
        cpu_share: Some(0.98),
        cpu_ms: 15_120_000,
        rss_bytes: 812 << 20,
        container: Some(names.of("docker 0123456789ab")),
        work_item: Some(names.of("ORCH-114")),
        ownership: OwnershipWord::Orphan,
        evidence: vec![
            Evidence::RunEnded {
                cookie: 77,
                run: RunName { run_id: 12, work_item: Some(names.of("ORCH-114")) },
                outcome: Some(names.of("timed out")),
            },
            Evidence::Structure(Lineage::Reparented {
                parent_pid: 700,
                reaper: Reaper::NamespaceInit { name: names.of("tini"), pid: 700 },
                leader_alive: false,
            }),
        ],
        age_limit_ms: HOUR,
    };
    let mut all = vec![usual.clone()];
    if signal == SignalKind::ProcBlocking {
        let owned =
            |ownership| ProcessFacts { ownership, evidence: vec![Evidence::NoCookie], ..usual.clone() };
        all = every![OwnershipWord;
            OwnershipWord::OwnerUnknown => owned(OwnershipWord::OwnerUnknown),
            OwnershipWord::Owned => owned(OwnershipWord::Owned),
            OwnershipWord::Orphan => owned(OwnershipWord::Orphan),
            OwnershipWord::Foreign => owned(OwnershipWord::Foreign),
        ];
    }
    let shares = [Some(7.96), Some(0.12), Some(0.0), None];
    all.extend(shares.map(|cpu_share| ProcessFacts { cpu_share, ..usual.clone() }));
    all.push(ProcessFacts {
        root_alive: false,
        members: 1,
        container: None,
        work_item: None,
        ..usual.clone()
    });
    all.push(ProcessFacts { container: None, ..usual.clone() });
    all.push(ProcessFacts {
        evidence: evidence(names),
        pids: (1..=32).map(|pid| 4_000_000 + pid).collect(),
        ..usual
    });
    all.into_iter().map(|facts| Facts::Process(Box::new(facts))).collect()
}

fn hung(names: Names) -> Vec<Facts> {
    let causes = every![HangCause;
        HangCause::Silent { .. } =>
            HangCause::Silent { silent_ms: 15 * MINUTE, cpu_ms: 2_000, window_ms: 15 * MINUTE },
        HangCause::RunGone { .. } => HangCause::RunGone { gone_ms: 90_000, grace_ms: 30_000 },
    ];
    let facts = |cause| AgentHungFacts {
        job_id: 31,
        run_id: 12,
        work_item: names.of("ORCH-114"),
        repo: names.of("sample"),
        stage: names.of("development"),
        role: names.of("developer"),
        cause,
        families: vec![(names.of("/opt/venv/bin/python -m pytest -q tests"), vec![4_242, 4_243])],
    };
    causes.into_iter().map(|cause| Facts::AgentHung(facts(cause))).collect()
}

fn overruns(names: Names) -> Vec<Facts> {
    let facts = |silent_ms, cost_microusd| {
        Facts::AgentOverrun(AgentOverrunFacts {
            job_id: 31,
            run_id: 12,
            work_item: names.of("ORCH-114"),
            repo: names.of("sample"),
            stage: names.of("development"),
            role: names.of("developer"),
            attempt: 2,
            age_ms: 70 * MINUTE,
            limit_ms: 2 * HOUR,
            share_percent: 50,
            silent_ms,
            cost_microusd,
        })
    };
    vec![facts(Some(5 * MINUTE), Some(1_230_000)), facts(None, None)]
}

fn leases(names: Names) -> Vec<Facts> {
    let causes = every![StaleCause;
        StaleCause::EarlierBoot => StaleCause::EarlierBoot,
        StaleCause::OwnerGone => StaleCause::OwnerGone,
        StaleCause::TooOld(_) => StaleCause::TooOld(31 * MINUTE),
    ];
    let facts = |cause| LeaseFacts {
        work_item: names.of("ORCH-114"),
        repo: names.of("sample"),
        edge: names.of("review -> merge"),
        fencing: 4,
        actor: names.of("monitor"),
        age_ms: 2 * HOUR,
        cause,
    };
    causes.into_iter().map(|cause| Facts::Lease(facts(cause))).collect()
}

fn stuck(names: Names) -> Vec<Facts> {
    let actors = every![WaitsForWord;
        WaitsForWord::Ci => WaitsForWord::Ci,
        WaitsForWord::Person => WaitsForWord::Person,
        WaitsForWord::Agent => WaitsForWord::Agent,
        WaitsForWord::Slot => WaitsForWord::Slot,
        WaitsForWord::Deploy => WaitsForWord::Deploy,
        WaitsForWord::Core => WaitsForWord::Core,
        WaitsForWord::Unknown => WaitsForWord::Unknown,
    ];
    let usual = StageStuckFacts {
        work_item: names.of("ORCH-114"),
        repo: names.of("sample"),
        title: names.of("Add a discount code"),
        stage: names.of("merge"),
        age_ms: 3 * HOUR,
        limit_ms: HOUR,
        cause: Some(names.of("required contexts are pending")),
        waits_for: None,
        until_ms: Some(NOW + HOUR),
    };
    let named = |kind| Some(ActorWord { kind, name: names.of("gitea") });
    let mut all: Vec<StageStuckFacts> =
        actors.into_iter().map(|kind| StageStuckFacts { waits_for: named(kind), ..usual.clone() }).collect();
    let unnamed = ActorWord { kind: WaitsForWord::Core, name: String::new() };
    all.push(StageStuckFacts { waits_for: Some(unnamed), ..usual.clone() });
    all.push(StageStuckFacts { cause: None, until_ms: None, ..usual });
    all.into_iter().map(Facts::StageStuck).collect()
}

fn approvals(names: Names) -> Vec<Facts> {
    let facts = |blocked: bool, person: String| {
        Facts::Approval(ApprovalFacts {
            work_item: names.of("ORCH-114"),
            repo: names.of("sample"),
            title: names.of("Add a discount code"),
            stage: names.of("brief"),
            person,
            cause: (!blocked).then(|| names.of("the brief asks for an approval")),
            blocked,
            waiting_ms: 25 * HOUR,
            limit_ms: 24 * HOUR,
        })
    };
    vec![facts(false, names.of("alice")), facts(true, names.of("alice")), facts(false, String::new())]
}

fn queue(names: Names) -> Facts {
    Facts::QueueStalled(QueueStalledFacts {
        job_id: 31,
        work_item: names.of("ORCH-114"),
        repo: names.of("sample"),
        stage: names.of("development"),
        role: names.of("developer"),
        reason: names.of("waits for the monitor"),
        waiting_ms: 6 * MINUTE,
        limit_ms: 5 * MINUTE,
        runnable: 3,
        slots_free: 2,
        slots_max: 4,
    })
}

fn downs(names: Names) -> Vec<Facts> {
    let facts = |reason, last_heard_ms: Option<i64>, polls| {
        let work_items =
            last_heard_ms.map_or_else(Vec::new, |_| vec![names.of("ORCH-114"), names.of("ORCH-7")]);
        Facts::CoreDown(CoreDownFacts { reason, last_heard_ms, work_items, polls })
    };
    let mut all = vec![facts(Fault::Late { waited_ms: 5_000 }, Some(NOW - HOUR), 3)];
    all.extend(faults(names).into_iter().map(|fault| facts(fault, None, 1)));
    all
}

fn degraded(names: Names) -> Vec<Facts> {
    let causes = every![DegradedCause;
        DegradedCause::StaleDocument { .. } =>
            DegradedCause::StaleDocument { age_ms: 2 * MINUTE, limit_ms: 30_000 },
        DegradedCause::LateActor { .. } => late_actor(names, true),
        DegradedCause::OtherSchema { .. } => DegradedCause::OtherSchema { found: 2, known: 1 },
        DegradedCause::ClockSkew { .. } => DegradedCause::ClockSkew { ahead_ms: 40_000, limit_ms: 30_000 },
    ];
    let mut all = vec![CoreDegradedFacts { causes: vec![late_actor(names, true)] }];
    all.extend(causes.iter().map(|cause| CoreDegradedFacts { causes: vec![cause.clone()] }));
    all.push(CoreDegradedFacts { causes: vec![late_actor(names, false)] });
    let behind = DegradedCause::ClockSkew { ahead_ms: -40_000, limit_ms: 30_000 };
    all.push(CoreDegradedFacts { causes: causes.into_iter().chain([behind]).collect() });
    all.into_iter().map(Facts::CoreDegraded).collect()
}

fn late_actor(names: Names, passed: bool) -> DegradedCause {
    let name = names.of("reconciler");
    DegradedCause::LateActor { name, period_ms: 30_000, late_ms: 5 * MINUTE, limit_ms: MINUTE, passed }
}

fn starved(names: Names) -> Vec<Facts> {
    let family = |pid: i32, cpu_share, container| HungryFamily {
        key: ProcessKey { host_boot_id: "boot".into(), pid, start_ticks: 1 },
        command: names.of("/opt/venv/bin/python -m pytest -q -n 4"),
        cpu_share,
        members: 5,
        container,
    };
    let usual = CpuStarvedFacts {
        avg10_percent: 81.3,
        avg60_percent: 72.0,
        avg300_percent: 50.4,
        limit_percent: 60,
        memory: Some(MemoryRoom { available_bytes: 1_288_490_189, total_bytes: 16 << 30 }),
        families: vec![family(4_242, 3.97, Some(names.of("docker 0123456789ab"))), family(5_151, 0.98, None)],
    };
    let bare = CpuStarvedFacts { memory: None, families: Vec::new(), ..usual.clone() };
    vec![Facts::CpuStarved(usual), Facts::CpuStarved(bare)]
}

fn disks(names: Names) -> Vec<Facts> {
    let shortages = every![DiskShortage;
        DiskShortage::Bytes => DiskShortage::Bytes,
        DiskShortage::Inodes => DiskShortage::Inodes,
        DiskShortage::Both => DiskShortage::Both,
    ];
    let facts = |short_of, total_inodes| {
        Facts::Disk(DiskFacts {
            core_host: names.of("core-1"),
            free_bytes: 1_288_490_189,
            total_bytes: 40 << 30,
            free_inodes: 1_234,
            total_inodes,
            limit_percent: 5,
            short_of,
        })
    };
    let mut all: Vec<Facts> = shortages.into_iter().map(|short_of| facts(short_of, 2_621_440)).collect();
    all.push(facts(DiskShortage::Bytes, 0));
    all
}

fn channels(names: Names) -> Vec<Facts> {
    let facts = |channel, parked, last_failure| {
        Facts::Channel(ChannelFacts {
            channel,
            waiting_ms: 6 * MINUTE,
            limit_ms: 5 * MINUTE,
            notices: 3,
            parked,
            last_failure,
            attempts: 12,
            failures: 10,
        })
    };
    let parked = || Some(names.of("Forbidden: bot was blocked by the user"));
    let failed = |reason, wait_ms: Option<i64>| {
        let why = if wait_ms.is_none() { names.of("no answer in time") } else { String::new() };
        Some(LastFailure { reason, why, wait_ms })
    };
    let reasons = every![FailureReason;
        FailureReason::Network => FailureReason::Network,
        FailureReason::RateLimited => FailureReason::RateLimited,
        FailureReason::Server => FailureReason::Server,
        FailureReason::Refused => FailureReason::Refused,
        FailureReason::Moved => FailureReason::Moved,
        FailureReason::Answer => FailureReason::Answer,
    ];
    let mut all: Vec<Facts> =
        reasons.into_iter().map(|reason| facts(Channel::Telegram, None, failed(reason, None))).collect();
    let waits = failed(FailureReason::RateLimited, Some(90_000));
    all.push(facts(Channel::Telegram, None, waits));
    all.push(facts(Channel::Telegram, parked(), failed(FailureReason::Refused, None)));
    all.extend(Channel::ALL.map(|channel| facts(channel, None, None)));
    all
}

fn collectors(names: Names) -> Vec<Facts> {
    let facts = |collector, reason| Facts::Collector(CollectorFacts { collector, reason });
    let mut all =
        vec![facts(CollectorName::Proc, names.of("list /proc: Permission denied (os error 13)").into())];
    all.extend(CollectorName::ALL.map(|collector| facts(collector, Fault::TokenRefused(401))));
    all
}

fn unsaved(names: Names) -> Facts {
    let why = names.of("write /var/lib/orch-watchdog/state.json.new: No space left on device (os error 28)");
    Facts::State(StateFacts { why, limit_ms: MINUTE })
}

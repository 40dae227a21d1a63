//! Findings about the host and about ourselves, in English.

use super::super::in_headline;
use super::super::phrases::{HostFindings, Proofs as _, Told, in_full};
use super::super::said::Said;
use super::super::units::CpuUse;
use super::{English, bytes, cores, count, duration, duration_of, effect};
use crate::notify::delivery::{FailureReason, LastFailure};
use crate::signals::{
    ChannelFacts, CollectorFacts, CollectorName, CpuStarvedFacts, OwnershipWord, ProcessFacts, SignalKind,
    StateFacts,
};

impl HostFindings for English {
    fn process(&self, signal: SignalKind, facts: &ProcessFacts) -> Told {
        let command = in_headline(&facts.command);
        let age = duration(facts.age_ms);
        let orphaned = signal == SignalKind::ProcOrphaned;
        let what = match orphaned {
            true => {
                let does = match CpuUse::of(facts.cpu_share) {
                    CpuUse::Spinning(share) => format!(" spins at {}, {age} old", cores(share)),
                    CpuUse::Working(share) => format!(" uses {}, {age} old", cores(share)),
                    CpuUse::Idle => format!(" sits idle, {age} old"),
                    CpuUse::Unknown => format!(" is alive, {age} old"),
                };
                Said::of("orphan ").code(&command).text(does)
            }
            false => {
                let owner = match facts.ownership {
                    OwnershipWord::Owned => "",
                    OwnershipWord::Orphan => ", orphan",
                    OwnershipWord::OwnerUnknown => ", owner unknown",
                    OwnershipWord::Foreign => ", not the core's",
                };
                let limit = duration(facts.age_limit_ms);
                Said::default().code(&command).text(format!(" runs for {age}, limit {limit}{owner}"))
            }
        };
        let mut details = vec![process_place(facts)];
        if command != facts.command {
            details.push(Said::of("command: ").code(&facts.command));
        }
        if !orphaned {
            let limit = duration(facts.age_limit_ms);
            details.push(Said::of(format!("evidence (age): {age}, limit {limit}")));
        }
        details.push(Said::of(format!("evidence (CPU): {}", cpu_words(facts))));
        let owner = |evidence| Said::of("evidence (owner): ").and(self.evidence(evidence));
        details.extend(facts.evidence.iter().map(owner));
        if !facts.matched_by.is_empty() {
            details.push(Said::of("matched: ").code(&facts.matched_by));
        }
        Told {
            what,
            subject: Said::of(if orphaned { "orphan " } else { "long-running " }).code(command),
            details,
            effect: effect(match facts.ownership {
                OwnershipWord::Orphan | OwnershipWord::Foreign => {
                    "nothing waits for its result; what it uses is missing in gates and re-tests"
                }
                OwnershipWord::Owned if facts.work_item.is_some() => "its task does not move before it ends",
                OwnershipWord::Owned => {
                    "who started it is there and may wait for it; what it uses is missing in gates and re-tests"
                }
                OwnershipWord::OwnerUnknown => {
                    "nobody can say whether somebody waits for it; look before you stop it"
                }
            }),
        }
    }

    fn cpu_starved(&self, facts: &CpuStarvedFacts) -> Told {
        let mut details = vec![Said::of(format!(
            "evidence (pressure): work waited {:.0}% of 10 s, {:.0}% of 60 s, {:.0}% of 5 min; limit {}% of 60 s",
            facts.avg10_percent, facts.avg60_percent, facts.avg300_percent, facts.limit_percent
        ))];
        for family in &facts.families {
            let size = count(family.members, "process", "processes");
            let said = Said::of("uses ")
                .text(cores(family.cpu_share))
                .text(": ")
                .code(&family.command)
                .text(format!(" (pid {}, {size}", family.key.pid));
            let said = match &family.container {
                Some(container) => said.text(", ").name(container),
                None => said,
            };
            details.push(said.text(")"));
        }
        if let Some(memory) = facts.memory {
            let (free, all) = (bytes(memory.available_bytes), bytes(memory.total_bytes));
            details.push(Said::of(format!("memory: {free} of {all} available")));
        }
        Told {
            what: Said::of(format!(
                "the host lacks CPU: work waits {:.0}% of the time, limit {}%",
                facts.avg60_percent, facts.limit_percent
            )),
            subject: Said::of("lack of CPU"),
            details,
            effect: effect("gates and agents run slow, and a time-out looks like broken code"),
        }
    }

    fn channel(&self, facts: &ChannelFacts) -> Told {
        let channel = facts.channel.name();
        let notices = count(facts.notices, "notice waits", "notices wait");
        let mut details = vec![Said::of(format!(
            "evidence: limit {}; {} of {} messages failed since the watchdog started",
            duration(facts.limit_ms),
            facts.failures,
            facts.attempts
        ))];
        match (&facts.parked, &facts.last_failure) {
            (Some(parked), _) => {
                details.push(Said::of("it refuses until somebody changes something: ").code(parked));
            }
            (None, Some(failure)) => details.push(last_failure(failure)),
            (None, None) => {}
        }
        Told {
            what: Said::default()
                .name(channel)
                .text(format!(" takes no notices for {}, {notices}", duration(facts.waiting_ms))),
            subject: Said::of("no delivery to ").name(channel),
            details,
            effect: effect("who reads only that channel hears nothing of this host"),
        }
    }

    fn collector(&self, facts: &CollectorFacts) -> Told {
        let (what, subject, blind) = match facts.collector {
            CollectorName::Proc => ("cannot look at processes", "no view of processes", "processes"),
            CollectorName::Core => {
                ("cannot use the core's answers", "unusable answers of the core", "jobs, tasks and leases")
            }
            CollectorName::Host => {
                ("cannot look at the host's load", "no view of the host's load", "lack of CPU")
            }
        };
        Told {
            what: Said::of(format!("{what}: ")).and(self.fault(&facts.reason)),
            subject: Said::of(subject),
            // the headline is cut, and the cure stands at the end
            details: vec![Said::of("reason: ").and(in_full(&facts.reason, self.fault(&facts.reason)))],
            effect: effect(&format!("nothing about {blind} is told or taken back until it can")),
        }
    }

    fn state(&self, facts: &StateFacts) -> Told {
        Told {
            what: Said::of("cannot save its state: ").code(&facts.why),
            subject: Said::of("unsaved state of the watchdog"),
            // the headline is cut, and the cause stands at the end
            details: vec![
                Said::of("reason: ").code(&facts.why),
                Said::of(format!("evidence: limit {}", duration(facts.limit_ms))),
            ],
            effect: effect(
                "it watches and tells from memory; after a restart of the watchdog what was told may be told again, and \
                 what ends meanwhile may never be taken back",
            ),
        }
    }
}

fn last_failure(failure: &LastFailure) -> Said {
    let said = Said::of("it failed last: ").text(match failure.reason {
        FailureReason::RateLimited => "too many messages",
        FailureReason::Server => "the server fails",
        FailureReason::Network => "no connection, or no answer",
        FailureReason::Refused => "refused",
        FailureReason::Moved => "the chat moved",
        FailureReason::Answer => "an answer that cannot be understood",
    });
    let said = match failure.wait_ms {
        Some(wait_ms) => said.text(format!(", asked to wait {}", duration(wait_ms))),
        None => said,
    };
    if failure.why.is_empty() { said } else { said.text(": ").code(&failure.why) }
}

fn process_place(facts: &ProcessFacts) -> Said {
    let said = Said::of("where: ");
    let said = match &facts.container {
        Some(container) => said.name(container),
        None => said.text("on the host"),
    };
    let said = match &facts.work_item {
        Some(task) => said.text(", task ").name(task),
        None => said,
    };
    let ended = if facts.root_alive { "" } else { " (ended)" };
    let size = count(facts.members, "live process", "live processes");
    said.text(format!("; root pid {}{ended}, {size}", facts.root_pid))
}

fn cpu_words(facts: &ProcessFacts) -> String {
    let now = match CpuUse::of(facts.cpu_share) {
        CpuUse::Spinning(share) => format!("spinning, {} now; ", cores(share)),
        CpuUse::Working(share) => format!("{} now; ", cores(share)),
        CpuUse::Idle => "idle now; ".to_owned(),
        CpuUse::Unknown => String::new(),
    };
    format!("{now}{} so far, {} resident", duration_of(facts.cpu_ms), bytes(facts.rss_bytes))
}

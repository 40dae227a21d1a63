//! Reasons in English: what decided ownership, and what ended a condition.

use super::super::phrases::Proofs;
use super::super::said::Said;
use super::{English, bytes, count, duration, duration_of};
use crate::evidence::{Evidence, RunName};
use crate::observe::{Fault, Lineage, Reaper, Unclear};
use crate::signals::Ending;

impl Proofs for English {
    fn evidence(&self, evidence: &Evidence) -> Said {
        match evidence {
            Evidence::NoCookie => Said::of("no run cookie: no run of a core started it"),
            Evidence::CookieUnreadable => Said::of("its run cookie could not be read"),
            Evidence::CookieUnheard { cookie } => {
                Said::of(format!("run cookie {cookie}, and the core was not heard"))
            }
            Evidence::CookieUnasked { cookie } => {
                Said::of(format!("run cookie {cookie}, and no core is configured"))
            }
            Evidence::RunAlive { cookie, run } => name_of(run).text(format!(" is alive (cookie {cookie})")),
            Evidence::RunEnded { cookie, run, outcome } => match outcome {
                Some(outcome) => name_of(run).text(" has ended: ").name(outcome),
                None => name_of(run).text(" has ended"),
            }
            .text(format!(" (cookie {cookie})")),
            Evidence::CookieMaybeCut { cookie, left_out } => Said::of(format!(
                "the core does not list run cookie {cookie}, but it leaves out {left_out} runs"
            )),
            Evidence::CookieTooYoung { cookie } => Said::of(format!(
                "the core does not list run cookie {cookie} yet: the process is younger than its document"
            )),
            Evidence::SupervisorUnseen { cookie } => Said::of(format!(
                "the core does not list run cookie {cookie}; who supervises it could not be looked at"
            )),
            Evidence::SupervisorAlive { pid } => {
                Said::of(format!("its supervisor {pid} lives, so its run does"))
            }
            Evidence::CookieExpired { cookie } => Said::of(format!(
                "run cookie {cookie} is of no run of the last hour, and no supervisor of it lives"
            )),
            Evidence::CookieUnsupervised { cookie } => Said::of(format!(
                "run cookie {cookie} is of no run of this core, and no supervisor of it lives"
            )),
            Evidence::CookieOfAnother { cookie } => {
                Said::of(format!("run cookie {cookie} is of no run of this core"))
            }
            Evidence::Structure(lineage) => structure(lineage),
            Evidence::MayBeTheCores => Said::of("the core was not heard, so it may own this"),
            Evidence::LinkedToCore => Said::of("it was linked to the core"),
            Evidence::NeverLinked => Said::of("it was never linked to the core"),
            Evidence::CoreUnheard { age_s } => {
                Said::of(format!("the core was not heard for {}", seconds(*age_s)))
            }
            Evidence::EndedByLastWord { age_s } => Said::of(format!(
                "the core was not heard for {}; its last word already ended the run",
                seconds(*age_s)
            )),
            Evidence::Words(words) => Said::default().name(words.to_string()),
        }
    }

    fn ending(&self, ending: &Ending) -> Said {
        let said = match ending {
            Ending::LastProcessEnded => "its last process ended",
            Ending::OwnedAndYoung => "it is owned, and within its age limit",
            Ending::HostRestarted => "the host restarted",
            Ending::JobMoves => "the job moves again",
            Ending::JobEnded => "the job no longer runs",
            Ending::RunSettles => "its run has ended and is being settled",
            Ending::WithinShare => "it was started again, or its limit was raised",
            Ending::LeaseReleased => "the lease was released",
            Ending::LeaseOwned => "the lease has a live owner",
            Ending::TaskSettled => "the task is done or was cancelled",
            Ending::TaskFinished => "the task is finished",
            Ending::WithinStageLimit { stage } => {
                return Said::of("it is within the limit of ").name(stage);
            }
            Ending::WaitsForPerson => "it waits for a person now",
            Ending::PersonActed => "it no longer waits for a person",
            Ending::AskedAgain => "somebody answered, and is asked again",
            Ending::QueueEmpty => "no job that could run waits",
            Ending::SlotsTaken => "no slot is free",
            Ending::JobsStart => "jobs start again",
            Ending::DiskHasRoom { percent } => {
                return Said::of(format!("more than {percent}% of bytes and inodes are free"));
            }
            Ending::CoreOnTime => "its documents and actors are on time, and the clocks agree",
            Ending::CpuRelieved { percent } => {
                return Said::of(format!("work waits {percent}% of the time"));
            }
            Ending::ChannelTakes => "it takes notices again",
            Ending::CoreAnswers => "the core answers again",
            Ending::CoreStarts => "the core answers again: it is starting",
            Ending::CoreUnreadable => "the core answers again, in a form that cannot be used",
            Ending::CoreOtherSchema => "the core answers again, in another schema version",
            Ending::HostHasRoom => "the host has room again",
            Ending::ChannelUnconfigured => "the channel is no longer configured",
            Ending::CanLook => "it can look again",
            Ending::StateSaved => "it is saved again",
            Ending::SwitchedOff => "the signal was switched off by a setting",
            Ending::Words(words) => return Said::default().name(words.to_string()),
        };
        Said::of(said)
    }

    fn fault(&self, fault: &Fault) -> Said {
        let with_cause = |said: &str, cause: &Option<String>| match cause {
            Some(cause) => Said::of(format!("{said}: ")).name(cause),
            None => Said::of(said),
        };
        match fault {
            Fault::Late { waited_ms } => Said::of(format!("no answer within {}", duration_of(*waited_ms))),
            Fault::Connect { cause } => with_cause("cannot connect", cause),
            Fault::BrokeOff { cause } => with_cause("the answer broke off", cause),
            Fault::TooLarge { limit_bytes } => {
                Said::of(format!("its document is larger than {}", bytes(*limit_bytes)))
            }
            Fault::Answers(status) => Said::of(format!("it answers {status}")),
            Fault::AnswersInstead(status) => Said::of(format!("it answers {status} instead of a document")),
            Fault::TokenRefused(status) => Said::of(format!("it refuses the read token ({status})")),
            Fault::NoDocument => Said::of("it is no observation document"),
            Fault::BreaksContract { error } => Said::of("its document breaks the contract: ").name(error),
            Fault::Words(words) => Said::default().name(words),
        }
    }
}

fn seconds(seconds: i64) -> String {
    duration(seconds.saturating_mul(1_000))
}

fn name_of(run: &RunName) -> Said {
    let said = Said::of(format!("run {}", run.run_id));
    match &run.work_item {
        Some(item) => said.text(" of ").name(item),
        None => said,
    }
}

fn structure(lineage: &Lineage) -> Said {
    match lineage {
        Lineage::Main => Said::of("main command of its container or service"),
        Lineage::Reparented { reaper, leader_alive, .. } => {
            let leader = if *leader_alive { "lives" } else { "is gone" };
            Said::of("its starter is gone, its parent is ")
                .and(adopter(reaper))
                .text(format!("; the leader of its session and group {leader}"))
        }
        Lineage::ExecRoot { parent_pid: 0 } => {
            Said::of("exec, owner unknown: its parent cannot be seen from here")
        }
        Lineage::ExecRoot { parent_pid } => {
            Said::of(format!("exec into its container by pid {parent_pid}, owner unknown"))
        }
        Lineage::Child { parent_pid, root_name } => {
            Said::of(format!("child of {parent_pid}, which lives, below ")).name(root_name)
        }
        Lineage::Unknown(unclear) => {
            Said::of("its place in the process tree is unknown: ").text(match unclear {
                Unclear::Process(pid) => format!("process {pid} could not be read"),
                Unclear::Status(pid) => format!("status of {pid} could not be read"),
                Unclear::Parent(pid) => format!("parent {pid} could not be read"),
                Unclear::ParentStatus(pid) => format!("status of parent {pid} could not be read"),
                Unclear::Ancestors(depth) => format!("more than {}", count(*depth, "ancestor", "ancestors")),
            })
        }
    }
}

fn adopter(reaper: &Reaper) -> Said {
    let known = |said: Said, name: &str, pid: i32| said.name(name).text(format!(" ({pid})"));
    match reaper {
        Reaper::HostInit => Said::of("host init"),
        Reaper::NamespaceInit { name, pid } => known(Said::of("the init of its pid namespace, "), name, *pid),
        Reaper::OuterInit { name, pid } => known(Said::of("the init of a pid namespace, "), name, *pid),
        Reaper::Adopter { name, pid } => {
            known(Said::default(), name, *pid).text(" of another session, which adopted it")
        }
        Reaper::Heir { name, pid, before } => {
            known(Said::default(), name, *pid).text(format!(", which adopted it from {before}"))
        }
        Reaper::UserManager { pid } => Said::of(format!("the service manager of a user ({pid})")),
        Reaper::Known { name, pid } => known(Said::of("the reaper "), name, *pid),
        Reaper::Core => Said::of("the core, which did not register it"),
        Reaper::Supervisor => Said::of("a supervisor of the core, which did not register it"),
        Reaper::Through { reaper, name, pid } => known(adopter(reaper).text(", through "), name, *pid),
    }
}

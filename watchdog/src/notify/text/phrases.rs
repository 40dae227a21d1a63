//! What a language must be able to say: one method a phrase.
//!
//! Responsible for the closed set: a language is a type with all of these, so a phrase that is missing
//! in one of them does not compile. It says nothing itself. The order of lines, the commands and the
//! links are the same in every language and stand in the module above.

use super::answers::ChatWord;
use super::said::Said;
use crate::cases::CaseId;
use crate::commands::{About, CaseLine, Ended, Malformed, MuteLine, Refusal};
use crate::evidence::Evidence;
use crate::notify::buttons::Wish;
use crate::observe::Fault;
use crate::signals::{
    AgentHungFacts, AgentOverrunFacts, ApprovalFacts, ChannelFacts, CollectorFacts, CoreDegradedFacts,
    CoreDownFacts, CpuStarvedFacts, DiskFacts, Ending, LeaseFacts, ProcessFacts, QueueStalledFacts,
    SignalKind, StageStuckFacts, StateFacts,
};

use crate::survey::{Headline, SurveyedFamily, Unheard, ViewLimit};

/// What a finding is, in the words of one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// What is wrong, as a short claim: the headline.
    pub(super) what: Said,
    /// What that was, as a noun: for its end, and for what comes and goes.
    pub(super) subject: Said,
    /// Where exactly, and the evidence, a line each.
    pub(super) details: Vec<Said>,
    /// What it does to the pipeline.
    pub(super) effect: Said,
}

/// A fault as a line of its own tells it: a sentence of a program stands there whole, with the cure at its end.
pub(super) fn in_full(fault: &Fault, in_short: Said) -> Said {
    match fault {
        Fault::Words(words) => Said::default().code(words),
        Fault::Late { .. }
        | Fault::Connect { .. }
        | Fault::BrokeOff { .. }
        | Fault::TooLarge { .. }
        | Fault::Answers(_)
        | Fault::AnswersInstead(_)
        | Fault::TokenRefused(_)
        | Fault::NoDocument
        | Fault::BreaksContract { .. } => in_short,
    }
}

/// Everything that is said.
pub(super) trait Language:
    Frames + Proofs + WorkFindings + CoreFindings + HostFindings + Answers + Scans
{
}

/// What stands around every finding.
pub(super) trait Frames {
    /// Before a claim that was told before.
    fn still(&self) -> &'static str;
    /// Before a claim that got worse.
    fn worse(&self) -> &'static str;
    /// Before a claim that was told before, and holds for another cause now.
    fn changed(&self) -> &'static str;
    /// Before the noun of what comes and goes.
    fn flapping(&self) -> &'static str;
    /// Below the headline: which reminder it is.
    fn reminder(&self, count: u32) -> String;
    /// Below the headline: how often it changed, and what follows.
    fn changes(&self, changes: usize) -> String;
    /// Before the noun of what is over.
    fn over_after(&self, lasted_ms: i64) -> String;
    /// The same, when its beginning is told only now.
    fn was_on(&self, from_ms: i64, until_ms: i64) -> String;
    /// Between the noun and what ended it.
    fn because(&self) -> &'static str;
    /// Since when, and for how long by now.
    fn since(&self, since_ms: i64, for_ms: i64) -> String;
    /// Before the address of the runbook.
    fn runbook(&self) -> &'static str;
    /// The last line of a message that cannot hold them all.
    fn more(&self, left_out: usize) -> String;

    /// The last line of a message that another one goes on with.
    fn more_follow(&self, left_out: usize) -> String;
    /// A message that is sent on purpose, to see whether it arrives.
    fn test_alert(&self, host: &str, at_ms: i64) -> Said;
}

/// Reasons.
pub(super) trait Proofs {
    /// One rule that was consulted about ownership.
    fn evidence(&self, evidence: &Evidence) -> Said;
    /// What ended a condition.
    fn ending(&self, ending: &Ending) -> Said;
    /// Why an answer could not be had or used.
    fn fault(&self, fault: &Fault) -> Said;
}

/// Findings about jobs, leases and tasks.
pub(super) trait WorkFindings {
    /// `agent_hung`.
    fn agent_hung(&self, facts: &AgentHungFacts) -> Told;
    /// `agent_overrun`.
    fn agent_overrun(&self, facts: &AgentOverrunFacts) -> Told;
    /// `lease_stale`.
    fn lease(&self, facts: &LeaseFacts) -> Told;
    /// `stage_stuck`.
    fn stage_stuck(&self, facts: &StageStuckFacts) -> Told;
    /// `approval_waiting`.
    fn approval(&self, facts: &ApprovalFacts) -> Told;
}

/// Findings about the core.
pub(super) trait CoreFindings {
    /// `core_down`.
    fn core_down(&self, facts: &CoreDownFacts) -> Told;
    /// `core_degraded`.
    fn core_degraded(&self, facts: &CoreDegradedFacts) -> Told;
    /// `queue_stalled`.
    fn queue_stalled(&self, facts: &QueueStalledFacts) -> Told;
    /// `disk_low`.
    fn disk(&self, facts: &DiskFacts) -> Told;
}

/// Findings about the host and about ourselves.
pub(super) trait HostFindings {
    /// `proc_blocking`, `proc_orphaned`.
    fn process(&self, signal: SignalKind, facts: &ProcessFacts) -> Told;
    /// `cpu_starved`.
    fn cpu_starved(&self, facts: &CpuStarvedFacts) -> Told;
    /// `delivery_failing`.
    fn channel(&self, facts: &ChannelFacts) -> Told;
    /// `collector_unavailable`.
    fn collector(&self, facts: &CollectorFacts) -> Told;
    /// `state_unsaved`.
    fn state(&self, facts: &StateFacts) -> Told;
}

/// A look at the host.
pub(super) trait Scans {
    /// What it comes to.
    fn headline(&self, headline: Headline) -> Said;
    /// Behind the headline: how many processes could be read.
    fn readable(&self, readable: u64, listed: u64) -> Said;
    /// Why not all of the host can be seen.
    fn limit(&self, limit: &ViewLimit) -> Said;
    /// Why the core's word is missing, and what follows from it.
    fn unheard(&self, unheard: &Unheard) -> Said;
    /// Why nobody could look, as the system said it.
    fn could_not_look(&self, why: &str) -> Said;
    /// A family in one line.
    fn family(&self, seen: &SurveyedFamily) -> Said;
    /// Members that are not shown.
    fn more_members(&self, left_out: usize) -> Said;
    /// The topmost process has ended.
    fn root_ended(&self, pid: i32) -> Said;
    /// Where it runs.
    fn container(&self, name: &str) -> Said;
    /// A rule that was consulted.
    fn rule(&self, rule: Said) -> Said;
    /// What stops it.
    fn stop(&self, command: &str) -> Said;
}

/// Answers to commands.
pub(super) trait Answers {
    /// What a command was about.
    fn about(&self, about: &About) -> Said;
    /// Muted until when, and how many that silences now.
    fn muted(&self, what: &About, until_ms: i64, silenced: usize) -> Said;
    /// Before what a command ended.
    fn ended(&self) -> &'static str;
    /// One thing that a command ended.
    fn ended_one(&self, ended: &Ended) -> Said;
    /// Before the case that was acknowledged.
    fn acknowledged(&self) -> &'static str;
    /// Why nothing was changed.
    fn refused(&self, refusal: &Refusal) -> Said;
    /// Words that are no command.
    fn malformed(&self, malformed: &Malformed) -> Said;
    /// A case of the status; `title` is its claim.
    fn case_line(&self, case: &CaseLine, title: Said) -> Said;
    /// A status without cases.
    fn nothing_fires(&self) -> &'static str;
    /// A mute of the status.
    fn mute_line(&self, mute: &MuteLine) -> Said;
    /// What is said in chats alone.
    fn chat(&self, word: ChatWord) -> Said;
    /// What a button says.
    fn button(&self, wish: Wish, id: CaseId) -> String;
}

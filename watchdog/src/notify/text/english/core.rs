//! Findings about the core, in English.

use super::super::phrases::{CoreFindings, Proofs as _, Told};
use super::super::said::Said;
use super::super::units;
use super::{English, bytes, count, date_time, duration, effect};
use crate::signals::{
    CoreDegradedFacts, CoreDownFacts, DegradedCause, DiskFacts, DiskShortage, QueueStalledFacts,
};

impl CoreFindings for English {
    fn core_down(&self, facts: &CoreDownFacts) -> Told {
        let polls = count(facts.polls as usize, "poll", "polls in a row");
        let heard = facts.last_heard_ms.map_or_else(|| "never".to_owned(), date_time);
        let mut details = vec![Said::of(format!("evidence: {polls} failed; last heard: {heard}"))];
        if !facts.work_items.is_empty() {
            details.push(Said::of("jobs ran then of: ").names(facts.work_items.iter().map(String::as_str)));
        }
        let (claim, follows) = match facts.reason.is_of_an_answer() {
            false => (
                "the core does not answer: ",
                "no task moves; jobs and leases cannot be judged until it answers",
            ),
            true => (
                "the core's answer cannot be used: ",
                "tasks may still move; they, jobs and leases cannot be judged until it can",
            ),
        };
        Told {
            what: Said::of(claim).and(self.fault(&facts.reason)),
            subject: Said::of("outage of the core"),
            details,
            effect: effect(follows),
        }
    }

    fn core_degraded(&self, facts: &CoreDegradedFacts) -> Told {
        let mut what = Said::of("the core answers, but ");
        let mut details = Vec::new();
        let mut effects: Vec<&str> = Vec::new();
        for (index, cause) in facts.causes.iter().enumerate() {
            let (claim, limit, follows) = degraded(cause);
            what = if index == 0 { what } else { what.text("; ") }.and(claim.clone());
            details.push(Said::of("evidence: ").and(claim).text(format!(" ({limit})")));
            if !effects.contains(&follows) {
                effects.push(follows);
            }
        }
        Told { what, subject: Said::of("trouble of the core"), details, effect: effect(&effects.join("; ")) }
    }

    fn queue_stalled(&self, facts: &QueueStalledFacts) -> Told {
        let jobs = count(facts.runnable as usize, "job is", "jobs are");
        Told {
            what: Said::of("the queue stands still: ").name(&facts.work_item).text(format!(
                " waits for {} though {} of {} slots {} free",
                duration(facts.waiting_ms),
                facts.slots_free,
                facts.slots_max,
                if facts.slots_free == 1 { "is" } else { "are" }
            )),
            subject: Said::of("standstill of the queue"),
            details: vec![
                Said::of("where: repository ")
                    .name(&facts.repo)
                    .text(format!(", job {} (", facts.job_id))
                    .name(&facts.stage)
                    .text(", ")
                    .name(&facts.role)
                    .text(")"),
                Said::of(format!("evidence: {jobs} ready, limit {}", duration(facts.limit_ms))),
                Said::of("the core says: ").name(&facts.reason),
            ],
            effect: effect("no agent starts although there is room"),
        }
    }

    fn disk(&self, facts: &DiskFacts) -> Told {
        let room = format!("{} of {} free", bytes(facts.free_bytes), bytes(facts.total_bytes));
        let whole = |number| units::grouped(number, ',');
        let inodes = format!("{} of {} inodes free", whole(facts.free_inodes), whole(facts.total_inodes));
        let share = |free, total| {
            units::percent(free, total).map_or_else(String::new, |percent| format!(" ({percent}%)"))
        };
        let room_share = share(facts.free_bytes, facts.total_bytes);
        let inode_share = share(facts.free_inodes, facts.total_inodes);
        let short = match facts.short_of {
            DiskShortage::Bytes => format!("{room}{room_share}"),
            DiskShortage::Inodes => format!("{inodes}{inode_share}"),
            DiskShortage::Both => format!("{room}{room_share}, {inodes}{inode_share}"),
        };
        Told {
            what: Said::of(format!("the core's disk is nearly full: {short}")),
            subject: Said::of("full disk of the core"),
            details: vec![
                Said::of("where: the core's data directory on ").name(&facts.core_host),
                Said::of(format!("evidence: {room}, {inodes}; limit {}%", facts.limit_percent)),
            ],
            effect: effect("when it is full the core can write nothing, and no task moves"),
        }
    }
}

/// The claim, its measure, and what follows from it.
fn degraded(cause: &DegradedCause) -> (Said, String, &'static str) {
    let limit = |ms: i64| format!("limit {}", duration(ms));
    match cause {
        DegradedCause::StaleDocument { age_ms, limit_ms } => (
            Said::of(format!("its document is the same for {}", duration(*age_ms))),
            limit(*limit_ms),
            "what it says of its work is old",
        ),
        DegradedCause::LateActor { name, period_ms, late_ms, limit_ms, passed } => {
            let late = duration(*late_ms);
            let claim = match passed {
                true => format!(" did not pass for {late}"),
                false => format!(" never passed in {late}"),
            };
            let measure = format!("due every {}, {}", duration(*period_ms), limit(*limit_ms));
            (Said::of("its ").name(name).text(claim), measure, "what that actor does is not done")
        }
        DegradedCause::OtherSchema { found, known } => (
            Said::of(format!("it speaks schema version {found}")),
            format!("this watchdog knows {known}"),
            "nothing about jobs, tasks and leases is told or taken back",
        ),
        DegradedCause::ClockSkew { ahead_ms, limit_ms } => {
            let direction = if *ahead_ms < 0 { "behind" } else { "ahead of" };
            let skew = duration(ahead_ms.saturating_abs());
            (
                Said::of(format!("its clock is {skew} {direction} ours")),
                limit(*limit_ms),
                "times that the two tell do not agree",
            )
        }
    }
}

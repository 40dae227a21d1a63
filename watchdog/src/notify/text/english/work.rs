//! Findings about jobs, leases and tasks, in English.

use super::super::in_headline;
use super::super::phrases::{Told, WorkFindings};
use super::super::said::Said;
use super::super::units;
use super::{English, date_time, duration, duration_of, effect, pids};
use crate::signals::{
    ActorWord, AgentHungFacts, AgentOverrunFacts, ApprovalFacts, HangCause, LeaseFacts, StageStuckFacts,
    StaleCause, WaitsForWord,
};

impl WorkFindings for English {
    fn agent_hung(&self, facts: &AgentHungFacts) -> Told {
        let who = who(&facts.work_item, &facts.stage, &facts.role);
        let mut details = vec![place(&facts.repo, facts.job_id, facts.run_id)];
        let what = match &facts.cause {
            HangCause::Silent { silent_ms, cpu_ms, window_ms } => {
                let (used, window) = (duration_of(*cpu_ms), duration(*window_ms));
                details.push(Said::of(format!(
                    "evidence (idle): no output, and its whole tree used {used} of CPU in {window}, less than 1% of a core"
                )));
                format!(" hangs: silent and idle for {}", duration(*silent_ms))
            }
            HangCause::RunGone { gone_ms, grace_ms } => {
                details.push(Said::of(format!(
                    "evidence (run): no exit was recorded within the reaper's grace of {}",
                    duration(*grace_ms)
                )));
                format!(": its run is gone for {} and nobody settled the job", duration(*gone_ms))
            }
        };
        details.extend(facts.families.iter().map(|(command, members)| {
            Said::of("in it: ").code(in_headline(command)).text(format!(" (pids {})", pids(members)))
        }));
        Told {
            what: who.clone().text(what),
            subject: Said::of("hang of ").and(who),
            details,
            effect: effect("the task does not move, and its slot is taken"),
        }
    }

    fn agent_overrun(&self, facts: &AgentOverrunFacts) -> Told {
        let who = who(&facts.work_item, &facts.stage, &facts.role);
        let (age, limit) = (duration(facts.age_ms), duration(facts.limit_ms));
        let share = share(facts.age_ms, facts.limit_ms);
        let wrote = facts.silent_ms.map_or_else(
            || "it wrote nothing yet".to_owned(),
            |silent_ms| format!("last output {} ago", duration(silent_ms)),
        );
        let mut details = vec![
            place(&facts.repo, facts.job_id, facts.run_id).text(format!(", attempt {}", facts.attempt)),
            Said::of(format!(
                "evidence (age): {age} of {limit}{share}, told above {}%; {wrote}",
                facts.share_percent
            )),
        ];
        if let Some(microusd) = facts.cost_microusd {
            details.push(Said::of(format!("cost so far: ${}", cents(microusd))));
        }
        Told {
            what: who.clone().text(format!(" runs for {age}, its limit is {limit}")),
            subject: Said::of("long run of ").and(who),
            details,
            effect: effect("at its limit the core ends it, and the attempt is lost"),
        }
    }

    fn lease(&self, facts: &LeaseFacts) -> Told {
        let subject =
            Said::of("stale lease of ").name(&facts.work_item).text(" (").name(&facts.edge).text(")");
        let age = duration(facts.age_ms);
        let (why, evidence) = match facts.cause {
            StaleCause::EarlierBoot => (
                "granted by an earlier life of the core".to_owned(),
                "evidence (owner): the core was restarted since",
            ),
            StaleCause::OwnerGone => {
                ("its owner is gone".to_owned(), "evidence (owner): gone by the core's own word")
            }
            StaleCause::TooOld(limit_ms) => (
                format!("{age} old, limit {}", duration(limit_ms)),
                "evidence (age): above all time-outs of an edge",
            ),
        };
        Told {
            what: subject.clone().text(format!(": {why}")),
            subject,
            details: vec![
                Said::of("where: repository ")
                    .name(&facts.repo)
                    .text(", held by ")
                    .name(&facts.actor)
                    .text(format!(", fencing {}", facts.fencing)),
                Said::of(format!("{evidence}; granted {age} ago")),
            ],
            effect: effect("no actor can move this task over that edge"),
        }
    }

    fn stage_stuck(&self, facts: &StageStuckFacts) -> Told {
        let (age, limit) = (duration(facts.age_ms), duration(facts.limit_ms));
        let next = match &facts.waits_for {
            Some(word) => actor(word),
            None => Said::of("nobody is named"),
        };
        let until = facts.until_ms.map_or_else(String::new, |until| format!(", by {}", date_time(until)));
        let mut details = vec![
            task(&facts.repo, &facts.title),
            Said::of(format!("evidence (age): {age} in this stage, limit {limit}")),
        ];
        if let Some(cause) = &facts.cause {
            details.push(Said::of("the core says: ").name(cause));
        }
        details.push(Said::of("acts next: ").and(next).text(until));
        Told {
            what: Said::default()
                .name(&facts.work_item)
                .text(" is in ")
                .name(&facts.stage)
                .text(format!(" for {age}, limit {limit}")),
            subject: Said::default().name(&facts.work_item).text(" stuck in ").name(&facts.stage),
            details,
            effect: effect("the task does not move, and no person was asked to act"),
        }
    }

    fn approval(&self, facts: &ApprovalFacts) -> Told {
        let waiting = duration(facts.waiting_ms);
        let person = match facts.person.is_empty() {
            true => Said::of("a person"),
            false => Said::default().name(&facts.person),
        };
        let mut details = vec![
            task(&facts.repo, &facts.title).text(", stage ").name(&facts.stage),
            Said::of(format!("evidence (age): {waiting}, limit {}", duration(facts.limit_ms))),
        ];
        if let Some(cause) = &facts.cause {
            details.push(Said::of("the core says: ").name(cause));
        }
        let item = Said::default().name(&facts.work_item);
        let (what, subject, follows) = match facts.blocked {
            true => (
                item.clone().text(format!(" is blocked for {waiting}; ")).and(person).text(" should mend it"),
                item.text(" blocked"),
                "the task stands still until somebody mends it",
            ),
            false => (
                item.clone().text(" waits for ").and(person).text(format!(" for {waiting}")),
                item.text(" waiting for an answer"),
                "the task stands still until somebody answers",
            ),
        };
        Told { what, subject, details, effect: effect(follows) }
    }
}

fn who(work_item: &str, stage: &str, role: &str) -> Said {
    Said::default().name(work_item).text(" (").name(stage).text(", ").name(role).text(")")
}

fn place(repo: &str, job_id: i64, run_id: i64) -> Said {
    Said::of("where: repository ").name(repo).text(format!(", job {job_id}, run {run_id}"))
}

fn task(repo: &str, title: &str) -> Said {
    Said::of("where: repository ").name(repo).text(", “").name(title).text("”")
}

fn actor(word: &ActorWord) -> Said {
    let sort = Said::of(match word.kind {
        WaitsForWord::Person => "a person",
        WaitsForWord::Agent => "an agent",
        WaitsForWord::Ci => "CI",
        WaitsForWord::Slot => "a free slot",
        WaitsForWord::Deploy => "a deployment",
        WaitsForWord::Core => "the core",
        WaitsForWord::Unknown => "somebody this watchdog does not know",
    });
    if word.name.is_empty() { sort } else { sort.text(" (").name(&word.name).text(")") }
}

fn share(age_ms: i64, limit_ms: i64) -> String {
    let whole = |ms: i64| u64::try_from(ms).unwrap_or(0);
    units::percent(whole(age_ms), whole(limit_ms))
        .map_or_else(String::new, |percent| format!(" ({percent}%)"))
}

fn cents(microusd: i64) -> String {
    let cents = microusd.max(0) / 10_000;
    format!("{}.{:02}", cents / 100, cents % 100)
}

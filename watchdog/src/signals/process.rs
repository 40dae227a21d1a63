//! Families of processes: which of `proc_blocking` and `proc_orphaned` holds for each.
//!
//! Responsible for walking the families and for what the verdict means when the core was not
//! heard; the two signals' own rules stand in their files. One family yields one state.

use super::{
    CaseKey, Context, CoreWord, Ending, Entity, Facts, Finding, HeldScope, Judged, Memory, Ownership,
    ProcessFacts, SignalKind, SignalState, proc_blocking, proc_orphaned, readable_document, switched_off,
};
use crate::evidence::Evidence;
use crate::observe::{Collected, Cookie, CoreSight, Family, Observation, ProcessKey};
use crate::proc::stop;

pub(super) fn derive(
    observation: &Observation,
    context: &Context<'_>,
    memory: &mut Memory,
    told_as_hung: &[ProcessKey],
    states: &mut Vec<SignalState>,
) {
    let thresholds = context.thresholds;
    if !thresholds.enabled(SignalKind::ProcBlocking) && !thresholds.enabled(SignalKind::ProcOrphaned) {
        return switched_off(SignalKind::ProcBlocking, context, states);
    }
    let proc = match &observation.proc {
        Collected::Fresh(proc) => proc,
        Collected::Unavailable(reason) => {
            return super::hold_slot(SignalKind::ProcBlocking, reason, states);
        }
        Collected::Off => return super::hold_slot(SignalKind::ProcBlocking, "not looked", states),
    };
    for family in &proc.families {
        let key = CaseKey { slot: SignalKind::ProcBlocking, entity: Entity::Family(family.key.clone()) };
        let judged = judge(observation, context, family);
        if told_as_hung.contains(&family.key) && judged.ownership == Ownership::Owned {
            let reason = "told with the hung job".to_owned();
            states.push(SignalState::Held { scope: HeldScope::Case(key), reason });
            continue;
        }
        let orphaned = proc_orphaned::assess(observation.at_ms, family, &judged, context, memory);
        if let proc_orphaned::Assessment::Active(severity, since_ms) = orphaned {
            let facts = facts(family, &judged, context);
            states.push(SignalState::Active(Finding {
                signal: SignalKind::ProcOrphaned,
                entity: key.entity,
                severity,
                since_ms,
                facts,
            }));
        } else if proc_blocking::holds(family, thresholds) {
            states.push(SignalState::Active(Finding {
                signal: SignalKind::ProcBlocking,
                entity: key.entity,
                severity: proc_blocking::SEVERITY,
                since_ms: family.started_at_ms,
                facts: facts(family, &judged, context),
            }));
        } else {
            states.push(match judged.ownership {
                Ownership::Owned => SignalState::Clear { key, how: Ending::OwnedAndYoung },
                Ownership::Orphan | Ownership::Foreign | Ownership::OwnerUnknown => SignalState::Held {
                    scope: HeldScope::Case(key),
                    reason: "within its grace, or its owner is unknown".to_owned(),
                },
            });
        }
    }
    for key in &proc.unseen {
        let key = CaseKey { slot: SignalKind::ProcBlocking, entity: Entity::Family(key.clone()) };
        let reason = "could not look where it was seen".to_owned();
        states.push(SignalState::Held { scope: HeldScope::Case(key), reason });
    }
    for key in context.open.iter().filter(|key| key.slot == SignalKind::ProcBlocking) {
        if let Entity::Family(process) = &key.entity
            && process.host_boot_id != proc.host_boot_id
        {
            states.push(SignalState::Gone { key: key.clone(), how: Ending::HostRestarted });
        }
    }
}

/// Judges by this tick's document. By an older one only what cannot un-happen counts: a run that
/// had ended has still ended; everything else is "owner unknown".
fn judge(observation: &Observation, context: &Context<'_>, family: &Family) -> Judged {
    if observation.core == CoreSight::Off {
        return (context.judge)(family, CoreWord::Off);
    }
    if let Ok(document) = readable_document(observation) {
        return (context.judge)(family, CoreWord::Document(document));
    }
    let without = (context.judge)(family, CoreWord::Silent);
    let Some(heard) = context.last_heard else { return without };
    let age_s = observation.at_ms.saturating_sub(heard.received_at_ms).max(0) / 1_000;
    let by_last_word = (context.judge)(family, CoreWord::Document(&heard.document));
    if let (Ownership::Orphan, Cookie::Run(cookie)) = (by_last_word.ownership, family.cookie) {
        let cookie = cookie.to_string();
        let ended =
            |tree: &&orch_contract::SupervisedTree| tree.cookie == cookie && tree.ended_at_ms.is_some();
        if heard.document.processes.iter().any(|tree| ended(&tree)) {
            let mut judged = by_last_word;
            judged.evidence.push(Evidence::EndedByLastWord { age_s });
            return judged;
        }
    }
    let mut judged = without;
    judged.evidence.push(Evidence::CoreUnheard { age_s });
    judged
}

fn facts(family: &Family, judged: &Judged, context: &Context<'_>) -> Facts {
    let work_item = match family.cookie {
        Cookie::Run(cookie) => context.last_heard.and_then(|heard| {
            let cookie = cookie.to_string();
            let tree = heard.document.processes.iter().find(|tree| tree.cookie == cookie)?;
            tree.work_item.clone()
        }),
        Cookie::None | Cookie::Unreadable => None,
    };
    Facts::Process(Box::new(ProcessFacts {
        command: family.command.clone(),
        matched_by: family.matched_by.clone(),
        root_pid: family.key.pid,
        root_alive: family.root_alive,
        pids: family.members.iter().map(|member| member.key.pid).take(ProcessFacts::PIDS_KEPT).collect(),
        members: family.members.len(),
        stop: family.stop.as_deref().map(|command| stop::in_message(command).to_owned()),
        age_ms: family.awake_age_ms,
        cpu_share: family.cpu_share,
        cpu_ms: family.cpu_ms,
        rss_bytes: family.rss_bytes,
        container: family.container.clone(),
        work_item,
        ownership: judged.ownership.into(),
        evidence: judged.evidence.clone(),
        age_limit_ms: context.thresholds.proc_age_ms,
    }))
}

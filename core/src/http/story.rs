//! Events and outcomes as one line for people.
//!
//! Pure; the words are for reading and may change, the typed event beside them may not.

use crate::domain::{event::Event, task::Standing, verdict::Waitee};

/// What happened, without who and why.
pub(super) fn line(event: &Event) -> String {
    match event {
        Event::Created { project, title, .. } => format!("taken in for {project}: {title}"),
        Event::Entered { from, to } => format!("{from} -> {to}"),
        Event::RolledBack { from, to, step, findings } => {
            format!("rolled back {from} -> {to} by {step}: {}", findings.join("; "))
        }
        Event::WrittenOver { found, to, step, findings } => match step {
            Some(step) => {
                format!("{to} was written over {found} by a late {step}: {}", findings.join("; "))
            }
            None => format!("{to} was written over {found} by a late decision"),
        },
        Event::Stood { standing } => stands(standing),
        Event::InfraRetry { step, detail, retry_at_ms } => {
            format!("{step} could not judge ({detail}); again at {}", crate::clock::rfc3339(*retry_at_ms))
        }
        Event::Retried { rerun: true } => "another try, with a new run of the agent".to_owned(),
        Event::Retried { rerun: false } => "another try".to_owned(),
        Event::DeployAsked { .. } => "the deploy is to be started again".to_owned(),
        Event::Approved { artifact, revision } => format!("approved {artifact} as of {}", short(revision)),
        Event::PullRequestOpened { number } => format!("pull request {number} is open"),
        Event::CandidatePrepared { head, base, .. } => {
            format!("candidate {} on {}", short(head), short(base))
        }
        Event::EffectDone { effect, revision, evidence } => {
            format!("{effect} of {} stands: {evidence}", short(revision))
        }
        Event::Merged { revision } => format!("merged as {}", short(revision)),
        Event::JobQueued { role } => format!("the {role} is called"),
        Event::RunEnded { role, attempt, outcome } => {
            format!("the {role}'s attempt {attempt} ended: {outcome}")
        }
        Event::LeaseReclaimed { why } => format!("the lease was taken from its owner ({why})"),
    }
}

fn stands(standing: &Standing) -> String {
    match standing {
        Standing::Moving {} => "moves".to_owned(),
        Standing::Waiting { who, reason, .. } => format!("waits for {}: {reason}", waitee(who)),
        Standing::Held { reason, retry_at_ms } => {
            format!("held until {}: {reason}", crate::clock::rfc3339(*retry_at_ms))
        }
        Standing::Blocked { cause, way_out } => format!("blocked: {cause}; way out: {way_out}"),
        Standing::Finished {} => "finished".to_owned(),
    }
}

fn waitee(who: &Waitee) -> String {
    match who {
        Waitee::Person { name } => format!("a person ({name})"),
        Waitee::Agent { name } => format!("the {name}"),
        Waitee::Ci { name } => format!("CI ({name})"),
        Waitee::Slot { name } => format!("the {name}"),
        Waitee::Deploy { name } => format!("the deploy of {}", short(name)),
    }
}

/// A revision as people quote it.
pub(super) fn short(revision: &str) -> &str {
    let hex = revision.len() >= 20 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { revision.get(..10).unwrap_or(revision) } else { revision }
}

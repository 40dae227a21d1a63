//! Each required context of exactly this head is green. A status of an older head never counts,
//! and a missing one is waiting, not passing.

use crate::{
    domain::verdict::{InfraClass, Verdict, Waitee},
    engine::{Site, infra},
    forge::StatusState,
    git::Sha,
};

pub(super) async fn ci(site: &Site, head: &str) -> Verdict {
    let contexts = &site.project.required_contexts;
    if contexts.is_empty() {
        return Verdict::Skipped { why: "required_contexts is empty".to_owned() };
    }
    let statuses = match Sha::parse(head) {
        Ok(commit) => match site.forge.statuses(&commit).await {
            Ok(statuses) => statuses,
            Err(error) => return infra(&error),
        },
        Err(error) => return infra(&error),
    };
    let wait = |context: &str, what: &str| Verdict::Wait {
        reason: format!("`{context}` of {} is {what}", head.get(..12).unwrap_or(head)),
        who: Waitee::Ci { name: context.to_owned() },
        until_ms: None,
    };
    for context in contexts {
        let Some(status) = statuses.iter().find(|status| status.context == *context) else {
            return wait(context, "not posted");
        };
        match status.state {
            StatusState::Success => {}
            StatusState::Pending => return wait(context, "pending"),
            StatusState::Failure => {
                return Verdict::Red { findings: vec![format!("CI `{context}`: {}", status.description)] };
            }
            StatusState::Error => {
                let detail = format!("CI `{context}`: {}", status.description);
                return Verdict::Infra { class: InfraClass::Other, detail };
            }
        }
    }
    Verdict::Pass { evidence: format!("{} green on {head}", contexts.join(", ")) }
}

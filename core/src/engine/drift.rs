//! Where the outside is not as our record says: somebody else was at work there.

use super::Engine;
use crate::{chain::chain, domain::stage::Stage, forge::PullRequestState, store::TaskRow};

impl Engine {
    /// In words, what stands otherwise outside than in the record of an open task that nobody works on
    /// now. A look that fails finds nothing: it is asked again.
    pub async fn drift(&self, row: &TaskRow) -> Option<String> {
        let key = row.task.key.as_str();
        match self.store.tracker_item(key.to_owned()).await {
            Ok(Some(item)) if item.state != "open" => {
                return Some(format!("the tracker has {key} as {}", item.state));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(work_item = key, error = %chain(&error), "could not look at the tracker");
            }
        }
        let number = row.task.pull_request.and_then(crate::effects::pr_number)?;
        let site = self.site(&row.task.project)?;
        match site.forge.get_pr(number).await {
            Ok(pull) => match pull.state {
                PullRequestState::Merged { merge_sha } if row.task.merged.is_none() => {
                    Some(format!("pull request {number} was merged as {merge_sha} by somebody else"))
                }
                PullRequestState::Closed if row.task.stage < Stage::Deploy => {
                    Some(format!("pull request {number} was closed by somebody else"))
                }
                PullRequestState::Open if row.task.merged.is_some() => {
                    Some(format!("pull request {number} is open again, though it was merged"))
                }
                PullRequestState::Merged { .. } | PullRequestState::Closed | PullRequestState::Open => None,
            },
            Err(error) => {
                tracing::warn!(work_item = key, error = %chain(&error), "could not look at the pull request");
                None
            }
        }
    }
}

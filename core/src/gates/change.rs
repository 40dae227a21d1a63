//! Development delivered something: the branch is on the forge, its pull request is open, and it
//! changes more than the work item's own papers.

use crate::{
    domain::{artifact::artifacts_dir, verdict::Verdict},
    effects::pr_number,
    engine::{Site, infra},
    forge::{ForgeError, PullRequestState},
    git::{GitError, Sha},
    store::TaskRow,
};

pub(super) async fn change(site: &Site, row: &TaskRow, head: &str) -> Verdict {
    let red = |finding: &str| Verdict::Red { findings: vec![finding.to_owned()] };
    let Some(number) = row.task.pull_request.and_then(pr_number) else {
        return red("there is no pull request");
    };
    match site.forge.get_pr(number).await {
        Err(ForgeError::NotFound { .. }) => return red("the pull request is gone"),
        Err(error) => return infra(&error),
        Ok(pull) => match pull.state {
            PullRequestState::Open if pull.head_sha.as_str() == head => {}
            PullRequestState::Open => {
                return Verdict::Infra {
                    class: crate::domain::verdict::InfraClass::Other,
                    detail: format!("the forge has {} and not {head}", pull.head_sha),
                };
            }
            PullRequestState::Merged { .. } => return red("the pull request is merged already"),
            PullRequestState::Closed => return red("the pull request was closed"),
        },
    }
    let papers = format!("{}/", artifacts_dir(row.task.key.as_str()));
    match changed_files(site, head).await {
        Err(error) => infra(&error),
        Ok(files) => {
            let real = files.iter().filter(|file| !file.starts_with(&papers)).count();
            if real == 0 {
                red(&format!("the branch changes nothing outside {papers}"))
            } else {
                Verdict::Pass { evidence: format!("pull request {number} changes {real} files") }
            }
        }
    }
}

/// Files that differ from where the branch left the target.
async fn changed_files(site: &Site, head: &str) -> Result<Vec<String>, GitError> {
    let head = Sha::parse(head)?;
    site.repo.fetch().await?;
    let target = site
        .repo
        .target_head()
        .await?
        .ok_or_else(|| GitError::NotFound { what: "the target branch".to_owned() })?;
    let base = site.repo.merge_base(&target, &head).await?;
    site.repo.diff_names(base.as_ref().unwrap_or(&target), &head).await
}

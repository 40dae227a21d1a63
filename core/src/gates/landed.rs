//! The tree that landed is the tree that was tested, on the base that it was tested on.

use crate::{
    domain::{
        task::Candidate,
        verdict::{InfraClass, Verdict},
    },
    engine::{Site, infra},
    git::{GitError, Sha},
    store::TaskRow,
};

pub(super) async fn landed_tree(site: &Site, row: &TaskRow, candidate: Option<&Candidate>) -> Verdict {
    let Some(merged) = &row.task.merged else {
        return Verdict::Infra { class: InfraClass::Other, detail: "nothing is merged".to_owned() };
    };
    let Some(candidate) = candidate else {
        return Verdict::Red { findings: vec![format!("{merged} landed without having been tested here")] };
    };
    match compare(site, merged, candidate).await {
        Ok(None) => Verdict::Pass { evidence: format!("tree {} landed as {merged}", candidate.tree) },
        Ok(Some(difference)) => Verdict::Red { findings: vec![difference] },
        Err(error) => infra(&error),
    }
}

async fn compare(site: &Site, merged: &str, candidate: &Candidate) -> Result<Option<String>, GitError> {
    let merged = Sha::parse(merged)?;
    site.repo.fetch().await?;
    let tree = site.repo.tree_of(&merged).await?.to_string();
    if tree != candidate.tree {
        return Ok(Some(format!("tree {tree} landed as {merged}, but tree {} was tested", candidate.tree)));
    }
    // fast-forward: the candidate itself is on the target, its base is among its own parents
    if merged.as_str() == candidate.head {
        return Ok(None);
    }
    let first = site.repo.first_parent(&merged).await?.map(|parent| parent.to_string());
    Ok((first.as_deref() != Some(candidate.base.as_str())).then(|| {
        format!(
            "{merged} stands on {}, but was tested on {}",
            first.as_deref().unwrap_or("nothing"),
            candidate.base
        )
    }))
}

//! Prepare the candidate: the task branch on the target's head, and on the forge.
//!
//! The probe is the remote ref. A target that is an ancestor already is not rebased on: that would
//! rewrite the head, and void every verdict given to it, for nothing.

use crate::{
    chain::chain,
    domain::{
        effect::{EffectOutcome, Probe},
        event::Event,
    },
    engine::{Engine, Site},
    git::{Branch, GitError, PushOutcome, RebaseOutcome, Sha},
    store::TaskRow,
};

/// Local head, forge's head and target's head, freshly fetched.
struct Ground {
    head: Sha,
    on_forge: Option<Sha>,
    target: Sha,
}

async fn ground(site: &Site, row: &TaskRow) -> Result<Ground, GitError> {
    site.repo.fetch().await?;
    let branch = site.branch(row.task.key.as_str())?;
    let missing = |what: &str| GitError::NotFound { what: what.to_owned() };
    Ok(Ground {
        head: site.repo.branch_head(&branch).await?.ok_or_else(|| missing("the task branch"))?,
        on_forge: site.repo.ls_remote(&Branch::Task(branch)).await?,
        target: site.repo.target_head().await?.ok_or_else(|| missing("the target branch"))?,
    })
}

async fn stands(site: &Site, ground: &Ground) -> Result<bool, GitError> {
    Ok(ground.on_forge.as_ref() == Some(&ground.head)
        && site.repo.is_ancestor(&ground.target, &ground.head).await?)
}

/// Journalled under the pair that it starts from; `None` when the task's candidate stands as it
/// is.
pub(super) async fn revision(site: &Site, row: &TaskRow) -> Result<Option<String>, EffectOutcome> {
    let failed = |error: GitError| EffectOutcome::Failed(chain(&error));
    let ground = ground(site, row).await.map_err(failed)?;
    let known = row.task.candidate.as_ref();
    if stands(site, &ground).await.map_err(failed)?
        && known
            .is_some_and(|known| known.head == ground.head.as_str() && known.base == ground.target.as_str())
    {
        return Ok(None);
    }
    Ok(Some(format!("{}+{}", ground.head, ground.target)))
}

pub(super) async fn probe(site: &Site, row: &TaskRow) -> Probe {
    let looked = async {
        let ground = ground(site, row).await?;
        if stands(site, &ground).await? {
            evidence(site, &ground.head, &ground.target).await.map(Some)
        } else {
            Ok(None)
        }
    };
    match looked.await {
        Ok(Some(evidence)) => Probe::Done(evidence),
        Ok(None) => Probe::Absent,
        Err(error) => Probe::CannotTell(chain(&error)),
    }
}

pub(super) async fn act(engine: &Engine, site: &Site, row: &TaskRow) -> EffectOutcome {
    match prepare(engine, site, row).await {
        Ok(outcome) => outcome,
        Err(error) => EffectOutcome::Failed(chain(&error)),
    }
}

async fn prepare(engine: &Engine, site: &Site, row: &TaskRow) -> Result<EffectOutcome, GitError> {
    let ground = ground(site, row).await?;
    let branch = site.branch(row.task.key.as_str())?;
    // no agent runs in this stage any more: what lies around is older than this entry
    let worktree = site.repo.ensure_worktree(&branch, engine.clock.now_ms()).await?;
    let head = match site.repo.rebase_onto(&worktree, &ground.target).await? {
        RebaseOutcome::AlreadyCurrent { head } | RebaseOutcome::Rebased { head } => head,
        RebaseOutcome::Conflict { files } => {
            return Ok(EffectOutcome::Refused(format!(
                "conflict with {} at {} in {}",
                site.repo.target().name(),
                ground.target,
                files.join(", ")
            )));
        }
    };
    if ground.on_forge.as_ref() != Some(&head) {
        match site.repo.push_branch(&branch, &head, ground.on_forge.as_ref()).await? {
            PushOutcome::Pushed | PushOutcome::UpToDate => engine.wakes.ci.notify_one(),
            PushOutcome::Stale => {
                return Ok(EffectOutcome::Moved("the branch moved on the forge".to_owned()));
            }
            PushOutcome::Rejected { reason } => return Ok(EffectOutcome::Failed(reason)),
        }
    }
    Ok(EffectOutcome::Done(evidence(site, &head, &ground.target).await?))
}

/// One line that the event is read back from.
async fn evidence(site: &Site, head: &Sha, base: &Sha) -> Result<String, GitError> {
    Ok(format!("head {head} base {base} tree {}", site.repo.tree_of(head).await?))
}

pub(super) fn event(evidence: &str) -> Option<Event> {
    let list: Vec<&str> = evidence.split_whitespace().collect();
    match list.as_slice() {
        ["head", head, "base", base, "tree", tree] => Some(Event::CandidatePrepared {
            head: (*head).to_owned(),
            base: (*base).to_owned(),
            tree: (*tree).to_owned(),
        }),
        _ => None,
    }
}

//! The role's file with its machine verdict, and a person's approval of the brief. Both read the
//! exact commit, never the working tree: what is not committed was not delivered.

use crate::{
    domain::{
        artifact::{ArtifactRule, ArtifactVerdict, artifacts_dir, read_verdict, rule_of},
        job::Role,
        verdict::{Verdict, Waitee},
    },
    engine::{Engine, EngineError, Site, infra},
    git::{GitError, RepoPath, Sha},
    store::TaskRow,
};

/// Largest artifact that is read.
const ARTIFACT_MAX_BYTES: usize = 1024 * 1024;

pub(super) async fn artifact(site: &Site, row: &TaskRow, head: &str) -> Verdict {
    let Some(rule) = row.task.stage.row().role.and_then(rule_of) else {
        return Verdict::Skipped { why: "the role delivers no file".to_owned() };
    };
    match read(site, row, head, &rule).await {
        Ok(verdict) => verdict,
        Err(error) => infra(&error),
    }
}

async fn read(site: &Site, row: &TaskRow, head: &str, rule: &ArtifactRule) -> Result<Verdict, GitError> {
    let red = |finding: String| Verdict::Red { findings: vec![finding] };
    let folder = artifacts_dir(row.task.key.as_str());
    let Ok(commit) = Sha::parse(head) else {
        return Ok(red(format!("{folder}/{}: the branch has no commit", rule.path)));
    };
    let files = if let Some(sub) = rule.path.strip_suffix('/') {
        let inside = RepoPath::parse(&format!("{folder}/{sub}"))?;
        let mut files: Vec<String> = site
            .repo
            .list_files(&commit, &inside)
            .await?
            .into_iter()
            .filter(|file| std::path::Path::new(file).extension().is_some_and(|ending| ending == "md"))
            .collect();
        files.sort();
        files
    } else {
        vec![format!("{folder}/{}", rule.path)]
    };
    if files.is_empty() {
        return Ok(red(format!(
            "{folder}/{}: no .md file is committed there (it must carry `{}`)",
            rule.path, rule.key
        )));
    }
    let mut last = None;
    for file in &files {
        let Some(content) = site.repo.show_file(&commit, &RepoPath::parse(file)?).await? else {
            let allowed = [rule.good, rule.bad, rule.ask].concat().join(" | ");
            return Ok(red(format!("{file}: not committed; `{}` must be one of {allowed}", rule.key)));
        };
        if content.len() > ARTIFACT_MAX_BYTES {
            return Ok(red(format!("{file}: larger than {ARTIFACT_MAX_BYTES} bytes")));
        }
        match read_verdict(rule, file, &String::from_utf8_lossy(&content)) {
            ArtifactVerdict::Good(word) => last = Some(format!("{file}: {} is {word}", rule.key)),
            ArtifactVerdict::Bad(word, findings) if findings.is_empty() => {
                return Ok(red(format!("{file}: {} is {word}", rule.key)));
            }
            ArtifactVerdict::Bad(_, findings) => return Ok(Verdict::Red { findings }),
            ArtifactVerdict::Ask(word) => {
                return Ok(Verdict::Wait {
                    reason: format!(
                        "{file}: {} is {word}: answer its questions, then `task rollback`",
                        rule.key
                    ),
                    who: Waitee::Person { name: "author of the work item".to_owned() },
                    until_ms: None,
                });
            }
            ArtifactVerdict::Unreadable(why) => return Ok(red(why)),
        }
    }
    Ok(Verdict::Pass { evidence: last.unwrap_or_default() })
}

pub(super) async fn approval(
    engine: &Engine,
    site: &Site,
    row: &TaskRow,
    head: &str,
) -> Result<Verdict, EngineError> {
    let file = rule_of(Role::Analyst).map_or("01-brief.md", |rule| rule.path);
    let path = format!("{}/{file}", artifacts_dir(row.task.key.as_str()));
    let revision = match (Sha::parse(head), RepoPath::parse(&path)) {
        (Ok(commit), Ok(repo_path)) => match site.repo.blob_id(&commit, &repo_path).await {
            Ok(Some(blob)) => blob.to_string(),
            Ok(None) => return Ok(Verdict::Red { findings: vec![format!("{path}: not committed")] }),
            Err(error) => return Ok(infra(&error)),
        },
        (Err(error), _) | (_, Err(error)) => return Ok(infra(&error)),
    };
    Ok(match engine.store.approval(row.id, path.clone(), revision.clone()).await? {
        Some(who) => Verdict::Pass { evidence: format!("{who} approved {path} at {revision}") },
        None => {
            let approvers = &site.project.approvers;
            let name = if approvers.is_empty() { "an approver".to_owned() } else { approvers.join(", ") };
            Verdict::Wait {
                reason: format!("approval of {path} at {}", revision.get(..12).unwrap_or(&revision)),
                who: Waitee::Person { name },
                until_ms: None,
            }
        }
    })
}

//! What git says of a pull request, and the merge.
//!
//! Responsible for telling merged from open out of the repository itself, for healing a record that lags behind it,
//! and for moving the target branch.
//! Deliberately not here: whether the candidate deserves it, beyond the contexts that this forge demands.
//!
//! Invariants: the target moves in one ref transaction that holds both its old commit and the task branch's head. The
//! merge's commit is written down before it lands, so a crash in between is recognised exactly; without that note a
//! merge commit is still recognised by its second parent.

use super::records::{MergeIntent, PrRecord, RecordState, RecordsLock};
use super::{LocalForge, kept_ref};
use crate::forge::{
    ForgeError, MergeMethod, MergeOutcome, MergeRequest, Mergeability, PrNumber, PullRequest,
    PullRequestState, StatusState,
};
use crate::git::{GitError, Sha};

/// A trial merge.
enum Trial {
    Tree(String),
    Conflict { files: Vec<String> },
}

impl LocalForge {
    /// The pull request as git tells it, and whether that differs from the record.
    pub(super) async fn truth(&self, record: &PrRecord) -> Result<(PullRequest, bool), ForgeError> {
        let told = |state, head_sha: &Sha| PullRequest {
            number: record.number,
            head_branch: record.branch.clone(),
            base_branch: record.base.clone(),
            head_sha: head_sha.clone(),
            state,
            title: record.title.clone(),
        };
        match &record.state {
            RecordState::Merged { merge_sha, head_sha } => {
                let state = PullRequestState::Merged { merge_sha: merge_sha.clone() };
                return Ok((told(state, head_sha), false));
            }
            RecordState::Closed { head_sha } => return Ok((told(PullRequestState::Closed, head_sha), false)),
            RecordState::Open => {}
        }
        let base = self.base_head(record).await?;
        if let Some(intent) = &record.intent
            && self.contains(&base, &intent.merge_sha).await?
        {
            let state = PullRequestState::Merged { merge_sha: intent.merge_sha.clone() };
            return Ok((told(state, &intent.head_sha), true));
        }
        let head = match self.ref_head(&record.branch.full_ref()).await? {
            Some(head) => head,
            None => self.ref_head(&kept_ref(record.number)).await?.ok_or_else(|| ForgeError::NotFound {
                what: format!("branch {} of pull request {}", record.branch, record.number),
            })?,
        };
        match self.merge_of(&head, &base).await? {
            Some(merge_sha) => Ok((told(PullRequestState::Merged { merge_sha }, &head), true)),
            None => Ok((told(PullRequestState::Open, &head), false)),
        }
    }

    /// [`Self::truth`], with the record brought up to it.
    pub(super) async fn healed(
        &self,
        record: PrRecord,
        lock: &RecordsLock,
    ) -> Result<PullRequest, ForgeError> {
        let (request, changed) = self.truth(&record).await?;
        if let (true, PullRequestState::Merged { merge_sha }) = (changed, &request.state) {
            tracing::info!(pull_request = record.number.0, %merge_sha, "a merge had landed without its record");
            self.note_merged(record, merge_sha, &request.head_sha, lock).await?;
        }
        Ok(request)
    }

    async fn note_merged(
        &self,
        mut record: PrRecord,
        merge_sha: &Sha,
        head_sha: &Sha,
        lock: &RecordsLock,
    ) -> Result<(), ForgeError> {
        self.keep_head(record.number, head_sha).await?;
        record.state = RecordState::Merged { merge_sha: merge_sha.clone(), head_sha: head_sha.clone() };
        record.intent = None;
        self.records.save(&record, lock).await
    }

    async fn base_head(&self, record: &PrRecord) -> Result<Sha, ForgeError> {
        let head = self.ref_head(&record.base.full_ref()).await?;
        head.ok_or_else(|| ForgeError::NotFound { what: format!("branch {}", record.base) })
    }

    /// Whether a commit is reachable from another; one whose objects never came to be is not.
    async fn contains(&self, newer: &Sha, older: &Sha) -> Result<bool, ForgeError> {
        match self.call(&["merge-base", "--is-ancestor", older.as_str(), newer.as_str()]).yes().await {
            Ok(answer) => Ok(answer),
            Err(GitError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The commit on the base's first-parent line whose second parent is this head.
    async fn merge_of(&self, head: &Sha, base: &Sha) -> Result<Option<Sha>, ForgeError> {
        if !self.contains(base, head).await? {
            return Ok(None);
        }
        let without = format!("^{head}");
        let args =
            ["rev-list", "--first-parent", "--parents", "--min-parents=2", base.as_str(), &without, "--"];
        let lines = self.call(&args).text().await?;
        let merge = lines.lines().find_map(|line| {
            let mut ids = line.split(' ');
            let commit = ids.next()?;
            (ids.nth(1) == Some(head.as_str())).then_some(commit)
        });
        merge.map(|id| Sha::parse(id).map_err(|error| ForgeError::Git(error.into()))).transpose()
    }

    async fn trial(&self, base: &Sha, head: &Sha) -> Result<Trial, ForgeError> {
        // an unknown commit would end like a conflict
        self.require_commit(head).await?;
        let args = ["merge-tree", "--write-tree", "--name-only", "-z", base.as_str(), head.as_str()];
        let answer = self.call(&args).tree().output().await?;
        let stdout = answer.stdout();
        let mut fields = stdout.split('\0');
        let tree = fields.next().unwrap_or_default().to_owned();
        match answer.code() {
            Some(0) => Ok(Trial::Tree(tree)),
            Some(1) if !tree.is_empty() => {
                let mut files: Vec<String> =
                    fields.take_while(|field| !field.is_empty()).map(str::to_owned).collect();
                files.dedup();
                Ok(Trial::Conflict { files })
            }
            Some(_) | None => Err(answer.error().into()),
        }
    }

    /// Why the rules stand against merging this head onto this base, if they do.
    async fn objection(&self, base: &Sha, head: &Sha) -> Result<Option<String>, ForgeError> {
        if self.contains(base, head).await? {
            return Ok(Some("the base has all of its commits: nothing to merge".to_owned()));
        }
        let statuses = self.records.statuses(head)?;
        let missing: Vec<&str> = self
            .required_contexts
            .iter()
            .filter(|context| {
                !statuses
                    .iter()
                    .any(|status| status.context == **context && status.state == StatusState::Success)
            })
            .map(String::as_str)
            .collect();
        if missing.is_empty() {
            return Ok(None);
        }
        Ok(Some(format!("required status not successful on {}: {}", head.short(), missing.join(", "))))
    }

    pub(super) async fn do_mergeable(&self, number: PrNumber) -> Result<Mergeability, ForgeError> {
        let request = self.do_get(number).await?;
        match request.state {
            PullRequestState::Merged { merge_sha } => return Ok(Mergeability::AlreadyMerged { merge_sha }),
            PullRequestState::Closed => return Ok(Mergeability::Closed),
            PullRequestState::Open => {}
        }
        let base = self.base_head(&self.records.load(number)?).await?;
        if let Trial::Conflict { files } = self.trial(&base, &request.head_sha).await? {
            return Ok(Mergeability::Conflict { files });
        }
        Ok(match self.objection(&base, &request.head_sha).await? {
            Some(reason) => Mergeability::Blocked { reason },
            None => Mergeability::Clean,
        })
    }

    pub(super) async fn do_merge(&self, asked: &MergeRequest) -> Result<MergeOutcome, ForgeError> {
        let lock = self.records.lock().await?;
        let mut record = self.records.load(asked.number)?;
        let request = self.healed(record.clone(), &lock).await?;
        match request.state {
            PullRequestState::Merged { merge_sha } => return Ok(MergeOutcome::AlreadyMerged { merge_sha }),
            PullRequestState::Closed => return Ok(MergeOutcome::Closed),
            PullRequestState::Open => {}
        }
        if let Some(moved) = self.moved(&record, asked).await? {
            return Ok(moved);
        }
        let (base, head) = (&asked.expected_base, &asked.expected_head);
        if let Some(reason) = self.objection(base, head).await? {
            return Ok(MergeOutcome::NotMergeable { reason });
        }
        let merge_sha = match asked.method {
            MergeMethod::FastForwardOnly if self.contains(head, base).await? => head.clone(),
            MergeMethod::FastForwardOnly => {
                return Ok(MergeOutcome::NotMergeable {
                    reason: "not a fast-forward of the base".to_owned(),
                });
            }
            MergeMethod::MergeCommit => match self.trial(base, head).await? {
                Trial::Tree(tree) => self.merge_commit(&tree, asked).await?,
                Trial::Conflict { .. } => return Ok(MergeOutcome::Conflict),
            },
        };
        record.intent = Some(MergeIntent { head_sha: head.clone(), merge_sha: merge_sha.clone() });
        self.records.save(&record, &lock).await?;
        if let Err(failure) = self.land(&record, asked, &merge_sha).await {
            // a guard of the transaction, or something else
            return match self.moved(&record, asked).await? {
                Some(moved) => Ok(moved),
                None => Err(failure.into()),
            };
        }
        self.note_merged(record, &merge_sha, head, &lock).await?;
        Ok(MergeOutcome::Merged { merge_sha })
    }

    /// Which guard does not hold, if one does not.
    async fn moved(
        &self,
        record: &PrRecord,
        asked: &MergeRequest,
    ) -> Result<Option<MergeOutcome>, ForgeError> {
        let Some(head) = self.ref_head(&record.branch.full_ref()).await? else {
            return Ok(Some(MergeOutcome::NotMergeable {
                reason: format!("branch {} is gone", record.branch),
            }));
        };
        if head != asked.expected_head {
            return Ok(Some(MergeOutcome::HeadMoved { actual: head }));
        }
        let base = self.base_head(record).await?;
        Ok((base != asked.expected_base).then_some(MergeOutcome::BaseMoved { actual: base }))
    }

    async fn merge_commit(&self, tree: &str, asked: &MergeRequest) -> Result<Sha, ForgeError> {
        let args =
            ["commit-tree", tree, "-p", asked.expected_base.as_str(), "-p", asked.expected_head.as_str()];
        let date = format!("@{} +0000", asked.at_ms.div_euclid(1_000).max(0));
        let mut call = self.call(&args).stdin(asked.message.clone().into_bytes());
        for role in ["AUTHOR", "COMMITTER"] {
            call = call
                .env(&format!("GIT_{role}_NAME"), &asked.author.name)
                .env(&format!("GIT_{role}_EMAIL"), &asked.author.email)
                .env(&format!("GIT_{role}_DATE"), &date);
        }
        let id = call.text().await?;
        Sha::parse(&id).map_err(|error| ForgeError::Git(error.into()))
    }

    /// Moves the target: all guards and the move in one transaction.
    pub(super) async fn land(
        &self,
        record: &PrRecord,
        asked: &MergeRequest,
        merge_sha: &Sha,
    ) -> Result<(), GitError> {
        let transaction = format!(
            "start\nverify {branch} {head}\nupdate {base} {merge_sha} {old}\nprepare\ncommit\n",
            branch = record.branch.full_ref(),
            head = asked.expected_head,
            base = record.base.full_ref(),
            old = asked.expected_base,
        );
        let reason = format!("merge of pull request {}", record.number);
        self.call(&["update-ref", "-m", &reason, "--stdin"]).stdin(transaction.into_bytes()).done().await
    }
}

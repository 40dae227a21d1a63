//! The model of everything outside: one project's history, forge, CI, machine and deploy target.
//!
//! It is the truth that a history is judged by: it remembers what really happened, whatever anybody
//! recorded. It decides nothing; who acts next, and how well, is chosen in `acts`.

mod forge;
mod machine;
mod repository;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use machine::{Run, RunState};
use orch_core::{
    domain::artifact::artifacts_dir,
    git::{Sha, TargetBranch},
};

use crate::schedule::Schedule;

/// Files of a commit.
pub type Tree = BTreeMap<String, String>;

/// One commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Parents, the first one first.
    pub parents: Vec<String>,
    /// Everything in it.
    pub tree: Tree,
}

/// How a pull request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullState {
    /// Open.
    Open,
    /// Merged as this commit.
    Merged(String),
    /// Closed.
    Closed,
}

/// One pull request.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Key of its branch.
    pub key: String,
    /// Its title.
    pub title: String,
    /// How it stands.
    pub state: PullState,
    /// Its head at the end.
    pub head: Option<String>,
    /// Whether a person merged it.
    pub by_person: bool,
}

/// What the outside is, and was.
#[derive(Debug, Default)]
pub struct Outside {
    /// Every commit.
    pub commits: BTreeMap<String, Commit>,
    /// The target branch on the forge.
    pub target: String,
    /// Task branches on the forge, by key.
    pub branches: BTreeMap<String, String>,
    /// Pull requests, number 1 first.
    pub pulls: Vec<Pull>,
    /// CI by commit: passed, red, or its own failure.
    pub ci: BTreeMap<String, Ci>,
    /// The core's clone: its task branches.
    pub local: BTreeMap<String, String>,
    /// The core's clone: the target as last fetched.
    pub fetched: Option<String>,
    /// Runs, by directory.
    pub runs: BTreeMap<PathBuf, Run>,
    /// Label of the image, once one is built.
    pub image: Option<String>,
    /// Heads whose image was built.
    pub images: BTreeSet<String>,
    /// Revision that runs, once one does.
    pub deployed: Option<String>,
    /// Every revision that has ever run.
    pub ran: BTreeSet<String>,
    /// How often something else came to run.
    pub changes: u64,
    /// Revisions that ran already when their deploy was last intended, with the number of changes by then.
    pub intended: BTreeMap<String, u64>,
    /// Deploys that were started and take effect later.
    pub deploying: Vec<String>,
    /// Deploy programs that were begun: revision, and what each said of itself; nothing when it was cut off.
    pub deploys: Vec<(String, Option<bool>)>,
    /// Keys whose deploy program was cut off: these may park for that, and for nothing else.
    pub cut_off: BTreeSet<String>,
    /// Heads whose re-test passed.
    pub tested: BTreeSet<String>,
    /// Merges by the core: pull request, head.
    pub merges: Vec<(usize, String)>,
    /// What somebody else did that may stand in a task's way, by key.
    pub excuses: BTreeMap<String, String>,
    /// Words of people that a deploy is to be started again: work item, and the last run of its command before.
    pub words: BTreeSet<(String, i64)>,
    /// Work items that a person asked to be given up.
    pub cancels: BTreeSet<String>,
    /// Webhooks on their way, by key.
    pub webhooks: Vec<(Source, String)>,
    /// Whether the commands that look at image and deploy can answer.
    pub deaf: bool,
    /// Whether no owner of an edge is robbed: then no gate of a task ever runs beside its like. One that dies
    /// leaves its gate behind, and the next owner ends it.
    pub owners_live: bool,
    /// Whether no owner dies in the middle of an act that goes on without it.
    pub owners_end: bool,
    /// Whether nobody but the end of its wait takes the merge slot from a candidate that waits for its CI.
    pub slots_last: bool,
    /// What the core did that it must never do.
    pub wrongs: Vec<String>,
    made: u64,
    measured: u64,
}

/// Who sends a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The forge.
    Forge,
    /// The tracker.
    Tracker,
}

/// What CI says of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ci {
    /// Good.
    Passed,
    /// The code is at fault.
    Red,
    /// The check itself failed.
    Error,
    /// Asked for again.
    Pending,
}

/// The outside with its gates. Cheap to clone.
#[derive(Debug, Clone)]
pub struct World {
    outside: Arc<Mutex<Outside>>,
    schedule: Schedule,
    target: TargetBranch,
}

impl World {
    /// A repository with one commit.
    #[must_use]
    pub fn new(schedule: Schedule, target: TargetBranch) -> Self {
        let mut outside = Outside::default();
        let tree = Tree::from([("src/shared".to_owned(), "0".to_owned())]);
        outside.target = outside.commit(Vec::new(), tree);
        Self { outside: Arc::new(Mutex::new(outside)), schedule, target }
    }

    /// What is.
    pub fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A life of the core has ended: what only it held is let go.
    pub fn core_died(&self) {
        for run in self.outside().runs.values_mut() {
            run.wakers.clear();
        }
    }
}

impl Outside {
    /// A new commit; its name is its number.
    pub fn commit(&mut self, parents: Vec<String>, tree: Tree) -> String {
        self.made += 1;
        let name = format!("{:040x}", self.made);
        self.commits.insert(name.clone(), Commit { parents, tree });
        name
    }

    /// The name of a commit's tree.
    #[must_use]
    pub fn tree_name(&self, commit: &str) -> String {
        self.commits.get(commit).map_or_else(String::new, |commit| name_of(&commit.tree))
    }

    /// Whether `older` is `newer` or one of its ancestors.
    #[must_use]
    pub fn is_ancestor(&self, older: &str, newer: &str) -> bool {
        let mut open = vec![newer];
        while let Some(commit) = open.pop() {
            if commit == older {
                return true;
            }
            // a parent is always older, and names grow
            if commit > older
                && let Some(found) = self.commits.get(commit)
            {
                open.extend(found.parents.iter().map(String::as_str));
            }
        }
        false
    }

    /// The newest common ancestor.
    #[must_use]
    pub fn base_of(&self, one: &str, other: &str) -> Option<String> {
        self.commits
            .keys()
            .rev()
            .find(|name| self.is_ancestor(name, one) && self.is_ancestor(name, other))
            .cloned()
    }

    /// The changes of `head` since it left `onto`, carried over; or the files in conflict.
    ///
    /// # Errors
    /// The files that both sides changed.
    pub fn carried(&self, head: &str, onto: &str) -> Result<Tree, Vec<String>> {
        let empty = Tree::new();
        let tree = |name: &str| self.commits.get(name).map_or(&empty, |commit| &commit.tree);
        let base = self.base_of(head, onto);
        let (base, theirs, ours) = (base.as_deref().map_or(&empty, tree), tree(onto), tree(head));
        let mut result = theirs.clone();
        let mut conflicts = Vec::new();
        for (file, text) in ours {
            if base.get(file) == Some(text) || theirs.get(file) == Some(text) {
                continue;
            }
            if base.get(file) != theirs.get(file) {
                conflicts.push(file.clone());
            }
            result.insert(file.clone(), text.clone());
        }
        if conflicts.is_empty() { Ok(result) } else { Err(conflicts) }
    }

    /// What a role leaves on a branch when it works well, or badly.
    pub fn work(&mut self, key: &str, role: &str, good: bool, shared: bool) {
        let Some(head) = self.local.get(key).cloned() else { return };
        let mut tree = self.commits.get(&head).map(|commit| commit.tree.clone()).unwrap_or_default();
        let number = self.made;
        let folder = artifacts_dir(key);
        let (file, text) = match role {
            "analyst" => {
                (format!("{folder}/01-brief.md"), format!("---\nbrief_status: READY\n---\n{number}\n"))
            }
            "architect" => {
                (format!("{folder}/06-adr/0001.md"), format!("---\nadr_status: ACCEPTED\n---\n{number}\n"))
            }
            "developer" if shared => ("src/shared".to_owned(), format!("{number}")),
            "developer" => (format!("src/{key}"), format!("{number}")),
            "reviewer" => {
                let word = if good { "APPROVED" } else { "REQUEST_CHANGES" };
                (format!("{folder}/12-review.md"), format!("---\nreview_verdict: {word}\n---\n{number}\n"))
            }
            "tester" => {
                let word = if good { "PASS" } else { "FAIL" };
                (format!("{folder}/13-test-report.md"), format!("---\ntest_verdict: {word}\n---\n{number}\n"))
            }
            _ => return,
        };
        tree.insert(file, text);
        let new = self.commit(vec![head], tree);
        self.local.insert(key.to_owned(), new);
    }

    /// Puts a task's branch on the forge, with a pull request.
    pub fn publish(&mut self, key: &str, title: &str) {
        let Some(head) = self.local.get(key).cloned() else { return };
        self.branches.insert(key.to_owned(), head);
        self.pulls.push(Pull {
            key: key.to_owned(),
            title: title.to_owned(),
            state: PullState::Open,
            head: None,
            by_person: false,
        });
    }

    /// Heads of open pull requests, with the key of each.
    #[must_use]
    pub fn open_heads(&self) -> Vec<(String, String)> {
        self.pulls
            .iter()
            .filter(|pull| pull.state == PullState::Open)
            .filter_map(|pull| Some((pull.key.clone(), self.branches.get(&pull.key)?.clone())))
            .collect()
    }

    /// A person's merge, by the forge's own button and without the core's guards; false when the
    /// forge refuses.
    pub fn merge_by_person(&mut self, index: usize) -> bool {
        let Some(key) = self.pulls.get(index).map(|pull| pull.key.clone()) else { return false };
        let Some(head) = self.branches.get(&key).cloned() else { return false };
        let target = self.target.clone();
        let Ok(tree) = self.carried(&head, &target) else { return false };
        let merged = self.commit(vec![target, head.clone()], tree);
        self.target.clone_from(&merged);
        if let Some(pull) = self.pulls.get_mut(index) {
            pull.state = PullState::Merged(merged);
            pull.head = Some(head);
            pull.by_person = true;
        }
        self.excuses.insert(key, "a person merged it".to_owned());
        true
    }

    /// Another revision runs from now on.
    pub fn runs_now(&mut self, revision: String) {
        self.changes += 1;
        self.ran.insert(revision.clone());
        self.deployed = Some(revision);
    }

    /// Somebody is about to deploy a revision, and looks from now on whether it runs.
    pub fn deploy_intended(&mut self, revision: &str) {
        if self.deployed.as_deref() == Some(revision) {
            self.intended.insert(revision.to_owned(), self.changes);
        }
    }

    /// A person asks for the deploy of a revision once more: whatever was begun of it before that word came to
    /// nothing.
    pub fn deploy_asked(&mut self, key: &str, revision: &str, after: i64) {
        if self.words.insert((key.to_owned(), after)) {
            let earlier = self.deploys.iter_mut().filter(|(of, _)| of == revision);
            earlier.for_each(|(_, end)| *end = Some(false));
        }
    }

    /// What may stand in every task's way.
    pub fn excuse_all(&mut self, why: &str) {
        let keys: Vec<String> = self.local.keys().chain(self.branches.keys()).cloned().collect();
        for key in keys {
            self.excuses.entry(key).or_insert_with(|| why.to_owned());
        }
    }

    /// Lines that a coverage run counts: every measurement a little better than the last.
    pub fn measure(&mut self) -> u64 {
        self.measured += 1;
        (500 + self.measured).min(1_000)
    }

    /// Tells the forge's subscribers of a branch.
    pub fn tell(&mut self, key: &str) {
        self.webhooks.push((Source::Forge, key.to_owned()));
    }
}

/// Forty hexadecimal digits for anything.
pub fn name_of(thing: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    thing.hash(&mut hasher);
    let first = hasher.finish();
    first.hash(&mut hasher);
    format!("{first:016x}{:016x}{first:08x}", hasher.finish()).chars().take(40).collect()
}

/// A name of this model is a name of git's shape.
fn sha(name: &str) -> Sha {
    match Sha::parse(name) {
        Ok(sha) => sha,
        Err(error) => panic!("{name:?} is no commit of the model: {error}"),
    }
}

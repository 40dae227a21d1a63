//! A small world: one project of shell commands, its forge, and lives of an engine on one data
//! directory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use orch_core::{
    clock::Clock,
    config::CoreConfig,
    domain::{
        actor::Actor,
        ids::{BootId, TaskId, WorkItemKey},
        job::JobStatus,
        stage::{Edge, Stage},
        task::{Candidate, Standing, Task, fold},
        transition::Outcome,
    },
    engine::{Engine, Request, Site},
    forge::{CommitStatus, MergeMethod, MergeOutcome, MergeRequest, PrNumber, StatusState},
    git::{Branch, Git, Identity as GitIdentity, Sha, TargetBranch},
    process::short::{self, EndStatus, ShortCommand},
    projects::Projects,
    runs::Runs,
    store::{
        Acquired, ForcedRelease, Identity, JobSettlement, LeaseProof, ReclaimReason, Store, TaskRow,
        WhichGrant,
    },
};
use orch_settings::Strings;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    dir: tempfile::TempDir,
    settings: Vec<(String, String)>,
    lives: u32,
    clock: Clock,
    pub(crate) engine: Arc<Engine>,
}

/// What differs from the plain world.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Lines of the project in `projects.toml`; `$W` stands for the world's folder.
    pub(crate) project: &'static str,
    pub(crate) clock: Clock,
}

/// The plain world's project; its commands are `scripts`.
fn project(dir: &Path, more: &str) -> String {
    let w = dir.display();
    let mut text = r#"[[project]]
name = "sample"
key_prefix = "S"
forge = "local"
source = "source"
required_contexts = ["ci"]
ci_cmd = ["true"]
"#
    .to_owned();
    let defaults = [
        ("merge_retest_cmd", format!(r#"["{w}/bin/pytest"]"#)),
        ("coverage_cmd", format!(r#"["sh", "{w}/bin/coverage"]"#)),
        ("coverage_report", r#""coverage.json""#.to_owned()),
        ("deploy_cmd", format!(r#"["sh", "{w}/bin/deploy"]"#)),
        ("deploy_health_cmd", format!(r#"["sh", "{w}/bin/health"]"#)),
    ];
    for (key, value) in defaults {
        if !more.contains(key) {
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
    text.push_str(&more.replace("$W", &w.to_string()));
    text.push_str("\n[project.agents]\n");
    for role in ["analyst", "architect", "developer", "reviewer", "tester", "deployer"] {
        text.push_str(&format!("{role} = {{ kind = \"command\", command = [\"true\"] }}\n"));
    }
    text
}

async fn life(dir: &Path, settings: &[(String, String)], number: u32, clock: Clock) -> Arc<Engine> {
    let pairs = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let config = CoreConfig::load(&Strings::from_pairs(pairs), dir).unwrap().value;
    let projects = Projects::load(&config.projects_file).unwrap();
    projects.check(&config).unwrap();
    let pid = i32::try_from(std::process::id()).unwrap();
    let identity = Identity { boot_id: BootId(format!("life {number}")), pid, start_ticks: 1 };
    let store = Store::open(&config.db_path, identity).unwrap();
    let who = GitIdentity { name: "orch".into(), email: "orch@localhost".into() };
    let git = Git::new(PATH, who);
    let mut sites = Vec::new();
    for project in projects.iter() {
        sites.push(Site::open(project, &git, &config.data_dir).await.unwrap());
    }
    let base_env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_orch-core"));
    let runs = Arc::new(Runs::new(
        store.clone(),
        clock.clone(),
        config.processes.clone(),
        config.data_dir.join("runs"),
        exe,
        base_env,
    ));
    std::fs::create_dir_all(config.data_dir.join("runs")).unwrap();
    Arc::new(Engine::new(config, projects, store, clock, sites, runs))
}

pub(crate) fn key(number: u32) -> WorkItemKey {
    WorkItemKey::parse(&format!("S-{number}")).unwrap()
}

/// Whatever a test did: history explains every row, byte for byte.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let store = self.engine.store.clone();
        let checked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for row in store.tasks_page(0, None, 1_000).await.unwrap() {
                    let events = store.events(row.id).await.unwrap();
                    let folded = fold(&events).unwrap().unwrap();
                    let text = |task: &Task| serde_json::to_string(task).unwrap();
                    assert_eq!(text(&folded), text(&row.task), "history does not explain {}", row.task.key);
                }
            });
        });
        checked.join().expect("history explains every row");
    }
}

impl World {
    pub(crate) async fn new(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("source")).unwrap();
        std::fs::write(data.join("source/sort.py"), "def sort(x):\n    return x\n").unwrap();
        std::fs::write(data.join("source/README"), "a sample\n").unwrap();
        std::fs::write(data.join("projects.toml"), project(dir.path(), setup.project)).unwrap();
        crate::scripts::write(dir.path());
        let mut settings = vec![
            ("ORCH_DATA_DIR".to_owned(), data.display().to_string()),
            ("ORCH_GATE_INFRA_BACKOFF_S".to_owned(), "1".to_owned()),
        ];
        settings.extend(setup.settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let engine = life(dir.path(), &settings, 1, setup.clock.clone()).await;
        Self { dir, settings, lives: 1, clock: setup.clock, engine }
    }

    pub(crate) async fn plain() -> Self {
        Self::new(Setup::default()).await
    }

    /// What a crash leaves: nothing of the old life is told anything; a new one begins.
    pub(crate) async fn crash(&mut self) {
        self.lives += 1;
        self.engine = life(self.dir.path(), &self.settings, self.lives, self.clock.clone()).await;
    }

    pub(crate) fn site(&self) -> &Site {
        self.engine.site("sample").unwrap()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.engine.store
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn take_away(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    /// Lines that the commands have written to a file of the world.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) async fn git(&self, dir: &Path, args: &[&str]) -> String {
        let env = [
            ("PATH", PATH),
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "agent"),
            ("GIT_AUTHOR_EMAIL", "agent@localhost"),
            ("GIT_COMMITTER_NAME", "agent"),
            ("GIT_COMMITTER_EMAIL", "agent@localhost"),
        ];
        let output = short::run(ShortCommand {
            program: "git".into(),
            args: args.iter().map(Into::into).collect(),
            cwd: dir.to_owned(),
            env: env.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            stdin: None,
            timeout: Duration::from_secs(30),
            max_output_bytes: 1 << 20,
        })
        .await
        .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status, EndStatus::Code(0), "git {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn bare(&self) -> PathBuf {
        PathBuf::from(self.site().forge.remote_url())
    }

    /// A fact of the forge's repository.
    pub(crate) async fn there(&self, args: &[&str]) -> String {
        self.git(&self.bare(), args).await
    }

    /// The commit that a revision of the forge's repository names.
    pub(crate) async fn sha(&self, revision: &str) -> String {
        self.there(&["rev-parse", "--verify", revision]).await
    }

    /// Merge commits on main.
    pub(crate) async fn merges(&self) -> usize {
        self.there(&["rev-list", "--first-parent", "--merges", "main"]).await.lines().count()
    }

    /// Somebody else's commit on main, as another task's merge would bring it.
    pub(crate) async fn move_main(&self, file: &str, text: &str) -> String {
        let desk = self.path("desk");
        if !desk.exists() {
            let bare = self.bare();
            self.git(self.dir.path(), &["clone", "-q", &bare.display().to_string(), "desk"]).await;
        }
        self.git(&desk, &["fetch", "-q", "origin"]).await;
        self.git(&desk, &["checkout", "-q", "--detach", "origin/main"]).await;
        std::fs::write(desk.join(file), text).unwrap();
        self.git(&desk, &["add", "--all"]).await;
        self.git(&desk, &["commit", "-q", "-m", &format!("change {file}")]).await;
        let head = self.git(&desk, &["rev-parse", "HEAD"]).await;
        let bare = self.bare();
        self.git(&bare, &["fetch", "-q", &desk.display().to_string(), &head]).await;
        self.git(&bare, &["update-ref", "refs/heads/main", &head]).await;
        head
    }

    pub(crate) async fn row(&self, number: u32) -> TaskRow {
        self.store().task(&key(number)).await.unwrap().unwrap()
    }

    pub(crate) async fn task(&self, number: u32) -> Task {
        self.row(number).await.task
    }

    pub(crate) async fn create(&self, number: u32) -> TaskRow {
        let made = self.engine.create(key(number), "sample", "Sort the list", "stable", None).await;
        made.unwrap().0
    }

    pub(crate) async fn advance(&self, number: u32) -> Outcome {
        let request = Request::advance(Actor::Monitor, "test");
        self.engine.advance(&key(number), request).await.unwrap()
    }

    /// Asks until the task is no longer held.
    pub(crate) async fn advance_past_holding(&self, number: u32) -> Outcome {
        tokio::time::timeout(PATIENCE, async {
            loop {
                match self.advance(number).await {
                    Outcome::Held { .. } => tokio::time::sleep(Duration::from_millis(100)).await,
                    outcome => return outcome,
                }
            }
        })
        .await
        .expect("the task comes out of holding")
    }

    /// The agent of the present stage: makes files in its worktree, commits, and ends well.
    pub(crate) async fn agent(&self, number: u32, files: &[(&str, &str)]) -> Outcome {
        let tree = self.worktree(number).await;
        for (file, text) in files {
            let path = tree.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        if !files.is_empty() {
            self.git(&tree, &["add", "--all"]).await;
            self.git(&tree, &["commit", "-q", "-m", "work"]).await;
        }
        self.settle(number).await;
        self.advance(number).await
    }

    pub(crate) async fn worktree(&self, number: u32) -> PathBuf {
        let site = self.site();
        site.repo.fetch().await.unwrap();
        let branch = site.branch(key(number).as_str()).unwrap();
        let now = self.engine.clock.now_ms();
        site.repo.ensure_worktree(&branch, now).await.unwrap().path().to_owned()
    }

    /// Claims the task's job and settles it as done.
    pub(crate) async fn settle(&self, number: u32) {
        let row = self.row(number).await;
        let now = self.engine.clock.now_ms();
        let claimed = self.store().claim_job((99, 99), 5, |_, _| 60_000, now).await.unwrap().unwrap();
        assert_eq!((claimed.job.task, claimed.job.stage), (row.id, row.task.stage));
        let settlement = JobSettlement {
            job: claimed.job.id,
            run: claimed.run,
            status: JobStatus::Done,
            not_before_ms: None,
            counts: true,
            awaits_service: false,
            outcome: "exit 0".into(),
            actor: Actor::Monitor,
            at_ms: now,
        };
        assert!(self.store().settle_job(settlement).await.unwrap());
    }

    pub(crate) fn papers(number: u32, file: &str) -> String {
        format!("docs/work-items/S-{number}/{file}")
    }

    /// The status of the branch's present head on the forge.
    pub(crate) async fn post_ci(&self, number: u32, state: StatusState) -> String {
        let head = self.sha(&format!("refs/heads/orch/S-{number}")).await;
        self.post_ci_on(&head, state).await;
        head
    }

    pub(crate) async fn post_ci_on(&self, head: &str, state: StatusState) {
        let status = CommitStatus {
            context: "ci".into(),
            state,
            description: "2 failed".into(),
            target: None,
            updated_at_ms: self.engine.clock.now_ms(),
        };
        self.site().forge.post_status(&Sha::parse(head).unwrap(), &status).await.unwrap();
    }

    pub(crate) async fn pass_analysis(&self, number: u32) {
        let brief = Self::papers(number, "01-brief.md");
        self.agent(number, &[(&brief, "---\nbrief_status: READY\n---\nSort.\n")]).await;
        let (outcome, _) = self.engine.approve(&key(number), "ada", "fine", None).await.unwrap();
        assert_eq!(outcome, Outcome::Advanced { to: Stage::Architecture });
    }

    /// Walks a new task to `stage`, agents done in all stages before it. `change` is the file that
    /// the developer changes.
    pub(crate) async fn walk_to(&self, number: u32, stage: Stage, change: (&str, &str)) {
        self.create(number).await;
        self.pass_analysis(number).await;
        let adr = Self::papers(number, "06-adr/0001.md");
        if stage == Stage::Architecture {
            return;
        }
        let outcome = self.agent(number, &[(&adr, "---\nadr_status: ACCEPTED\n---\n")]).await;
        assert_eq!(outcome, Outcome::Advanced { to: Stage::Development });
        if stage == Stage::Development {
            return;
        }
        self.agent(number, &[change]).await;
        self.post_ci(number, StatusState::Success).await;
        assert_eq!(self.advance(number).await, Outcome::Advanced { to: Stage::Review });
        if stage == Stage::Review {
            return;
        }
        let review = Self::papers(number, "12-review.md");
        let outcome = self.agent(number, &[(&review, "---\nreview_verdict: APPROVED\n---\n")]).await;
        assert_eq!(outcome, Outcome::Advanced { to: Stage::Testing });
        if stage == Stage::Testing {
            return;
        }
        let report = Self::papers(number, "13-test-report.md");
        let outcome = self.agent(number, &[(&report, "---\ntest_verdict: PASS\n---\n")]).await;
        assert_eq!(outcome, Outcome::Advanced { to: Stage::DeployStaging });
        assert_eq!(stage, Stage::DeployStaging);
    }

    /// A task in deploy-staging whose deployer is done: the next entry walks the edge. It has asked
    /// once already and waits for the CI of its candidate.
    pub(crate) async fn at_the_edge(number: u32, setup: Setup) -> Self {
        let world = Self::new(setup).await;
        world.to_the_edge(number, ("sort.py", "def sort(x):\n    return sorted(x)\n")).await;
        world
    }

    pub(crate) async fn to_the_edge(&self, number: u32, change: (&str, &str)) {
        self.walk_to(number, Stage::DeployStaging, change).await;
        self.settle(number).await;
    }

    /// The first entry of the edge, to the candidate's CI, and its green answer.
    pub(crate) async fn prepared(&self, number: u32) -> Candidate {
        let outcome = self.advance(number).await;
        assert!(matches!(outcome, Outcome::Waiting { .. }), "{outcome:?}: {:?}", self.task(number).await);
        let head = self.post_ci(number, StatusState::Success).await;
        let candidate = self.task(number).await.candidate.unwrap();
        assert_eq!(candidate.head, head);
        candidate
    }

    /// What the next run of a command does first: it says that it is at work and waits for its word.
    pub(crate) fn hang(&self, hook: &str, then: &str) {
        let w = self.dir.path().display();
        self.put(hook, &format!("touch {w}/at_work; while [ ! -e {w}/go ]; do sleep 0.02; done; {then}\n"));
    }

    pub(crate) async fn until(&self, name: &str) {
        tokio::time::timeout(PATIENCE, async {
            while !self.path(name).exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{name} never came"));
    }

    /// An actor on its way, beside the test.
    pub(crate) fn beside(&self, number: u32, actor: Actor) -> tokio::task::JoinHandle<Outcome> {
        let engine = Arc::clone(&self.engine);
        tokio::spawn(
            async move { engine.advance(&key(number), Request::advance(actor, "beside")).await.unwrap() },
        )
    }

    /// The lease is taken from its owner, and nothing that it runs is ended.
    pub(crate) async fn rob(&self, number: u32) {
        let release = ForcedRelease {
            grant: WhichGrant::Present,
            task: self.row(number).await.id,
            actor: Actor::Operator,
            who: Some("ada".into()),
            reason: "it hangs".into(),
            why: ReclaimReason::Forced,
            at_ms: self.engine.clock.now_ms(),
        };
        assert!(self.store().force_release(release).await.unwrap().is_some());
    }

    /// The lease of the task's edge, as an owner has it.
    pub(crate) async fn lease(&self, number: u32) -> LeaseProof {
        let row = self.row(number).await;
        let edge = Edge { from: row.task.stage, to: row.task.stage.row().next.unwrap() };
        match self.store().acquire_lease(row.id, edge, Actor::Monitor, 1).await.unwrap() {
            Acquired::Granted(proof, _) => proof,
            Acquired::Deferred { owner } => panic!("deferred to {owner}"),
        }
    }

    /// A person merges onto a base that the candidate was not tested on; the tree that lands.
    pub(crate) async fn land_untested(&self, candidate: &Candidate) -> String {
        let moved = self.move_main("README", "moved\n").await;
        let tree = self.there(&["merge-tree", "--write-tree", &moved, &candidate.head]).await;
        let args = ["commit-tree", &tree, "-p", &moved, "-p", &candidate.head, "-m", "person"];
        let merge = self.git(&self.bare(), &args).await;
        self.there(&["update-ref", "refs/heads/main", &merge]).await;
        tree
    }

    pub(crate) async fn merge_by_a_person(&self, number: u32) -> String {
        let row = self.row(number).await;
        let candidate = row.task.candidate.unwrap();
        let request = MergeRequest {
            number: PrNumber(u64::try_from(row.task.pull_request.unwrap()).unwrap()),
            expected_head: Sha::parse(&candidate.head).unwrap(),
            expected_base: Sha::parse(&candidate.base).unwrap(),
            method: MergeMethod::MergeCommit,
            message: "merged by a person\n".into(),
            author: GitIdentity { name: "ada".into(), email: "ada@localhost".into() },
            at_ms: self.engine.clock.now_ms(),
        };
        match self.site().forge.merge(&request).await.unwrap() {
            MergeOutcome::Merged { merge_sha } => merge_sha.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The end that every good history must have: merged once, deployed once, closed.
    pub(crate) async fn assert_done_once(&self, number: u32) {
        let task = self.task(number).await;
        assert_eq!(task.stage, Stage::Done, "{:?}", task.standing);
        let merged = task.merged.clone().unwrap();
        assert_eq!(self.sha("main").await, merged);
        assert_eq!(self.merges().await, 1);
        assert_eq!(self.lines("deploys"), std::slice::from_ref(&merged));
        let candidate = task.candidate.unwrap();
        assert_eq!(self.sha("main^1").await, candidate.base, "on the base that was tested");
        assert_eq!(self.sha("main^2").await, candidate.head);
        assert_eq!(self.sha("main^{tree}").await, candidate.tree, "what landed is what was tested");
        let item = self.store().tracker_item(format!("S-{number}")).await.unwrap().unwrap();
        assert_eq!((item.state.as_str(), item.closed_by.as_deref()), ("closed", Some(merged.as_str())));
        let baseline = self.store().coverage_baseline("sample".into(), "main".into()).await.unwrap();
        assert_eq!(baseline.unwrap().0, merged);
        assert!(self.store().open_intents().await.unwrap().is_empty());
        assert!(self.store().held_leases().await.unwrap().is_empty());
        assert_eq!(self.count_events(number, "merged").await, 1);
    }

    pub(crate) async fn count_events(&self, number: u32, name: &str) -> usize {
        let events = self.store().events(self.row(number).await.id).await.unwrap();
        events.iter().filter(|stored| serde_json::to_value(&stored.event).unwrap()["event"] == name).count()
    }

    /// Grants of an effect with their states.
    pub(crate) async fn grants(&self, task: TaskId, kind: &str) -> Vec<String> {
        let rows = self.store().effects_of(task).await.unwrap();
        rows.into_iter().filter(|row| row.kind.as_str() == kind).map(|row| row.state).collect()
    }

    pub(crate) async fn main_head(&self) -> Sha {
        let target = TargetBranch::parse("main").unwrap();
        self.site().forge.branch_head(&Branch::Target(target)).await.unwrap().unwrap()
    }
}

pub(crate) fn blocked(task: &Task) -> (&str, &str) {
    match &task.standing {
        Standing::Blocked { cause, way_out } => (cause, way_out),
        other => panic!("not blocked: {other:?}"),
    }
}

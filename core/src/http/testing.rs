//! A whole core without its actors for tests: store, site, engine and router in a temporary
//! directory. What actors would do, a test does by hand, so nothing moves behind its back.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response, StatusCode, header},
};
use http_body_util::BodyExt;
use orch_contract::ProcessKind;
use orch_settings::{SecretString, Strings};
use serde_json::Value;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::{Access, EngineSlot, HttpState, router};
use crate::domain::budget::CostKind;
use crate::{
    clock::Clock,
    config::CoreConfig,
    domain::{
        actor::Actor,
        event::Event,
        ids::{BootId, RunId, WorkItemKey},
        job::JobStatus,
        task::Standing,
    },
    engine::{Engine, Life, Site, identity},
    git::Git,
    projects::Projects,
    runs::Runs,
    store::{CommitWrite, Expected, Identity, JobSettlement, NewRun, RunEnding, Store, TaskRow},
};

/// The operator's token of every bench.
pub(crate) const OPERATOR: &str = "operator-token-of-tests";
/// The token for reading.
pub(crate) const READER: &str = "reading-token-of-tests";
/// The search path of the programs that tests need (git, true).
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

const PROJECTS: &str = r#"
[[project]]
name = "shop"
key_prefix = "SHOP"
forge = "local"
source = "source"
required_contexts = []
approvers = ["ada"]

[project.agents]
analyst = { kind = "command", command = ["true"] }
architect = { kind = "command", command = ["true"] }
developer = { kind = "command", command = ["true"] }
reviewer = { kind = "command", command = ["true"] }
tester = { kind = "command", command = ["true"] }
deployer = { kind = "command", command = ["true"], timeout_s = 7 }
"#;

/// A core in a directory that goes with it.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: Arc<Engine>,
    pub(crate) slot: EngineSlot,
    cookies: AtomicU64,
}

impl Bench {
    /// A core that is ready.
    pub(crate) async fn ready() -> Self {
        let bench = Self::starting().await;
        bench.engine.set_life(Life::Ready);
        assert!(bench.slot.fill(Arc::clone(&bench.engine)));
        bench
    }

    /// A core whose engine is not in its slot yet.
    pub(crate) async fn starting() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("README"), "a shop\n").unwrap();
        let strings = Strings::from_pairs([("ORCH_DATA_DIR", dir.path().to_str().unwrap())]);
        let config = CoreConfig::load(&strings, Path::new("/")).unwrap().value;
        let projects = Projects::parse(PROJECTS, dir.path()).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let who = Identity { boot_id: BootId("this-life".to_owned()), pid, start_ticks: 4_711 };
        let store = Store::open(&config.db_path, who).unwrap();
        let git = Git::new(PATH, identity());
        let mut sites = Vec::new();
        for project in projects.iter() {
            sites.push(Site::open(project, &git, dir.path()).await.unwrap());
        }
        let runs = Runs::new(
            store.clone(),
            Clock::System,
            config.processes.clone(),
            dir.path().join("runs"),
            "/proc/self/exe".into(),
            BTreeMap::new(),
        );
        let engine = Arc::new(Engine::new(config, projects, store, Clock::System, sites, Arc::new(runs)));
        Self { dir, engine, slot: EngineSlot::default(), cookies: AtomicU64::new(1 << 60) }
    }

    /// The router as it is served on `bind`.
    pub(crate) fn router_on(&self, bind: &str) -> Router {
        let token = |text: &str| SecretString::from(text.to_owned());
        let access = Access::new(bind.parse().unwrap(), &token(OPERATOR), Some(&token(READER)));
        router(HttpState::new(self.slot.clone(), access, TaskTracker::new()))
    }

    /// The router as it is served on the loopback.
    pub(crate) fn router(&self) -> Router {
        self.router_on("127.0.0.1:0")
    }

    /// A document, read without a token on the loopback.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        ask(self.router(), request(Method::GET, path)).await
    }

    /// An action of the operator.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        ask(self.router(), operator_post(path, body.to_string())).await
    }

    /// A work item that stands in `analysis`, its analyst called.
    pub(crate) async fn task(&self, key: &str) -> TaskRow {
        let (row, is_new) =
            self.engine.create(self::key(key), "shop", "Add a basket", "", None).await.unwrap();
        assert!(is_new);
        row
    }

    /// The present row of a work item.
    pub(crate) async fn row(&self, key: &str) -> TaskRow {
        self.engine.store.task(&self::key(key)).await.unwrap().unwrap()
    }

    /// Makes a task stand differently.
    pub(crate) async fn stand(&self, row: &TaskRow, standing: Standing) {
        self.write(row, vec![Event::Stood { standing }]).await;
    }

    /// Writes events into a task's history.
    pub(crate) async fn write(&self, row: &TaskRow, events: Vec<Event>) {
        let write = CommitWrite {
            task: row.id,
            expected: Expected::Any,
            actor: Actor::Monitor,
            who: None,
            reason: "a test says so".to_owned(),
            events,
            enqueue: None,
            cancel_jobs: false,
            at_ms: Clock::System.now_ms(),
        };
        self.engine.store.commit(None, write).await.unwrap().unwrap();
    }

    /// Claims the next job, as the monitor would; its run has a directory with output.
    pub(crate) async fn claim(&self) -> crate::store::ClaimedJob {
        let cookie = self.cookies.fetch_add(1, Ordering::Relaxed);
        let caps = (self.engine.config.jobs.max_agents, self.engine.config.jobs.max_agents_per_repo);
        let claimed = self.engine.store.claim_job(caps, cookie, |_, _| 60_000, Clock::System.now_ms()).await;
        let claimed = claimed.unwrap().expect("a job waits");
        self.engine.store.record_run_started(claimed.run, 40, 400, Clock::System.now_ms()).await.unwrap();
        self.write_output(claimed.run, "first line\nsecond line\n", "");
        claimed
    }

    /// Ends a claimed job well.
    pub(crate) async fn settle(&self, claimed: &crate::store::ClaimedJob) {
        let now = Clock::System.now_ms();
        self.end_run(claimed.run).await;
        let settlement = JobSettlement {
            job: claimed.job.id,
            run: claimed.run,
            status: JobStatus::Done,
            not_before_ms: None,
            counts: true,
            awaits_service: false,
            outcome: "exit 0".to_owned(),
            actor: Actor::Monitor,
            at_ms: now,
        };
        assert!(self.engine.store.settle_job(settlement).await.unwrap());
    }

    /// Records the end of a run.
    pub(crate) async fn end_run(&self, run: RunId) {
        let now = Clock::System.now_ms();
        let ending = RunEnding {
            outcome: "exit 0".to_owned(),
            exit_code: Some(0),
            swept: Some(2),
            surviving: Some(0),
            cost_microusd: Some(1_500_000),
            cost_kind: Some(CostKind::Reported),
            agent: None,
            ended_at_ms: now,
        };
        self.engine.store.record_run_ended(run, ending, now).await.unwrap();
    }

    /// A gate's run of a task.
    pub(crate) async fn gate_run(&self, row: &TaskRow) -> RunId {
        let new = NewRun {
            job: None,
            task: Some(row.id),
            kind: ProcessKind::Retest,
            attempt: 1,
            cookie: self.cookies.fetch_add(1, Ordering::Relaxed),
            command: "pytest".to_owned(),
            timeout_ms: 900_000,
            created_at_ms: Clock::System.now_ms(),
            agent: None,
            reserved_microusd: None,
        };
        self.engine.store.create_run(new).await.unwrap()
    }

    /// What a run has written.
    pub(crate) fn write_output(&self, run: RunId, out: &str, err: &str) {
        let dir = self.engine.runs.dir_of(run);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("out"), out).unwrap();
        std::fs::write(dir.join("err"), err).unwrap();
        let child = r#"{"pid":41,"start_ticks":410,"pgid":41,"sid":40,"started_at_ms":1}"#;
        std::fs::write(dir.join("child.json"), child).unwrap();
    }

    /// Delivers a file on a work item's branch, as its agent would.
    pub(crate) async fn deliver(&self, key: &str, file: &str, text: &str) {
        let site = self.engine.site("shop").unwrap();
        let branch = site.branch(key).unwrap();
        let worktree = site.repo.ensure_worktree(&branch, Clock::System.now_ms()).await.unwrap();
        let path = worktree.path().join("docs/work-items").join(key).join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let git = Git::new(PATH, identity());
        for args in [&["add", "--all"][..], &["commit", "--quiet", "-m", "deliver"]] {
            git.call(worktree.path(), args).done().await.unwrap();
        }
    }
}

/// A key.
pub(crate) fn key(text: &str) -> WorkItemKey {
    WorkItemKey::parse(text).unwrap()
}

/// A request as a program on this machine sends it.
pub(crate) fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "127.0.0.1:8080")
        .body(Body::empty())
        .unwrap()
}

/// An operator's POST.
pub(crate) fn operator_post(path: &str, body: String) -> Request<Body> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, "127.0.0.1:8080")
        .header(header::AUTHORIZATION, format!("Bearer {OPERATOR}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap()
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The value at a JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> Value {
        self.json().pointer(pointer).cloned().unwrap_or(Value::Null)
    }

    /// Asserts that this is a problem document of a kind.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, word: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.at("/type"), format!("urn:orch:problem:{word}"), "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.at("/status"), status);
        for field in ["/title", "/detail", "/what_to_do"] {
            assert!(self.at(field).as_str().is_some_and(|text| !text.is_empty()), "{field}: {}", self.text);
        }
    }
}

/// Asks and reads the whole answer.
pub(crate) async fn ask(router: Router, request: Request<Body>) -> Answer {
    let response: Response<Body> = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

//! Rules of the API: each route's answer, each problem, who may, and that bad input changes
//! nothing.

use axum::{
    body::Body,
    http::{Method, Request, header},
    routing::get,
};
use orch_contract::{ObservationDocument, Standing as Wire, WaitsForKind};
use serde_json::json;

use super::{
    problem::ProblemKind,
    testing::{Answer, Bench, OPERATOR, READER, ask, operator_post, request},
};
use crate::{
    domain::{
        actor::Actor,
        event::Event,
        job::Role,
        stage::{Edge, Stage},
        task::Standing,
        verdict::{GateKind, Verdict, Waitee},
    },
    engine::Life,
    store::{Acquired, GateWrite},
};

const BRIEF: &str = "---\nbrief_status: READY\n---\n# Basket\n";

/// Every route with a method that fits, and whether it changes something.
const ROUTES: [(&str, &str, bool); 17] = [
    ("GET", "/metrics", false),
    ("GET", "/queue", false),
    ("GET", "/tasks", false),
    ("GET", "/tasks/SHOP-1", false),
    ("GET", "/tasks/SHOP-1/why", false),
    ("GET", "/tasks/SHOP-1/events", false),
    ("GET", "/runs/1", false),
    ("GET", "/runs/1/log", false),
    ("POST", "/tasks", true),
    ("POST", "/tasks/SHOP-1/approve", true),
    ("POST", "/tasks/SHOP-1/retry", true),
    ("POST", "/tasks/SHOP-1/redeploy", true),
    ("POST", "/tasks/SHOP-1/rollback", true),
    ("POST", "/tasks/SHOP-1/cancel", true),
    ("POST", "/tasks/SHOP-1/advance", true),
    ("POST", "/transition-lease/release?work_item=SHOP-1", true),
    ("GET", "/nowhere", false),
];

async fn with_token(bench: &Bench, bind: &str, method: &str, path: &str, token: Option<&str>) -> Answer {
    let mut builder = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:1");
    if let Some(token) = token {
        builder = builder.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    ask(bench.router_on(bind), builder.body(Body::empty()).unwrap()).await
}

/// Everything that bad input could have changed.
async fn everything(bench: &Bench) -> String {
    let mut text = String::new();
    for row in bench.engine.store.tasks_page(0, None, 100).await.unwrap() {
        let events = bench.engine.store.events(row.id).await.unwrap();
        let runs = bench.engine.store.runs_of(row.id).await.unwrap();
        text.push_str(&format!("{row:?} {events:?} {runs:?}\n"));
    }
    let leases = bench.engine.store.held_leases().await.unwrap();
    text + &format!("{leases:?}")
}

#[tokio::test]
async fn while_the_core_starts_only_health_answers_in_substance() {
    let bench = Bench::starting().await;
    assert_eq!(bench.get("/healthz").await.status, 200);
    bench.get("/readyz").await.is_problem(503, "starting");
    for filled in [false, true] {
        if filled {
            assert!(bench.slot.fill(std::sync::Arc::clone(&bench.engine)));
        }
        for (method, path, _) in ROUTES.into_iter().filter(|(_, path, _)| *path != "/nowhere") {
            let answer = with_token(&bench, "127.0.0.1:0", method, path, Some(OPERATOR)).await;
            answer.is_problem(503, "starting");
            assert_eq!(answer.headers[header::RETRY_AFTER], "1");
        }
        bench.get("/readyz").await.is_problem(503, "starting");
    }
    bench.engine.set_life(Life::Ready);
    assert_eq!(bench.get("/readyz").await.status, 200);
    bench.engine.set_life(Life::Stopping);
    assert_eq!(bench.get("/healthz").await.status, 200);
    bench.get("/readyz").await.is_problem(503, "stopping");
    assert_eq!(bench.get("/queue").await.at("/core/state"), "stopping", "still told while it ends");
    let body = json!({ "key": "SHOP-1", "project": "shop", "title": "x" });
    bench.post("/tasks", &body).await.is_problem(503, "stopping");
}

#[test]
fn no_other_problem_reads_as_a_start() {
    for kind in ProblemKind::ALL {
        let is_start = kind.uri().contains("starting");
        assert_eq!(is_start, *kind == ProblemKind::Starting, "the watchdog looks for the word: {kind:?}");
    }
}

#[tokio::test]
async fn a_core_whose_store_takes_no_write_is_not_ready() {
    let bench = Bench::ready().await;
    bench.engine.store.close().await;
    bench.get("/readyz").await.is_problem(503, "not-writable");
    assert_eq!(bench.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn who_may_call_what() {
    let bench = Bench::ready().await;
    bench.task("SHOP-1").await;
    let (inner, outer) = ("127.0.0.1:0", "0.0.0.0:0");
    for (method, path, changes) in ROUTES {
        for (bind, token, refusal) in [
            (inner, None, changes.then_some((401, "unauthorized"))),
            (inner, Some("wrong"), changes.then_some((401, "unauthorized"))),
            (inner, Some(READER), changes.then_some((403, "forbidden"))),
            (inner, Some(OPERATOR), None),
            (outer, None, Some((401, "unauthorized"))),
            (outer, Some("wrong"), Some((401, "unauthorized"))),
            (outer, Some(READER), changes.then_some((403, "forbidden"))),
            (outer, Some(OPERATOR), None),
        ] {
            let answer = with_token(&bench, bind, method, path, token).await;
            match refusal {
                Some((status, word)) => {
                    answer.is_problem(status, word);
                    let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
                    assert!(challenge.starts_with("Bearer "), "{challenge}");
                }
                None => assert!(
                    !matches!(answer.status.as_u16(), 401 | 403),
                    "{bind} {token:?} {method} {path}: {}",
                    answer.text
                ),
            }
        }
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(with_token(&bench, outer, "GET", path, None).await.status, 200, "{path} never needs one");
    }
}

#[tokio::test]
async fn a_name_that_was_rebound_to_the_loopback_reads_nothing() {
    let bench = Bench::ready().await;
    let named =
        |host: &str| Request::builder().uri("/queue").header(header::HOST, host).body(Body::empty()).unwrap();
    ask(bench.router(), named("evil.example:8080")).await.is_problem(421, "misdirected-request");
    assert_eq!(ask(bench.router(), named("localhost:8080")).await.status, 200);
    let nameless = Request::builder().uri("/queue").body(Body::empty()).unwrap();
    ask(bench.router(), nameless).await.is_problem(400, "bad-request");
    let absolute = Request::builder().uri("http://evil.example/queue").header(header::HOST, "localhost");
    ask(bench.router(), absolute.body(Body::empty()).unwrap()).await.is_problem(421, "misdirected-request");
    let mut outside = named("core.example");
    outside.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {READER}").parse().unwrap());
    assert_eq!(
        ask(bench.router_on("0.0.0.0:0"), outside).await.status,
        200,
        "beyond loopback a token decides"
    );
}

#[tokio::test]
async fn pages_of_other_sites_cannot_act() {
    let bench = Bench::ready().await;
    bench.task("SHOP-1").await;
    for (name, value, allowed) in [
        ("origin", "http://evil.example", false),
        ("origin", "null", false),
        ("origin", "http://127.0.0.1:3000", false),
        ("origin", "http://127.0.0.1:8080", true),
        ("sec-fetch-site", "cross-site", false),
        ("sec-fetch-site", "same-site", false),
        ("sec-fetch-site", "same-origin", true),
    ] {
        let mut request =
            operator_post("/tasks/SHOP-1/advance", json!({ "who": "ada", "why": "x" }).to_string());
        request.headers_mut().insert(name, value.parse().unwrap());
        let answer = ask(bench.router(), request).await;
        if allowed {
            assert_eq!(answer.status, 200, "{name}: {value}: {}", answer.text);
        } else {
            answer.is_problem(403, "cross-site");
        }
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_none_permits_another_site() {
    let bench = Bench::ready().await;
    for path in ["/healthz", "/queue", "/nowhere", "/tasks/x"] {
        let answer = bench.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_are_problems() {
    let bench = Bench::ready().await;
    bench.get("/nowhere").await.is_problem(404, "unknown-route");
    let answer = ask(bench.router(), operator_post("/queue", String::new())).await;
    answer.is_problem(405, "wrong-method");
    assert!(answer.headers[header::ALLOW].to_str().unwrap().contains("GET"));
    ask(bench.router(), request(Method::OPTIONS, "/tasks")).await.is_problem(405, "wrong-method");
    let head = ask(bench.router(), request(Method::HEAD, "/queue")).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn a_panic_is_a_problem_without_its_text() {
    let bench = Bench::ready().await;
    let state = super::HttpState::new(
        bench.slot.clone(),
        super::Access::new("127.0.0.1:0".parse().unwrap(), &OPERATOR.to_owned().into(), None),
        tokio_util::task::TaskTracker::new(),
    );
    async fn breaks() -> &'static str {
        panic!("the secret of the house")
    }
    let routes = axum::Router::new().route("/breaks", get(breaks));
    let answer = ask(super::around(routes, state), request(Method::GET, "/breaks")).await;
    answer.is_problem(500, "internal");
    assert!(!answer.text.contains("secret"));
    assert!(answer.headers.contains_key("content-security-policy"));
}

#[tokio::test]
async fn a_store_that_fails_is_a_problem_without_internals() {
    let bench = Bench::ready().await;
    bench.engine.store.close().await;
    let body = json!({ "key": "SHOP-1", "project": "shop", "title": "x" });
    let answer = bench.post("/tasks", &body).await;
    answer.is_problem(503, "store-failed");
    assert!(!answer.text.contains("closed"), "{}", answer.text);
}

#[tokio::test]
async fn an_empty_store_gives_a_whole_document() {
    let bench = Bench::ready().await;
    let answer = bench.get("/queue").await;
    let document: ObservationDocument = serde_json::from_str(&answer.text).unwrap();
    assert_eq!((document.schema_version, document.core.boot_id.as_str()), (1, "this-life"));
    assert!(document.tasks.is_empty() && document.processes.is_empty() && document.leases.is_empty());
    assert_eq!((document.slots.agents_max, document.slots.agents_free), (4, 2), "one project has two slots");
    let actors: Vec<&str> = document.actors.iter().map(|actor| actor.name.as_str()).collect();
    assert_eq!(actors, ["monitor", "ci", "finalizer", "reaper", "reconciler"]);
    assert!(document.actors.iter().all(|actor| actor.period_ms > 0 && actor.last_tick_at_ms.is_none()));
    assert!(document.data_dir.unwrap().total_bytes > 0);
    assert!(document.webhooks.sources.is_empty());
    assert_eq!((document.chat.channel.as_str(), document.chat.up), ("log", None));
    assert_eq!(document.merge_gate.scope, "*");
    let timeouts = &document.timeouts;
    assert_eq!(timeouts.edge_sum_ms, bench.engine.projects.edge_sum_ms(&bench.engine.config));
    assert_eq!(timeouts.largest_ms, timeouts.entries.iter().map(|entry| entry.timeout_ms).max().unwrap());
    assert!(timeouts.entries.iter().any(|entry| entry.key == "ORCH_AGENT_TIMEOUT_S:shop.deployer"));
}

/// Tasks in every standing, two runs, a lease and a gate at work.
async fn busy() -> Bench {
    let bench = Bench::ready().await;
    bench.task("SHOP-1").await;
    let claimed = bench.claim().await;
    let waiting = bench.task("SHOP-2").await;
    let who = Waitee::Person { name: "ada".to_owned() };
    bench
        .stand(
            &waiting,
            Standing::Waiting { who, reason: "the brief needs an approval".into(), until_ms: None },
        )
        .await;
    let held = bench.task("SHOP-3").await;
    bench.stand(&held, Standing::Held { reason: "retest: no disk".into(), retry_at_ms: 99 }).await;
    let blocked = bench.task("SHOP-4").await;
    bench.stand(&blocked, Standing::Blocked { cause: "broken".into(), way_out: "mend it".into() }).await;
    let cancelled = bench.task("SHOP-5").await;
    bench.write(&cancelled, vec![Event::Entered { from: Stage::Analysis, to: Stage::Cancelled }]).await;
    let gate = bench.gate_run(&blocked).await;
    bench.write_output(gate, "", "");
    bench.end_run(gate).await;
    assert_eq!(claimed.run.0, 1);
    bench
}

#[tokio::test]
async fn a_busy_store_is_told_whole() {
    let bench = busy().await;
    let blocked = bench.row("SHOP-4").await;
    let edge = Edge { from: Stage::DeployStaging, to: Stage::Deploy };
    let acquired = bench.engine.store.acquire_lease(blocked.id, edge, Actor::Monitor, 5).await.unwrap();
    let Acquired::Granted(_proof, None) = acquired else { panic!("not granted: {acquired:?}") };
    let at_work = crate::counters::AtWork { task: blocked.id, since_ms: 7, timeout_ms: 8 };
    let _at_work = bench.engine.counters.gate_at_work(GateKind::Retest, at_work);
    bench.engine.counters.tally().verdicts.insert(("retest", "infra", "timeout"), 3);
    bench.engine.counters.tally().verdicts.insert(("landed_tree", "infra", "timeout"), 1);
    bench.engine.counters.tally().last_pass_ms.insert("reaper", 12);

    let document: ObservationDocument = serde_json::from_str(&bench.get("/queue").await.text).unwrap();
    let standings: Vec<(&str, Wire)> =
        document.tasks.iter().map(|task| (task.work_item.as_str(), task.standing)).collect();
    assert_eq!(
        standings,
        [
            ("SHOP-1", Wire::Moving),
            ("SHOP-2", Wire::Waiting),
            ("SHOP-3", Wire::Held),
            ("SHOP-4", Wire::Blocked)
        ]
    );
    let who: Vec<WaitsForKind> =
        document.tasks.iter().map(|task| task.waits_for.clone().unwrap().kind).collect();
    assert_eq!(who, [WaitsForKind::Agent, WaitsForKind::Person, WaitsForKind::Core, WaitsForKind::Person]);
    assert_eq!(document.tasks[0].cause, None, "what moves has no cause");
    assert_eq!(document.tasks[2].until_ms, Some(99));
    let counted: u64 = document.counts.iter().map(|count| count.tasks).sum();
    assert_eq!(counted, 5, "{:?}", document.counts);
    let moving = document.counts.iter().find(|count| count.standing == Wire::Moving).unwrap();
    assert_eq!((moving.stage.as_str(), moving.tasks), ("analysis", 1));

    assert_eq!(document.slots.agents_free, 1);
    assert_eq!(document.slots.repos[0].agents_running, 1);
    assert!(document.queued_jobs.iter().all(|job| job.reason == "starts next"), "{:?}", document.queued_jobs);
    let running = &document.running_jobs[0];
    assert_eq!((running.work_item.as_str(), running.role.as_str(), running.run_id), ("SHOP-1", "analyst", 1));
    assert!(running.last_output_at_ms.is_some() && running.exit_recorded_at_ms.is_none());
    assert_eq!(running.limit_ms, 60_000);

    let (live, ended) = (&document.processes[0], &document.processes[1]);
    assert_eq!((live.cookie.as_str(), live.ended_at_ms), ("1152921504606846976", None));
    assert_eq!(live.child.map(|child| (child.pid, child.start_ticks)), Some((41, 410)));
    assert_eq!((live.pgid, live.sid, live.supervisor.unwrap().pid), (Some(41), Some(40), 40));
    assert_eq!((ended.work_item.as_deref(), ended.outcome.as_deref()), (Some("SHOP-4"), Some("exit 0")));

    let lease = &document.leases[0];
    assert_eq!((lease.edge.as_str(), lease.owner.alive), ("deploy-staging -> deploy", Some(true)));
    assert_eq!((lease.work_item.as_str(), lease.repo.as_str(), lease.fencing), ("SHOP-4", "shop", 1));
    assert_eq!(document.merge_gate.running[0].work_item, "SHOP-4");
    assert_eq!(document.merge_gate.counts[0].total, 4, "re-test and landed tree are one gate outside");
    assert!(document.coverage_gate.running.is_empty());
    let reaper = document.actors.iter().find(|actor| actor.name == "reaper").unwrap();
    assert_eq!(reaper.last_tick_at_ms, Some(12));
}

#[tokio::test]
async fn a_queued_job_says_why_it_waits() {
    let bench = Bench::ready().await;
    for number in 1..=3 {
        bench.task(&format!("SHOP-{number}")).await;
    }
    bench.claim().await;
    bench.claim().await;
    let reason = bench.get("/queue").await.at("/queued_jobs/0/reason");
    assert_eq!(reason, "all 2 slots of shop are in use (ORCH_MAX_AGENTS_PER_REPO)");
}

#[tokio::test]
async fn silence_is_absent_and_not_a_time() {
    let bench = Bench::ready().await;
    bench.task("SHOP-1").await;
    let claimed = bench.claim().await;
    bench.write_output(claimed.run, "", "");
    assert!(bench.get("/queue").await.at("/running_jobs/0/last_output_at_ms").is_null());
}

#[tokio::test]
async fn tasks_are_listed_in_pages() {
    let bench = busy().await;
    let first = bench.get("/tasks?limit=2").await;
    let keys = |answer: &Answer| -> Vec<String> {
        let tasks = answer.at("/tasks");
        tasks.as_array().unwrap().iter().map(|task| task["work_item"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&first), ["SHOP-1", "SHOP-2"]);
    let after = first.at("/next_after").as_str().unwrap().to_owned();
    let rest = bench.get(&format!("/tasks?limit=500&after={after}")).await;
    assert_eq!(keys(&rest), ["SHOP-3", "SHOP-4", "SHOP-5"]);
    assert!(rest.at("/next_after").is_null());
    assert_eq!(keys(&bench.get("/tasks?stage=cancelled").await), ["SHOP-5"]);
    for query in
        ["stage=deploying", "limit=0", "limit=501", "limit=x", "after=-1", "nope=1", "limit=1&limit=2"]
    {
        let answer = bench.get(&format!("/tasks?{query}")).await;
        answer.is_problem(400, "bad-query");
        let pointer = answer.at("/errors/0/pointer");
        assert_eq!(pointer, format!("?{}", query.split('=').next().unwrap()));
    }
}

#[tokio::test]
async fn a_task_is_shown_with_all_that_happened_to_it() {
    let bench = busy().await;
    let row = bench.row("SHOP-4").await;
    let write = GateWrite {
        task: row.id,
        gate: GateKind::Retest,
        verdict: Verdict::Red { findings: vec!["test_basket failed".into()] },
        head: "a".repeat(40),
        base: String::new(),
        configuration: String::new(),
        started_at_ms: 1,
        ended_at_ms: 2,
        run: None,
    };
    bench.engine.store.record_gate(write).await.unwrap();
    let answer = bench.get("/tasks/SHOP-4").await;
    assert_eq!(answer.at("/task/standing"), "blocked");
    assert_eq!((answer.at("/task/cause"), answer.at("/task/way_out")), (json!("broken"), json!("mend it")));
    assert_eq!((answer.at("/gates/0/gate"), answer.at("/gates/0/verdict")), (json!("retest"), json!("red")));
    assert_eq!(answer.at("/gates/0/summary"), "test_basket failed");
    assert_eq!(answer.at("/runs/0/kind"), "retest");
    assert_eq!(answer.at("/effects"), json!([]));
    assert_eq!(answer.at("/job/status"), "queued");
    assert_eq!(answer.at("/events/0/event/event"), "created");
    let first = bench.get("/tasks/SHOP-4/events?limit=1").await;
    assert_eq!(first.at("/events/0/seq"), 1);
    let next = bench.get("/tasks/SHOP-4/events?after=1&limit=1").await;
    assert_eq!(next.at("/events/0/seq"), 2);
    assert_eq!(next.at("/events/0/actor"), "plane_webhook");
    for path in ["/tasks/SHOP-99", "/tasks/SHOP-99/why", "/tasks/SHOP-99/events"] {
        bench.get(path).await.is_problem(404, "unknown-task");
    }
    for path in ["/tasks/SHOP", "/tasks/..%2Fx-1", "/tasks/%FF/why"] {
        bench.get(path).await.is_problem(400, "malformed-key");
    }
}

#[tokio::test]
async fn why_names_cause_who_and_way_out() {
    let bench = busy().await;
    for (key, expected) in [
        ("SHOP-1", "the analyst works (attempt 1 of 3, run 1)"),
        (
            "SHOP-2",
            "it waits for ada: the brief needs an approval. `orch-core task approve SHOP-2 --who NAME`",
        ),
        ("SHOP-3", "the core tries again by itself, until 1970-01-01T00:00:00.099Z: retest: no disk."),
        ("SHOP-4", "a person must act: broken. Way out: mend it."),
        ("SHOP-5", "nothing follows"),
    ] {
        let sentence = bench.get(&format!("/tasks/{key}/why")).await.at("/sentence");
        assert!(sentence.as_str().unwrap().contains(expected), "{sentence}");
    }
}

#[tokio::test]
async fn a_run_and_its_output_are_shown() {
    let bench = busy().await;
    let answer = bench.get("/runs/1").await;
    assert_eq!(answer.at("/work_item"), "SHOP-1");
    assert_eq!(answer.at("/out_bytes"), 23);
    assert_eq!(answer.at("/run/cookie"), "1152921504606846976");
    let log = bench.get("/runs/1/log").await;
    assert_eq!((log.status.as_u16(), log.text.as_str()), (200, "first line\nsecond line\n"));
    assert_eq!(log.headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(bench.get("/runs/1/log?tail=12").await.text, "second line\n");
    assert_eq!(bench.get("/runs/1/log?tail=9999&stream=out").await.text.len(), 23);
    assert_eq!(bench.get("/runs/1/log?stream=err").await.text, "");
    bench.get("/runs/1/log?stream=both").await.is_problem(400, "bad-query");
    bench.get("/runs/1/log?tail=0").await.is_problem(400, "bad-query");
    bench.get("/runs/77").await.is_problem(404, "unknown-run");
    bench.get("/runs/77/log").await.is_problem(404, "unknown-run");
    bench.get("/runs/one").await.is_problem(400, "malformed-id");
    bench.get("/runs/-1").await.is_problem(400, "malformed-id");
    std::fs::remove_dir_all(bench.engine.runs.dir_of(crate::domain::ids::RunId(1))).unwrap();
    bench.get("/runs/1/log").await.is_problem(404, "no-output");
    assert!(bench.get("/runs/1").await.at("/out_bytes").is_null(), "gone is not empty");
}

#[tokio::test]
async fn a_work_item_is_taken_in_once() {
    let bench = Bench::ready().await;
    let body = json!({ "key": "SHOP-1", "project": "shop", "title": " Add a basket ", "body": "as\ntext", "who": "ada" });
    let first = bench.post("/tasks", &body).await;
    assert_eq!((first.status.as_u16(), first.at("/created")), (201, json!(true)), "{}", first.text);
    assert_eq!(first.headers[header::LOCATION], "/tasks/SHOP-1");
    assert_eq!(
        (first.at("/task/stage"), first.at("/task/title")),
        (json!("analysis"), json!("Add a basket"))
    );
    let again =
        bench.post("/tasks", &json!({ "key": "SHOP-1", "project": "shop", "title": "Add a basket" })).await;
    assert_eq!((again.status.as_u16(), again.at("/created")), (200, json!(false)));
    let before = everything(&bench).await;
    for (body, status, word) in [
        (json!({ "key": "SHOP-1", "project": "shop", "title": "Else" }), 409, "key-taken"),
        (json!({ "key": "SHOP-2", "project": "shed", "title": "x" }), 422, "unknown-project"),
        (json!({ "key": "SHED-2", "project": "shop", "title": "x" }), 422, "wrong-prefix"),
        (json!({ "key": "nokey", "project": "shop", "title": "x" }), 422, "bad-fields"),
        (json!({ "key": "SHOP-2", "project": "shop", "title": "a\nb" }), 422, "bad-fields"),
        (
            json!({ "key": "SHOP-2", "project": "shop", "title": "x", "body": "y".repeat(70_000) }),
            422,
            "bad-fields",
        ),
    ] {
        bench.post("/tasks", &body).await.is_problem(status, word);
    }
    assert_eq!(everything(&bench).await, before);
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let bench = Bench::ready().await;
    let body = json!({ "key": 7, "titel": "x", "project": "", "body": ["a"], "who": "a\u{7}" });
    let answer = bench.post("/tasks", &body).await;
    answer.is_problem(422, "bad-fields");
    let errors = answer.at("/errors");
    let told: Vec<String> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| format!("{} {}", error["pointer"].as_str().unwrap(), error["detail"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            "/key must be a text, not a number",
            "/project is empty",
            "/title is missing",
            "/body must be a text, not an array",
            "/who has the control character '\\u{7}'",
            "/titel is not known here",
        ]
    );
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_by_what_is_wrong_with_it() {
    let bench = Bench::ready().await;
    bench.task("SHOP-1").await;
    let before = everything(&bench).await;
    let path = "/tasks/SHOP-1/cancel";
    let good = r#"{"who":"ada","why":"x"}"#;
    for (body, kind, status, word) in [
        ("", Some("application/json"), 400, "malformed-json"),
        ("{", Some("application/json"), 400, "malformed-json"),
        (r#"{"who":"ada","why":}"#, Some("application/json"), 400, "malformed-json"),
        ("[]", Some("application/json"), 422, "bad-fields"),
        ("{}", Some("application/json"), 422, "bad-fields"),
        (good, None, 415, "unsupported-media-type"),
        (good, Some("text/plain"), 415, "unsupported-media-type"),
        (good, Some("application/x-www-form-urlencoded"), 415, "unsupported-media-type"),
    ] {
        let mut request = operator_post(path, body.to_owned());
        match kind {
            Some(kind) => drop(request.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap())),
            None => drop(request.headers_mut().remove(header::CONTENT_TYPE)),
        }
        ask(bench.router(), request).await.is_problem(status, word);
    }
    let large = format!(r#"{{"who":"ada","why":"{}"}}"#, "x".repeat(super::body::BODY_MAX_BYTES));
    ask(bench.router(), operator_post(path, large.clone())).await.is_problem(413, "body-too-large");
    let mut announced = operator_post(path, "{}".to_owned());
    announced.headers_mut().insert(header::CONTENT_LENGTH, "999999999".parse().unwrap());
    ask(bench.router(), announced).await.is_problem(413, "body-too-large");
    let mut json = operator_post(path, good.to_owned());
    let kind = "Application/JSON; charset=utf-8".parse().unwrap();
    assert_eq!(everything(&bench).await, before, "nothing of this changed anything");
    json.headers_mut().insert(header::CONTENT_TYPE, kind);
    assert_eq!(ask(bench.router(), json).await.status, 200);
}

#[tokio::test]
async fn a_brief_is_approved_for_exactly_what_was_read() {
    let bench = Bench::ready().await;
    bench.task("SHOP-1").await;
    let approve = |body: serde_json::Value| {
        let bench = &bench;
        async move { bench.post("/tasks/SHOP-1/approve", &body).await }
    };
    approve(json!({ "who": "ada" })).await.is_problem(409, "nothing-to-approve");
    let claimed = bench.claim().await;
    bench.deliver("SHOP-1", "01-brief.md", BRIEF).await;
    bench.settle(&claimed).await;
    let before = everything(&bench).await;
    approve(json!({ "who": "eve" })).await.is_problem(403, "not-an-approver");
    approve(json!({ "who": "ada", "revision": "0123456789" })).await.is_problem(409, "brief-changed");
    bench.post("/tasks/SHOP-9/approve", &json!({ "who": "ada" })).await.is_problem(404, "unknown-task");
    assert_eq!(everything(&bench).await, before);
    let answer = approve(json!({ "who": "ada", "why": "as agreed" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!((answer.at("/outcome"), answer.at("/to")), (json!("advanced"), json!("architecture")));
    assert_eq!(answer.at("/approved_revision").as_str().unwrap().len(), 40);
    assert_eq!(answer.at("/task/stage"), "architecture");
    let events = bench.get("/tasks/SHOP-1/events").await.json()["events"].clone();
    let approved = events
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["event"]["event"] == "approved")
        .unwrap()
        .clone();
    assert_eq!((&approved["who"], &approved["why"]), (&json!("ada"), &json!("as agreed")));
    approve(json!({ "who": "ada" })).await.is_problem(409, "wrong-stage");
}

#[tokio::test]
async fn operators_retry_roll_back_advance_and_cancel() {
    let bench = busy().await;
    let act = |verb: &str, key: &str| {
        let (bench, path) = (&bench, format!("/tasks/{key}/{verb}"));
        async move { bench.post(&path, &json!({ "who": "ada", "why": "a good reason" })).await }
    };
    act("retry", "SHOP-2").await.is_problem(409, "refused");
    act("retry", "SHOP-5").await.is_problem(409, "wrong-stage");
    act("cancel", "SHOP-5").await.is_problem(409, "wrong-stage");
    act("rollback", "SHOP-5").await.is_problem(409, "wrong-stage");
    act("redeploy", "SHOP-4").await.is_problem(409, "refused");
    act("redeploy", "SHOP-5").await.is_problem(409, "wrong-stage");
    for verb in ["retry", "redeploy", "rollback", "cancel", "advance"] {
        act(verb, "SHOP-9").await.is_problem(404, "unknown-task");
        act(verb, "x").await.is_problem(400, "malformed-key");
    }
    let retried = act("retry", "SHOP-4").await;
    assert_eq!(retried.status, 200, "{}", retried.text);
    assert_eq!(retried.at("/task/standing"), "moving");
    let back = act("rollback", "SHOP-4").await;
    assert_eq!((back.at("/outcome"), back.at("/to")), (json!("rolled_back"), json!("analysis")));
    assert_eq!(back.at("/task/findings/0"), "a good reason");
    let on = act("advance", "SHOP-4").await;
    assert_eq!((on.at("/outcome"), on.at("/waits_for/kind")), (json!("waiting"), json!("agent")));
    let cancelled = act("cancel", "SHOP-4").await;
    assert_eq!((cancelled.at("/outcome"), cancelled.at("/to")), (json!("advanced"), json!("cancelled")));
    let last = bench.engine.store.events(bench.row("SHOP-4").await.id).await.unwrap().pop().unwrap();
    assert_eq!(
        (last.actor, last.who.as_deref(), last.reason.as_str()),
        (Actor::Operator, Some("ada"), "a good reason")
    );
}

#[tokio::test]
async fn a_task_that_somebody_works_on_is_deferred_and_a_lease_can_be_taken_by_force() {
    let bench = Bench::ready().await;
    let row = bench.task("SHOP-1").await;
    let path = "/transition-lease/release?work_item=SHOP-1";
    bench.post(path, &json!({})).await.is_problem(409, "no-lease");
    let to = |from, to| Event::Entered { from, to };
    bench
        .write(
            &row,
            vec![
                to(Stage::Analysis, Stage::Architecture),
                to(Stage::Architecture, Stage::Development),
                to(Stage::Development, Stage::Review),
                to(Stage::Review, Stage::Testing),
                to(Stage::Testing, Stage::DeployStaging),
            ],
        )
        .await;
    // the door opens only when the deployer has delivered
    let asks = json!({ "who": "ada", "why": "x" });
    assert_eq!(bench.post("/tasks/SHOP-1/advance", &asks).await.at("/waits_for/name"), "deployer");
    loop {
        let claimed = bench.claim().await;
        bench.settle(&claimed).await;
        if claimed.job.role == Role::Deployer {
            break;
        }
    }
    let edge = Edge { from: Stage::DeployStaging, to: Stage::Deploy };
    let acquired = bench.engine.store.acquire_lease(row.id, edge, Actor::Monitor, 5).await.unwrap();
    let Acquired::Granted(proof, None) = acquired else { panic!("not granted: {acquired:?}") };
    let deferred = bench.post("/tasks/SHOP-1/advance", &asks).await;
    deferred.is_problem(409, "deferred");
    assert_eq!(deferred.at("/owner"), "monitor");
    assert_eq!(bench.get("/tasks/SHOP-1/why").await.at("/lease/actor"), "monitor");

    for (path, word, status) in [
        ("/transition-lease/release", "bad-query", 400),
        ("/transition-lease/release?work_item=x", "bad-query", 400),
        ("/transition-lease/release?work_item=SHOP-1&force=1", "bad-query", 400),
        ("/transition-lease/release?work_item=SHOP-9", "unknown-task", 404),
    ] {
        bench.post(path, &json!({})).await.is_problem(status, word);
    }
    assert_eq!(bench.engine.store.held_leases().await.unwrap().len(), 1, "nothing was released by these");
    let bare = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, format!("Bearer {OPERATOR}"));
    let released = ask(bench.router(), bare.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (released.status.as_u16(), released.at("/outcome")),
        (200, json!("released")),
        "{}",
        released.text
    );
    assert!(bench.engine.store.held_leases().await.unwrap().is_empty());
    assert_eq!(bench.get("/queue").await.at("/transition_lease/reclaims_total/forced"), 1);
    drop(proof);
}

#[tokio::test]
async fn an_action_goes_on_when_its_caller_goes_away() {
    let bench = Bench::ready().await;
    bench.task("SHOP-1").await;
    let claimed = bench.claim().await;
    bench.deliver("SHOP-1", "01-brief.md", BRIEF).await;
    bench.settle(&claimed).await;
    let asking =
        ask(bench.router(), operator_post("/tasks/SHOP-1/approve", json!({ "who": "ada" }).to_string()));
    // far less than git needs to look at a branch: the caller hangs up in the middle
    let hung_up = tokio::time::timeout(std::time::Duration::from_millis(3), asking).await;
    assert!(hung_up.is_err(), "answered before the caller could hang up");
    let patience = std::time::Duration::from_secs(20);
    let arrived = async {
        while bench.row("SHOP-1").await.task.stage != Stage::Architecture {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, arrived).await.expect("the approval took effect");
}

#[tokio::test]
async fn serving_tells_its_address_and_takes_it_back() {
    use tokio_util::sync::CancellationToken;
    let bench = Bench::ready().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (router, dir, told) = (bench.router(), bench.dir.path().to_owned(), stop.clone());
    let serving = tokio::spawn(async move { super::serve(listener, router, &dir, told).await });
    let file = bench.dir.path().join(super::BOUND_ADDRESS_FILE);
    let answer =
        reqwest::Client::builder().no_proxy().build().unwrap().get(format!("http://{address}/healthz"));
    assert_eq!(answer.send().await.unwrap().status(), 200);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), address.to_string());
    stop.cancel();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), serving).await;
    ended.expect("the drain is bounded").unwrap().unwrap();
    assert!(!file.exists());
}

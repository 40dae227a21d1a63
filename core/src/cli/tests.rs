//! Rules of the command line, against a core that is served on the loopback.

use orch_settings::Strings;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    domain::task::Standing,
    http::{
        self,
        testing::{Bench, OPERATOR},
    },
};

/// A served core; ends with the test.
struct Served {
    bench: Bench,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a use of the program gave.
#[derive(Debug)]
struct Used {
    code: u8,
    out: String,
    err: String,
}

async fn served() -> Served {
    let bench = Bench::ready().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stop = CancellationToken::new();
    let (router, dir, told) = (bench.router(), bench.dir.path().to_owned(), stop.clone());
    tokio::spawn(async move { http::serve(listener, router, &dir, told).await });
    let file = bench.dir.path().join(http::BOUND_ADDRESS_FILE);
    let patience = std::time::Duration::from_secs(10);
    let told = async {
        while !file.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(patience, told).await.expect("the address is told");
    Served { bench, stop }
}

async fn use_program(strings: &Strings, base: &Path, words: &[&str]) -> Used {
    let args = std::iter::once("orch-core").chain(words.iter().copied()).map(OsString::from);
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(stop) if stop.is_error => return Used { code: stop.code, out: String::new(), err: stop.text },
        Err(stop) => return Used { code: stop.code, out: stop.text, err: String::new() },
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(cli, strings, base, &mut out, &mut err).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Used { code, out: text(out), err: text(err) }
}

impl Served {
    async fn used(&self, words: &[&str]) -> Used {
        let dir = self.bench.dir.path().to_str().unwrap();
        let strings =
            Strings::from_pairs([("ORCH_DATA_DIR", dir), ("ORCH_API_TOKEN", OPERATOR), ("USER", "ada")]);
        use_program(&strings, Path::new("/"), words).await
    }
}

#[test]
fn the_command_line_is_sound_and_its_help_names_the_exit_codes() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
    let stop = parse(["orch-core", "--help"].map(OsString::from)).unwrap_err();
    assert_eq!((stop.code, stop.is_error), (DONE, false));
    assert!(stop.text.contains("2 could not reach the core"), "{}", stop.text);
    assert!(!stop.text.contains("supervise"), "hidden verbs stay hidden: {}", stop.text);
}

#[test]
fn wrong_use_is_64() {
    for words in [
        &["orch-core"][..],
        &["orch-core", "tusk"],
        &["orch-core", "task"],
        &["orch-core", "task", "cancel", "SHOP-1"],
        &["orch-core", "task", "add", "SHOP-1"],
        &["orch-core", "run", "log", "x"],
        &["orch-core", "serve", "--data-dir", "/elsewhere"],
        &["orch-core", "--url", "http://localhost:1", "check-config"],
        &["orch-core", "run", "log", "1", "--tail", "0"],
        &[
            "orch-core",
            "task",
            "add",
            "SHOP-1",
            "--project",
            "p",
            "--title",
            "t",
            "--body",
            "b",
            "--body-file",
            "f",
        ],
    ] {
        let stop = parse(words.iter().map(OsString::from)).unwrap_err();
        assert_eq!((stop.code, stop.is_error), (USAGE, true), "{words:?}: {}", stop.text);
    }
}

#[test]
fn the_supervisors_verbs_carry_their_directory() {
    for verb in ["supervise", "supervise-child"] {
        let cli = parse(["orch-core", verb, "/runs/7"].map(OsString::from)).unwrap();
        let (Command::Supervise { dir } | Command::SuperviseChild { dir }) = cli.command else {
            panic!("another verb")
        };
        assert_eq!(dir, Path::new("/runs/7"));
    }
}

#[tokio::test]
async fn a_work_items_life_by_command_line() {
    let served = served().await;
    let added = served.used(&["task", "add", "SHOP-1", "--project", "shop", "--title", "Add a basket"]).await;
    assert_eq!(
        (added.code, added.out.as_str()),
        (DONE, "SHOP-1 is taken in; it is in analysis\n"),
        "{added:?}"
    );
    let again = served.used(&["task", "add", "SHOP-1", "--project", "shop", "--title", "Add a basket"]).await;
    assert!(again.out.contains("there already"), "{again:?}");

    let list = served.used(&["task", "list"]).await;
    let mut lines = list.out.lines();
    assert!(lines.next().unwrap().starts_with("KEY     STAGE     STANDING"), "{list:?}");
    assert!(lines.next().unwrap().starts_with("SHOP-1  analysis  moving"), "{list:?}");
    assert_eq!(served.used(&["task", "list", "--stage", "done"]).await.out, "no work items\n");

    let claimed = served.bench.claim().await;
    served.bench.deliver("SHOP-1", "01-brief.md", "---\nbrief_status: READY\n---\n").await;
    served.bench.settle(&claimed).await;
    let approved = served.used(&["task", "approve", "SHOP-1", "--why", "fine"]).await;
    assert_eq!(
        (approved.code, approved.out.as_str()),
        (DONE, "SHOP-1 went on to architecture\n"),
        "{approved:?}"
    );

    let story = served.used(&["task", "show", "SHOP-1", "--history"]).await.out;
    for line in [
        "operator (ada): taken in for shop: Add a basket [work item taken in]",
        "monitor: the analyst's attempt 1 ended: exit 0",
        "operator (ada): approved docs/work-items/SHOP-1/01-brief.md as of",
        "operator (ada): analysis -> architecture [ada approved the brief: fine]",
    ] {
        assert!(story.contains(line), "{line}\n---\n{story}");
    }
    let shown = served.used(&["task", "show", "SHOP-1"]).await.out;
    for part in ["SHOP-1  Add a basket", "project     shop", "\nruns\nRUN", "exit 0", "\ngates\nGATE"] {
        assert!(shown.contains(part), "{part}\n---\n{shown}");
    }
    let why = served.used(&["why", "SHOP-1"]).await;
    assert!(why.out.contains("the architect waits for its turn (attempt 1 of 3)"), "{why:?}");

    assert_eq!(served.used(&["run", "log", "1"]).await.out, "first line\nsecond line\n");
    assert_eq!(served.used(&["run", "log", "1", "--tail", "5"]).await.out, "line\n");
    assert_eq!(served.used(&["run", "log", "1", "--err"]).await.out, "");
    assert!(served.used(&["run", "show", "1"]).await.out.contains("cost        1.500000 $"));
    assert_eq!(served.used(&["lease", "list"]).await.out, "no lease is held\n");

    let row = served.bench.row("SHOP-1").await;
    let stands = Standing::Blocked { cause: "broken".into(), way_out: "mend it".into() };
    served.bench.stand(&row, stands).await;
    let again = served.used(&["task", "redeploy", "SHOP-1", "--why", "it was the disk"]).await;
    assert!(again.code != DONE && again.err.contains("none is started again"), "{again:?}");
    let retried = served.used(&["task", "retry", "SHOP-1", "--why", "mended"]).await;
    assert_eq!(retried.code, DONE, "{retried:?}");
    let back = served.used(&["task", "rollback", "SHOP-1", "--who", "grace", "--why", "wrong way"]).await;
    assert_eq!(back.out, "SHOP-1 went back to architecture\n", "{back:?}");
    let cancelled = served.used(&["task", "cancel", "SHOP-1", "--why", "not wanted"]).await;
    assert_eq!(cancelled.out, "SHOP-1 went on to cancelled\n", "{cancelled:?}");
    assert_eq!(served.used(&["healthcheck"]).await.out, "ready\n");
}

#[tokio::test]
async fn json_passes_documents_through() {
    let served = served().await;
    served.bench.task("SHOP-1").await;
    for words in [
        &["--json", "task", "list"][..],
        &["task", "show", "SHOP-1", "--json"],
        &["why", "SHOP-1", "--json"],
        &["lease", "list", "--json"],
        &["version", "--json"],
        &["healthcheck", "--json"],
    ] {
        let used = served.used(words).await;
        assert_eq!(used.code, DONE, "{used:?}");
        serde_json::from_str::<serde_json::Value>(&used.out)
            .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }
}

#[tokio::test]
async fn a_refusal_is_1_with_the_cores_words_and_never_the_token() {
    let served = served().await;
    for (words, expected) in [
        (&["task", "show", "SHOP-9"][..], "no such task: there is no task SHOP-9"),
        (&["task", "show", "../x"], "not a work item key"),
        (&["task", "approve", "SHOP-9"], "no such task"),
        (&["task", "list", "--stage", "x"], "?stage: must be one of created"),
        (&["lease", "release", "SHOP-9"], "no such task"),
        (&["task", "add", "SHOP-1", "--project", "shed", "--title", "x"], "projects.toml has shop"),
        (&["run", "log", "9"], "there is no run 9"),
    ] {
        let used = served.used(words).await;
        assert_eq!(used.code, FAILED, "{used:?}");
        assert!(used.err.contains(expected), "{expected}: {used:?}");
        assert!(!used.err.contains(OPERATOR) && used.out.is_empty());
    }
    let dir = served.bench.dir.path().to_str().unwrap();
    let wrong =
        Strings::from_pairs([("ORCH_DATA_DIR", dir), ("ORCH_API_TOKEN", "wrong-token"), ("USER", "ada")]);
    let used = use_program(&wrong, Path::new("/"), &["task", "cancel", "SHOP-9", "--why", "x"]).await;
    assert_eq!(used.code, FAILED);
    assert!(used.err.contains("a token is needed") && !used.err.contains("wrong-token"), "{used:?}");
}

#[tokio::test]
async fn no_core_is_2_and_says_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let strings = Strings::from_pairs([("ORCH_DATA_DIR", dir.path().to_str().unwrap())]);
    let used = use_program(&strings, Path::new("/"), &["task", "list"]).await;
    assert_eq!(used.code, UNREACHABLE);
    assert!(used.err.contains("start it with `orch-core serve`"), "{used:?}");
    // an address where nobody listens any more, as a crash leaves it
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(dir.path().join(http::BOUND_ADDRESS_FILE), format!("{gone}\n")).unwrap();
    let used = use_program(&strings, Path::new("/"), &["healthcheck"]).await;
    assert_eq!(used.code, UNREACHABLE);
    assert!(used.err.contains(&format!("no core answers at http://{gone}: start it")), "{used:?}");
    std::fs::write(dir.path().join(http::BOUND_ADDRESS_FILE), "nonsense").unwrap();
    assert_eq!(use_program(&strings, Path::new("/"), &["healthcheck"]).await.code, USAGE);
}

#[tokio::test]
async fn a_core_that_starts_is_not_ready() {
    let served = served().await;
    served.bench.engine.set_life(crate::engine::Life::Starting);
    let used = served.used(&["healthcheck"]).await;
    assert_eq!(used.code, UNREACHABLE);
    assert!(used.err.contains("starting"), "{used:?}");
}

#[tokio::test]
async fn what_answers_and_is_no_core_is_told_apart() {
    let other = axum::Router::new().fallback(|| async { (axum::http::StatusCode::NOT_FOUND, "hello") });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, other).await });
    let dir = tempfile::tempdir().unwrap();
    let used =
        use_program(&Strings::from_pairs::<&str, &str>([]), dir.path(), &["--url", &url, "task", "list"])
            .await;
    assert_eq!(used.code, UNREACHABLE, "{used:?}");
    assert!(used.err.contains("is not a core"), "{used:?}");
    serving.abort();
}

#[tokio::test]
async fn the_token_of_the_data_directory_stays_on_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        crate::config::CoreConfig::load(&Strings::from_pairs::<&str, &str>([]), dir.path()).unwrap().value;
    http::api_token(&config.http, dir.path()).unwrap();
    let strings = Strings::from_pairs([("ORCH_DATA_DIR", dir.path().to_str().unwrap())]);
    for (url, has_token) in [
        ("http://127.0.0.1:1", true),
        ("http://localhost:1", true),
        ("http://[::1]:1", true),
        ("https://core.example", false),
        ("http://127.0.0.1.example", false),
    ] {
        let cli = parse(["orch-core", "--url", url, "healthcheck"].map(OsString::from)).unwrap();
        let session = client::Session::open(&cli, &strings, Path::new("/")).unwrap();
        assert_eq!(session.has_token(), has_token, "{url}");
    }
    for url in ["core.example", "ftp://x", "http://ada:secret@core.example"] {
        let used = use_program(&strings, Path::new("/"), &["--url", url, "healthcheck"]).await;
        assert_eq!(used.code, USAGE, "{used:?}");
        assert!(!used.err.contains("secret"), "{used:?}");
    }
}

#[tokio::test]
async fn who_acts_must_be_known() {
    let served = served().await;
    let dir = served.bench.dir.path().to_str().unwrap();
    let strings = Strings::from_pairs([("ORCH_DATA_DIR", dir), ("ORCH_API_TOKEN", OPERATOR)]);
    let used = use_program(&strings, Path::new("/"), &["task", "cancel", "SHOP-1", "--why", "x"]).await;
    assert_eq!(used.code, USAGE);
    assert!(used.err.contains("--who NAME"), "{used:?}");
}

#[tokio::test]
async fn check_config_tells_everything_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let bad = Strings::from_pairs([("ORCH_DATA_DIR", data), ("ORCH_BIND", "x"), ("ORCH_MAX_AGENTS", "none")]);
    let used = use_program(&bad, Path::new("/"), &["check-config"]).await;
    assert_eq!(used.code, USAGE);
    assert!(used.err.contains("ORCH_BIND") && used.err.contains("ORCH_MAX_AGENTS"), "{used:?}");
    let good = Strings::from_pairs([("ORCH_DATA_DIR", data), ("ORCH_API_TOKEN", "hidden-token")]);
    let used = use_program(&good, Path::new("/"), &["check-config", "--print-env"]).await;
    assert_eq!(used.code, USAGE);
    assert!(used.err.contains("projects.toml"), "{used:?}");
    assert!(used.out.contains("ORCH_API_TOKEN=***") && !used.out.contains("hidden-token"), "{used:?}");
}

//! A tick that does not come back: the rest of the program answers, says that ticks are late, and ends when it is told to.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

#[expect(dead_code, reason = "of the written trees this needs one")]
mod proc_support;
#[expect(dead_code, reason = "of a child this needs its start and its end")]
mod program;
mod support;

use nix::sys::stat::Mode;
use orch_tests::documents;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use proc_support::{Fake, Tree};
use program::{Watchdog, ask, text_of};
use support::until;

const RUN: i32 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_of_proc_that_does_not_return_keeps_nobody_from_an_answer_and_the_program_from_no_end() {
    let document = CoreBehaviour::Document(Box::new(documents::idle(1_700_000_000_000)));
    let core = FakeCore::start(document, None).await.unwrap();
    let (tree, place) = (Tree::new(), tempfile::tempdir().unwrap());
    tree.put(&Fake::new(RUN, 1, &["pytest"]).leader());
    let (state, log, core_url) = (place.path().join("state"), place.path().join("log"), core.url());
    let settings = [
        ("WATCHDOG_STATE_DIR", state.to_str().unwrap()),
        ("WATCHDOG_BIND", "127.0.0.1:0"),
        ("WATCHDOG_TICK_S", "0.1"),
        ("WATCHDOG_CORE_URL", core_url.as_str()),
        ("WATCHDOG_PROC_ENABLED", "true"),
        ("WATCHDOG_PROC_ROOT", tree.path().to_str().unwrap()),
    ];
    let watchdog = Watchdog::start(&settings, &log);
    let health = || ask(&settings, &["healthcheck"]);
    until("a good health", async || health().status.success().then_some(())).await;

    // as that of a process whose memory lock is held for ever: its open does not come back
    let line = tree.path().join(RUN.to_string()).join("cmdline");
    std::fs::remove_file(&line).unwrap();
    nix::unistd::mkfifo(&line, Mode::S_IRWXU).unwrap();
    let late = until("a bad health, told in words", async || {
        let said = String::from_utf8_lossy(&health().stderr).into_owned();
        said.contains("503").then_some(said)
    })
    .await;
    assert!(late.contains("tick"), "{late}");
    let status = ask(&settings, &["status"]);
    assert!(status.status.success(), "{status:?}");

    assert_eq!(watchdog.stop(), Some(1), "it ends, and not as if all were well");
    let log = text_of(&log);
    assert!(log.contains("a tick does not come back"), "{log}");
    assert!(state.join("state.json").is_file(), "its state is saved");
}

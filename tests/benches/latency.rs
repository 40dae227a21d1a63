//! How long people wait for the watchdog's word: from the moment a condition holds to its message in a chat, and from the
//! end of the last process to the recovery's. The real program, real processes, a local stand-in of Telegram; rounds begin
//! at any point of a tick. Prints numbers, asserts nothing.
//!
//! `cargo bench -p orch-tests --bench latency [-- ROUNDS]`

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_tests::alerts::{Signal as AlertSignal, is_alert, is_recovery};
use orch_tests::binaries::built;
use orch_tests::clock;
use orch_tests::documents;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::fake_telegram::FakeTelegram;
use orch_tests::process::{Guard, bare_program};

const ROUNDS: u32 = 12;
/// The watchdog's tick.
const TICK: Duration = Duration::from_secs(5);
/// What an orphan is granted: two ticks, as by default.
const GRACE: Duration = Duration::from_secs(10);
/// Rounds begin this much later within a tick, one after the other.
const SHIFT: Duration = Duration::from_millis(1_700);
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the chat is looked at: what the measure may be wrong by.
const LOOK: Duration = Duration::from_millis(2);
/// The token's shape is a bot token's, and it opens nothing.
const TOKEN: &str = "1000000:stand-in-token-that-opens-nothing";

fn main() -> Result<()> {
    let rounds = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let telegram = runtime.block_on(FakeTelegram::start())?;
    // a chat of this bench takes more in a minute than people's groups do
    telegram.set_rate(None);
    // whose a family is can be told only while the core is heard
    let document = CoreBehaviour::Live(Box::new(documents::idle(clock::now_ms())));
    let core = runtime.block_on(FakeCore::start(document, None))?;
    let folder = tempfile::tempdir()?;
    let mut watchdog = watchdog(folder.path(), &telegram.url(), &core.url())?;
    let (mut alerts, mut recoveries) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (alert, recovery) = one_round(&telegram, round).with_context(|| format!("round {round}"))?;
        alerts.push(alert);
        recoveries.push(recovery);
        std::thread::sleep(SHIFT);
    }
    watchdog.stop()?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{rounds} rounds, tick {} s, grace {} s\n{:<44} {:>9} {:>9} {:>14}",
        TICK.as_secs(),
        GRACE.as_secs(),
        "",
        "median s",
        "longest s",
        "longest, ticks"
    )?;
    for (name, mut spans) in
        [("end of the grace to the alert", alerts), ("end of the process to the recovery", recoveries)]
    {
        spans.sort();
        let (middle, last) = (spans.get(spans.len() / 2).copied(), spans.last().copied());
        let (middle, last) =
            (middle.unwrap_or_default().as_secs_f64(), last.unwrap_or_default().as_secs_f64());
        writeln!(out, "{name:<44} {middle:>9.3} {last:>9.3} {:>14.2}", last / TICK.as_secs_f64())?;
    }
    Ok(())
}

fn watchdog(folder: &Path, telegram: &str, core: &str) -> Result<Guard> {
    let mut command = bare_program(built("orch-watchdog")?);
    command
        .arg("run")
        .env("WATCHDOG_STATE_DIR", folder)
        .env("WATCHDOG_BIND", "127.0.0.1:0")
        .env("WATCHDOG_TICK_S", TICK.as_secs().to_string())
        .env("WATCHDOG_PROC_ENABLED", "true")
        .env("WATCHDOG_PROC_PATTERNS", "orch-latency-bench")
        .env("WATCHDOG_PROC_ORPHAN_GRACE_S", GRACE.as_secs().to_string())
        .env("WATCHDOG_PROC_FOREIGN_GRACE_S", GRACE.as_secs().to_string())
        .env("WATCHDOG_CORE_URL", core)
        .env("WATCHDOG_TELEGRAM_API_URL", telegram)
        .env("WATCHDOG_TELEGRAM_BOT_TOKEN", TOKEN)
        .env("WATCHDOG_TELEGRAM_CHAT_ID", "4242")
        // a starved host would take the alerts of families into its own message
        .env("WATCHDOG_CPU_STARVED_ENABLED", "false")
        .env("WATCHDOG_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Guard::start("orch-watchdog", &mut command)
}

/// A process loses its shell, is told, ends, and is taken back: how long both took.
fn one_round(telegram: &FakeTelegram, round: u32) -> Result<(Duration, Duration)> {
    let recoveries = || {
        let messages = telegram.messages();
        messages.iter().filter(|message| is_recovery(&message.text, AlertSignal::ProcOrphaned)).count()
    };
    let before = recoveries();
    let folder = tempfile::tempdir()?;
    let pid_file = folder.path().join("pid");
    let mut shell = bare_program("setsid");
    shell.args([
        "bash",
        "-c",
        "bash -c 'exec -a orch-latency-bench sleep 600' & echo $! > \"$0.new\"; mv \"$0.new\" \"$0\"; wait",
    ]);
    shell.arg(&pid_file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut shell = Guard::start("bash", &mut shell)?;
    let pid: i32 =
        loop_until(|| std::fs::read_to_string(&pid_file).ok()?.trim().parse().ok()).context("no pid")?;
    // it is seen once with a live shell, somewhere in a tick
    std::thread::sleep(TICK + SHIFT * (round % 3));
    shell.kill();
    let crossed = clock::now() + GRACE;
    let is_told = || {
        let messages = telegram.messages();
        messages.iter().any(|message| is_alert(&message.text, AlertSignal::ProcOrphaned, Some(pid)))
    };
    let told = loop_until(|| is_told().then(clock::now)).context("no alert")?;
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    let ended = clock::now();
    let over = loop_until(|| (recoveries() > before).then(clock::now)).context("no recovery")?;
    Ok((told.saturating_duration_since(crossed), over - ended))
}

fn loop_until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = clock::now();
    while begun.elapsed() < PATIENCE {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(LOOK);
    }
    None
}

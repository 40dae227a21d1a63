//! The whole watchdog beside others that look at the same host: CPU a cycle and resident memory, one after the other
//! in one run, each asked to look once a second. Prints numbers, asserts nothing.
//!
//! `cargo bench -p orch-tests --bench rivals [-- N…]` with N idle processes (1,000, then 5,000), ten of which are called
//! pytest. Needs `prometheus-process-exporter` and `monit` (Debian) and psutil (`pip install psutil`) for their rows; a
//! row that cannot be measured says why.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use orch_tests::binaries::built;
use orch_tests::clock;
use orch_tests::crowd::Crowd;
use orch_tests::documents;
use orch_tests::fake_core::{CoreBehaviour, FakeCore};
use orch_tests::memory::Memory;
use orch_tests::process::{Guard, bare_program};

/// Idle processes, one table each, unless the command line says otherwise.
const PROCESSES: [usize; 2] = [1_000, 5_000];
/// Of these, how many match what everybody looks for.
const MATCHED: usize = 10;
/// Cycles before the count: what is new to a program has been looked at again by then.
const WARM_UP: u32 = 45;
/// Cycles that are counted.
const CYCLES: u32 = 30;
/// One cycle.
const CYCLE: Duration = Duration::from_secs(1);
/// Longest wait for a program to be there.
const PATIENCE: Duration = Duration::from_secs(20);
/// What everybody looks for.
const EXPRESSION: &str = "(^|[ /])pytest( |$)";

/// Reads `stat` and `cmdline` of all, once a cycle.
const STDLIB: &str = r#"
import os, time
while True:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        for file in ("stat", "cmdline"):
            try:
                with open(f"/proc/{name}/{file}", "rb") as opened:
                    opened.read()
            except OSError:
                pass
    time.sleep(1)
"#;

const PSUTIL: &str = r#"
import psutil, time
while True:
    for process in psutil.process_iter(["cmdline", "create_time", "ppid"]):
        pass
    time.sleep(1)
"#;

/// What a program cost.
struct Cost {
    cpu_us: f64,
    resident_kib: u64,
    anonymous_kib: u64,
}

/// A program that is asked, or asks itself, once a cycle.
struct Rival<'a> {
    name: &'a str,
    guard: Guard,
    /// Address that makes it look; absent when it looks by itself.
    scraped: Option<SocketAddr>,
}

fn main() -> Result<()> {
    let asked: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let sizes = if asked.is_empty() { PROCESSES.to_vec() } else { asked };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
    let document = CoreBehaviour::Document(Box::new(documents::idle(now_ms)));
    let core = runtime.block_on(FakeCore::start(document, None))?;
    for size in sizes {
        let crowd = Crowd::start(size, MATCHED)?;
        thread::sleep(3 * CYCLE);
        let mut out = std::io::stdout();
        writeln!(out, "\n{} entries of /proc, {CYCLES} cycles of 1 s", fs::read_dir("/proc")?.count())?;
        writeln!(
            out,
            "{:<44} {:>12} {:>9} {:>9} {:>9}",
            "", "µs CPU a cycle", "× ours", "RSS MiB", "anon MiB"
        )?;
        let mut ours = None;
        for (name, start) in programs() {
            let folder = tempfile::tempdir()?;
            match start(name, folder.path(), core.address()).and_then(measure) {
                Ok(cost) => {
                    let base = *ours.get_or_insert(cost.cpu_us);
                    writeln!(
                        out,
                        "{name:<44} {:>12.0} {:>9.1} {:>9.1} {:>9.1}",
                        cost.cpu_us,
                        cost.cpu_us / base,
                        cost.resident_kib as f64 / 1024.0,
                        cost.anonymous_kib as f64 / 1024.0
                    )?;
                }
                Err(error) => writeln!(out, "{name:<44} not measured: {error:#}")?,
            }
        }
        drop(crowd);
    }
    Ok(())
}

type Start = for<'a> fn(&'a str, &Path, SocketAddr) -> Result<Rival<'a>>;

fn programs() -> [(&'static str, Start); 5] {
    [
        ("orch-watchdog: whole tick, core poll included", ours),
        ("process-exporter, its best settings", process_exporter),
        ("monit, one regular expression", monit),
        ("Python stdlib, stat and cmdline of all", |name, _, _| python(name, STDLIB)),
        ("psutil, cmdline, create_time, ppid", |name, _, _| python(name, PSUTIL)),
    ]
}

/// A second stands for a tick of 15 s: of the command lines it reads the same share as then.
fn ours<'a>(name: &'a str, folder: &Path, core: SocketAddr) -> Result<Rival<'a>> {
    let mut command = bare_program(built("orch-watchdog")?);
    command
        .arg("run")
        .env("WATCHDOG_STATE_DIR", folder)
        .env("WATCHDOG_BIND", "127.0.0.1:0")
        .env("WATCHDOG_TICK_S", "1")
        .env("WATCHDOG_PROC_REFRESH_S", "60")
        .env("WATCHDOG_PROC_ENABLED", "true")
        .env("WATCHDOG_CORE_URL", format!("http://{core}"))
        .env("WATCHDOG_LOG", "error");
    started(name, &mut command, None)
}

fn process_exporter<'a>(name: &'a str, folder: &Path, _: SocketAddr) -> Result<Rival<'a>> {
    let settings = folder.join("groups.yml");
    fs::write(&settings, format!("process_names:\n  - name: pytest\n    cmdline: ['{EXPRESSION}']\n"))?;
    let address = free_address()?;
    let mut command = bare_program("prometheus-process-exporter");
    command
        .arg(format!("-config.path={}", settings.display()))
        .arg(format!("-web.listen-address={address}"))
        .args(["-threads=false", "-gather-smaps=false"]);
    started(name, &mut command, Some(address)).context("apt-get install prometheus-process-exporter")
}

fn monit<'a>(name: &'a str, folder: &Path, _: SocketAddr) -> Result<Rival<'a>> {
    let settings = folder.join("monitrc");
    let folder = folder.display();
    fs::write(
        &settings,
        format!(
            "set daemon 1\nset idfile {folder}/id\nset statefile {folder}/state\nset pidfile {folder}/pid\n\
             check process pytest matching \"{EXPRESSION}\"\n"
        ),
    )?;
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o600))?;
    let mut command = bare_program("monit");
    command.arg("-I").arg("-c").arg(&settings);
    started(name, &mut command, None).context("apt-get install monit")
}

fn python<'a>(name: &'a str, text: &str) -> Result<Rival<'a>> {
    started(name, bare_program("python3").args(["-c", text]), None)
}

fn started<'a>(
    name: &'a str,
    command: &mut std::process::Command,
    scraped: Option<SocketAddr>,
) -> Result<Rival<'a>> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut guard = Guard::start(name, command)?;
    let begun = clock::now();
    while let Some(address) = scraped
        && let Err(error) = TcpStream::connect_timeout(&address, PATIENCE)
    {
        if let Some(status) = guard.ended()? {
            bail!("it ended by itself: {status}");
        }
        if begun.elapsed() > PATIENCE {
            return Err(error).context("it does not listen");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(Rival { name, guard, scraped })
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn measure(mut rival: Rival<'_>) -> Result<Cost> {
    for _ in 0..WARM_UP {
        cycle(&rival)?;
    }
    if let Some(status) = rival.guard.ended()? {
        bail!("{} ended by itself: {status}", rival.name);
    }
    let pid = rival.guard.pid();
    let before = cpu_us(pid)?;
    for _ in 0..CYCLES {
        cycle(&rival)?;
    }
    let cpu_us = (cpu_us(pid)? - before) / f64::from(CYCLES);
    let Memory { resident_kib, anonymous_kib } = Memory::of(pid)?;
    rival.guard.kill();
    Ok(Cost { cpu_us, resident_kib, anonymous_kib })
}

fn cycle(rival: &Rival<'_>) -> Result<()> {
    if let Some(address) = rival.scraped {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            bail!("{} answers no metrics", rival.name);
        }
    }
    thread::sleep(CYCLE);
    Ok(())
}

/// CPU of all its threads so far, microseconds, by the scheduler's own count (`schedstat`): `stat` counts whole ticks.
fn cpu_us(pid: i32) -> Result<f64> {
    let mut sum_ns = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_cpu = text.split_whitespace().next().context("an empty schedstat")?;
        sum_ns += on_cpu.parse::<f64>()?;
    }
    Ok(sum_ns / 1e3)
}

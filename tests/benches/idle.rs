//! What both programs cost when nothing happens: resident memory and CPU over a span, of the real
//! binaries with the sample's projects loaded. Prints numbers, asserts nothing.
//!
//! `cargo bench -p orch-tests --bench idle`

use anyhow::{Context as _, Result};
use orch_tests::clock;
use orch_tests::memory::Memory;
use orch_tests::stack::Stack;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// How long nothing happens.
const SPAN: Duration = Duration::from_secs(30);
/// Start-up's own memory and work are over by then.
const SETTLE: Duration = Duration::from_secs(5);

fn cpu_ms(pid: i32) -> Result<u64> {
    let stat = proc_identity::read_stat(Path::new(proc_identity::PROC_ROOT), pid)?;
    let ticks = stat.utime_ticks + stat.stime_ticks;
    Ok(ticks * 1_000 / proc_identity::host::clock_ticks_per_second())
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mut stack = Stack::describe().watchdog("WATCHDOG_PROC_ENABLED", "true").build()?;
        stack.start_core().await?;
        stack.start_watchdog().await?;
        tokio::time::sleep(SETTLE).await;
        let programs = [("orch-core", stack.core_pid()), ("orch-watchdog", stack.watchdog_pid())];
        let mut before = Vec::new();
        for (name, pid) in programs {
            let pid = pid.with_context(|| format!("{name} is not running"))?;
            before.push((name, pid, cpu_ms(pid)?));
        }
        let mut out = std::io::stdout();
        let since = clock::now();
        tokio::time::sleep(SPAN).await;
        let span_ms = since.elapsed().as_secs_f64() * 1_000.0;
        writeln!(out, "{:<15} {:>10} {:>12} {:>16}", "idle", "RSS MiB", "anon MiB", "CPU of a core")?;
        for (name, pid, cpu_before) in before {
            let memory = Memory::of(pid)?;
            let used = (cpu_ms(pid)? - cpu_before) as f64;
            writeln!(
                out,
                "{name:<15} {:>10.1} {:>12.1} {:>14.3} %",
                memory.resident_kib as f64 / 1024.0,
                memory.anonymous_kib as f64 / 1024.0,
                used / span_ms * 100.0
            )?;
        }
        writeln!(out, "entries of /proc: {}", std::fs::read_dir("/proc")?.count())?;
        stack.stop_watchdog()?;
        stack.stop_core()
    })
}

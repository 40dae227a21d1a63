//! Ending what a killed core left behind in a temporary data directory.
//!
//! Supervisors outlive their core by design, so a test that kills a core must end them. Ours are the
//! processes whose working directory or command line lies in a directory that was made for this one
//! test; nothing else on the host can match. Never used on a directory that a person works in.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proc_identity::{Liveness, PROC_ROOT, ProcRoot, ProcessId};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// At most so many passes; each kills all that it finds.
const PASSES: u32 = 100;
/// Pause between two passes, in milliseconds.
const PAUSE_MS: u64 = 20;
/// At most so many bytes of a command line are looked at.
const CMDLINE_BYTES: usize = 65_536;

/// Live processes that belong to a directory: those that work in it or name it.
///
/// # Errors
/// When the process directory cannot be read.
pub fn belonging_to(directory: &Path) -> anyhow::Result<Vec<ProcessId>> {
    let mut root = ProcRoot::open(Path::new(PROC_ROOT))?;
    let mut pids = Vec::new();
    root.list_pids(&mut pids)?;
    let name = directory.as_os_str().as_encoded_bytes();
    let own = nix::unistd::getpid().as_raw();
    let mut found = Vec::new();
    for (pid, _inode) in pids {
        if pid <= 1 || pid == own {
            continue;
        }
        let Ok(stat) = root.stat(pid) else { continue };
        if stat.is_dead() {
            continue;
        }
        let works_there =
            std::fs::read_link(format!("{PROC_ROOT}/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
        let names_it = root
            .cmdline(pid, CMDLINE_BYTES)
            .is_ok_and(|line| line.words().any(|word| word.windows(name.len()).any(|window| window == name)));
        if works_there || names_it {
            found.push(stat.id());
        }
    }
    Ok(found)
}

/// SIGKILL a process unless its pid belongs to another one by now; whether it was there.
pub fn kill_exactly(id: ProcessId) -> bool {
    let same = proc_identity::read_stat(Path::new(PROC_ROOT), id.pid).is_ok_and(|stat| stat.id() == id);
    same && kill(Pid::from_raw(id.pid), Signal::SIGKILL).is_ok()
}

/// Asks the supervisors that live in a data directory's run directories to end their runs, and waits
/// for them; how many were asked. Only they: whoever else works there is somebody else's.
pub fn stop_supervisors(data: &Path, patience: Duration) -> usize {
    let holders = || -> Vec<ProcessId> {
        let Ok(entries) = std::fs::read_dir(data.join("runs")) else { return Vec::new() };
        let lock = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("lock")).ok();
        entries
            .flatten()
            .filter_map(lock)
            .filter_map(|text| serde_json::from_str::<ProcessId>(text.trim()).ok())
            .filter(|id| proc_identity::same(Path::new(PROC_ROOT), *id) == Liveness::Alive)
            .collect()
    };
    let asked = holders();
    for id in &asked {
        // one that ended meanwhile needs no signal
        kill(Pid::from_raw(id.pid), Signal::SIGTERM).ok();
    }
    let end = crate::clock::now() + patience;
    while !holders().is_empty() && crate::clock::now() < end {
        thread::sleep(Duration::from_millis(PAUSE_MS));
    }
    asked.len()
}

/// Kill all that belongs to a directory until nothing does; how many were killed.
pub fn sweep(directory: &Path) -> usize {
    let mut killed = 0;
    for _ in 0..PASSES {
        let left = belonging_to(directory).unwrap_or_default();
        if left.is_empty() {
            break;
        }
        killed += left.into_iter().filter(|id| kill_exactly(*id)).count();
        thread::sleep(Duration::from_millis(PAUSE_MS));
    }
    killed
}

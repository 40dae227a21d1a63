//! Making the incident: a pytest that nobody owns any more, and its end.

use crate::process::{self, Guard};
use crate::sample::{self, Sample};
use crate::{sweep, wait};
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use orch_contract::SupervisedTree;
use proc_identity::{PROC_ROOT, ProcRoot, ProcessId};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Longest time until a started pytest shows in the process directory.
const APPEARANCE_PATIENCE: Duration = Duration::from_secs(30);
/// At most so many bytes of a command line are looked at.
const CMDLINE_BYTES: usize = 65_536;
/// At most so many passes until nothing of a run is left.
const PASSES: usize = 100;

/// The live processes of one run, by the cookie that all of them inherit.
///
/// # Errors
/// When the process directory cannot be read, or a process could not be looked at: "could not look"
/// is not "nothing there".
pub fn members(cookie: u64) -> Result<Vec<ProcessId>> {
    let scan = proc_identity::pids_with_cookie(Path::new(PROC_ROOT), cookie)?;
    if scan.unreadable > 0 {
        bail!("{} processes could not be looked at", scan.unreadable);
    }
    Ok(scan.marked.into_iter().filter(|marked| !marked.dead).map(|marked| marked.id).collect())
}

/// The cookie of a tree as a number.
///
/// # Errors
/// When the document holds none.
pub fn cookie(tree: &SupervisedTree) -> Result<u64> {
    tree.cookie.parse().with_context(|| format!("run {} has cookie {:?}", tree.run_id, tree.cookie))
}

/// A pytest and what it started.
#[derive(Debug, Clone)]
pub struct Orphan {
    /// The pytest itself.
    pub root: ProcessId,
    reach: Reach,
}

/// How its processes are told from others.
#[derive(Debug, Clone)]
enum Reach {
    /// They work in a folder of their own.
    Folder(PathBuf),
    /// They carry the cookie of their run.
    Cookie(u64),
}

/// A shell with a pytest below it, not killed yet.
#[derive(Debug)]
pub struct Shell {
    guard: Guard,
    /// The pytest below it.
    pub pytest: Orphan,
}

impl Shell {
    /// A shell that runs the soak suite in a clone of the sample's source under `folder`.
    ///
    /// # Errors
    /// When the pytest does not appear.
    pub async fn with_pytest(sample: &Sample, folder: &Path, name: &str) -> Result<Self> {
        let tree = folder.join(name);
        let (from, to) = (sample.source(), tree.to_string_lossy().into_owned());
        sample::git(folder, &["clone", "--quiet", &from.to_string_lossy(), &to])?;
        // a session of its own, as a terminal's or an agent's shell has: the leader of its line dies with it
        let mut shell = process::bare_program("setsid");
        shell.arg("sh");
        // the trailing command keeps the shell there as the parent, instead of becoming pytest itself
        shell.arg("-c").arg("\"$0\" -m pytest -q -m slow tests/test_soak.py; exit $?").arg(sample.python());
        shell.current_dir(&tree).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let guard = Guard::start("sh", &mut shell)?;
        let root = wait::until("a pytest below the shell", APPEARANCE_PATIENCE, || async {
            let there = sweep::belonging_to(&tree).map_err(|error| format!("{error:#}"))?;
            oldest_pytest(&there).map_err(|error| format!("{error:#}"))
        })
        .await?;
        Ok(Self { guard, pytest: Orphan { root, reach: Reach::Folder(tree) } })
    }

    /// SIGKILL the shell alone: its pytest is an orphan from now on.
    ///
    /// # Errors
    /// When the shell cannot be signalled.
    pub fn abandon(mut self) -> Result<Orphan> {
        self.guard.signal(Signal::SIGKILL)?;
        self.guard.kill();
        Ok(self.pytest)
    }
}

impl Orphan {
    /// The pytest of a run, as soon as it and a process below it are there.
    ///
    /// # Errors
    /// When it does not appear.
    pub async fn of_run(cookie: u64) -> Result<Self> {
        wait::until("a pytest with a helper in the agent's run", APPEARANCE_PATIENCE, || async {
            let there = members(cookie).map_err(|error| format!("{error:#}"))?;
            let root = oldest_pytest(&there).map_err(|error| format!("{error:#}"))?;
            let below = there.iter().filter(|id| id.start_ticks >= root.start_ticks).count();
            if below < 2 {
                return Err(format!("the pytest has started nothing yet, {} processes", there.len()));
            }
            Ok(Self { root, reach: Reach::Cookie(cookie) })
        })
        .await
    }

    /// Its live processes.
    ///
    /// # Errors
    /// When the process directory cannot be read.
    pub fn processes(&self) -> Result<Vec<ProcessId>> {
        match &self.reach {
            Reach::Folder(folder) => sweep::belonging_to(folder),
            Reach::Cookie(cookie) => members(*cookie),
        }
    }

    /// Kill it and what it started; how many processes were killed.
    ///
    /// # Errors
    /// When something is left, or could not be looked at.
    pub fn end(&self) -> Result<usize> {
        let mut killed = 0;
        for _ in 0..PASSES {
            let left = self.processes()?;
            if left.is_empty() {
                return Ok(killed);
            }
            killed += left.into_iter().filter(|id| sweep::kill_exactly(*id)).count();
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} processes do not end", self.processes()?.len());
    }
}

fn oldest_pytest(among: &[ProcessId]) -> Result<ProcessId> {
    let mut root = ProcRoot::open(Path::new(PROC_ROOT))?;
    let mut found: Vec<ProcessId> = among
        .iter()
        .copied()
        .filter(|id| {
            let Ok(line) = root.cmdline(id.pid, CMDLINE_BYTES) else { return false };
            let words: Vec<&[u8]> = line.words().collect();
            // the shell's own line holds the words too, as one argument
            words.windows(2).any(|pair| pair[0] == b"-m" && pair[1] == b"pytest")
        })
        .collect();
    found.sort_by_key(|id| (id.start_ticks, id.pid));
    found.first().copied().context("no pytest there")
}

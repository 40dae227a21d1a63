//! What is looked at and done inside of containers, from the host: rights, processes left behind.
//!
//! Rights are read where the kernel enforces them (`/proc`), not where somebody asked for them.

use super::{engine, images, stand::Stand};
use anyhow::{Context as _, Result, bail, ensure};
use orch_tests::{clock, sweep, wait};
use proc_identity::{PROC_ROOT, ProcessId};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Mark of the run that is started by hand.
pub(crate) const COOKIE: u64 = 1 << 40;

/// Where the orphan beside the project works; its command line names it.
const ELSEWHERE: &str = "/tmp/elsewhere";
/// Characters of a container's id where it is shown to people.
const SHORT_ID_CHARACTERS: usize = 12;

/// Longest time until a process shows.
const PATIENCE: Duration = Duration::from_secs(180);
/// What starts with its container's init counts as its main command.
const MAIN_COMMAND: Duration = Duration::from_secs(3);
/// A test that is there for longer than any of ours.
const LONG_TEST: &str = "import time\n\ndef test_long():\n    time.sleep(3600)\n";

/// How messages name a container.
#[must_use]
pub(crate) fn shown(container: &str) -> String {
    format!("docker {}", container.get(..12).unwrap_or(container))
}

/// What changes when a container is made or started anew.
///
/// # Errors
/// When there is none.
pub(crate) fn life(container: &str) -> Result<String> {
    engine::inspect(container, "{{.Id}} {{.State.StartedAt}} {{.State.Pid}}")
}

/// The image holds the program and its empty state directory; the rest is the engine's.
///
/// # Errors
/// Names what else there is.
pub(crate) fn holds_one_program(container: &str) -> Result<()> {
    const OF_THE_ENGINE: [&str; 5] = [".dockerenv", "dev", "etc", "proc", "sys"];
    let mut export = orch_tests::process::program("sh");
    export.args(["-c", "docker export \"$0\" | tar -t", container]);
    let said = orch_tests::process::run(&mut export, PATIENCE)?;
    ensure!(said.status.success(), "{}", said.all());
    let ours: Vec<&str> = said
        .out
        .lines()
        .filter(|path| !OF_THE_ENGINE.contains(&path.split('/').next().unwrap_or_default()))
        .collect();
    ensure!(ours == ["orch-watchdog", "state/"], "the image holds {ours:?}");
    Ok(())
}

/// Every process of a container has the user, no capability, and no way to more; its root is read-only
/// where the compose file says so.
///
/// # Errors
/// Names the process and the line.
pub(crate) fn is_confined(container: &str, uid: u32) -> Result<()> {
    let pids = engine::docker(&["top", container, "-eo", "pid"])?;
    let mut seen = 0;
    for pid in pids.lines().skip(1).map(str::trim) {
        // a health check may have ended meanwhile
        let Ok(status) = fs::read_to_string(format!("{PROC_ROOT}/{pid}/status")) else { continue };
        let uids = format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}");
        let none = "0000000000000000";
        let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| format!("{set}:\t{none}"));
        let lines = [&uids].into_iter().chain(&sets).map(String::as_str);
        for line in lines.chain(["NoNewPrivs:\t1", "Seccomp:\t2"]) {
            ensure!(status.lines().any(|found| found == line), "{pid}: no line {line:?} in\n{status}");
        }
        seen += 1;
    }
    ensure!(seen > 0, "no process of {container} was seen");
    let pid = engine::inspect(container, "{{.State.Pid}}")?;
    let mounts = fs::read_to_string(format!("{PROC_ROOT}/{pid}/mountinfo"))?;
    ensure!(!mounts.contains("docker.sock"), "the engine's socket is mounted:\n{mounts}");
    let root = mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words.get(4) == Some(&"/")).then(|| words.get(5).copied().unwrap_or_default().to_owned())
    });
    let root = root.context("no root in mountinfo")?;
    let wanted =
        if engine::inspect(container, "{{.HostConfig.ReadonlyRootfs}}")? == "true" { "ro" } else { "rw" };
    ensure!(root.split(',').any(|option| option == wanted), "the root is mounted {root}, not {wanted}");
    Ok(())
}

/// SIGKILL what the container's init started.
///
/// # Errors
/// When it is not there.
pub(crate) fn kill_the_program(container: &str) -> Result<()> {
    let init = engine::inspect(container, "{{.State.Pid}}")?;
    let children = fs::read_to_string(format!("{PROC_ROOT}/{init}/task/{init}/children"))?;
    for pid in children.split_whitespace() {
        let name = fs::read_to_string(format!("{PROC_ROOT}/{pid}/comm"))?;
        if name.trim() == "orch-core" {
            let id = proc_identity::read_stat(Path::new(PROC_ROOT), pid.parse()?)?.id();
            ensure!(sweep::kill_exactly(id), "{pid} has ended already");
            return Ok(());
        }
    }
    bail!("the init {init} of {container} has no orch-core below it: {children:?}")
}

/// What stands between a `docker exec` and the pytest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    /// Nothing.
    Nothing,
    /// `orch-core supervise`.
    Supervisor,
}

impl Through {
    /// Where its pytest works, which its command line names.
    #[must_use]
    pub(crate) fn folder(self) -> String {
        format!("/tmp/left-{self:?}").to_lowercase()
    }
}

/// A pytest by `docker exec` in the core's container, whose caller has gone.
///
/// # Errors
/// When it does not appear.
pub(crate) async fn exec_left_behind(core: &str, through: Through) -> Result<ProcessId> {
    let folder = through.folder();
    write_in(core, &format!("{folder}/test_long.py"), LONG_TEST)?;
    let words = pytest_in(&folder);
    match through {
        Through::Nothing => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            engine::docker(&[&["exec", "--detach", "--workdir", &folder, core], &words[..]].concat())?;
        }
        Through::Supervisor => {
            let run = format!("{folder}/run");
            let spec = serde_json::json!({
                "program": words[0], "args": words[1..], "cwd": folder, "cookie": COOKIE, "timeout_ms": null,
                "kill_ladder": [], "output_cap_bytes": 4096, "tree_kill": "on", "max_user_processes": null,
                "no_new_privs": true,
            });
            write_in(core, &format!("{run}/spec.json"), &spec.to_string())?;
            let start = format!("echo go | orch-core supervise {run}");
            engine::docker(&["exec", "--detach", core, "sh", "-c", &start])?;
        }
    }
    appears(&folder).await
}

/// An orphaned pytest in a container beside the project, so that no end of a core ends it; and that container as
/// messages name it.
///
/// # Errors
/// When it does not appear.
pub(crate) async fn orphan_elsewhere(stand: &Stand) -> Result<(ProcessId, String)> {
    let folder = ELSEWHERE;
    let container = stand
        .start_beside("elsewhere", &["--init", "--entrypoint", "sleep", &images::with_sample(), "3600"])?;
    let started = clock::now();
    write_in(&container, &format!("{folder}/test_long.py"), LONG_TEST)?;
    wait::until("the container's first seconds to pass", PATIENCE, || async {
        if started.elapsed() > MAIN_COMMAND { Ok(()) } else { Err("too young".to_owned()) }
    })
    .await?;
    let abandon = format!("cd {folder} && (setsid {} >/dev/null 2>&1 &)", pytest_in(folder).join(" "));
    engine::docker(&["exec", &container, "sh", "-c", &abandon])?;
    // a headline has room for the short form that the engine shows, too
    let name = engine::inspect(&container, "{{.Id}}")?.chars().take(SHORT_ID_CHARACTERS).collect();
    Ok((appears(folder).await?, name))
}

/// The words that run the long test; they name the folder.
fn pytest_in(folder: &str) -> Vec<String> {
    let words = ["/opt/tools/venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider"];
    let file = format!("{folder}/test_long.py");
    words.into_iter().map(str::to_owned).chain([file]).collect()
}

fn write_in(container: &str, file: &str, text: &str) -> Result<()> {
    let write = "mkdir -p \"$(dirname \"$0\")\" && printf '%s' \"$1\" > \"$0\"";
    engine::docker(&["exec", container, "sh", "-c", write, file, text]).map(drop)
}

/// The pytest that names a folder, as the host sees it.
async fn appears(folder: &str) -> Result<ProcessId> {
    wait::until("the pytest to run", PATIENCE, || async {
        let found = sweep::belonging_to(Path::new(folder)).map_err(|error| format!("{error:#}"))?;
        let is_pytest = |id: &&ProcessId| {
            fs::read(format!("{PROC_ROOT}/{}/cmdline", id.pid))
                .is_ok_and(|line| line.starts_with(b"/opt/tools/venv/bin/python\0-m\0pytest\0"))
        };
        found.iter().find(is_pytest).copied().ok_or_else(|| format!("{found:?}"))
    })
    .await
}

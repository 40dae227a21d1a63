//! The harness itself against real processes: what it starts it ends, and nothing else.

use anyhow::Result;
use orch_tests::orphans::Shell;
use orch_tests::process::{self, Guard};
use orch_tests::sample::Sample;
use orch_tests::sweep;
use proc_identity::{Liveness, PROC_ROOT, ProcessId};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

fn liveness(id: ProcessId) -> Liveness {
    proc_identity::same(Path::new(PROC_ROOT), id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pytest_whose_shell_was_killed_runs_on_until_it_is_ended_with_all_below_it() -> Result<()> {
    let root = tempfile::tempdir()?;
    let sample = Sample::set_up(root.path(), None)?;
    let orphan = Shell::with_pytest(&sample, root.path(), "left-behind").await?.abandon()?;
    assert_eq!(liveness(orphan.root), Liveness::Alive);
    let stat = proc_identity::read_stat(Path::new(PROC_ROOT), orphan.root.pid)?;
    assert_ne!(stat.ppid, 0, "it was given to some reaper");
    let killed = orphan.end()?;
    assert!(killed >= 1, "{killed}");
    assert!(orphan.processes()?.is_empty());
    assert_ne!(liveness(orphan.root), Liveness::Alive);
    Ok(())
}

#[test]
fn a_sweep_takes_what_works_in_a_directory_and_leaves_a_bystander() -> Result<()> {
    let (ours, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let sleeper = |folder: &Path| {
        let mut command = process::bare_program("sleep");
        command.arg("300").current_dir(folder).stdin(Stdio::null());
        Guard::start("sleep", &mut command)
    };
    let (mut inside, mut bystander) = (sleeper(ours.path())?, sleeper(other.path())?);
    assert!(sweep::sweep(ours.path()) >= 1);
    inside.wait(Duration::from_secs(10))?;
    assert!(bystander.ended()?.is_none(), "a process of another directory lives on");
    Ok(())
}

#[test]
fn a_pid_that_belongs_to_another_process_by_now_is_not_signalled() -> Result<()> {
    let mut command = process::bare_program("sleep");
    let mut guard = Guard::start("sleep", command.arg("300").stdin(Stdio::null()))?;
    let stat = proc_identity::read_stat(Path::new(PROC_ROOT), guard.pid())?;
    let stranger = ProcessId { pid: guard.pid(), start_ticks: stat.id().start_ticks + 1 };
    assert!(!sweep::kill_exactly(stranger));
    assert!(guard.ended()?.is_none());
    assert!(sweep::kill_exactly(stat.id()));
    guard.wait(Duration::from_secs(10))?;
    Ok(())
}

#[test]
fn a_program_that_does_not_end_in_time_is_killed_and_named() {
    let mut command = process::bare_program("sleep");
    let error = process::run(command.arg("300"), Duration::from_millis(100)).unwrap_err();
    assert!(format!("{error:#}").contains("sleep did not end within"), "{error:#}");
}

#[test]
fn a_missing_program_names_the_command_that_builds_it() {
    let error = orch_tests::binaries::built("orch-absent").unwrap_err();
    assert!(format!("{error:#}").contains("cargo build -p orch-core"), "{error:#}");
}

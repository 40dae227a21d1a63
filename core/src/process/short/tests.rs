//! Real processes: what ends, what is killed, what cannot hold up the end.

use super::*;
use std::path::Path;

/// Longer than any wait below may take; a test that reaches it has hung.
const PATIENCE: Duration = Duration::from_secs(20);

fn shell(script: &str) -> ShortCommand {
    ShortCommand {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        cwd: "/".into(),
        env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
        stdin: None,
        timeout: Duration::from_secs(10),
        max_output_bytes: 1_000_000,
    }
}

async fn finish(command: ShortCommand) -> Result<ShortOutput, ShortError> {
    timeout(PATIENCE, run(command)).await.expect("the command held up its caller")
}

fn alive(pid: &str) -> bool {
    match std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'),
        Err(_gone) => false,
    }
}

async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("never saw: {what}"));
}

async fn pid_in(file: &Path) -> String {
    wait_until("pid file", || std::fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n'))).await;
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_end_is_told_by_code_or_signal_with_both_outputs() {
    let rows: [(&str, EndStatus, &str, &str); 3] = [
        ("echo out; echo err >&2", EndStatus::Code(0), "out\n", "err\n"),
        ("echo out; exit 7", EndStatus::Code(7), "out\n", ""),
        ("kill -9 $$", EndStatus::Signal(9), "", ""),
    ];
    for (script, status, out, err) in rows {
        let output = finish(shell(script)).await.unwrap();
        assert_eq!(output.status, status, "{script}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), out, "{script}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), err, "{script}");
        assert!(!output.truncated, "{script}");
    }
}

#[tokio::test]
async fn the_environment_is_exactly_the_given_one() {
    let mut command = shell("env | sort");
    command.env.insert("ORCH_ONLY".into(), "this".into());
    let output = finish(command).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
    // PWD, OLDPWD, SHLVL and _ are the shell's own
    let given: Vec<&str> =
        names.into_iter().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert_eq!(given, ["ORCH_ONLY", "PATH"]);
}

#[tokio::test]
async fn a_large_input_and_a_large_output_do_not_block_each_other() {
    let mut command = shell("cat");
    command.stdin = Some(vec![b'x'; 900_000]);
    let output = finish(command).await.unwrap();
    assert_eq!(output.stdout.len(), 900_000);
    assert!(!output.truncated);
}

#[tokio::test]
async fn output_over_the_limit_is_cut_and_said_so_and_the_program_still_ends() {
    let mut command = shell("head -c 500000 /dev/zero; exit 3");
    command.max_output_bytes = 1_000;
    let output = finish(command).await.unwrap();
    assert_eq!((output.status, output.stdout.len(), output.truncated), (EndStatus::Code(3), 1_000, true));
}

#[tokio::test]
async fn a_program_that_reads_no_input_is_not_an_error() {
    let mut command = shell("exit 0");
    command.stdin = Some(vec![b'x'; 900_000]);
    assert_eq!(finish(command).await.unwrap().status, EndStatus::Code(0));
}

#[tokio::test]
async fn a_missing_program_is_a_spawn_error() {
    let mut command = shell("");
    command.program = "no-such-program-here".into();
    assert!(matches!(finish(command).await, Err(ShortError::Spawn { .. })));
}

#[tokio::test]
async fn a_time_out_kills_the_whole_group_even_when_it_ignores_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >{0}; sleep 60; sleep 60' & wait",
        file.display()
    );
    let mut command = shell(&script);
    command.timeout = Duration::from_millis(700);
    let error = finish(command).await.unwrap_err();
    assert!(matches!(error, ShortError::TimedOut { after_ms: 700, .. }), "{error}");
    let grandchild = pid_in(&file).await;
    wait_until("the grandchild's end", || !alive(&grandchild)).await;
}

#[tokio::test]
async fn a_time_out_lets_the_program_clean_up_first() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("cleaned");
    let mut command = shell(&format!("trap 'echo yes >{}; exit 0' TERM; sleep 60 & wait", mark.display()));
    command.timeout = Duration::from_millis(500);
    assert!(matches!(finish(command).await, Err(ShortError::TimedOut { .. })));
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "yes\n");
}

#[tokio::test]
async fn what_the_leader_leaves_behind_dies_with_its_end() {
    let output = finish(shell("sleep 60 & echo $!")).await.unwrap();
    let left_over = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status, EndStatus::Code(0));
    wait_until("the left-over's end", || !alive(&left_over)).await;
}

/// Ends a process of this test that nothing else would end.
struct KillOnDrop(rustix::process::Pid);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        rustix::process::kill_process(self.0, Signal::KILL).ok();
    }
}

#[tokio::test]
async fn an_escaped_descendant_that_holds_the_pipe_cannot_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!(
        "setsid sh -c 'echo $$ >{0}; exec sleep 60' & while ! [ -s {0} ]; do :; done",
        file.display()
    );
    let output = finish(shell(&script)).await.unwrap();
    let escaped = pid_in(&file).await;
    let _guard = KillOnDrop(rustix::process::Pid::from_raw(escaped.parse().unwrap()).unwrap());
    assert!(alive(&escaped), "the case needs a descendant that outlives the group");
    assert_eq!(output.status, EndStatus::Code(0));
    assert!(output.truncated, "an output whose end was not seen is incomplete");
}

#[tokio::test]
async fn dropping_the_call_kills_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!("sh -c 'echo $$ >{}; sleep 60; :' & wait", file.display());
    let call = tokio::spawn(run(shell(&script)));
    let grandchild = pid_in(&file).await;
    assert!(alive(&grandchild));
    call.abort();
    wait_until("the grandchild's end", || !alive(&grandchild)).await;
}

//! The scripted agents without a core: each does its work, each can be refused, none minds a kill.
//!
//! A simple reading of front matter stands in for the gates; the core's own reading is tested there.

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use orch_tests::process::{self, Guard, Said};
use orch_tests::sample::{self, Sample, git};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest time for one agent, in seconds.
const AGENT_PATIENCE_S: u64 = 300;
const ARTIFACTS: &str = "docs/work-items";

/// A clone of the sample on a task branch, and agents to let loose in it.
struct Bench {
    root: tempfile::TempDir,
    sample: Sample,
    agents: PathBuf,
    key: &'static str,
    title: &'static str,
}

impl Bench {
    fn new(key: &'static str, title: &'static str) -> Result<Self> {
        let root = tempfile::tempdir()?;
        let sample = Sample::set_up(root.path(), None)?;
        git(root.path(), &["clone", "--quiet", path(&sample.source())?, "worktree"])?;
        let bench = Self { agents: sample::home().join("agents"), root, sample, key, title };
        git(&bench.worktree(), &["checkout", "--quiet", "-b", key])?;
        Ok(bench)
    }

    fn worktree(&self) -> PathBuf {
        self.root.path().join("worktree")
    }

    /// Work with a copy of the agents in which one text of one file is another.
    fn break_agent(&mut self, file: &str, old: &str, new: &str) -> Result<()> {
        let copy = self.root.path().join("agents");
        fs::create_dir_all(&copy)?;
        for entry in fs::read_dir(sample::home().join("agents"))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
        }
        let whole = fs::read_to_string(copy.join(file))?;
        ensure!(whole.contains(old), "{file} holds no {old:?}: the break would break nothing");
        fs::write(copy.join(file), whole.replace(old, new))?;
        self.agents = copy;
        Ok(())
    }

    fn command(&self, role: &str) -> Command {
        let mut command = process::bare_program(self.sample.python());
        command.arg(self.agents.join(format!("{role}.py"))).current_dir(self.worktree());
        if role == "deployer" {
            command.arg("--staging-dir").arg(self.sample.staging("sample"));
        }
        command
            .env("ORCH_WORK_ITEM", self.key)
            .env("ORCH_TITLE", self.title)
            .env("ORCH_ROLE", role)
            .env("ORCH_WORKTREE", self.worktree())
            .env("ORCH_ARTIFACTS_DIR", format!("{ARTIFACTS}/{}", self.key))
            .env("ORCH_FINDINGS_FILE", self.root.path().join("findings.txt"))
            .env("ORCH_TARGET_BRANCH", "main")
            .env("ORCH_ATTEMPT", "1");
        command
    }

    fn agent(&self, role: &str) -> Result<Said> {
        process::run(&mut self.command(role), Duration::from_secs(AGENT_PATIENCE_S))
    }

    fn works(&self, roles: &[&str]) -> Result<()> {
        for role in roles {
            let said = self.agent(role)?;
            ensure!(said.status.success(), "{role}: {}", said.all());
            let last = said.out.lines().last().unwrap_or_default();
            let cost: serde_json::Value =
                serde_json::from_str(last).with_context(|| format!("{role}: {last}"))?;
            ensure!(cost["cost_usd"] == 0, "{role}: {cost}");
        }
        Ok(())
    }

    /// What a gate would read: the one value of a key in an artifact's front matter.
    fn verdict(&self, file: &str, key: &str) -> Result<String> {
        let place = self.worktree().join(ARTIFACTS).join(self.key).join(file);
        let text = fs::read_to_string(&place).with_context(|| format!("no {file}"))?;
        let head = text
            .strip_prefix("---\n")
            .and_then(|rest| rest.split_once("\n---\n"))
            .context("no front matter")?
            .0;
        let found: Vec<&str> =
            head.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).collect();
        match found.as_slice() {
            [one] => Ok((*one).to_owned()),
            _ => bail!("{key} stands {} times in {file}", found.len()),
        }
    }

    fn adr(&self) -> Result<String> {
        let folder = self.worktree().join(ARTIFACTS).join(self.key).join("06-adr");
        let name = fs::read_dir(folder).context("no 06-adr")?.next().context("no ADR")??.file_name();
        self.verdict(&format!("06-adr/{}", name.to_string_lossy()), "adr_status")
    }

    fn head(&self) -> Result<String> {
        git(&self.worktree(), &["rev-parse", "HEAD"])
    }

    fn operation(&self, script: &str, arguments: &[&Path], revision: &str) -> Command {
        let mut command = process::bare_program(self.sample.python());
        command.arg(sample::home().join("ops").join(script)).args(arguments).current_dir(self.worktree());
        command.env("ORCH_REVISION", revision).env("ORCH_WORK_ITEM", self.key);
        command
    }

    fn staging(&self) -> Result<serde_json::Value> {
        let staging = self.sample.staging("sample");
        let mut suite = self.operation("staging.py", &[&staging], &self.head()?);
        let said = process::run(&mut suite, Duration::from_secs(AGENT_PATIENCE_S))?;
        serde_json::from_str(&said.out).with_context(|| said.all())
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

fn failed(checks: &serde_json::Value) -> Vec<String> {
    let rows = checks["checks"].as_array().cloned().unwrap_or_default();
    rows.iter()
        .filter(|row| row["status"] == "fail")
        .map(|row| format!("{} {}", row["kind"], row["detail"]))
        .collect()
}

#[test]
fn the_chain_ends_in_a_reviewed_tested_staged_tree_and_a_second_run_changes_nothing() -> Result<()> {
    let bench = Bench::new("SAMPLE-1", "Show a duration as a clock")?;
    let roles = ["analyst", "architect", "developer", "reviewer", "tester", "deployer"];
    bench.works(&roles)?;
    assert_eq!(bench.verdict("01-brief.md", "brief_status")?, "READY");
    assert_eq!(bench.adr()?, "ACCEPTED");
    assert_eq!(bench.verdict("12-review.md", "review_verdict")?, "APPROVED");
    assert_eq!(bench.verdict("13-test-report.md", "test_verdict")?, "PASS");
    assert!(bench.worktree().join("src/spans/extras/clock.py").is_file(), "the title asks for a clock");
    let staged = bench.staging()?;
    assert_eq!(failed(&staged), Vec::<String>::new());
    assert!(staged["checks"].as_array().is_some_and(|rows| rows.len() > 3), "{staged}");
    assert_eq!(git(&bench.worktree(), &["status", "--porcelain"])?, "");

    let head = bench.head()?;
    bench.works(&roles)?;
    assert_eq!(bench.head()?, head, "a second run of every role adds no commit");
    Ok(())
}

#[test]
fn staging_follows_a_candidate_that_was_rebased_since() -> Result<()> {
    let bench = Bench::new("SAMPLE-2", "Split a duration")?;
    bench.works(&["deployer"])?;
    git(&bench.worktree(), &["commit", "--quiet", "--allow-empty", "-m", "moved on"])?;
    let staged = bench.staging()?;
    assert_eq!(failed(&staged), Vec::<String>::new());
    let told = staged["checks"][0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(told.starts_with("brought from "), "{told}");
    Ok(())
}

#[test]
fn a_deployer_that_does_nothing_is_a_real_failure_of_staging() -> Result<()> {
    let mut bench = Bench::new("SAMPLE-3", "Split a duration")?;
    bench.break_agent(
        "deployer.py",
        "    lay_tree(context.worktree, sha, home / sha)\n    point_at(home / \"current\", sha)\n",
        "",
    )?;
    bench.works(&["deployer"])?;
    let found = failed(&bench.staging()?);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("\"real\"") && found[0].contains("the deployer made no environment"),
        "{found:?}"
    );
    Ok(())
}

#[test]
fn an_analyst_or_architect_that_writes_no_clear_word_is_refused() -> Result<()> {
    let mut bench = Bench::new("SAMPLE-4", "Split a duration")?;
    bench.break_agent("analyst.py", "front_matter(brief_status=status, ", "front_matter(")?;
    bench.works(&["analyst"])?;
    let refused = bench.verdict("01-brief.md", "brief_status").unwrap_err().to_string();
    assert_eq!(refused, "brief_status stands 0 times in 01-brief.md");
    bench.break_agent(
        "architect.py",
        "    record = context.write(",
        "    record = (lambda place, text: None)(",
    )?;
    assert!(!bench.agent("architect")?.status.success(), "committing what was not written fails");
    assert!(bench.adr().unwrap_err().to_string().contains("no 06-adr"));
    Ok(())
}

#[test]
fn a_developer_whose_code_is_wrong_commits_nothing() -> Result<()> {
    let mut bench = Bench::new("SAMPLE-5", "Show a duration as a clock")?;
    bench.break_agent("catalogue.py", "hours * 3_600 + minutes * 60", "hours * 3_600 + minutes * 61")?;
    let head = bench.head()?;
    let said = bench.agent("developer")?;
    assert!(!said.status.success() && said.err.contains("the suite is red"), "{}", said.all());
    assert_eq!(bench.head()?, head);
    Ok(())
}

#[test]
fn the_reviewer_refuses_with_findings_and_the_developer_cures_them() -> Result<()> {
    let mut bench = Bench::new("SAMPLE-6", "Split a duration")?;
    bench.break_agent(
        "catalogue.py",
        "    size, longer = divmod(span.seconds, parts)\n",
        "    print(parts)  # TODO: remove\n    size, longer = divmod(span.seconds, parts)\n",
    )?;
    bench.works(&["developer", "reviewer"])?;
    assert_eq!(bench.verdict("12-review.md", "review_verdict")?, "REQUEST_CHANGES");
    let review = fs::read_to_string(bench.worktree().join(ARTIFACTS).join(bench.key).join("12-review.md"))?;
    assert!(review.contains("a library does not print") && review.contains("unfinished work"), "{review}");

    fs::write(bench.root.path().join("findings.txt"), &review)?;
    bench.agents = sample::home().join("agents");
    bench.works(&["developer", "reviewer"])?;
    assert_eq!(bench.verdict("12-review.md", "review_verdict")?, "APPROVED");
    Ok(())
}

#[test]
fn the_reviewer_refuses_a_branch_without_work_and_one_without_tests() -> Result<()> {
    let bench = Bench::new("SAMPLE-7", "Split a duration")?;
    bench.works(&["reviewer"])?;
    assert_eq!(bench.verdict("12-review.md", "review_verdict")?, "REQUEST_CHANGES");
    bench.works(&["developer"])?;
    git(&bench.worktree(), &["rm", "--quiet", "tests/test_extra_split.py"])?;
    git(&bench.worktree(), &["commit", "--quiet", "-m", "drop the tests"])?;
    bench.works(&["reviewer"])?;
    let review = fs::read_to_string(bench.worktree().join(ARTIFACTS).join(bench.key).join("12-review.md"))?;
    assert!(review.contains("no test was added or changed"), "{review}");
    Ok(())
}

#[test]
fn the_tester_fails_red_code_and_an_empty_suite() -> Result<()> {
    let bench = Bench::new("SAMPLE-8", "Split a duration")?;
    fs::write(bench.worktree().join("tests/test_wrong.py"), "def test_wrong():\n    assert 1 == 2\n")?;
    bench.works(&["tester"])?;
    assert_eq!(bench.verdict("13-test-report.md", "test_verdict")?, "FAIL");
    let report =
        fs::read_to_string(bench.worktree().join(ARTIFACTS).join(bench.key).join("13-test-report.md"))?;
    assert!(report.contains("tests.test_wrong::test_wrong"), "{report}");

    fs::remove_dir_all(bench.worktree().join("tests"))?;
    fs::create_dir(bench.worktree().join("tests"))?;
    bench.works(&["tester"])?;
    assert_eq!(bench.verdict("13-test-report.md", "test_verdict")?, "FAIL");
    Ok(())
}

#[test]
fn two_work_items_of_one_title_do_not_meet_in_one_file() -> Result<()> {
    let mut bench = Bench::new("SAMPLE-9", "Show a duration as a clock")?;
    bench.works(&["developer"])?;
    bench.key = "SAMPLE-10";
    bench.works(&["developer"])?;
    let built = git(&bench.worktree(), &["diff", "--name-only", "HEAD~1", "HEAD", "--", "src"])?;
    assert!(built.starts_with("src/spans/extras/") && !built.contains("clock"), "{built}");
    bench.title = "Count slots of 25 minutes";
    bench.key = "SAMPLE-11";
    bench.works(&["developer"])?;
    assert!(bench.worktree().join("src/spans/extras/slots_25.py").is_file());
    Ok(())
}

#[test]
fn an_agent_killed_at_any_moment_ends_in_the_same_tree_when_run_again() -> Result<()> {
    let bench = Bench::new("SAMPLE-12", "Split a duration")?;
    let reference = Bench::new("SAMPLE-12", "Split a duration")?;
    for (role, step_ms) in
        [("analyst", 25), ("architect", 25), ("developer", 700), ("reviewer", 25), ("tester", 700)]
    {
        for moment in 1..=4_u64 {
            let mut command = bench.command(role);
            let mut guard = Guard::start(role, command.stdout(Stdio::null()).stderr(Stdio::null()))?;
            // the moment is the input of this test, not a wait for anything
            std::thread::sleep(Duration::from_millis(moment * step_ms));
            guard.signal(Signal::SIGKILL)?;
            guard.kill();
            // a lock that a killed git left is taken away by whoever owns the worktree
            fs::remove_file(bench.worktree().join(".git/index.lock")).ok();
        }
        bench.works(&[role])?;
        reference.works(&[role])?;
    }
    let tree = |bench: &Bench| git(&bench.worktree(), &["ls-tree", "-r", "HEAD", "--", "src", "tests"]);
    assert_eq!(tree(&bench)?, tree(&reference)?);
    assert_eq!(bench.verdict("12-review.md", "review_verdict")?, "APPROVED");
    assert_eq!(bench.verdict("13-test-report.md", "test_verdict")?, "PASS");
    Ok(())
}

#[test]
fn a_deploy_killed_at_any_moment_leaves_one_record_for_each_switch() -> Result<()> {
    let bench = Bench::new("SAMPLE-13", "Split a duration")?;
    let deployed = bench.sample.deployed("sample");
    let bare = bench.root.path().join("bare.git");
    git(bench.root.path(), &["clone", "--quiet", "--bare", path(&bench.worktree())?, path(&bare)?])?;
    let mut wanted = Vec::new();
    for round in 0..3_u64 {
        git(&bench.worktree(), &["commit", "--quiet", "--allow-empty", "-m", &format!("revision {round}")])?;
        git(&bench.worktree(), &["push", "--quiet", "--force", path(&bare)?, "HEAD:refs/heads/live"])?;
        let revision = bench.head()?;
        for moment in 1..=8_u64 {
            let mut command = bench.operation("deploy.py", &[&bare, &deployed], &revision);
            let mut guard = Guard::start("deploy", command.stdout(Stdio::null()).stderr(Stdio::null()))?;
            std::thread::sleep(Duration::from_millis(20 + moment * 10 + round));
            guard.kill();
        }
        for _ in 0..2 {
            let mut again = bench.operation("deploy.py", &[&bare, &deployed], &revision);
            let said = process::run(&mut again, Duration::from_secs(AGENT_PATIENCE_S))?;
            ensure!(said.status.success(), "{}", said.all());
        }
        let mut health = bench.operation("health.py", &[&deployed], "");
        let said = process::run(&mut health, Duration::from_secs(AGENT_PATIENCE_S))?;
        ensure!(said.status.success(), "{}", said.all());
        assert_eq!(said.out.trim(), revision);
        wanted.push(revision);
    }
    assert_eq!(bench.sample.deployments("sample")?, wanted);
    Ok(())
}

#[test]
fn a_switch_whose_record_was_lost_to_a_kill_is_recorded_by_the_next_run() -> Result<()> {
    let bench = Bench::new("SAMPLE-14", "Split a duration")?;
    let deployed = bench.sample.deployed("sample");
    let first = bench.head()?;
    let worktree = bench.worktree();
    let deploy = |revision: &str| -> Result<()> {
        let mut command = bench.operation("deploy.py", &[&worktree, &deployed], revision);
        let said = process::run(&mut command, Duration::from_secs(AGENT_PATIENCE_S))?;
        ensure!(said.status.success(), "{}", said.all());
        Ok(())
    };
    deploy(&first)?;
    fs::remove_file(deployed.join("deployments.log"))?;
    git(&worktree, &["commit", "--quiet", "--allow-empty", "-m", "next"])?;
    let second = bench.head()?;
    deploy(&second)?;
    assert_eq!(bench.sample.deployments("sample")?, [first, second]);
    Ok(())
}

#[test]
fn set_up_again_changes_nothing_and_leaves_an_edited_file_alone() -> Result<()> {
    let root = tempfile::tempdir()?;
    let sample = Sample::set_up(root.path(), None)?;
    let projects = root.path().join("projects.toml");
    let (first, head) = (fs::read_to_string(&projects)?, git(&sample.source(), &["rev-parse", "HEAD"])?);
    Sample::set_up(root.path(), None)?;
    assert_eq!(fs::read_to_string(&projects)?, first);
    assert_eq!(git(&sample.source(), &["rev-parse", "HEAD"])?, head);
    let edited = first.replace("timeout_s = 1800", "timeout_s = 60");
    fs::write(&projects, &edited)?;
    Sample::set_up(root.path(), None)?;
    assert_eq!(fs::read_to_string(&projects)?, edited);
    Ok(())
}

//! A stand-in for Claude Code: recorded streams with timing, faults, children and reactions to signals like the real one.
//!
//! Called as the core calls the real program, behind two words of its own: `--fake FOLDER`. Each call takes the next line
//! of `FOLDER/plan` (the last one again and again): what happens in it. `FOLDER/calls` keeps the arguments of each call,
//! `FOLDER/sessions` what each session has cost, so that totals grow over `--resume` as those of the real program do.
//! Every tool is started in a session of its own.

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use orch_tests::process;
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const SUCCESS: &str =
    include_str!("../../../core/tests/fixtures/agent-claude/claude_2.1.330_success_tool.jsonl");
const INTERRUPTED: &str =
    include_str!("../../../core/tests/fixtures/agent-claude/claude_2.1.330_sigint_during_stream_rc0.jsonl");
const UNKNOWN_SESSION: &str =
    include_str!("../../../core/tests/fixtures/agent-claude/claude_2.1.330_resume_unknown_rc1.jsonl");
const BUDGET: &str =
    include_str!("../../../core/tests/fixtures/agent-claude/claude_2.1.330_max_budget_rc1.jsonl");
const REFUSED: &str = include_str!(
    "../../../core/tests/fixtures/agent-claude/claude_2.1.330_api404_subtype_success_is_error_rc1.jsonl"
);

/// What one model call costs in the recorded streams, in millionths of a dollar.
const TURN_MICROUSD: i64 = 9_975;
/// Pause between two lines.
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            writeln!(std::io::stderr(), "{error:#}").ok();
            ExitCode::from(1)
        }
    }
}

/// One call.
struct Call {
    folder: PathBuf,
    arguments: Vec<String>,
    session: String,
    /// What the session has cost so far.
    microusd: i64,
    /// Words of a program that does the agent's work.
    tool: Vec<String>,
}

async fn run() -> Result<u8> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some("--fake") {
        bail!("error: unknown option");
    }
    let folder = PathBuf::from(words.next().context("no folder")?);
    let (own, arguments): (Vec<String>, Vec<String>) = {
        let rest: Vec<String> = words.collect();
        let at = rest.iter().position(|word| word == "-p").context("error: -p is missing")?;
        (rest[..at].to_vec(), rest[at..].to_vec())
    };
    let (number, act) = next_act(&folder)?;
    fs::create_dir_all(folder.join("calls"))?;
    fs::create_dir_all(folder.join("sessions"))?;
    fs::write(folder.join("calls").join(number.to_string()), arguments.join("\u{1f}"))?;
    if !arguments.iter().any(|word| word == "--verbose") {
        bail!("Error: When using --print, --output-format=stream-json requires --verbose");
    }
    let tool = own.split_first().map(|(_, words)| words.to_vec()).unwrap_or_default();
    let resumed = value_of(&arguments, "--resume");
    let session = resumed.clone().or_else(|| value_of(&arguments, "--session-id")).context("no session")?;
    let file = folder.join("sessions").join(&session);
    let known = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    let call = Call { folder, arguments, session, microusd: known.unwrap_or(0), tool };
    if resumed.is_some() && known.is_none() {
        call.say_recorded(UNKNOWN_SESSION, |line| {
            line["errors"] = json!([format!("No conversation found with session ID: {}", call.session)]);
        })?;
        bail!("No conversation found with session ID: {}", call.session);
    }
    call.play(&act).await
}

/// The call's number and what its line of the plan says.
fn next_act(folder: &Path) -> Result<(usize, String)> {
    let number = fs::read_dir(folder.join("calls")).map_or(0, Iterator::count);
    let plan = fs::read_to_string(folder.join("plan")).context("no plan")?;
    let acts: Vec<&str> = plan.lines().filter(|line| !line.is_empty()).collect();
    let act = acts.get(number).or(acts.last()).context("an empty plan")?;
    Ok((number, (*act).to_owned()))
}

fn value_of(arguments: &[String], name: &str) -> Option<String> {
    let at = arguments.iter().position(|word| word == name)?;
    arguments.get(at + 1).cloned()
}

fn recorded(stream: &str) -> Vec<Value> {
    stream.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Starts a tool in a session of its own.
fn start_tool(words: &[&str]) -> Result<Child> {
    let mut command = process::program("setsid");
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    Ok(command.spawn()?)
}

fn end_tool(tool: &mut Child) {
    if let Ok(pid) = i32::try_from(tool.id()) {
        killpg(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
    tool.wait().ok();
}

impl Call {
    fn say(&self, line: &Value) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }

    /// Says the recorded lines as those of this session.
    fn say_recorded(&self, stream: &str, change: impl Fn(&mut Value)) -> Result<()> {
        for mut line in recorded(stream) {
            line["session_id"] = json!(self.session);
            if line["type"] == "result" {
                self.put_total(&mut line);
                change(&mut line);
            }
            self.say(&line)?;
        }
        Ok(())
    }

    /// The session's total as a result tells it; `usage` is left alone, which is why nobody may read it.
    fn put_total(&self, line: &mut Value) {
        let calls = self.microusd / TURN_MICROUSD;
        line["total_cost_usd"] = json!(dollars(self.microusd));
        line["modelUsage"] = json!({ "claude-sonnet-4-5-20250929": {
            "inputTokens": 1200 * calls, "outputTokens": 250 * calls, "cacheReadInputTokens": 5000 * calls,
            "cacheCreationInputTokens": 300 * calls, "costUSD": dollars(self.microusd),
        } });
    }

    fn spend(&mut self, microusd: i64) -> Result<()> {
        self.microusd += microusd;
        Ok(fs::write(self.folder.join("sessions").join(&self.session), self.microusd.to_string())?)
    }

    /// The recorded lines of a run that uses a tool, up to the result.
    async fn work(&mut self) -> Result<()> {
        for mut line in recorded(SUCCESS) {
            if line["type"] == "result" {
                break;
            }
            line["session_id"] = json!(self.session);
            if line["type"] == "assistant" {
                self.spend(TURN_MICROUSD)?;
            }
            if line["type"] == "user" && !self.tool.is_empty() {
                let words: Vec<&str> = self.tool.iter().map(String::as_str).collect();
                let status = start_tool(&words)?.wait()?;
                if !status.success() {
                    bail!("the tool failed: {status}");
                }
            }
            self.say(&line)?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    fn say_success(&self) -> Result<()> {
        let mut line = recorded(SUCCESS).pop().context("no result")?;
        line["session_id"] = json!(self.session);
        self.put_total(&mut line);
        self.say(&line)
    }

    fn say_failure(&self, stream: &str, change: impl Fn(&mut Value)) -> Result<u8> {
        let mut line = recorded(stream).pop().context("no result")?;
        line["session_id"] = json!(self.session);
        self.put_total(&mut line);
        change(&mut line);
        self.say(&line)?;
        Ok(1)
    }

    async fn play(mut self, act: &str) -> Result<u8> {
        let (act, rest) = act.split_once(' ').unwrap_or((act, ""));
        match act {
            "success" => {
                self.work().await?;
                self.say_success()?;
                Ok(0)
            }
            "slow" => {
                let lines = recorded(SUCCESS);
                for _ in 0..rest.parse::<u32>()? {
                    self.say(&lines[0])?;
                    tokio::time::sleep(PAUSE).await;
                }
                self.work().await?;
                self.say_success()?;
                Ok(0)
            }
            // a tool that outlives the program, which ends by itself
            "leave" => {
                self.work().await?;
                start_tool(&["sleep", "300"])?;
                self.say_success()?;
                Ok(0)
            }
            // a result, and a background command that keeps the program
            "linger" => {
                self.work().await?;
                let tool = start_tool(&["sleep", "300"])?;
                self.say_success()?;
                self.say(&json!({"type": "system", "subtype": "task_updated", "session_id": self.session}))?;
                self.until_signalled(tool, Manners::Quiet).await
            }
            "hang" => {
                self.work().await?;
                let tool = start_tool(&["sleep", "300"])?;
                self.until_signalled(tool, Manners::Real).await
            }
            // it hears nothing but SIGKILL, and leaves its tool behind
            "deaf" => {
                self.work().await?;
                let tool = start_tool(&["sleep", "300"])?;
                self.until_signalled(tool, Manners::Deaf).await
            }
            // it works on beyond its cap, which the real program does not
            "overspend" => {
                self.work().await?;
                self.spend(rest.parse()?)?;
                self.say_success()?;
                for line in recorded(SUCCESS).iter().filter(|line| line["type"] == "assistant") {
                    self.say(line)?;
                }
                let tool = start_tool(&["sleep", "300"])?;
                self.until_signalled(tool, Manners::Real).await
            }
            "fail" => {
                self.work().await?;
                self.say_failure(INTERRUPTED, |line| {
                    line["terminal_reason"] = json!("error");
                    line["errors"] = json!(["it broke"]);
                })
            }
            "budget" => {
                self.say_recorded(&first_lines(SUCCESS, 2), |_| {})?;
                let cap = value_of(&self.arguments, "--max-budget-usd").context("no cap")?.parse::<f64>()?;
                // this run alone is counted, and the call that passes the cap is paid for
                let before = self.microusd;
                while dollars(self.microusd - before) < cap {
                    self.spend(TURN_MICROUSD)?;
                }
                self.say_failure(BUDGET, |_| {})
            }
            "limit" => {
                self.say_recorded(&first_lines(SUCCESS, 1), |_| {})?;
                self.spend(0)?;
                self.say_failure(REFUSED, |line| {
                    line["api_error_status"] = Value::Null;
                    line["result"] = json!(format!("Claude AI usage limit reached|{rest}"));
                })
            }
            "overloaded" => {
                self.say_recorded(&first_lines(SUCCESS, 1), |_| {})?;
                self.spend(0)?;
                self.say_failure(REFUSED, |line| {
                    line["api_error_status"] = json!(529);
                    line["result"] = json!("Overloaded");
                })
            }
            _ => bail!("no such act: {act}"),
        }
    }

    async fn until_signalled(&self, mut tool: Child, manners: Manners) -> Result<u8> {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        loop {
            let asked = tokio::select! {
                _ = interrupt.recv() => Signal::SIGINT,
                _ = terminate.recv() => Signal::SIGTERM,
            };
            match (manners, asked) {
                (Manners::Deaf, _) => {}
                (Manners::Real | Manners::Quiet, Signal::SIGTERM) => {
                    end_tool(&mut tool);
                    return Ok(143);
                }
                (Manners::Quiet, _) => {
                    end_tool(&mut tool);
                    return Ok(0);
                }
                (Manners::Real, _) => {
                    end_tool(&mut tool);
                    self.say_failure(INTERRUPTED, |_| {})?;
                    return Ok(0);
                }
            }
        }
    }
}

/// How it answers signals.
#[derive(Clone, Copy)]
enum Manners {
    /// SIGINT: a result with the cost, exit 0. SIGTERM: exit 143 without a word.
    Real,
    /// The same with the result told before.
    Quiet,
    /// Not at all.
    Deaf,
}

fn first_lines(stream: &str, count: usize) -> String {
    stream.lines().take(count).map(|line| format!("{line}\n")).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a double holds nine billion dollars to the millionth")]
fn dollars(microusd: i64) -> f64 {
    microusd as f64 / 1e6
}

//! The container engine, by its own command line.
//!
//! Responsible for running `docker` and compose (the plugin, or docker-compose 1.29) and for saying how
//! to get them. Where there is no engine the tests fail with the cure: what is only tried where it
//! happens to be possible is not tried.

use anyhow::{Context as _, Result, bail};
use orch_tests::process::{self, Said};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Longest time for a command that builds nothing.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest time for a build from nothing: both programs with all they depend on.
pub(crate) const BUILD_PATIENCE: Duration = Duration::from_secs(2_700);

const CURE: &str =
    "apt-get install docker.io docker-compose debootstrap, and see that the engine runs (dockerd)";

/// Refuses to go on without an engine and a compose; gives the words that start compose.
///
/// # Errors
/// With the command that installs what is missing.
pub(crate) fn require() -> Result<Vec<String>> {
    let asked = ["version", "--format", "{{.Server.Version}}"];
    let answer = process::run(process::program("docker").args(asked), PATIENCE);
    match answer {
        Ok(said) if said.status.success() => {}
        Ok(said) => bail!("no container engine answers: {CURE}\n{}", said.all()),
        Err(error) => bail!("no container engine: {CURE}\n{error:#}"),
    }
    for words in [&["docker", "compose"][..], &["docker-compose"]] {
        let asked = process::run(process::program(words[0]).args(&words[1..]).arg("version"), PATIENCE);
        if asked.is_ok_and(|said| said.status.success()) {
            return Ok(words.iter().map(|word| (*word).to_owned()).collect());
        }
    }
    bail!("no compose: apt-get install docker-compose");
}

/// `docker ARGUMENTS`; its standard output, trimmed.
///
/// # Errors
/// When it fails: with all that it said.
pub(crate) fn docker(arguments: &[&str]) -> Result<String> {
    let said = try_docker(arguments)?;
    if !said.status.success() {
        bail!("docker {}: {}", arguments.join(" "), said.all());
    }
    Ok(said.out.trim().to_owned())
}

/// `docker ARGUMENTS`, whatever it answers.
///
/// # Errors
/// When it cannot be started or does not end.
pub(crate) fn try_docker(arguments: &[&str]) -> Result<Said> {
    process::run(process::program("docker").args(arguments), PATIENCE)
}

/// `docker build`, from a folder.
///
/// # Errors
/// When it fails: with its last lines.
pub(crate) fn build(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = process::program("docker");
    succeed(command.arg("build").args(arguments).current_dir(folder), BUILD_PATIENCE)
}

/// Run a command that must succeed.
///
/// # Errors
/// When it fails: with the last of what it said.
pub(crate) fn succeed(command: &mut Command, patience: Duration) -> Result<()> {
    /// The end of a build's output tells why it failed.
    const SHOWN: usize = 6_000;
    let name = format!("{command:?}");
    let said = process::run(command, patience)?;
    if !said.status.success() {
        let all = said.all();
        let from = all.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
        bail!("{name}: {}", all.get(from..).unwrap_or_default());
    }
    Ok(())
}

/// A value of `docker inspect`, by a Go template.
///
/// # Errors
/// When there is no such object or value.
pub(crate) fn inspect(object: &str, template: &str) -> Result<String> {
    docker(&["inspect", "--format", template, object])
}

/// A number of `docker inspect`.
///
/// # Errors
/// When it is none.
pub(crate) fn inspect_number(object: &str, template: &str) -> Result<u64> {
    let text = inspect(object, template)?;
    text.parse().with_context(|| format!("{template} of {object} is {text:?}"))
}

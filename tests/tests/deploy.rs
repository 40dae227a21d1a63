//! Rules of the files that deploy both programs; what they do in a container is `container`'s.

use anyhow::{Context as _, Result, ensure};
use orch_tests::{process, sample};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

fn text(name: &str) -> String {
    let path = sample::source_tree().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn both_images_are_built_by_the_same_recipe_so_that_the_second_finds_it_in_the_cache() {
    let recipe = |name: &str| {
        let text = text(name);
        let from = text.find("# --- shared recipe: begin").expect("begin of the recipe");
        let to = text.find("# --- shared recipe: end").expect("end of the recipe");
        text[from..to].to_owned()
    };
    assert_eq!(recipe("deploy/core.Dockerfile"), recipe("deploy/watchdog.Dockerfile"));
}

/// `${NAME:-default}` of the compose file.
fn variables_of_compose() -> BTreeMap<String, String> {
    text("docker-compose.yml")
        .split("${")
        .skip(1)
        .map(|rest| {
            let inside = rest.split('}').next().unwrap_or_default();
            inside.split_once(":-").unwrap_or_else(|| panic!("{inside}: no default"))
        })
        .map(|(name, default)| (name.to_owned(), default.to_owned()))
        .collect()
}

#[test]
fn the_example_file_tells_each_variable_of_compose_with_its_default() {
    let example = text(".env.example");
    let (_, section) = example.split_once("# --- docker compose's own variables").expect("the section");
    let mut told: BTreeMap<String, String> = section
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, default)| (name.to_owned(), default.to_owned()))
        .collect();
    // read by compose itself
    assert_eq!(told.remove("COMPOSE_PROJECT_NAME").as_deref(), Some("orch"));
    assert_eq!(told, variables_of_compose());
}

#[test]
fn a_stop_waits_longer_than_the_core_does() {
    let number = |text: &str, key: &str| -> f64 {
        let rest = text.lines().find_map(|line| line.trim().strip_prefix(key)).expect(key);
        rest.trim().trim_end_matches('s').parse().expect(key)
    };
    // after the grace the core ends its agents, within 8 s
    let core_s = number(&text(".env.example"), "ORCH_SHUTDOWN_GRACE_S=") + 8.0;
    let compose_s = number(&text("docker-compose.yml"), "stop_grace_period:");
    assert!(compose_s > core_s, "{compose_s} s are not more than {core_s} s");
}

#[test]
fn what_compose_mounts_from_the_repository_is_in_it() {
    let mounted: Vec<String> = text("docker-compose.yml")
        .lines()
        .filter_map(|line| Some(line.trim().strip_prefix("- ./")?.split(':').next()?.to_owned()))
        .collect();
    assert!(!mounted.is_empty());
    for (path, file) in mounted.iter().map(|path| (path, path.rsplit('/').next().unwrap_or_default())) {
        let config = sample::source_tree().join(path).join(file).with_extension("yml");
        assert!(config.is_file(), "{} is missing", config.display());
    }
}

fn make_env(into: &Path) -> Result<process::Said> {
    let script = sample::source_tree().join("deploy/make-env");
    process::run(process::bare_program(script).arg(into), Duration::from_secs(30))
}

fn value(file: &Path, key: &str) -> Result<String> {
    let text = fs::read_to_string(file)?;
    let found: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
    ensure!(found.len() == 1, "{} sets {key} {} times", file.display(), found.len());
    Ok(found[0].to_owned())
}

#[test]
fn make_env_writes_random_tokens_for_their_owner_alone_and_never_twice() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (core, watchdog) = (folder.path().join(".env"), folder.path().join(".env.watchdog"));
    let secret = folder.path().join("secrets/orch_api_read_token");
    let said = make_env(folder.path())?;
    ensure!(said.status.success(), "{}", said.all());
    let mode = |path: &Path| fs::metadata(path).map(|data| data.permissions().mode() & 0o777);
    assert_eq!((mode(&core)?, mode(&watchdog)?), (0o600, 0o600));
    assert_eq!((mode(secret.parent().context("no folder")?)?, mode(&secret)?), (0o700, 0o444));
    let (act, read) = (value(&core, "ORCH_API_TOKEN")?, value(&core, "ORCH_API_READ_TOKEN")?);
    assert_eq!((act.len(), read.len()), (64, 64));
    assert_ne!(act, read);
    assert_eq!(value(&watchdog, "WATCHDOG_CORE_TOKEN")?, read);
    assert_eq!(fs::read_to_string(&secret)?, read);

    let before = (fs::read(&core)?, fs::read(&watchdog)?);
    ensure!(make_env(folder.path())?.status.success(), "a second time failed");
    assert_eq!((fs::read(&core)?, fs::read(&watchdog)?), before);
    assert_eq!(fs::read_dir(folder.path())?.count(), 3, "something was left behind");

    let other = tempfile::tempdir()?;
    ensure!(make_env(other.path())?.status.success(), "elsewhere failed");
    assert_ne!(value(&other.path().join(".env"), "ORCH_API_TOKEN")?, act);
    Ok(())
}

#[test]
fn make_env_fits_what_is_missing_to_what_is_there() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (core, watchdog) = (folder.path().join(".env"), folder.path().join(".env.watchdog"));
    ensure!(make_env(folder.path())?.status.success(), "the first time failed");
    for removed in [&core, &watchdog] {
        fs::remove_file(removed)?;
        ensure!(make_env(folder.path())?.status.success(), "the next time failed");
        assert_eq!(value(&watchdog, "WATCHDOG_CORE_TOKEN")?, value(&core, "ORCH_API_READ_TOKEN")?);
    }
    // without a token to share nothing is made up that could not work
    fs::remove_file(&watchdog)?;
    fs::write(&core, "ORCH_API_TOKEN=act\n")?;
    let said = make_env(folder.path())?;
    assert_eq!(said.status.code(), Some(1), "{}", said.all());
    assert!(!watchdog.exists());
    Ok(())
}

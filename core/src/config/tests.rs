//! Rules of the core's settings.

use std::path::Path;

use orch_settings::generated::{self, Differing};
use orch_settings::render;
use orch_telemetry::Colour;
use proptest::prelude::*;

use super::*;

fn load(pairs: &[(&str, &str)]) -> Result<Loaded<CoreConfig>, Problems> {
    CoreConfig::load(&Strings::from_pairs(pairs.iter().copied()), Path::new("/srv"))
}

fn value(pairs: &[(&str, &str)]) -> CoreConfig {
    load(pairs).unwrap().value
}

fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    match load(pairs) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.all().iter().map(ToString::to_string).collect(),
    }
}

fn repository_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn differing() -> Differing {
    generated::differing(&Strings::from_process())
}

#[test]
fn an_empty_environment_gives_the_documented_defaults() {
    let config = value(&[]);
    assert_eq!(config.data_dir, Path::new("/srv/./data"));
    assert_eq!(config.db_path, Path::new("/srv/./data/orch.db"));
    assert_eq!(config.projects_file, Path::new("/srv/./data/projects.toml"));
    assert_eq!(config.http.bind.to_string(), "127.0.0.1:8080");
    assert_eq!((config.jobs.max_agents, config.jobs.max_agents_per_repo), (4, 2));
    assert_eq!((config.jobs.agent_timeout_ms, config.jobs.attempts), (3_600_000, 3));
    assert_eq!(config.processes.output_max_bytes, 64 << 20);
    assert!(config.processes.tree_kill_enabled && config.processes.no_new_privs);
    assert_eq!(config.transition_lease, Switch { enabled: true, scope: Scope::All });
    assert_eq!(config.gates.coverage_tolerance_ppm, 1_000);
    assert_eq!(config.gates.infra_retries, 3);
    assert_eq!(config.reaper.max_running_ms, 14_400_000);
    assert_eq!((config.reconcile_tick_ms, config.finalizer_tick_ms), (120_000, 5_000));
    assert_eq!(config.shutdown.agents, ShutdownAgents::Keep);
    assert_eq!(config.log.colour, Colour::OnTerminal);
    assert_eq!(value(&[("NO_COLOR", "1")]).log.colour, Colour::Never);
    assert_eq!(value(&[("TERM", "dumb")]).log.colour, Colour::Never);
    assert_eq!(value(&[("TERM", "xterm")]).log.colour, Colour::OnTerminal);
}

#[test]
fn paths_that_are_given_stand_by_themselves() {
    let config = value(&[("ORCH_DATA_DIR", "/var/lib/orch"), ("ORCH_DB_PATH", "fast/orch.db")]);
    assert_eq!(config.db_path, Path::new("/srv/fast/orch.db"));
    assert_eq!(config.projects_file, Path::new("/var/lib/orch/projects.toml"));
}

#[test]
fn a_scope_is_all_or_names_or_the_own_repository() {
    const REPOS: &str = "ORCH_MERGE_GATE_REPOS";
    for (repos, self_repo, expected) in [
        ("*", "", Scope::All),
        (" * ", "", Scope::All),
        ("shop", "", Scope::List(vec!["shop".to_owned()])),
        ("shop, blog", "orch", Scope::List(vec!["shop".to_owned(), "blog".to_owned()])),
        ("", "orch", Scope::SelfRepoOnly("orch".to_owned())),
    ] {
        let config = value(&[(REPOS, repos), ("ORCH_SELF_REPO", self_repo)]);
        assert_eq!(config.gates.merge.scope, expected, "{repos:?}");
    }
    assert_eq!(
        problems(&[(REPOS, "")]),
        ["ORCH_MERGE_GATE_REPOS=\"\": empty means ORCH_SELF_REPO alone, and that is not set; use * for all \
          projects"]
    );
    assert_eq!(
        problems(&[(REPOS, "*,shop")]),
        ["ORCH_MERGE_GATE_REPOS=\"*,shop\": * stands alone or not at all"]
    );
}

#[test]
fn a_switch_is_on_for_a_project_in_scope_and_for_no_other() {
    for (enabled, repos, shop, orch) in [
        ("true", "*", true, true),
        ("true", "shop", true, false),
        ("true", "", false, true),
        ("false", "*", false, false),
        ("false", "shop", false, false),
    ] {
        let switch = value(&[
            ("ORCH_STAGING_ENABLED", enabled),
            ("ORCH_STAGING_REPOS", repos),
            ("ORCH_SELF_REPO", "orch"),
        ])
        .gates
        .staging;
        assert_eq!((switch.is_on_for("shop"), switch.is_on_for("orch")), (shop, orch), "{enabled} {repos:?}");
    }
}

#[test]
fn the_ceiling_exceeds_one_edge_and_the_problem_shows_the_sum() {
    let told = problems(&[("ORCH_REAPER_MAX_RUNNING_S", "8159.9"), ("ORCH_AGENT_TIMEOUT_S", "60")]);
    assert_eq!(
        told,
        ["ORCH_REAPER_MAX_RUNNING_S=\"8159.9\": too small for one edge: ORCH_MERGE_RETEST_TIMEOUT_S=900 + \
          ORCH_COVERAGE_TIMEOUT_S=900 + ORCH_IMAGE_BUILD_TIMEOUT_S=1800 + ORCH_STAGING_TIMEOUT_S=1800 + \
          ORCH_CI_WAIT_S=1800 + ORCH_DEPLOY_TIMEOUT_S=600 + ORCH_REAPER_DEAD_GRACE_S=60 + \
          ORCH_REAPER_FINALIZE_GRACE_S=300 = 8160 in \
          sum; raise it, or lower one of them"]
    );
    assert!(problems(&[("ORCH_REAPER_MAX_RUNNING_S", "8160")]).is_empty());
}

#[test]
fn the_ceiling_exceeds_an_agents_limit() {
    assert_eq!(
        problems(&[("ORCH_AGENT_TIMEOUT_S", "14400.001")]),
        [
            "ORCH_REAPER_MAX_RUNNING_S=\"14400\": smaller than the limit ORCH_AGENT_TIMEOUT_S=14400.001: such an \
          agent would be reaped while it works"
        ]
    );
    assert!(problems(&[("ORCH_AGENT_TIMEOUT_S", "14400")]).is_empty());
    let both = problems(&[("ORCH_REAPER_MAX_RUNNING_S", "100")]);
    assert_eq!(both.len(), 2, "{both:#?}");
}

#[test]
fn a_rule_does_not_judge_a_key_that_is_wrong_by_itself() {
    let told = problems(&[("ORCH_REAPER_MAX_RUNNING_S", "soon"), ("ORCH_CI_WAIT_S", "never")]);
    assert_eq!(told.len(), 2, "{told:#?}");
}

#[test]
fn a_ci_run_that_uses_its_whole_time_is_still_waited_for() {
    let told = problems(&[("ORCH_CI_WAIT_S", "100"), ("ORCH_CI_TIMEOUT_S", "100.5")]);
    assert_eq!(
        told,
        [
            "ORCH_CI_WAIT_S=\"100\": smaller than ORCH_CI_TIMEOUT_S=100.5: a slow CI run would always lose its \
          merge slot"
        ]
    );
}

#[test]
fn an_address_beyond_loopback_demands_both_tokens() {
    let act = ("ORCH_API_TOKEN", "act");
    let read = ("ORCH_API_READ_TOKEN", "look");
    for (bind, open) in [
        ("127.0.0.1:0", false),
        ("127.9.9.9:80", false),
        ("[::1]:8080", false),
        ("0.0.0.0:8080", true),
        ("[::]:8080", true),
        ("192.0.2.1:8080", true),
    ] {
        let bind = ("ORCH_BIND", bind);
        let missing = |pairs: &[(&str, &str)]| problems(pairs).len();
        assert_eq!(missing(&[bind]), if open { 2 } else { 0 }, "{bind:?}");
        assert_eq!(missing(&[bind, act]), usize::from(open), "{bind:?}");
        assert_eq!(missing(&[bind, read]), usize::from(open), "{bind:?}");
        assert_eq!(missing(&[bind, act, read]), 0, "{bind:?}");
    }
    assert_eq!(
        problems(&[("ORCH_BIND", "0.0.0.0:8080"), act]),
        ["ORCH_API_READ_TOKEN: must be set: ORCH_BIND=0.0.0.0:8080 is not a loopback address"]
    );
}

#[test]
fn the_reading_token_is_not_the_acting_one() {
    let told = problems(&[("ORCH_API_TOKEN", "hunter2"), ("ORCH_API_READ_TOKEN", "hunter2")]);
    assert_eq!(told, ["ORCH_API_TOKEN + ORCH_API_READ_TOKEN: are equal: whoever may read could act"]);
}

#[test]
fn no_secret_is_shown() {
    let loaded = load(&[("ORCH_API_TOKEN", "hunter2-act"), ("ORCH_API_READ_TOKEN", "hunter2-read")]).unwrap();
    assert!(loaded.print_env().contains("ORCH_API_TOKEN=***\n"));
    assert!(!format!("{:?}{}", loaded, loaded.print_env()).contains("hunter2"));
}

#[test]
fn everything_wrong_is_told_at_once_and_a_misspelt_key_gets_its_name() {
    let told = problems(&[
        ("ORCH_BIND", "8080"),
        ("ORCH_LOG", "inf"),
        ("ORCH_LOG_FORMAT", "xml"),
        ("ORCH_MAX_AGENTS", "0"),
        ("ORCH_MAXAGENTS", "4"),
        ("ORCH_REAPER_TICK_S", "0"),
        ("ORCH_COVERAGE_TOLERANCE_PP", "x"),
        ("ORCH_SHUTDOWN_AGENTS", "kill"),
        ("ORCH_STAGING_REPOS", ""),
        ("WATCHDOG_TICK_S", "not ours"),
    ]);
    assert_eq!(told.len(), 9, "{told:#?}");
    assert!(
        told.contains(&"ORCH_MAXAGENTS: unknown key; did you mean ORCH_MAX_AGENTS?".to_owned()),
        "{told:#?}"
    );
}

/// Where compose's own variables begin: they are nobody's settings and stand at the end of the file.
const OF_COMPOSE: &str = "\n# --- docker compose's own variables";

#[test]
fn the_example_file_is_the_table_and_the_variables_of_compose_after_it() {
    let path = repository_file(".env.example");
    let found = std::fs::read_to_string(&path).unwrap();
    let of_compose = found.find(OF_COMPOSE).map(|from| &found[from..]).expect("the marked section");
    for line in of_compose.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(
            !line.starts_with("ORCH_") && !line.starts_with("WATCHDOG_"),
            "{line}: a setting of a program"
        );
    }
    let wanted = format!("{}{of_compose}", render::example(&KEYS));
    generated::agree(&path, &wanted, differing()).unwrap();
}

#[test]
fn the_example_file_reads_as_the_defaults() {
    let text = std::fs::read_to_string(repository_file(".env.example")).unwrap();
    let by_file = CoreConfig::load(&Strings::from_pairs(generated::pairs(&text)), Path::new("/srv")).unwrap();
    assert_eq!(by_file.print_env(), load(&[]).unwrap().print_env());
}

#[test]
fn the_reference_is_the_table() {
    let block = format!("\n{}", render::reference(&KEYS));
    let path = repository_file("docs/configuration.md");
    generated::agree_block(&path, KEYS.program, &block, differing()).unwrap();
}

proptest! {
    #[test]
    fn what_loads_satisfies_the_budget_rule(
        ceiling_s in 1_u32..20_000, agent_s in 1_u32..20_000, retest_s in 1_u32..20_000,
    ) {
        let loaded = load(&[
            ("ORCH_REAPER_MAX_RUNNING_S", &ceiling_s.to_string()),
            ("ORCH_AGENT_TIMEOUT_S", &agent_s.to_string()),
            ("ORCH_MERGE_RETEST_TIMEOUT_S", &retest_s.to_string()),
        ]);
        let edge_s = 7_260 + retest_s;
        prop_assert_eq!(loaded.is_ok(), ceiling_s >= edge_s && ceiling_s >= agent_s);
        if let Ok(loaded) = loaded {
            prop_assert!(loaded.value.reaper.max_running_ms >= loaded.value.edge_budget().sum_ms());
        }
    }
}

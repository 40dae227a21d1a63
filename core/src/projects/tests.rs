//! Rules of `projects.toml`.

use std::path::Path;

use orch_settings::Strings;
use proptest::prelude::*;

use super::*;
use crate::agents::claude::command::{Effort, PermissionMode};

const AGENTS: &str = r#"
[project.agents]
analyst = { kind = "command", command = ["a"] }
architect = { kind = "command", command = ["a"] }
developer = { kind = "command", command = ["a", "--x", ""], timeout_s = 1.5 }
reviewer = { kind = "command", command = ["a"] }
tester = { kind = "command", command = ["a"] }
deployer = { kind = "command", command = ["a"] }
"#;

fn minimal(extra: &str) -> String {
    format!(
        "[[project]]\nname = \"shop\"\nkey_prefix = \"SHOP\"\nforge = \"local\"\nsource = \"git/shop\"\n\
         ci_cmd = [\"true\"]\n{extra}\n{AGENTS}"
    )
}

fn parse(text: &str) -> Result<Projects, Vec<FileProblem>> {
    Projects::parse(text, Path::new("/srv/data"))
}

fn told(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn config(pairs: &[(&str, &str)]) -> CoreConfig {
    CoreConfig::load(&Strings::from_pairs(pairs.iter().copied()), Path::new("/srv")).unwrap().value
}

#[test]
fn a_minimal_project_gets_the_defaults() {
    let projects = parse(&minimal("")).unwrap();
    let shop = projects.by_name("shop").unwrap();
    assert_eq!(shop.source, Path::new("/srv/data/git/shop"));
    assert_eq!((shop.target_branch.as_str(), shop.merge_method), ("main", MergeMethod::MergeCommit));
    assert_eq!(shop.required_contexts, ["ci"]);
    assert_eq!((&shop.merge_retest_cmd, &shop.coverage, &shop.deploy), (&None, &None, &None));
    assert!(shop.approvers.is_empty());
    let developer = shop.agents.of(Role::Developer);
    assert_eq!(developer.timeout_ms, Some(1_500));
    let AgentProgram::Command(argv) = &developer.program else { panic!("{developer:?}") };
    assert_eq!((argv.program(), argv.arguments()), ("a", ["--x".to_owned(), String::new()].as_slice()));
}

#[test]
fn the_documented_example_is_valid_and_sets_everything() {
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md"))
            .unwrap();
    let example = document.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let projects = parse(example).unwrap();
    let shop = projects.by_work_item("SHOP-1").unwrap();
    assert!(shop.coverage.is_some() && shop.deploy.is_some() && shop.staging_cmd.is_some());
    assert!(shop.image.is_some());
    assert_eq!(shop.approvers, ["ada", "grace"]);
    assert_eq!(shop.limits.deploy_ms, Some(120_000));
    assert!(projects.check(&config(&[])).is_ok());
}

fn with_analyst(lines: &str) -> String {
    let pairs: Vec<&str> = lines.lines().filter(|line| !line.trim().is_empty()).collect();
    let plain = r#"analyst = { kind = "command", command = ["a"] }"#;
    minimal("").replace(plain, &format!("analyst = {{ {} }}", pairs.join(", ")))
}

#[test]
fn a_role_of_claude_has_its_settings() {
    let least = parse(&with_analyst("kind = \"claude\"\nbudget_usd = 2.5")).unwrap();
    let AgentProgram::Claude(agent) = &least.by_name("shop").unwrap().agents.of(Role::Analyst).program else {
        panic!("no claude")
    };
    assert_eq!(agent.budget_microusd, 2_500_000);
    assert_eq!(agent.settings, ClaudeSettings::default());
    let all = parse(&with_analyst(
        "kind = \"claude\"\ncommand = [\"npx\", \"claude\"]\nmodel = \"opus\"\neffort = \"xhigh\"\nmax_turns = 40\n\
         permission_mode = \"acceptEdits\"\nallowed_tools = [\"Edit\", \"Bash(pytest *)\"]\n\
         disallowed_tools = [\"WebFetch\"]\nbudget_usd = 10\ntimeout_s = 60",
    ))
    .unwrap();
    let analyst = all.by_name("shop").unwrap().agents.of(Role::Analyst);
    let AgentProgram::Claude(agent) = &analyst.program else { panic!("no claude") };
    assert_eq!((analyst.timeout_ms, agent.budget_microusd), (Some(60_000), 10_000_000));
    assert_eq!(agent.settings.program, ["npx", "claude"]);
    assert_eq!(agent.settings.effort, Some(Effort::Xhigh));
    assert_eq!(agent.settings.max_turns.map(std::num::NonZeroU32::get), Some(40));
    assert_eq!(agent.settings.permission_mode, Some(PermissionMode::AcceptEdits));
    assert_eq!(agent.settings.allowed_tools, ["Edit", "Bash(pytest *)"]);
    assert_eq!(agent.settings.disallowed_tools, ["WebFetch"]);
}

#[test]
fn what_claude_would_pass_over_without_a_word_is_refused_by_key_and_allowed_values() {
    for (line, expected) in [
        ("", "analyst.budget_usd: is missing"),
        ("budget_usd = 0", "analyst.budget_usd: 0: allowed: US dollars, 0.01 to 10000"),
        ("budget_usd = \"5\"", "analyst.budget_usd: is a string; must be a number of US dollars"),
        (
            "budget_usd = 5\neffort = \"extreme\"",
            "analyst.effort: \"extreme\": allowed: \"low\" or \"medium\" or \"high\" or \"xhigh\" or \"max\"",
        ),
        ("budget_usd = 5\nmax_turns = 0", "analyst.max_turns: 0: allowed: turns, 1 to 100000"),
        ("budget_usd = 5\nmax_turns = 1.5", "analyst.max_turns: 1.5: allowed: turns, 1 to 100000"),
        (
            "budget_usd = 5\npermission_mode = \"yolo\"",
            "analyst.permission_mode: \"yolo\": allowed: \"acceptEdits\"",
        ),
        ("budget_usd = 5\nmodel = \"--debug\"", "analyst.model: \"--debug\": must be one word"),
        (
            "budget_usd = 5\nallowed_tools = [\"Edit,Bash\"]",
            "analyst.allowed_tools: \"Edit,Bash\": must be an array of tools",
        ),
        ("budget_usd = 5\nefort = \"low\"", "analyst.efort: unknown key; did you mean effort?"),
    ] {
        let problems = told(&with_analyst(&format!("kind = \"claude\"\n{line}")));
        assert!(problems.len() == 1 && problems[0].contains(expected), "{line}: {problems:#?}");
    }
    let problems = told(&with_analyst("kind = \"command\"\ncommand = [\"a\"]\nmodel = \"opus\""));
    assert!(problems.len() == 1 && problems[0].contains("analyst.model: unknown key"), "{problems:#?}");
    let problems = told(&with_analyst("kind = \"codex\"\ncommand = [\"a\"]"));
    assert!(
        problems.len() == 1 && problems[0].contains("allowed: \"command\" or \"claude\""),
        "{problems:#?}"
    );
}

#[test]
fn one_wrong_thing_is_one_problem_with_line_and_key() {
    for (extra, expected) in [
        ("staging_cdm = [\"x\"]", "7: project \"shop\".staging_cdm: unknown key; did you mean staging_cmd?"),
        (
            "staging_cmd = \"make it\"",
            "7: project \"shop\".staging_cmd: is a string; must be an array of words",
        ),
        ("staging_cmd = []", "7: project \"shop\".staging_cmd: names no program"),
        ("staging_cmd = [\"\"]", "7: project \"shop\".staging_cmd: names no program"),
        ("staging_cmd = [\"a\\u0000\"]", "7: project \"shop\".staging_cmd: names no program"),
        ("staging_cmd = [\"a\", 1]", "7: project \"shop\".staging_cmd: holds an integer; must be an array"),
        (
            "merge_method = \"merge\"",
            "7: project \"shop\".merge_method: \"merge\": allowed: \"merge-commit\" or \"fast-forward-only\"",
        ),
        ("target_branch = \"a..b\"", "7: project \"shop\".target_branch: \"a..b\": must be the short name"),
        ("target_branch = \"refs/heads/main\"", "7: project \"shop\".target_branch"),
        ("target_branch = \"-D\"", "7: project \"shop\".target_branch"),
        (
            "required_contexts = [\"lint\"]",
            "7: project \"shop\".required_contexts: \"lint\": the local forge posts",
        ),
        ("coverage_cmd = [\"x\"]", "1: project \"shop\".coverage_report: is missing"),
        ("coverage_report = \"c.json\"", "1: project \"shop\".coverage_cmd: is missing"),
        (
            "coverage_cmd = [\"x\"]\ncoverage_report = \"c.yaml\"",
            "8: project \"shop\".coverage_report: \"c.yaml\": allowed: a .json",
        ),
        (
            "coverage_cmd = [\"x\"]\ncoverage_report = \"../c.json\"",
            "8: project \"shop\".coverage_report: \"../c.json\": must be a path inside",
        ),
        (
            "coverage_cmd = [\"x\"]\ncoverage_report = \"/c.json\"",
            "8: project \"shop\".coverage_report: \"/c.json\": must be a path inside",
        ),
        ("merge_retest_junit = \"j.xml\"", "1: project \"shop\".merge_retest_cmd: is missing"),
        (
            "merge_retest_cmd = [\"x\"]\nmerge_retest_junit = \"../j.xml\"",
            "8: project \"shop\".merge_retest_junit: \"../j.xml\": must be a path inside",
        ),
        ("image_build_cmd = [\"x\"]", "1: project \"shop\".image_revision_cmd: is missing"),
        ("image_revision_cmd = [\"x\"]", "1: project \"shop\".image_build_cmd: is missing"),
        ("deploy_cmd = [\"x\"]", "1: project \"shop\".deploy_health_cmd: is missing"),
        ("deploy_health_cmd = [\"x\"]", "1: project \"shop\".deploy_cmd: is missing"),
        ("approvers = [\" ada\"]", "7: project \"shop\".approvers: a name is empty or has spaces"),
        ("deploy_timeout_s = 0", "7: project \"shop\".deploy_timeout_s: 0: allowed: seconds, 0.1 to 604800"),
        ("deploy_timeout_s = -1", "7: project \"shop\".deploy_timeout_s: -1: allowed"),
        ("deploy_timeout_s = inf", "7: project \"shop\".deploy_timeout_s: inf: allowed"),
        ("deploy_timeout_s = \"5\"", "7: project \"shop\".deploy_timeout_s: is a string; must be a number"),
        ("deploy_timeout_s = 0x10", "7: project \"shop\".deploy_timeout_s: is an integer; must be a number"),
    ] {
        let problems = told(&minimal(extra));
        assert_eq!(problems.len(), 1, "{extra}: {problems:#?}");
        assert!(problems[0].starts_with(expected), "{extra}\n  {}\n  {expected}", problems[0]);
    }
}

#[test]
fn every_problem_of_every_project_is_told_in_order() {
    let text = "[[project]]\n\
                name = \"a/b\"\n\
                key_prefix = \"low\"\n\
                forge = \"gitea\"\n\
                [project.agents]\n\
                analyst = { kind = \"command\" }\n\
                architect = { kind = \"codex\", command = [\"x\"] }\n\
                develper = { kind = \"command\", command = [\"x\"] }\n\
                [[project]]\n\
                name = 5\n\
                [other]\n";
    let problems = told(text);
    let expected = [
        "1: project \"a/b\".source: is missing",
        "1: project \"a/b\".ci_cmd: is missing",
        "2: project \"a/b\".name: \"a/b\": allowed",
        "3: project \"a/b\".key_prefix: \"low\": allowed",
        "4: project \"a/b\".forge: \"gitea\": allowed: \"local\"",
        "5: project \"a/b\".agents.developer: is missing",
        "5: project \"a/b\".agents.reviewer: is missing",
        "5: project \"a/b\".agents.tester: is missing",
        "5: project \"a/b\".agents.deployer: is missing",
        "6: project \"a/b\".agents.analyst.command: is missing",
        "7: project \"a/b\".agents.architect.kind: \"codex\": allowed: \"command\" or \"claude\"",
        "8: project \"a/b\".agents.develper: unknown key; did you mean developer?",
        "9: project 2.key_prefix: is missing",
        "9: project 2.forge: is missing",
        "9: project 2.source: is missing",
        "9: project 2.ci_cmd: is missing",
        "9: project 2.agents: is missing",
        "10: project 2.name: is an integer; must be a string",
        "11: other: unknown key; known: project",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    let problems = told("[[project]]\nname = \nforge = local\n");
    assert!(problems.len() >= 2, "{problems:#?}");
    assert!(problems[0].starts_with("2: not TOML: "), "{problems:#?}");
    assert!(problems[1].starts_with("3: not TOML: "), "{problems:#?}");
}

#[test]
fn a_file_without_projects_is_refused() {
    for text in ["", "project = []\n", "project = 5\n", "[project]\nname = \"x\"\n"] {
        let problems = told(text);
        assert_eq!(problems.len(), 1, "{text:?}: {problems:#?}");
        assert!(problems[0].starts_with("1: project: "), "{text:?}: {problems:#?}");
    }
}

#[test]
fn names_and_prefixes_are_unique() {
    let text = format!("{}\n{}", minimal(""), minimal(""));
    let problems = told(&text);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].ends_with("name: is the name of an earlier project"), "{problems:#?}");
    assert!(
        problems[1].ends_with("key_prefix: \"SHOP\": is the prefix of an earlier project"),
        "{problems:#?}"
    );
}

#[test]
fn no_ci_is_asked_when_no_context_is_required() {
    let text = minimal("required_contexts = []").replace("ci_cmd = [\"true\"]\n", "");
    let projects = parse(&text).unwrap();
    assert!(projects.by_name("shop").unwrap().required_contexts.is_empty());
}

#[test]
fn a_work_item_belongs_to_the_project_of_its_prefix() {
    let projects = parse(&minimal("")).unwrap();
    for (key, found) in [
        ("SHOP-1", true),
        ("SHOP-114", true),
        ("SHOP-", false),
        ("SHOP-1x", false),
        ("SHOP", false),
        ("SHOPS-1", false),
        ("shop-1", false),
        ("SHOP--1", false),
        ("-1", false),
    ] {
        assert_eq!(projects.by_work_item(key).is_some(), found, "{key}");
    }
}

#[test]
fn a_projects_own_limit_wins_over_the_settings() {
    let projects = parse(&minimal("staging_timeout_s = 60\nci_timeout_s = 30")).unwrap();
    let shop = projects.by_name("shop").unwrap();
    let config = config(&[("ORCH_AGENT_TIMEOUT_S", "120")]);
    let limits = shop.limits(&config);
    assert_eq!((limits.staging_ms, limits.ci_ms, limits.coverage_ms), (60_000, 30_000, 900_000));
    assert_eq!(shop.agent_timeout_ms(Role::Developer, &config), 1_500);
    assert_eq!(shop.agent_timeout_ms(Role::Tester, &config), 120_000);
    assert_eq!(projects.edge_sum_ms(&config), config.edge_budget().sum_ms() - 1_740_000);
    let published: Vec<(String, i64)> =
        projects.published_limits(&config).into_iter().map(|limit| (limit.key, limit.ms)).collect();
    for (key, ms) in [
        ("ORCH_STAGING_TIMEOUT_S", 1_800_000),
        ("ORCH_STAGING_TIMEOUT_S:shop", 60_000),
        ("ORCH_CI_TIMEOUT_S:shop", 30_000),
        ("ORCH_AGENT_TIMEOUT_S", 120_000),
        ("ORCH_AGENT_TIMEOUT_S:shop.developer", 1_500),
    ] {
        assert_eq!(published.iter().filter(|(known, _)| known == key).count(), 1, "{key}: {published:?}");
        assert!(published.contains(&(key.to_owned(), ms)), "{key}: {published:?}");
    }
}

#[test]
fn the_ceiling_holds_for_what_a_project_sets_itself() {
    let projects = parse(&minimal("staging_timeout_s = 12000\nci_timeout_s = 2000")).unwrap();
    let told = projects.check(&config(&[])).unwrap_err().to_string();
    assert!(told.contains("ORCH_STAGING_TIMEOUT_S:shop=12000 + "), "{told}");
    assert!(told.contains("= 18360 in sum"), "{told}");
    assert!(told.contains("project shop: ci_wait_s is smaller than ci_timeout_s"), "{told}");

    let slow = parse(&minimal("").replace("timeout_s = 1.5", "timeout_s = 14401")).unwrap();
    let told = slow.check(&config(&[])).unwrap_err().to_string();
    assert!(told.contains("ORCH_AGENT_TIMEOUT_S:shop.developer=14401"), "{told}");
}

#[test]
fn a_name_in_a_scope_is_a_projects() {
    let projects = parse(&minimal("")).unwrap();
    assert!(projects.check(&config(&[("ORCH_MERGE_GATE_REPOS", "shop")])).is_ok());
    let told = projects
        .check(&config(&[
            ("ORCH_MERGE_GATE_REPOS", "shop,shpo"),
            ("ORCH_STAGING_REPOS", ""),
            ("ORCH_SELF_REPO", "elsewhere"),
        ]))
        .unwrap_err();
    let told: Vec<String> = told.all().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "ORCH_SELF_REPO: no project is named \"elsewhere\"; there are: shop",
            "ORCH_MERGE_GATE_REPOS: no project is named \"shpo\"; did you mean \"shop\"?",
        ]
    );
}

#[test]
fn a_file_is_loaded_or_its_error_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("projects.toml");
    let missing = Projects::load(&path).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read ") && missing.ends_with("projects.toml"), "{missing}");
    std::fs::write(&path, minimal("")).unwrap();
    let source = &Projects::load(&path).unwrap().by_name("shop").unwrap().source.clone();
    assert_eq!(*source, directory.path().join("git/shop"));
    std::fs::write(&path, minimal("staging_cmd = 1")).unwrap();
    let wrong = Projects::load(&path).unwrap_err().to_string();
    assert!(wrong.contains("projects.toml:7: project \"shop\".staging_cmd: is an integer"), "{wrong}");
    std::fs::write(&path, "#".repeat(usize::try_from(FILE_MAX_BYTES).unwrap() + 1)).unwrap();
    assert!(matches!(Projects::load(&path), Err(ProjectsError::TooLarge { .. })));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,200}") {
        parse(&text).ok();
    }

    #[test]
    fn no_cut_of_a_valid_file_makes_it_panic_or_pass_silently(cut in 0_usize..700) {
        let text = minimal("");
        let cut = cut.min(text.len());
        prop_assume!(text.is_char_boundary(cut));
        if let Err(problems) = parse(&text[..cut]) {
            prop_assert!(!problems.is_empty());
        }
    }
}

//! `projects.toml` into projects.
//!
//! Pure: text in, projects or every problem out. The shape of the file is stated here once, by
//! the getters that are called; what single values may be stands in the checks at the end.

use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::walk::{View, Walk};
use super::{
    Agent, AgentProgram, Agents, Argv, ClaudeAgent, ClaudeSettings, CoverageCommand, CoverageFormat,
    DeployCommands, FileProblem, ForgeKind, ImageCommands, LOCAL_CI_CONTEXT, MergeMethod, Project,
    ProjectLimits, Role,
};
use crate::agents::claude::command::{Effort, PermissionMode};

/// Bounds of every limit, in milliseconds: those of the settings.
const LIMIT_MS: (i64, i64) = (100, 7 * 86_400_000);

/// Bounds of the turns of one run.
const TURNS: (i64, i64) = (1, 100_000);

/// Bounds of what one run may cost, in millionths of a US dollar: a cent to ten thousand dollars.
const BUDGET_MICROUSD: (i64, i64) = (10_000, 10_000_000_000);

/// How a command must be written.
const COMMAND: &str =
    "an array of words such as [\"make\", \"test\"]; for a shell write [\"sh\", \"-c\", \"…\"]";

/// Reads a whole file.
pub(super) fn projects(text: &str, base: &Path) -> Result<Vec<Project>, Vec<FileProblem>> {
    let mut walk = Walk::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            walk.refuse(&error.span().unwrap_or(0..0), "", format!("not TOML: {}", error.message()));
        }
        return walk.finish(None);
    }
    let mut root = View::new(document.get_ref(), 0..0, String::new());
    let mut found = Vec::new();
    match root.get("project").map(toml::Spanned::get_ref) {
        None => walk.refuse(&(0..0), "project", "is missing: at least one [[project]]"),
        Some(DeValue::Array(items)) if items.iter().all(|item| item.get_ref().is_table()) => {
            if items.is_empty() {
                walk.refuse_key(&root, "project", "is empty: at least one [[project]]");
            }
            for (index, item) in items.iter().enumerate() {
                let Some(table) = item.get_ref().as_table() else { continue };
                let path = table
                    .get("name")
                    .and_then(|name| name.get_ref().as_str())
                    .map_or_else(|| format!("project {}", index + 1), |name| format!("project {name:?}"));
                let mut view = View::new(table, item.span(), path);
                let project = read_project(&mut walk, &mut view, base);
                walk.refuse_unknown(&view);
                found.push((view, project));
            }
        }
        Some(_) => walk.refuse_key(&root, "project", "must be written as [[project]]"),
    }
    walk.refuse_unknown(&root);
    refuse_doubles(&mut walk, &found);
    let whole: Option<Vec<Project>> = found.into_iter().map(|(_, project)| project).collect();
    walk.finish(whole)
}

fn refuse_doubles(walk: &mut Walk<'_>, found: &[(View<'_>, Option<Project>)]) {
    for (index, (view, project)) in found.iter().enumerate() {
        let Some(project) = project else { continue };
        let earlier = || found.iter().take(index).filter_map(|(_, earlier)| earlier.as_ref());
        if earlier().any(|other| other.name == project.name) {
            walk.refuse_key(view, "name", "is the name of an earlier project");
        }
        if earlier().any(|other| other.key_prefix == project.key_prefix) {
            let reason = format!("{:?}: is the prefix of an earlier project", project.key_prefix);
            walk.refuse_key(view, "key_prefix", reason);
        }
    }
}

/// A project, unless something that it cannot be without is missing or wrong. Everything is read
/// before anything is given up, so that every problem is noted.
fn read_project(walk: &mut Walk<'_>, view: &mut View<'_>, base: &Path) -> Option<Project> {
    let name = required(walk, view, "name", check_name);
    let key_prefix = required(walk, view, "key_prefix", check_key_prefix);
    let forge = required_word(walk, view, "forge", &[("local", ForgeKind::Local)]);
    let source = required(walk, view, "source", check_not_empty);
    let target_branch = walk.checked_text(view, "target_branch", check_branch);
    let merge_method = walk.word(
        view,
        "merge_method",
        &[("merge-commit", MergeMethod::MergeCommit), ("fast-forward-only", MergeMethod::FastForwardOnly)],
    );
    let ci_cmd = read_command(walk, view, "ci_cmd");
    let required_contexts = read_contexts(walk, view);
    let merge_retest_cmd = read_command(walk, view, "merge_retest_cmd");
    let merge_retest_junit = read_junit(walk, view);
    let coverage = read_coverage(walk, view);
    let image = read_image(walk, view);
    let staging_cmd = read_command(walk, view, "staging_cmd");
    let deploy = read_deploy(walk, view);
    let approvers = read_approvers(walk, view);
    let limits = read_limits(walk, view);
    let agents = read_agents(walk, view);
    Some(Project {
        name: name?,
        key_prefix: key_prefix?,
        forge: forge?,
        source: base.join(source?),
        target_branch: target_branch.unwrap_or_else(|| "main".to_owned()),
        merge_method: merge_method.unwrap_or_default(),
        required_contexts,
        ci_cmd,
        merge_retest_cmd,
        merge_retest_junit,
        coverage,
        image,
        staging_cmd,
        deploy,
        approvers,
        limits,
        agents: agents?,
    })
}

fn required(
    walk: &mut Walk<'_>,
    view: &mut View<'_>,
    key: &'static str,
    check: impl FnOnce(&str) -> Result<(), &'static str>,
) -> Option<String> {
    if view.get(key).is_none() {
        walk.missing(view, key);
        return None;
    }
    walk.checked_text(view, key, check)
}

fn required_word<T: Copy>(
    walk: &mut Walk<'_>,
    view: &mut View<'_>,
    key: &'static str,
    meanings: &[(&'static str, T)],
) -> Option<T> {
    if view.get(key).is_none() {
        walk.missing(view, key);
        return None;
    }
    walk.word(view, key, meanings)
}

fn read_command(walk: &mut Walk<'_>, view: &mut View<'_>, key: &'static str) -> Option<Argv> {
    let words = walk.texts(view, key, COMMAND)?;
    let command = Argv::new(words);
    if command.is_none() {
        walk.refuse_key(view, key, format!("names no program; must be {COMMAND}"));
    }
    command
}

/// What the local forge never posts would be waited for without end.
fn read_contexts(walk: &mut Walk<'_>, view: &mut View<'_>) -> Vec<String> {
    const KEY: &str = "required_contexts";
    let given = walk.texts(view, KEY, "an array of strings");
    let contexts = given.unwrap_or_else(|| vec![LOCAL_CI_CONTEXT.to_owned()]);
    for context in &contexts {
        if context != LOCAL_CI_CONTEXT {
            let reason = format!("{context:?}: the local forge posts {LOCAL_CI_CONTEXT:?} only");
            walk.refuse_key(view, KEY, reason);
        }
    }
    if !contexts.is_empty() && view.get("ci_cmd").is_none() {
        let reason = "is missing: required_contexts demands a CI; set it to [] for a project without one";
        walk.refuse_key(view, "ci_cmd", reason);
    }
    contexts
}

fn read_junit(walk: &mut Walk<'_>, view: &mut View<'_>) -> Option<PathBuf> {
    const KEY: &str = "merge_retest_junit";
    let report = walk.checked_text(view, KEY, check_inside)?;
    if view.get("merge_retest_cmd").is_none() {
        walk.refuse_key(view, "merge_retest_cmd", format!("is missing: {KEY} is of no use without it"));
    }
    Some(PathBuf::from(report))
}

fn read_coverage(walk: &mut Walk<'_>, view: &mut View<'_>) -> Option<CoverageCommand> {
    refuse_half(walk, view, "coverage_cmd", "coverage_report");
    let cmd = read_command(walk, view, "coverage_cmd");
    let report = walk.checked_text(view, "coverage_report", check_inside)?;
    let format = coverage_format(&report);
    if format.is_none() {
        walk.refuse_key(
            view,
            "coverage_report",
            format!("{report:?}: allowed: a .json of coverage.py, an .xml of Cobertura, an .info or .lcov"),
        );
    }
    Some(CoverageCommand { cmd: cmd?, report: PathBuf::from(report), format: format? })
}

fn coverage_format(report: &str) -> Option<CoverageFormat> {
    match Path::new(report).extension()?.to_str()? {
        "json" => Some(CoverageFormat::CoveragePyJson),
        "xml" => Some(CoverageFormat::CoberturaXml),
        "info" | "lcov" => Some(CoverageFormat::Lcov),
        _ => None,
    }
}

fn read_image(walk: &mut Walk<'_>, view: &mut View<'_>) -> Option<ImageCommands> {
    refuse_half(walk, view, "image_build_cmd", "image_revision_cmd");
    let build_cmd = read_command(walk, view, "image_build_cmd");
    let revision_cmd = read_command(walk, view, "image_revision_cmd");
    Some(ImageCommands { build_cmd: build_cmd?, revision_cmd: revision_cmd? })
}

fn read_deploy(walk: &mut Walk<'_>, view: &mut View<'_>) -> Option<DeployCommands> {
    refuse_half(walk, view, "deploy_cmd", "deploy_health_cmd");
    let cmd = read_command(walk, view, "deploy_cmd");
    let health_cmd = read_command(walk, view, "deploy_health_cmd");
    Some(DeployCommands { cmd: cmd?, health_cmd: health_cmd? })
}

fn refuse_half(walk: &mut Walk<'_>, view: &mut View<'_>, one: &'static str, other: &'static str) {
    match (view.get(one).is_some(), view.get(other).is_some()) {
        (true, false) => walk.refuse_key(view, other, format!("is missing: {one} is of no use without it")),
        (false, true) => walk.refuse_key(view, one, format!("is missing: {other} is of no use without it")),
        (true, true) | (false, false) => {}
    }
}

fn read_approvers(walk: &mut Walk<'_>, view: &mut View<'_>) -> Vec<String> {
    let names = walk.texts(view, "approvers", "an array of names").unwrap_or_default();
    if names.iter().any(|name| name.trim().is_empty() || name.trim() != name) {
        walk.refuse_key(view, "approvers", "a name is empty or has spaces around it");
    }
    names
}

fn read_limits(walk: &mut Walk<'_>, view: &mut View<'_>) -> ProjectLimits {
    ProjectLimits {
        merge_retest_ms: walk.seconds_ms(view, "merge_retest_timeout_s", LIMIT_MS),
        coverage_ms: walk.seconds_ms(view, "coverage_timeout_s", LIMIT_MS),
        image_build_ms: walk.seconds_ms(view, "image_build_timeout_s", LIMIT_MS),
        staging_ms: walk.seconds_ms(view, "staging_timeout_s", LIMIT_MS),
        ci_ms: walk.seconds_ms(view, "ci_timeout_s", LIMIT_MS),
        ci_wait_ms: walk.seconds_ms(view, "ci_wait_s", LIMIT_MS),
        deploy_ms: walk.seconds_ms(view, "deploy_timeout_s", LIMIT_MS),
    }
}

fn read_agents(walk: &mut Walk<'_>, view: &mut View<'_>) -> Option<Agents> {
    if view.get("agents").is_none() {
        let roles: Vec<&str> = Role::ALL.into_iter().map(Role::as_str).collect();
        walk.refuse_key(view, "agents", format!("is missing: one of each of {}", roles.join(", ")));
        return None;
    }
    let mut table = walk.table(view, "agents")?;
    let mut agent = |role: Role| read_agent(walk, &mut table, role);
    let [analyst, architect, developer, reviewer, tester, deployer] = Role::ALL.map(&mut agent);
    walk.refuse_unknown(&table);
    Some(Agents {
        analyst: analyst?,
        architect: architect?,
        developer: developer?,
        reviewer: reviewer?,
        tester: tester?,
        deployer: deployer?,
    })
}

fn read_agent(walk: &mut Walk<'_>, agents: &mut View<'_>, role: Role) -> Option<Agent> {
    let key = role.as_str();
    if agents.get(key).is_none() {
        walk.missing(agents, key);
        return None;
    }
    let mut view = walk.table(agents, key)?;
    let kind = required_word(
        walk,
        &mut view,
        "kind",
        &[("command", Some(AgentKind::Command)), ("claude", Some(AgentKind::Claude))],
    )
    .flatten();
    let command = read_command(walk, &mut view, "command");
    let timeout_ms = walk.seconds_ms(&mut view, "timeout_s", LIMIT_MS);
    let program = match kind {
        Some(AgentKind::Command) => {
            if view.get("command").is_none() {
                walk.missing(&view, "command");
            }
            command.map(AgentProgram::Command)
        }
        Some(AgentKind::Claude) => {
            read_claude(walk, &mut view, command).map(|agent| AgentProgram::Claude(Box::new(agent)))
        }
        // which of its keys are known depends on the kind
        None => return None,
    };
    walk.refuse_unknown(&view);
    Some(Agent { program: program?, timeout_ms })
}

/// Wrong efforts and a bound of no turns are passed over by the program without a word: they are refused here.
fn read_claude(walk: &mut Walk<'_>, view: &mut View<'_>, command: Option<Argv>) -> Option<ClaudeAgent> {
    let model = walk.checked_text(view, "model", check_word);
    let efforts = Effort::ALL.map(|effort| (effort.as_str(), effort));
    let effort = walk.word(view, "effort", &efforts);
    let turns = walk.whole(view, "max_turns", "turns", TURNS);
    let modes = PermissionMode::ALL.map(|mode| (mode.as_str(), mode));
    let permission_mode = walk.word(view, "permission_mode", &modes);
    let allowed_tools = read_tools(walk, view, "allowed_tools");
    let disallowed_tools = read_tools(walk, view, "disallowed_tools");
    if view.get("budget_usd").is_none() {
        let reason = "is missing: what one run may cost; it is also what is booked for a run that was killed \
                      before it could say";
        walk.refuse_key(view, "budget_usd", reason);
    }
    let budget = walk.usd_micro(view, "budget_usd", BUDGET_MICROUSD);
    Some(ClaudeAgent {
        settings: ClaudeSettings {
            program: command.map(|command| command.words()).unwrap_or_default(),
            model,
            effort,
            max_turns: turns.and_then(|turns| u32::try_from(turns).ok()).and_then(NonZeroU32::new),
            permission_mode,
            allowed_tools,
            disallowed_tools,
        },
        budget_microusd: budget?,
    })
}

fn read_tools(walk: &mut Walk<'_>, view: &mut View<'_>, key: &'static str) -> Vec<String> {
    const TOOLS: &str = "an array of tools such as [\"Edit\", \"Bash(pytest *)\"]";
    let tools = walk.texts(view, key, TOOLS).unwrap_or_default();
    for tool in &tools {
        if tool.trim().is_empty() || tool.contains(['\0', '\n', ',']) || tool.starts_with('-') {
            walk.refuse_key(view, key, format!("{tool:?}: must be {TOOLS}, one tool an entry"));
        }
    }
    tools
}

/// What `kind` may be.
#[derive(Clone, Copy)]
enum AgentKind {
    Command,
    Claude,
}

fn check_word(text: &str) -> Result<(), &'static str> {
    let fits = !text.is_empty() && !text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(()) } else { Err("must be one word that does not begin with a dash") }
}

fn check_name(text: &str) -> Result<(), &'static str> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let fits = bytes.len() <= 64
        && bytes.iter().copied().all(inner)
        && ends(bytes.first())
        && ends(bytes.last())
        && !text.contains("..");
    if fits {
        Ok(())
    } else {
        Err("allowed: up to 64 letters, digits, dots, dashes and underscores, a letter or digit at each end")
    }
}

fn check_key_prefix(text: &str) -> Result<(), &'static str> {
    let fits = (1..=16).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && text.starts_with(|letter: char| letter.is_ascii_uppercase());
    if fits { Ok(()) } else { Err("allowed: up to 16 capital letters and digits, a letter first") }
}

fn check_not_empty(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.contains('\0') { Err("must name a path") } else { Ok(()) }
}

/// Rules of `git check-ref-format --branch`.
fn check_branch(text: &str) -> Result<(), &'static str> {
    let bad_letter = |letter: char| {
        letter.is_ascii_control() || matches!(letter, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\')
    };
    let fits = !text.contains(bad_letter)
        && !text.contains("..")
        && !text.contains("@{")
        && !text.starts_with(['-', '/'])
        && !text.ends_with(['.', '/'])
        && !matches!(text, "@" | "HEAD")
        && !text.starts_with("refs/")
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
    if fits { Ok(()) } else { Err("must be the short name of a branch") }
}

/// A report is read inside the worktree, wherever the project's code would like it to be.
fn check_inside(text: &str) -> Result<(), &'static str> {
    let mut parts = Path::new(text).components();
    let fits = !text.is_empty() && parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if fits { Ok(()) } else { Err("must be a path inside the worktree, without ..") }
}

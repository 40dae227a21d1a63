//! `docs/pipeline.md` is a rendering of the edge table.

use std::{fmt::Write, path::Path};

use orch_settings::{
    Strings,
    generated::{self, Differing, UPDATE_VARIABLE},
};

use crate::domain::{
    artifact::rule_of,
    stage::{Stage, Step},
};

const HEAD: &str = "# The pipeline

Ten stages and the edges between them, as the program has them: this file is rendered from the edge table and compared by
a test. `cancelled` is reached from every stage that is not terminal. **E** marks an effect: it is journalled before it
begins and looked for outside before it is repeated. Everything else is a gate: it looks, and changes nothing.

";

fn step(step: &Step) -> String {
    match step {
        Step::Effect(kind) => format!("**E** {kind}"),
        Step::Gate(kind) => kind.to_string(),
    }
}

fn rendered() -> String {
    let mut text = HEAD.to_owned();
    text.push_str(
        "| stage | role at work | leaves to | steps of the exit, in order | a red verdict leads to |\n",
    );
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for stage in Stage::ALL {
        let row = stage.row();
        let name = |stage: Option<Stage>| stage.map_or("–", Stage::as_str);
        let steps: Vec<String> = row.steps.iter().map(step).collect();
        writeln!(
            text,
            "| {stage} | {} | {} | {} | {} |",
            row.role.map_or("–", |role| role.as_str()),
            name(row.next),
            if steps.is_empty() { "–".to_owned() } else { steps.join(" → ") },
            name(row.rollback),
        )
        .unwrap();
    }
    text.push_str("\nAfter `merge` nothing is rolled back: a red verdict blocks the task for a person. In `deploy`, `start_deploy`\n\
         acts by a person's word alone (`orch-core task redeploy KEY`): each word is one new grant.\n");
    text.push_str("\n## What each role delivers\n\nIn `docs/work-items/<KEY>/` of the target repository, as front matter.\n\n");
    text.push_str("| role | file | key | lets through | rolls back | asks a person |\n| --- | --- | --- | --- | --- | --- |\n");
    for stage in Stage::ALL {
        let Some(role) = stage.row().role else { continue };
        let Some(rule) = rule_of(role) else { continue };
        let words = |list: &[&str]| if list.is_empty() { "–".to_owned() } else { list.join(", ") };
        let file = if rule.path.ends_with('/') { format!("{}*.md", rule.path) } else { rule.path.to_owned() };
        writeln!(
            text,
            "| {role} | `{file}` | `{}` | {} | {} | {} |",
            rule.key,
            words(rule.good),
            words(rule.bad),
            words(rule.ask),
        )
        .unwrap();
    }
    text
}

#[test]
fn the_rendered_edge_table_is_the_documented_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pipeline.md");
    let differing =
        if Strings::from_process().is_set(UPDATE_VARIABLE) { Differing::Rewrite } else { Differing::Refuse };
    generated::agree(&path, &rendered(), differing).unwrap();
}

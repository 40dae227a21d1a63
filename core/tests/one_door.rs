//! Nothing but the one door writes a stage: what the compiler does not hold, the source is held to.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Files of the core, without their tests, that contain `what`; with slashes, relative to `src`.
fn files_with(what: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let mut named: Vec<String> = found
        .iter()
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("").contains(what)
        })
        .map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned())
        .filter(|name| {
            !name.contains("tests/") && !name.ends_with("tests.rs") && !name.ends_with("testing.rs")
        })
        .collect();
    named.sort();
    named
}

#[test]
fn the_row_of_a_task_is_written_in_one_file() {
    for statement in ["UPDATE task ", "INSERT INTO task ", "REPLACE INTO task ", "DELETE FROM task "] {
        let found = files_with(statement);
        assert!(found.iter().all(|file| file == "store/tasks.rs"), "{statement}: {found:?}");
    }
    assert_eq!(files_with("UPDATE task SET stage"), ["store/tasks.rs"], "the lint sees what it is there for");
}

#[test]
fn decisions_are_handed_to_the_store_by_the_engine_alone() {
    let found = files_with("CommitWrite {");
    assert!(found.iter().any(|file| file == "engine/advance.rs"), "{found:?}");
    let strangers: Vec<&String> =
        found.iter().filter(|file| !file.starts_with("engine/") && !file.starts_with("store/")).collect();
    assert!(strangers.is_empty(), "{strangers:?} write a task's history past the door");
}

#[test]
fn changes_of_stage_are_decided_in_the_domain_alone() {
    // the others only read them: the fold, the plain write of a switched-off lease, the story
    let may =
        ["domain/event.rs", "domain/task.rs", "domain/transition.rs", "http/story.rs", "store/tasks.rs"];
    for event in ["Event::Entered {", "Event::RolledBack {"] {
        let found = files_with(event);
        assert!(found.iter().any(|file| file == "domain/transition.rs"), "{found:?}");
        let strangers: Vec<&String> = found.iter().filter(|file| !may.contains(&file.as_str())).collect();
        assert!(strangers.is_empty(), "{event} stands in {strangers:?}");
    }
}

#[test]
fn every_actor_enters_by_the_engines_door() {
    for actor in ["Monitor", "PlaneWebhook", "GiteaWebhook", "Reconciler", "Reaper", "Finalizer", "Operator"]
    {
        let found = files_with(&format!("Actor::{actor}"));
        assert!(found.iter().any(|file| !file.starts_with("domain/")), "Actor::{actor} enters from nowhere");
    }
}

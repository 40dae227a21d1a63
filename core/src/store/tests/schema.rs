//! The words in the schema's checks are the enums' words.

use orch_contract::ProcessKind;

use super::*;
use crate::domain::{
    effect::EffectKind,
    job::JobStatus,
    task::Standing,
    verdict::{GateKind, Waitee},
};

const SQL: &str = concat!(
    include_str!("../schema_1.sql"),
    include_str!("../schema_2.sql"),
    include_str!("../schema_3.sql")
);

/// The list of `CHECK (column IN (…))` in a table's last statement.
fn words(table: &str, column: &str) -> Vec<String> {
    let (_, statement) = SQL.rsplit_once(&format!("CREATE TABLE {table} (")).unwrap();
    let (statement, _) = statement.split_once("STRICT").unwrap();
    let (_, list) = statement
        .split_once(&format!("CHECK ({column} IN ("))
        .unwrap_or_else(|| panic!("{table}.{column} has no check"));
    let (list, _) = list.split_once(')').unwrap();
    list.split(',').map(|word| word.trim().trim_matches('\'').to_owned()).collect()
}

fn check<T: Copy>(places: &[(&str, &str)], all: &[T], as_str: impl Fn(T) -> &'static str) {
    let expected: Vec<&str> = all.iter().map(|one| as_str(*one)).collect();
    for (table, column) in places {
        assert_eq!(words(table, column), expected, "{table}.{column}");
    }
}

#[test]
fn a_journal_of_schema_2_is_whole_after_the_migration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    let before = concat!(include_str!("../schema_1.sql"), include_str!("../schema_2.sql"));
    old.execute_batch(before).unwrap();
    old.execute_batch(
        "PRAGMA application_id = 0x6f726368; PRAGMA user_version = 2;
         INSERT INTO task VALUES (7, 'ORCH-7', 'sample', 'deploy-staging', 'moving', NULL, 1, 1, 1, 1, '{}');
         INSERT INTO effect VALUES (3, 7, 'merge', 'abc', 1, 4, 'first', 10, 'done', 20, 'merged as def'),
                                   (5, 7, 'start_deploy', 'def', 2, 4, 'first', 30, 'intent', NULL, NULL);",
    )
    .unwrap();
    drop(old);
    let store = open(&path, "second");
    let raw = rusqlite::Connection::open(&path).unwrap();
    let rows: Vec<String> = raw
        .prepare("SELECT concat_ws(' ', id, task_id, kind, revision, grant_number, fencing, boot_id, intent_at_ms, state, settled_at_ms, evidence) FROM effect ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(
        rows,
        ["3 7 merge abc 1 4 first 10 done 20 merged as def", "5 7 start_deploy def 2 4 first 30 intent"]
    );
    let indexes: i64 = raw
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name = 'effect_open'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(indexes, 1);
    let insert = |kind: &str| {
        raw.execute(
            "INSERT INTO effect (task_id, kind, revision, grant_number, fencing, boot_id, intent_at_ms, state)
             VALUES (7, ?1, 'new', 1, 5, 'second', 40, 'intent')",
            [kind],
        )
    };
    insert("rebuild_image").unwrap();
    insert("anything").unwrap_err();
    drop(store);
}

#[test]
fn checks_name_exactly_the_words_of_the_enums() {
    check(&[("task", "stage"), ("stage_count", "stage"), ("job", "stage")], &Stage::ALL, Stage::as_str);
    let actors = [("event", "actor"), ("transition_lease", "actor"), ("pending_trigger", "actor")];
    check(&actors, &Actor::ALL, Actor::as_str);
    check(&[("job", "role")], &Role::ALL, Role::as_str);
    check(&[("job", "status")], &JobStatus::ALL, JobStatus::as_str);
    check(&[("effect", "kind")], &EffectKind::ALL, EffectKind::as_str);
    check(&[("gate_run", "gate")], &GateKind::ALL, GateKind::as_str);
    let standings = [
        Standing::Moving {},
        Standing::Waiting { who: Waitee::Person { name: "p".into() }, reason: "r".into(), until_ms: None },
        Standing::Held { reason: "r".into(), retry_at_ms: 0 },
        Standing::Blocked { cause: "c".into(), way_out: "w".into() },
        Standing::Finished {},
    ];
    let names: Vec<&str> = standings.iter().map(Standing::as_str).collect();
    assert_eq!(words("task", "standing"), names);
    assert_eq!(words("stage_count", "standing"), names);
    assert_eq!(words("kept_command", "command"), ["cancel", "roll_back"]);
    assert_eq!(words("gate_run", "verdict"), ["pass", "red", "infra", "wait", "skipped"]);
    let kinds: Vec<String> = words("run", "kind");
    let known: Vec<&str> =
        super::super::runs::RUN_KINDS.iter().map(|kind| super::super::runs::kind_name(*kind)).collect();
    assert_eq!(kinds, known);
    assert!(!known.contains(&super::super::runs::kind_name(ProcessKind::Unknown)));
    let added = include_str!("../schema_5.sql");
    let costs = crate::domain::budget::CostKind::ALL.map(|kind| format!("'{}'", kind.as_str())).join(",");
    let agents = AgentKind::ALL.map(|kind| format!("'{}'", kind.as_str())).join(",");
    assert!(added.contains(&format!("CHECK (cost_kind IN ({costs}))")));
    assert!(added.contains(&format!("CHECK (agent IN ({agents}))")));
}

#[test]
fn every_kind_of_run_has_the_name_that_the_wire_gives_it() {
    for kind in super::super::runs::RUN_KINDS {
        let wire = serde_json::to_value(kind).unwrap();
        assert_eq!(wire, super::super::runs::kind_name(kind));
    }
}

#[test]
fn tables_are_strict_and_the_file_is_durable() {
    let fixture = Fixture::new();
    let tables = "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'";
    assert!(fixture.number(tables) > 10);
    assert_eq!(fixture.number(&format!("{tables} AND strict = 0")), 0);
    let mode: String = fixture.raw().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

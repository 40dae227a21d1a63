//! The same rows in as many transactions, with nothing asked, folded or compared.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use orch_core::domain::ids::BootId;
use orch_core::store::{Identity, Store};
use orch_tests::clock;
use rusqlite::{Connection, TransactionBehavior, params};

/// About as many bytes as a task's row has.
const ROW_BYTES: usize = 640;

/// A file with the core's schema, written by hand.
pub(crate) struct Bare {
    connection: Connection,
    sequence: i64,
}

impl Bare {
    pub(crate) fn open(path: &Path, tasks: u32) -> Self {
        let identity = Identity { boot_id: BootId("bench".to_owned()), pid: 1, start_ticks: 1 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async { Store::open(path, identity).expect("the schema").close().await });
        let connection = Connection::open(path).expect("a file");
        for (name, value) in [("journal_mode", "WAL"), ("synchronous", "FULL"), ("foreign_keys", "ON")] {
            connection.pragma_update(None, name, value).expect("a setting");
        }
        connection.set_prepared_statement_cache_capacity(64);
        let row = format!("{{\"filling\":\"{}\"}}", "x".repeat(ROW_BYTES));
        for task in 0..tasks {
            connection
                .execute(
                    "INSERT INTO task (id, work_item, project, stage, standing, round, version, created_at_ms, updated_at_ms, row_json, due_at_ms)
                     VALUES (?1, 'BENCH-' || ?1, 'bench', 'deploy-staging', 'moving', 7, 7, 1, 1, ?2, 2001)",
                    params![task + 1, row],
                )
                .expect("a task");
        }
        connection
            .execute("INSERT INTO stage_count VALUES ('deploy-staging', 'moving', 64), ('deploy-staging', 'held', 64)", [])
            .expect("counts");
        Self { connection, sequence: 100 }
    }

    /// Lease, intent, done, commit; on the tasks in turn.
    pub(crate) fn rounds(&mut self, tasks: &[u32], rounds: u32) {
        let row = format!("{{\"filling\":\"{}\"}}", "x".repeat(ROW_BYTES));
        for turn in 0..rounds {
            let task = i64::from(tasks[turn as usize % tasks.len()]) + 1;
            self.sequence += 2;
            let sequence = self.sequence;
            self.write(|run| {
                run("INSERT INTO transition_lease (task_id, fencing, held, edge, actor, boot_id, owner, pid, start_ticks, acquired_at_ms)
                     VALUES (?1, ?2, 1, 'deploy-staging -> deploy', 'monitor', 'bench', ?2, 1, 1, 1)
                     ON CONFLICT (task_id) DO UPDATE SET fencing = ?2, held = 1, forced = 0, owner = ?2", params![task, sequence]);
            });
            self.write(|run| {
                run("INSERT INTO effect (task_id, kind, revision, grant_number, fencing, boot_id, intent_at_ms, state)
                     VALUES (?1, 'start_deploy', printf('%040x', ?2), 1, ?2, 'bench', 1, 'intent')", params![task, sequence]);
            });
            let effect = self.connection.last_insert_rowid();
            self.write(|run| {
                run("UPDATE effect SET state = 'done', settled_at_ms = 1, evidence = 'deployed revision is there'
                     WHERE id = ?1 AND state = 'intent'", params![effect]);
                run("INSERT INTO event (task_id, seq, at_ms, actor, who, reason, event)
                     VALUES (?1, ?2, 1, 'monitor', NULL, 'deployed revision is there', json_object('event', 'effect_done',
                     'effect', 'start_deploy', 'revision', printf('%040x', ?2), 'evidence', 'deployed revision is there'))", params![task, sequence]);
                run("UPDATE task SET stage = 'deploy-staging', standing = 'moving', due_at_ms = 2001, round = 7, version = ?2,
                     updated_at_ms = 1, row_json = ?3 WHERE id = ?1", params![task, sequence, row]);
            });
            let (now, was) = if turn.is_multiple_of(2) { ("held", "moving") } else { ("moving", "held") };
            self.write(|run| {
                run("UPDATE transition_lease SET held = 0 WHERE task_id = ?1 AND fencing = ?2 AND held = 1", params![task, sequence]);
                run("INSERT INTO event (task_id, seq, at_ms, actor, who, reason, event)
                     VALUES (?1, ?2 + 1, 1, 'monitor', NULL, 'bench', json_object('event', 'stood', 'standing',
                     json_object('standing', 'held', 'reason', 'bench: by turns', 'retry_at_ms', 2)))", params![task, sequence]);
                run("UPDATE task SET stage = 'deploy-staging', standing = ?4, due_at_ms = 2, round = 7, version = ?2 + 1,
                     updated_at_ms = 1, row_json = ?3 WHERE id = ?1", params![task, sequence, row, now]);
                for (standing, by) in [(was, -1), (now, 1)] {
                    run("INSERT INTO stage_count (stage, standing, tasks) VALUES ('deploy-staging', ?1, ?2)
                         ON CONFLICT (stage, standing) DO UPDATE SET tasks = tasks + ?2", params![standing, by]);
                }
            });
        }
    }

    fn write(&mut self, rows: impl FnOnce(&dyn Fn(&str, &[&dyn rusqlite::ToSql]))) {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).expect("begins");
        rows(&|sql, values| {
            transaction.prepare_cached(sql).and_then(|mut known| known.execute(values)).expect("written");
        });
        transaction.commit().expect("commits");
    }
}

/// One page written and synced: what the disk itself asks for.
pub(crate) fn fdatasync(path: &Path, rounds: u32) -> Duration {
    let mut file = File::create(path).expect("a file");
    file.write_all(&vec![0; 4096 * rounds as usize]).expect("space");
    file.sync_all().expect("synced");
    let mut file = File::options().write(true).open(path).expect("a file");
    let begun = clock::now();
    for _ in 0..rounds {
        file.write_all(&[1; 4096]).expect("written");
        file.sync_data().expect("synced");
    }
    begun.elapsed() / rounds
}

-- Schema 1. Times are UTC Unix milliseconds, money is integer micro-dollars. Words are checked
-- against the enums by a test; columns of `task` beside `row_json` exist for indexes and reading.
CREATE TABLE task (
    id            INTEGER PRIMARY KEY,
    work_item     TEXT NOT NULL UNIQUE,
    project       TEXT NOT NULL,
    stage         TEXT NOT NULL CHECK (stage IN ('created','analysis','architecture','development','review','testing','deploy-staging','deploy','done','cancelled')),
    standing      TEXT NOT NULL CHECK (standing IN ('moving','waiting','held','blocked','finished')),
    due_at_ms     INTEGER,
    round         INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    row_json      TEXT NOT NULL
) STRICT;
CREATE INDEX task_open ON task (id) WHERE stage NOT IN ('done','cancelled');
CREATE INDEX task_due ON task (due_at_ms) WHERE due_at_ms IS NOT NULL;
CREATE INDEX task_stage ON task (stage);

-- counts by stage, so that the observation document never scans history
CREATE TABLE stage_count (
    stage    TEXT NOT NULL CHECK (stage IN ('created','analysis','architecture','development','review','testing','deploy-staging','deploy','done','cancelled')),
    standing TEXT NOT NULL CHECK (standing IN ('moving','waiting','held','blocked','finished')),
    tasks    INTEGER NOT NULL,
    PRIMARY KEY (stage, standing)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    task_id INTEGER NOT NULL REFERENCES task (id),
    seq     INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    actor   TEXT NOT NULL CHECK (actor IN ('monitor','plane_webhook','gitea_webhook','reconciler','reaper','finalizer','operator')),
    who     TEXT,
    reason  TEXT NOT NULL,
    event   TEXT NOT NULL,
    PRIMARY KEY (task_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE job (
    id             INTEGER PRIMARY KEY,
    task_id        INTEGER NOT NULL REFERENCES task (id),
    project        TEXT NOT NULL,
    stage          TEXT NOT NULL CHECK (stage IN ('created','analysis','architecture','development','review','testing','deploy-staging','deploy','done','cancelled')),
    round          INTEGER NOT NULL,
    role           TEXT NOT NULL CHECK (role IN ('analyst','architect','developer','reviewer','tester','deployer')),
    status         TEXT NOT NULL CHECK (status IN ('queued','running','done','failed','cancelled')),
    priority       INTEGER NOT NULL DEFAULT 0,
    attempt        INTEGER NOT NULL,
    attempts_max   INTEGER NOT NULL,
    queued_at_ms   INTEGER NOT NULL,
    not_before_ms  INTEGER,
    reason         TEXT NOT NULL,
    run_id         INTEGER,
    settled_at_ms  INTEGER,
    outcome        TEXT
) STRICT;
CREATE UNIQUE INDEX job_open ON job (task_id, stage) WHERE status IN ('queued','running');
CREATE INDEX job_claimable ON job (priority DESC, queued_at_ms, id) WHERE status = 'queued';
CREATE INDEX job_running ON job (status) WHERE status = 'running';
CREATE INDEX job_of_task ON job (task_id, stage, round);

CREATE TABLE run (
    id                      INTEGER PRIMARY KEY,
    job_id                  INTEGER REFERENCES job (id),
    task_id                 INTEGER REFERENCES task (id),
    kind                    TEXT NOT NULL CHECK (kind IN ('agent','ci','retest','coverage','security','image_build','staging','push','deploy','deploy_health')),
    attempt                 INTEGER NOT NULL,
    cookie                  INTEGER NOT NULL,
    command                 TEXT NOT NULL,
    boot_id                 TEXT NOT NULL,
    created_at_ms           INTEGER NOT NULL,
    started_at_ms           INTEGER,
    timeout_ms              INTEGER NOT NULL,
    supervisor_pid          INTEGER,
    supervisor_start_ticks  INTEGER,
    exit_recorded_at_ms     INTEGER,
    ended_at_ms             INTEGER,
    outcome                 TEXT,
    exit_code               INTEGER,
    swept_processes         INTEGER,
    surviving_processes     INTEGER,
    cost_microusd           INTEGER
) STRICT;
CREATE INDEX run_open ON run (id) WHERE ended_at_ms IS NULL;
CREATE INDEX run_ended ON run (ended_at_ms) WHERE ended_at_ms IS NOT NULL;
CREATE INDEX run_of_task ON run (task_id, id);

CREATE TABLE transition_lease (
    task_id        INTEGER PRIMARY KEY REFERENCES task (id),
    fencing        INTEGER NOT NULL,
    held           INTEGER NOT NULL CHECK (held IN (0, 1)),
    edge           TEXT NOT NULL,
    actor          TEXT NOT NULL CHECK (actor IN ('monitor','plane_webhook','gitea_webhook','reconciler','reaper','finalizer','operator')),
    boot_id        TEXT NOT NULL,
    owner          INTEGER NOT NULL,
    pid            INTEGER NOT NULL,
    start_ticks    INTEGER NOT NULL,
    acquired_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX lease_held ON transition_lease (task_id) WHERE held = 1;

CREATE TABLE effect (
    id           INTEGER PRIMARY KEY,
    task_id      INTEGER NOT NULL REFERENCES task (id),
    kind         TEXT NOT NULL CHECK (kind IN ('prepare_candidate','merge','ratchet_coverage','start_deploy','close_work_item')),
    revision     TEXT NOT NULL,
    grant_number INTEGER NOT NULL,
    fencing      INTEGER NOT NULL,
    boot_id      TEXT NOT NULL,
    intent_at_ms INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('intent','done','void')),
    settled_at_ms INTEGER,
    evidence     TEXT,
    UNIQUE (task_id, kind, revision, grant_number)
) STRICT;
CREATE INDEX effect_open ON effect (id) WHERE state = 'intent';

CREATE TABLE gate_run (
    id            INTEGER PRIMARY KEY,
    task_id       INTEGER NOT NULL REFERENCES task (id),
    gate          TEXT NOT NULL CHECK (gate IN ('artifact','approval','change','ci','image','staging','retest','coverage','security','landed_tree','deployed')),
    verdict       TEXT NOT NULL CHECK (verdict IN ('pass','red','infra','wait','skipped')),
    class         TEXT NOT NULL,
    head          TEXT NOT NULL,
    base          TEXT NOT NULL,
    configuration TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    ended_at_ms   INTEGER NOT NULL,
    run_id        INTEGER,
    verdict_json  TEXT NOT NULL
) STRICT;
CREATE INDEX gate_run_of_task ON gate_run (task_id, gate, id);

CREATE TABLE merge_slot (
    project       TEXT NOT NULL,
    branch        TEXT NOT NULL,
    task_id       INTEGER NOT NULL REFERENCES task (id),
    boot_id       TEXT NOT NULL,
    taken_at_ms   INTEGER NOT NULL,
    PRIMARY KEY (project, branch)
) STRICT, WITHOUT ROWID;

CREATE TABLE merge_waiter (
    project  TEXT NOT NULL,
    branch   TEXT NOT NULL,
    task_id  INTEGER NOT NULL REFERENCES task (id),
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (project, branch, task_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE pending_trigger (
    task_id      INTEGER NOT NULL REFERENCES task (id),
    actor        TEXT NOT NULL CHECK (actor IN ('monitor','plane_webhook','gitea_webhook','reconciler','reaper','finalizer','operator')),
    stored_at_ms INTEGER NOT NULL,
    PRIMARY KEY (task_id, actor)
) STRICT, WITHOUT ROWID;

CREATE TABLE coverage_measured (
    project  TEXT NOT NULL,
    revision TEXT NOT NULL,
    covered  INTEGER NOT NULL,
    measured INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (project, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE coverage_baseline (
    project  TEXT NOT NULL,
    branch   TEXT NOT NULL,
    revision TEXT NOT NULL,
    covered  INTEGER NOT NULL,
    measured INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (project, branch)
) STRICT, WITHOUT ROWID;

CREATE TABLE approval (
    task_id  INTEGER NOT NULL REFERENCES task (id),
    artifact TEXT NOT NULL,
    revision TEXT NOT NULL,
    who      TEXT NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (task_id, artifact, revision)
) STRICT, WITHOUT ROWID;

-- the local tracker: work items that live nowhere else
CREATE TABLE tracker_item (
    work_item TEXT PRIMARY KEY,
    title     TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('open','closed','cancelled')),
    closed_by TEXT,
    changed_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

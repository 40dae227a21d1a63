-- Schema 3: the image of a candidate is rebuilt as an effect. A check cannot be altered: the journal moves.
ALTER TABLE effect RENAME TO effect_of_schema_1;
DROP INDEX effect_open;
CREATE TABLE effect (
    id           INTEGER PRIMARY KEY,
    task_id      INTEGER NOT NULL REFERENCES task (id),
    kind         TEXT NOT NULL CHECK (kind IN ('prepare_candidate','rebuild_image','merge','ratchet_coverage','start_deploy','close_work_item')),
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
INSERT INTO effect (id, task_id, kind, revision, grant_number, fencing, boot_id, intent_at_ms, state, settled_at_ms, evidence)
    SELECT id, task_id, kind, revision, grant_number, fencing, boot_id, intent_at_ms, state, settled_at_ms, evidence
    FROM effect_of_schema_1;
DROP TABLE effect_of_schema_1;
CREATE INDEX effect_open ON effect (id) WHERE state = 'intent';

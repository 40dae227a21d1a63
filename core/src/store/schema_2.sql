-- Schema 2: leases taken by force, commands of people that wait, notices for people.

-- the owner of a lease taken by force may still be in the middle of an act
ALTER TABLE transition_lease ADD COLUMN forced INTEGER NOT NULL DEFAULT 0 CHECK (forced IN (0, 1));

-- what a person asked for while somebody else was at work; it outlives the core
CREATE TABLE kept_command (
    task_id      INTEGER PRIMARY KEY REFERENCES task (id),
    command      TEXT NOT NULL CHECK (command IN ('cancel','roll_back')),
    detail       TEXT NOT NULL,
    who          TEXT NOT NULL,
    why          TEXT NOT NULL,
    stored_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE notice (
    id           INTEGER PRIMARY KEY,
    task_id      INTEGER NOT NULL REFERENCES task (id),
    what         TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    told_at_ms   INTEGER
) STRICT;
CREATE INDEX notice_untold ON notice (id) WHERE told_at_ms IS NULL;

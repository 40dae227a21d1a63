-- Schema 5: what an agent tells of itself while it runs, what it may cost, and waits for its service.
ALTER TABLE run ADD COLUMN agent TEXT CHECK (agent IN ('claude'));
ALTER TABLE run ADD COLUMN session_id TEXT;
ALTER TABLE run ADD COLUMN model TEXT;
ALTER TABLE run ADD COLUMN effort TEXT;
ALTER TABLE run ADD COLUMN input_tokens INTEGER;
ALTER TABLE run ADD COLUMN cached_tokens INTEGER;
ALTER TABLE run ADD COLUMN output_tokens INTEGER;
ALTER TABLE run ADD COLUMN cost_kind TEXT CHECK (cost_kind IN ('reported','estimated'));
ALTER TABLE run ADD COLUMN reserved_microusd INTEGER;
-- how far its stream was read, and what that has told; both or neither
ALTER TABLE run ADD COLUMN stream_offset INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN stream_state TEXT;
-- its session's total as of its end, JSON
ALTER TABLE run ADD COLUMN session_total TEXT;
UPDATE run SET cost_kind = 'reported' WHERE cost_microusd IS NOT NULL;
CREATE INDEX run_of_session ON run (session_id, id) WHERE session_id IS NOT NULL;
-- the day's spending without a look at what cost nothing
CREATE INDEX run_spent ON run (ended_at_ms, cost_microusd) WHERE cost_microusd > 0;
ALTER TABLE job ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;

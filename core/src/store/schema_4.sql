-- Schema 4: a wait of a job has a beginning. A clock that shows an earlier time was set back, and the wait is over.
ALTER TABLE job ADD COLUMN waits_since_ms INTEGER;

-- Every prediction lands here first. `seq` only ever grows, so it orders rows that share an instant
-- and tells what is new; `key` makes a replay of the same prediction a row that is already there.
CREATE TABLE predictions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL UNIQUE,
    edge_device_id TEXT NOT NULL,
    model_name TEXT NOT NULL,
    model_version TEXT NOT NULL,
    -- The prediction's own time and the time of its commit, in milliseconds since 1970 UTC.
    taken_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    defect_detected INTEGER NOT NULL CHECK (defect_detected IN (0, 1)),
    -- The prediction as its sender wrote it, JSON.
    body TEXT NOT NULL
) STRICT;

-- Pages go from the newest back, over everything or over one device, model or the defects alone.
CREATE INDEX predictions_by_time ON predictions (taken_at);
CREATE INDEX predictions_by_device ON predictions (edge_device_id, taken_at);
CREATE INDEX predictions_by_model ON predictions (model_name, taken_at);
CREATE INDEX predictions_with_defect ON predictions (taken_at) WHERE defect_detected = 1;

-- One row, overwritten in place: proves that the file can be written without making it grow.
CREATE TABLE write_probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    written_at INTEGER NOT NULL
) STRICT;

INSERT INTO write_probe (id, written_at) VALUES (1, 0);

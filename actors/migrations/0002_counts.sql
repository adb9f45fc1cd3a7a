-- What is counted, so that nobody has to read ten million rows to know how many there are. A row's
-- latency is the number of its bucket; it is null in rows of before, until they have been counted.
ALTER TABLE predictions ADD COLUMN latency INTEGER;
-- Whether the key is made of a name that the sender gave.
ALTER TABLE predictions ADD COLUMN named INTEGER NOT NULL DEFAULT 0;
-- What the model is surest of and how sure, in twentieths; null where it found nothing.
ALTER TABLE predictions ADD COLUMN class TEXT;
ALTER TABLE predictions ADD COLUMN confidence INTEGER;

-- An index for each set of filters, so that the first page of any is found at its place.
CREATE INDEX predictions_by_device_and_model ON predictions (edge_device_id, model_name, taken_at);
CREATE INDEX predictions_with_defect_by_device ON predictions (edge_device_id, taken_at)
    WHERE defect_detected = 1;
CREATE INDEX predictions_with_defect_by_model ON predictions (model_name, taken_at)
    WHERE defect_detected = 1;
CREATE INDEX predictions_with_defect_by_device_and_model
    ON predictions (edge_device_id, model_name, taken_at) WHERE defect_detected = 1;

-- Counts that change in the transactions that change the rows: always as if they were made anew.
CREATE TABLE rollup_models (
    model_name TEXT PRIMARY KEY,
    total INTEGER NOT NULL,
    defects INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_devices (
    edge_device_id TEXT PRIMARY KEY,
    total INTEGER NOT NULL,
    defects INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- By the hour of the prediction's own time, counted since 1970.
CREATE TABLE rollup_hours (
    hour INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,
    defects INTEGER NOT NULL
) STRICT;

CREATE TABLE rollup_latencies (
    model_name TEXT NOT NULL,
    latency INTEGER NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (model_name, latency)
) STRICT, WITHOUT ROWID;

-- What models said, by ten minutes since 1970; counted while drift is watched, and forgotten when
-- it is of no more use for that.
CREATE TABLE drift_classes (
    model_name TEXT NOT NULL,
    slot INTEGER NOT NULL,
    class TEXT NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (model_name, slot, class)
) STRICT, WITHOUT ROWID;

CREATE TABLE drift_confidences (
    model_name TEXT NOT NULL,
    slot INTEGER NOT NULL,
    confidence INTEGER NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (model_name, slot, confidence)
) STRICT, WITHOUT ROWID;

-- Rows that a sink will never take, kept for a person to look at.
CREATE TABLE refused (
    seq INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    edge_device_id TEXT NOT NULL,
    refused_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- Every prediction, parted by the day of its own time. Partitions of single days are made as they are
-- needed; what lies too far from the present goes to the last one, so that no clock that is wrong can
-- make thousands of them.

-- A transaction takes one number and counts on from there, so that rows are numbered in their order.
CREATE SEQUENCE prediction_seq INCREMENT BY 65536;

CREATE TABLE predictions (
    -- Orders rows that share an instant.
    seq bigint NOT NULL,
    -- What makes two predictions the same one: a hash of the sender's id, or of what it is about.
    key bytea NOT NULL,
    -- The prediction's own time, to the millisecond, and the time at which it was logged.
    taken_at timestamptz NOT NULL,
    logged_at timestamptz NOT NULL,
    edge_device_id text NOT NULL,
    model_name text NOT NULL,
    model_version text NOT NULL,
    defect_detected boolean NOT NULL,
    -- Whether the sender gave the prediction an id.
    named boolean NOT NULL,
    -- The number of the bucket of its latency: it took up to 1.04^latency milliseconds.
    latency smallint NOT NULL,
    -- What the model is surest of and how sure, in twentieths; null where it found nothing.
    class text,
    confidence smallint,
    -- The prediction as its sender wrote it.
    body json NOT NULL,
    -- The time first: keys made of ids are scattered, and a transaction should write few pages.
    PRIMARY KEY (taken_at, key)
) PARTITION BY RANGE (taken_at);

CREATE TABLE predictions_other PARTITION OF predictions DEFAULT;

-- An index for each set of filters, in the order of the pages.
CREATE INDEX predictions_by_time ON predictions (taken_at, seq);
CREATE INDEX predictions_by_device ON predictions (edge_device_id, taken_at, seq);
CREATE INDEX predictions_by_model ON predictions (model_name, taken_at, seq);
CREATE INDEX predictions_by_device_and_model
    ON predictions (edge_device_id, model_name, taken_at, seq);
CREATE INDEX predictions_with_defect ON predictions (taken_at, seq) WHERE defect_detected;
CREATE INDEX predictions_with_defect_by_device ON predictions (edge_device_id, taken_at, seq)
    WHERE defect_detected;
CREATE INDEX predictions_with_defect_by_model ON predictions (model_name, taken_at, seq)
    WHERE defect_detected;
CREATE INDEX predictions_with_defect_by_device_and_model
    ON predictions (edge_device_id, model_name, taken_at, seq) WHERE defect_detected;

-- Days of their own are removed whole; the rest goes by the time at which it was logged.
CREATE INDEX predictions_other_by_logged_at ON predictions_other (logged_at);

-- The keys of predictions that have an id: one that comes again may say another time, and then no
-- constraint of a table that is parted by time would notice. A key stays at least as long as its row.
CREATE TABLE prediction_names (
    key bytea PRIMARY KEY,
    -- The later of the days of its own time and of its logging.
    day date NOT NULL
);
CREATE INDEX prediction_names_by_day ON prediction_names (day);

-- Counts that change in the transactions that change the rows: always as if they were made anew.
CREATE TABLE rollup_models (
    model_name text PRIMARY KEY,
    total bigint NOT NULL,
    defects bigint NOT NULL
);

CREATE TABLE rollup_devices (
    edge_device_id text PRIMARY KEY,
    total bigint NOT NULL,
    defects bigint NOT NULL
);

CREATE TABLE rollup_hours (
    hour timestamptz PRIMARY KEY,
    total bigint NOT NULL,
    defects bigint NOT NULL
);

CREATE TABLE rollup_latencies (
    model_name text NOT NULL,
    latency smallint NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (model_name, latency)
);

-- The same by the day of the prediction's own time, so that a day can be taken away from the counts
-- without being read.
CREATE TABLE rollup_models_by_day (
    model_name text NOT NULL,
    day date NOT NULL,
    total bigint NOT NULL,
    defects bigint NOT NULL,
    PRIMARY KEY (model_name, day)
);
CREATE INDEX rollup_models_by_day_alone ON rollup_models_by_day (day);

CREATE TABLE rollup_devices_by_day (
    edge_device_id text NOT NULL,
    day date NOT NULL,
    total bigint NOT NULL,
    defects bigint NOT NULL,
    PRIMARY KEY (edge_device_id, day)
);
CREATE INDEX rollup_devices_by_day_alone ON rollup_devices_by_day (day);

CREATE TABLE rollup_latencies_by_day (
    model_name text NOT NULL,
    latency smallint NOT NULL,
    day date NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (day, model_name, latency)
);

-- What models said, by ten minutes since 1970; counted while drift is watched, and forgotten when
-- it is of no more use for that.
CREATE TABLE drift_classes (
    model_name text NOT NULL,
    slot bigint NOT NULL,
    class text NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (model_name, slot, class)
);

CREATE TABLE drift_confidences (
    model_name text NOT NULL,
    slot bigint NOT NULL,
    confidence smallint NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (model_name, slot, confidence)
);

-- The last day that has been removed, by age or by size; what was logged up to then goes as well.
CREATE TABLE prediction_retention (
    id smallint PRIMARY KEY CHECK (id = 1),
    removed_through date
);
INSERT INTO prediction_retention (id) VALUES (1);

//! Counts that change with the rows.
//!
//! **Invariant:** at every commit the counts are what counting all rows would give. What is added or
//! taken away is added up here, from the rows that the database said it inserted or deleted, and
//! goes into the tables of counts in the same transaction. A day that goes whole takes its share
//! with it without being read: the counts by day know it.
//!
//! Whoever changes counts holds [their lock](lock), so that no two transactions wait for each other.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Postgres, Transaction};

use super::super::query::Stats;
use super::values::{Day, Instant};

/// What of a row is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted<'a> {
    pub(super) model: &'a str,
    pub(super) device: &'a str,
    /// In milliseconds since 1970.
    pub(super) taken_at: i64,
    pub(super) defect: bool,
    pub(super) latency: i16,
}

/// What of a row tells drift.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) model: &'a str,
    /// In milliseconds since 1970.
    pub(super) logged_at: i64,
    pub(super) class: Option<&'a str>,
    pub(super) confidence: Option<i64>,
}

/// Predictions and, of these, defects.
type Totals = (i64, i64);

/// By how much the counts change.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    models: BTreeMap<(&'a str, Day), Totals>,
    devices: BTreeMap<(&'a str, Day), Totals>,
    hours: BTreeMap<i64, Totals>,
    latencies: BTreeMap<(Day, &'a str, i16), i64>,
    classes: BTreeMap<(&'a str, i64, &'a str), i64>,
    confidences: BTreeMap<(&'a str, i64, i16), i64>,
}

/// The key of the lock of the counts; it has no meaning but being ours.
const COUNTS_LOCK: i64 = 0x696d_7065_7475_7302;

/// Length of the slots that drift is counted by, in milliseconds.
const SLOT_MILLIS: i64 = 600_000;

// === impl Changes ===

impl<'a> Changes<'a> {
    /// Counts a row in, or with −1 for `sign` out.
    pub(super) fn count(&mut self, row: Counted<'a>, sign: i64) {
        let Counted { model, device, .. } = row;
        let day = Day::of(row.taken_at);
        let hour = row.taken_at.div_euclid(Stats::HOUR_MILLIS) * Stats::HOUR_MILLIS;
        let defects = sign * i64::from(row.defect);
        for totals in [
            self.models.entry((model, day)).or_default(),
            self.devices.entry((device, day)).or_default(),
            self.hours.entry(hour).or_default(),
        ] {
            totals.0 += sign;
            totals.1 += defects;
        }
        *self.latencies.entry((day, model, row.latency)).or_default() += sign;
    }

    /// Counts what a model said.
    pub(super) fn say(&mut self, said: Said<'a>) {
        let slot = said.logged_at.div_euclid(SLOT_MILLIS);
        let class = said.class.unwrap_or_default();
        let confidence = said
            .confidence
            .and_then(|part| i16::try_from(part).ok())
            .unwrap_or(-1);
        *self.classes.entry((said.model, slot, class)).or_default() += 1;
        let counted = self.confidences.entry((said.model, slot, confidence));
        *counted.or_default() += 1;
    }

    /// Brings the changes into the tables. The transaction holds the lock of the counts from then on.
    pub(super) async fn apply(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
    ) -> Result<(), sqlx::Error> {
        lock(transaction).await?;
        apply_totals(transaction, &BY_MODEL, &self.models).await?;
        apply_totals(transaction, &BY_DEVICE, &self.devices).await?;
        self.apply_hours(transaction).await?;
        self.apply_latencies(transaction).await?;
        self.apply_drift(transaction).await
    }

    async fn apply_hours(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let hours: Vec<Instant> = self.hours.keys().copied().map(Instant).collect();
        let (totals, defects): (Vec<i64>, Vec<i64>) = self.hours.values().copied().unzip();
        sqlx::query(
            "INSERT INTO rollup_hours AS r (hour, total, defects) \
             SELECT * FROM unnest($1::timestamptz[], $2::bigint[], $3::bigint[]) \
             ON CONFLICT (hour) DO UPDATE SET total = r.total + excluded.total, \
             defects = r.defects + excluded.defects",
        )
        .bind(hours)
        .bind(totals)
        .bind(defects)
        .execute(connection)
        .await
        .map(drop)
    }

    async fn apply_latencies(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let days: Vec<Day> = self.latencies.keys().map(|key| key.0).collect();
        let models: Vec<&str> = self.latencies.keys().map(|key| key.1).collect();
        let latencies: Vec<i16> = self.latencies.keys().map(|key| key.2).collect();
        let totals: Vec<i64> = self.latencies.values().copied().collect();
        sqlx::query(
            "WITH change AS (SELECT * FROM unnest($1::date[], $2::text[], $3::smallint[], \
             $4::bigint[]) AS c (day, model_name, latency, total)), \
             by_day AS (INSERT INTO rollup_latencies_by_day AS r (day, model_name, latency, total) \
             SELECT day, model_name, latency, total FROM change \
             ON CONFLICT (day, model_name, latency) DO UPDATE SET total = r.total + excluded.total) \
             INSERT INTO rollup_latencies AS r (model_name, latency, total) \
             SELECT model_name, latency, sum(total) FROM change GROUP BY model_name, latency \
             ON CONFLICT (model_name, latency) DO UPDATE SET total = r.total + excluded.total",
        )
        .bind(days)
        .bind(models)
        .bind(latencies)
        .bind(totals)
        .execute(connection)
        .await
        .map(drop)
    }

    async fn apply_drift(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.classes.is_empty() {
            return Ok(());
        }
        let models: Vec<&str> = self.classes.keys().map(|key| key.0).collect();
        let slots: Vec<i64> = self.classes.keys().map(|key| key.1).collect();
        let classes: Vec<&str> = self.classes.keys().map(|key| key.2).collect();
        let totals: Vec<i64> = self.classes.values().copied().collect();
        sqlx::query(
            "INSERT INTO drift_classes AS d (model_name, slot, class, total) \
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) \
             ON CONFLICT (model_name, slot, class) DO UPDATE SET total = d.total + excluded.total",
        )
        .bind(models)
        .bind(slots)
        .bind(classes)
        .bind(totals)
        .execute(&mut *connection)
        .await?;
        let models: Vec<&str> = self.confidences.keys().map(|key| key.0).collect();
        let slots: Vec<i64> = self.confidences.keys().map(|key| key.1).collect();
        let parts: Vec<i16> = self.confidences.keys().map(|key| key.2).collect();
        let totals: Vec<i64> = self.confidences.values().copied().collect();
        sqlx::query(
            "INSERT INTO drift_confidences AS d (model_name, slot, confidence, total) \
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::bigint[]) \
             ON CONFLICT (model_name, slot, confidence) \
             DO UPDATE SET total = d.total + excluded.total",
        )
        .bind(models)
        .bind(slots)
        .bind(parts)
        .bind(totals)
        .execute(connection)
        .await
        .map(drop)
    }
}

/// Waits until nobody else changes the counts; the lock is given back with the transaction.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(COUNTS_LOCK)
        .execute(connection)
        .await
        .map(drop)
}

/// The statements for counts of one kind of group.
struct Totalled {
    apply: &'static str,
}

const BY_MODEL: Totalled = Totalled {
    apply: "WITH change AS (SELECT * FROM unnest($1::text[], $2::date[], $3::bigint[], $4::bigint[]) \
            AS c (model_name, day, total, defects)), \
            by_day AS (INSERT INTO rollup_models_by_day AS r (model_name, day, total, defects) \
            SELECT model_name, day, total, defects FROM change \
            ON CONFLICT (model_name, day) DO UPDATE SET total = r.total + excluded.total, \
            defects = r.defects + excluded.defects) \
            INSERT INTO rollup_models AS r (model_name, total, defects) \
            SELECT model_name, sum(total), sum(defects) FROM change GROUP BY model_name \
            ON CONFLICT (model_name) DO UPDATE SET total = r.total + excluded.total, \
            defects = r.defects + excluded.defects",
};

const BY_DEVICE: Totalled = Totalled {
    apply: "WITH change AS (SELECT * FROM unnest($1::text[], $2::date[], $3::bigint[], $4::bigint[]) \
            AS c (edge_device_id, day, total, defects)), \
            by_day AS (INSERT INTO rollup_devices_by_day AS r (edge_device_id, day, total, defects) \
            SELECT edge_device_id, day, total, defects FROM change \
            ON CONFLICT (edge_device_id, day) DO UPDATE SET total = r.total + excluded.total, \
            defects = r.defects + excluded.defects) \
            INSERT INTO rollup_devices AS r (edge_device_id, total, defects) \
            SELECT edge_device_id, sum(total), sum(defects) FROM change GROUP BY edge_device_id \
            ON CONFLICT (edge_device_id) DO UPDATE SET total = r.total + excluded.total, \
            defects = r.defects + excluded.defects",
};

async fn apply_totals(
    connection: &mut PgConnection,
    kind: &Totalled,
    changes: &BTreeMap<(&str, Day), Totals>,
) -> Result<(), sqlx::Error> {
    let names: Vec<&str> = changes.keys().map(|key| key.0).collect();
    let days: Vec<Day> = changes.keys().map(|key| key.1).collect();
    let (totals, defects): (Vec<i64>, Vec<i64>) = changes.values().copied().unzip();
    sqlx::query(kind.apply)
        .bind(names)
        .bind(days)
        .bind(totals)
        .bind(defects)
        .execute(connection)
        .await
        .map(drop)
}

/// Takes a whole day away from the counts and returns how many predictions it had. The transaction
/// holds the lock of the counts from then on.
pub(super) async fn take_day_away(
    connection: &mut PgConnection,
    day: Day,
) -> Result<u64, sqlx::Error> {
    lock(&mut *connection).await?;
    let predictions: Option<i64> =
        sqlx::query_scalar("SELECT sum(total)::bigint FROM rollup_models_by_day WHERE day = $1")
            .bind(day)
            .fetch_one(&mut *connection)
            .await?;
    for sql in [
        "WITH gone AS (DELETE FROM rollup_models_by_day WHERE day = $1 \
         RETURNING model_name, total, defects) \
         UPDATE rollup_models AS r SET total = r.total - gone.total, \
         defects = r.defects - gone.defects FROM gone WHERE r.model_name = gone.model_name",
        "WITH gone AS (DELETE FROM rollup_devices_by_day WHERE day = $1 \
         RETURNING edge_device_id, total, defects) \
         UPDATE rollup_devices AS r SET total = r.total - gone.total, \
         defects = r.defects - gone.defects FROM gone \
         WHERE r.edge_device_id = gone.edge_device_id",
        "WITH gone AS (DELETE FROM rollup_latencies_by_day WHERE day = $1 \
         RETURNING model_name, latency, total) \
         UPDATE rollup_latencies AS r SET total = r.total - gone.total FROM gone \
         WHERE r.model_name = gone.model_name AND r.latency = gone.latency",
    ] {
        sqlx::query(sql).bind(day).execute(&mut *connection).await?;
    }
    sqlx::query("DELETE FROM rollup_hours WHERE hour >= $1 AND hour < $2")
        .bind(day.begins())
        .bind(day.ends())
        .execute(&mut *connection)
        .await?;
    forget_empty(connection).await?;
    Ok(predictions.unwrap_or_default().unsigned_abs())
}

/// Removes groups without a row.
pub(super) async fn forget_empty(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for sql in [
        "DELETE FROM rollup_models WHERE total <= 0",
        "DELETE FROM rollup_devices WHERE total <= 0",
        "DELETE FROM rollup_hours WHERE total <= 0",
        "DELETE FROM rollup_latencies WHERE total <= 0",
        "DELETE FROM rollup_models_by_day WHERE total <= 0",
        "DELETE FROM rollup_devices_by_day WHERE total <= 0",
        "DELETE FROM rollup_latencies_by_day WHERE total <= 0",
    ] {
        sqlx::query(sql).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Forgets what drift was told from before `slot`.
pub(super) async fn forget_drift(
    connection: &mut PgConnection,
    slot: i64,
) -> Result<(), sqlx::Error> {
    for sql in [
        "DELETE FROM drift_classes WHERE slot < $1",
        "DELETE FROM drift_confidences WHERE slot < $1",
    ] {
        sqlx::query(sql)
            .bind(slot)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

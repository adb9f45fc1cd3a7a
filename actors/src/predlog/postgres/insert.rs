//! Writing rows.
//!
//! One transaction takes many rows, as arrays: a statement costs a trip to the server whatever it
//! carries. What was new is what the database returns from the inserts, and only that is counted.
//!
//! A row without an id of its sender's is told by its key and its time, for the time is in the key.
//! One with an id may come again with another time, so its key is claimed first in a table that is
//! not parted by time; who does not get it has no new row.
//!
//! **Invariant:** two transactions never wait for each other in a circle: keys are claimed and rows
//! inserted in the order of their keys, and the counts come last.

use std::collections::{BTreeMap, HashSet};

use sqlx::{Connection, PgConnection};

use super::super::row::Landed;
use super::partitions::BEGIN_WRITING;
use super::rollups::{Changes, Counted, Said};
use super::values::{Day, Instant, JsonText};

/// Rows by their keys, the first of each, with their places in the batch.
type ByKey<'a> = BTreeMap<&'a [u8], (i64, &'a Landed)>;

/// The most rows of one transaction: so many numbers it takes.
pub(super) const MOST_ROWS: usize = 65_536;

/// Writes those of `rows` that are not there yet, and counts them; when this returns they are durable.
pub(super) async fn write(
    connection: &mut PgConnection,
    rows: &[Landed],
    drift: bool,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    let mut by_key = ByKey::new();
    for (place, landed) in (0..).zip(rows) {
        by_key
            .entry(landed.row.key.as_bytes().as_slice())
            .or_insert((place, landed));
    }
    claim_names(&mut transaction, &mut by_key).await?;
    let inserted = insert(&mut transaction, &by_key).await?;
    if !inserted.is_empty() {
        let mut changes = Changes::default();
        for key in &inserted {
            if let Some((_, landed)) = by_key.get(key.as_slice()) {
                count(&mut changes, landed, drift);
            }
        }
        changes.apply(&mut transaction).await?;
    }
    transaction.commit().await
}

/// Claims the keys that are made of ids, and leaves those rows out whose keys are taken.
async fn claim_names(
    connection: &mut PgConnection,
    by_key: &mut ByKey<'_>,
) -> Result<(), sqlx::Error> {
    let named: Vec<_> = by_key
        .iter()
        .filter(|(_, (_, landed))| landed.row.named)
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    let keys: Vec<&[u8]> = named.iter().map(|(key, _)| **key).collect();
    let days: Vec<Day> = named
        .iter()
        .map(|(_, (_, landed))| Day::of(landed.row.taken_at).max(Day::of(landed.created_at)))
        .collect();
    let claimed: Vec<Vec<u8>> = sqlx::query_scalar(
        "INSERT INTO prediction_names (key, day) SELECT * FROM unnest($1::bytea[], $2::date[]) \
         ON CONFLICT DO NOTHING RETURNING key",
    )
    .bind(&keys)
    .bind(days)
    .fetch_all(connection)
    .await?;
    if claimed.len() < keys.len() {
        let claimed: HashSet<&[u8]> = claimed.iter().map(Vec::as_slice).collect();
        by_key.retain(|key, (_, landed)| !landed.row.named || claimed.contains(key));
    }
    Ok(())
}

/// Inserts rows and returns the keys of those that were new.
async fn insert(
    connection: &mut PgConnection,
    by_key: &ByKey<'_>,
) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    if by_key.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<&[u8]> = by_key.keys().copied().collect();
    let rows = by_key.values().map(|(_, landed)| &landed.row);
    let logged = by_key.values().map(|(_, it)| Instant(it.created_at));
    let small = |number: i64| i16::try_from(number).unwrap_or(i16::MAX);
    sqlx::query_scalar(
        "INSERT INTO predictions (seq, key, taken_at, logged_at, edge_device_id, model_name, \
         model_version, defect_detected, named, latency, class, confidence, body) \
         SELECT (SELECT nextval('prediction_seq')) + place, key, taken_at, logged_at, device, \
         model, version, defect, named, latency, class, confidence, body \
         FROM unnest($1::bigint[], $2::bytea[], $3::timestamptz[], $4::timestamptz[], $5::text[], \
         $6::text[], $7::text[], $8::boolean[], $9::boolean[], $10::smallint[], $11::text[], \
         $12::smallint[], $13::json[]) AS r (place, key, taken_at, logged_at, device, model, \
         version, defect, named, latency, class, confidence, body) \
         ON CONFLICT DO NOTHING RETURNING key",
    )
    .bind(column(by_key.values().map(|(place, _)| *place)))
    .bind(keys)
    .bind(column(rows.clone().map(|row| Instant(row.taken_at))))
    .bind(column(logged))
    .bind(column(rows.clone().map(|row| &*row.device)))
    .bind(column(rows.clone().map(|row| &*row.model_name)))
    .bind(column(rows.clone().map(|row| &*row.model_version)))
    .bind(column(rows.clone().map(|row| row.defect_detected)))
    .bind(column(rows.clone().map(|row| row.named)))
    .bind(column(rows.clone().map(|row| small(row.latency.number()))))
    .bind(column(rows.clone().map(|row| row.class.as_deref())))
    .bind(column(rows.clone().map(|row| row.confidence.map(small))))
    .bind(column(rows.map(|row| JsonText(&row.body))))
    .fetch_all(connection)
    .await
}

fn column<T>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.collect()
}

fn count<'a>(changes: &mut Changes<'a>, landed: &'a Landed, drift: bool) {
    let row = &landed.row;
    let counted = Counted {
        model: &row.model_name,
        device: &row.device,
        taken_at: row.taken_at,
        defect: row.defect_detected,
        latency: i16::try_from(row.latency.number()).unwrap_or(i16::MAX),
    };
    changes.count(counted, 1);
    if drift {
        changes.say(Said {
            model: &row.model_name,
            logged_at: landed.created_at,
            class: row.class.as_deref(),
            confidence: row.confidence,
        });
    }
}

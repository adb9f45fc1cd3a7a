//! Reading from PostgreSQL.
//!
//! A page of all days would make the server look into hundreds of partitions, so it is put together
//! from some days at a time, the newest first: the counts by day tell which days have anything that
//! may be shown. The first look takes few days, for most pages end there, and each further one more.
//!
//! A reading has a deadline from its first step, and so has each statement of it on the server, which
//! does not notice for long that nobody waits any more.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection, Postgres, QueryBuilder, Row as _};
use tokio::time::timeout;

use super::super::config::{PostgresSettings, PredictionLogConfig};
use super::super::counts::Counts;
use super::super::error::ReadError;
use super::super::page::logged;
use super::super::query::{Cursor, Page, Query, Stats};
use super::connections::Connections;
use super::server::Server;
use super::values::{Day, Instant};

/// Reads pages and counts; shared by everybody who reads.
#[derive(Debug)]
pub(crate) struct PostgresReader {
    server: Server,
    connections: Connections,
    within: Duration,
    page_bytes: usize,
}

/// A page while it is put together.
struct Filling<'a> {
    query: &'a Query,
    limit: usize,
    most_bytes: usize,
    page: Page,
    last: Option<Cursor>,
    bytes: usize,
}

/// Where the next look ends: before this, in milliseconds since 1970, and after the cursor.
#[derive(Clone, Copy, Debug)]
struct Place {
    before: Option<i64>,
    cursor: Option<Cursor>,
}

/// Days of the first look, by how much each look is larger than the one before, and the largest.
const FIRST_LOOK: i64 = 4;
const LOOK_GROWS: i64 = 4;
const LARGEST_LOOK: i64 = 64;

/// What keeps a database from having been filled yet.
const NO_TABLES: &str = "42P01";

// === impl PostgresReader ===

impl PostgresReader {
    /// Returns a reader that connects when it is first asked.
    pub(crate) fn new(config: &PredictionLogConfig, settings: &PostgresSettings) -> Self {
        Self {
            server: Server::new(settings, config.read_within),
            connections: Connections::new(config.readers),
            within: config.read_within,
            page_bytes: config.page_bytes,
        }
    }

    /// Returns one page of predictions.
    pub(crate) async fn predictions(&self, query: &Query) -> Result<Page, ReadError> {
        let mut filling = Filling {
            query,
            limit: query.checked_limit()? as usize,
            most_bytes: self.page_bytes,
            page: Page {
                predictions: Vec::new(),
                next_cursor: None,
            },
            last: None,
            bytes: 0,
        };
        let cursor = query.checked_cursor()?;
        self.bounded(async {
            let mut reading = self.connections.take(&self.server).await?;
            self.fill(&mut reading.connection, &mut filling, cursor)
                .await?;
            self.connections.give_back(reading);
            Ok(filling.page)
        })
        .await
    }

    /// Returns what has been counted.
    pub(crate) async fn stats(&self) -> Result<Stats, ReadError> {
        self.bounded(async {
            let mut reading = self.connections.take(&self.server).await?;
            let counts = counts(&mut reading.connection)
                .await
                .map_err(|error| self.failed(&error))?;
            self.connections.give_back(reading);
            Ok(counts.into())
        })
        .await
    }

    async fn fill(
        &self,
        connection: &mut PgConnection,
        filling: &mut Filling<'_>,
        cursor: Option<Cursor>,
    ) -> Result<(), ReadError> {
        let to = filling.query.to.map(|to| to.unix_millis());
        let mut place = Place {
            before: cursor.map_or(to, |cursor| {
                let next = cursor.taken_at.saturating_add(1);
                Some(to.map_or(next, |to| to.min(next)))
            }),
            cursor,
        };
        let mut look = FIRST_LOOK;
        loop {
            let days = days(connection, filling.query, place, look)
                .await
                .map_err(|error| self.failed(&error))?;
            let Some(oldest) = days.last().copied() else {
                return Ok(());
            };
            let select = select_part(filling, place, oldest);
            if self.read_part(connection, filling, select).await? {
                return Ok(());
            }
            // What the cursor left out lies before this now.
            place = Place {
                before: Some(oldest.begins().0),
                cursor: None,
            };
            look = (look * LOOK_GROWS).min(LARGEST_LOOK);
        }
    }

    /// Adds the rows of some days to the page; returns whether it is full.
    async fn read_part(
        &self,
        connection: &mut PgConnection,
        filling: &mut Filling<'_>,
        mut select: QueryBuilder<Postgres>,
    ) -> Result<bool, ReadError> {
        let mut rows = select.build().fetch(connection);
        while let Some(row) = rows.try_next().await.map_err(|error| self.failed(&error))? {
            if filling.is_full() {
                let next = filling.last.map(|cursor| cursor.to_string());
                filling.page.next_cursor = next;
                return Ok(true);
            }
            let place = Cursor {
                taken_at: row.try_get::<Instant, _>(2)?.0,
                seq: row.try_get(0)?,
            };
            let logged_at: Instant = row.try_get(3)?;
            let body: String = row.try_get(4)?;
            filling.bytes += body.len();
            filling.last = Some(place);
            let row = (
                place.seq,
                row.try_get(1)?,
                place.taken_at,
                logged_at.0,
                body,
            );
            filling.page.predictions.push(logged(row)?);
        }
        Ok(false)
    }

    async fn bounded<T>(
        &self,
        reading: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        timeout(self.within, reading).await.unwrap_or_else(|_| {
            Err(ReadError::unavailable(format_args!(
                "PostgreSQL at {} gave no answer within {:?}",
                self.server.name.address, self.within
            )))
        })
    }

    fn failed(&self, error: &sqlx::Error) -> ReadError {
        let code = error.as_database_error().and_then(|error| error.code());
        if code.as_deref() == Some(NO_TABLES) {
            return ReadError::unavailable("nothing has been written to PostgreSQL yet");
        }
        ReadError::unavailable(self.server.name.error("reading", error))
    }
}

// === impl Filling ===

impl Filling<'_> {
    fn is_full(&self) -> bool {
        self.page.predictions.len() == self.limit || self.bytes > self.most_bytes
    }
}

/// Returns the newest days before a place that may have something to show.
async fn days(
    connection: &mut PgConnection,
    query: &Query,
    place: Place,
    most: i64,
) -> Result<Vec<Day>, sqlx::Error> {
    // Which table is asked decides what is left out: with both filters, days of the device.
    let mut select = QueryBuilder::<Postgres>::new("SELECT DISTINCT day FROM ");
    match (&query.edge_device_id, &query.model) {
        (Some(device), _) => select
            .push("rollup_devices_by_day WHERE edge_device_id = ")
            .push_bind(device.clone()),
        (None, Some(model)) => select
            .push("rollup_models_by_day WHERE model_name = ")
            .push_bind(model.clone()),
        (None, None) => select.push("rollup_models_by_day WHERE true"),
    };
    if query.defect_only {
        select.push(" AND defects > 0");
    }
    if let Some(before) = place.before {
        // The day of the last instant before it.
        select
            .push(" AND day <= ")
            .push_bind(Day::of(before.saturating_sub(1)));
    }
    if let Some(from) = query.from {
        select
            .push(" AND day >= ")
            .push_bind(Day::of(from.unix_millis()));
    }
    select.push(" ORDER BY day DESC LIMIT ").push_bind(most);
    select.build_query_scalar().fetch_all(connection).await
}

/// Returns the statement for rows of the days from `oldest` on that come before a place.
fn select_part(filling: &Filling<'_>, place: Place, oldest: Day) -> QueryBuilder<Postgres> {
    let query = filling.query;
    let from = query.from.map_or(i64::MIN, |from| from.unix_millis());
    let mut select = QueryBuilder::new(
        "SELECT seq, edge_device_id, taken_at, logged_at, body::text FROM predictions \
         WHERE taken_at >= ",
    );
    select.push_bind(Instant(oldest.begins().0.max(from)));
    if let Some(before) = place.before {
        select.push(" AND taken_at < ").push_bind(Instant(before));
    }
    if let Some(device) = &query.edge_device_id {
        select
            .push(" AND edge_device_id = ")
            .push_bind(device.clone());
    }
    if let Some(model) = &query.model {
        select.push(" AND model_name = ").push_bind(model.clone());
    }
    if query.defect_only {
        select.push(" AND defect_detected");
    }
    if let Some(cursor) = place.cursor {
        select
            .push(" AND (taken_at, seq) < (")
            .push_bind(Instant(cursor.taken_at));
        select.push(", ").push_bind(cursor.seq).push(")");
    }
    // One more than there is room for tells whether there is a next page.
    let room = filling.limit - filling.page.predictions.len() + 1;
    select
        .push(" ORDER BY taken_at DESC, seq DESC LIMIT ")
        .push_bind(i64::try_from(room).unwrap_or(i64::MAX));
    select
}

async fn counts(connection: &mut PgConnection) -> Result<Counts, sqlx::Error> {
    // One state of the database for all of the counts.
    let mut snapshot = connection
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let latencies =
        sqlx::query_as("SELECT model_name, latency::bigint, total FROM rollup_latencies")
            .fetch_all(&mut *snapshot)
            .await?;
    let models = sqlx::query_as("SELECT model_name, total, defects FROM rollup_models")
        .fetch_all(&mut *snapshot)
        .await?;
    let devices = sqlx::query_as("SELECT edge_device_id, total, defects FROM rollup_devices")
        .fetch_all(&mut *snapshot)
        .await?;
    let hours: Vec<(Instant, i64, i64)> =
        sqlx::query_as("SELECT hour, total, defects FROM rollup_hours ORDER BY hour DESC LIMIT $1")
            .bind(i64::try_from(Stats::MAX_HOURS).unwrap_or(i64::MAX))
            .fetch_all(&mut *snapshot)
            .await?;
    let hour = |(hour, total, defects): (Instant, i64, i64)| {
        (hour.0.div_euclid(Stats::HOUR_MILLIS), total, defects)
    };
    snapshot.commit().await?;
    let span = span(connection).await?;
    Ok(Counts {
        latencies,
        models,
        devices,
        hours: hours.into_iter().map(hour).collect(),
        span,
    })
}

/// Returns the times of the oldest and the newest row: looked for in the days that have them.
async fn span(connection: &mut PgConnection) -> Result<(Option<i64>, Option<i64>), sqlx::Error> {
    let days: (Option<Day>, Option<Day>) =
        sqlx::query_as("SELECT min(day), max(day) FROM rollup_models_by_day")
            .fetch_one(&mut *connection)
            .await?;
    let (Some(first), Some(last)) = days else {
        return Ok((None, None));
    };
    let mut ends = [None, None];
    for (end, day, sql) in [
        (
            0,
            first,
            "SELECT min(taken_at) FROM predictions WHERE taken_at >= $1 AND taken_at < $2",
        ),
        (
            1,
            last,
            "SELECT max(taken_at) FROM predictions WHERE taken_at >= $1 AND taken_at < $2",
        ),
    ] {
        let found: Option<Instant> = sqlx::query_scalar(sql)
            .bind(day.begins())
            .bind(day.ends())
            .fetch_one(&mut *connection)
            .await?;
        ends[end] = found.map(|found| found.0);
    }
    Ok((ends[0], ends[1]))
}

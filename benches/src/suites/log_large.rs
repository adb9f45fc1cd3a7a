//! A prediction log that has grown: whether its counts and every first page still come at once, and
//! whether the server's memory stays what it was, however much is read.
//!
//! Every set of filters is asked for with values that are easy and with values that are hard: the
//! device that has no defect, the model that has few predictions, a range at the old end. What a
//! set costs is what its worst values cost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::http::{self, Connection};
use crate::landing::{self, Landed, Landing};
use crate::process::status;
use crate::report::{Report, Table, Verdict, say};
use crate::server::{Places, Server};
use crate::stats::{Spread, percentile, sorted};

const ROWS: u64 = 10_000_000;
/// The time over which they were made.
const SPAN: Duration = Duration::from_secs(60 * 86_400);
/// Requests of each kind.
const REQUESTS: usize = 200;
/// Predictions that are paged through.
const PAGED: usize = 200_000;
/// The promises.
const MOST_STATS_MS: f64 = 50.0;
const MOST_PAGE_MS: f64 = 50.0;
const MOST_GROWTH_MIB: f64 = 32.0;

/// Filters, each with its values; nothing for one that is not used.
type Filter = (&'static str, [Option<String>; 3]);

/// The worst that was found for a set of filters.
#[derive(Debug, Clone)]
struct Worst {
    filters: String,
    query: String,
    p50: f64,
    p99: f64,
}

pub(super) fn run(places: &Places, rows: Option<u64>) -> anyhow::Result<Report> {
    let mut report = Report::new("log-large");
    let rows = rows.unwrap_or(ROWS);
    let folder = tempfile::tempdir()?;
    let landing = Landing {
        rows,
        span: SPAN,
        named: false,
    };
    let landed = landing.fill(folder.path())?;
    let gib = landed.bytes as f64 / f64::from(1 << 30);
    let seconds = landed.seconds;
    let rate = report.figure("fill.rows_per_second", Spread::of([rows as f64 / seconds])?);
    let filled = format!(
        "{rows} predictions were logged in {seconds:.0} s by the writer alone, {:.0} a second; \
         the file has {gib:.2} GiB",
        rate.median
    );
    say(&format!("    {filled}"));
    report.note(filled);
    let data = format!("{:?}", folder.path().display().to_string());
    let server = places.start_log(&[("data.dir", &data)])?;
    let fresh = resident(&server)?;
    stats(&server, rows, &mut report)?;
    pages(&server, &landed, &mut report)?;
    memory(&server, rows, fresh, &mut report)?;
    Ok(report)
}

fn stats(server: &Server, rows: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut connection = Connection::open(server.port)?;
    let answer = connection.exchange(&http::get("/stats"))?;
    let counted: Value = serde_json::from_slice(&answer.body)?;
    ensure!(
        counted["total"] == rows,
        "the counts are those of another log"
    );
    let times = ask(&mut connection, "/stats")?;
    let p99 = percentile(&times, 99.0).unwrap_or_default();
    let times = report.figure("stats.ms", Spread::of(times)?);
    report.verdict(Verdict::new(
        "/stats: p99 under 50 ms",
        Some(format!("p50 {:.2} ms, p99 {p99:.2} ms", times.median)),
        Some(p99 < MOST_STATS_MS),
    ));
    Ok(())
}

fn pages(server: &Server, landed: &Landed, report: &mut Report) -> anyhow::Result<()> {
    let mut connection = Connection::open(server.port)?;
    let filters = filters(landed)?;
    let mut table = Table::new(
        format!(
            "First page of /predictions, {REQUESTS} requests each, the worst values of each set"
        ),
        ["filters", "p50 ms", "p99 ms", "values"],
    );
    let mut worst: Option<Worst> = None;
    for set in 0..1_usize << filters.len() {
        let found = worst_of(&mut connection, &filters, set)?;
        report.figure(
            format!("page.{}.p99_ms", found.filters),
            Spread::of([found.p99])?,
        );
        table.row([
            found.filters.clone(),
            format!("{:.2}", found.p50),
            format!("{:.2}", found.p99),
            found.query.clone(),
        ]);
        if worst.as_ref().is_none_or(|worst| worst.p99 < found.p99) {
            worst = Some(found);
        }
    }
    report.table(table);
    let worst = worst.context("nothing was asked")?;
    report.verdict(Verdict::new(
        "the worst first page of all sets of filters: p99 under 50 ms",
        Some(format!("p99 {:.2} ms: {}", worst.p99, worst.query)),
        Some(worst.p99 < MOST_PAGE_MS),
    ));
    Ok(())
}

fn filters(landed: &Landed) -> anyhow::Result<[Filter; 5]> {
    const HOUR: i64 = 3_600_000;
    let at = |millis: i64| {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)?;
        anyhow::Ok(Some(time.format(&Rfc3339)?))
    };
    let Landed { begins, ends, .. } = *landed;
    let flawless = landing::device(landing::DEVICES - 1);
    Ok([
        (
            "edge_device_id",
            [Some(flawless), Some(landing::device(0)), None],
        ),
        ("defect_only", [Some("true".to_owned()), None, None]),
        (
            "model",
            [Some(landing::rare_model()), Some(landing::model(0)), None],
        ),
        ("from", [at(begins)?, at(ends - HOUR)?, None]),
        ("to", [at(begins + HOUR)?, at(ends)?, None]),
    ])
}

/// Asks with all values of the filters in `set`, whose bits are their places.
fn worst_of(connection: &mut Connection, filters: &[Filter], set: usize) -> anyhow::Result<Worst> {
    let used = filters.iter().enumerate();
    let used = used.filter(|(place, _)| set & (1 << place) != 0);
    let mut queries = vec![String::new()];
    let mut names = Vec::new();
    for (_, (name, values)) in used {
        names.push(*name);
        let with = |query: &String| {
            let values = values.iter().flatten();
            let query = query.clone();
            values.map(move |value| format!("{query}&{name}={value}"))
        };
        queries = queries.iter().flat_map(with).collect();
    }
    let mut worst: Option<Worst> = None;
    for query in queries {
        let query = query.trim_start_matches('&').to_owned();
        let times = ask(connection, &format!("/predictions?{query}"))?;
        let at = |percent| percentile(&times, percent).unwrap_or_default();
        if worst.as_ref().is_none_or(|worst| worst.p99 < at(99.0)) {
            worst = Some(Worst {
                filters: match names.is_empty() {
                    true => "none".to_owned(),
                    false => names.join("+"),
                },
                query,
                p50: at(50.0),
                p99: at(99.0),
            });
        }
    }
    worst.context("a set of filters without values")
}

/// Asks again and again; returns how long each answer took, in milliseconds, in ascending order.
fn ask(connection: &mut Connection, path: &str) -> anyhow::Result<Vec<f64>> {
    let request = http::get(path);
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let began = Instant::now();
        let answer = connection.exchange(&request)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(answer.status == 200, "{path}: {}", answer.status);
    }
    Ok(sorted(times))
}

fn memory(server: &Server, rows: u64, fresh: f64, report: &mut Report) -> anyhow::Result<()> {
    let asked = resident(server)?;
    let paged = page_through(server, rows)?;
    let after_pages = resident(server)?;
    let began = Instant::now();
    let (exported, bytes) = export(server)?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(
        exported == rows,
        "{exported} of {rows} predictions exported"
    );
    let rate = report.figure(
        "export.rows_per_second",
        Spread::of([rows as f64 / seconds])?,
    );
    report.note(format!(
        "/export?format=jsonl: {rows} predictions, {:.2} GiB, in {seconds:.0} s, {:.0} a second",
        bytes as f64 / f64::from(1 << 30),
        rate.median
    ));
    let exported = resident(server)?;
    let peak = status(server.pid(), "VmHWM:")? as f64 / 1024.0;
    let mut table = Table::new("Resident memory of the server: MiB", ["when", "MiB"]);
    for (when, name, mib) in [
        ("ready".to_owned(), "ready", fresh),
        (
            "after /stats and all first pages".to_owned(),
            "first_pages",
            asked,
        ),
        (
            format!("after {paged} predictions by cursor"),
            "paged",
            after_pages,
        ),
        ("after a whole export".to_owned(), "exported", exported),
        ("highest ever".to_owned(), "peak", peak),
    ] {
        report.figure(format!("memory.{name}_mib"), Spread::of([mib])?);
        table.row([when, format!("{mib:.1}")]);
    }
    report.table(table);
    let growth = peak - fresh;
    report.verdict(Verdict::new(
        "memory of the server over all of that: at most 32 MiB more",
        Some(format!("{fresh:.1} MiB and at most {growth:.1} more")),
        Some(growth < MOST_GROWTH_MIB),
    ));
    Ok(())
}

/// Follows cursors; returns how many predictions came.
fn page_through(server: &Server, rows: u64) -> anyhow::Result<usize> {
    let wanted = PAGED.min(usize::try_from(rows)?);
    let mut connection = Connection::open(server.port)?;
    let (mut seen, mut cursor) = (0, String::new());
    while seen < wanted {
        let path = format!("/predictions?limit=1000{cursor}");
        let answer = connection.exchange(&http::get(&path))?;
        let page: Value = serde_json::from_slice(&answer.body)?;
        let predictions = page["predictions"].as_array().context("no page")?;
        ensure!(!predictions.is_empty(), "the pages end after {seen}");
        seen += predictions.len();
        if let Some(next) = page["next_cursor"].as_str() {
            cursor = format!("&cursor={next}");
        }
    }
    Ok(seen)
}

/// Takes a whole export and keeps nothing of it; returns its lines and bytes.
fn export(server: &Server) -> anyhow::Result<(u64, u64)> {
    let mut stream = TcpStream::connect(http::local(server.port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(&http::get_once("/export?format=jsonl"))?;
    let mut chunk = vec![0; 256 * 1024];
    let (mut ends, mut returns, mut bytes, mut tail) = (0, 0, 0, Vec::new());
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        let part = &chunk[..read];
        if bytes == 0 {
            ensure!(part.starts_with(b"HTTP/1.1 200"), "no export");
        }
        // The lines of HTTP end in a carriage return too, which JSON has none of.
        let count = |wanted| part.iter().filter(|byte| **byte == wanted).count() as u64;
        ends += count(b'\n');
        returns += count(b'\r');
        bytes += read as u64;
        tail.extend_from_slice(&part[read.saturating_sub(5)..]);
        tail.drain(..tail.len().saturating_sub(5));
    }
    ensure!(tail == b"0\r\n\r\n", "the export broke off");
    Ok((ends - returns, bytes))
}

fn resident(server: &Server) -> anyhow::Result<f64> {
    Ok(status(server.pid(), "VmRSS:")? as f64 / 1024.0)
}

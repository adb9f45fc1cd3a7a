//! How fast predictions that have waited for PostgreSQL get there, against a bare loop that writes
//! the same rows to the same table.
//!
//! The file fills while nobody listens; then PostgreSQL starts, with its defaults and `fsync`, and
//! the time counts from the first rows that have left the file to the last. Each side begins with an
//! empty database and a server that has just started. Predictions with an id cost a table more,
//! which the bare loop does without, so they are measured apart.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Connection};
use crate::landing::Landing;
use crate::machine::{Noise, Watch};
use crate::process::{Cpu, pause};
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::{Places, Server};
use crate::stats::Spread;

use postgres_server::Postgres;

#[path = "../../../actors/tests/postgres_server/server.rs"]
mod postgres_server;

const ROWS: u64 = 200_000;
/// The time over which they were made: one night, or a partition or two.
const SPAN: Duration = Duration::from_secs(12 * 3_600);
/// How often it is looked how many have been forwarded.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Nothing is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(300);
/// The promise.
const LEAST_RATIO: f64 = 0.7;
const PLAN: Plan = Plan {
    wanted: 4,
    within: Duration::from_secs(240),
};

/// The file from which both sides get their rows, and the server that gets them.
struct Bench<'a> {
    places: &'a Places,
    postgres: Postgres,
    log: TempDir,
    rows: u64,
}

/// What one side did in one round.
#[derive(Debug, Clone, Copy)]
struct Side {
    rows_per_second: f64,
    /// CPU time for each row, in microseconds.
    own: f64,
    postgres: f64,
}

pub(super) fn run(places: &Places, rows: Option<u64>) -> anyhow::Result<Report> {
    let mut report = Report::new("log-drain");
    for named in [false, true] {
        let log = tempfile::tempdir()?;
        let landing = Landing {
            rows: rows.unwrap_or(ROWS),
            span: SPAN,
            named,
        };
        landing.fill(log.path())?;
        let bench = Bench {
            places,
            postgres: Postgres::start(),
            log,
            rows: landing.rows,
        };
        bench.compare(if named { "named" } else { "unnamed" }, &mut report)?;
    }
    Ok(report)
}

// === impl Bench ===

impl Bench<'_> {
    fn compare(mut self, kind: &str, report: &mut Report) -> anyhow::Result<()> {
        let mut bare_first = false;
        let rounds = PLAN.take(report, kind, &[], || {
            bare_first = !bare_first;
            let ((bare, first), (impetus, second)) = if bare_first {
                let bare = self.bare()?;
                (bare, self.impetus()?)
            } else {
                let impetus = self.impetus()?;
                (self.bare()?, impetus)
            };
            Ok(((bare, impetus), first.or_worse(second)))
        })?;
        let pairs = rounds.taken;
        let (bares, impetuses): (Vec<Side>, Vec<Side>) = pairs.iter().copied().unzip();
        let title = format!(
            "{} {kind} predictions to PostgreSQL: median (min–max)",
            self.rows
        );
        let mut table = Table::new(
            title,
            ["who", "rows/s", "own CPU µs/row", "PostgreSQL CPU µs/row"],
        );
        for (name, sides) in [("bare", &bares), ("impetus", &impetuses)] {
            let mut cell = |figure: &str, digits: usize, of: fn(&Side) -> f64| {
                let spread = Spread::of(sides.iter().map(of))?;
                let spread = report.figure(format!("{kind}.{name}.{figure}"), spread);
                anyhow::Ok(spread.text(digits))
            };
            table.row([
                name.to_owned(),
                cell("rows_per_second", 0, |side| side.rows_per_second)?,
                cell("own_cpu_micros", 1, |side| side.own)?,
                cell("postgres_cpu_micros", 1, |side| side.postgres)?,
            ]);
        }
        report.table(table);
        let ratios = pairs
            .iter()
            .map(|(bare, impetus)| impetus.rows_per_second / bare.rows_per_second);
        let ratio = report.figure(format!("{kind}.ratio"), Spread::of(ratios)?);
        report.verdict(Verdict::new(
            &format!("{kind} predictions to PostgreSQL: at least 0.7 of a bare loop"),
            Some(ratio.text(3)),
            rounds.quiet.then_some(ratio.median >= LEAST_RATIO),
        ));
        Ok(())
    }

    fn impetus(&mut self) -> anyhow::Result<(Side, Noise)> {
        let url = self.new_database()?;
        let folder = self.copy_of_log()?;
        self.postgres.end_in_order();
        let (url, data) = (format!("{url:?}"), format!("{:?}", folder.path()));
        // It is away when the server starts, and found a moment after it has come.
        let server = self.places.start_log_without_sink(&[
            ("sink.kind", "\"postgres\""),
            ("sink.url", &url),
            ("sink.retries", "0"),
            ("sink.cool_down", "\"100ms\""),
            ("data.dir", &data),
        ])?;
        self.postgres.start_again();
        let begun = self.until_forwarded(&server, 1)?;
        let roots = [server.pid(), self.pid()?];
        let watch = Watch::begin(&roots)?;
        let (began, cpu) = (Instant::now(), self.cpu(&server)?);
        ensure!(begun < self.rows, "too few rows to measure with");
        self.until_forwarded(&server, self.rows)?;
        let seconds = began.elapsed().as_secs_f64();
        let used = self.cpu(&server)?;
        let noise = watch.end(&roots, Cpu::default())?;
        let rows = (self.rows - begun) as f64;
        let micros = |after: Cpu, before: Cpu| after.minus(before).seconds() / rows * 1e6;
        let side = Side {
            rows_per_second: rows / seconds,
            own: micros(used.0, cpu.0),
            postgres: micros(used.1, cpu.1),
        };
        let counted = "SELECT sum(total) FROM rollup_models";
        self.require_all(counted)?;
        Ok((side, noise))
    }

    fn bare(&mut self) -> anyhow::Result<(Side, Noise)> {
        let url = self.new_database()?;
        let folder = self.copy_of_log()?;
        self.postgres.end_in_order();
        self.postgres.start_again();
        let roots = [self.pid()?];
        let watch = Watch::begin(&roots)?;
        let cpu = Cpu::of_tree(self.pid()?)?;
        let output = Command::new(&self.places.bare)
            .arg("drain")
            .arg("--file")
            .arg(folder.path().join("predictions.db"))
            .args(["--url", &url])
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "the bare loop failed");
        let noise = watch.end(&roots, Cpu::default())?;
        let used = Cpu::of_tree(self.pid()?)?.minus(cpu);
        let said: Value = serde_json::from_slice(&output.stdout)?;
        let figure = |name: &str| said[name].as_f64().context("the bare loop said nothing");
        let rows = figure("rows")?;
        let side = Side {
            rows_per_second: rows / figure("seconds")?,
            own: figure("cpu_seconds")? / rows * 1e6,
            postgres: used.seconds() / rows * 1e6,
        };
        self.require_all("SELECT count(*) FROM predictions")?;
        Ok((side, noise))
    }

    /// Replaces the database by an empty one; returns how it is reached.
    fn new_database(&self) -> anyhow::Result<String> {
        const NAME: &str = "drained";
        let owner = Postgres::USER;
        let drop = format!("DROP DATABASE IF EXISTS {NAME} WITH (FORCE)");
        self.postgres.psql(&drop);
        let create = format!("CREATE DATABASE {NAME} OWNER {owner}");
        self.postgres.psql(&create);
        self.postgres.psql("CHECKPOINT");
        let url = self.postgres.url();
        let (server, _) = url.rsplit_once('/').context("a URL without a database")?;
        Ok(format!("{server}/{NAME}"))
    }

    fn require_all(&self, sql: &str) -> anyhow::Result<()> {
        let there = self.postgres.psql_in("drained", sql);
        ensure!(
            there == self.rows.to_string(),
            "{there} of {} predictions are there",
            self.rows
        );
        Ok(())
    }

    fn copy_of_log(&self) -> anyhow::Result<TempDir> {
        let folder = tempfile::tempdir()?;
        for entry in fs::read_dir(self.log.path())? {
            let entry = entry?;
            fs::copy(entry.path(), folder.path().join(entry.file_name()))?;
        }
        Ok(folder)
    }

    /// Waits until so many rows have left the file; returns how many have.
    fn until_forwarded(&self, server: &Server, rows: u64) -> anyhow::Result<u64> {
        let end = Instant::now() + PATIENCE;
        let mut connection = Connection::open(server.port)?;
        while Instant::now() < end {
            let metrics = connection.exchange(&http::get("/metrics"))?;
            let metrics = String::from_utf8(metrics.body)?;
            let forwarded = metrics
                .lines()
                .find_map(|line| line.strip_prefix("impetus_prediction_sink_forwarded_total "));
            let forwarded: f64 = forwarded
                .context("no count of what was forwarded")?
                .parse()?;
            if forwarded as u64 >= rows {
                return Ok(forwarded as u64);
            }
            pause(LOOK_EVERY);
        }
        bail!("{rows} rows are not forwarded within {PATIENCE:?}")
    }

    /// Returns what Impetus and PostgreSQL have used so far.
    fn cpu(&self, server: &Server) -> anyhow::Result<(Cpu, Cpu)> {
        Ok((server.cpu()?, Cpu::of_tree(self.pid()?)?))
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.postgres.pid().context("PostgreSQL does not run")
    }
}

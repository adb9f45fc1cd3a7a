//! The prediction log: what is logged, where it lands, where it goes from there, how long it stays.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::units::{Bytes, Period};

/// The prediction log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PredlogConfig {
    /// Which of its own predictions this server logs, of models that do not say so themselves in `[log]` of their `model.toml`. Has no part in what others send to `POST /log`.
    pub mode: LogMode,
    /// The part of its predictions that a `sampled` model logs.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample: f64,
    /// Whether a prediction is answered after it is on the disk, and refused when it cannot be. Otherwise it is answered at once and committed within `predlog.flush_interval`.
    pub durable: bool,
    /// How long predictions that are answered at once may wait to be committed together.
    #[schemars(extend("x-min" = "1ms", "x-max" = "10s"))]
    pub flush_interval: Period,
    /// Most predictions that may wait in memory to be committed. Further ones are answered without being logged, and counted.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub buffer: usize,
    /// What this server calls itself in predictions of its own; the name of the host when empty.
    pub device: String,
    /// Requests that may wait for the database. Further ones are refused with `Retry-After`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue: usize,
    /// Most rows in one transaction. More requests than one share its sync.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_rows_per_commit: usize,
    /// Most predictions in one `POST /log`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_batch_rows: usize,
    /// How often the database is asked whether it is there.
    #[schemars(extend("x-min" = "10ms"))]
    pub check_every: Period,
    /// How long it may take to say so.
    #[schemars(extend("x-min" = "1ms"))]
    pub check_timeout: Period,
    /// Longest wait for a prediction to be committed.
    #[schemars(extend("x-min" = "1ms"))]
    pub write_timeout: Period,
    /// Longest wait for `/predictions`, `/stats` and each step of `/export`.
    #[schemars(extend("x-min" = "1ms"))]
    pub read_timeout: Period,
    /// How long a file of an older version may take to be brought up to date.
    #[schemars(extend("x-min" = "1s"))]
    pub migrate_timeout: Period,
    /// What an unreachable database does to `/ready`. `/api/health/ready` never depends on it.
    pub readiness: Readiness,
    /// How long a prediction is kept: in the file after it was logged, in PostgreSQL after its own time. Zero keeps all.
    pub keep_for: Period,
    /// The most that the log takes, in the file or in PostgreSQL; the oldest predictions go first. Zero sets no limit.
    pub keep_size: Bytes,
}

/// Where predictions go from the file in which they land.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinkConfig {
    /// What keeps them. With `sqlite` they stay in the file; another sink gets them from there, and they leave it when it has them.
    pub kind: SinkKind,
    /// Where the sink is: `postgres://user:password@host/database`, or `http://host:8001` of another Impetus.
    pub url: SinkUrl,
    /// A file with PostgreSQL's password, instead of one in the URL. Read at each connection, so that it may change.
    pub password_file: PathBuf,
    /// A file with the certificates (PEM) of authorities to trust besides the usual ones.
    pub ca_file: PathBuf,
    /// Predictions in one request to another Impetus.
    #[schemars(range(min = 1, max = 10_000))]
    pub batch: usize,
    /// How long predictions wait for a batch to fill before a smaller one is sent to another Impetus.
    #[schemars(extend("x-min" = "1ms", "x-max" = "10m"))]
    pub batch_timeout: Period,
    /// Most predictions in one transaction with PostgreSQL.
    #[schemars(range(min = 1, max = 100_000))]
    pub rows: usize,
    /// How long the sink may take with one batch.
    #[schemars(extend("x-min" = "10ms", "x-max" = "10m"))]
    pub timeout: Period,
    /// How often a batch that failed is sent again before its sink counts as unreachable.
    #[schemars(range(min = 0, max = 100))]
    pub retries: u32,
    /// The pause before the first of these; each further one is twice as long.
    #[schemars(extend("x-min" = "1ms", "x-max" = "10m"))]
    pub retry_after: Period,
    /// How often an unreachable sink is tried again.
    #[schemars(extend("x-min" = "10ms", "x-max" = "1h"))]
    pub cool_down: Period,
    /// The most that may wait in the file for its sink. Beyond it predictions are refused, since none that was acknowledged is dropped for it.
    #[schemars(extend("x-min" = "1MiB"))]
    pub max_backlog: Bytes,
    /// How long a prediction waits for its sink before it is given up and counted. Zero waits for ever.
    pub max_age: Period,
}

/// Whether what models say changes its shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DriftConfig {
    /// Whether it is watched.
    pub enabled: bool,
    /// The time up to now that is looked at.
    #[schemars(extend("x-min" = "10m"))]
    pub window: Period,
    /// The time before it that it is compared with.
    #[schemars(extend("x-min" = "10m"))]
    pub reference: Period,
    /// The fewest predictions in each of the two from which anything is said.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_predictions: u64,
    /// How often they are compared.
    #[schemars(extend("x-min" = "100ms"))]
    pub every: Period,
}

/// Which predictions of a model are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogMode {
    /// None.
    Off,
    /// A share of them, `predlog.sample`, by a hash of the id of the request.
    Sampled,
    /// All.
    #[default]
    On,
}

/// What keeps predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkKind {
    /// The SQLite file in `data.dir` in which they land.
    #[default]
    Sqlite,
    /// A PostgreSQL database.
    Postgres,
    /// The logging service of another Impetus.
    Impetus,
}

/// What a dependency means for readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Without it the service is not ready.
    #[default]
    Required,
    /// Without it the service is ready, and says that it is degraded.
    Degraded,
}

/// The address of a sink. Where it is shown, its password is not.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SinkUrl(String);

// === impl PredlogConfig ===

impl Default for PredlogConfig {
    fn default() -> Self {
        Self {
            mode: LogMode::On,
            sample: 0.1,
            durable: false,
            flush_interval: Period::millis(50),
            buffer: 16_384,
            device: String::new(),
            queue: 1024,
            max_rows_per_commit: 4096,
            max_batch_rows: 10_000,
            check_every: Period::secs(2),
            check_timeout: Period::secs(2),
            write_timeout: Period::secs(5),
            read_timeout: Period::secs(5),
            migrate_timeout: Period::secs(15 * 60),
            readiness: Readiness::Required,
            keep_for: Period::secs(0),
            keep_size: Bytes::kib(0),
        }
    }
}

// === impl SinkConfig ===

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            kind: SinkKind::Sqlite,
            url: SinkUrl::default(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            batch: 32,
            batch_timeout: Period::secs(10),
            rows: 4096,
            timeout: Period::secs(30),
            retries: 3,
            retry_after: Period::secs(1),
            cool_down: Period::secs(5),
            max_backlog: Bytes::mib(1024),
            max_age: Period::secs(0),
        }
    }
}

// === impl DriftConfig ===

impl Default for DriftConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            window: Period::secs(60 * 60),
            reference: Period::secs(7 * 24 * 60 * 60),
            min_predictions: 500,
            every: Period::secs(60),
        }
    }
}

// === impl SinkUrl ===

impl SinkUrl {
    /// Returns the address with its password.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the address with three stars for each password: before the host, and among what
    /// PostgreSQL takes after the `?`. Where it cannot be told where the host begins, too much is
    /// hidden rather than too little.
    fn masked(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            let hidden = self.0.contains('@') || self.0.contains("password=");
            return if hidden {
                "***".to_owned()
            } else {
                self.0.clone()
            };
        };
        let (place, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let authority = place.find('/').unwrap_or(place.len());
        // A password with a slash in it that should have been written as %2F.
        let is_cut = place.contains('@') && is_no_host(&place[..authority]);
        let end = if is_cut { place.len() } else { authority };
        let (authority, path) = place.split_at(end);
        let place = match authority.rsplit_once('@') {
            Some((user, host)) => match user.split_once(':') {
                Some((user, _)) => format!("{user}:***@{host}{path}"),
                None => place.to_owned(),
            },
            None => place.to_owned(),
        };
        format!("{scheme}://{place}{}", masked_query(query))
    }
}

/// Tells whether what stands before the first slash is a name and a part of a password.
fn is_no_host(authority: &str) -> bool {
    let port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    let ends_in_port = |(_, end): (&str, &str)| port(end) || end.ends_with(']');
    !authority.contains('@') && !authority.rsplit_once(':').is_none_or(ends_in_port)
}

fn masked_query(query: &str) -> String {
    let masked = |pair: &str| match pair.split_once('=') {
        Some((name, _))
            if name
                .trim_start_matches('?')
                .eq_ignore_ascii_case("password") =>
        {
            format!("{name}=***")
        }
        _ => pair.to_owned(),
    };
    let pairs: Vec<String> = query.split('&').map(masked).collect();
    pairs.join("&")
}

impl From<&str> for SinkUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Display for SinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for SinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.masked())
    }
}

impl Serialize for SinkUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            (
                "postgres://user:s3cret@db:5432/x",
                "postgres://user:***@db:5432/x",
            ),
            (
                "postgres://user:s3@cret@db/x?a=b@c",
                "postgres://user:***@db/x?a=b@c",
            ),
            ("postgres://user@db/x", "postgres://user@db/x"),
            (
                "postgres://user:s3/cret@db:5432/x",
                "postgres://user:***@db:5432/x",
            ),
            (
                "postgres://db/x?user=a&password=s3cret&sslmode=require",
                "postgres://db/x?user=a&password=***&sslmode=require",
            ),
            (
                "postgres://db/x?password=s3cret",
                "postgres://db/x?password=***",
            ),
            ("https:user:s3cret@db", "***"),
            ("http://[::1]:8001/a:b@c", "http://[::1]:8001/a:b@c"),
            ("http://[::1]/a:b@c", "http://[::1]/a:b@c"),
            ("http://db:8001", "http://db:8001"),
            ("http://db:8001/a:b@c", "http://db:8001/a:b@c"),
            ("", ""),
        ] {
            let url = SinkUrl::from(url);
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("cret"));
            assert!(!serde_json::to_string(&url).unwrap().contains("cret"));
        }
    }
}

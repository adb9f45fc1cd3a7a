//! A scrape, taken apart.

use std::collections::{BTreeMap, BTreeSet};

use super::Server;

/// Every series of a scrape, as it stands there, and its value.
pub struct Scrape(BTreeMap<String, f64>);

// === impl Scrape ===

impl Scrape {
    /// Scrapes the health port, as Prometheus does.
    pub fn of(server: &Server) -> Self {
        let text = server.get_health("/api/health/metrics").text();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = samples.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        let pairs: Vec<(String, f64)> = pairs.collect();
        let count = pairs.len();
        let scrape = Self(pairs.into_iter().collect());
        assert_eq!(scrape.0.len(), count, "a series is there twice: {text}");
        scrape
    }

    pub fn get(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        self.get(series)
            .unwrap_or_else(|| panic!("no {series} among {:#?}", self.0.keys()))
    }

    pub fn series(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// Returns the names, without labels.
    pub fn names(&self) -> BTreeSet<&str> {
        let names = self.0.keys().map(|series| series.split('{').next());
        names.flatten().collect()
    }
}

/// Waits until everything has been heard of once: actors have said how they are, and the disk has
/// been looked at. From then on every scrape has the same series.
pub fn wait_until_complete(server: &Server) {
    server.wait_for("a scrape in which nothing is missing", || {
        let scrape = Scrape::of(server);
        let mut actors = scrape.0.keys().filter_map(|series| {
            let actor = series.strip_prefix("impetus_actor_restarts_total")?;
            Some(format!("impetus_actor_status_age_seconds{actor}"))
        });
        actors.all(|age| scrape.get(&age).is_some())
            && scrape.get("impetus_data_disk_free_bytes").is_some()
    });
}

/// Waits until a series has that value.
pub fn wait_for_value(server: &Server, series: &str, value: f64) {
    server.wait_for(&format!("{series} to be {value}"), || {
        Scrape::of(server).get(series) == Some(value)
    });
}

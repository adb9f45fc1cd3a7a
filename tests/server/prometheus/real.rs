//! A Prometheus of the test's own: on a free port, with its data in a temporary folder, ended by
//! its process id.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::harness::{PATIENCE, free_ports, new_agent};

/// A server that scrapes and evaluates rules every second; dropping it kills it.
pub(super) struct Prometheus {
    child: Child,
    port: u16,
    dir: TempDir,
    agent: ureq::Agent,
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts one that scrapes `target` and evaluates `rules`, and waits until it answers.
    pub(super) fn start(program: &Path, rules: &Path, target: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [port, ..] = free_ports();
        let config = dir.path().join("prometheus.yml");
        fs::write(&config, configuration(rules, target)).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("prometheus does not start ({error}): run scripts/install-prometheus.sh")
            });
        let mut prometheus = Self {
            child,
            port,
            dir,
            agent: new_agent(),
        };
        prometheus.wait_until_it_answers();
        prometheus
    }

    fn wait_until_it_answers(&mut self) {
        let url = format!("http://127.0.0.1:{}/-/ready", self.port);
        let agent = self.agent.clone();
        let deadline = Instant::now() + PATIENCE;
        while agent
            .get(&url)
            .call()
            .map_or(0, |answer| answer.status().as_u16())
            != 200
        {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "prometheus ended with {ended:?}: {}",
                self.log()
            );
            assert!(
                Instant::now() < deadline,
                "prometheus does not answer: {}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Returns the value of an expression that gives one sample or none, now or at a time.
    pub(super) fn query(&self, expression: &str, at: Option<f64>) -> Option<f64> {
        let mut parameters = vec![("query", expression.to_owned())];
        parameters.extend(at.map(|at| ("time", format!("{at:.3}"))));
        let data = self.get("query", &parameters);
        let result = data["result"].as_array().unwrap();
        assert!(
            result.len() <= 1,
            "{expression} gives more than one sample: {data}"
        );
        let value = result.first()?["value"][1].as_str()?;
        Some(value.parse().unwrap())
    }

    /// Returns the time and the value of the newest sample of a metric. A scrape that failed has
    /// none, so it waits for one that has not.
    pub(super) fn newest(&self, metric: &str) -> (f64, f64) {
        let mut found = None;
        self.wait_for(metric, || {
            let at = self.query(&format!("timestamp({metric})"), None);
            found = at.and_then(|at| Some((at, self.query(metric, Some(at))?)));
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until a metric has been scraped with that value.
    pub(super) fn wait_for_sample(&self, metric: &str, value: f64) {
        self.wait_for(&format!("{metric} to be {value}"), || {
            self.query(metric, None) == Some(value)
        });
    }

    /// Waits until a rule, evaluated on scraped samples, says `firing` or `inactive`.
    pub(super) fn wait_for_alert(&self, name: &str, state: &str) {
        let (scraped_at, _) = self.newest("impetus_health_status");
        self.wait_for(&format!("{name} to be {state}"), || {
            let data = self.get("rules", &[("type", "alert".to_owned())]);
            let mut rules = data["groups"][0]["rules"].as_array().into_iter().flatten();
            // "inactive" is also what a rule says that has never been evaluated.
            rules.any(|rule| {
                rule["name"] == name && rule["state"] == state && evaluated_at(rule) > scraped_at
            })
        });
    }

    fn get(&self, path: &str, parameters: &[(&str, String)]) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let pairs = parameters
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let answer = self.agent.get(&url).query_pairs(pairs).call();
        let mut answer = answer.unwrap_or_else(|error| panic!("{url}: {error}: {}", self.log()));
        let body: Value = answer.body_mut().read_json().unwrap();
        assert_eq!(body["status"], "success", "{url}: {body}");
        body["data"].clone()
    }

    fn wait_for(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            let targets = || self.get("targets", &[]);
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}: {:#}",
                targets()
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns when a rule was last evaluated, in seconds since 1970; 0 when it never was.
fn evaluated_at(rule: &Value) -> f64 {
    let text = rule["lastEvaluation"].as_str().unwrap_or_default();
    let at = OffsetDateTime::parse(text, &Rfc3339);
    at.map_or(0.0, |at| at.unix_timestamp_nanos() as f64 / 1e9)
}

fn configuration(rules: &Path, target: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: [{:?}]\n\
         scrape_configs:\n\
         - job_name: impetus\n\
         \x20 metrics_path: /api/health/metrics\n\
         \x20 static_configs: [{{targets: [{target:?}]}}]\n",
        rules.to_str().unwrap()
    )
}

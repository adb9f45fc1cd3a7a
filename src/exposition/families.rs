//! The metrics of one scrape, in the order they were added, and how they become text.
//!
//! Families are put together here and not by the `prometheus` crate's collectors: those keep their
//! series in hash maps behind locks, for values that live on between two scrapes. These live for
//! one, and a scrape is to read like the one before. Each family is text before the next one is put
//! together: what a large server has to say is thousands of small pieces, and they are used again
//! while they are near.

use impetus_actors::histogram::{HistogramSnapshot, SizeSnapshot};
use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::descriptor::{Descriptor, Kind};
use super::{Format, openmetrics};

/// Bytes with which the text begins: enough for a server with a few models.
const ROOM: usize = 64 * 1024;

/// The text of one scrape, as far as it has come.
#[derive(Debug)]
pub(super) struct Families {
    format: Format,
    text: String,
    /// The first thing that went wrong.
    problem: Option<prometheus::Error>,
}

/// The members of one family.
pub(super) struct Family {
    of: &'static Descriptor,
    metrics: Vec<Metric>,
}

// === impl Families ===

impl Families {
    /// Begins an empty text.
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            text: String::with_capacity(ROOM),
            problem: None,
        }
    }

    /// Adds a metric without labels.
    pub(super) fn one(&mut self, of: &'static Descriptor, value: f64) {
        let mut family = Family::new(of);
        family.add(&[], value);
        self.add(family);
    }

    /// Adds a metric without labels, if its value is known.
    pub(super) fn known(&mut self, of: &'static Descriptor, value: Option<f64>) {
        if let Some(value) = value {
            self.one(of, value);
        }
    }

    /// Adds a metric without labels that is 1 while something holds, and 0 while it does not.
    pub(super) fn flag(&mut self, of: &'static Descriptor, holds: bool) {
        self.one(of, flag(holds));
    }

    /// Adds a family; one without a member would be a type line about nothing.
    pub(super) fn add(&mut self, family: Family) {
        if family.metrics.is_empty() {
            return;
        }
        let mut made = MetricFamily::default();
        made.set_name(family.of.name.to_owned());
        made.set_help(family.of.help.to_owned());
        made.set_field_type(MetricType::from(family.of.kind));
        made.set_metric(family.metrics);
        match self.format {
            Format::Text => {
                let encoded = TextEncoder::new().encode_utf8(&[made], &mut self.text);
                self.problem = self.problem.take().or(encoded.err());
            }
            Format::OpenMetrics => openmetrics::encode(&made, &mut self.text),
        }
    }

    /// Returns the whole text.
    pub(super) fn finish(mut self) -> prometheus::Result<String> {
        if self.format == Format::OpenMetrics {
            self.text.push_str(openmetrics::END);
        }
        match self.problem {
            Some(problem) => Err(problem),
            None => Ok(self.text),
        }
    }
}

// === impl Family ===

impl Family {
    pub(super) fn new(of: &'static Descriptor) -> Self {
        Self {
            of,
            metrics: Vec::new(),
        }
    }

    /// Adds a member with these values of its labels.
    pub(super) fn add(&mut self, labels: &[&str], value: f64) {
        let mut metric = self.labelled(labels);
        match self.of.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge | Kind::Histogram => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.metrics.push(metric);
    }

    /// Adds a member that counts.
    pub(super) fn count(&mut self, labels: &[&str], count: u64) {
        self.add(labels, count as f64);
    }

    /// Adds a histogram with these values of its labels.
    pub(super) fn histogram(&mut self, labels: &[&str], snapshot: &HistogramSnapshot) {
        let total = (snapshot.count(), snapshot.sum_seconds());
        self.buckets(labels, snapshot.cumulative(), total);
    }

    /// Adds a histogram of sizes with these values of its labels.
    pub(super) fn sizes(&mut self, labels: &[&str], snapshot: &SizeSnapshot) {
        let total = (snapshot.count(), snapshot.sum() as f64);
        self.buckets(labels, snapshot.cumulative(), total);
    }

    fn buckets(
        &mut self,
        labels: &[&str],
        cumulative: impl Iterator<Item = (f64, u64)>,
        (count, sum): (u64, f64),
    ) {
        let buckets = cumulative.map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        let mut metric = self.labelled(labels);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    /// Adds one member for each state there is, of which one is 1.
    pub(super) fn states(
        &mut self,
        who: &str,
        now: &str,
        states: impl Iterator<Item = &'static str>,
    ) {
        for state in states {
            self.add(&[who, state], flag(state == now));
        }
    }

    fn labelled(&self, values: &[&str]) -> Metric {
        debug_assert_eq!(self.of.labels.len(), values.len(), "{}", self.of.name);
        let pairs = self.of.labels.iter().zip(values).map(|(label, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(label.name.to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        Metric::from_label(pairs.collect())
    }
}

/// 1 while something holds.
pub(super) fn flag(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

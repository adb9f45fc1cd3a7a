//! OpenMetrics 1.0.0 text, for scrapers that ask for it
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
//!
//! It differs from Prometheus' own text in three things that matter here: a counter's family is
//! named without `_total`, label values are escaped alike but help is too, and the text ends with
//! `# EOF`. The `prometheus` crate writes only the older form.
//!
//! Bounds of buckets are written as the older form writes them, `1` and not `1.0`, which the
//! standard allows: the same server is the same series to a Prometheus whichever form it asks for.

use std::borrow::Cow;
use std::fmt::Write;

use prometheus::proto::{Histogram, Metric, MetricFamily, MetricType};

/// What the text ends with.
pub(super) const END: &str = "# EOF\n";

/// Appends a family of counters, gauges or histograms; other types do not occur here.
pub(super) fn encode(family: &MetricFamily, text: &mut String) {
    let kind = family.get_field_type();
    let name = family.name();
    let (base, kind_name) = match kind {
        MetricType::COUNTER => (name.strip_suffix("_total").unwrap_or(name), "counter"),
        MetricType::HISTOGRAM => (name, "histogram"),
        _ => (name, "gauge"),
    };
    // Writing into a string cannot fail.
    let _ = writeln!(text, "# TYPE {base} {kind_name}");
    let _ = writeln!(text, "# HELP {base} {}", escape(family.help()));
    let mut labels = String::new();
    for metric in family.get_metric() {
        put_labels(metric, &mut labels);
        match kind {
            MetricType::COUNTER => {
                let value = metric.get_counter().get_value();
                sample(text, (base, "_total"), &labels, value);
            }
            MetricType::HISTOGRAM => {
                encode_histogram(text, base, &labels, metric.get_histogram());
            }
            _ => sample(text, (base, ""), &labels, metric.get_gauge().get_value()),
        }
    }
}

fn encode_histogram(text: &mut String, base: &str, labels: &str, histogram: &Histogram) {
    let separator = if labels.is_empty() { "" } else { "," };
    for below in histogram.get_bucket() {
        let (bound, count) = (below.upper_bound(), below.cumulative_count());
        let _ = writeln!(
            text,
            "{base}_bucket{{{labels}{separator}le=\"{bound}\"}} {count}"
        );
    }
    let count = histogram.get_sample_count();
    let _ = writeln!(
        text,
        "{base}_bucket{{{labels}{separator}le=\"+Inf\"}} {count}"
    );
    sample(text, (base, "_sum"), labels, histogram.get_sample_sum());
    sample(text, (base, "_count"), labels, count as f64);
}

fn sample(text: &mut String, (base, suffix): (&str, &str), labels: &str, value: f64) {
    let _ = match labels {
        "" => writeln!(text, "{base}{suffix} {value}"),
        labels => writeln!(text, "{base}{suffix}{{{labels}}} {value}"),
    };
}

/// Writes the labels of a metric in place of another's.
fn put_labels(metric: &Metric, labels: &mut String) {
    labels.clear();
    for pair in metric.get_label() {
        let separator = if labels.is_empty() { "" } else { "," };
        let value = escape(pair.value());
        let _ = write!(labels, "{separator}{}=\"{value}\"", pair.name());
    }
}

fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['\\', '\n', '"']) {
        return Cow::Borrowed(text);
    }
    let escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
    Cow::Owned(escaped.replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounterVec, Opts};

    use super::*;

    fn text(families: &[MetricFamily]) -> String {
        let mut text = String::new();
        families.iter().for_each(|family| encode(family, &mut text));
        text + END
    }

    #[test]
    fn a_counter_is_named_without_total_and_the_text_ends_with_eof() {
        let counter = IntCounterVec::new(Opts::new("a_total", "Says \"a\"."), &["label"]).unwrap();
        counter.with_label_values(&["x\"\\\n"]).inc_by(3);
        let gauge = Gauge::new("b", "B.").unwrap();
        gauge.set(0.5);
        let mut families = counter.collect();
        families.extend(gauge.collect());
        assert_eq!(
            text(&families),
            "# TYPE a counter\n# HELP a Says \\\"a\\\".\na_total{label=\"x\\\"\\\\\\n\"} 3\n\
             # TYPE b gauge\n# HELP b B.\nb 0.5\n# EOF\n"
        );
    }

    #[test]
    fn a_histogram_has_its_buckets_the_last_without_a_bound_its_sum_and_its_count() {
        let options = HistogramOpts::new("t_seconds", "T.").buckets(vec![0.25, 1.0]);
        for (labels, values, shown) in [
            (&[][..], &[][..], ""),
            (&["model"][..], &["m"][..], "model=\"m\","),
        ] {
            let histogram = HistogramVec::new(options.clone(), labels).unwrap();
            for seconds in [0.25, 0.5, 3.0] {
                histogram.with_label_values(values).observe(seconds);
            }
            let braces = match shown.strip_suffix(',') {
                Some(shown) => format!("{{{shown}}}"),
                None => String::new(),
            };
            assert_eq!(
                text(&histogram.collect()),
                format!(
                    "# TYPE t_seconds histogram\n# HELP t_seconds T.\n\
                     t_seconds_bucket{{{shown}le=\"0.25\"}} 1\n\
                     t_seconds_bucket{{{shown}le=\"1\"}} 2\n\
                     t_seconds_bucket{{{shown}le=\"+Inf\"}} 3\n\
                     t_seconds_sum{braces} 3.75\nt_seconds_count{braces} 3\n# EOF\n"
                )
            );
        }
    }
}

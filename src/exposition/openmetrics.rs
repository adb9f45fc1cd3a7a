//! OpenMetrics 1.0.0 text, for scrapers that ask for it
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
//!
//! It differs from Prometheus' own text in three things that matter here: a counter's family is
//! named without `_total`, label values are escaped alike but help is too, and the text ends with
//! `# EOF`. The `prometheus` crate writes only the older form.

use std::fmt::Write;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// Encodes counters and gauges; other types do not occur here.
pub(super) fn encode(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    for family in families {
        encode_family(family, &mut text);
    }
    text.push_str("# EOF\n");
    text
}

fn encode_family(family: &MetricFamily, text: &mut String) {
    let counter = family.get_field_type() == MetricType::COUNTER;
    let name = family.name();
    let (base, kind) = if counter {
        (name.strip_suffix("_total").unwrap_or(name), "counter")
    } else {
        (name, "gauge")
    };
    // Writing into a string cannot fail.
    let _ = writeln!(text, "# TYPE {base} {kind}");
    let _ = writeln!(text, "# HELP {base} {}", escape(family.help()));
    for metric in family.get_metric() {
        let sample = if counter {
            format!("{base}_total")
        } else {
            base.to_owned()
        };
        let _ = writeln!(
            text,
            "{sample}{} {}",
            labels(metric.get_label()),
            value(metric, counter)
        );
    }
}

fn labels(pairs: &[LabelPair]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> = pairs
        .iter()
        .map(|pair| format!("{}=\"{}\"", pair.name(), escape(pair.value())))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

fn value(metric: &Metric, counter: bool) -> f64 {
    if counter {
        metric.get_counter().get_value()
    } else {
        metric.get_gauge().get_value()
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{Gauge, IntCounterVec, Opts};

    use super::*;

    #[test]
    fn a_counter_is_named_without_total_and_the_text_ends_with_eof() {
        let counter = IntCounterVec::new(Opts::new("a_total", "Says \"a\"."), &["label"]).unwrap();
        counter.with_label_values(&["x\"\\\n"]).inc_by(3);
        let gauge = Gauge::new("b", "B.").unwrap();
        gauge.set(0.5);
        let mut families = counter.collect();
        families.extend(gauge.collect());
        assert_eq!(
            encode(&families),
            "# TYPE a counter\n# HELP a Says \\\"a\\\".\na_total{label=\"x\\\"\\\\\\n\"} 3\n\
             # TYPE b gauge\n# HELP b B.\nb 0.5\n# EOF\n"
        );
    }
}

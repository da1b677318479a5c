//! Metric families in Prometheus' text format, built from numbers that workers count themselves.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder, TextEncoder};

/// Prefix of every metric.
const PREFIX: &str = "dsqlproxy_";

/// Labels and value of one sample.
pub type Sample<'a> = (&'a [(&'a str, &'a str)], u64);

/// A family of counters.
#[must_use]
pub fn counter(name: &str, help: &str, samples: &[Sample<'_>]) -> MetricFamily {
    family(name, help, MetricType::COUNTER, samples, |metric, value| {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    })
}

/// A family of gauges.
#[must_use]
pub fn gauge(name: &str, help: &str, samples: &[Sample<'_>]) -> MetricFamily {
    family(name, help, MetricType::GAUGE, samples, |metric, value| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    })
}

/// A histogram: `counts` of each bucket (not cumulative), the last one without bound; sum in the
/// unit of the bounds.
#[must_use]
pub fn histogram(name: &str, help: &str, bounds: &[f64], counts: &[u64], sum: f64) -> MetricFamily {
    let mut cumulative = 0;
    let buckets = bounds
        .iter()
        .zip(counts)
        .map(|(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        })
        .collect();
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    named(name, help, MetricType::HISTOGRAM, vec![metric])
}

fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    samples: &[Sample<'_>],
    set: impl Fn(&mut Metric, f64),
) -> MetricFamily {
    let metrics = samples
        .iter()
        .map(|(labels, value)| {
            let mut metric = Metric::default();
            metric.set_label(labels.iter().map(label).collect());
            // Counts stay far below 2^53, where f64 begins to lose ones.
            set(&mut metric, *value as f64);
            metric
        })
        .collect();
    named(name, help, kind, metrics)
}

fn label((name, value): &(&str, &str)) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name((*name).to_owned());
    label.set_value((*value).to_owned());
    label
}

fn named(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("{PREFIX}{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// What the process itself uses, from `/proc/self` (Linux; elsewhere nothing).
#[must_use]
pub fn process() -> Vec<MetricFamily> {
    let mut families = vec![gauge(
        "build_info",
        "Version of the program; always 1.",
        &[(&[("version", env!("CARGO_PKG_VERSION"))], 1)],
    )];
    if let Some(bytes) = resident_bytes() {
        families.push(gauge(
            "resident_bytes",
            "Resident memory of the process.",
            &[(&[], bytes)],
        ));
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        let open = entries.count() as u64;
        families.push(gauge("open_fds", "Open file descriptors.", &[(&[], open)]));
    }
    families
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The text a scrape gets.
#[must_use]
pub fn encode(families: &[MetricFamily]) -> String {
    let mut text = Vec::new();
    // An empty family is refused by the encoder and says nothing anyway.
    let told: Vec<MetricFamily> = families
        .iter()
        .filter(|family| !family.get_metric().is_empty())
        .cloned()
        .collect();
    if let Err(cause) = TextEncoder::new().encode(&told, &mut text) {
        tracing::error!(%cause, "metrics could not be encoded");
    }
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_read_as_prometheus_text() {
        let text = encode(&[
            counter("things_total", "Things.", &[(&[("kind", "a\"b")], 3)]),
            gauge("empty", "None.", &[]),
            histogram("time_seconds", "Time.", &[0.1, 1.0], &[1, 2, 3], 9.5),
        ]);
        let expected = "# HELP dsqlproxy_things_total Things.\n\
            # TYPE dsqlproxy_things_total counter\n\
            dsqlproxy_things_total{kind=\"a\\\"b\"} 3\n\
            # HELP dsqlproxy_time_seconds Time.\n\
            # TYPE dsqlproxy_time_seconds histogram\n\
            dsqlproxy_time_seconds_bucket{le=\"0.1\"} 1\n\
            dsqlproxy_time_seconds_bucket{le=\"1\"} 3\n\
            dsqlproxy_time_seconds_bucket{le=\"+Inf\"} 6\n\
            dsqlproxy_time_seconds_sum 9.5\n\
            dsqlproxy_time_seconds_count 6\n";
        assert_eq!(text, expected);
    }
}

//! Numbers for Prometheus.
//!
//! Whoever has numbers keeps them as plain counters of its own and implements [`Source`]; nothing
//! is shared on the hot path. A scrape asks every source and adds up samples of the same name and
//! labels, so each worker can be a source.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as HistogramValue, LabelPair, Metric, MetricFamily,
    MetricType,
};

/// What every name begins with.
pub const PREFIX: &str = "dsqlproxy_";

/// Names and values of a sample's labels.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Something that has numbers.
pub trait Source: Send + Sync {
    /// The numbers of this moment. Called for each scrape, from the thread of the scrape.
    fn families(&self) -> Vec<MetricFamily>;
}

/// All sources of the process.
#[derive(Clone, Default)]
pub struct Registry {
    sources: Arc<Mutex<Vec<Arc<dyn Source>>>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// A registry that knows [`Process`] only.
    #[must_use]
    pub fn new() -> Self {
        let registry = Self::default();
        registry.add(Arc::new(Process));
        registry
    }

    /// Asks `source` too from now on.
    pub fn add(&self, source: Arc<dyn Source>) {
        self.lock().push(source);
    }

    /// The text of a scrape (exposition format 0.0.4), names sorted.
    #[must_use]
    pub fn render(&self) -> String {
        // Sources may take their time; others can be added meanwhile.
        let sources = self.lock().clone();
        let families = sources.iter().flat_map(|source| source.families());
        let mut text = String::new();
        for family in merge(families) {
            // One wrong family must not cost the others their place.
            if let Err(error) = TextEncoder::new().encode_utf8(&[family], &mut text) {
                tracing::error!(%error, "a metric could not be written");
            }
        }
        text
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<dyn Source>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that only grows. `name` is without [`PREFIX`] and ends in `_total` by convention.
#[must_use]
pub fn counter(name: &str, help: &str, samples: &[(Labels<'_>, f64)]) -> MetricFamily {
    let metrics = samples.iter().map(|(labels, value)| {
        let mut counter = Counter::default();
        counter.set_value(*value);
        let mut metric = metric(labels);
        metric.set_counter(counter);
        metric
    });
    family(name, help, MetricType::COUNTER, metrics.collect())
}

/// A number that goes up and down. `name` is without [`PREFIX`].
#[must_use]
pub fn gauge(name: &str, help: &str, samples: &[(Labels<'_>, f64)]) -> MetricFamily {
    let metrics = samples.iter().map(|(labels, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(*value);
        let mut metric = metric(labels);
        metric.set_gauge(gauge);
        metric
    });
    family(name, help, MetricType::GAUGE, metrics.collect())
}

/// A distribution at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Distribution<'a> {
    /// Upper bounds of the buckets, growing, without infinity.
    pub bounds: &'a [f64],
    /// Observations in each bucket (not added up), and at the end those above all bounds.
    pub counts: &'a [u64],
    /// Sum of all observations.
    pub sum: f64,
}

/// A distribution of observations. `name` is without [`PREFIX`]; seconds by convention.
#[must_use]
pub fn histogram(
    name: &str,
    help: &str,
    samples: &[(Labels<'_>, Distribution<'_>)],
) -> MetricFamily {
    let metrics = samples.iter().map(|(labels, distribution)| {
        let mut metric = metric(labels);
        metric.set_histogram(histogram_value(distribution));
        metric
    });
    family(name, help, MetricType::HISTOGRAM, metrics.collect())
}

fn histogram_value(distribution: &Distribution<'_>) -> HistogramValue {
    let mut below = 0;
    let buckets = distribution.bounds.iter().zip(distribution.counts);
    let buckets = buckets.map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut value = HistogramValue::default();
    value.set_bucket(buckets.collect());
    value.set_sample_count(distribution.counts.iter().sum());
    value.set_sample_sum(distribution.sum);
    value
}

fn metric(labels: Labels<'_>) -> Metric {
    let mut pairs: Vec<_> = labels.to_vec();
    // In one order, so that samples can be compared.
    pairs.sort_unstable();
    let pairs = pairs.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("{PREFIX}{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// Metrics by their labels.
type Samples = BTreeMap<Vec<(String, String)>, Metric>;

/// One family for each name, one sample for each set of labels, sums where there were several.
fn merge(families: impl Iterator<Item = MetricFamily>) -> Vec<MetricFamily> {
    let mut merged: BTreeMap<String, (MetricFamily, Samples)> = BTreeMap::new();
    for mut family in families {
        let metrics = family.take_metric();
        let (kept, samples) = merged
            .entry(family.name().to_owned())
            .or_insert_with(|| (family.clone(), BTreeMap::new()));
        if kept.get_field_type() != family.get_field_type() {
            tracing::error!(name = family.name(), "a metric has two types");
            continue;
        }
        for metric in metrics {
            let pairs = metric.get_label().iter();
            let labels = pairs.map(|pair| (pair.name().to_owned(), pair.value().to_owned()));
            match samples.entry(labels.collect()) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(metric);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    add(entry.get_mut(), &metric, family.get_field_type());
                }
            }
        }
    }
    let families = merged
        .into_values()
        .filter(|(_, samples)| !samples.is_empty());
    families
        .map(|(mut family, samples)| {
            family.set_metric(samples.into_values().collect());
            family
        })
        .collect()
}

fn add(total: &mut Metric, other: &Metric, kind: MetricType) {
    match kind {
        MetricType::COUNTER => {
            let mut counter = Counter::default();
            counter.set_value(total.get_counter().get_value() + other.get_counter().get_value());
            total.set_counter(counter);
        }
        MetricType::GAUGE => {
            let mut gauge = Gauge::default();
            gauge.set_value(total.get_gauge().get_value() + other.get_gauge().get_value());
            total.set_gauge(gauge);
        }
        MetricType::HISTOGRAM => {
            let sum = add_histograms(total.get_histogram(), other.get_histogram());
            total.set_histogram(sum);
        }
        _ => {}
    }
}

/// Adds buckets of the same bounds; every source of a name has the same.
fn add_histograms(one: &HistogramValue, other: &HistogramValue) -> HistogramValue {
    let buckets = one.get_bucket().iter().zip(other.get_bucket());
    let buckets = buckets.map(|(one, other)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(one.upper_bound());
        bucket.set_cumulative_count(one.cumulative_count() + other.cumulative_count());
        bucket
    });
    let mut sum = HistogramValue::default();
    sum.set_bucket(buckets.collect());
    sum.set_sample_count(one.get_sample_count() + other.get_sample_count());
    sum.set_sample_sum(one.get_sample_sum() + other.get_sample_sum());
    sum
}

/// A distribution of durations that its owner fills while others read it. One writer; readers may
/// see an observation's count before its sum.
#[derive(Debug)]
pub struct Durations<const BUCKETS: usize> {
    bounds: &'static [f64; BUCKETS],
    counts: [AtomicU64; BUCKETS],
    above: AtomicU64,
    nanoseconds: AtomicU64,
}

impl<const BUCKETS: usize> Durations<BUCKETS> {
    /// Empty, with upper bounds in seconds, growing.
    #[must_use]
    pub const fn new(bounds: &'static [f64; BUCKETS]) -> Self {
        Self {
            bounds,
            counts: [const { AtomicU64::new(0) }; BUCKETS],
            above: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
        }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let index = self.bounds.partition_point(|bound| *bound < seconds);
        let count = self.counts.get(index).unwrap_or(&self.above);
        count.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// As a family with one sample; see [`histogram`].
    #[must_use]
    pub fn family(&self, name: &str, help: &str, labels: Labels<'_>) -> MetricFamily {
        let buckets = self.counts.iter().chain([&self.above]);
        let counts: Vec<u64> = buckets.map(|count| count.load(Ordering::Relaxed)).collect();
        let distribution = Distribution {
            bounds: self.bounds,
            counts: &counts,
            sum: self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9,
        };
        histogram(name, help, &[(labels, distribution)])
    }
}

/// Numbers of the process, from `/proc/self`; what cannot be read is left out.
#[derive(Debug, Clone, Copy)]
pub struct Process;

impl Source for Process {
    fn families(&self) -> Vec<MetricFamily> {
        let version = env!("CARGO_PKG_VERSION");
        let mut families = vec![gauge(
            "build_info",
            "Version of dsql-proxy; always 1",
            &[(&[("version", version)], 1.0)],
        )];
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Resident memory",
                resident_bytes(),
            ),
            (
                "process_open_fds",
                "Open file descriptors",
                open_descriptors(),
            ),
            ("process_threads", "Threads", status_field("Threads:")),
        ];
        for (name, help, value) in gauges {
            families.extend(value.map(|value| gauge(name, help, &[(&[], value)])));
        }
        let cpu = cpu_seconds();
        families.extend(cpu.map(|seconds| {
            counter(
                "process_cpu_seconds_total",
                "User and system time of all threads",
                &[(&[], seconds)],
            )
        }));
        families
    }
}

/// Resident memory of this process in bytes; `None` where there is no `/proc`.
#[must_use]
pub fn resident_bytes() -> Option<f64> {
    status_field("VmRSS:").map(|kibibytes| kibibytes * 1024.0)
}

/// Open file descriptors of this process; `None` where there is no `/proc`.
#[must_use]
pub fn open_descriptors() -> Option<f64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the folder that is being read.
    Some(entries.saturating_sub(1) as f64)
}

/// User and system time of this process; `None` where there is no `/proc`.
#[must_use]
pub fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, in brackets, with anything in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(str::parse::<f64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    // The kernel's unit in this file is a hundredth of a second on every architecture.
    Some(ticks / 100.0)
}

fn status_field(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(fn() -> Vec<MetricFamily>);

    impl Source for Fixed {
        fn families(&self) -> Vec<MetricFamily> {
            (self.0)()
        }
    }

    fn render(sources: &[fn() -> Vec<MetricFamily>]) -> String {
        let registry = Registry::default();
        for source in sources {
            registry.add(Arc::new(Fixed(*source)));
        }
        registry.render()
    }

    #[test]
    fn samples_of_several_sources_are_added_up() {
        let worker = || {
            let distribution = Distribution {
                bounds: &[0.001, 0.01],
                counts: &[2, 1, 4],
                sum: 8.5,
            };
            vec![
                gauge(
                    "clients",
                    "Clients",
                    &[(&[("database", "app"), ("a", "x")], 2.0)],
                ),
                counter("logins_total", "Logins", &[(&[], 3.0)]),
                histogram(
                    "wait_seconds",
                    "Waits",
                    &[(&[("cluster", "main")], distribution)],
                ),
            ]
        };
        let other = || {
            vec![
                gauge(
                    "clients",
                    "Clients",
                    &[
                        (&[("a", "x"), ("database", "app")], 1.0),
                        (&[("a", "x"), ("database", "\"b\"\n")], 7.0),
                    ],
                ),
                counter("nothing_total", "No samples", &[]),
            ]
        };
        let expected = "\
# HELP dsqlproxy_clients Clients
# TYPE dsqlproxy_clients gauge
dsqlproxy_clients{a=\"x\",database=\"\\\"b\\\"\\n\"} 7
dsqlproxy_clients{a=\"x\",database=\"app\"} 5
# HELP dsqlproxy_logins_total Logins
# TYPE dsqlproxy_logins_total counter
dsqlproxy_logins_total 6
# HELP dsqlproxy_wait_seconds Waits
# TYPE dsqlproxy_wait_seconds histogram
dsqlproxy_wait_seconds_bucket{cluster=\"main\",le=\"0.001\"} 4
dsqlproxy_wait_seconds_bucket{cluster=\"main\",le=\"0.01\"} 6
dsqlproxy_wait_seconds_bucket{cluster=\"main\",le=\"+Inf\"} 14
dsqlproxy_wait_seconds_sum{cluster=\"main\"} 17
dsqlproxy_wait_seconds_count{cluster=\"main\"} 14
";
        assert_eq!(render(&[worker, worker, other]), expected);
    }

    #[test]
    fn a_name_with_two_types_keeps_the_first() {
        let one = || vec![gauge("x", "", &[(&[], 1.0)])];
        let other = || vec![counter("x", "", &[(&[], 1.0)])];
        assert_eq!(
            render(&[one, other]),
            "# TYPE dsqlproxy_x gauge\ndsqlproxy_x 1\n"
        );
    }

    #[test]
    fn durations_fall_into_their_buckets() {
        let durations = Durations::new(&[0.001, 0.01, 1.0]);
        for micros in [0, 1000, 1001, 10_000, 2_000_000] {
            durations.observe(Duration::from_micros(micros));
        }
        let family = durations.family("x", "", &[]);
        let value = family.get_metric()[0].get_histogram();
        let buckets = value.get_bucket().iter();
        let counts: Vec<u64> = buckets.map(Bucket::cumulative_count).collect();
        assert_eq!(counts, [2, 4, 4]);
        assert_eq!(value.get_sample_count(), 5);
        assert!((value.get_sample_sum() - 2.012_001).abs() < 1e-9);
    }

    #[test]
    fn the_process_is_measured() {
        let text = Registry::new().render();
        let value = |name: &str| -> f64 {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix(&format!("dsqlproxy_{name} ")));
            line.expect(name).parse().expect(name)
        };
        assert!(value("process_resident_memory_bytes") > 1_000_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(text.contains("dsqlproxy_build_info{version=\""), "{text}");

        let before = open_descriptors().expect("/proc");
        let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null")).collect();
        let now = open_descriptors().expect("/proc");
        drop(files);
        // Tests beside this one open and close some too.
        assert!(now >= before + 25.0, "{before} {now}");
    }
}

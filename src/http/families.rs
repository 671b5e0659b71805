//! Builds metric families from plain numbers.

use crate::worker::{LATENCY_BOUNDS_MS, Latency};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// Labels of a sample: names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

fn metric(labels: Labels<'_>) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

/// One metric with its samples.
pub struct Family {
    family: MetricFamily,
    samples: Vec<Metric>,
    kind: MetricType,
}

impl Family {
    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self { family, samples: Vec::new(), kind }
    }

    /// A number that never falls; its name ends in `_total`.
    pub fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    /// A number that comes and goes.
    pub fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    /// A histogram of times.
    pub fn histogram(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::HISTOGRAM)
    }

    /// Adds a sample to a counter or a gauge.
    pub fn add(&mut self, labels: Labels<'_>, value: f64) {
        let mut sample = metric(labels);
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            sample.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            sample.set_gauge(gauge);
        }
        self.samples.push(sample);
    }

    /// Adds times to a histogram, in milliseconds divided by `divisor` (1000: seconds).
    pub fn add_latency(&mut self, labels: Labels<'_>, latency: &Latency, divisor: f64) {
        let mut count = 0;
        let buckets = LATENCY_BOUNDS_MS.iter().zip(latency.buckets).map(|(bound, here)| {
            count += here;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / divisor);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(latency.count());
        histogram.set_sample_sum(latency.sum_ms as f64 / divisor);
        let mut sample = metric(labels);
        sample.set_histogram(histogram);
        self.samples.push(sample);
    }

    /// The finished family; `None` without samples, which the text format doesn't allow.
    pub fn finish(mut self) -> Option<MetricFamily> {
        if self.samples.is_empty() {
            return None;
        }
        self.family.set_metric(self.samples);
        Some(self.family)
    }
}

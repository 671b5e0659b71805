//! Collects samples of the metrics in the table, and prints them in Prometheus' text format.

use super::table::{FAMILIES, Family, Kind};
use crate::worker::Latency;
use prometheus::{
    Encoder, TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// Samples by metric, in the table's order.
pub struct Page {
    samples: Vec<Vec<Metric>>,
}

impl Page {
    /// An empty page.
    pub fn new() -> Self {
        Self { samples: FAMILIES.iter().map(|_| Vec::new()).collect() }
    }

    /// Adds a sample of a counter or a gauge. `labels` are the values of the metric's labels in the table's order.
    pub fn add(&mut self, name: &str, labels: &[&str], value: f64) {
        let Some((family, samples)) = self.family(name) else { return };
        let mut sample = metric(family, labels);
        if family.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            sample.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            sample.set_gauge(gauge);
        }
        samples.push(sample);
    }

    /// Adds a sample of a histogram, in the unit that its name ends in.
    pub fn add_latency(&mut self, name: &str, labels: &[&str], latency: &Latency) {
        let Some((family, samples)) = self.family(name) else { return };
        let micros = if family.name.ends_with("_ms") { 1e3 } else { 1e6 };
        let mut count = 0;
        let buckets = latency.bounds_us.iter().zip(&latency.buckets).map(|(bound, here)| {
            count += here;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / micros);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(latency.count());
        histogram.set_sample_sum(latency.sum_us as f64 / micros);
        let mut sample = metric(family, labels);
        sample.set_histogram(histogram);
        samples.push(sample);
    }

    fn family(&mut self, name: &str) -> Option<(&'static Family, &mut Vec<Metric>)> {
        let at = FAMILIES.iter().position(|f| f.name == name);
        debug_assert!(at.is_some(), "`{name}` is not in the table");
        at.map(|at| (&FAMILIES[at], &mut self.samples[at]))
    }

    /// The text. A metric without samples is left out: the format allows none.
    pub fn text(self) -> prometheus::Result<String> {
        let full = FAMILIES.iter().zip(self.samples).filter(|(_, samples)| !samples.is_empty());
        let families: Vec<MetricFamily> = full
            .map(|(of, samples)| {
                let mut family = MetricFamily::default();
                family.set_name(of.name.to_owned());
                family.set_help(of.help.to_owned());
                family.set_field_type(match of.kind {
                    Kind::Counter => MetricType::COUNTER,
                    Kind::Gauge => MetricType::GAUGE,
                    Kind::Histogram => MetricType::HISTOGRAM,
                });
                family.set_metric(samples);
                family
            })
            .collect();
        let mut out = Vec::new();
        TextEncoder::new().encode(&families, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}

fn metric(family: &Family, labels: &[&str]) -> Metric {
    debug_assert_eq!(family.labels.len(), labels.len(), "labels of `{}`", family.name);
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(family.labels.iter().zip(labels).map(pair).collect())
}

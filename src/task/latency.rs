//! Histograms of times, as plain numbers.

use std::cmp::max;

/// Upper bounds, in microseconds, for the work on one record.
pub const RECORD_BOUNDS_US: &[i64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000, 100_000, 1_000_000];

/// Upper bounds, in microseconds, for a commit and its phases.
pub const COMMIT_BOUNDS_US: &[i64] = &[
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000,
];

/// Upper bounds, in microseconds, from an event's time to its effect, or for a rebalance: up to an hour.
pub const EVENT_BOUNDS_US: &[i64] = &[
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    3_600_000_000,
];

/// A histogram of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// Upper bounds of the buckets in microseconds; the last bucket has none.
    pub bounds_us: &'static [i64],
    /// Observations by bucket, not cumulated; one more than there are bounds.
    pub buckets: Vec<u64>,
    /// Sum of all observations in microseconds. Wide: event times of decades ago add up quickly.
    pub sum_us: i128,
}

impl Latency {
    /// A histogram without observations.
    pub fn new(bounds_us: &'static [i64]) -> Self {
        Self { bounds_us, buckets: vec![0; bounds_us.len() + 1], sum_us: 0 }
    }

    /// Adds `times` observations of the same time. A negative one, of a clock that went back or an event from the
    /// future, counts as none at all: the sum of a histogram never falls.
    pub fn observe(&mut self, us: i64, times: u64) {
        let us = max(us, 0);
        self.buckets[self.bounds_us.partition_point(|b| *b < us)] += times;
        self.sum_us += i128::from(us) * i128::from(times);
    }

    /// Adds `times` observations that took `total_us` together: each counts with the mean, and the sum is exact.
    pub fn observe_mean(&mut self, total_us: i64, times: u64) {
        let Ok(share @ 1..) = i64::try_from(times) else { return };
        let total = max(total_us, 0);
        self.buckets[self.bounds_us.partition_point(|b| *b < total / share)] += times;
        self.sum_us += i128::from(total);
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds the observations of a histogram with the same bounds.
    pub fn add(&mut self, more: &Self) {
        debug_assert_eq!(self.bounds_us, more.bounds_us, "only histograms of one kind are added");
        for (sum, more) in self.buckets.iter_mut().zip(&more.buckets) {
            *sum += more;
        }
        self.sum_us += more.sum_us;
    }
}

impl Default for Latency {
    /// With the bounds of a commit.
    fn default() -> Self {
        Self::new(COMMIT_BOUNDS_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut latency = Latency::new(RECORD_BOUNDS_US);
        for us in [-5, 1, 2, 3, 2_000_000] {
            latency.observe(us, 2);
        }
        assert_eq!(latency.buckets[..4], [4, 2, 2, 0]);
        assert_eq!((latency.buckets.last(), latency.count(), latency.sum_us), (Some(&2), 10, 4_000_012));
    }

    #[test]
    fn the_mean_of_a_batch_keeps_the_sum() {
        let mut latency = Latency::new(RECORD_BOUNDS_US);
        latency.observe_mean(999, 1_000);
        latency.observe_mean(5, 0);
        assert_eq!((latency.buckets[0], latency.count(), latency.sum_us), (1_000, 1_000, 999));
    }

    #[test]
    fn event_times_of_1970_do_not_overflow_the_sum() {
        let mut latency = Latency::new(EVENT_BOUNDS_US);
        latency.observe(1_800_000_000_000_000, 10_000_000);
        let half = latency.clone();
        latency.add(&half);
        assert_eq!((latency.count(), latency.sum_us), (20_000_000, 36_000_000_000_000_000_000_000));
    }
}

//! Prometheus histogram of durations.

use std::time::Duration;

/// Upper bounds: in microseconds, and in seconds as exported.
const BOUNDS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// Histogram of durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// Count per bucket, not cumulative; the last bucket has no upper bound.
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    pub(crate) fn observe(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(duration);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Cumulative count per bound; the last bound is `+Inf`.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = BOUNDS.iter().map(|(_, written)| *written).chain(["+Inf"]);
        bounds.zip(self.counts).scan(0, |within, (bound, count)| {
            *within += count;
            Some((bound, *within))
        })
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) const fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_includes_itself_and_all_below() {
        let mut histogram = Histogram::default();
        for micros in [0, 500, 501, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let within: Vec<_> = histogram.cumulative().collect();
        assert_eq!(within[0], ("0.0005", 2));
        assert_eq!(within[1], ("0.001", 3));
        assert_eq!(within[13], ("10", 4));
        assert_eq!(within[14], ("+Inf", 5));
        assert_eq!(histogram.sum(), Duration::from_micros(20_001_002));
    }
}

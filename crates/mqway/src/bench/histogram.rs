//! How often something took how long, in bounded memory and a few nanoseconds a sample.
//!
//! Buckets are as wide as their value is large: each doubling has 128 of them, so that no percentile is off by more
//! than a 128th part, from nanoseconds to a quarter of an hour, in 35 KB. A library would bring its own counters of
//! any width, serialisation and resizing, and this is all that is needed of it.

use serde_json::{Value, json};

/// Buckets of one doubling, as a power of two.
const BITS: u32 = 7;

/// Samples of 2^40 ns, a quarter of an hour, and above share the last bucket.
const LARGEST: u64 = (1 << 40) - 1;

/// Samples in nanoseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    sum: u128,
    largest: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: vec![0; index(LARGEST) + 1].into_boxed_slice(), count: 0, sum: 0, largest: 0 }
    }
}

impl Histogram {
    /// Adds a sample, in nanoseconds.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        if let Some(bucket) = self.buckets.get_mut(index(nanos.min(LARGEST))) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += u128::from(nanos);
        self.largest = self.largest.max(nanos);
    }

    /// Adds all samples of another one.
    pub fn merge(&mut self, other: &Histogram) {
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.largest = self.largest.max(other.largest);
    }

    /// How many samples there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What no more than `share` of the samples (0.99, say) exceed, in nanoseconds; 0 without samples.
    pub fn percentile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket;
            if seen >= rank {
                return middle(index).min(self.largest);
            }
        }
        self.largest
    }

    /// The largest sample, exactly.
    pub fn largest(&self) -> u64 {
        self.largest
    }

    /// The mean, in nanoseconds.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64
    }

    /// The usual percentiles in milliseconds; null without samples.
    pub fn to_json(&self) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        json!({
            "samples": self.count,
            "mean": round(self.mean()),
            "p50": round(self.percentile(0.5) as f64),
            "p90": round(self.percentile(0.9) as f64),
            "p99": round(self.percentile(0.99) as f64),
            "p99_9": round(self.percentile(0.999) as f64),
            "max": round(self.largest as f64),
        })
    }
}

/// Milliseconds, to the microsecond.
fn round(nanos: f64) -> f64 {
    (nanos / 1e3).round() / 1e3
}

/// The bucket of a sample: below 128 its value, then 128 to each doubling.
#[inline]
fn index(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(BITS + 1);
    ((shift as usize) << BITS) + (nanos >> shift) as usize
}

/// The middle of a bucket.
fn middle(index: usize) -> u64 {
    let shift = (index >> BITS).saturating_sub(1);
    let low = ((index - (shift << BITS)) as u64) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use mqway_engine::sim::Random;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        for value in 0..100_000 {
            let step = index(value + 1) - index(value);
            assert!(step <= 1 && (step == 1 || value >= 256), "{value}");
        }
        for exponent in 8..40 {
            assert_eq!(index(1 << exponent), index((1 << exponent) - 1) + 1);
        }
        for at in 1..index(LARGEST) {
            assert_eq!(index(middle(at)), at);
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_samples_to_a_128th() {
        let mut random = Random::new(3);
        let mut histogram = Histogram::default();
        let mut samples: Vec<u64> =
            (0..50_000).map(|_| random.next_u64() >> (24 + random.below(30))).collect();
        samples.iter().for_each(|sample| histogram.record(*sample));
        samples.sort_unstable();
        for share in [0.001, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = samples[((samples.len() as f64 * share).ceil() as usize).max(1) - 1] as f64;
            let told = histogram.percentile(share) as f64;
            assert!((told - exact).abs() <= exact / 128.0 + 1.0, "{share}: {told} for {exact}");
        }
        assert_eq!(histogram.largest(), samples[samples.len() - 1]);
        let mean = samples.iter().map(|sample| *sample as f64).sum::<f64>() / samples.len() as f64;
        assert!((histogram.mean() / mean - 1.0).abs() < 1e-9);
    }

    #[test]
    fn halves_merge_to_the_whole_and_what_is_too_long_is_still_counted() {
        let (mut whole, mut left, mut right) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for sample in [0, 1, 127, 128, 129, 1_000_000, u64::MAX] {
            whole.record(sample);
            if sample % 2 == 0 { &mut left } else { &mut right }.record(sample);
        }
        left.merge(&right);
        assert_eq!(left.buckets, whole.buckets);
        assert_eq!((left.count(), left.largest()), (7, u64::MAX));
    }

    #[test]
    fn nothing_is_null() {
        assert_eq!(Histogram::default().percentile(0.5), 0);
        assert_eq!(Histogram::default().to_json(), Value::Null);
    }
}

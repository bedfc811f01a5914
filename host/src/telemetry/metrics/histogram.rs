//! The buckets of every histogram, and what is read from them.

/// Where buckets end, for milliseconds and bytes alike: Envoy's. Values are whole, so that only 0 is below 0.5.
pub(super) const BOUNDS: [(u64, &str); 19] = [
    (0, "0.5"),
    (1, "1"),
    (5, "5"),
    (10, "10"),
    (25, "25"),
    (50, "50"),
    (100, "100"),
    (250, "250"),
    (500, "500"),
    (1000, "1000"),
    (2500, "2500"),
    (5000, "5000"),
    (10_000, "10000"),
    (30_000, "30000"),
    (60_000, "60000"),
    (300_000, "300000"),
    (600_000, "600000"),
    (1_800_000, "1800000"),
    (3_600_000, "3600000"),
];

/// The buckets, and one for what is beyond them.
pub(super) const BUCKETS: usize = BOUNDS.len() + 1;

/// The bucket of a value.
pub(super) fn bucket(value: u64) -> usize {
    BOUNDS.partition_point(|(bound, _)| *bound < value)
}

/// What a histogram has recorded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HistogramValue {
    /// Values by bucket; the last is for what is beyond every bound.
    pub buckets: [u64; BUCKETS],
    /// All values together.
    pub sum: u64,
}

impl HistogramValue {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket))
    }

    /// About the value that a share of all do not exceed: by a straight line through its bucket. `None` without values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        // Exact up to 2^53 values.
        let wanted = share.clamp(0.0, 1.0) * float(count);
        let (mut below, mut lower) = (0, 0.0);
        for (index, in_bucket) in self.buckets.iter().enumerate() {
            let upper = BOUNDS.get(index).map_or(lower, |(bound, _)| float(*bound));
            let upto = below + in_bucket;
            if *in_bucket > 0 && float(upto) >= wanted {
                let part = (wanted - float(below)) / float(*in_bucket);
                return Some(lower + (upper - lower) * part);
            }
            (below, lower) = (upto, upper);
        }
        None
    }
}

/// A count as a floating-point number, without `as`.
fn float(count: u64) -> f64 {
    let [high, low] = [count >> 32, count & 0xFFFF_FFFF].map(|half| u32::try_from(half).map_or(0.0, f64::from));
    high * 4_294_967_296.0 + low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_in_its_bucket() {
        let rows = [(0, 0), (1, 1), (2, 2), (5, 2), (6, 3), (3_600_000, 18), (3_600_001, 19), (u64::MAX, 19), (999, 9)];
        for (value, wanted) in rows {
            assert_eq!(bucket(value), wanted, "{value}");
        }
    }

    #[test]
    fn quantiles_are_found_in_their_bucket() {
        let mut value = HistogramValue::default();
        assert_eq!(value.quantile(0.5), None);
        value.buckets[bucket(10)] = 50;
        value.buckets[bucket(100)] = 50;
        let rows = [(0.0, 5.0), (0.25, 7.5), (0.5, 10.0), (0.75, 75.0), (1.0, 100.0), (2.0, 100.0)];
        for (share, wanted) in rows {
            assert_eq!(value.quantile(share), Some(wanted), "{share}");
        }
        value.buckets[19] = 1000;
        assert_eq!(value.quantile(0.99), Some(3_600_000.0), "beyond every bound");
    }

    #[test]
    fn floats_of_large_counts() {
        assert_eq!((float(7), float(u64::MAX)), (7.0, 18_446_744_073_709_551_615.0));
    }
}

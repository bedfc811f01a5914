//! The draw: a uniform one over all weights.

/// Cumulated weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Where each destination's part of the line ends.
    ends: Vec<u64>,
}

impl Shares {
    /// Of weights. `None` when all are zero: there is nothing to draw then.
    pub fn new(weights: impl Iterator<Item = u32>) -> Option<Self> {
        let mut end = 0u64;
        let ends: Vec<u64> = weights
            .map(|weight| {
                end = end.saturating_add(u64::from(weight));
                end
            })
            .collect();
        (end > 0).then_some(Self { ends })
    }

    /// Which destination a uniform draw over all of `u64` falls on; one of weight 0 never.
    pub fn pick(&self, draw: u64) -> usize {
        let total = self.ends.last().copied().unwrap_or(0);
        // Multiply-shift: even to 2^-64 × total, without a division.
        let place = (u128::from(draw) * u128::from(total)) >> 64;
        self.ends.partition_point(|end| u128::from(*end) <= place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(share: f64) -> u64 {
        (share * 18_446_744_073_709_551_616.0) as u64
    }

    #[test]
    fn a_share_is_weight_by_sum() {
        let shares = Shares::new([1, 0, 3].into_iter()).unwrap();
        let cases = [(0.0, 0), (0.2499, 0), (0.2501, 2), (0.9999, 2)];
        for (draw, destination) in cases {
            assert_eq!(shares.pick(at(draw)), destination, "{draw}");
        }
        assert_eq!(shares.pick(u64::MAX), 2);
    }

    #[test]
    fn weights_of_nothing_are_none() {
        assert_eq!(Shares::new([0, 0].into_iter()), None);
        assert!(Shares::new([u32::MAX; 3].into_iter()).is_some());
    }
}

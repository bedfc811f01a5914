//! The ring of consistent hashing: every endpoint owns points on a circle of 64-bit hashes, as in Envoy.

use std::fmt::Write as _;

/// The points of a ring when no number is given.
const DEFAULT_RING_SIZE: u64 = 1024;
/// Envoy's bound on the points of a ring: 8 Mi.
const MAXIMUM_RING_SIZE: u64 = 8 * 1024 * 1024;

/// Points in ascending order of hash, each with the index of the endpoint that owns it.
#[derive(Debug)]
pub(super) struct Ring {
    points: Vec<(u64, usize)>,
}

impl Ring {
    /// The ring of (index, address as text, weight), with at least `minimum_ring_size` points in all; 0 means 1024.
    ///
    /// The lightest endpoint gets a whole number of points, the others in proportion. Running sums over all
    /// endpoints decide who gets the odd point, in Envoy's arithmetic, so that keys land where Envoy puts them.
    pub(super) fn new(endpoints: &[(usize, String, u32)], minimum_ring_size: u64) -> Self {
        let total: f64 = endpoints.iter().map(|(_, _, weight)| f64::from(*weight)).sum();
        let lightest = endpoints.iter().map(|(_, _, weight)| f64::from(*weight) / total).fold(1.0, f64::min);
        let minimum_ring_size = if minimum_ring_size == 0 { DEFAULT_RING_SIZE } else { minimum_ring_size };
        let minimum = f64::from(u32::try_from(minimum_ring_size.min(MAXIMUM_RING_SIZE)).unwrap_or(u32::MAX));
        let maximum = f64::from(u32::try_from(MAXIMUM_RING_SIZE).unwrap_or(u32::MAX));
        let scale = ((lightest * minimum).ceil() / lightest).min(maximum);
        let mut points = Vec::new();
        let (mut current, mut target) = (0.0, 0.0);
        for (index, address, weight) in endpoints {
            target += scale * (f64::from(*weight) / total);
            let mut number: u64 = 0;
            let mut key = String::new();
            while current < target {
                key.clear();
                // Writing to a string cannot fail.
                let _ = write!(key, "{address}_{number}");
                points.push((super::hash_key(key.as_bytes()), *index));
                number = number.saturating_add(1);
                current += 1.0;
            }
        }
        points.sort_by_key(|(hash, _)| *hash);
        Self { points }
    }

    /// The endpoint that owns `hash`: that of the first point at or after it, `attempt` points further on, and from
    /// there the first that is `eligible`. None when no endpoint on the ring is.
    pub(super) fn choose(&self, hash: u64, attempt: usize, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let first = self.points.partition_point(|(point, _)| *point < hash);
        let start = first.saturating_add(attempt).checked_rem(self.points.len())?;
        let (before, after) = self.points.split_at_checked(start)?;
        after.iter().chain(before).map(|(_, index)| *index).find(|index| eligible(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::draws::SplitMix64;
    use super::*;

    fn endpoints(weights: &[u32]) -> Vec<(usize, String, u32)> {
        weights.iter().enumerate().map(|(i, weight)| (i, format!("10.0.0.{i}:80"), *weight)).collect()
    }

    fn points_of(ring: &Ring, endpoint: usize) -> usize {
        ring.points.iter().filter(|(_, index)| *index == endpoint).count()
    }

    #[test]
    fn points_are_in_proportion_to_weight() {
        // Weights, minimum, wanted points per endpoint.
        const CASES: &[(&[u32], u64, &[usize])] = &[
            (&[1], 1024, &[1024]),
            (&[1, 1, 1], 1024, &[342, 342, 342]),
            (&[1, 3], 1024, &[256, 768]),
            (&[2, 3], 6, &[3, 5]),
            (&[1, 1], 0, &[512, 512]),
            (&[1, 1], 1, &[1, 1]),
        ];
        for (weights, minimum, wanted) in CASES {
            let ring = Ring::new(&endpoints(weights), *minimum);
            let got: Vec<_> = (0..weights.len()).map(|endpoint| points_of(&ring, endpoint)).collect();
            assert_eq!(&got, wanted, "weights {weights:?}, minimum {minimum}");
        }
    }

    #[test]
    fn the_owner_is_at_the_first_point_at_or_after_the_hash() {
        let ring = Ring { points: vec![(10, 0), (20, 1), (30, 2)] };
        // Hash, attempt, ejected endpoint, owner.
        const CASES: &[(u64, usize, usize, usize)] = &[
            (0, 0, 9, 0),
            (10, 0, 9, 0),
            (11, 0, 9, 1),
            (30, 0, 9, 2),
            (31, 0, 9, 0),
            (u64::MAX, 0, 9, 0),
            (11, 1, 9, 2),
            (11, 2, 9, 0),
            (11, usize::MAX, 9, 0),
            (11, 0, 1, 2),
            (25, 0, 2, 0),
        ];
        for (hash, attempt, ejected, owner) in CASES {
            assert_eq!(
                ring.choose(*hash, *attempt, |index| index != *ejected),
                Some(*owner),
                "{hash} {attempt} {ejected}"
            );
        }
        assert_eq!(ring.choose(11, 0, |_| false), None);
        assert_eq!(Ring::new(&[], 1024).choose(11, 0, |_| true), None);
    }

    #[test]
    fn points_are_those_of_envoy() {
        // The ring that Envoy's own tests expect of six endpoints and a minimum of twelve points.
        const WANTED: [(u64, usize); 12] = [
            (833437586790550860, 4),
            (928266305478181108, 2),
            (1033482794131418490, 0),
            (3551244743356806947, 5),
            (3851675632748031481, 3),
            (5583722120771150861, 1),
            (6311230543546372928, 1),
            (7700377290971790572, 3),
            (13144177310400110813, 5),
            (13444792449719432967, 2),
            (15516499411664133160, 4),
            (16117243373044804889, 0),
        ];
        let six: Vec<_> = (0..6).map(|i| (i, format!("127.0.0.1:{}", 90 + i), 1)).collect();
        assert_eq!(Ring::new(&six, 12).points, WANTED);
    }

    #[test]
    fn a_lost_endpoint_moves_little_else() {
        let all = endpoints(&[1; 10]);
        let (full, fewer) = (Ring::new(&all, 1024), Ring::new(&all[..9], 1024));
        let mut draws = SplitMix64(7);
        let (mut kept, mut moved) = (0, 0);
        for _ in 0..20_000 {
            let hash = draws.draw();
            let owner = full.choose(hash, 0, |_| true);
            if owner == Some(9) {
                continue;
            }
            // Ejected: nobody else's keys move at all.
            assert_eq!(full.choose(hash, 0, |index| index != 9), owner);
            // Removed: the others get new points, and only these take keys over.
            *if fewer.choose(hash, 0, |_| true) == owner { &mut kept } else { &mut moved } += 1;
        }
        assert!(moved * 100 < kept * 15, "{moved} moved, {kept} kept");
    }
}

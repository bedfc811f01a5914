//! Which destination a key belongs to: weighted rendezvous hashing.

use twox_hash::XxHash64;

/// The destination of a key: always the same for the same key, names and weights.
///
/// Each destination scores by the hash of key and name, and by its weight; the highest score wins. Since a score
/// depends on nothing else, a weight that grows only draws keys to its destination, and one that shrinks only gives
/// keys away: no key moves between destinations whose weights stay. Destinations get their shares of many keys.
///
/// `None` when all weights are zero.
pub fn choose<'d>(key: &[u8], destinations: impl Iterator<Item = (&'d str, u32)>) -> Option<usize> {
    let mut best: Option<(usize, u64, u64)> = None;
    for (index, (name, weight)) in destinations.enumerate() {
        if weight == 0 {
            continue;
        }
        let (weight, cost) = (u64::from(weight), negative_log2(hash(key, name)));
        // weight ÷ cost is the score; compared by cross-multiplying, exactly.
        let wins = best.is_none_or(|(_, best_weight, best_cost)| {
            u128::from(weight) * u128::from(best_cost) > u128::from(best_weight) * u128::from(cost)
        });
        if wins {
            best = Some((index, weight, cost));
        }
    }
    best.map(|(index, ..)| index)
}

fn hash(key: &[u8], name: &str) -> u64 {
    XxHash64::oneshot(XxHash64::oneshot(0, name.as_bytes()), key)
}

/// Bits behind the binary point of a logarithm.
const FRACTION: u32 = 32;

/// −log₂ of `hash` ÷ 2⁶⁴, as a fixed-point number; never zero. In integers, because floating-point logarithms differ
/// between machines and a client must stay where it is on all of them.
fn negative_log2(hash: u64) -> u64 {
    let hash = hash | 1;
    let whole = 63 - hash.leading_zeros();
    // 1 ≤ mantissa < 2, with 63 bits behind the point: squaring it doubles its logarithm and yields one bit of it.
    let mut mantissa = u128::from(hash) << hash.leading_zeros();
    let mut log = u64::from(whole);
    for _ in 0..FRACTION {
        mantissa = (mantissa * mantissa) >> 63;
        let bit = mantissa >> 64;
        mantissa >>= bit;
        log = (log << 1) | u64::from(bit == 1);
    }
    (64 << FRACTION) - log
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u32 = 40_000;

    fn chosen(weights: &[(&'static str, u32)]) -> Vec<usize> {
        (0..KEYS).map(|key| choose(key.to_string().as_bytes(), weights.iter().copied()).unwrap()).collect()
    }

    fn share(chosen: &[usize], destination: usize) -> f64 {
        chosen.iter().filter(|&&d| d == destination).count() as f64 / f64::from(KEYS)
    }

    /// Four standard deviations of a share of so many keys.
    fn near(share: f64, expected: f64) -> bool {
        (share - expected).abs() <= 4.0 * (expected * (1.0 - expected) / f64::from(KEYS)).sqrt()
    }

    #[test]
    fn keys_split_by_weight() {
        let chosen = chosen(&[("v1", 1), ("v2", 3), ("v3", 0), ("v4", 4)]);
        for (destination, expected) in [(0, 0.125), (1, 0.375), (3, 0.5)] {
            let share = share(&chosen, destination);
            assert!(near(share, expected), "{destination}: {share}");
        }
        assert_eq!(share(&chosen, 2), 0.0);
    }

    #[test]
    fn a_shift_between_two_moves_exactly_its_share() {
        let (before, after) = (chosen(&[("v1", 80), ("v2", 20)]), chosen(&[("v1", 70), ("v2", 30)]));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || (*before, *after) == (0, 1)));
        assert!(near(moved as f64 / f64::from(KEYS), 0.1), "{moved}");
    }

    #[test]
    fn a_weight_that_grows_only_draws_keys_to_itself() {
        let before = chosen(&[("v1", 50), ("v2", 30), ("v3", 20)]);
        let after = chosen(&[("v1", 50), ("v2", 60), ("v3", 20)]);
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || *after == 1));
    }

    #[test]
    fn names_not_places_count() {
        let (one, other) = (chosen(&[("v1", 80), ("v2", 20)]), chosen(&[("v2", 20), ("v1", 80)]));
        assert!(one.iter().zip(&other).all(|(one, other)| one + other == 1));
    }

    #[test]
    fn logarithms_are_right() {
        for (hash, expected) in
            [(1u64, 64.0), (1 << 63, 1.0), (u64::MAX, 0.0), (3 << 62, 0.415_037_499), (1 << 32, 32.0)]
        {
            let found = negative_log2(hash) as f64 / 4_294_967_296.0;
            assert!((found - expected).abs() < 1e-8, "{hash}: {found}");
        }
        assert!(negative_log2(u64::MAX) > 0);
    }
}

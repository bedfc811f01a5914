//! Maglev's lookup table: even shares, and few keys that move when the endpoints change (Eisenbud et al., NSDI 2016).

use twox_hash::XxHash64;

/// Envoy's size of a table when none is given.
const DEFAULT_TABLE_SIZE: u64 = 65_537;
/// Envoy's bound on the size of a table, itself prime.
const MAXIMUM_TABLE_SIZE: u64 = 5_000_011;

/// For every slot the index of the endpoint that owns it: 32 bits, as tables are large.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<u32>,
}

/// An endpoint while the table is filled: its permutation of the slots, and how far it has come.
struct Filler {
    index: u32,
    /// The slot it wants next, and how far from one wanted slot to the next.
    slot: u64,
    skip: u64,
    weight: u64,
    /// It takes its turn when rounds × weight reaches this.
    target: u64,
}

impl Table {
    /// The table of (index, address as text, weight).
    ///
    /// `table_size` has to be prime, or an endpoint's permutation would not reach every slot: another number is
    /// raised to the next prime, 0 means 65537, and 5000011 is the most.
    pub(super) fn new(endpoints: &[(usize, String, u32)], table_size: u64) -> Self {
        let size = prime_size(table_size);
        // In order of address: an order that changes with the configuration would move keys.
        let mut sorted: Vec<_> = endpoints.iter().collect();
        sorted.sort_by(|a, b| a.1.cmp(&b.1));
        let mut fillers: Vec<_> = sorted.into_iter().map(|endpoint| filler(endpoint, size)).collect();
        Self { slots: fill(&mut fillers, size) }
    }

    /// The endpoint that owns `hash`, or when it is not `eligible` the first in the slots after it that is. A later
    /// `attempt` changes the hash as Envoy does. None when no endpoint in the table is eligible.
    pub(super) fn choose(&self, hash: u64, attempt: usize, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let hash = if attempt == 0 { hash } else { hash ^ u64::MAX.wrapping_sub(attempt as u64).wrapping_add(1) };
        let start = hash.checked_rem(self.slots.len() as u64)?;
        let (before, after) = self.slots.split_at_checked(usize::try_from(start).ok()?)?;
        let owners = after.iter().chain(before);
        owners.filter_map(|index| usize::try_from(*index).ok()).find(|index| eligible(*index))
    }
}

fn filler((index, address, weight): &(usize, String, u32), size: u64) -> Filler {
    let hash = |seed| XxHash64::oneshot(seed, address.as_bytes());
    let slot = hash(0).checked_rem(size).unwrap_or(0);
    let skip = hash(1).checked_rem(size.saturating_sub(1)).unwrap_or(0).saturating_add(1);
    let index = u32::try_from(*index).unwrap_or(u32::MAX);
    Filler { index, slot, skip, weight: u64::from(*weight), target: 0 }
}

/// Every endpoint in turn takes the next free slot of its permutation; a lighter one sits out rounds.
fn fill(fillers: &mut [Filler], size: u64) -> Vec<u32> {
    let heaviest = fillers.iter().map(|filler| filler.weight).max().unwrap_or(0);
    if heaviest == 0 {
        return Vec::new();
    }
    let mut slots: Vec<Option<u32>> = vec![None; usize::try_from(size).unwrap_or(0)];
    let mut left = slots.len();
    let mut round: u64 = 0;
    while left > 0 {
        round = round.saturating_add(1);
        for filler in fillers.iter_mut() {
            if round.saturating_mul(filler.weight) < filler.target {
                continue;
            }
            filler.target = filler.target.saturating_add(heaviest);
            take_slot(filler, &mut slots, size);
            left = left.saturating_sub(1);
            if left == 0 {
                break;
            }
        }
    }
    slots.into_iter().flatten().collect()
}

/// Takes the next free slot of the permutation. The caller knows that one is free, and the size is prime: the walk
/// over at most `size` slots finds it.
fn take_slot(filler: &mut Filler, slots: &mut [Option<u32>], size: u64) {
    for _ in 0..size {
        let wanted = usize::try_from(filler.slot).ok().and_then(|slot| slots.get_mut(slot));
        filler.slot = filler.slot.saturating_add(filler.skip).checked_rem(size).unwrap_or(0);
        if let Some(free @ None) = wanted {
            *free = Some(filler.index);
            return;
        }
    }
}

fn prime_size(table_size: u64) -> u64 {
    match table_size {
        0 => DEFAULT_TABLE_SIZE,
        MAXIMUM_TABLE_SIZE.. => MAXIMUM_TABLE_SIZE,
        size => (size..MAXIMUM_TABLE_SIZE).find(|size| is_prime(*size)).unwrap_or(MAXIMUM_TABLE_SIZE),
    }
}

fn is_prime(number: u64) -> bool {
    let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    number >= 2 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::super::super::draws::SplitMix64;
    use super::*;

    fn endpoints(weights: &[u32]) -> Vec<(usize, String, u32)> {
        weights.iter().enumerate().map(|(i, weight)| (i, format!("10.0.0.{i}:80"), *weight)).collect()
    }

    fn slots_of(table: &Table, endpoint: usize) -> usize {
        table.slots.iter().filter(|index| **index as usize == endpoint).count()
    }

    #[test]
    fn sizes_are_prime() {
        const CASES: &[(u64, u64)] = &[
            (0, 65_537),
            (1, 2),
            (2, 2),
            (3, 3),
            (4, 5),
            (100, 101),
            (65_536, 65_537),
            (5_000_000, 5_000_011),
            (u64::MAX, 5_000_011),
        ];
        for (size, wanted) in CASES {
            assert_eq!(prime_size(*size), *wanted, "size {size}");
        }
        assert!(is_prime(MAXIMUM_TABLE_SIZE) && !is_prime(0) && !is_prime(1) && !is_prime(49));
    }

    #[test]
    fn slots_are_in_proportion_to_weight() {
        // Weights, table size, wanted slots per endpoint, give or take one.
        const CASES: &[(&[u32], u64, &[usize])] = &[
            (&[1], 11, &[11]),
            (&[1, 1, 1], 101, &[34, 34, 33]),
            (&[1, 3], 101, &[25, 76]),
            (&[1, 2, 7], 1009, &[101, 202, 706]),
            (&[5, u32::MAX], 101, &[1, 100]),
            (&[1, 1, 1, 1, 1], 3, &[1, 1, 1, 0, 0]),
        ];
        for (weights, size, wanted) in CASES {
            let table = Table::new(&endpoints(weights), *size);
            assert_eq!(table.slots.len() as u64, *size);
            for (endpoint, wanted) in wanted.iter().enumerate() {
                let got = slots_of(&table, endpoint);
                assert!(got.abs_diff(*wanted) <= 1, "weights {weights:?}: endpoint {endpoint} has {got}, not {wanted}");
            }
        }
    }

    #[test]
    fn the_first_slot_is_the_offset_and_the_next_a_skip_further() {
        let (slots, hash) =
            (Table::new(&endpoints(&[1, 1]), 101).slots, |seed| XxHash64::oneshot(seed, b"10.0.0.0:80"));
        let (offset, skip) = (hash(0) % 101, hash(1) % 100 + 1);
        assert_eq!(slots[usize::try_from(offset).unwrap()], 0);
        assert_eq!(slots[usize::try_from((offset + skip) % 101).unwrap()], 0);
    }

    #[test]
    fn slots_are_those_of_envoy() {
        // The assignments that Envoy's own tests expect of six endpoints in seven slots.
        let six: Vec<_> = (0..6).map(|i| (i, format!("127.0.0.1:{}", 90 + i), 1)).collect();
        assert_eq!(Table::new(&six, 7).slots, [2, 4, 0, 1, 5, 0, 3]);
    }

    #[test]
    fn order_of_the_endpoints_does_not_matter() {
        let ascending = endpoints(&[1, 1, 2]);
        let descending: Vec<_> = ascending.iter().rev().cloned().collect();
        assert_eq!(Table::new(&ascending, 101).slots, Table::new(&descending, 101).slots);
    }

    #[test]
    fn an_ejected_owner_is_replaced_and_nobody_is_nobody() {
        let table = Table { slots: vec![0, 1, 2] };
        assert_eq!(table.choose(4, 0, |_| true), Some(1));
        assert_eq!(table.choose(4, 0, |index| index != 1), Some(2));
        assert_eq!(table.choose(5, 0, |index| index == 1), Some(1));
        assert_eq!(table.choose(4, 0, |_| false), None);
        assert_eq!(Table::new(&[], 101).choose(4, 0, |_| true), None);
    }

    #[test]
    fn attempts_reach_other_endpoints() {
        let table = Table::new(&endpoints(&[1; 5]), 1009);
        let reached: std::collections::BTreeSet<_> =
            (0..6).filter_map(|attempt| table.choose(77, attempt, |_| true)).collect();
        assert!(reached.len() > 1, "{reached:?}");
    }

    #[test]
    fn a_lost_endpoint_moves_little_else() {
        let all = endpoints(&[1; 10]);
        let (full, fewer) = (Table::new(&all, 10_007), Table::new(&all[..9], 10_007));
        let mut draws = SplitMix64(11);
        let (mut kept, mut moved) = (0, 0);
        for _ in 0..20_000 {
            let hash = draws.draw();
            let owner = full.choose(hash, 0, |_| true);
            if owner == Some(9) {
                continue;
            }
            // Ejected: nobody else's keys move at all.
            assert_eq!(full.choose(hash, 0, |index| index != 9), owner);
            *if fewer.choose(hash, 0, |_| true) == owner { &mut kept } else { &mut moved } += 1;
        }
        assert!(moved * 100 < kept * 6, "{moved} moved, {kept} kept");
    }
}

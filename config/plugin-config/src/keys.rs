//! The keys of large configurations (route ids, domains, prefixes), each found in one step.

use crate::Index;

/// Distinct byte strings, each under a tag, numbered in the order in which they came. What belongs to a key stands in a
/// vector of its user's.
///
/// One table for whatever is looked up by a text, instead of a hash map for each type of value: a module holds its code
/// once, and ten thousand keys are one allocation.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    index: Index,
}

/// A key's tag, and where its bytes end; they start where those of the key before it end.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    end: u32,
}

impl Keys {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of a key.
    pub fn find(&self, tag: u32, key: &[u8]) -> Option<u32> {
        if self.is_empty() { None } else { self.hashed(hash(tag, key), tag, key) }
    }

    fn hashed(&self, hash: u64, tag: u32, key: &[u8]) -> Option<u32> {
        self.index.find(hash, |number| self.get(number) == Some((tag, key)))
    }

    /// The number of a key, and whether it is new. Beyond 4 GiB none is added any more, and the number is one that no
    /// key has.
    pub fn insert(&mut self, tag: u32, key: &[u8]) -> (u32, bool) {
        let hash = hash(tag, key);
        if let Some(number) = self.hashed(hash, tag, key) {
            return (number, false);
        }
        let number = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let Ok(end) = u32::try_from(self.bytes.len().saturating_add(key.len())) else {
            return (u32::MAX, true);
        };
        self.bytes.extend_from_slice(key);
        self.entries.push(Entry { tag, end });
        self.index.insert(hash, number);
        (number, true)
    }

    /// A key by its number, with its tag.
    pub fn get(&self, number: u32) -> Option<(u32, &[u8])> {
        let place = number as usize;
        let start = match place.checked_sub(1) {
            Some(before) => self.entries.get(before)?.end,
            None => 0,
        };
        let Entry { tag, end } = *self.entries.get(place)?;
        Some((tag, self.bytes.get(start as usize..end as usize)?))
    }
}

/// By words of four bytes, each mixed in by a multiplication into twice as many bits; the length first, since the last word
/// may be short.
fn hash(tag: u32, key: &[u8]) -> u64 {
    let mix = |hash: u64, word: u32| (hash.rotate_left(23) ^ u64::from(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut hash = mix(tag.into(), u32::try_from(key.len()).unwrap_or_default());
    let mut rest = key;
    while let Some((word, more)) = rest.split_first_chunk::<4>() {
        hash = mix(hash, u32::from_le_bytes(*word));
        rest = more;
    }
    rest.iter().fold(hash, |hash, byte| mix(hash, u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_order_of_arrival() {
        let mut keys = Keys::new();
        for number in 0..10_000u32 {
            assert_eq!(keys.insert(number % 3, format!("key {}", number / 3).as_bytes()), (number, true));
        }
        assert_eq!(keys.insert(2, b"key 5"), (17, false));
        assert_eq!((keys.find(2, b"key 5"), keys.find(3, b"key 5"), keys.find(2, b"key")), (Some(17), None, None));
        assert_eq!((keys.get(17), keys.get(10_000)), (Some((2, &b"key 5"[..])), None));
        assert_eq!((keys.insert(0, b""), keys.find(0, b"")), ((10_000, true), Some(10_000)));
        assert_eq!(keys.len(), 10_001);
    }

    #[test]
    fn hashes_do_not_crowd() {
        let upper = |i: u32| hash(0, format!("/item/{i:05}").as_bytes()) >> 32;
        let hashes: std::collections::BTreeSet<u64> = (0..10_000).map(upper).collect();
        assert!(hashes.len() > 9_980, "{}", hashes.len());
    }
}

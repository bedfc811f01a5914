//! Tokens that were verified before: a signature costs a guest a hundred times what remembering one does.

use crate::claims::Left;
use plugin_config::Keys;
use std::rc::Rc;

/// How many tokens each of the two generations holds.
const MOST_ENTRIES: usize = 1_000;
/// How many bytes of tokens, and of what they leave, each generation holds.
const MOST_BYTES: usize = 2 << 20;

/// A token that a provider has accepted.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// By which provider.
    pub(crate) provider: usize,
    /// With which of its keys: another set may have lost the one it was signed with.
    pub(crate) keys: u64,
    /// From when to when it is good, in seconds since the Unix epoch, clock skew included.
    pub(crate) valid: (u64, u64),
    pub(crate) left: Rc<Left>,
}

/// Accepted tokens by location and token. When one generation is full the older is forgotten, so that what is asked for
/// again and again stays, and memory is bounded by the two.
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    tokens: Keys,
    accepted: Vec<Accepted>,
    bytes: usize,
}

impl TokenCache {
    /// What is known about a token. Whether it is still good, whoever asks must find out.
    pub(crate) fn get(&mut self, location: usize, token: &[u8]) -> Option<Accepted> {
        if let Some(accepted) = self.young.get(location, token) {
            return Some(accepted.clone());
        }
        let accepted = self.old.get(location, token)?.clone();
        self.insert(location, token, accepted.clone());
        Some(accepted)
    }

    /// Remembers a token, in place of what was known about it.
    pub(crate) fn insert(&mut self, location: usize, token: &[u8], accepted: Accepted) {
        let size = token.len() + accepted.left.size();
        // One that would take much of the place alone is rather verified each time.
        if size > MOST_BYTES / 16 {
            return;
        }
        if self.young.accepted.len() >= MOST_ENTRIES || self.young.bytes + size > MOST_BYTES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(location, token, size, accepted);
    }
}

impl Generation {
    fn get(&self, location: usize, token: &[u8]) -> Option<&Accepted> {
        let number = self.tokens.find(u32::try_from(location).ok()?, token)?;
        self.accepted.get(number as usize)
    }

    fn insert(&mut self, location: usize, token: &[u8], size: usize, accepted: Accepted) {
        let Ok(tag) = u32::try_from(location) else {
            return;
        };
        let (number, _) = self.tokens.insert(tag, token);
        match self.accepted.get_mut(number as usize) {
            Some(known) => *known = accepted,
            None => {
                self.accepted.push(accepted);
                self.bytes += size;
            }
        }
    }
}

impl Left {
    fn size(&self) -> usize {
        self.claims.len()
            + self
                .headers
                .iter()
                .chain(&self.claim_headers)
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(provider: usize, size: usize) -> Accepted {
        let left = Left { claims: vec![0; size], headers: Vec::new(), claim_headers: Vec::new() };
        Accepted { provider, keys: 0, valid: (0, 0), left: Rc::new(left) }
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let mut cache = TokenCache::default();
        cache.insert(0, b"kept", accepted(7, 10));
        for i in 0..10 * MOST_ENTRIES {
            cache.insert(0, format!("token {i}").as_bytes(), accepted(0, 10));
            assert_eq!(cache.get(0, b"kept").map(|accepted| accepted.provider), Some(7), "{i}");
        }
        assert!(cache.get(0, b"token 0").is_none() && cache.get(1, b"kept").is_none());
        assert!(cache.young.accepted.len() + cache.old.accepted.len() <= 2 * MOST_ENTRIES);
    }

    #[test]
    fn bytes_are_bounded() {
        let mut cache = TokenCache::default();
        for i in 0..100u32 {
            cache.insert(0, &i.to_le_bytes(), accepted(0, MOST_BYTES / 20));
        }
        assert!(cache.young.bytes <= MOST_BYTES && cache.old.bytes <= MOST_BYTES);
        cache.insert(0, b"huge", accepted(0, MOST_BYTES));
        assert!(cache.get(0, b"huge").is_none());
        cache.insert(0, b"again", accepted(1, 1));
        cache.insert(0, b"again", accepted(2, 1));
        assert_eq!(cache.get(0, b"again").map(|accepted| accepted.provider), Some(2));
    }
}

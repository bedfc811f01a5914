//! What draws can do at all, whichever policy a request is about.

use plugin_config::Percent;

/// The largest shares among several policies, by what is drawn for. Most draws fall outside them, and then nobody need ask
/// which policy it is about: a draw is free, to learn a request's route costs a hostcall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach<K>(Vec<(K, Percent)>);

impl<K: Copy + PartialEq> Reach<K> {
    /// Of the shares that each policy has, in the order in which it draws.
    pub fn of<P: IntoIterator<Item = (K, Percent)>>(policies: impl Iterator<Item = P>) -> Self {
        let mut most: Vec<(K, Percent)> = Vec::new();
        for (key, share) in policies.flatten() {
            match most.iter_mut().find(|(known, _)| *known == key) {
                Some((_, most)) => *most = (*most).max(share),
                None => most.push((key, share)),
            }
        }
        Self(most)
    }

    /// Whether one of the policies might hit, by the very draws that it takes afterwards.
    ///
    /// # Errors
    /// Those of a draw.
    pub fn may_hit<E>(&self, mut draw: impl FnMut(K) -> Result<u64, E>) -> Result<bool, E> {
        for (key, share) in &self.0 {
            if share.hits_drawn(|| draw(*key))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

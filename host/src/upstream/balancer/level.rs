//! The endpoints of one priority, and how one of them is chosen by each policy.

use super::maglev::Table;
use super::ring_hash::Ring;
use super::schedule::Schedule;
use super::{EndpointState, LoadBalancingPolicy};
use std::sync::Arc;

/// One priority of a balancer. Endpoints are indices into the balancer's list.
#[derive(Clone, Debug)]
pub(super) struct Level {
    /// All endpoints of the priority, in ascending order.
    pub(super) members: Vec<usize>,
    /// Those a pick may choose now: the healthy ones, or all in panic. In ascending order.
    candidates: Vec<usize>,
    turns: Turns,
    keys: Keys,
    /// Where round robin stands, from a start by chance.
    cursor: u64,
}

/// Whose turn it is, where the policy and unequal weights ask for turns.
#[derive(Clone, Debug)]
enum Turns {
    Equal,
    Weighted(Schedule),
}

/// Who owns which key. Over all members: an ejection moves no key but those of the ejected, and needs no new table.
#[derive(Clone, Debug)]
enum Keys {
    None,
    Ring(Arc<Ring>),
    Maglev(Arc<Table>),
}

impl Level {
    /// The level of `members`; nobody can be picked before [`Self::renew`].
    pub(super) fn new(
        policy: &LoadBalancingPolicy,
        members: Vec<usize>,
        all: &[Arc<EndpointState>],
        draw: u64,
    ) -> Self {
        let keys = match policy {
            LoadBalancingPolicy::RingHash { minimum_ring_size } => {
                Keys::Ring(Arc::new(Ring::new(&described(&members, all), *minimum_ring_size)))
            }
            LoadBalancingPolicy::Maglev { table_size } => {
                Keys::Maglev(Arc::new(Table::new(&described(&members, all), *table_size)))
            }
            _ => Keys::None,
        };
        Self { candidates: Vec::new(), members, turns: Turns::Equal, keys, cursor: draw }
    }

    /// The same level for another worker, with its own start; it too needs [`Self::renew`].
    pub(super) fn restarted(&self, draw: u64) -> Self {
        Self { cursor: draw, candidates: Vec::new(), turns: Turns::Equal, ..self.clone() }
    }

    /// Takes the health of the endpoints as it is now; in `panic` all are as good as healthy.
    pub(super) fn renew(&mut self, policy: &LoadBalancingPolicy, all: &[Arc<EndpointState>], panic: bool) {
        let healthy = |index: &usize| panic || all.get(*index).is_some_and(|endpoint| !endpoint.is_ejected());
        let candidates: Vec<usize> = self.members.iter().copied().filter(healthy).collect();
        if candidates == self.candidates {
            // A change elsewhere: the turns go on where they are.
            return;
        }
        self.candidates = candidates;
        let mut weights = self.candidates.iter().map(|index| weight(all, *index));
        let first = weights.next();
        let unequal = weights.any(|weight| Some(weight) != first);
        let schedule = |weight_of: &dyn Fn(usize) -> f64| Schedule::new(&self.candidates, weight_of, self.cursor);
        self.turns = match policy {
            LoadBalancingPolicy::RoundRobin if unequal => Turns::Weighted(schedule(&|index| weight(all, index))),
            LoadBalancingPolicy::LeastRequest if unequal => {
                Turns::Weighted(schedule(&|index| spare_weight(all, index)))
            }
            _ => Turns::Equal,
        };
    }

    /// One choice. `hash` counts where keys own endpoints; `attempt` moves on from what the same hash chose before.
    pub(super) fn choose(
        &mut self,
        policy: &LoadBalancingPolicy,
        all: &[Arc<EndpointState>],
        hash: Option<u64>,
        attempt: usize,
        draw: &mut dyn FnMut() -> u64,
    ) -> Option<usize> {
        match (policy, &mut self.turns) {
            (LoadBalancingPolicy::RoundRobin, Turns::Weighted(schedule)) => schedule.next(|index| weight(all, index)),
            (LoadBalancingPolicy::LeastRequest, Turns::Weighted(schedule)) => {
                schedule.next(|index| spare_weight(all, index))
            }
            (LoadBalancingPolicy::RoundRobin, Turns::Equal) => {
                let turn = self.cursor;
                self.cursor = self.cursor.wrapping_add(1);
                self.candidate(turn)
            }
            (LoadBalancingPolicy::LeastRequest, Turns::Equal) => self.less_busy_of_two(all, draw),
            (LoadBalancingPolicy::Random, _) => self.candidate(draw()),
            (LoadBalancingPolicy::RingHash { .. } | LoadBalancingPolicy::Maglev { .. }, _) => {
                let hash = hash.unwrap_or_else(&mut *draw);
                // A table with fewer slots than endpoints may have none of a candidate.
                self.owner(hash, attempt).or_else(|| self.candidate(hash))
            }
        }
    }

    fn candidate(&self, draw: u64) -> Option<usize> {
        let position = draw.checked_rem(self.candidates.len() as u64)?;
        self.candidates.get(usize::try_from(position).ok()?).copied()
    }

    /// Power of two choices: the first drawn, unless the second is less busy.
    fn less_busy_of_two(&self, all: &[Arc<EndpointState>], draw: &mut dyn FnMut() -> u64) -> Option<usize> {
        let active = |index: usize| all.get(index).map_or(u32::MAX, |endpoint| endpoint.active_requests());
        let (first, second) = (self.candidate(draw())?, self.candidate(draw())?);
        Some(if active(second) < active(first) { second } else { first })
    }

    fn owner(&self, hash: u64, attempt: usize) -> Option<usize> {
        let eligible = |index: usize| self.candidates.binary_search(&index).is_ok();
        match &self.keys {
            Keys::None => None,
            Keys::Ring(ring) => ring.choose(hash, attempt, eligible),
            Keys::Maglev(table) => table.choose(hash, attempt, eligible),
        }
    }
}

fn weight(all: &[Arc<EndpointState>], index: usize) -> f64 {
    all.get(index).map_or(1.0, |endpoint| f64::from(endpoint.weight()))
}

/// Envoy's weight of an endpoint under least request: its configured weight / (active requests + 1).
fn spare_weight(all: &[Arc<EndpointState>], index: usize) -> f64 {
    let active = all.get(index).map_or(0, |endpoint| endpoint.active_requests());
    weight(all, index) / (f64::from(active) + 1.0)
}

/// What a table needs of its endpoints; the address as text is what Envoy hashes (`10.0.0.1:80`, `[::1]:80`).
fn described(members: &[usize], all: &[Arc<EndpointState>]) -> Vec<(usize, String, u32)> {
    let known = members.iter().filter_map(|index| Some((*index, all.get(*index)?)));
    known.map(|(index, endpoint)| (index, endpoint.address().to_string(), endpoint.weight())).collect()
}

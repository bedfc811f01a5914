//! Choosing the endpoint of a request: after the cluster is known, before a connection is taken from its pool.

mod endpoint;
mod level;
mod maglev;
mod priorities;
mod ring_hash;
mod schedule;
#[cfg(test)]
mod tests;

pub use endpoint::{ActiveRequest, EndpointState};
use level::Level;
use priorities::{LevelHealth, LevelLoad, distribute};
use std::collections::BTreeMap;
use std::sync::Arc;
use twox_hash::XxHash64;

/// How many more picks a retry gets to find an endpoint not tried before: Istio's `hostSelectionRetryMaxAttempts`.
const RE_PICKS: usize = 5;

/// How an endpoint is chosen among the healthy ones of a priority (DestinationRule `loadBalancer`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LoadBalancingPolicy {
    /// The less busy of two drawn by chance; with unequal weights a schedule by weight / (active requests + 1).
    #[default]
    LeastRequest,
    /// In turn, from a start by chance; with unequal weights a smooth schedule by weight.
    RoundRobin,
    /// By chance; weights do not count, as in Envoy.
    Random,
    /// By key, on a ring of points.
    RingHash {
        /// The least number of points on the ring, of all endpoints together; 0 means Istio's default of 1024.
        minimum_ring_size: u64,
    },
    /// By key, from a lookup table.
    Maglev {
        /// Slots of the table: a prime, at most 5000011; 0 means Envoy's default of 65537.
        table_size: u64,
    },
}

impl LoadBalancingPolicy {
    /// Whether requests with the same key go to the same endpoint, so that a hash of the key is worth computing.
    pub fn is_by_key(&self) -> bool {
        matches!(self, Self::RingHash { .. } | Self::Maglev { .. })
    }
}

/// The hash of a key for [`Balancer::pick`]: xxHash64 with seed 0, as Envoy hashes headers, cookies and addresses.
pub fn hash_key(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// Picks endpoints for one worker. The endpoints are shared between workers, the place in the rotation is not.
#[derive(Debug)]
pub struct Balancer {
    policy: LoadBalancingPolicy,
    endpoints: Vec<Arc<EndpointState>>,
    panic_threshold_percent: u32,
    /// By priority, the most wanted first, each with its share of the picks.
    levels: Vec<(Level, LevelLoad)>,
    /// The count of health changes the levels were renewed at.
    renewed_at: u64,
}

impl Balancer {
    /// A balancer over `endpoints`; an index a pick returns is a position in them.
    ///
    /// `panic_threshold_percent`: once fewer endpoints of a priority are healthy, ejections are ignored in it; 0 never
    /// (Istio's `minHealthPercent`). `draw` is where the rotation starts: workers should not go in step.
    pub fn new(
        policy: LoadBalancingPolicy,
        endpoints: Vec<Arc<EndpointState>>,
        panic_threshold_percent: u32,
        draw: u64,
    ) -> Self {
        let mut by_priority: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            by_priority.entry(endpoint.priority()).or_default().push(index);
        }
        let level = |members| (Level::new(&policy, members, &endpoints, draw), LevelLoad::default());
        let levels = by_priority.into_values().map(level).collect();
        let mut balancer = Self { policy, endpoints, panic_threshold_percent, levels, renewed_at: 0 };
        balancer.renew(endpoint::health_changes());
        balancer
    }

    /// The same balancer for another worker, with its own start; the tables of keys are shared, not built again.
    pub fn for_worker(&self, draw: u64) -> Self {
        let levels = self.levels.iter().map(|(level, load)| (level.restarted(draw), *load)).collect();
        let (policy, endpoints) = (self.policy.clone(), self.endpoints.clone());
        let panic_threshold_percent = self.panic_threshold_percent;
        let mut balancer = Self { policy, endpoints, panic_threshold_percent, levels, renewed_at: 0 };
        balancer.renew(endpoint::health_changes());
        balancer
    }

    /// The endpoints, in the order they were given.
    pub fn endpoints(&self) -> &[Arc<EndpointState>] {
        &self.endpoints
    }

    /// The index of the endpoint for a request, or None: no healthy upstream.
    ///
    /// `hash` is that of the request's key, for ring hash and Maglev; None goes by chance. `avoid` lists the endpoints
    /// that the request has tried: up to five further picks look for another, then the last stands (leave it empty
    /// where the rule hashes keys, so that retries stay with the key's endpoint).
    pub fn pick(&mut self, hash: Option<u64>, avoid: &[usize], draw: &mut dyn FnMut() -> u64) -> Option<usize> {
        let changes = endpoint::health_changes();
        if changes != self.renewed_at {
            self.renew(changes);
        }
        // Where no key counts, one must not decide about priorities either.
        let hash = hash.filter(|_| self.policy.is_by_key());
        let mut chosen = None;
        for attempt in 0..=RE_PICKS {
            chosen = self.pick_once(hash, attempt, draw);
            if chosen.is_none_or(|index| !avoid.contains(&index)) {
                break;
            }
        }
        chosen
    }

    fn pick_once(&mut self, hash: Option<u64>, attempt: usize, draw: &mut dyn FnMut() -> u64) -> Option<usize> {
        let level = if self.levels.len() > 1 {
            let mut percent = hash.unwrap_or_else(&mut *draw) % 100;
            self.levels.iter_mut().find(|(_, load)| match percent.checked_sub(load.percent) {
                Some(rest) => {
                    percent = rest;
                    false
                }
                None => true,
            })
        } else {
            self.levels.first_mut()
        };
        let (level, _) = level?;
        level.choose(&self.policy, &self.endpoints, hash, attempt, draw)
    }

    /// Takes the health of all endpoints as it is now. Reads every endpoint: only when some health has changed.
    fn renew(&mut self, changes: u64) {
        self.renewed_at = changes;
        let endpoints = &self.endpoints;
        let ejected = |index: &usize| endpoints.get(*index).is_some_and(|endpoint| endpoint.is_ejected());
        let health = self.levels.iter().map(|(level, _)| {
            let total = level.members.len() as u64;
            let ejected = level.members.iter().filter(|index| ejected(index)).count() as u64;
            LevelHealth { healthy: total.saturating_sub(ejected), total }
        });
        let health: Vec<_> = health.collect();
        let loads = distribute(&health, self.panic_threshold_percent);
        for ((level, load), new) in self.levels.iter_mut().zip(loads) {
            *load = new;
            level.renew(&self.policy, &self.endpoints, new.panic);
        }
    }
}

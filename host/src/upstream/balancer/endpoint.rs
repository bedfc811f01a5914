//! What the workers share about one endpoint: its address, its load, and whether outlier detection has ejected it.

use super::super::outlier_detection::EjectionRecord;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Counts the changes of any endpoint's health in this process.
///
/// A balancer keeps lists of healthy endpoints and renews them when this has moved, so that a pick reads one counter
/// and not the flag of every endpoint. One counter for all clusters: changes are rare, and a renewal for nothing
/// costs one scan.
static HEALTH_CHANGES: AtomicU64 = AtomicU64::new(0);

/// How often the health of any endpoint has changed. Flags read after this are at least as new as the count.
pub(super) fn health_changes() -> u64 {
    HEALTH_CHANGES.load(Ordering::Acquire)
}

/// One endpoint of a cluster, shared by all workers.
///
/// Keep the same `Arc` for an address across updates of the endpoint set: its load and its ejection carry over.
#[derive(Debug)]
pub struct EndpointState {
    address: SocketAddr,
    weight: u32,
    priority: u32,
    active_requests: AtomicU32,
    ejected: AtomicBool,
    pub(in super::super) record: EjectionRecord,
}

impl EndpointState {
    /// An idle, healthy endpoint.
    ///
    /// `weight` is its share among the endpoints of its priority; 0 counts as 1, as an unset weight does in Istio.
    /// `priority` 0 is the most wanted.
    pub fn new(address: SocketAddr, weight: u32, priority: u32) -> Self {
        Self {
            address,
            weight: weight.max(1),
            priority,
            active_requests: AtomicU32::new(0),
            ejected: AtomicBool::new(false),
            record: EjectionRecord::default(),
        }
    }

    /// Where the endpoint listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its share among the endpoints of its priority, at least 1.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Its priority; 0 is the most wanted.
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// How many requests are on their way to it now, from all workers.
    pub fn active_requests(&self) -> u32 {
        self.active_requests.load(Ordering::Relaxed)
    }

    /// Counts a request as active until the returned guard is dropped.
    pub fn begin_request(self: &Arc<Self>) -> ActiveRequest {
        self.active_requests.fetch_add(1, Ordering::Relaxed);
        ActiveRequest { endpoint: Arc::clone(self) }
    }

    /// Whether new requests stay away from it. Requests already on it continue.
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Acquire)
    }

    /// Ejects the endpoint or takes it back; every balancer sees it at its next pick.
    pub fn set_ejected(&self, ejected: bool) {
        if self.ejected.swap(ejected, Ordering::AcqRel) != ejected {
            HEALTH_CHANGES.fetch_add(1, Ordering::Release);
        }
    }
}

/// A request that counts towards [`EndpointState::active_requests`] as long as this lives.
#[derive(Debug)]
pub struct ActiveRequest {
    endpoint: Arc<EndpointState>,
}

impl ActiveRequest {
    /// The endpoint the request is on.
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoint
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.endpoint.active_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(weight: u32) -> Arc<EndpointState> {
        Arc::new(EndpointState::new("10.0.0.1:80".parse().unwrap(), weight, 2))
    }

    #[test]
    fn an_active_request_counts_until_it_ends() {
        let endpoint = endpoint(3);
        let first = endpoint.begin_request();
        let second = endpoint.begin_request();
        assert_eq!(endpoint.active_requests(), 2);
        drop(first);
        assert_eq!((endpoint.active_requests(), second.endpoint().weight()), (1, 3));
        drop(second);
        assert_eq!(endpoint.active_requests(), 0);
    }

    #[test]
    fn requests_of_many_threads_add_up_and_end() {
        let endpoint = endpoint(1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| drop(endpoint.begin_request())));
            }
        });
        assert_eq!(endpoint.active_requests(), 0);
    }

    #[test]
    fn weight_zero_counts_as_one() {
        assert_eq!((endpoint(0).weight(), endpoint(0).priority()), (1, 2));
    }

    #[test]
    fn only_a_change_of_health_is_announced() {
        let endpoint = endpoint(1);
        let before = health_changes();
        endpoint.set_ejected(true);
        assert!(endpoint.is_ejected());
        let after = health_changes();
        assert!(after > before);
        endpoint.set_ejected(false);
        assert!(!endpoint.is_ejected());
        assert!(health_changes() > after);
    }
}

//! Limits on what a cluster may have in flight: asked for a permit before a connection, a request or a retry starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a cluster may have at once, from all workers together (DestinationRule `connectionPool`).
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitBreakerLimits {
    /// Connections to all endpoints together.
    pub max_connections: u32,
    /// Requests that wait for a connection, of HTTP/1 and HTTP/2.
    pub max_pending_requests: u32,
    /// Requests on their way, of HTTP/1 and HTTP/2.
    pub max_requests: u32,
    /// Retries on their way; without effect beside a retry budget.
    pub max_retries: u32,
    /// Limits retries by the number of requests instead.
    pub retry_budget: Option<RetryBudget>,
}

impl Default for CircuitBreakerLimits {
    /// Istio's defaults: no limit that is ever met.
    fn default() -> Self {
        Self {
            max_connections: u32::MAX,
            max_pending_requests: u32::MAX,
            max_requests: u32::MAX,
            max_retries: u32::MAX,
            retry_budget: None,
        }
    }
}

/// How many retries may be on their way, by the requests that are active or pending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries in percent of active and pending requests.
    pub percent: f64,
    /// So many retries are allowed whatever the percentage says.
    pub min_retry_concurrency: u32,
}

impl Default for RetryBudget {
    /// Envoy's defaults: 20 %, at least 3.
    fn default() -> Self {
        Self { percent: 20.0, min_retry_concurrency: 3 }
    }
}

/// What a permit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A connection to an endpoint.
    Connection,
    /// A request that waits for a connection.
    PendingRequest,
    /// A request on its way.
    Request,
    /// A retry on its way, its back-off included.
    Retry,
}

/// The circuit breakers of one cluster, shared by all workers.
#[derive(Debug)]
pub struct CircuitBreakers {
    limits: CircuitBreakerLimits,
    connections: AtomicU32,
    pending_requests: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
}

impl CircuitBreakers {
    /// Breakers with nothing in flight.
    pub fn new(limits: CircuitBreakerLimits) -> Arc<Self> {
        let [connections, pending_requests, requests, retries] = [const { AtomicU32::new(0) }; 4];
        Arc::new(Self { limits, connections, pending_requests, requests, retries })
    }

    /// The limits as configured.
    pub fn limits(&self) -> &CircuitBreakerLimits {
        &self.limits
    }

    /// How many permits for `resource` are out now.
    pub fn current(&self, resource: Resource) -> u32 {
        self.counter(resource).load(Ordering::Relaxed)
    }

    /// A permit for one more connection, or None: overflow.
    pub fn try_acquire_connection(self: &Arc<Self>) -> Option<Permit> {
        self.try_acquire(Resource::Connection, |current| current < self.limits.max_connections)
    }

    /// A permit for a connection whatever the limit: every pool of an endpoint in a worker may open its first, or a
    /// cluster with more endpoints than connections could never reach some of them (as Envoy does).
    pub fn acquire_first_connection(self: &Arc<Self>) -> Permit {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Permit { breakers: Arc::clone(self), resource: Resource::Connection }
    }

    /// A permit for one more request to wait for a connection, or None: overflow.
    pub fn try_acquire_pending_request(self: &Arc<Self>) -> Option<Permit> {
        self.try_acquire(Resource::PendingRequest, |current| current < self.limits.max_pending_requests)
    }

    /// A permit for one more request on its way, or None: overflow.
    pub fn try_acquire_request(self: &Arc<Self>) -> Option<Permit> {
        self.try_acquire(Resource::Request, |current| current < self.limits.max_requests)
    }

    /// A permit for a request whatever the limit: a TCP connection counts as one, and is limited as a connection.
    pub fn acquire_request(self: &Arc<Self>) -> Permit {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Permit { breakers: Arc::clone(self), resource: Resource::Request }
    }

    /// A permit for one more retry, by the retry budget if there is one; None: the answer at hand stands.
    pub fn try_acquire_retry(self: &Arc<Self>) -> Option<Permit> {
        let Some(budget) = self.limits.retry_budget else {
            return self.try_acquire(Resource::Retry, |current| current < self.limits.max_retries);
        };
        let active = f64::from(self.current(Resource::Request)) + f64::from(self.current(Resource::PendingRequest));
        let allowed = active * budget.percent / 100.0;
        self.try_acquire(Resource::Retry, |current| {
            current < budget.min_retry_concurrency || f64::from(current) + 1.0 <= allowed
        })
    }

    fn try_acquire(self: &Arc<Self>, resource: Resource, allows: impl Fn(u32) -> bool) -> Option<Permit> {
        let next = |current: u32| if allows(current) { current.checked_add(1) } else { None };
        self.counter(resource).fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(Permit { breakers: Arc::clone(self), resource })
    }

    fn counter(&self, resource: Resource) -> &AtomicU32 {
        match resource {
            Resource::Connection => &self.connections,
            Resource::PendingRequest => &self.pending_requests,
            Resource::Request => &self.requests,
            Resource::Retry => &self.retries,
        }
    }
}

/// Room taken under a limit; given back when this is dropped.
#[derive(Debug)]
#[must_use = "the room is given back as soon as the permit is dropped"]
pub struct Permit {
    breakers: Arc<CircuitBreakers>,
    resource: Resource,
}

impl Permit {
    /// What the permit is for.
    pub fn resource(&self) -> Resource {
        self.resource
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.breakers.counter(self.resource).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Acquire = fn(&Arc<CircuitBreakers>) -> Option<Permit>;

    const ALL: [(Resource, Acquire); 4] = [
        (Resource::Connection, CircuitBreakers::try_acquire_connection),
        (Resource::PendingRequest, CircuitBreakers::try_acquire_pending_request),
        (Resource::Request, CircuitBreakers::try_acquire_request),
        (Resource::Retry, CircuitBreakers::try_acquire_retry),
    ];

    fn limits(limit: u32) -> CircuitBreakerLimits {
        CircuitBreakerLimits {
            max_connections: limit,
            max_pending_requests: limit + 1,
            max_requests: limit + 2,
            max_retries: limit + 3,
            retry_budget: None,
        }
    }

    #[test]
    fn every_limit_holds_by_itself() {
        let breakers = CircuitBreakers::new(limits(1));
        let mut permits = Vec::new();
        for ((resource, acquire), limit) in ALL.into_iter().zip(1..) {
            permits.extend((0..10).filter_map(|_| acquire(&breakers)));
            assert_eq!(breakers.current(resource), limit, "{resource:?}");
        }
        assert_eq!(permits.len(), 1 + 2 + 3 + 4);
        permits.retain(|permit| permit.resource() != Resource::Request);
        assert_eq!(breakers.current(Resource::Request), 0);
        assert!(breakers.try_acquire_request().is_some() && breakers.try_acquire_connection().is_none());
        drop(permits);
        assert!(ALL.iter().all(|(resource, _)| breakers.current(*resource) == 0));
    }

    #[test]
    fn limit_zero_allows_nothing_and_the_default_everything() {
        let closed = CircuitBreakers::new(CircuitBreakerLimits { max_requests: 0, ..Default::default() });
        assert!(closed.try_acquire_request().is_none());
        let open = CircuitBreakers::new(CircuitBreakerLimits::default());
        let permits: Vec<_> = (0..10_000).filter_map(|_| open.try_acquire_retry()).collect();
        assert_eq!((permits.len(), open.limits().max_retries), (10_000, u32::MAX));
    }

    #[test]
    fn the_first_connection_of_a_pool_is_beyond_the_limit() {
        let breakers = CircuitBreakers::new(limits(1));
        let permits = [breakers.acquire_first_connection(), breakers.acquire_first_connection()];
        assert_eq!(breakers.current(Resource::Connection), 2);
        assert!(breakers.try_acquire_connection().is_none());
        drop(permits);
        assert!(breakers.try_acquire_connection().is_some());
    }

    #[test]
    fn a_retry_budget_replaces_the_limit() {
        // Percent, least, active, pending, wanted retries.
        const CASES: &[(f64, u32, u32, u32, usize)] = &[
            (20.0, 3, 0, 0, 3),
            (20.0, 3, 15, 0, 3),
            (20.0, 3, 20, 0, 4),
            (20.0, 3, 12, 12, 4),
            (20.0, 3, 60, 40, 20),
            (0.0, 0, 100, 0, 0),
            (0.5, 0, 399, 0, 1),
            (100.0, 0, 7, 0, 7),
            (f64::NAN, 2, 100, 0, 2),
        ];
        for (percent, min_retry_concurrency, active, pending, wanted) in CASES.iter().copied() {
            let retry_budget = Some(RetryBudget { percent, min_retry_concurrency });
            let breakers =
                CircuitBreakers::new(CircuitBreakerLimits { max_retries: 0, retry_budget, ..Default::default() });
            let requests: Vec<_> = (0..active).filter_map(|_| breakers.try_acquire_request()).collect();
            let waiting: Vec<_> = (0..pending).filter_map(|_| breakers.try_acquire_pending_request()).collect();
            let retries: Vec<_> = (0..200).filter_map(|_| breakers.try_acquire_retry()).collect();
            assert_eq!(retries.len(), wanted, "{percent} % of {} + {}", requests.len(), waiting.len());
        }
        assert_eq!(RetryBudget::default(), RetryBudget { percent: 20.0, min_retry_concurrency: 3 });
    }

    #[test]
    fn threads_never_get_past_a_limit_and_leave_nothing_behind() {
        let breakers = CircuitBreakers::new(CircuitBreakerLimits { max_requests: 3, ..Default::default() });
        let granted = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let permits: Vec<_> = (0..2).filter_map(|_| breakers.try_acquire_request()).collect();
                        assert!(breakers.current(Resource::Request) <= 3);
                        granted.fetch_add(u32::try_from(permits.len()).unwrap(), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(breakers.current(Resource::Request), 0);
        assert!((1..=16_000).contains(&granted.load(Ordering::Relaxed)));
    }

    #[test]
    fn permits_move_between_threads() {
        let breakers = CircuitBreakers::new(limits(1));
        let permit = breakers.try_acquire_connection().unwrap();
        std::thread::spawn(move || drop(permit)).join().unwrap();
        assert_eq!(breakers.current(Resource::Connection), 0);
    }
}

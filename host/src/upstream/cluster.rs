//! Clusters: what the workers share of one, and what each has of it.

use crate::telemetry::{Counter, Registry};
use crate::tls::ClientTls;
use crate::upstream::balancer::{self, ActiveRequest, Balancer, EndpointState};
use crate::upstream::circuit_breakers::{CircuitBreakerLimits, CircuitBreakers, Permit, RetryBudget};
use crate::upstream::outlier_detection::{Outcome, OutlierDetectionSettings, OutlierDetector};
use crate::upstream::pool::{Acquired, Dialling, EndpointPool, Wanted};
use compiler::snapshot;
use rustc_hash::FxBuildHasher;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// What is counted of a cluster.
#[derive(Clone)]
pub struct ClusterStats {
    /// Requests sent, attempts each counted.
    pub requests: Counter,
    /// Attempts that were not the first.
    pub retries: Counter,
    /// Connections made.
    pub connections: Counter,
    /// Connections that could not be made.
    pub connect_failures: Counter,
    /// Requests refused by a circuit breaker.
    pub overflows: Counter,
    /// Connections refused by a circuit breaker.
    pub connection_overflows: Counter,
    /// Requests for which no endpoint was healthy.
    pub no_healthy_endpoint: Counter,
    /// Requests answered, also in place of an upstream that failed; attempts after which another follows are none.
    completed: Counter,
    /// Those by the class of their status.
    classes: [Counter; 5],
}

/// A cluster, shared by the workers: its endpoints, their health, the room that is left.
pub struct SharedCluster {
    /// As written in the snapshot.
    pub config: snapshot::Cluster,
    /// In the snapshot's order.
    pub endpoints: Vec<Arc<EndpointState>>,
    /// Room left.
    pub breakers: Arc<CircuitBreakers>,
    /// Judges endpoints, where it is configured.
    pub detector: Option<OutlierDetector>,
    /// Counts.
    pub stats: ClusterStats,
    /// TLS to its endpoints, where it is configured.
    pub(crate) tls: Option<Arc<ClientTls>>,
    balancer: Balancer,
}

/// The clusters of a snapshot by name.
pub type SharedClusters = HashMap<String, Arc<SharedCluster>>;

impl SharedCluster {
    /// A cluster. `before`: its predecessor, whose endpoints keep their load and their ejections.
    ///
    /// # Errors
    /// Every fault of its transport socket.
    pub fn new(
        config: snapshot::Cluster,
        before: Option<&Self>,
        registry: &Registry,
        epoch: Instant,
    ) -> Result<Self, Vec<String>> {
        let tls = tls(&config, before)?;
        let known = |wanted: &snapshot::Endpoint| {
            let same = |known: &&Arc<EndpointState>| {
                (known.address(), known.weight(), known.priority())
                    == (wanted.address, wanted.weight.max(1), wanted.priority)
            };
            before.and_then(|before| before.endpoints.iter().find(same).cloned())
        };
        let endpoints: Vec<Arc<EndpointState>> = config
            .endpoints
            .iter()
            .map(|endpoint| {
                known(endpoint).unwrap_or_else(|| {
                    Arc::new(EndpointState::new(endpoint.address, endpoint.weight, endpoint.priority))
                })
            })
            .collect();
        let settings = config.outlier_detection.as_ref().map(outlier_settings);
        let panic = settings.as_ref().map_or(0, |settings| settings.min_health_percent);
        let balancer = Balancer::new(policy(config.load_balancing), endpoints.clone(), panic, fastrand::u64(..));
        let detector = settings.map(|settings| OutlierDetector::new(settings, endpoints.clone(), epoch));
        if detector.is_none() {
            endpoints.iter().for_each(|endpoint| endpoint.set_ejected(false));
        }
        let breakers = match before.filter(|before| before.config.circuit_breakers == config.circuit_breakers) {
            Some(before) => before.breakers.clone(),
            None => CircuitBreakers::new(breaker_limits(&config.circuit_breakers)),
        };
        let stats = ClusterStats::new(&config.name, registry);
        Ok(Self { config, endpoints, breakers, detector, stats, tls, balancer })
    }

    /// The cluster as it is for one address that it forwards to: with its room, its settings and its counts.
    fn at(&self, address: SocketAddr) -> Self {
        let endpoints = vec![Arc::new(EndpointState::new(address, 1, 0))];
        let balancer = Balancer::new(policy(snapshot::LoadBalancingPolicy::Random), endpoints.clone(), 0, 0);
        Self {
            config: snapshot::Cluster { dynamic_forward: false, endpoints: Vec::new(), ..self.config.clone() },
            endpoints,
            breakers: self.breakers.clone(),
            detector: None,
            stats: self.stats.clone(),
            tls: self.tls.clone(),
            balancer,
        }
    }

    /// Whether the endpoint at a place is called without TLS.
    pub(crate) fn is_plaintext(&self, place: usize) -> bool {
        self.config.endpoints.get(place).is_some_and(|endpoint| endpoint.plaintext)
    }

    /// Reads the certificates of its transport socket again; connections keep those they have.
    ///
    /// # Errors
    /// Every fault; then all stays as it is.
    pub fn reload_certificates(&self) -> Result<(), Vec<String>> {
        let reloaded = self.tls.as_ref().map_or(Ok(()), |tls| tls.reload());
        reloaded.map_err(|faults| of_cluster(&self.config.name, faults))
    }

    /// The server name that a request with such an authority asks for, where it depends on the request.
    pub(crate) fn asked_name(&self, authority: Option<&[u8]>) -> Option<Rc<str>> {
        self.tls.as_ref()?.asked_name(authority)
    }
}

/// TLS as configured. What has not changed is kept, with its sessions, and its files are read again: connections of
/// the predecessor's pools are made with it.
fn tls(config: &snapshot::Cluster, before: Option<&SharedCluster>) -> Result<Option<Arc<ClientTls>>, Vec<String>> {
    let Some(wanted) = &config.transport_socket else { return Ok(None) };
    let kept = before.filter(|before| before.config.transport_socket == config.transport_socket);
    let made = match kept.and_then(|before| before.tls.clone()) {
        Some(kept) => kept.reload().map(|()| kept),
        None => ClientTls::new(wanted).map(Arc::new),
    };
    made.map(Some).map_err(|faults| of_cluster(&config.name, faults))
}

fn of_cluster(name: &str, faults: Vec<String>) -> Vec<String> {
    faults.into_iter().map(|fault| format!("cluster {name:?} transportSocket.{fault}")).collect()
}

impl ClusterStats {
    fn new(cluster: &str, registry: &Registry) -> Self {
        let labels = [("envoy_cluster_name", cluster)];
        let counter = |name| registry.counter(name, &labels);
        let class = |class| {
            let labels = [labels[0], ("envoy_response_code_class", class)];
            registry.counter("envoy_cluster_upstream_rq_xx", &labels)
        };
        Self {
            requests: counter("envoy_cluster_upstream_rq_total"),
            retries: counter("envoy_cluster_upstream_rq_retry"),
            connections: counter("envoy_cluster_upstream_cx_total"),
            connect_failures: counter("envoy_cluster_upstream_cx_connect_fail"),
            overflows: counter("envoy_cluster_upstream_rq_pending_overflow"),
            connection_overflows: counter("envoy_cluster_upstream_cx_overflow"),
            no_healthy_endpoint: counter("envoy_cluster_upstream_cx_none_healthy"),
            completed: counter("envoy_cluster_upstream_rq_completed"),
            classes: ["1", "2", "3", "4", "5"].map(class),
        }
    }

    /// A request has this status.
    pub(crate) fn answered(&self, status: u16) {
        self.completed.add(1);
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(class) = class.and_then(|class| self.classes.get(class)) {
            class.add(1);
        }
    }
}

fn policy(policy: snapshot::LoadBalancingPolicy) -> balancer::LoadBalancingPolicy {
    use balancer::LoadBalancingPolicy as To;
    use snapshot::LoadBalancingPolicy as From;
    match policy {
        From::LeastRequest => To::LeastRequest,
        From::RoundRobin => To::RoundRobin,
        From::Random => To::Random,
        From::RingHash { minimum_ring_size } => To::RingHash { minimum_ring_size },
        From::Maglev { table_size } => To::Maglev { table_size },
    }
}

fn breaker_limits(breakers: &snapshot::CircuitBreakers) -> CircuitBreakerLimits {
    let budget = breakers.retry_budget.as_ref();
    CircuitBreakerLimits {
        max_connections: breakers.max_connections,
        max_pending_requests: breakers.max_pending_requests,
        max_requests: breakers.max_requests,
        max_retries: breakers.max_retries,
        retry_budget: budget
            .map(|budget| RetryBudget { percent: budget.percent, min_retry_concurrency: budget.min_retry_concurrency }),
    }
}

fn outlier_settings(from: &snapshot::OutlierDetection) -> OutlierDetectionSettings {
    OutlierDetectionSettings {
        consecutive_5xx: from.consecutive_5xx_errors,
        consecutive_gateway_errors: from.consecutive_gateway_errors,
        split_external_local_origin_errors: from.split_external_local_origin_errors,
        consecutive_local_origin_failures: from.consecutive_local_origin_failures,
        interval: from.interval.0,
        base_ejection_time: from.base_ejection_time.0,
        max_ejection_time: from.max_ejection_time.0,
        max_ejection_percent: from.max_ejection_percent,
        min_health_percent: from.min_health_percent,
    }
}

/// A cluster on one worker: its own choice of endpoints, its own connections.
pub(crate) struct Cluster {
    pub(crate) shared: Arc<SharedCluster>,
    balancer: RefCell<Balancer>,
    pools: Vec<Rc<EndpointPool>>,
    /// What it is for each address that it forwards to, as long as there are connections.
    forwarded: RefCell<HashMap<SocketAddr, Rc<Cluster>>>,
}

/// The clusters of one worker by name. Who configures them chooses the names: nobody has to be kept from collisions.
pub(crate) type ClusterSet = HashMap<String, Rc<Cluster>, FxBuildHasher>;

/// Why a request cannot go to a cluster now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unavailable {
    /// No endpoint, or none that is healthy.
    NoHealthyUpstream,
    /// A circuit breaker is at its limit.
    Overflow,
}

/// The endpoint of an attempt; counts as long as this lives.
pub(crate) struct Chosen {
    pub(crate) index: usize,
    pub(crate) active: ActiveRequest,
    pub(crate) _room: Permit,
}

impl Cluster {
    /// A worker's part of a cluster. Connections of `before` to endpoints that are still there are kept.
    pub(crate) fn new(shared: Arc<SharedCluster>, before: Option<&Self>, draw: u64) -> Self {
        let balancer = RefCell::new(shared.balancer.for_worker(draw));
        let known = |place: usize, endpoint: &Arc<EndpointState>| {
            let same_settings = before.filter(|before| {
                let (old, new) = (&before.shared.config, &shared.config);
                old.protocol == new.protocol
                    && old.circuit_breakers == new.circuit_breakers
                    && old.transport_socket == new.transport_socket
            });
            let same = |pool: &&Rc<EndpointPool>| {
                pool.address() == endpoint.address() && pool.is_plaintext() == shared.is_plaintext(place)
            };
            same_settings.and_then(|before| before.pools.iter().find(same).cloned())
        };
        let pool = |(place, endpoint): (usize, &Arc<EndpointState>)| {
            known(place, endpoint).unwrap_or_else(|| Rc::new(EndpointPool::new(shared.clone(), place, endpoint)))
        };
        let pools = shared.endpoints.iter().enumerate().map(pool).collect();
        Self { shared, balancer, pools, forwarded: RefCell::default() }
    }

    /// The cluster as it is for one address that it forwards to.
    pub(crate) fn at(&self, address: SocketAddr) -> Rc<Self> {
        let mut forwarded = self.forwarded.borrow_mut();
        let made = || Rc::new(Self::new(Arc::new(self.shared.at(address)), None, 0));
        forwarded.entry(address).or_insert_with(made).clone()
    }

    /// Chooses an endpoint for an attempt.
    pub(crate) fn choose(
        &self,
        key: Option<&[u8]>,
        avoid: &[usize],
        draw: &mut dyn FnMut() -> u64,
    ) -> Result<Chosen, Unavailable> {
        let Some(room) = self.shared.breakers.try_acquire_request() else {
            self.shared.stats.overflows.add(1);
            return Err(Unavailable::Overflow);
        };
        self.choose_within(room, key, avoid, draw)
    }

    /// Chooses an endpoint for a connection that carries bytes: those are limited by `max_connections` alone.
    pub(crate) fn choose_for_bytes(
        &self,
        key: Option<&[u8]>,
        avoid: &[usize],
        draw: &mut dyn FnMut() -> u64,
    ) -> Result<Chosen, Unavailable> {
        self.choose_within(self.shared.breakers.acquire_request(), key, avoid, draw)
    }

    fn choose_within(
        &self,
        room: Permit,
        key: Option<&[u8]>,
        avoid: &[usize],
        draw: &mut dyn FnMut() -> u64,
    ) -> Result<Chosen, Unavailable> {
        let hash = key.map(balancer::hash_key);
        let picked = self.balancer.borrow_mut().pick(hash, avoid, draw);
        let endpoint = picked.and_then(|index| Some((index, self.shared.endpoints.get(index)?)));
        let Some((index, endpoint)) = endpoint else {
            self.shared.stats.no_healthy_endpoint.add(1);
            return Err(Unavailable::NoHealthyUpstream);
        };
        self.shared.stats.requests.add(1);
        Ok(Chosen { index, active: endpoint.begin_request(), _room: room })
    }

    /// A connection to an endpoint, from the pool if there is one.
    pub(crate) fn acquire(&self, chosen: &Chosen, wanted: Wanted) -> Acquired {
        match self.pools.get(chosen.index) {
            Some(pool) => pool.acquire(wanted),
            None => Acquired::Refused(Unavailable::NoHealthyUpstream),
        }
    }

    /// A connection of its own to an endpoint, for bytes.
    pub(crate) fn dial(&self, chosen: &Chosen) -> Result<Dialling, Unavailable> {
        self.pools.get(chosen.index).ok_or(Unavailable::NoHealthyUpstream)?.dial()
    }

    /// Tells the judge of endpoints how an attempt went.
    pub(crate) fn report(&self, chosen: &Chosen, outcome: Outcome) {
        if let Some(detector) = &self.shared.detector {
            detector.report(chosen.index, outcome, Instant::now());
        }
    }

    /// Closes pooled connections that have not been used for too long.
    pub(crate) fn close_idle(&self, now: Instant) {
        if let Some(limit) = self.shared.config.idle_timeout.limit() {
            self.pools.iter().for_each(|pool| pool.close_idle(now, limit));
        }
        self.forwarded.borrow_mut().retain(|_, cluster| {
            cluster.close_idle(now);
            Rc::strong_count(cluster) > 1 || cluster.pools.iter().any(|pool| pool.has_connections())
        });
    }
}

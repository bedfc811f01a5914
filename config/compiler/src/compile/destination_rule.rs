//! Services and the DestinationRules about them → clusters.

use super::mutual_tls::{self, Credentials};
use crate::mesh::destination_rules::{Policy, Said};
use crate::mesh::peer_authentications::PeerMode;
use crate::mesh::{Mesh, Service, ServiceDiscovery, ServiceEndpoint, ServicePort, Workload};
use crate::report::{Field, Report};
use crate::snapshot::{
    CircuitBreakers, Cluster, DataSource, DnsDiscovery, DnsName, Duration, Endpoint, LoadBalancingPolicy, Locality,
    OutlierDetection, RetryBudget, TlsCertificate, UpstreamProtocol, UpstreamTls,
};
use istio_api::destination_rule::{
    ClientTls, ConnectionPool, ConsistentHash, H2UpgradePolicy, LocalityLbSetting, SimpleLb, Subset, TlsMode,
};
use istio_api::scalar::{Count, Millis, WholePercent};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Points on a ring, unless something is said.
const MINIMUM_RING_SIZE: u64 = 1024;
/// Places in a Maglev table, unless something is said; Envoy's.
const MAGLEV_TABLE_SIZE: u64 = 65537;
/// The longest ejection, unless the shortest is longer; Envoy's.
const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);

/// A cluster's name, as Istio gives it.
pub(crate) fn cluster_name(port: u16, subset: &str, hostname: &str) -> String {
    format!("outbound|{port}|{subset}|{hostname}")
}

/// The clusters of a service for a client: for each port one, and one for each subset. `credentials`: the
/// client's own; without, nothing is secured with them.
pub(crate) fn clusters(
    mesh: &Mesh<'_>,
    client: &Workload,
    credentials: Option<&Credentials>,
    service: &Service,
    report: &mut Report,
) -> Vec<Cluster> {
    let rules = mesh.destination_rules.of(service, client, &mesh.settings.root_namespace);
    let subsets = rules.subsets();
    let mut clusters = Vec::new();
    for port in service.ports.iter().filter(|port| port.is_proxied()) {
        for subset in std::iter::once(None).chain(subsets.iter().map(Some)) {
            let policy = rules.policy(port.number, subset);
            let subset = subset.map(|subset| subset.value);
            let builder = Builder { mesh, client, credentials, service, port, subset, policy };
            clusters.push(builder.cluster(report));
        }
    }
    clusters
}

/// How the key of a cluster's consistent hashing is found, if it has one.
pub(crate) fn consistent_hash<'r>(
    mesh: &Mesh<'r>,
    client: &Workload,
    service: &Service,
    port: u16,
    subset: Option<&str>,
) -> Option<Said<'r, ConsistentHash>> {
    let rules = mesh.destination_rules.of(service, client, &mesh.settings.root_namespace);
    let subset = subset.and_then(|name| rules.subset(name));
    let balancer = rules.policy(port, subset.as_ref()).load_balancer?;
    let value = balancer.value.consistent_hash.as_ref()?;
    Some(Said { value, rule: balancer.rule, path: format!("{}.consistentHash", balancer.path) })
}

/// What one cluster is made of.
struct Builder<'b, 'r> {
    mesh: &'b Mesh<'r>,
    client: &'b Workload,
    credentials: Option<&'b Credentials>,
    service: &'b Service,
    port: &'b ServicePort,
    subset: Option<&'r Subset>,
    policy: Policy<'r>,
}

impl Builder<'_, '_> {
    fn cluster(&self, report: &mut Report) -> Cluster {
        let (endpoints, dns) = self.endpoints(report);
        let pool = self.policy.connection_pool.as_ref().map(|pool| pool.value);
        let (tcp, http) = (pool.and_then(|pool| pool.tcp.as_ref()), pool.and_then(|pool| pool.http.as_ref()));
        let mut cluster = Cluster {
            endpoints,
            dns,
            // A wildcard is no name to look up: the one that was asked for is, or the address.
            dynamic_forward: self.service.discovery == ServiceDiscovery::None && self.service.hostname.starts_with('*'),
            load_balancing: self.load_balancing(),
            protocol: self.protocol(pool),
            transport_socket: self.tls(report),
            circuit_breakers: self.circuit_breakers(pool),
            outlier_detection: self.outlier_detection(),
            ..Cluster::named(cluster_name(self.port.number, self.subset_name(), &self.service.hostname))
        };
        if let Some(timeout) = tcp.and_then(|tcp| tcp.connect_timeout).or(self.mesh.settings.connect_timeout()) {
            cluster.connect_timeout = Duration(timeout.get());
        }
        if let Some(timeout) = http.and_then(|http| http.idle_timeout) {
            cluster.idle_timeout = Duration(timeout.get());
        }
        cluster.max_requests_per_connection =
            http.and_then(|http| http.max_requests_per_connection).map_or(0, Count::get);
        cluster
    }

    fn subset_name(&self) -> &str {
        self.subset.map_or("", |subset| subset.name.as_str())
    }

    /// Its addresses, and the names that have more of them.
    fn endpoints(&self, report: &mut Report) -> (Vec<Endpoint>, Option<DnsDiscovery>) {
        let weights = self.weights();
        let is_auto = self.policy.tls.is_none() && self.is_auto();
        let (mut endpoints, mut names) = (Vec::new(), Vec::new());
        for (endpoint, (weight, priority)) in self.selected().zip(weights) {
            let Some(port) = endpoint.port(self.port) else { continue };
            let locality = endpoint.locality.clone();
            let plaintext = is_auto && !self.takes_mutual_tls(endpoint);
            match endpoint.address.parse::<IpAddr>() {
                _ if weight == 0 => {}
                Ok(ip) => {
                    let address = SocketAddr::new(ip, port);
                    endpoints.push(Endpoint { address, weight, priority, locality, plaintext });
                }
                Err(_) if endpoint.address.starts_with("unix:") => {
                    let field = Field { name: self.service, path: "spec.endpoints" };
                    report.refuse(field, &endpoint.address, "Unix sockets cannot be called yet");
                }
                Err(_) => {
                    let name = endpoint.address.clone();
                    names.push(DnsName { name, port, weight, priority, locality, plaintext });
                }
            }
        }
        if self.service.discovery == ServiceDiscovery::None && !self.service.hostname.starts_with('*') {
            // Whoever calls by name has no address of its own: the name is looked up.
            names.push(DnsName {
                name: self.service.hostname.clone(),
                port: self.port.target,
                weight: 1,
                priority: 0,
                locality: Locality::default(),
                plaintext: false,
            });
        }
        let logical = self.service.discovery == ServiceDiscovery::LogicalDns;
        let dns = (!names.is_empty()).then(|| DnsDiscovery { names, logical, ..DnsDiscovery::default() });
        (endpoints, dns)
    }

    /// The endpoints of the subset, or of the service, that have the port.
    fn selected(&self) -> impl Iterator<Item = &ServiceEndpoint> {
        let labels = self.subset.map(|subset| &subset.labels);
        self.service
            .endpoints
            .iter()
            .filter(move |endpoint| labels.is_none_or(|labels| labels.select(&endpoint.labels)))
            .filter(|endpoint| endpoint.port(self.port).is_some())
    }

    /// Weight and priority of each selected endpoint.
    fn weights(&self) -> Vec<(u32, u32)> {
        let setting =
            self.policy.load_balancer.as_ref().and_then(|balancer| balancer.value.locality_lb_setting.as_ref());
        if let Some(setting) = setting {
            if setting.enabled == Some(false) {
                return self.selected().map(|endpoint| (endpoint.weight, 0)).collect();
            }
            if !setting.distribute.is_empty() {
                return self.distributed(setting);
            }
        }
        // Without ejection nobody would know when to go elsewhere.
        if self.policy.outlier_detection.is_none() {
            return self.selected().map(|endpoint| (endpoint.weight, 0)).collect();
        }
        let mut levels: Vec<u32> = self.selected().map(|endpoint| self.level(endpoint, setting)).collect();
        let mut used = levels.clone();
        used.sort_unstable();
        used.dedup();
        for level in &mut levels {
            let rank = used.iter().position(|used| used == level).unwrap_or(0);
            *level = u32::try_from(rank).unwrap_or(u32::MAX);
        }
        self.selected().zip(levels).map(|(endpoint, level)| (endpoint.weight, level)).collect()
    }

    /// How far away an endpoint is: 0 for the same place.
    fn level(&self, endpoint: &ServiceEndpoint, setting: Option<&LocalityLbSetting>) -> u32 {
        let (own, other) = (&self.client.locality, &endpoint.locality);
        if let Some(setting) = setting.filter(|setting| !setting.failover_priority.is_empty()) {
            return self.label_level(endpoint, &setting.failover_priority);
        }
        if own.region != other.region {
            let failover = setting.into_iter().flat_map(|setting| &setting.failover);
            let wanted = failover.into_iter().find(|failover| failover.from == own.region);
            return match wanted {
                Some(failover) if failover.to != other.region => 4,
                _ => 3,
            };
        }
        match (own.zone == other.zone, own.sub_zone == other.sub_zone) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        }
    }

    /// How many of the labels do not agree, from the first that does not.
    fn label_level(&self, endpoint: &ServiceEndpoint, labels: &[String]) -> u32 {
        let agrees = |label: &&String| {
            let (key, wanted) = match label.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (label.as_str(), self.client.labels.get(label.as_str()).map(String::as_str)),
            };
            endpoint.labels.get(key).map(String::as_str) == wanted
        };
        let agreeing = labels.iter().take_while(agrees).count();
        u32::try_from(labels.len() - agreeing).unwrap_or(u32::MAX)
    }

    /// Each locality's share, spread over its endpoints; what is not listed gets nothing.
    fn distributed(&self, setting: &LocalityLbSetting) -> Vec<(u32, u32)> {
        let own = &self.client.locality;
        let Some(wanted) = setting.distribute.iter().find(|distribute| is_in(own, &distribute.from)) else {
            return self.selected().map(|endpoint| (endpoint.weight, 0)).collect();
        };
        let place = |endpoint: &ServiceEndpoint| wanted.to.0.iter().position(|(to, _)| is_in(&endpoint.locality, to));
        let mut sums = vec![0_u64; wanted.to.0.len()];
        for endpoint in self.selected() {
            if let Some(sum) = place(endpoint).and_then(|place| sums.get_mut(place)) {
                *sum += u64::from(endpoint.weight);
            }
        }
        let share = |endpoint: &ServiceEndpoint| {
            let place = place(endpoint)?;
            let (percent, sum) = (wanted.to.0.get(place)?.1, *sums.get(place)?);
            // In units fine enough that every endpoint of a share has some of it.
            let weight = u64::from(percent.get()) * u64::from(endpoint.weight) * 1000 / sum.max(1);
            u32::try_from(weight).ok()
        };
        self.selected().map(|endpoint| (share(endpoint).unwrap_or(0), 0)).collect()
    }

    fn load_balancing(&self) -> LoadBalancingPolicy {
        let Some(balancer) = self.policy.load_balancer.as_ref().map(|balancer| balancer.value) else {
            return LoadBalancingPolicy::LeastRequest;
        };
        match (&balancer.consistent_hash, balancer.simple) {
            (Some(hash), _) => hashing(hash),
            (None, Some(SimpleLb::RoundRobin)) => LoadBalancingPolicy::RoundRobin,
            (None, Some(SimpleLb::Random)) => LoadBalancingPolicy::Random,
            (None, _) => LoadBalancingPolicy::LeastRequest,
        }
    }

    fn protocol(&self, pool: Option<&ConnectionPool>) -> UpstreamProtocol {
        let http = pool.and_then(|pool| pool.http.as_ref());
        if http.is_some_and(|http| http.use_client_protocol == Some(true)) {
            return UpstreamProtocol::Downstream;
        }
        if http.is_some_and(|http| http.h2_upgrade_policy == H2UpgradePolicy::Upgrade) {
            return UpstreamProtocol::Http2;
        }
        self.port.upstream_protocol()
    }

    /// Zero, as nothing, stands for no bound.
    fn circuit_breakers(&self, pool: Option<&ConnectionPool>) -> CircuitBreakers {
        let (tcp, http) = (pool.and_then(|pool| pool.tcp.as_ref()), pool.and_then(|pool| pool.http.as_ref()));
        let bound = |written: Option<Count>| written.map(Count::get).filter(|bound| *bound > 0).unwrap_or(u32::MAX);
        let budget = self.policy.retry_budget.as_ref().map(|budget| budget.value);
        CircuitBreakers {
            max_connections: bound(tcp.and_then(|tcp| tcp.max_connections)),
            max_pending_requests: bound(http.and_then(|http| http.http1_max_pending_requests)),
            max_requests: bound(http.and_then(|http| http.http2_max_requests)),
            max_retries: bound(http.and_then(|http| http.max_retries)),
            retry_budget: budget.map(|budget| RetryBudget {
                percent: budget.percent.map_or(20.0, istio_api::scalar::Decimal::get),
                min_retry_concurrency: budget.min_retry_concurrency.unwrap_or(3),
            }),
        }
    }

    fn outlier_detection(&self) -> Option<OutlierDetection> {
        let written = self.policy.outlier_detection.as_ref()?.value;
        let default = OutlierDetection::default();
        let time = |written: Option<Millis>, default| written.map_or(default, |time| Duration(time.get()));
        let percent = |written: Option<WholePercent>, default| written.map_or(default, |percent| percent.get().into());
        let base_ejection_time = time(written.base_ejection_time, default.base_ejection_time);
        Some(OutlierDetection {
            consecutive_5xx_errors: written.consecutive_5xx_errors.unwrap_or(default.consecutive_5xx_errors),
            consecutive_gateway_errors: written.consecutive_gateway_errors.unwrap_or(0),
            split_external_local_origin_errors: written.split_external_local_origin_errors.unwrap_or(false),
            consecutive_local_origin_failures: written
                .consecutive_local_origin_failures
                .unwrap_or(default.consecutive_local_origin_failures),
            interval: time(written.interval, default.interval),
            base_ejection_time,
            max_ejection_time: base_ejection_time.max(MAX_EJECTION_TIME),
            max_ejection_percent: percent(written.max_ejection_percent, default.max_ejection_percent),
            min_health_percent: percent(written.min_health_percent, 0),
        })
    }

    fn tls(&self, report: &mut Report) -> Option<UpstreamTls> {
        let Some(said) = self.policy.tls.as_ref() else {
            return self.credentials.filter(|_| self.is_auto()).map(|credentials| self.mutual_tls(credentials, None));
        };
        let field = Field { name: said.rule, path: &said.path };
        match said.value.mode {
            TlsMode::Disable => None,
            TlsMode::IstioMutual => {
                if self.credentials.is_none() {
                    report.refuse(field, "ISTIO_MUTUAL", mutual_tls::NO_CERTIFICATE);
                }
                self.credentials.map(|credentials| self.mutual_tls(credentials, Some(said.value)))
            }
            TlsMode::Simple | TlsMode::Mutual => self.own_tls(said.value, field, report),
        }
    }

    /// Whether what no rule decides is secured where the endpoint takes it: some endpoint does.
    fn is_auto(&self) -> bool {
        self.credentials.is_some()
            && self.mesh.settings.auto_mtls()
            && !self.service.external
            && self.selected().any(|endpoint| self.takes_mutual_tls(endpoint))
    }

    /// Whether an endpoint has a sidecar that takes mutual TLS on this port.
    fn takes_mutual_tls(&self, endpoint: &ServiceEndpoint) -> bool {
        let namespace = endpoint.workload.as_ref().map_or(self.service.namespace.as_str(), |(namespace, _)| namespace);
        let mode = |port| self.mesh.peer_authentications.of(namespace, &endpoint.labels, port).mode;
        mutual_tls::has_sidecar(endpoint)
            && endpoint.port(self.port).is_some_and(|port| mode(port) != PeerMode::Disable)
    }

    fn mutual_tls(&self, credentials: &Credentials, written: Option<&ClientTls>) -> UpstreamTls {
        let named = written.and_then(|written| written.sni.to_option());
        let name = || mutual_tls::server_name(self.port.number, self.subset_name(), &self.service.hostname);
        let identities = match written.filter(|written| !written.subject_alt_names.is_empty()) {
            Some(written) => written.subject_alt_names.clone(),
            None => mutual_tls::identities(&self.mesh.settings, self.service),
        };
        UpstreamTls {
            danger_skip_verify: written.is_some_and(|written| written.insecure_skip_verify == Some(true)),
            ..mutual_tls::client(&self.mesh.settings, credentials, named.unwrap_or_else(name), identities)
        }
    }

    fn own_tls(&self, written: &ClientTls, field: Field<'_>, report: &mut Report) -> Option<UpstreamTls> {
        if let Some(name) = written.credential_name.as_deref() {
            let reason = "credentials of sidecars are not read: give files";
            report.refuse(field, format!("credentialName {name}"), reason);
            return None;
        }
        if written.ca_crl.is_some() {
            report.refuse(
                field,
                "caCrl",
                "is not looked at yet: servers whose certificates were revoked would be trusted",
            );
        }
        let file = |path: &Option<String>| path.as_ref().map(|path| DataSource::File(PathBuf::from(path)));
        let certificate = file(&written.client_certificate).zip(file(&written.private_key));
        let names = match written.subject_alt_names.is_empty() {
            true => &self.service.subject_alt_names,
            false => &written.subject_alt_names,
        };
        Some(UpstreamTls {
            certificate: certificate
                .map(|(certificate_chain, private_key)| TlsCertificate { certificate_chain, private_key }),
            trusted_ca: file(&written.ca_certificates),
            sni: written.sni.to_option(),
            auto_sni: written.sni.is_none(),
            subject_alt_names: names.clone(),
            // With a name of its own to ask for, only who signed is looked at.
            danger_skip_name_check: written.sni.is_some() && names.is_empty(),
            danger_skip_verify: written.insecure_skip_verify == Some(true),
            alpn: if self.port.upstream_protocol() == UpstreamProtocol::Http2 {
                vec!["h2".to_owned()]
            } else {
                Vec::new()
            },
            ..UpstreamTls::default()
        })
    }
}

fn hashing(hash: &ConsistentHash) -> LoadBalancingPolicy {
    if let Some(maglev) = &hash.maglev {
        return LoadBalancingPolicy::Maglev { table_size: maglev.table_size.unwrap_or(MAGLEV_TABLE_SIZE) };
    }
    let ring = hash.ring_hash.as_ref().and_then(|ring| ring.minimum_ring_size).or(hash.minimum_ring_size);
    LoadBalancingPolicy::RingHash { minimum_ring_size: ring.unwrap_or(MINIMUM_RING_SIZE) }
}

/// Whether a place is in `region/zone/*`, of which each part may be `*` or left out.
fn is_in(locality: &Locality, pattern: &str) -> bool {
    let parts = [&locality.region, &locality.zone, &locality.sub_zone];
    pattern.split('/').zip(parts).all(|(wanted, part)| wanted == "*" || wanted == part)
}

//! Clusters.

use super::{address, tls, typed};
use compiler::snapshot::{
    CircuitBreakers, Cluster, DnsDiscovery, Endpoint, LoadBalancingPolicy, Locality, OutlierDetection, UpstreamProtocol,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What looks names up for requests that name their destination themselves.
const DNS_CACHE: &str = "outrigger";

/// The cluster of what was redirected, beside that of a name which looks authorities up: Envoy has two for what is one.
pub(super) fn original_dst_name(name: &str) -> String {
    format!("{name}-original-dst")
}

/// How names are looked up; every user of the cache must say the same.
pub(super) fn dns_cache() -> Value {
    json!({"name": DNS_CACHE, "dns_lookup_family": "ALL"})
}

/// A cluster, and the second one that a forwarding cluster takes.
pub(crate) fn clusters(cluster: &Cluster) -> Vec<Value> {
    if !cluster.dynamic_forward {
        return vec![written(cluster, discovery(cluster))];
    }
    let forward = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig";
    let lookup = json!({
        "dns_cache_config": dns_cache(),
        // Which are about TLS; none is spoken, as with what is redirected.
        "allow_insecure_cluster_options": true,
    });
    let by_name = json!({
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.dynamic_forward_proxy",
            "typed_config": typed(forward, lookup),
        },
    });
    let redirected = Cluster { name: original_dst_name(&cluster.name), ..cluster.clone() };
    let by_address = json!({"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"});
    vec![written(cluster, by_name), written(&redirected, by_address)]
}

/// What every cluster has, with how its endpoints are found and chosen.
fn written(cluster: &Cluster, how: Value) -> Value {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let mut written = json!({
        "name": cluster.name,
        "connect_timeout": cluster.connect_timeout,
        "circuit_breakers": {"thresholds": [thresholds(&cluster.circuit_breakers)]},
        "typed_extension_protocol_options": {options: typed(options, protocol_options(cluster))},
    });
    let Some(object) = written.as_object_mut() else { return written };
    if let Value::Object(how) = how {
        object.extend(how);
    }
    if let Some(detection) = &cluster.outlier_detection {
        object.insert("outlier_detection".to_owned(), outlier_detection(detection));
    }
    // Without a share below which health counts for nothing, no unhealthy endpoint is ever called (Envoy: 50 %).
    let panic = cluster.outlier_detection.as_ref().map_or(0, |detection| detection.min_health_percent);
    object.insert("common_lb_config".to_owned(), json!({"healthy_panic_threshold": {"value": panic}}));
    if let Some(socket) = &cluster.transport_socket {
        let socket = tls::upstream(socket, cluster.protocol);
        let (field, value) = match speaks_both(cluster) {
            true => ("transport_socket_matches", tls::matches(&socket)),
            false => ("transport_socket", socket),
        };
        object.insert(field.to_owned(), value);
    }
    written
}

fn discovery(cluster: &Cluster) -> Value {
    let mut how = Map::new();
    let (policy, config) = match cluster.load_balancing {
        LoadBalancingPolicy::LeastRequest => ("LEAST_REQUEST", None),
        LoadBalancingPolicy::RoundRobin => ("ROUND_ROBIN", None),
        LoadBalancingPolicy::Random => ("RANDOM", None),
        LoadBalancingPolicy::RingHash { minimum_ring_size } => {
            ("RING_HASH", Some(("ring_hash_lb_config", json!({"minimum_ring_size": minimum_ring_size}))))
        }
        LoadBalancingPolicy::Maglev { table_size } => {
            ("MAGLEV", Some(("maglev_lb_config", json!({"table_size": table_size}))))
        }
    };
    how.insert("lb_policy".to_owned(), json!(policy));
    how.extend(config.map(|(name, value)| (name.to_owned(), value)));
    let kind = match &cluster.dns {
        None => "STATIC",
        Some(DnsDiscovery { logical: true, .. }) => "LOGICAL_DNS",
        Some(_) => "STRICT_DNS",
    };
    how.insert("type".to_owned(), json!(kind));
    if let Some(dns) = &cluster.dns {
        how.insert("dns_refresh_rate".to_owned(), json!(dns.refresh_rate));
        how.insert("dns_lookup_family".to_owned(), json!("ALL"));
    }
    let endpoints = json!({"cluster_name": cluster.name, "endpoints": endpoints(cluster)});
    how.insert("load_assignment".to_owned(), endpoints);
    Value::Object(how)
}

/// Endpoints by where they are and how soon they are called.
fn endpoints(cluster: &Cluster) -> Value {
    let mut places: BTreeMap<(u32, [&str; 3]), Vec<Value>> = BTreeMap::new();
    let told_apart = speaks_both(cluster);
    let mut add = |priority: u32, locality, address: Value, weight: u32, plaintext: bool| {
        let mut endpoint = json!({"endpoint": {"address": address}, "load_balancing_weight": weight});
        if let (Some(endpoint), true) = (endpoint.as_object_mut(), told_apart && !plaintext) {
            endpoint.insert("metadata".to_owned(), tls::metadata());
        }
        places.entry((priority, place(locality))).or_default().push(endpoint);
    };
    for Endpoint { address: at, weight, priority, locality, plaintext } in &cluster.endpoints {
        add(*priority, locality, address(*at), *weight, *plaintext);
    }
    for name in cluster.dns.iter().flat_map(|dns| &dns.names) {
        let at = json!({"socket_address": {"address": name.name, "port_value": name.port}});
        add(name.priority, &name.locality, at, name.weight, name.plaintext);
    }
    let groups = places.into_iter().map(|((priority, [region, zone, sub_zone]), endpoints)| {
        let mut group = json!({"priority": priority, "lb_endpoints": endpoints});
        if let (Some(group), false) = (group.as_object_mut(), region.is_empty()) {
            group.insert("locality".to_owned(), json!({"region": region, "zone": zone, "sub_zone": sub_zone}));
        }
        group
    });
    groups.collect()
}

/// Whether some endpoints are called without the cluster's TLS.
fn speaks_both(cluster: &Cluster) -> bool {
    let by_name = cluster.dns.iter().flat_map(|dns| &dns.names).map(|name| name.plaintext);
    cluster.transport_socket.is_some()
        && cluster.endpoints.iter().map(|endpoint| endpoint.plaintext).chain(by_name).any(|plaintext| plaintext)
}

fn place(locality: &Locality) -> [&str; 3] {
    [&locality.region, &locality.zone, &locality.sub_zone]
}

fn thresholds(breakers: &CircuitBreakers) -> Value {
    let mut thresholds = json!({
        "max_connections": breakers.max_connections,
        "max_pending_requests": breakers.max_pending_requests,
        "max_requests": breakers.max_requests,
        "max_retries": breakers.max_retries,
    });
    if let (Some(budget), Some(object)) = (&breakers.retry_budget, thresholds.as_object_mut()) {
        object.remove("max_retries");
        let share = json!({"value": budget.percent});
        let budget = json!({"budget_percent": share, "min_retry_concurrency": budget.min_retry_concurrency});
        object.insert("retry_budget".to_owned(), budget);
    }
    thresholds
}

fn protocol_options(cluster: &Cluster) -> Value {
    let trailers = json!({"enable_trailers": true});
    let mut options = match cluster.protocol {
        UpstreamProtocol::Http1 => json!({"explicit_http_config": {"http_protocol_options": trailers}}),
        UpstreamProtocol::Http2 => json!({"explicit_http_config": {"http2_protocol_options": {}}}),
        UpstreamProtocol::Downstream => json!({"use_downstream_protocol_config": {
            "http_protocol_options": trailers,
            "http2_protocol_options": {},
        }}),
    };
    let Some(object) = options.as_object_mut() else { return options };
    let mut common = json!({"idle_timeout": cluster.idle_timeout});
    if let (Some(common), true) = (common.as_object_mut(), cluster.max_requests_per_connection > 0) {
        common.insert("max_requests_per_connection".to_owned(), json!(cluster.max_requests_per_connection));
    }
    object.insert("common_http_protocol_options".to_owned(), common);
    if let Some(socket) = cluster.transport_socket.as_ref().filter(|socket| socket.auto_sni) {
        let checks = !socket.danger_skip_verify && !socket.danger_skip_name_check;
        let checked = checks && socket.subject_alt_names.is_empty();
        let upstream = json!({"auto_sni": true, "auto_san_validation": checked});
        object.insert("upstream_http_protocol_options".to_owned(), upstream);
    }
    options
}

fn outlier_detection(detection: &OutlierDetection) -> Value {
    let enforced = |count: u32| if count == 0 { 0 } else { 100 };
    // Zero is no number of failures in Envoy: that share of ejections is, which are none.
    let count = |count: u32| count.max(1);
    json!({
        "consecutive_5xx": count(detection.consecutive_5xx_errors),
        "enforcing_consecutive_5xx": enforced(detection.consecutive_5xx_errors),
        "consecutive_gateway_failure": count(detection.consecutive_gateway_errors),
        "enforcing_consecutive_gateway_failure": enforced(detection.consecutive_gateway_errors),
        "split_external_local_origin_errors": detection.split_external_local_origin_errors,
        "consecutive_local_origin_failure": count(detection.consecutive_local_origin_failures),
        "enforcing_consecutive_local_origin_failure": enforced(detection.consecutive_local_origin_failures),
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": detection.interval,
        "base_ejection_time": detection.base_ejection_time,
        "max_ejection_time": detection.max_ejection_time,
        "max_ejection_percent": detection.max_ejection_percent,
    })
}

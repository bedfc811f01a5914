//! What can be wrong with a snapshot by itself: names twice, names of nothing, numbers out of range.

use crate::Faults;
use compiler::snapshot::{
    Cluster, Destination, FailStrategy, FilterChain, LoadBalancingPolicy, NetworkFilter, Phase, Plugin, Snapshot,
};
use std::collections::HashSet;

/// The largest table of Maglev and the largest ring (Istio's and Envoy's bounds).
const MAX_MAGLEV: u64 = 5_000_011;
const MAX_RING: u64 = 8 << 20;

/// Everything that is wrong with a snapshot by itself.
pub(super) fn snapshot(snapshot: &Snapshot) -> Faults {
    let mut faults = Faults::default();
    twice(snapshot.listeners.iter().map(|listener| &listener.name), "listener", &mut faults);
    twice(snapshot.clusters.iter().map(|cluster| &cluster.name), "cluster", &mut faults);
    let addresses = snapshot.listeners.iter().map(|listener| &listener.address);
    twice(addresses.filter(|address| address.port() != 0), "listener address", &mut faults);
    let known: HashSet<&str> = snapshot.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    snapshot.clusters.iter().for_each(|config| cluster(config, &mut faults));
    for listener in &snapshot.listeners {
        let place = format!("listener {}", listener.name);
        if listener.filter_chains.is_empty() {
            faults.push(format!("{place} filterChains: empty: every connection would be closed"));
        }
        for (index, chain) in listener.filter_chains.iter().enumerate() {
            filter_chain(chain, &known, &format!("{place} filterChains[{index}]"), &mut faults);
        }
    }
    if snapshot.workers == Some(0) {
        faults.push("workers: 0: at least one is needed");
    }
    faults
}

fn twice<T: std::fmt::Display + Eq + std::hash::Hash>(names: impl Iterator<Item = T>, what: &str, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for name in names {
        let fault = format!("{what} {name}: there are two of it");
        if !seen.insert(name) {
            faults.push(fault);
        }
    }
}

fn cluster(config: &Cluster, faults: &mut Faults) {
    let place = format!("cluster {}", config.name);
    if let LoadBalancingPolicy::Maglev { table_size } = config.load_balancing
        && !(2..=MAX_MAGLEV).contains(&table_size)
    {
        faults.push(format!("{place} loadBalancing.maglev.tableSize: {table_size} is not in 2-{MAX_MAGLEV}"));
    }
    if let LoadBalancingPolicy::RingHash { minimum_ring_size } = config.load_balancing
        && minimum_ring_size > MAX_RING
    {
        faults.push(format!("{place} loadBalancing.ringHash.minimumRingSize: {minimum_ring_size} is over {MAX_RING}"));
    }
    if let Some(detection) = &config.outlier_detection {
        for (field, percent) in
            [("maxEjectionPercent", detection.max_ejection_percent), ("minHealthPercent", detection.min_health_percent)]
        {
            if percent > 100 {
                faults.push(format!("{place} outlierDetection.{field}: {percent} is not in 0-100"));
            }
        }
        if detection.interval.limit().is_none() {
            faults.push(format!("{place} outlierDetection.interval: 0s: at least 1ms is needed"));
        }
    }
    for (index, endpoint) in config.endpoints.iter().enumerate() {
        if endpoint.address.port() == 0 {
            faults.push(format!("{place} endpoints[{index}].address: {} has no port", endpoint.address));
        }
    }
}

fn filter_chain(chain: &FilterChain, clusters: &HashSet<&str>, place: &str, faults: &mut Faults) {
    let plugins = match &chain.network_filter {
        NetworkFilter::HttpConnectionManager(manager) => {
            match &manager.destination {
                Destination::Cluster(name) => known(clusters, name, place, "destination.cluster", faults),
                Destination::ClusterHeader { name, default } => {
                    header_name(name, place, faults);
                    if let Some(name) = default {
                        known(clusters, name, place, "destination.clusterHeader.default", faults);
                    }
                }
            }
            &manager.plugins
        }
        NetworkFilter::TcpProxy(proxy) => {
            known(clusters, &proxy.cluster, place, "tcpProxy.cluster", faults);
            &proxy.plugins
        }
    };
    twice(plugins.iter().map(|plugin| &plugin.name), &format!("{place} plugin"), faults);
    plugins.iter().for_each(|config| plugin(config, place, faults));
}

fn known(clusters: &HashSet<&str>, name: &str, place: &str, field: &str, faults: &mut Faults) {
    if !clusters.contains(name) {
        faults.push(format!("{place} {field}: there is no cluster {name:?}"));
    }
}

fn header_name(name: &str, place: &str, faults: &mut Faults) {
    let lower = name.parse::<http::HeaderName>().is_ok_and(|parsed| parsed.as_str() == name);
    if !lower {
        faults.push(format!("{place} destination.clusterHeader.name: {name:?} is no header name in lower case"));
    }
}

/// A plugin that decides who may do what must not be passed by when it fails.
fn plugin(config: &Plugin, place: &str, faults: &mut Faults) {
    let decides = matches!(config.phase, Phase::Authn | Phase::Authz);
    if config.fail_strategy == FailStrategy::FailOpen && decides && !config.danger_fail_open {
        faults.push(format!(
            "{place} plugin {} failStrategy: FAIL_OPEN lets requests past a plugin of phase {:?} when it fails; \
             dangerFailOpen: true accepts that",
            config.name, config.phase
        ));
    }
}

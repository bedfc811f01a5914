//! `/clusters`: what is known of every endpoint.

use crate::admin::answer::{Answer, Asked};
use crate::admin::listeners::socket_address;
use crate::upstream::SharedCluster;
use crate::upstream::circuit_breakers::Resource;
use compiler::snapshot::Locality;
use serde_json::{Value as Json, json};
use std::fmt::Write;
use std::sync::Arc;

pub(super) fn clusters(asked: &Asked<'_>) -> Answer {
    let (json, filter) = match asked.json().and_then(|json| Ok((json, asked.filter()?))) {
        Ok(wanted) => wanted,
        Err(answer) => return answer,
    };
    let clusters = asked.status.clusters();
    let wanted = |name: &str| filter.as_ref().is_none_or(|filter| filter.is_match(name));
    let mut clusters: Vec<&Arc<SharedCluster>> =
        clusters.values().filter(|cluster| wanted(&cluster.config.name)).collect();
    clusters.sort_by_key(|cluster| &cluster.config.name);
    if json {
        let statuses: Vec<Json> = clusters.into_iter().map(|cluster| cluster_json(cluster)).collect();
        return Answer::json(&json!({ "cluster_statuses": statuses }));
    }
    let mut out = String::new();
    clusters.into_iter().for_each(|cluster| cluster_text(cluster, &mut out));
    Answer::text(out)
}

/// `name::address::what::value`
fn cluster_text(cluster: &SharedCluster, out: &mut String) {
    let name = &cluster.config.name;
    // Writing to a string does not fail.
    let mut line = |place: &str, what: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "{name}::{place}{what}::{value}");
    };
    line("", "observability_name", name);
    for (limit, value) in limits(cluster) {
        line("default_priority::", limit, &value);
    }
    for (resource, value) in in_use(cluster) {
        line("default_priority::", resource, &value);
    }
    line("", "added_via_api", &false);
    for (endpoint, config) in cluster.endpoints.iter().zip(&cluster.config.endpoints) {
        let place = format!("{}::", endpoint.address());
        let Locality { region, zone, sub_zone } = &config.locality;
        let health = if endpoint.is_ejected() { "/failed_outlier_check" } else { "healthy" };
        line(&place, "rq_active", &endpoint.active_requests());
        line(&place, "hostname", &"");
        line(&place, "health_flags", &health);
        line(&place, "weight", &endpoint.weight());
        line(&place, "region", region);
        line(&place, "zone", zone);
        line(&place, "sub_zone", sub_zone);
        line(&place, "canary", &false);
        line(&place, "priority", &endpoint.priority());
    }
}

fn limits(cluster: &SharedCluster) -> [(&'static str, u32); 4] {
    let limits = cluster.breakers.limits();
    [
        ("max_connections", limits.max_connections),
        ("max_pending_requests", limits.max_pending_requests),
        ("max_requests", limits.max_requests),
        ("max_retries", limits.max_retries),
    ]
}

/// What of the limits is in use, which Envoy shows among its stats.
fn in_use(cluster: &SharedCluster) -> [(&'static str, u32); 4] {
    let current = |resource| cluster.breakers.current(resource);
    [
        ("cx_active", current(Resource::Connection)),
        ("rq_pending_active", current(Resource::PendingRequest)),
        ("rq_active", current(Resource::Request)),
        ("rq_retry_active", current(Resource::Retry)),
    ]
}

fn cluster_json(cluster: &SharedCluster) -> Json {
    let object = |pairs: [(&'static str, u32); 4]| -> Json {
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Json::from(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let endpoints = cluster.endpoints.iter().zip(&cluster.config.endpoints).map(|(endpoint, config)| {
        let Locality { region, zone, sub_zone } = &config.locality;
        let health = match endpoint.is_ejected() {
            true => json!({ "failed_outlier_check": true }),
            false => json!({ "eds_health_status": "HEALTHY" }),
        };
        json!({
            "address": socket_address(endpoint.address()),
            "stats": [{ "name": "rq_active", "type": "GAUGE", "value": endpoint.active_requests().to_string() }],
            "health_status": health,
            "weight": endpoint.weight(),
            "priority": endpoint.priority(),
            "locality": { "region": region, "zone": zone, "sub_zone": sub_zone },
        })
    });
    let endpoints: Vec<Json> = endpoints.collect();
    json!({
        "name": cluster.config.name,
        "observability_name": cluster.config.name,
        "host_statuses": endpoints,
        "circuit_breakers": { "thresholds": [object(limits(cluster))], "current": object(in_use(cluster)) },
    })
}

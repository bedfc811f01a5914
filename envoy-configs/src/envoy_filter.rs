//! What Istio's proxies need beside the plugins, as an EnvoyFilter: the route that reads the cluster which a plugin
//! chose, the address that authz asks for, and the clusters that jwt-authn asks for keys.

use crate::bootstrap::cluster;
use crate::{HASH_HEADER, peer_address};
use compiler::snapshot::Cluster;
use serde_json::{Value, json};

const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// The patches of the proxies of one kind: `SIDECAR_INBOUND`, `SIDECAR_OUTBOUND`, `GATEWAY`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Needs<'s> {
    /// The request header by which plugins choose the cluster.
    pub(crate) cluster_header: Option<&'s str>,
    /// Headers that plugins leave claims in.
    pub(crate) claim_headers: Vec<&'s str>,
    /// Whether authz asks for the direct peer's address.
    pub(crate) peer_address: bool,
}

/// The patches of a context. A route that goes where the header says stands before those that Istio makes, which serve
/// what no plugin has sent anywhere.
pub(crate) fn patches(context: &str, needs: &Needs<'_>) -> Vec<Value> {
    let mut patches = Vec::new();
    if let Some(header) = needs.cluster_header {
        let inner: Vec<&str> = [header, HASH_HEADER].into_iter().chain(needs.claim_headers.iter().copied()).collect();
        let cluster = patch("NETWORK_FILTER", context, "MERGE", manager_only(), drop_client_headers(&inner));
        patches.push(cluster);
        patches.push(patch("HTTP_ROUTE", context, "INSERT_FIRST", None, route(header, &inner)));
    }
    if needs.peer_address {
        patches.push(patch("HTTP_FILTER", context, "INSERT_FIRST", manager_only(), peer_address::filter()));
    }
    patches
}

/// The patches for a cluster that Istio does not make.
pub(crate) fn clusters(cluster: &Cluster) -> Vec<Value> {
    cluster::clusters(cluster).into_iter().map(|value| patch("CLUSTER", "ANY", "ADD", None, value)).collect()
}

fn patch(apply_to: &str, context: &str, operation: &str, filter: Option<Value>, value: Value) -> Value {
    let mut wanted = json!({"context": context});
    if let (Some(filter), Value::Object(fields)) = (filter, &mut wanted) {
        fields.insert("listener".to_owned(), json!({"filterChain": {"filter": filter}}));
    }
    json!({"applyTo": apply_to, "match": wanted, "patch": {"operation": operation, "value": value}})
}

fn manager_only() -> Option<Value> {
    Some(json!({"name": CONNECTION_MANAGER}))
}

/// Before any filter and any route has looked: a plugin that is not there yet must not leave the choice to the client.
fn drop_client_headers(inner: &[&str]) -> Value {
    let mutations: Vec<Value> = inner.iter().map(|header| json!({"remove": header})).collect();
    json!({
        "name": CONNECTION_MANAGER,
        "typed_config": {
            "@type":
                "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "early_header_mutation_extensions": [{
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.\
                              HeaderMutation",
                    "mutations": mutations,
                },
            }],
        },
    })
}

/// Bounds in time and retries are in headers that plugins set.
fn route(header: &str, inner: &[&str]) -> Value {
    json!({
        "name": "outrigger",
        "match": {"prefix": "/", "headers": [{"name": header, "present_match": true}]},
        "route": {
            "cluster_header": header,
            "timeout": "0s",
            "hash_policy": [{"header": {"header_name": HASH_HEADER}}],
        },
        "request_headers_to_remove": inner,
    })
}

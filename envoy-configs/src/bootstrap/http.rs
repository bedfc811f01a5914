//! HTTP: the connection manager with its filters, and the one route that the filters leave to Envoy.

use super::access_log::access_logs;
use super::{Writer, cluster, typed, with};
use crate::peer_address::{DIRECT_ADDRESS, FILTER_STATE, is_asked, state};
use crate::{HASH_HEADER, claim_headers};
use compiler::snapshot::{Destination, Direction, FilterChain, HttpConnectionManager, Listener, PathNormalization};
use serde_json::{Value, json};

/// The port that a connection was made to, for routes to see in the filter state: no condition of a route is about it.
const PORT: &str = "outrigger.local_port";

impl Writer<'_> {
    /// The connection manager of a chain.
    pub(super) fn http(&mut self, listener: &Listener, chain: &FilterChain, manager: &HttpConnectionManager) -> Value {
        let limits = &manager.limits;
        let edge = manager.use_remote_address.unwrap_or(listener.direction == Direction::Unspecified);
        let mut upgrades: Vec<Value> =
            manager.upgrades.iter().map(|protocol| json!({"upgrade_type": protocol})).collect();
        if manager.connect {
            upgrades.push(json!({"upgrade_type": "CONNECT"}));
        }
        let mut written = json!({
            "stat_prefix": listener.name,
            "route_config": self.routes(listener, manager),
            "http_filters": self.filters(manager),
            "access_log": access_logs(manager.access_log.as_ref()),
            "upgrade_configs": upgrades,
            "use_remote_address": edge,
            "xff_num_trusted_hops": manager.trusted_hops,
            // Ours adds no `server`, and takes none away.
            "server_header_transformation": "PASS_THROUGH",
            "preserve_external_request_id": true,
            "request_id_extension": {"typed_config": typed(
                "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                json!({"pack_trace_reason": false}),
            )},
            "max_request_headers_kb": limits.header_bytes.div_ceil(1024),
            "common_http_protocol_options": {
                "idle_timeout": manager.timeouts.connection_idle,
                "max_headers_count": limits.header_fields,
            },
            "http_protocol_options": {"enable_trailers": true},
            "http2_protocol_options": {"max_concurrent_streams": limits.concurrent_streams, "allow_connect": true},
            "stream_idle_timeout": manager.timeouts.stream_idle,
            "request_headers_timeout": manager.timeouts.head,
        });
        if let Some(object) = written.as_object_mut() {
            let (normalize, merge, decode) = match manager.path_normalization {
                PathNormalization::None => (false, false, false),
                PathNormalization::Base => (true, false, false),
                PathNormalization::MergeSlashes => (true, true, false),
                PathNormalization::DecodeAndMergeSlashes => (true, true, true),
            };
            object.insert("normalize_path".to_owned(), json!(normalize));
            object.insert("merge_slashes".to_owned(), json!(merge));
            if decode {
                object.insert("path_with_escaped_slashes_action".to_owned(), json!("UNESCAPE_AND_FORWARD"));
            }
            if chain.transport_socket.as_ref().is_some_and(|socket| socket.trusted_ca.is_some()) {
                object.insert("forward_client_cert_details".to_owned(), json!("SANITIZE_SET"));
                let details = json!({"subject": true, "dns": true, "uri": true});
                object.insert("set_current_client_cert_details".to_owned(), details);
            }
        }
        let message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": typed(message, written)})
    }

    /// What no client may say is taken out before the first plugin, and what only Envoy knows is put where plugins and
    /// routes see it.
    fn filters(&mut self, manager: &HttpConnectionManager) -> Vec<Value> {
        let prefix = |prefix: &str| json!({"remove_on_match": {"key_matcher": {"prefix": prefix}}});
        let mutations = json!({"mutations": {"request_mutations": [
            prefix("x-outrigger-"),
            prefix("x-envoy-"),
        ]}});
        let mut filters = vec![filter("header_mutation", "header_mutation.v3.HeaderMutation", mutations)];
        let mut states = Vec::new();
        if manager.plugins.iter().any(is_asked) {
            states.push(state(FILTER_STATE, DIRECT_ADDRESS));
        }
        if self.forwards(manager) {
            states.push(state(PORT, "%DOWNSTREAM_LOCAL_PORT%"));
        }
        if !states.is_empty() {
            let states = json!({"on_request_headers": states});
            filters.push(filter("set_filter_state", "set_filter_state.v3.Config", states));
        }
        filters.extend(manager.plugins.iter().map(|plugin| self.http_plugin(plugin)));
        if self.forwards(manager) {
            let forward = json!({"dns_cache_config": cluster::dns_cache()});
            filters.push(filter("dynamic_forward_proxy", "dynamic_forward_proxy.v3.FilterConfig", forward));
        }
        filters.push(filter("router", "router.v3.Router", json!({})));
        filters
    }

    /// Whether requests may go where they were going already.
    fn forwards(&self, manager: &HttpConnectionManager) -> bool {
        match &manager.destination {
            Destination::Cluster(name) => self.cluster(name).is_some_and(|cluster| cluster.dynamic_forward),
            Destination::ClusterHeader { .. } => self.snapshot.clusters.iter().any(|cluster| cluster.dynamic_forward),
        }
    }

    /// The routes: what the filters chose by the header that names it, else the one cluster that is always meant.
    fn routes(&self, listener: &Listener, manager: &HttpConnectionManager) -> Value {
        let mut routes = Vec::new();
        match &manager.destination {
            Destination::Cluster(name) => self.route(listener, name, &[], &mut routes),
            Destination::ClusterHeader { name, default } => {
                for cluster in self.snapshot.clusters.iter().filter(|cluster| cluster.dynamic_forward) {
                    self.route(listener, &cluster.name, &[exact(name, &cluster.name)], &mut routes);
                }
                let present = json!({"name": name, "present_match": true});
                routes.push((json!({"headers": [present]}), json!({"cluster_header": name})));
                if let Some(default) = default {
                    self.route(listener, default, &[], &mut routes);
                }
            }
        }
        let routes = routes.into_iter().flat_map(|(wanted, action)| {
            let tunnel = manager.connect.then(|| {
                let upgrades = json!([{"upgrade_type": "CONNECT", "connect_config": {}}]);
                let action = with(action.clone(), "upgrade_configs", upgrades);
                written(with(wanted.clone(), "connect_matcher", json!({})), action, manager)
            });
            tunnel.into_iter().chain([written(with(wanted, "prefix", json!("/")), action, manager)])
        });
        let inner = ["x-outrigger-cluster", HASH_HEADER].into_iter().chain(claim_headers(&manager.plugins));
        let mut all = json!({"name": "all", "domains": ["*"], "routes": routes.collect::<Value>()});
        if listener.direction != Direction::Inbound {
            // As Istio has it, and our proxy.
            all = with(all, "include_request_attempt_count", json!(true));
        }
        json!({
            "name": listener.name,
            "virtual_hosts": [all],
            "request_headers_to_remove": inner.collect::<Value>(),
        })
    }

    /// To a cluster, under conditions. What goes where it was going already is looked up by its authority when nothing
    /// has redirected it here, and else is sent to the address that it was made to.
    fn route(&self, listener: &Listener, name: &str, headers: &[Value], routes: &mut Vec<(Value, Value)>) {
        let wanted = json!({"headers": headers});
        let forwards = self.cluster(name).is_some_and(|cluster| cluster.dynamic_forward);
        if forwards && listener.use_original_dst {
            let own = json!({"exact": listener.address.port().to_string()});
            let called = with(wanted.clone(), "filter_state", json!([{"key": PORT, "string_match": own}]));
            routes.push((called, json!({"cluster": name})));
            routes.push((wanted, json!({"cluster": cluster::original_dst_name(name)})));
        } else {
            routes.push((wanted, json!({"cluster": name})));
        }
    }
}

/// A route. Its timeouts and retries are what the filters say in headers.
fn written(wanted: Value, action: Value, manager: &HttpConnectionManager) -> Value {
    let policy = json!([{"header": {"header_name": HASH_HEADER}, "terminal": true}]);
    let action = with(with(action, "timeout", json!("0s")), "hash_policy", policy);
    json!({"match": wanted, "route": action, "request_body_buffer_limit": manager.limits.retry_body})
}

fn exact(name: &str, value: &str) -> Value {
    json!({"name": name, "string_match": {"exact": value}})
}

fn filter(name: &str, message: &str, configuration: Value) -> Value {
    let message = format!("envoy.extensions.filters.http.{message}");
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": typed(&message, configuration)})
}

//! Filter chains: which connections, and what is done with them.

use super::access_log::access_logs;
use super::{Writer, cluster, tls, typed};
use compiler::snapshot::{FilterChain, FilterChainMatch, Listener, NetworkFilter, TcpProxy, TransportProtocol};
use serde_json::{Map, Value, json};

impl Writer<'_> {
    pub(super) fn filter_chain(&mut self, listener: &Listener, chain: &FilterChain) -> Value {
        let filters = match &chain.network_filter {
            NetworkFilter::HttpConnectionManager(manager) => vec![self.http(listener, chain, manager)],
            NetworkFilter::TcpProxy(proxy) => self.tcp(&listener.name, proxy),
        };
        let mut written = Map::new();
        if chain.filter_chain_match != FilterChainMatch::default() {
            written.insert("filter_chain_match".to_owned(), filter_chain_match(&chain.filter_chain_match));
        }
        if let Some(socket) = &chain.transport_socket {
            written.insert("transport_socket".to_owned(), tls::downstream(socket));
        }
        written.insert("filters".to_owned(), Value::Array(filters));
        Value::Object(written)
    }

    fn tcp(&mut self, listener: &str, proxy: &TcpProxy) -> Vec<Value> {
        if proxy.plugins.iter().any(|plugin| plugin.module == "authz") {
            self.notice(format!(
                "listener {listener}: policies close every connection without HTTP: Envoy accepts connections before their \
                 handshake, when nobody is known yet"
            ));
        }
        let mut filters: Vec<Value> = proxy.plugins.iter().map(|plugin| self.network_plugin(plugin)).collect();
        // Bytes that were redirected go where they were going.
        let name = match self.cluster(&proxy.cluster).filter(|cluster| cluster.dynamic_forward) {
            Some(cluster) => cluster::original_dst_name(&cluster.name),
            None => proxy.cluster.clone(),
        };
        let message = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
        let proxy = json!({
            "stat_prefix": format!("{listener}_{name}"),
            "cluster": name,
            "idle_timeout": proxy.idle_timeout,
            "access_log": access_logs(proxy.access_log.as_ref()),
        });
        filters.push(json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": typed(message, proxy)}));
        filters
    }
}

fn filter_chain_match(wanted: &FilterChainMatch) -> Value {
    let mut written = Map::new();
    if let Some(port) = wanted.destination_port {
        written.insert("destination_port".to_owned(), json!(port));
    }
    if !wanted.server_names.is_empty() {
        written.insert("server_names".to_owned(), json!(wanted.server_names));
    }
    if let Some(protocol) = wanted.transport_protocol {
        let name = match protocol {
            TransportProtocol::Tls => "tls",
            TransportProtocol::RawBuffer => "raw_buffer",
        };
        written.insert("transport_protocol".to_owned(), json!(name));
    }
    if !wanted.application_protocols.is_empty() {
        written.insert("application_protocols".to_owned(), json!(wanted.application_protocols));
    }
    if !wanted.source_prefix_ranges.is_empty() {
        let ranges = wanted.source_prefix_ranges.iter();
        let ranges = ranges.map(|net| json!({"address_prefix": net.addr(), "prefix_len": net.prefix_len()}));
        written.insert("source_prefix_ranges".to_owned(), ranges.collect());
    }
    Value::Object(written)
}

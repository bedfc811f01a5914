//! Listeners.

use super::{Writer, address, typed};
use compiler::snapshot::{Direction, Listener};
use serde_json::{Value, json};

impl Writer<'_> {
    /// A listener with what must be known of a connection before its chain is chosen.
    pub(super) fn listener(&mut self, listener: &Listener) -> Value {
        let matches = || listener.filter_chains.iter().map(|chain| &chain.filter_chain_match);
        let mut filters = Vec::new();
        if listener.use_original_dst {
            filters.push(listener_filter("original_dst", "original_dst.v3.OriginalDst"));
        }
        let by_first_bytes = matches().any(|wanted| {
            !wanted.server_names.is_empty()
                || wanted.transport_protocol.is_some()
                || !wanted.application_protocols.is_empty()
        });
        if by_first_bytes {
            filters.push(listener_filter("tls_inspector", "tls_inspector.v3.TlsInspector"));
        }
        let chains: Vec<Value> =
            listener.filter_chains.iter().map(|chain| self.filter_chain(listener, chain)).collect();
        let mut written = json!({
            "name": listener.name,
            "address": address(listener.address),
            "traffic_direction": match listener.direction {
                Direction::Unspecified => "UNSPECIFIED",
                Direction::Inbound => "INBOUND",
                Direction::Outbound => "OUTBOUND",
            },
            "listener_filters": filters,
            // A client that says nothing gets what a chain for anything else does, as servers that speak first need.
            "continue_on_listener_filters_timeout": true,
            "filter_chains": chains,
        });
        if let (Some(timeout), Some(object)) = (listener.protocol_detection_timeout, written.as_object_mut()) {
            object.insert("listener_filters_timeout".to_owned(), json!(timeout));
        }
        written
    }
}

fn listener_filter(name: &str, message: &str) -> Value {
    let message = format!("envoy.extensions.filters.listener.{message}");
    json!({"name": format!("envoy.filters.listener.{name}"), "typed_config": typed(&message, json!({}))})
}

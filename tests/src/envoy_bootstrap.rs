//! The bootstrap of an Envoy that has a listener for each case.

use crate::case_file::Located;
use crate::sdks::Sdk;
use crate::{certs, optimised};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PREFIX: &str = "type.googleapis.com/envoy.extensions";

/// The bootstrap.
///
/// # Errors
/// When a module or a certificate is not to be had.
pub fn bootstrap(cases: &[&Located], clusters: &BTreeMap<String, (u16, bool)>) -> Result<Value, String> {
    let listeners: Result<Vec<Value>, String> = cases.iter().map(|located| listener(located)).collect();
    let clusters: Vec<Value> = clusters.iter().map(|(name, (port, http2))| cluster(name, *port, *http2)).collect();
    Ok(json!({
        "admin": {"address": address(0)},
        "static_resources": {"listeners": listeners?, "clusters": clusters},
    }))
}

/// A port of the loopback address.
pub fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

/// A cluster of one endpoint on the loopback address.
pub fn cluster(name: &str, port: u16, http2: bool) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    });
    if http2 {
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": format!("{PREFIX}.upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        });
    }
    cluster
}

fn listener(located: &Located) -> Result<Value, String> {
    let mut chain = json!({"filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": connection_manager(located)?,
    }]});
    let mut listener_filters = json!([]);
    if let Some(peer) = &located.case.peer {
        let server = certs::issue(&[], Some("proxy.test"))?;
        let mut common = json!({"tls_certificates": [{
            "certificate_chain": {"inline_string": server.certificate},
            "private_key": {"inline_string": server.key},
        }]});
        if !peer.uri_sans.is_empty() {
            common["validation_context"] = json!({"trusted_ca": {"inline_string": certs::authority()?}});
        }
        chain["transport_socket"] = json!({"name": "tls", "typed_config": {
            "@type": format!("{PREFIX}.transport_sockets.tls.v3.DownstreamTlsContext"),
            "require_client_certificate": !peer.uri_sans.is_empty(),
            "common_tls_context": common,
        }});
        listener_filters = json!([{"name": "tls_inspector", "typed_config": {
            "@type": format!("{PREFIX}.filters.listener.tls_inspector.v3.TlsInspector"),
        }}]);
    }
    Ok(json!({
        "name": located.id,
        "address": address(0),
        "listener_filters": listener_filters,
        "filter_chains": [chain],
    }))
}

/// As an Istio sidecar has it: normalised paths, slashes left alone.
fn connection_manager(located: &Located) -> Result<Value, String> {
    let routes = json!([
        {"match": {"prefix": "/", "headers": [{"name": "x-outrigger-cluster", "present_match": true}]},
         "route": {"cluster_header": "x-outrigger-cluster", "timeout": "0s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}},
    ]);
    Ok(json!({
        "@type": format!("{PREFIX}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "case",
        "normalize_path": true,
        "merge_slashes": false,
        "use_remote_address": located.case.use_remote_address,
        "server_header_transformation": "PASS_THROUGH",
        "max_request_headers_kb": 8192,
        "common_http_protocol_options": {"max_headers_count": 4000},
        "http_protocol_options": {"enable_trailers": true},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": http_filters(located)?,
    }))
}

fn http_filters(located: &Located) -> Result<Vec<Value>, String> {
    let mut filters = Vec::new();
    if !located.case.metadata.is_empty() {
        let entries = located.case.metadata.iter();
        let entries: Vec<Value> =
            entries.map(|(namespace, value)| json!({"metadata_namespace": namespace, "value": value})).collect();
        filters.push(json!({"name": "set_metadata", "typed_config": {
            "@type": format!("{PREFIX}.filters.http.set_metadata.v3.Config"), "metadata": entries,
        }}));
    }
    for (i, plugin) in located.plugins.iter().enumerate() {
        let root_id = plugin.root_id.clone().unwrap_or_else(|| format!("{}/{i}", located.id));
        filters.push(wasm(&plugin.module, &root_id, &plugin.configuration.to_string())?);
    }
    filters
        .push(json!({"name": "router", "typed_config": {"@type": format!("{PREFIX}.filters.http.router.v3.Router")}}));
    Ok(filters)
}

/// A plugin of a module; those of the same module share a VM, as they do by default.
///
/// # Errors
/// When the module is not to be had.
pub fn wasm(module: &str, root_id: &str, configuration: &str) -> Result<Value, String> {
    let file = Sdk::find(module).map_or_else(|| optimised::path(module), Sdk::module)?;
    Ok(json!({"name": root_id, "typed_config": {
        "@type": format!("{PREFIX}.filters.http.wasm.v3.Wasm"),
        "config": {
            "name": root_id,
            "root_id": root_id,
            "vm_config": {
                "vm_id": module,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": file}},
            },
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": configuration,
            },
        },
    }}))
}

/// `envoy.config.core.v3.Metadata`
#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, prost_types::Struct>,
}

/// Dynamic metadata as the property `metadata` has it.
pub fn encoded_metadata(metadata: &BTreeMap<String, Value>) -> Vec<u8> {
    let fields = metadata.iter().map(|(namespace, value)| (namespace.clone(), proto_struct(value)));
    prost::Message::encode_to_vec(&Metadata { filter_metadata: fields.collect() })
}

fn proto_struct(value: &Value) -> prost_types::Struct {
    let fields = value.as_object().into_iter().flatten();
    prost_types::Struct { fields: fields.map(|(key, value)| (key.clone(), proto_value(value))).collect() }
}

fn proto_value(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.iter().map(proto_value).collect() })
        }
        Value::Object(_) => Kind::StructValue(proto_struct(value)),
    };
    prost_types::Value { kind: Some(kind) }
}
